//! The points of one gather, in their order: identity, rows of cgroups and pods, balance, ring, costs.
//!
//! Pure, like everything that it calls: a snapshot and totals in, points out. No file of this part imports the file
//! system, the host's paths or cgroupfs's reader: `reader` has run before. A test holds the list of its files to that.

use super::snapshot::Snapshot;
use super::totals::Totals;
use super::{about, balance, rows};
use crate::inputs::Gathered;

/// Adds all points of this gather.
pub(super) fn push(snapshot: &Snapshot<'_>, totals: &Totals, gathered: &mut Gathered) {
    gathered.push(about::identity(snapshot, &totals.unresolved));
    rows::push(snapshot, totals, gathered);
    balance::push(snapshot, gathered);
    gathered.push(about::ring(snapshot));
    about::push_programs(snapshot, gathered);
}
