//! A container's id to the path of its own cgroup, for all inputs.
//!
//! Filled from the kernel's life-cycle records, where an input has them; what they do not have yet is looked for in
//! cgroupfs. The path is that in the hierarchy of the memory controller, from its root.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::path;
use crate::host::hierarchies::{FoundCgroup, Hierarchies, walk};

/// A walk for a container without a path comes no sooner than this after the walk before.
const WALK_PERIOD: Duration = Duration::from_secs(1);

/// The containers that have a cgroup.
#[derive(Debug, Default)]
pub struct Containers {
    /// Where the hierarchy of the memory controller is mounted.
    mount: Option<PathBuf>,
    paths: Mutex<Paths>,
}

#[derive(Debug, Default)]
struct Paths {
    by_id: HashMap<String, Arc<str>>,
    walked: Option<Instant>,
}

impl Containers {
    /// Knows no container yet.
    #[must_use]
    pub fn new(hierarchies: &Hierarchies) -> Self {
        let mount = hierarchies.mount(hierarchies.memory()).map(Into::into);
        Self { mount, paths: Mutex::default() }
    }

    fn paths(&self) -> MutexGuard<'_, Paths> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A container's own cgroup was created. One that is known already stays: whoever may make a directory can give it the
    /// container's name.
    pub fn made(&self, id: &str, path: &str) {
        self.paths().by_id.entry(id.to_owned()).or_insert_with(|| path.into());
    }

    /// A container's own cgroup at `path` was removed.
    pub fn removed(&self, id: &str, path: &str) {
        let mut paths = self.paths();
        if paths.by_id.get(id).is_some_and(|current| **current == *path) {
            paths.by_id.remove(id);
        }
    }

    /// The path of a container's own cgroup, from the hierarchy's root; `None` when it has none now.
    ///
    /// One that is unknown is looked for in cgroupfs, at most once a second.
    #[must_use]
    pub fn path(&self, id: &str, now: Instant) -> Option<Arc<str>> {
        let mount = self.mount.as_ref()?;
        // Nobody waits for this lock while files are looked at: records of the kernel come in all the time.
        let known = self.paths().by_id.get(id).cloned();
        if let Some(path) = known
            && mount.join(path.trim_start_matches('/')).is_dir()
        {
            return Some(path);
        }
        let mut paths = self.paths();
        if paths.walked.is_some_and(|walked| now.duration_since(walked) < WALK_PERIOD) {
            return None;
        }
        paths.walked = Some(now);
        paths.by_id.clear();
        drop(paths);
        let found = walk(mount);
        let mut paths = self.paths();
        for FoundCgroup { path, .. } in found {
            if let Some(id) = path::parse(&path).container_id {
                paths.by_id.entry(id).or_insert_with(|| path.into());
            }
        }
        paths.by_id.get(id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn tree() -> (tempfile::TempDir, Containers) {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join(format!("docker/{ID}/init"))).unwrap();
        let mounts = format!("1 1 0:1 / {} rw - cgroup2 cgroup2 rw\n", root.path().display());
        let containers = Containers::new(&Hierarchies::parse("0::/\n", &mounts));
        (root, containers)
    }

    #[test]
    fn finds_a_containers_own_cgroup_and_not_what_is_nested_in_it() {
        let (root, containers) = tree();
        let start = Instant::now();
        let path = containers.path(ID, start);
        assert_eq!(path.as_deref(), Some(format!("/docker/{ID}").as_str()));
        std::fs::remove_dir_all(root.path().join("docker")).unwrap();
        assert_eq!(containers.path(ID, start), None);
        std::fs::create_dir_all(root.path().join(format!("other/{ID}"))).unwrap();
        assert_eq!(containers.path(ID, start), None, "not walked again so soon");
    }

    #[test]
    fn what_the_kernel_reported_need_not_be_looked_for() {
        let (root, containers) = tree();
        let (start, other) = (Instant::now(), "f".repeat(64));
        assert_eq!(containers.path(&other, start), None);
        std::fs::create_dir_all(root.path().join("other").join(&other)).unwrap();
        assert_eq!(containers.path(&other, start), None, "not walked again so soon");
        let path = format!("/other/{other}");
        containers.made(&other, &path);
        assert_eq!(containers.path(&other, start).as_deref(), Some(path.as_str()));
        containers.removed(&other, "/another");
        assert!(containers.path(&other, start).is_some(), "another cgroup of that name was");
        containers.removed(&other, &path);
        assert_eq!(containers.path(&other, start), None);
    }
}
