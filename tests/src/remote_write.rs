//! A real Prometheus of the test's own that takes remote writes, on a free port of the loopback interface, with its data in a
//! temporary directory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Child, Command};

use serde_json::Value;

use crate::Skip;
use crate::http::{self, free_address};
use crate::victoria::Series;

/// A running server. Dropping it ends the process and removes its data.
pub struct Receiver {
    _directory: tempfile::TempDir,
    address: SocketAddr,
    child: Child,
}

impl Receiver {
    /// Starts a server and waits until it takes writes.
    ///
    /// # Errors
    /// Skips the test when it is not installed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Result<Self, Skip> {
        let directory = tempfile::tempdir().expect("cannot make a temporary directory");
        let address = free_address();
        let config = directory.path().join("prometheus.yml");
        std::fs::write(&config, "global: {}\n").expect("cannot write a configuration");
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--web.listen-address={address}"))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg("--web.enable-remote-write-receiver");
        let is_up =
            || http::request(address, "GET", "/-/ready", None, "").is_ok_and(|answer| answer.status == 200);
        let child = http::start(&mut command, "prometheus", &directory.path().join("log"), is_up)?;
        Ok(Self { _directory: directory, address, child })
    }

    /// Where it takes writes.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/api/v1/write", self.address)
    }

    /// Has it take a body, whoever made it.
    ///
    /// # Panics
    /// When the server does not answer.
    #[must_use]
    pub fn take(&self, body: &[u8]) -> http::Answer {
        let head = "POST /api/v1/write HTTP/1.0\r\nContent-Type: application/x-protobuf\r\n\
                    Content-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\n";
        http::send(self.address, head, body)
            .unwrap_or_else(|error| panic!("cannot write to prometheus: {error}"))
    }

    /// Every sample of the last hour of the series whose name matches a pattern.
    ///
    /// # Panics
    /// When the server does not answer.
    #[must_use]
    pub fn series(&self, name: &str) -> Vec<Series> {
        let query = http::percent_encoded(&format!("{{__name__=~\"{name}\"}}[1h]"));
        let answer = http::request(self.address, "GET", &format!("/api/v1/query?query={query}"), None, "");
        let answer = answer.unwrap_or_else(|error| panic!("cannot query prometheus: {error}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        let body: Value = serde_json::from_str(&answer.body).expect("prometheus answers no JSON");
        body["data"]["result"].as_array().expect("no result").iter().map(series).collect()
    }
}

/// Times are in seconds with three digits, and values are texts.
fn series(result: &Value) -> Series {
    let labels = result["metric"].as_object().expect("a series has labels").iter();
    let labels =
        labels.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
    let values = result["values"].as_array().expect("a series has values").iter();
    let value = |pair: &Value| {
        let time = (pair[0].as_f64()? * 1e3).round() as i64;
        Some((time, pair[1].as_str()?.parse().ok()?))
    };
    (labels, values.filter_map(value).collect::<BTreeMap<i64, f64>>())
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // The data is thrown away, so there is nothing to be written down in good order.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
