//! The stream of the docker daemon's events.

use reqwest::Response;

use super::answers::{Event, parse};
use super::error::ApiError;
use crate::http::{self, BodyError};

/// The largest event, which has all the labels of its container.
const MAX_EVENT_BYTES: usize = 4 << 20;
/// What is told of: containers, and images, since the daemon counts them.
pub(super) const KINDS: &[&str] = &["container", IMAGE];
/// The kind of an image.
pub(super) const IMAGE: &str = "image";
/// The events that change a container's names or state, or how many images there are: docker's, and podman's where they differ.
/// Without this filter the daemon sends an event for each command that a health check runs.
pub(super) const EVENTS: &[&str] = &[
    "create",
    "start",
    "die",
    "died",
    "oom",
    "health_status",
    "rename",
    "pause",
    "unpause",
    "update",
    "destroy",
    "remove",
    "pull",
    "load",
    "import",
    "build",
    "tag",
    "untag",
    "delete",
];

/// The stream of events.
#[derive(Debug)]
pub struct Events {
    response: Response,
    /// The start of a line that is not complete yet.
    partial: Vec<u8>,
    endpoint: String,
}

impl Events {
    /// Reads events from `response`; `endpoint` is for error messages.
    pub(super) fn new(response: Response, endpoint: &str) -> Self {
        Self { response, partial: Vec::new(), endpoint: endpoint.to_owned() }
    }

    /// The next events, in order; waits for the first. Cancelling it loses nothing.
    ///
    /// # Errors
    /// The stream has ended, or has something that is no event.
    pub async fn next(&mut self) -> Result<Vec<Event>, ApiError> {
        const PATH: &str = "/events";
        loop {
            let unreachable = |why: String| ApiError::Unreachable { endpoint: self.endpoint.clone(), why };
            let chunk = self.response.chunk().await.map_err(|error| unreachable(http::chain(&error)))?;
            let Some(chunk) = chunk else { return Err(unreachable("it ended the stream of events".into())) };
            if self.partial.len() + chunk.len() > MAX_EVENT_BYTES {
                let error = BodyError::TooLarge(MAX_EVENT_BYTES);
                return Err(ApiError::Body { path: PATH.into(), error });
            }
            self.partial.extend_from_slice(&chunk);
            let Some(end) = self.partial.iter().rposition(|byte| *byte == b'\n') else { continue };
            let rest = self.partial.split_off(end + 1);
            let whole = std::mem::replace(&mut self.partial, rest);
            let lines = whole.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
            return lines.map(|line| parse(PATH, line)).collect();
        }
    }
}
