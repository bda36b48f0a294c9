//! Plugin options: those that plugins share, and the building blocks of their own.
//!
//! Below the plugins, so that all of them can use it. Reading a file, and reporting what is wrong with it, is `config`'s.

pub mod common;
pub(crate) mod duration;
pub(crate) mod filter;
pub(crate) mod keys;
pub mod secret;
pub(crate) mod tls;
pub(crate) mod value;

use serde::de::DeserializeOwned;

/// An option that a plugin cannot use.
#[derive(Debug, thiserror::Error)]
#[error("`{option}`: {what}")]
pub struct OptionError {
    /// The option.
    pub option: &'static str,
    /// What is wrong, and what to do.
    pub what: String,
    /// It is about this machine, such as a file that is not there: on another one it may be fine.
    pub is_local: bool,
}

impl OptionError {
    /// An error about one option.
    pub(crate) fn new(option: &'static str, what: impl Into<String>) -> Self {
        Self { option, what: what.into(), is_local: false }
    }

    /// An error about something of this machine that an option names.
    pub(crate) fn local(option: &'static str, what: impl Into<String>) -> Self {
        Self { is_local: true, ..Self::new(option, what) }
    }
}

/// A plugin's section of a file, as the tables of plugins see it.
pub trait Section {
    /// The options as the plugin's own type; `None` when they have problems, which the section records.
    fn read<T: DeserializeOwned>(&mut self) -> Option<T>;
}

/// `: did you mean ...?`, if a known name is similar.
pub(crate) fn nearest(name: &str, known: &[&str]) -> String {
    let distance = |candidate: &&&str| strsim::damerau_levenshtein(name, candidate);
    match known.iter().min_by_key(distance) {
        Some(best) if distance(&best) <= 1 + name.chars().count() / 3 => format!(": did you mean `{best}`?"),
        _ => String::new(),
    }
}
