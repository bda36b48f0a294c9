//! What was read of rows before they left the kernel's tables, so that nothing is counted twice.
//!
//! A row that is read where it is ([`super::left_alone`]) comes through the ring later: only what it gained since is new then. Pure.
//!
//! The CPU whose row it is may write it at that moment. Each amount is read up to the highest value that was seen, and what
//! leaves pays that back; so sums are right in the end also where a row was read that is newer than one of the same cgroup that
//! waits in the ring, or whose slot was being handed on: what was read too early is missing from what comes next, and no more.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use seismograf_ebpf::abi::{BUCKETS, CpuRow, RunqueueRow};
use serde::{Deserialize, Serialize};

use super::records::Record;

/// Run time and switches.
const CPU_AMOUNTS: usize = 2;
/// Time, waits and their histogram.
const RUNQUEUE_AMOUNTS: usize = 2 + BUCKETS;

/// The amounts that were read of rows that have not left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Early {
    cpu: Amounts<CPU_AMOUNTS>,
    runqueue: Amounts<RUNQUEUE_AMOUNTS>,
}

impl Early {
    /// A row as it stands in its table. Returns what of it is new, if anything.
    pub(super) fn read(&mut self, row: Record<'static>) -> Option<Record<'static>> {
        match row {
            Record::Cpu(row) => self.cpu.read(row).map(Record::Cpu),
            Record::Runqueue(row) => self.runqueue.read(row).map(Record::Runqueue),
            other => Some(other),
        }
    }

    /// A record that came through the ring. Returns what of it is new, if anything.
    pub(super) fn left<'a>(&mut self, record: Record<'a>) -> Option<Record<'a>> {
        match record {
            Record::Cpu(row) => self.cpu.left(row).map(Record::Cpu),
            Record::Runqueue(row) => self.runqueue.left(row).map(Record::Runqueue),
            other => Some(other),
        }
    }
}

/// Of one kind of rows, by CPU and cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Written>", into = "Vec<Written>")]
struct Amounts<const N: usize>(HashMap<(u32, u64), [u64; N]>);

/// An entry, as JSON can have it.
type Written = (u32, u64, Vec<u64>);

impl<const N: usize> Amounts<N> {
    fn read<R: Counting<N>>(&mut self, row: R) -> Option<R> {
        let early = self.0.entry(row.key()).or_insert([0; N]);
        let amounts = row.amounts();
        let new = less(&amounts, early);
        for (early, amount) in early.iter_mut().zip(amounts) {
            *early = amount.max(*early);
        }
        row.with_some(new)
    }

    fn left<R: Counting<N>>(&mut self, row: R) -> Option<R> {
        // Mostly there is none: no CPU is left asleep that has rows of this kind.
        if self.0.is_empty() {
            return Some(row);
        }
        let Entry::Occupied(mut early) = self.0.entry(row.key()) else { return Some(row) };
        let amounts = row.amounts();
        let new = less(&amounts, early.get());
        let rest = less(early.get(), &amounts);
        if rest == [0; N] {
            early.remove();
        } else {
            early.insert(rest);
        }
        row.with_some(new)
    }
}

/// What each amount has more than another, at least 0.
fn less<const N: usize>(amounts: &[u64; N], other: &[u64; N]) -> [u64; N] {
    std::array::from_fn(|at| amounts[at].saturating_sub(other[at]))
}

impl<const N: usize> Default for Amounts<N> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<const N: usize> From<Vec<Written>> for Amounts<N> {
    fn from(written: Vec<Written>) -> Self {
        let amounts = |amounts: Vec<u64>| amounts.try_into().ok();
        Self(
            written
                .into_iter()
                .filter_map(|(cpu, cgroup, all)| Some(((cpu, cgroup), amounts(all)?)))
                .collect(),
        )
    }
}

impl<const N: usize> From<Amounts<N>> for Vec<Written> {
    fn from(amounts: Amounts<N>) -> Self {
        let mut written: Self =
            amounts.0.into_iter().map(|((cpu, cgroup), amounts)| (cpu, cgroup, amounts.to_vec())).collect();
        written.sort_unstable();
        written
    }
}

/// A row of a table that has a slot for a cgroup at most once on a CPU.
trait Counting<const N: usize>: Copy {
    /// CPU and cgroup.
    fn key(&self) -> (u32, u64);

    /// What it counts.
    fn amounts(&self) -> [u64; N];

    /// The same row with other amounts.
    fn with(self, amounts: [u64; N]) -> Self;

    /// Likewise; `None` where all are 0.
    fn with_some(self, amounts: [u64; N]) -> Option<Self> {
        (amounts != [0; N]).then(|| self.with(amounts))
    }
}

impl Counting<CPU_AMOUNTS> for CpuRow {
    fn key(&self) -> (u32, u64) {
        (self.cpu, self.cgroup)
    }

    fn amounts(&self) -> [u64; CPU_AMOUNTS] {
        [self.run_ns, self.switches]
    }

    fn with(self, [run_ns, switches]: [u64; CPU_AMOUNTS]) -> Self {
        Self { run_ns, switches, ..self }
    }
}

impl Counting<RUNQUEUE_AMOUNTS> for RunqueueRow {
    fn key(&self) -> (u32, u64) {
        (self.cpu, self.cgroup)
    }

    fn amounts(&self) -> [u64; RUNQUEUE_AMOUNTS] {
        std::array::from_fn(|at| match at {
            0 => self.wait_ns,
            1 => self.waits,
            at => u64::from(self.histogram[at - 2]),
        })
    }

    fn with(self, amounts: [u64; RUNQUEUE_AMOUNTS]) -> Self {
        let histogram = std::array::from_fn(|at| amounts[at + 2] as u32);
        Self { wait_ns: amounts[0], waits: amounts[1], histogram, ..self }
    }
}

