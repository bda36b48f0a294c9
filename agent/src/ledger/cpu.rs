//! CPU time: sums per cgroup, in the hierarchy of the controller `cpuacct` or `cpu`, else in cgroup2.

use std::collections::HashMap;

use seismograf_ebpf::abi::CpuRow;

/// What a cgroup ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Run time in nanoseconds.
    pub usage_ns: u64,
    /// How often one of its tasks was switched out.
    pub context_switches: u64,
    /// Run time within this interval, in nanoseconds.
    pub interval_ns: u64,
}

impl Totals {
    /// Adds those of another cgroup.
    pub fn add(&mut self, other: &Self) {
        self.usage_ns += other.usage_ns;
        self.context_switches += other.context_switches;
        self.interval_ns += other.interval_ns;
    }
}

/// The sums.
#[derive(Debug, Default)]
pub struct Cpu {
    rows: HashMap<u64, Totals>,
    /// Of all cgroups, also forgotten ones.
    sum: Totals,
}

impl Cpu {
    /// Adds a delta.
    pub fn apply(&mut self, row: &CpuRow) {
        let delta = Totals { usage_ns: row.run_ns, context_switches: row.switches, interval_ns: row.run_ns };
        self.rows.entry(row.cgroup).or_default().add(&delta);
        self.sum.add(&delta);
    }

    /// The totals of a cgroup.
    #[must_use]
    pub fn get(&self, cgroup: u64) -> Option<&Totals> {
        self.rows.get(&cgroup)
    }

    /// `new` goes on with the totals of `old`.
    pub fn succeed(&mut self, old: u64, new: u64) {
        if let Some(totals) = self.rows.remove(&old) {
            self.rows.entry(new).or_default().add(&totals);
        }
    }

    /// Each cgroup's id and totals, in no order.
    pub fn rows(&self) -> impl Iterator<Item = (u64, &Totals)> {
        self.rows.iter().map(|(id, totals)| (*id, totals))
    }

    /// The sum of all rows ever.
    #[must_use]
    pub fn sum(&self) -> &Totals {
        &self.sum
    }

    /// Starts a new interval.
    pub fn start_interval(&mut self) {
        for totals in self.rows.values_mut().chain([&mut self.sum]) {
            totals.interval_ns = 0;
        }
    }

    /// Drops cgroups; what they had stays in the sum.
    pub fn retain(&mut self, mut keep: impl FnMut(u64) -> bool) {
        self.rows.retain(|id, _| keep(*id));
        shrink(&mut self.rows);
    }
}

/// Gives memory back after a wave of cgroups, and not for the sake of a few.
pub(super) fn shrink<K: Eq + std::hash::Hash, V>(map: &mut HashMap<K, V>) {
    if map.capacity() > 1024 && map.capacity() > 4 * map.len() {
        map.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cgroup: u64, run_ns: u64, switches: u64) -> CpuRow {
        CpuRow { kind: 1, cpu: 0, cgroup, run_ns, switches }
    }

    #[test]
    fn adds_up_by_cgroup_and_keeps_the_sum_of_the_forgotten() {
        let mut cpu = Cpu::default();
        cpu.apply(&row(1, 10, 1));
        cpu.apply(&row(1, 5, 0));
        cpu.apply(&row(2, 7, 2));
        let totals: HashMap<u64, Totals> = cpu.rows().map(|(id, t)| (id, *t)).collect();
        assert_eq!(totals[&1], Totals { usage_ns: 15, context_switches: 1, interval_ns: 15 });
        cpu.retain(|id| id == 2);
        assert_eq!(cpu.rows().count(), 1);
        assert_eq!(cpu.sum().usage_ns, 22);
        cpu.start_interval();
        assert_eq!(cpu.rows().next().map(|(_, t)| t.interval_ns), Some(0));
    }
}
