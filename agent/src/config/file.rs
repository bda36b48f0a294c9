//! Telegraf's configuration format: from text to the resolved configuration.
//!
//! Unknown names are rejected, with file, line, column and the nearest known name; all problems are reported at once. Options
//! of Telegraf that have no effect here are accepted with a warning. The files are passed in as text: nothing here touches
//! the system.

use std::collections::BTreeMap;

use super::agent::{merge_agent, resolve_agent};
use super::common::{self, COMMON_KEYS, INPUT_KEYS, OUTPUT_KEYS};
use super::env::Environment;
use super::notes::{Notes, Problems};
use super::reader::{Entry, RawSection, Reader, Source};
use super::section::own_options;
use super::{Agent, Config, InputSection, OutputSection};
use crate::plugins::{InputOptions, OutputOptions};

/// Which plugins are used, by `--input-filter` and `--output-filter`; the options of the others are not read.
#[derive(Clone, Debug, Default)]
pub struct PluginFilter {
    /// Names of inputs; empty means all.
    pub inputs: Vec<String>,
    /// Names of outputs; empty means all.
    pub outputs: Vec<String>,
}

impl PluginFilter {
    /// Whether a list accepts a name.
    #[must_use]
    pub fn takes(list: &[String], name: &str) -> bool {
        list.is_empty() || list.iter().any(|entry| entry == name)
    }
}

/// A section and the index of its file. Telegraf takes the buffer sizes and some more from `[agent]` as read up to that file.
type Found = (RawSection, usize);

/// Reads files; in `[agent]` and `[global_tags]` later ones override earlier ones.
///
/// `hostname` is the system's, for when the files set none.
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
        // With each file, as Telegraf does: a later `omit_hostname` does not remove it again.
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

/// Splits a plugin's own options from those that every plugin of its kind has.
fn split(entries: &[Entry], keys: &[&str]) -> (Vec<Entry>, Vec<Entry>) {
    let is_common = |entry: &Entry| {
        let key = entry.key.as_str();
        COMMON_KEYS.contains(&key) || keys.contains(&key)
    };
    entries.iter().cloned().partition(|entry| !is_common(entry))
}

#[cfg(test)]
mod tests;
