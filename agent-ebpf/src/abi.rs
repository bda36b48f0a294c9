//! The records that leave the ring buffer, the loss accumulator, and the limits of the kernel's cache.
//!
//! All are `repr(C)`, without padding, in the machine's byte order: kernel and agent are the same machine.
//! A row is a delta: what one CPU accounted for one key since it last wrote that key back.

use core::mem::{align_of, offset_of, size_of};
use core::ops::AddAssign;

/// Log2 buckets of a latency histogram.
pub const BUCKETS: usize = 28;

/// The first bucket ends at 2^this nanoseconds; each further one at twice the one before, the last is open.
pub const FIRST_BUCKET_BITS: u32 = 10;

/// The id of the root cgroup in any hierarchy: its kernfs node is the first one made.
pub const ROOT_CGROUP: u64 = 1;

/// An offset that this kernel does not have: the verifier deletes the branch that would use it.
pub const ABSENT: u64 = u64::MAX;

/// The longest cgroup path in a record; the kernel's own tracepoint buffer ends there
/// (`TRACE_CGROUP_PATH_LEN` in `kernel/cgroup/cgroup-internal.h`).
pub const PATH_BYTES: usize = 1024;

/// What a record is; the first word of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// [`CpuRow`]
    Cpu = 1,
    /// [`BlkioRow`]
    Blkio = 2,
    /// [`NetRow`]
    Net = 3,
    /// [`RunqueueRow`]
    Runqueue = 4,
    /// [`CgroupEvent`]
    Cgroup = 5,
    /// [`OomKill`]
    OomKill = 6,
}

/// CPU time of one cgroup on one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CpuRow {
    /// [`Kind::Cpu`]
    pub kind: u32,
    /// The CPU that accounted it.
    pub cpu: u32,
    /// The cgroup, by its id in the hierarchy that CPU time is accounted in; 0 marks a free slot.
    pub cgroup: u64,
    /// Run time in nanoseconds, as the scheduler itself charges it (`se.sum_exec_runtime`).
    pub run_ns: u64,
    /// How often one of its tasks was switched out.
    pub switches: u64,
}

/// Waiting for a CPU, of one cgroup on one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RunqueueRow {
    /// [`Kind::Runqueue`]
    pub kind: u32,
    /// The CPU that accounted it.
    pub cpu: u32,
    /// The cgroup, by its id in the hierarchy that CPU time is accounted in; 0 marks a free slot.
    pub cgroup: u64,
    /// Time spent runnable and not running, in nanoseconds (`sched_info.run_delay`).
    pub wait_ns: u64,
    /// How often a wait ended.
    pub waits: u64,
    /// Waits by their length, see [`bucket`].
    pub histogram: [u32; BUCKETS],
}

/// Block I/O of one cgroup on one device, seen by one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct BlkioRow {
    /// [`Kind::Blkio`]
    pub kind: u32,
    /// The CPU that saw the completion.
    pub cpu: u32,
    /// The cgroup, by its id in the hierarchy that block I/O is accounted in; 0 marks a free slot.
    pub cgroup: u64,
    /// Major number of the disk.
    pub major: u32,
    /// Minor number of the disk (not of a partition).
    pub minor: u32,
    /// What was done.
    pub amounts: BlkioAmounts,
    /// Reads by their time from request to completion, see [`bucket`].
    pub read_histogram: [u32; BUCKETS],
    /// Writes, likewise.
    pub write_histogram: [u32; BUCKETS],
}

/// Amounts of block I/O, counted as `/proc/diskstats` counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct BlkioAmounts {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Bytes discarded.
    pub discard_bytes: u64,
    /// Reads that completed whole.
    pub reads: u64,
    /// Writes that completed whole, an empty flush included.
    pub writes: u64,
    /// Discards that completed whole.
    pub discards: u64,
    /// Completions with an error.
    pub errors: u64,
    /// Time of the reads from request to completion, in nanoseconds, added up.
    pub read_time_ns: u64,
    /// Time of the writes, likewise.
    pub write_time_ns: u64,
}

impl AddAssign<&Self> for BlkioAmounts {
    fn add_assign(&mut self, other: &Self) {
        self.read_bytes += other.read_bytes;
        self.write_bytes += other.write_bytes;
        self.discard_bytes += other.discard_bytes;
        self.reads += other.reads;
        self.writes += other.writes;
        self.discards += other.discards;
        self.errors += other.errors;
        self.read_time_ns += other.read_time_ns;
        self.write_time_ns += other.write_time_ns;
    }
}

