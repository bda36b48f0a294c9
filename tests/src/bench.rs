//! The price of each probe: nanoseconds per run by the kernel's own statistics, everything attached at the same time.
//!
//! Loads the object that has the empty and the rival programs beside the real ones (`SEISMOGRAF_BENCH_OBJECT`, which
//! `cargo xtask` sets), with the offsets that the agent itself would find.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::sync::Barrier;
use std::time::Instant;

use aya::maps::{MapData, RingBuf};
use aya::programs::{
    BtfTracePoint, CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, Program, ProgramInfo, RawTracePoint,
    RawTracePointRunOptions, TestRun as _,
};
use aya::{Btf as AyaBtf, Ebpf, EbpfLoader};
use seismograf::host::Host;
use seismograf::host::hierarchies::{Hierarchies, HierarchyId};
use seismograf::kernel::btf::Btf;
use seismograf::kernel::cpu_source::CpuSource;
use seismograf::kernel::fold::{Values, fold};
use seismograf::kernel::load::Probes;
use seismograf::kernel::offsets::Offsets;
use seismograf::kernel::plan::{Probe, ProbeOptions};
use seismograf::kernel::ring::Ring;
use seismograf::kernel::tables;
use seismograf_ebpf::abi::{FLUSH_ARGUMENT, FLUSH_CHARGES, TABLES};

use crate::Skip;

/// How the programs have the kernel's offsets: in their instructions, as the agent loads them, or as they were built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// In the instructions.
    Folded,
    /// In globals.
    Plain,
}

/// A hook, and the programs there; the first of each is the empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// `sched_switch`
    Switch,
    /// `block_rq_complete`
    Block,
    /// Packets out, and in.
    Packet,
}

const SCHED_SWITCH: &[&str] = &[
    "bench_sched_switch_empty",
    "cpu_sched_switch",
    "runqueue_sched_switch",
    "bench_sched_switch_hash",
    "bench_sched_switch_record",
    "bench_sched_switch_look",
];
const BLOCK: &[&str] =
    &["bench_block_rq_complete_empty", "blkio_block_rq_complete", "bench_block_rq_complete_look"];
const SKB: &[&str] = &["bench_skb_empty", "net_ingress", "net_egress", "bench_skb_look"];
/// How the programs are called that look at what the agent's need, and keep nothing.
const LOOK: &str = "_look";

impl Hook {
    /// All programs there.
    #[must_use]
    pub fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Switch => SCHED_SWITCH,
            Self::Block => BLOCK,
            Self::Packet => SKB,
        }
    }
}

/// Attached programs, and statistics switched on.
pub struct Bench {
    ebpf: Ebpf,
    attached: Vec<&'static str>,
    _stats: std::os::fd::OwnedFd,
}

/// Runs and their time, by program.
pub type Sample = BTreeMap<&'static str, (u64, u64)>;

impl Bench {
    /// Attaches everything but those that only look.
    ///
    /// # Errors
    /// Skips where there is no object to load.
    pub fn attach() -> Result<Self, Skip> {
        let hooks = [Hook::Switch, Hook::Packet, Hook::Block];
        let all = hooks.into_iter().flat_map(Hook::programs).copied();
        let all: Vec<_> = all.filter(|name| !name.ends_with(LOOK)).collect();
        Self::attach_only(Form::Folded, &all)
    }

