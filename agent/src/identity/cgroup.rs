//! Cgroup id to path: the life-cycle records of the kernel, and the walk.
//!
//! An id is the inode number of its directory within one hierarchy (`kernfs_node.id`, Linux 5.5 and later on 64 bit),
//! so every key has its hierarchy with it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use seismograf_ebpf::abi::CgroupChange;

use super::{Identity, path};
use crate::host::hierarchies::{FoundCgroup, HierarchyId};

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

/// The id of a cgroup that is gone, and that of the one that took its place in the same hierarchy.
pub type Succession = (u64, u64);

/// The id of a cgroup by its hierarchy and path.
type Holders = HashMap<(HierarchyId, Arc<str>), u64>;

/// The cgroups of this machine by id.
#[derive(Debug, Default)]
pub struct Cgroups {
    known: HashMap<Key, KnownCgroup>,
    /// The cgroup that a path's series belongs to: the one that is there, or was there last.
    holders: Holders,
    /// Of each other one that was at that path, the one whose totals its own are part of.
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
    /// Brings the cgroups of a hierarchy in line with those that a walk found: records may be lost, or there may be none. What
    /// was not found is removed. Returns what took the place of others, as of [`Self::changed`].
    pub(crate) fn walked(
        &mut self,
        hierarchy: HierarchyId,
        found: &[FoundCgroup],
        now: Instant,
    ) -> Vec<Succession> {
        // A hierarchy that cannot be read says nothing of what is there.
        if found.is_empty() {
            return Vec::new();
        }
        let ids: HashSet<u64> = found.iter().map(|cgroup| cgroup.id).collect();
        for ((of, id), known) in &mut self.known {
            if *of == hierarchy && known.life == Life::Alive && !ids.contains(id) {
                known.life = Life::Removed(now);
            }
        }
        let mut successions = Vec::new();
        for FoundCgroup { id, path } in found {
            let key = (hierarchy, *id);
            let change = match self.known.get(&key) {
                None => CgroupChange::Made,
                Some(known) if known.identity.path != *path => CgroupChange::Renamed,
                Some(_) => continue,
            };
            successions.extend(self.changed(key, change, path.as_bytes(), now));
        }
        successions
    }

    /// Applies a life-cycle record. `path` is empty when the kernel could not read it.
    ///
    /// Returns the ids of cgroups that are gone, each with that of the one that has taken its place: their path, and so
    /// their series, is the same, and the totals continue.
    pub fn changed(&mut self, key: Key, change: CgroupChange, path: &[u8], now: Instant) -> Vec<Succession> {
        if change == CgroupChange::Renamed {
            return self.renamed(key, path, now);
        }
        let mut is_new = false;
        // Also one that is only now seen and gone already: its creation was lost, or came before the walk did.
        if !path.is_empty() && (change == CgroupChange::Made || !self.known.contains_key(&key)) {
            self.known.insert(key, KnownCgroup::alive(path::parse_record(path), now));
            is_new = true;
        }
        if let Some(known) = self.known.get_mut(&key) {
            known.life = match change {
                CgroupChange::Made | CgroupChange::Renamed => known.life,
                CgroupChange::Removed => Life::Removed(now),
                CgroupChange::Released => Life::Released { flushed: false },
            };
        }
        is_new.then(|| self.take_place(key)).flatten().into_iter().collect()
    }

    /// Has a cgroup hold the series of its path, or be part of the one that holds it. Of two, the one that is there holds it,
    /// else the younger one: ids are handed out in order.
    fn take_place(&mut self, key: Key) -> Option<Succession> {
        let (hierarchy, id) = key;
        self.successors.remove(&key);
        let place = (hierarchy, Arc::from(self.known.get(&key)?.identity.path.as_str()));
        let holder = *self.holders.entry(place.clone()).or_insert(id);
        if holder == id {
            return None;
        }
        let holds = (self.is_alive(key), id) > (self.is_alive((hierarchy, holder)), holder);
        let (old, new) = if holds { (holder, id) } else { (id, holder) };
        self.holders.insert(place, new);
        self.successors.insert((hierarchy, old), new);
        Some((old, new))
    }

