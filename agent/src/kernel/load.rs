//! The probes in the kernel: picks programs, loads, attaches, and reports what is on.
//!
//! Owns the loaded object. What leaves the ring buffer is `drain`'s, what it means `ledger`'s. Whatever this kernel
//! or these privileges do not allow turns one group off, with the reason and what to do; it is never an error.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aya::Btf as AyaBtf;
use aya::maps::{Map, MapData, PerCpuArray};
use aya::programs::links::FdLink;
use aya::programs::{CgroupAttachMode, CgroupSkbAttachType, Program, ProgramError};
use aya_log::EbpfLogger;
use seismograf_ebpf::abi;

use super::activity::{Activity, Watched, map_bytes};
use super::cpu_source::CpuSource;
use super::early::Seen;
use super::flush::{self, Cpus, FlushError};
use super::held::{Held, Origin};
use super::left_alone::{self, LeftAlone};
use super::loader::{self, Form, Loaded, PinsAndRing};
use super::offsets::Offsets;
use super::pass::{Figures, Pass};
use super::pins::{PinsError, RING};
use super::plan::{
    Group, GroupState, Hook, OF_EVERY_AGENT, PLANS, Plan, Probe, ProbeOptions, Programs, Report,
};
use super::processes::ProcessPass;
use super::query;
use super::refusal::{off, refused};
use super::ring::Ring;
use super::tables::{self, CPUS, CpuStates, OnlineCpus};
use crate::host::Host;
use crate::host::hierarchies::{Hierarchies, HierarchyId};
use crate::service::memory;

/// How many [`Probes`] this process has: two during a reload.
static N_OWN: AtomicUsize = AtomicUsize::new(0);

/// Counts the [`Probes`] of this process.
struct Own;

