//! When totals were 0: at the machine's boot, when the process started, or with the run that the `statefile` goes back to.
//!
//! OpenTelemetry asks for it of every sum. What is told here is of the whole process, as the `statefile` is.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::point::Timestamp;

/// When counting began, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// What the kernel counts: the boot.
    pub(crate) boot: i64,
    /// What the agent counts: its start.
    pub(crate) start: i64,
}

/// Of this process.
static PROCESS: OnceLock<Origin> = OnceLock::new();
/// Of the totals that the `statefile` has; `None` without one.
static KEPT: Mutex<Option<Origin>> = Mutex::new(None);

/// That of this process; its start is when this is called first.
pub(crate) fn of_process() -> Origin {
    *PROCESS.get_or_init(|| Origin { boot: boot(), start: Timestamp::now().0 })
}

/// That of totals which go on from one run to the next.
pub(crate) fn of_kept() -> Origin {
    lock().unwrap_or_else(of_process)
}

/// Totals go on that began then.
pub(crate) fn goes_on_from(origin: Origin) {
    *lock() = Some(origin);
}

fn lock() -> std::sync::MutexGuard<'static, Option<Origin>> {
    // Nothing panics while it holds the lock.
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// By `btime` of `/proc/stat`, which is the same each time that somebody looks, unless the clock is set.
fn boot() -> i64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok());
    let since = Duration::from_secs(seconds.unwrap_or(0));
    i64::try_from(since.as_nanos()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_booted_before_the_process_began_and_that_stays_so() {
        let origin = of_process();
        assert!(0 < origin.boot && origin.boot < origin.start && origin.start <= Timestamp::now().0);
        assert_eq!(of_process(), origin);
    }
}
