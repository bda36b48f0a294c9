//! `[[inputs.ebpf]]`: CPU, block I/O and network of every cgroup, from the kernel's ledger.
//!
//! A gather has every CPU write its cache back, drains the ring into the ledger, and makes points of the totals: the
//! figures are those of the moment of the gather. Between gathers it drains when the kernel says that the ring fills up.
//! Measurements: `cgroup_cpu`, `cgroup_blkio`, `cgroup_net`; from the files of cgroupfs `cgroup_mem`, `cgroup_pressure` and
//! what a CPU quota did; `pod_cpu`, `pod_blkio`, `pod_net`, `pod_mem` for the sums over pods; and `seismograf` for the
//! balance and the losses.

mod balance;
mod books;
mod held;
mod pods;
mod points;

use std::sync::Arc;
use std::time::Instant;

use globset::{Glob, GlobSet, GlobSetBuilder};
use serde::Deserialize;

use self::balance::Machine;
use self::books::{Areas, Books};
use self::held::Naming;
use self::points::Maker;
use super::{GatherError, Gathered, Input, InputPlugin, Shared, StartError};
use crate::host::hierarchies::HierarchyId;
use crate::kernel::drain::Drain;
use crate::kernel::load::Probes;
use crate::kernel::plan::{Group, GroupState, Probe, ProbeOptions, Report};
use crate::kernel::records::Record;
use crate::options::OptionError;

/// What is read of each cgroup from the files of cgroupfs, beside what the probes count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cgroupfs {
    /// Memory, as `cgroup_mem`.
    Mem,
    /// What a CPU quota did, in `cgroup_cpu`.
    Throttling,
    /// Pressure stall information, as `cgroup_pressure`.
    Pressure,
}

/// The section `[[inputs.ebpf]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The probe groups that are loaded.
    pub probes: Vec<Probe>,
    /// What else is read of each cgroup, from the files of cgroupfs.
    pub cgroupfs: Vec<Cgroupfs>,
    /// How long a delta stays in the kernel's cache at the most.
    #[serde(deserialize_with = "crate::options::duration::deserialize")]
    pub flush_period: std::time::Duration,
    /// Size of the ring buffer; rounded up to a power of two of pages.
    #[serde(deserialize_with = "crate::options::duration::deserialize_size")]
    pub ring_bytes: u32,
    /// Only cgroups whose path matches one of these globs; empty means all.
    pub cgroup_include: Vec<String>,
    /// No cgroups whose path matches one of these globs.
    pub cgroup_exclude: Vec<String>,
    /// Have the kernel measure what each probe costs, and publish it (measurement `seismograf`, part `probe`).
    pub probe_costs: bool,
    /// Tags that are only added on request: `container_id`, `pod_uid`.
    pub tag_include: Vec<String>,
}

impl Options {
    /// What it asks of the probes.
    #[must_use]
    pub fn kernel(&self) -> ProbeOptions {
        let Self { probes, ring_bytes, probe_costs, .. } = self;
        ProbeOptions { probes: probes.clone(), ring_bytes: *ring_bytes, probe_costs: *probe_costs }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            probes: vec![Probe::Cpu, Probe::Blkio, Probe::Net],
            cgroupfs: vec![Cgroupfs::Mem, Cgroupfs::Throttling, Cgroupfs::Pressure],
            flush_period: std::time::Duration::from_secs(10),
            ring_bytes: 1 << 20,
            cgroup_include: Vec::new(),
            cgroup_exclude: Vec::new(),
            probe_costs: false,
            tag_include: Vec::new(),
        }
    }
}

/// The probes, the ledger and the identities behind `[[inputs.ebpf]]`.
pub struct Ebpf {
    options: Options,
    shared: Arc<Shared>,
    /// `None` when the kernel let none of it load.
    kernel: Option<Kernel>,
    report: Report,
    selection: Selection,
    /// The machine's own figures when the probes started.
    start: Machine,
    last_gather: Instant,
    last_flush: Instant,
}

/// What is there only with probes.
struct Kernel {
    probes: Probes,
    drain: Drain,
    books: Books,
    shared: Arc<Shared>,
}

/// Which cgroups are reported, by path.
struct Selection {
    include: GlobSet,
    exclude: GlobSet,
}

impl Selection {
    fn new(options: &Options) -> Result<Self, OptionError> {
        let set = |option, globs: &[String]| -> Result<GlobSet, OptionError> {
            let wrong = |error: globset::Error| OptionError::new(option, error.to_string());
            let mut builder = GlobSetBuilder::new();
            for glob in globs {
                builder.add(Glob::new(glob).map_err(wrong)?);
            }
            builder.build().map_err(wrong)
        };
        Ok(Self {
            include: set("cgroup_include", &options.cgroup_include)?,
            exclude: set("cgroup_exclude", &options.cgroup_exclude)?,
        })
    }

    fn takes(&self, path: &str) -> bool {
        (self.include.is_empty() || self.include.is_match(path)) && !self.exclude.is_match(path)
    }
}

