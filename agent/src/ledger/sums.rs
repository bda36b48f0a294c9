//! Sums per cgroup: what the areas that are keyed by the cgroup alone share.

use std::collections::HashMap;

/// What is added up for one cgroup.
pub trait Accumulate: Default {
    /// Adds a delta, or the totals of another cgroup.
    fn add(&mut self, other: &Self);

    /// Starts a new interval.
    fn start_interval(&mut self) {}
}

/// The sums of one area.
#[derive(Debug, Default)]
pub struct Sums<T> {
    rows: HashMap<u64, T>,
    /// Of all cgroups, forgotten ones included.
    sum: T,
}

impl<T: Accumulate> Sums<T> {
    /// Adds a delta.
    pub(super) fn add(&mut self, cgroup: u64, delta: &T) {
        self.rows.entry(cgroup).or_default().add(delta);
        self.sum.add(delta);
    }

    /// Each cgroup's id and totals, in no order.
    pub fn rows(&self) -> impl Iterator<Item = (u64, &T)> {
        self.rows.iter().map(|(id, totals)| (*id, totals))
    }

    /// The totals of a cgroup.
    #[must_use]
    pub fn get(&self, cgroup: u64) -> Option<&T> {
        self.rows.get(&cgroup)
    }

    /// The sum of all rows ever.
    #[must_use]
    pub fn sum(&self) -> &T {
        &self.sum
    }

    /// The totals of a cgroup, to begin or to replace them: what is set here is in no sum, since no record told of it.
    pub fn entry(&mut self, cgroup: u64) -> &mut T {
        self.rows.entry(cgroup).or_default()
    }

    /// Has the sum begin at 0.
    pub fn begin_sum(&mut self) {
        self.sum = T::default();
    }

    /// Has the sum go on from what an earlier run had.
    pub fn resume_sum(&mut self, sum: T) {
        self.sum = sum;
    }

    /// `new` continues the totals of `old`.
    pub fn succeed(&mut self, old: u64, new: u64) {
        if let Some(totals) = self.rows.remove(&old) {
            self.rows.entry(new).or_default().add(&totals);
        }
    }

    /// Starts a new interval for the cgroups that `ends` names.
    pub fn start_interval(&mut self, ends: impl Fn(u64) -> bool) {
        let ended = self.rows.iter_mut().filter(|(id, _)| ends(**id)).map(|(_, totals)| totals);
        ended.for_each(T::start_interval);
        self.sum.start_interval();
    }

    /// Drops cgroups; their totals stay in the sum.
    pub fn retain(&mut self, mut keep: impl FnMut(u64) -> bool) {
        self.rows.retain(|id, _| keep(*id));
        shrink(&mut self.rows);
    }
}

/// Releases memory after a wave of cgroups, but not for a few.
pub(crate) fn shrink<K: Eq + std::hash::Hash, V>(map: &mut HashMap<K, V>) {
    if map.capacity() > 1024 && map.capacity() > 4 * map.len() {
        map.shrink_to_fit();
    }
}
