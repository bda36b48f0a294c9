//! From points to a real InfluxDB: none lost, whatever happens to the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use seismograf::options::common::OutputCommon;
use seismograf::outputs::influxdb::{Influxdb, Options};
use seismograf::outputs::sender::{Message, Sender};
use seismograf::outputs::{Answer, Output as _};
use seismograf::point::{Point, Timestamp};
use seismograf::service::logging::LogSettings;
use seismograf::service::telemetry::OutputCounts;
use seismograf_tests::influxd::{Influxd, Setup};
use seismograf_tests::running::{OUTPUT, Running};
use seismograf_tests::suite::Outcome;
use seismograf_tests::{number, trial, wait_for};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("influx::nothing_is_lost_while_the_server_is_down", server_down),
        trial("influx::a_wrong_password_is_said_and_counted", wrong_password),
        trial("influx::a_missing_database_is_said_where_it_may_not_be_created", missing_database),
        trial("influx::a_full_buffer_is_said_and_counted", full_buffer),
        trial("influx::a_conflict_of_types_drops_that_point_alone", conflict_of_types),
        trial("influx::the_last_points_are_written_on_sigterm", last_points_on_sigterm),
        trial("influx::the_second_server_takes_over", second_server_takes_over),
    ]
}

/// The server itself allows no slash and no backslash in it.
const DATABASE: &str = "a \"b\" ü";

fn runtime() -> tokio::runtime::Runtime {
    let _ = seismograf::service::logging::start(LogSettings::default());
    seismograf_tests::runtime()
}

/// Writes points through the agent's own output, without the agent around it.
fn write(server: &Influxd, points: Vec<Point>) -> (usize, Arc<OutputCounts>) {
    let options = Options { urls: vec![server.url()], database: DATABASE.into(), ..Options::default() };
    let counts = Arc::new(OutputCounts::default());
    let common =
        OutputCommon { metric_batch_size: 5_000, metric_buffer_limit: 1_000_000, ..OutputCommon::default() };
    let sender = Sender::new(Box::new(Influxdb::new(options).unwrap()), common, Arc::clone(&counts));
    let left = runtime().block_on(async {
        let (send, receive) = tokio::sync::mpsc::channel(1);
        send.send(Message::Points(Arc::new(points))).await.unwrap();
        drop(send);
        sender.run(receive).await
    });
    (left, counts)
}

/// A configuration that gathers every `interval`, into the server and into a file.
fn config(url: &str, interval: &str, agent: &str, output: &str) -> String {
    format!(
        r#"[agent]
  interval = "{interval}"
  flush_interval = "1s"
  precision = "1ns"
  hostname = "h"
  {agent}
[[inputs.mem]]
[[inputs.system]]
[[outputs.influxdb]]
  urls = ["{url}"]
  database = "metrics"
  {output}
[[outputs.file]]
  files = ["{{points}}"]
"#
    )
}

/// The times of a measurement's points in the file and in the database.
fn times(agent: &Running, server: &Influxd, measurement: &str, field: &str) -> [Vec<i64>; 2] {
    [agent.times(measurement, field), server.times("metrics", measurement, field)]
}

/// Room for the points of the longest outage.
const LONG: &str = "metric_buffer_limit = 200000";
/// Seconds that the server is down, or the password is wrong, unless this variable says otherwise.
const OUTAGE: &str = "SEISMOGRAF_OUTAGE";

fn server_down() -> Outcome {
    let down = Duration::from_secs(number(OUTAGE, 15));
    let mut server = Influxd::start(Setup::default())?;
    let mut agent = Running::start(&config(&server.url(), "250ms", LONG, ""))?;
    wait_for(
        || server.count("metrics", "mem", "total") >= 4,
        Duration::from_secs(30),
        "points in the database",
    );
    server.stop();
    let start = Instant::now();
    agent.wait_for_log("cannot write; kept for the next try");
    wait_for(|| start.elapsed() >= down, 2 * down, "the server's pause to be over");
    let missing = agent.lines("mem,").len() as u64;
    server.resume()?;
    let back = Instant::now();
    wait_for(|| server.count("metrics", "mem", "total") >= missing, Duration::from_secs(60), "what was kept");
    println!(
        "influx: all of {missing} gathers are there {:.1} s after the server is back",
        back.elapsed().as_secs_f64()
    );
    agent.wait_for_log("writes again");
    let (well, took) = agent.stop();
    assert!(well, "{}", agent.log());
    for (measurement, field) in [("mem", "total"), ("system", "uptime"), ("system", "load1")] {
        let [written, stored] = times(&agent, &server, measurement, field);
        println!(
            "influx: down for {down:?}: {} points of {measurement} gathered, {} stored; stopped in {took:?}",
            written.len(),
            stored.len()
        );
        assert!(written.len() as u64 > 3 * down.as_secs(), "too few to show anything");
        assert_eq!(written, stored);
    }
    Ok(())
}

