//! What was read of rows before they left the kernel's tables, so that nothing is counted twice.
//!
//! A row that is read where it is (`left_alone`) comes through the ring later: only what it gained since is new then. Pure.
//!
//! The CPU whose row it is may write it at that moment. Each amount is read up to the highest value that was seen, and what
//! leaves pays that back; so sums are right in the end also where a row was read that is newer than one of the same cgroup that
//! waits in the ring, or whose slot was being handed on: what was read too early is missing from what comes next, and no more.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use seismograf_ebpf::abi::{BUCKETS, CpuRow, Kind, RunqueueRow};
use serde::{Deserialize, Serialize};

use super::records::Record;

/// Run time and switches.
const CPU_AMOUNTS: usize = 2;
/// Time, waits and their histogram.
const RUNQUEUE_AMOUNTS: usize = 2 + BUCKETS;

/// What was seen on a CPU that is left alone.
#[derive(Debug)]
pub enum Seen {
    /// CPU time, as it stands in its table.
    Cpu(CpuRow),
    /// Waiting for a CPU, likewise.
    Runqueue(RunqueueRow),
    /// What it runs; before its rows.
    Running(Running),
}

/// A task that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// The CPU.
    pub cpu: u32,
    /// Since when, by task and its run time then.
    pub slice: (u64, u64),
    /// The task's cgroup.
    pub cgroup: u64,
    /// Nanoseconds since then.
    pub run_ns: u64,
}

/// The amounts that were read of rows that have not left, and of tasks that ran on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Early {
    cpu: Amounts<CPU_AMOUNTS>,
    runqueue: Amounts<RUNQUEUE_AMOUNTS>,
    slices: HashMap<u32, Slice>,
}

/// The time since a task was switched in, which its cgroup is charged with when it is switched out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Slice {
    id: (u64, u64),
    /// Where the task was seen last.
    cgroup: u64,
    /// What was read of it.
    run_ns: u64,
    /// As much of that is not among what was read of the cgroup's row.
    owed_ns: u64,
}

