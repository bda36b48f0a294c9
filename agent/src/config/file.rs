//! Telegraf's configuration format: from text to the resolved configuration.
//!
//! Unknown names are rejected, with file, line, column and the nearest known name; all problems are reported at once. Options
//! of Telegraf that have no effect here are accepted with a warning. The files are passed in as text; what they name is looked at
//! only as far as `reading` asks for it.

use std::path::PathBuf;

use super::agent::{is_agent_key, merge_agent, resolve_agent};
use super::check::{check_listeners, check_log, check_spool, check_statefile, usable};
use super::common::{self, COMMON_KEYS, INPUT_KEYS, OUTPUT_KEYS};
use super::entry::{Entry, Found, RawSection};
use super::notes::{Notes, Problems, is_mistyped, said_at, unknown_plugin};
use super::reader::Reader;
use super::reading::{Depth, PluginFilter, Reading, Source};
use super::{Agent, Config, InputSection, OutputSection, Place, secret_stores};
use crate::options::nearest;
use crate::plugins::{InputOptions, OutputOptions, PluginTable};
use crate::point::{Name, Tags};

/// What all files have together, before the plugins' options are read.
pub(super) struct Merged {
    /// `[agent]` after each file.
    pub(super) agents: Vec<Agent>,
    pub(super) agent: Agent,
    /// What it was made of.
    pub(super) agent_entries: Vec<Entry>,
    pub(super) global_tags: Tags,
    pub(super) inputs: Vec<Found>,
    pub(super) outputs: Vec<Found>,
    pub(super) others: Vec<Found>,
    /// Where secrets are that the sections refer to.
    pub(super) secret_directories: Vec<PathBuf>,
}

/// Reads files; in `[agent]` and `[global_tags]` later ones override earlier ones.
///
/// # Errors
/// Everything that is wrong in any of them.
pub fn load(sources: &[Source], reading: &Reading<'_>) -> Result<Config, Problems> {
    let mut notes = match reading.depth {
        Depth::Elsewhere => Notes::of_elsewhere(),
        Depth::Here(_) | Depth::Text => Notes::default(),
    };
    let merged = choose(merge(sources, reading, &mut notes), sources, reading, &mut notes);
    let inputs = merged.inputs.iter().filter_map(|found| input(found, &merged, reading.depth, &mut notes));
    let inputs: Vec<InputSection> = inputs.collect();
    // What prints uses no output.
    let depth = if reading.needs_outputs { reading.depth } else { Depth::Text };
    let outputs = merged.outputs.iter().filter_map(|found| output(found, &merged, depth, &mut notes));
    let outputs: Vec<OutputSection> = outputs.collect();
    let used = if reading.needs_outputs { outputs.as_slice() } else { &[] };
    if !matches!(reading.depth, Depth::Text) {
        check_listeners(&inputs, used, &mut notes);
    }
    if let Depth::Here(_) = depth {
        check_statefile(&merged.agent, &merged.agent_entries, &mut notes);
    }
    let Merged { agent, global_tags, secret_directories, .. } = merged;
    if let Depth::Elsewhere = reading.depth
        && !notes.missing.is_empty()
    {
        let names: Vec<&str> = notes.missing.iter().map(String::as_str).collect();
        let names = names.join(", ");
        let text =
            format!("variables that are not set here, so that what is made of them is not checked: {names}");
        notes.warning(&Place::default(), text);
    }
    notes.sort(sources);
    if !notes.problems.is_empty() {
        let advice = if notes.lacks_plugin { reading.without_unknown.clone() } else { String::new() };
        return Err(Problems { all: notes.problems, advice });
    }
    let sources = sources.iter().map(|source| source.path.clone()).collect();
    let warnings = notes.warnings.iter().map(|(place, text)| said_at(place, text)).collect();
    Ok(Config { agent, global_tags, inputs, outputs, secret_directories, sources, warnings })
}

/// An input of a section; `None` when it cannot be used, which is said.
pub(super) fn input(
    (section, file): &Found,
    merged: &Merged,
    depth: Depth<'_>,
    notes: &mut Notes,
) -> Option<InputSection> {
    let (own, common) = split(section, INPUT_KEYS, notes);
    let listens = InputOptions::LISTENERS.contains(&section.name.as_str());
    let common = common::input(&common, listens, &merged.agent, &merged.agents[*file], notes);
    let may_fail = common.as_ref().is_some_and(|common| common.startup_error_behavior.goes_on());
    let options = usable::<InputOptions>(section, own, may_fail, depth, notes);
    Some(InputSection { options: options?, common: common?, place: section.place.clone() })
}

