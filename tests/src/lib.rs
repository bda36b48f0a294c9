//! The end-to-end harness: starts the agent and its peers, waits for conditions, and keeps count of what was skipped.
//!
//! The tests themselves are the modules of `it/`. What only one of them needs stays there.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is the way of a test to fail")]

pub mod influxd;
pub mod suite;

use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use suite::{Skip, extra, trial};

/// From one look at a condition to the next.
const POLL_PERIOD: Duration = Duration::from_millis(20);

/// Waits until a condition holds, and returns when it does.
///
/// # Panics
/// When it does not within `timeout`; the message says `what` was waited for.
pub fn wait_for(mut condition: impl FnMut() -> bool, timeout: Duration, what: &str) {
    wait_for_some(|| condition().then_some(()), timeout, what);
}

/// Waits until there is a value, and returns it.
///
/// # Panics
/// When there is none within `timeout`; the message says `what` was waited for.
pub fn wait_for_some<T>(mut look: impl FnMut() -> Option<T>, timeout: Duration, what: &str) -> T {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {timeout:?} for {what}, in vain");
        pause(POLL_PERIOD);
    }
}

/// Lets time pass between two looks at a condition.
#[expect(clippy::disallowed_methods, reason = "the one place that waits between two looks at a condition")]
fn pause(time: Duration) {
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
