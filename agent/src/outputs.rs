//! The outputs: where points go.
//!
//! Owns the `Output` trait and what an output answers. An output writes the lines that it is handed; what is kept, when it is
//! written and tried again is `sender`'s. None of them knows of inputs and schedules.

mod answer;
pub mod batch;
mod delivery;
pub mod file;
pub mod influxdb;
pub mod influxdb_v2;
pub mod sender;
mod servers;
mod udp;

use std::io::Read as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::bufread::GzEncoder;

use self::batch::Encoding;
use crate::options::OptionError;

/// The options of an output, from which it is made.
pub trait OutputPlugin {
    /// Makes the outputs of a section, mostly one; nothing is contacted yet.
    ///
    /// # Errors
    /// Which option it cannot work with, and what to do.
    fn build(self: Box<Self>) -> Result<Vec<Box<dyn Output>>, OptionError>;
}

/// What became of some lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// They are stored, but for `dropped` of them, which the other side counts and will never take.
    Stored {
        /// How many it dropped.
        dropped: u64,
        /// Why, when it dropped some.
        reason: String,
    },
    /// Something about these lines is not acceptable; fewer of them may be.
    Refused(String),
    /// Not now, whatever the lines are.
    Later {
        /// Why, and what to do.
        reason: String,
        /// How long the other side asks to be left alone.
        after: Option<Duration>,
        /// It is said of the lines' route alone, such as of a database that is missing: others may go.
        only_here: bool,
    },
}

impl Answer {
    /// All are stored.
    pub const STORED: Self = Self::Stored { dropped: 0, reason: String::new() };

    /// [`Answer::Later`] for all lines, whenever it suits.
    pub fn later(reason: impl Into<String>) -> Self {
        Self::Later { reason: reason.into(), after: None, only_here: false }
    }

    /// With the server's URL, where there is something to be said about it.
    fn from(self, url: &str) -> Self {
        match self {
            Self::Later { reason, after, only_here } => {
                Self::Later { reason: format!("{url}: {reason}"), after, only_here }
            }
            answer => answer,
        }
    }
}

/// A place that takes lines.
#[async_trait::async_trait]
pub trait Output: Send {
    /// Where it writes to, for the log: a path, or a URL without its secrets.
    fn place(&self) -> String;

    /// What tells this place from every other of its kind: points that wait for one may be written to another that is the
    /// same. The default is for places that say it all.
    fn destination(&self) -> String {
        self.place()
    }

    /// Prepares the other side, such as by creating a database. Called once, before the first write; what does not work is
    /// logged, and tried again when a write shows that it is needed.
    async fn connect(&mut self) {}

    /// How it wants its lines.
    fn encoding(&self) -> Encoding {
        Encoding::default()
    }

    /// Hands over lines of line protocol, each with its end, that have this [`Route`]. May be called
    /// again with the same ones.
    async fn write(&mut self, route: &[Option<String>], lines: &[Bytes]) -> Answer;

    /// What each of its places says of itself, or why it is not reached; for `doctor`. Nothing is written.
    async fn check(&mut self) -> Vec<(String, Result<String, String>)> {
        vec![(self.place(), Ok("not tried".into()))]
    }
}

/// A text in gzip's format.
fn gzip(text: &[u8], level: Compression) -> Vec<u8> {
    let mut packed = Vec::new();
    // From memory, which does not fail.
    let _ = GzEncoder::new(text, level).read_to_end(&mut packed);
    packed
}

/// No more of a text than a log line should have.
pub(crate) fn shortened(text: &str) -> String {
    const MOST_CHARS: usize = 300;
    match text.char_indices().nth(MOST_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
