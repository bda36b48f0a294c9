//! The write-back: hands the caches of one CPU to the ring buffer.
//!
//! Run by the agent when it gathers (`BPF_PROG_TEST_RUN` with `BPF_F_TEST_RUN_ON_CPU`, Linux 5.10), with preemption off, on
//! another CPU in an interrupt; only on CPUs that have something to say, which the agent sees in `CPUS`, and that are not left
//! alone. A CPU that goes offline, where nothing can be run any more, does it itself on its way down, with interrupts off. So no
//! `sched_switch` can come between. One program for all areas, since the interrupt costs more than the work. It is declared
//! without aya's macro, because that drops a program's return value.

use core::ffi::c_void;
use core::ptr::addr_of_mut;

use aya_ebpf::Global;
use seismograf_ebpf::abi::{ABSENT, FLUSH_ARGUMENT, FLUSH_CHARGES};

use super::blkio::flush_blkio;
use super::cache::{CPUS, Part, flush_cpu, flush_part, of_this_cpu, say_again};
use super::cpu::charge_running;
use super::net::flush_net;
use super::runqueue::flush_runqueue;

/// The steps in this range are those that a CPU itself takes on its way down, and up, while it is online (`enum cpuhp_state`).
/// Later ones, with interrupts off, no tracepoint tells of.
#[unsafe(no_mangle)]
static CPU_STEPS_FROM: Global<u64> = Global::new(ABSENT);
#[unsafe(no_mangle)]
static CPU_STEPS_TO: Global<u64> = Global::new(ABSENT);

/// Writes the caches of this CPU back. Returns `FLUSH_RING_FULL` and `FLUSH_LEVEL_BUSY` where something stayed.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp")]
extern "C" fn flush(args: *const c_void) -> u32 {
    try_flush::<false>(args)
}

/// [`flush`], with a task that the verifier has typed (Linux 5.11).
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp")]
extern "C" fn flush_typed(args: *const c_void) -> u32 {
    try_flush::<true>(args)
}

#[inline(always)]
fn try_flush<const TYPED: bool>(args: *const c_void) -> u32 {
    // SAFETY: the context of a raw tracepoint: `cpuhp_exit(cpu, state, step, result)`.
    let (step, argument) = unsafe {
        let args = args.cast::<u64>();
        (i64::from(args.add(2).read_volatile() as u32), args.add(FLUSH_ARGUMENT).read_volatile())
    };
    if !is_due(step) {
        return 0;
    }
    let Some(this_cpu) = of_this_cpu(&CPUS) else { return 0 };
    // SAFETY: this CPU's entries, see above.
    unsafe {
        // On its way down, a CPU charges where the agent has had it charge before.
        if step == 0 && argument & FLUSH_CHARGES != 0 || step != 0 && (*this_cpu).state.task != 0 {
            charge_running::<TYPED>(this_cpu);
        }
        let waiting = addr_of_mut!((*this_cpu).state.waiting);
        if waiting.read_volatile() == 0 {
            return 0;
        }
        // First: whoever takes a slot over while this is under way says so again.
        waiting.write_volatile(0);
        let answer = flush_cpu(this_cpu)
            | flush_part(this_cpu, Part::RUNQUEUE, || flush_runqueue())
            | flush_part(this_cpu, Part::BLKIO, flush_blkio)
            | flush_part(this_cpu, Part::NET, flush_net);
        say_again(waiting, answer);
        answer
    }
}

/// Whether the caches are to be written back: the agent runs this, without a step, or it is `cpuhp_exit` on a CPU on its way
/// down, which no write-back would reach any more.
#[inline(always)]
fn is_due(step: i64) -> bool {
    // By sign bits, and so one branch: the verifier would go through all that follows once for each.
    let is_no_step = (step - 1) >> 63;
    let is_outside = (step - CPU_STEPS_FROM.load() as i64 | CPU_STEPS_TO.load() as i64 - step) >> 63;
    is_no_step | !is_outside != 0
}
