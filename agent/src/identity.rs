//! Who an id is: cgroup id to path, container and unit.
//!
//! Paths come from the kernel's life-cycle records, and from one walk of the mounted hierarchies at start (again when
//! records were lost). Names never change a number: what has no name yet goes out with its path, and what has no
//! path is counted as unresolved.

pub mod cgroup;
pub mod kubelet;
pub mod names;
pub mod path;

use crate::point::Point;

/// What is known of a cgroup from its path alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The path from the hierarchy's root; `/` is the root.
    pub path: String,
    /// What runs the container: `docker`, `containerd`, `cri-o`, `podman`, `lxc`.
    pub runtime: Option<&'static str>,
    /// The container's id, 64 hexadecimal digits.
    pub container_id: Option<String>,
    /// The pod's UID, with dashes.
    pub pod_uid: Option<String>,
    /// The systemd unit.
    pub unit: Option<String>,
}

impl Identity {
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
