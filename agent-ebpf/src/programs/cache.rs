//! The write-combining cache: what every area does with an amount.
//!
//! A direct-mapped array of rows on each CPU. A hit adds in place; a miss writes the slot's delta to the ring
//! buffer and takes the slot over. When the ring is full the delta stays where it is and the newcomer's amounts
//! go to `OVERFLOWS`, so that rows + overflow is always everything that was counted.
//!
//! Nothing here reads a clock, and no slot has an age: the agent writes the whole cache back when it gathers, by
//! running the `*_flush` program of each area on each CPU (`BPF_PROG_TEST_RUN` with `BPF_F_TEST_RUN_ON_CPU`,
//! Linux 5.10). A CPU that goes offline, where nothing can be run any more, does it itself on its way down. That makes the figures those of the moment of the gather, and costs nothing in between. These programs
//! are declared without aya's macro, because it drops a program's return value.

use core::intrinsics::{AtomicOrdering, atomic_xadd, atomic_xchg};
use core::ptr::{addr_of_mut, null_mut};

use aya_ebpf::{
    Global,
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::bpf_get_smp_processor_id,
    macros::map,
    maps::{PerCpuArray, RingBuf},
};
use seismograf_ebpf::abi::{FLUSH_LEVEL_BUSY, FLUSH_RING_FULL, LEVELS, Overflow};

/// The one channel to user space. The agent sets its size before the object is loaded.
#[map]
pub(super) static RECORDS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// What lost its row. Per CPU, so that adding is cheap; one entry, read by the agent at each gather.
#[map]
static OVERFLOWS: PerCpuArray<Overflow> = PerCpuArray::with_max_entries(1, 0);

/// The agent is woken when this many bytes wait in the ring.
#[unsafe(no_mangle)]
static WAKEUP_BYTES: Global<u64> = Global::new(512 << 10);

/// A record that fits a slot. All zero is a free slot.
pub(super) trait Row: Copy + 'static {
    /// Whether the slot holds anything.
    fn is_used(&self) -> bool;
}

/// The slot of a key in a table of `SLOTS`.
///
/// Ids are handed out one after the other; multiplied by 2^32 over the golden ratio, neighbours lie far apart.
#[inline(always)]
pub(super) fn index<const SLOTS: usize>(key: u64) -> usize {
    ((key as u32).wrapping_mul(0x9E37_79B1) >> 16) as usize & (SLOTS - 1)
}

/// Writes a row to the ring. `false` when the ring is full.
#[inline(always)]
pub(super) fn write_back<R: Row>(slot: &R) -> bool {
    let Some(mut record) = RECORDS.reserve::<R>(0) else {
        // SAFETY: per CPU, and atomic against whatever interrupts this program.
        unsafe { overflow(|o| add(addr_of_mut!((*o).refused), 1)) };
        return false;
    };
    // SAFETY: the record is as large as the slot.
    unsafe { copy(record.as_mut_ptr(), slot) };
    record.submit(wakeup());
    true
}

/// Copies a row word by word.
///
/// Volatile, because LLVM turns any other form into a call of `memcpy`, which is a loop over bytes here.
///
/// # Safety
/// As of `ptr::copy_nonoverlapping`; the size is a multiple of eight, which is asserted.
#[inline(always)]
pub(super) unsafe fn copy<R: Row>(to: *mut R, from: *const R) {
    const { assert!(size_of::<R>() % 8 == 0 && align_of::<R>() == 8) };
    for word in 0..size_of::<R>() / 8 {
        // SAFETY: within the row; the caller's promise.
        unsafe { to.cast::<u64>().add(word).write_volatile(from.cast::<u64>().add(word).read_volatile()) };
    }
}

/// Makes a row all zero, which is what a free slot is; see [`copy`] for why not by assignment.
///
/// # Safety
/// `slot` is a row in a map value.
#[inline(always)]
pub(super) unsafe fn clear<R: Row>(slot: *mut R) {
    for word in 0..size_of::<R>() / 8 {
        // SAFETY: within the row.
        unsafe { slot.cast::<u64>().add(word).write_volatile(0) };
    }
}

/// Wakes the agent once when the ring fills past the mark, not for each record before or after.
#[inline(always)]
pub(super) fn wakeup() -> u64 {
    // The records of all CPUs race for the crossing, hence a span and not a line. A crossing that is still missed
    // costs nothing but time: the agent empties the ring at each gather.
    const SPAN: u64 = 4096;
    let past = RECORDS.query(u64::from(BPF_RB_AVAIL_DATA)).wrapping_sub(WAKEUP_BYTES.load());
    u64::from(if past < SPAN { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP })
}

/// Hands this CPU's overflow accumulator to `count`.
///
/// # Safety
/// `count` writes through the pointer only in ways that tolerate an interruption ([`add`]).
#[inline(always)]
pub(super) unsafe fn overflow(count: impl FnOnce(*mut Overflow)) {
    if let Some(overflow) = OVERFLOWS.get_ptr_mut(0) {
        count(overflow);
    }
}

