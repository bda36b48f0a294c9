//! Cgroup id to path and to owner: the life-cycle records of the kernel, and the walk.
//!
//! An id is the inode number of its directory within one hierarchy (`kernfs_node.id`, Linux 5.5 and later on 64 bit),
//! so every key has its hierarchy with it. An owner is known by its path, which joins the hierarchies.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use seismograf_ebpf::abi::CgroupChange;

use super::{Identity, path};
use crate::host::hierarchies::{FoundCgroup, HierarchyId};
use crate::ledger::sums::shrink;

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

/// Whose row a cgroup belongs to: a container, a unit, or a cgroup that is part of neither.
#[derive(Debug)]
pub struct Owner {
    /// A number of its own.
    pub id: u64,
    /// Who it is; the path is that of its own cgroup.
    pub identity: Identity,
    /// When the agent first saw one of its cgroups.
    pub since: Instant,
}

/// A cgroup that exists, or of which something may still arrive.
#[derive(Debug)]
pub struct KnownCgroup {
    path: Arc<str>,
    owner: Arc<Owner>,
    /// It is the owner's own one. Asked of each at each gather, often.
    is_own: bool,
    life: Life,
}

impl KnownCgroup {
    /// The path from its hierarchy's root.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whose row it belongs to.
    #[must_use]
    pub fn owner(&self) -> &Arc<Owner> {
        &self.owner
    }

    /// Whether its directory exists.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.life == Life::Alive
    }

    /// Whether the kernel has let go of it.
    #[must_use]
    pub fn is_released(&self) -> bool {
        matches!(self.life, Life::Released { .. })
    }

    /// Whether it is its owner's own cgroup; the others are below that.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.is_own
    }

    /// Whether it is a container's or a unit's own cgroup.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.is_own() && self.owner.identity.is_owner()
    }
}

/// The cgroups of this machine by id.
#[derive(Debug, Default)]
pub struct Cgroups {
    known: HashMap<Key, KnownCgroup>,
    /// By path.
    owners: HashMap<Arc<str>, Arc<Owner>>,
    next_owner: u64,
    /// How many were forgotten since the last time that none was.
    n_forgotten: usize,
}

/// A cgroup that was forgotten.
#[derive(Debug)]
pub struct Gone {
    /// Its hierarchy and id.
    pub key: Key,
    /// Whose row it belonged to.
    pub owner: Arc<Owner>,
    /// The id of another cgroup of that owner in this hierarchy, if there is one.
    pub heir: Option<u64>,
    /// Its path.
    pub path: Arc<str>,
}

/// The cgroups that were forgotten.
#[derive(Debug, Default)]
pub struct Forgotten {
    /// Each of them.
    pub gone: Vec<Gone>,
    /// They were so many that their memory should be released: now, or now that the last of them are gone.
    pub is_wave: bool,
}

impl Cgroups {
    /// Brings the cgroups of a hierarchy in line with those that a walk found: records may be lost, or there may be none. What
    /// was not found is removed.
    pub(crate) fn walked(&mut self, hierarchy: HierarchyId, found: &[FoundCgroup], now: Instant) {
        // A hierarchy that cannot be read says nothing of what is there.
        if found.is_empty() {
            return;
        }
        let ids: HashSet<u64> = found.iter().map(|cgroup| cgroup.id).collect();
        for ((of, id), known) in &mut self.known {
            if *of == hierarchy && known.is_alive() && !ids.contains(id) {
                known.life = Life::Removed(now);
            }
        }
        for FoundCgroup { id, path } in found {
            let key = (hierarchy, *id);
            let change = match self.known.get(&key) {
                None => CgroupChange::Made,
                Some(known) if *known.path != **path => CgroupChange::Renamed,
                Some(_) => continue,
            };
            self.changed(key, change, path.as_bytes(), now);
        }
    }

    /// Applies a life-cycle record. `path` is empty when the kernel could not read it.
    pub fn changed(&mut self, key: Key, change: CgroupChange, path: &[u8], now: Instant) {
        if change == CgroupChange::Renamed {
            return self.renamed(key, path, now);
        }
        // Also one that is only now seen and gone already: its creation was lost, or came before the walk did.
        if !path.is_empty() && (change == CgroupChange::Made || !self.known.contains_key(&key)) {
            self.put(key, path::parse_record(path), now);
        }
        if let Some(known) = self.known.get_mut(&key) {
            known.life = match change {
                CgroupChange::Made | CgroupChange::Renamed => known.life,
                CgroupChange::Removed => Life::Removed(now),
                CgroupChange::Released => Life::Released { flushed: false },
            };
        }
    }

    fn put(&mut self, key: Key, identity: Identity, now: Instant) {
        let path: Arc<str> = Arc::from(identity.path.as_str());
        let owner = self.owner(identity, now);
        let is_own = *path == *owner.identity.path;
        self.known.insert(key, KnownCgroup { path, owner, is_own, life: Life::Alive });
    }

