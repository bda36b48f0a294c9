//! What the schema describes, under names that keep to Prometheus' conventions: base units, which end the name, and `_total` where it
//! counts. Pure.
//!
//! Source: <https://prometheus.io/docs/practices/naming/>; `promtool check metrics` says what does not keep to them.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::samples::{Naming, Number, Sample, number};
use crate::point::{FieldValue, Name, Point};
use crate::schema::{self, Field, MEASUREMENTS, ValueType, exposed, value_type};

/// The value of the option.
pub(super) const NAME: &str = "prometheus";

/// Units of fields: as the schema writes them, as a metric has them, and what a value is multiplied by.
const UNITS: &[(&str, &str, f64)] = &[
    ("s", "seconds", 1.0),
    ("ms", "seconds", 1e-3),
    ("us", "seconds", 1e-6),
    ("ns", "seconds", 1e-9),
    ("byte", "bytes", 1.0),
    ("%", "ratio", 1e-2),
    ("1e-9 core", "cores", 1e-9),
    ("Mbit/s", "bytes", 1e6 / 8.0),
];

/// Words of fields that say a unit.
const UNIT_WORDS: &[&str] = &[
    "s",
    "ms",
    "us",
    "ns",
    "nanoseconds",
    "millisecs",
    "seconds",
    "bytes",
    "percent",
    "percentage",
    "nanocores",
    "cores",
];

/// A metric that a field is.
#[derive(Debug, PartialEq)]
struct Conventional {
    name: String,
    scale: f64,
}

/// The metric of a field of a measurement.
fn conventional(measurement: &str, field: &Field, value_type: ValueType) -> Conventional {
    let unit = UNITS.iter().find(|(unit, ..)| *unit == field.unit);
    let mut words: Vec<&str> = field.name.split(['_', '.', '-']).collect();
    if unit.is_some() {
        words.retain(|word| !UNIT_WORDS.contains(word));
    }
    let is_counter = value_type == ValueType::Counter;
    // The ending says that it counts; what is the sum of several has its unit, or nothing.
    if words.last() == Some(&"total") && (is_counter || unit.is_none()) {
        words.pop();
    }
    let mut name = measurement.to_owned();
    let endings = [unit.map(|(_, word, _)| *word), is_counter.then_some("total")];
    for word in words.into_iter().chain(endings.into_iter().flatten()) {
        // Writing to a string cannot fail.
        let _ = write!(name, "_{word}");
    }
    Conventional { name, scale: unit.map_or(1.0, |(_, _, scale)| *scale) }
}

/// The samples of a point. What is not described here is named as by Telegraf.
pub(super) fn samples<'a>(naming: &Naming, point: &'a Point) -> Vec<Sample<'a>> {
    if point.measurement == schema::SELF {
        return of_self(naming, point);
    }
    let Some(measurement) = MEASUREMENTS.iter().find(|known| known.name == point.measurement) else {
        return naming.samples(point);
    };
    let (key, labels) = naming.labels_of_fields(point);
    let sample = |(field, value): &'a (Name, FieldValue)| {
        let described = measurement.fields.iter().find(|known| known.name == field)?;
        let value_type = value_type(measurement.name, field);
        let Conventional { name, scale } = conventional(measurement.name, described, value_type);
        Some(Sample {
            name: name.into(),
            value_type,
            help: described.help.into(),
            key: key.clone(),
            labels: labels.clone(),
            number: Number::Value(truth(value)? * scale),
            time: point.time,
        })
    };
    point.fields.iter().filter_map(sample).collect()
}

/// What the agent says of itself has such names already, on a page of its own.
fn of_self<'a>(naming: &Naming, point: &'a Point) -> Vec<Sample<'a>> {
    let part = point.tag_value("part").unwrap_or_default();
    let mut tags = point.clone();
    tags.tags.retain(|(key, _)| key != "part");
    let sample = |(field, value): &(Name, FieldValue)| {
        let exposed = exposed(part, field)?;
        let mut tags = Cow::Borrowed(&tags);
        if let Some(reason) = exposed.reason {
            let tags = tags.to_mut();
            tags.set_tag("stage", Name::new(part));
            tags.set_tag("reason", reason);
        }
        let (key, labels) = naming.labels_of_fields(&tags);
        let value_type = if exposed.is_total { ValueType::Counter } else { ValueType::Gauge };
        let number = Number::Value(truth(value)? / exposed.divisor);
        Some(Sample {
            name: exposed.name.into(),
            value_type,
            help: exposed.help.into(),
            key,
            labels,
            number,
            time: point.time,
        })
    };
    point.fields.iter().filter_map(sample).collect()
}

/// A number, or whether something is so.
fn truth(value: &FieldValue) -> Option<f64> {
    match value {
        FieldValue::Bool(value) => Some(f64::from(*value)),
        value => number(value),
    }
}

