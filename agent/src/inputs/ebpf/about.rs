//! The input about itself, as `seismograf` with the parts `ring`, `identity` and `probe`.
//!
//! Pure: counts in, points out.

use super::fields::integer;
use super::snapshot::Snapshot;
use super::totals::Unresolved;
use crate::inputs::Gathered;
use crate::point::Point;

/// What went through the ring buffer, and what did not.
pub(super) fn ring(snapshot: &Snapshot<'_>) -> Point {
    let (ring, ledger) = (&snapshot.ring, &snapshot.accounts.ledger);
    let mut point = snapshot
        .part("ring")
        .field("records", integer(ring.records))
        .field("bytes", integer(ring.bytes))
        .field("rows", integer(ledger.rows))
        .field("oom_kills", integer(*ledger.oom.sum()))
        .field("map_bytes", integer(snapshot.report.map_bytes));
    snapshot.set_losses(&mut point, "ring");
    point
}

/// How many cgroups have an identity, and how many containers a name.
pub(super) fn identity(snapshot: &Snapshot<'_>, unresolved: &Unresolved) -> Point {
    let mut point = snapshot
        .part("identity")
        .field("cgroups", snapshot.accounts.cgroups.len() as i64)
        .field("unresolved_cgroups", unresolved.n)
        .field("unresolved_cpu_ns", integer(unresolved.cpu_ns))
        .field("unresolved_blkio_bytes", integer(unresolved.blkio_bytes))
        .field("unresolved_net_bytes", integer(unresolved.net_bytes));
    if let Some(names) = snapshot.names {
        point.set_field("unresolved_containers", snapshot.naming.n_nameless as i64);
        point.set_field("waiting_rows", snapshot.n_waiting as i64);
        let (containers, pods) = names.len();
        point.set_field("named_containers", containers as i64);
        point.set_field("named_pods", pods as i64);
    }
    point
}

/// Adds what each probe missed, and what it cost where that is asked for.
pub(super) fn push_programs(snapshot: &Snapshot<'_>, gathered: &mut Gathered) {
    for program in snapshot.programs {
        let mut point = snapshot.part("probe").tag("probe", program.program);
        if let Some(missed_runs) = program.missed_runs {
            point.set_field("missed_runs", integer(missed_runs));
        }
        if let Some(cost) = program.cost {
            point.set_field("run_time_ns", cost.run_time_ns);
            point.set_field("runs", cost.runs);
        }
        if !point.fields.is_empty() {
            gathered.push(point);
        }
    }
}