/// An output, likewise.
pub(super) fn output(
    (section, file): &Found,
    merged: &Merged,
    depth: Depth<'_>,
    notes: &mut Notes,
) -> Option<OutputSection> {
    let (own, entries) = split(section, OUTPUT_KEYS, notes);
    let common = common::output(&entries, &section.place, &merged.agent, &merged.agents[*file], notes);
    let options = usable::<OutputOptions>(section, own, false, depth, notes);
    let output = OutputSection { options: options?, common: common?, place: section.place.clone() };
    if let Depth::Here(_) = depth {
        check_spool(&output, &entries, &merged.agent_entries, notes);
    }
    Some(output)
}

/// Merges the files.
pub(super) fn merge(sources: &[Source], reading: &Reading<'_>, notes: &mut Notes) -> Merged {
    let mut merged = Merged {
        agents: Vec::new(),
        agent: resolve_agent(&[], reading.hostname, notes),
        agent_entries: Vec::new(),
        global_tags: Tags::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        others: Vec::new(),
        secret_directories: Vec::new(),
    };
    let mut stores = Vec::new();
    for source in sources {
        let written = Reader::new(source, &reading.environment, notes).read();
        notes.warn_of_unset(&written.agent);
        merge_agent(&mut merged.agent_entries, written.agent, notes);
        merged.agent = resolve_agent(&merged.agent_entries, reading.hostname, notes);
        merged.global_tags.extend(tags(written.global_tags, notes));
        // With each file, as Telegraf does: a later `omit_hostname` does not remove it again.
        if let Some(hostname) = &merged.agent.hostname {
            merged.global_tags.insert("host".into(), Name::from(hostname));
        }
        let file = merged.agents.len();
        merged.inputs.extend(written.inputs.into_iter().map(|section| (section, file)));
        merged.outputs.extend(written.outputs.into_iter().map(|section| (section, file)));
        let is_store = |(section, _): &Found| {
            section.kind == "secretstores" && secret_stores::NAMES.contains(&section.name.as_str())
        };
        let others = written.others.into_iter().map(|section| (section, file));
        let (here, others): (Vec<Found>, Vec<Found>) = others.partition(is_store);
        stores.extend(here);
        merged.others.extend(others);
        merged.agents.push(merged.agent.clone());
    }
    let sections = &mut [&mut merged.inputs, &mut merged.outputs];
    merged.secret_directories = secret_stores::resolve(&stores, sections, reading, notes);
    check_log(&merged.agent, &merged.agent_entries, reading.depth, notes);
    merged
}

/// Leaves the sections that filters take and whose plugins are here.
fn choose(mut merged: Merged, sources: &[Source], reading: &Reading<'_>, notes: &mut Notes) -> Merged {
    let skips = reading.skips_unknown || merged.agent.skip_unknown_plugins;
    let PluginFilter { inputs, outputs } = &reading.filter;
    merged.inputs = select::<InputOptions>(merged.inputs, inputs, reading.needs_inputs, notes);
    merged.outputs = select::<OutputOptions>(merged.outputs, outputs, reading.needs_outputs, notes);
    merged.inputs = known::<InputOptions>(merged.inputs, skips, notes);
    merged.outputs = known::<OutputOptions>(merged.outputs, skips, notes);
    for (section, _) in merged.others.drain(..) {
        lacks(&section, &[], skips, notes);
    }
    if merged.inputs.is_empty() && reading.needs_inputs {
        nothing_left::<InputOptions>(sources, "such as [[inputs.ebpf]]", notes);
    }
    if merged.outputs.is_empty() && reading.needs_outputs {
        let what = "such as [[outputs.influxdb]], or use `seismograf dump`";
        nothing_left::<OutputOptions>(sources, what, notes);
    }
    merged
}

