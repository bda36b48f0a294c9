//! The options of the input, and what they mean together.

use std::time::Duration;

use serde::Deserialize;

use crate::identity::docker::{DEFAULT_ENDPOINT, DockerClient};
use crate::options::OptionError;
use crate::options::tls::Tls;

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
    /// Swarm services; refused.
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
    #[serde(deserialize_with = "crate::options::duration::deserialize")]
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
    /// Taken and not used: podman's figures come from the kernel as docker's do.
    #[serde(deserialize_with = "crate::options::duration::deserialize")]
    pub(super) podman_cache_ttl: Duration,
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
            podman_cache_ttl: Duration::from_secs(60),
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
