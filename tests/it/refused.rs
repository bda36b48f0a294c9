//! Lines that a real InfluxDB refuses, each version in its own words: all others are stored, and each refused one is counted.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use libtest_mimic::Trial;
use seismograf::options::common::OutputCommon;
use seismograf::outputs::sender::{Message, Sender};
use seismograf::outputs::{Output, influxdb, influxdb_v2};
use seismograf::point::{Name, Point, Timestamp};
use seismograf::service::telemetry::OutputCounts;
use seismograf_tests::influxd::{Influxd, Setup};
use seismograf_tests::influxd2::{BUCKET, Influxd2, ORGANIZATION, TOKEN};
use seismograf_tests::suite::Outcome;
use seismograf_tests::trial;

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("refused::influxdb_1_stores_all_others", influxdb_1),
        trial("refused::influxdb_2_stores_all_others", influxdb_2),
    ]
}

const DATABASE: &str = "d";
/// Points of one batch and a part of the next; few where each is a request.
const BATCHES: [(usize, usize); 4] = [(1, 60), (10, 200), (1_000, 1_500), (5_000, 6_000)];

/// What is wrong with a point.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Its field has another type than is stored already.
    Conflict,
    /// It is older than points are kept.
    Old,
    /// Its tags are longer than any series.
    Long,
    /// Its time is beyond what the server can store.
    Time,
}

/// Where the bad points are among the good ones.
#[derive(Clone, Copy, Debug)]
enum Place {
    Head,
    Middle,
    Everywhere,
    All,
}

impl Place {
    fn has(self, i: usize, n: usize) -> bool {
        // As many as the series of a measurement.
        let bad = 40.min(n / 3);
        match self {
            Self::Head => i < bad,
            Self::Middle => (n / 2..n / 2 + bad).contains(&i),
            Self::Everywhere => i.is_multiple_of(n / bad),
            Self::All => true,
        }
    }
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

/// The points of a case, in a measurement of its own, and how many of them are good.
fn points(case: &str, fault: Fault, place: Place, n: usize) -> (Vec<Point>, u64) {
    // All of them within the shard of an hour, and not beyond now.
    let start = now() - n as i64;
    let mut good = 0;
    let point = |i: usize| {
        let time = Timestamp(start + i as i64);
        if !place.has(i, n) {
            good += 1;
            return Point::new(case.to_owned(), time).tag("t", "x").field("f", i as i64);
        }
        let (name, series) = (format!("{case}_bad"), format!("s{i}"));
        match fault {
            Fault::Conflict => {
                Point::new("typed", time).tag("case", Name::new(case)).tag("s", series).field("f", i as i64)
            }
            Fault::Old => Point::new(name, Timestamp(time.0 - 3 * 3_600_000_000_000)).field("f", i as i64),
            Fault::Long => Point::new(name, time).tag("t", "x".repeat(70_000)).field("f", i as i64),
            Fault::Time => Point::new(name, Timestamp(i64::MAX)).tag("s", series).field("f", i as i64),
        }
    };
    let points = (0..n).map(point).collect();
    (points, good)
}

/// Writes through the agent's output, until the channel's end. Returns how many lines are left over.
fn write(output: Box<dyn Output>, batch: usize, points: Vec<Point>) -> (usize, Arc<OutputCounts>) {
    let _ = seismograf::service::logging::start(seismograf::service::logging::LogSettings::default());
    let counts = Arc::new(OutputCounts::default());
    let common =
        OutputCommon { metric_batch_size: batch, metric_buffer_limit: 1_000_000, ..OutputCommon::default() };
    let sender = Sender::new(output, common, Arc::clone(&counts));
    let runtime = seismograf_tests::runtime();
    let left = runtime.block_on(async {
        let (send, receive) = tokio::sync::mpsc::channel(1);
        send.send(Message::Points(Arc::new(points))).await.unwrap();
        drop(send);
        sender.run(receive).await
    });
    (left, counts)
}

fn all_cases(output: impl Fn() -> Box<dyn Output>, count: impl Fn(&str) -> u64) {
    // Fractions, so that integers conflict with them.
    write(output(), 1, vec![Point::new("typed", Timestamp(now())).field("f", 0.5)]);
    for fault in [Fault::Conflict, Fault::Old, Fault::Long, Fault::Time] {
        for place in [Place::Head, Place::Middle, Place::Everywhere, Place::All] {
            for (batch, n) in BATCHES {
                // 70 kB each: where all are, fewer will do.
                let n = if matches!((fault, place), (Fault::Long, Place::All)) { n.min(200) } else { n };
                let case = format!("{fault:?}_{place:?}_{batch}").to_lowercase();
                let (points, good) = points(&case, fault, place, n);
                let (left, counts) = write(output(), batch, points);
                let (written, rejected) =
                    (counts.written.load(Ordering::Relaxed), counts.losses.rejected.load(Ordering::Relaxed));
                println!(
                    "refused: {case}: {good} of {n} are good; {} writes",
                    counts.writes.load(Ordering::Relaxed)
                );
                assert_eq!((left, written, rejected), (0, good, n as u64 - good), "{case}");
                assert_eq!(count(&case), good, "{case}");
            }
        }
    }
}

fn influxdb_1() -> Outcome {
    let server = Influxd::start(Setup::default())?;
    let made = server.query("", &format!("CREATE DATABASE {DATABASE} WITH DURATION 1h"));
    assert_eq!(made.status, 200, "{made:?}");
    let output = || {
        let options = influxdb::Options {
            urls: vec![server.url()],
            database: DATABASE.into(),
            skip_database_creation: true,
            ..influxdb::Options::default()
        };
        Box::new(influxdb::Influxdb::new(options).unwrap()) as Box<dyn Output>
    };
    all_cases(output, |measurement| server.count(DATABASE, measurement, "f"));
    Ok(())
}

fn influxdb_2() -> Outcome {
    let server = Influxd2::start(3_600)?;
    let output = || {
        let options = influxdb_v2::Options {
            urls: vec![server.url()],
            token: TOKEN.into(),
            organization: ORGANIZATION.into(),
            bucket: BUCKET.into(),
            ..influxdb_v2::Options::default()
        };
        Box::new(influxdb_v2::InfluxdbV2::new(options).unwrap()) as Box<dyn Output>
    };
    all_cases(output, |measurement| server.count(measurement, "f"));
    Ok(())
}
