//! How long the tasks of a cgroup waited for a CPU (optional).
//!
//! Why: CPU time alone does not tell an idle container from one that is starved.
//! Hook: `sched_switch` alone. The scheduler itself adds up each task's waits (`sched_info.run_delay`,
//! `kernel/sched/stats.h`), right after this hook has seen the task come in; so the difference between the value
//! at switch-in and that at switch-out is the one wait in between, without a clock and without a wake-up probe.

use core::ptr::{addr_of, addr_of_mut};

use aya_ebpf::{
    EbpfContext as _,
    macros::{btf_tracepoint, map},
    maps::Array,
    programs::BtfTracePointContext,
};
use seismograf_ebpf::abi::{Kind, RUNQUEUE_SLOTS, Runqueue, RunqueueRow, bucket};

use super::cache::{Part, Row, add, cpu, flush, index, of_this_cpu, overflow, table, take_over, write_back};
use super::kernel::{TASK_PID, TASK_RUN_DELAY, field, task_cgroup};

/// `sched_switch` runs with interrupts off, so it needs no levels.
#[map]
static RUNQUEUES: Array<Runqueue> = table();

impl Row for RunqueueRow {
    #[inline(always)]
    fn cgroup(&mut self) -> &mut u64 {
        &mut self.cgroup
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
    let state = of_this_cpu(&RUNQUEUES)?;
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
            &mut *addr_of_mut!((*state).rows).cast::<RunqueueRow>().add(index::<RUNQUEUE_SLOTS>(cgroup));
        if slot.cgroup != cgroup {
            if slot.cgroup != 0 && !write_back(slot) {
                overflow(|o| {
                    add(addr_of_mut!((*o).wait_ns), wait_ns);
                    add(addr_of_mut!((*o).waits), 1);
                });
                return None;
            }
            take_over(slot, Part::RUNQUEUE);
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

/// Writes the rows of this CPU back.
///
/// # Safety
/// No `sched_switch` can come between.
#[inline(always)]
pub(super) unsafe fn flush_runqueue() -> u32 {
    let Some(state) = of_this_cpu(&RUNQUEUES) else { return 0 };
    // SAFETY: the caller's promise.
    unsafe { flush::<RunqueueRow, RUNQUEUE_SLOTS>(addr_of_mut!((*state).rows).cast()) }
}
