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

/// How long the name of a removed cgroup is kept when the kernel does not report its release.
const REMOVAL_RETENTION: Duration = Duration::from_secs(300);
/// When this many are forgotten at once, their memory is worth releasing.
const WAVE: usize = 256;

/// Whether a cgroup exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Alive,
    /// Its directory is gone; deltas can still arrive.
    Removed(Instant),
    /// The kernel released it: only what the last flush was too early for can still arrive.
    Released {
        /// Whether a flush came after it.
        flushed: bool,
    },
}

#[derive(Debug)]
struct KnownCgroup {
    identity: Arc<Identity>,
    life: Life,
    /// When the agent first saw it.
    first_seen: Instant,
}

impl KnownCgroup {
    fn alive(identity: Identity, first_seen: Instant) -> Self {
        Self { identity: Arc::new(identity), life: Life::Alive, first_seen }
    }
}

/// The cgroups of this machine by id.
#[derive(Debug, Default)]
pub struct Cgroups {
    known: HashMap<Key, KnownCgroup>,
    /// Those that are gone, by hierarchy and path: one that is created again there continues their totals.
    gone: HashMap<(HierarchyId, Arc<str>), u64>,
    /// The cgroup that took the place of one that is gone, in the same hierarchy.
    successors: HashMap<Key, u64>,
    /// How many were forgotten since the last time that none was.
    n_forgotten: usize,
}

/// The cgroups that were forgotten.
#[derive(Debug, Default)]
pub struct Forgotten {
    /// Their keys and identities.
    pub gone: Vec<(Key, Arc<Identity>)>,
    /// They were so many that their memory should be released: now, or now that the last of them are gone.
    pub is_wave: bool,
}

impl Cgroups {
    /// Walks every hierarchy that can be read, and adds what is unknown.
    pub fn walk(&mut self, hierarchies: &Hierarchies, now: Instant) {
        for (hierarchy, mount) in hierarchies.mounted() {
            walk(mount, |id, path| self.found((hierarchy, id), path, now));
        }
    }

    fn found(&mut self, key: Key, path: &str, now: Instant) {
        self.known.entry(key).or_insert_with(|| KnownCgroup::alive(path::parse(path), now));
    }

    /// Applies a life-cycle record. `path` is empty when the kernel could not read it.
    ///
    /// Returns the id of a cgroup that is gone, when the one that was created has taken its place: their path, and so
    /// their series, is the same, and the totals continue.
    pub fn changed(&mut self, key: Key, change: CgroupChange, path: &[u8], now: Instant) -> Option<u64> {
        if change == CgroupChange::Made && !path.is_empty() {
            let known = KnownCgroup::alive(path::parse_record(path), now);
            let place = (key.0, Arc::from(known.identity.path.as_str()));
            let predecessor = self.gone.remove(&place).filter(|old| *old != key.1);
            if let Some(old) = predecessor {
                self.successors.insert((key.0, old), key.1);
            }
            self.known.insert(key, known);
            return predecessor;
        }
        if !path.is_empty() {
            // One that was created before the walk started and removed before the walk reached it has its name from here.
            self.known.entry(key).or_insert_with(|| KnownCgroup::alive(path::parse_record(path), now));
        }
        if let Some(known) = self.known.get_mut(&key) {
            known.life = match change {
                CgroupChange::Made => known.life,
                CgroupChange::Removed => Life::Removed(now),
                CgroupChange::Released => Life::Released { flushed: false },
            };
            if known.life != Life::Alive && !self.successors.contains_key(&key) {
                self.gone.insert((key.0, Arc::from(known.identity.path.as_str())), key.1);
            }
        }
        None
    }

    /// The id whose totals a delta of this cgroup belongs to: its own, or that of the one that took its place.
    #[must_use]
    pub fn current(&self, (hierarchy, mut id): Key) -> u64 {
        if !self.successors.is_empty() {
            while let Some(successor) = self.successors.get(&(hierarchy, id)) {
                id = *successor;
            }
        }
        id
    }

    /// When the agent first saw it.
    #[must_use]
    pub fn first_seen(&self, key: Key) -> Option<Instant> {
        self.known.get(&key).map(|known| known.first_seen)
    }

