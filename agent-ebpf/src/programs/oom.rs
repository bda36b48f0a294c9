//! OOM-killed processes, by the memory cgroup of the victim.
//!
//! Why: the kernel's own count is a file of the cgroup, which is gone together with a container that was killed.
//! Hook: `mark_victim`, called once for each process killed, so everything here is read by helper.

use core::ptr::addr_of_mut;

use aya_ebpf::{
    helpers::{bpf_get_current_task, generated::bpf_ringbuf_output},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use seismograf_ebpf::abi::{Kind, OomKill};

use super::cache::{RECORDS, add, overflow, wakeup};
use super::kernel::{MEMORY_CSS_CGROUP, MEMORY_CSS_SET_MEMBER, TASK_PID, probe, probe_task_cgroup};

/// `mark_victim(task, uid)`; before Linux 6.8 `mark_victim(pid)`.
#[btf_tracepoint(function = "mark_victim")]
fn oom_mark_victim(ctx: BtfTracePointContext) -> i32 {
    let victim: *const u8 = ctx.arg(0);
    // At an address that is a pid nothing can be read. The task that ran out of memory stands for the victim then:
    // it is in the same cgroup unless the limit is that of a cgroup above both. The agent takes that for a guess.
    let cgroup = memory_cgroup(victim)
        // SAFETY: the helper takes nothing.
        .or_else(|| memory_cgroup(unsafe { bpf_get_current_task() } as *const u8));
    // The argument that is a pid is not taken for one here, and told whole: where it is a pointer, the verifier refuses half of
    // it ("invalid size of register spill").
    let pid = probe(victim, &TASK_PID).unwrap_or(0);
    // 0 is no cgroup: the kill is known, its cgroup is not.
    let record =
        OomKill { kind: Kind::OomKill as u32, pid, cgroup: cgroup.unwrap_or(0), victim: victim as u64 };
    // SAFETY: the record is read for its own size; the accumulator is this CPU's.
    unsafe {
        let size = size_of::<OomKill>() as u64;
        let data = (&raw const record).cast_mut().cast();
        if bpf_ringbuf_output((&raw const RECORDS).cast_mut().cast(), data, size, wakeup()) != 0 {
            overflow(|o| add(addr_of_mut!((*o).oom_kills), 1));
        }
    }
    0
}

#[inline(always)]
fn memory_cgroup(task: *const u8) -> Option<u64> {
    probe_task_cgroup(task, &MEMORY_CSS_SET_MEMBER, &MEMORY_CSS_CGROUP)
}
