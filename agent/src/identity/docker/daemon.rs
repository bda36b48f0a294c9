//! What is known of a docker daemon and its containers; gathers read it without ever waiting.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::answers::Info;
use super::container::{Container, MAX_LABEL_BYTES, MAX_LABELS};
use super::error::ApiError;
use crate::line_protocol::truncated;

/// The most containers that are tracked.
pub(super) const MAX_CONTAINERS: usize = 10_000;

/// The engine that runs the containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// The machine's name as the daemon reports it.
    pub host: String,
    /// The daemon's version.
    pub server_version: String,
    /// The machine's memory in bytes: the limit of a container without one.
    pub memory_bytes: Option<u64>,
}

impl Engine {
    /// Takes it from the daemon's description of itself.
    #[must_use]
    pub fn new(info: &Info) -> Self {
        Self {
            host: truncated(info.name.clone()),
            server_version: truncated(info.server_version.clone()),
            memory_bytes: u64::try_from(info.mem_total).ok().filter(|bytes| *bytes > 0),
        }
    }
}

/// What is known of a daemon and its containers.
#[derive(Debug, Default)]
pub struct Daemon {
    known: Mutex<Known>,
    /// Wakes those that wait in [`ready`](Self::ready).
    inspected: Notify,
}

/// What [`Daemon::known`] locks.
#[derive(Debug, Default)]
pub struct Known {
    /// `None` until the daemon was reached for the first time.
    pub engine: Option<Engine>,
    /// Containers by id, running or not.
    pub containers: HashMap<String, Arc<Container>>,
    /// Whether the daemon answers.
    pub is_up: bool,
    /// How often something happened to a container or an image, or may have: while it stays the same, the daemon's counts do.
    pub n_events: u64,
    /// Whether its events are followed.
    pub(super) is_followed: bool,
    /// How many containers are still to be inspected.
    pub(super) n_to_inspect: usize,
    /// When the first of the recent lines about the daemon's loss and return was logged, and how many there were since.
    logged: Option<(Instant, u32)>,
    has_logged_labels: bool,
    has_logged_limit: bool,
}

impl Daemon {
    /// What is known now. Hold the lock as briefly as possible, and never across an await.
    pub fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing panics while it holds the lock, and half an update is no worse than none.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until every container was inspected once, for at most `limit`.
    pub async fn ready(&self, limit: Duration) {
        let ready = async {
            loop {
                let inspected = self.inspected.notified();
                let is_ready = {
                    let known = self.known();
                    known.engine.is_some() && known.n_to_inspect == 0
                };
                if is_ready {
                    return;
                }
                inspected.await;
            }
        };
        let _ = tokio::time::timeout(limit, ready).await;
    }

    /// The daemon does not answer: logged once.
    pub fn lost(&self, error: &ApiError) {
        let mut known = self.known();
        if std::mem::take(&mut known.is_up) || known.logged.is_none() {
            let containers = known.containers.len();
            known.log_limited(|| tracing::warn!(%error, containers, "docker is away: what is known of its containers is kept"));
        }
    }

    /// The daemon answers, perhaps again: logged once. While its events are not followed that means nothing yet.
    pub fn reached(&self) {
        let mut known = self.known();
        if known.is_followed && !std::mem::replace(&mut known.is_up, true) && known.logged.is_some() {
            let containers = known.containers.len();
            known.log_limited(|| tracing::info!(containers, "docker is back"));
        }
    }

    /// Wakes those that wait until every container was inspected.
    pub(super) fn notify_inspected(&self) {
        self.inspected.notify_waiters();
    }
}

impl Known {
    /// Logs, unless the daemon keeps coming and going.
    fn log_limited(&mut self, log: impl FnOnce()) {
        const PERIOD: Duration = Duration::from_secs(60);
        const MAX: u32 = 4;
        let now = Instant::now();
        let (start, n) =
            self.logged.filter(|(start, _)| now.duration_since(*start) < PERIOD).unwrap_or((now, 0));
        if n < MAX {
            log();
        }
        self.logged = Some((start, n + 1));
    }

    /// Adds a container, or updates it.
    pub(super) fn put(&mut self, container: Container) {
        if container.n_dropped_labels > 0 && !std::mem::replace(&mut self.has_logged_labels, true) {
            tracing::warn!(
                container = container.name,
                left_out = container.n_dropped_labels,
                most = MAX_LABELS,
                most_bytes = MAX_LABEL_BYTES,
                "too many labels to become tags: the last ones are left out; choose by `docker_label_include`"
            );
        }
        if self.containers.len() >= MAX_CONTAINERS && !self.containers.contains_key(&container.id) {
            if !std::mem::replace(&mut self.has_logged_limit, true) {
                tracing::warn!(most = MAX_CONTAINERS, "too many containers: the others are left out");
            }
            return;
        }
        match self.containers.get(&container.id) {
            Some(known) if **known == container => {}
            _ => {
                self.containers.insert(container.id.clone(), Arc::new(container));
            }
        }
    }
}
