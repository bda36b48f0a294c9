//! The inputs: what turns a source (the kernel's ledger, `/proc`) into points.
//!
//! Owns the `Input` trait, and what all inputs share. Each input is one module of Telegraf's name for it, with an `Options`
//! struct that is its section of the configuration file. The pipeline calls `gather` on the input's schedule, names the points
//! and passes them on; an input knows nothing about outputs.

pub(crate) mod cgroup;
pub(crate) mod cpu;
pub(crate) mod disk;
pub(crate) mod diskio;
pub(crate) mod docker;
pub(crate) mod ebpf;
pub(crate) mod handover;
pub(crate) mod influxdb_listener;
pub(crate) mod influxdb_v2_listener;
pub(crate) mod internal;
pub(crate) mod kernel;
pub(crate) mod kubernetes;
pub(crate) mod latencies;
pub(crate) mod listener;
pub(crate) mod mem;
pub(crate) mod net;
pub(crate) mod offloaded;
pub(crate) mod processes;
pub(crate) mod prometheus;
pub(crate) mod socket_listener;
pub(crate) mod swap;
pub(crate) mod system;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use self::handover::Handover;
use self::latencies::Latencies;
use self::listener::queue::Queue;
use crate::host::Host;
use crate::host::cgroupfs::Cgroupfs;
use crate::host::file::{KernelFile, lossy};
use crate::host::hierarchies::Hierarchies;
use crate::identity::containers::Containers;
use crate::identity::names::Names;
use crate::kernel::processes::OfferedPass;
use crate::listen::sockets::Sockets;
use crate::options::OptionError;
use crate::options::common::InputCommon;
use crate::point::{Point, Tags, Timestamp};
use crate::service::budget::Budget;
use crate::service::clock_watch::ClockWatch;
use crate::service::logging;
use crate::service::privilege::{ADVICE, Files};
use crate::service::receipt::Receipt;
use crate::service::telemetry::Telemetry;
use crate::service::turns::Turns;

/// What all inputs of a process share. It outlives them when the configuration is reloaded.
#[derive(Debug)]
pub struct Shared {
    /// Where the host's files are.
    pub(crate) host: Host,
    /// The cgroups as cgroupfs shows them.
    pub(crate) cgroupfs: Cgroupfs,
    /// Where the cgroup of each container is.
    pub(crate) containers: Containers,
    /// The names of containers and pods, from the inputs that fetch them.
    pub(crate) names: Arc<Names>,
    /// The agent's counters.
    pub(crate) telemetry: Arc<Telemetry>,
    /// What counts processes where the probes are.
    pub(crate) process_pass: OfferedPass,
    /// What an input that has ended left.
    pub(crate) handover: Handover,
    /// What somebody who looks at a row sees beside its points.
    pub(crate) latencies: Latencies,
    /// By which gathers take turns.
    pub(crate) turns: Turns,
    /// What inputs listen on.
    pub(crate) sockets: Sockets,
    /// Tells when the clock was set.
    pub(crate) clock: Arc<ClockWatch>,
    /// Figures are shown, and written nowhere.
    is_looking: bool,
}

impl Shared {
    /// For this host; nobody has a name yet.
    #[must_use]
    pub fn new(host: Host) -> Arc<Self> {
        let hierarchies = Hierarchies::read(&host);
        Arc::new(Self::of(host, hierarchies))
    }

    /// Likewise, for somebody who looks at figures and writes none.
    #[must_use]
    pub fn looking(host: Host) -> Arc<Self> {
        let hierarchies = Hierarchies::read(&host);
        Arc::new(Self { is_looking: true, ..Self::of(host, hierarchies) })
    }

    /// For a host whose hierarchies are known.
    pub(crate) fn of(host: Host, hierarchies: Hierarchies) -> Self {
        Self {
            host,
            containers: Containers::new(&hierarchies),
            cgroupfs: Cgroupfs::new(hierarchies),
            names: Arc::default(),
            telemetry: Arc::default(),
            process_pass: OfferedPass::default(),
            handover: Handover::default(),
            latencies: Latencies::default(),
            turns: Turns::default(),
            sockets: Sockets::default(),
            clock: Arc::default(),
            is_looking: false,
        }
    }