fn wrong_password() -> Outcome {
    let server = Influxd::start(Setup { auth: true, ..Setup::default() })?;
    for statement in [
        "CREATE DATABASE metrics",
        "CREATE USER writer WITH PASSWORD 'another'",
        "GRANT ALL ON metrics TO writer",
    ] {
        assert_eq!(server.query("", statement).status, 200, "{statement}");
    }
    let user = "username = \"writer\"\n  password = \"wrong\"\n  skip_database_creation = true";
    let mut agent = Running::start(&config(&server.url(), "250ms", LONG, user))?;
    agent.wait_for_log("authorization failed; check `username` and `password`");
    wait_for(|| agent.count(OUTPUT, "waiting") > 4, Duration::from_secs(30), "a count of what waits");
    wait_for(
        || agent.count(OUTPUT, "failed_writes") > 0,
        Duration::from_secs(30),
        "a count of the failed writes",
    );
    println!(
        "influx: wrong password: {} wait, {} written",
        agent.count(OUTPUT, "waiting"),
        agent.count(OUTPUT, "written")
    );
    assert_eq!(agent.count(OUTPUT, "written"), 0);
    assert!(!agent.log().contains("wrong"), "the password is in the log: {}", agent.log());
    let start = Instant::now();
    let wrong = Duration::from_secs(number(OUTAGE, 5));
    wait_for(|| start.elapsed() >= wrong, 2 * wrong, "the time of the wrong password to be over");
    // The right one from now on: what waited is not lost.
    assert_eq!(server.query("", "SET PASSWORD FOR writer = 'wrong'").status, 200);
    agent.wait_for_log("writes again");
    wait_for(|| agent.count(OUTPUT, "written") > 4, Duration::from_secs(30), "the points");
    let (well, _) = agent.stop();
    assert!(well, "{}", agent.log());
    let [written, stored] = times(&agent, &server, "mem", "total");
    println!("influx: wrong for {wrong:?}: {} points gathered, {} stored", written.len(), stored.len());
    assert_eq!(written, stored);
    Ok(())
}

fn missing_database() -> Outcome {
    let server = Influxd::start(Setup::default())?;
    let mut agent = Running::start(&config(&server.url(), "250ms", "", "skip_database_creation = true"))?;
    agent.wait_for_log("create it there: CREATE DATABASE");
    wait_for(|| agent.count(OUTPUT, "waiting") > 4, Duration::from_secs(30), "a count of what waits");
    assert_eq!(agent.count(OUTPUT, "written"), 0);
    assert_eq!(server.query("", "CREATE DATABASE metrics").status, 200);
    agent.wait_for_log("writes again");
    let (well, _) = agent.stop();
    assert!(well, "{}", agent.log());
    let [written, stored] = times(&agent, &server, "mem", "total");
    println!(
        "influx: missing database: {} points gathered, {} stored in the end",
        written.len(),
        stored.len()
    );
    assert_eq!(written, stored);
    Ok(())
}

