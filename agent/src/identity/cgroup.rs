//! Cgroup id to path: the life-cycle records of the kernel, and the walk.
//!
//! An id is the inode number of its directory within one hierarchy (`kernfs_node.id`, Linux 5.5 and later on 64 bit),
//! so every key has its hierarchy with it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use seismograf_ebpf::abi::CgroupChange;

use super::{Identity, path};
use crate::host::hierarchies::{Hierarchies, HierarchyId, walk};

/// A cgroup: its hierarchy, and its id in it.
pub type Key = (HierarchyId, u64);

/// How long the name of a removed cgroup is kept when the kernel does not say that it let go of it.
const KEPT_AFTER_REMOVAL: Duration = Duration::from_secs(300);
/// So many that are forgotten at once leave memory behind that is worth giving back.
const WAVE: usize = 256;

/// Whether a cgroup is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Alive,
    /// Its directory is gone; deltas can still come.
    Removed(Instant),
    /// The kernel let go of it: nothing more can come but what the last flush was too early for.
    Released {
        /// Whether a flush came after it.
        flushed: bool,
    },
}

#[derive(Debug)]
struct Known {
    identity: Arc<Identity>,
    life: Life,
    /// When the agent first heard of it.
    since: Instant,
}

impl Known {
    fn alive(identity: Identity, since: Instant) -> Self {
        Self { identity: Arc::new(identity), life: Life::Alive, since }
    }
}

/// The cgroups of this machine by id.
#[derive(Debug, Default)]
pub struct Cgroups {
    known: HashMap<Key, Known>,
    /// Those that are gone, by hierarchy and path: one that is made anew there goes on with their totals.
    gone: HashMap<(HierarchyId, Arc<str>), u64>,
    /// Who took the place of one that is gone, in the same hierarchy.
    successors: HashMap<Key, u64>,
    /// How many were forgotten since none was.
    n_forgotten: usize,
}

/// What was forgotten.
#[derive(Debug, Default)]
pub struct Forgotten {
    /// Who they were.
    pub gone: Vec<(Key, Arc<Identity>)>,
    /// They were so many that their memory should go as well: now, or now that the last of them are gone.
    pub is_wave: bool,
}

impl Cgroups {
    /// Walks every hierarchy that can be read, and takes up what is not known yet.
    pub fn walk(&mut self, hierarchies: &Hierarchies, now: Instant) {
        for (hierarchy, mount) in hierarchies.mounted() {
            walk(mount, |id, path| self.found((hierarchy, id), path, now));
        }
    }

    fn found(&mut self, key: Key, path: &str, now: Instant) {
        self.known.entry(key).or_insert_with(|| Known::alive(path::parse(path), now));
    }

    /// Takes up a life-cycle record. `path` may be empty, when the kernel could not read it.
    ///
    /// Returns the id of a cgroup that is gone, when the one that was made has taken its place: their path, and so
    /// their series, is the same, and the totals go on.
    pub fn changed(&mut self, key: Key, change: CgroupChange, path: &[u8], now: Instant) -> Option<u64> {
        if change == CgroupChange::Renamed {
            self.renamed(key, path, now);
            return None;
        }
        if change == CgroupChange::Made && !path.is_empty() {
            let known = Known::alive(path::parse_record(path), now);
            let place = (key.0, Arc::from(known.identity.path.as_str()));
            let predecessor = self.gone.remove(&place).filter(|old| *old != key.1);
            if let Some(old) = predecessor {
                self.successors.insert((key.0, old), key.1);
            }
            self.known.insert(key, known);
            return predecessor;
        }
        if !path.is_empty() {
            // One that was made before the walk came by and removed before it arrived has its name from here.
            self.known.entry(key).or_insert_with(|| Known::alive(path::parse_record(path), now));
        }
        if let Some(known) = self.known.get_mut(&key) {
            known.life = match change {
                CgroupChange::Made | CgroupChange::Renamed => known.life,
                CgroupChange::Removed => Life::Removed(now),
                CgroupChange::Released => Life::Released { flushed: false },
            };
            if known.life != Life::Alive && !self.successors.contains_key(&key) {
                self.gone.insert((key.0, Arc::from(known.identity.path.as_str())), key.1);
            }
        }
        None
    }

