//! Pages of real programs become the points that Telegraf 1.40 printed for them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;

use super::super::points::{Page, Points, Version};
use crate::line_protocol::encode;
use crate::parsers::exposition::{self, Format};
use crate::parsers::line_protocol::{self, Precision};
use crate::point::{FieldValue, Point, Timestamp};

/// Pages, and whether they are OpenMetrics.
const PAGES: [(&str, Format); 10] = [
    ("etcd", Format::Text),
    ("influxd", Format::Text),
    ("kubelet", Format::Text),
    ("kubelet-cadvisor", Format::Text),
    ("node-exporter", Format::Text),
    ("prometheus", Format::Text),
    ("victoria-metrics", Format::Text),
    ("odd", Format::Text),
    ("odd2", Format::Text),
    ("openmetrics", Format::OpenMetrics),
];
/// The time of samples that have none.
const NOW: Timestamp = Timestamp(1);

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/prometheus").join(format!("{name}.gz"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

fn points(page: &str, format: Format, version: Version) -> Vec<Point> {
    let page_of = Page { format, version, time: NOW, ignores_timestamps: false, tags: &[] };
    let mut points = Points::new(page_of);
    for sample in exposition::parse(page, format) {
        points.take(&sample.unwrap());
    }
    points.finish()
}

/// Points by measurement, tags and time; those of one series are joined as a database does.
type Joined = BTreeMap<(String, BTreeMap<String, String>, i64), BTreeMap<String, FieldValue>>;

fn joined(points: Vec<Point>) -> Joined {
    let mut joined = Joined::new();
    for point in points {
        let tags = point.tags.into_iter().map(|(key, value)| (key.to_string(), value.to_string()));
        let tags = tags.filter(|(key, _)| !["host", "env", "url"].contains(&key.as_str())).collect();
        // Telegraf rounds to its precision, a second.
        let time =
            if point.time == NOW { NOW } else { point.time.rounded(std::time::Duration::from_secs(1)) };
        let series = joined.entry((point.measurement.to_string(), tags, time.0)).or_default();
        for (key, value) in point.fields {
            let value = if let FieldValue::UInt(value) = value {
                FieldValue::Int(value.cast_signed())
            } else {
                value
            };
            assert_eq!(series.insert(key.to_string(), value), None, "each field comes once");
        }
    }
    joined
}

/// What Telegraf printed; fields that are of the scrape's time in ours have it here, too.
fn telegrafs(name: &str, ours: &Joined) -> Joined {
    let text = read(name);
    let mut times = BTreeSet::new();
    let mut points: Vec<Point> =
        line_protocol::parse(&text, Precision::Nanoseconds).map(|line| line.unwrap().point(NOW)).collect();
    for point in &mut points {
        let at_now = joined(vec![Point { time: NOW, ..point.clone() }]);
        let is_ours = |(series, fields): (&_, &BTreeMap<String, _>)| {
            ours.get(series).is_some_and(|own| fields.keys().all(|key| own.contains_key(key)))
        };
        if at_now.iter().all(is_ours) {
            times.insert(point.time.0);
            point.time = NOW;
        }
    }
    let is_one_scrape =
        times.last().zip(times.first()).is_none_or(|(last, first)| last - first <= 1_000_000_000);
    assert!(is_one_scrape, "{name}: {times:?}");
    joined(points)
}

/// As an output writes them, and reads them again: what has no place in a line is left out.
fn written(points: &[Point]) -> Vec<Point> {
    let mut text = Vec::new();
    for point in points {
        encode(point, &mut text);
    }
    let text = String::from_utf8(text).unwrap();
    line_protocol::parse(&text, Precision::Nanoseconds).map(|line| line.unwrap().point(NOW)).collect()
}

#[test]
fn pages_become_what_telegraf_makes_of_them() {
    for (version, n) in [(Version::One, 1), (Version::Two, 2)] {
        let mut n_values = 0;
        for (name, format) in PAGES {
            let points = points(&read(&format!("{name}.metrics")), format, version);
            let actual = joined(written(&points));
            let expected = telegrafs(&format!("{name}-v{n}.lp"), &actual);
            for (series, fields) in &expected {
                assert_eq!(actual.get(series), Some(fields), "{name} {version:?}: {series:?}");
            }
            for series in actual.keys() {
                assert!(expected.contains_key(series), "{name} {version:?}: Telegraf has no {series:?}");
            }
            n_values += actual.values().map(BTreeMap::len).sum::<usize>();
        }
        assert!(n_values > 6_000, "{n_values}");
    }
}
