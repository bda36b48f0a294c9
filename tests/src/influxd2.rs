//! A real InfluxDB 2 of the test's own, with its data in a temporary directory. `cargo xtask influxd2` builds it.

use std::net::SocketAddr;
use std::process::{Child, Command};

use serde_json::Value;

use crate::Skip;
use crate::http::{self, free_address, percent_encoded, request, send};

/// The variable that names the program.
const PROGRAM: &str = "SEISMOGRAF_INFLUXD2";
/// The organization.
pub const ORGANIZATION: &str = "o";
/// The bucket.
pub const BUCKET: &str = "b";
/// The token that may do everything.
pub const TOKEN: &str = "a-token";

/// A running server with a bucket. Dropping it ends the process and removes its data.
pub struct Influxd2 {
    _directory: tempfile::TempDir,
    address: SocketAddr,
    child: Child,
}

impl Influxd2 {
    /// Starts a server whose bucket keeps points for so long; 0 is for ever.
    ///
    /// # Errors
    /// Skips the test when the server was not built.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(keep_seconds: u64) -> Result<Self, Skip> {
        let program = std::env::var_os(PROGRAM)
            .ok_or_else(|| Skip::because("there is no InfluxDB 2: build it by `cargo xtask influxd2`"))?;
        let directory = tempfile::tempdir().expect("cannot make a temporary directory");
        let address = free_address();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let mut command = Command::new(program);
        command.args(["--reporting-disabled", "--log-level", "error", "--http-bind-address"]);
        command.arg(address.to_string()).args([
            "--bolt-path",
            &path("bolt"),
            "--engine-path",
            &path("engine"),
        ]);
        command.args(["--sqlite-path", &path("sqlite")]);
        let log = directory.path().join("log");
        let is_up = || request(address, "GET", "/health", None, "").is_ok_and(|answer| answer.status == 200);
        let child = http::start(&mut command, "influxdb2", &log, is_up)?;
        let server = Self { _directory: directory, address, child };
        let setup = serde_json::json!({
            "username": "admin", "password": "secret-secret", "org": ORGANIZATION, "bucket": BUCKET,
            "token": TOKEN, "retentionPeriodSeconds": keep_seconds,
        });
        let made = request(address, "POST", "/api/v2/setup", None, &setup.to_string());
        let made = made.unwrap_or_else(|error| panic!("cannot set InfluxDB 2 up: {error}"));
        assert_eq!(made.status, 201, "cannot set InfluxDB 2 up: {made:?}");
        Ok(server)
    }

    /// `http://ADDRESS:PORT`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many values of a field a measurement has.
    ///
    /// # Panics
    /// When the server refuses the query.
    #[must_use]
    pub fn count(&self, measurement: &str, field: &str) -> u64 {
        let rows = self.series(&format!("SELECT count(\"{field}\") FROM \"{measurement}\""));
        rows.first().map_or(0, |series| series["values"][0][1].as_u64().unwrap_or(0))
    }

    /// The rows of a query of one statement in InfluxQL: the series of its result, as InfluxDB 1 gives them.
    ///
    /// # Panics
    /// When the server refuses the query.
    #[must_use]
    pub fn series(&self, query: &str) -> Vec<Value> {
        let path = format!("/query?db={BUCKET}&epoch=ns&u=admin&p={TOKEN}&q={}", percent_encoded(query));
        let answer = request(self.address, "GET", &path, None, "");
        let answer = answer.unwrap_or_else(|error| panic!("cannot query InfluxDB 2: {error}"));
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        let mut body: Value = serde_json::from_str(&answer.body).expect("InfluxDB 2 answers no JSON");
        let result = body["results"][0].take();
        assert!(result.get("error").is_none(), "{query}: {result}");
        result.get("series").and_then(Value::as_array).cloned().unwrap_or_default()
    }

    /// The rows of a Flux query as lines of CSV, without its heads.
    ///
    /// # Panics
    /// When the server refuses the query.
    #[must_use]
    pub fn flux(&self, query: &str) -> Vec<String> {
        let head = format!(
            "POST /api/v2/query?org={ORGANIZATION} HTTP/1.0\r\nAuthorization: Token {TOKEN}\r\n\
             Content-Type: application/vnd.flux\r\nAccept: application/csv\r\n"
        );
        let answer = send(self.address, &head, query.as_bytes());
        let answer = answer.unwrap_or_else(|error| panic!("cannot query InfluxDB 2: {error}"));
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        // An error in the midst of an answer is a table of its own.
        assert!(!answer.body.contains(",error,reference"), "{query}: {}", answer.body);
        let lines = answer.body.lines().map(str::trim_end);
        lines
            .filter(|line| !line.is_empty() && !line.starts_with(",result,table"))
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Influxd2 {
    fn drop(&mut self) {
        // The data is thrown away, so there is nothing to be written down in good order.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
