//! `[[inputs.ebpf]]`: CPU, block I/O and network of every cgroup, from the kernel's ledger.
//!
//! A gather has every CPU write its cache back, drains the ring buffer into the ledger, and makes points of the totals:
//! the figures are those of the moment of the gather. Between gathers it drains when the kernel signals that the ring
//! fills up. Measurements: `cgroup_cpu`, `cgroup_blkio`, `cgroup_net`; from the files of cgroupfs `cgroup_mem`,
//! `cgroup_pressure` and what a CPU quota did; `pod_cpu`, `pod_blkio`, `pod_net`, `pod_mem` for the sums over pods; and
//! `seismograf` for the balance and the losses.
//!
//! Here is the order of a gather: collect, read (`reader`), make points (`points`, pure), close the interval.

mod about;
mod accounts;
mod areas;
mod balance;
mod fields;
mod host_totals;
mod options;
mod pending;
mod pod_rows;
mod pods;
mod points;
mod reader;
mod readings;
mod rows;
mod snapshot;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use self::accounts::Accounts;
use self::areas::Areas;
use self::host_totals::HostTotals;
pub use self::options::EbpfOptions as Options;
use self::options::Selection;
use self::pending::{NamingContext, PendingRows};
use self::reader::{CgroupReader, read_host_totals};
use self::snapshot::Snapshot;
use super::{GatherError, Gathered, Input, InputPlugin, Shared, StartError};
use crate::host::hierarchies::{HierarchyId, walk};
use crate::kernel::drain::Drain;
use crate::kernel::load::Probes;
use crate::kernel::plan::{Group, GroupState, Probe, Report};
use crate::kernel::records::Record;

/// The probes, the ledger and the identities behind `[[inputs.ebpf]]`.
pub struct Ebpf {
    options: Options,
    shared: Arc<Shared>,
    /// `None` when the kernel let none of it load.
    attached: Option<Attached>,
    report: Report,
    selection: Selection,
    /// The totals of the host when the probes started.
    host_at_start: HostTotals,
    /// Those at the gather before.
    host_before: HostTotals,
    last_gather: Instant,
    last_flush: Instant,
}

/// What exists only with probes.
struct Attached {
    probes: Probes,
    drain: Drain,
    accounts: Accounts,
    pending: PendingRows,
    shared: Arc<Shared>,
}

