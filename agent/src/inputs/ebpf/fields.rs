//! The fields that a cgroup's and a pod's points have in common, area by area.
//!
//! Pure: totals in, fields out.

use std::time::Duration;

use seismograf_ebpf::abi::NetAmounts;

use super::readings::MemoryAmounts;
use crate::ledger::{blkio, cpu};
use crate::point::Point;

/// The share is never more than `n_cpus`: run time is read some moments after the clock is, and what a task ran before the
/// probes saw it can be in the first interval.
pub(super) fn set_cpu(point: &mut Point, totals: &cpu::CpuTotals, elapsed: Duration, n_cpus: usize) {
    point.set_field("usage_ns", integer(totals.usage_ns));
    point.set_field("context_switches", integer(totals.context_switches));
    if !elapsed.is_zero() {
        let percent = 100.0 * totals.interval_ns as f64 / elapsed.as_nanos() as f64;
        point.set_field("usage_percent", percent.min(100.0 * n_cpus as f64));
    }
}

pub(super) fn set_blkio(point: &mut Point, totals: &blkio::BlkioTotals) {
    let amounts = &totals.amounts;
    point.set_field("read_bytes", integer(amounts.read_bytes));
    point.set_field("write_bytes", integer(amounts.write_bytes));
    point.set_field("discard_bytes", integer(amounts.discard_bytes));
    point.set_field("reads", integer(amounts.reads));
    point.set_field("writes", integer(amounts.writes));
    point.set_field("discards", integer(amounts.discards));
    point.set_field("errors", integer(amounts.errors));
    point.set_field("read_time_ns", integer(amounts.read_time_ns));
    point.set_field("write_time_ns", integer(amounts.write_time_ns));
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
        if let Some(ns) = totals.reads.quantile_ns(quantile) {
            point.set_field(format!("read_{name}_us"), ns / 1e3);
        }
        if let Some(ns) = totals.writes.quantile_ns(quantile) {
            point.set_field(format!("write_{name}_us"), ns / 1e3);
        }
    }
}

/// Retransmits are counted by a probe of their own, which `has_tcp` says is on. What is dropped was counted as sent before.
pub(super) fn set_net(point: &mut Point, amounts: &NetAmounts, has_tcp: bool) {
    point.set_field("rx_bytes", integer(amounts.rx_bytes));
    point.set_field("tx_bytes", integer(amounts.tx_bytes.saturating_sub(amounts.tx_dropped_bytes)));
    point.set_field("rx_packets", integer(amounts.rx_packets));
    point.set_field("tx_packets", integer(amounts.tx_packets.saturating_sub(amounts.tx_dropped_packets)));
    if amounts.tx_dropped_packets > 0 {
        point.set_field("tx_dropped_bytes", integer(amounts.tx_dropped_bytes));
        point.set_field("tx_dropped_packets", integer(amounts.tx_dropped_packets));
    }
    if has_tcp {
        point.set_field("tcp_retransmits", integer(amounts.tcp_retransmits));
    }
}

pub(super) fn set_memory(point: &mut Point, amounts: &MemoryAmounts) {
    for (name, value) in [
        ("usage_bytes", Some(amounts.usage_bytes)),
        ("working_set_bytes", Some(amounts.working_set_bytes)),
        ("rss_bytes", amounts.rss_bytes),
        ("cache_bytes", amounts.cache_bytes),
        ("limit_bytes", amounts.limit_bytes),
        ("page_faults", amounts.page_faults),
        ("major_page_faults", amounts.major_page_faults),
        ("oom_kills", amounts.oom_kills),
    ] {
        if let Some(value) = value {
            point.set_field(name, integer(value));
        }
    }
}

/// Counts are signed integers in the database.
pub(super) fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
