//! Who an id is: cgroup id to path, container and unit.
//!
//! Paths come from the kernel's life-cycle records, and from one walk of the mounted hierarchies at start (again when
//! records were lost). Names never change a number: what has no name yet goes out with its path, and what has no
//! path is counted as unresolved.

pub mod cgroup;
pub mod names;
pub mod path;

use crate::point::Point;

/// What is known of a cgroup from its path alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The path from the hierarchy's root; `/` is the root.
    pub path: String,
    /// What runs the container: `docker`, `containerd`, `cri-o`, `podman`, `lxc`, `systemd-nspawn`, `buildkit`,
    /// `garden`, `mesos`; `cri` when it is one of Kubernetes' and the path does not say which. `None` also for a
    /// container where the path does not say at all.
    pub runtime: Option<&'static str>,
    /// The container's id: 64 hexadecimal digits, or what its runtime has instead; with LXC and systemd-nspawn its
    /// name.
    pub container_id: Option<String>,
    /// The pod's UID: a UUID, or of a static pod the 32 hexadecimal digits of its hash.
    pub pod_uid: Option<String>,
    /// The pod's quality of service: `guaranteed`, `burstable`, `besteffort`.
    pub qos: Option<&'static str>,
    /// The unit of this machine's systemd.
    pub unit: Option<String>,
    container_end: Option<usize>,
    pod_end: Option<usize>,
}

impl Identity {
    /// The path of the container's own cgroup. It is shorter than `path` for one that the container made inside.
    #[must_use]
    pub fn container_path(&self) -> Option<&str> {
        self.path.get(..self.container_end?)
    }

    /// Whether this is a container's own cgroup, which all of it is in; its descendants' are its too, but parts.
    #[must_use]
    pub fn is_container_root(&self) -> bool {
        self.container_path() == Some(self.path.as_str())
    }

    /// The path of the pod's own cgroup, which its containers are in.
    #[must_use]
    pub fn pod_path(&self) -> Option<&str> {
        self.path.get(..self.pod_end?)
    }

    /// Adds the identity tags to a point; those of many values only where `on_request` lists them.
    pub fn add_tags(&self, point: &mut Point, on_request: &[String]) {
        point.set_tag("cgroup", self.path.clone());
        if let Some(runtime) = self.runtime {
            point.set_tag("runtime", runtime);
        }
        if let Some(unit) = &self.unit {
            point.set_tag("unit", unit.clone());
        }
        let requested = |tag: &str| on_request.iter().any(|name| name == tag);
        if let Some(id) = &self.container_id
            && requested("container_id")
        {
            point.set_tag("container_id", id.clone());
        }
        if let Some(uid) = &self.pod_uid
            && requested("pod_uid")
        {
            point.set_tag("pod_uid", uid.clone());
        }
    }
}