impl Ebpf {
    /// Loads and attaches the probes. What this machine does not allow is off, logged once, and in the report.
    ///
    /// # Errors
    /// When a pattern of the configuration is not a valid glob, or the ring buffer cannot be watched. What the machine
    /// does not allow is no error.
    pub fn new(options: Options, shared: &Arc<Shared>) -> Result<Self, StartError> {
        let (host, hierarchies) = (&shared.host, shared.cgroupfs.hierarchies());
        let selection = Selection::new(&options)?;
        let mut host_at_start = HostTotals::default();
        let (opened, report) = Probes::open(&options.kernel(), host, hierarchies, || {
            host_at_start = read_host_totals(host, hierarchies);
        });
        log(&report);
        let attached = opened
            .map(|(probes, ring)| {
                let (drain, shared) = (Drain::new(ring)?, Arc::clone(shared));
                let accounts = Accounts::new(Areas::of(&report.hierarchies));
                let mut attached =
                    Attached { probes, drain, accounts, pending: PendingRows::default(), shared };
                // After the probes, so that no cgroup is missed in between.
                attached.walk(&report, Instant::now());
                Ok::<_, std::io::Error>(attached)
            })
            .transpose()?;
        let now = Instant::now();
        Ok(Self {
            options,
            shared: Arc::clone(shared),
            attached,
            report,
            selection,
            host_before: host_at_start.clone(),
            host_at_start,
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
        let Some(Attached { probes, drain, accounts, shared, .. }) = &mut self.attached else {
            return Ok(());
        };
        let now = Instant::now();
        let flushed = probes.flush(|| {
            drain.drain(|record| {
                take(&record);
                accounts.take(record, &shared.names, &shared.containers, now);
            });
        });
        flushed.map_err(|error| GatherError::Other(error.to_string()))
    }

    /// The path of a cgroup, if it is known. For `dump --raw`.
    #[must_use]
    pub fn path(&self, hierarchy: HierarchyId, cgroup: u64) -> Option<&str> {
        let identity = self.attached.as_ref()?.accounts.cgroups.get((hierarchy, cgroup))?;
        Some(identity.path.as_str())
    }
}

/// Logs what became of each group of programs, and which hierarchies are not what they seem.
fn log(report: &Report) {
    for (why, advice) in report.hierarchies.parts() {
        tracing::warn!(why, advice, "a cgroup hierarchy is not used");
    }
    for (group, state) in &report.groups {
        match state {
            GroupState::Off { why, advice } => {
                tracing::warn!(probe = group.name(), why, advice, "probe is off");
            }
            GroupState::On | GroupState::NotAsked => {}
        }
    }
    let on = report.groups.iter().filter(|(_, state)| matches!(state, GroupState::On));
    let on: Vec<&str> = on.map(|(group, _)| group.name()).collect();
    if !on.is_empty() {
        tracing::info!(probes = on.join(", "), "attached");
    }
}

impl Attached {
    /// Writes the caches back and drains.
    fn collect(&mut self) -> Result<(), GatherError> {
        let Self { probes, drain, accounts, shared, .. } = self;
        let now = Instant::now();
        let flushed = probes.flush(|| {
            drain.drain(|record| accounts.take(record, &shared.names, &shared.containers, now));
        });
        probes.flush_log();
        flushed.map_err(|error| GatherError::Other(error.to_string()))
    }

    fn drain(&mut self) {
        let Self { drain, accounts, shared, .. } = self;
        let now = Instant::now();
        drain.drain(|record| accounts.take(record, &shared.names, &shared.containers, now));
    }

    /// Finds the cgroups that no record tells of.
    fn walk(&mut self, report: &Report, now: Instant) {
        for (hierarchy, mount) in report.hierarchies.mounted() {
            self.accounts.walked(hierarchy, &walk(mount), now);
        }
        if report.is_group_on(Group::Lifecycle) {
            self.accounts.pass_on_alive(&self.shared.containers);
        }
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
        let Some(attached) = &mut self.attached else { return Ok(()) };
        if let Some(report) = attached.probes.retry() {
            self.report.clone_from(report);
            // The balance of the network counts from here.
            self.host_at_start.interfaces =
                read_host_totals(&self.shared.host, &self.report.hierarchies).interfaces;
        }
        let collected = attached.collect();
        let overflow = attached.probes.overflow().map_err(|error| GatherError::Other(error.to_string()))?;
        let lifecycle_is_on = self.report.is_group_on(Group::Lifecycle);
        let lost = overflow.cgroup_events;
        if !lifecycle_is_on || lost != attached.accounts.lost_events {
            if lifecycle_is_on && attached.accounts.lost_events == 0 {
                tracing::warn!(
                    lost,
                    "the ring buffer was full: records of cgroups are lost, and the hierarchies are walked instead"
                );
            }
            attached.walk(&self.report, now);
            attached.accounts.lost_events = lost;
        }
        let elapsed = now.duration_since(self.last_gather);
        (self.last_gather, self.last_flush) = (now, now);
        self.push_points(gathered, &overflow, now, elapsed);
        self.close_interval(now);
        collected
    }

    async fn between(&mut self) {
        let Some(attached) = &mut self.attached else { return std::future::pending().await };
        let period = self.options.flush_period;
        loop {
            let flush_in = (self.last_flush + period).saturating_duration_since(Instant::now());
            tokio::select! {
                ready = attached.drain.ready() => match ready {
                    Ok(()) => attached.drain(),
                    Err(error) => {
                        tracing::warn!(%error, "cannot watch the ring buffer: it is drained at each gather only");
                        return std::future::pending().await;
                    }
                },
                () = tokio::time::sleep(flush_in), if !period.is_zero() => {
                    self.last_flush = Instant::now();
                    if let Err(error) = attached.collect() {
                        tracing::warn!(%error, "cannot write the kernel's cache back");
                    }
                }
            }
        }
    }
}

impl Ebpf {
    /// Reads what the ledger does not have, and makes the points of everything.
    fn push_points(
        &mut self,
        gathered: &mut Gathered,
        overflow: &seismograf_ebpf::abi::Overflow,
        now: Instant,
        elapsed: std::time::Duration,
    ) {
        let Self { options, shared, attached, report, selection, host_at_start, host_before, .. } = self;
        let Some(Attached { probes, drain, accounts, pending, .. }) = attached else { return };
        let has_sources = shared.names.has_sources();
        let host = read_host_totals(&shared.host, &report.hierarchies);
        for device in accounts.forget_disks(host_before, &host) {
            host_at_start.disks.remove(&device);
        }
        let pods = accounts.pod_sums(now);
        let reader = CgroupReader {
            cgroupfs: &shared.cgroupfs,
            options,
            selection,
            accounts,
            time: gathered.time,
            counts_cpu: report.is_on(Probe::Cpu),
            has_other_readers: has_sources,
        };
        let readings = reader.read(&pods);
        let snapshot = Snapshot {
            time: gathered.time,
            elapsed,
            n_cpus: probes.n_cpus(),
            report,
            selection,
            accounts,
            pods: &pods,
            host_at_start,
            host: &host,
            overflow,
            ring: drain.counts(),
            missed_runs: probes.missed_runs(),
            costs: &if options.probe_costs { probes.costs() } else { Vec::new() },
        };
        let naming = NamingContext {
            names: &shared.names,
            tag_include: &options.tag_include,
            now,
            may_wait: has_sources && !gathered.is_last,
        };
        points::push(&snapshot, readings, naming, pending, gathered);
        *host_before = host;
    }

    /// Starts a new interval, and gives back what belonged to cgroups that are gone.
    fn close_interval(&mut self, now: Instant) {
        let Some(attached) = &mut self.attached else { return };
        let forgotten = attached.accounts.close(now);
        self.shared.cgroupfs.forget(forgotten.gone.iter().map(|(_, identity)| identity.path.as_str()));
        if forgotten.is_wave {
            crate::service::memory::give_back();
        }
    }
}
