//! `rate_limit`: no more than so many bytes of lines are sent in each period.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Answer, Blame};
use crate::options::OptionError;

/// What an output may send; its writes share it.
pub(super) struct RateLimit(Mutex<Allowance>);

impl RateLimit {
    /// So many bytes in each period; 0 is no limit.
    ///
    /// # Errors
    /// There is a limit, and no period.
    pub(super) fn new(limit: u64, period: Duration) -> Result<Self, OptionError> {
        if limit > 0 && period.is_zero() {
            let what = "needs `rate_limit_period`, the period that it applies to, such as \"1m\"";
            return Err(OptionError::new("rate_limit", what));
        }
        Ok(Self(Allowance::new(limit, period).into()))
    }

    /// Waits until the lines may be sent.
    ///
    /// # Errors
    /// They are more than ever may be: the answer to them, which has them sent in parts.
    pub(super) async fn admit(&self, lines: &[Bytes]) -> Result<(), Answer> {
        let bytes = lines.iter().map(|line| line.len() as u64).sum();
        let mut allowance = self.0.lock().await;
        if lines.len() > 1 && allowance.exceeds(bytes) {
            // A smaller part fits; a single line has a period of its own.
            return Err(Answer::Rejected {
                reason: "more than `rate_limit` allows".into(),
                blame: Blame::Some,
            });
        }
        allowance.wait_for(bytes).await;
        Ok(())
    }
}

/// Bytes in each period, which starts with the first of them.
struct Allowance {
    limit: u64,
    period: Duration,
    used: u64,
    since: Instant,
}

impl Allowance {
    fn new(limit: u64, period: Duration) -> Self {
        Self { limit, period, used: 0, since: Instant::now() }
    }

    /// Whether so much is more than fits into any period.
    fn exceeds(&self, bytes: u64) -> bool {
        self.limit > 0 && bytes > self.limit
    }

    /// Waits until `bytes` more fit; more than the limit has a period of its own.
    async fn wait_for(&mut self, bytes: u64) {
        if self.limit == 0 {
            return;
        }
        if self.used > 0 && self.used + bytes > self.limit {
            tokio::time::sleep_until(self.since + self.period).await;
        }
        if self.used == 0 || self.since.elapsed() >= self.period {
            (self.used, self.since) = (0, Instant::now());
        }
        self.used += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_limit_is_sent_in_a_period() {
        let mut rate_limit = Allowance::new(100, Duration::from_secs(60));
        let start = Instant::now();
        let mut times = Vec::new();
        for bytes in [60, 40, 1, 100, 250, 1] {
            rate_limit.wait_for(bytes).await;
            times.push(start.elapsed().as_secs());
        }
        assert_eq!(times, [0, 0, 60, 120, 180, 240]);
        assert!(rate_limit.exceeds(101) && !rate_limit.exceeds(100));
        let mut unlimited = Allowance::new(0, Duration::ZERO);
        unlimited.wait_for(u64::MAX).await;
        assert!(!unlimited.exceeds(u64::MAX));
    }
}
