//! How many processes are in which state, in one pass of the kernel.
//!
//! Why: `/proc` has a file of each process, and opening and reading them all costs more than anything else about the host.
//! Hook: the iterator over tasks (`kernel/bpf/task_iter.c`, Linux 5.8), which goes over the threads that `/proc` shows to the
//! agent.

use core::ptr::addr_of_mut;

use aya_ebpf::{bindings::BPF_F_MMAPABLE, macros::map, maps::Array};
use seismograf_ebpf::abi::{PROCESS_STATE_SETS, Processes};

use super::iterators::Context;
use super::kernel::{
    SIGNAL_NR_THREADS, TASK_EXIT_STATE, TASK_PID, TASK_SIGNAL, TASK_STATE, TASK_TGID, field,
};

/// The bits of a task's state that have a letter of their own (`TASK_REPORT` in `include/linux/sched.h`), the lowest for `S`.
const REPORTED: u32 = 0x7f;
/// The bit of an uninterruptible wait, and with the next one that of a task that has nothing to do (`TASK_IDLE`).
const UNINTERRUPTIBLE: u32 = 0x2;
const NO_LOAD: u32 = 0x400;
const IDLE: u32 = UNINTERRUPTIBLE | NO_LOAD;
/// The bit of the letter `I`.
const REPORT_IDLE: u32 = 0x80;
/// Waits that are shown as uninterruptible: for a lock of a real-time kernel, and of a frozen task (`TASK_RTLOCK_WAIT`,
/// `TASK_FROZEN`).
const SHOWN_AS_UNINTERRUPTIBLE: u32 = 0x1000 | 0x8000;

/// One entry, which the agent maps.
#[map]
static PROCESSES: Array<Processes> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Is called for each thread.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
extern "C" fn process_pass(context: *const Context) -> u32 {
    // SAFETY: the context of the iterator.
    unsafe { count(context) };
    0
}

#[inline(always)]
unsafe fn count(context: *const Context) -> Option<()> {
    let processes = PROCESSES.get_ptr_mut(0)?;
    // SAFETY: typed pointers of the context; the counts are this pass's alone, for the agent runs one at a time.
    unsafe {
        let is_first = Context::is_first(context);
        if is_first {
            let mut set = 0;
            while set < PROCESS_STATE_SETS {
                // Volatile, so that it is no call of a function that clears memory byte by byte.
                addr_of_mut!((*processes).states).cast::<u64>().add(set).write_volatile(0);
                set += 1;
            }
            (*processes).threads = 0;
        }
        let task = Context::object(context)?;
        let pid: u32 = field(task, &TASK_PID);
        if is_first {
            (*processes).first = pid.into();
        }
        // A thread that is not the first of its process.
        if pid != field(task, &TASK_TGID) {
            return None;
        }
        let state = reported(field(task, &TASK_STATE), field(task, &TASK_EXIT_STATE));
        *addr_of_mut!((*processes).states).cast::<u64>().add(state as usize & (PROCESS_STATE_SETS - 1)) += 1;
        let shared: *const u8 = field(task, &TASK_SIGNAL);
        (*processes).threads += u64::from(field::<u32>(shared, &SIGNAL_NR_THREADS));
    }
    Some(())
}

/// The bits of a state that `/proc` shows, as `task_state_index()` in `include/linux/sched.h` has them.
#[inline(always)]
fn reported(state: u32, exit_state: u32) -> u32 {
    if state & SHOWN_AS_UNINTERRUPTIBLE != 0 {
        UNINTERRUPTIBLE
    } else if state & IDLE == IDLE {
        REPORT_IDLE
    } else {
        (state | exit_state) & REPORTED
    }
}
