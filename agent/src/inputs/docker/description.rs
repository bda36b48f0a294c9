//! The daemon's description of itself, which is requested only when it can have changed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::identity::docker::{ApiError, DockerClient, Info};

/// How old a description may become while nothing happens to a container or an image. The daemon runs other programs to answer
/// `/info`: that costs as much as all else that the agent does in a gather, and ten times as much where their pages are not in
/// memory.
const PERIOD: Duration = Duration::from_secs(300);

/// An answer to `/info`, and what it was true of.
#[derive(Clone, Debug)]
pub(super) struct Description {
    pub(super) info: Arc<Info>,
    requested: Instant,
    /// How many events there had been.
    n_events: u64,
}

impl Description {
    /// Whether nothing happened to a container or an image since, and it is not old.
    pub(super) fn is_true(&self, now: Instant, n_events: u64) -> bool {
        self.n_events == n_events && now.duration_since(self.requested) < PERIOD
    }

    /// Requests a new one.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(super) async fn request(
        client: &DockerClient,
        now: Instant,
        n_events: u64,
    ) -> Result<Self, ApiError> {
        Ok(Self { info: Arc::new(client.info().await?), requested: now, n_events })
    }

    /// This one, if the daemon answers.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(super) async fn confirmed(self, client: &DockerClient) -> Result<Self, ApiError> {
        client.ping().await.map(|()| self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_true_until_something_happens_or_it_is_old() {
        let requested = Instant::now();
        let description = Description { info: Arc::default(), requested, n_events: 3 };
        let after = |seconds| requested + Duration::from_secs(seconds);
        assert!(description.is_true(requested, 3));
        assert!(description.is_true(after(299), 3));
        assert!(!description.is_true(after(300), 3));
        assert!(!description.is_true(after(1), 4));
    }
}
