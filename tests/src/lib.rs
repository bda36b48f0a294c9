//! The end-to-end harness: starts the agent and its peers, waits for conditions, and keeps count of what was skipped.
//!
//! The tests themselves are the modules of `it/`. What only one of them needs stays there.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is the way of a test to fail")]

pub mod agent;
pub mod bench;
pub mod cgroup;
pub mod chromium;
pub mod confine;
pub mod disk;
pub mod docker;
pub mod etcd;
pub mod forbidden;
pub mod gather;
pub mod grpc;
pub mod http;
pub mod influxd;
pub mod influxd2;
pub mod kafka;
pub mod kubelet;
pub mod loads;
pub mod looks;
pub mod mount;
pub mod netns;
pub mod odd;
pub mod oracle;
pub mod otelcol;
pub mod program;
pub mod prometheus;
pub mod remote_write;
pub mod report;
pub mod running;
pub mod scheduler;
pub mod stage;
pub mod standin;
#[cfg(target_arch = "x86_64")]
pub mod steps;
pub mod suite;
pub mod svg;
pub mod telegraf;
pub mod tmux;
pub mod tracefs;
pub mod victoria;
pub mod work;
pub mod writers;

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

pub use suite::{Skip, extra, trial};

/// From one look at a condition to the next.
const POLL_PERIOD: Duration = Duration::from_millis(20);

/// What runs asynchronous code of a test, on its thread.
#[must_use]
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Waits until a condition holds, and returns when it does.
///
/// # Panics
/// When it does not within `timeout`; the message names `what` was waited for.
pub fn wait_for(mut condition: impl FnMut() -> bool, timeout: Duration, what: &str) {
    wait_for_some(|| condition().then_some(()), timeout, what);
}

/// Waits until there is a value, and returns it.
///
/// # Panics
/// When there is none within `timeout`; the message names `what` was waited for.
pub fn wait_for_some<T>(mut look: impl FnMut() -> Option<T>, timeout: Duration, what: &str) -> T {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(Instant::now() < deadline, "timed out after {timeout:?} waiting for {what}");
        pause(POLL_PERIOD);
    }
}

/// Lets time pass: between two looks at a condition, or where time itself is what a worker is about.
#[expect(clippy::disallowed_methods, reason = "the one place that waits between two looks at a condition")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// The agent to test: `SEISMOGRAF_BIN`, which `cargo xtask test` sets.
///
/// # Errors
/// Skips the test when the variable is not set.
pub fn agent_binary() -> Result<PathBuf, Skip> {
    std::env::var_os("SEISMOGRAF_BIN")
        .map(PathBuf::from)
        .ok_or_else(|| Skip::because("SEISMOGRAF_BIN does not name the agent: run it by `cargo xtask test`"))
}

/// Asks a process of ours to end, and waits until it did.
///
/// # Panics
/// When it cannot be waited for.
pub fn terminate(child: &mut Child) -> ExitStatus {
    // SAFETY: a system call on our own child, which is not reaped before this.
    unsafe { libc::kill(child.id().cast_signed(), libc::SIGTERM) };
    child.wait().unwrap()
}

/// What a suite of the kernel's figures cannot do without.
///
/// # Errors
/// Skips the test where probes cannot be loaded, or a program is not installed.
pub fn needs(programs: &[&str]) -> Result<(), Skip> {
    if !rustix::process::geteuid().is_root() {
        return Err(Skip::because("needs root"));
    }
    let missing: Vec<&str> = programs.iter().copied().filter(|program| !has(program)).collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Skip::because(format!("not installed: {}", missing.join(", "))))
    }
}

/// Skips a test that has another user than root run a program, where only root may enter the root directory.
///
/// # Errors
/// The reason.
pub fn needs_open_root() -> Result<(), Skip> {
    use std::os::unix::fs::MetadataExt as _;
    let mode = std::fs::metadata("/").map_or(0, |root| root.mode());
    if mode & 0o001 != 0 {
        return Ok(());
    }
    Err(Skip::because(format!("only root may enter the root directory, whose mode is {:o}", mode & 0o7777)))
}

/// Whether a program is installed.
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// A shell's first line after `unshare --mount --propagation unchanged`: from then on nothing that it mounts or unmounts is
/// the host's. In a root directory that is no mount, `unshare` itself could not say so; there it is said of what is below.
pub const OWN_MOUNTS: &str = "mount --make-rslave / 2>/dev/null || { mount --make-rslave /proc && mount --make-rslave /sys; } || exit 1\n";

/// Runs a command to its end.
///
/// # Panics
/// With its output, when it fails.
pub fn run(program: &str, args: &[&str]) -> String {
    let output = try_run(program, args);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{program} {}: {}\n{stdout}{stderr}", args.join(" "), output.status);
    stdout
}

/// Runs a command to its end, whatever that is.
///
/// # Panics
/// When it cannot be started.
pub fn try_run(program: &str, args: &[&str]) -> Output {
    match Command::new(program).args(args).stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => panic!("cannot run {program}: {error}"),
    }
}

/// How many of something a test makes: `few`, or as many as the variable says, where a run of its own is to make more.
#[must_use]
pub fn number(variable: &str, few: u64) -> u64 {
    std::env::var(variable).ok().and_then(|number| number.parse().ok()).unwrap_or(few)
}
