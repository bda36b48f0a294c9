//! Processes killed for want of memory: counts per cgroup, in the hierarchy of the controller `memory`.

use std::collections::HashMap;

use seismograf_ebpf::abi::OomKill;

/// The counts.
#[derive(Debug, Default)]
pub struct Oom {
    rows: HashMap<u64, u64>,
    sum: u64,
}

impl Oom {
    /// Counts a kill.
    pub fn apply(&mut self, kill: &OomKill) {
        *self.rows.entry(kill.cgroup).or_default() += 1;
        self.sum += 1;
    }

    /// Each cgroup's id and count, in no order.
    pub fn rows(&self) -> impl Iterator<Item = (u64, u64)> {
        self.rows.iter().map(|(id, kills)| (*id, *kills))
    }

    /// How often it happened to a cgroup.
    #[must_use]
    pub fn get(&self, cgroup: u64) -> u64 {
        self.rows.get(&cgroup).copied().unwrap_or(0)
    }

    /// All kills ever.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// `new` goes on with the count of `old`.
    pub fn succeed(&mut self, old: u64, new: u64) {
        if let Some(kills) = self.rows.remove(&old) {
            *self.rows.entry(new).or_default() += kills;
        }
    }

    /// Drops cgroups; what they had stays in the sum.
    pub fn retain(&mut self, mut keep: impl FnMut(u64) -> bool) {
        self.rows.retain(|id, _| keep(*id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_cgroup_and_goes_on_where_one_took_the_place_of_another() {
        let mut oom = Oom::default();
        for cgroup in [7, 7, 8] {
            oom.apply(&OomKill { kind: 6, pid: 1, cgroup });
        }
        oom.succeed(7, 9);
        assert_eq!((oom.get(7), oom.get(8), oom.get(9)), (0, 1, 2));
        oom.retain(|id| id == 9);
        assert_eq!((oom.rows().count(), oom.sum()), (1, 3));
    }
}