impl Own {
    fn new() -> Self {
        N_OWN.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        N_OWN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Loaded and attached programs; dropped, they are detached unless they are pinned.
pub struct Probes {
    _own: Own,
    held: Held,
    overflows: PerCpuArray<MapData, Overflow>,
    logger: Option<EbpfLogger<&'static dyn log::Log>>,
    cpus: Cpus,
    /// The write-back program.
    flush: Option<&'static str>,
    /// What goes over all cgroups; `None` where the kernel has no such thing.
    pass: Option<Pass>,
    /// What goes over all tasks, likewise.
    processes: Option<Arc<ProcessPass>>,
    /// Every loaded program that runs on its own, for [`Probes::costs`].
    programs: Vec<Watched>,
    stats: Option<std::os::fd::OwnedFd>,
    n_cpus: usize,
    /// The sets that are attached.
    attached: Vec<Programs>,
    /// Those that are loaded and not attached, since somebody else is in the way; with their place in the report.
    blocked: Vec<(usize, Programs)>,
    origin: Origin,
    /// The kernel refused a program.
    is_refused: bool,
    report: Report,
}

/// The accumulator of the ABI, in a type of this crate so that aya takes it.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Overflow(abi::Overflow);
// SAFETY: integers without padding: any bytes are one.
unsafe impl aya::Pod for Overflow {}

/// How many CPUs there can be on this machine: each has its part of the maps.
#[must_use]
pub fn possible_cpus() -> usize {
    aya::util::nr_cpus().unwrap_or(1)
}

impl Probes {
    /// Loads and attaches what `options` asks for and this machine allows, or takes over what is pinned.
    ///
    /// `before` is called right before the first program is attached: what the machine counted until then, they did not
    /// see. The second part is the ring buffer. When not even the maps can be made, there are no probes, and the
    /// report says why.
    pub fn open(
        options: &ProbeOptions,
        host: &Host,
        hierarchies: &Hierarchies,
        pins: Option<PinsAndRing<'_>>,
        before: impl FnOnce(),
    ) -> (Option<(Self, Ring)>, Report) {
        let host_net = host.network_namespace().filter(|_| !loader::is_confidential(host));
        // Of those that are at work already.
        let others = query::n_loaded(OF_EVERY_AGENT).saturating_sub(N_OWN.load(Ordering::Relaxed));
        let report = Report {
            others,
            groups: Vec::new(),
            hierarchies: hierarchies.clone(),
            map_bytes: 0,
            sees_host_net: host_net.is_some(),
            cpu_source: CpuSource::Probe,
        };
        let load = |form| {
            let loaded = loader::load(options, host, &report.hierarchies, host_net, pins, form)?;
            let Loaded { held, origin, offsets, btf, cpu_source } = loaded;
            let (mut probes, ring) = Self::of_object(held, origin, Report { cpu_source, ..report.clone() })?;
            let sets = probes.load_all(options, host, (&offsets, &btf));
            Ok((probes, ring, sets))
        };
        let first = if options.fold { Form::Folded } else { Form::Plain };
        let loaded = load(first).and_then(|loaded| {
            // It may be for the form that this kernel refuses a program.
            if loaded.0.is_refused && first == Form::Folded {
                drop(loaded);
                return load(Form::Plain);
            }
            Ok(loaded)
        });
        let opened = loaded.map(|(mut probes, ring, sets)| {
            // What was pinned is nobody's.
            let n_pinned = usize::from(probes.origin != Origin::New);
            probes.report.others -= n_pinned.min(probes.report.others);
            probes.attach_all(sets, before);
            (probes, ring)
        });
        // What reading the kernel's types and the object took in small pieces.
        memory::give_back();
        match opened {
            Ok((probes, ring)) => {
                let report = probes.report.clone();
                (Some((probes, ring)), report)
            }
            Err(off) => (None, Report { groups: all_off(options, &off), ..report }),
        }
    }

    /// The object with its maps; no program is loaded yet.
    fn of_object(mut held: Held, origin: Origin, report: Report) -> Result<(Self, Ring), GroupState> {
        let lost =
            |name: &str| off(format!("the BPF object has no map {name}"), "build it anew: cargo xtask build");
        let map_bytes = held.ebpf.maps().map(|(_, map)| map_bytes(map)).sum::<u64>();
        let Some(Map::RingBuf(ring)) = held.ebpf.take_map(RING) else { return Err(lost(RING)) };
        let ring = Ring::new(ring).map_err(|error| off(error.to_string(), ""))?;
        let overflows = held.ebpf.take_map("OVERFLOWS").ok_or_else(|| lost("OVERFLOWS"))?;
        let overflows = PerCpuArray::try_from(overflows).map_err(|error| off(error.to_string(), ""))?;
        let logger = loader::logs().then(|| EbpfLogger::init(&mut held.ebpf).ok()).flatten();
        let states = held.ebpf.map(CPUS).and_then(|map| match map {
            Map::Array(map) => CpuStates::map(map.fd(), tables::entries().ok()?).ok(),
            _ => None,
        });
        let probes = Self {
            _own: Own::new(),
            held,
            overflows,
            logger,
            cpus: Cpus { online: OnlineCpus::new(), states, left_alone: LeftAlone::default() },
            flush: None,
            pass: None,
            processes: None,
            is_refused: false,
            programs: Vec::new(),
            stats: None,
            n_cpus: possible_cpus(),
            attached: Vec::new(),
            blocked: Vec::new(),
            origin,
            report: Report { map_bytes, ..report },
        };
        Ok((probes, ring))
    }

    /// Loads all groups before the first is attached: verifying takes long, and they are to start together. Returns those that
    /// were loaded, with their place in the report.
    fn load_all(
        &mut self,
        options: &ProbeOptions,
        host: &Host,
        (offsets, btf): (&Offsets, &AyaBtf),
    ) -> Vec<(usize, Programs)> {
        if options.probe_costs {
            self.stats = aya::sys::enable_stats(aya::sys::Stats::RunTime).ok();
        }
        let is_confidential = loader::is_confidential(host);
        let mut flush = Err(GroupState::NotAsked);
        self.flush = flush::PROGRAMS.into_iter().find(|&name| {
            flush = self.held.load(name, Hook::Flush, None);
            flush.is_ok()
        });
        // Where programs may not read memory the kernel takes these all the same, and they tell nothing.
        if !is_confidential {
            self.load_iterators(btf);
            let nohz_full = tables::nohz_full();
            let looks =
                !nohz_full.is_empty() && self.held.load(left_alone::PROGRAM, Hook::Look, None).is_ok();
            if looks {
                self.cpus.left_alone = LeftAlone::new(nohz_full);
            }
        }
        if self.pass.is_none() && self.report.cpu_source == CpuSource::Kernel {
            tracing::warn!("the kernel does not go over its sums of CPU time in one pass: a probe counts it");
            self.report.cpu_source = CpuSource::Probe;
        }
        let mut loaded = Vec::new();
        for plan in PLANS {
            let state = match obstacle(plan, options, offsets, is_confidential) {
                Some(state) => state,
                None => match flush.clone().and_then(|()| self.load_group(plan, btf)) {
                    Ok(set) => {
                        loaded.push((self.report.groups.len(), set));
                        GroupState::On
                    }
                    Err(state) => {
                        self.is_refused = true;
                        state
                    }
                },
            };
            self.report.groups.push((plan.group, state));
        }
        loaded
    }

    /// Attaches what was loaded.
    fn attach_all(&mut self, loaded: Vec<(usize, Programs)>, before: impl FnOnce()) {
        // The first write-back tells the CPU probe which task is running, so that its past is not charged.
        if self.origin != Origin::TakenOver
            && let Err(error) = self.flush(|| ())
        {
            tracing::warn!(%error, "cannot run the write-back program: figures will lag behind");
        }
        before();
        // What cgroups ran until now is in no interval.
        let _ = self.run_times();
        if let Some(name) = self.flush
            && !self.held.take_over_link(name)
            && let Some(Program::RawTracePoint(program)) = self.held.program_mut(name)
            && let Some(link) = flush::attach(program)
        {
            self.held.attached(name, link);
        }
        for (at, set) in loaded {
            match self.attach_set(set) {
                Ok(()) => self.attached.push(set),
                Err(AttachError::Blocked(state)) => {
                    self.report.groups[at].1 = state;
                    self.blocked.push((at, set));
                }
                Err(AttachError::Refused(state)) => self.report.groups[at].1 = state,
            }
        }
        self.unload_unused();
    }

    /// Loads what goes over all cgroups, and over all tasks. They count nothing, so they may be there before the probes.
    fn load_iterators(&mut self, btf: &AyaBtf) {
        fn loaded<T>(iterator: Result<T, GroupState>, without: &str) -> Option<T> {
            if let Err(GroupState::Off { why, .. }) = &iterator {
                tracing::debug!(why, "{without} are read by files of each");
            }
            iterator.ok()
        }
        let hierarchies = &self.report.hierarchies;
        if let Some(root) = hierarchies.mount(hierarchies.memory()) {
            self.pass = loaded(Pass::load(&mut self.held, btf, root), "cgroups");
        }
        self.processes = loaded(ProcessPass::load(&mut self.held, btf), "processes").map(Arc::new);
    }

    /// Tries again what another owner's programs were in the way of. Returns what is on where that is more than before.
    pub fn retry(&mut self) -> Option<&Report> {
        let n_blocked = self.blocked.len();
        for (at, set) in std::mem::take(&mut self.blocked) {
            if self.attach_set(set).is_ok() {
                self.attached.push(set);
                let (group, state) = &mut self.report.groups[at];
                *state = GroupState::On;
                tracing::info!(probe = group.name(), "attached: what was in the way is gone");
            } else {
                self.blocked.push((at, set));
            }
        }
        (self.blocked.len() < n_blocked).then_some(&self.report)
    }

    /// Attaches all programs of a set, or none.
    fn attach_set(&mut self, set: Programs) -> Result<(), AttachError> {
        let mut attached = Vec::new();
        for &(name, hook) in set {
            match self.attach_program(name, hook) {
                Ok(()) => attached.push(name),
                Err(error) => {
                    for name in attached {
                        self.held.detach(name);
                        self.programs.retain(|known| known.name != name);
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// What is attached or may still be.
    fn used(&self) -> Vec<&'static str> {
        let sets = self.attached.iter().chain(self.blocked.iter().map(|(_, set)| set));
        sets.flat_map(|set| *set).map(|(name, _)| *name).chain(self.flush).collect()
    }

    /// Unloads what is not used.
    fn unload_unused(&mut self) {
        let used = self.used();
        let all = PLANS.iter().flat_map(|plan| plan.sets).flat_map(|set| *set);
        for (name, _) in all.filter(|(name, _)| !used.contains(name)) {
            self.unload(name);
        }
    }

    /// Loads one group: the first of its sets that the kernel takes.
    fn load_group(&mut self, plan: &Plan, btf: &AyaBtf) -> Result<Programs, GroupState> {
        if plan.group == Group::Probe(Probe::Cpu) && self.report.cpu_source == CpuSource::Kernel {
            return Ok(&[]);
        }
        let mut first = None;
        for set in plan.sets {
            match set.iter().try_for_each(|&(name, hook)| self.held.load(name, hook, Some(btf))) {
                Ok(()) => return Ok(set),
                // What did load of this set is of no use without the rest, and is unloaded at the end.
                Err(state) => {
                    first.get_or_insert(state);
                }
            }
        }
        Err(first.unwrap_or(GroupState::NotAsked))
    }

    /// Attaches a program that was loaded, if it is not attached since before.
    fn attach_program(&mut self, name: &'static str, hook: Hook) -> Result<(), AttachError> {
        if !self.held.take_over_link(name)
            && let Some(link) = self.attach_anew(name, hook)?
        {
            self.held.attached(name, link);
        }
        self.programs.push(Watched::new(name, self.held.program(name)));
        Ok(())
    }

    /// Attaches a program; `None` where that is not needed.
    fn attach_anew(&mut self, name: &'static str, hook: Hook) -> Result<Option<FdLink>, AttachError> {
        let refused = |error: ProgramError| AttachError::Refused(refused(name, &error));
        match (hook, self.held.program_mut(name)) {
            (Hook::TracePoint(_), Some(Program::BtfTracePoint(program))) => {
                let link = program.attach().and_then(|link| program.take_link(link)).map_err(refused)?;
                Ok(Some(link.into()))
            }
            (Hook::Skb(direction), Some(Program::CgroupSkb(program))) => {
                let directory = open_cgroup2(&self.report.hierarchies).map_err(AttachError::Refused)?;
                // By link: the kernel lets links of several owners live side by side.
                let link = program.attach(&directory, direction, CgroupAttachMode::Single);
                let link = link.map_err(|error| not_attached(name, &error, &directory, direction))?;
                let link = program.take_link(link).map_err(refused)?;
                Ok(FdLink::try_from(link).ok())
            }
            _ => Ok(None),
        }
    }

    fn unload(&mut self, name: &str) {
        self.held.unload(name);
        self.programs.retain(|known| known.name != name);
    }

    /// Where this began.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Pins all that is in use, if it is to be pinned and is not yet.
    ///
    /// # Errors
    /// What the kernel does not pin; what was pinned so far is no layout that another agent takes over.
    pub fn pin(&mut self) -> Result<(), PinsError> {
        self.held.pin(&self.used())
    }

    /// Whether all goes on when the agent ends.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.held.is_pinned()
    }

    /// Has every CPU that cannot be left alone write its cache back into the ring, emptying the ring by `drain` whenever it is full.
    ///
    /// After it and [`Probes::read_left_alone`], the rows that both saw and [`Probes::overflow`] are everything that the probes
    /// counted, but for what is being counted at this moment.
    ///
    /// # Errors
    /// When the kernel refuses to run a program; the other CPUs are written back all the same.
    pub fn flush(&mut self, drain: impl FnMut()) -> Result<(), FlushError> {
        let program = self.flush.and_then(|name| self.held.program(name));
        let Some(program) = program else { return Ok(()) };
        let charges = self.report.is_on(Probe::Cpu) && self.report.cpu_source == CpuSource::Probe;
        self.cpus.flush(program, charges, drain)
    }

    /// Reads what the CPUs have that the latest write-back has left alone. It stays there, and comes through the ring later.
    ///
    /// # Errors
    /// When the kernel does not let a table be read; the other CPUs are read all the same.
    pub fn read_left_alone(&mut self, read: impl FnMut(Seen)) -> Result<(), FlushError> {
        self.cpus.read(&self.held, read)
    }

    /// How long each cgroup has run by the kernel's own sums, now. `None` where a probe counts that.
    pub fn run_times(&mut self) -> Option<&Figures> {
        (self.report.cpu_source == CpuSource::Kernel).then(|| self.pass())?
    }

    /// What the latest [`Self::run_times`] had.
    #[must_use]
    pub fn latest_run_times(&self) -> Option<&Figures> {
        let is_source = self.report.cpu_source == CpuSource::Kernel;
        self.pass.as_ref().filter(|_| is_source).map(Pass::latest)
    }

    /// How much memory each cgroup uses, in the hierarchy of memory: now, or at the latest [`Self::run_times`]. `None` where the
    /// kernel does not say it of all at once (before Linux 6.1, or under lockdown).
    pub fn memory_usages(&mut self) -> Option<&Figures> {
        if self.report.cpu_source == CpuSource::Kernel { self.latest_run_times() } else { self.pass() }
    }

    fn pass(&mut self) -> Option<&Figures> {
        let figures = self.pass.as_mut()?.run();
        if let Err(error) = &figures {
            tracing::debug!(%error, "cgroups are read by files of each");
        }
        figures.ok()
    }

    /// Whether the kernel goes over all cgroups in one pass.
    #[must_use]
    pub fn has_pass(&self) -> bool {
        self.pass.is_some()
    }

    /// What counts processes, as long as these are there; `None` where the kernel has no such thing (before Linux 5.8, or under
    /// lockdown).
    #[must_use]
    pub fn processes(&self) -> Option<&Arc<ProcessPass>> {
        self.processes.as_ref()
    }

    /// What lost its row so far, of all CPUs.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn overflow(&self) -> Result<abi::Overflow, aya::maps::MapError> {
        let mut sum = abi::Overflow::default();
        for Overflow(cpu) in self.overflows.get(&0, 0)?.iter() {
            sum += cpu;
        }
        Ok(sum)
    }

    /// Passes what the programs logged on to the log.
    pub fn flush_log(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
    }

    /// What each program did so far, and what it cost where `with_cost`.
    #[must_use]
    pub fn activity(&mut self, with_cost: bool) -> Vec<Activity> {
        let Self { programs, held, .. } = self;
        programs.iter_mut().map(|watched| watched.activity(held.program(watched.name), with_cost)).collect()
    }

    /// CPUs that there can be.
    #[must_use]
    pub fn n_cpus(&self) -> usize {
        self.n_cpus
    }
}

/// Why a set of programs is not attached.
enum AttachError {
    /// Somebody else's programs are in the way, who may go.
    Blocked(GroupState),
    /// The kernel refuses it.
    Refused(GroupState),
}

/// The root of cgroup2.
fn open_cgroup2(hierarchies: &Hierarchies) -> Result<std::fs::File, GroupState> {
    let Some(mount) = hierarchies.mount(HierarchyId::UNIFIED) else {
        if let Some((why, advice)) = hierarchies.part(HierarchyId::UNIFIED) {
            return Err(off(why, advice));
        }
        return Err(off(
            "no cgroup2 hierarchy is mounted",
            "mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified (any empty directory will do)",
        ));
    };
    std::fs::File::open(mount).map_err(|error| {
        off(format!("cannot open {}: {error}", mount.display()), "check that it is mounted here too")
    })
}

/// A program at a cgroup can be attached such that no other one may be: the kernel says `EPERM` then, whoever asks.
fn not_attached(
    name: &str,
    error: &ProgramError,
    directory: &std::fs::File,
    direction: CgroupSkbAttachType,
) -> AttachError {
    match query::exclusive(directory, direction) {
        Ok(Some(who)) => AttachError::Blocked(off(
            format!("{who} is attached to the root cgroup and lets no other program beside it"),
            "have its owner attach it with BPF_F_ALLOW_MULTI, or stop it; then restart this agent, unless it keeps its privileges: then the probe is tried again at each gather",
        )),
        _ => AttachError::Refused(refused(name, error)),
    }
}

/// What keeps a group from being loaded, before it is tried.
fn obstacle(
    plan: &Plan,
    options: &ProbeOptions,
    offsets: &Offsets,
    is_confidential: bool,
) -> Option<GroupState> {
    match plan.group {
        Group::Probe(probe) if !options.probes.contains(&probe) => Some(GroupState::NotAsked),
        _ if plan.reads_kernel && is_confidential => Some(off(
            "the kernel is locked down to confidentiality, which forbids BPF to read its memory",
            "boot with lockdown=integrity, or do without",
        )),
        _ => {
            let field = offsets.lacking(plan.group.area())?;
            Some(off(format!("this kernel has no {field}"), "do without, or use another kernel"))
        }
    }
}

/// Each group, when nothing could be loaded.
fn all_off(options: &ProbeOptions, state: &GroupState) -> Vec<(Group, GroupState)> {
    PLANS
        .iter()
        .map(|plan| match plan.group {
            Group::Probe(probe) if !options.probes.contains(&probe) => (plan.group, GroupState::NotAsked),
            group => (group, state.clone()),
        })
        .collect()
}
