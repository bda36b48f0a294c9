//! The agent as a service: started with a configuration as a person would, its points in a file beside.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Skip, agent_binary, terminate, wait_for};

/// How long the agent has to say something.
const SAY_LIMIT: Duration = Duration::from_secs(30);

/// `seismograf run`, until it is dropped.
pub struct Running {
    child: Child,
    directory: tempfile::TempDir,
}

impl Running {
    /// Starts it. `{points}` in the configuration is a file that gets every point too: what should be in the database.
    ///
    /// # Errors
    /// Skips the test when there is no agent to start.
    pub fn start(config: &str) -> Result<Self, Skip> {
        let directory = tempfile::tempdir().unwrap();
        let points = directory.path().join("points").display().to_string();
        let path = directory.path().join("agent.conf");
        std::fs::write(&path, config.replace("{points}", &points)).unwrap();
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let child = Command::new(agent_binary()?)
            .arg("--config")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Ok(Self { child, directory })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// Whole lines of the points' file that begin like this.
    pub fn lines(&self, series: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.directory.path().join("points")).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().filter(|line| line.starts_with(series)).map(str::to_owned).collect()
    }

    /// An integer field of the last line that begins like this; 0 when there is none.
    pub fn count(&self, series: &str, field: &str) -> u64 {
        let lines = self.lines(series);
        lines.last().and_then(|line| int(line, field)).map_or(0, i64::cast_unsigned)
    }

    /// Waits until it says this in the log, and shows that line.
    pub fn said(&self, text: &str) {
        wait_for(|| self.log().contains(text), SAY_LIMIT, text);
        let log = self.log();
        println!("log: {}", log.lines().find(|line| line.contains(text)).unwrap());
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
