//! What people call a container and a pod: container id and pod UID to names.
//!
//! Filled by the sources (the kubelet's and the docker daemon's clients), which run beside the gathers; asked when points
//! are made. A name that a source no longer has is kept for some minutes, so that the last figures of what ended still
//! have it. What a source says is not trusted: every string is cut to a length that a database takes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::line_protocol::truncated;

/// How long the names of what ended are kept.
const KEPT: Duration = Duration::from_secs(300);
/// More containers than this have no names: far above what any node runs, and some 20 MB.
const MOST_CONTAINERS: usize = 50_000;
/// More pods, likewise.
const MOST_PODS: usize = 20_000;
/// Who says so. What the kubelet says of a container wins over what docker says: docker sees `k8s_main_web-1_…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The docker daemon, or podman's socket.
    Docker,
    /// The kubelet.
    Kubelet,
}

/// A container's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its name, in Kubernetes the one within the pod.
    pub name: String,
    /// Its image as it was asked for; empty when it is not known.
    pub image: String,
}

/// A pod's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The node it runs on.
    pub node: String,
}

#[derive(Debug)]
struct Kept<T> {
    name: Arc<T>,
    source: Source,
    /// When the source last had it.
    listed: Instant,
    ended: Option<Instant>,
}

/// The names of this machine's containers and pods.
#[derive(Debug, Default)]
pub struct Names {
    known: Mutex<Known>,
    wanted: Notify,
}

#[derive(Debug, Default)]
struct Known {
    containers: HashMap<String, Kept<Container>>,
    pods: HashMap<String, Kept<Pod>>,
    n_sources: usize,
}

impl Names {
    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing panics while it holds the lock, and half an update is no worse than none.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a source: somebody who may know a name that nobody has yet.
    pub fn add_source(&self) {
        self.known().n_sources += 1;
    }

    /// Takes a source out again; what it said is kept as that of others.
    pub fn remove_source(&self) {
        let mut known = self.known();
        known.n_sources = known.n_sources.saturating_sub(1);
    }

    /// Whether it is worth waiting for a name.
    #[must_use]
    pub fn has_sources(&self) -> bool {
        self.known().n_sources > 0
    }

    /// Says that something has no name yet: the sources look at once, as far as their limits allow.
    pub fn want(&self) {
        self.wanted.notify_waiters();
    }

    /// Over when somebody next wants a name. Make the future before looking, so that no wish is missed.
    pub fn wanted(&self) -> tokio::sync::futures::Notified<'_> {
        self.wanted.notified()
    }

    /// Names a container that `source` has, by its id.
    pub fn name_container(&self, source: Source, id: &str, container: Container, now: Instant) {
        let container = Container { name: truncated(container.name), image: truncated(container.image) };
        put(&mut self.known().containers, MOST_CONTAINERS, id, container, source, now);
    }

    /// Names a pod that `source` has, by its UID with dashes.
    pub fn name_pod(&self, source: Source, uid: &str, pod: Pod, now: Instant) {
        let pod =
            Pod { name: truncated(pod.name), namespace: truncated(pod.namespace), node: truncated(pod.node) };
        put(&mut self.known().pods, MOST_PODS, uid, pod, source, now);
    }

    /// The container has ended: its name is kept for some minutes.
    pub fn end_container(&self, source: Source, id: &str, now: Instant) {
        if let Some(kept) = self.known().containers.get_mut(id)
            && kept.source == source
        {
            kept.ended.get_or_insert(now);
        }
    }

    /// Everything of `source` that it did not name again since `listing` has ended; what ended long ago is forgotten.
    pub fn end_unlisted(&self, source: Source, listing: Instant, now: Instant) {
        fn sweep<T>(map: &mut HashMap<String, Kept<T>>, source: Source, listing: Instant, now: Instant) {
            for kept in map.values_mut().filter(|kept| kept.source == source && kept.listed < listing) {
                kept.ended.get_or_insert(now);
            }
        }
        let mut known = self.known();
        sweep(&mut known.containers, source, listing, now);
        sweep(&mut known.pods, source, listing, now);
        known.forget(now);
    }

    /// Forgets what ended long ago.
    pub fn forget(&self, now: Instant) {
        self.known().forget(now);
    }

    /// A container's names.
    #[must_use]
    pub fn container(&self, id: &str) -> Option<Arc<Container>> {
        self.known().containers.get(id).map(|kept| Arc::clone(&kept.name))
    }

    /// A pod's names, and when its source last had it.
    #[must_use]
    pub fn pod(&self, uid: &str) -> Option<(Arc<Pod>, Instant)> {
        self.known().pods.get(uid).map(|kept| (Arc::clone(&kept.name), kept.listed))
    }

    /// How many containers and pods have names.
    #[must_use]
    pub fn len(&self) -> (usize, usize) {
        let known = self.known();
        (known.containers.len(), known.pods.len())
    }

    /// Whether nothing has a name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0)
    }
}

