//! What an id stands for: cgroup id to path, container, pod and unit.
//!
//! Paths come from the kernel's life-cycle records, and from one walk of the mounted hierarchies at start (again when
//! records were lost). Names never change a number: a row without a name is published with its path, and a row without
//! a path is counted as unresolved.

pub(crate) mod cgroup;
pub(crate) mod containers;
pub(crate) mod docker;
pub(crate) mod kubelet;
pub(crate) mod names;
pub mod path;
pub(crate) mod series;
mod units;
pub(crate) mod workloads;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::names::{ContainerName, Names, PodName};

/// A container that its pod's source does not list this long after the agent first saw it is the pause container: the
/// kubelet itself looks every second.
const LISTED_WITHIN: Duration = Duration::from_secs(5);

/// What a cgroup's path tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The path from the hierarchy's root; `/` is the root.
    pub path: String,
    /// What runs the container: `docker`, `containerd`, `cri-o`, `podman`, `lxc`, `systemd-nspawn`, `buildkit`,
    /// `garden`, `mesos`; `cri` when it is one of Kubernetes' and the path does not tell which. `None` also for a
    /// container whose path does not tell at all.
    pub runtime: Option<&'static str>,
    /// The container's id: 64 hexadecimal digits, or what its runtime uses instead; with LXC and systemd-nspawn its
    /// name.
    pub container_id: Option<String>,
    /// The pod's UID: a UUID, or for a static pod the 32 hexadecimal digits of its hash.
    pub pod_uid: Option<String>,
    /// The pod's quality of service: `guaranteed`, `burstable`, `besteffort`.
    pub qos: Option<&'static str>,
    /// The unit of this machine's systemd.
    pub unit: Option<String>,
    container_end: Option<usize>,
    pod_end: Option<usize>,
    unit_end: Option<usize>,
}

impl Identity {
    /// The path of the container's own cgroup. Shorter than `path` for a cgroup that the container created inside.
    #[must_use]
    pub fn container_path(&self) -> Option<&str> {
        self.path.get(..self.container_end?)
    }

    /// Whether this is a container's own cgroup, which contains all of it; a nested cgroup is only a part.
    #[must_use]
    pub fn is_container_root(&self) -> bool {
        self.container_path() == Some(self.path.as_str())
    }

    /// The path of the pod's own cgroup, which contains its containers.
    #[must_use]
    pub fn pod_path(&self) -> Option<&str> {
        self.path.get(..self.pod_end?)
    }

    /// The path of the cgroup whose row it belongs to: that of its innermost container, else of its innermost unit, else its
    /// own.
    #[must_use]
    pub fn owner_path(&self) -> &str {
        let end = self.container_end.or(self.unit_end);
        end.and_then(|end| self.path.get(..end)).unwrap_or(&self.path)
    }

    /// Whether it is a container's or a unit's own cgroup.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        (self.container_end.is_some() || self.unit_end.is_some()) && self.owner_path() == self.path
    }

    /// Whether its unit is the scope that the container itself is.
    fn unit_is_container(&self) -> bool {
        self.unit_end.is_some() && self.unit_end == self.container_end && self.name_in_path().is_none()
    }

    /// The names that its container and pod have now; `first_seen` is when the agent first saw the cgroup.
    #[must_use]
    pub fn named(&self, names: &Names, first_seen: Instant) -> Named {
        let container = self.container_id.as_deref().and_then(|id| names.container(id));
        let pod = self.pod_uid.as_deref().and_then(|uid| names.pod(uid));
        let is_pause = container.is_none()
            && self.container_id.is_some()
            && pod
                .as_ref()
                .is_some_and(|(pod, listed)| pod.has_all_containers && *listed > first_seen + LISTED_WITHIN);
        Named { container, pod: pod.map(|(pod, _)| pod), is_pause }
    }

    /// The container's name, where the path itself contains it.
    fn name_in_path(&self) -> Option<&str> {
        matches!(self.runtime, Some("lxc" | "systemd-nspawn")).then_some(self.container_id.as_deref())?
    }

    /// Whether a source may still have a name for it that `named` lacks.
    #[must_use]
    pub fn lacks(&self, named: &Named) -> bool {
        let lacks_container = self.container_id.is_some()
            && self.name_in_path().is_none()
            && named.container.is_none()
            && !named.is_pause;
        lacks_container || (self.pod_uid.is_some() && named.pod.is_none())
    }
}

/// The names of a cgroup's container and pod at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Its container's name.
    pub container: Option<Arc<ContainerName>>,
    /// Its pod's name.
    pub pod: Option<Arc<PodName>>,
    /// It is the pod's pause container.
    pub is_pause: bool,
}
