//! What was counted and lost, each once: its field and part of `seismograf`, its documentation, and its count.
//!
//! The fields of the measurement and the points are both made from this table, and a test holds it against everything that
//! the kernel side can lose: nothing is counted as lost without being published.

use std::sync::atomic::{AtomicU64, Ordering};

use seismograf_ebpf::abi::Overflow;

use super::kinds::{Field, int, uint};

/// What was lost since the probes started.
#[derive(Clone, Copy, Debug)]
pub struct Lost<'a> {
    /// By the programs, for want of room.
    pub overflow: &'a Overflow,
    /// Records that could not be decoded.
    pub undecodable: u64,
    /// Calls that the kernel left out.
    pub missed_runs: u64,
}

/// One way to lose something.
#[derive(Debug)]
pub struct Loss {
    /// The `part` of `seismograf` that tells of it.
    pub part: &'static str,
    /// The field.
    pub field: Field,
    /// How much was lost.
    pub count: fn(&Lost<'_>) -> u64,
}

macro_rules! losses {
    ($($part:literal $field:literal in $unit:literal: $help:literal, $count:expr;)*) => {
        /// Every loss.
        pub const LOSSES: &[Loss] = &[$(Loss {
            part: $part,
            field: int($field, $unit, concat!("`", $part, "`: ", $help)),
            count: $count,
        }),*];
    };
}

losses! {
    "cpu" "overflow_ns" in "ns": "CPU time whose row was lost", |lost| lost.overflow.run_ns;
    "cpu" "overflow_switches" in "switch": "context switches whose row was lost", |lost| lost.overflow.switches;
    "runqueue" "overflow_wait_ns" in "ns": "time waited for a CPU whose row was lost", |lost| lost.overflow.wait_ns;
    "runqueue" "overflow_waits" in "wait": "waits whose row was lost", |lost| lost.overflow.waits;
    "blkio" "overflow_bytes" in "byte": "bytes whose row was lost, of all disks", |lost| {
        let lost = &lost.overflow.blkio;
        lost.read_bytes + lost.write_bytes + lost.discard_bytes
    };
    "blkio" "overflow_ops" in "operation": "operations whose row was lost, of all disks", |lost| {
        let lost = &lost.overflow.blkio;
        lost.reads + lost.writes + lost.discards
    };
    "blkio" "overflow_errors" in "operation": "operations that failed and whose row was lost",
        |lost| lost.overflow.blkio.errors;
    "blkio" "overflow_time_ns" in "ns": "time of reads and writes whose row was lost",
        |lost| lost.overflow.blkio.read_time_ns + lost.overflow.blkio.write_time_ns;
    "net" "overflow_rx_bytes" in "byte": "bytes received whose row was lost", |lost| lost.overflow.net.rx_bytes;
    "net" "overflow_tx_bytes" in "byte": "bytes sent whose row was lost", |lost| lost.overflow.net.tx_bytes;
    "net" "overflow_rx_packets" in "packet": "packets received whose row was lost",
        |lost| lost.overflow.net.rx_packets;
    "net" "overflow_tx_packets" in "packet": "packets sent whose row was lost", |lost| lost.overflow.net.tx_packets;
    "net" "overflow_tx_dropped_bytes" in "byte": "of these, bytes that a policy refused",
        |lost| lost.overflow.net.tx_dropped_bytes;
    "net" "overflow_tx_dropped_packets" in "packet": "of these, packets that a policy refused",
        |lost| lost.overflow.net.tx_dropped_packets;
    "net" "overflow_tcp_retransmits" in "segment": "TCP segments sent again whose row was lost",
        |lost| lost.overflow.net.tcp_retransmits;
    "net" "overflow_host_rx_bytes" in "byte": "as `rows_host_rx_bytes`, of rows that were lost",
        |lost| lost.overflow.host.rx_bytes;
    "net" "overflow_host_tx_bytes" in "byte": "as `rows_host_tx_bytes`, of rows that were lost",
        |lost| lost.overflow.host.tx_bytes;
    "ring" "undecodable" in "record": "records that could not be decoded", |lost| lost.undecodable;
    "ring" "refused" in "record": "rows for which the ring had no room; their amounts stayed in the cache; `listener`: connections, requests and datagrams that were turned away",
        |lost| lost.overflow.refused;
    "ring" "missed_runs" in "call": "calls of the probes that the kernel left out, because the program was at work on that CPU; since Linux 5.12; `probe`: those of one probe whose hook can come in between",
        |lost| lost.missed_runs;
    "ring" "lost_cgroup_events" in "record": "life-cycle records for which the ring had no room",
        |lost| lost.overflow.cgroup_events;
    "ring" "lost_oom_kills" in "process": "of the OOM-killed processes, the ones whose record found no room: they are in no row",
        |lost| lost.overflow.oom_kills;
}

/// One way for the agent itself to lose something.
#[derive(Debug)]
pub struct CountedLoss {
    /// The `part` of `seismograf` that tells of it.
    pub part: &'static str,
    /// The field.
    pub field: Field,
    /// Why, in a word.
    pub reason: &'static str,
}

/// Makes the counters of one kind of plugin and the rows that they are published by, of one list: there is no counter without a
/// row.
macro_rules! counted {
    ($(#[$doc:meta])* $counters:ident, $rows:ident:
     $($counter:ident = $part:literal $field:literal because $reason:literal in $unit:literal: $help:literal;)*) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $counters {
            $(#[doc = $help] pub $counter: AtomicU64,)*
        }

        #[doc = concat!("The rows of [`", stringify!($counters), "`].")]
        pub const $rows: &[CountedLoss] = &[$(CountedLoss {
            part: $part,
            field: uint($field, $unit, concat!("`", $part, "`: ", $help)),
            reason: $reason,
        }),*];

        impl $counters {
            /// Each row, and how much was lost.
            pub fn each(&self) -> impl Iterator<Item = (&'static CountedLoss, u64)> {
                $rows.iter().zip([$(self.$counter.load(Ordering::Relaxed)),*])
            }
        }
    };
}

counted! {
    /// What an input lost since the start.
    InputLosses, INPUT_LOSSES:
    missed = "agent" "missed_gathers" because "late" in "gather": "left out because the one before took too long";
    unread = "agent" "lost_received" because "end" in "point":
        "received, and taken by no output before their input ended";
}

counted! {
    /// What an output lost since the start.
    OutputLosses, OUTPUT_LOSSES:
    rejected = "output" "dropped_refused" because "refused" in "point":
        "of these, refused by the other side for good; of several reasons in one batch InfluxDB 1 and 2 can tell of one alone, so it is at least as many";
    overflowed = "output" "dropped_overflow" because "overflow" in "point":
        "of these, pushed out of the full buffer or spool";
    damaged = "output" "dropped_damaged" because "damaged" in "point":
        "of these, in a part of the spool that is damaged or missing";
    expired = "output" "dropped_expired" because "expired" in "point":
        "of these, older in the spool than `buffer_disk_max_age`";
    ended = "agent" "lost" because "unwritten" in "point": "not written when their output ended";
}

counted! {
    /// What came in at a socket and was lost, since the start.
    ListenerLosses, LISTENER_LOSSES:
    malformed = "listener" "malformed" because "malformed" in "line": "lines that are no line protocol";
    overflow = "listener" "overflow" because "overflow" in "datagram":
        "datagrams that the kernel dropped because they were not taken in time; with `datagrams`, all that came";
}

/// The rows of all that user space counts.
pub(super) const COUNTED: &[&[CountedLoss]] = &[INPUT_LOSSES, OUTPUT_LOSSES, LISTENER_LOSSES];

/// The row of a field of a part, if it is a loss that user space counts.
pub(super) fn counted(part: &str, field: &str) -> Option<&'static CountedLoss> {
    COUNTED.iter().copied().flatten().find(|loss| loss.part == part && loss.field.name == field)
}

/// How many fields there are with those of the losses.
pub(super) const fn n_with_losses(fields: &[Field]) -> usize {
    let (mut n, mut i) = (fields.len() + LOSSES.len(), 0);
    while i < COUNTED.len() {
        n += COUNTED[i].len();
        i += 1;
    }
    n
}

/// The fields of a table, and those of the losses after them.
pub(super) const fn with_losses<const N: usize>(fields: &[Field]) -> [Field; N] {
    let mut all = [LOSSES[0].field; N];
    let mut n = 0;
    while n < fields.len() {
        all[n] = fields[n];
        n += 1;
    }
    let mut i = 0;
    while i < LOSSES.len() {
        all[n] = LOSSES[i].field;
        (n, i) = (n + 1, i + 1);
    }
    let mut table = 0;
    while table < COUNTED.len() {
        let mut i = 0;
        while i < COUNTED[table].len() {
            all[n] = COUNTED[table][i].field;
            (n, i) = (n + 1, i + 1);
        }
        table += 1;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: usize = size_of::<Overflow>() / size_of::<u64>();

    /// What has this number in one of its words, and nothing else.
    fn overflow(at: usize, value: u64) -> Overflow {
        let mut words = [0_u64; WORDS];
        words[at] = value;
        // SAFETY: of the same size, and made of such words alone: any are one.
        unsafe { std::mem::transmute(words) }
    }

    #[test]
    fn whatever_the_kernel_side_loses_is_published_once() {
        for at in 0..WORDS {
            let overflow = overflow(at, 7);
            let lost = Lost { overflow: &overflow, undecodable: 0, missed_runs: 0 };
            let told: Vec<(&str, u64)> = LOSSES
                .iter()
                .map(|loss| (loss.field.name, (loss.count)(&lost)))
                .filter(|(_, count)| *count > 0)
                .collect();
            assert!(matches!(told[..], [(_, 7)]), "word {at} of {overflow:?} is told by {told:?}");
        }
    }

    #[test]
    fn user_space_tells_its_own_losses() {
        let overflow = Overflow::default();
        let lost = Lost { overflow: &overflow, undecodable: 3, missed_runs: 5 };
        let told: u64 = LOSSES.iter().map(|loss| (loss.count)(&lost)).sum();
        assert_eq!(told, 8);
    }
}