fn full_buffer() -> Outcome {
    let mut server = Influxd::start(Setup::default())?;
    let mut agent = Running::start(&config(&server.url(), "100ms", "metric_buffer_limit = 100", ""))?;
    wait_for(
        || server.count("metrics", "mem", "total") >= 4,
        Duration::from_secs(30),
        "points in the database",
    );
    server.stop();
    agent.wait_for_log("the buffer is full: the oldest points were dropped");
    wait_for(
        || agent.count(OUTPUT, "dropped_overflow") > 50,
        Duration::from_secs(60),
        "a count of what is dropped",
    );
    server.resume()?;
    agent.wait_for_log("writes again");
    // More than the buffer holds: what waited is through. (How much waits depends on when one looks.)
    let written = agent.count(OUTPUT, "written");
    wait_for(
        || agent.count(OUTPUT, "written") > written + 100,
        Duration::from_secs(30),
        "the buffer to be written",
    );
    let dropped = agent.count(OUTPUT, "dropped_overflow");
    agent.stop();
    // Taken = written + dropped, by the server's own count; every measurement has a time of its own.
    let mut lost = 0;
    for (measurement, field) in
        [("mem", "total"), ("system", "uptime"), ("system", "load1"), ("system", "uptime_format")]
    {
        let [written, stored] = times(&agent, &server, measurement, field);
        lost += written.len() - stored.len();
    }
    let about = agent.lines("seismograf,").len() as u64;
    println!("influx: full buffer: {dropped} dropped by count, of them {lost} not about the agent itself");
    assert!(lost > 0 && lost as u64 <= dropped && dropped - lost as u64 <= about);
    Ok(())
}

fn conflict_of_types() -> Outcome {
    let server = Influxd::start(Setup::default())?;
    let point = |i: i64| Point::new("m", Timestamp(1_700_000_000_000_000_000 + i));
    let (left, _) = write(&server, vec![point(0).field("f", 1_i64)]);
    assert_eq!(left, 0);
    let mut points: Vec<Point> = (1..100).map(|i| point(i).field("f", i)).collect();
    points[50] = point(51).field("f", "a text");
    let (left, counts) = write(&server, points);
    let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "influx: conflict: {} written, {} rejected",
        value(&counts.written),
        value(&counts.losses.rejected)
    );
    assert_eq!((left, value(&counts.written), value(&counts.losses.rejected)), (0, 98, 1));
    assert_eq!(server.count(DATABASE, "m", "f"), 99);
    // A line that does not parse, which the encoder never makes: found by halving.
    let options = Options { urls: vec![server.url()], database: DATABASE.into(), ..Options::default() };
    let answer = runtime().block_on(async {
        let lines = ["m f=1i 5\n", "not a line\n"].map(|line| bytes::Bytes::from_static(line.as_bytes()));
        Influxdb::new(options).unwrap().write(&[], &lines).await
    });
    assert!(matches!(answer, Answer::Stored { dropped: 1, .. }), "{answer:?}");
    Ok(())
}

fn last_points_on_sigterm() -> Outcome {
    let server = Influxd::start(Setup::default())?;
    // No flush but the last one.
    let text = config(&server.url(), "200ms", "", "flush_interval = \"1h\"");
    let mut agent = Running::start(&text)?;
    wait_for(|| agent.lines("mem,").len() >= 10, Duration::from_secs(30), "gathers");
    assert_eq!(server.count("metrics", "mem", "total"), 0);
    let (well, took) = agent.stop();
    let [written, stored] = times(&agent, &server, "mem", "total");
    println!("influx: SIGTERM: {} gathered, {} stored, in {took:?}", written.len(), stored.len());
    assert!(well && written.len() >= 10, "{}", agent.log());
    assert_eq!(written, stored);
    Ok(())
}

fn second_server_takes_over() -> Outcome {
    let (one, other) = (Influxd::start(Setup::default())?, Influxd::start(Setup::default())?);
    let urls = format!("{}\", \"{}", one.url(), other.url());
    let mut agent = Running::start(&config(&urls, "200ms", "", ""))?;
    let count = |server: &Influxd| server.count("metrics", "mem", "total");
    wait_for(|| count(&one).max(count(&other)) >= 4, Duration::from_secs(30), "points at either");
    // Which is asked first is up to chance.
    let (mut first, second) = if count(&one) > 0 { (one, other) } else { (other, one) };
    assert_eq!(count(&second), 0, "one server is enough while it answers");
    first.stop();
    wait_for(|| count(&second) >= 10, Duration::from_secs(30), "points at the second");
    agent.stop();
    first.resume()?;
    let [written, at_first] = times(&agent, &first, "mem", "total");
    let [_, at_second] = times(&agent, &second, "mem", "total");
    let mut stored: Vec<i64> = at_first.iter().chain(&at_second).copied().collect();
    stored.sort_unstable();
    stored.dedup();
    println!("influx: two servers: {} and {} of {} points", at_first.len(), at_second.len(), written.len());
    assert_eq!(written, stored);
    Ok(())
}
