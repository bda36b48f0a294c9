//! What senders do again and again is logged once in a while, with how often it came.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// From one message about what senders do to the next.
const PERIOD: Duration = Duration::from_secs(60);

/// When something that repeats was logged last, and how often it came since.
#[derive(Debug, Default)]
pub(super) struct Reminder(Mutex<(Option<Instant>, u64)>);

impl Reminder {
    /// It came again; how often since it was logged last, if it is to be logged now.
    pub(super) fn due(&self) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, n) = &mut *state;
        *n += 1;
        if last.is_some_and(|last| last.elapsed() < PERIOD) {
            return None;
        }
        *last = Some(Instant::now());
        Some(std::mem::take(n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_repeats_is_said_from_time_to_time_and_with_how_often_it_came() {
        let reminder = Reminder::default();
        assert_eq!([reminder.due(), reminder.due(), reminder.due()], [Some(1), None, None]);
        tokio::time::advance(PERIOD).await;
        assert_eq!([reminder.due(), reminder.due()], [Some(3), None]);
    }
}
