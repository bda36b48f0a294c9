//! Every answer that a server, or something in front of it, can give: what becomes of the points. A proxy in front of a real
//! influxd breaks the answers; what is stored in the end is read from influxd.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use seismograf::options::common::OutputCommon;
use seismograf::outputs::influxdb;
use seismograf::outputs::sender::{Message, Sender};
use seismograf::point::{Point, Timestamp};
use seismograf::service::telemetry::OutputCounts;
use seismograf_tests::influxd::{Influxd, Setup};
use seismograf_tests::standin::{Fault, Request, Response, Standin};
use seismograf_tests::suite::Outcome;
use seismograf_tests::{number, runtime, trial};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("answers::each_loses_nothing_and_doubles_nothing", each),
        trial("answers::cut_off_after_the_points_were_stored", cut_off),
    ]
}

const LIMIT: Duration = Duration::from_secs(60);
/// Less than an answer may take, so that silence is over soon.
const TIMEOUT: Duration = Duration::from_secs(2);
const BATCH: usize = 50;
/// Lines of a case, in batches of [`BATCH`].
const LINES: u64 = 100;
/// Requests of a case that meet the fault.
const FAULTS: usize = 2;

/// An answer with a body, and what else its head says.
fn answer(status: u16, head: &str, body: &str) -> Response {
    let length = body.len();
    let text =
        format!("HTTP/1.1 {status} x\r\n{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    Response::Bytes(text.into_bytes())
}

fn bytes(text: &str) -> Response {
    Response::Bytes(text.as_bytes().to_vec())
}

/// Answers that say nothing about the lines: they wait, are sent again, and are stored. With each, whether the server had them
/// already, and how long the answer asks to wait.
fn cases() -> Vec<(String, Fault, Duration)> {
    const PAGE: &str = "<html><title>welcome</title></html>";
    const MOVED: &str = "Location: http://127.0.0.1:1/write?db=d\r\n";
    let mut cases = Vec::new();
    let mut add = |name: &str, response: &Response, wait: u64| {
        for (is_applied, when) in [(false, "before"), (true, "after")] {
            let fault = Fault { is_applied, response: response.clone() };
            cases.push((format!("{name}_{when}"), fault, Duration::from_secs(wait)));
        }
    };
    // Of a proxy, a portal, or a balancer in front of it.
    for status in [
        200, 201, 202, 400, 401, 403, 404, 405, 407, 408, 409, 410, 415, 421, 500, 502, 503, 504, 507, 511,
        599,
    ] {
        add(&format!("page_{status}"), &answer(status, "", PAGE), 0);
    }
    for status in [301, 302, 303, 307, 308] {
        add(&format!("moved_{status}"), &answer(status, MOVED, ""), 0);
    }
    // Of the server itself, about all of it.
    for (status, error) in [
        (401, "authorization failed"),
        (403, "\\\"u\\\" user is not authorized to write to database \\\"d\\\""),
        (404, "database not found: \\\"d\\\""),
        (500, "timeout"),
        (500, "retention policy not found: p"),
        (503, "shard is disabled"),
    ] {
        add(
            &format!("error_{status}_{}", error.len()),
            &answer(status, "", &format!("{{\"error\":\"{error}\"}}")),
            0,
        );
    }
    let busy = "{\"error\":\"engine: cache-max-memory-size exceeded\"}";
    let date = jiff::Timestamp::now() + Duration::from_secs(4);
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&date).unwrap();
    add("in_two_seconds", &answer(429, "Retry-After: 2\r\n", busy), 2);
    add("at_a_date", &answer(503, &format!("Retry-After: {date}\r\n"), busy), 2);
    // Broken.
    add("nothing", &bytes(""), 0);
    add("half_a_status", &bytes("HTTP/1.1 20"), 0);
    add("half_a_head", &bytes("HTTP/1.1 500 x\r\nContent-Ty"), 0);
    add("half_a_body", &bytes("HTTP/1.1 500 x\r\nContent-Length: 1000\r\n\r\n{\"error\":"), 0);
    add("half_a_chunk", &bytes("HTTP/1.1 400 x\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{\"error\":"), 0);
    add("another_protocol", &bytes("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"), 0);
    add("other_bytes", &Response::Bytes((0..=255).collect()), 0);
    add("endless_head", &Response::Endless(b"HTTP/1.1 500 x\r\nA: b".to_vec()), 0);
    add("endless_body", &Response::Endless(b"HTTP/1.1 500 x\r\n\r\nb".to_vec()), 0);
    add("silence", &Response::Silence, 0);
    add("reset", &Response::Reset, 0);
    cases
}

