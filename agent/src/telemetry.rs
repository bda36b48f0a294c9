//! The agent about itself: what became of the points, and what the process takes.
//!
//! Counters that the pipeline and the senders raise, read once per interval into points of the measurement `seismograf`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::point::{Point, Timestamp};

/// What became of one output's points, since the start.
#[derive(Debug, Default)]
pub struct OutputCounts {
    /// Came in.
    pub taken: AtomicU64,
    /// Are stored on the other side.
    pub written: AtomicU64,
    /// Were refused or dropped by the other side for good.
    pub refused: AtomicU64,
    /// Were pushed out of the full buffer.
    pub overflowed: AtomicU64,
    /// Wait in the buffer now.
    pub waiting: AtomicU64,
    /// Writes that did not work.
    pub failed_writes: AtomicU64,
}

impl OutputCounts {
    /// Raises a counter. All of this is one thread; atomics are how it may be shared.
    pub fn add(&self, counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    /// Sets a value.
    pub fn set(&self, value: &AtomicU64, n: u64) {
        value.store(n, Ordering::Relaxed);
    }
}

/// The counters of the whole process.
#[derive(Debug, Default)]
pub struct Telemetry {
    /// Points gathered, after the inputs' filters.
    pub gathered: AtomicU64,
    /// Gathers that gave less than they should.
    pub gather_errors: AtomicU64,
    /// Gathers that were left out because the one before took too long.
    pub missed_gathers: AtomicU64,
    outputs: Vec<(String, Arc<OutputCounts>)>,
}

impl Telemetry {
    /// Makes the counters of an output, named as in the log.
    pub fn output(&mut self, name: &str) -> Arc<OutputCounts> {
        let counts = Arc::new(OutputCounts::default());
        self.outputs.push((name.to_owned(), Arc::clone(&counts)));
        counts
    }

    /// The points about the agent at `time`.
    #[must_use]
    pub fn points(&self, time: Timestamp) -> Vec<Point> {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut agent = Point::new("seismograf", time)
            .tag("part", "agent")
            .field("gathered", value(&self.gathered))
            .field("gather_errors", value(&self.gather_errors))
            .field("missed_gathers", value(&self.missed_gathers));
        if let Some(bytes) = rss_bytes() {
            agent.set_field("rss_bytes", bytes);
        }
        agent.set_field("cpu_ns", cpu_ns());
        let mut points = vec![agent];
        points.extend(self.outputs.iter().map(|(name, counts)| {
            Point::new("seismograf", time)
                .tag("part", "output")
                .tag("output", name.clone())
                .field("taken", value(&counts.taken))
                .field("written", value(&counts.written))
                .field("dropped_refused", value(&counts.refused))
                .field("dropped_overflow", value(&counts.overflowed))
                .field("waiting", value(&counts.waiting))
                .field("failed_writes", value(&counts.failed_writes))
        }));
        points
    }
}

/// Resident memory of this process (proc(5) `PID/statm`).
fn rss_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// CPU time of this process.
fn cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::FieldValue;

    #[test]
    fn counts_each_output_by_itself() {
        let mut telemetry = Telemetry::default();
        let (a, b) = (telemetry.output("influxdb"), telemetry.output("file"));
        a.add(&a.written, 3);
        b.set(&b.waiting, 7);
        let points = telemetry.points(Timestamp(5));
        assert_eq!(points.len(), 3);
        assert_eq!(points[1].tag_value("output"), Some("influxdb"));
        assert_eq!(points[1].field_value("written"), Some(&FieldValue::UInt(3)));
        assert_eq!(points[2].field_value("waiting"), Some(&FieldValue::UInt(7)));
        for point in &points {
            assert_eq!(crate::schema::check(point), Ok(()));
        }
    }

    #[test]
    fn knows_what_the_process_takes() {
        let points = Telemetry::default().points(Timestamp(0));
        let field = |name: &str| match points[0].field_value(name) {
            Some(FieldValue::UInt(value)) => *value,
            other => panic!("{name}: {other:?}"),
        };
        assert!(field("rss_bytes") > 1 << 20);
        assert!(field("cpu_ns") > 0);
    }
}
