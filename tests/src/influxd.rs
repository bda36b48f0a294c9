//! A real InfluxDB of the test's own, by default on a free port of the loopback interface, with its data in a temporary directory.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::{Skip, wait_for};

/// A start takes about 1 s, and several times that on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);
/// For one request of a test.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// How the server is set up.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Refuses requests without a user; `admin` with password `secret` is made at start.
    pub auth: bool,
    /// Bytes of a request's body, as sent; 0 means without limit.
    pub max_body_bytes: u64,
    /// Where it listens, when not on a free port of the loopback interface.
    pub listen: Option<SocketAddr>,
}

/// A running server. Dropping it ends the process and removes its data.
pub struct Influxd {
    dir: tempfile::TempDir,
    address: SocketAddr,
    setup: Setup,
    child: Option<Child>,
}

/// An answer of the server.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
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
        let mut server = Self { dir, address, setup, child: None };
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
        let log = std::fs::File::create(self.log()).expect("cannot create the log of influxd");
        let child = Command::new("influxd")
            .arg("run")
            .arg("-config")
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Skip::because("influxd is not installed: apt-get install influxdb"));
            }
            Err(error) => panic!("cannot start influxd: {error}"),
        };
        let address = self.address;
        let log = self.log();
        wait_for(
            || {
                let ended = child.try_wait().expect("cannot wait for influxd");
                if let Some(status) = ended {
                    panic!("influxd ended with {status}: {}", tail(&log));
                }
                request(address, "GET", "/ping", None, "").is_ok_and(|answer| answer.status == 204)
            },
            START_LIMIT,
            "influxd to answer",
        );
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

    /// `http://ADDRESS:PORT`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
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
        // A database that nobody has made yet has no series.
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

    fn config(&self) -> PathBuf {
        self.dir.path().join("influxdb.conf")
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
"#,
            address = self.address,
            auth = self.setup.auth,
            max_body = self.setup.max_body_bytes,
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

/// A port that nothing listens on now. It can be taken before it is used; a test that meets that says so and fails.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("cannot bind a loopback port");
    listener.local_addr().expect("a bound socket has an address")
}

/// One request over a connection of its own, in HTTP/1.0, so that the answer ends with the connection.
fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    basic_auth: Option<&str>,
    body: &str,
) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, REQUEST_LIMIT)?;
    stream.set_read_timeout(Some(REQUEST_LIMIT))?;
    let mut head = format!("{method} {path} HTTP/1.0\r\nContent-Length: {}\r\n", body.len());
    head.push_str("Content-Type: application/x-www-form-urlencoded\r\n");
    if let Some(user) = basic_auth {
        head.push_str("Authorization: Basic ");
        head.push_str(user);
        head.push_str("\r\n");
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other(format!("no status in `{head}`")))?;
    Ok(Answer { status, body: body.to_owned() })
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

fn tail(path: &Path) -> String {
    let log = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
