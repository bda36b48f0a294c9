//! CPU time of a cgroup as the kernel itself adds it up, for `cpu_source = "kernel"`.
//!
//! Why: nothing has to run at a context switch then.
//! Source: `__cgroup_account_cputime()` in `kernel/cgroup/rstat.c`. Each CPU has a sum for each cgroup of cgroup2 but the root,
//! without those below it, which never goes back; the sum of these is what the cgroup has run. A task that is running has what
//! it ran until the scheduler's last tick in it.

use aya_ebpf::Global;
use seismograf_ebpf::abi::ABSENT;

use super::kernel::{CGROUP_CPU_SUMS, CPU_SUM_RUN_NS, probe, probe_at};

/// Where the kernel has how far the memory of each CPU is from that of the first (`__per_cpu_offset`); absent where a probe counts
/// CPU time.
#[unsafe(no_mangle)]
static PER_CPU_OFFSETS: Global<u64> = Global::new(ABSENT);

/// How many CPUs there can be.
#[unsafe(no_mangle)]
static POSSIBLE_CPUS: Global<u64> = Global::new(0);

/// Nanoseconds that tasks of the cgroup have run so far; 0 where a probe counts them, and for the root.
#[inline(always)]
pub(super) fn run_ns(cgroup: *const u8) -> u64 {
    let offsets = PER_CPU_OFFSETS.load();
    if offsets == ABSENT {
        return 0;
    }
    let Some(sums): Option<u64> = probe(cgroup, &CGROUP_CPU_SUMS) else { return 0 };
    let mut run_ns = 0;
    let mut cpu = 0;
    while cpu < POSSIBLE_CPUS.load() {
        let offset = probe_at((offsets + cpu * size_of::<u64>() as u64) as *const u64).unwrap_or(0);
        run_ns += probe::<u64>(sums.wrapping_add(offset) as *const u8, &CPU_SUM_RUN_NS).unwrap_or(0);
        cpu += 1;
    }
    run_ns
}
