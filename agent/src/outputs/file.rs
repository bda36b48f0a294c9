//! `[[outputs.file]]`: line protocol into files or the standard output.

use serde::Deserialize;

/// The section `[[outputs.file]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Where to write: paths, or `stdout`.
    pub files: Vec<String>,
    /// The format; `influx` is the one there is.
    pub data_format: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { files: vec!["stdout".into()], data_format: "influx".into() }
    }
}
