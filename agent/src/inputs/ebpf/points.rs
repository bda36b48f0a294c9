//! The points of one gather, in their order: pending rows, identity, rows of cgroups and pods, balance, ring, costs.
//!
//! Pure, like everything that it calls: a snapshot and readings in, points out. No file of this part imports the file
//! system, the host's paths or cgroupfs's reader: `reader` has run before. A test holds the list of its files to that.

use super::pending::{NamingContext, PendingRows};
use super::readings::Readings;
use super::snapshot::Snapshot;
use super::{about, balance, pod_rows, rows};
use crate::inputs::Gathered;

/// Adds all points of this gather. Rows whose name may still come are left in `pending`.
pub(super) fn push(
    snapshot: &Snapshot<'_>,
    mut readings: Readings<'_>,
    naming: NamingContext<'_>,
    pending: &mut PendingRows,
    gathered: &mut Gathered,
) {
    pending.release(naming, gathered);
    let pod_memory = std::mem::take(&mut readings.pod_memory);
    let mut all = Vec::new();
    let unresolved = rows::add(snapshot, readings, &mut all);
    pod_rows::add(snapshot, &pod_memory, &mut all);
    gathered.push(about::identity(snapshot, &unresolved, naming.names, pending.len()));
    for row in all {
        pending.push(naming, gathered, row);
    }
    balance::push(snapshot, gathered);
    gathered.push(about::ring(snapshot));
    about::push_costs(snapshot, gathered);
}
