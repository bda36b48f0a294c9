//! `[[inputs.docker]]`: the containers of a docker daemon, or of podman's compatible socket.
//!
//! Figures come from cgroupfs and from the network namespace of a container, so a gather requests nothing from the daemon but
//! whether it is there, and a [`Description`] when something happened, and does not wait long for that. Which containers there
//! are, and their states, [`identity::docker`] keeps up to date from the daemon's events. While the daemon is down or hangs,
//! figures continue. Only of a container whose cgroup is not seen here, as of one on another host, the daemon is asked for them
//! ([`stats`]).
//!
//! [`identity::docker`]: crate::identity::docker

mod description;
mod engine;
mod network;
mod options;
mod place;
mod points;
mod request;
mod stats;
mod tags;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tracing::Instrument as _;

use self::description::Description;
pub use self::options::DockerOptions as Options;
use self::place::{Gathering, Place, locate, log_unseen};
use self::points::{ContainerPoints, HostCapacity};
use self::request::Request;
use self::stats::{Answered, CONCURRENT, DaemonFigures};
use super::{GatherError, Gathered, Input, InputPlugin, Shared, StartError};

use crate::host::Host;
use crate::host::cgroupfs::reader::Reader;
use crate::identity::docker::{Container, Daemon, Selection, Watch};
use crate::identity::docker::{DiskUsage, DockerClient, MAX_LIST_BYTES, MAX_STATS_BYTES};
use crate::options::OptionError;
use crate::options::filter::IncludeExclude;
use crate::point::{Name, Timestamp};
use crate::service::budget::Budget;
use crate::service::privilege::Files;

/// How long the very first gather waits until the containers are known.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The input.
pub(super) struct Docker {
    options: Options,
    names: IncludeExclude,
    states: IncludeExclude,
    shared: Arc<Shared>,
    client: Arc<DockerClient>,
    daemon: Arc<Daemon>,
    /// Ends the watch when the input is dropped.
    watch: JoinSet<Infallible>,
    proc: Reader,
    followed: HashMap<String, Followed>,
    /// The latest description of the daemon.
    description: Option<Description>,
    request: Request<Description>,
    disk_usage: Request<DiskUsage>,
    /// The last request for it failed.
    has_no_disk_usage: bool,
    /// Of the containers whose cgroups are not seen here.
    stats: Request<Vec<Answered>>,
    /// The last request for one of them failed.
    has_no_stats: bool,
    has_gathered: bool,
    /// A container without a cgroup was logged.
    has_told_unseen: bool,
}

/// What is kept of a container from one gather to the next.
#[derive(Default)]
struct Followed {
    container: Arc<Container>,
    /// `None` when it is not selected.
    tags: Option<Vec<(Name, Name)>>,
    place: Place,
    /// It ran at the previous gather, and had no cgroup.
    is_unseen: bool,
    /// CPU time of the container and of the machine at the previous gather.
    before: Option<(u64, u64)>,
}

impl Followed {
    /// Takes over what the daemon knows about the container now.
    fn update(&mut self, container: &Arc<Container>, tags: Option<Vec<(Name, Name)>>) {
        self.tags = tags;
        if self.container.pid != container.pid {
            (self.place, self.is_unseen, self.before) = (Place::default(), false, None);
        }
        self.container = Arc::clone(container);
    }
}

impl Docker {
    /// Checks the options, and begins to watch the daemon. Call it within the runtime.
    ///
    /// # Errors
    /// The invalid option. A daemon that cannot be reached is no error.
    pub(super) fn new(options: Options, shared: &Arc<Shared>) -> Result<Self, OptionError> {
        let mut docker = Self::unwatched(options, shared)?;
        let selection =
            Selection { labels: Self::labels(&docker.options)?, variables: docker.options.tag_env.clone() };
        let watch =
            Watch::new(Arc::clone(&docker.client), Arc::clone(&docker.daemon), &shared.names, selection);
        docker.watch.spawn(watch.run().in_current_span());
        Ok(docker)
    }

    /// Which labels become tags.
    fn labels(options: &Options) -> Result<IncludeExclude, OptionError> {
        let Options { docker_label_include: include, docker_label_exclude: exclude, .. } = options;
        IncludeExclude::new(("docker_label_include", include), ("docker_label_exclude", exclude))
    }

    /// Which containers, by name and by state.
    fn containers_of(options: &Options) -> Result<(IncludeExclude, IncludeExclude), OptionError> {
        let names = IncludeExclude::new(
            ("container_name_include", &options.container_name_include),
            ("container_name_exclude", &options.container_name_exclude),
        )?;
        let states = IncludeExclude::new(
            ("container_state_include", &options.container_state_include),
            ("container_state_exclude", &options.container_state_exclude),
        )?;
        Ok((names, states))
    }

