//! The rows of cgroups: `cgroup_cpu`, `cgroup_blkio`, `cgroup_net`, `cgroup_mem`, `cgroup_pressure`.
//!
//! Pure: a snapshot and readings in, rows out. A row has no identity tags yet: `pending` adds them once there are names.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::fields::{integer, set_blkio, set_cpu, set_memory, set_net};
use super::readings::{MemoryReading, PressureReading, Readings};
use super::snapshot::Snapshot;
use crate::host::cgroupfs::figures::Throttling;
use crate::identity::Identity;
use crate::kernel::plan::Probe;
use crate::point::Point;

/// A point without the tags of its identity, and whose it is.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) point: Point,
    pub(super) identity: Arc<Identity>,
    /// When the agent first saw the cgroup.
    pub(super) since: Instant,
}

impl Row {
    fn new(point: Point, identity: &Arc<Identity>, since: Instant) -> Self {
        Self { point, identity: Arc::clone(identity), since }
    }
}

/// What has no path, in this interval.
#[derive(Debug, Default)]
pub(super) struct Unresolved {
    pub(super) n: i64,
    pub(super) cpu_ns: u64,
    pub(super) blkio_bytes: u64,
    pub(super) net_bytes: u64,
}

/// Adds the rows of all cgroups that are selected. Returns what could not be made a row.
pub(super) fn add(snapshot: &Snapshot<'_>, readings: Readings<'_>, rows: &mut Vec<Row>) -> Unresolved {
    let mut unresolved = Unresolved::default();
    add_cpu(snapshot, &readings.throttling, rows, &mut unresolved);
    add_blkio(snapshot, rows, &mut unresolved);
    add_net(snapshot, rows, &mut unresolved);
    add_memory(snapshot, readings.memory, rows);
    add_oom_kills(snapshot, rows);
    add_pressure(snapshot, readings.pressure, rows);
    unresolved
}

fn add_cpu(
    snapshot: &Snapshot<'_>,
    throttling: &HashMap<u64, Throttling>,
    rows: &mut Vec<Row>,
    unresolved: &mut Unresolved,
) {
    let accounts = snapshot.accounts;
    for (id, totals) in accounts.ledger.cpu.rows() {
        let Some((identity, since)) = accounts.identity((accounts.areas.cpu, id)) else {
            unresolved.n += 1;
            unresolved.cpu_ns += totals.usage_ns;
            continue;
        };
        if !snapshot.selection.takes(&identity.path) {
            continue;
        }
        let mut point = Point::new("cgroup_cpu", snapshot.time);
        set_cpu(&mut point, totals, snapshot.elapsed, snapshot.n_cpus);
        if let Some(waits) = accounts.ledger.runqueue.get(id) {
            point.set_field("runqueue_wait_ns", integer(waits.wait_ns));
            if let Some(p99) = waits.interval.quantile_ns(0.99) {
                point.set_field("runqueue_wait_p99_us", p99 / 1e3);
            }
        }
        if let Some(throttling) = throttling.get(&id) {
            point.set_field("nr_periods", integer(throttling.nr_periods));
            point.set_field("nr_throttled", integer(throttling.nr_throttled));
            point.set_field("throttled_ns", integer(throttling.throttled_ns));
        }
        rows.push(Row::new(point, identity, since));
    }
}

fn add_blkio(snapshot: &Snapshot<'_>, rows: &mut Vec<Row>, unresolved: &mut Unresolved) {
    let accounts = snapshot.accounts;
    for (id, device, totals) in accounts.ledger.blkio.rows() {
        let Some((identity, since)) = accounts.identity((accounts.areas.blkio, id)) else {
            unresolved.n += 1;
            unresolved.blkio_bytes += totals.amounts.read_bytes + totals.amounts.write_bytes;
            continue;
        };
        if snapshot.selection.takes(&identity.path) {
            let device = snapshot.host.disk_name(device);
            let mut point = Point::new("cgroup_blkio", snapshot.time).tag("device", device);
            set_blkio(&mut point, totals);
            rows.push(Row::new(point, identity, since));
        }
    }
}

fn add_net(snapshot: &Snapshot<'_>, rows: &mut Vec<Row>, unresolved: &mut Unresolved) {
    let accounts = snapshot.accounts;
    let has_tcp = snapshot.report.is_on(Probe::Tcp);
    for (id, totals) in accounts.ledger.net.rows() {
        let Some((identity, since)) = accounts.identity((accounts.areas.net, id)) else {
            unresolved.n += 1;
            unresolved.net_bytes += totals.rx_bytes + totals.tx_bytes;
            continue;
        };
        if snapshot.selection.takes(&identity.path) {
            let mut point = Point::new("cgroup_net", snapshot.time);
            set_net(&mut point, totals, has_tcp);
            rows.push(Row::new(point, identity, since));
        }
    }
}

/// Those that are alive have their OOM kills from cgroupfs.
fn add_memory(snapshot: &Snapshot<'_>, readings: Vec<MemoryReading<'_>>, rows: &mut Vec<Row>) {
    for MemoryReading { identity, since, amounts } in readings {
        let mut point = Point::new("cgroup_mem", snapshot.time);
        set_memory(&mut point, &amounts);
        rows.push(Row::new(point, identity, since));
    }
}

/// Those that are gone have no files any more: theirs are the kills that the kernel reported.
fn add_oom_kills(snapshot: &Snapshot<'_>, rows: &mut Vec<Row>) {
    let accounts = snapshot.accounts;
    for (id, kills) in accounts.ledger.oom.rows() {
        let key = (accounts.areas.memory, id);
        if let Some((identity, since)) = accounts.identity(key)
            && !accounts.cgroups.is_alive(key)
            && snapshot.selection.takes(&identity.path)
        {
            let point = Point::new("cgroup_mem", snapshot.time).field("oom_kills", integer(*kills));
            rows.push(Row::new(point, identity, since));
        }
    }
}

fn add_pressure(snapshot: &Snapshot<'_>, readings: Vec<PressureReading<'_>>, rows: &mut Vec<Row>) {
    for PressureReading { identity, since, resource, kinds } in readings {
        let mut point = Point::new("cgroup_pressure", snapshot.time).tag("resource", resource);
        for (kind, pressure) in kinds {
            let [avg10, avg60, avg300, total] = pressure_fields(kind);
            point.set_field(avg10, pressure.avg10);
            point.set_field(avg60, pressure.avg60);
            point.set_field(avg300, pressure.avg300);
            point.set_field(total, integer(pressure.total_us));
        }
        rows.push(Row::new(point, identity, since));
    }
}

fn pressure_fields(kind: &str) -> [&'static str; 4] {
    match kind {
        "full" => ["full_avg10", "full_avg60", "full_avg300", "full_total_us"],
        _ => ["some_avg10", "some_avg60", "some_avg300", "some_total_us"],
    }
}
