//! The price of each probe: nanoseconds per run by the kernel's own statistics, everything attached at the same time.
//!
//! Loads the object that has the empty and the rival programs beside the real ones (`SEISMOGRAF_BENCH_OBJECT`, which
//! `cargo xtask` sets), with the offsets that the agent itself would find.

use std::collections::BTreeMap;
use std::fs;

use aya::programs::{BtfTracePoint, CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, Program};
use aya::{Btf as AyaBtf, Ebpf, EbpfLoader};
use seismograf::host::Host;
use seismograf::host::hierarchies::{Hierarchies, HierarchyId};
use seismograf::kernel::btf::Btf;
use seismograf::kernel::offsets::Offsets;

use crate::Skip;

/// Programs by their hook; the first of each is the empty one.
const SCHED_SWITCH: &[&str] =
    &["bench_sched_switch_empty", "cpu_sched_switch", "runqueue_sched_switch", "bench_sched_switch_hash"];
const BLOCK: &[&str] = &["bench_block_rq_complete_empty", "blkio_block_rq_complete"];
const SKB: &[&str] = &["bench_skb_empty", "net_ingress", "net_egress"];

/// Attached programs, and statistics switched on.
pub struct Bench {
    ebpf: Ebpf,
    _stats: std::os::fd::OwnedFd,
}

/// Runs and their time, by program.
pub type Sample = BTreeMap<&'static str, (u64, u64)>;

impl Bench {
    /// Attaches everything.
    ///
    /// # Errors
    /// Skips where there is no object to load.
    pub fn attach() -> Result<Self, Skip> {
        let (mut ebpf, btf, hierarchies) = load()?;
        for name in SCHED_SWITCH {
            tracepoint(&mut ebpf, name, "sched_switch", &btf);
        }
        for name in BLOCK {
            tracepoint(&mut ebpf, name, "block_rq_complete", &btf);
        }
        let mount = hierarchies.mount(HierarchyId::UNIFIED).expect("a cgroup2 mount");
        for (name, direction) in SKB.iter().zip([
            CgroupSkbAttachType::Egress,
            CgroupSkbAttachType::Ingress,
            CgroupSkbAttachType::Egress,
        ]) {
            let program: &mut CgroupSkb = ebpf.program_mut(name).unwrap().try_into().unwrap();
            program.load().unwrap();
            program.attach(fs::File::open(mount).unwrap(), direction, CgroupAttachMode::Single).unwrap();
        }
        let stats = aya::sys::enable_stats(aya::sys::Stats::RunTime).unwrap();
        Ok(Self { ebpf, _stats: stats })
    }

    /// What each program ran so far.
    pub fn sample(&self) -> Sample {
        let names = SCHED_SWITCH.iter().chain(BLOCK).chain(SKB);
        names
            .map(|name| {
                let info = match self.ebpf.program(name) {
                    Some(Program::BtfTracePoint(program)) => program.info(),
                    Some(Program::CgroupSkb(program)) => program.info(),
                    _ => panic!("no program {name}"),
                };
                let info = info.unwrap();
                (*name, (info.run_count(), info.run_time().as_nanos() as u64))
            })
            .collect()
    }
}

/// The object, with the globals that the agent itself would set; no program is loaded yet.
///
/// # Errors
/// Skips where there is no object.
pub fn load() -> Result<(Ebpf, AyaBtf, Hierarchies), Skip> {
    let object = crate::program::object()?;
    let host = Host::default();
    let hierarchies = Hierarchies::read(&host);
    let data = fs::read(host.sys("kernel/btf/vmlinux")).unwrap();
    let offsets = Offsets::find(&Btf::parse(&data).unwrap(), hierarchies.cpu().0, true);
    let btf = AyaBtf::parse(&data, aya::Endianness::default()).unwrap();
    let mut loader = EbpfLoader::new();
    for (global, offset) in offsets.globals() {
        loader.override_global(global, offset, true);
    }
    let host_net = host.network_namespace().unwrap_or(0);
    loader.override_global("HOST_NET_INUM", &host_net, true);
    let nothing = 0_u8;
    loader.override_global("AYA_LOG_LEVEL", &nothing, true);
    let ebpf = loader.load(&object).unwrap();
    Ok((ebpf, btf, hierarchies))
}

fn tracepoint(ebpf: &mut Ebpf, name: &str, hook: &str, btf: &AyaBtf) {
    let program: &mut BtfTracePoint = ebpf.program_mut(name).unwrap().try_into().unwrap();
    program.load(hook, btf).unwrap();
    program.attach().unwrap();
}

/// Nanoseconds per run of a program between two samples, and the runs.
pub fn ns(before: &Sample, after: &Sample, name: &str) -> (f64, u64) {
    let ((runs_before, time_before), (runs, time)) = (before[name], after[name]);
    let runs = runs - runs_before;
    assert!(runs > 0, "{name} did not run");
    ((time - time_before) as f64 / runs as f64, runs)
}