impl Ebpf {
    /// Loads and attaches the probes. What this machine does not allow is off, logged once, and in the report.
    ///
    /// # Errors
    /// When a glob of the configuration is none. What the machine does not allow is no error.
    pub fn new(options: Options, shared: &Arc<Shared>) -> Result<Self, StartError> {
        let (host, hierarchies) = (&shared.host, shared.cgroupfs.hierarchies());
        let selection = Selection::new(&options)?;
        let mut start = Machine::default();
        let (opened, report) =
            Probes::open(&options.kernel(), host, hierarchies, || start = Machine::read(host, hierarchies));
        for (group, state) in &report.groups {
            match state {
                GroupState::On => tracing::debug!(probe = group.name(), "attached"),
                GroupState::Off { why, advice } => {
                    tracing::warn!(probe = group.name(), why, advice, "probe is off");
                }
                GroupState::NotAsked => {}
            }
        }
        let kernel = opened
            .map(|(probes, ring)| {
                let mut books = Books::new(Areas::of(&report.hierarchies));
                // After the probes, so that no cgroup falls between.
                books.cgroups.walk(&report.hierarchies, Instant::now());
                let shared = Arc::clone(shared);
                Ok::<_, std::io::Error>(Kernel { probes, drain: Drain::new(ring)?, books, shared })
            })
            .transpose()?;
        let now = Instant::now();
        Ok(Self {
            options,
            shared: Arc::clone(shared),
            kernel,
            report,
            selection,
            start,
            last_gather: now,
            last_flush: now,
        })
    }

    /// What is on, and why the rest is not.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Hands each record on as it leaves the ring, after one flush. For `dump --raw`.
    ///
    /// # Errors
    /// When the cache could not be written back.
    pub fn raw(&mut self, mut take: impl FnMut(&Record<'_>)) -> Result<(), GatherError> {
        let Some(Kernel { probes, drain, books, shared }) = &mut self.kernel else { return Ok(()) };
        let now = Instant::now();
        let flushed = probes.flush(|| {
            drain.drain(|record| {
                take(&record);
                books.take(record, &shared.names, now);
            });
        });
        flushed.map_err(|error| GatherError::Other(error.to_string()))
    }

    /// The path of a cgroup, if it is known. For `dump --raw`.
    #[must_use]
    pub fn path(&self, hierarchy: HierarchyId, cgroup: u64) -> Option<&str> {
        let identity = self.kernel.as_ref()?.books.cgroups.get((hierarchy, cgroup))?;
        Some(identity.path.as_str())
    }
}

impl Kernel {
    /// Writes the caches back and drains.
    fn collect(&mut self) -> Result<(), GatherError> {
        let Self { probes, drain, books, shared } = self;
        let now = Instant::now();
        let flushed = probes.flush(|| {
            drain.drain(|record| books.take(record, &shared.names, now));
        });
        probes.flush_log();
        flushed.map_err(|error| GatherError::Other(error.to_string()))
    }

    fn drain(&mut self) {
        let (books, names, now) = (&mut self.books, &self.shared.names, Instant::now());
        self.drain.drain(|record| books.take(record, names, now));
    }
}

impl InputPlugin for Options {
    fn build(self: Box<Self>, shared: &Arc<Shared>) -> Result<Box<dyn Input>, StartError> {
        Ok(Box::new(Ebpf::new(*self, shared)?))
    }
}

#[async_trait::async_trait]
impl Input for Ebpf {
    fn name(&self) -> &'static str {
        "ebpf"
    }

    fn needs_two_readings(&self) -> bool {
        true
    }

    async fn gather(&mut self, gathered: &mut Gathered) -> Result<(), GatherError> {
        let now = Instant::now();
        let Some(kernel) = &mut self.kernel else { return Ok(()) };
        let collected = kernel.collect();
        let overflow = kernel.probes.overflow().map_err(|error| GatherError::Other(error.to_string()))?;
        let lifecycle_is_on = self.report.is_group_on(Group::Lifecycle);
        if !lifecycle_is_on || overflow.cgroup_events != kernel.books.lost_events {
            kernel.books.cgroups.walk(&self.report.hierarchies, now);
            kernel.books.lost_events = overflow.cgroup_events;
        }
        let machine = Machine::read(&self.shared.host, &self.report.hierarchies);
        let elapsed = now.duration_since(self.last_gather);
        (self.last_gather, self.last_flush) = (now, now);
        let mut maker = Maker {
            options: &self.options,
            report: &self.report,
            selection: &self.selection,
            cgroupfs: &self.shared.cgroupfs,
            naming: Naming {
                names: &self.shared.names,
                tag_include: &self.options.tag_include,
                now,
                may_wait: self.shared.names.has_sources() && !gathered.is_last,
            },
            books: &mut kernel.books,
            machine: &machine,
            elapsed,
        };
        maker.points(gathered);
        maker.balance(gathered, &self.start, &overflow);
        maker.ring(gathered, &kernel.drain.counts(), &overflow);
        if self.options.probe_costs {
            for cost in kernel.probes.costs() {
                gathered.push(
                    gathered
                        .point("seismograf")
                        .tag("part", "probe")
                        .tag("probe", cost.program)
                        .field("run_time_ns", cost.run_time_ns)
                        .field("runs", cost.runs),
                );
            }
        }
        let forgotten = kernel.books.close(now);
        self.shared.cgroupfs.forget(forgotten.gone.iter().map(|(_, identity)| identity.path.as_str()));
        if forgotten.is_wave {
            crate::service::memory::give_back();
        }
        collected
    }

    async fn between(&mut self) {
        let Some(kernel) = &mut self.kernel else { return std::future::pending().await };
        let period = self.options.flush_period;
        loop {
            let flush_in = (self.last_flush + period).saturating_duration_since(Instant::now());
            tokio::select! {
                ready = kernel.drain.ready() => match ready {
                    Ok(()) => kernel.drain(),
                    Err(error) => {
                        tracing::warn!(%error, "cannot watch the ring buffer: it is drained at each gather only");
                        return std::future::pending().await;
                    }
                },
                () = tokio::time::sleep(flush_in), if !period.is_zero() => {
                    self.last_flush = Instant::now();
                    if let Err(error) = kernel.collect() {
                        tracing::warn!(%error, "cannot write the kernel's cache back");
                    }
                }
            }
        }
    }
}