impl Known {
    fn forget(&mut self, now: Instant) {
        fn is_kept<T>(kept: &Kept<T>, now: Instant) -> bool {
            kept.ended.is_none_or(|ended| now.duration_since(ended) < KEPT)
        }
        self.containers.retain(|_, kept| is_kept(kept, now));
        self.pods.retain(|_, kept| is_kept(kept, now));
    }
}

fn put<T: PartialEq>(
    map: &mut HashMap<String, Kept<T>>,
    limit: usize,
    id: &str,
    name: T,
    source: Source,
    now: Instant,
) {
    let is_full = map.len() >= limit;
    match map.get_mut(id) {
        Some(kept) if kept.source > source && kept.ended.is_none() => {}
        Some(kept) => {
            if *kept.name != name {
                kept.name = Arc::new(name);
            }
            (kept.source, kept.listed, kept.ended) = (source, now, None);
        }
        None if is_full => {
            tracing::debug!(id, limit, "too many names are known: one more is left out");
        }
        None => {
            let kept = Kept { name: Arc::new(name), source, listed: now, ended: None };
            map.insert(id.to_owned(), kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(name: &str) -> Container {
        Container { name: name.into(), image: "bb:1".into() }
    }

    fn name(names: &Names, id: &str) -> Option<String> {
        names.container(id).map(|container| container.name.clone())
    }

    #[test]
    fn a_name_outlives_its_container_for_some_minutes() {
        let (names, start) = (Names::default(), Instant::now());
        names.name_container(Source::Docker, "c1", container("web"), start);
        names.end_container(Source::Docker, "c1", start);
        names.forget(start + KEPT / 2);
        assert_eq!(name(&names, "c1").as_deref(), Some("web"));
        names.forget(start + KEPT);
        assert!(names.is_empty());
    }

    #[test]
    fn one_that_comes_back_is_kept_and_a_new_name_wins() {
        let (names, start) = (Names::default(), Instant::now());
        names.name_container(Source::Docker, "c1", container("web"), start);
        names.end_container(Source::Docker, "c1", start);
        names.name_container(Source::Docker, "c1", container("web2"), start + KEPT / 2);
        names.forget(start + 2 * KEPT);
        assert_eq!(name(&names, "c1").as_deref(), Some("web2"));
    }

    #[test]
    fn what_a_listing_lacks_has_ended_and_other_sources_are_left_alone() {
        let (names, start) = (Names::default(), Instant::now());
        let pod = Pod { name: "p".into(), namespace: "n".into(), node: "h".into() };
        names.name_container(Source::Kubelet, "c1", container("a"), start);
        names.name_pod(Source::Kubelet, "u1", pod, start);
        names.name_container(Source::Docker, "c2", container("b"), start);
        let listing = start + Duration::from_secs(10);
        names.end_unlisted(Source::Kubelet, listing, listing);
        assert_eq!(names.len(), (2, 1), "kept for a while");
        names.end_unlisted(Source::Kubelet, listing, listing + KEPT);
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
