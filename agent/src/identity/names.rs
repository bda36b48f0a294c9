//! Names of containers and pods, by container id and pod UID.
//!
//! Filled by the sources (the kubelet's and the docker daemon's clients), which run beside the gathers; read when points
//! are made. A name that a source no longer has is kept for some minutes, for the last points of what ended. Sources are
//! not trusted: every string is truncated to a length that a database accepts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::workloads::Workload;
use crate::line_protocol::truncated;

/// How long the names of what ended are kept.
const RETENTION: Duration = Duration::from_secs(300);
/// The most containers that have names: far more than any node runs, and some 20 MB.
const MAX_CONTAINERS: usize = 50_000;
/// The most pods that have names.
const MAX_PODS: usize = 20_000;
/// Where a name is from. The kubelet's name of a container wins over docker's, which is `k8s_main_web-1_…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The docker daemon, or podman's socket.
    Docker,
    /// The kubelet.
    Kubelet,
}

/// What a container is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerName {
    /// Its name, in Kubernetes the one within the pod.
    pub name: String,
    /// Its image as it was requested; empty when it is unknown.
    pub image: String,
}

/// What a pod is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodName {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The node it runs on.
    pub node: String,
    /// What it belongs to.
    pub workload: Option<Workload>,
    /// Its source knows all its containers, so that another one in its cgroup is the pause container.
    pub has_all_containers: bool,
}

#[derive(Debug)]
struct Entry<T> {
    name: Arc<T>,
    source: Source,
    /// When the source last listed it.
    listed: Instant,
    ended: Option<Instant>,
}

/// The names of this machine's containers and pods.
#[derive(Debug, Default)]
pub struct Names {
    tables: Mutex<Tables>,
    requested: Notify,
}

#[derive(Debug, Default)]
struct Tables {
    containers: HashMap<String, Entry<ContainerName>>,
    pods: HashMap<String, Entry<PodName>>,
    n_sources: usize,
}

impl Names {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Nothing panics while it holds the lock, and half an update is no worse than none.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a source that may know names that are missing.
    pub fn add_source(&self) {
        self.tables().n_sources += 1;
    }

    /// Removes a source; its names stay, like those of what ended.
    pub fn remove_source(&self) {
        let mut tables = self.tables();
        tables.n_sources = tables.n_sources.saturating_sub(1);
    }

    /// Whether it is worth waiting for a name.
    #[must_use]
    pub fn has_sources(&self) -> bool {
        self.tables().n_sources > 0
    }

    /// Reports a missing name: the sources look for it at once, within their limits.
    pub fn request(&self) {
        self.requested.notify_waiters();
    }

    /// Completes at the next request for a name. Create the future before looking, so that no request is missed.
    pub fn requested(&self) -> tokio::sync::futures::Notified<'_> {
        self.requested.notified()
    }

    /// Sets the name that `source` has for a container, by its id.
    pub fn name_container(&self, source: Source, id: &str, container: ContainerName, now: Instant) {
        let container = ContainerName { name: truncated(container.name), image: truncated(container.image) };
        put(&mut self.tables().containers, MAX_CONTAINERS, id, container, source, now);
    }

    /// Sets the name that `source` has for a pod, by its UID with dashes.
    pub fn name_pod(&self, source: Source, uid: &str, pod: PodName, now: Instant) {
        let pod = PodName {
            name: truncated(pod.name),
            namespace: truncated(pod.namespace),
            node: truncated(pod.node),
            workload: pod
                .workload
                .map(|Workload { name, pods }| Workload { name: truncated(name), pods: pods.map(truncated) }),
            has_all_containers: pod.has_all_containers,
        };
        put(&mut self.tables().pods, MAX_PODS, uid, pod, source, now);
    }

    /// The container has ended: its name is kept for some minutes.
    pub fn end_container(&self, source: Source, id: &str, now: Instant) {
        if let Some(entry) = self.tables().containers.get_mut(id)
            && entry.source == source
        {
            entry.ended.get_or_insert(now);
        }
    }

    /// Everything that `source` has not named again since `listing` has ended; what ended long ago is forgotten.
    pub fn end_unlisted(&self, source: Source, listing: Instant, now: Instant) {
        fn sweep<T>(map: &mut HashMap<String, Entry<T>>, source: Source, listing: Instant, now: Instant) {
            for entry in map.values_mut().filter(|entry| entry.source == source && entry.listed < listing) {
                entry.ended.get_or_insert(now);
            }
        }
        let mut tables = self.tables();
        sweep(&mut tables.containers, source, listing, now);
        sweep(&mut tables.pods, source, listing, now);
        tables.forget(now);
    }

    /// Forgets what ended long ago.
    pub fn forget(&self, now: Instant) {
        self.tables().forget(now);
    }

    /// A container's name.
    #[must_use]
    pub fn container(&self, id: &str) -> Option<Arc<ContainerName>> {
        self.tables().containers.get(id).map(|entry| Arc::clone(&entry.name))
    }

    /// A pod's name, and when its source last listed it.
    #[must_use]
    pub fn pod(&self, uid: &str) -> Option<(Arc<PodName>, Instant)> {
        self.tables().pods.get(uid).map(|entry| (Arc::clone(&entry.name), entry.listed))
    }

    /// How many containers and pods have names.
    #[must_use]
    pub fn len(&self) -> (usize, usize) {
        let tables = self.tables();
        (tables.containers.len(), tables.pods.len())
    }

    /// Whether nothing has a name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0)
    }
}

