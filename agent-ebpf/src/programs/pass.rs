//! How much memory every cgroup uses, and where `cpu_source = "kernel"` how long it ran, in one pass of the kernel.
//!
//! Why: the first tells whether anything changed in a cgroup in which nothing ran, and a file for each is most of what a gather
//! reads on a machine that rests. The second takes the place of a program at each context switch.
//! Hook: the iterator over cgroups (`kernel/bpf/cgroup_iter.c`, Linux 6.1), which the agent has run once a gather. The kernel
//! holds the lock of all cgroups meanwhile.

use core::ptr::addr_of_mut;

use aya_ebpf::{bindings::BPF_F_MMAPABLE, macros::map, maps::Array};
use seismograf_ebpf::abi::{ABSENT, CgroupFigures, PASS_CGROUPS, Pass};

use super::iterators::Context;
use super::kernel::{CGROUP_MEMORY, MEMORY_PAGES, cgroup_id, field, probe};
use super::sums::run_ns;

/// One entry, which the agent maps.
#[map]
static PASS: Array<Pass> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Is called for each cgroup of the hierarchy.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/cgroup")]
extern "C" fn cgroup_pass(context: *const Context) -> u32 {
    // SAFETY: the context of the iterator.
    unsafe { enter(context) };
    0
}

#[inline(always)]
unsafe fn enter(context: *const Context) -> Option<()> {
    let pass = PASS.get_ptr_mut(0)?;
    // SAFETY: typed pointers of the context; the pass is this one's alone, for the kernel runs one at a time for the one agent.
    unsafe {
        if Context::is_first(context) {
            (*pass).n = 0;
        }
        let cgroup = Context::object(context)?;
        let controller: *const u8 = field(cgroup, &CGROUP_MEMORY);
        // One of cgroup2 can be without the controller.
        let pages = if controller.is_null() { ABSENT } else { probe(controller, &MEMORY_PAGES)? };
        let n = addr_of_mut!((*pass).n).read_volatile() as usize;
        (*pass).n = n as u64 + 1;
        if n >= PASS_CGROUPS {
            return None;
        }
        let entry = addr_of_mut!((*pass).cgroups).cast::<CgroupFigures>().add(n & (PASS_CGROUPS - 1));
        entry.write(CgroupFigures { cgroup: cgroup_id(cgroup), pages, run_ns: run_ns(cgroup) });
    }
    Some(())
}