    /// Whether so many other agents of this host may write the series that this one does. Who only looks writes none.
    pub(crate) fn meets(&self, others: usize) -> bool {
        others > 0 && !self.is_looking
    }
}

/// The options of an input, from which it is made.
pub trait InputPlugin {
    /// Checks the options as [`Self::build`] does, which starts the input then.
    ///
    /// # Errors
    /// An option that cannot be used, and what to do.
    fn check(&self, _: &Host) -> Result<(), OptionError> {
        Ok(())
    }

    /// Options that do nothing, or not what they seem to; without a host only what can be told of their text.
    fn remarks(&self, _: Option<&Host>) -> Vec<OptionError> {
        Vec::new()
    }

    /// The address that it listens on, for one that does.
    fn listens_on(&self) -> Option<String> {
        None
    }

    /// Files that the options name and that are needed while it runs.
    fn files(&self) -> Files {
        Files::default()
    }

    /// What it takes at most besides what every input takes, on a machine on which there can be so many CPUs.
    fn budget(&self, _cpus: u64) -> Budget {
        Budget::default()
    }

    /// Makes the input. Call it within the runtime.
    ///
    /// # Errors
    /// Why it cannot start.
    fn build(self: Box<Self>, shared: &Arc<Shared>) -> Result<Box<dyn Input>, StartError>;
}

/// Why an input cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An option that it cannot work with.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// Probes that it would need cannot be loaded any more.
    #[error("other probes cannot be loaded while it runs: {ADVICE}")]
    GivenUp,
    /// The ring buffer cannot be waited for.
    #[error("cannot watch the ring buffer: {0}")]
    Ring(#[from] std::io::Error),
}

/// Points of one gather.
#[derive(Debug)]
pub struct Gathered {
    /// The time of this gather; already rounded to the precision.
    pub time: Timestamp,
    /// What was gathered so far.
    pub points: Vec<Point>,
    /// Nothing of this gather may be held back for the next: it is the last one, or it is a first reading, whose points
    /// nobody takes.
    pub(crate) is_last: bool,
    /// The input ends with it.
    pub(crate) is_end: bool,
    /// It is the only one that is stored of this run: totals that begin with the run say nothing.
    pub(crate) is_only: bool,
    /// Goes along with the points, for an input that is to know when they are kept.
    pub(crate) receipt: Option<Receipt>,
}

impl Gathered {
    /// An empty collection for a gather at `time`.
    #[must_use]
    pub fn at(time: Timestamp) -> Self {
        Self { time, points: Vec::new(), is_last: false, is_end: false, is_only: false, receipt: None }
    }

    /// A reading whose points nobody takes, so that the figures of the next one are differences from here.
    #[must_use]
    pub fn first_reading() -> Self {
        Self { is_last: true, ..Self::at(Timestamp::now()) }
    }

    /// A new point at the time of this gather; add it with `push`.
    pub(crate) fn point(&self, measurement: &'static str) -> Point {
        Point::new(measurement, self.time)
    }

    /// Adds a point, unless it has no fields.
    pub(crate) fn push(&mut self, point: Point) {
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
        /// The system's error.
        error: std::io::Error,
    },
    /// A file is not of the format that proc(5) documents.
    #[error("cannot parse {path}: {what}")]
    Malformed {
        /// The file.
        path: std::path::PathBuf,
        /// The part that is malformed.
        what: String,
    },
    /// A lasting failure: it was logged when it began, and is counted at each gather.
    #[error("still incomplete")]
    Counted,
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}

/// What a gather gave, and whether that is all.
pub(crate) type Given = (Gathered, Result<(), GatherError>);

/// Reads a file whole. For the files of proc(5) and sysfs(5): the kernel answers at once, so this may block.
///
/// # Errors
/// [`GatherError::Read`] names the file. Bytes that are not UTF-8 are replaced.
pub(crate) fn read_text(path: &std::path::Path) -> Result<String, GatherError> {
    std::fs::read(path).map(lossy).map_err(|error| GatherError::Read { path: path.to_owned(), error })
}

