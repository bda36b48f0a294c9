//! The write-combining cache: what every area does with an amount.
//!
//! A direct-mapped array of rows on each CPU. A hit adds in place; a miss writes the slot's delta to the ring
//! buffer and takes the slot over. When the ring is full the delta stays where it is and the newcomer's amounts
//! go to `OVERFLOWS`, so that rows + overflow is always everything that was counted.
//!
//! Each table is an array with an entry for each CPU, and no per-CPU array: its address is part of the program, where that of a
//! per-CPU one is looked up, in memory that is cold when an event is rare.
//!
//! Nothing here reads a clock, and no slot has an age: the agent has the caches written back when it gathers (`flush`). That
//! makes the figures those of the moment of the gather, and costs nothing in between.

use core::hint::black_box;
use core::intrinsics::{AtomicOrdering, atomic_xadd, atomic_xchg};
use core::mem::offset_of;
use core::ptr::{addr_of_mut, null_mut};

use aya_ebpf::{
    Global,
    bindings::{BPF_F_MMAPABLE, BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::bpf_get_smp_processor_id,
    macros::map,
    maps::{Array, PerCpuArray, RingBuf},
};
use seismograf_ebpf::abi::{
    CPU_PARTS, CPU_SLOTS, Cpu, CpuRow, FLUSH_LEVEL_BUSY, FLUSH_RING_FULL, LEVELS, Marks, Overflow,
};

/// The one channel to user space. The agent sets its size before the object is loaded.
#[map]
pub(super) static RECORDS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// What lost its row. Per CPU, so that adding is cheap; one entry, read by the agent at each gather.
#[map]
static OVERFLOWS: PerCpuArray<Overflow> = PerCpuArray::with_max_entries(1, 0);

/// What each CPU is doing, and whether it has rows, which the agent maps; and its rows of CPU time, so that one look-up
/// reaches both.
#[map]
pub(super) static CPUS: Array<Cpu> = table();

/// A map with an entry for each CPU. It can be mapped, whether it is or not, because then it begins at a page, and its
/// entries each at a line of cache.
pub(super) const fn table<T>() -> Array<T> {
    const { assert!(align_of::<T>() == 64) };
    Array::with_max_entries(1, BPF_F_MMAPABLE)
}

/// This CPU's entry of a table.
#[inline(always)]
pub(super) fn of_this_cpu<T>(table: &Array<T>) -> Option<*mut T> {
    table.get_ptr_mut(cpu())
}

/// A part of a CPU's tables, by where its mark is among the [`Marks`].
#[derive(Clone, Copy)]
pub(super) struct Part(usize);

impl Part {
    pub(super) const RUNQUEUE: Self = Self(offset_of!(Marks, runqueue));
    pub(super) const BLKIO: Self = Self(offset_of!(Marks, blkio));
    pub(super) const NET: Self = Self(offset_of!(Marks, net));

    /// The one that a slot of the rows of CPU time is in.
    #[inline(always)]
    pub(super) fn of_cpu(slot: usize) -> Self {
        Self(slot / CPU_PART_SLOTS)
    }

    /// Its mark.
    ///
    /// # Safety
    /// `cpu` is an entry of `CPUS`.
    #[inline(always)]
    unsafe fn mark(self, cpu: *mut Cpu) -> *mut u8 {
        // SAFETY: within the entry.
        unsafe { addr_of_mut!((*cpu).marks).cast::<u8>().add(self.0) }
    }
}

/// Slots of a part of the rows of CPU time.
const CPU_PART_SLOTS: usize = CPU_SLOTS / CPU_PARTS;

/// Says that this CPU has rows to write back, and where.
#[inline(always)]
fn mark(part: Part) {
    if let Some(cpu) = of_this_cpu(&CPUS) {
        // SAFETY: this CPU's entry. A write-back that comes between this and the row finds the level in use.
        unsafe {
            part.mark(cpu).write_volatile(1);
            addr_of_mut!((*cpu).state.waiting).write_volatile(1);
        }
    }
}

/// The agent is woken when this many bytes wait in the ring.
#[unsafe(no_mangle)]
static WAKEUP_BYTES: Global<u64> = Global::new(512 << 10);

/// A record that fits a slot.
pub(super) trait Row: Copy + 'static {
    /// The cgroup; 0 in a free slot, whatever else it has.
    fn cgroup(&mut self) -> &mut u64;
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
    let written = RECORDS.output::<R>(slot, wakeup()).is_ok();
    if !written {
        // SAFETY: per CPU, and atomic against whatever interrupts this program.
        unsafe { overflow(|o| add(addr_of_mut!((*o).refused), 1)) };
    }
    written
}

/// Makes a row all zero, word by word.
///
/// Volatile, because LLVM turns any other form into a call of `memset`, which is a loop over bytes here.
///
/// # Safety
/// `slot` is a row in a map value.
#[inline(always)]
unsafe fn clear<R: Row>(slot: *mut R) {
    const { assert!(size_of::<R>() % 8 == 0 && align_of::<R>() == 8) };
    for word in 0..size_of::<R>() / 8 {
        // SAFETY: within the row.
        unsafe { slot.cast::<u64>().add(word).write_volatile(0) };
    }
}

/// Frees a slot for another key, whose fields the caller sets: the part that it is in will have to be written back.
///
/// # Safety
/// As of [`clear`].
#[inline(always)]
pub(super) unsafe fn take_over<R: Row>(slot: *mut R, part: Part) {
    mark(part);
    // SAFETY: the caller's promise.
    unsafe { clear(slot) };
}

