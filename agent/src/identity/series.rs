//! The tags that a row has from its identity, so chosen that a series outlives the instance. Pure.
//!
//! No tag carries an id unless it is requested. A row that has no name, or is a unit's, has the path of its cgroup, with
//! `*` for what only one instance has.

use std::cmp::Ordering;
use std::hash::{BuildHasher as _, Hash, Hasher, RandomState};
use std::sync::LazyLock;

use super::names::PodName;
use super::{Identity, Named, units};
use crate::point::{Name, Point, Tags};

/// The name of the container that only holds a pod's namespaces. No API lists it; docker and cAdvisor have always used
/// this name.
const PAUSE_NAME: &str = "POD";

/// How rows are told apart.
#[derive(Clone, Copy, Debug, Default)]
pub struct SeriesOptions<'a> {
    /// The requested ones of the tags that carry an id: `cgroup`, `container_id`, `pod_uid`.
    pub tag_include: &'a [String],
    /// Each pod of a job has rows of its own.
    pub each_job_pod: bool,
}

impl SeriesOptions<'_> {
    fn includes(self, tag: &str) -> bool {
        self.tag_include.iter().any(|name| name == tag)
    }
}

/// The identity's tags of a row.
#[derive(Clone, Debug, Default)]
pub struct Series {
    tags: Vec<(&'static str, Name)>,
    /// Of the tags, so that each look for a row does not go over their texts again.
    hash: u64,
}

/// The key of all hashes, so that nobody can choose names that are taken for one.
static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl PartialEq for Series {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.tags == other.tags
    }
}

impl Eq for Series {}

impl Hash for Series {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialOrd for Series {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Series {
    fn cmp(&self, other: &Self) -> Ordering {
        self.tags.cmp(&other.tags)
    }
}

/// Every tag that a series can have, in their order.
const TAGS: [&str; 10] = [
    "container_name",
    "container_image",
    "pod_name",
    "namespace",
    "node_name",
    "workload",
    "cgroup",
    "runtime",
    "unit",
    "container_id",
];
/// The tag that only a pod's identity has on request.
const POD_UID: &str = "pod_uid";

impl Series {
    /// The tags of the row of `identity`, an owner's.
    #[must_use]
    pub fn of_owner(identity: &Identity, named: &Named, options: SeriesOptions<'_>) -> Self {
        let mut series = Self::default();
        let container = match &named.container {
            Some(container) => Some(container.name.as_str()),
            None => identity.name_in_path().or(named.is_pause.then_some(PAUSE_NAME)),
        };
        series.add("container_name", container);
        series.add("container_image", named.container.as_ref().map(|container| container.image.as_str()));
        series.add_pod(named.pod.as_deref(), options);
        let has_name = match identity.container_id {
            Some(_) => container.is_some(),
            None => named.pod.is_some(),
        };
        if options.includes("cgroup") || (!has_name && identity.container_id.is_some()) {
            series.add("cgroup", Some(&identity.path));
        } else if !has_name {
            series.add("cgroup", Some(&*units::path_pattern(&identity.path)));
        }
        series.add("runtime", identity.runtime);
        let unit = identity.unit.as_deref().filter(|_| !identity.unit_is_container());
        series.add("unit", unit.map(units::pattern).as_deref());
        if options.includes("container_id") {
            series.add("container_id", identity.container_id.as_deref());
        }
        if options.includes(POD_UID) {
            series.add(POD_UID, identity.pod_uid.as_deref());
        }
        series
    }

    /// The tags of the row of the pod that `identity` is part of.
    #[must_use]
    pub fn of_pod(identity: &Identity, pod: Option<&PodName>, options: SeriesOptions<'_>) -> Self {
        let mut series = Self::default();
        series.add_pod(pod, options);
        if pod.is_none() || options.includes("cgroup") {
            series.add("cgroup", identity.pod_path());
        }
        if options.includes(POD_UID) {
            series.add(POD_UID, identity.pod_uid.as_deref());
        }
        series
    }

    /// From tags that were written out before, in any order; those that no series has are left out.
    #[must_use]
    pub fn from_tags(tags: &Tags) -> Self {
        let mut series = Self::default();
        for tag in TAGS.into_iter().chain([POD_UID]) {
            series.add(tag, tags.get(tag).map(Name::as_str));
        }
        series
    }

    /// The same with the id of the container, for as long as another one has its name.
    #[must_use]
    pub fn with_container_id(&self, id: &str) -> Self {
        let mut series = Self::default();
        for (tag, value) in self.tags.iter().filter(|(tag, _)| *tag != "container_id") {
            series.push(tag, value.clone());
        }
        series.add("container_id", Some(id));
        series
    }

    /// Whether an instance that comes later can have the same tags.
    #[must_use]
    pub fn outlives_instance(&self, identity: &Identity) -> bool {
        let has = |tag| self.tags.iter().any(|(known, _)| *known == tag);
        let has_path_of_id = has("cgroup") && (identity.container_id.is_some() || identity.pod_uid.is_some());
        !has("container_id") && !has(POD_UID) && !has_path_of_id
    }

    /// Whether it is made of all pods of a job.
    #[must_use]
    pub fn is_of_job(&self) -> bool {
        let workload = self.tags.iter().find(|(tag, _)| *tag == "workload");
        workload.is_some_and(|(_, name)| name.starts_with("job/") || name.starts_with("cronjob/"))
    }

    /// Its tags, each key once.
    #[must_use]
    pub fn tags(&self) -> &[(&'static str, Name)] {
        &self.tags
    }

    /// Adds its tags to a point.
    pub fn add_to(&self, point: &mut Point) {
        for (tag, value) in &self.tags {
            point.set_tag(*tag, value);
        }
    }

    fn add_pod(&mut self, pod: Option<&PodName>, options: SeriesOptions<'_>) {
        let Some(pod) = pod else { return };
        let pattern = pod.workload.as_ref().and_then(|workload| workload.pods.as_deref());
        self.add("pod_name", Some(pattern.filter(|_| !options.each_job_pod).unwrap_or(&pod.name)));
        self.add("namespace", Some(&*pod.namespace));
        self.add("node_name", Some(&*pod.node));
        self.add("workload", pod.workload.as_ref().map(|workload| workload.name.as_str()));
    }

    /// A tag without a value is none.
    fn add(&mut self, tag: &'static str, value: Option<&str>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.push(tag, Name::new(value));
        }
    }

    fn push(&mut self, tag: &'static str, value: Name) {
        self.hash = KEY.hash_one((self.hash, tag, &value));
        self.tags.push((tag, value));
    }
}

#[cfg(test)]
mod tests;
