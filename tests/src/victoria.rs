//! A real VictoriaMetrics of the test's own, on free ports of the loopback interface, with its data in a temporary directory.
//!
//! It takes what InfluxDB 1 and 2 take, and gives numbers back: <https://docs.victoriametrics.com/#how-to-send-data-from-influxdb-compatible-agents-such-as-telegraf>.
//! A single one is a package of Debian's; `cargo xtask victoria` builds a cluster.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::Skip;
use crate::http::{self, free_address};

/// The variable that names the folder with the programs of a cluster.
const PROGRAMS: &str = "SEISMOGRAF_VICTORIA";
/// A time from now on that no test's points reach. For one that is centuries away a cluster has nothing.
const FAR: Duration = Duration::from_secs(24 * 3_600);

/// One series: its name and labels, and its values by their time in milliseconds.
pub type Series = (BTreeMap<String, String>, BTreeMap<i64, f64>);

/// A running server. Dropping it ends the process and removes its data.
pub struct Victoria {
    process: Process,
    _dir: tempfile::TempDir,
}

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
        let data = format!("-storageDataPath={}", dir.path().join("data").display());
        let process = Process::start(OsStr::new("victoria-metrics"), dir.path(), &[data])?;
        Ok(Self { process, _dir: dir })
    }

    /// `http://127.0.0.1:PORT`
    #[must_use]
    pub fn url(&self) -> String {
        self.process.url()
    }

    /// Every series whose name matches a pattern.
    ///
    /// # Panics
    /// When the server does not answer.
    #[must_use]
    pub fn series(&self, name: &str) -> Vec<Series> {
        self.process.make_visible();
        self.process.export("", name)
    }
}

/// A running cluster: two that store, one that takes, one that answers. Dropping it ends them all and removes their data.
pub struct VictoriaCluster {
    insert: Process,
    select: Process,
    storages: Vec<Process>,
    _dir: tempfile::TempDir,
}

impl VictoriaCluster {
    /// Starts a cluster and waits until all of it answers.
    ///
    /// # Errors
    /// Skips the test when it was not built.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Result<Self, Skip> {
        let programs = std::env::var_os(PROGRAMS).map(PathBuf::from).ok_or_else(|| {
            Skip::because("there is no cluster of VictoriaMetrics: build it by `cargo xtask victoria`")
        })?;
        let dir = tempfile::tempdir().expect("cannot make a temporary directory");
        let (mut storages, mut inserts, mut selects) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..2 {
            let (for_insert, for_select) = (free_address(), free_address());
            let directory = dir.path().join(format!("storage{n}"));
            std::fs::create_dir(&directory).expect("cannot make a directory");
            let args = [
                format!("-storageDataPath={}", directory.join("data").display()),
                format!("-vminsertAddr={for_insert}"),
                format!("-vmselectAddr={for_select}"),
            ];
            storages.push(Process::start(programs.join("vmstorage").as_os_str(), &directory, &args)?);
            inserts.push(format!("-storageNode={for_insert}"));
            selects.push(format!("-storageNode={for_select}"));
        }
        let insert = Process::start(programs.join("vminsert").as_os_str(), dir.path(), &inserts)?;
        let select = Process::start(programs.join("vmselect").as_os_str(), dir.path(), &selects)?;
        Ok(Self { insert, select, storages, _dir: dir })
    }

    /// Where it takes what InfluxDB takes, for the tenant 0.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/insert/0/influx", self.insert.url())
    }

    /// Every series of the tenant 0 whose name matches a pattern.
    ///
    /// # Panics
    /// When one of them does not answer.
    #[must_use]
    pub fn series(&self, name: &str) -> Vec<Series> {
        self.storages.iter().for_each(Process::make_visible);
        self.select.export("/select/0/prometheus", name)
    }

    /// How many values each of those that store was given.
    ///
    /// # Panics
    /// When one of them does not answer.
    #[must_use]
    pub fn stored(&self) -> Vec<u64> {
        let of_one = |storage: &Process| {
            let page = storage.get("/metrics").body;
            let line = page.lines().find_map(|line| line.strip_prefix("vm_vminsert_metrics_read_total "));
            line.and_then(|number| number.parse().ok()).expect("no count of what was read")
        };
        self.storages.iter().map(of_one).collect()
    }
}

/// One of VictoriaMetrics' programs, which is ended with this.
struct Process {
    address: SocketAddr,
    child: Child,
}

impl Process {
    /// Starts it and waits until it answers. What it writes by itself goes to the directory.
    fn start(program: &OsStr, directory: &Path, args: &[String]) -> Result<Self, Skip> {
        let address = free_address();
        let mut command = Command::new(program);
        command.current_dir(directory).arg(format!("-httpListenAddr={address}"));
        command.arg("-memory.allowedBytes=128MiB").args(args);
        let is_up =
            || http::request(address, "GET", "/health", None, "").is_ok_and(|answer| answer.status == 200);
        let name = Path::new(program).file_name().unwrap_or(program);
        let log = directory.join(name).with_extension("log");
        let child = http::start(&mut command, "victoria-metrics", &log, is_up)?;
        Ok(Self { address, child })
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What came in a moment ago is in memory, out of sight of queries.
    fn make_visible(&self) {
        let answer = self.get("/internal/force_flush");
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    fn export(&self, prefix: &str, name: &str) -> Vec<Series> {
        let matching = http::percent_encoded(&format!("{{__name__=~\"{name}\"}}"));
        let end = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is right") + FAR;
        // By itself it leaves out the last second or so.
        let range = format!("start=0&end={}", end.as_secs());
        let answer = self.get(&format!("{prefix}/api/v1/export?match%5B%5D={matching}&{range}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body.lines().map(series).collect()
    }

    fn get(&self, path: &str) -> http::Answer {
        http::request(self.address, "GET", path, None, "")
            .unwrap_or_else(|error| panic!("cannot ask VictoriaMetrics for {path}: {error}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The data is thrown away, so there is nothing to be written down in good order.
        let _ = self.child.kill();
        let _ = self.child.wait();
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