    /// A cgroup and all that is in it have other paths from now on, which v1 hierarchies allow.
    fn renamed(&mut self, key: Key, path: &[u8], now: Instant) {
        if path.is_empty() {
            return;
        }
        let identity = path::parse_record(path);
        let new = identity.path.clone();
        let renamed = Known::alive(identity, now);
        let Some(old) = self.known.insert(key, renamed).map(|known| known.identity.path.clone()) else {
            return;
        };
        for ((hierarchy, _), known) in &mut self.known {
            let below = known.identity.path.strip_prefix(&old).filter(|rest| rest.starts_with('/'));
            if *hierarchy == key.0
                && let Some(below) = below
            {
                known.identity = Arc::new(path::parse(&format!("{new}{below}")));
            }
        }
    }

    /// Whose totals a delta of this cgroup belongs to: its own, or those of the one that took its place.
    #[must_use]
    pub fn current(&self, (hierarchy, mut id): Key) -> u64 {
        if !self.successors.is_empty() {
            while let Some(successor) = self.successors.get(&(hierarchy, id)) {
                id = *successor;
            }
        }
        id
    }

    /// When the agent first heard of it.
    #[must_use]
    pub fn since(&self, key: Key) -> Option<Instant> {
        self.known.get(&key).map(|known| known.since)
    }

    /// Those that are part of a pod, in any hierarchy, and when the agent first heard of them; in no order.
    pub fn of_pods(&self) -> impl Iterator<Item = (Key, &Arc<Identity>, Instant)> {
        let of_pods = self.known.iter().filter(|(_, known)| known.identity.pod_uid.is_some());
        of_pods.map(|(key, known)| (*key, &known.identity, known.since))
    }

    /// Those of a hierarchy whose directory is there, and when the agent first heard of them; in no order.
    pub fn alive(&self, hierarchy: HierarchyId) -> impl Iterator<Item = (&Arc<Identity>, Instant)> {
        self.known
            .iter()
            .filter(move |((of, _), known)| *of == hierarchy && known.life == Life::Alive)
            .map(|(_, known)| (&known.identity, known.since))
    }

