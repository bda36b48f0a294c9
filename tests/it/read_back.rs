//! Odd points, to each store that takes InfluxDB's lines, and back: equal, and none that nobody wrote.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libtest_mimic::Trial;
use seismograf::options::common::OutputCommon;
use seismograf::outputs::Output;
use seismograf::point::{FieldValue, Point, Timestamp};
use seismograf_tests::influxd::{Influxd, Setup};
use seismograf_tests::influxd2::{BUCKET, Influxd2, ORGANIZATION, TOKEN};
use seismograf_tests::odd::{self, sanitized, sanitized_tags};
use seismograf_tests::suite::Outcome;
use seismograf_tests::victoria::{Series, Victoria, VictoriaCluster};
use seismograf_tests::{extra, trial, wait_for};
use serde_json::Value;

use crate::outputs::{v1, v2, value, write_with};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("read_back::influxdb_1_gives_each_point", influxdb_1),
        extra("read_back::influxdb_2_gives_each_point", influxdb_2),
        trial("read_back::victoria_metrics_gives_each_number_of_both_apis", victoria_metrics),
        extra("read_back::a_cluster_of_victoria_metrics_gives_each_number_of_both_apis", victoria_cluster),
    ]
}

const N: usize = 4_000;
const LIMIT: Duration = Duration::from_secs(30);

/// Another one at each run.
fn seed(who: &str) -> u64 {
    let seed = u64::from(std::process::id());
    println!("read_back: {who}: seed {seed}");
    seed
}

/// All of them are taken.
fn write(common: OutputCommon, output: impl Output + 'static, points: Vec<Point>) {
    let n = points.len() as u64;
    let common = OutputCommon { metric_batch_size: 5_000, ..common };
    let (left, counts) = write_with(common, output, points);
    assert_eq!((left, value(&counts.written), value(&counts.losses.rejected)), (0, n, 0));
}

/// Points at each nanosecond.
fn points_of_influxdb(seed: u64) -> Vec<Point> {
    odd::points(seed, N, |i| Timestamp(1_700_000_000_000_000_000 + i))
}

fn influxdb_1() -> Outcome {
    /// The server itself allows no slash and no backslash in it.
    const DATABASE: &str = "a \"b\" ü";
    let server = Influxd::start(Setup::default())?;
    let points = points_of_influxdb(seed("InfluxDB 1"));
    let output = v1(&server.url(), |options| options.database = DATABASE.into());
    write(OutputCommon::default(), output, points.clone());
    each_is_read_back("InfluxDB 1", points, |query| server.series(DATABASE, query));
    Ok(())
}

fn influxdb_2() -> Outcome {
    let server = Influxd2::start(0)?;
    let points = points_of_influxdb(seed("InfluxDB 2"));
    let output = v2(&server.url(), |options| {
        options.token = TOKEN.into();
        options.organization = ORGANIZATION.into();
        options.bucket = BUCKET.into();
    });
    write(OutputCommon::default(), output, points.clone());
    each_is_read_back("InfluxDB 2", points, |query| server.series(query));
    Ok(())
}

/// Reads all that is there by InfluxQL.
fn each_is_read_back(who: &str, points: Vec<Point>, series: impl Fn(&str) -> Vec<Value>) {
    let expected: BTreeMap<i64, Point> = points.into_iter().map(|point| (point.time.0, point)).collect();
    let (mut seen, mut names) = (0, 0);
    for measurement in series("SHOW MEASUREMENTS")[0]["values"].as_array().unwrap() {
        names += 1;
        let name = measurement[0].as_str().unwrap();
        let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
        let keys = |what: &str| -> Vec<String> {
            let rows = series(&format!("SHOW {what} KEYS FROM \"{quoted}\""));
            let rows = rows.first().and_then(|row| row["values"].as_array().cloned()).unwrap_or_default();
            rows.iter().map(|row| row[0].as_str().unwrap().to_owned()).collect()
        };
        let (tags, fields) = (keys("TAG"), keys("FIELD"));
        let rows = series(&format!("SELECT * FROM \"{quoted}\""));
        let columns: Vec<&str> =
            rows[0]["columns"].as_array().unwrap().iter().map(|column| column.as_str().unwrap()).collect();
        for row in rows[0]["values"].as_array().unwrap() {
            let point = &expected[&row[0].as_i64().unwrap()];
            assert_eq!(sanitized(&point.measurement), name);
            let value = |key: &str| columns.iter().position(|c| *c == key).map(|i| row[i].clone());
            let read: BTreeMap<String, Value> = tags
                .iter()
                .chain(&fields)
                .filter_map(|key| Some((key.clone(), value(key).filter(|value| !value.is_null())?)))
                // The server prints a fraction without one, where it has none, as a whole number.
                .map(
                    |(key, value)| if key == "f" { (key, Value::from(value.as_f64())) } else { (key, value) },
                )
                .collect();
            let tags = sanitized_tags(point).into_iter().map(|(key, value)| (key, Value::from(value)));
            let fields = point.fields.iter().map(|(key, value)| (sanitized(key), json(value)));
            assert_eq!(read, tags.chain(fields).collect(), "{point:?}");
            seen += 1;
        }
    }
    println!("read_back: {who}: {seen} of {N} points are equal, in {names} measurements");
    assert_eq!((seen, names), (N, odd::N_MEASUREMENTS), "points or series that nobody wrote");
}