    fn unwatched(options: Options, shared: &Arc<Shared>) -> Result<Self, OptionError> {
        let mut options = options.modern();
        if options.container_state_include.is_empty() && options.container_state_exclude.is_empty() {
            options.container_state_include = vec!["running".into()];
        }
        let client = options.client(|name| std::env::var(name).ok())?;
        let (names, states) = Self::containers_of(&options)?;
        Ok(Self {
            names,
            states,
            options,
            shared: Arc::clone(shared),
            client: Arc::new(client),
            daemon: Arc::default(),
            watch: JoinSet::new(),
            proc: Reader::new(&shared.host.proc("")),
            followed: HashMap::new(),
            description: None,
            request: Request::default(),
            disk_usage: Request::default(),
            has_no_disk_usage: false,
            stats: Request::default(),
            has_no_stats: false,
            has_gathered: false,
            has_told_unseen: false,
        })
    }

    /// Adds the points of all containers, from what is known and what the kernel says; nothing here waits. Returns those that
    /// run and whose cgroups are not seen here.
    fn containers(&mut self, gathered: &mut Gathered, now: Instant) -> Vec<Arc<Container>> {
        let mut unseen = Vec::new();
        let daemon = Arc::clone(&self.daemon);
        let known = daemon.known();
        let Some(engine) = &known.engine else { return unseen };
        let stat = self.proc.read("", "stat").unwrap_or_default();
        let host = HostCapacity::new(stat, engine.memory_bytes, Timestamp::now());
        let points = ContainerPoints { options: &self.options, engine, host: &host };
        self.followed.retain(|id, _| known.containers.contains_key(id));
        let mut namespaces = HashMap::new();
        for (id, container) in &known.containers {
            let followed = match self.followed.get_mut(id) {
                Some(followed) => followed,
                None => self.followed.entry(id.clone()).or_default(),
            };
            if !Arc::ptr_eq(&followed.container, container) {
                let is_selected = self.names.takes(&container.name) && self.states.takes(&container.status);
                followed.update(container, is_selected.then(|| points.tags(container)));
            }
            let Some(tags) = &followed.tags else { continue };
            if !container.runs() {
                points.stopped(gathered, tags, container);
                continue;
            }
            let was_seen = followed.place.cgroup.is_some();
            if !was_seen {
                followed.place = locate(&mut self.proc, &self.shared, container, now);
            }
            let before = followed.before;
            let read = Gathering { shared: &self.shared, proc: &mut self.proc, time: gathered.time, now };
            let Some(figures) = read.figures(&followed.place, before, &mut namespaces) else {
                followed.place.cgroup = None;
                // Where it was seen before, it has ended, and the daemon's event has not arrived yet. Else its cgroup is not seen
                // from here: there is what the daemon says, for as long as that can be reached.
                if known.is_up && !was_seen {
                    points.state(gathered, tags, container);
                    unseen.push(Arc::clone(container));
                    // At the first gather it may just have ended.
                    if std::mem::replace(&mut followed.is_unseen, true) {
                        log_unseen(&mut self.has_told_unseen, &self.shared, container);
                    }
                }
                continue;
            };
            followed.is_unseen = false;
            points.state(gathered, tags, container);
            points.figures(gathered, tags, container, &figures, before);
            followed.before = figures.cpu_ns().map(|cpu_ns| (cpu_ns, host.cpu_ns));
        }
        unseen
    }

    /// Adds the figures that the daemon gave of containers whose cgroups are not seen here.
    fn figures_of_daemon(&mut self, gathered: &mut Gathered, answered: Vec<Answered>) {
        let daemon = Arc::clone(&self.daemon);
        let known = daemon.known();
        let Some(engine) = &known.engine else { return };
        let mut failure = None;
        for (container, answer) in answered {
            let stats = match answer {
                Ok(stats) => stats,
                // It has ended since.
                Err(error) if error.is_not_found() => continue,
                Err(error) => {
                    failure = Some(error);
                    continue;
                }
            };
            let Some(followed) = self.followed.get_mut(&container.id) else { continue };
            // It may have been started anew meanwhile, or be seen by now.
            let is_same = followed.container.pid == container.pid && followed.place.cgroup.is_none();
            let (Some(tags), true) = (&followed.tags, is_same) else { continue };
            let Some(DaemonFigures { figures, host, before }) =
                DaemonFigures::new(&stats, engine.memory_bytes, Timestamp::now())
            else {
                continue;
            };
            let points = ContainerPoints { options: &self.options, engine, host: &host };
            points.figures(gathered, tags, &container, &figures, followed.before.or(before));
            followed.before = figures.cpu_ns().map(|cpu_ns| (cpu_ns, host.cpu_ns));
        }
        if let Some(error) = unless_again(&mut self.has_no_stats, failure) {
            tracing::warn!(%error, "no figures of a container whose cgroup is not seen here");
        }
    }
}