impl Early {
    /// Returns what is new, if anything.
    pub(super) fn read(&mut self, seen: Seen) -> Option<Record<'static>> {
        match seen {
            Seen::Cpu(row) => self.cpu.read(row).map(Record::Cpu),
            Seen::Runqueue(row) => self.runqueue.read(row).map(Record::Runqueue),
            Seen::Running(running) => self.run_on(running).map(Record::Cpu),
        }
    }

    /// The time that a task ran on. One that moves to another cgroup meanwhile is that one's from then on.
    fn run_on(&mut self, running: Running) -> Option<CpuRow> {
        let Running { cpu, slice: id, cgroup, run_ns } = running;
        if self.slices.get(&cpu).is_none_or(|slice| slice.id != id) {
            self.end_slice(cpu);
            self.slices.insert(cpu, Slice { id, ..Slice::default() });
        }
        let slice = self.slices.get_mut(&cpu)?;
        let new = run_ns.saturating_sub(slice.run_ns);
        if new == 0 {
            return None;
        }
        (slice.cgroup, slice.run_ns, slice.owed_ns) = (cgroup, run_ns, slice.owed_ns + new);
        Some(CpuRow { kind: Kind::Cpu as u32, cpu, cgroup, run_ns: new, switches: 0 })
    }

    /// What was read of a slice is in the row of the cgroup that the task was in, or comes there.
    fn end_slice(&mut self, cpu: u32) {
        let Some(slice) = self.slices.get_mut(&cpu).filter(|slice| slice.owed_ns > 0) else { return };
        let early = self.cpu.0.entry((cpu, slice.cgroup)).or_insert([0; CPU_AMOUNTS]);
        early[0] += std::mem::take(&mut slice.owed_ns);
    }

    /// A record that came through the ring. Returns what of it is new, if anything.
    pub(super) fn left<'a>(&mut self, record: Record<'a>) -> Option<Record<'a>> {
        match record {
            Record::Cpu(row) => {
                if self.slices.get(&row.cpu).is_some_and(|slice| slice.cgroup == row.cgroup) {
                    self.end_slice(row.cpu);
                }
                self.cpu.left(row).map(Record::Cpu)
            }
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
        // Mostly there is none: no CPU is left alone that has rows of this kind.
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
    use super::*;

    fn row(cpu: u32, cgroup: u64, run_ns: u64, switches: u64) -> CpuRow {
        CpuRow { kind: Kind::Cpu as u32, cpu, cgroup, run_ns, switches }
    }

    fn read(early: &mut Early, row: CpuRow) -> Option<Record<'static>> {
        early.read(Seen::Cpu(row))
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
        assert_eq!(amounts(read(&mut early, row(1, 7, 100, 3))), Some((100, 3)));
        // It stays as it is; then it gains.
        assert_eq!(amounts(read(&mut early, row(1, 7, 100, 3))), None);
        assert_eq!(amounts(read(&mut early, row(1, 7, 130, 3))), Some((30, 0)));
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
        assert_eq!(amounts(read(&mut early, row(1, 7, 5, 1))), Some((5, 1)));
        // The one before it, with more, and with less.
        assert_eq!(amounts(early.left(Record::Cpu(row(1, 7, 100, 4)))), Some((95, 3)));
        assert_eq!(amounts(read(&mut early, row(1, 7, 6, 1))), Some((6, 1)));
        assert_eq!(amounts(early.left(Record::Cpu(row(1, 7, 2, 1)))), None);
        assert_eq!(amounts(early.left(Record::Cpu(row(1, 7, 9, 1)))), Some((5, 1)));
        assert_eq!(early, Early::default());
    }

    #[test]
    fn a_task_that_runs_on_is_counted_once() {
        let mut early = Early::default();
        let running = |slice, cgroup, run_ns| Seen::Running(Running { cpu: 1, slice, cgroup, run_ns });
        let of = |record: Option<Record<'_>>, cgroup| match record {
            Some(Record::Cpu(row)) => (row.cgroup == cgroup).then_some(row.run_ns),
            None => Some(0),
            Some(_) => None,
        };
        assert_eq!(of(early.read(running((9, 0), 7, 100)), 7), Some(100));
        assert_eq!(of(early.read(running((9, 0), 7, 150)), 7), Some(50));
        // The row that its cgroup has of slices before does not have it yet.
        assert_eq!(of(read(&mut early, row(1, 7, 30, 1)), 7), Some(30));
        // It moves, and its new cgroup is charged with all of the slice.
        assert_eq!(of(early.read(running((9, 0), 8, 180)), 8), Some(30));
        assert_eq!(of(early.read(running((5, 0), 6, 0)), 6), Some(0));
        assert_eq!(of(read(&mut early, row(1, 8, 200, 1)), 8), Some(20));
        assert_eq!(of(early.left(Record::Cpu(row(1, 8, 200, 1))), 8), Some(0));
        // The row can leave before anybody looks again.
        assert_eq!(of(early.read(running((5, 0), 6, 40)), 6), Some(40));
        assert_eq!(of(early.left(Record::Cpu(row(1, 6, 45, 1))), 6), Some(5));
        assert_eq!(of(early.read(running((9, 4), 7, 1)), 7), Some(1));
        assert_eq!(of(early.left(Record::Cpu(row(1, 7, 32, 2))), 7), Some(1));
        early.slices.clear();
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
        assert_eq!(early.read(Seen::Runqueue(row)), Some(Record::Runqueue(row)));
        let mut gained = RunqueueRow { wait_ns: 100, waits: 1, histogram: [0; BUCKETS], ..row };
        gained.histogram[0] = 1;
        (row.wait_ns, row.waits, row.histogram[0]) = (3_100, 3, 2);
        assert_eq!(early.left(Record::Runqueue(row)), Some(Record::Runqueue(gained)));
        assert_eq!(early, Early::default());
    }

    #[test]
    fn goes_through_the_statefile() {
        let mut early = Early::default();
        read(&mut early, row(1, 1 << 60, 100, 3));
        read(&mut early, row(0, 7, 1, 0));
        early.read(Seen::Running(Running { cpu: 1, slice: (5, 6), cgroup: 7, run_ns: 8 }));
        let text = serde_json::to_string(&early).unwrap();
        assert_eq!(
            text,
            r#"{"cpu":[[0,7,[1,0]],[1,1152921504606846976,[100,3]]],"runqueue":[],"slices":{"1":{"id":[5,6],"cgroup":7,"run_ns":8,"owed_ns":8}}}"#
        );
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
                    0 if slot.cgroup != 0 => take(read(&mut early, slot)),
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
