//! The agent that gathers and writes, started with a configuration as a person would.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Skip, agent_binary, terminate, wait_for, wait_for_some};

/// The series in which an agent with `hostname = "h"` reports its output `influxdb`.
pub const OUTPUT: &str = "seismograf,host=h,output=influxdb";

/// A running agent with a directory of its own. Dropping it ends the process.
pub struct Running {
    command: Command,
    child: Child,
    directory: tempfile::TempDir,
}

impl Running {
    /// `{points}` in the configuration is a file of the agent's directory, and `{directory}` the directory.
    ///
    /// # Errors
    /// Skips the test when there is no agent to start.
    pub fn start(config: &str) -> Result<Self, Skip> {
        Self::start_with(config, &[])
    }

    /// The same, with more variables in its environment.
    ///
    /// # Errors
    /// Skips the test when there is no agent to start.
    pub fn start_with(config: &str, environment: &[(&str, &str)]) -> Result<Self, Skip> {
        Ok(Self::start_by(Command::new(agent_binary()?), config, environment))
    }

    /// The same through a command that runs the binary, such as `nsenter`.
    pub fn start_by(mut command: Command, config: &str, environment: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let points = directory.path().join("points").display().to_string();
        let path = directory.path().join("agent.conf");
        let mut file = std::fs::File::create(&path).unwrap();
        let config = config.replace("{points}", &points);
        write!(file, "{}", config.replace("{directory}", &directory.path().display().to_string())).unwrap();
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        command.arg("--config").arg(&path).envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().unwrap();
        Self { command, child, directory }
    }

    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The file that `{points}` is.
    #[must_use]
    pub fn points(&self) -> PathBuf {
        self.directory.path().join("points")
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// Whole lines of the points' file that begin like this.
    #[must_use]
    pub fn lines(&self, series: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.points()).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().filter(|line| line.starts_with(series)).map(str::to_owned).collect()
    }

    /// The times of the lines of a measurement that have a field.
    #[must_use]
    pub fn times(&self, measurement: &str, field: &str) -> Vec<i64> {
        let lines = self.lines(&format!("{measurement},"));
        let lines = lines.iter().filter(|line| line.contains(&format!("{field}=")));
        let mut times: Vec<i64> =
            lines.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
        times.sort_unstable();
        times
    }

    /// An integer field of the last line that begins like this; 0 when there is none.
    pub fn count(&self, series: &str, field: &str) -> u64 {
        let lines = self.lines(series);
        lines.last().and_then(|line| int(line, field)).map_or(0, i64::cast_unsigned)
    }

    /// Waits until the log has a text, and prints that line.
    ///
    /// # Panics
    /// When it does not have it within 30 s.
    pub fn wait_for_log(&self, text: &str) {
        wait_for(|| self.log().contains(text), Duration::from_secs(30), text);
        let log = self.log();
        let line = log.lines().find(|line| line.contains(text)).unwrap();
        println!("agent: {line}");
    }

    /// Has it read its configuration again.
    ///
    /// # Panics
    /// When it is not there.
    pub fn reload(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    }

    /// Ends it with SIGKILL.
    ///
    /// # Panics
    /// When it cannot be ended.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it anew, with what is in its directory. It has to have ended.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn resume(&mut self) {
        self.child = self.command.spawn().unwrap();
    }

    /// Whether it has not ended.
    ///
    /// # Panics
    /// When nobody knows.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("cannot wait for the agent").is_none()
    }

    /// Waits until it ends by itself. Returns whether it ended well.
    ///
    /// # Panics
    /// When it does not end within 30 s.
    pub fn ended(&mut self) -> bool {
        let status = || self.child.try_wait().expect("cannot wait for the agent");
        wait_for_some(status, Duration::from_secs(30), "the agent to end").success()
    }

    /// Ends it with SIGTERM. Returns whether it ended well, and after how long.
    pub fn stop(&mut self) -> (bool, Duration) {
        let start = Instant::now();
        (terminate(&mut self.child).success(), start.elapsed())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An integer field of a line.
pub fn int(line: &str, field: &str) -> Option<i64> {
    let (_, rest) = line.split_once(&format!("{field}="))?;
    rest.split_once('i')?.0.parse().ok()
}

/// A line's time, in nanoseconds.
pub fn time(line: &str) -> i64 {
    line.rsplit(' ').next().and_then(|time| time.parse().ok()).unwrap_or_else(|| panic!("no time: {line}"))
}
