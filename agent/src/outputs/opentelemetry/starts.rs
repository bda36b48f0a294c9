//! When each sum was 0, as OpenTelemetry asks: from where it counts, and anew when it has decreased.
//!
//! Source: <https://opentelemetry.io/docs/specs/otel/metrics/data-model/#resets-and-gaps>. Times are nanoseconds since 1970.

use std::collections::HashMap;

use crate::schema::Since;
use crate::serializers::opentelemetry::StartTimes;
use crate::service::origin::Origin;

/// Series whose values are remembered. Of one beyond them a decrease is not seen, as none is of the first point of a run.
const MAX_SERIES: usize = 1 << 16;
/// What they take: each with its place in a table that is half full at least.
pub(super) const MAX_BYTES: u64 = 2 * (MAX_SERIES * (size_of::<(u64, Seen)>() + 1)) as u64;

/// Where totals count from, in this run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origins {
    pub(super) process: Origin,
    pub(super) kept: Origin,
}

/// The sums that were told of.
#[derive(Debug, Default)]
pub(super) struct Starts {
    series: HashMap<u64, Seen>,
}

/// The latest point of a series.
#[derive(Clone, Copy, Debug)]
struct Seen {
    time: i64,
    value: f64,
    start: i64,
    /// The start before that.
    before: i64,
}

impl Starts {
    /// What is known, with where totals count from now.
    pub(super) fn with(&mut self, origins: Origins) -> StartsNow<'_> {
        StartsNow { starts: self, origins }
    }
}

/// See [`Starts::with`].
pub(super) struct StartsNow<'a> {
    starts: &'a mut Starts,
    origins: Origins,
}

impl StartTimes for StartsNow<'_> {
    fn start(&mut self, series: u64, since: Since, time: i64, value: f64) -> u64 {
        let Origins { process, kept } = self.origins;
        let origin = match since {
            Since::Boot => process.boot,
            Since::KeptFromBoot => kept.boot,
            Since::Kept => kept.start,
            Since::Process => process.start,
            // The first point says so by a start at its own time.
            Since::Unknown => time,
        };
        let start = match self.starts.series.get_mut(&series) {
            Some(seen) => seen.start_at(time, value),
            // An earlier run left it behind: nobody knows when that began to count.
            None if origin > time => 0,
            None => {
                if self.starts.series.len() >= MAX_SERIES {
                    self.starts.series.clear();
                }
                self.starts.series.insert(series, Seen { time, value, start: origin, before: 0 });
                origin
            }
        };
        u64::try_from(start).unwrap_or(0)
    }
}

impl Seen {
    fn start_at(&mut self, time: i64, value: f64) -> i64 {
        if time <= self.start && self.start != self.time {
            // Told once more, or late.
            return if time > self.before { self.before } else { 0 };
        }
        if time > self.time {
            if value < self.value {
                // It was 0 somewhere between the two.
                (self.before, self.start) = (self.start, self.time);
            }
            (self.time, self.value) = (time, value);
        }
        if time < self.start { 0 } else { self.start }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGINS: Origins =
        Origins { process: Origin { boot: 10, start: 100 }, kept: Origin { boot: 5, start: 50 } };

    fn start(starts: &mut Starts, since: Since, time: i64, value: f64) -> u64 {
        starts.with(ORIGINS).start(1, since, time, value)
    }

    #[test]
    fn a_sum_counts_from_its_origin() {
        for (since, expected) in [
            (Since::Boot, 10),
            (Since::KeptFromBoot, 5),
            (Since::Kept, 50),
            (Since::Process, 100),
            (Since::Unknown, 200),
        ] {
            let mut starts = Starts::default();
            for (time, value) in [(200, 7.0), (210, 7.0), (220, 9.0)] {
                assert_eq!(start(&mut starts, since, time, value), expected, "{since:?} at {time}");
            }
        }
    }

    #[test]
    fn what_an_earlier_run_left_behind_has_no_start_and_the_next_point_does() {
        let mut starts = Starts::default();
        assert_eq!(start(&mut starts, Since::Process, 99, 1_000.0), 0);
        assert_eq!(start(&mut starts, Since::Process, 101, 3.0), 100);
        assert_eq!(start(&mut starts, Since::Process, 98, 900.0), 0, "late");
    }

    #[test]
    fn a_sum_that_decreased_began_anew_after_its_last_point() {
        let mut starts = Starts::default();
        assert_eq!(start(&mut starts, Since::Boot, 200, 7.0), 10);
        assert_eq!(start(&mut starts, Since::Boot, 210, 2.0), 200);
        assert_eq!(start(&mut starts, Since::Boot, 220, 2.0), 200);
        // The same again, as when a request is sent again.
        assert_eq!(start(&mut starts, Since::Boot, 200, 7.0), 10);
        assert_eq!(start(&mut starts, Since::Boot, 210, 2.0), 200);
        assert_eq!(start(&mut starts, Since::Boot, 220, 2.0), 200);
        assert_eq!(start(&mut starts, Since::Boot, 230, 1.0), 220);
    }

    #[test]
    fn so_many_series_are_remembered() {
        let mut starts = Starts::default();
        for series in 0..2 * MAX_SERIES as u64 + 1 {
            assert_eq!(starts.with(ORIGINS).start(series, Since::Boot, 200, 7.0), 10);
        }
        assert_eq!(starts.series.len(), 1);
        assert!(starts.series.capacity() * (size_of::<(u64, Seen)>() + 1) <= MAX_BYTES as usize);
    }
}
