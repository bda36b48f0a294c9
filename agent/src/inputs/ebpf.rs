//! `[[inputs.ebpf]]`: CPU, block I/O and network of every cgroup, from the kernel's ledger.
//!
//! A gather has every CPU write its cache back, drains the ring buffer into the ledger, and makes points of the totals:
//! the figures are those of the moment of the gather. Between gathers it drains when the kernel signals that the ring
//! fills up. Measurements: `cgroup_cpu`, `cgroup_blkio`, `cgroup_net`; from the files of cgroupfs `cgroup_mem`,
//! `cgroup_pressure` and what a CPU quota did; `pod_cpu`, `pod_blkio`, `pod_net`, `pod_mem` for the sums over pods; and
//! `seismograf` for the balance and the losses.
//!
//! Here is the order of a gather: collect, name the rows (`naming`), read (`reader`), add up (`totals`), make points
//! (`points`), close the interval. All but the first and the third are pure.

mod about;
mod accounts;
mod areas;
mod balance;
mod begin;
mod ended;
mod fields;
mod handover;
mod host_totals;
mod keeping;
mod naming;
mod options;
mod points;
mod reader;
mod readings;
mod rows;
mod snapshot;
mod state;
mod succession;
#[cfg(test)]
mod tests;
mod totals;

use std::sync::Arc;
use std::time::Instant;

use self::accounts::Accounts;
use self::areas::Areas;
use self::begin::Round;
use self::host_totals::HostTotals;
use self::keeping::Keeping;
use self::naming::{Naming, NamingContext, Waiting};
pub use self::options::EbpfOptions as Options;
use self::options::{Asked, CgroupfsReading, Selection};
use self::reader::{CgroupReader, HostFiles, read_kernel_sums, read_kills};
use self::snapshot::Snapshot;
use self::state::State;
use self::totals::Totals;
use super::{GatherError, Gathered, Input, InputPlugin, Shared, StartError};
use crate::host::Host;
use crate::host::hierarchies::{HierarchyId, walk};
use crate::kernel::cpu_source::CpuSource;
use crate::kernel::drain::Drain;
use crate::kernel::held::Origin;
use crate::kernel::load::Probes;
use crate::kernel::object;
use crate::kernel::pass::Figures;
use crate::kernel::plan::{Group, GroupState, Report};
use crate::kernel::records::Record;
use crate::ledger::cpu::KernelTimes;
use crate::options::OptionError;
use crate::service::budget::Budget;
use crate::service::origin;
use crate::service::privilege;
use crate::service::statefile::Safety;
use crate::service::{memory, off_thread};

/// The probes, the ledger and the identities behind `[[inputs.ebpf]]`.
pub struct Ebpf {
    options: Options,
    /// What was asked for; a successor that waits for what this one has counted has a part in it.
    asked: Arc<Asked>,
    /// What the one before asked for, until it has ended.
    predecessor: Option<Arc<Asked>>,
    shared: Arc<Shared>,
    /// `None` when the kernel let none of it load, and until a predecessor leaves them.
    attached: Option<Attached>,
    report: Report,
    selection: Selection,
    last_gather: Instant,
    last_flush: Instant,
}

/// What exists only with probes.
struct Attached {
    probes: Probes,
    drain: Drain,
    accounts: Accounts,
    waiting: Waiting,
    keeping: Keeping,
    host_files: HostFiles,
    shared: Arc<Shared>,
}

