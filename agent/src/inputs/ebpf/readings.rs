//! What was read of the cgroups from cgroupfs in one gather, as plain values.
//!
//! Pure: `reader` fills it in, `accounts` takes what counts on, and `totals` adds the rest up.

use std::collections::HashMap;

use crate::host::cgroupfs::figures::{Memory, Throttling};
use crate::host::cgroupfs::rest::Rest;
use crate::host::proc::pressure::Pressure;
use crate::ledger::memory::PageFaults;

/// Pressure of one cgroup: resource, and its kinds.
pub(super) type Pressures = Vec<(&'static str, Vec<(&'static str, Pressure)>)>;

/// The readings of one gather, of owners' own cgroups. What the options do not ask for is empty.
#[derive(Default)]
pub(super) struct Readings {
    /// By the cgroup's id in the hierarchy of CPU time; only those with a quota.
    pub(super) throttling: HashMap<u64, Throttling>,
    /// By the cgroup's id in the hierarchy of memory.
    pub(super) memory: HashMap<u64, MemoryReading>,
    /// Likewise, as it was read, and how long that holds.
    pub(super) raw: HashMap<u64, (MemoryReading, Rest)>,
    /// By the cgroup's id in cgroup2.
    pub(super) pressure: HashMap<u64, Pressures>,
    /// By the pod's UID, that of the pod's own cgroup.
    pub(super) pods: HashMap<String, MemoryAmounts>,
}

/// Memory of one cgroup, at first with everything below it, then without the rows below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MemoryReading {
    pub(super) amounts: MemoryAmounts,
    /// Since the cgroup was made.
    pub(super) page_faults: Option<PageFaults>,
    /// Likewise.
    pub(super) oom_kills: Option<u64>,
    /// Whether these are of that cgroup alone, as in v1.
    are_own_kills: bool,
}

/// Memory that is in use, with one meaning under v1 and v2.
///
/// Figures instead of the text of `memory.stat`, which would be kept for all cgroups at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MemoryAmounts {
    pub(super) usage_bytes: u64,
    pub(super) working_set_bytes: u64,
    pub(super) rss_bytes: Option<u64>,
    pub(super) cache_bytes: Option<u64>,
    pub(super) limit_bytes: Option<u64>,
    /// Cgroups that were added up.
    n: u32,
}

impl From<&Memory> for MemoryReading {
    fn from(memory: &Memory) -> Self {
        let all = memory.total("total_pgfault", "pgfault");
        let major = memory.total("total_pgmajfault", "pgmajfault");
        Self {
            amounts: MemoryAmounts {
                usage_bytes: memory.usage,
                working_set_bytes: memory.working_set(),
                rss_bytes: memory.rss(),
                cache_bytes: memory.total("total_cache", "file"),
                limit_bytes: memory.limit,
                n: 1,
            },
            page_faults: all.map(|all| PageFaults { all, major: major.unwrap_or(0) }),
            oom_kills: memory.oom_kills,
            are_own_kills: memory.is_v1,
        }
    }
}

impl MemoryAmounts {
    /// Adds another cgroup of the same row. The limit is that of all of them, where each has one.
    pub(super) fn add(&mut self, other: &Self) {
        let is_first = self.n == 0;
        let both = |a: Option<u64>, b: Option<u64>| if is_first { b } else { Some(a?.saturating_add(b?)) };
        self.limit_bytes = both(self.limit_bytes, other.limit_bytes);
        self.rss_bytes = both(self.rss_bytes, other.rss_bytes);
        self.cache_bytes = both(self.cache_bytes, other.cache_bytes);
        self.usage_bytes = self.usage_bytes.saturating_add(other.usage_bytes);
        self.working_set_bytes = self.working_set_bytes.saturating_add(other.working_set_bytes);
        self.n += other.n.max(1);
    }

    /// Takes off what another row has, which is below this one. The two were read one after the other.
    fn take_off(&mut self, below: &Self) {
        let less = |a: Option<u64>, b: Option<u64>| Some(a?.saturating_sub(b.unwrap_or(0)));
        self.usage_bytes = self.usage_bytes.saturating_sub(below.usage_bytes);
        self.working_set_bytes = self.working_set_bytes.saturating_sub(below.working_set_bytes);
        self.rss_bytes = less(self.rss_bytes, below.rss_bytes);
        self.cache_bytes = less(self.cache_bytes, below.cache_bytes);
    }
}

impl MemoryReading {
    /// Takes off what another row has, which is below this one.
    ///
    /// The kernel keeps what ended below in the counts of the upper one. An owner goes on with that; of what only groups
    /// others, nothing would be left that is its own.
    pub(super) fn take_off(&mut self, below: &Self, is_owner: bool) {
        self.amounts.take_off(&below.amounts);
        let faults = self.page_faults.filter(|_| is_owner).zip(below.page_faults);
        self.page_faults = faults.map(|(faults, below)| PageFaults {
            all: faults.all.saturating_sub(below.all),
            major: faults.major.saturating_sub(below.major),
        });
        let kills = self.oom_kills.filter(|_| is_owner);
        let below = below.oom_kills.filter(|_| !self.are_own_kills).unwrap_or(0);
        self.oom_kills = kills.map(|kills| kills.saturating_sub(below));
    }
}
