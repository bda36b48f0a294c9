//! CPU time of each cgroup, exactly as the scheduler charges it.
//!
//! Why: cgroupfs gives the same sum, but only for cgroups that still exist when it is read.
//! Hook: `sched_switch`, with interrupts off, so the cache needs no protection. The amount is the difference of
//! `se.sum_exec_runtime` between switch-in and switch-out: no clock, and to the nanosecond what the kernel adds
//! to the cgroup (`update_curr()` in `kernel/sched/fair.c`). Cost: see docs/overhead.md.

use core::ptr::{addr_of, addr_of_mut};

use aya_ebpf::{
    EbpfContext as _, Global,
    helpers::{bpf_get_current_task, bpf_get_current_task_btf, bpf_ktime_get_ns},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use seismograf_ebpf::abi::{ABSENT, CPU_SLOTS, Cpu, CpuRow, CpuState, Kind};

use super::cache::{CPUS, Part, Row, add, cpu, index, of_this_cpu, overflow, take_over, write_back};
use super::kernel::{
    CSS_CGROUP, CSS_SET_MEMBER, TASK_FLAGS, TASK_NIVCSW, TASK_NVCSW, TASK_PID, TASK_PREV_SUM_EXEC_RUNTIME,
    TASK_PRIO, TASK_SCX_FLAGS, TASK_SUM_EXEC_RUNTIME, field, probe, probe_task_cgroup, task_cgroup,
};

/// The priorities from here on are the fair class (`MAX_RT_PRIO`, `include/linux/sched/prio.h`).
const FAIR_PRIO: i32 = 100;

// `enum scx_ent_flags` and `enum scx_task_state` in `include/linux/sched/ext.h`.
const SCX_STATE_SHIFT: u32 = 8;
const SCX_STATE_MASK: u32 = 3;
/// The task is scheduled by an extensible scheduler.
const SCX_ENABLED: u32 = 3;

/// The task is on its way out (`PF_EXITING`, `include/linux/sched.h`).
const EXITING: u32 = 4;

/// When the object was loaded, by the monotonic clock, in nanoseconds. The agent sets it.
#[unsafe(no_mangle)]
static START_NS: Global<u64> = Global::new(0);

impl Row for CpuRow {
    #[inline(always)]
    fn cgroup(&mut self) -> &mut u64 {
        &mut self.cgroup
    }
}

/// `sched_switch(preempt, prev, next, ...)`: charges `prev`.
#[btf_tracepoint(function = "sched_switch")]
fn cpu_sched_switch(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: `ctx` is that of sched_switch.
    unsafe { try_cpu_sched_switch(&ctx) };
    0
}

#[inline(always)]
unsafe fn try_cpu_sched_switch(ctx: &BtfTracePointContext) -> Option<()> {
    let this_cpu = of_this_cpu(&CPUS)?;
    let args = ctx.as_ptr() as *const *const u8;
    // SAFETY: arguments 1 and 2 are task_structs on every kernel; the state is this CPU's, interrupts are off.
    unsafe {
        let state = addr_of_mut!((*this_cpu).state);
        let (prev, next) = (args.add(1).read_volatile(), args.add(2).read_volatile());
        let run: u64 = field(prev, &TASK_SUM_EXEC_RUNTIME);
        let mut run_in = addr_of!((*state).task_in_ns).read_volatile();
        if (*state).task != prev as u64 {
            run_in = run_before_unseen(state, prev, run);
        }
        (*state).out = prev as u64;
        (*state).out_ns = run;
        (*state).task = next as u64;
        (*state).task_in_ns = field(next, &TASK_SUM_EXEC_RUNTIME);
        if field::<i32>(prev, &TASK_PID) == 0 {
            (*state).idle = prev as u64;
            return None;
        }
        charge(this_cpu, task_cgroup(prev), run.wrapping_sub(run_in), 1);
    }
    Some(())
}

/// The run time of a task at the start of a slice whose begin was not seen.
///
/// The fair class remembers it at its pick. The other classes do not, and their slice stays unseen; a task of an extensible
/// scheduler has the fair class's priority and a value from when it last was in that class, which can be its whole life
/// ago. And no slice is longer than the programs are there.
///
/// # Safety
/// As of [`charge`]; `task` is a typed `task_struct`.
#[inline(always)]
unsafe fn run_before_unseen(state: *const CpuState, task: *const u8, run: u64) -> u64 {
    // SAFETY: the caller's promise.
    unsafe {
        if field::<i32>(task, &TASK_PRIO) < FAIR_PRIO {
            return run;
        }
        if TASK_SCX_FLAGS.load() != ABSENT {
            let state = field::<u32>(task, &TASK_SCX_FLAGS) >> SCX_STATE_SHIFT & SCX_STATE_MASK;
            if state == SCX_ENABLED {
                return run;
            }
        }
        let mut picked: u64 = field(task, &TASK_PREV_SUM_EXEC_RUNTIME);
        if field::<u32>(task, &TASK_FLAGS) & EXITING != 0 {
            picked = run_before_exit(state, task, picked);
        }
        let longest = bpf_ktime_get_ns().wrapping_sub(START_NS.load());
        if run.wrapping_sub(picked) > longest { run.wrapping_sub(longest) } else { picked }
    }
}

/// [`run_before_unseen`] of a task that exits. It leaves its autogroup then, for which it is picked anew, so what is
/// remembered is of that moment (`sched_autogroup_exit_task()` in `kernel/sched/autogroup.c`). Its first slice began at 0; the
/// one after it was switched out here last began with what it had then, if it did not run elsewhere in between, which
/// takes two moves during one slice that was not seen either.
///
/// # Safety
/// As of [`run_before_unseen`].
#[inline(always)]
unsafe fn run_before_exit(state: *const CpuState, task: *const u8, picked: u64) -> u64 {
    // SAFETY: the caller's promise.
    unsafe {
        // The switch that is under way is among them.
        let switches = field::<u64>(task, &TASK_NVCSW).wrapping_add(field(task, &TASK_NIVCSW));
        if switches <= 1 {
            0
        } else if (*state).out == task as u64 && (*state).out_ns < picked {
            (*state).out_ns
        } else {
            picked
        }
    }
}

/// # Safety
/// The entry is this CPU's, and nothing else on this CPU uses it meanwhile.
#[inline(always)]
unsafe fn charge(this_cpu: *mut Cpu, cgroup: u64, run_ns: u64, switches: u64) {
    // A task_struct that was freed and handed out again at the same address can make the difference negative.
    let run_ns = if (run_ns as i64) < 0 { 0 } else { run_ns };
    // SAFETY: the index is within the table; the caller's promise.
    unsafe {
        let at = index::<CPU_SLOTS>(cgroup);
        let slot = &mut *addr_of_mut!((*this_cpu).rows).cast::<CpuRow>().add(at);
        if slot.cgroup != cgroup {
            if slot.cgroup != 0 && !write_back(slot) {
                overflow(|o| {
                    add(addr_of_mut!((*o).run_ns), run_ns);
                    add(addr_of_mut!((*o).switches), switches);
                });
                return;
            }
            take_over(slot, Part::of_cpu(at));
            slot.kind = Kind::Cpu as u32;
            slot.cpu = cpu();
            slot.cgroup = cgroup;
        }
        slot.run_ns += run_ns;
        slot.switches += switches;
    }
}

/// Charges the task that is running now for its time so far. `TYPED` is for Linux 5.11 and later, which hand out a typed one:
/// its fields are loads then, and not calls of a helper.
///
/// # Safety
/// The entry is this CPU's, and no `sched_switch` can come between.
#[inline(always)]
pub(super) unsafe fn charge_running<const TYPED: bool>(this_cpu: *mut Cpu) -> Option<()> {
    let (task, run, pid, cgroup): (*const u8, u64, i32, u64);
    if TYPED {
        // SAFETY: the verifier has typed the task.
        unsafe {
            task = bpf_get_current_task_btf().cast::<u8>();
            (run, pid) = (field(task, &TASK_SUM_EXEC_RUNTIME), field(task, &TASK_PID));
            cgroup = task_cgroup(task);
        }
    } else {
        // SAFETY: a helper without arguments.
        task = unsafe { bpf_get_current_task() } as *const u8;
        // Where helpers may not read kernel memory (lockdown), the running task is charged at its next switch.
        run = probe(task, &TASK_SUM_EXEC_RUNTIME)?;
        pid = probe(task, &TASK_PID)?;
        cgroup = probe_task_cgroup(task, &CSS_SET_MEMBER, &CSS_CGROUP)?;
    }
    // SAFETY: the caller's promise.
    unsafe {
        let state = addr_of_mut!((*this_cpu).state);
        if pid == 0 {
            (*state).idle = task as u64;
        }
        let run_in = (*state).task_in_ns;
        if (*state).task == 0 {
            // The first run on this CPU, before the probe is attached: what this task ran until now does not count.
            (*state).task = task as u64;
            (*state).task_in_ns = run;
        } else if (*state).task == task as u64 && pid != 0 {
            (*state).task_in_ns = run;
            charge(this_cpu, cgroup, run.wrapping_sub(run_in), 0);
        }
    }
    Some(())
}