impl Ebpf {
    /// Loads and attaches the probes. What this machine does not allow is off, logged once, and in the report.
    ///
    /// # Errors
    /// When a pattern of the configuration is not a valid glob, or the ring buffer cannot be watched. What the machine
    /// does not allow is no error.
    pub fn new(options: Options, shared: &Arc<Shared>) -> Result<Self, StartError> {
        let asked = Arc::new(options.asked());
        let predecessor = match shared.handover.offered::<Asked>() {
            Some(same) if same == asked => return Self::successor(options, shared, same),
            other => other,
        };
        if privilege::confinement().is_some() {
            return Err(StartError::GivenUp);
        }
        let (host, hierarchies) = (&shared.host, shared.cgroupfs.hierarchies());
        let selection = Selection::new(&options)?;
        let pins = keeping::pins(&options, shared)?;
        let state = remembered(shared);
        let mut host_files = HostFiles::new(host, hierarchies);
        let mut host_at_start = HostTotals::default();
        let (opened, report) = Probes::open(
            &options.kernel(),
            host,
            hierarchies,
            pins.as_ref().map(|pins| (pins, state.ring())),
            || host_at_start = host_files.read(),
        );
        log(&report, shared);
        let attached = opened
            .map(|(probes, ring)| {
                if let Some(pass) = probes.processes() {
                    shared.process_pass.offer(pass);
                }
                let (drain, shared) = (Drain::new(ring)?, Arc::clone(shared));
                let accounts = Accounts::new(Areas::of(&report.hierarchies));
                let keeping = Keeping::new(&shared, pins.is_some(), host_at_start);
                let mut attached = Attached {
                    probes,
                    drain,
                    accounts,
                    waiting: Waiting::default(),
                    keeping,
                    host_files,
                    shared,
                };
                attached.start(state, &report);
                Ok::<_, std::io::Error>(attached)
            })
            .transpose()?;
        let now = Instant::now();
        shared.handover.offer(&asked);
        Ok(Self {
            options,
            asked,
            predecessor,
            shared: Arc::clone(shared),
            attached,
            report,
            selection,
            last_gather: now,
            last_flush: now,
        })
    }

    /// One that waits for the probes of the input that runs, which are what it would load.
    fn successor(options: Options, shared: &Arc<Shared>, asked: Arc<Asked>) -> Result<Self, StartError> {
        let selection = Selection::new(&options)?;
        let now = Instant::now();
        let hierarchies = shared.cgroupfs.hierarchies().clone();
        let report = Report {
            others: 0,
            groups: Vec::new(),
            hierarchies,
            map_bytes: 0,
            sees_host_net: false,
            cpu_source: CpuSource::Probe,
        };
        Ok(Self {
            options,
            asked,
            predecessor: None,
            shared: Arc::clone(shared),
            attached: None,
            report,
            selection,
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
            drain.read(|record| {
                take(&record);
                accounts.take(record, &shared.names, &shared.containers, now);
            });
            drain.give_back();
        });
        let read = probes.read_left_alone(|seen| {
            drain.read_early(seen, |record| {
                take(&record);
                accounts.take(record, &shared.names, &shared.containers, now);
            });
        });
        flushed.and(read).map_err(|error| GatherError::Other(error.to_string()))
    }

    /// The path of a cgroup, if it is known. For `dump --raw`.
    #[must_use]
    pub fn path(&self, hierarchy: HierarchyId, cgroup: u64) -> Option<&str> {
        Some(self.attached.as_ref()?.accounts.cgroups.get((hierarchy, cgroup))?.path())
    }
}

/// Logs what became of each group of programs, and which hierarchies are not what they seem.
fn log(report: &Report, shared: &Shared) {
    if shared.meets(report.others) {
        tracing::warn!(
            others = report.others,
            "other probes of this kind are at work on this host: if they are a second service's, both write the same series, so give \
             one of the two a tag or database of its own; `dump`, `top` and `serve` write none"
        );
    }
    for (why, advice) in report.hierarchies.parts() {
        tracing::warn!(why, advice, "a cgroup hierarchy is not used");
    }
    for (groups, why, advice) in report.off() {
        let names: Vec<&str> = groups.into_iter().map(Group::name).collect();
        tracing::warn!(probe = names.join(", "), why, advice, "probe is off");
    }
    let on = report.groups.iter().filter(|(_, state)| matches!(state, GroupState::On));
    let on: Vec<&str> = on.map(|(group, _)| group.name()).collect();
    if !on.is_empty() {
        tracing::info!(probes = on.join(", "), "attached");
    }
}

