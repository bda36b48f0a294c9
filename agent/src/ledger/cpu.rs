//! CPU time: sums per cgroup, in the hierarchy of the controller `cpuacct` or `cpu`, otherwise in cgroup2.

use seismograf_ebpf::abi::CpuRow;
use serde::{Deserialize, Serialize};

use super::sums::{Accumulate, Sums};

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

/// The sums.
pub type Cpu = Sums<CpuTotals>;

impl Cpu {
    /// Adds a delta.
    pub fn apply(&mut self, row: &CpuRow) {
        let (usage_ns, context_switches) = (row.run_ns, row.switches);
        self.add(row.cgroup, &CpuTotals { usage_ns, context_switches, interval_ns: usage_ns });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

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
}