/// IP traffic of one cgroup, seen by one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct NetRow {
    /// [`Kind::Net`]
    pub kind: u32,
    /// The CPU that saw it.
    pub cpu: u32,
    /// The cgroup2 id of the socket's cgroup; 0 marks a free slot.
    pub cgroup: u64,
    /// The program's own: the latest socket, as an address that is only compared.
    pub socket: u64,
    /// Likewise: whether that is in the host's network namespace.
    pub socket_is_of_host: u64,
    /// What the host's own network namespace had of it.
    pub host: HostBytes,
    /// What was received and sent.
    pub amounts: NetAmounts,
}

/// Bytes of IP traffic in the host's own network namespace, as IP itself counts them there: what stands for several segments,
/// or is split later, counts as it is. For the balance alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct HostBytes {
    /// Received.
    pub rx_bytes: u64,
    /// Sent; less what is refused afterwards, so that one record alone can be below zero.
    pub tx_bytes: u64,
}

impl AddAssign<&Self> for HostBytes {
    fn add_assign(&mut self, other: &Self) {
        self.rx_bytes = self.rx_bytes.wrapping_add(other.rx_bytes);
        self.tx_bytes = self.tx_bytes.wrapping_add(other.tx_bytes);
    }
}

/// Amounts of IP traffic: packets as they are on the wire, bytes with IP and without link headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct NetAmounts {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes sent, with those that were dropped.
    pub tx_bytes: u64,
    /// Packets sent, likewise.
    pub tx_packets: u64,
    /// Of the bytes sent, those that a program at a cgroup refused afterwards.
    pub tx_dropped_bytes: u64,
    /// Of the packets sent, likewise.
    pub tx_dropped_packets: u64,
    /// TCP segments retransmitted; counted by its own, optional probe.
    pub tcp_retransmits: u64,
}

impl AddAssign<&Self> for NetAmounts {
    fn add_assign(&mut self, other: &Self) {
        self.rx_bytes += other.rx_bytes;
        self.rx_packets += other.rx_packets;
        self.tx_bytes += other.tx_bytes;
        self.tx_packets += other.tx_packets;
        self.tx_dropped_bytes += other.tx_dropped_bytes;
        self.tx_dropped_packets += other.tx_dropped_packets;
        self.tcp_retransmits += other.tcp_retransmits;
    }
}

/// What happened to a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CgroupChange {
    /// Its directory was made.
    Made = 1,
    /// Its directory was removed; deltas may follow while something still holds it.
    Removed = 2,
    /// The kernel let go of it: nothing can follow.
    Released = 3,
    /// Its directory was renamed, which v1 hierarchies allow; the path is the new one.
    Renamed = 4,
}

/// A cgroup came, went or was renamed. In the ring only the first `path_bytes` of the path are present.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct CgroupEvent {
    /// [`Kind::Cgroup`]
    pub kind: u32,
    /// [`CgroupChange`]
    pub change: u32,
    /// The id, in the hierarchy below.
    pub cgroup: u64,
    /// The hierarchy's number as in proc(5) `/proc/PID/cgroup`; 0 is cgroup2.
    pub hierarchy: u32,
    /// Bytes of the path that follow, without a terminator.
    pub path_bytes: u32,
    /// When it goes, nanoseconds that its tasks have run in all; 0 where a probe counts them.
    pub run_ns: u64,
    /// The path from the hierarchy's root.
    pub path: [u8; PATH_BYTES],
}

/// Bytes of a [`CgroupEvent`] before its path.
pub const CGROUP_EVENT_HEAD: usize = offset_of!(CgroupEvent, path);

/// A process was OOM-killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct OomKill {
    /// [`Kind::OomKill`]
    pub kind: u32,
    /// The process; 0 before Linux 6.8.
    pub pid: u32,
    /// Its cgroup, by its id in the hierarchy that memory is accounted in; 0 when it could not be read. Before Linux 6.8 the
    /// cgroup of the task that ran out of memory.
    pub cgroup: u64,
    /// What the kernel names the victim by: before Linux 6.8 the number of its process, and since then the address of its task,
    /// which is above all numbers.
    pub victim: u64,
}