/// What an earlier run of the agent has left.
fn remembered(shared: &Shared) -> State {
    let state = shared.handover.remembered().map(serde_json::from_value);
    state.transpose().map(Option::unwrap_or_default).unwrap_or_else(|error| {
        tracing::warn!(%error, "the statefile is of another version: nothing is remembered");
        State::default()
    })
}

impl Attached {
    /// Writes the caches back and drains, and reads what CPUs have that are left alone.
    fn collect(&mut self) -> Result<(), GatherError> {
        let Self { probes, drain, accounts, keeping, shared, .. } = self;
        let now = Instant::now();
        let flushed = probes.flush(|| {
            drain.read(|record| accounts.take(record, &shared.names, &shared.containers, now));
            if keeping.is_due(drain) {
                keeping.keep(accounts, drain, Safety::Process);
            }
        });
        let read = probes.read_left_alone(|seen| {
            drain.read_early(seen, |record| accounts.take(record, &shared.names, &shared.containers, now));
        });
        if let Some(figures) = probes.run_times() {
            accounts.take_run_times(figures);
        }
        probes.flush_log();
        flushed.and(read).map_err(|error| GatherError::Other(error.to_string()))
    }

    /// Collects between two gathers; what fails is tried again at the next one.
    fn catch_up(&mut self) {
        if let Err(error) = self.collect() {
            tracing::warn!(%error, "cannot write the kernel's cache back");
        }
    }

    /// Drains, and keeps the state away from this thread where that is due. Safe to cancel: then the next one is later.
    async fn drain(&mut self) {
        let Self { drain, accounts, keeping, shared, .. } = self;
        let now = Instant::now();
        drain.read(|record| accounts.take(record, &shared.names, &shared.containers, now));
        if keeping.is_due(drain)
            && let Some(save) = keeping.save(accounts, drain, Safety::Process)
        {
            let saved = off_thread::run(save).await;
            keeping.saved(saved, drain);
        }
    }

    /// Begins the accounts: they go on with what an earlier run has left, and with what the kernel has.
    fn start(&mut self, state: State, report: &Report) {
        let now = Instant::now();
        let goes_on = self.resume(state, now);
        let kernel_times = &mut self.accounts.ledger.kernel_times;
        if !goes_on || kernel_times.is_none() {
            let begin = |figures: &Figures| KernelTimes::begin(figures.run_times());
            *kernel_times = self.probes.latest_run_times().map(begin);
        }
        if goes_on && let Err(error) = self.collect() {
            tracing::warn!(%error, "cannot write the kernel's cache back: the first figures lag behind");
        }
        // After the probes, so that no cgroup is missed in between.
        self.walk(report, now);
        if goes_on {
            // What came before is in no interval of this run.
            self.accounts.ledger.start_interval(|_| true, |_| true, |_| true);
        } else {
            self.accounts.note_resumed_owners();
            self.accounts.release_the_gone(now);
            self.begin(report);
        }
        self.accounts.forget_resumed();
        self.keeping.keep(&self.accounts, &self.drain, Safety::Process);
        self.keeping.pin(&mut self.probes);
    }