impl InputPlugin for Options {
    fn budget(&self, _: u64) -> Budget {
        let n_bytes = MAX_LIST_BYTES + CONCURRENT * MAX_STATS_BYTES;
        Budget { memory: n_bytes as u64, connections: 2 + CONCURRENT as u64, ..Budget::default() }
    }

    fn files(&self) -> Files {
        let mut files = Files::read_all(self.tls.files());
        // Docker's own variable, for `endpoint = "ENV"`.
        if let Some(directory) = std::env::var_os("DOCKER_CERT_PATH") {
            files.read_below(directory);
        }
        files
    }

    fn check(&self, _: &Host) -> Result<(), OptionError> {
        Docker::labels(self)?;
        Docker::containers_of(self)?;
        self.client(|name| std::env::var(name).ok()).map(drop)
    }

    fn remarks(&self, _: Option<&Host>) -> Vec<OptionError> {
        self.remarks()
    }

    fn build(self: Box<Self>, shared: &Arc<Shared>) -> Result<Box<dyn Input>, StartError> {
        Ok(Box::new(Docker::new(*self, shared)?))
    }
}

#[async_trait::async_trait]
impl Input for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    async fn gather(&mut self, gathered: &mut Gathered) -> Result<(), GatherError> {
        if !std::mem::replace(&mut self.has_gathered, true) {
            self.daemon.ready(FIRST_WAIT.min(self.options.timeout)).await;
        }
        let (time, now) = (gathered.time, Instant::now());
        // Late responses first: a new request needs the previous one to be done.
        self.answered(gathered).await;
        if self.client.version().is_some() {
            self.request_description(time, now);
            if !self.options.storage_objects.is_empty() {
                let client = Arc::clone(&self.client);
                let kinds: Vec<&str> =
                    self.options.storage_objects.iter().map(|object| object.name()).collect();
                self.disk_usage.send(time, async move { client.disk_usage(&kinds).await });
            }
            // The daemon works on it while the figures are read.
            tokio::task::yield_now().await;
        }
        let unseen = self.containers(gathered, now);
        if !unseen.is_empty() {
            let client = Arc::clone(&self.client);
            self.stats.send(time, async move { Ok(stats::request(client, unseen).await) });
        }
        self.answered(gathered).await;
        Ok(())
    }
}

impl Docker {
    /// Requests a description of the daemon, or whether the known one can still be had.
    fn request_description(&mut self, time: Timestamp, now: Instant) {
        let n_events = self.daemon.known().n_events;
        let known = self.description.clone().filter(|known| known.is_true(now, n_events));
        let client = Arc::clone(&self.client);
        self.request.send(time, async move {
            match known {
                Some(known) => known.confirmed(&client).await,
                None => Description::request(&client, now, n_events).await,
            }
        });
    }

    /// Adds the points of the daemon's responses.
    async fn answered(&mut self, gathered: &mut Gathered) {
        let (description, disk_usage) =
            (self.request.response(gathered.time).await, self.disk_usage.response(gathered.time).await);
        match &description {
            Some((_, Ok(description))) => {
                self.daemon.reached();
                self.description = Some(description.clone());
            }
            Some((_, Err(error))) if !error.is_about_one_answer() => self.daemon.lost(error),
            Some((_, Err(error))) => tracing::debug!(%error, "no /info from docker"),
            None => {}
        }
        if let Some((_, usage)) = &disk_usage {
            // The daemon may be fine all the same: measuring disk usage can take it long.
            if let Some(error) = unless_again(&mut self.has_no_disk_usage, usage.as_ref().err()) {
                tracing::warn!(%error, "no docker_disk_usage: raise `timeout` or remove `storage_objects`");
            }
        }
        if let Some((time, Ok(answered))) = self.stats.response(gathered.time).await {
            add_at(gathered, time, |gathered| self.figures_of_daemon(gathered, answered));
        }
        let known = self.daemon.known();
        let Some(engine) = &known.engine else { return };
        if let Some((time, Ok(description))) = description {
            add_at(gathered, time, |gathered| engine::info(gathered, engine, &description.info));
        }
        if let Some((time, Ok(usage))) = disk_usage {
            add_at(gathered, time, |gathered| {
                engine::disk_usage(gathered, engine, &self.options, &usage);
            });
        }
    }
}

/// The error of a request, unless the one before failed too.
fn unless_again<E>(failed_before: &mut bool, error: Option<E>) -> Option<E> {
    let failed_before = std::mem::replace(failed_before, error.is_some());
    error.filter(|_| !failed_before)
}

/// Adds points at the time when what they are made of was requested.
fn add_at(gathered: &mut Gathered, time: Timestamp, make: impl FnOnce(&mut Gathered)) {
    let mut late = Gathered::at(time);
    make(&mut late);
    gathered.points.append(&mut late.points);
}

#[cfg(test)]
mod tests;
