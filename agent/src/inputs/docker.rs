//! `[[inputs.docker]]`: the containers of a docker daemon, or of podman's compatible socket.
//!
//! Figures come from cgroupfs and from the network namespace of a container, so a gather asks the daemon for nothing but
//! `/info`, and does not wait long for that. Which containers there are, and their states, [`identity::docker`] keeps up to
//! date from the daemon's events. While the daemon is away or hangs, figures go on.
//!
//! [`identity::docker`]: crate::identity::docker

mod points;

use std::collections::HashMap;
use std::convert::Infallible;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::task::{JoinHandle, JoinSet};
use tracing::Instrument as _;

use self::points::{Figures, Machine, Maker, Network};
use super::{GatherError, Gathered, Input, InputPlugin, Shared, StartError};

use crate::host::Host;
use crate::host::cgroupfs::reader::Reader;
use crate::identity::docker::{
    ApiError, Container, DEFAULT_ENDPOINT, Daemon, DiskUsage, DockerClient, Info, Selection, Watch,
};
use crate::options::OptionError;
use crate::options::filter::IncludeExclude;
use crate::options::tls::Tls;
use crate::point::{Name, Timestamp};

/// How long a gather waits for what it asked of the daemon, which takes some 10 ms. A later answer goes out with the next
/// gather, under the time at which it was asked; until it is there no gather waits again.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long the very first gather waits until the containers are known.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);

/// What can be split by device and CPU, or summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    /// `docker_container_cpu`
    Cpu,
    /// `docker_container_blkio`
    Blkio,
    /// `docker_container_net`
    Network,
}

/// What `docker_disk_usage` is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StorageObject {
    /// Containers' own files.
    Container,
    /// Images, and all layers together.
    Image,
    /// Volumes.
    Volume,
}

impl StorageObject {
    fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Volume => "volume",
        }
    }
}

/// The section `[[inputs.docker]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The daemon: `unix://`, `tcp://`, `http://`, `https://`, or `ENV` for docker's own variables.
    pub endpoint: String,
    /// Swarm services; refused.
    pub gather_services: bool,
    /// Add the tag `source`: the first 12 digits of the container's id.
    pub source_tag: bool,
    /// Only containers whose name matches one of these globs; empty means all.
    pub container_name_include: Vec<String>,
    /// No containers whose name matches one of these.
    pub container_name_exclude: Vec<String>,
    /// Only containers in a state that matches one of these; with the next one empty too, those that run.
    pub container_state_include: Vec<String>,
    /// No containers in a state that matches one of these.
    pub container_state_exclude: Vec<String>,
    /// Measure the disk's use by these.
    pub storage_objects: Vec<StorageObject>,
    /// For one answer of the daemon.
    #[serde(deserialize_with = "crate::options::duration::deserialize")]
    pub timeout: Duration,
    /// What is split by CPU, device and interface.
    pub perdevice_include: Vec<Area>,
    /// What is summed up.
    pub total_include: Vec<Area>,
    /// Labels that become tags; with the next one empty too, all.
    pub docker_label_include: Vec<String>,
    /// Labels that do not.
    pub docker_label_exclude: Vec<String>,
    /// Variables of a container's environment that become tags.
    pub tag_env: Vec<String>,
    /// Taken and not used: podman's figures come from the kernel as docker's do.
    #[serde(deserialize_with = "crate::options::duration::deserialize")]
    pub podman_cache_ttl: Duration,
    /// Telegraf's until 1.35: names that are added to `container_name_include`.
    pub container_names: Vec<String>,
    /// Telegraf's until 1.35: `true` adds `network` and `blkio` to `perdevice_include`.
    pub perdevice: Option<bool>,
    /// Telegraf's until 1.35: `false` leaves `cpu` alone in `total_include`.
    pub total: Option<bool>,
    /// For `https` and encrypted `tcp`.
    pub tls: Tls,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoint: DEFAULT_ENDPOINT.into(),
            gather_services: false,
            source_tag: false,
            container_name_include: Vec::new(),
            container_name_exclude: Vec::new(),
            container_state_include: Vec::new(),
            container_state_exclude: Vec::new(),
            storage_objects: Vec::new(),
            timeout: Duration::from_secs(5),
            perdevice_include: vec![Area::Cpu],
            total_include: vec![Area::Cpu, Area::Blkio, Area::Network],
            docker_label_include: Vec::new(),
            docker_label_exclude: Vec::new(),
            tag_env: Vec::new(),
            podman_cache_ttl: Duration::from_secs(60),
            container_names: Vec::new(),
            perdevice: None,
            total: None,
            tls: Tls::default(),
        }
    }
}

