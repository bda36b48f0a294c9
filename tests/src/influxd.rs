//! A real InfluxDB of the test's own, by default on a free port of the loopback interface, with its data in a temporary directory.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command};

use serde_json::Value;

use crate::http::{self, Answer, START_LIMIT, free_address, percent_encoded, request};
use crate::{Skip, wait_for};

/// How the server is set up.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Refuses requests without a user; `admin` with password `secret` is made at start.
    pub auth: bool,
    /// Bytes of a request's body, as sent; 0 means without limit.
    pub max_body_bytes: u64,
    /// Takes lines over UDP into this database; empty means it does not.
    pub udp_database: String,
    /// Where it listens, when not on a free port of the loopback interface.
    pub listen: Option<SocketAddr>,
}

/// A running server. Dropping it ends the process and removes its data.
pub struct Influxd {
    dir: tempfile::TempDir,
    address: SocketAddr,
    udp_address: SocketAddr,
    setup: Setup,
    child: Option<Child>,
}

impl Influxd {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// Skips the test when `influxd` is not installed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(setup: Setup) -> Result<Self, Skip> {
        let dir = tempfile::tempdir().expect("cannot make a temporary directory");
        let address = setup.listen.unwrap_or_else(free_address);
        let mut server = Self { dir, address, udp_address: free_address(), setup, child: None };
        std::fs::write(server.config(), server.config_text())
            .expect("cannot write the configuration of influxd");
        server.resume()?;
        if server.setup.auth {
            let made = server.query("", "CREATE USER admin WITH PASSWORD 'secret' WITH ALL PRIVILEGES");
            assert_eq!(made.status, 200, "cannot create a user: {made:?}");
        }
        Ok(server)
    }

    /// Starts a server that was stopped, over the same data and on the same port.
    ///
    /// # Errors
    /// Skips the test when `influxd` is not installed.
    ///
    /// # Panics
    /// When it does not start; the message has the end of its log.
    pub fn resume(&mut self) -> Result<(), Skip> {
        let mut command = Command::new("influxd");
        command.arg("run").arg("-config").arg(self.config());
        let address = self.address;
        let is_up = || request(address, "GET", "/ping", None, "").is_ok_and(|answer| answer.status == 204);
        let child = http::start(&mut command, "influxdb", &self.log(), is_up)?;
        self.child = Some(child);
        Ok(())
    }

    /// Ends the server with SIGTERM, and keeps its data.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            // One that has just ended by itself is as good.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        wait_for(
            || child.try_wait().expect("cannot wait for influxd").is_some(),
            START_LIMIT,
            "influxd to end",
        );
    }

    /// Ends the server with SIGKILL, and keeps its data.
    ///
    /// # Panics
    /// When it cannot be ended.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        child.kill().and_then(|()| child.wait()).expect("cannot kill influxd");
    }

    /// Whether it was started and not stopped since.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Its process id.
    ///
    /// # Panics
    /// It was stopped.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// `http://ADDRESS:PORT`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `unix:///path`, which every server listens on too.
    #[must_use]
    pub fn unix_url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// `udp://127.0.0.1:PORT`; see [`Setup::udp_database`].
    #[must_use]
    pub fn udp_url(&self) -> String {
        format!("udp://{}", self.udp_address)
    }

    /// Runs an InfluxQL query, as `admin` where there is a user.
    ///
    /// # Panics
    /// When the server does not answer.
    #[must_use]
    pub fn query(&self, database: &str, query: &str) -> Answer {
        let path = format!("/query?db={}&epoch=ns", percent_encoded(database));
        let user = self.setup.auth.then_some("YWRtaW46c2VjcmV0");
        request(self.address, "POST", &path, user, &format!("q={}", percent_encoded(query)))
            .unwrap_or_else(|error| panic!("cannot query influxd: {error}"))
    }

    /// The rows of a query of one statement: the series of its result, each an object with `name`, `tags`, `columns`
    /// and `values`. Empty when there are none, or no such database.
    ///
    /// # Panics
    /// When the server refuses the query.
    #[must_use]
    pub fn series(&self, database: &str, query: &str) -> Vec<Value> {
        let answer = self.query(database, query);
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        let mut body: Value = serde_json::from_str(&answer.body).expect("influxd answers no JSON");
        let result = body["results"][0].take();
        // A database that does not exist yet has no series.
        if result["error"].as_str().is_some_and(|error| error.starts_with("database not found")) {
            return Vec::new();
        }
        assert!(result.get("error").is_none(), "{query}: {result}");
        result.get("series").and_then(Value::as_array).cloned().unwrap_or_default()
    }

    /// How many values of a field a measurement has.
    ///
    /// # Panics
    /// When the server refuses the query.
    #[must_use]
    pub fn count(&self, database: &str, measurement: &str, field: &str) -> u64 {
        let query = format!("SELECT count(\"{field}\") FROM \"{measurement}\"");
        self.series(database, &query).first().map_or(0, |series| series["values"][0][1].as_u64().unwrap_or(0))
    }

    /// The times of a measurement's values of a field.
    ///
    /// # Panics
    /// When the server refuses the query.
    #[must_use]
    pub fn times(&self, database: &str, measurement: &str, field: &str) -> Vec<i64> {
        let rows = self.series(database, &format!("SELECT \"{field}\" FROM \"{measurement}\""));
        let rows = rows.first().and_then(|row| row["values"].as_array().cloned()).unwrap_or_default();
        rows.iter().filter_map(|row| row[0].as_i64()).collect()
    }

    /// Where it answers.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("influxdb.conf")
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("influxd.sock")
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("influxd.log")
    }

    fn config_text(&self) -> String {
        let dir = self.dir.path().display();
        format!(
            r#"reporting-disabled = true
bind-address = "127.0.0.1:0"
[meta]
  dir = "{dir}/meta"
[data]
  dir = "{dir}/data"
  wal-dir = "{dir}/wal"
  query-log-enabled = false
[monitor]
  store-enabled = false
[http]
  bind-address = "{address}"
  auth-enabled = {auth}
  log-enabled = false
  max-body-size = {max_body}
  unix-socket-enabled = true
  bind-socket = "{socket}"
[[udp]]
  enabled = {udp}
  bind-address = "{udp_address}"
  database = "{udp_database}"
  batch-timeout = "100ms"
  read-buffer = 4194304
"#,
            address = self.address,
            auth = self.setup.auth,
            max_body = self.setup.max_body_bytes,
            socket = self.socket().display(),
            udp = !self.setup.udp_database.is_empty(),
            udp_address = self.udp_address,
            udp_database = self.setup.udp_database,
        )
    }
}

impl Drop for Influxd {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // The data is thrown away, so there is nothing to be written down in good order.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
