//! Where CPU time comes from: a program at each context switch, or the sums that the kernel keeps anyway.

use serde::Deserialize;

use super::offsets::Offsets;
use crate::host::hierarchies::{CpuController, Hierarchies, HierarchyId};

/// The fields of the kernel by which its sums are found.
const FIELDS: [&str; 3] = ["CGROUP_CPU_SUMS", "CPU_SUM_RUN_NS", "MAP_PER_CPU"];

/// Where CPU time comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CpuSource {
    /// A program at each context switch.
    #[default]
    Probe,
    /// The kernel's own sums, read once a gather and when a cgroup goes. They have no context switches, and nothing of the root
    /// cgroup.
    Kernel,
}

/// Why the kernel's sums cannot be read here, if they cannot.
pub(super) fn obstacle(
    hierarchies: &Hierarchies,
    offsets: &Offsets,
    is_confidential: bool,
) -> Option<&'static str> {
    let (controller, _) = hierarchies.cpu();
    if controller != CpuController::Unified || hierarchies.memory() != HierarchyId::UNIFIED {
        Some("the controllers of CPU time and memory are not in cgroup2")
    } else if is_confidential {
        Some("the kernel is locked down to confidentiality")
    } else if !FIELDS.iter().all(|field| offsets.has(field)) {
        Some("this kernel keeps them elsewhere")
    } else {
        None
    }
}
