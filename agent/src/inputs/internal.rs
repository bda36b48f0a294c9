//! `[[inputs.internal]]`: the agent about itself, under Telegraf's names.
//!
//! Source: the counters of `telemetry`. Telegraf's figures of the Go runtime (`internal_memstats`, `internal_gostats`, the
//! tag `go_version`) have no counterpart here. `seismograf` has the memory and CPU time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserialize;

use super::{GatherError, Gathered, Input, InputPlugin, Shared, StartError};
use crate::point::Point;
use crate::service::telemetry::{Entry, InputCounts, OutputCounts, Telemetry};

/// The section `[[inputs.internal]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// A point for each instance of a plugin, with the tag `_id`, instead of their sum.
    pub(super) per_instance: bool,
}

/// The value of the tag `version`.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The agent's own counters.
pub(super) struct Internal {
    options: Options,
    telemetry: Arc<Telemetry>,
    /// The mean times of the last gather, by series: they are kept when nothing new was measured.
    means: BTreeMap<Series, Mean>,
}

/// Measurement, plugin, alias and instance.
type Series = (&'static str, &'static str, String, String);

/// A mean since the previous gather.
#[derive(Clone, Copy, Default)]
struct Mean {
    sum: u64,
    n: u64,
    mean: u64,
}

impl Mean {
    fn update(&mut self, sum: u64, n: u64) -> u64 {
        if let Some(mean) = (sum.saturating_sub(self.sum)).checked_div(n.saturating_sub(self.n)) {
            *self = Self { sum, n, mean };
        }
        self.mean
    }
}

impl Internal {
    /// Reads the counters of `telemetry` at each gather.
    #[must_use]
    pub(super) fn new(options: Options, telemetry: &Arc<Telemetry>) -> Self {
        Self { options, telemetry: Arc::clone(telemetry), means: BTreeMap::new() }
    }

    /// Plugins by series: each of them, or those of the same name and alias together.
    fn series<'a, C>(
        &self,
        measurement: &'static str,
        entries: &'a [Arc<Entry<C>>],
    ) -> BTreeMap<Series, Vec<&'a C>> {
        let mut series: BTreeMap<Series, Vec<&C>> = BTreeMap::new();
        for entry in entries.iter().filter(|entry| entry.runs()) {
            let id = if self.options.per_instance { entry.name.clone() } else { String::new() };
            let alias = entry.alias.clone().unwrap_or_default();
            series.entry((measurement, entry.plugin, alias, id)).or_default().push(&entry.counts);
        }
        series
    }

    /// The mean time of one thing that was done since the previous gather.
    fn mean(&mut self, series: &Series, sum: i64, n: i64) -> i64 {
        let mean = self.means.entry(series.clone()).or_default();
        let count = |value: i64| u64::try_from(value).unwrap_or(0);
        i64::try_from(mean.update(count(sum), count(n))).unwrap_or(i64::MAX)
    }
}

/// A point of a plugin.
fn point(gathered: &Gathered, (measurement, plugin, alias, id): &Series, tag: &'static str) -> Point {
    let mut point = gathered.point(measurement).tag(tag, *plugin).tag("version", VERSION);
    for (key, value) in [("alias", alias), ("_id", id)] {
        if !value.is_empty() {
            point.set_tag(key, value);
        }
    }
    point
}

/// Telegraf has all of these as integers.
fn sum<'a, C: 'a>(counts: impl IntoIterator<Item = &'a C>, of: impl Fn(&C) -> &AtomicU64) -> i64 {
    let sum: u64 = counts.into_iter().map(|counts| of(counts).load(Ordering::Relaxed)).sum();
    i64::try_from(sum).unwrap_or(i64::MAX)
}

/// The outputs in which a data format can be chosen. Telegraf's other ones encode by themselves, and are not counted.
fn serializer(gathered: &Gathered, outputs: &[Arc<Entry<OutputCounts>>]) -> Option<Point> {
    let counts = outputs.iter().filter(|entry| entry.plugin == "file").map(|entry| &*entry.counts);
    let counts: Vec<&OutputCounts> = counts.collect();
    if counts.is_empty() {
        return None;
    }
    let all = |of: fn(&OutputCounts) -> &AtomicU64| sum(counts.iter().copied(), of);
    let point = gathered.point("internal_serializer").tag("type", "influx").tag("version", VERSION);
    Some(
        point
            .field("metrics_serialized", all(|c| &c.taken))
            .field("bytes_serialized", all(|c| &c.encoded_bytes))
            .field("serialization_time_ns", all(|c| &c.encode_time_ns))
            .field("errors", all(|c| &c.unencodable)),
    )
}

