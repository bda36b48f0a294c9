//! Requests to the daemon that outlast a gather, which takes the response if it comes in time.

use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::Instrument as _;

use crate::identity::docker::ApiError;
use crate::point::Timestamp;

/// How long a gather waits for the response to its own request, which takes some 10 ms. A later one goes out with the next
/// gather, under the time of the request; until it is there no gather waits again.
const WAIT: Duration = Duration::from_millis(100);

/// A request: at most one is pending at a time.
pub(super) struct Request<T> {
    pending: Option<(Timestamp, JoinHandle<Result<T, ApiError>>)>,
}

impl<T> Default for Request<T> {
    fn default() -> Self {
        Self { pending: None }
    }
}

impl<T: Send + 'static> Request<T> {
    /// Sends it, unless the previous one is still pending.
    pub(super) fn send(
        &mut self,
        time: Timestamp,
        request: impl Future<Output = Result<T, ApiError>> + Send + 'static,
    ) {
        if self.pending.is_none() {
            self.pending = Some((time, tokio::spawn(request.in_current_span())));
        }
    }

    /// The response, and when it was requested. The gather at `time` waits a little for its own.
    pub(super) async fn response(&mut self, time: Timestamp) -> Option<(Timestamp, Result<T, ApiError>)> {
        let (requested, task) = self.pending.as_mut()?;
        let requested = *requested;
        let wait = if requested == time { WAIT } else { Duration::ZERO };
        let response = tokio::time::timeout(wait, task).await.ok()?;
        self.pending = None;
        // The task neither panics nor is it cancelled while it is waited for.
        response.ok().map(|response| (requested, response))
    }
}

impl<T> Drop for Request<T> {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.pending {
            task.abort();
        }
    }
}
