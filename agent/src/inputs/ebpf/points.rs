//! From the ledger to points: the totals of every cgroup, the balance with the machine, the losses.

use std::time::Duration;

use seismograf_ebpf::abi::{self, BlkioAmounts};

use super::balance::{Disk, Machine};
use super::{Books, Options, Probe, Selection};
use crate::drain;
use crate::inputs::Gathered;
use crate::ledger::blkio::Device;
use crate::point::Point;
use crate::probes::Report;
use crate::probes::support::HierarchyId;

/// Makes the points of one gather.
pub(super) struct Maker<'a> {
    pub(super) options: &'a Options,
    pub(super) report: &'a Report,
    pub(super) selection: &'a Selection,
    pub(super) books: &'a Books,
    pub(super) machine: &'a Machine,
    pub(super) elapsed: Duration,
}

impl Maker<'_> {
    /// The points of every cgroup.
    pub(super) fn points(&self, gathered: &mut Gathered) {
        let (cpu, blkio) = (self.report.hierarchies.cpu().1, self.report.hierarchies.blkio());
        let mut unresolved = Unresolved::default();
        let ledger = &self.books.ledger;
        for (id, totals) in ledger.cpu.rows() {
            let Some(mut point) = self.point(gathered, "cgroup_cpu", (cpu, id), || {
                unresolved.n += 1;
                unresolved.cpu_ns += totals.usage_ns;
            }) else {
                continue;
            };
            point.set_field("usage_ns", integer(totals.usage_ns));
            point.set_field("context_switches", integer(totals.context_switches));
            if !self.elapsed.is_zero() {
                let percent = 100.0 * totals.interval_ns as f64 / self.elapsed.as_nanos() as f64;
                point.set_field("usage_percent", percent);
            }
            if let Some(waits) = ledger.runqueue.get(id) {
                point.set_field("runqueue_wait_ns", integer(waits.wait_ns));
                if let Some(p99) = waits.interval.quantile_ns(0.99) {
                    point.set_field("runqueue_wait_p99_us", p99 / 1e3);
                }
            }
            gathered.push(point);
        }
        for (id, device, totals) in ledger.blkio.rows() {
            let bytes = totals.amounts.read_bytes + totals.amounts.write_bytes;
            let Some(mut point) = self.point(gathered, "cgroup_blkio", (blkio, id), || {
                unresolved.n += 1;
                unresolved.blkio_bytes += bytes;
            }) else {
                continue;
            };
            point.set_tag("device", self.machine.disk_name(device));
            set_blkio_fields(&mut point, &totals.amounts);
            for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
                if let Some(ns) = totals.reads.quantile_ns(quantile) {
                    point.set_field(format!("read_{name}_us"), ns / 1e3);
                }
                if let Some(ns) = totals.writes.quantile_ns(quantile) {
                    point.set_field(format!("write_{name}_us"), ns / 1e3);
                }
            }
            gathered.push(point);
        }
        for (id, totals) in ledger.net.rows() {
            let amounts = &totals.amounts;
            let key = (HierarchyId::UNIFIED, id);
            let Some(mut point) = self.point(gathered, "cgroup_net", key, || {
                unresolved.n += 1;
                unresolved.net_bytes += amounts.rx_bytes + amounts.tx_bytes;
            }) else {
                continue;
            };
            point.set_field("rx_bytes", integer(amounts.rx_bytes));
            point.set_field("tx_bytes", integer(amounts.tx_bytes));
            point.set_field("rx_packets", integer(amounts.rx_packets));
            point.set_field("tx_packets", integer(amounts.tx_packets));
            if self.report.is_on(Probe::Tcp) {
                point.set_field("tcp_retransmits", integer(amounts.tcp_retransmits));
            }
            gathered.push(point);
        }
        gathered.push(
            gathered
                .point("seismograf")
                .tag("part", "identity")
                .field("cgroups", self.books.cgroups.len() as i64)
                .field("unresolved_cgroups", unresolved.n)
                .field("unresolved_cpu_ns", integer(unresolved.cpu_ns))
                .field("unresolved_blkio_bytes", integer(unresolved.blkio_bytes))
                .field("unresolved_net_bytes", integer(unresolved.net_bytes)),
        );
    }

    /// A point with the identity of a cgroup; `None` when it is not selected, or has no path.
    fn point(
        &self,
        gathered: &Gathered,
        measurement: &'static str,
        key: (HierarchyId, u64),
        unresolved: impl FnOnce(),
    ) -> Option<Point> {
        let Some(identity) = self.books.cgroups.get(key) else {
            unresolved();
            return None;
        };
        if !self.selection.takes(&identity.path) {
            return None;
        }
        let mut point = gathered.point(measurement);
        identity.add_tags(&mut point, &self.options.tag_include);
        Some(point)
    }

    /// *machine = rows + overflow + unseen* for each area that is on, since the probes started.
    pub(super) fn balance(&self, gathered: &mut Gathered, start: &Machine, overflow: &abi::Overflow) {
        let ledger = &self.books.ledger;
        if self.report.is_on(Probe::Cpu) {
            let sum = ledger.cpu.sum();
            let mut point = gathered.point("seismograf").tag("part", "cpu");
            set_balance(
                &mut point,
                "ns",
                sum.usage_ns,
                overflow.run_ns,
                self.machine.cpu_ns.zip(start.cpu_ns).map(|(now, then)| now.saturating_sub(then)),
            );
            point.set_field("overflow_switches", integer(overflow.switches));
            gathered.push(point);
        }
        if self.report.is_on(Probe::Blkio) {
            for (device, rows) in ledger.blkio.devices() {
                self.disk_balance(gathered, *device, rows, start.disks.get(device));
            }
            // Which disk an overflow belongs to is part of what was lost.
            gathered.push(
                gathered
                    .point("seismograf")
                    .tag("part", "blkio")
                    .field("overflow_bytes", integer(bytes(&overflow.blkio)))
                    .field("overflow_ops", integer(ops(&overflow.blkio))),
            );
        }
        if self.report.is_on(Probe::Net) {
            let (rows, lost) = (ledger.net.sum(), &overflow.net);
            let (now, then) = (self.machine.interfaces, start.interfaces);
            let mut point = gathered.point("seismograf").tag("part", "net");
            let interfaces = now.rx_bytes.saturating_sub(then.rx_bytes);
            set_balance(&mut point, "rx_bytes", rows.rx_bytes, lost.rx_bytes, Some(interfaces));
            let interfaces = now.tx_bytes.saturating_sub(then.tx_bytes);
            set_balance(&mut point, "tx_bytes", rows.tx_bytes, lost.tx_bytes, Some(interfaces));
            point.set_field("rows_rx_packets", integer(rows.rx_packets));
            point.set_field("rows_tx_packets", integer(rows.tx_packets));
            point.set_field("overflow_rx_packets", integer(lost.rx_packets));
            point.set_field("overflow_tx_packets", integer(lost.tx_packets));
            gathered.push(point);
        }
    }

    fn disk_balance(
        &self,
        gathered: &mut Gathered,
        device: Device,
        rows: &BlkioAmounts,
        start: Option<&Disk>,
    ) {
        let mut point = gathered
            .point("seismograf")
            .tag("part", "blkio")
            .tag("device", self.machine.disk_name(device))
            .field("rows_bytes", integer(bytes(rows)))
            .field("rows_ops", integer(ops(rows)));
        if let Some(now) = self.machine.disks.get(&device) {
            let none = Disk::default();
            let then = start.unwrap_or(&none);
            let total = |disk: &Disk| disk.read_bytes + disk.write_bytes + disk.discard_bytes;
            let machine_bytes = total(now).wrapping_sub(total(then));
            let total = |disk: &Disk| disk.reads + disk.writes + disk.discards;
            let machine_ops = total(now).wrapping_sub(total(then));
            point.set_field("machine_bytes", integer(machine_bytes));
            point.set_field("machine_ops", integer(machine_ops));
            point.set_field("unseen_bytes", difference(machine_bytes, bytes(rows)));
            point.set_field("unseen_ops", difference(machine_ops, ops(rows)));
        }
        gathered.push(point);
    }

    /// What came through the ring, and what did not.
    pub(super) fn ring(&self, gathered: &mut Gathered, counts: &drain::Counts, overflow: &abi::Overflow) {
        gathered.push(
            gathered
                .point("seismograf")
                .tag("part", "ring")
                .field("records", integer(counts.records))
                .field("bytes", integer(counts.bytes))
                .field("rows", integer(self.books.ledger.rows))
                .field("undecodable", integer(counts.undecodable))
                .field("refused", integer(overflow.refused))
                .field("lost_cgroup_events", integer(overflow.cgroup_events))
                .field("map_bytes", integer(self.report.map_bytes)),
        );
    }
}

