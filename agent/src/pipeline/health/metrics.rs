//! The measurement `seismograf` in Prometheus' text format. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::point::{FieldValue, Name, Point};
use crate::schema::{self, Exposed};

/// The content type.
pub(super) const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A metric, with the lines of its samples.
struct Family {
    exposed: Exposed,
    samples: Vec<String>,
}

/// The page of some points of `seismograf`. What is of another measurement is left out.
pub(super) fn text(points: &[Point]) -> String {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for point in points.iter().filter(|point| point.measurement == schema::SELF) {
        let part = point.tag_value("part").unwrap_or_default();
        let tags = labels(point);
        for (field, value) in &point.fields {
            let Some(exposed) = schema::exposed(part, field) else { continue };
            let Some(value) = number(value) else { continue };
            let mut labels = tags.clone();
            if let Some(reason) = exposed.reason {
                labels.push(format!("stage=\"{part}\""));
                labels.push(format!("reason=\"{reason}\""));
            }
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let sample = format!("{}{labels} {}", exposed.name, value / exposed.divisor);
            let family = families.entry(exposed.name.clone());
            family.or_insert_with(|| Family { exposed, samples: Vec::new() }).samples.push(sample);
        }
    }
    let version = format!("seismograf_build_info{{version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION"));
    let mut page = format!(
        "# HELP seismograf_build_info The version that runs.\n# TYPE seismograf_build_info gauge\n{version}"
    );
    for (name, Family { exposed, samples }) in families {
        let kind = if exposed.is_total { "counter" } else { "gauge" };
        let help = exposed.help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a string cannot fail.
        let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for sample in samples {
            page.push_str(&sample);
            page.push('\n');
        }
    }
    page
}

/// The tags, but for the part, which is in the name.
fn labels(point: &Point) -> Vec<String> {
    let tags = point.tags.iter().filter(|(key, _)| key != "part");
    let label = |(key, value): &(Name, Name)| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("{key}=\"{value}\"")
    };
    tags.map(label).collect()
}

#[expect(clippy::cast_precision_loss, reason = "every number of Prometheus is a float")]
fn number(value: &FieldValue) -> Option<f64> {
    match value {
        FieldValue::Int(value) => Some(*value as f64),
        FieldValue::UInt(value) => Some(*value as f64),
        FieldValue::Float(value) => Some(*value),
        FieldValue::Text(_) | FieldValue::Bool(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parsers::exposition::{Format, parse};
    use crate::point::Timestamp;
    use crate::service::telemetry::Telemetry;

    #[test]
    fn whatever_the_agent_says_of_itself_is_a_page_that_parses() {
        let telemetry = Telemetry::default();
        let output = telemetry.output("influxdb", Some("a\"b\\c"));
        output.counts.add(&output.counts.written, 5);
        let _second = telemetry.output("file", None);
        let _socket = telemetry.listener("socket_listener", "udp://[::]:8094");
        let mut points = telemetry.points(Timestamp(0));
        points.push(Point::new("mem", Timestamp(0)).field("total", 1_u64));
        let ring = Point::new("seismograf", Timestamp(0)).tag("part", "ring").tag("host", "h");
        points.push(ring.field("undecodable", 3_i64));
        let page = text(&points);
        let n_fields: usize = points.iter().map(|point| point.fields.len()).sum();
        let samples: Vec<_> = parse(&page, Format::Text).collect::<Result<_, _>>().expect(&page);
        // One for the version, in place of the one that is no field of `seismograf`.
        assert_eq!(samples.len(), n_fields, "{page}");
        let line = "seismograf_output_written_total{output=\"a\\\"b\\\\c\"} 5";
        assert!(page.contains(line), "{page}");
        assert_eq!(page.matches("# TYPE seismograf_output_written_total counter\n").count(), 1);
        assert!(page.contains("seismograf_ring_undecodable_total{host=\"h\"} 3\n"), "{page}");
        let line = "seismograf_points_dropped_total{output=\"file\",stage=\"output\",reason=\"refused\"} 0\n";
        assert!(page.contains(line), "{page}");
    }
}
