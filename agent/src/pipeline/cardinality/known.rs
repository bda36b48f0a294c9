//! The series that were seen lately, as hashes. Pure; time is passed in.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

use tokio::time::Instant;

/// A series that was not seen for this long, and at most twice as long, is forgotten. Not sooner: a server keeps a series for as
/// long as the day that it is in, so that places which are soon given to others would let more series in than the limit.
const PERIOD: Duration = Duration::from_secs(12 * 60 * 60);

/// Each is in one of two sets, 9 bytes for a place in a table that is from half to seven eighths full.
#[derive(Default)]
pub(super) struct Known {
    /// Seen in this period.
    now: Hashes,
    /// Seen in the period before, and not since.
    before: Hashes,
    began: Option<Instant>,
}

type Hashes = HashSet<u64, BuildHasherDefault<Hashed>>;

/// What is in the sets is a hash already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Known {
    /// Whether this series is known; then it was seen now.
    pub(super) fn sees(&mut self, series: u64) -> bool {
        self.now.contains(&series) || (self.before.remove(&series) && self.now.insert(series))
    }

    /// Adds a series that is not known.
    pub(super) fn add(&mut self, series: u64) {
        self.now.insert(series);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.now.len() + self.before.len()
    }

    /// Forgets what was not seen for long. Returns whether a period is over.
    pub(super) fn forget(&mut self, now: Instant) -> bool {
        let began = *self.began.get_or_insert(now);
        let age = now.saturating_duration_since(began);
        if age < PERIOD {
            return false;
        }
        self.before = std::mem::take(&mut self.now);
        if age >= 2 * PERIOD {
            self.before.clear();
        }
        self.began = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_seen_stays_and_what_is_not_gives_up_its_place() {
        let mut known = Known::default();
        let start = Instant::now();
        known.forget(start);
        for series in 0..100 {
            assert!(!known.sees(series));
            known.add(series);
        }
        assert!(!known.forget(start + PERIOD - Duration::from_secs(1)));
        assert!(known.forget(start + PERIOD));
        assert!((0..50).all(|series| known.sees(series)));
        assert_eq!(known.len(), 100);
        assert!(known.forget(start + 2 * PERIOD));
        assert_eq!(known.len(), 50);
        assert!(known.sees(49) && !known.sees(50));
        assert!(known.forget(start + 4 * PERIOD));
        assert_eq!(known.len(), 0, "nothing was seen for two periods");
    }
}
