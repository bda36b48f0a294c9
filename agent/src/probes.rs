//! The probes in the kernel: picks programs, loads, attaches, reports what is on, and has the cache written back.
//!
//! Owns the loaded object. What leaves the ring buffer is `drain`'s, what it means `ledger`'s. Whatever this kernel
//! or these privileges do not allow turns one group off, with the reason and what to do; it never is an error.

pub mod btf;
pub mod offsets;
pub mod support;

use std::io;
use std::path::Path;

use aya::maps::{Map, MapData, PerCpuArray, RingBuf};
use aya::programs::{
    CgroupAttachMode, CgroupSkbAttachType, Program, ProgramError, RawTracePointRunOptions, TestRun as _,
};
use aya::{Btf as AyaBtf, Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use seismograf_ebpf::abi::{self, FLUSH_LEVEL_BUSY, FLUSH_RING_FULL};

use self::btf::Btf;
use self::offsets::Offsets;
use self::support::{Hierarchies, HierarchyId};
use crate::host::Host;
use crate::inputs::ebpf::{Options, Probe};
use crate::ledger::sums::Totals as _;
use crate::object::OBJECT;

/// Whether a group of programs is at work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is attached.
    On,
    /// It is not, for a reason.
    Off {
        /// What is in the way.
        why: String,
        /// What to do about it.
        advice: String,
    },
    /// The configuration does not ask for it.
    NotAsked,
}

/// A group of programs that is on or off as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// One of the configured probes.
    Probe(Probe),
    /// The life cycle of cgroups, which all of them rely on for names.
    Lifecycle,
    /// Processes killed for want of memory; always asked for, since it costs nothing while nothing happens.
    Oom,
}

impl Group {
    /// Its name, as in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Probe(probe) => probe.name(),
            Self::Lifecycle => "lifecycle",
            Self::Oom => "oom",
        }
    }
}

/// What is on, and why the rest is not.
#[derive(Clone, Debug)]
pub struct Report {
    /// Each group, in a fixed order.
    pub groups: Vec<(Group, State)>,
    /// The hierarchies that the figures are of.
    pub hierarchies: Hierarchies,
    /// Bytes of kernel memory that the maps take.
    pub map_bytes: u64,
}

impl Report {
    /// Whether a probe is at work.
    #[must_use]
    pub fn is_on(&self, probe: Probe) -> bool {
        self.is_group_on(Group::Probe(probe))
    }

    /// Whether a group is at work.
    #[must_use]
    pub fn is_group_on(&self, wanted: Group) -> bool {
        self.groups.iter().any(|(group, state)| *group == wanted && *state == State::On)
    }
}

/// The ring buffer that the programs write to.
pub type Ring = RingBuf<MapData>;

/// Loaded and attached programs; dropped, they are detached.
pub struct Probes {
    ebpf: Ebpf,
    overflows: PerCpuArray<MapData, Overflow>,
    logger: Option<EbpfLogger<&'static dyn log::Log>>,
    /// The flush programs of the groups that are on.
    flushes: Vec<&'static str>,
    /// Every loaded program that runs on its own, for [`Probes::costs`].
    programs: Vec<&'static str>,
    stats: Option<std::os::fd::OwnedFd>,
    report: Report,
}

/// The accumulator of the ABI, in a type of this crate so that aya takes it.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Overflow(abi::Overflow);
// SAFETY: integers without padding: any bytes are one.
unsafe impl aya::Pod for Overflow {}

/// Cost of one program so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The program.
    pub program: &'static str,
    /// Nanoseconds that it ran, since the kernel counts them.
    pub run_time_ns: u64,
    /// How often it ran.
    pub runs: u64,
}

/// One program: its name in the object, and its hook.
#[derive(Clone, Copy)]
enum Hook {
    TracePoint(&'static str),
    Skb(CgroupSkbAttachType),
    /// Run by [`Probes::flush`], never attached.
    Flush,
}

/// A set of programs that make up a group. Where there are several sets, the first that loads is taken.
type Programs = &'static [(&'static str, Hook)];

struct Plan {
    group: Group,
    /// Globals whose field this kernel must have.
    needs: &'static [&'static str],
    /// Needs a helper that reads kernel memory, which lockdown can forbid.
    reads_kernel: bool,
    sets: &'static [Programs],
}

