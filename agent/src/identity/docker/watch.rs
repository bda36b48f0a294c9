//! Keeps names, states, labels and environment of a docker daemon's containers up to date.
//!
//! A [`Watch`] runs beside the gathers: it lists the containers, follows the daemon's events, and inspects a container when
//! something happened to it. It fills [`Names`](names::Names) and a [`Daemon`]. While the daemon is down, what was known stays.

use std::collections::{BTreeSet, HashSet};
use std::convert::Infallible;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answers::{Event, Inspected, Listed};
use super::client::DockerClient;
use super::container::{Container, Selection};
use super::daemon::{Daemon, Engine, MAX_CONTAINERS};
use super::error::ApiError;
use super::events::IMAGE;
use crate::clock;
use crate::identity::names::{self, Names, Source};
use crate::line_protocol::truncated;

/// The first wait before another try to reach the daemon.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
/// The longest one: names are back within 10 s of the daemon's return.
const MAX_BACKOFF: Duration = Duration::from_secs(8);
/// A request for a name brings the next try forward, but to no sooner than this after the one before.
const MIN_BACKOFF: Duration = Duration::from_millis(500);
/// The containers are listed again this often, in case an event was lost: the daemon drops events when their reader is
/// too slow.
const LIST_PERIOD: Duration = Duration::from_secs(300);
/// A request for a name brings that forward, but to no sooner than this after the list before: docker knows no more
/// containers than its events told, and in a cluster it may know none of them.
const REQUEST_PERIOD: Duration = Duration::from_secs(60);
/// A container whose health check fails is inspected this often: no event tells how often in a row it failed.
const CHECK_PERIOD: Duration = Duration::from_secs(30);
/// The longest id that is accepted; docker's and podman's have 64 digits.
const MAX_ID_BYTES: usize = 128;

/// A running inspection: the container's id and the daemon's answer.
type Inspection = Pin<Box<dyn Future<Output = (String, Result<Inspected, ApiError>)> + Send>>;

/// Keeps a [`Daemon`] and [`Names`](names::Names) up to date. Dropping it ends it; its names are kept for some minutes.
#[derive(Debug)]
pub struct Watch {
    client: Arc<DockerClient>,
    daemon: Arc<Daemon>,
    names: Arc<Names>,
    selection: Selection,
    /// The containers that were named, and have not ended since.
    named: HashSet<String>,
}

impl Watch {
    /// A watch that has seen nothing yet.
    #[must_use]
    pub fn new(
        client: Arc<DockerClient>,
        daemon: Arc<Daemon>,
        names: &Arc<Names>,
        selection: Selection,
    ) -> Self {
        names.add_source();
        Self { client, daemon, names: Arc::clone(names), selection, named: HashSet::new() }
    }

    /// Follows the daemon for ever, through its downtimes.
    pub async fn run(mut self) -> Infallible {
        let mut failures = 0;
        loop {
            let start = Instant::now();
            let Err(error) = self.follow().await;
            self.daemon.known().is_followed = false;
            self.daemon.lost(&error);
            tracing::debug!(%error, "retrying docker");
            failures = if start.elapsed() > MAX_BACKOFF { 1 } else { failures + 1 };
            let wait = clock::backoff(failures, FIRST_BACKOFF, MAX_BACKOFF);
            tokio::time::sleep(wait.min(MIN_BACKOFF)).await;
            let names = Arc::clone(&self.names);
            tokio::select! {
                () = tokio::time::sleep(wait.saturating_sub(MIN_BACKOFF)) => {}
                () = names.requested() => {}
            }
        }
    }

    async fn follow(&mut self) -> Result<Infallible, ApiError> {
        let (client, names) = (Arc::clone(&self.client), Arc::clone(&self.names));
        client.negotiate().await?;
        // Before the list, so that no event falls between the two.
        let mut events = client.events().await?;
        let engine = Engine::new(&client.info().await?);
        {
            let mut known = self.daemon.known();
            known.engine = Some(engine);
            // Nobody told what happened before.
            known.n_events += 1;
        }
        let mut stale = self.list(true).await?;
        self.daemon.known().is_followed = true;
        self.daemon.reached();
        let mut listed = tokio::time::Instant::now();
        let mut check = tokio::time::interval_at(listed + CHECK_PERIOD, CHECK_PERIOD);
        let mut inspection: Option<Inspection> = None;
        loop {
            if inspection.is_none() {
                self.daemon.known().n_to_inspect = stale.len();
                match stale.pop_first() {
                    Some(id) => {
                        let client = Arc::clone(&client);
                        inspection = Some(Box::pin(async move {
                            let result = client.inspect(&id).await;
                            (id, result)
                        }));
                    }
                    None => self.daemon.notify_inspected(),
                }
            }
            let is_due = tokio::select! {
                next = events.next() => {
                    for event in next? {
                        self.take(event, &mut stale);
                    }
                    false
                }
                (id, result) = finished(&mut inspection) => {
                    inspection = None;
                    self.inspected(&id, result)?;
                    false
                }
                _ = check.tick() => {
                    let known = self.daemon.known();
                    let unhealthy = known.containers.values().filter(|container| container.is_to_be_checked());
                    stale.extend(unhealthy.map(|container| container.id.clone()));
                    false
                }
                () = names.requested(), if listed.elapsed() > REQUEST_PERIOD => true,
                () = tokio::time::sleep_until(listed + LIST_PERIOD) => true,
            };
            if is_due {
                stale.extend(self.list(false).await?);
                listed = tokio::time::Instant::now();
            }
        }
    }

