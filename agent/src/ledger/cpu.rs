//! CPU time: sums per cgroup, in the hierarchy of the controller `cpuacct` or `cpu`, otherwise in cgroup2.

use std::collections::HashMap;

use seismograf_ebpf::abi::CpuRow;
use serde::{Deserialize, Serialize};

use super::sums::{Accumulate, Sums, shrink};

/// How long a cgroup ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuTotals {
    /// Run time in nanoseconds.
    pub usage_ns: u64,
    /// How often one of its tasks was switched out.
    pub context_switches: u64,
    /// Run time within this interval, in nanoseconds.
    #[serde(skip)]
    pub interval_ns: u64,
}

impl Accumulate for CpuTotals {
    fn add(&mut self, other: &Self) {
        self.usage_ns += other.usage_ns;
        self.context_switches += other.context_switches;
        self.interval_ns += other.interval_ns;
    }

    fn start_interval(&mut self) {
        self.interval_ns = 0;
    }
}

/// How long each cgroup had run by the kernel's own sum when that was last entered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelTimes(HashMap<u64, u64>);

impl KernelTimes {
    /// Begins with these: what they have run until now is no delta.
    pub fn begin(run_times: impl Iterator<Item = (u64, u64)>) -> Self {
        Self(run_times.collect())
    }

    /// What a cgroup has run since the sum that was entered before this one, or since it was made.
    fn since(&mut self, cgroup: u64, run_ns: u64) -> u64 {
        let before = self.0.entry(cgroup).or_default();
        let since = run_ns.saturating_sub(*before);
        *before = run_ns.max(*before);
        since
    }

    /// Forgets cgroups.
    pub fn retain(&mut self, mut keep: impl FnMut(u64) -> bool) {
        self.0.retain(|id, _| keep(*id));
        shrink(&mut self.0);
    }
}

/// The sums.
pub type Cpu = Sums<CpuTotals>;

impl Cpu {
    /// Adds a delta.
    pub fn apply(&mut self, row: &CpuRow) {
        let (usage_ns, context_switches) = (row.run_ns, row.switches);
        self.add(row.cgroup, &CpuTotals { usage_ns, context_switches, interval_ns: usage_ns });
    }

    /// Adds what a cgroup has run more than before, by the kernel's own sum.
    pub fn reach(&mut self, times: &mut KernelTimes, cgroup: u64, run_ns: u64) {
        let usage_ns = times.since(cgroup, run_ns);
        if usage_ns > 0 {
            self.add(cgroup, &CpuTotals { usage_ns, context_switches: 0, interval_ns: usage_ns });
        }
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
        let totals: HashMap<u64, CpuTotals> = cpu.rows().map(|(id, t)| (id, *t)).collect();
        assert_eq!(totals[&1], CpuTotals { usage_ns: 15, context_switches: 1, interval_ns: 15 });
        cpu.retain(|id| id == 2);
        assert_eq!(cpu.rows().count(), 1);
        assert_eq!(cpu.sum().usage_ns, 22);
        cpu.start_interval(|_| true);
        assert_eq!(cpu.rows().next().map(|(_, t)| t.interval_ns), Some(0));
    }

    #[test]
    fn the_kernels_sums_count_from_where_they_began() {
        let (mut cpu, mut times) = (Cpu::default(), KernelTimes::begin([(1, 100), (2, 50)].into_iter()));
        // 3 was made since.
        for (id, run_ns) in [(1, 130), (2, 50), (3, 7), (1, 135)] {
            cpu.reach(&mut times, id, run_ns);
        }
        let ran = |cpu: &Cpu, id| cpu.get(id).map(|totals| (totals.usage_ns, totals.interval_ns));
        assert_eq!([1, 2, 3].map(|id| ran(&cpu, id)), [Some((35, 35)), None, Some((7, 7))]);
        cpu.start_interval(|_| true);
        // A sum that was read before another one, and entered after it.
        for (id, run_ns) in [(1, 130), (1, 136)] {
            cpu.reach(&mut times, id, run_ns);
        }
        assert_eq!(ran(&cpu, 1), Some((36, 1)));
        assert_eq!(cpu.sum().usage_ns, 43);
        times.retain(|id| id == 3);
        assert_eq!(times, KernelTimes(HashMap::from([(3, 7)])));
    }
}
