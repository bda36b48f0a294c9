//! The rows of pods: `pod_cpu`, `pod_blkio`, `pod_net`, `pod_mem`.
//!
//! Pure: the sums of `pods` and readings in, rows out.

use std::collections::HashMap;
use std::sync::Arc;

use super::fields::{integer, set_blkio, set_cpu, set_memory, set_net};
use super::pods::PodSum;
use super::readings::MemoryAmounts;
use super::rows::Row;
use super::snapshot::Snapshot;
use crate::identity::path;
use crate::kernel::plan::{Group, Probe};
use crate::point::Point;

/// Adds the rows of all pods that are selected; `memory` is by the path of the pod's own cgroup.
pub(super) fn add(snapshot: &Snapshot<'_>, memory: &HashMap<&str, MemoryAmounts>, rows: &mut Vec<Row>) {
    for sum in snapshot.pods.values().filter(|sum| snapshot.selection.takes(&sum.path)) {
        let identity = Arc::new(path::parse(&sum.path));
        let points = points(snapshot, sum, memory.get(sum.path.as_str()));
        let row = |point| Row { point, identity: Arc::clone(&identity), since: sum.since };
        rows.extend(points.into_iter().map(row));
    }
}

fn points(snapshot: &Snapshot<'_>, sum: &PodSum, memory: Option<&MemoryAmounts>) -> Vec<Point> {
    let mut points = Vec::new();
    if let Some(totals) = &sum.cpu {
        let mut point = Point::new("pod_cpu", snapshot.time);
        set_cpu(&mut point, totals, snapshot.elapsed, snapshot.n_cpus);
        points.push(point);
    }
    for (device, totals) in &sum.blkio {
        let device = snapshot.host.disk_name(*device);
        let mut point = Point::new("pod_blkio", snapshot.time).tag("device", device);
        set_blkio(&mut point, totals);
        points.push(point);
    }
    if let Some(totals) = &sum.net {
        let mut point = Point::new("pod_net", snapshot.time);
        set_net(&mut point, totals, snapshot.report.is_on(Probe::Tcp));
        points.push(point);
    }
    let mut point = Point::new("pod_mem", snapshot.time);
    if let Some(amounts) = memory {
        set_memory(&mut point, amounts);
    }
    // Includes containers that ended; under v1 the pod's own file lacks even those that run.
    if snapshot.report.is_group_on(Group::Oom) {
        point.set_field("oom_kills", integer(sum.oom_kills));
    }
    if !point.fields.is_empty() {
        points.push(point);
    }
    points
}
