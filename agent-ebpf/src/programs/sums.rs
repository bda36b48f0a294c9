//! CPU time of a cgroup as the kernel itself adds it up, for `cpu_source = "kernel"`.
//!
//! Why: nothing has to run at a context switch then.
//! Source: `__cgroup_account_cputime()` in `kernel/cgroup/rstat.c`. Each CPU has a sum for each cgroup of cgroup2 but the root,
//! without those below it, which never goes back; the sum of these is what the cgroup has run. A task that is running has what
//! it ran until the scheduler's last tick in it.
//!
//! Everything here runs under the lock of all cgroups: the pass over them, and the tracepoints of one that goes.

use aya_ebpf::{Global, helpers::generated::bpf_map_lookup_percpu_elem, macros::map, maps::PerCpuArray};

use super::kernel::{CGROUP_CPU_SUMS, CPU_SUM_RUN_NS, MAP_PER_CPU, probe};

/// How many CPUs there can be; 0 where a probe counts CPU time.
#[unsafe(no_mangle)]
static POSSIBLE_CPUS: Global<u64> = Global::new(0);

/// An entry of each CPU, which shows how far the memory of each is from what the kernel calls it by.
#[map]
static EACH_CPU: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Nanoseconds that tasks of the cgroup have run so far; 0 where a probe counts them, and for the root.
#[inline(always)]
pub(super) fn run_ns(cgroup: *const u8) -> u64 {
    if POSSIBLE_CPUS.load() == 0 { 0 } else { sum(cgroup).unwrap_or(0) }
}

#[inline(always)]
fn sum(cgroup: *const u8) -> Option<u64> {
    let map = (&raw const EACH_CPU).cast_mut().cast();
    let scratch = EACH_CPU.get_ptr_mut(0)?;
    // SAFETY: the entry of this CPU, and nothing else runs that uses it.
    let number = |pointer: *const u8| unsafe { number(scratch, pointer) };
    let name: u64 = probe(number(map as *const u8) as *const u8, &MAP_PER_CPU)?;
    let sums: u64 = probe(cgroup, &CGROUP_CPU_SUMS)?;
    let mut run_ns = 0;
    let mut cpu = 0;
    while cpu < POSSIBLE_CPUS.load() {
        let key = 0_u32;
        // SAFETY: a map of the kind, and a key on the stack; null for a CPU that cannot be.
        let entry = unsafe { bpf_map_lookup_percpu_elem(map, (&raw const key).cast(), cpu as u32) };
        if !entry.is_null() {
            let distance = number(entry as *const u8).wrapping_sub(name);
            let of_cpu = sums.wrapping_add(distance) as *const u8;
            run_ns += probe::<u64>(of_cpu, &CPU_SUM_RUN_NS).unwrap_or(0);
        }
        cpu += 1;
    }
    Some(run_ns)
}

/// The address that a pointer has. The verifier lets nobody calculate with it as long as it knows what it points to, which it does
/// not of what was in a table.
///
/// # Safety
/// Nothing else uses the entry meanwhile.
#[inline(always)]
unsafe fn number(scratch: *mut u64, pointer: *const u8) -> u64 {
    // SAFETY: the caller's promise.
    unsafe {
        scratch.write_volatile(pointer as u64);
        scratch.read_volatile()
    }
}
