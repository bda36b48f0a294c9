//! What happens to each section here, and which agent has it afterwards.

use super::layout::{Header, Layout, Part};
use super::routes::{Flow, Taker};
use super::{File, Goes, Migration, Row, Verdict};
use crate::config::env::Environment;
use crate::config::file::{self, Merged};
use crate::config::notes::{Notes, Problems, unknown_plugin};
use crate::config::reading::{Depth, Reading, Source};
use crate::config::{InputSection, Place, telegraf};
use crate::plugins::{InputOptions, OutputOptions};

/// What was found of one section.
#[derive(Default)]
struct Judged {
    warnings: Vec<String>,
    /// Why this agent does not take it; empty when only the plugin is not here.
    problems: Vec<String>,
    /// The plugin is not here.
    is_missing: bool,
    /// Why an input that could come here stays.
    held: Vec<String>,
}

impl Judged {
    fn is_here(&self) -> bool {
        !self.is_missing && self.problems.is_empty()
    }

    fn stays(&self) -> bool {
        !self.is_here() || !self.held.is_empty()
    }
}

/// The sections of all files.
struct Sections<'a> {
    sources: &'a [Source],
    layouts: Vec<Layout>,
    /// For each file and section of its layout.
    judged: Vec<Vec<Judged>>,
}

impl Migration {
    /// Judges the sections of files that are one configuration. Nothing of this machine is looked at.
    ///
    /// # Errors
    /// What keeps the files from being used: what is not TOML, or what this agent refuses outside of plugins.
    pub fn of(sources: &[Source], environment: &Environment<'_>) -> Result<Self, Problems> {
        let environment = &Environment { requires: false, ..*environment };
        let mut notes = Notes::of_elsewhere();
        let Parsed { settled, layouts, mut remarks } = Parsed::of(sources, environment)?;
        let merged = file::merge(&settled, &Reading::of_text(*environment, ""), &mut notes);
        let inputs = read_plugins(&merged, &mut notes);
        notes.sort(sources);
        let judged = layouts.iter().map(|layout| layout.sections.iter().map(|_| Judged::default()).collect());
        let mut sections = Sections { sources, judged: judged.collect(), layouts };
        sections.take_notes(&notes)?;
        sections.mark_missing(&merged);
        sections.warn_of_own_files(&merged);
        sections.hold_back(&inputs, &merged);
        if !notes.missing.is_empty() {
            let names: Vec<&str> = notes.missing.iter().map(String::as_str).collect();
            remarks.push(format!(
                "variables that are not set here, so that what is made of them is not judged: {}. Those of Telegraf's service: set -a; . /etc/default/telegraf; set +a",
                names.join(", ")
            ));
        }
        if merged.outputs.is_empty() {
            remarks.push("there is no output in these files: name all files of the configuration".into());
        }
        Ok(sections.decide(remarks))
    }
}

/// The files as they are parsed.
#[derive(Default)]
struct Parsed {
    /// With the values of variables outside of strings.
    settled: Vec<Source>,
    layouts: Vec<Layout>,
    /// What is to be said of such variables.
    remarks: Vec<String>,
}

impl Parsed {
    fn of(sources: &[Source], environment: &Environment<'_>) -> Result<Self, Problems> {
        let (mut parsed, mut refused) = (Self::default(), Vec::new());
        for source in sources {
            let text = environment.settle(&source.text);
            if text.is_some() {
                parsed.remarks.push(format!(
                    "{}: variables stand outside of quotes: start this agent, and Telegraf since 1.38, with --non-strict-env-handling",
                    source.path.display()
                ));
            }
            let text = text.unwrap_or_else(|| source.text.clone());
            match Layout::of(&source.text, &text) {
                Ok(layout) => parsed.layouts.push(layout),
                Err((line, problem)) => {
                    refused.push((Place { file: source.path.clone(), line, column: 0 }, problem));
                }
            }
            parsed.settled.push(Source { path: source.path.clone(), text });
        }
        if refused.is_empty() { Ok(parsed) } else { Err(Problems { all: refused, advice: String::new() }) }
    }
}