/// The global tags of a file.
fn tags(entries: Vec<Entry>, notes: &mut Notes) -> Vec<(Name, Name)> {
    notes.warn_of_unset(&entries);
    let mut tags = Vec::new();
    for Entry { key, place, value, .. } in entries {
        if is_agent_key(&key) {
            let text = format!("`{key}` is a tag here: as an option it belongs below [agent]");
            notes.warning(&place, text);
        }
        match value {
            toml::Value::String(text) => tags.push((key.into(), text.into())),
            _ => notes.problem(&place, format!("global tag `{key}` must be text in quotes")),
        }
    }
    tags
}

/// The sections that a filter takes. A name in it that takes none is said: with nothing left it is a problem.
fn select<O: PluginTable>(
    sections: Vec<Found>,
    filter: &[String],
    is_needed: bool,
    notes: &mut Notes,
) -> Vec<Found> {
    let (singular, names) = (O::singular(), O::NAMES);
    let is_taken = |(section, _): &Found| PluginFilter::takes(filter, &section.name);
    let (taken, rest): (Vec<Found>, Vec<Found>) = sections.into_iter().partition(is_taken);
    // What a file has that could not be parsed, nobody knows.
    let is_whole = !notes.is_partial;
    let takes_none = |name: &&String| is_whole && !taken.iter().any(|(section, _)| section.name == **name);
    for name in filter.iter().filter(takes_none) {
        let flag = format!("--{singular}-filter {name}");
        let text = if names.contains(&name.as_str()) {
            format!("{flag}: there is no [[{}.{name}]] in the configuration", O::KIND)
        } else {
            let there: Vec<&str> =
                rest.iter().chain(&taken).map(|(section, _)| section.name.as_str()).collect();
            let near = nearest(name, &there);
            let near = if near.is_empty() { nearest(name, names) } else { near };
            format!("{flag}: there is no {singular} `{name}`{near}")
        };
        if taken.is_empty() && is_needed {
            notes.problem(&Place::default(), text);
        } else {
            notes.warning(&Place::default(), text);
        }
    }
    taken
}

/// The sections of plugins that are here.
fn known<O: PluginTable>(sections: Vec<Found>, skips: bool, notes: &mut Notes) -> Vec<Found> {
    let is_known = |(section, _): &Found| O::NAMES.contains(&section.name.as_str());
    let (known, unknown): (Vec<Found>, Vec<Found>) = sections.into_iter().partition(is_known);
    for (section, _) in unknown {
        lacks(&section, O::NAMES, skips, notes);
    }
    known
}

/// Says of a section whose plugin is not here that it is left out, or that it cannot be; `names` are those that are.
fn lacks(section: &RawSection, names: &[&str], skips: bool, notes: &mut Notes) {
    let text = unknown_plugin(section.kind, &section.name, names);
    if is_mistyped(section.kind, &section.name, names) {
        // Left out, a plugin would be missed that is here.
        notes.is_partial = true;
        notes.problem(&section.place, text);
    } else if skips {
        notes.warning(&section.place, format!("left out: {text}"));
    } else {
        notes.lacks_plugin = true;
        notes.problem(&section.place, text);
    }
}

/// Says that there is no plugin of a kind, unless that comes of what has been said already: of a file that could not be parsed,
/// of a filter, or of a plugin that is not here.
fn nothing_left<O: PluginTable>(sources: &[Source], what: &str, notes: &mut Notes) {
    let kind = O::singular();
    let of_filter = format!("--{kind}-filter ");
    if notes.is_partial
        || notes.lacks_plugin
        || notes.problems.iter().any(|(_, text)| text.starts_with(&of_filter))
    {
        return;
    }
    let place = match sources {
        [source] => Place { file: source.path.clone(), ..Place::default() },
        _ => Place::default(),
    };
    notes.problem(&place, format!("there is no {kind} to start with: add one, {what}"));
}

/// Splits a plugin's own options from those that every plugin of its kind has.
fn split(section: &RawSection, keys: &[&str], notes: &mut Notes) -> (Vec<Entry>, Vec<Entry>) {
    notes.warn_of_unset(&section.entries);
    let is_common = |key: &str| COMMON_KEYS.contains(&key) || keys.contains(&key);
    let (common, own): (Vec<Entry>, Vec<Entry>) =
        section.entries.iter().cloned().partition(|entry| is_common(&entry.key));
    (own, common)
}

#[cfg(test)]
mod tests;
