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

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::names::{ContainerName, Names, PodName};
use crate::point::Point;

/// The name of the container that only holds a pod's namespaces. No API lists it; docker and cAdvisor have always used
/// this name.
const PAUSE_NAME: &str = "POD";
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

    /// Adds the identity tags to a point; those with many values only if `on_request` lists them.
    pub fn add_tags(&self, point: &mut Point, named: &Named, on_request: &[String]) {
        if let Some(container) = &named.container {
            point.set_tag("container_name", container.name.clone());
            if !container.image.is_empty() {
                point.set_tag("container_image", container.image.clone());
            }
        } else if let Some(name) = self.name_in_path() {
            point.set_tag("container_name", name.to_owned());
        } else if named.is_pause {
            point.set_tag("container_name", PAUSE_NAME);
        }
        if let Some(pod) = &named.pod {
            point.set_tag("pod_name", pod.name.clone());
            point.set_tag("namespace", pod.namespace.clone());
            if !pod.node.is_empty() {
                point.set_tag("node_name", pod.node.clone());
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::names::Source;
    use crate::point::Timestamp;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const UID: &str = "12345678-1234-1234-1234-123456789abc";

    fn tags(identity: &Identity, names: &Names, since: Instant) -> Vec<String> {
        let mut point = Point::new("m", Timestamp(0));
        identity.add_tags(&mut point, &identity.named(names, since), &[]);
        let mut tags: Vec<String> = point.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        tags.retain(|tag| !tag.starts_with("cgroup="));
        tags.sort_unstable();
        tags
    }

    #[test]
    fn a_container_has_its_own_name_and_its_pods() {
        let (names, now) = (Names::default(), Instant::now());
        let identity = path::parse(&format!("/kubepods/burstable/pod{UID}/{ID}/nested"));
        assert!(identity.lacks(&identity.named(&names, now)));
        names.name_pod(
            Source::Kubelet,
            UID,
            PodName {
                name: "web-1".into(),
                namespace: "shop".into(),
                node: "n1".into(),
                has_all_containers: true,
            },
            now,
        );
        assert!(identity.lacks(&identity.named(&names, now)), "it may still be listed");
        let container = ContainerName { name: "main".into(), image: "bb:1".into() };
        names.name_container(Source::Kubelet, ID, container, now);
        assert!(!identity.lacks(&identity.named(&names, now)));
        let expected = ["container_image=bb:1", "container_name=main", "namespace=shop", "node_name=n1"];
        assert_eq!(tags(&identity, &names, now)[..4], expected);
    }

    #[test]
    fn what_the_kubelet_still_does_not_list_is_the_pause_container() {
        let (names, now) = (Names::default(), Instant::now());
        let identity = path::parse(&format!("/kubepods/pod{UID}/{ID}"));
        let pod = |has_all_containers| PodName {
            name: "web-1".into(),
            namespace: "shop".into(),
            node: String::new(),
            has_all_containers,
        };
        let later = now + LISTED_WITHIN + Duration::from_millis(1);
        // Its own containers may be among those that the kubelet says nothing of yet.
        names.name_pod(Source::Kubelet, UID, pod(false), later);
        assert!(identity.lacks(&identity.named(&names, now)));
        let pod = pod(true);
        names.name_pod(Source::Kubelet, UID, pod, now + LISTED_WITHIN + Duration::from_millis(1));
        assert_eq!(tags(&identity, &names, now)[0], "container_name=POD");
        assert!(!identity.lacks(&identity.named(&names, now)));
        let own = path::parse(&format!("/kubepods/pod{UID}"));
        assert_eq!(tags(&own, &names, now), ["namespace=shop", "pod_name=web-1"]);
    }

    #[test]
    fn lxc_has_its_name_in_the_path() {
        let (names, now) = (Names::default(), Instant::now());
        let identity = path::parse("/lxc.payload.web/init.scope");
        assert!(!identity.lacks(&identity.named(&names, now)));
        assert!(tags(&identity, &names, now).contains(&"container_name=web".to_owned()));
    }
}
