//! OOM-killed processes: counts per cgroup, in the hierarchy of the controller `memory`.

use seismograf_ebpf::abi::OomKill;

use super::sums::{Accumulate, Sums};

impl Accumulate for u64 {
    fn add(&mut self, other: &Self) {
        *self += other;
    }
}

/// The counts.
pub type Oom = Sums<u64>;

impl Oom {
    /// Counts a kill.
    pub fn apply(&mut self, kill: &OomKill) {
        self.add(kill.cgroup, &1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_cgroup_and_continues_with_a_successor() {
        let mut oom = Oom::default();
        for cgroup in [7, 7, 8] {
            oom.apply(&OomKill { kind: 6, pid: 1, cgroup, victim: u64::MAX });
        }
        oom.succeed(7, 9);
        assert_eq!([7, 8, 9].map(|id| oom.get(id)), [None, Some(&1), Some(&2)]);
        oom.retain(|id| id == 9);
        assert_eq!((oom.rows().count(), *oom.sum()), (1, 3));
    }
}