const PLANS: &[Plan] = &[
    // First, so that no cgroup is made unseen between the walk and the other probes.
    Plan {
        group: Group::Lifecycle,
        needs: &["CGROUP_KN", "KERNFS_ID", "CGROUP_ROOT", "ROOT_HIERARCHY_ID"],
        reads_kernel: true,
        sets: &[&[
            ("lifecycle_cgroup_mkdir", Hook::TracePoint("cgroup_mkdir")),
            ("lifecycle_cgroup_rmdir", Hook::TracePoint("cgroup_rmdir")),
            ("lifecycle_cgroup_release", Hook::TracePoint("cgroup_release")),
        ]],
    },
    Plan {
        group: Group::Oom,
        needs: &["TASK_CGROUPS", "MEMORY_CSS_SET_MEMBER", "CGROUP_KN", "KERNFS_ID"],
        reads_kernel: true,
        sets: &[&[("oom_mark_victim", Hook::TracePoint("mark_victim"))]],
    },
    Plan {
        group: Group::Probe(Probe::Cpu),
        needs: &[
            "TASK_SUM_EXEC_RUNTIME",
            "TASK_PREV_SUM_EXEC_RUNTIME",
            "TASK_PID",
            "TASK_PRIO",
            "TASK_CGROUPS",
            "CSS_SET_MEMBER",
            "CGROUP_KN",
            "KERNFS_ID",
        ],
        reads_kernel: false,
        sets: &[&[("cpu_flush", Hook::Flush), ("cpu_sched_switch", Hook::TracePoint("sched_switch"))]],
    },
    Plan {
        group: Group::Probe(Probe::Blkio),
        needs: &["REQUEST_BIO", "REQUEST_CMD_FLAGS", "REQUEST_RQ_FLAGS", "REQUEST_DATA_LEN", "REQUEST_Q"],
        reads_kernel: false,
        sets: &[&[
            ("blkio_flush", Hook::Flush),
            ("blkio_block_rq_complete", Hook::TracePoint("block_rq_complete")),
        ]],
    },
    Plan {
        group: Group::Probe(Probe::Net),
        needs: &[],
        reads_kernel: false,
        sets: &[
            &[
                ("net_flush", Hook::Flush),
                ("net_ingress", Hook::Skb(CgroupSkbAttachType::Ingress)),
                ("net_egress", Hook::Skb(CgroupSkbAttachType::Egress)),
            ],
            &[
                ("net_flush_nested", Hook::Flush),
                ("net_ingress_nested", Hook::Skb(CgroupSkbAttachType::Ingress)),
                ("net_egress_nested", Hook::Skb(CgroupSkbAttachType::Egress)),
            ],
        ],
    },
    Plan {
        group: Group::Probe(Probe::Runqueue),
        needs: &["TASK_RUN_DELAY", "TASK_PID", "TASK_CGROUPS", "CSS_SET_MEMBER", "CGROUP_KN", "KERNFS_ID"],
        reads_kernel: false,
        sets: &[&[
            ("runqueue_flush", Hook::Flush),
            ("runqueue_sched_switch", Hook::TracePoint("sched_switch")),
        ]],
    },
    Plan {
        group: Group::Probe(Probe::Tcp),
        needs: &["SOCK_CGROUP_DATA", "CGROUP_KN", "KERNFS_ID", "SKB_TCP_GSO_SEGS"],
        reads_kernel: true,
        sets: &[
            &[("net_flush", Hook::Flush), ("tcp_retransmit_skb", Hook::TracePoint("tcp_retransmit_skb"))],
            &[
                ("net_flush_nested", Hook::Flush),
                ("tcp_retransmit_skb_nested", Hook::TracePoint("tcp_retransmit_skb")),
            ],
        ],
    },
];

/// A mark that aya-log-ebpf's level global takes for "nothing".
const LOG_NOTHING: u8 = 0;
/// The level of the records that say that a cgroup came or went.
const LOG_DEBUG: u8 = aya_log::Level::Debug as u8;

impl Probes {
    /// Loads and attaches what `options` asks for and this machine allows.
    ///
    /// `before` is called right before the first program is attached: what the machine counted until then is none of
    /// theirs. The second part is the ring buffer. When not even the maps can be made, there are no probes, and the
    /// report says why.
    pub fn open(
        options: &Options,
        host: &Host,
        hierarchies: &Hierarchies,
        before: impl FnOnce(),
    ) -> (Option<(Self, Ring)>, Report) {
        let report = Report { groups: Vec::new(), hierarchies: hierarchies.clone(), map_bytes: 0 };
        let opened = load(options, host, &report.hierarchies).and_then(|(ebpf, offsets, btf)| {
            Self::attach(options, host, (ebpf, &offsets, &btf), report.clone(), before)
        });
        // Reading the kernel's type information took some 15 MB in small pieces.
        crate::memory::give_back();
        match opened {
            Ok((probes, ring)) => {
                let report = probes.report.clone();
                (Some((probes, ring)), report)
            }
            Err(off) => (None, Report { groups: all_off(options, &off), ..report }),
        }
    }

