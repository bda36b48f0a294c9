//! Problems and warnings about a configuration, with their places, and the words for them.

use std::fmt;

use super::{Place, telegraf};

/// Everything that is wrong with a configuration.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<(Place, String)>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (place, text)) in self.0.iter().enumerate() {
            let end = if n + 1 < self.0.len() { "\n" } else { "" };
            write!(f, "{place}: {text}{end}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Problems and warnings about the files.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) problems: Vec<(Place, String)>,
    pub(super) warnings: Vec<(Place, String)>,
}

impl Notes {
    /// Adds each problem once: `[agent]` is resolved again with every file.
    pub(super) fn problem(&mut self, place: &Place, text: impl Into<String>) {
        let problem = (place.clone(), text.into());
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
}

/// The message about a plugin that does not exist here; `own` are the names of those that do.
pub(super) fn unknown_plugin(kind: &str, name: &str, own: &[&str]) -> String {
    let telegrafs = telegraf::plugins(kind).unwrap_or_default();
    if telegrafs.contains(&name) {
        return format!(
            "Telegraf's `{kind}.{name}` is not part of this agent: remove the section, or run Telegraf beside it for it"
        );
    }
    let near = nearest(name, own);
    let near = if near.is_empty() { nearest(name, telegrafs) } else { near };
    let kind = kind.trim_end_matches('s');
    if own.is_empty() {
        return format!("unknown {kind} `{name}`{near}");
    }
    format!("unknown {kind} `{name}`{near}; there are: {}", own.join(", "))
}

/// `: did you mean ...?`, if a known name is similar.
pub(super) fn nearest(name: &str, known: &[&str]) -> String {
    let distance = |candidate: &&&str| strsim::damerau_levenshtein(name, candidate);
    match known.iter().min_by_key(distance) {
        Some(best) if distance(&best) <= 1 + name.chars().count() / 3 => format!(": did you mean `{best}`?"),
        _ => String::new(),
    }
}