/// Reads the options of every plugin that is here; the inputs that can be used.
fn read_plugins(merged: &Merged, notes: &mut Notes) -> Vec<InputSection> {
    for found in
        merged.outputs.iter().filter(|(section, _)| OutputOptions::NAMES.contains(&section.name.as_str()))
    {
        file::output(found, merged, Depth::Elsewhere, notes);
    }
    let inputs =
        merged.inputs.iter().filter(|(section, _)| InputOptions::NAMES.contains(&section.name.as_str()));
    inputs.filter_map(|found| file::input(found, merged, Depth::Elsewhere, notes)).collect()
}

impl Sections<'_> {
    /// The section that a place is in.
    fn at(&mut self, place: &Place) -> Option<(Part, &mut Judged)> {
        let file = self.sources.iter().position(|source| source.path == place.file)?;
        let section = self.layouts[file].section_of(place.line)?;
        Some((self.layouts[file].sections[section].part(), &mut self.judged[file][section]))
    }

    /// Enters what was said while the files were read.
    fn take_notes(&mut self, notes: &Notes) -> Result<(), Problems> {
        let mut refused = Vec::new();
        for (place, text) in &notes.problems {
            match self.at(place) {
                Some((Part::Input | Part::Output | Part::Other, judged))
                    if !text.starts_with("unknown table") =>
                {
                    judged.problems.push(format!("{place}: {text}"));
                }
                _ => refused.push((place.clone(), text.clone())),
            }
        }
        for (place, text) in &notes.warnings {
            if let Some((_, judged)) = self.at(place) {
                judged.warnings.push(format!("{place}: {text}"));
            }
        }
        if refused.is_empty() { Ok(()) } else { Err(Problems { all: refused, advice: String::new() }) }
    }

    /// Marks what this agent has no plugin for; of a name that Telegraf does not have either, that is said.
    fn mark_missing(&mut self, merged: &Merged) {
        let all = merged.inputs.iter().chain(&merged.outputs).chain(&merged.others);
        for (section, _) in all {
            let names = match section.kind {
                "inputs" => InputOptions::NAMES,
                "outputs" => OutputOptions::NAMES,
                _ => &[],
            };
            let name = section.name.as_str();
            let Some((_, judged)) = self.at(&section.place) else { continue };
            if names.contains(&name) {
                continue;
            }
            judged.is_missing = true;
            if !telegraf::plugins(section.kind).is_some_and(|names| names.contains(&name)) {
                judged.problems.push(format!(
                    "{}: {}",
                    section.place,
                    unknown_plugin(section.kind, name, names)
                ));
            }
        }
    }

    /// Warns of files of Telegraf's own, which two processes cannot both write.
    fn warn_of_own_files(&mut self, merged: &Merged) {
        let advice = [
            (
                "logfile",
                "name one below /var/log/seismograf for this agent, or none: its log is then in the journal",
            ),
            ("statefile", "name another one for this agent, which remembers other things"),
        ];
        for (key, advice) in advice {
            let entry = merged.agent_entries.iter().find(|entry| entry.key == key);
            let Some((entry, path)) = entry.and_then(|entry| Some((entry, entry.value.as_str()?))) else {
                continue;
            };
            if !path.is_empty()
                && let Some((_, judged)) = self.at(&entry.place)
            {
                judged.warnings.push(format!("{}: `{key}` is Telegraf's own file: {advice}", entry.place));
            }
        }
    }

    /// Keeps with Telegraf the inputs whose points would not arrive as before.
    fn hold_back(&mut self, inputs: &[InputSection], merged: &Merged) {
        let mut takers = Vec::new();
        for (section, _) in merged.outputs.iter().chain(&merged.others) {
            let is_here = self.at(&section.place).is_some_and(|(_, judged)| judged.is_here());
            // A secret store takes no points, and what is discarded is not missed.
            let takes = section.kind != "secretstores" && section.name != "discard";
            takers.extend((!is_here && takes).then(|| Taker::of(section)));
        }
        let n_outputs = merged.outputs.len();
        let n_here = merged
            .outputs
            .iter()
            .filter(|(o, _)| self.at(&o.place).is_some_and(|(_, j)| j.is_here()))
            .count();
        for (section, _) in &merged.inputs {
            let input = inputs.iter().find(|input| input.place == section.place);
            let flow = input.map_or_else(Flow::any, |input| Flow::of(input, merged.global_tags.keys()));
            let mut held: Vec<String> =
                takers.iter().filter(|taker| taker.may_take(&flow)).map(Taker::said).collect();
            if held.is_empty() && n_here == 0 && n_outputs > 0 {
                held.push("no output of these files is here".into());
            }
            if let Some((_, judged)) = self.at(&section.place).filter(|(_, judged)| judged.is_here()) {
                judged.held = held;
            }
        }
    }

    /// Which agent has which section.
    fn decide(self, mut remarks: Vec<String>) -> Migration {
        let Sections { sources, layouts, judged } = self;
        let all =
            || layouts.iter().zip(&judged).flat_map(|(layout, judged)| layout.sections.iter().zip(judged));
        let inputs = || all().filter(|(header, _)| header.part() == Part::Input);
        let (stay, come) = (inputs().any(|(_, j)| j.stays()), inputs().any(|(_, j)| !j.stays()));
        if !stay && !come {
            remarks.push("there is no input in these files: name all files of the configuration".into());
        }
        let goes = |header: &Header, judged: &Judged| match header.part() {
            Part::Input if judged.stays() => Goes::Telegraf,
            Part::Input => Goes::Here,
            _ if judged.stays() && come && !stay => Goes::Nowhere,
            _ if judged.stays() => Goes::Telegraf,
            _ if come && !stay => Goes::Here,
            _ if stay && !come => Goes::Telegraf,
            _ => Goes::Both,
        };
        let goes: Vec<Vec<Goes>> = layouts
            .iter()
            .zip(&judged)
            .map(|(layout, judged)| layout.sections.iter().zip(judged).map(|(h, j)| goes(h, j)).collect())
            .collect();
        let mut rows = Vec::new();
        for (((source, layout), judged), goes) in sources.iter().zip(&layouts).zip(judged).zip(&goes) {
            let sections = layout.sections.iter().zip(judged).zip(goes);
            let sections = sections.filter(|((header, _), _)| header.part() != Part::Bare);
            rows.extend(sections.map(|((header, judged), goes)| row(source, header, judged, *goes)));
        }
        let files = sources.iter().zip(layouts).zip(goes);
        let files = files.map(|((source, layout), goes)| File { text: source.text.clone(), layout, goes });
        Migration { rows, remarks, files: files.collect() }
    }
}

fn row(source: &Source, header: &Header, judged: Judged, goes: Goes) -> Row {
    let verdict = match (&judged, judged.warnings.is_empty()) {
        (judged, _) if !judged.is_here() => Verdict::NotHere,
        (_, true) => Verdict::Same,
        (_, false) => Verdict::Warned,
    };
    let mut notes = if verdict == Verdict::NotHere { judged.problems } else { judged.warnings };
    if !judged.held.is_empty() {
        notes.push(format!("stays with Telegraf: {}", judged.held.join("; ")));
    }
    if goes == Goes::Nowhere {
        notes.push("not needed any more: no input stays with Telegraf".into());
    }
    if goes == Goes::Both && header.text() == "[[outputs.file]]" {
        notes.push(
            "both agents append to its files, and either may rotate them: name others in one of the two"
                .into(),
        );
    }
    let place = Place { file: source.path.clone(), line: header.line, column: 0 };
    Row { place, header: header.text(), part: header.part(), verdict, goes, notes }
}