/// What lost its row: amounts that were counted when neither the cache nor the ring had room, per CPU.
///
/// Never reset: *rows + overflow = everything that the probes counted*.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Overflow {
    /// CPU time, in nanoseconds.
    pub run_ns: u64,
    /// Context switches.
    pub switches: u64,
    /// Waiting for a CPU, in nanoseconds.
    pub wait_ns: u64,
    /// Waits.
    pub waits: u64,
    /// Block I/O.
    pub blkio: BlkioAmounts,
    /// IP traffic.
    pub net: NetAmounts,
    /// Of that, the host's own.
    pub host: HostBytes,
    /// Life-cycle records that did not fit: the agent walks the hierarchies instead.
    pub cgroup_events: u64,
    /// Rows that the full ring refused to a program; their deltas stayed in the cache.
    pub refused: u64,
    /// OOM kills whose record did not fit.
    pub oom_kills: u64,
}

impl AddAssign<&Self> for Overflow {
    fn add_assign(&mut self, other: &Self) {
        self.run_ns += other.run_ns;
        self.switches += other.switches;
        self.wait_ns += other.wait_ns;
        self.waits += other.waits;
        self.blkio += &other.blkio;
        self.net += &other.net;
        self.host += &other.host;
        self.cgroup_events += other.cgroup_events;
        self.refused += other.refused;
        self.oom_kills += other.oom_kills;
    }
}

/// Slots of the CPU cache on each CPU: a power of two.
pub const CPU_SLOTS: usize = 256;
/// Slots of the run-queue cache on each CPU: a power of two.
pub const RUNQUEUE_SLOTS: usize = 128;
/// Slots of one level of the block cache on each CPU: a power of two.
pub const BLKIO_SLOTS: usize = 32;
/// Slots of one level of the network cache on each CPU: a power of two.
pub const NET_SLOTS: usize = 128;
/// Maps with an entry for each CPU that there can be: the agent sets their size before the object is loaded.
pub const TABLES: [&str; 4] = ["CPUS", "RUNQUEUES", "BLKIOS", "NETS"];

/// What one CPU is doing, as far as the probes know: a line of cache, which the agent reads too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct CpuState {
    /// Not 0 while there may be rows in this CPU's tables.
    pub waiting: u64,
    /// The task that was switched in, as an address that is only compared; 0 where nobody knows.
    pub task: u64,
    /// The idle task of this CPU, likewise.
    pub idle: u64,
    /// The run time of `task` when it was switched in.
    pub task_in_ns: u64,
    /// The task that was switched out last, likewise.
    pub out: u64,
    /// Its run time then.
    pub out_ns: u64,
    /// Written from another CPU, by the program `look`: the cgroup of the task that was running.
    pub looked_cgroup: u64,
    /// Likewise: how long it had run since it was switched in.
    pub looked_ns: u64,
}

/// For each part of a CPU's tables, not 0 while there may be rows in it: a line of cache, so that a write-back need not look at
/// all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Marks {
    /// Of the rows of CPU time.
    pub cpu: [u8; CPU_PARTS],
    /// Of the run-queue cache.
    pub runqueue: u64,
    /// Of the block cache.
    pub blkio: u64,
    /// Of the network cache.
    pub net: u64,
}

/// How many parts the rows of CPU time have.
pub const CPU_PARTS: usize = 16;

/// An entry of the table `CPUS`.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Cpu {
    /// In front, in one page.
    pub state: CpuState,
    /// Which parts of this CPU's tables may have rows.
    pub marks: Marks,
    /// Its rows of CPU time.
    pub rows: [CpuRow; CPU_SLOTS],
}

/// An entry of the table `RUNQUEUES`.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Runqueue {
    /// The task that was switched in, as an address that is only compared.
    pub task: u64,
    /// Its waits then, without the one that just ended.
    pub task_in_delay_ns: u64,
    /// Rows of waiting for this CPU.
    pub rows: [RunqueueRow; RUNQUEUE_SLOTS],
}

/// How many cgroups one pass has room for: a power of two. Those beyond are read by their files.
pub const PASS_CGROUPS: usize = 8_192;

/// What the latest pass over all cgroups has of them.
#[derive(Debug)]
#[repr(C)]
pub struct Pass {
    /// How many cgroups there are; that many entries are filled, or all.
    pub n: u64,
    /// In the order of the pass.
    pub cgroups: [CgroupFigures; PASS_CGROUPS],
}

/// What a pass has of one cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CgroupFigures {
    /// Its id in the hierarchy that memory is accounted in.
    pub cgroup: u64,
    /// Pages of memory that it uses, as of `memory.current`; [`ABSENT`] where the controller of memory is not on.
    pub pages: u64,
    /// Nanoseconds that its tasks have run so far, without those below it; 0 where a probe counts them.
    pub run_ns: u64,
}