    /// Goes on with what an earlier run has left. Returns whether the kernel has counted all the time since.
    fn resume(&mut self, mut state: State, now: Instant) -> bool {
        let Self { probes, drain, accounts, keeping, .. } = self;
        let mut goes_on = false;
        match (probes.origin(), state.pinned.take()) {
            (Origin::TakenOver, Some(pinned)) => {
                goes_on = drain.go_on(pinned.position, pinned.counts, pinned.early.clone());
                if !goes_on {
                    tracing::warn!(
                        "the statefile is older than what the pinned ring buffer has: what was counted in between is lost"
                    );
                }
                keeping.host_at_start = pinned.host_at_start.clone();
                keeping.host_before = pinned.host_before.clone();
                pinned.restore(accounts);
                tracing::info!("goes on with the pinned probes of the agent before");
            }
            (Origin::Replaces(why), _) => tracing::warn!(
                why,
                "the pinned probes are replaced: totals go on from the kernel's own and from the statefile, without what passed \
                 the network since it was written"
            ),
            _ => {}
        }
        if let Some(began) = state.began {
            origin::goes_on_from(began);
        }
        state.restore(accounts, &keeping.host_at_start, &keeping.boot, now);
        goes_on
    }

    /// Has the totals of the owners that are there begin where the kernel's own stand.
    fn begin(&mut self, report: &Report) {
        let mut round = Round::first(&self.accounts);
        while !round.is_empty() {
            if let Err(error) = self.collect() {
                tracing::warn!(%error, "cannot write the kernel's cache back: totals begin at 0");
                return;
            }
            let before = Round::counted(&self.accounts);
            let sums = {
                let (areas, totals) = (&self.accounts.areas, &self.keeping.host_at_start);
                read_kernel_sums(&self.shared, areas, report, totals, round.owners())
            };
            if let Err(error) = self.collect() {
                tracing::warn!(%error, "cannot write the kernel's cache back: totals begin at 0");
                return;
            }
            round = round.finish(&mut self.accounts, &before, &sums);
        }
    }

    /// Has the kernel's own counts say whose the OOM kills are of which the programs could only guess that.
    fn settle_kills(&mut self) {
        if self.accounts.has_guessed_kills() {
            let round = Round::of_all(&self.accounts);
            let sums = read_kills(&self.shared.cgroupfs, round.owners());
            round.settle_kills(&mut self.accounts, &sums);
        }
    }

    /// Keeps the state and closes the interval, before the points are handed on.
    fn close(&mut self, gathered: &mut Gathered, now: Instant) {
        let Self { probes, drain, accounts, waiting, keeping, .. } = self;
        // Before what has ended is forgotten: an agent that is killed now is followed by one that tells of it again.
        keeping.keep(accounts, drain, if gathered.is_end { Safety::Machine } else { Safety::Process });
        keeping.pin(probes);
        accounts.start_interval(waiting);
        gathered.receipt = keeping.told();
        if gathered.receipt.is_none() {
            self.forget(now);
        }
    }

