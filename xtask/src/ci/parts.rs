//! The end-to-end tests in parts, some at the same time, and the sum of their results.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::command::workspace;

/// The variable that names a part of the end-to-end tests (`tests/it/main.rs`).
const PART: &str = "SEISMOGRAF_PART";

/// Has a program run in a network namespace of its own, with a loopback.
const ALONE_ON_ITS_LOOPBACK: [&str; 6] =
    ["unshare", "--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"];

/// Runs all parts: first what is to have the machine for itself, then those that mostly wait at the same time, all but one in a
/// network namespace of their own, so that a port that is free for one is not taken by another. The last line is
/// the runner's own, of all parts. The error names each test that failed.
pub(super) fn run(test: &impl Fn(&[&str]) -> Command) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut sum = Tally::default();
    Part::start("alone", test(&[]))?.finish(&mut sum)?;
    let parts = [
        Part::start("first", test(&ALONE_ON_ITS_LOOPBACK))?,
        Part::start("second", test(&ALONE_ON_ITS_LOOPBACK))?,
        Part::start("third", test(&[]))?,
    ];
    for part in parts {
        part.finish(&mut sum)?;
    }
    println!("{}", sum.closing_line(start.elapsed()));
    if sum.failures.is_empty() { Ok(()) } else { bail!("failed: {}", sum.failures.join(", ")) }
}

/// A part that runs, and the file that has what it prints.
struct Part {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Part {
    fn start(name: &'static str, mut test: Command) -> anyhow::Result<Self> {
        let directory = workspace().join("target/e2e");
        std::fs::create_dir_all(&directory)?;
        let log = directory.join(name);
        let file = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let child = test.env(PART, name).stdout(file.try_clone()?).stderr(file).spawn()?;
        Ok(Self { name, child, log })
    }

    /// Shows what it prints until it ends, and adds its result to the sum.
    fn finish(self, sum: &mut Tally) -> anyhow::Result<()> {
        let Self { name, mut child, log } = self;
        // By its file, not by a pipe: whatever a test leaves behind would keep a pipe open.
        let mut printed = File::open(&log)?;
        let (ends, end) = mpsc::channel();
        std::thread::spawn(move || ends.send(child.wait()));
        let status = loop {
            let end = end.recv_timeout(Duration::from_millis(200));
            // What was printed before it ended is in the file by then.
            std::io::copy(&mut printed, &mut std::io::stdout())?;
            match end {
                Ok(status) => break status?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(error @ RecvTimeoutError::Disconnected) => return Err(error.into()),
            }
        };
        let text = std::fs::read(&log)?;
        sum.add(name, status, &String::from_utf8_lossy(&text));
        Ok(())
    }
}

/// What the parts came to.
#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    filtered_out: u64,
    /// The names of the tests that failed, and of each part that failed otherwise.
    failures: Vec<String>,
}

impl Tally {
    /// Adds the result of a part that printed this.
    fn add(&mut self, part: &str, status: ExitStatus, text: &str) {
        let closing = text.lines().rfind(|line| line.starts_with("test result: ")).unwrap_or_default();
        let count = |what: &str| {
            let words: Vec<&str> = closing.split([' ', ';']).collect();
            let before = words.windows(2).find(|pair| pair[1] == what);
            before.and_then(|pair| pair[0].parse::<u64>().ok()).unwrap_or(0)
        };
        self.passed += count("passed");
        self.failed += count("failed");
        self.ignored += count("ignored");
        self.filtered_out += count("filtered");
        let names = text.rsplit_once("\nfailures:\n").map_or("", |(_, names)| names);
        let before = self.failures.len();
        self.failures.extend(names.lines().map_while(|line| line.strip_prefix("    ")).map(str::to_owned));
        if !status.success() && self.failures.len() == before {
            self.failures.push(format!("the part `{part}`: {status}"));
        }
    }

    /// The line that a test runner ends with.
    fn closing_line(&self, took: Duration) -> String {
        let Self { passed, failed, ignored, filtered_out, failures } = self;
        let result = if failures.is_empty() { "ok" } else { "FAILED" };
        format!(
            "test result: {result}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; {filtered_out} filtered out; finished in {:.2}s",
            took.as_secs_f64()
        )
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn results_are_summed_and_failures_named() {
        let good = "test a::b ... ok\n\ntest result: ok. 38 passed; 0 failed; 2 ignored; 0 measured; 1 filtered out; finished in 241.35s\n";
        let bad = "failures:\n\n---- c::d ----\nno\n\n\nfailures:\n    c::d\n    e::f\n\ntest result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.05s\n";
        let mut sum = Tally::default();
        sum.add("first", ExitStatus::from_raw(0), good);
        let line =
            "test result: ok. 38 passed; 0 failed; 2 ignored; 0 measured; 1 filtered out; finished in 3.00s";
        assert_eq!(sum.closing_line(Duration::from_secs(3)), line);
        sum.add("second", ExitStatus::from_raw(101 << 8), bad);
        sum.add("third", ExitStatus::from_raw(9), "test a::b ... ");
        assert_eq!(sum.failures[..2], ["c::d", "e::f"]);
        assert!(
            sum.failures[2].contains("third") && sum.failures[2].contains("signal: 9"),
            "{sum:?}",
            sum = sum.failures
        );
        let line = "test result: FAILED. 42 passed; 2 failed; 2 ignored; 0 measured; 1 filtered out; finished in 3.00s";
        assert_eq!(sum.closing_line(Duration::from_secs(3)), line);
    }
}
