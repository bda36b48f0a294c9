//! Looks at the task that another CPU runs, without an interrupt there.
//!
//! Why: a CPU that runs a single task without end (`nohz_full`) switches no task, and is to be left alone. Run by the agent
//! when it gathers, on its own CPU. The kernel updates the run time of such a task once a second from elsewhere
//! (`sched_tick_remote()` in `kernel/sched/core.c`).

use core::ffi::c_void;
use core::ptr::addr_of_mut;

use seismograf_ebpf::abi::LOOK_ARGUMENT;

use super::cache::CPUS;
use super::kernel::{CSS_CGROUP, CSS_SET_MEMBER, TASK_SUM_EXEC_RUNTIME, probe, probe_task_cgroup};

/// Leaves in a CPU's entry which cgroup its task is in, and how long that has run since it was switched in. Returns 1, or 0
/// where there is none.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp")]
extern "C" fn look(args: *const c_void) -> u32 {
    // SAFETY: the context of a raw tracepoint has twelve words.
    let cpu = unsafe { args.cast::<u64>().add(LOOK_ARGUMENT).read_volatile() };
    u32::from(try_look(cpu as u32).is_some())
}

#[inline(always)]
fn try_look(cpu: u32) -> Option<()> {
    let entry = CPUS.get_ptr_mut(cpu)?;
    // SAFETY: an entry of the table. Its CPU writes all but the last two words at any time, a whole word at a time.
    unsafe {
        let state = addr_of_mut!((*entry).state);
        let (task, idle) = (addr_of_mut!((*state).task), addr_of_mut!((*state).idle));
        let (address, run_in) = (task.read_volatile(), addr_of_mut!((*state).task_in_ns).read_volatile());
        if address == 0 || address == idle.read_volatile() {
            return None;
        }
        let run: u64 = probe(address as *const u8, &TASK_SUM_EXEC_RUNTIME)?;
        let cgroup = probe_task_cgroup(address as *const u8, &CSS_SET_MEMBER, &CSS_CGROUP)?;
        let run_ns = run.wrapping_sub(run_in);
        // Whoever was switched out meanwhile may be gone, and its memory another's.
        if task.read_volatile() != address || (run_ns as i64) < 0 {
            return None;
        }
        addr_of_mut!((*state).looked_cgroup).write_volatile(cgroup);
        addr_of_mut!((*state).looked_ns).write_volatile(run_ns);
    }
    Some(())
}
