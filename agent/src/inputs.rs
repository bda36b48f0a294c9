//! The inputs: what turns a source (the kernel's ledger, `/proc`) into points.
//!
//! Owns the `Input` trait and the table of inputs by Telegraf name. Each input is one module of the same name,
//! with an `Options` struct that is its section of the configuration file. The pipeline calls `gather` on the
//! input's schedule, names the points and passes them on; an input knows nothing of outputs.

pub mod cpu;
pub mod disk;
pub mod ebpf;
pub mod mem;
pub mod system;

use crate::point::{Point, Timestamp};

/// Points of one gather.
#[derive(Debug)]
pub struct Gathered {
    /// The time of this gather; already rounded to the precision.
    pub time: Timestamp,
    /// What was gathered so far.
    pub points: Vec<Point>,
}

impl Gathered {
    /// An empty collection for a gather at `time`.
    #[must_use]
    pub fn at(time: Timestamp) -> Self {
        Self { time, points: Vec::new() }
    }

    /// A new point at the time of this gather; hand it back with `push`.
    pub fn point(&self, measurement: &'static str) -> Point {
        Point::new(measurement, self.time)
    }

    /// Adds a point. One without fields carries nothing and is left out.
    pub fn push(&mut self, point: Point) {
        if !point.fields.is_empty() {
            self.points.push(point);
        }
    }
}

/// Why a gather gave less than it should; what was pushed before the error is kept.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    /// A file could not be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A file was read, and does not say what proc(5) says it should.
    #[error("cannot understand {path}: {what}")]
    Malformed {
        /// The file.
        path: std::path::PathBuf,
        /// The part that was not understood.
        what: String,
    },
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}

/// A source of points.
#[async_trait::async_trait]
pub trait Input: Send {
    /// Telegraf's name of the plugin, as in `[[inputs.NAME]]`.
    fn name(&self) -> &'static str;

    /// Reads the source once and adds its points.
    ///
    /// # Errors
    /// Says what could not be read. Points added before the error are sent all the same.
    async fn gather(&mut self, gathered: &mut Gathered) -> Result<(), GatherError>;

    /// Does what has to be done between two gathers, for as long as nothing else is asked of the input.
    ///
    /// Cancelled at each gather, so it may only wait where that is safe. The default waits for ever.
    async fn between(&mut self) {
        std::future::pending().await
    }
}