/// [`take_over`] of a slot of a claimed level.
///
/// # Safety
/// As of [`clear`] and [`release`].
#[inline(always)]
pub(super) unsafe fn take_over_in<R: Row, const SLOTS: usize>(
    level: *mut Level<R, SLOTS>,
    slot: *mut R,
    part: Part,
) {
    // SAFETY: the caller's promise.
    unsafe {
        addr_of_mut!((*level).waiting).write_volatile(1);
        take_over(slot, part);
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

/// A table whose programs can be interrupted by, or preempted by, themselves.
#[repr(C, align(64))]
pub(super) struct Levels<R, const SLOTS: usize> {
    levels: [Level<R, SLOTS>; LEVELS as usize],
}

/// The part of it that one program at a time works in.
#[repr(C, align(64))]
pub(super) struct Level<R, const SLOTS: usize> {
    /// Not 0 while a program works in it.
    busy: u64,
    /// Not 0 while there may be rows in it: most levels are hardly ever used, and need not be gone through.
    waiting: u64,
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
    table: &Array<Levels<R, SLOTS>>,
) -> *mut Level<R, SLOTS> {
    let Some(levels) = of_this_cpu(table) else { return null_mut() };
    // Nearly every call ends at the first one.
    for level in 0..LEVELS as usize {
        // SAFETY: within the table.
        let level = unsafe { addr_of_mut!((*levels).levels).cast::<Level<R, SLOTS>>().add(level) };
        if claim::<R, SLOTS, PREEMPTIBLE>(level) {
            return level;
        }
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

/// Writes every used slot of so many to the ring and frees it. Returns [`FLUSH_RING_FULL`] when some stayed.
///
/// As little as possible for each slot, since the verifier goes through it for each; who runs this empties the ring. One piece
/// of code for all of them, which LLVM would else write out sixteen times: it is cold each time, as the slots are.
///
/// # Safety
/// `slots` are in a map value, and nothing else touches them meanwhile.
#[inline(always)]
pub(super) unsafe fn flush<R: Row, const SLOTS: usize>(slots: *mut R) -> u32 {
    let (mut answer, mut i) = (0, 0);
    while i < SLOTS {
        // SAFETY: within the table; the caller's promise.
        let slot = unsafe { &mut *slots.add(i) };
        i = black_box(i + 1);
        if *slot.cgroup() != 0 {
            if RECORDS.output::<R>(&*slot, u64::from(BPF_RB_NO_WAKEUP)).is_ok() {
                *slot.cgroup() = 0;
            } else {
                answer = FLUSH_RING_FULL;
            }
        }
    }
    answer
}

/// Writes a table of a CPU back by `flush`, unless its mark says that there is no row.
///
/// # Safety
/// `cpu` is this CPU's entry of `CPUS`, and `part` is a whole table.
#[inline(always)]
pub(super) unsafe fn flush_part(cpu: *mut Cpu, part: Part, flush: impl FnOnce() -> u32) -> u32 {
    // SAFETY: the caller's promise; the mark of a table is a whole word.
    unsafe {
        let mark = part.mark(cpu).cast::<u64>();
        if mark.read_volatile() == 0 {
            return 0;
        }
        // First: whoever takes a slot over while this is under way marks it again.
        mark.write_volatile(0);
        let answer = flush();
        say_again(mark, answer);
        answer
    }
}

/// Marks what stayed. In one instruction, since an interrupt may mark it too, and without a branch: the verifier would tell all
/// states before it apart by the answer.
///
/// # Safety
/// As of [`add`].
#[inline(always)]
pub(super) unsafe fn say_again(mark: *mut u64, answer: u32) {
    // SAFETY: the caller's promise.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(mark, u64::from(answer)) };
}

/// [`flush`] of the rows of CPU time in the parts that have any.
///
/// # Safety
/// As of [`flush`]: `cpu` is this CPU's entry of `CPUS`.
#[inline(always)]
pub(super) unsafe fn flush_cpu(cpu: *mut Cpu) -> u32 {
    let mut answer = 0;
    for part in 0..CPU_PARTS {
        // SAFETY: the caller's promise.
        unsafe {
            let mark = Part(part).mark(cpu);
            if mark.read_volatile() != 0 {
                let rows = addr_of_mut!((*cpu).rows).cast::<CpuRow>().add(part * CPU_PART_SLOTS);
                let refused = flush::<_, CPU_PART_SLOTS>(rows);
                mark.write_volatile(refused as u8);
                answer |= refused;
            }
        }
    }
    answer
}

/// [`flush`] of all levels of this CPU that have rows. Returns [`FLUSH_LEVEL_BUSY`] when a program is at work in one.
///
/// By the plain flag, whatever the programs claim a level by: nothing preempts a write-back, and what interrupts it is done,
/// flag and all, before it goes on.
#[inline(always)]
pub(super) fn flush_levels<R: Row, const SLOTS: usize>(table: &Array<Levels<R, SLOTS>>) -> u32 {
    let Some(levels) = of_this_cpu(table) else { return 0 };
    let mut answer = 0;
    for level in 0..LEVELS as usize {
        // SAFETY: within the table.
        let level = unsafe { addr_of_mut!((*levels).levels).cast::<Level<R, SLOTS>>().add(level) };
        if !claim::<R, SLOTS, false>(level) {
            answer |= FLUSH_LEVEL_BUSY;
            continue;
        }
        // SAFETY: claimed above.
        unsafe {
            let waiting = addr_of_mut!((*level).waiting);
            if waiting.read_volatile() != 0 {
                let refused = flush::<R, SLOTS>(addr_of_mut!((*level).slots).cast());
                waiting.write_volatile(u64::from(refused));
                answer |= refused;
            }
            release(level);
        }
    }
    answer
}