    /// Attaches these programs, in an order that is new each time: the place in it moves a program by some nanoseconds.
    ///
    /// # Errors
    /// Skips where there is no object to load.
    pub fn attach_only(form: Form, programs: &[&'static str]) -> Result<Self, Skip> {
        let (mut ebpf, btf, hierarchies) = load(form)?;
        let mut attached = programs.to_vec();
        fastrand::shuffle(&mut attached);
        for name in &attached {
            match name {
                _ if SCHED_SWITCH.contains(name) => tracepoint(&mut ebpf, name, "sched_switch", &btf),
                _ if BLOCK.contains(name) => tracepoint(&mut ebpf, name, "block_rq_complete", &btf),
                _ => at_cgroup(&mut ebpf, name, &hierarchies),
            }
        }
        let stats = aya::sys::enable_stats(aya::sys::Stats::RunTime).unwrap();
        Ok(Self { ebpf, attached, _stats: stats })
    }

    /// Bytes of a program's instructions as the kernel has them, before its own compiler.
    pub fn bytes(&self, name: &str) -> u32 {
        info(&self.ebpf, name).size_translated().expect("a size")
    }

    /// What each program ran so far.
    pub fn sample(&self) -> Sample {
        self.attached.iter().map(|name| (*name, ran(&self.ebpf, name))).collect()
    }
}

/// Runs of a program and their time.
fn ran(ebpf: &Ebpf, name: &str) -> (u64, u64) {
    let info = info(ebpf, name);
    (info.run_count(), info.run_time().as_nanos() as u64)
}

/// What the kernel knows of a program, or of the one that stands for it.
fn info(ebpf: &Ebpf, name: &str) -> ProgramInfo {
    let typed = format!("{name}_typed");
    let both = [name, typed.as_str()].map(|name| match ebpf.program(name) {
        Some(Program::BtfTracePoint(program)) => program.info().ok(),
        Some(Program::CgroupSkb(program)) => program.info().ok(),
        _ => None,
    });
    let info = both.into_iter().flatten().next();
    info.unwrap_or_else(|| panic!("no program {name} is loaded"))
}

/// These probes as the agent loads them, with a small ring.
#[must_use]
pub fn options(probes: &[Probe]) -> ProbeOptions {
    ProbeOptions {
        probes: probes.to_vec(),
        ring_bytes: 1 << 16,
        probe_costs: false,
        fold: true,
        cpu_source: CpuSource::Probe,
    }
}

/// CPU time of cgroup2 by the kernel's own sums.
///
/// # Errors
/// Skips where the kernel does not go over them in one pass.
pub fn kernel_sums() -> Result<(Probes, Ring), Skip> {
    let host = Host::default();
    let hierarchies = Hierarchies::read(&host);
    let Some(unified) = hierarchies.mount(HierarchyId::UNIFIED) else {
        return Err(Skip::because("there is no cgroup2"));
    };
    // As it is where nothing is mounted but cgroup2.
    let mounts = format!("35 30 0:30 / {} rw - cgroup2 cgroup2 rw\n", unified.display());
    let options = ProbeOptions { cpu_source: CpuSource::Kernel, ..options(&[Probe::Cpu]) };
    let (opened, report) = Probes::open(&options, &host, &Hierarchies::parse("0::/\n", &mounts), None, || ());
    match opened {
        Some(opened) if report.cpu_source == CpuSource::Kernel => Ok(opened),
        _ => Err(Skip::because("the kernel has no iterator over cgroups")),
    }
}

/// The object, with the globals that the agent itself would set; no program is loaded yet.
///
/// # Errors
/// Skips where there is no object.
pub fn load(form: Form) -> Result<(Ebpf, AyaBtf, Hierarchies), Skip> {
    let object = crate::program::object()?;
    let host = Host::default();
    let hierarchies = Hierarchies::read(&host);
    let data = fs::read(host.sys("kernel/btf/vmlinux")).unwrap();
    let offsets = Offsets::find(&Btf::parse(&data).unwrap(), hierarchies.cpu().0, true);
    let btf = AyaBtf::parse(&data, aya::Endianness::default()).unwrap();
    let mut globals = offsets.globals().to_vec();
    globals.push(("HOST_NET_INUM", host.network_namespace().unwrap_or(0)));
    let mut loader = EbpfLoader::new();
    for (global, value) in &globals {
        loader.override_global(global, value, true);
    }
    for table in TABLES {
        loader.map_max_entries(table, tables::entries().unwrap());
    }
    let nothing = 0_u8;
    loader.override_global("AYA_LOG_LEVEL", &nothing, true);
    let object = match form {
        Form::Folded => {
            Cow::Owned(fold(&object, &Values { globals: &globals, functions: offsets.functions() }).unwrap())
        }
        Form::Plain => Cow::Borrowed(object.as_slice()),
    };
    let ebpf = loader.load(&object).unwrap();
    Ok((ebpf, btf, hierarchies))
}

fn tracepoint(ebpf: &mut Ebpf, name: &str, hook: &str, btf: &AyaBtf) {
    let program: &mut BtfTracePoint = ebpf.program_mut(name).unwrap().try_into().unwrap();
    program.load(hook, btf).unwrap();
    program.attach().unwrap();
}

/// Attaches a program to the root of cgroup2: the form of it that the agent would take.
fn at_cgroup(ebpf: &mut Ebpf, name: &str, hierarchies: &Hierarchies) {
    let direction =
        if name == "net_ingress" { CgroupSkbAttachType::Ingress } else { CgroupSkbAttachType::Egress };
    let root = fs::File::open(hierarchies.mount(HierarchyId::UNIFIED).expect("a cgroup2 mount")).unwrap();
    let typed = format!("{name}_typed");
    let names = [typed.as_str(), name];
    let loaded = names.into_iter().find(|name| match ebpf.program_mut(name) {
        Some(Program::CgroupSkb(program)) => program.load().is_ok(),
        _ => false,
    });
    let loaded = loaded.unwrap_or_else(|| panic!("{name} is refused"));
    let program: &mut CgroupSkb = ebpf.program_mut(loaded).unwrap().try_into().unwrap();
    program.attach(root, direction, CgroupAttachMode::Single).unwrap();
}

/// Nanoseconds per run of a program between two samples, and the runs.
pub fn ns(before: &Sample, after: &Sample, name: &str) -> (f64, u64) {
    let ((runs_before, time_before), (runs, time)) = (before[name], after[name]);
    let runs = runs - runs_before;
    assert!(runs > 0, "{name} did not run");
    ((time - time_before) as f64 / runs as f64, runs)
}

/// The agent's own programs, attached, and the write-back run by hand.
pub struct WriteBack {
    ebpf: Ebpf,
    ring: RingBuf<MapData>,
    _stats: std::os::fd::OwnedFd,
}

/// One write-back of a CPU.
pub struct Run {
    /// In the program, by the kernel's statistics.
    pub program_ns: f64,
    /// From the call to its return.
    pub call_ns: f64,
    /// Rows that came.
    pub rows: f64,
}

impl WriteBack {
    /// Attaches what fills the caches: the probes that are on by default.
    ///
    /// # Errors
    /// Skips where there is no object to load.
    pub fn attach() -> Result<Self, Skip> {
        let (mut ebpf, btf, hierarchies) = load(Form::Folded)?;
        tracepoint(&mut ebpf, "cpu_sched_switch", "sched_switch", &btf);
        tracepoint(&mut ebpf, "blkio_block_rq_complete", "block_rq_complete", &btf);
        for name in ["net_ingress", "net_egress"] {
            at_cgroup(&mut ebpf, name, &hierarchies);
        }
        let flush: &mut RawTracePoint = ebpf.program_mut("flush_typed").unwrap().try_into().unwrap();
        flush.load().unwrap();
        let ring = RingBuf::try_from(ebpf.take_map("RECORDS").unwrap()).unwrap();
        let stats = aya::sys::enable_stats(aya::sys::Stats::RunTime).unwrap();
        Ok(Self { ebpf, ring, _stats: stats })
    }

