//! CPU time of each cgroup, exactly as the scheduler charges it.
//!
//! Why: cgroupfs gives the same sum, but only for cgroups that still exist when it is read.
//! Hook: `sched_switch`, with interrupts off, so the cache needs no protection. The amount is the difference of
//! `se.sum_exec_runtime` between switch-in and switch-out: no clock, and to the nanosecond what the kernel adds
//! to the cgroup (`update_curr()` in `kernel/sched/fair.c`). Cost: see docs/overhead.md.

use core::ffi::c_void;
use core::ptr::{addr_of, addr_of_mut};

use aya_ebpf::{
    EbpfContext as _, Global,
    helpers::{bpf_get_current_task, bpf_ktime_get_ns},
    macros::{btf_tracepoint, map},
    maps::PerCpuArray,
    programs::BtfTracePointContext,
};
use seismograf_ebpf::abi::{ABSENT, CPU_SLOTS, CpuRow, Kind};

use super::cache::{Row, add, cpu, flush, index, overflow, write_back};
use super::kernel::{
    CSS_CGROUP, CSS_SET_MEMBER, TASK_FLAGS, TASK_NIVCSW, TASK_NVCSW, TASK_PID, TASK_PREV_SUM_EXEC_RUNTIME,
    TASK_PRIO, TASK_SCX_FLAGS, TASK_SUM_EXEC_RUNTIME, field, may_flush, probe, probe_task_cgroup,
    task_cgroup,
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

#[repr(C)]
struct Cpu {
    /// The task that was switched in, as an address that is only compared.
    task: u64,
    /// Its run time then.
    task_in_ns: u64,
    /// The task that was switched out last, likewise.
    out: u64,
    /// Its run time then.
    out_ns: u64,
    slots: [CpuRow; CPU_SLOTS],
}

/// Per CPU and one entry: one lookup reaches the running task and every slot.
#[map]
static CPUS: PerCpuArray<Cpu> = PerCpuArray::with_max_entries(1, 0);

impl Row for CpuRow {
    #[inline(always)]
    fn is_used(&self) -> bool {
        self.cgroup != 0
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
    let state = CPUS.get_ptr_mut(0)?;
    let args = ctx.as_ptr() as *const *const u8;
    // SAFETY: arguments 1 and 2 are task_structs on every kernel; the state is this CPU's, interrupts are off.
    unsafe {
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
            return None;
        }
        charge(state, task_cgroup(prev), run.wrapping_sub(run_in), 1);
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
unsafe fn run_before_unseen(state: *const Cpu, task: *const u8, run: u64) -> u64 {
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
unsafe fn run_before_exit(state: *const Cpu, task: *const u8, picked: u64) -> u64 {
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
/// `state` is this CPU's, and nothing else on this CPU uses it meanwhile.
#[inline(always)]
unsafe fn charge(state: *mut Cpu, cgroup: u64, run_ns: u64, switches: u64) {
    // A task_struct that was freed and handed out again at the same address can make the difference negative.
    let run_ns = if (run_ns as i64) < 0 { 0 } else { run_ns };
    // SAFETY: the index is within the table; the caller's promise.
    unsafe {
        let slot = &mut *addr_of_mut!((*state).slots).cast::<CpuRow>().add(index::<CPU_SLOTS>(cgroup));
        if slot.cgroup != cgroup {
            if slot.is_used() && !write_back(slot) {
                overflow(|o| {
                    add(addr_of_mut!((*o).run_ns), run_ns);
                    add(addr_of_mut!((*o).switches), switches);
                });
                return;
            }
            *slot = CpuRow { kind: Kind::Cpu as u32, cpu: cpu(), cgroup, run_ns: 0, switches: 0 };
        }
        slot.run_ns += run_ns;
        slot.switches += switches;
    }
}

/// Charges the running task for its time so far, and writes the cache of this CPU back.
///
/// Run by the agent with preemption off, on another CPU in an interrupt, and by a CPU on its way down with interrupts
/// off: no `sched_switch` can come between.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp")]
extern "C" fn cpu_flush(ctx: *mut c_void) -> u32 {
    // SAFETY: the context of a raw tracepoint.
    if !unsafe { may_flush(ctx) } {
        return 0;
    }
    let Some(state) = CPUS.get_ptr_mut(0) else { return 0 };
    // SAFETY: a helper without arguments.
    let task = unsafe { bpf_get_current_task() } as *const u8;
    // SAFETY: this CPU's state, see above.
    unsafe {
        // By helper, because only Linux 5.11 and later hand out a typed `current`. Where helpers may not read
        // kernel memory (lockdown), the running task is charged at its next switch.
        if let Some(run) = probe::<u64>(task, &TASK_SUM_EXEC_RUNTIME)
            && let Some(pid) = probe::<i32>(task, &TASK_PID)
            && let Some(cgroup) = probe_task_cgroup(task, &CSS_SET_MEMBER, &CSS_CGROUP)
        {
            let run_in = (*state).task_in_ns;
            if (*state).task == 0 {
                // The first run on this CPU, before the probe is attached: what this task ran until now does not count.
                (*state).task = task as u64;
                (*state).task_in_ns = run;
            } else if (*state).task == task as u64 && pid != 0 {
                (*state).task_in_ns = run;
                charge(state, cgroup, run.wrapping_sub(run_in), 0);
            }
        }
        flush(addr_of_mut!((*state).slots))
    }
}
