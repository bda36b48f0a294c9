//! When what was read of a resting cgroup's memory still holds.

use crate::point::Timestamp;

/// All memory figures of an idle cgroup are read this often, in nanoseconds.
const IDLE_PERIOD_NS: u64 = 60_000_000_000;
/// How many nanoseconds after a change `memory.stat` has all of it: the kernel adds up what each CPU has of less than 64 pages
/// every two seconds (`FLUSH_TIME` in `mm/memcontrol.c`).
const STAT_SHOWS_NS: i64 = 4_000_000_000;

/// When a cgroup's memory was read, and since when the cgroup has been idle, in times of gathers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rest {
    read: Timestamp,
    asked: Timestamp,
    idle_since: Option<Timestamp>,
}

impl Rest {
    /// Of a cgroup that is read for the first time.
    pub(crate) const fn new(time: Timestamp) -> Self {
        Self { read: time, asked: time, idle_since: None }
    }

    /// As it is in the gather at `time`, if the cgroup `is_idle`: it has not run since the gather before.
    pub(crate) fn asked_at(self, time: Timestamp, is_idle: bool) -> Self {
        let idle_since = is_idle.then(|| self.idle_since.unwrap_or(self.asked));
        Self { asked: time, idle_since, ..self }
    }

    /// The latest gather that needed the figures.
    pub(crate) const fn asked(self) -> Timestamp {
        self.asked
    }

    /// As it is once all has been read in this gather.
    pub(crate) const fn once_read(self) -> Self {
        Self { read: self.asked, ..self }
    }

    /// Whether what was read holds as long as the usage is the same: all that the cgroup did had been added up, and that was
    /// less than a minute ago.
    pub(crate) fn holds(self) -> bool {
        let shows = |since: Timestamp| self.read.0.saturating_sub(since.0) >= STAT_SHOWS_NS;
        // A clock that was set back makes nothing older, and is no reason to keep it.
        self.idle_since.is_some_and(shows) && self.asked.0.abs_diff(self.read.0) < IDLE_PERIOD_NS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1_000_000_000)
    }

    #[test]
    fn what_was_read_holds_once_it_has_settled() {
        let rest = Rest::new(at(0)).asked_at(at(10), true);
        assert!(!rest.holds(), "it was read when the cgroup may just have run");
        let rest = rest.once_read().asked_at(at(20), true);
        assert!(rest.holds());
        assert!(rest.asked_at(at(69), true).holds());
        assert!(!rest.asked_at(at(70), true).holds(), "a minute has passed");
        assert!(!rest.asked_at(at(30), false).holds());
        // It ran before 30, and rests from then on.
        let rest = rest.asked_at(at(30), false).once_read().asked_at(at(40), true);
        assert!(!rest.holds());
        assert!(rest.once_read().asked_at(at(50), true).holds());
    }

    #[test]
    fn frequent_gathers_read_until_it_has_settled() {
        let mut rest = Rest::new(at(0));
        let mut n_read = 0;
        for second in 1..20 {
            rest = rest.asked_at(at(second), true);
            if !rest.holds() {
                (rest, n_read) = (rest.once_read(), n_read + 1);
            }
        }
        assert_eq!(n_read, 4);
    }

    #[test]
    fn a_clock_that_is_set_keeps_nothing_for_long() {
        let rest = Rest::new(at(10_000)).asked_at(at(10_010), true).once_read();
        assert!(rest.asked_at(at(10_020), true).holds());
        assert!(!rest.asked_at(at(20), true).holds(), "set back");
        assert!(!rest.asked_at(at(20_000), true).holds(), "set forward");
        let rest = rest.asked_at(at(20), true).once_read();
        assert!(!rest.holds());
        let rest = rest.asked_at(at(30), false).once_read().asked_at(at(40), true).once_read();
        assert!(rest.asked_at(at(50), true).holds());
    }
}
