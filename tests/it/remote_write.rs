//! `[[outputs.http]]` with Prometheus' remote write, against a real Prometheus and a real VictoriaMetrics: what was written is
//! read back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libtest_mimic::Trial;
use seismograf::outputs::http::{Http, Options};
use seismograf::point::{Point, Timestamp};
use seismograf_tests::odd;
use seismograf_tests::remote_write::Receiver;
use seismograf_tests::running::Running;
use seismograf_tests::suite::Outcome;
use seismograf_tests::victoria::{Series, Victoria};
use seismograf_tests::{trial, wait_for};

use crate::outputs::{value, write};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("remote_write::prometheus_gives_every_point_back", prometheus_gives_back),
        trial("remote_write::victoria_metrics_gives_every_point_back", victoria_metrics_gives_back),
        trial("remote_write::of_a_batch_only_what_prometheus_refuses_is_lost", refused_samples),
        trial("remote_write::the_agent_writes_what_it_gathers", agent_writes),
    ]
}

/// Points of each measurement.
const N: i64 = 2_100;
/// Values of their tag.
const N_TAGS: i64 = 30;

fn output(url: &str) -> Http {
    let data_format = "prometheusremotewrite".into();
    Http::new(Options { url: url.into(), data_format, ..Options::default() }).unwrap()
}

/// A quarter of an hour ago, in milliseconds.
fn earlier_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap() - 15 * 60 * 1_000
}

/// Samples by their series' name and labels.
type Samples = BTreeMap<BTreeMap<String, String>, BTreeMap<i64, f64>>;

/// Points of two measurements with values of every kind, some of them not in the order of their times, and what is to come back.
fn points() -> (Vec<Point>, Samples) {
    let (mut random, start) = (fastrand::Rng::with_seed(7), earlier_ms());
    let (mut points, mut expected) = (Vec::new(), Samples::new());
    let tags: Vec<String> = (0..N_TAGS).map(|n| format!("{n}{}", odd::text(&mut random))).collect();
    for (i, measurement) in (0..N).flat_map(|i| [(i, "rw.a"), (i, "rw_b")]) {
        let (time, tag) = (start + i * 100, &tags[(i % N_TAGS) as usize]);
        let (int, uint) = (random.i64(-1 << 50..1 << 50), random.u64(..1 << 50));
        let (fraction, is_set) = (random.f64() * 1e9 - 5e8, random.bool());
        let point = Point::new(measurement, Timestamp(time * 1_000_000)).tag("the.tag", tag).tag("host", "h");
        let point = point.field("i", int).field("u", uint).field("f", fraction).field("b", is_set);
        points.push(point.field("text", "left out"));
        let values =
            [("i", int as f64), ("u", uint as f64), ("f", fraction), ("b", f64::from(u8::from(is_set)))];
        for (field, value) in values {
            let name = format!("{}_{field}", measurement.replace('.', "_"));
            let labels = [("__name__", name), ("the_tag", odd::sanitized(tag)), ("host", "h".into())];
            let labels = labels.map(|(key, value)| (key.to_owned(), value));
            expected.entry(labels.into()).or_default().insert(time, value);
        }
    }
    // Within a batch they come in any order.
    for batch in points.chunks_mut(1_000) {
        random.shuffle(batch);
    }
    (points, expected)
}

fn is_same(who: &str, read: Vec<Series>, expected: &Samples) {
    let read: Samples = read.into_iter().collect();
    let n = |samples: &Samples| samples.values().map(BTreeMap::len).sum::<usize>();
    println!(
        "remote_write: {} of {} samples in {} series read back from {who}",
        n(&read),
        n(expected),
        read.len()
    );
    assert_eq!((n(&read), read.len()), (n(expected), expected.len()));
    assert!(read == *expected, "another value or label than was written");
}

fn all_are_written(url: &str, points: Vec<Point>) {
    let n = points.len() as u64;
    let (left, counts) = write(output(url), points);
    assert_eq!((left, value(&counts.written), value(&counts.losses.rejected)), (0, n, 0));
}

fn prometheus_gives_back() -> Outcome {
    let server = Receiver::start()?;
    let (points, expected) = points();
    all_are_written(&server.url(), points);
    is_same("Prometheus", server.series("rw_[ab]_."), &expected);
    Ok(())
}

/// It keeps 15 digits or so of a fraction.
fn victoria_metrics_gives_back() -> Outcome {
    let server = Victoria::start()?;
    let (mut points, mut expected) = points();
    let rounded = |value: f64| (value * 1e3).round() / 1e3;
    for point in &mut points {
        for (_, value) in &mut point.fields {
            if let seismograf::point::FieldValue::Float(value) = value {
                *value = rounded(*value);
            }
        }
    }
    for (labels, samples) in &mut expected {
        if labels["__name__"].ends_with("_f") {
            samples.values_mut().for_each(|value| *value = rounded(*value));
        }
    }
    all_are_written(&format!("{}/api/v1/write", server.url()), points);
    is_same("VictoriaMetrics", server.series("rw_[ab]_."), &expected);
    Ok(())
}

/// Prometheus takes no sample that is older than the latest of its series, and refuses all of the request with it.
fn refused_samples() -> Outcome {
    let server = Receiver::start()?;
    let start = earlier_ms();
    let point = |series: i64, time: i64| {
        let point = Point::new("rw", Timestamp((start + time) * 1_000_000));
        point.tag("series", format!("s{series}")).field("f", time)
    };
    all_are_written(&server.url(), vec![point(1, 60_000), point(2, 60_000)]);
    let (left, counts) = write(output(&server.url()), (0..100).map(|i| point(i, 1_000)).collect());
    println!(
        "remote_write: of 100 points, 2 of them older than what there is, {} are stored and {} refused",
        value(&counts.written),
        value(&counts.losses.rejected)
    );
    assert_eq!((left, value(&counts.written), value(&counts.losses.rejected)), (0, 98, 2));
    assert_eq!(server.series("rw_f").len(), 100);
    Ok(())
}

/// What the agent writes beside it into a file is what Prometheus has, also of the time when it was away.
fn agent_writes() -> Outcome {
    let server = Receiver::start()?;
    let config = format!(
        "[agent]\n interval = \"500ms\"\n flush_interval = \"1s\"\n hostname = \"h\"\n\
         [[inputs.mem]]\n[[inputs.kernel]]\n\
         [[outputs.file]]\n files = [\"{{points}}\"]\n\
         [[outputs.http]]\n url = \"{}\"\n data_format = \"prometheusremotewrite\"\n",
        server.url()
    );
    let agent = Running::start(&config)?;
    let times = |series: Vec<Series>| -> BTreeSet<i64> {
        series.into_iter().flat_map(|(_, samples)| samples.into_keys()).collect()
    };
    let written = |measurement: &str, field: &str| -> BTreeSet<i64> {
        agent.times(measurement, field).into_iter().map(|time| time / 1_000_000).collect()
    };
    wait_for(|| written("mem", "free").len() >= 8, Duration::from_secs(60), "points in the file");
    let (mem, kernel) = (written("mem", "free"), written("kernel", "interrupts"));
    let is_there = || {
        let missing = |of: &BTreeSet<i64>, name: &str| of.is_subset(&times(server.series(name)));
        missing(&mem, "mem_free") && missing(&kernel, "kernel_interrupts")
    };
    wait_for(is_there, Duration::from_secs(60), "every point in Prometheus");
    println!("remote_write: {} gathers of the agent are in Prometheus", mem.len());
    Ok(())
}