/// Adds atomically, and without the result: the form of the instruction that every kernel knows.
///
/// A zero is not added: LLVM turns that into an atomic `or`, which Linux before 5.12 refuses ("BPF_STX uses reserved fields").
///
/// # Safety
/// `sum` is a `u64` in a map value.
#[inline(always)]
pub(super) unsafe fn add(sum: *mut u64, amount: u64) {
    if amount != 0 {
        // SAFETY: the caller's promise.
        unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(sum, amount) };
    }
}

/// This CPU's number.
#[inline(always)]
pub(super) fn cpu() -> u32 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_get_smp_processor_id() as u32 }
}

/// One level of a cache whose programs can be interrupted by, or preempted by, themselves.
#[repr(C)]
pub(super) struct Level<R, const SLOTS: usize> {
    /// Not 0 while a program works in it.
    busy: u64,
    slots: [R; SLOTS],
}

/// Claims a free level of this CPU, until [`release`]; null when all are in use.
///
/// With `PREEMPTIBLE`, two tasks can be here on one CPU in any order, so the claim is an atomic exchange. Without,
/// programs nest like a stack, and a flag is enough: whoever interrupts between look and claim is done, flag
/// and all, before this one goes on. Linux before 5.12 refuses the exchange even in a branch that is never taken,
/// so there are two programs (`PREEMPTIBLE` is const), of which the agent loads one.
#[inline(always)]
pub(super) fn claim_level<R: Row, const SLOTS: usize, const PREEMPTIBLE: bool>(
    levels: &PerCpuArray<Level<R, SLOTS>>,
) -> *mut Level<R, SLOTS> {
    // Unrolled by hand: nearly every call ends at the first one, and old verifiers dislike loops over lookups.
    const { assert!(LEVELS == 4) };
    if let Some(level) = levels.get_ptr_mut(0)
        && claim::<R, SLOTS, PREEMPTIBLE>(level)
    {
        return level;
    }
    if let Some(level) = levels.get_ptr_mut(1)
        && claim::<R, SLOTS, PREEMPTIBLE>(level)
    {
        return level;
    }
    if let Some(level) = levels.get_ptr_mut(2)
        && claim::<R, SLOTS, PREEMPTIBLE>(level)
    {
        return level;
    }
    if let Some(level) = levels.get_ptr_mut(3)
        && claim::<R, SLOTS, PREEMPTIBLE>(level)
    {
        return level;
    }
    null_mut()
}

/// Gives a claimed level back.
///
/// # Safety
/// `level` is one that [`claim_level`] gave.
#[inline(always)]
pub(super) unsafe fn release<R: Row, const SLOTS: usize>(level: *mut Level<R, SLOTS>) {
    // SAFETY: the caller's promise. Volatile keeps it behind the work.
    unsafe { addr_of_mut!((*level).busy).write_volatile(0) };
}

/// The slot of a key in a claimed level.
///
/// # Safety
/// As of [`release`].
#[inline(always)]
pub(super) unsafe fn slot<'a, R: Row, const SLOTS: usize>(
    level: *mut Level<R, SLOTS>,
    key: u64,
) -> &'a mut R {
    // SAFETY: the index is within the table; the caller's promise.
    unsafe { &mut *addr_of_mut!((*level).slots).cast::<R>().add(index::<SLOTS>(key)) }
}

#[inline(always)]
fn claim<R, const SLOTS: usize, const PREEMPTIBLE: bool>(level: *mut Level<R, SLOTS>) -> bool {
    // SAFETY: a map value; each form tolerates the interruption that it is for, see `claim_level`.
    unsafe {
        let busy = addr_of_mut!((*level).busy);
        if PREEMPTIBLE {
            atomic_xchg::<u64, { AtomicOrdering::Relaxed }>(busy, 1) == 0
        } else {
            let free = busy.read_volatile() == 0;
            if free {
                busy.write_volatile(1);
            }
            free
        }
    }
}

/// Writes every used slot of a table to the ring and frees it. Returns [`FLUSH_RING_FULL`] when some stayed.
///
/// # Safety
/// `slots` is a map value that nothing else touches meanwhile.
#[inline(always)]
pub(super) unsafe fn flush<R: Row, const SLOTS: usize>(slots: *mut [R; SLOTS]) -> u32 {
    let mut answer = 0;
    for i in 0..SLOTS {
        // SAFETY: within the table; the caller's promise.
        unsafe {
            let slot = slots.cast::<R>().add(i);
            if (*slot).is_used() {
                if write_back(&*slot) {
                    clear(slot);
                } else {
                    answer = FLUSH_RING_FULL;
                }
            }
        }
    }
    answer
}

/// [`flush`] of one level of this CPU. Returns [`FLUSH_LEVEL_BUSY`] when a program is at work in it.
#[inline(always)]
pub(super) fn flush_level<R: Row, const SLOTS: usize, const PREEMPTIBLE: bool>(
    levels: &PerCpuArray<Level<R, SLOTS>>,
    level: u32,
) -> u32 {
    let Some(level) = levels.get_ptr_mut(level) else { return 0 };
    if !claim::<R, SLOTS, PREEMPTIBLE>(level) {
        return FLUSH_LEVEL_BUSY;
    }
    // SAFETY: claimed above.
    unsafe {
        let answer = flush(addr_of_mut!((*level).slots));
        release(level);
        answer
    }
}