/// The letters of a process's states, as in proc(5) `PID/stat`: `R` where no bit is set, and else the one of the highest bit, from
/// the lowest on (`TASK_REPORT` and `task_index_to_char()` in `include/linux/sched.h`).
pub const PROCESS_STATES: &[u8] = b"RSDTtXZPI";
/// How many sets of those bits there are.
pub const PROCESS_STATE_SETS: usize = 1 << (PROCESS_STATES.len() - 1);

/// Processes in one pass over all tasks.
#[derive(Debug)]
#[repr(C)]
pub struct Processes {
    /// How many have each set of bits.
    pub states: [u64; PROCESS_STATE_SETS],
    /// How many threads they have.
    pub threads: u64,
    /// The process that the pass came to first.
    pub first: u64,
}

/// The argument of a write-back program that says that the CPU probe is on: the running task is charged.
pub const FLUSH_CHARGES: u64 = 1;
/// Which of its arguments that is.
pub const FLUSH_ARGUMENT: usize = 3;

/// Which argument of the program `look` is the CPU.
pub const LOOK_ARGUMENT: usize = 0;

/// A call of this helper, which does not exist, stands for the kernel's function `bpf_cast_to_kern_ctx`, whose number the agent
/// puts in before the object is loaded.
pub const CAST_TO_KERNEL_CONTEXT: i32 = 0x7ff0_0001;

/// How many programs can be at work in one cache of one CPU at a time: task, softirq, hard interrupt, and a
/// task that preempted another one.
pub const LEVELS: u32 = 4;

/// Set in the return value of a write-back program when the ring had no room for every slot.
pub const FLUSH_RING_FULL: u32 = 1;
/// Set in the return value of a write-back program when it found a level in use and skipped it.
pub const FLUSH_LEVEL_BUSY: u32 = 2;

/// The bucket of a time in nanoseconds.
#[inline(always)]
#[must_use]
pub const fn bucket(ns: u64) -> usize {
    // By halves and without a loop: BPF has no instruction that counts leading zeros.
    let mut rest = ns >> FIRST_BUCKET_BITS;
    let mut index = 0;
    if rest >= 1 << 32 {
        return BUCKETS - 1;
    }
    if rest >= 1 << 16 {
        rest >>= 16;
        index += 16;
    }
    if rest >= 1 << 8 {
        rest >>= 8;
        index += 8;
    }
    if rest >= 1 << 4 {
        rest >>= 4;
        index += 4;
    }
    if rest >= 1 << 2 {
        rest >>= 2;
        index += 2;
    }
    if rest >= 1 << 1 {
        rest >>= 1;
        index += 1;
    }
    index += rest as usize;
    if index < BUCKETS { index } else { BUCKETS - 1 }
}

const _: () = {
    assert!(size_of::<CpuRow>() == 32);
    assert!(size_of::<RunqueueRow>() == 32 + 4 * BUCKETS);
    assert!(size_of::<BlkioRow>() == 24 + 9 * 8 + 8 * BUCKETS);
    assert!(size_of::<NetRow>() == 16 + 7 * 8 + 2 * 8 + 2 * 8);
    assert!(size_of::<CgroupEvent>() == 32 + PATH_BYTES);
    assert!(size_of::<OomKill>() == 24);
    assert!(CGROUP_EVENT_HEAD == 32);
    assert!(size_of::<Overflow>() == 4 * 8 + 9 * 8 + 7 * 8 + 2 * 8 + 3 * 8);
    assert!(align_of::<Overflow>() == 8);
    assert!(size_of::<CpuState>() == 64 && size_of::<Marks>() == 64);
    assert!(CPU_SLOTS.is_multiple_of(CPU_PARTS));
    assert!(CPU_SLOTS.is_power_of_two() && RUNQUEUE_SLOTS.is_power_of_two());
    assert!(BLKIO_SLOTS.is_power_of_two() && NET_SLOTS.is_power_of_two());
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_double_and_the_last_is_open() {
        assert_eq!(bucket(0), 0);
        assert_eq!(bucket(1023), 0);
        assert_eq!(bucket(1024), 1);
        assert_eq!(bucket(2047), 1);
        assert_eq!(bucket(2048), 2);
        for index in 1..BUCKETS - 1 {
            let start = 1_u64 << (FIRST_BUCKET_BITS as usize + index - 1);
            assert_eq!(bucket(start), index);
            assert_eq!(bucket(2 * start - 1), index);
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }
}