    /// Who a cgroup is, or was.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&Arc<Identity>> {
        self.known.get(&key).map(|known| &known.identity)
    }

    /// Whether its directory is there.
    #[must_use]
    pub fn is_alive(&self, key: Key) -> bool {
        self.known.get(&key).is_some_and(|known| known.life == Life::Alive)
    }

    /// Whether deltas of it can still come, or its name is wanted for other reasons.
    #[must_use]
    pub fn is_known(&self, key: Key) -> bool {
        self.known.contains_key(&key)
    }

    /// Forgets the cgroups of which nothing more can come. Call it after the rows of a flush went out.
    ///
    /// One that was released while a flush was going on can have a delta on a CPU that was through by then, so it is
    /// kept until the next one.
    pub fn forget_the_dead(&mut self, now: Instant) -> Forgotten {
        let mut forgotten = Vec::new();
        let Self { known, gone, successors, n_forgotten } = self;
        known.retain(|key, known| {
            let stays = match &mut known.life {
                Life::Alive => true,
                Life::Removed(at) => now.duration_since(*at) < KEPT_AFTER_REMOVAL,
                Life::Released { flushed } => !std::mem::replace(flushed, true),
            };
            if !stays {
                successors.remove(key);
                forgotten.push((*key, Arc::clone(&known.identity)));
            }
            stays
        });
        gone.retain(|(hierarchy, _), id| known.contains_key(&(*hierarchy, *id)));
        if gone.capacity() > 1024 && gone.capacity() > 4 * gone.len() {
            gone.shrink_to_fit();
        }
        if self.known.capacity() > 1024 && self.known.capacity() > 4 * self.known.len() {
            self.known.shrink_to_fit();
        }
        *n_forgotten += forgotten.len();
        let is_over = forgotten.is_empty();
        let is_wave = forgotten.len() >= WAVE || (is_over && *n_forgotten >= WAVE);
        if is_over {
            *n_forgotten = 0;
        }
        Forgotten { gone: forgotten, is_wave }
    }

    /// How many cgroups are known, in all hierarchies.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = (HierarchyId(0), 42);

    #[test]
    fn a_name_outlives_its_cgroup_until_the_kernel_lets_go() {
        let (mut cgroups, start) = (Cgroups::default(), Instant::now());
        cgroups.changed(KEY, CgroupChange::Made, b"/a", start);
        assert!(cgroups.is_alive(KEY));
        cgroups.changed(KEY, CgroupChange::Removed, b"/a", start);
        cgroups.forget_the_dead(start);
        assert_eq!(cgroups.get(KEY).map(|identity| identity.path.as_str()), Some("/a"));
        assert!(!cgroups.is_alive(KEY));
        cgroups.changed(KEY, CgroupChange::Released, b"/a", start);
        cgroups.forget_the_dead(start);
        assert!(cgroups.is_known(KEY), "a flush may have been under way");
        cgroups.forget_the_dead(start);
        assert!(cgroups.is_empty());
    }

    #[test]
    fn a_removal_without_release_is_forgotten_in_time() {
        let (mut cgroups, start) = (Cgroups::default(), Instant::now());
        cgroups.changed(KEY, CgroupChange::Removed, b"/a", start);
        assert_eq!(cgroups.len(), 1);
        cgroups.forget_the_dead(start + KEPT_AFTER_REMOVAL);
        assert_eq!(cgroups.len(), 0);
    }

    #[test]
    fn an_id_that_returns_has_its_new_name() {
        let (mut cgroups, now) = (Cgroups::default(), Instant::now());
        cgroups.changed(KEY, CgroupChange::Made, b"/a", now);
        cgroups.changed(KEY, CgroupChange::Made, b"/b", now);
        assert_eq!(cgroups.get(KEY).map(|identity| identity.path.as_str()), Some("/b"));
    }

    #[test]
    fn a_cgroup_that_is_renamed_takes_what_is_in_it_along() {
        let (mut cgroups, now) = (Cgroups::default(), Instant::now());
        let paths: [(u64, &[u8]); 4] = [(1, b"/a"), (2, b"/a/b"), (3, b"/ab"), (4, b"/c")];
        for (id, path) in paths {
            cgroups.changed((KEY.0, id), CgroupChange::Made, path, now);
        }
        cgroups.changed((HierarchyId(9), 5), CgroupChange::Made, b"/a/b", now);
        cgroups.changed((KEY.0, 1), CgroupChange::Renamed, b"/x", now);
        // A new one at the old name is one of its own.
        assert_eq!(cgroups.changed((KEY.0, 6), CgroupChange::Made, b"/a", now), None);
        let path =
            |hierarchy, id| cgroups.get((hierarchy, id)).map(|identity| identity.path.clone()).unwrap();
        assert_eq!([1, 2, 3, 4, 6].map(|id| path(KEY.0, id)), ["/x", "/x/b", "/ab", "/c", "/a"]);
        assert_eq!(path(HierarchyId(9), 5), "/a/b");
    }

    #[test]
    fn the_walk_finds_this_process() {
        let host = crate::host::Host::default();
        let hierarchies = Hierarchies::read(&host);
        let mut cgroups = Cgroups::default();
        cgroups.walk(&hierarchies, Instant::now());
        assert_eq!(cgroups.is_empty(), hierarchies.mounted().next().is_none());
    }
}