    fn attach(
        options: &Options,
        host: &Host,
        (mut ebpf, offsets, btf): (Ebpf, &Offsets, &AyaBtf),
        report: Report,
        before: impl FnOnce(),
    ) -> Result<(Self, Ring), State> {
        let lost =
            |name: &str| off(format!("the BPF object has no map {name}"), "build it anew: cargo xtask build");
        let ring = ebpf.take_map("RECORDS").ok_or_else(|| lost("RECORDS"))?;
        let ring = RingBuf::try_from(ring).map_err(|error| off(error.to_string(), ""))?;
        let overflows = ebpf.take_map("OVERFLOWS").ok_or_else(|| lost("OVERFLOWS"))?;
        let overflows = PerCpuArray::try_from(overflows).map_err(|error| off(error.to_string(), ""))?;
        let logger = EbpfLogger::init(&mut ebpf).ok();
        let map_bytes = ebpf.maps().map(|(_, map)| map_bytes(map)).sum::<u64>()
            + fd_bytes(std::os::fd::AsRawFd::as_raw_fd(&ring));
        let mut probes = Self {
            ebpf,
            overflows,
            logger,
            flushes: Vec::new(),
            programs: Vec::new(),
            stats: None,
            report: Report { map_bytes, ..report },
        };
        if options.probe_costs {
            probes.stats = aya::sys::enable_stats(aya::sys::Stats::RunTime).ok();
        }
        // All are loaded before the first is attached: verifying takes long, and they are to start together.
        let mut loaded = Vec::new();
        for plan in PLANS {
            let state = match plan.group {
                Group::Probe(probe) if !options.probes.contains(&probe) => State::NotAsked,
                _ if plan.reads_kernel && is_confidential(host) => off(
                    "the kernel is locked down to confidentiality, which forbids BPF to read its memory",
                    "boot with lockdown=integrity, or do without",
                ),
                _ => match offsets.lacking(plan.needs) {
                    Some(field) => {
                        off(format!("this kernel has no {field}"), "do without, or use another kernel")
                    }
                    None => match probes.load_group(plan, btf) {
                        Ok(set) => {
                            loaded.push((probes.report.groups.len(), set));
                            State::On
                        }
                        Err(state) => state,
                    },
                },
            };
            probes.report.groups.push((plan.group, state));
        }
        // The first flush lets the CPU probe know which task runs, so that its past is not charged.
        if let Err(error) = probes.flush(|| ()) {
            tracing::warn!(%error, "cannot run the write-back programs: figures will lag behind");
        }
        before();
        for (at, set) in loaded {
            if let Err(state) = set.iter().try_for_each(|&(name, hook)| probes.attach_program(name, hook)) {
                for (name, _) in set {
                    probes.unload(name);
                }
                probes.report.groups[at].1 = state;
            }
        }
        Ok((probes, ring))
    }

    /// Loads one group: the first of its sets that the kernel takes.
    fn load_group(&mut self, plan: &Plan, btf: &AyaBtf) -> Result<Programs, State> {
        let mut first = None;
        for set in plan.sets {
            match set.iter().try_for_each(|&(name, hook)| self.load_program(name, hook, btf)) {
                Ok(()) => return Ok(set),
                Err(state) => {
                    // What did load of this set is of no use without the rest.
                    for (name, hook) in *set {
                        if !matches!(hook, Hook::Flush) {
                            self.unload(name);
                        }
                    }
                    first.get_or_insert(state);
                }
            }
        }
        Err(first.unwrap_or(State::NotAsked))
    }