impl Options {
    /// The options that Telegraf had until 1.35 as those of today.
    fn modern(mut self) -> Self {
        self.container_name_include.append(&mut self.container_names);
        if self.perdevice == Some(true) {
            for area in [Area::Network, Area::Blkio] {
                if !self.perdevice_include.contains(&area) {
                    self.perdevice_include.push(area);
                }
            }
        }
        if self.total == Some(false) {
            self.total_include.retain(|area| *area == Area::Cpu);
        }
        self
    }

    /// A client of the daemon that the options name; `variable` gives the environment's variables.
    ///
    /// # Errors
    /// The option that cannot be worked with.
    pub fn client(&self, variable: impl Fn(&str) -> Option<String>) -> Result<DockerClient, OptionError> {
        DockerClient::new(&self.endpoint, &self.tls, self.timeout, variable)
    }
}

/// The input.
pub struct Docker {
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
    info: Question<Info>,
    disk_usage: Question<DiskUsage>,
    /// The last answer to that was none.
    has_no_disk_usage: bool,
    has_gathered: bool,
}

/// What is kept of a container from one gather to the next.
struct Followed {
    container: Arc<Container>,
    /// `None` when it is not selected.
    tags: Option<Vec<(Name, String)>>,
    place: Place,
    /// CPU time of the container and of the machine at the gather before.
    before: Option<(u64, u64)>,
}

/// Where the figures of a container are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Place {
    /// The path of its cgroup.
    cgroup: Option<Arc<str>>,
    /// Its network namespace, and a process in it; `None` where it has the host's, or none that can be read.
    network: Option<(u64, u32)>,
}

impl Docker {
    /// Checks the options, and begins to watch the daemon. Call it within the runtime.
    ///
    /// # Errors
    /// The option that cannot be worked with. That there is no daemon is no error.
    pub fn new(options: Options, shared: &Arc<Shared>) -> Result<Self, OptionError> {
        let mut docker = Self::unwatched(options, shared)?;
        let Options { docker_label_include: include, docker_label_exclude: exclude, tag_env, .. } =
            &docker.options;
        let labels =
            IncludeExclude::new(("docker_label_include", include), ("docker_label_exclude", exclude))?;
        let selection = Selection { labels, variables: tag_env.clone() };
        let watch =
            Watch::new(Arc::clone(&docker.client), Arc::clone(&docker.daemon), &shared.names, selection);
        docker.watch.spawn(watch.run().in_current_span());
        Ok(docker)
    }

    fn unwatched(options: Options, shared: &Arc<Shared>) -> Result<Self, OptionError> {
        if options.gather_services {
            let what = "services of a swarm are not gathered: leave this out";
            return Err(OptionError::new("gather_services", what));
        }
        let mut options = options.modern();
        if options.container_state_include.is_empty() && options.container_state_exclude.is_empty() {
            options.container_state_include = vec!["running".into()];
        }
        let client = options.client(|name| std::env::var(name).ok())?;
        Ok(Self {
            names: IncludeExclude::new(
                ("container_name_include", &options.container_name_include),
                ("container_name_exclude", &options.container_name_exclude),
            )?,
            states: IncludeExclude::new(
                ("container_state_include", &options.container_state_include),
                ("container_state_exclude", &options.container_state_exclude),
            )?,
            options,
            shared: Arc::clone(shared),
            client: Arc::new(client),
            daemon: Arc::default(),
            watch: JoinSet::new(),
            proc: Reader::new(&shared.host.proc("")),
            followed: HashMap::new(),
            info: Question::default(),
            disk_usage: Question::default(),
            has_no_disk_usage: false,
            has_gathered: false,
        })
    }

