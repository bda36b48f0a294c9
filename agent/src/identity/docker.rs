//! The docker daemon's containers: their names, states, labels and environment, kept up to date by its events.
//!
//! A [`Watch`] runs beside the gathers: it lists the containers, follows the daemon's events, and inspects a container when
//! something happened to it. It fills [`Names`](names::Names), and a [`Daemon`] that gathers look into without ever waiting. While the
//! daemon is gone what was known stays. Figures are none of its business.

pub mod api;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::convert::Infallible;
use std::future::pending;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use self::api::{ApiError, Client, Event, Health, Info, Inspected, Listed};
use super::names::{self, Names, Source};
use crate::clock;
use crate::line_protocol::truncated;
use crate::options::filter::IncludeExclude;
use crate::point::Timestamp;

/// The first and the longest wait between two tries to reach the daemon: names are back within 10 s of its return.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));
/// A try that somebody's wish for a name brings forward still keeps this distance from the one before.
const LEAST_WAIT: Duration = Duration::from_millis(500);
/// The containers are listed again this often, should an event have been lost: the daemon drops those of a reader that is
/// too slow for it.
const LIST_PERIOD: Duration = Duration::from_secs(300);
/// Somebody's wish for a name brings that forward, but to no sooner than this after the list before: docker knows
/// no more containers than its events said, and in a cluster it may know none of them.
const WISH_PERIOD: Duration = Duration::from_secs(60);
/// A container whose health check does not pass is inspected this often: no event says how often in a row it failed.
const CHECK_PERIOD: Duration = Duration::from_secs(30);
/// No more containers than this are looked after.
const MOST_CONTAINERS: usize = 10_000;
/// The most labels of a container that become tags.
const MOST_LABELS: usize = 256;
/// The most bytes of all these labels: InfluxDB refuses a series key above 64 KiB, and escaping can double what is here.
const MOST_LABEL_BYTES: usize = 16 << 10;
/// The longest id that is taken for one; docker's and podman's have 64 digits.
const MOST_ID_BYTES: usize = 128;

/// What is taken from a container besides its names.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Labels, by their keys.
    pub labels: IncludeExclude,
    /// Variables of its environment.
    pub variables: Vec<String>,
}

/// A container as the daemon described it last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// Its name, without a slash.
    pub name: String,
    /// Its image as it was asked for.
    pub image: String,
    /// `running`, `exited` …
    pub status: String,
    /// Its first process as the host sees it; `None` when it does not run.
    pub pid: Option<u32>,
    /// The exit code of its last run.
    pub exit_code: i64,
    /// A process of it was killed for want of memory.
    pub oom_killed: bool,
    /// How often docker started it again by itself.
    pub restart_count: i64,
    /// When it was started last; `None` for never.
    pub started_at: Option<Timestamp>,
    /// When it ended last, likewise.
    pub finished_at: Option<Timestamp>,
    /// Of one with a health check.
    pub health: Option<Health>,
    /// It has the network of the host.
    pub has_host_network: bool,
    /// The labels and variables that were selected, without empty ones.
    pub tags: BTreeMap<String, String>,
    /// Labels that were too many.
    pub n_left_out: usize,
}

impl Container {
    /// Takes what is used from the daemon's answer, and cuts it to a size that a database takes.
    #[must_use]
    pub fn new(inspected: Inspected, selection: &Selection) -> Self {
        let Inspected { id, name, restart_count, state, config, host_config } = inspected;
        let (mut tags, mut bytes, mut n_left_out) = (BTreeMap::new(), 0, 0);
        for (key, value) in config.labels {
            if value.is_empty() || !selection.labels.takes(&key) {
                continue;
            }
            let (key, value) = (truncated(key), truncated(value));
            bytes += key.len() + value.len();
            if tags.len() < MOST_LABELS && bytes <= MOST_LABEL_BYTES {
                tags.insert(key, value);
            } else {
                n_left_out += 1;
            }
        }
        for (key, value) in config.env.iter().filter_map(|variable| variable.split_once('=')) {
            if !value.trim().is_empty() && selection.variables.iter().any(|name| name == key) {
                tags.insert(truncated(key.to_owned()), truncated(value.to_owned()));
            }
        }
        Self {
            id,
            name: truncated(name.trim_start_matches('/').to_owned()),
            image: truncated(config.image),
            status: truncated(state.status),
            pid: u32::try_from(state.pid).ok().filter(|pid| *pid > 0),
            exit_code: state.exit_code,
            oom_killed: state.oom_killed,
            restart_count,
            started_at: time(&state.started_at),
            finished_at: time(&state.finished_at),
            health: state.health.filter(|health| !matches!(health.status.as_str(), "" | "none")).map(
                |health| Health { status: truncated(health.status), failing_streak: health.failing_streak },
            ),
            has_host_network: host_config.network_mode == "host",
            tags,
            n_left_out,
        }
    }

