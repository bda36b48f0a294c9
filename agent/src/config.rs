//! The resolved configuration, with every default applied.
//!
//! `file` parses Telegraf's format and rejects what it does not know. Only `loader` reads files and the environment, and only
//! `check` looks at what they name.

mod agent;
pub mod budget;
mod check;
mod common;
mod entry;
pub mod env;
pub mod file;
mod found;
pub mod loader;
pub mod migration;
mod needs;
pub mod notes;
pub mod reader;
pub mod reading;
pub mod sample;
mod secret_stores;
mod section;
mod telegraf;

use std::path::PathBuf;
use std::time::Duration;

use crate::options::common::{
    Buffering, DEFAULT_BATCH_SIZE, DEFAULT_BUFFER_LIMIT, DEFAULT_FLUSH_INTERVAL, DEFAULT_INTERVAL,
    InputCommon, OutputCommon, auto_precision,
};
use crate::plugins::{InputOptions, OutputOptions};
use crate::point::Tags;
use crate::service::logging::{LogOptions, LogSettings};

/// Everything that is configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[agent]`
    pub agent: Agent,
    /// `[global_tags]`, and `host` unless it is omitted.
    pub global_tags: Tags,
    /// `[[inputs.*]]`, in the order of the files.
    pub inputs: Vec<InputSection>,
    /// `[[outputs.*]]`, likewise.
    pub outputs: Vec<OutputSection>,
    /// Where secrets were read that it refers to.
    pub secret_directories: Vec<PathBuf>,
    /// The files it was read from; empty for the default.
    pub sources: Vec<PathBuf>,
    /// What a person should know but need not act on, one line each.
    pub warnings: Vec<String>,
}

impl Config {
    /// The settings of the log; `debug` and `quiet` are from the command line.
    #[must_use]
    pub fn log_settings(&self, debug: bool, quiet: bool) -> LogSettings {
        let inputs = self.inputs.iter().filter_map(|section| section.common.log_level);
        let outputs = self.outputs.iter().filter_map(|section| section.common.log_level);
        let mut options = self.agent.log.clone();
        options.debug |= debug;
        options.quiet |= quiet;
        LogSettings { options, plugins: inputs.chain(outputs).max() }
    }
}

/// `[agent]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// From one gather to the next.
    pub interval: Duration,
    /// Gather at whole multiples of the interval.
    pub round_interval: bool,
    /// Each gather is delayed by up to this, at random.
    pub collection_jitter: Duration,
    /// Each gather is delayed by this.
    pub collection_offset: Duration,
    /// From one flush to the next.
    pub flush_interval: Duration,
    /// Each flush is delayed by up to this, at random.
    pub flush_jitter: Duration,
    /// Points in one request.
    pub metric_batch_size: usize,
    /// Points an output buffers while it cannot write.
    pub metric_buffer_limit: usize,
    /// Series of all inputs together; 0 is no limit.
    pub metric_series_limit: usize,
    /// Where it keeps them.
    pub buffering: Buffering,
    /// Times are rounded to this.
    pub precision: Duration,
    /// The `host` tag; `None` when it is omitted.
    pub hostname: Option<String>,
    /// Tags of the input are added again when its filters removed them.
    pub always_include_local_tags: bool,
    /// So are the global tags.
    pub always_include_global_tags: bool,
    /// The agent writes the measurement `seismograf` about itself.
    pub self_metrics: bool,
    /// Plugins that are not part of this agent are left out.
    pub skip_unknown_plugins: bool,
    /// Where totals are remembered from one run to the next.
    pub statefile: Option<PathBuf>,
    /// Where others ask whether the agent is alive.
    pub health_address: Option<String>,
    /// What is not needed any more after the start is given up.
    pub drops_privileges: bool,
    /// Where and how the agent logs.
    pub log: LogOptions,
}

impl Default for Agent {
    fn default() -> Self {
        Self {
            interval: DEFAULT_INTERVAL,
            round_interval: true,
            collection_jitter: Duration::ZERO,
            collection_offset: Duration::ZERO,
            flush_interval: DEFAULT_FLUSH_INTERVAL,
            flush_jitter: Duration::ZERO,
            metric_batch_size: DEFAULT_BATCH_SIZE,
            metric_buffer_limit: DEFAULT_BUFFER_LIMIT,
            metric_series_limit: 0,
            buffering: Buffering::default(),
            precision: auto_precision(DEFAULT_INTERVAL),
            hostname: None,
            always_include_local_tags: false,
            always_include_global_tags: false,
            self_metrics: true,
            skip_unknown_plugins: false,
            statefile: None,
            health_address: None,
            drops_privileges: true,
            log: LogOptions::default(),
        }
    }
}

impl Agent {
    /// The common options of an input that sets none.
    #[must_use]
    pub fn input_common(&self) -> InputCommon {
        InputCommon {
            interval: self.interval,
            precision: self.precision,
            collection_jitter: self.collection_jitter,
            collection_offset: self.collection_offset,
            always_include_local_tags: self.always_include_local_tags,
            always_include_global_tags: self.always_include_global_tags,
            ..InputCommon::default()
        }
    }
}

/// A place in a configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file; empty for the default configuration.
    pub file: PathBuf,
    /// The line, from 1; 0 when it is about the whole file.
    pub line: usize,
    /// The character within the line, from 1; 0 when only the line is known.
    pub column: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if self.column > 0 { write!(f, ":{}", self.column) } else { Ok(()) }
    }
}

/// `[[inputs.*]]`
#[derive(Clone, Debug)]
pub struct InputSection {
    /// The input's own options.
    pub options: InputOptions,
    /// The options that every input has.
    pub common: InputCommon,
    /// Where it is in the files.
    pub place: Place,
}

/// `[[outputs.*]]`
#[derive(Clone, Debug)]
pub struct OutputSection {
    /// The output's own options.
    pub options: OutputOptions,
    /// The options that every output has.
    pub common: OutputCommon,
    /// Where it is in the files.
    pub place: Place,
}
