//! The balance of the ledger with the host, as `seismograf` with the parts `cpu`, `blkio`, `net` and `runqueue`.
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
        push_disks(snapshot, gathered);
    }
    if snapshot.report.is_on(Probe::Net) {
        gathered.push(net(snapshot));
    }
    if snapshot.report.is_on(Probe::Runqueue) {
        gathered.push(runqueue(snapshot));
    }
}

fn cpu(snapshot: &Snapshot<'_>) -> Point {
    let (overflow, rows) = (snapshot.overflow, snapshot.accounts.ledger.cpu.sum());
    let totals = snapshot.host.cpu_ns.zip(snapshot.host_at_start.cpu_ns);
    let mut point = snapshot.part("cpu").field("rows_ns", integer(rows.usage_ns));
    snapshot.set_losses(&mut point, "cpu");
    if let Some((now, then)) = totals {
        let seen = rows.usage_ns.saturating_add(overflow.run_ns);
        set_machine(&mut point, "ns", now.saturating_sub(then), seen);
    }
    point
}

/// A point for each disk, and one for all of them. Which disk an overflow belongs to is part of what was lost, so where there
/// is one, what no program was called for is known of all disks together alone. A disk of which the machine has no counters
/// has rows only.
fn push_disks(snapshot: &Snapshot<'_>, gathered: &mut Gathered) {
    let overflow = &snapshot.overflow.blkio;
    let is_lossless = *overflow == BlkioAmounts::default();
    let mut all = DiskBalance::default();
    for (device, rows) in snapshot.accounts.ledger.blkio.devices() {
        let disk = DiskBalance::of(snapshot, *device, rows);
        all.add(&disk);
        let mut point = snapshot.part("blkio").tag("device", snapshot.host.disk_name(*device));
        disk.set(&mut point, is_lossless.then_some(Work::default()));
        gathered.push(point);
    }
    let mut point = snapshot.part("blkio");
    snapshot.set_losses(&mut point, "blkio");
    all.machine.get_or_insert_default();
    all.set(&mut point, Some(Work::of(overflow)));
    gathered.push(point);
}

/// Bytes and operations.
#[derive(Clone, Copy, Default)]
struct Work {
    bytes: u64,
    ops: u64,
}

impl Work {
    fn of(amounts: &BlkioAmounts) -> Self {
        Self {
            bytes: amounts.read_bytes + amounts.write_bytes + amounts.discard_bytes,
            ops: amounts.reads + amounts.writes + amounts.discards,
        }
    }

    fn of_disk(disk: &DiskTotals) -> Self {
        Self {
            bytes: disk.read_bytes + disk.write_bytes + disk.discard_bytes,
            ops: disk.reads + disk.writes + disk.discards,
        }
    }

    fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.ops += other.ops;
    }

    fn since(self, then: Self) -> Self {
        Self { bytes: self.bytes.wrapping_sub(then.bytes), ops: self.ops.wrapping_sub(then.ops) }
    }
}

/// What the rows have of a disk, and what the machine counted.
#[derive(Default)]
struct DiskBalance {
    rows: Work,
    /// The part of the rows that `machine` has too.
    compared: Work,
    /// `None` where the machine does not list the disk.
    machine: Option<Work>,
}

impl DiskBalance {
    fn of(snapshot: &Snapshot<'_>, device: Device, rows: &BlkioAmounts) -> Self {
        let rows = Work::of(rows);
        let counted = |disk: Option<&DiskTotals>| disk.map(Work::of_disk).unwrap_or_default();
        let then = counted(snapshot.host_at_start.disks.get(&device));
        match snapshot.host.disks.get(&device) {
            Some(now) => Self { rows, compared: rows, machine: Some(Work::of_disk(now).since(then)) },
            None => Self { rows, ..Self::default() },
        }
    }

    fn add(&mut self, disk: &Self) {
        self.rows.add(disk.rows);
        self.compared.add(disk.compared);
        if let Some(machine) = disk.machine {
            self.machine.get_or_insert_default().add(machine);
        }
    }

    /// Sets the fields; `overflow` is what is in no row, where it is known.
    fn set(&self, point: &mut Point, overflow: Option<Work>) {
        point.set_field("rows_bytes", integer(self.rows.bytes));
        point.set_field("rows_ops", integer(self.rows.ops));
        let Some(machine) = self.machine else { return };
        point.set_field("machine_bytes", integer(machine.bytes));
        point.set_field("machine_ops", integer(machine.ops));
        if let Some(overflow) = overflow {
            let mut seen = self.compared;
            seen.add(overflow);
            point.set_field("unseen_bytes", difference(machine.bytes, seen.bytes));
            point.set_field("unseen_ops", difference(machine.ops, seen.ops));
        }
    }
}

/// The kernel has no sum of waits to compare with; what was counted and lost its row is told all the same.
fn runqueue(snapshot: &Snapshot<'_>) -> Point {
    let rows = snapshot.accounts.ledger.runqueue.sum();
    let mut point = snapshot.part("runqueue").field("rows_wait_ns", integer(rows.wait_ns));
    snapshot.set_losses(&mut point, "runqueue");
    point
}

/// Rows are of all network namespaces, the machine's own counters of one: what is compared is the host's.
fn net(snapshot: &Snapshot<'_>) -> Point {
    let (rows, host) = (snapshot.accounts.ledger.net.sum(), snapshot.accounts.ledger.host_net);
    let mut point = snapshot
        .part("net")
        .field("rows_rx_bytes", integer(rows.rx_bytes))
        .field("rows_tx_bytes", integer(rows.tx_bytes))
        .field("rows_rx_packets", integer(rows.rx_packets))
        .field("rows_tx_packets", integer(rows.tx_packets));
    if snapshot.report.is_on(Probe::Tcp) {
        point.set_field("rows_tcp_retransmits", integer(rows.tcp_retransmits));
    }
    snapshot.set_losses(&mut point, "net");
    let machine = snapshot.host.ip.zip(snapshot.host_at_start.ip);
    if let Some((now, then)) = machine.filter(|_| snapshot.report.sees_host_net) {
        point.set_field("rows_host_rx_bytes", integer(host.rx_bytes));
        point.set_field("rows_host_tx_bytes", integer(host.tx_bytes));
        let mut seen = host;
        seen += &snapshot.overflow.host;
        set_machine(&mut point, "rx_bytes", now.rx.wrapping_sub(then.rx), seen.rx_bytes);
        set_machine(&mut point, "tx_bytes", now.tx.wrapping_sub(then.tx), seen.tx_bytes);
    }
    point
}

/// The machine's side of a balance; `unseen` may be negative where the two sides are not read at the same instant.
fn set_machine(point: &mut Point, unit: &str, machine: u64, seen: u64) {
    point.set_field(format!("machine_{unit}"), integer(machine));
    point.set_field(format!("unseen_{unit}"), difference(machine, seen));
}

fn difference(a: u64, b: u64) -> i64 {
    integer(a).saturating_sub(integer(b))
}
