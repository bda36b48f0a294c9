//! Whether a task goes on: it says by when it will say so again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The signs of life of one task.
#[derive(Debug, Default)]
pub struct Pulse(Mutex<Option<Instant>>);

impl Pulse {
    /// The next sign comes by then.
    pub fn expect(&self, by: Instant) {
        self.set(Some(by));
    }

    /// Nothing is expected until the next sign: what it waits for has a watch of its own.
    pub fn rest(&self) {
        self.set(None);
    }

    /// For how long a sign has been missing at `now`.
    pub fn overdue(&self, now: Instant) -> Option<Duration> {
        let by = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        by.map(|by| now.saturating_duration_since(by)).filter(|late| !late.is_zero())
    }

    fn set(&self, by: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = by;
    }
}