/// The section of `docs/prometheus.md`.
pub(super) fn markdown(page: &mut String) {
    // Writing to a string cannot fail.
    let _ = writeln!(
        page,
        "\n## `profile = \"{NAME}\"`\n\nThe names of no other program, but those that Prometheus' conventions ask for: base units, \
         which end the name, and `_total` where it counts; `promtool check metrics` finds nothing to say of them. Labels are the tags, \
         with `host` and the global ones. What is not described in [metrics.md](metrics.md), such as what others send, is named as by \
         Telegraf, and the measurement `seismograf` as at `health_address`.\n\n| metric | type | made of |\n|---|---|---|"
    );
    for measurement in MEASUREMENTS {
        let is_number = |field: &&Field| field.kind != schema::Kind::Text && !field.name.starts_with('<');
        let is_open = measurement.name.starts_with('<') || measurement.name == schema::SELF;
        for field in measurement.fields.iter().filter(is_number).filter(|_| !is_open) {
            let value_type = value_type(measurement.name, field.name);
            let kind = match value_type {
                ValueType::Counter => "counter",
                ValueType::Gauge => "gauge",
                ValueType::Untyped => "untyped",
            };
            let name = conventional(measurement.name, field, value_type).name;
            let _ = writeln!(page, "| `{name}` | {kind} | `{}`: `{}` |", measurement.name, field.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::point::Timestamp;
    use crate::service::telemetry::Telemetry;

    fn shown(point: &Point) -> Vec<String> {
        let shown = |sample: &Sample<'_>| match sample.number {
            Number::Value(value) => {
                format!("{}{{{}}} {value} {:?}", sample.name, sample.labels, sample.value_type)
            }
            other => panic!("{other:?}"),
        };
        samples(&Naming::default(), point).iter().map(shown).collect()
    }

    fn point(measurement: &'static str) -> Point {
        Point::new(measurement, Timestamp(0)).tag("host", "h")
    }

    #[test]
    fn units_are_base_units_and_end_the_name() {
        let fields = point("cgroup_cpu")
            .field("usage_ns", 1_500_000_000_i64)
            .field("context_switches", 7_i64)
            .field("usage_percent", 50.0)
            .field("runqueue_wait_p99_us", 2.0);
        let expected = [
            "cgroup_cpu_usage_seconds_total{host=\"h\"} 1.5 Counter",
            "cgroup_cpu_context_switches_total{host=\"h\"} 7 Counter",
            "cgroup_cpu_usage_ratio{host=\"h\"} 0.5 Gauge",
            "cgroup_cpu_runqueue_wait_p99_seconds{host=\"h\"} 0.000002 Gauge",
        ];
        assert_eq!(shown(&fields), expected);
        for (measurement, field, expected) in [
            ("net", "bytes_recv", "net_recv_bytes_total{host=\"h\"} 1 Counter"),
            ("mem", "total", "mem_total_bytes{host=\"h\"} 1 Gauge"),
            ("mem", "huge_pages_total", "mem_huge_pages{host=\"h\"} 1 Gauge"),
            ("processes", "total", "processes{host=\"h\"} 1 Gauge"),
            ("disk", "inodes_total", "disk_inodes{host=\"h\"} 1 Gauge"),
            ("system", "load1", "system_load1{host=\"h\"} 1 Gauge"),
            (
                "docker_container_cpu",
                "usage_total",
                "docker_container_cpu_usage_seconds_total{host=\"h\"} 0.000000001 Counter",
            ),
        ] {
            assert_eq!(shown(&point(measurement).field(field, 1_i64)), [expected]);
        }
        assert_eq!(shown(&point("foreign").field("x", 1_i64)), ["foreign_x{host=\"h\"} 1 Untyped"]);
        assert_eq!(shown(&point("docker_container_status").field("oomkilled", true)).len(), 1);
    }

    #[test]
    fn the_agent_about_itself_is_named_as_on_its_own_page() {
        let telemetry = Telemetry::default();
        let output = telemetry.output("influxdb", None);
        output.counts.add(&output.counts.written, 5);
        let points = telemetry.points(Timestamp(0));
        let all: Vec<String> = points.iter().flat_map(shown).collect();
        let written = "seismograf_output_written_total{output=\"influxdb\"} 5 Counter".to_owned();
        assert!(all.contains(&written), "{all:?}");
        let lost = "seismograf_points_dropped_total{output=\"influxdb\",reason=\"expired\",stage=\"output\"} 0 Counter";
        assert!(all.iter().any(|line| line == lost), "{all:?}");
    }

    /// A name means one thing.
    #[test]
    fn no_two_fields_have_one_name() {
        let mut names = BTreeMap::new();
        for measurement in MEASUREMENTS.iter().filter(|known| !known.name.starts_with('<')) {
            for field in measurement.fields {
                let value_type = value_type(measurement.name, field.name);
                let name = conventional(measurement.name, field, value_type).name;
                let is_total = name.ends_with("_total");
                assert_eq!(is_total, value_type == ValueType::Counter, "{name}");
                assert!(!["_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end)), "{name}");
                let other = names.insert(name.clone(), (measurement.name, field.name));
                assert_eq!(other, None, "{name}");
            }
        }
        assert!(names.len() > 400, "{}", names.len());
    }
}