/// What has no path, in this interval.
#[derive(Default)]
struct Unresolved {
    n: i64,
    cpu_ns: u64,
    blkio_bytes: u64,
    net_bytes: u64,
}

fn set_blkio_fields(point: &mut Point, amounts: &BlkioAmounts) {
    point.set_field("read_bytes", integer(amounts.read_bytes));
    point.set_field("write_bytes", integer(amounts.write_bytes));
    point.set_field("discard_bytes", integer(amounts.discard_bytes));
    point.set_field("reads", integer(amounts.reads));
    point.set_field("writes", integer(amounts.writes));
    point.set_field("discards", integer(amounts.discards));
    point.set_field("errors", integer(amounts.errors));
    point.set_field("read_time_ns", integer(amounts.read_time_ns));
    point.set_field("write_time_ns", integer(amounts.write_time_ns));
}

/// The four fields of a balance; `unseen` may be negative where the two sides are not read at the same instant.
fn set_balance(point: &mut Point, unit: &str, rows: u64, overflow: u64, machine: Option<u64>) {
    point.set_field(format!("rows_{unit}"), integer(rows));
    point.set_field(format!("overflow_{unit}"), integer(overflow));
    if let Some(machine) = machine {
        point.set_field(format!("machine_{unit}"), integer(machine));
        point.set_field(format!("unseen_{unit}"), difference(machine, rows.saturating_add(overflow)));
    }
}

fn bytes(amounts: &BlkioAmounts) -> u64 {
    amounts.read_bytes + amounts.write_bytes + amounts.discard_bytes
}

fn ops(amounts: &BlkioAmounts) -> u64 {
    amounts.reads + amounts.writes + amounts.discards
}

/// Counts are integers in the database.
fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn difference(a: u64, b: u64) -> i64 {
    integer(a).saturating_sub(integer(b))
}
