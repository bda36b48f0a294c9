//! Problems and warnings about a configuration, with their places, and the words for them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use super::entry::Entry;
use super::reading::Source;
use super::telegraf::is_secret;
use super::{Place, telegraf};
use crate::options::nearest;
use crate::plugins::{OutputOptions, PluginTable as _};

/// Everything that is wrong with a configuration.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Problems {
    /// What is wrong, and where.
    pub all: Vec<(Place, String)>,
    /// What a person can do about some of it at once; empty for nothing.
    pub advice: String,
}

impl Problems {
    /// A single one, which is in no line of a file.
    pub(super) fn one(text: impl Into<String>) -> Self {
        Self { all: vec![(Place::default(), text.into())], advice: String::new() }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.all.iter().map(|(place, text)| said_at(place, text));
        let advice = (!self.advice.is_empty()).then(|| self.advice.clone());
        let lines: Vec<String> = lines.chain(advice).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Problems {}

/// A message with its place, if it has one.
pub(super) fn said_at(place: &Place, text: &str) -> String {
    if *place == Place::default() { text.to_owned() } else { format!("{place}: {text}") }
}

/// Problems and warnings about the files.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) problems: Vec<(Place, String)>,
    pub(super) warnings: Vec<(Place, String)>,
    /// A plugin is not part of this agent, and the files do not say to go on without it.
    pub(super) lacks_plugin: bool,
    /// A file could not be parsed, or a name is mistyped: what seems to be missing may be that.
    pub(super) is_partial: bool,
    /// Variables may have their values elsewhere: nothing is said of what comes of one that is not set.
    takes_unset: bool,
    /// Variables that are not set.
    pub(super) missing: BTreeSet<String>,
    /// By file and line: what is to be said of variables that are not set.
    unset: BTreeMap<(PathBuf, usize), String>,
}

impl Notes {
    /// About files whose variables have their values elsewhere.
    pub(super) fn of_elsewhere() -> Self {
        Self { takes_unset: true, ..Self::default() }
    }

    /// Adds each problem once: `[agent]` is resolved again with every file.
    pub(super) fn problem(&mut self, place: &Place, text: impl Into<String>) {
        let mut text = text.into();
        if let Some(unset) = self.unset.get(&(place.file.clone(), place.line)) {
            if self.takes_unset {
                return;
            }
            text = format!("{text}; {unset}");
        }
        let problem = (place.clone(), text);
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    pub(super) fn warning(&mut self, place: &Place, text: impl Into<String>) {
        let warning = (place.clone(), text.into());
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// In the order of the files and of their lines.
    pub(super) fn sort(&mut self, sources: &[Source]) {
        let order = |(place, _): &(Place, String)| {
            let file = sources.iter().position(|source| source.path == place.file);
            (file, place.line, place.column)
        };
        self.problems.sort_by_key(order);
        self.warnings.sort_by_key(order);
    }

    /// Keeps which variables of a line are not set, for the problems that come of it. `key` is the option.
    pub(super) fn unset(&mut self, place: &Place, key: &str, names: &[String]) {
        if let Some(text) = unset(key, names) {
            self.missing.extend(names.iter().cloned());
            self.unset.insert((place.file.clone(), place.line), text);
        }
    }

    /// Warns of what goes out as it is written.
    pub(super) fn warn_of_unset(&mut self, entries: &[Entry]) {
        if self.takes_unset {
            return;
        }
        for Entry { key, place, unset: names, .. } in entries {
            if let Some(text) = unset(key, names) {
                self.warning(place, format!("`{key}`: {text}, so the text stays as it is"));
            }
        }
    }
}

/// Options in which a name after a dollar sign is no variable: udev's properties.
const TEMPLATES: &[&str] = &["name_templates"];

/// What is to be said of an option's variables that are not set. A part of a password can look like one.
fn unset(key: &str, names: &[String]) -> Option<String> {
    if names.is_empty() || TEMPLATES.contains(&key) {
        return None;
    }
    Some(match names {
        _ if is_secret(key) => "a variable in it is not set ($$ stands for a dollar sign)".into(),
        [name] => format!("the variable {name} is not set"),
        names => format!("the variables {} are not set", names.join(", ")),
    })
}

/// Whether a name is no plugin's of Telegraf, and like one of those that are here.
pub(super) fn is_mistyped(kind: &str, name: &str, own: &[&str]) -> bool {
    let is_telegrafs = telegraf::plugins(kind).is_some_and(|names| names.contains(&name));
    let is_left_out = kind == OutputOptions::KIND && OutputOptions::FEATURES.contains(&name);
    !is_telegrafs && !is_left_out && !nearest(name, own).is_empty()
}

/// The message about a plugin that does not exist here; `own` are the names of those that do.
pub(super) fn unknown_plugin(kind: &str, name: &str, own: &[&str]) -> String {
    if kind == OutputOptions::KIND && OutputOptions::FEATURES.contains(&name) {
        return format!(
            "this agent was built without the feature `{name}`, which has `{kind}.{name}`: use one that was built with it"
        );
    }
    let telegrafs = telegraf::plugins(kind).unwrap_or_default();
    if telegrafs.contains(&name) {
        return format!("Telegraf's `{kind}.{name}` is not part of this agent");
    }
    let near = nearest(name, own);
    let near = if near.is_empty() { nearest(name, telegrafs) } else { near };
    let kind = kind.trim_end_matches('s');
    if own.is_empty() {
        return format!("unknown {kind} `{name}`{near}");
    }
    format!("unknown {kind} `{name}`{near}; there are: {}", own.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_that_was_left_out_is_told_from_one_that_is_not_here() {
        for name in OutputOptions::FEATURES {
            assert_eq!(
                unknown_plugin("outputs", name, &["file"]),
                format!(
                    "this agent was built without the feature `{name}`, which has `outputs.{name}`: use one that was built with it"
                )
            );
        }
        assert_eq!(
            unknown_plugin("outputs", "loki", &["file"]),
            "Telegraf's `outputs.loki` is not part of this agent"
        );
        assert_eq!(unknown_plugin("inputs", "kafka", &["mem"]), "unknown input `kafka`; there are: mem");
        assert!(is_mistyped("inputs", "cup", &["cpu"]) && is_mistyped("inputs", "meem", &["mem"]));
        // Telegraf's own, however near it is, and what is like none.
        for name in ["netstat", "exec", "kafka", "my_own_plugin"] {
            assert!(!is_mistyped("inputs", name, &["cpu", "mem", "net", "netstats"]), "{name}");
        }
    }
}
