//! A real VictoriaMetrics of the test's own, on a free port of the loopback interface, with its data in a temporary directory.
//!
//! It takes what InfluxDB 1 and 2 take, and gives numbers back: <https://docs.victoriametrics.com/#how-to-send-data-from-influxdb-compatible-agents-such-as-telegraf>.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Child, Command};

use serde_json::Value;

use crate::Skip;
use crate::http::{self, free_address};

/// A time in seconds that no test's points reach.
const FAR: u64 = 1 << 33;

/// A running server. Dropping it ends the process and removes its data.
pub struct Victoria {
    _dir: tempfile::TempDir,
    address: SocketAddr,
    child: Child,
}

/// One series: its name and labels, and its values by their time in milliseconds.
pub type Series = (BTreeMap<String, String>, BTreeMap<i64, f64>);

impl Victoria {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// Skips the test when it is not installed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Result<Self, Skip> {
        let dir = tempfile::tempdir().expect("cannot make a temporary directory");
        let address = free_address();
        let mut command = Command::new("victoria-metrics");
        command
            .arg(format!("-httpListenAddr={address}"))
            .arg(format!("-storageDataPath={}", dir.path().join("data").display()))
            .arg("-memory.allowedBytes=128MiB");
        let is_up =
            || http::request(address, "GET", "/health", None, "").is_ok_and(|answer| answer.status == 200);
        let child = http::start(&mut command, "victoria-metrics", &dir.path().join("log"), is_up)?;
        Ok(Self { _dir: dir, address, child })
    }

    /// `http://127.0.0.1:PORT`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every series whose name matches a pattern.
    ///
    /// # Panics
    /// When the server does not answer.
    #[must_use]
    pub fn series(&self, name: &str) -> Vec<Series> {
        // What came in a moment ago is in memory, out of sight of queries.
        let answer = self.get("/internal/force_flush");
        assert_eq!(answer.status, 200, "{answer:?}");
        let matching = http::percent_encoded(&format!("{{__name__=~\"{name}\"}}"));
        // By itself it leaves out the last second or so.
        let answer = self.get(&format!("/api/v1/export?match%5B%5D={matching}&start=0&end={FAR}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body.lines().map(series).collect()
    }

    fn get(&self, path: &str) -> http::Answer {
        http::request(self.address, "GET", path, None, "")
            .unwrap_or_else(|error| panic!("cannot query victoria-metrics: {error}"))
    }
}

fn series(line: &str) -> Series {
    let line: Value = serde_json::from_str(line).expect("a line of the export is JSON");
    let labels = line["metric"].as_object().expect("a series has labels").iter();
    let labels =
        labels.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
    let array = |key: &str| line[key].as_array().cloned().unwrap_or_default();
    let times = array("timestamps").into_iter().filter_map(|time| time.as_i64());
    let values = array("values").into_iter().filter_map(|value| value.as_f64());
    (labels, times.zip(values).collect())
}

impl Drop for Victoria {
    fn drop(&mut self) {
        // The data is thrown away, so there is nothing to be written down in good order.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