#[cfg(test)]
mod tests {
    use seismograf_ebpf::abi::Kind;

    use super::*;

    fn row(cpu: u32, cgroup: u64, run_ns: u64, switches: u64) -> CpuRow {
        CpuRow { kind: Kind::Cpu as u32, cpu, cgroup, run_ns, switches }
    }

    fn amounts(record: Option<Record<'_>>) -> Option<(u64, u64)> {
        record.map(|record| match record {
            Record::Cpu(row) => (row.run_ns, row.switches),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn what_was_read_is_missing_from_what_leaves() {
        let mut early = Early::default();
        assert_eq!(amounts(early.read(Record::Cpu(row(1, 7, 100, 3)))), Some((100, 3)));
        // It stays as it is; then it gains.
        assert_eq!(amounts(early.read(Record::Cpu(row(1, 7, 100, 3)))), None);
        assert_eq!(amounts(early.read(Record::Cpu(row(1, 7, 130, 3)))), Some((30, 0)));
        // Other rows are none of its.
        assert_eq!(amounts(early.left(Record::Cpu(row(0, 7, 10, 1)))), Some((10, 1)));
        assert_eq!(amounts(early.left(Record::Cpu(row(1, 8, 10, 1)))), Some((10, 1)));
        assert_eq!(amounts(early.left(Record::Cpu(row(1, 7, 150, 4)))), Some((20, 1)));
        // It has left: the next one is new.
        assert_eq!(amounts(early.left(Record::Cpu(row(1, 7, 5, 1)))), Some((5, 1)));
        assert_eq!(early, Early::default());
    }

    #[test]
    fn a_row_that_is_newer_than_one_in_the_ring_is_paid_back() {
        let mut early = Early::default();
        assert_eq!(amounts(early.read(Record::Cpu(row(1, 7, 5, 1)))), Some((5, 1)));
        // The one before it, with more, and with less.
        assert_eq!(amounts(early.left(Record::Cpu(row(1, 7, 100, 4)))), Some((95, 3)));
        assert_eq!(amounts(early.read(Record::Cpu(row(1, 7, 6, 1)))), Some((6, 1)));
        assert_eq!(amounts(early.left(Record::Cpu(row(1, 7, 2, 1)))), None);
        assert_eq!(amounts(early.left(Record::Cpu(row(1, 7, 9, 1)))), Some((5, 1)));
        assert_eq!(early, Early::default());
    }

    #[test]
    fn waits_keep_their_histogram() {
        let mut early = Early::default();
        let mut row = RunqueueRow {
            kind: Kind::Runqueue as u32,
            cpu: 1,
            cgroup: 7,
            wait_ns: 3_000,
            waits: 2,
            histogram: [0; BUCKETS],
        };
        (row.histogram[0], row.histogram[2]) = (1, 1);
        assert_eq!(early.read(Record::Runqueue(row)), Some(Record::Runqueue(row)));
        let mut gained = RunqueueRow { wait_ns: 100, waits: 1, histogram: [0; BUCKETS], ..row };
        gained.histogram[0] = 1;
        (row.wait_ns, row.waits, row.histogram[0]) = (3_100, 3, 2);
        assert_eq!(early.left(Record::Runqueue(row)), Some(Record::Runqueue(gained)));
        assert_eq!(early, Early::default());
    }

    #[test]
    fn goes_through_the_statefile() {
        let mut early = Early::default();
        early.read(Record::Cpu(row(1, 1 << 60, 100, 3)));
        early.read(Record::Cpu(row(0, 7, 1, 0)));
        let text = serde_json::to_string(&early).unwrap();
        assert_eq!(text, r#"{"cpu":[[0,7,[1,0]],[1,1152921504606846976,[100,3]]],"runqueue":[]}"#);
        assert_eq!(serde_json::from_str::<Early>(&text).unwrap(), early);
    }

    /// A slot of a CPU with its ring, as the kernel's programs have it, and a reader that looks at any moment.
    #[test]
    fn sums_are_right_whatever_comes_between() {
        for seed in 1..2_000_u64 {
            let mut state = seed;
            let mut random = |n: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % n
            };
            let (mut slot, mut ring, mut early) = (row(0, 0, 0, 0), Vec::new(), Early::default());
            let (mut counted, mut taken) = ([0; 3], [0; 3]);
            let mut take = |record: Option<Record<'_>>| match record {
                Some(Record::Cpu(row)) => taken[row.cgroup as usize] += row.run_ns,
                None => {}
                Some(other) => panic!("{other:?}"),
            };
            for _ in 0..60 {
                match random(4) {
                    0 if slot.cgroup != 0 => take(early.read(Record::Cpu(slot))),
                    1 => ring.drain(..).for_each(|row| take(early.left(Record::Cpu(row)))),
                    // It may wait in the ring for long: all of it, or a part.
                    2 if !ring.is_empty() => take(early.left(Record::Cpu(ring.remove(0)))),
                    _ => {
                        let cgroup = random(2) + 1;
                        if slot.cgroup != cgroup {
                            ring.extend((slot.cgroup != 0).then_some(slot));
                            slot = row(0, cgroup, 0, 0);
                        }
                        let run_ns = random(100);
                        (slot.run_ns, slot.switches) = (slot.run_ns + run_ns, slot.switches + 1);
                        counted[cgroup as usize] += run_ns;
                    }
                }
            }
            ring.extend((slot.cgroup != 0).then_some(slot));
            ring.drain(..).for_each(|row| take(early.left(Record::Cpu(row))));
            assert_eq!(taken, counted, "seed {seed}");
            assert_eq!(early, Early::default(), "seed {seed}");
        }
    }
}
