//! How files are to be read: which plugins are used, what variables are, how far options are checked.

use std::path::PathBuf;

use super::env::Environment;
use crate::host::Host;

/// One file's text.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

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

/// How files are to be read.
pub struct Reading<'a> {
    /// Which plugins are used.
    pub filter: PluginFilter,
    /// The variables.
    pub environment: Environment<'a>,
    /// The system's name, for when the files set none.
    pub hostname: &'a str,
    /// How far options are checked.
    pub depth: Depth<'a>,
    /// Plugins that are not part of this agent are left out with a warning.
    pub skips_unknown: bool,
    /// What to write for that; the last line where one is refused.
    pub without_unknown: String,
    /// There must be an input.
    pub needs_inputs: bool,
    /// There must be an output.
    pub needs_outputs: bool,
}

impl<'a> Reading<'a> {
    /// Everything in the files, by their text alone.
    #[must_use]
    pub fn of_text(environment: Environment<'a>, hostname: &'a str) -> Self {
        Self {
            filter: PluginFilter::default(),
            environment,
            hostname,
            depth: Depth::Text,
            skips_unknown: false,
            without_unknown: String::new(),
            needs_inputs: false,
            needs_outputs: false,
        }
    }
}

/// How far options are checked.
#[derive(Clone, Copy)]
pub enum Depth<'a> {
    /// As a start does, here.
    Here(&'a Host),
    /// Likewise, but what is only on the machine that it is for is not missed.
    Elsewhere,
    /// By their text alone: nothing of the system is looked at.
    Text,
}