/// As [`read_text`], of a file that is read at each gather.
///
/// # Errors
/// As [`read_text`].
pub(crate) fn read_again(file: &mut KernelFile) -> Result<String, GatherError> {
    file.read().map_err(|error| GatherError::Read { path: file.path().to_owned(), error })
}

/// Telegraf's delay between the two gathers of a run that gathers once, for the inputs whose figures are differences.
pub(crate) const FIRST_READING: std::time::Duration = std::time::Duration::from_millis(500);

/// An empty collection for a gather now. With one that `is_end`, the input ends: nothing may be held back for the next one.
pub(crate) fn begin(common: &InputCommon, is_end: bool) -> Gathered {
    Gathered { is_last: is_end, is_end, ..Gathered::at(Timestamp::now().rounded(common.precision)) }
}

/// The points of a gather, with the input's common options and the global tags applied, and whether they are complete. What is
/// missing is logged, so this is called within the input's span.
pub(crate) fn finish(
    (gathered, result): Given,
    common: &InputCommon,
    global_tags: &Tags,
) -> (Vec<Point>, bool) {
    if let Err(error) = &result
        && !matches!(error, GatherError::Counted)
    {
        tracing::error!(%error, "gather is incomplete");
    }
    (process(gathered.points, common, global_tags), result.is_ok())
}

/// Whether no input failed in a run that gathers once; says how many did.
pub(crate) fn all_gave(failed: usize) -> bool {
    if failed > 0 {
        tracing::error!(inputs = failed, "not all was gathered: inputs failed");
    }
    failed == 0
}

/// Applies the input's common options and the global tags to points.
pub(crate) fn process(points: Vec<Point>, common: &InputCommon, global_tags: &Tags) -> Vec<Point> {
    let points = points.into_iter().filter_map(|mut point| {
        // Some have a time of their own.
        point.time = point.time.rounded(common.precision);
        common.process(global_tags, point)
    });
    points.collect()
}

/// The span in which an input works, so that its lines in the log have its name.
pub(crate) fn span(name: &str, common: &InputCommon) -> tracing::Span {
    logging::plugin("inputs", name, common.alias.as_deref(), common.log_level)
}

/// A source of points.
#[async_trait::async_trait]
pub trait Input: Send {
    /// Telegraf's name of the plugin, as in `[[inputs.NAME]]`.
    fn name(&self) -> &'static str;

    /// Reads the source once and adds its points.
    ///
    /// # Errors
    /// What could not be read. Points added before the error are still sent.
    async fn gather(&mut self, gathered: &mut Gathered) -> Result<(), GatherError>;

    /// Whether the first gather gives less than the second, because figures are differences. Where the agent gathers once,
    /// such an input gathers twice, half a second apart.
    fn needs_two_readings(&self) -> bool {
        false
    }

    /// Whether what it counted since the last gather is lost when it ends, because its counters end with it. Then it gathers once
    /// more; the counters of the others go on in the kernel or at a server.
    fn counts_end_with_it(&self) -> bool {
        false
    }

    /// Where points wait that others sent to it, for an input that listens. They are handed on as the outputs have room.
    fn queue(&self) -> Option<Arc<Queue>> {
        None
    }

    /// Does what has to be done between two gathers.
    ///
    /// Cancelled at each gather, so it must be cancel-safe. The default waits forever.
    async fn between(&mut self) {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_only_looks_meets_nobodys_series() {
        let (run, look) = (Shared::new(Host::default()), Shared::looking(Host::default()));
        assert_eq!([run.meets(0), run.meets(1), look.meets(1)], [false, true, false]);
    }

    #[test]
    fn times_that_points_bring_along_are_rounded_to_the_precision() {
        let common = InputCommon::default();
        let mut gathered = begin(&common, false);
        for time in [1_499_999_999, 1_500_000_000] {
            gathered.push(Point::new("m", Timestamp(time)).field("n", 1_i64));
        }
        let (points, _) = finish((gathered, Ok(())), &common, &Tags::new());
        let times: Vec<i64> = points.iter().map(|point| point.time.0).collect();
        assert_eq!(times, [1_000_000_000, 2_000_000_000]);
    }
}
