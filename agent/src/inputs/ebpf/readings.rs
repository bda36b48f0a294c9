//! What was read of the cgroups from cgroupfs in one gather, as plain values.
//!
//! Pure: `reader` fills it in, `rows` and `pod_rows` make points of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::host::cgroupfs::figures::{Memory, Throttling};
use crate::host::proc::pressure::Pressure;
use crate::identity::Identity;

/// The readings of one gather. What the options do not ask for is empty.
#[derive(Default)]
pub(super) struct Readings<'a> {
    /// By the cgroup's id in the hierarchy of CPU time; only those with a quota.
    pub(super) throttling: HashMap<u64, Throttling>,
    /// In the order in which they were read.
    pub(super) memory: Vec<MemoryReading<'a>>,
    /// In the order in which they were read; one for each resource.
    pub(super) pressure: Vec<PressureReading<'a>>,
    /// By the path of the pod's own cgroup.
    pub(super) pod_memory: HashMap<&'a str, MemoryAmounts>,
}

/// Memory of one cgroup.
pub(super) struct MemoryReading<'a> {
    pub(super) identity: &'a Arc<Identity>,
    pub(super) since: Instant,
    pub(super) amounts: MemoryAmounts,
}

/// Pressure on one resource in one cgroup.
pub(super) struct PressureReading<'a> {
    pub(super) identity: &'a Arc<Identity>,
    pub(super) since: Instant,
    pub(super) resource: &'static str,
    /// `some`, and where there is one `full`.
    pub(super) kinds: Vec<(&'static str, Pressure)>,
}

/// Memory, with one meaning under v1 and v2: everything below the cgroup is included.
///
/// Figures instead of the text of `memory.stat`, which would be kept for all cgroups at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MemoryAmounts {
    pub(super) usage_bytes: u64,
    pub(super) working_set_bytes: u64,
    pub(super) rss_bytes: Option<u64>,
    pub(super) cache_bytes: Option<u64>,
    pub(super) limit_bytes: Option<u64>,
    pub(super) page_faults: Option<u64>,
    pub(super) major_page_faults: Option<u64>,
    pub(super) oom_kills: Option<u64>,
}

impl From<&Memory> for MemoryAmounts {
    fn from(memory: &Memory) -> Self {
        Self {
            usage_bytes: memory.usage,
            working_set_bytes: memory.working_set(),
            rss_bytes: memory.rss(),
            cache_bytes: memory.total("total_cache", "file"),
            limit_bytes: memory.limit,
            page_faults: memory.total("total_pgfault", "pgfault"),
            major_page_faults: memory.total("total_pgmajfault", "pgmajfault"),
            oom_kills: memory.oom_kills,
        }
    }
}
