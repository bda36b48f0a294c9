//! Notices when the system's clock was set, or the machine slept: a time that was waited for is another one then.
//!
//! The kernel says so by a timer that is cancelled then (timerfd_create(2), `TFD_TIMER_CANCEL_ON_SET`).

use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

/// Smaller steps are not logged.
const LOGGED_NS: i128 = 500_000_000;

/// Tells whoever waits for a time that the clock was set.
#[derive(Debug, Default)]
pub struct ClockWatch {
    set: Notify,
}

impl ClockWatch {
    /// Waits until the clock is set, or the machine has slept.
    pub async fn set(&self) {
        self.set.notified().await;
    }

    /// Watches. Does not return.
    pub async fn watch(&self) -> Infallible {
        let Err(error) = self.try_watch().await;
        tracing::debug!(%error, "nothing tells when the clock is set: a gather then may be off its time");
        std::future::pending().await
    }

    async fn try_watch(&self) -> io::Result<Infallible> {
        let timer = timer()?;
        // SAFETY: an `OwnedFd` has one descriptor for as long as it lives, and it lives in the `AsyncFd`.
        let timer = unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }?;
        let mut clocks = Clocks::read();
        loop {
            let mut ready = timer.readable().await?;
            let read = ready.try_io(|timer| Ok(rustix::io::read(timer, &mut [0; 8])?));
            if matches!(&read, Ok(Err(error)) if error.raw_os_error() == Some(Errno::CANCELED.raw_os_error()))
            {
                let now = Clocks::read();
                now.log_since(&clocks);
                clocks = now;
                self.set.notify_waiters();
            }
        }
    }
}

/// A timer that never fires by itself.
fn timer() -> io::Result<OwnedFd> {
    let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    let never = Timespec { tv_sec: i64::MAX / 1_000_000_000, tv_nsec: 0 };
    let time = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: never };
    timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET, &time)?;
    Ok(timer)
}

/// How far two clocks are before the one that nobody sets and that stands still in sleep, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Clocks {
    real: i128,
    boot: i128,
}

impl Clocks {
    fn read() -> Self {
        let ns = |clock| {
            let time = clock_gettime(clock);
            i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
        };
        let monotonic = ns(ClockId::Monotonic);
        Self { real: ns(ClockId::Realtime) - monotonic, boot: ns(ClockId::Boottime) - monotonic }
    }

    fn log_since(&self, before: &Self) {
        let slept = self.boot - before.boot;
        let set = self.real - before.real - slept;
        if slept >= LOGGED_NS {
            tracing::info!(seconds = seconds(slept), "the machine slept");
        }
        if set >= LOGGED_NS {
            tracing::warn!(seconds = seconds(set), "the clock was set forward");
        }
        if set <= -LOGGED_NS {
            tracing::warn!(
                seconds = seconds(-set),
                "the clock was set back: points of that time may take the place of earlier ones"
            );
        }
    }
}

fn seconds(ns: i128) -> f64 {
    (ns as f64 / 1e8).round() / 10.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Setting the clock is for a machine of its own: `cargo xtask vm` does that.
    #[tokio::test]
    async fn nothing_is_told_while_nobody_sets_the_clock() {
        let clock = ClockWatch::default();
        tokio::select! {
            () = clock.set() => panic!("it was not set"),
            error = clock.try_watch() => panic!("{error:?}"),
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    }

    #[test]
    fn a_step_is_told_from_sleep() {
        let before = Clocks::read();
        assert!((Clocks::read().real - before.real).abs() < LOGGED_NS && before.boot >= 0);
        assert_eq!((seconds(1_460_000_000), seconds(-500_000_000)), (1.5, -0.5));
    }
}