    /// Takes over the list of containers; returns the ids of those to inspect: `all`, or those whose state changed.
    async fn list(&mut self, all: bool) -> Result<BTreeSet<String>, ApiError> {
        let listed = self.client.containers().await?;
        let now = Instant::now();
        let mut stale = BTreeSet::new();
        let mut present = HashSet::new();
        for Listed { id, names, image, state } in listed {
            if !is_id(&id) || present.len() >= MAX_CONTAINERS {
                continue;
            }
            let name = names.iter().map(|name| name.trim_start_matches('/')).find(|name| !name.contains('/'));
            let has_cgroup = matches!(state.as_str(), "running" | "paused" | "restarting" | "removing");
            match name {
                Some(name) if has_cgroup => self.name(&id, name.to_owned(), image, now),
                _ => self.end(&id, now),
            }
            let is_known =
                self.daemon.known().containers.get(&id).is_some_and(|container| container.status == state);
            if all || !is_known {
                stale.insert(id.clone());
            }
            present.insert(id);
        }
        self.daemon.known().containers.retain(|id, _| present.contains(id));
        let gone: Vec<String> = self.named.difference(&present).cloned().collect();
        for id in gone {
            self.end(&id, now);
        }
        self.names.forget(now);
        // A list can take megabytes, and the next one is minutes away.
        crate::service::memory::give_back();
        Ok(stale)
    }

    /// Takes an event; puts a container that it changed among those to inspect. An image is counted by the daemon alone.
    fn take(&mut self, event: Event, stale: &mut BTreeSet<String>) {
        let Event { kind, action, actor } = event;
        let (id, now) = (actor.id, Instant::now());
        self.daemon.known().n_events += 1;
        if kind == IMAGE || !is_id(&id) {
            return;
        }
        match action.as_str() {
            "destroy" | "remove" => {
                stale.remove(&id);
                self.forget(&id, now);
                return;
            }
            "die" | "died" => self.end(&id, now),
            // One that ends before it is inspected has its name from here.
            "start" | "rename" if !actor.attributes.name.is_empty() => {
                self.name(&id, actor.attributes.name, actor.attributes.image, now);
            }
            _ => {}
        }
        if stale.len() < MAX_CONTAINERS {
            stale.insert(id);
        }
    }

    fn inspected(&mut self, id: &str, result: Result<Inspected, ApiError>) -> Result<(), ApiError> {
        let now = Instant::now();
        match result {
            Ok(inspected) if inspected.id == id => {
                let container = Container::new(inspected, &self.selection);
                if container.runs() {
                    self.name(id, container.name.clone(), container.image.clone(), now);
                } else {
                    self.end(id, now);
                }
                self.daemon.known().put(container);
            }
            Ok(other) => {
                tracing::debug!(
                    requested = id,
                    received = truncated(other.id),
                    "docker described another container"
                );
            }
            Err(error) if error.is_not_found() => self.forget(id, now),
            Err(error) if error.is_about_one_answer() => {
                tracing::debug!(container = id, %error, "docker cannot describe a container");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn name(&mut self, id: &str, name: String, image: String, now: Instant) {
        if self.named.contains(id) || self.named.len() < MAX_CONTAINERS {
            let name = name.trim_start_matches('/').to_owned();
            self.names.name_container(Source::Docker, id, names::ContainerName { name, image }, now);
            self.named.insert(id.to_owned());
        }
    }

    fn end(&mut self, id: &str, now: Instant) {
        if self.named.remove(id) {
            self.names.end_container(Source::Docker, id, now);
        }
    }

    fn forget(&mut self, id: &str, now: Instant) {
        self.end(id, now);
        self.daemon.known().containers.remove(id);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let now = Instant::now();
        for id in std::mem::take(&mut self.named) {
            self.names.end_container(Source::Docker, &id, now);
        }
        self.names.remove_source();
    }
}

/// The result of the running inspection; pending for ever when none runs.
async fn finished(inspection: &mut Option<Inspection>) -> (String, Result<Inspected, ApiError>) {
    match inspection {
        Some(inspection) => inspection.await,
        None => pending().await,
    }
}

/// Whether it is safe as part of a request's path.
fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= MAX_ID_BYTES && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests;