/// An output that writes to `url`, in small batches.
fn sender(url: String, counts: &Arc<OutputCounts>) -> Sender {
    let options = influxdb::Options {
        urls: vec![url],
        database: DATABASE.into(),
        timeout: TIMEOUT,
        content_encoding: "identity".into(),
        ..influxdb::Options::default()
    };
    let common =
        OutputCommon { metric_batch_size: BATCH, metric_buffer_limit: 100_000, ..OutputCommon::default() };
    Sender::new(Box::new(influxdb::Influxdb::new(options).unwrap()), common, Arc::clone(counts))
}

const DATABASE: &str = "d";

/// Writes points `1..=n` of a measurement until the output has settled all of them.
async fn write(url: String, measurement: &str, n: u64, limit: Duration) -> Arc<OutputCounts> {
    let counts = Arc::new(OutputCounts::default());
    let (send, receive) = tokio::sync::mpsc::channel(1);
    let running = tokio::spawn(sender(url, &counts).run(receive));
    let point = |i: u64| Point::new(measurement.to_owned(), Timestamp(i as i64)).field("f", i as i64);
    send.send(Message::Points(Arc::new((1..=n).map(point).collect()))).await.unwrap();
    send.send(Message::Flush).await.unwrap();
    let settled =
        || counts.written.load(Ordering::Relaxed) + counts.losses.rejected.load(Ordering::Relaxed) >= n;
    let start = Instant::now();
    while !settled() && start.elapsed() < limit {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(send);
    let left = running.await.unwrap();
    assert_eq!(left, 0, "{measurement}: lines are left");
    counts
}

fn is_write(request: &Request) -> bool {
    request.target.starts_with("/write")
}

/// How many points a measurement has, and their sum.
fn stored(influxd: &Influxd, measurement: &str) -> (u64, u64) {
    let series = influxd.series(DATABASE, &format!("SELECT COUNT(f), SUM(f) FROM \"{measurement}\""));
    let Some(series) = series.first() else { return (0, 0) };
    (series["values"][0][1].as_u64().unwrap(), series["values"][0][2].as_u64().unwrap())
}

/// A server in front of influxd that answers a few writes as `fault` has it.
fn broken(influxd: &Influxd, fault: Fault, n: usize) -> Standin {
    let met = AtomicUsize::new(0);
    Standin::faulty_proxy(influxd.address(), move |request| {
        (is_write(request) && met.fetch_add(1, Ordering::Relaxed) < n).then(|| fault.clone())
    })
}

fn each() -> Outcome {
    let influxd = Influxd::start(Setup::default())?;
    assert_eq!(influxd.query("", &format!("CREATE DATABASE {DATABASE}")).status, 200);
    let cases = cases();
    let start = Instant::now();
    runtime().block_on(async {
        let mut running = tokio::task::JoinSet::new();
        for (name, fault, wait) in cases.clone() {
            let proxy = broken(&influxd, fault, FAULTS);
            running.spawn(async move {
                let counts = write(proxy.url(), &name, LINES, LIMIT).await;
                (name, wait, proxy, counts)
            });
        }
        while let Some(case) = running.join_next().await {
            let (name, wait, proxy, counts) = case.unwrap();
            let (written, rejected) =
                (counts.written.load(Ordering::Relaxed), counts.losses.rejected.load(Ordering::Relaxed));
            assert_eq!((written, rejected), (LINES, 0), "{name}");
            assert_eq!(stored(&influxd, &name), (LINES, LINES * (LINES + 1) / 2), "{name}");
            check_requests(&name, wait, &proxy.requests());
        }
    });
    println!(
        "answers: {} cases, {LINES} lines each, in {:?}: 0 lost, 0 doubled",
        cases.len(),
        start.elapsed()
    );
    Ok(())
}

/// What was not stored is sent again with the same bytes, and not at once.
fn check_requests(name: &str, wait: Duration, requests: &[Request]) {
    let writes: Vec<&Request> = requests.iter().filter(|request| is_write(request)).collect();
    // On a machine that is slow, influxd itself may take longer than the limit.
    assert!((4..=10).contains(&writes.len()), "{name}: {} writes", writes.len());
    let again = writes.iter().skip(1).find(|request| request.body == writes[0].body);
    let again = again.unwrap_or_else(|| panic!("{name}: the first batch was not sent again as it was"));
    let after = again.at - writes[0].at;
    // Half a second to a second, unless the answer says more; the answer itself may take until the limit.
    let least = Duration::from_millis(450).max(wait);
    let is_missing = name.starts_with("error_404");
    assert!(is_missing || after >= least, "{name}: again after {after:?}");
    assert!(after < Duration::from_secs(12), "{name}: again after {after:?}");
}

fn cut_off() -> Outcome {
    /// Several at once: each answer that is cut off costs a wait of a second or more.
    const OUTPUTS: u64 = 20;
    let n_cut = number("SEISMOGRAF_CUT_OFF", 40);
    let influxd = Influxd::start(Setup::default())?;
    assert_eq!(influxd.query("", &format!("CREATE DATABASE {DATABASE}")).status, 200);
    let n_of_each = usize::try_from(n_cut.div_ceil(OUTPUTS)).unwrap();
    let n_lines = (n_of_each * BATCH) as u64;
    let limit = LIMIT * u32::try_from(n_of_each).unwrap();
    let start = Instant::now();
    let (mut n_requests, mut n_again) = (0, 0);
    runtime().block_on(async {
        let mut running = tokio::task::JoinSet::new();
        for i in 0..OUTPUTS {
            // Each batch is cut off once: those that influxd has are sent again, and pass.
            let seen = std::sync::Mutex::new(std::collections::HashSet::new());
            let proxy = Standin::faulty_proxy(influxd.address(), move |request| {
                let is_new = is_write(request) && seen.lock().unwrap().insert(request.body.clone());
                is_new.then_some(Fault { is_applied: true, response: Response::Bytes(Vec::new()) })
            });
            running.spawn(async move {
                let measurement = format!("cut_{i}");
                write(proxy.url(), &measurement, n_lines, limit).await;
                (measurement, proxy)
            });
        }
        while let Some(output) = running.join_next().await {
            let (measurement, proxy) = output.unwrap();
            assert_eq!(
                stored(&influxd, &measurement),
                (n_lines, n_lines * (n_lines + 1) / 2),
                "{measurement}"
            );
            let requests = proxy.requests();
            let bodies: Vec<&[u8]> = requests
                .iter()
                .filter(|request| is_write(request))
                .map(|request| request.body.as_slice())
                .collect();
            let unique: std::collections::HashSet<&[u8]> = bodies.iter().copied().collect();
            n_requests += bodies.len();
            n_again += bodies.len() - unique.len();
        }
    });
    println!(
        "answers: {n_again} answers cut off of {n_requests}, in {:?}: {} points, 0 lost, 0 doubled",
        start.elapsed(),
        n_lines * OUTPUTS
    );
    assert!(n_again as u64 >= n_cut, "{n_again}");
    Ok(())
}