    fn load_program(&mut self, name: &'static str, hook: Hook, btf: &AyaBtf) -> Result<(), State> {
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

    /// Attaches a program that was loaded.
    fn attach_program(&mut self, name: &'static str, hook: Hook) -> Result<(), State> {
        let cgroup2 = self.report.hierarchies.mount(HierarchyId::UNIFIED).map(Path::to_owned);
        match (hook, self.ebpf.program_mut(name)) {
            (Hook::TracePoint(_), Some(Program::BtfTracePoint(program))) => {
                program.attach().map_err(|error| refused(name, &error))?;
            }
            (Hook::Skb(direction), Some(Program::CgroupSkb(program))) => {
                let Some(mount) = cgroup2 else {
                    return Err(off(
                        "no cgroup2 hierarchy is mounted",
                        "mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified (any empty directory will do)",
                    ));
                };
                let directory = std::fs::File::open(&mount).map_err(|error| {
                    off(
                        format!("cannot open {}: {error}", mount.display()),
                        "check that it is mounted here too",
                    )
                })?;
                // By link: the kernel lets links of several owners live side by side.
                program
                    .attach(directory, direction, CgroupAttachMode::Single)
                    .map_err(|error| refused(name, &error))?;
            }
            _ => return Ok(()),
        }
        self.programs.push(name);
        Ok(())
    }

    fn unload(&mut self, name: &str) {
        // A program that was never loaded refuses, which is as good.
        let _ = match self.ebpf.program_mut(name) {
            Some(Program::BtfTracePoint(program)) => program.unload(),
            Some(Program::CgroupSkb(program)) => program.unload(),
            Some(Program::RawTracePoint(program)) => program.unload(),
            _ => Ok(()),
        };
        self.programs.retain(|known| *known != name);
        self.flushes.retain(|known| *known != name);
    }

    /// What is on.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Has every CPU write its cache back into the ring, emptying the ring by `drain` whenever it is full.
    ///
    /// After it, the rows that `drain` saw and [`Probes::overflow`] are everything that the probes counted, but for
    /// what is being counted at this moment.
    ///
    /// # Errors
    /// When the kernel refuses to run a program; the other CPUs are written back all the same.
    pub fn flush(&self, mut drain: impl FnMut()) -> Result<(), FlushError> {
        /// A full ring is emptied and the program run again; each time at least one row gets through.
        const RING_FULL_TRIES: usize = 10_000;
        /// A busy level is one whose program was interrupted by the flush: it is through the next time.
        const BUSY_TRIES: usize = 8;
        let cpus = aya::util::online_cpus().map_err(|(path, error)| FlushError::Cpus { path, error })?;
        let mut result = Ok(());
        for name in &self.flushes {
            let Some(Program::RawTracePoint(program)) = self.ebpf.program(name) else { continue };
            for &cpu in &cpus {
                let (mut full, mut busy) = (0, 0);
                loop {
                    match program.test_run(RawTracePointRunOptions { cpu: Some(cpu), ..Default::default() }) {
                        Ok(answer)
                            if answer.return_value & FLUSH_RING_FULL != 0 && full < RING_FULL_TRIES =>
                        {
                            full += 1;
                            drain();
                        }
                        Ok(answer) if answer.return_value & FLUSH_LEVEL_BUSY != 0 && busy < BUSY_TRIES => {
                            busy += 1;
                        }
                        Ok(_) => break,
                        Err(error) => {
                            // A CPU that went offline meanwhile keeps its cache until it is back.
                            if !is_offline(&error) {
                                result = Err(FlushError::Run { program: name, cpu, error });
                            }
                            break;
                        }
                    }
                }
            }
        }
        drain();
        result
    }

    /// What lost its row so far, of all CPUs.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn overflow(&self) -> Result<abi::Overflow, aya::maps::MapError> {
        let mut sum = abi::Overflow::default();
        for Overflow(cpu) in self.overflows.get(&0, 0)?.iter() {
            add_overflow(&mut sum, cpu);
        }
        Ok(sum)
    }

    /// Passes what the programs logged on to the log.
    pub fn flush_log(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
    }

    /// What each program cost so far; zeros unless the option `probe_costs` is on or somebody else has the kernel count.
    #[must_use]
    pub fn costs(&self) -> Vec<Cost> {
        self.programs
            .iter()
            .filter_map(|&program| {
                let info = self.program_info(program)?;
                let run_time_ns = u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX);
                Some(Cost { program, run_time_ns, runs: info.run_count() })
            })
            .collect()
    }

    fn program_info(&self, name: &str) -> Option<aya::programs::ProgramInfo> {
        match self.ebpf.program(name)? {
            Program::BtfTracePoint(program) => program.info().ok(),
            Program::CgroupSkb(program) => program.info().ok(),
            _ => None,
        }
    }
}

/// Why the cache could not be written back.
#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    /// The kernel does not say which CPUs there are.
    #[error("cannot read {path}: {error}")]
    Cpus {
        /// The file.
        path: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// A program was not run.
    #[error("cannot run {program} on CPU {cpu}: {error}")]
    Run {
        /// The program.
        program: &'static str,
        /// Where.
        cpu: u32,
        /// What the kernel said.
        error: ProgramError,
    },
}

