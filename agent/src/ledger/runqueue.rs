//! Waiting for a CPU: sums per cgroup, in the hierarchy of CPU time.

use std::collections::HashMap;

use seismograf_ebpf::abi::RunqueueRow;

use super::cpu::shrink;
use super::histogram::Histogram;

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

/// The sums.
#[derive(Debug, Default)]
pub struct Runqueue {
    rows: HashMap<u64, Totals>,
}

impl Runqueue {
    /// Adds a delta.
    pub fn apply(&mut self, row: &RunqueueRow) {
        let totals = self.rows.entry(row.cgroup).or_default();
        totals.wait_ns += row.wait_ns;
        totals.waits += row.waits;
        totals.interval.add(&row.histogram);
    }

    /// `new` goes on with the totals of `old`.
    pub fn succeed(&mut self, old: u64, new: u64) {
        if let Some(totals) = self.rows.remove(&old) {
            let sum = self.rows.entry(new).or_default();
            sum.wait_ns += totals.wait_ns;
            sum.waits += totals.waits;
            sum.interval.merge(&totals.interval);
        }
    }

    /// The totals of a cgroup.
    #[must_use]
    pub fn get(&self, cgroup: u64) -> Option<&Totals> {
        self.rows.get(&cgroup)
    }

    /// Starts a new interval.
    pub fn start_interval(&mut self) {
        for totals in self.rows.values_mut() {
            totals.interval = Histogram::default();
        }
    }

    /// Drops cgroups.
    pub fn retain(&mut self, mut keep: impl FnMut(u64) -> bool) {
        self.rows.retain(|id, _| keep(*id));
        shrink(&mut self.rows);
    }
}
