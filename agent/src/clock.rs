//! When the next gather or flush is due; pure: the time is passed in.
//!
//! A schedule follows the wall clock where gathers are rounded to whole intervals, so that the points of a fleet share
//! their times. It is evaluated again after each gather, so setting the clock never causes a second gather or a
//! long wait.

use std::time::Duration;

use crate::point::Timestamp;

/// How long until the next gather, at `now`.
///
/// With `round`, it is the next whole multiple of the interval since the Unix epoch, shifted by `offset`; without, one
/// interval from now. Never zero and never more than an interval, even right after a gather that came a little early.
#[must_use]
pub(crate) fn until_next(now: Timestamp, interval: Duration, round: bool, offset: Duration) -> Duration {
    let length = i64::try_from(interval.as_nanos()).unwrap_or(i64::MAX).max(1);
    if !round {
        return interval;
    }
    let offset = i64::try_from(offset.as_nanos()).unwrap_or(i64::MAX);
    let since = now.0.wrapping_sub(offset).rem_euclid(length);
    Duration::from_nanos((length - since).unsigned_abs())
}

/// A random part of `jitter`.
#[must_use]
pub(crate) fn jittered(jitter: Duration) -> Duration {
    jitter.mul_f64(fastrand::f64())
}

/// How long to wait before another try after `failures` in a row (from 1).
///
/// Doubles from `first` up to `max`; half of it is random, so that a fleet does not return to a server all at once.
#[must_use]
pub(crate) fn backoff(failures: u32, first: Duration, max: Duration) -> Duration {
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(max);
    doubled / 2 + jittered(doubled / 2)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[rstest]
    #[case::on_the_mark(20 * SECOND, 10, 0, 10_000)]
    #[case::just_before(20 * SECOND - 1_000_000, 10, 0, 1)]
    #[case::between(23 * SECOND, 10, 0, 7_000)]
    #[case::offset(23 * SECOND, 10, 5, 2_000)]
    #[case::offset_passed(26 * SECOND, 10, 5, 9_000)]
    #[case::before_the_epoch(-3 * SECOND, 10, 0, 3_000)]
    fn rounds_to_whole_intervals(
        #[case] now: i64,
        #[case] interval: u64,
        #[case] offset: u64,
        #[case] expected_ms: u64,
    ) {
        let (interval, offset) = (Duration::from_secs(interval), Duration::from_secs(offset));
        assert_eq!(until_next(Timestamp(now), interval, true, offset), Duration::from_millis(expected_ms));
    }

    #[test]
    fn without_rounding_it_is_one_interval() {
        let interval = Duration::from_secs(7);
        assert_eq!(until_next(Timestamp(5), interval, false, Duration::ZERO), interval);
    }

    #[test]
    fn backs_off_up_to_a_limit_and_never_to_nothing() {
        let (first, max) = (Duration::from_secs(1), Duration::from_secs(30));
        for failures in 1..100 {
            let full = first.saturating_mul(1 << (failures - 1).min(16)).min(max);
            let wait = backoff(failures, first, max);
            assert!(wait >= full / 2 && wait <= full, "{failures}: {wait:?}");
        }
    }
}