    /// The points of all containers, from what is known and what the kernel says; nothing here waits.
    fn containers(&mut self, gathered: &mut Gathered, now: Instant) {
        let daemon = Arc::clone(&self.daemon);
        let known = daemon.known();
        let Some(engine) = &known.engine else { return };
        let machine = self.machine(engine.memory_bytes);
        let maker = Maker { options: &self.options, engine, machine: &machine };
        self.followed.retain(|id, _| known.containers.contains_key(id));
        let mut namespaces = HashMap::new();
        for (id, container) in &known.containers {
            let followed = match self.followed.get_mut(id) {
                Some(followed) => followed,
                None => self.followed.entry(id.clone()).or_insert_with(|| Followed {
                    container: Arc::default(),
                    tags: None,
                    place: Place::default(),
                    before: None,
                }),
            };
            if !Arc::ptr_eq(&followed.container, container) {
                let is_selected = self.names.takes(&container.name) && self.states.takes(&container.status);
                followed.tags = is_selected.then(|| maker.tags(container));
                if followed.container.pid != container.pid {
                    (followed.place, followed.before) = (Place::default(), None);
                }
                followed.container = Arc::clone(container);
            }
            let Some(tags) = &followed.tags else { continue };
            if !container.runs() {
                maker.stopped(gathered, tags, container);
                continue;
            }
            if followed.place.cgroup.is_none() {
                followed.place = locate(&mut self.proc, &self.shared, container, now);
            }
            let Some(cgroup) = &followed.place.cgroup else {
                // Its cgroup cannot be seen from here: the daemon's word is all there is, for as long as it stands by it.
                if known.is_up {
                    maker.state(gathered, tags, container);
                }
                continue;
            };
            let cgroupfs = &self.shared.cgroupfs;
            let activity = cgroupfs.activity(cgroup, now);
            let cpu_ns = activity.as_ref().and_then(|activity| Some(activity.cpu.as_ref()?.usage_ns));
            let rests = cpu_ns.is_some() && followed.before.map(|(before, _)| before) == cpu_ns;
            let figures = Figures {
                memory: cgroupfs.memory(cgroup, gathered.time, rests),
                activity,
                networks: followed
                    .place
                    .network
                    .and_then(|network| read_network(&mut self.proc, &mut namespaces, network)),
            };
            if figures.memory.is_none() && figures.activity.is_none() {
                // It has ended, and the daemon has not said so yet.
                followed.place.cgroup = None;
                continue;
            }
            maker.state(gathered, tags, container);
            maker.figures(gathered, tags, container, &figures, followed.before);
            followed.before = cpu_ns.map(|cpu_ns| (cpu_ns, machine.cpu_ns));
        }
    }

    fn machine(&mut self, memory_bytes: Option<u64>) -> Machine {
        let stat = self.proc.read("", "stat").unwrap_or_default();
        Machine::new(stat, memory_bytes, Timestamp::now())
    }
}

/// Finds a container's cgroup and network namespace.
fn locate(proc: &mut Reader, shared: &Shared, container: &Container, now: Instant) -> Place {
    let Some(pid) = container.pid else { return Place::default() };
    let process = pid.to_string();
    let own = proc.read(&process, "cgroup").and_then(|text| points::cgroup_of(text, &container.id));
    let (cgroup, is_seen): (Option<Arc<str>>, bool) = match own {
        Some(path) => (Some(path.into()), true),
        None => {
            let path = shared.containers.path(&container.id, now);
            // Without the host's `/proc` the number may be another process's.
            let is_seen = path.as_ref().is_some_and(|path| shared.cgroupfs.processes(path).contains(&pid));
            (path, is_seen)
        }
    };
    let namespace = |process: &str| namespace(&shared.host, process);
    let network = (is_seen && !container.has_host_network)
        .then(|| namespace(&process))
        .flatten()
        .filter(|network| namespace("1") != Some(*network))
        .map(|network| (network, pid));
    Place { cgroup, network }
}

/// The network namespace of a process, by its inode.
fn namespace(host: &Host, process: &str) -> Option<u64> {
    std::fs::metadata(host.proc(format!("{process}/ns/net"))).ok().map(|namespace| namespace.ino())
}

