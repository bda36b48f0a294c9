//! Which hierarchy the ids of each area of the ledger belong to.
//!
//! Pure: `host::hierarchies` finds them out.

use crate::host::hierarchies::{Hierarchies, HierarchyId};

/// The hierarchies whose ids the ledger's areas are keyed by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Areas {
    pub(super) cpu: HierarchyId,
    pub(super) blkio: HierarchyId,
    pub(super) memory: HierarchyId,
    pub(super) net: HierarchyId,
}

impl Areas {
    pub(super) fn of(hierarchies: &Hierarchies) -> Self {
        Self {
            cpu: hierarchies.cpu().1,
            blkio: hierarchies.blkio(),
            memory: hierarchies.memory(),
            net: HierarchyId::UNIFIED,
        }
    }
}
