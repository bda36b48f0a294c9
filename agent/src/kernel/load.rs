//! The probes in the kernel: picks programs, loads, attaches, and reports what is on.
//!
//! Owns the loaded object. What leaves the ring buffer is `drain`'s, what it means `ledger`'s. Whatever this kernel
//! or these privileges do not allow turns one group off, with the reason and what to do; it is never an error.

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::atomic::{AtomicUsize, Ordering};

use aya::maps::{Map, MapData, PerCpuArray, RingBuf};
use aya::programs::cgroup_skb::CgroupSkbLinkId;
use aya::programs::{CgroupAttachMode, CgroupSkbAttachType, Program, ProgramError};
use aya::{Btf as AyaBtf, Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use seismograf_ebpf::abi;

use super::btf::Btf;
use super::drain::Ring;
use super::flush::{self, FlushError};
use super::object::OBJECT;
use super::offsets::Offsets;
use super::plan::{Group, GroupState, Hook, PLANS, Plan, ProbeOptions, Programs, Report};
use super::query;
use super::refusal::{off, refused};
use crate::host::Host;
use crate::host::hierarchies::{Hierarchies, HierarchyId};
use crate::service::memory;

/// How many [`Probes`] this process has: two during a reload.
static N_OWN: AtomicUsize = AtomicUsize::new(0);
/// A program that every agent has.
const OF_EVERY_AGENT: &str = "lifecycle_cgroup_mkdir";

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

/// Loaded and attached programs; dropped, they are detached.
pub struct Probes {
    _own: Own,
    ebpf: Ebpf,
    overflows: PerCpuArray<MapData, Overflow>,
    logger: Option<EbpfLogger<&'static dyn log::Log>>,
    /// The flush programs of the groups that are on.
    flushes: Vec<&'static str>,
    /// Of these, the ones that also run when a CPU goes offline. Attached once, though a set that fails is attached again.
    flushes_offline: Vec<&'static str>,
    /// Every loaded program that runs on its own, for [`Probes::costs`].
    programs: Vec<&'static str>,
    stats: Option<std::os::fd::OwnedFd>,
    n_cpus: usize,
    /// The sets that are attached.
    attached: Vec<Programs>,
    /// Those that are loaded and not attached, since somebody else is in the way; with their place in the report.
    blocked: Vec<(usize, Programs)>,
    report: Report,
}

/// The accumulator of the ABI, in a type of this crate so that aya takes it.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Overflow(abi::Overflow);
// SAFETY: integers without padding: any bytes are one.
unsafe impl aya::Pod for Overflow {}

/// What one program did so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    /// The program.
    pub program: &'static str,
    /// Calls that the kernel left out because the program was at work on that CPU (`recursion_misses`, since Linux 5.12).
    /// `None` where its hook is called with interrupts off: nothing comes between.
    pub missed_runs: Option<u64>,
    /// What it cost, where that is asked for.
    pub cost: Option<Cost>,
}

/// Cost of one program so far; zeros unless the option `probe_costs` is on or another process has the kernel count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Nanoseconds that it ran, since the kernel began to count them.
    pub run_time_ns: u64,
    /// How often it ran.
    pub runs: u64,
}

/// What the names of programs begin with that can interrupt themselves.
const NESTING_AREAS: [&str; 3] = ["blkio_", "net_", "tcp_"];
/// What a map takes of kernel memory, in proc(5) `PID/fdinfo`.
const MEMORY_KEY: &str = "memlock:";
/// The value that aya-log-ebpf's level global takes for "nothing".
const LOG_NOTHING: u8 = 0;
/// The level of the messages that report a cgroup's life cycle.
const LOG_DEBUG: u8 = aya_log::Level::Debug as u8;

