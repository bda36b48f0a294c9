//! The agent under test: started as a person would, read through what it prints.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use seismograf::options::common::auto_precision;
use seismograf::point::Timestamp;
use serde_json::Value;

use crate::{Skip, agent_binary, wait_for};

/// How long anything that the agent does may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A point as `dump --format json` prints it.
#[derive(Clone, Debug)]
pub struct Point {
    /// The measurement.
    pub measurement: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its fields.
    pub fields: BTreeMap<String, Value>,
    time: i64,
}

impl Point {
    /// An integer field; 0 when it is not there.
    pub fn int(&self, field: &str) -> i64 {
        self.fields.get(field).and_then(Value::as_i64).unwrap_or(0)
    }

    /// A fraction; NaN when it is not there.
    pub fn float(&self, field: &str) -> f64 {
        self.fields.get(field).and_then(Value::as_f64).unwrap_or(f64::NAN)
    }

    /// A tag; empty when it is not there.
    pub fn tag(&self, tag: &str) -> &str {
        self.tags.get(tag).map_or("", String::as_str)
    }
}

/// What the agent has printed so far.
#[derive(Default)]
struct Seen {
    /// The latest point of each series.
    latest: BTreeMap<(String, Vec<(String, String)>), Point>,
    /// Gathers that were printed whole.
    gathers: u64,
    /// The time of the latest one.
    gathered: i64,
    log: String,
}

/// `seismograf dump`, running.
pub struct Agent {
    child: Child,
    seen: Arc<Mutex<Seen>>,
    readers: Vec<JoinHandle<()>>,
    /// To which the times of its points are rounded.
    precision: Duration,
    _config: tempfile::NamedTempFile,
}

impl Agent {
    /// Starts it with this `[[inputs.ebpf]]` section, gathering every `interval_ms`, and waits for the first gather.
    ///
    /// # Errors
    /// Skips the test when there is no agent to start.
    pub fn start(section: &str, interval_ms: u64) -> Result<Self, Skip> {
        Self::start_inputs(&ebpf(section), interval_ms)
    }

    /// The same with these inputs, and `mem`.
    ///
    /// # Errors
    /// Skips the test when there is no agent to start.
    pub fn start_inputs(inputs: &str, interval_ms: u64) -> Result<Self, Skip> {
        let agent = Self::spawn_inputs(Command::new(agent_binary()?), inputs, interval_ms);
        agent.next_gather();
        Ok(agent)
    }

    /// Starts it through a command that is to run the binary (`setpriv`, `unshare`), without waiting.
    pub fn spawn(command: Command, section: &str, interval_ms: u64) -> Self {
        Self::spawn_inputs(command, &ebpf(section), interval_ms)
    }

    /// The same with these inputs, and `mem`.
    pub fn spawn_inputs(mut command: Command, inputs: &str, interval_ms: u64) -> Self {
        let mut config = tempfile::NamedTempFile::with_suffix(".conf").unwrap();
        writeln!(config, "{inputs}\n[[inputs.mem]]").unwrap();
        let mut child = command
            .args(["dump", "--format", "json", "--interval", &format!("{interval_ms}ms"), "--config"])
            .arg(config.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let points = {
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    take(&mut seen.lock().unwrap(), &line);
                }
            })
        };
        let log = {
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || {
                let mut chunk = [0; 4096];
                while let Ok(n @ 1..) = stderr.read(&mut chunk) {
                    seen.lock().unwrap().log.push_str(&String::from_utf8_lossy(&chunk[..n]));
                }
            })
        };
        let precision = auto_precision(Duration::from_millis(interval_ms));
        Self { child, seen, readers: vec![points, log], precision, _config: config }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a gather that began after this call: one that is under way now does not count, nor do those that wait to be read.
    pub fn next_gather(&self) {
        let target = (Timestamp::now().0).saturating_add(self.precision.as_nanos() as i64);
        let gathers = self.gathers() + 1;
        let is_whole = |seen: &Seen| seen.gathers >= gathers && seen.gathered >= target;
        wait_for(|| is_whole(&self.seen.lock().unwrap()), LIMIT, "a gather of the agent");
    }

    /// Gathers that were printed whole.
    pub fn gathers(&self) -> u64 {
        self.seen.lock().unwrap().gathers
    }

    /// The latest points of a measurement.
    pub fn points(&self, measurement: &str) -> Vec<Point> {
        let seen = self.seen.lock().unwrap();
        seen.latest.values().filter(|point| point.measurement == measurement).cloned().collect()
    }

    /// The latest point of a measurement that has these tags.
    pub fn point(&self, measurement: &str, tags: &[(&str, &str)]) -> Option<Point> {
        self.points(measurement)
            .into_iter()
            .find(|point| tags.iter().all(|(key, value)| point.tag(key) == *value))
    }

    /// The agent's own telemetry of a part that has no further tags.
    pub fn part(&self, part: &str) -> Point {
        let points = self.points("seismograf");
        let of = |point: &Point| point.tag("part") == part && !point.tags.contains_key("device");
        points
            .into_iter()
            .find(of)
            .unwrap_or_else(|| panic!("no point about {part}; the log:\n{}", self.log()))
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.seen.lock().unwrap().log.clone()
    }

    /// Sends a signal by number.
    pub fn signal(&self, signal: i32) {
        // SAFETY: a system call on our own child, which is not reaped before this handle is dropped.
        let result = unsafe { libc::kill(self.child.id().cast_signed(), signal) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.signal(libc::SIGCONT);
        self.signal(libc::SIGTERM);
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

fn ebpf(section: &str) -> String {
    format!("[[inputs.ebpf]]\n{section}")
}

fn take(seen: &mut Seen, line: &str) {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let object = |key: &str| value[key].as_object().cloned().unwrap_or_default();
    let tags: BTreeMap<String, String> = object("tags")
        .into_iter()
        .map(|(key, value)| (key, value.as_str().unwrap_or("").to_owned()))
        .collect();
    let measurement = value["measurement"].as_str().unwrap_or("").to_owned();
    let key = (measurement.clone(), tags.clone().into_iter().collect());
    // The input that comes last in the file marks the end of a gather.
    let is_last = measurement == "mem";
    let time = value["time"].as_i64().unwrap_or(0);
    let mut fields: BTreeMap<String, Value> = object("fields").into_iter().collect();
    // Points of one series and time are one, as in a database.
    if let Some(same) = seen.latest.get(&key).filter(|point| point.time == time) {
        fields.extend(same.fields.clone());
    }
    seen.latest.insert(key, Point { measurement, tags, fields, time });
    if is_last {
        seen.gathers += 1;
        seen.gathered = time;
    }
}