fn json(value: &FieldValue) -> Value {
    match value {
        FieldValue::Int(value) => Value::from(*value),
        FieldValue::UInt(value) => Value::from(*value),
        FieldValue::Float(value) => Value::from(*value),
        FieldValue::Bool(value) => Value::from(*value),
        FieldValue::Text(value) => Value::from(value.as_str()),
    }
}

fn victoria_metrics() -> Outcome {
    let server = Victoria::start()?;
    each_number_is_read_back("VictoriaMetrics", &server.url(), |name| server.series(name));
    Ok(())
}

/// The series are spread over both of those that store.
fn victoria_cluster() -> Outcome {
    let server = VictoriaCluster::start()?;
    each_number_is_read_back("a cluster of VictoriaMetrics", &server.url(), |name| server.series(name));
    let stored = server.stored();
    println!("read_back: a cluster of VictoriaMetrics: {stored:?} values in its parts");
    assert!(stored.iter().all(|n| *n > N as u64), "{stored:?}");
    Ok(())
}

/// A series' name and labels.
type Labels = BTreeMap<String, String>;

/// The points of one API, then those of the other.
fn each_number_is_read_back(who: &str, url: &str, series: impl Fn(&str) -> Vec<Series>) {
    let seed = seed(who);
    let numbers = || OutputCommon { has_string_fields: false, ..OutputCommon::default() };
    let (of_v1, of_v2) = (points_of_victoria(seed, 0), points_of_victoria(seed + 1, N as i64));
    let mut expected: BTreeMap<Labels, BTreeMap<i64, f64>> = BTreeMap::new();
    for (labels, time, value) in of_v1.iter().chain(&of_v2).flat_map(samples) {
        expected.entry(labels).or_default().insert(time, value);
    }
    write(numbers(), v1(url, |options| options.skip_database_creation = true), of_v1);
    write(numbers(), v2(url, |_| ()), of_v2);
    let read = || {
        let mut read: BTreeMap<Labels, BTreeMap<i64, f64>> = BTreeMap::new();
        for (mut labels, values) in series("m.*") {
            // Which it adds, of the request's database.
            labels.remove("db");
            read.entry(labels).or_default().extend(values);
        }
        read
    };
    let n = |series: &BTreeMap<Labels, BTreeMap<i64, f64>>| series.values().map(BTreeMap::len).sum::<usize>();
    assert_eq!(n(&expected), 2 * N * 3);
    // A cluster says that it has taken them before they are where they are stored.
    wait_for(|| n(&read()) >= n(&expected), LIMIT, "all values");
    let read = read();
    println!("read_back: {who}: {} values of {} points, in {} series", n(&read), 2 * N, read.len());
    for (labels, values) in &expected {
        assert!(read.get(labels) == Some(values), "{labels:?}: other values than were written");
    }
    assert_eq!(read.len(), expected.len(), "series that nobody wrote");
}

/// Points of the last half minute, at each millisecond. Of a number it keeps 15 digits or so, in one order of magnitude for many
/// values.
fn points_of_victoria(seed: u64, first: i64) -> Vec<Point> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let start = i64::try_from(now.as_millis()).unwrap() - 30_000 + first;
    let mut points = odd::points(seed, N, |i| Timestamp((start + i) * 1_000_000));
    for (_, value) in points.iter_mut().flat_map(|point| &mut point.fields) {
        match value {
            FieldValue::Int(value) => *value >>= 10,
            FieldValue::Float(value) => *value = ((value.to_bits() % 1_000_000_000) as f64 - 5e8) / 1e3,
            _ => {}
        }
    }
    points
}

/// The numbers of a point, with the names and labels that VictoriaMetrics gives them: it takes two backslashes for one.
fn samples(point: &Point) -> Vec<(Labels, i64, f64)> {
    let unescaped = |text: String| text.replace("\\\\", "\\");
    let mut labels: Labels =
        sanitized_tags(point).into_iter().map(|(key, value)| (unescaped(key), unescaped(value))).collect();
    let mut samples = Vec::new();
    for (key, value) in &point.fields {
        let value = match value {
            FieldValue::Int(value) => *value as f64,
            FieldValue::UInt(value) => *value as f64,
            FieldValue::Float(value) => *value,
            FieldValue::Bool(value) => f64::from(u8::from(*value)),
            FieldValue::Text(_) => continue,
        };
        labels.insert("__name__".into(), format!("{}_{key}", sanitized(&point.measurement)));
        samples.push((labels.clone(), point.time.0 / 1_000_000, value));
    }
    samples
}
