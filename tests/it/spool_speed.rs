//! What a spool costs: points that an output takes and gives back through the disk, beside the same through memory; and writes
//! that are acknowledged once they are synced, beside Telegraf, which acknowledges before that.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use libtest_mimic::Trial;
use seismograf::options::common::OutputCommon;
use seismograf::outputs::sender::{Message, Sender};
use seismograf::outputs::{Answer, Output};
use seismograf::point::{Point, Timestamp};
use seismograf::service::telemetry::OutputCounts;
use seismograf::spool::files::Folder;
use seismograf::spool::log::{Limits, Log};
use seismograf_tests::http::{free_address, request, status_of_next};
use seismograf_tests::suite::Outcome;
use seismograf_tests::{agent_binary, number, terminate, trial, wait_for};

use crate::throughput::TELEGRAF;

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("spool_speed::points_through_the_disk", points_through_the_disk),
        trial("spool_speed::writes_that_are_synced", writes_that_are_synced),
    ]
}

const LIMIT: Duration = Duration::from_secs(120);
/// Points, unless this variable says otherwise; 5,000,000 is the whole of it.
const POINTS: &str = "SEISMOGRAF_POINTS";
const FEW: u64 = 500_000;
const MESSAGE: u64 = 5_000;

/// Takes everything at once, or nothing.
struct Sink {
    is_down: Arc<AtomicBool>,
}

#[async_trait::async_trait]
impl Output for Sink {
    fn place(&self) -> String {
        "nowhere".into()
    }

    async fn write(&self, _: &[Option<String>], _: &[Bytes]) -> Answer {
        if self.is_down.load(Ordering::Relaxed) { Answer::retry("down") } else { Answer::STORED }
    }
}

