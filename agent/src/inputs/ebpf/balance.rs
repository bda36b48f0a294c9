//! The balance of the ledger with the host, as `seismograf` with the parts `cpu`, `blkio` and `net`.
//!
//! *machine = rows + overflow + unseen*: `unseen` is what no program was called for. It is published, never spread over
//! rows. Everything counts from the start of the probes. Pure.

use seismograf_ebpf::abi::BlkioAmounts;

use super::fields::integer;
use super::host_totals::DiskTotals;
use super::snapshot::Snapshot;
use crate::inputs::Gathered;
use crate::kernel::plan::Probe;
use crate::ledger::blkio::Device;
use crate::point::Point;

/// Adds the balance of each area that is on.
pub(super) fn push(snapshot: &Snapshot<'_>, gathered: &mut Gathered) {
    if snapshot.report.is_on(Probe::Cpu) {
        gathered.push(cpu(snapshot));
    }
    if snapshot.report.is_on(Probe::Blkio) {
        for (device, rows) in snapshot.accounts.ledger.blkio.devices() {
            gathered.push(disk(snapshot, *device, rows));
        }
        gathered.push(blkio_overflow(snapshot));
    }
    if snapshot.report.is_on(Probe::Net) {
        gathered.push(net(snapshot));
    }
}

fn cpu(snapshot: &Snapshot<'_>) -> Point {
    let (overflow, rows) = (snapshot.overflow, snapshot.accounts.ledger.cpu.sum());
    let totals = snapshot.host.cpu_ns.zip(snapshot.host_at_start.cpu_ns);
    let machine = totals.map(|(now, then)| now.saturating_sub(then));
    let mut point = part(snapshot, "cpu");
    set_balance(&mut point, "ns", rows.usage_ns, overflow.run_ns, machine);
    point.set_field("overflow_switches", integer(overflow.switches));
    point
}

fn disk(snapshot: &Snapshot<'_>, device: Device, rows: &BlkioAmounts) -> Point {
    let mut point = part(snapshot, "blkio")
        .tag("device", snapshot.host.disk_name(device))
        .field("rows_bytes", integer(bytes(rows)))
        .field("rows_ops", integer(ops(rows)));
    if let Some(now) = snapshot.host.disks.get(&device) {
        let none = DiskTotals::default();
        let then = snapshot.host_at_start.disks.get(&device).unwrap_or(&none);
        let total = |disk: &DiskTotals| disk.read_bytes + disk.write_bytes + disk.discard_bytes;
        let machine_bytes = total(now).wrapping_sub(total(then));
        let total = |disk: &DiskTotals| disk.reads + disk.writes + disk.discards;
        let machine_ops = total(now).wrapping_sub(total(then));
        point.set_field("machine_bytes", integer(machine_bytes));
        point.set_field("machine_ops", integer(machine_ops));
        point.set_field("unseen_bytes", difference(machine_bytes, bytes(rows)));
        point.set_field("unseen_ops", difference(machine_ops, ops(rows)));
    }
    point
}

/// One point for all disks: which disk an overflow belongs to is part of what was lost.
fn blkio_overflow(snapshot: &Snapshot<'_>) -> Point {
    let overflow = &snapshot.overflow.blkio;
    part(snapshot, "blkio")
        .field("overflow_bytes", integer(bytes(overflow)))
        .field("overflow_ops", integer(ops(overflow)))
}

fn net(snapshot: &Snapshot<'_>) -> Point {
    let (rows, overflow) = (snapshot.accounts.ledger.net.sum(), &snapshot.overflow.net);
    let (now, then) = (snapshot.host.interfaces, snapshot.host_at_start.interfaces);
    let mut point = part(snapshot, "net");
    let machine = now.rx_bytes.saturating_sub(then.rx_bytes);
    set_balance(&mut point, "rx_bytes", rows.rx_bytes, overflow.rx_bytes, Some(machine));
    let machine = now.tx_bytes.saturating_sub(then.tx_bytes);
    set_balance(&mut point, "tx_bytes", rows.tx_bytes, overflow.tx_bytes, Some(machine));
    point.set_field("rows_rx_packets", integer(rows.rx_packets));
    point.set_field("rows_tx_packets", integer(rows.tx_packets));
    point.set_field("overflow_rx_packets", integer(overflow.rx_packets));
    point.set_field("overflow_tx_packets", integer(overflow.tx_packets));
    point
}

fn part(snapshot: &Snapshot<'_>, part: &str) -> Point {
    Point::new("seismograf", snapshot.time).tag("part", part)
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

fn difference(a: u64, b: u64) -> i64 {
    integer(a).saturating_sub(integer(b))
}
