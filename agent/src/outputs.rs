//! The outputs: where points go.

pub mod file;
pub mod influxdb;

use crate::config::file as config_file;

/// The options of one output, whichever it is.
#[derive(Clone, Debug)]
pub enum OutputOptions {
    /// `[[outputs.file]]`
    File(file::Options),
    /// `[[outputs.influxdb]]`
    Influxdb(influxdb::Options),
}

impl OutputOptions {
    /// The names of all outputs, sorted.
    pub const NAMES: &'static [&'static str] = &["file", "influxdb"];

    /// The output's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Influxdb(_) => "influxdb",
        }
    }

    /// Reads the options of the output `name`; `None` when they have problems or there is no such output.
    pub fn read(name: &str, options: &mut config_file::Options<'_>) -> Option<Self> {
        match name {
            "file" => options.read().map(Self::File),
            "influxdb" => options.read().map(Self::Influxdb),
            _ => None,
        }
    }
}
