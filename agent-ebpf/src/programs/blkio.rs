//! Block I/O of each cgroup and disk, charged to whoever the kernel charges.
//!
//! Why: io.stat has no latency, is empty where the controller is off, and is gone with its cgroup; and asking for
//! the current task, as other tools do, charges writeback to kernel threads.
//! Hook: `block_rq_complete`, where the request still has its bio, and the bio its owner. It counts what
//! `/proc/diskstats` counts, when it counts it (`blk_account_io_completion()` and `blk_account_io_done()` in
//! `block/blk-mq.c`). Completions come in task, softirq and hard-interrupt context, and nest.

use core::ptr::addr_of_mut;

use aya_ebpf::{
    helpers::bpf_ktime_get_ns,
    macros::{btf_tracepoint, map},
    maps::Array,
    programs::BtfTracePointContext,
};
use seismograf_ebpf::abi::{ABSENT, BLKIO_SLOTS, BlkioAmounts, BlkioRow, Kind, ROOT_CGROUP, bucket};

use super::cache::{
    Levels, Part, Row, add, claim_level, cpu, flush_levels, overflow, release, slot, table, take_over_in,
    write_back,
};
use super::kernel::{
    BIO_BLKG, BLKCG_CGROUP, BLKG_BLKCG, DISK_FIRST_MINOR, DISK_MAJOR, QUEUE_DISK, REQUEST_BIO,
    REQUEST_CMD_FLAGS, REQUEST_DATA_LEN, REQUEST_Q, REQUEST_RQ_DISK, REQUEST_RQ_FLAGS, REQUEST_START_TIME_NS,
    RQF_FLUSH_SEQ, cgroup_id, field,
};

// `enum req_op` in `include/linux/blk_types.h`; the numbers are the same on every kernel since 4.10.
const OP_MASK: u32 = 0xff;
const OP_FLUSH: u32 = 2;
const OP_DISCARD: u32 = 3;
/// From here on a request is a command for the driver, which diskstats leaves out.
const OP_DRIVER: u32 = 32;

#[map]
static BLKIOS: Array<Levels<BlkioRow, BLKIO_SLOTS>> = table();

impl Row for BlkioRow {
    #[inline(always)]
    fn cgroup(&mut self) -> &mut u64 {
        &mut self.cgroup
    }
}

/// Which group of diskstats an operation belongs to (`op_stat_group()`).
#[derive(Clone, Copy, PartialEq)]
enum Group {
    Read,
    Write,
    Discard,
}

/// One completion, as far as it is accounted.
#[derive(Clone, Copy)]
pub(super) struct Completion {
    cgroup: u64,
    major: u32,
    minor: u32,
    group: Group,
    bytes: u64,
    error: bool,
    /// Whether this completes the request.
    whole: bool,
    /// From request to completion, for a whole read or write of a queue that records start times.
    time_ns: u64,
}

/// `block_rq_complete(rq, error, nr_bytes)`
#[btf_tracepoint(function = "block_rq_complete")]
fn blkio_block_rq_complete(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: `ctx` is that of block_rq_complete.
    unsafe { try_blkio_block_rq_complete(&ctx) };
    0
}

#[inline(always)]
unsafe fn try_blkio_block_rq_complete(ctx: &BtfTracePointContext) -> Option<()> {
    // SAFETY: argument 0 is a request, 1 the status (an int or a byte: not 0 is an error), 2 the bytes.
    let done = unsafe { completion(ctx) }?;
    let level = claim_level::<_, BLKIO_SLOTS, false>(&BLKIOS);
    // SAFETY: the level is ours until it is released, and `add` is atomic.
    unsafe {
        if !level.is_null() {
            let slot: &mut BlkioRow = slot(level, done.cgroup ^ (u64::from(done.minor) << 20));
            let ours = slot.cgroup == done.cgroup && slot.minor == done.minor && slot.major == done.major;
            if ours || slot.cgroup == 0 || write_back(slot) {
                if !ours {
                    take_over_in(level, slot, Part::BLKIO);
                    slot.kind = Kind::Blkio as u32;
                    slot.cpu = cpu();
                    slot.cgroup = done.cgroup;
                    slot.major = done.major;
                    slot.minor = done.minor;
                }
                count(slot, &done);
                release(level);
                return Some(());
            }
            release(level);
        }
        overflow(|o| count_overflow(addr_of_mut!((*o).blkio), &done));
    }
    Some(())
}