impl Probes {
    /// Loads and attaches what `options` asks for and this machine allows.
    ///
    /// `before` is called right before the first program is attached: what the machine counted until then, they did not
    /// see. The second part is the ring buffer. When not even the maps can be made, there are no probes, and the
    /// report says why.
    pub fn open(
        options: &ProbeOptions,
        host: &Host,
        hierarchies: &Hierarchies,
        before: impl FnOnce(),
    ) -> (Option<(Self, Ring)>, Report) {
        let host_net = host.network_namespace().filter(|_| !is_confidential(host));
        // Of those that are at work already.
        let others = query::n_loaded(OF_EVERY_AGENT).saturating_sub(N_OWN.load(Ordering::Relaxed));
        let report = Report {
            others,
            groups: Vec::new(),
            hierarchies: hierarchies.clone(),
            map_bytes: 0,
            sees_host_net: host_net.is_some(),
        };
        let loaded = load(options, host, &report.hierarchies, host_net);
        let opened = loaded.and_then(|(ebpf, offsets, btf)| {
            let (mut probes, ring) = Self::of_object(ebpf, report.clone())?;
            probes.load_and_attach(options, host, (&offsets, &btf), before);
            Ok((probes, ring))
        });
        // Reading the kernel's type information took some 15 MB in small pieces.
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
    fn of_object(mut ebpf: Ebpf, report: Report) -> Result<(Self, Ring), GroupState> {
        let lost =
            |name: &str| off(format!("the BPF object has no map {name}"), "build it anew: cargo xtask build");
        let ring = ebpf.take_map("RECORDS").ok_or_else(|| lost("RECORDS"))?;
        let ring = RingBuf::try_from(ring).map_err(|error| off(error.to_string(), ""))?;
        let overflows = ebpf.take_map("OVERFLOWS").ok_or_else(|| lost("OVERFLOWS"))?;
        let overflows = PerCpuArray::try_from(overflows).map_err(|error| off(error.to_string(), ""))?;
        let logger = EbpfLogger::init(&mut ebpf).ok();
        let map_bytes =
            ebpf.maps().map(|(_, map)| map_bytes(map)).sum::<u64>() + fd_value(ring.as_raw_fd(), MEMORY_KEY);
        let probes = Self {
            _own: Own::new(),
            ebpf,
            overflows,
            logger,
            flushes: Vec::new(),
            flushes_offline: Vec::new(),
            programs: Vec::new(),
            stats: None,
            n_cpus: aya::util::nr_cpus().unwrap_or(1),
            attached: Vec::new(),
            blocked: Vec::new(),
            report: Report { map_bytes, ..report },
        };
        Ok((probes, ring))
    }

    /// Loads all groups before the first is attached: verifying takes long, and they are to start together.
    fn load_and_attach(
        &mut self,
        options: &ProbeOptions,
        host: &Host,
        (offsets, btf): (&Offsets, &AyaBtf),
        before: impl FnOnce(),
    ) {
        if options.probe_costs {
            self.stats = aya::sys::enable_stats(aya::sys::Stats::RunTime).ok();
        }
        let is_confidential = is_confidential(host);
        let mut loaded = Vec::new();
        for plan in PLANS {
            let state = match obstacle(plan, options, offsets, is_confidential) {
                Some(state) => state,
                None => match self.load_group(plan, btf) {
                    Ok(set) => {
                        loaded.push((self.report.groups.len(), set));
                        GroupState::On
                    }
                    Err(state) => state,
                },
            };
            self.report.groups.push((plan.group, state));
        }
        // The first flush tells the CPU probe which task is running, so that its past is not charged.
        if let Err(error) = self.flush(|| ()) {
            tracing::warn!(%error, "cannot run the write-back programs: figures will lag behind");
        }
        before();
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
        let mut links = Vec::new();
        for &(name, hook) in set {
            match self.attach_program(name, hook) {
                Ok(link) => links.extend(link.map(|link| (name, link))),
                Err(error) => {
                    for (name, link) in links {
                        self.detach(name, link);
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn detach(&mut self, name: &str, link: CgroupSkbLinkId) {
        if let Some(Program::CgroupSkb(program)) = self.ebpf.program_mut(name) {
            // Fails for a link that is gone, which is as good.
            let _ = program.detach(link);
        }
        self.programs.retain(|known| *known != name);
    }

    /// Unloads what no set has that is attached or may still be: a write-back program can be several groups'.
    fn unload_unused(&mut self) {
        let used = self.attached.iter().chain(self.blocked.iter().map(|(_, set)| set));
        let used: Vec<&str> = used.flat_map(|set| *set).map(|(name, _)| *name).collect();
        let all = PLANS.iter().flat_map(|plan| plan.sets).flat_map(|set| *set);
        for (name, _) in all.filter(|(name, _)| !used.contains(name)) {
            self.unload(name);
        }
    }

    /// Loads one group: the first of its sets that the kernel takes.
    fn load_group(&mut self, plan: &Plan, btf: &AyaBtf) -> Result<Programs, GroupState> {
        let mut first = None;
        for set in plan.sets {
            match set.iter().try_for_each(|&(name, hook)| self.load_program(name, hook, btf)) {
                Ok(()) => return Ok(set),
                // What did load of this set is of no use without the rest, and is unloaded at the end.
                Err(state) => {
                    first.get_or_insert(state);
                }
            }
        }
        Err(first.unwrap_or(GroupState::NotAsked))
    }

    fn load_program(&mut self, name: &'static str, hook: Hook, btf: &AyaBtf) -> Result<(), GroupState> {
        if self.flushes.contains(&name) {
            return Ok(());
        }
        let program = self.ebpf.program_mut(name).ok_or_else(|| {
            off(format!("the BPF object has no program {name}"), "build it anew: cargo xtask build")
        })?;
        match (hook, program) {
            (Hook::TracePoint(tracepoint), Program::BtfTracePoint(program)) => program.load(tracepoint, btf),
            (Hook::Skb(_), Program::CgroupSkb(program)) => program.load(),
            (Hook::Flush, Program::RawTracePoint(program)) => program.load(),
            _ => Err(ProgramError::UnexpectedProgramType),
        }
        .map_err(|error| refused(name, &error))?;
        if matches!(hook, Hook::Flush) {
            self.flushes.push(name);
        }
        Ok(())
    }

    /// Attaches a program that was loaded. Returns what one detaches it by, where it may have to be.
    fn attach_program(
        &mut self,
        name: &'static str,
        hook: Hook,
    ) -> Result<Option<CgroupSkbLinkId>, AttachError> {
        let link = match (hook, self.ebpf.program_mut(name)) {
            (Hook::TracePoint(_), Some(Program::BtfTracePoint(program))) => {
                program.attach().map_err(|error| AttachError::Refused(refused(name, &error)))?;
                None
            }
            (Hook::Skb(direction), Some(Program::CgroupSkb(program))) => {
                let directory = open_cgroup2(&self.report.hierarchies).map_err(AttachError::Refused)?;
                // By link: the kernel lets links of several owners live side by side.
                let link = program.attach(&directory, direction, CgroupAttachMode::Single);
                Some(link.map_err(|error| not_attached(name, &error, &directory, direction))?)
            }
            (Hook::Flush, Some(Program::RawTracePoint(program))) => {
                if !self.flushes_offline.contains(&name) && flush::attach(name, program) {
                    self.flushes_offline.push(name);
                }
                return Ok(None);
            }
            _ => return Ok(None),
        };
        self.programs.push(name);
        Ok(link)
    }

    fn unload(&mut self, name: &str) {
        // A program that was never loaded returns an error, which is just as good.
        let _ = match self.ebpf.program_mut(name) {
            Some(Program::BtfTracePoint(program)) => program.unload(),
            Some(Program::CgroupSkb(program)) => program.unload(),
            Some(Program::RawTracePoint(program)) => program.unload(),
            _ => Ok(()),
        };
        self.programs.retain(|known| *known != name);
        self.flushes.retain(|known| *known != name);
        self.flushes_offline.retain(|known| *known != name);
    }

    /// Has every CPU write its cache back into the ring, emptying the ring by `drain` whenever it is full.
    ///
    /// After it, the rows that `drain` saw and [`Probes::overflow`] are everything that the probes counted, but for
    /// what is being counted at this moment.
    ///
    /// # Errors
    /// When the kernel refuses to run a program; the other CPUs are written back all the same.
    pub fn flush(&self, drain: impl FnMut()) -> Result<(), FlushError> {
        flush::flush(&self.ebpf, &self.flushes, drain)
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
    pub fn activity(&self, with_cost: bool) -> Vec<Activity> {
        let activity = |program: &&'static str| Activity {
            program,
            missed_runs: self.missed_runs(program),
            cost: with_cost.then(|| self.cost(program)).flatten(),
        };
        self.programs.iter().map(activity).collect()
    }

    /// CPUs that there can be.
    #[must_use]
    pub fn n_cpus(&self) -> usize {
        self.n_cpus
    }

    fn missed_runs(&self, name: &str) -> Option<u64> {
        if !NESTING_AREAS.iter().any(|area| name.starts_with(area)) {
            return None;
        }
        match self.ebpf.program(name)? {
            Program::BtfTracePoint(program) => {
                Some(fd_value(program.fd().ok()?.as_fd().as_raw_fd(), "recursion_misses:"))
            }
            _ => None,
        }
    }

    fn cost(&self, name: &str) -> Option<Cost> {
        let info = self.program_info(name)?;
        let run_time_ns = u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX);
        Some(Cost { run_time_ns, runs: info.run_count() })
    }

    fn program_info(&self, name: &str) -> Option<aya::programs::ProgramInfo> {
        match self.ebpf.program(name)? {
            Program::BtfTracePoint(program) => program.info().ok(),
            Program::CgroupSkb(program) => program.info().ok(),
            _ => None,
        }
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

/// Opens the object and makes the maps.
fn load(
    options: &ProbeOptions,
    host: &Host,
    hierarchies: &Hierarchies,
    host_net: Option<u64>,
) -> Result<(Ebpf, Offsets, AyaBtf), GroupState> {
    if OBJECT.is_empty() {
        return Err(off("this agent was built without its BPF object", "build it with: cargo xtask build"));
    }
    let path = host.sys("kernel/btf/vmlinux");
    let data = std::fs::read(&path).map_err(|error| {
        off(
            format!("cannot read the kernel's type information {}: {error}", path.display()),
            "use a kernel with CONFIG_DEBUG_INFO_BTF=y (every current distribution has it)",
        )
    })?;
    let unreadable = |error: &dyn std::fmt::Display| {
        off(format!("cannot parse {}: {error}", path.display()), "report this kernel's version")
    };
    let offsets = {
        let btf = Btf::parse(&data).map_err(|error| unreadable(&error))?;
        Offsets::find(&btf, hierarchies.cpu().0, hierarchies.memory() != HierarchyId::UNIFIED)
    };
    let btf = AyaBtf::parse(&data, aya::Endianness::default()).map_err(|error| unreadable(&error))?;
    drop(data);
    raise_memlock();

    let log_level = if tracing::enabled!(target: "seismograf_ebpf", tracing::Level::DEBUG) {
        LOG_DEBUG
    } else {
        LOG_NOTHING
    };
    let ring_bytes = ring_bytes(options.ring_bytes);
    let wakeup_bytes = u64::from(ring_bytes / 2);
    let may_read = u64::from(!is_confidential(host));
    let start_ns = monotonic_ns();
    let mut loader = EbpfLoader::new();
    loader.btf(Some(&btf)).map_max_entries("RECORDS", ring_bytes);
    loader.override_global("AYA_LOG_LEVEL", &log_level, true);
    loader.override_global("WAKEUP_BYTES", &wakeup_bytes, true);
    loader.override_global("MAY_READ_KERNEL", &may_read, true);
    loader.override_global("START_NS", &start_ns, true);
    let host_net = host_net.unwrap_or(0);
    loader.override_global("HOST_NET_INUM", &host_net, true);
    for (global, offset) in offsets.globals() {
        loader.override_global(global, offset, true);
    }
    let ebpf = loader.load(OBJECT).map_err(|error| refused("maps", &error))?;
    drop(loader);
    Ok((ebpf, offsets, btf))
}

/// The clock that BPF programs read (`bpf_ktime_get_ns`).
fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (s, ns) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    s.unwrap_or(0) * 1_000_000_000 + ns.unwrap_or(0)
}

/// A size that the kernel takes: a power of two of whole pages.
fn ring_bytes(requested: u32) -> u32 {
    let page = u32::try_from(rustix::param::page_size()).unwrap_or(4096);
    requested.clamp(page, 1 << 30).next_power_of_two()
}

/// Before Linux 5.11 maps count against the limit of locked memory, which is 64 KiB by default. Where this may
/// not be raised, making the maps fails, and that is reported.
fn raise_memlock() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
}

/// Whether lockdown keeps even root from reading kernel memory by BPF.
fn is_confidential(host: &Host) -> bool {
    std::fs::read_to_string(host.sys("kernel/security/lockdown"))
        .is_ok_and(|modes| modes.contains("[confidentiality]"))
}

/// The size of a map by the kernel's own account.
fn map_bytes(map: &Map) -> u64 {
    let data = match map {
        Map::Array(data) | Map::PerCpuArray(data) | Map::RingBuf(data) | Map::PerCpuHashMap(data) => data,
        _ => return 0,
    };
    fd_value(data.fd().as_fd().as_raw_fd(), MEMORY_KEY)
}

/// A value of what the kernel itself says of a map or program (proc(5) `PID/fdinfo`); 0 where it does not.
fn fd_value(fd: i32, key: &str) -> u64 {
    std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))
        .ok()
        .and_then(|info| info.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok()))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_is_a_power_of_two_of_pages() {
        let page = u32::try_from(rustix::param::page_size()).unwrap();
        assert_eq!(ring_bytes(0), page);
        assert_eq!(ring_bytes(page + 1), 2 * page);
        assert_eq!(ring_bytes(1 << 20), 1 << 20);
        assert_eq!(ring_bytes(u32::MAX), 1 << 30);
    }
}
