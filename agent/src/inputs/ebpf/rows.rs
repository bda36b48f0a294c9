//! The rows of cgroups and of pods: `cgroup_cpu`, `cgroup_blkio`, `cgroup_net`, `cgroup_mem`, `cgroup_pressure`, and the
//! same of pods as `pod_…`.
//!
//! Pure: totals in, points out.

use super::fields::{
    integer, pressure_fields, set_blkio, set_cpu, set_memory, set_net, set_runqueue, set_throttling,
};
use super::snapshot::Snapshot;
use super::totals::{RowTotals, Totals};
use crate::host::hierarchies::HierarchyId;
use crate::identity::series::Series;
use crate::inputs::Gathered;
use crate::kernel::plan::{Group, Probe};
use crate::point::Point;

/// What the rows are of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Cgroups,
    Pods,
}

/// Adds the points of every row.
pub(super) fn push(snapshot: &Snapshot<'_>, totals: &Totals, gathered: &mut Gathered) {
    for (series, row) in &totals.cgroups {
        push_row(snapshot, series, row, Of::Cgroups, gathered);
        push_pressure(snapshot, series, row, gathered);
    }
    for (series, row) in &totals.pods {
        push_row(snapshot, series, row, Of::Pods, gathered);
    }
}

/// Adds a point for each area in which the row has something, and for each disk.
fn push_row(snapshot: &Snapshot<'_>, series: &Series, row: &RowTotals, of: Of, gathered: &mut Gathered) {
    let [cpu, blkio, net, memory] = match of {
        Of::Cgroups => ["cgroup_cpu", "cgroup_blkio", "cgroup_net", "cgroup_mem"],
        Of::Pods => ["pod_cpu", "pod_blkio", "pod_net", "pod_mem"],
    };
    let amounts = &row.amounts;
    if let Some(totals) = &amounts.cpu {
        let mut point = point(snapshot, cpu, series);
        set_cpu(&mut point, totals, row.usage_percent, snapshot.n_cpus, snapshot.report.cpu_source);
        if snapshot.is_only {
            begun_by_the_kernel(&mut point);
        }
        if of == Of::Cgroups {
            set_runqueue(&mut point, amounts.runqueue.as_deref().filter(|_| !snapshot.is_only));
            set_throttling(&mut point, amounts.throttling.as_ref());
        }
        gathered.push(point);
    }
    // Under v1 the kernel keeps no sum to begin with.
    let has_base = snapshot.accounts.areas.blkio == HierarchyId::UNIFIED;
    for (device, totals) in amounts.blkio.iter().filter(|_| has_base || !snapshot.is_only) {
        let mut point = point(snapshot, blkio, series).tag("device", snapshot.host.disk_name(*device));
        set_blkio(&mut point, totals);
        if snapshot.is_only {
            begun_by_the_kernel(&mut point);
        }
        gathered.push(point);
    }
    if let Some(totals) = amounts.net.as_ref().filter(|_| !snapshot.is_only) {
        let mut point = point(snapshot, net, series);
        set_net(&mut point, totals, snapshot.report.is_on(Probe::Tcp));
        gathered.push(point);
    }
    let mut point = point(snapshot, memory, series);
    if let Some(memory) = &row.memory {
        set_memory(&mut point, memory, amounts.page_faults.as_ref());
    }
    if let Some(kills) = oom_kills(snapshot, row, of) {
        point.set_field("oom_kills", integer(kills));
    }
    gathered.push(point);
}

/// Leaves out the totals that begin with the run, where one run stores one point: beside those of a service, they would be
/// steps down.
fn begun_by_the_kernel(point: &mut Point) {
    const BEGUN_HERE: [&str; 4] = ["context_switches", "errors", "read_time_ns", "write_time_ns"];
    point.fields.retain(|(field, _)| !BEGUN_HERE.contains(&&**field));
}

/// The OOM-killed processes of a row, where its point has them: beside its memory, and when it is gone, once it had some. A
/// pod's are known without reading its memory.
fn oom_kills(snapshot: &Snapshot<'_>, row: &RowTotals, of: Of) -> Option<u64> {
    let is_counted = snapshot.report.is_group_on(Group::Oom);
    let kills = row.amounts.oom_kills.or(is_counted.then_some(0))?;
    let is_gone = !row.has_memory && kills > 0;
    (row.memory.is_some() || is_gone || (of == Of::Pods && is_counted)).then_some(kills)
}

fn push_pressure(snapshot: &Snapshot<'_>, series: &Series, row: &RowTotals, gathered: &mut Gathered) {
    let has = |of: &&str| row.pressure.keys().any(|(resource, _)| resource == of);
    for resource in ["cpu", "io", "memory"].into_iter().filter(has) {
        let mut point = point(snapshot, "cgroup_pressure", series).tag("resource", resource);
        for kind in ["some", "full"] {
            let Some(pressure) = row.pressure.get(&(resource, kind)) else { continue };
            let [avg10, avg60, avg300, total] = pressure_fields(kind);
            point.set_field(avg10, pressure.avg10);
            point.set_field(avg60, pressure.avg60);
            point.set_field(avg300, pressure.avg300);
            let total_us = row.amounts.stalls.get(&(resource, kind)).copied().unwrap_or(0);
            point.set_field(total, integer(total_us));
        }
        gathered.push(point);
    }
}

fn point(snapshot: &Snapshot<'_>, measurement: &'static str, series: &Series) -> Point {
    let mut point = Point::new(measurement, snapshot.time);
    series.add_to(&mut point);
    point
}
