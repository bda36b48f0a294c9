//! How long reads, writes and waits for a CPU took, for who looks at a row: histograms, which no point has.
//!
//! The input `ebpf` leaves them here at each gather, as long as somebody wants them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ledger::histogram::Histogram;
use crate::point::Name;

/// What one row did within an interval, by how long it took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RowLatencies {
    /// The row's tags, as its points have them.
    pub(crate) tags: Vec<(Name, Name)>,
    /// On all disks.
    pub(crate) reads: Histogram,
    pub(crate) writes: Histogram,
    /// For a CPU; with the probe `runqueue`.
    pub(crate) waits: Histogram,
}

/// The latencies of the last gather, if they are wanted.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Mutex<Wanted>);

#[derive(Debug, Default)]
struct Wanted {
    is_wanted: bool,
    rows: Vec<RowLatencies>,
}

impl Latencies {
    fn lock(&self) -> MutexGuard<'_, Wanted> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether the next gathers are to leave them.
    pub(crate) fn want(&self, is_wanted: bool) {
        let mut state = self.lock();
        state.is_wanted = is_wanted;
        if !is_wanted {
            state.rows = Vec::new();
        }
    }

    /// Leaves those of a gather; `rows` is called only if they are wanted.
    pub(crate) fn leave(&self, rows: impl FnOnce() -> Vec<RowLatencies>) {
        let mut state = self.lock();
        if state.is_wanted {
            state.rows = rows();
        }
    }

    /// Those of the last gather.
    pub(crate) fn rows(&self) -> Vec<RowLatencies> {
        self.lock().rows.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_left_only_while_somebody_wants_them() {
        let latencies = Latencies::default();
        let row = || vec![RowLatencies { tags: vec![("a".into(), "b".into())], ..RowLatencies::default() }];
        latencies.leave(|| panic!("nobody wants them"));
        latencies.want(true);
        latencies.leave(row);
        assert_eq!(latencies.rows(), row());
        latencies.want(true);
        assert_eq!(latencies.rows(), row(), "still those of the last gather");
        latencies.want(false);
        assert_eq!(latencies.rows(), []);
    }
}