fn is_offline(error: &ProgramError) -> bool {
    matches!(error, ProgramError::SyscallError(error) if error.io_error.raw_os_error() == Some(libc::ENXIO))
}

fn add_overflow(sum: &mut abi::Overflow, cpu: &abi::Overflow) {
    sum.run_ns += cpu.run_ns;
    sum.switches += cpu.switches;
    sum.wait_ns += cpu.wait_ns;
    sum.waits += cpu.waits;
    sum.cgroup_events += cpu.cgroup_events;
    sum.refused += cpu.refused;
    sum.oom_kills += cpu.oom_kills;
    sum.blkio.add(&cpu.blkio);
    sum.net.add(&cpu.net);
}

/// Opens the object and makes the maps.
fn load(options: &Options, host: &Host, hierarchies: &Hierarchies) -> Result<(Ebpf, Offsets, AyaBtf), State> {
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
        off(format!("cannot understand {}: {error}", path.display()), "report this kernel's version")
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
    let mut loader = EbpfLoader::new();
    loader.btf(Some(&btf)).map_max_entries("RECORDS", ring_bytes);
    loader.override_global("AYA_LOG_LEVEL", &log_level, true);
    loader.override_global("WAKEUP_BYTES", &wakeup_bytes, true);
    loader.override_global("MAY_READ_KERNEL", &may_read, true);
    for (global, offset) in offsets.globals() {
        loader.override_global(global, offset, true);
    }
    let ebpf = loader.load(OBJECT).map_err(|error| refused("maps", &error))?;
    drop(loader);
    Ok((ebpf, offsets, btf))
}

/// A size that the kernel takes: a power of two of whole pages.
fn ring_bytes(asked: u32) -> u32 {
    let page = u32::try_from(rustix::param::page_size()).unwrap_or(4096);
    asked.clamp(page, 1 << 30).next_power_of_two()
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

fn off(why: impl Into<String>, advice: impl Into<String>) -> State {
    State::Off { why: why.into(), advice: advice.into() }
}

/// The state after the kernel refused something, with the advice that fits the error number.
fn refused(what: &str, error: &(dyn std::error::Error + 'static)) -> State {
    let mut chain: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut number = None;
    while let Some(error) = chain {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            number = io.raw_os_error();
        }
        if let Some(aya::sys::SyscallError { io_error, .. }) = error.downcast_ref() {
            number = io_error.raw_os_error();
        }
        chain = error.source();
    }
    let advice = match number {
        Some(libc::EPERM | libc::EACCES) => {
            "run as root, or with the capabilities BPF and PERFMON, and for the network NET_ADMIN"
        }
        Some(libc::ENOMEM) => "raise the memory limit of this service (its maps are charged to it)",
        _ => "report this with the kernel's version and the log at debug level",
    };
    // The verifier's output can be thousands of lines, of which the last ones before its statistics tell.
    let text = error.to_string();
    let is_statistic =
        |line: &&str| ["verification time", "stack depth", "processed "].iter().any(|s| line.starts_with(s));
    let telling = text.lines().filter(|line| !line.trim().is_empty()).filter(|line| !is_statistic(line));
    let telling: Vec<&str> = telling.collect();
    let why = telling[telling.len().saturating_sub(3)..].join(" | ");
    tracing::debug!(what, error = text, "refused by the kernel");
    let number = number.map(|n| format!(" ({})", io::Error::from_raw_os_error(n))).unwrap_or_default();
    off(format!("{what}: {why}{number}"), advice)
}

fn all_off(options: &Options, state: &State) -> Vec<(Group, State)> {
    PLANS
        .iter()
        .map(|plan| match plan.group {
            Group::Probe(probe) if !options.probes.contains(&probe) => (plan.group, State::NotAsked),
            group => (group, state.clone()),
        })
        .collect()
}

fn map_bytes(map: &Map) -> u64 {
    use std::os::fd::{AsFd as _, AsRawFd as _};
    let data = match map {
        Map::Array(data) | Map::PerCpuArray(data) | Map::RingBuf(data) | Map::PerCpuHashMap(data) => data,
        _ => return 0,
    };
    fd_bytes(data.fd().as_fd().as_raw_fd())
}

/// What the kernel itself says that a map takes (`memlock` in proc(5) `PID/fdinfo`).
fn fd_bytes(fd: i32) -> u64 {
    std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))
        .ok()
        .and_then(|info| info.lines().find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok()))
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