/// # Safety
/// `ctx` is that of `block_rq_complete`.
#[inline(always)]
pub(super) unsafe fn completion(ctx: &BtfTracePointContext) -> Option<Completion> {
    let request: *const u8 = ctx.arg(0);
    let error = ctx.arg::<u64>(1) as u8 != 0;
    let bytes = u64::from(ctx.arg::<u64>(2) as u32);
    // SAFETY: each pointer is an argument or loaded from a typed one.
    unsafe {
        let op = field::<u32>(request, &REQUEST_CMD_FLAGS) & OP_MASK;
        if op == OP_FLUSH || op >= OP_DRIVER {
            return None;
        }
        let group = match op {
            OP_DISCARD => Group::Discard,
            op if op & 1 == 1 => Group::Write,
            _ => Group::Read,
        };
        // A write that is also a flush completes twice: with its data while the flush machinery owns it, and
        // empty when that is done. The kernel counts the bytes the first time and the operation the second.
        let flushing = u64::from(field::<u32>(request, &REQUEST_RQ_FLAGS)) & RQF_FLUSH_SEQ.load() != 0;
        let whole = !flushing && bytes >= u64::from(field::<u32>(request, &REQUEST_DATA_LEN));
        if !whole && bytes == 0 && !error {
            return None;
        }
        let mut time_ns = 0;
        if whole && group != Group::Discard {
            let start: u64 = field(request, &REQUEST_START_TIME_NS);
            if start != 0 {
                time_ns = bpf_ktime_get_ns().wrapping_sub(start);
            }
        }
        let disk: *const u8 = if REQUEST_RQ_DISK.load() != ABSENT {
            field(request, &REQUEST_RQ_DISK)
        } else {
            let queue: *const u8 = field(request, &REQUEST_Q);
            field(queue, &QUEUE_DISK)
        };
        let mut cgroup = 0;
        if BIO_BLKG.load() != ABSENT {
            let bio: *const u8 = field(request, &REQUEST_BIO);
            let blkg: *const u8 = field(bio, &BIO_BLKG);
            let blkcg: *const u8 = field(blkg, &BLKG_BLKCG);
            cgroup = cgroup_id(field(blkcg, &BLKCG_CGROUP));
        }
        Some(Completion {
            // What the kernel charges to no cgroup is the root's.
            cgroup: if cgroup == 0 { ROOT_CGROUP } else { cgroup },
            major: field(disk, &DISK_MAJOR),
            minor: field(disk, &DISK_FIRST_MINOR),
            group,
            bytes,
            error,
            whole,
            time_ns,
        })
    }
}

#[inline(always)]
fn count(slot: &mut BlkioRow, done: &Completion) {
    let amounts = &mut slot.amounts;
    let whole = u64::from(done.whole);
    match done.group {
        Group::Read => {
            amounts.read_bytes += done.bytes;
            amounts.reads += whole;
        }
        Group::Write => {
            amounts.write_bytes += done.bytes;
            amounts.writes += whole;
        }
        Group::Discard => {
            amounts.discard_bytes += done.bytes;
            amounts.discards += whole;
        }
    }
    amounts.errors += u64::from(done.error);
    if done.time_ns != 0 {
        // SAFETY: `bucket` is less than `BUCKETS`.
        unsafe {
            if done.group == Group::Read {
                amounts.read_time_ns += done.time_ns;
                *slot.read_histogram.as_mut_ptr().add(bucket(done.time_ns)) += 1;
            } else {
                amounts.write_time_ns += done.time_ns;
                *slot.write_histogram.as_mut_ptr().add(bucket(done.time_ns)) += 1;
            }
        }
    }
}

#[inline(always)]
fn count_overflow(amounts: *mut BlkioAmounts, done: &Completion) {
    let whole = u64::from(done.whole);
    // SAFETY: a map value, and `add` is atomic.
    unsafe {
        match done.group {
            Group::Read => {
                add(addr_of_mut!((*amounts).read_bytes), done.bytes);
                add(addr_of_mut!((*amounts).reads), whole);
                add(addr_of_mut!((*amounts).read_time_ns), done.time_ns);
            }
            Group::Write => {
                add(addr_of_mut!((*amounts).write_bytes), done.bytes);
                add(addr_of_mut!((*amounts).writes), whole);
                add(addr_of_mut!((*amounts).write_time_ns), done.time_ns);
            }
            Group::Discard => {
                add(addr_of_mut!((*amounts).discard_bytes), done.bytes);
                add(addr_of_mut!((*amounts).discards), whole);
            }
        }
        add(addr_of_mut!((*amounts).errors), u64::from(done.error));
    }
}

/// Writes the rows of this CPU back.
#[inline(always)]
pub(super) fn flush_blkio() -> u32 {
    flush_levels(&BLKIOS)
}
