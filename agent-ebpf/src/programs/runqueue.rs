//! How long the tasks of a cgroup waited for a CPU (optional).
//!
//! Why: CPU time alone does not tell an idle container from one that is starved.
//! Hook: `sched_switch` alone. The scheduler itself adds up each task's waits (`sched_info.run_delay`,
//! `kernel/sched/stats.h`), right after this hook has seen the task come in; so the difference between the value
//! at switch-in and that at switch-out is the one wait in between, without a clock and without a wake-up probe.

use core::ffi::c_void;
use core::ptr::{addr_of, addr_of_mut};

use aya_ebpf::{
    EbpfContext as _,
    macros::{btf_tracepoint, map},
    maps::PerCpuArray,
    programs::BtfTracePointContext,
};
use seismograf_ebpf::abi::{Kind, RUNQUEUE_SLOTS, RunqueueRow, bucket};

use super::cache::{Row, add, clear, cpu, flush, index, overflow, write_back};
use super::kernel::{TASK_PID, TASK_RUN_DELAY, field, may_flush, task_cgroup};

#[repr(C)]
struct Runqueue {
    /// The task that was switched in, as an address that is only compared.
    task: u64,
    /// Its waits then, without the one that just ended.
    task_in_delay_ns: u64,
    slots: [RunqueueRow; RUNQUEUE_SLOTS],
}

/// Per CPU and one entry, as `CPUS`; `sched_switch` runs with interrupts off.
#[map]
static RUNQUEUES: PerCpuArray<Runqueue> = PerCpuArray::with_max_entries(1, 0);

impl Row for RunqueueRow {
    #[inline(always)]
    fn is_used(&self) -> bool {
        self.cgroup != 0
    }
}

/// `sched_switch(preempt, prev, next, ...)`: charges `prev` with the wait before it ran.
#[btf_tracepoint(function = "sched_switch")]
fn runqueue_sched_switch(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: `ctx` is that of sched_switch.
    unsafe { try_runqueue_sched_switch(&ctx) };
    0
}

#[inline(always)]
unsafe fn try_runqueue_sched_switch(ctx: &BtfTracePointContext) -> Option<()> {
    let state = RUNQUEUES.get_ptr_mut(0)?;
    let args = ctx.as_ptr() as *const *const u8;
    // SAFETY: arguments 1 and 2 are task_structs on every kernel; the state is this CPU's, interrupts are off.
    unsafe {
        let (prev, next) = (args.add(1).read_volatile(), args.add(2).read_volatile());
        let seen = (*state).task == prev as u64;
        let delay_in = addr_of!((*state).task_in_delay_ns).read_volatile();
        let delay: u64 = field(prev, &TASK_RUN_DELAY);
        (*state).task = next as u64;
        (*state).task_in_delay_ns = field(next, &TASK_RUN_DELAY);
        let wait_ns = delay.wrapping_sub(delay_in);
        if !seen || (wait_ns as i64) < 0 || field::<i32>(prev, &TASK_PID) == 0 {
            return None;
        }
        let cgroup = task_cgroup(prev);
        let slot =
            &mut *addr_of_mut!((*state).slots).cast::<RunqueueRow>().add(index::<RUNQUEUE_SLOTS>(cgroup));
        if slot.cgroup != cgroup {
            if slot.is_used() && !write_back(slot) {
                overflow(|o| {
                    add(addr_of_mut!((*o).wait_ns), wait_ns);
                    add(addr_of_mut!((*o).waits), 1);
                });
                return None;
            }
            clear(slot);
            slot.kind = Kind::Runqueue as u32;
            slot.cpu = cpu();
            slot.cgroup = cgroup;
        }
        slot.wait_ns += wait_ns;
        slot.waits += 1;
        *slot.histogram.as_mut_ptr().add(bucket(wait_ns)) += 1;
    }
    Some(())
}

/// Writes the cache of this CPU back; see `cpu_flush`.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp")]
extern "C" fn runqueue_flush(ctx: *mut c_void) -> u32 {
    // SAFETY: the context of a raw tracepoint.
    if !unsafe { may_flush(ctx) } {
        return 0;
    }
    let Some(state) = RUNQUEUES.get_ptr_mut(0) else { return 0 };
    // SAFETY: this CPU's state, and no `sched_switch` can come between.
    unsafe { flush(addr_of_mut!((*state).slots)) }
}
