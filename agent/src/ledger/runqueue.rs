//! Waiting for a CPU: sums per cgroup, in the hierarchy of CPU time.

use seismograf_ebpf::abi::RunqueueRow;

use super::histogram::Histogram;
use super::sums::{self, Sums};

/// How long a cgroup waited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Waiting time in nanoseconds.
    pub wait_ns: u64,
    /// How often a wait ended.
    pub waits: u64,
    /// Waits within this interval.
    pub interval: Histogram,
}

impl sums::Totals for Totals {
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
pub type Runqueue = Sums<Totals>;

impl Runqueue {
    /// Adds a delta.
    pub fn apply(&mut self, row: &RunqueueRow) {
        let mut interval = Histogram::default();
        interval.add(&row.histogram);
        self.add(row.cgroup, &Totals { wait_ns: row.wait_ns, waits: row.waits, interval });
    }
}
