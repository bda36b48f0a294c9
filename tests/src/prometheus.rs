//! A real Prometheus of the test's own, and what it and its tool say of pages.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::http::{self, free_address, percent_encoded, request};
use crate::{Skip, has, wait_for};

/// For a scrape on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A running server that scrapes each second. Dropping it ends the process and removes its data.
pub struct Prometheus {
    _directory: tempfile::TempDir,
    address: SocketAddr,
    child: Child,
}

/// The labels of a series, with its name as `__name__`.
pub type Labels = BTreeMap<String, String>;

impl Prometheus {
    /// Starts a server with these jobs, each a name and the lines that follow it in the configuration, such as `static_configs`.
    ///
    /// # Errors
    /// Skips the test when it is not installed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(jobs: &[(&str, &str)]) -> Result<Self, Skip> {
        let directory = tempfile::tempdir().expect("cannot make a temporary directory");
        let mut config = "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\nscrape_configs:\n".to_owned();
        for (name, lines) in jobs {
            config.push_str(&format!("  - job_name: {name}\n"));
            lines.lines().for_each(|line| config.push_str(&format!("    {line}\n")));
        }
        let path = directory.path().join("prometheus.yml");
        std::fs::write(&path, &config).expect("cannot write its configuration");
        let address = free_address();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", path.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn");
        let is_up = || request(address, "GET", "/-/ready", None, "").is_ok_and(|answer| answer.status == 200);
        let child = http::start(&mut command, "prometheus", &directory.path().join("log"), is_up)?;
        Ok(Self { _directory: directory, address, child })
    }

    /// Waits until a job was scraped `n` times, each without an error.
    ///
    /// # Panics
    /// When it is not within a minute; the message has the error.
    pub fn wait_for_scrapes(&self, job: &str, n: usize) {
        let scraped = || self.range(&format!("up{{job=\"{job}\"}}"), "5m");
        let is_enough = || {
            let ups: Vec<f64> = scraped().into_iter().flat_map(|(_, values)| values.into_values()).collect();
            ups.iter().filter(|up| **up == 1.0).count() >= n
        };
        let what = format!("{n} scrapes of {job}: {}", self.get("/api/v1/targets"));
        wait_for(is_enough, LIMIT, &what);
    }

    /// The value of each series of an expression, now.
    ///
    /// # Panics
    /// When the server refuses it.
    #[must_use]
    pub fn query(&self, expression: &str) -> Vec<(Labels, f64)> {
        self.result(&format!("query?query={}", percent_encoded(expression)))
            .iter()
            .map(|series| (labels(series), number(&series["value"][1])))
            .collect()
    }

    /// The values of each series of a selector in the last `range`, by their times in milliseconds.
    ///
    /// # Panics
    /// When the server refuses it.
    #[must_use]
    pub fn range(&self, selector: &str, range: &str) -> Vec<(Labels, BTreeMap<i64, f64>)> {
        self.result_of(&format!("query?query={}", percent_encoded(&format!("{selector}[{range}]"))))
    }

    /// The values of each series of an expression, at each of the last seconds, by their times in milliseconds.
    ///
    /// # Panics
    /// When the server refuses it.
    #[must_use]
    pub fn over_time(&self, expression: &str, seconds: i64) -> Vec<(Labels, BTreeMap<i64, f64>)> {
        let now = self.query("vector(time())");
        let end = now.first().expect("a vector has a value").1;
        self.result_of(&format!(
            "query_range?step=1&start={}&end={end}&query={}",
            end - seconds as f64,
            percent_encoded(expression)
        ))
    }

    /// The type of each metric of a job, as its page said it.
    ///
    /// # Panics
    /// When the server refuses it.
    #[must_use]
    pub fn types(&self, job: &str) -> BTreeMap<String, String> {
        let target = percent_encoded(&format!("{{job=\"{job}\"}}"));
        let answer = self.get(&format!("/api/v1/targets/metadata?match_target={target}"));
        let all = answer["data"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        all.iter().map(|metric| (text(&metric["metric"]), text(&metric["type"]))).collect()
    }

    fn result(&self, query: &str) -> Vec<Value> {
        let answer = self.get(&format!("/api/v1/{query}"));
        answer["data"]["result"].as_array().cloned().unwrap_or_default()
    }

    fn result_of(&self, query: &str) -> Vec<(Labels, BTreeMap<i64, f64>)> {
        let of = |series: &Value| {
            let values = series["values"].as_array().cloned().unwrap_or_default();
            let value = |pair: &Value| {
                let time = (pair[0].as_f64().expect("a time") * 1e3).round() as i64;
                (time, number(&pair[1]))
            };
            (labels(series), values.iter().map(value).collect())
        };
        self.result(query).iter().map(of).collect()
    }

    fn get(&self, path: &str) -> Value {
        let answer = request(self.address, "GET", path, None, "");
        let answer = answer.unwrap_or_else(|error| panic!("cannot query prometheus: {error}"));
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.body))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // The data is thrown away, so there is nothing to be written down in good order.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn labels(series: &Value) -> Labels {
    let labels = series["metric"].as_object().into_iter().flatten();
    labels.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

