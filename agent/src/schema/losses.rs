//! What was counted and lost, each once: its field and part of `seismograf`, its documentation, and its count.
//!
//! The fields of the measurement and the points are both made from this table, and a test holds it against everything that
//! the kernel side can lose: nothing is counted as lost without being published.

use seismograf_ebpf::abi::Overflow;

use super::kinds::{Field, int};

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

/// The fields of a table, and those of the losses after them.
pub(super) const fn with_losses<const N: usize>(fields: &[Field]) -> [Field; N] {
    let mut all = [LOSSES[0].field; N];
    let mut i = 0;
    while i < fields.len() {
        all[i] = fields[i];
        i += 1;
    }
    while i < N {
        all[i] = LOSSES[i - fields.len()].field;
        i += 1;
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