    /// Whether its cgroup is there.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.pid.is_some()
    }

    fn is_to_be_checked(&self) -> bool {
        self.runs() && self.health.as_ref().is_some_and(|health| health.status != "healthy")
    }
}

/// A time in RFC 3339; `None` for the year 1, which is Go's way to say never, and for what is none.
fn time(text: &str) -> Option<Timestamp> {
    let time: jiff::Timestamp = text.parse().ok()?;
    let ns = i64::try_from(time.as_nanosecond()).ok()?;
    (ns > 0).then_some(Timestamp(ns))
}

/// Who runs the containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// The machine's name as the daemon says it.
    pub host: String,
    /// The daemon's version.
    pub server_version: String,
    /// The machine's memory in bytes: the limit of a container without one.
    pub memory_bytes: Option<u64>,
}

impl Engine {
    /// What the daemon says of itself.
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
    listed: Notify,
}

/// The same, while nobody changes it.
#[derive(Debug, Default)]
pub struct Known {
    /// `None` until the daemon was reached for the first time.
    pub engine: Option<Engine>,
    /// Containers by id, also those that do not run.
    pub containers: HashMap<String, Arc<Container>>,
    /// Whether the daemon answers.
    pub is_up: bool,
    /// Whether its events are followed.
    is_followed: bool,
    /// Containers that are still to be inspected.
    n_to_inspect: usize,
    /// When the first of the last lines about the daemon's loss and return was logged, and how many have been since.
    said: Option<(Instant, u32)>,
    has_said_labels: bool,
    has_said_limit: bool,
}

impl Daemon {
    /// What is known now. Hold it for as short as can be, and never while waiting.
    pub fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing panics while it holds the lock, and half an update is no worse than none.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until every container was inspected once, at most for `limit`.
    pub async fn ready(&self, limit: Duration) {
        let ready = async {
            loop {
                let listed = self.listed.notified();
                let is_ready = {
                    let known = self.known();
                    known.engine.is_some() && known.n_to_inspect == 0
                };
                if is_ready {
                    return;
                }
                listed.await;
            }
        };
        let _ = tokio::time::timeout(limit, ready).await;
    }

    /// The daemon does not answer: said once.
    pub fn lost(&self, error: &ApiError) {
        let mut known = self.known();
        if std::mem::take(&mut known.is_up) || known.said.is_none() {
            let containers = known.containers.len();
            known.say(|| tracing::warn!(%error, containers, "docker is away: what is known of its containers is kept"));
        }
    }

    /// The daemon answers, perhaps again: said once. While its events are not followed that means nothing yet.
    pub fn reached(&self) {
        let mut known = self.known();
        if known.is_followed && !std::mem::replace(&mut known.is_up, true) && known.said.is_some() {
            let containers = known.containers.len();
            known.say(|| tracing::info!(containers, "docker is back"));
        }
    }
}

impl Known {
    /// Logs, unless the daemon comes and goes all the time.
    fn say(&mut self, log: impl FnOnce()) {
        const PERIOD: Duration = Duration::from_secs(60);
        const MOST: u32 = 4;
        let now = Instant::now();
        let (start, n) =
            self.said.filter(|(start, _)| now.duration_since(*start) < PERIOD).unwrap_or((now, 0));
        if n < MOST {
            log();
        }
        self.said = Some((start, n + 1));
    }