    /// Forgets the cgroups that are gone, whose last row went out.
    fn forget(&mut self, now: Instant) {
        let closed = self.accounts.forget(now, &self.keeping.naming, &self.waiting);
        self.shared.cgroupfs.forget(closed.paths.iter().map(|path| &**path));
        if closed.is_wave {
            memory::give_back();
        }
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

/// What the kernel's types take at the start: aya parses all of them, five times the size of `/sys/kernel/btf/vmlinux`.
const TYPES: u64 = 32 << 20;
/// What is known of some thousand cgroups.
const CGROUPS: u64 = 12 << 20;

impl InputPlugin for Options {
    fn budget(&self, cpus: u64) -> Budget {
        Budget { memory: object::map_bytes(self.ring_bytes, cpus) + TYPES + CGROUPS, ..Budget::default() }
    }

    fn check(&self, _: &Host) -> Result<(), OptionError> {
        Selection::new(self).map(drop)
    }

    fn remarks(&self, _: Option<&Host>) -> Vec<OptionError> {
        self.remarks()
    }

    fn build(self: Box<Self>, shared: &Arc<Shared>) -> Result<Box<dyn Input>, StartError> {
        Ok(Box::new(Ebpf::new(*self, shared)?))
    }
}

#[async_trait::async_trait]
impl Input for Ebpf {
    fn name(&self) -> &'static str {
        "ebpf"
    }

    fn counts_end_with_it(&self) -> bool {
        true
    }

    fn needs_two_readings(&self) -> bool {
        true
    }

    async fn gather(&mut self, gathered: &mut Gathered) -> Result<(), GatherError> {
        let now = Instant::now();
        self.inherit(now);
        let Some(attached) = &mut self.attached else { return Ok(()) };
        if privilege::confinement().is_none()
            && let Some(report) = attached.probes.retry()
        {
            self.report.clone_from(report);
            // The balance of the network counts from here.
            attached.keeping.host_at_start.ip = attached.host_files.read().ip;
        }
        if attached.keeping.is_kept() {
            attached.forget(now);
        }
        let collected = attached.collect();
        attached.settle_kills();
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
        let interval_began = std::mem::replace(&mut self.last_gather, now);
        self.last_flush = now;
        self.push_points(gathered, &overflow, interval_began);
        if gathered.is_end {
            self.leave();
        } else {
            // Another one may have been made and given up since: a reload that failed.
            self.shared.handover.offer(&self.asked);
        }
        collected
    }

    async fn between(&mut self) {
        let Some(attached) = &mut self.attached else { return std::future::pending().await };
        let period = self.options.flush_period;
        loop {
            let flush_in = (self.last_flush + period).saturating_duration_since(Instant::now());
            tokio::select! {
                ready = attached.drain.ready() => match ready {
                    Ok(()) => attached.drain().await,
                    Err(error) => {
                        tracing::warn!(%error, "cannot watch the ring buffer: it is drained at each gather only");
                        return std::future::pending().await;
                    }
                },
                () = tokio::time::sleep(flush_in), if !period.is_zero() => {
                    self.last_flush = Instant::now();
                    attached.catch_up();
                }
            }
        }
    }
}

impl Ebpf {
    /// Reads what the ledger does not have, makes the points of everything, and closes the interval, which ends now.
    fn push_points(
        &mut self,
        gathered: &mut Gathered,
        overflow: &seismograf_ebpf::abi::Overflow,
        interval_began: Instant,
    ) {
        let Self { options, shared, attached, report, selection, .. } = self;
        let Some(attached) = attached else { return };
        let Attached { probes, drain, accounts, waiting, keeping, host_files, .. } = attached;
        let (now, names, has_sources) = (self.last_gather, &*shared.names, shared.names.has_sources());
        let host = host_files.read();
        for device in accounts.forget_disks(&keeping.host_before, &host) {
            keeping.host_at_start.disks.remove(&device);
        }
        let context = NamingContext {
            names,
            options: options.series(),
            selection,
            now,
            interval_began,
            remembered: &accounts.remembered,
            before: &keeping.naming,
            may_wait: has_sources && !gathered.is_last,
        };
        let naming = Naming::new(&accounts.cgroups, waiting, context);
        let reader = CgroupReader {
            cgroupfs: &shared.cgroupfs,
            options,
            naming: &naming,
            accounts,
            time: gathered.time,
            now,
            report,
            has_other_readers: has_sources,
            usages: options.reads(CgroupfsReading::Mem).then(|| probes.memory_usages()).flatten(),
        };
        let mut readings = reader.read();
        accounts.enter(&mut readings, report.is_group_on(Group::Oom));
        let totals = Totals::new(accounts, &naming, &readings, now);
        let snapshot = Snapshot {
            time: gathered.time,
            is_only: gathered.is_only,
            n_cpus: probes.n_cpus(),
            report,
            accounts,
            naming: &naming,
            names: has_sources.then_some(names),
            n_waiting: waiting.len(),
            host_at_start: &keeping.host_at_start,
            host: &host,
            overflow,
            ring: drain.counts(),
            programs: &probes.activity(options.probe_costs),
        };
        points::push(&snapshot, &totals, gathered);
        shared.latencies.leave(|| totals.latencies());
        (keeping.host_before, keeping.naming) = (host, naming);
        attached.close(gathered, now);
    }
}
