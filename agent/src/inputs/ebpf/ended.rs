//! What earlier instances had, by series: a container that is restarted goes on with the totals of its name.
//!
//! Known for as long as the agent runs, and longer where the agent keeps its state in a file. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use crate::identity::series::Series;
use crate::ledger::amounts::Amounts;
use crate::ledger::blkio::Device;
use crate::ledger::sums::Accumulate as _;

/// At most this many series are remembered, at up to a kilobyte each; those that ended first are forgotten first.
const MAX_SERIES: usize = 1_000;

/// The amounts of what ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Ended {
    by_series: HashMap<Arc<Series>, EndedSeries>,
    /// Counts the ends.
    clock: u64,
}

#[derive(Clone, Debug, Default)]
struct EndedSeries {
    amounts: Amounts,
    /// When the latest of its instances ended.
    at: u64,
}

impl Ended {
    /// Keeps what an instance of a series had.
    pub(super) fn keep(&mut self, series: &Arc<Series>, amounts: &Amounts) {
        if *amounts == Amounts::default() {
            return;
        }
        self.clock += 1;
        let ended = self.by_series.entry(Arc::clone(series)).or_default();
        ended.amounts.add(amounts);
        ended.at = self.clock;
        if self.by_series.len() > MAX_SERIES {
            // A tenth at once, so that it is not looked for each time.
            let mut ends: Vec<u64> = self.by_series.values().map(|ended| ended.at).collect();
            let (_, first_kept, _) = ends.select_nth_unstable(MAX_SERIES / 10);
            let first_kept = *first_kept;
            self.by_series.retain(|_, ended| ended.at >= first_kept);
        }
    }

    /// What the earlier instances of a series had.
    pub(super) fn get(&self, series: &Series) -> Option<&Amounts> {
        self.by_series.get(series).map(|ended| &ended.amounts)
    }

    /// Each series, and what its instances had.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Series, &Amounts)> {
        self.by_series.iter().map(|(series, ended)| (&**series, &ended.amounts))
    }

    /// Forgets a disk that is gone.
    pub(super) fn forget_disk(&mut self, device: Device) {
        for ended in self.by_series.values_mut() {
            ended.amounts.blkio.remove(&device);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_first_is_forgotten_first() {
        let mut ended = Ended::default();
        let series =
            |n: usize| Arc::new(Series::from_tags(&[("container_name".into(), n.to_string().into())].into()));
        let amounts = Amounts { oom_kills: Some(1), ..Amounts::default() };
        ended.keep(&series(0), &Amounts::default());
        assert_eq!(ended.iter().count(), 0, "nothing to remember");
        for n in 0..=MAX_SERIES {
            ended.keep(&series(n), &amounts);
            // The first comes again and again.
            ended.keep(&series(0), &amounts);
        }
        assert!(ended.iter().count() <= MAX_SERIES);
        assert_eq!(ended.get(&series(0)).and_then(|amounts| amounts.oom_kills), Some(MAX_SERIES as u64 + 2));
        assert!(ended.get(&series(1)).is_none() && ended.get(&series(MAX_SERIES)).is_some());
    }
}
