//! The options of the input, and what they mean together.

use std::time::Duration;

use serde::Deserialize;

use crate::identity::docker::{DEFAULT_ENDPOINT, DockerClient, is_remote, is_unchecked, relative_socket};
use crate::options::tls::Tls;
use crate::options::tls::UNCHECKED;
use crate::options::{OptionError, nearest};

/// The states of a container.
const STATES: &[&str] = &["created", "restarting", "running", "removing", "paused", "exited", "dead"];

/// What can be split by device and CPU, or summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Area {
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
pub(super) enum StorageObject {
    /// Containers' own files.
    Container,
    /// Images, and all layers together.
    Image,
    /// Volumes.
    Volume,
}

impl StorageObject {
    pub(super) fn name(self) -> &'static str {
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
pub struct DockerOptions {
    /// The daemon: `unix://`, `tcp://`, `http://`, `https://`, or `ENV` for docker's own variables.
    pub(super) endpoint: String,
    /// Swarm services, which are left out.
    pub(super) gather_services: bool,
    /// Add the tag `source`: the first 12 digits of the container's id.
    pub(super) source_tag: bool,
    /// Only containers whose name matches one of these globs; empty means all.
    pub(super) container_name_include: Vec<String>,
    /// No containers whose name matches one of these.
    pub(super) container_name_exclude: Vec<String>,
    /// Only containers in a state that matches one of these; with the next one empty too, those that run.
    pub(super) container_state_include: Vec<String>,
    /// No containers in a state that matches one of these.
    pub(super) container_state_exclude: Vec<String>,
    /// Measure the disk's use by these.
    pub(super) storage_objects: Vec<StorageObject>,
    /// For one answer of the daemon.
    #[serde(deserialize_with = "crate::options::duration::deserialize_or::<_, 5>")]
    pub(super) timeout: Duration,
    /// What is split by CPU, device and interface.
    pub(super) perdevice_include: Vec<Area>,
    /// What is summed up.
    pub(super) total_include: Vec<Area>,
    /// Labels that become tags; with the next one empty too, all.
    pub(super) docker_label_include: Vec<String>,
    /// Labels that do not.
    pub(super) docker_label_exclude: Vec<String>,
    /// Variables of a container's environment that become tags.
    pub(super) tag_env: Vec<String>,
    /// Telegraf's until 1.35: names that are added to `container_name_include`.
    pub(super) container_names: Vec<String>,
    /// Telegraf's until 1.35: `true` adds `network` and `blkio` to `perdevice_include`.
    pub(super) perdevice: Option<bool>,
    /// Telegraf's until 1.35: `false` leaves `cpu` alone in `total_include`.
    pub(super) total: Option<bool>,
    /// For `https` and encrypted `tcp`.
    pub(super) tls: Tls,
}

impl Default for DockerOptions {
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
            container_names: Vec::new(),
            perdevice: None,
            total: None,
            tls: Tls::default(),
        }
    }
}

impl DockerOptions {
    /// The options that Telegraf had until 1.35 as those of today.
    pub(super) fn modern(mut self) -> Self {
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

    /// Options that do nothing, or that Telegraf has under other names.
    pub(super) fn remarks(&self) -> Vec<OptionError> {
        let variable = |name: &str| std::env::var(name).ok();
        let mut remarks = Vec::new();
        let mut say = |is_so: bool, option, what: &str| {
            if is_so {
                remarks.push(OptionError::new(option, what));
            }
        };
        say(is_unchecked(&self.endpoint, &self.tls, variable), "insecure_skip_verify", UNCHECKED);
        let remote = "leads to a network: of each container whose cgroup this host does not have, the daemon is asked at each gather, \
                      as Telegraf does; on the daemon's host its figures are read for a fraction of the cost";
        say(is_remote(&self.endpoint, &self.tls, variable), "endpoint", remote);
        say(self.gather_services, "gather_services", "has no effect: services of a swarm are not gathered");
        let slashes =
            "was taken for unix:///PATH, as Telegraf takes it where it runs in /: write three slashes";
        say(relative_socket(&self.endpoint).is_some(), "endpoint", slashes);
        say(!self.container_names.is_empty(), "container_names", "is now called `container_name_include`");
        say(self.perdevice.is_some(), "perdevice", "is gone from Telegraf: write `perdevice_include`");
        say(self.total.is_some(), "total", "is gone from Telegraf: write `total_include`");
        for state in self.container_state_include.iter().chain(&self.container_state_exclude) {
            if !state.contains(['*', '?', '[']) && !STATES.contains(&state.as_str()) {
                let what = format!("there is no state `{state}`{}", nearest(state, STATES));
                remarks.push(OptionError::new("container_state_include", what));
            }
        }
        remarks
    }

    /// A client of the daemon that the options name; `variable` gives the environment's variables.
    ///
    /// # Errors
    /// The option that cannot be worked with.
    pub(crate) fn client(
        &self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<DockerClient, OptionError> {
        DockerClient::new(&self.endpoint, &self.tls, self.timeout, variable)
    }
}