/// The interfaces of a network namespace; containers of a pod share one, and it is read once in a gather.
fn read_network(
    proc: &mut Reader,
    namespaces: &mut HashMap<u64, Option<Arc<[Network]>>>,
    (namespace, pid): (u64, u32),
) -> Option<Arc<[Network]>> {
    let read = || Some(points::networks(proc.read(&pid.to_string(), "net/dev")?));
    namespaces.entry(namespace).or_insert_with(read).clone()
}

/// Something asked of the daemon: at most one at a time, and nobody waits long for it.
struct Question<T> {
    asked: Option<(Timestamp, JoinHandle<Result<T, ApiError>>)>,
}

impl<T> Default for Question<T> {
    fn default() -> Self {
        Self { asked: None }
    }
}

impl<T: Send + 'static> Question<T> {
    /// Asks, unless the answer before is still to come.
    fn ask(&mut self, time: Timestamp, question: impl Future<Output = Result<T, ApiError>> + Send + 'static) {
        if self.asked.is_none() {
            self.asked = Some((time, tokio::spawn(question.in_current_span())));
        }
    }

    /// The answer, and when it was asked for: one that was asked for at `time` is waited for a little.
    async fn answer(&mut self, time: Timestamp) -> Option<(Timestamp, Result<T, ApiError>)> {
        let (asked, task) = self.asked.as_mut()?;
        let asked = *asked;
        let patience = if asked == time { PATIENCE } else { Duration::ZERO };
        let answer = tokio::time::timeout(patience, task).await.ok()?;
        self.asked = None;
        // It neither panics nor is it cancelled while it is waited for.
        answer.ok().map(|answer| (asked, answer))
    }
}

impl<T> Drop for Question<T> {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.asked {
            task.abort();
        }
    }
}

impl InputPlugin for Options {
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
            self.daemon.ready(FIRST_PATIENCE.min(self.options.timeout)).await;
        }
        let time = gathered.time;
        // Late answers first: then there is room for the next question.
        self.answered(gathered).await;
        if self.client.version().is_some() {
            let client = Arc::clone(&self.client);
            self.info.ask(time, async move { client.info().await });
            if !self.options.storage_objects.is_empty() {
                let client = Arc::clone(&self.client);
                let kinds: Vec<&str> =
                    self.options.storage_objects.iter().map(|object| object.name()).collect();
                self.disk_usage.ask(time, async move { client.disk_usage(&kinds).await });
            }
            // The daemon works on it while the figures are read.
            tokio::task::yield_now().await;
        }
        self.containers(gathered, Instant::now());
        self.answered(gathered).await;
        Ok(())
    }
}

impl Docker {
    /// Adds the points of what the daemon answered.
    async fn answered(&mut self, gathered: &mut Gathered) {
        let (info, disk_usage) =
            (self.info.answer(gathered.time).await, self.disk_usage.answer(gathered.time).await);
        match &info {
            Some((_, Ok(_))) => self.daemon.reached(),
            Some((_, Err(error))) if !error.is_about_one_answer() => self.daemon.lost(error),
            Some((_, Err(error))) => tracing::debug!(%error, "docker does not describe itself"),
            None => {}
        }
        if let Some((_, usage)) = &disk_usage {
            // Says nothing of the daemon: to find this out can take it long.
            let failed_before = std::mem::replace(&mut self.has_no_disk_usage, usage.is_err());
            if let (Err(error), false) = (usage, failed_before) {
                tracing::warn!(%error, "there is no docker_disk_usage: raise `timeout` or leave `storage_objects` out");
            }
        }
        let known = self.daemon.known();
        let Some(engine) = &known.engine else { return };
        let mut add = |time, make: &dyn Fn(&mut Gathered)| {
            let mut late = Gathered::at(time);
            make(&mut late);
            gathered.points.append(&mut late.points);
        };
        if let Some((time, Ok(info))) = info {
            add(time, &|gathered| points::engine(gathered, engine, &info));
        }
        if let Some((time, Ok(usage))) = disk_usage {
            add(time, &|gathered| points::disk_usage(gathered, engine, &self.options, &usage));
        }
    }
}

#[cfg(test)]
mod tests;