fn number(value: &Value) -> f64 {
    let text = value.as_str().expect("a value is a text");
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

/// What promtool says of a page in the text format, line by line: nothing, where all is well.
///
/// # Errors
/// Skips the test when it is not installed.
///
/// # Panics
/// When it cannot be run, or the page is no page.
pub fn promtool(page: &str) -> Result<Vec<String>, Skip> {
    if !has("promtool") {
        return Err(Skip::because("promtool is not installed: apt-get install prometheus"));
    }
    let mut tool = Command::new("promtool");
    tool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut tool = tool.spawn().expect("cannot run promtool");
    tool.stdin.take().expect("it has one").write_all(page.as_bytes()).expect("promtool does not read");
    let output = tool.wait_with_output().expect("promtool does not end");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // 3 is for a page that can be read and that it has something to say of.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}: {said}", output.status);
    Ok(said.lines().map(str::to_owned).collect())
}

/// Debian's node exporter, running.
pub struct NodeExporter {
    _directory: tempfile::TempDir,
    /// Where it is asked.
    pub address: SocketAddr,
    child: Child,
}

impl NodeExporter {
    /// Starts it with its default collectors.
    ///
    /// # Errors
    /// Skips the test when it is not installed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Result<Self, Skip> {
        let (directory, address) = (tempfile::tempdir().expect("a temporary directory"), free_address());
        let mut command = Command::new("prometheus-node-exporter");
        command.arg(format!("--web.listen-address={address}")).arg("--log.level=warn");
        let child = start(&mut command, "prometheus-node-exporter", directory.path(), address)?;
        Ok(Self { _directory: directory, address, child })
    }
}

impl Drop for NodeExporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The variable that names cAdvisor.
const CADVISOR: &str = "SEISMOGRAF_CADVISOR";

/// The real cAdvisor, running. `cargo xtask cadvisor` builds it.
pub struct Cadvisor {
    _directory: tempfile::TempDir,
    /// Where it is asked.
    pub address: SocketAddr,
    child: Child,
}

impl Cadvisor {
    /// Looks whether there is one.
    ///
    /// # Errors
    /// Skips the test when it was not built.
    pub fn is_built() -> Result<std::path::PathBuf, Skip> {
        let program = std::env::var_os(CADVISOR).map(Into::into);
        program.ok_or_else(|| Skip::because("there is no cAdvisor: build it by `cargo xtask cadvisor`"))
    }

    /// Starts it for the docker daemon of a socket.
    ///
    /// # Errors
    /// Skips the test when it was not built.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(docker: &Path) -> Result<Self, Skip> {
        let (directory, address) = (tempfile::tempdir().expect("a temporary directory"), free_address());
        let mut command = Self::command(docker, address)?;
        let child = start(&mut command, "cadvisor", directory.path(), address)?;
        Ok(Self { _directory: directory, address, child })
    }

    /// What starts it.
    ///
    /// # Errors
    /// Skips the test when it was not built.
    pub fn command(docker: &Path, address: SocketAddr) -> Result<Command, Skip> {
        let mut command = Command::new(Self::is_built()?);
        command.arg(format!("-listen={address}")).arg(format!("-docker=unix://{}", docker.display()));
        Ok(command)
    }
}

impl Drop for Cadvisor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts an exporter and waits for its page.
fn start(command: &mut Command, package: &str, directory: &Path, address: SocketAddr) -> Result<Child, Skip> {
    let is_up = || request(address, "GET", "/metrics", None, "").is_ok_and(|answer| answer.status == 200);
    http::start(command, package, &directory.join("log"), is_up)
}