    /// A cgroup and all that is in it have other paths from now on, which v1 hierarchies allow.
    fn renamed(&mut self, key: Key, path: &[u8], now: Instant) -> Vec<Succession> {
        if path.is_empty() {
            return Vec::new();
        }
        let identity = path::parse_record(path);
        let new = identity.path.clone();
        let before = self.known.insert(key, KnownCgroup::alive(identity, now));
        let mut renamed = vec![(key, before.as_ref().map(|before| before.identity.path.clone()))];
        if let Some(before) = &before {
            for (other, known) in &mut self.known {
                let below = known.identity.path.strip_prefix(&before.identity.path);
                if other.0 == key.0
                    && known.life == Life::Alive
                    && let Some(below) = below.filter(|rest| rest.starts_with('/'))
                {
                    let identity = Arc::new(path::parse(&format!("{new}{below}")));
                    let old = std::mem::replace(&mut known.identity, identity);
                    renamed.push((*other, Some(old.path.clone())));
                }
            }
        }
        for (key, old) in &renamed {
            if let Some(old) = old {
                leave_place(&mut self.holders, *key, old);
            }
        }
        renamed.into_iter().filter_map(|(key, _)| self.take_place(key)).collect()
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
        let Self { known, holders, successors, n_forgotten } = self;
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
        for (key, identity) in &forgotten {
            leave_place(holders, *key, &identity.path);
        }
        if holders.capacity() > 1024 && holders.capacity() > 4 * holders.len() {
            holders.shrink_to_fit();
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

/// The series of a path is not that of this cgroup any more, if it was.
fn leave_place(holders: &mut Holders, (hierarchy, id): Key, path: &str) {
    let place = (hierarchy, Arc::from(path));
    if holders.get(&place) == Some(&id) {
        holders.remove(&place);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::host::hierarchies::{Hierarchies, walk};

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
    fn a_cgroup_that_is_renamed_takes_what_is_in_it_along() {
        let (mut cgroups, now) = (Cgroups::default(), Instant::now());
        let paths: [(u64, &[u8]); 4] = [(1, b"/a"), (2, b"/a/b"), (3, b"/ab"), (4, b"/c")];
        for (id, path) in paths {
            cgroups.changed((KEY.0, id), CgroupChange::Made, path, now);
        }
        cgroups.changed((HierarchyId(9), 5), CgroupChange::Made, b"/a/b", now);
        cgroups.changed((KEY.0, 1), CgroupChange::Renamed, b"/x", now);
        // A new one at the old name is one of its own.
        assert_eq!(cgroups.changed((KEY.0, 6), CgroupChange::Made, b"/a", now), []);
        let path =
            |hierarchy, id| cgroups.get((hierarchy, id)).map(|identity| identity.path.clone()).unwrap();
        assert_eq!([1, 2, 3, 4, 6].map(|id| path(KEY.0, id)), ["/x", "/x/b", "/ab", "/c", "/a"]);
        assert_eq!(path(HierarchyId(9), 5), "/a/b");
    }

    fn found(cgroups: &[(&str, u64)]) -> Vec<FoundCgroup> {
        cgroups.iter().map(|(path, id)| FoundCgroup { id: *id, path: (*path).to_owned() }).collect()
    }

    #[test]
    fn what_a_walk_does_not_meet_is_removed() {
        let (mut cgroups, now) = (Cgroups::default(), Instant::now());
        let hierarchy = HierarchyId(0);
        assert_eq!(cgroups.walked(hierarchy, &found(&[("/", 1), ("/a", 2), ("/b", 3)]), now), []);
        cgroups.changed((HierarchyId(7), 2), CgroupChange::Made, b"/a", now);
        // `/a` was removed and created again, `/b` removed, without a record.
        assert_eq!(cgroups.walked(hierarchy, &found(&[("/", 1), ("/a", 4)]), now), [(2, 4)]);
        assert!(!cgroups.is_alive((hierarchy, 3)) && cgroups.is_alive((HierarchyId(7), 2)));
        assert_eq!(cgroups.current((hierarchy, 2)), 4);
        // A hierarchy that cannot be read is no empty one.
        assert_eq!(cgroups.walked(hierarchy, &found(&[]), now), []);
        assert!(cgroups.is_alive((hierarchy, 4)));
        cgroups.forget_the_dead(now + REMOVAL_RETENTION);
        assert_eq!(cgroups.len(), 3);
    }

    #[test]
    fn one_whose_removal_was_lost_gives_its_place_to_the_next() {
        let (mut cgroups, now) = (Cgroups::default(), Instant::now());
        cgroups.changed((KEY.0, 2), CgroupChange::Made, b"/a", now);
        assert_eq!(cgroups.changed((KEY.0, 5), CgroupChange::Made, b"/a", now), [(2, 5)]);
        assert_eq!(cgroups.walked(KEY.0, &found(&[("/", 1), ("/a", 5)]), now), []);
        assert_eq!(cgroups.alive(KEY.0).filter(|(identity, _)| identity.path == "/a").count(), 1);
    }

    #[test]
    fn the_walk_finds_this_process() {
        // Both are from the view of this process, so that they fit together in a container as well.
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let hierarchies = Hierarchies::parse(&own, &mounts);
        let mut cgroups = Cgroups::default();
        for (hierarchy, mount) in hierarchies.mounted() {
            cgroups.walked(hierarchy, &walk(mount), Instant::now());
        }
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