    /// Writes a CPU's caches back.
    pub fn run(&mut self, cpu: u32) -> Run {
        let Some(Program::RawTracePoint(program)) = self.ebpf.program("flush_typed") else {
            panic!("no flush")
        };
        let time = || program.info().unwrap().run_time().as_nanos() as f64;
        let mut options = RawTracePointRunOptions { cpu: Some(cpu), ..Default::default() };
        options.args[FLUSH_ARGUMENT] = FLUSH_CHARGES;
        let (before, start) = (time(), Instant::now());
        program.test_run(options).unwrap();
        let call_ns = start.elapsed().as_nanos() as f64;
        let program_ns = time() - before;
        let mut rows = 0.0;
        while self.ring.next().is_some() {
            rows += 1.0;
        }
        Run { program_ns, call_ns, rows }
    }
}

/// Records of one run of the program `bench_ring` (`agent-ebpf/src/programs/bench.rs`).
const RECORDS_A_RUN: u32 = 256;
/// Runs on each CPU: what they write has room in a ring.
const RUNS: u32 = 500;

/// Has CPUs write rows at one time, each without a pause, the first one into the first of these rings and so on. Returns the
/// nanoseconds of a row.
///
/// # Errors
/// Skips where there is no object to load.
pub fn ns_a_row(rings: &[u64]) -> Result<f64, Skip> {
    let (mut ebpf, ..) = load(Form::Folded)?;
    let program: &mut RawTracePoint = ebpf.program_mut("bench_ring").unwrap().try_into().unwrap();
    program.load().unwrap();
    let _stats = aya::sys::enable_stats(aya::sys::Stats::RunTime).unwrap();
    let (program, start) = (&*program, Barrier::new(rings.len()));
    let write = |cpu: usize, ring: u64| {
        let mut cpus = rustix::thread::CpuSet::new();
        cpus.set(cpu);
        rustix::thread::sched_setaffinity(None, &cpus).unwrap();
        start.wait();
        for _ in 0..RUNS {
            let mut options = RawTracePointRunOptions { cpu: Some(cpu as u32), ..Default::default() };
            options.args[FLUSH_ARGUMENT] = ring;
            assert_eq!(program.test_run(options).unwrap().return_value, 0, "rows that found no room");
        }
    };
    std::thread::scope(|scope| {
        for (cpu, ring) in rings.iter().enumerate() {
            scope.spawn(move || write(cpu, *ring));
        }
    });
    let rows = rings.len() * (RUNS * RECORDS_A_RUN) as usize;
    Ok(program.info().unwrap().run_time().as_nanos() as f64 / rows as f64)
}

/// Bytes of the programs' tables for each CPU.
///
/// # Errors
/// Skips where there is no object to load.
pub fn table_bytes_a_cpu() -> Result<u64, Skip> {
    let (ebpf, ..) = load(Form::Folded)?;
    let bytes = TABLES.iter().map(|table| match ebpf.map(table) {
        Some(aya::maps::Map::Array(map)) => u64::from(map.info().unwrap().value_size()),
        _ => panic!("{table} is no array"),
    });
    Ok(bytes.sum())
}