    /// The owner of the cgroup that `identity` is that of.
    fn owner(&mut self, identity: Identity, now: Instant) -> Arc<Owner> {
        if let Some(owner) = self.owners.get(identity.owner_path()) {
            return Arc::clone(owner);
        }
        let is_own = identity.owner_path() == identity.path;
        let identity = if is_own { identity } else { path::parse(identity.owner_path()) };
        self.next_owner += 1;
        let path = Arc::from(identity.path.as_str());
        let owner = Arc::new(Owner { id: self.next_owner, identity, since: now });
        self.owners.insert(path, Arc::clone(&owner));
        owner
    }

    /// A cgroup and all that is in it have other paths from now on, which v1 hierarchies allow.
    fn renamed(&mut self, key: Key, path: &[u8], now: Instant) {
        if path.is_empty() {
            return;
        }
        let identity = path::parse_record(path);
        let new = identity.path.clone();
        let before = self.known.get(&key).map(|known| Arc::clone(&known.path));
        self.put(key, identity, now);
        let Some(before) = before else { return };
        let inside = |(other, known): (&Key, &KnownCgroup)| {
            let below = known.path.strip_prefix(&*before).filter(|below| below.starts_with('/'));
            let below = below.filter(|_| other.0 == key.0 && known.is_alive())?;
            Some((*other, format!("{new}{below}")))
        };
        let renamed: Vec<(Key, String)> = self.known.iter().filter_map(inside).collect();
        for (other, path) in renamed {
            self.put(other, path::parse(&path), now);
        }
    }

