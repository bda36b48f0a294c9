//! Waiting for a CPU: sums per cgroup, in the hierarchy of CPU time.

use seismograf_ebpf::abi::RunqueueRow;
use serde::{Deserialize, Serialize};

use super::histogram::Histogram;
use super::sums::{Accumulate, Sums};

/// How long a cgroup's tasks waited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunqueueTotals {
    /// Waiting time in nanoseconds.
    pub wait_ns: u64,
    /// Waits that ended.
    pub waits: u64,
    /// Waits within this interval.
    #[serde(skip)]
    pub interval: Histogram,
}

impl Accumulate for RunqueueTotals {
    fn add(&mut self, other: &Self) {
        self.wait_ns += other.wait_ns;
        self.waits += other.waits;
        self.interval.merge(&other.interval);
    }

    fn start_interval(&mut self) {
        self.interval = Histogram::default();
    }
}

/// The sums.
pub type Runqueue = Sums<RunqueueTotals>;

impl Runqueue {
    /// Adds a delta.
    pub fn apply(&mut self, row: &RunqueueRow) {
        let mut interval = Histogram::default();
        interval.add(&row.histogram);
        self.add(row.cgroup, &RunqueueTotals { wait_ns: row.wait_ns, waits: row.waits, interval });
    }
}
