//! The fields that a cgroup's and a pod's points have in common, area by area.
//!
//! Pure: totals in, fields out.

use seismograf_ebpf::abi::NetAmounts;

use super::readings::MemoryAmounts;
use crate::host::cgroupfs::figures::Throttling;
use crate::kernel::cpu_source::CpuSource;
use crate::ledger::blkio;
use crate::ledger::cpu::CpuTotals;
use crate::ledger::memory::PageFaults;
use crate::ledger::runqueue::RunqueueTotals;
use crate::point::Point;

/// The share is never more than `n_cpus`: run time is read some moments after the clock is, and what a task ran before the
/// probes saw it can be in the first interval. Switches are counted by a program at each, if by anybody.
pub(super) fn set_cpu(
    point: &mut Point,
    totals: &CpuTotals,
    usage_percent: Option<f64>,
    n_cpus: usize,
    source: CpuSource,
) {
    point.set_field("usage_ns", integer(totals.usage_ns));
    if source == CpuSource::Probe {
        point.set_field("context_switches", integer(totals.context_switches));
    }
    if let Some(percent) = usage_percent {
        point.set_field("usage_percent", percent.min(100.0 * n_cpus as f64));
    }
}

pub(super) fn set_runqueue(point: &mut Point, totals: Option<&RunqueueTotals>) {
    if let Some(totals) = totals {
        point.set_field("runqueue_wait_ns", integer(totals.wait_ns));
        if let Some(p99) = totals.interval.quantile_ns(0.99) {
            point.set_field("runqueue_wait_p99_us", p99 / 1e3);
        }
    }
}

/// Without a quota there are no periods.
pub(super) fn set_throttling(point: &mut Point, throttling: Option<&Throttling>) {
    if let Some(throttling) = throttling.filter(|throttling| throttling.nr_periods > 0) {
        point.set_field("nr_periods", integer(throttling.nr_periods));
        point.set_field("nr_throttled", integer(throttling.nr_throttled));
        point.set_field("throttled_ns", integer(throttling.throttled_ns));
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
    for (read, write, quantile) in
        [("read_p50_us", "write_p50_us", 0.5), ("read_p99_us", "write_p99_us", 0.99)]
    {
        if let Some(ns) = totals.reads.quantile_ns(quantile) {
            point.set_field(read, ns / 1e3);
        }
        if let Some(ns) = totals.writes.quantile_ns(quantile) {
            point.set_field(write, ns / 1e3);
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

pub(super) fn set_memory(point: &mut Point, amounts: &MemoryAmounts, page_faults: Option<&PageFaults>) {
    for (name, value) in [
        ("usage_bytes", Some(amounts.usage_bytes)),
        ("working_set_bytes", Some(amounts.working_set_bytes)),
        ("rss_bytes", amounts.rss_bytes),
        ("cache_bytes", amounts.cache_bytes),
        ("limit_bytes", amounts.limit_bytes),
        ("page_faults", page_faults.map(|faults| faults.all)),
        ("major_page_faults", page_faults.map(|faults| faults.major)),
    ] {
        if let Some(value) = value {
            point.set_field(name, integer(value));
        }
    }
}

pub(super) fn pressure_fields(kind: &str) -> [&'static str; 4] {
    match kind {
        "full" => ["full_avg10", "full_avg60", "full_avg300", "full_total_us"],
        _ => ["some_avg10", "some_avg60", "some_avg300", "some_total_us"],
    }
}

/// Counts are signed integers in the database.
pub(super) fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