    fn put(&mut self, container: Container) {
        if container.n_left_out > 0 && !std::mem::replace(&mut self.has_said_labels, true) {
            tracing::warn!(
                container = container.name,
                left_out = container.n_left_out,
                most = MOST_LABELS,
                most_bytes = MOST_LABEL_BYTES,
                "too many labels to become tags: the last ones are left out; choose by `docker_label_include`"
            );
        }
        if self.containers.len() >= MOST_CONTAINERS && !self.containers.contains_key(&container.id) {
            if !std::mem::replace(&mut self.has_said_limit, true) {
                tracing::warn!(most = MOST_CONTAINERS, "too many containers: the others are left out");
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

/// An inspection under way: whose, and what the daemon says.
type Inspection = Pin<Box<dyn Future<Output = (String, Result<Inspected, ApiError>)> + Send>>;

/// Keeps a [`Daemon`] and [`Names`](names::Names) up to date. Ends when it is dropped; what it named is kept for some minutes then.
#[derive(Debug)]
pub struct Watch {
    client: Arc<Client>,
    daemon: Arc<Daemon>,
    names: Arc<Names>,
    selection: Selection,
    /// The containers that were named, and have not ended since.
    named: HashSet<String>,
}

impl Watch {
    /// A watch that has seen nothing yet.
    #[must_use]
    pub fn new(client: Arc<Client>, daemon: Arc<Daemon>, names: &Arc<Names>, selection: Selection) -> Self {
        names.add_source();
        Self { client, daemon, names: Arc::clone(names), selection, named: HashSet::new() }
    }

    /// Follows the daemon for ever, through its absences.
    pub async fn run(mut self) -> Infallible {
        let mut failures = 0;
        loop {
            let start = Instant::now();
            let Err(error) = self.follow().await;
            self.daemon.known().is_followed = false;
            self.daemon.lost(&error);
            tracing::debug!(%error, "docker is tried again");
            failures = if start.elapsed() > BACKOFF.1 { 1 } else { failures + 1 };
            let wait = clock::backoff(failures, BACKOFF.0, BACKOFF.1);
            tokio::time::sleep(wait.min(LEAST_WAIT)).await;
            let names = Arc::clone(&self.names);
            tokio::select! {
                () = tokio::time::sleep(wait.saturating_sub(LEAST_WAIT)) => {}
                () = names.wanted() => {}
            }
        }
    }

    async fn follow(&mut self) -> Result<Infallible, ApiError> {
        let (client, names) = (Arc::clone(&self.client), Arc::clone(&self.names));
        client.negotiate().await?;
        // Before the list, so that nothing falls between.
        let mut events = client.events().await?;
        let engine = Engine::new(&client.info().await?);
        self.daemon.known().engine = Some(engine);
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
                    None => self.daemon.listed.notify_waiters(),
                }
            }
            let is_due = tokio::select! {
                news = events.next() => {
                    for event in news? {
                        self.take(event, &mut stale);
                    }
                    false
                }
                (id, result) = answer(&mut inspection) => {
                    inspection = None;
                    self.inspected(&id, result)?;
                    false
                }
                _ = check.tick() => {
                    let known = self.daemon.known();
                    let unwell = known.containers.values().filter(|container| container.is_to_be_checked());
                    stale.extend(unwell.map(|container| container.id.clone()));
                    false
                }
                () = names.wanted(), if listed.elapsed() > WISH_PERIOD => true,
                () = tokio::time::sleep_until(listed + LIST_PERIOD) => true,
            };
            if is_due {
                stale.extend(self.list(false).await?);
                listed = tokio::time::Instant::now();
            }
        }
    }

    /// Takes over the list of containers; gives the ids of those to inspect: `all` of them, or those whose state is another.
    async fn list(&mut self, all: bool) -> Result<BTreeSet<String>, ApiError> {
        let listed = self.client.containers().await?;
        let now = Instant::now();
        let mut stale = BTreeSet::new();
        let mut there = HashSet::new();
        for Listed { id, names, image, state } in listed {
            if !is_id(&id) || there.len() >= MOST_CONTAINERS {
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
            there.insert(id);
        }
        self.daemon.known().containers.retain(|id, _| there.contains(id));
        let gone: Vec<String> = self.named.difference(&there).cloned().collect();
        for id in gone {
            self.end(&id, now);
        }
        self.names.forget(now);
        // A list can take megabytes, and there is none for minutes now.
        crate::service::memory::give_back();
        Ok(stale)
    }

    /// Takes an event; puts a container that it changed among those to inspect.
    fn take(&mut self, event: Event, stale: &mut BTreeSet<String>) {
        let Event { action, actor } = event;
        let (id, now) = (actor.id, Instant::now());
        if !is_id(&id) {
            return;
        }
        match action.as_str() {
            "destroy" | "remove" => {
                stale.remove(&id);
                self.forget(&id, now);
                return;
            }
            "die" | "died" => self.end(&id, now),
            // Also one that ends before it is inspected has its name.
            "start" | "rename" if !actor.attributes.name.is_empty() => {
                self.name(&id, actor.attributes.name, actor.attributes.image, now);
            }
            _ => {}
        }
        if stale.len() < MOST_CONTAINERS {
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
                tracing::debug!(asked = id, told = truncated(other.id), "docker speaks of another container");
            }
            Err(error) if error.is_not_found() => self.forget(id, now),
            Err(error) if error.is_about_one_answer() => {
                tracing::debug!(container = id, %error, "docker does not describe a container");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn name(&mut self, id: &str, name: String, image: String, now: Instant) {
        if self.named.contains(id) || self.named.len() < MOST_CONTAINERS {
            let name = name.trim_start_matches('/').to_owned();
            self.names.name_container(Source::Docker, id, names::Container { name, image }, now);
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

/// The end of the inspection that is under way, if there is one.
async fn answer(inspection: &mut Option<Inspection>) -> (String, Result<Inspected, ApiError>) {
    match inspection {
        Some(inspection) => inspection.await,
        None => pending().await,
    }
}

/// Whether it can stand in a path.
fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= MOST_ID_BYTES && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests;