fn value(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// How long an output takes to keep `n` points, and then to write them.
async fn through(n: u64, directory: Option<&Path>) -> (Duration, Duration) {
    let points: Vec<Point> = (0..MESSAGE as i64)
        .map(|i| {
            let point = Point::new("requests", Timestamp(1_700_000_000_000_000_000 + i));
            let point = point.tag("service", "checkout").tag("instance", format!("i-{}", i % 1_000));
            point.field("count", i).field("seconds", i as f64 / 7.0)
        })
        .collect();
    let points = Arc::new(points);
    let is_down = Arc::new(AtomicBool::new(true));
    let counts = Arc::new(OutputCounts::default());
    // In memory all of them have to fit into the half that is for inputs which can wait; with a spool, a few.
    let limit = if directory.is_some() { 100_000 } else { 2 * n as usize };
    let common =
        OutputCommon { metric_batch_size: 5_000, metric_buffer_limit: limit, ..OutputCommon::default() };
    let mut sender =
        Sender::new(Box::new(Sink { is_down: Arc::clone(&is_down) }), common, Arc::clone(&counts));
    if let Some(directory) = directory {
        let folder = Folder::lock(directory).unwrap().expect("nobody else has it");
        let limits = Limits { bytes: 8 << 30, age: Duration::MAX, segment_bytes: 8 << 20, sync: true };
        sender = sender.with_spool(Log::open(Box::new(folder), limits).unwrap());
    }
    let (send, receive) = tokio::sync::mpsc::channel(1);
    let running = tokio::spawn(sender.run(receive));
    let kept = || if directory.is_some() { value(&counts.kept) } else { value(&counts.taken) };
    let start = Instant::now();
    for _ in (0..n).step_by(MESSAGE as usize) {
        // As an input does that can wait.
        while counts.room() < MESSAGE as usize {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        counts.sent(MESSAGE);
        send.send(Message::Points(Arc::clone(&points))).await.unwrap();
    }
    while kept() < n && start.elapsed() < LIMIT {
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    let (taken, start) = (start.elapsed(), Instant::now());
    is_down.store(false, Ordering::Relaxed);
    while value(&counts.written) < n && start.elapsed() < LIMIT {
        send.send(Message::Flush).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let given = start.elapsed();
    assert_eq!((value(&counts.written), value(&counts.losses.overflowed)), (n, 0));
    drop(send);
    assert_eq!(running.await.unwrap(), 0);
    (taken, given)
}

fn points_through_the_disk() -> Outcome {
    let n = number(POINTS, FEW).next_multiple_of(MESSAGE);
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let runtime = seismograf_tests::runtime();
    let rates =
        |(taken, given): (Duration, Duration)| [taken, given].map(|took| n as f64 / took.as_secs_f64());
    let memory = rates(runtime.block_on(through(n, None)));
    let disk = rates(runtime.block_on(through(n, Some(directory.path()))));
    println!(
        "spool_speed: {n} points: {:.0} a second encoded, appended and synced, {:.0} a second read back and written; through memory {:.0} and {:.0}",
        disk[0], disk[1], memory[0], memory[1]
    );
    assert!(disk[0] > memory[0] / 10.0 && disk[1] > memory[1] / 40.0, "{disk:?} and {memory:?}");
    Ok(())
}

/// Connections of a client each, which write a point and wait until it is acknowledged, again and again. Returns how many
/// writes were, a second.
fn writes_per_s(address: SocketAddr, time: Duration) -> f64 {
    const THREADS: usize = 2;
    const CONNECTIONS: usize = 64;
    let n = AtomicU64::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let n = &n;
            scope.spawn(move || {
                let mut connections: Vec<_> = (0..CONNECTIONS / THREADS)
                    .map(|_| {
                        let stream = TcpStream::connect(address).unwrap();
                        stream.set_nodelay(true).unwrap();
                        (BufReader::new(stream.try_clone().unwrap()), stream)
                    })
                    .collect();
                let mut time_ns = 1_700_000_000_000_000_000 + thread as u64;
                while start.elapsed() < time {
                    for (_, stream) in &mut connections {
                        time_ns += THREADS as u64;
                        let body = format!("requests,service=checkout count=1i {time_ns}\n");
                        let length = body.len();
                        let text = format!(
                            "POST /write?db=d HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"
                        );
                        stream.write_all(text.as_bytes()).unwrap();
                    }
                    for (answers, _) in &mut connections {
                        let status = status_of_next(answers);
                        assert!([204, 503].contains(&status), "{status}");
                        n.fetch_add(u64::from(status == 204), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    value(&n) as f64 / start.elapsed().as_secs_f64()
}

/// What a program acknowledges whose points wait on the disk.
fn acknowledged_per_s(program: &std::ffi::OsStr, more: &str, time: Duration) -> f64 {
    let (listen, directory) = (free_address(), tempfile::tempdir_in("/var/tmp").unwrap());
    let spool = directory.path().join("spool");
    let config = format!(
        r#"[agent]
  {more}
  flush_interval = "1s"
  metric_batch_size = 5000
  metric_buffer_limit = 100000
  omit_hostname = true
  buffer_strategy = "disk_write_through"
  buffer_directory = "{}"
[[inputs.influxdb_listener]]
  service_address = "{listen}"
[[outputs.file]]
  files = ["/dev/null"]
"#,
        spool.display()
    );
    let path = directory.path().join("agent.conf");
    std::fs::write(&path, config).unwrap();
    let mut command = Command::new(program);
    command.arg("--config").arg(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let is_up = || request(listen, "GET", "/ping", None, "").is_ok_and(|answer| answer.status == 204);
    wait_for(is_up, LIMIT, "the listener");
    let n = writes_per_s(listen, time);
    terminate(&mut child);
    n
}

fn writes_that_are_synced() -> Outcome {
    let time = Duration::from_secs(number("SEISMOGRAF_WRITE_SECONDS", 3));
    let agent = agent_binary()?;
    let of_agent = |more: &str| acknowledged_per_s(agent.as_os_str(), more, time);
    let (synced, unsynced) =
        (of_agent("self_metrics = false"), of_agent("self_metrics = false\n  buffer_disk_sync = false"));
    println!(
        "spool_speed: 64 connections: {synced:.0} writes a second acknowledged once synced, {unsynced:.0} without a sync"
    );
    match std::env::var_os(TELEGRAF) {
        Some(telegraf) => {
            let n = acknowledged_per_s(&telegraf, "", time);
            println!(
                "spool_speed: Telegraf with its disk buffer: {n:.0}, acknowledged before they are on the disk"
            );
        }
        None => println!("spool_speed: Telegraf is not beside it: {TELEGRAF} names one"),
    }
    // One sync for each write would be some hundreds a second.
    assert!(synced > unsynced / 4.0, "{synced:.0} and {unsynced:.0} writes a second");
    Ok(())
}