impl InputPlugin for Options {
    fn build(self: Box<Self>, shared: &Arc<Shared>) -> Result<Box<dyn Input>, StartError> {
        Ok(Box::new(Internal::new(*self, &shared.telemetry)))
    }
}

#[async_trait::async_trait]
impl Input for Internal {
    fn name(&self) -> &'static str {
        "internal"
    }

    async fn gather(&mut self, gathered: &mut Gathered) -> Result<(), GatherError> {
        let telemetry = Arc::clone(&self.telemetry);
        let (inputs, outputs) = (telemetry.inputs(), telemetry.outputs());
        let all_inputs = |of: fn(&InputCounts) -> &AtomicU64| sum(inputs.iter().map(|e| &*e.counts), of);
        let all_outputs = |of: fn(&OutputCounts) -> &AtomicU64| sum(outputs.iter().map(|e| &*e.counts), of);
        let (overflowed, ended) = (all_outputs(|c| &c.losses.overflowed), all_outputs(|c| &c.losses.ended));
        gathered.push(
            gathered
                .point("internal_agent")
                .tag("version", VERSION)
                .field("metrics_gathered", all_inputs(|counts| &counts.gathered))
                .field("gather_errors", all_inputs(|counts| &counts.errors))
                .field("gather_timeouts", all_inputs(|counts| &counts.losses.missed))
                .field("metrics_written", all_outputs(|counts| &counts.written))
                .field("metrics_rejected", all_outputs(|counts| &counts.losses.rejected))
                .field("metrics_dropped", overflowed + ended)
                .field("write_errors", all_outputs(|counts| &counts.failed_writes)),
        );
        for (series, counts) in self.series("internal_gather", &inputs) {
            let all = |of: fn(&InputCounts) -> &AtomicU64| sum(counts.iter().copied(), of);
            let (errors, startup_errors) = (all(|c| &c.errors), all(|c| &c.startup_errors));
            let time = self.mean(&series, all(|c| &c.gather_time_ns), all(|c| &c.gathers));
            gathered.push(
                point(gathered, &series, "input")
                    .field("metrics_gathered", all(|c| &c.gathered))
                    .field("gather_time_ns", time)
                    .field("gather_timeouts", all(|c| &c.losses.missed))
                    // Telegraf counts lines of the log here: each of these is one.
                    .field("errors", errors + startup_errors)
                    .field("gather_errors", errors)
                    .field("startup_errors", startup_errors),
            );
        }
        for (series, counts) in self.series("internal_write", &outputs) {
            let all = |of: fn(&OutputCounts) -> &AtomicU64| sum(counts.iter().copied(), of);
            let time = self.mean(&series, all(|c| &c.write_time_ns), all(|c| &c.writes));
            let write_errors = all(|c| &c.failed_writes);
            gathered.push(
                point(gathered, &series, "output")
                    .field("metrics_added", all(|c| &c.taken))
                    .field("metrics_written", all(|c| &c.written))
                    .field("metrics_rejected", all(|c| &c.losses.rejected))
                    .field("metrics_dropped", all(|c| &c.losses.overflowed))
                    .field("metrics_filtered", all(|c| &c.filtered))
                    .field("buffer_size", all(|c| &c.waiting))
                    .field("buffer_limit", all(|c| &c.limit))
                    .field("write_time_ns", time)
                    .field("errors", write_errors)
                    .field("write_errors", write_errors)
                    // An output that cannot connect yet is no error of the start.
                    .field("startup_errors", 0_i64),
            );
        }
        if let Some(point) = serializer(gathered, &outputs) {
            gathered.push(point);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::{FieldValue, Timestamp};
    use crate::schema;

    async fn gather(internal: &mut Internal) -> Vec<Point> {
        let mut gathered = Gathered::at(Timestamp(0));
        internal.gather(&mut gathered).await.unwrap();
        for point in &gathered.points {
            assert_eq!(schema::check(point), Ok(()));
        }
        gathered.points
    }

    fn int(point: &Point, field: &str) -> i64 {
        match point.field_value(field) {
            Some(FieldValue::Int(value)) => *value,
            other => panic!("{field}: {other:?}"),
        }
    }

    #[tokio::test]
    async fn sums_instances_or_tells_them_apart() {
        let telemetry = Arc::new(Telemetry::default());
        let cpus: Vec<_> = (0..2).map(|_| telemetry.input("cpu", None)).collect();
        let aliased = telemetry.input("cpu", Some("mine"));
        for (n, entry) in cpus.iter().chain([&aliased]).enumerate() {
            entry.counts.gathered.store(10 + n as u64, Ordering::Relaxed);
            entry.counts.errors.store(1, Ordering::Relaxed);
        }
        let mut internal = Internal::new(Options::default(), &telemetry);
        let points = gather(&mut internal).await;
        assert_eq!(points.len(), 3);
        assert_eq!(int(&points[0], "metrics_gathered"), 33);
        assert_eq!(points[0].tag_value("version"), Some(VERSION));
        let gathers: Vec<_> =
            points[1..].iter().map(|p| (p.tag_value("alias"), int(p, "metrics_gathered"))).collect();
        assert_eq!(gathers, [(None, 21), (Some("mine"), 12)]);
        internal.options.per_instance = true;
        let points = gather(&mut internal).await;
        let ids: Vec<_> = points[1..].iter().map(|point| point.tag_value("_id").unwrap()).collect();
        assert_eq!(ids, ["cpu", "cpu#2", "mine"]);
    }

    #[tokio::test]
    async fn times_are_means_since_the_gather_before() {
        let telemetry = Arc::new(Telemetry::default());
        let counts = &telemetry.input("mem", None).counts;
        let mut internal = Internal::new(Options::default(), &telemetry);
        let mut expect = async |time_ns: u64, gathers: u64, mean: i64| {
            counts.gather_time_ns.fetch_add(time_ns, Ordering::Relaxed);
            counts.gathers.fetch_add(gathers, Ordering::Relaxed);
            assert_eq!(int(&gather(&mut internal).await[1], "gather_time_ns"), mean);
        };
        expect(0, 0, 0).await;
        expect(300, 3, 100).await;
        expect(0, 0, 100).await;
        expect(50, 1, 50).await;
    }

    #[tokio::test]
    async fn writes_are_told_of_and_a_plugin_that_is_gone_counts_in_the_sum() {
        let telemetry = Arc::new(Telemetry::default());
        let file = telemetry.output("file", None);
        let counts = &file.counts;
        for (counter, n) in
            [(&counts.taken, 9), (&counts.written, 5), (&counts.losses.rejected, 1), (&counts.filtered, 2)]
        {
            counts.add(counter, n);
        }
        for (counter, n) in
            [(&counts.encoded_bytes, 70), (&counts.encode_time_ns, 80), (&counts.unencodable, 1)]
        {
            counts.add(counter, n);
        }
        counts.set(&counts.waiting, 3);
        counts.set(&counts.limit, 10_000);
        let mut internal = Internal::new(Options::default(), &telemetry);
        let points = gather(&mut internal).await;
        let fields =
            ["metrics_added", "metrics_written", "metrics_rejected", "metrics_filtered", "buffer_size"];
        assert_eq!(fields.map(|field| int(&points[1], field)), [9, 5, 1, 2, 3]);
        assert_eq!(points[1].tag_value("output"), Some("file"));
        let serializer = &points[2];
        assert_eq!(&*serializer.measurement, "internal_serializer");
        assert_eq!(serializer.tags.len(), 2);
        assert_eq!(
            (serializer.tag_value("type"), int(serializer, "metrics_serialized")),
            (Some("influx"), 9)
        );
        let fields = ["bytes_serialized", "serialization_time_ns", "errors"];
        assert_eq!(fields.map(|field| int(serializer, field)), [70, 80, 1]);
        file.ended();
        let points = gather(&mut internal).await;
        assert_eq!((points.len(), int(&points[0], "metrics_written")), (2, 5));
    }
}