impl Tables {
    fn forget(&mut self, now: Instant) {
        fn is_kept<T>(entry: &Entry<T>, now: Instant) -> bool {
            entry.ended.is_none_or(|ended| now.duration_since(ended) < RETENTION)
        }
        self.containers.retain(|_, entry| is_kept(entry, now));
        self.pods.retain(|_, entry| is_kept(entry, now));
    }
}

fn put<T: PartialEq>(
    map: &mut HashMap<String, Entry<T>>,
    limit: usize,
    id: &str,
    name: T,
    source: Source,
    now: Instant,
) {
    let is_full = map.len() >= limit;
    match map.get_mut(id) {
        Some(entry) if entry.source > source && entry.ended.is_none() => {}
        Some(entry) => {
            if *entry.name != name {
                entry.name = Arc::new(name);
            }
            (entry.source, entry.listed, entry.ended) = (source, now, None);
        }
        None if is_full => {
            tracing::debug!(id, limit, "too many names: one more is dropped");
        }
        None => {
            let entry = Entry { name: Arc::new(name), source, listed: now, ended: None };
            map.insert(id.to_owned(), entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(name: &str) -> ContainerName {
        ContainerName { name: name.into(), image: "bb:1".into() }
    }

    fn name(names: &Names, id: &str) -> Option<String> {
        names.container(id).map(|container| container.name.clone())
    }

    #[test]
    fn a_name_outlives_its_container_for_some_minutes() {
        let (names, start) = (Names::default(), Instant::now());
        names.name_container(Source::Docker, "c1", container("web"), start);
        names.end_container(Source::Docker, "c1", start);
        names.forget(start + RETENTION / 2);
        assert_eq!(name(&names, "c1").as_deref(), Some("web"));
        names.forget(start + RETENTION);
        assert!(names.is_empty());
    }

    #[test]
    fn one_that_comes_back_is_kept_and_a_new_name_wins() {
        let (names, start) = (Names::default(), Instant::now());
        names.name_container(Source::Docker, "c1", container("web"), start);
        names.end_container(Source::Docker, "c1", start);
        names.name_container(Source::Docker, "c1", container("web2"), start + RETENTION / 2);
        names.forget(start + 2 * RETENTION);
        assert_eq!(name(&names, "c1").as_deref(), Some("web2"));
    }

    #[test]
    fn what_a_listing_lacks_has_ended_and_other_sources_are_unaffected() {
        let (names, start) = (Names::default(), Instant::now());
        let pod = PodName { name: "p".into(), ..PodName::default() };
        names.name_container(Source::Kubelet, "c1", container("a"), start);
        names.name_pod(Source::Kubelet, "u1", pod, start);
        names.name_container(Source::Docker, "c2", container("b"), start);
        let listing = start + Duration::from_secs(10);
        names.end_unlisted(Source::Kubelet, listing, listing);
        assert_eq!(names.len(), (2, 1), "kept for a while");
        names.end_unlisted(Source::Kubelet, listing, listing + RETENTION);
        assert_eq!(names.len(), (1, 0));
        assert_eq!(name(&names, "c2").as_deref(), Some("b"));
    }

    #[test]
    fn the_kubelets_name_wins_over_dockers() {
        let (names, now) = (Names::default(), Instant::now());
        names.name_container(Source::Docker, "c1", container("k8s_main_web-1_default"), now);
        names.name_container(Source::Kubelet, "c1", container("main"), now);
        names.name_container(Source::Docker, "c1", container("k8s_main_web-1_default"), now);
        assert_eq!(name(&names, "c1").as_deref(), Some("main"));
    }
}
