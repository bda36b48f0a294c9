//! A real OpenTelemetry collector of the test's own, which prints what it gets. `cargo xtask otelcol` builds it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command};

use crate::Skip;
use crate::http::{self, free_address};

/// The variable that names the program.
const PROGRAM: &str = "SEISMOGRAF_OTELCOL";

/// A data point as the collector got it.
#[derive(Clone, Debug, PartialEq)]
pub struct DataPoint {
    /// The attributes of its resource.
    pub resource: BTreeMap<String, String>,
    /// The metric's name.
    pub name: String,
    /// The metric's unit.
    pub unit: String,
    /// `Gauge`, `Sum` …, with `monotonic` and `cumulative` where it says so.
    pub kind: String,
    /// Its own attributes.
    pub attributes: BTreeMap<String, String>,
    /// When it was 0, in nanoseconds since 1970; 0 where that is not known.
    pub start: i64,
    /// When it was measured.
    pub time: i64,
    /// The value, to the sixth digit after the point.
    pub value: f64,
}

/// A running collector. Dropping it ends the process and removes what it printed.
pub struct Otelcol {
    directory: tempfile::TempDir,
    program: std::ffi::OsString,
    grpc: SocketAddr,
    http: SocketAddr,
    child: Child,
}

impl Otelcol {
    /// Starts a collector and waits until it answers.
    ///
    /// # Errors
    /// Skips the test when the collector was not built.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Result<Self, Skip> {
        let program = std::env::var_os(PROGRAM).ok_or_else(|| {
            Skip::because("there is no OpenTelemetry collector: build it by `cargo xtask otelcol`")
        })?;
        let directory = tempfile::tempdir().expect("cannot make a temporary directory");
        let (grpc, http) = (free_address(), free_address());
        let config = format!(
            "receivers:\n  otlp:\n    protocols:\n      grpc:\n        endpoint: {grpc}\n      http:\n        endpoint: {http}\n\
             exporters:\n  debug:\n    verbosity: detailed\n    use_internal_logger: false\n    output_paths: [{}]\n\
             service:\n  telemetry:\n    metrics:\n      level: none\n\
             \x20 pipelines:\n    metrics:\n      receivers: [otlp]\n      exporters: [debug]\n",
            directory.path().join("printed").display(),
        );
        std::fs::write(directory.path().join("config.yaml"), config).expect("cannot write a configuration");
        let child = run(&program, directory.path().join("config.yaml"), http)?;
        Ok(Self { directory, program, grpc, http, child })
    }

    /// Ends it with SIGKILL.
    ///
    /// # Panics
    /// When it cannot be ended.
    pub fn kill(&mut self) {
        self.child.kill().expect("cannot end the collector");
        self.child.wait().expect("cannot wait for the collector");
    }

    /// Starts it anew at the same addresses. It goes on printing where it was.
    ///
    /// # Errors
    /// None that the first start does not have.
    ///
    /// # Panics
    /// When it does not start.
    pub fn resume(&mut self) -> Result<(), Skip> {
        self.child = run(&self.program, self.directory.path().join("config.yaml"), self.http)?;
        Ok(())
    }

    /// Where it speaks gRPC: `127.0.0.1:PORT`.
    #[must_use]
    pub fn grpc(&self) -> String {
        self.grpc.to_string()
    }

    /// Where it speaks HTTP: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn http(&self) -> String {
        format!("http://{}", self.http)
    }

    /// All that it got so far, in the order in which it came.
    ///
    /// # Panics
    /// When it prints something else than expected.
    #[must_use]
    pub fn data_points(&self) -> Vec<DataPoint> {
        let printed = std::fs::read_to_string(self.directory.path().join("printed")).unwrap_or_default();
        read(&printed)
    }
}

fn run(program: &std::ffi::OsStr, config: PathBuf, http: SocketAddr) -> Result<Child, Skip> {
    let log = config.with_file_name("log");
    let mut command = Command::new(program);
    command.arg("--config").arg(format!("file:{}", config.display()));
    let is_up = || http::request(http, "POST", "/v1/metrics", None, "").is_ok();
    http::start(&mut command, "otelcol", &log, is_up)
}

impl Drop for Otelcol {
    fn drop(&mut self) {
        // What it printed is thrown away, so there is nothing to be written down in good order.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads what the debug exporter prints of numbers: headings, then `     -> key: value` below them.
fn read(printed: &str) -> Vec<DataPoint> {
    let mut points = Vec::new();
    let mut now = DataPoint {
        resource: BTreeMap::new(),
        name: String::new(),
        unit: String::new(),
        kind: String::new(),
        attributes: BTreeMap::new(),
        start: 0,
        time: 0,
        value: 0.0,
    };
    let mut heading = "";
    for line in printed.lines() {
        if let Some(entry) = line.strip_prefix("     -> ") {
            let (key, value) = entry.split_once(": ").unwrap_or((entry.trim_end_matches(':'), ""));
            match (heading, key) {
                ("Resource attributes:", key) => drop(now.resource.insert(key.into(), attribute(value))),
                ("Data point attributes:", key) => drop(now.attributes.insert(key.into(), attribute(value))),
                (_, "Name") => now.name = value.into(),
                (_, "Unit") => now.unit = value.into(),
                (_, "DataType") => now.kind = value.into(),
                (_, "IsMonotonic") if value == "true" => now.kind.push_str(" monotonic"),
                (_, "AggregationTemporality") if value == "Cumulative" => now.kind.push_str(" cumulative"),
                _ => {}
            }
            continue;
        }
        heading = line;
        if line.starts_with("ResourceMetrics #") {
            now.resource.clear();
        } else if line.starts_with("NumberDataPoints #") {
            now.attributes.clear();
        } else if let Some(start) = line.strip_prefix("StartTimestamp: ") {
            now.start = time(start);
        } else if let Some(at) = line.strip_prefix("Timestamp: ") {
            now.time = time(at);
        } else if let Some(value) = line.strip_prefix("Value: ") {
            now.value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
            points.push(now.clone());
        }
    }
    points
}

/// `Str(web)` without its type.
fn attribute(value: &str) -> String {
    let inner = value.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(value).to_owned()
}

/// `2026-11-29 01:00:00.5 +0000 UTC` in nanoseconds since 1970.
fn time(text: &str) -> i64 {
    let text = text.strip_suffix(" +0000 UTC").unwrap_or_else(|| panic!("no time: {text}"));
    let time: jiff::Timestamp = format!("{}Z", text.replacen(' ', "T", 1)).parse().expect(text);
    i64::try_from(time.as_nanosecond()).expect("a time of this century")
}
