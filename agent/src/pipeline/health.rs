//! `health_address`: whether the agent is alive (`/healthz`), whether it is at work (`/readyz`), and its own figures for
//! Prometheus (`/metrics`).
//!
//! It answers from the thread that gathers. One that is stuck gives no answer, which is what a probe takes for a failure too.

mod metrics;

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::time::Instant;

use crate::inputs::Shared;
use crate::listen::endpoint::Endpoint;
use crate::point::Timestamp;
use crate::service::off_thread;
use crate::service::telemetry::Telemetry;

/// What it is counted under.
const NAME: &str = "health";
/// The name of its address may have to be looked up.
const BIND_LIMIT: Duration = Duration::from_secs(30);
const TEXT: &str = "text/plain; charset=utf-8";

/// Binds the address at which others ask, or takes over the socket of before where it is the same.
///
/// # Errors
/// Why it cannot be bound, and what to do.
pub(super) async fn bind(address: Option<String>, shared: &Arc<Shared>) -> anyhow::Result<Option<Endpoint>> {
    let Some(address) = address else { return Ok(None) };
    let shared = Arc::clone(shared);
    let bind = move || Endpoint::bind(NAME, &address, (&shared.sockets, &shared.telemetry));
    let bound = tokio::time::timeout(BIND_LIMIT, off_thread::run(bind)).await;
    let bound = bound.context("`health_address` of [agent]: no answer to what its name is")?;
    bound.map(Some).map_err(|problem| anyhow::anyhow!("`health_address` of [agent]: {problem}"))
}

/// Serves an endpoint.
pub(super) fn serve(endpoint: &Endpoint, telemetry: Arc<Telemetry>) {
    tracing::info!(address = endpoint.name(), "answer /healthz, /readyz and /metrics");
    endpoint.show(Box::new(move |path| answer(path, &telemetry)));
}

fn answer(path: &str, telemetry: &Telemetry) -> Response<Full<Bytes>> {
    let (status, kind, body) = match path {
        "/healthz" => {
            let (status, body) = health(telemetry);
            (status, TEXT, body)
        }
        "/readyz" => {
            let (status, body) = readiness(telemetry);
            (status, TEXT, body)
        }
        "/metrics" => {
            (StatusCode::OK, metrics::FORMAT, metrics::text(&telemetry.all_points(Timestamp::now())))
        }
        _ => (StatusCode::NOT_FOUND, TEXT, "there is /healthz, /readyz and /metrics\n".to_owned()),
    };
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Whether every input's task goes on.
fn health(telemetry: &Telemetry) -> (StatusCode, String) {
    match telemetry.overdue(Instant::now()) {
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        None => (StatusCode::OK, "ok\n".to_owned()),
    }
}

/// Whether the configuration is at work: it was loaded, what it names was started, and a gather has ended. Not whether a server
/// takes what is gathered: a node whose database is away is to keep its agent, and points wait.
fn readiness(telemetry: &Telemetry) -> (StatusCode, String) {
    let (inputs, outputs) = (telemetry.inputs(), telemetry.outputs());
    let mut body = String::new();
    let mut n_gathers = 0;
    for input in &inputs {
        let counts = &input.counts;
        let gathers = counts.gathers.load(Ordering::Relaxed);
        let says = match (input.runs(), counts.startup_errors.load(Ordering::Relaxed)) {
            (true, _) if gathers > 0 => "gathers",
            (true, _) => "has not gathered yet",
            (false, 0) => continue,
            (false, _) => "could not start: the log says why",
        };
        n_gathers += if input.runs() { gathers } else { 0 };
        // Writing to a string cannot fail.
        let _ = writeln!(body, "input {}: {says}", input.name);
    }
    for output in outputs.iter().filter(|output| output.runs()) {
        let waiting = output.counts.waiting.load(Ordering::Relaxed);
        let _ = writeln!(body, "output {}: {waiting} points wait", output.name);
    }
    let is_ready = n_gathers > 0;
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, format!("{}\n{body}", if is_ready { "ready" } else { "no input has gathered yet" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_gather_that_is_overdue_is_said_and_one_that_ends_late_is_healthy_again() {
        let telemetry = Telemetry::default();
        let input = telemetry.input("mem", None);
        assert_eq!(health(&telemetry).0, StatusCode::OK, "nothing was promised yet");
        input.counts.pulse.expect(Instant::now() + Duration::from_secs(30));
        tokio::time::advance(Duration::from_secs(42)).await;
        let expected = "input mem: a gather is overdue by 12 s: its task is stuck\n".to_owned();
        assert_eq!(health(&telemetry), (StatusCode::SERVICE_UNAVAILABLE, expected));
        input.counts.pulse.rest();
        assert_eq!(health(&telemetry).0, StatusCode::OK);
        input.counts.pulse.expect(Instant::now());
        tokio::time::advance(Duration::from_secs(1)).await;
        input.ended();
        assert_eq!(health(&telemetry).0, StatusCode::OK, "one that has ended owes nothing");
    }

    #[test]
    fn ready_is_what_has_gathered_whatever_the_outputs_have() {
        let telemetry = Telemetry::default();
        telemetry.input_cannot_start("docker", None);
        let (mem, output) = (telemetry.input("mem", None), telemetry.output("influxdb", None));
        output.counts.set(&output.counts.waiting, 7);
        let (status, body) = readiness(&telemetry);
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        let lines = "input docker: could not start: the log says why\ninput mem: has not gathered yet\noutput influxdb: 7 points wait\n";
        assert_eq!(body, format!("no input has gathered yet\n{lines}"));
        mem.counts.gathers.fetch_add(1, Ordering::Relaxed);
        let (status, body) = readiness(&telemetry);
        assert_eq!((status, body.lines().next()), (StatusCode::OK, Some("ready")));
    }

    #[test]
    fn other_paths_are_said() {
        assert_eq!(answer("/", &Telemetry::default()).status(), StatusCode::NOT_FOUND);
        let answer = answer("/metrics", &Telemetry::default());
        assert_eq!(answer.headers()[CONTENT_TYPE], metrics::FORMAT);
    }
}
