//! The outputs: where points go.
//!
//! Owns the `Output` trait and what an output answers. An output writes the lines that it is handed; `sender` decides what is
//! kept, and when it is written and retried. None of them knows of inputs or their schedules.

pub(crate) mod answer;
mod backlog;
mod batch;
pub mod budget;
mod buffer;
mod compress;
mod credentials;
mod delivery;
mod endpoint;
pub(crate) mod file;
#[cfg(feature = "http")]
pub mod http;
pub mod influxdb;
pub mod influxdb_v2;
pub mod influxdb_v3;
#[cfg(feature = "kafka")]
pub mod kafka;
mod local_address;
mod memory;
#[cfg(feature = "opentelemetry")]
pub mod opentelemetry;
mod parsed;
mod passed;
#[cfg(feature = "prometheus_client")]
pub mod prometheus_client;
mod rate_limit;
pub mod sender;
mod servers;
mod shards;
pub(crate) mod spooler;
mod trial;
mod udp;
mod write_api;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use self::batch::Encoding;
use crate::listen::sockets::Sockets;
use crate::options::OptionError;
use crate::service::budget::Budget;
use crate::service::privilege::Files;
use crate::service::telemetry::Telemetry;

/// The options of an output, from which it is built.
pub trait OutputPlugin {
    /// Builds the outputs of a section, usually one; nothing is contacted yet.
    ///
    /// # Errors
    /// An option that cannot be used, and what to do.
    fn build(self: Box<Self>) -> Result<Vec<Box<dyn Output>>, OptionError>;

    /// The address that it listens on, for one that is asked for what it has.
    fn listens_on(&self) -> Option<String> {
        None
    }

    /// Files that the options name and that are needed while it runs.
    fn files(&self) -> Files {
        Files::default()
    }

    /// What it takes at most besides what every output takes: see [`budget::of_all`].
    fn budget(&self) -> Budget {
        Budget::default()
    }

    /// Options that do nothing, or not what they seem to.
    fn remarks(&self) -> Vec<OptionError> {
        Vec::new()
    }
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The lines are stored, except for `dropped` of them, which the other side will never take.
    Stored {
        /// How many it dropped.
        dropped: u64,
        /// Why, when it dropped some.
        reason: String,
    },
    /// None of the lines is stored, and something about them is not acceptable.
    Rejected {
        /// What.
        reason: String,
        /// Which lines it is about, as far as the answer says.
        blame: Blame,
    },
    /// All lines are stored but these, which the other side tells apart.
    Partly {
        /// Lines that are to be written again, by their number among those that were sent.
        left: BTreeSet<usize>,
        /// Lines that it will never take, each with the reason.
        rejected: BTreeMap<usize, String>,
        /// Why some are left, and what to do.
        reason: String,
        /// How long the other side asks to wait with those.
        after: Option<Duration>,
        /// Only the lines' route is affected.
        route_only: bool,
    },
    /// Not now, whatever the lines are: they are to be written again.
    Retry {
        /// Why, and what to do.
        reason: String,
        /// How long the other side asks to wait.
        after: Option<Duration>,
        /// Only the lines' route is affected, such as a database that is missing; others can be written.
        route_only: bool,
    },
}

/// What an answer that rejects lines says about which ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Blame {
    /// Nothing; the cause may be something else.
    #[default]
    Unknown,
    /// It is one of them, or several.
    Some,
    /// These, by their number among those that were sent, each with the reason. The others are acceptable.
    Lines(BTreeMap<usize, String>),
}

impl Answer {
    /// All are stored.
    pub const STORED: Self = Self::Stored { dropped: 0, reason: String::new() };

    /// [`Answer::Retry`] for every route, after the usual backoff.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry { reason: reason.into(), after: None, route_only: false }
    }

    /// Adds the server's URL to the reason for a retry.
    fn at(self, url: &str) -> Self {
        match self {
            Self::Retry { reason, after, route_only } => {
                Self::Retry { reason: format!("{url}: {reason}"), after, route_only }
            }
            answer => answer,
        }
    }
}

/// A place that takes lines.
#[async_trait::async_trait]
pub trait Output: Send + Sync {
    /// Where it writes to, for the log: a path, or a URL without secrets.
    fn place(&self) -> String;

    /// Identifies the destination: points that are queued for one output may be written to another with the same
    /// destination. The default is for outputs whose place says it all.
    fn destination(&self) -> String {
        self.place()
    }

    /// Binds the address at which others ask for what it has, for an output that is asked. Called once, before anything runs and
    /// within the runtime; it may block.
    ///
    /// # Errors
    /// Why it cannot be bound, and what to do.
    fn bind(&mut self, _sockets: &Sockets, _telemetry: &Telemetry) -> Result<(), OptionError> {
        Ok(())
    }

    /// Prepares the other side, such as by creating a database. Called once, before the first write; a failure is logged,
    /// and retried when a write shows that it is needed.
    async fn connect(&self) {}

    /// A directory in which it can keep what the next agent should know: that of its spool. Called before the first write.
    fn keep_state(&mut self, _directory: &Path) {}

    /// How its lines are encoded.
    fn encoding(&self) -> Encoding {
        Encoding::default()
    }

    /// How many writes it takes at one time.
    fn max_in_flight(&self) -> usize {
        1
    }

    /// Whether lines of which the answer says that some were dropped may be sent again, to find out which.
    fn may_repeat(&self) -> bool {
        true
    }

    /// How many of those may be of one route, so that one that hangs leaves room for the others.
    fn max_in_flight_of_route(&self) -> usize {
        self.max_in_flight()
    }

    /// Writes lines of line protocol, each with its newline, to a `Route`. May be called again with the same
    /// lines.
    async fn write(&self, route: &[Option<String>], lines: &[Bytes]) -> Answer;

    /// What each of its places reports about itself, or why it cannot be reached or would take no lines; for `doctor`. Nothing
    /// is written.
    async fn check(&self) -> Vec<(String, Result<String, String>)> {
        vec![(self.place(), Ok("not tried".into()))]
    }
}

/// As much of a text as fits into a log line.
pub(crate) fn shortened(text: &str) -> String {
    const MAX_CHARS: usize = 300;
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
