//! Telegraf's configuration format: from text to the resolved configuration.
//!
//! What is not known is refused, with file, line, column and the nearest known name; all problems are reported at once.
//! What Telegraf knows and has nothing to act on here is accepted with a warning. The files come in as text, so that
//! nothing here touches the system.

use std::collections::BTreeMap;

use super::agent::{merge_agent, resolve_agent};
use super::common::{self, COMMON_KEYS, INPUT_KEYS, OUTPUT_KEYS};
use super::env::Environment;
use super::notes::{Notes, Problems};
use super::reader::{Entry, RawSection, Reader, Source};
use super::section::own_options;
use super::{Agent, Config, InputSection, OutputSection};
use crate::plugins::{InputOptions, OutputOptions};

/// Which plugins are taken, by `--input-filter` and `--output-filter`; the others are not even read.
#[derive(Clone, Debug, Default)]
pub struct PluginFilter {
    /// Names of inputs; empty means all.
    pub inputs: Vec<String>,
    /// Names of outputs; empty means all.
    pub outputs: Vec<String>,
}

impl PluginFilter {
    /// Whether a list takes a name.
    #[must_use]
    pub fn takes(list: &[String], name: &str) -> bool {
        list.is_empty() || list.iter().any(|entry| entry == name)
    }
}

/// A section, and `[agent]` as the files up to the one that has the section say: Telegraf takes the sizes of buffers and
/// some more from there.
type Found = (RawSection, usize);

/// Reads files, the later of which win in `[agent]` and `[global_tags]`.
///
/// `hostname` is the system's, for when the files give none.
///
/// # Errors
/// Everything that is wrong in any of them.
pub fn load(
    sources: &[Source],
    filter: &PluginFilter,
    environment: &Environment<'_>,
    hostname: &str,
) -> Result<Config, Problems> {
    let mut notes = Notes::default();
    let mut agent_entries = Vec::new();
    let mut global_tags = BTreeMap::new();
    let mut agents: Vec<Agent> = Vec::new();
    let (mut inputs, mut outputs): (Vec<Found>, Vec<Found>) = (Vec::new(), Vec::new());
    for source in sources {
        let written = Reader::new(source, environment, &mut notes).read();
        merge_agent(&mut agent_entries, written.agent, &mut notes);
        let agent = resolve_agent(&agent_entries, hostname, &mut notes);
        global_tags.extend(written.global_tags);
        // As Telegraf does, with each file: leaving it out in a later one does not take it back.
        if let Some(hostname) = &agent.hostname {
            global_tags.insert("host".into(), hostname.clone());
        }
        inputs.extend(written.inputs.into_iter().map(|section| (section, agents.len())));
        outputs.extend(written.outputs.into_iter().map(|section| (section, agents.len())));
        agents.push(agent);
    }
    let agent = match agents.last() {
        Some(agent) => agent.clone(),
        None => resolve_agent(&[], hostname, &mut notes),
    };
    inputs.retain(|(section, _)| PluginFilter::takes(&filter.inputs, &section.name));
    outputs.retain(|(section, _)| PluginFilter::takes(&filter.outputs, &section.name));
    let inputs = inputs.into_iter().filter_map(|(section, file)| {
        let (own, common) = split(&section.entries, INPUT_KEYS);
        let options =
            own_options(&section, &own, "inputs", InputOptions::NAMES, &mut notes, |name, section| {
                InputOptions::read(name, section)
            });
        let common = common::input(&common, &agent, &agents[file], &mut notes);
        Some(InputSection { options: options?, common: common?, place: section.place })
    });
    let inputs = inputs.collect();
    let outputs = outputs.into_iter().filter_map(|(section, file)| {
        let (own, common) = split(&section.entries, OUTPUT_KEYS);
        let options =
            own_options(&section, &own, "outputs", OutputOptions::NAMES, &mut notes, |name, section| {
                OutputOptions::read(name, section)
            });
        let common = common::output(&common, &agent, &agents[file], &mut notes);
        Some(OutputSection { options: options?, common: common?, place: section.place })
    });
    let outputs = outputs.collect();
    if !notes.problems.is_empty() {
        return Err(Problems(notes.problems));
    }
    let sources = sources.iter().map(|source| source.path.clone()).collect();
    let warnings = notes.warnings.into_iter().map(|(place, text)| format!("{place}: {text}")).collect();
    Ok(Config { agent, global_tags, inputs, outputs, sources, warnings })
}

/// A plugin's own options, and those that every plugin of its kind has.
fn split(entries: &[Entry], keys: &[&str]) -> (Vec<Entry>, Vec<Entry>) {
    let is_common = |entry: &Entry| {
        let key = entry.key.as_str();
        COMMON_KEYS.contains(&key) || keys.contains(&key)
    };
    entries.iter().cloned().partition(|entry| !is_common(entry))
}

#[cfg(test)]
mod tests;