    /// Each cgroup, in any hierarchy; unsorted.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &KnownCgroup)> {
        self.known.iter().map(|(key, known)| (*key, known))
    }

    /// The owners' own cgroups whose directory exists, in any hierarchy; unsorted.
    pub fn own(&self) -> impl Iterator<Item = (Key, &Arc<Owner>)> {
        let is_there = |(_, known): &(Key, &KnownCgroup)| known.is_own() && known.is_alive();
        self.iter().filter(is_there).map(|(key, known)| (key, known.owner()))
    }

    /// Each owner; unsorted.
    pub fn owners(&self) -> impl Iterator<Item = &Arc<Owner>> {
        self.owners.values()
    }

    /// A cgroup, present or past.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&KnownCgroup> {
        self.known.get(&key)
    }

    /// Forgets the cgroups from which nothing more can arrive, unless their row still `waits`. Call it after the rows of a
    /// flush were published.
    ///
    /// One that was released during a flush can have a delta on a CPU that was already flushed, so it is kept until the
    /// next flush.
    pub fn forget_the_dead(&mut self, now: Instant, waits: impl Fn(&Owner) -> bool) -> Forgotten {
        let mut gone = Vec::new();
        self.known.retain(|key, known| {
            let is_over = match &mut known.life {
                Life::Alive => false,
                Life::Removed(at) => now.duration_since(*at) >= REMOVAL_RETENTION,
                Life::Released { flushed } => std::mem::replace(flushed, true),
            };
            let stays = !is_over || waits(&known.owner);
            if !stays {
                let (owner, path) = (Arc::clone(&known.owner), Arc::clone(&known.path));
                gone.push(Gone { key: *key, owner, heir: None, path });
            }
            stays
        });
        if !gone.is_empty() {
            self.find_heirs(&mut gone);
            let owners: HashSet<u64> = self.known.values().map(|known| known.owner.id).collect();
            self.owners.retain(|_, owner| owners.contains(&owner.id));
            shrink(&mut self.owners);
        }
        shrink(&mut self.known);
        self.n_forgotten += gone.len();
        let is_over = gone.is_empty();
        let is_wave = gone.len() >= WAVE || (is_over && self.n_forgotten >= WAVE);
        if is_over {
            self.n_forgotten = 0;
        }
        Forgotten { gone, is_wave }
    }

    /// What is there of the same owners; their own cgroups first, which stay longest.
    fn find_heirs(&self, gone: &mut [Gone]) {
        let wanted: HashSet<(HierarchyId, u64)> =
            gone.iter().map(|gone| (gone.key.0, gone.owner.id)).collect();
        let mut heirs: HashMap<(HierarchyId, u64), (bool, u64)> = HashMap::new();
        for ((hierarchy, id), known) in &self.known {
            let of = (*hierarchy, known.owner.id);
            if wanted.contains(&of) {
                let candidate = (known.is_own() && known.is_alive(), *id);
                let heir = heirs.entry(of).or_insert(candidate);
                *heir = (*heir).max(candidate);
            }
        }
        for gone in gone {
            gone.heir = heirs.get(&(gone.key.0, gone.owner.id)).map(|(_, id)| *id);
        }
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
    use crate::host::hierarchies::{Hierarchies, walk};

    const KEY: Key = (HierarchyId(0), 42);

    fn nothing_waits(_: &Owner) -> bool {
        false
    }

    fn is_alive(cgroups: &Cgroups, key: Key) -> bool {
        cgroups.get(key).is_some_and(KnownCgroup::is_alive)
    }

    #[test]
    fn a_name_outlives_its_cgroup_until_the_kernel_releases_it() {
        let (mut cgroups, start) = (Cgroups::default(), Instant::now());
        cgroups.changed(KEY, CgroupChange::Made, b"/a", start);
        assert!(is_alive(&cgroups, KEY));
        cgroups.changed(KEY, CgroupChange::Removed, b"/a", start);
        cgroups.forget_the_dead(start, nothing_waits);
        assert_eq!(cgroups.get(KEY).map(KnownCgroup::path), Some("/a"));
        assert!(!is_alive(&cgroups, KEY));
        cgroups.changed(KEY, CgroupChange::Released, b"/a", start);
        cgroups.forget_the_dead(start, nothing_waits);
        assert!(cgroups.get(KEY).is_some(), "a flush may have been running");
        cgroups.forget_the_dead(start, |_| true);
        assert!(cgroups.get(KEY).is_some(), "its name may still come");
        let forgotten = cgroups.forget_the_dead(start, nothing_waits);
        assert_eq!(
            forgotten.gone.iter().map(|gone| (gone.key, gone.heir)).collect::<Vec<_>>(),
            [(KEY, None)]
        );
        assert_eq!((cgroups.len(), cgroups.owners().count()), (0, 0));
    }

    #[test]
    fn a_removal_without_release_is_forgotten_in_time() {
        let (mut cgroups, start) = (Cgroups::default(), Instant::now());
        cgroups.changed(KEY, CgroupChange::Removed, b"/a", start);
        assert_eq!(cgroups.len(), 1);
        cgroups.forget_the_dead(start + REMOVAL_RETENTION, nothing_waits);
        assert_eq!(cgroups.len(), 0);
    }

    #[test]
    fn an_id_that_returns_has_its_new_name() {
        let (mut cgroups, now) = (Cgroups::default(), Instant::now());
        cgroups.changed(KEY, CgroupChange::Made, b"/a", now);
        cgroups.changed(KEY, CgroupChange::Made, b"/b", now);
        assert_eq!(cgroups.get(KEY).map(KnownCgroup::path), Some("/b"));
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
        cgroups.changed((KEY.0, 6), CgroupChange::Made, b"/a", now);
        let path = |hierarchy, id| cgroups.get((hierarchy, id)).map(|known| known.path().to_owned()).unwrap();
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
        cgroups.walked(hierarchy, &found(&[("/", 1), ("/a", 2), ("/b", 3)]), now);
        cgroups.changed((HierarchyId(7), 2), CgroupChange::Made, b"/a", now);
        // `/a` was removed and created again, `/b` removed, without a record.
        cgroups.walked(hierarchy, &found(&[("/", 1), ("/a", 4)]), now);
        assert!([2, 3].iter().all(|id| !is_alive(&cgroups, (hierarchy, *id))));
        assert!(is_alive(&cgroups, (hierarchy, 4)) && is_alive(&cgroups, (HierarchyId(7), 2)));
        // A hierarchy that cannot be read is no empty one.
        cgroups.walked(hierarchy, &found(&[]), now);
        assert!(is_alive(&cgroups, (hierarchy, 4)));
        let forgotten = cgroups.forget_the_dead(now + REMOVAL_RETENTION, nothing_waits);
        let mut heirs: Vec<_> = forgotten.gone.iter().map(|gone| (gone.key.1, gone.heir)).collect();
        heirs.sort_unstable();
        assert_eq!(heirs, [(2, Some(4)), (3, None)], "the one that is at its path goes on with what it had");
        assert_eq!(cgroups.len(), 3);
    }

    #[test]
    fn each_cgroup_belongs_to_its_innermost_container_or_unit() {
        let (mut cgroups, now) = (Cgroups::default(), Instant::now());
        let container = format!("/docker/{}", "ab".repeat(32));
        let paths = [
            ("/", "/", false),
            ("/system.slice", "/system.slice", false),
            ("/system.slice/a.service", "/system.slice/a.service", true),
            ("/system.slice/a.service/worker", "/system.slice/a.service", true),
            (&container, &container, true),
            (&format!("{container}/init.scope"), &container, true),
        ];
        for (n, (path, owner, is_owner)) in paths.iter().enumerate() {
            let key = (KEY.0, n as u64);
            cgroups.changed(key, CgroupChange::Made, path.as_bytes(), now);
            let known = cgroups.get(key).unwrap();
            assert_eq!(known.owner().identity.path, *owner);
            assert_eq!(known.is_owner(), *is_owner && path == owner, "{path}");
        }
        assert_eq!(cgroups.owners().count(), 4);
        // What was in a container is the container's also when it is gone.
        cgroups.changed((KEY.0, 5), CgroupChange::Released, b"", now);
        cgroups.forget_the_dead(now, nothing_waits);
        let forgotten = cgroups.forget_the_dead(now, nothing_waits);
        assert_eq!(forgotten.gone[0].heir, Some(4));
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
            let known = cgroups.get((id, directory.ino())).map(KnownCgroup::path);
            assert_eq!(known, Some(path), "{line}");
            n_found += 1;
        }
        if hierarchies.mounted().next().is_none() {
            println!("skipped: no hierarchy is mounted here");
            return;
        }
        assert!(n_found > 0, "{own}{mounts}");
    }
}