    /// Those that are part of a pod, in any hierarchy, and when the agent first saw them; unsorted.
    pub fn of_pods(&self) -> impl Iterator<Item = (Key, &Arc<Identity>, Instant)> {
        let of_pods = self.known.iter().filter(|(_, known)| known.identity.pod_uid.is_some());
        of_pods.map(|(key, known)| (*key, &known.identity, known.first_seen))
    }

    /// Those of a hierarchy whose directory exists, and when the agent first saw them; unsorted.
    pub fn alive(&self, hierarchy: HierarchyId) -> impl Iterator<Item = (&Arc<Identity>, Instant)> {
        self.known
            .iter()
            .filter(move |((of, _), known)| *of == hierarchy && known.life == Life::Alive)
            .map(|(_, known)| (&known.identity, known.first_seen))
    }

    /// The identity of a cgroup, present or past.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&Arc<Identity>> {
        self.known.get(&key).map(|known| &known.identity)
    }

    /// Whether its directory exists.
    #[must_use]
    pub fn is_alive(&self, key: Key) -> bool {
        self.known.get(&key).is_some_and(|known| known.life == Life::Alive)
    }

    /// Whether deltas of it can still arrive, or its name is needed for other reasons.
    #[must_use]
    pub fn is_known(&self, key: Key) -> bool {
        self.known.contains_key(&key)
    }

    /// Forgets the cgroups from which nothing more can arrive. Call it after the rows of a flush were published.
    ///
    /// One that was released during a flush can have a delta on a CPU that was already flushed, so it is kept until the
    /// next flush.
    pub fn forget_the_dead(&mut self, now: Instant) -> Forgotten {
        let mut forgotten = Vec::new();
        let Self { known, gone, successors, n_forgotten } = self;
        known.retain(|key, known| {
            let stays = match &mut known.life {
                Life::Alive => true,
                Life::Removed(at) => now.duration_since(*at) < REMOVAL_RETENTION,
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
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    const KEY: Key = (HierarchyId(0), 42);

    #[test]
    fn a_name_outlives_its_cgroup_until_the_kernel_releases_it() {
        let (mut cgroups, start) = (Cgroups::default(), Instant::now());
        cgroups.changed(KEY, CgroupChange::Made, b"/a", start);
        assert!(cgroups.is_alive(KEY));
        cgroups.changed(KEY, CgroupChange::Removed, b"/a", start);
        cgroups.forget_the_dead(start);
        assert_eq!(cgroups.get(KEY).map(|identity| identity.path.as_str()), Some("/a"));
        assert!(!cgroups.is_alive(KEY));
        cgroups.changed(KEY, CgroupChange::Released, b"/a", start);
        cgroups.forget_the_dead(start);
        assert!(cgroups.is_known(KEY), "a flush may have been running");
        cgroups.forget_the_dead(start);
        assert_eq!(cgroups.len(), 0);
    }

    #[test]
    fn a_removal_without_release_is_forgotten_in_time() {
        let (mut cgroups, start) = (Cgroups::default(), Instant::now());
        cgroups.changed(KEY, CgroupChange::Removed, b"/a", start);
        assert_eq!(cgroups.len(), 1);
        cgroups.forget_the_dead(start + REMOVAL_RETENTION);
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
    fn the_walk_finds_this_process() {
        // Both are from the view of this process, so that they fit together in a container as well.
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let hierarchies = Hierarchies::parse(&own, &mounts);
        let mut cgroups = Cgroups::default();
        cgroups.walk(&hierarchies, Instant::now());
        let mut n_found = 0;
        for line in own.lines() {
            let [id, _, path] = line.splitn(3, ':').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let id = HierarchyId(id.parse().unwrap());
            let Some(mount) = hierarchies.mount(id) else { continue };
            let path = if path == "/" { path } else { path.trim_start_matches("/..") };
            let Ok(directory) = std::fs::metadata(mount.join(path.trim_start_matches('/'))) else { continue };
            let identity = cgroups.get((id, directory.ino())).map(|identity| identity.path.as_str());
            assert_eq!(identity, Some(path), "{line}");
            n_found += 1;
        }
        if hierarchies.mounted().next().is_none() {
            println!("skipped: no hierarchy is mounted here");
            return;
        }
        assert!(n_found > 0, "{own}{mounts}");
    }
}
