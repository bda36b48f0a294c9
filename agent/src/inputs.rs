//! The inputs: what turns a source (the kernel's ledger, `/proc`) into points.
//!
//! Owns the `Input` trait and the table of inputs by Telegraf name. Each input is one module of the same name,
//! with an `Options` struct that is its section of the configuration file. The pipeline calls `gather` on the
//! input's schedule, names the points and passes them on; an input knows nothing of outputs.

pub mod cpu;
pub mod disk;
pub mod docker;
pub mod ebpf;
#[cfg(test)]
mod golden;
pub mod mem;
pub mod system;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cgroupfs::Cgroupfs;
use crate::config::{InputCommon, OptionError, file};
use crate::host::Host;
use crate::identity::names::Names;
use crate::point::{Point, Timestamp};

/// The table of inputs: Telegraf's name, variant, module.
macro_rules! inputs {
    ($($name:literal => $variant:ident($module:ident)),* $(,)?) => {
        /// The options of one input, whichever it is.
        #[derive(Clone, Debug)]
        #[expect(clippy::large_enum_variant, reason = "a handful of them, at the start")]
        pub enum InputOptions {
            $(
                #[doc = concat!("`[[inputs.", $name, "]]`")]
                $variant($module::Options),
            )*
        }

        impl InputOptions {
            /// The names of all inputs, sorted.
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            /// Every input with its default options.
            #[must_use]
            pub fn all() -> Vec<Self> {
                vec![$(Self::$variant($module::Options::default())),*]
            }

            /// The input's name.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name),* }
            }

            /// Reads the options of the input `name`; `None` when they have problems or there is no such input.
            pub fn read(name: &str, options: &mut file::Options<'_>) -> Option<Self> {
                match name {
                    $($name => options.read().map(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

inputs! {
    "cpu" => Cpu(cpu),
    "disk" => Disk(disk),
    "docker" => Docker(docker),
    "ebpf" => Ebpf(ebpf),
    "mem" => Mem(mem),
    "system" => System(system),
}

/// What all inputs of a process share. It outlives them when the configuration is read again.
#[derive(Debug)]
pub struct Shared {
    /// Where the host's files are.
    pub host: Host,
    /// The cgroups as cgroupfs shows them.
    pub cgroupfs: Cgroupfs,
    /// The names of containers and pods, from the inputs that ask for them.
    pub names: Names,
}

impl Shared {
    /// For this host; nobody has a name yet.
    #[must_use]
    pub fn new(host: Host) -> Arc<Self> {
        Arc::new(Self { cgroupfs: Cgroupfs::new(&host), host, names: Names::default() })
    }
}

impl InputOptions {
    /// Makes the input. Call it within the runtime.
    ///
    /// # Errors
    /// Why it cannot start at all.
    pub fn build(self, shared: &Arc<Shared>) -> Result<Box<dyn Input>, StartError> {
        let host = &shared.host;
        Ok(match self {
            Self::Cpu(options) => Box::new(cpu::Cpu::new(options, host)),
            Self::Disk(options) => Box::new(disk::Disk::new(options, host)),
            Self::Docker(options) => Box::new(docker::Docker::new(options, shared)?),
            Self::Ebpf(options) => Box::new(ebpf::Ebpf::new(options, shared)?),
            Self::Mem(options) => Box::new(mem::Mem::new(options, host)),
            Self::System(options) => Box::new(system::System::new(options, host)),
        })
    }
}

/// Why an input cannot start at all.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An option that it cannot work with.
    #[error(transparent)]
    Option(#[from] OptionError),
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

/// Reads a file whole. For the files of proc(5) and sysfs(5): the kernel answers at once, so it is done on the spot.
///
/// # Errors
/// [`GatherError::Read`] names the file. Bytes that are not UTF-8 are replaced, not refused.
pub(crate) fn read_text(path: &std::path::Path) -> Result<String, GatherError> {
    let bytes = std::fs::read(path).map_err(|error| GatherError::Read { path: path.to_owned(), error })?;
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// Between two gathers of a run that gathers once, for the inputs whose figures are differences; Telegraf's.
pub(crate) const FIRST_READING: std::time::Duration = std::time::Duration::from_millis(500);

/// Gathers once: the points as the input's options and the global tags have them, and whether that is all there should be.
/// What is missing is logged.
pub(crate) async fn gather(
    input: &mut dyn Input,
    common: &InputCommon,
    global_tags: &BTreeMap<String, String>,
) -> (Vec<Point>, bool) {
    let mut gathered = Gathered::at(Timestamp::now().rounded(common.precision));
    let result = input.gather(&mut gathered).await;
    if let Err(error) = &result {
        let name = common.alias.as_deref().unwrap_or(input.name());
        tracing::error!(input = name, %error, "gather is incomplete");
    }
    let points = gathered.points.into_iter();
    (points.filter_map(|point| common.process(global_tags, point)).collect(), result.is_ok())
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
        std::future::pending::<()>().await;
    }
}
