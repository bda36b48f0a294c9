//! Which series each owner's row has at one gather, and which rows wait for a name.
//!
//! A container can exist for some seconds before the kubelet or docker lists its name. A row without the name would be a
//! series of its own, so it waits: its amounts stay in the accounts, and its first row has all of them. After [`MAX_WAIT`]
//! it goes out with what is known. Pure.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::options::Selection;
use crate::identity::Named;
use crate::identity::cgroup::{Cgroups, Owner};
use crate::identity::names::{Names, PodName};
use crate::identity::series::{Series, SeriesOptions};

/// How long after the agent first saw an owner its rows wait. The kubelet lists a new container within a second or two;
/// a daemon that is down for longer should not delay the figures.
const MAX_WAIT: Duration = Duration::from_secs(15);
/// At most this many owners wait, with some kilobytes each.
const MAX_WAITING: usize = 20_000;

/// What naming the rows of a gather needs besides the cgroups.
#[derive(Clone, Copy)]
pub(super) struct NamingContext<'a> {
    pub(super) names: &'a Names,
    pub(super) options: SeriesOptions<'a>,
    pub(super) selection: &'a Selection,
    pub(super) now: Instant,
    /// When the interval began that ends with this gather.
    pub(super) interval_began: Instant,
    pub(super) remembered: &'a Remembered,
    /// The rows of the gather before.
    pub(super) before: &'a Naming,
    /// Rows may wait for a name: there is a source for it, and another gather.
    pub(super) may_wait: bool,
}

/// The owners that wait, and when the interval began that they wait since.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    owners: HashMap<u64, Instant>,
}

impl Waiting {
    /// Whether an owner's row waits.
    pub(super) fn contains(&self, owner: &Owner) -> bool {
        self.owners.contains_key(&owner.id)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.owners.len()
    }
}

/// The row of an owner.
#[derive(Clone, Debug)]
pub(super) struct OwnerRow {
    /// The tags of its row.
    pub(super) series: Arc<Series>,
    /// The series that goes on with its amounts when it is gone; `None` where no later instance can have these tags.
    pub(super) lasting: Option<Arc<Series>>,
}

/// What an earlier run of the agent called the rows of owners: those without a name yet go on under it.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    /// By the owner's number.
    owners: HashMap<u64, OwnerRow>,
    /// By the pod's UID.
    pods: HashMap<String, OwnerRow>,
}

impl Remembered {
    /// Remembers the rows of an owner.
    pub(super) fn add(&mut self, owner: &Owner, row: Option<&OwnerRow>, pod: Option<&OwnerRow>) {
        if let Some(row) = row {
            self.owners.insert(owner.id, row.clone());
        }
        if let (Some(uid), Some(row)) = (&owner.identity.pod_uid, pod) {
            self.pods.insert(uid.clone(), row.clone());
        }
    }

    /// The row of an owner.
    pub(super) fn row(&self, owner: &Owner) -> Option<&OwnerRow> {
        self.owners.get(&owner.id)
    }

    /// The row of the pod that an owner is part of.
    pub(super) fn pod_row(&self, owner: &Owner) -> Option<&OwnerRow> {
        self.pods.get(owner.identity.pod_uid.as_deref()?)
    }

    /// Forgets those of owners that are gone.
    pub(super) fn retain(&mut self, cgroups: &Cgroups) {
        if self.owners.is_empty() && self.pods.is_empty() {
            return;
        }
        let owners: HashSet<u64> = cgroups.owners().map(|owner| owner.id).collect();
        let uids: HashSet<&str> =
            cgroups.owners().filter_map(|owner| owner.identity.pod_uid.as_deref()).collect();
        self.owners.retain(|owner, _| owners.contains(owner));
        self.pods.retain(|uid, _| uids.contains(&**uid));
    }
}

/// A row, and the names that its tags are of: it is the same for as long as they are.
#[derive(Debug)]
struct RowOf<N> {
    row: OwnerRow,
    /// `None` where it has the tags for another reason.
    names: Option<N>,
}

/// The rows of one gather.
#[derive(Debug, Default)]
pub(super) struct Naming {
    /// By the owner's number; those that wait or are not selected are not in it.
    owners: HashMap<u64, RowOf<Named>>,
    /// By the pod's UID, likewise.
    pods: HashMap<String, RowOf<Option<Arc<PodName>>>>,
    /// The owners that waited until now.
    waited: HashMap<u64, Instant>,
    interval_began: Option<Instant>,
    /// Of the containers that run, those without a name.
    pub(super) n_nameless: usize,
}

impl Naming {
    /// How many owners have a row, and how many pods.
    pub(super) fn n_rows(&self) -> (usize, usize) {
        (self.owners.len(), self.pods.len())
    }

    /// The row of an owner; `None` while it waits, or when it is not selected.
    pub(super) fn row(&self, owner: &Owner) -> Option<&OwnerRow> {
        self.owners.get(&owner.id).map(|of| &of.row)
    }

    /// The row of the pod that an owner is part of.
    pub(super) fn pod_row(&self, owner: &Owner) -> Option<&OwnerRow> {
        self.row_of_pod(owner.identity.pod_uid.as_deref()?)
    }

    /// The pods that have a row, each with one of `owners` that is part of it.
    pub(super) fn pods_of<'a>(
        &self,
        owners: impl Iterator<Item = &'a Arc<Owner>>,
    ) -> HashMap<&'a str, &'a Arc<Owner>> {
        let in_pod = owners.filter_map(|owner| Some((owner.identity.pod_uid.as_deref()?, owner)));
        in_pod.filter(|(uid, _)| self.pods.contains_key(*uid)).collect()
    }

    /// The row of a pod.
    pub(super) fn row_of_pod(&self, uid: &str) -> Option<&OwnerRow> {
        self.pods.get(uid).map(|of| &of.row)
    }

    /// When the interval began that an owner's amounts of the interval are of.
    pub(super) fn interval_began(&self, owner: &Owner) -> Option<Instant> {
        self.waited.get(&owner.id).copied().or(self.interval_began)
    }

    /// Names the rows of all owners.
    pub(super) fn new(cgroups: &Cgroups, waiting: &mut Waiting, context: NamingContext<'_>) -> Self {
        // As many as before, nearly always: a table that grows is filled anew at each doubling.
        let (n_owners, n_pods) = context.before.n_rows();
        let mut alive = HashSet::with_capacity(n_owners);
        alive.extend(cgroups.own().map(|(_, owner)| owner.id));
        let mut naming = Self {
            owners: HashMap::with_capacity(n_owners),
            pods: HashMap::with_capacity(n_pods),
            waited: std::mem::take(&mut waiting.owners),
            interval_began: Some(context.interval_began),
            n_nameless: 0,
        };
        for (owner, named) in named(cgroups, context.names) {
            let identity = &owner.identity;
            let lacks = identity.lacks(&named);
            naming.n_nameless +=
                usize::from(lacks && identity.is_container_root() && alive.contains(&owner.id));
            let is_young = context.now.duration_since(owner.since) < MAX_WAIT;
            let remembered = context.remembered.row(owner).filter(|_| lacks);
            let may_wait = context.may_wait && remembered.is_none();
            if may_wait && is_young && lacks && waiting.owners.len() < MAX_WAITING {
                let began = naming.interval_began(owner).unwrap_or(context.interval_began);
                waiting.owners.insert(owner.id, began);
                continue;
            }
            if context.selection.takes(&identity.path) {
                let before = context.before.owners.get(&owner.id);
                let row = row_of(remembered, before, named.clone(), |named| {
                    let series = Arc::new(Series::of_owner(identity, named, context.options));
                    let lasts = series.outlives_instance(identity);
                    OwnerRow { lasting: lasts.then(|| Arc::clone(&series)), series }
                });
                naming.owners.insert(owner.id, row);
            }
            if let (Some(uid), Some(path)) = (&identity.pod_uid, identity.pod_path())
                && !naming.pods.contains_key(uid)
                && context.selection.takes(path)
            {
                let remembered = context.remembered.pod_row(owner).filter(|_| named.pod.is_none());
                let row = row_of(remembered, context.before.pods.get(uid), named.pod, |pod| {
                    let series = Arc::new(Series::of_pod(identity, pod.as_deref(), context.options));
                    // A pod goes on when one of its containers ends.
                    OwnerRow { lasting: Some(Arc::clone(&series)), series }
                });
                naming.pods.insert(uid.clone(), row);
            }
        }
        naming.tell_apart(cgroups, &alive);
        naming
    }

    /// Two containers that are there at one time under one name are told apart by their ids. The pods of a job are one row
    /// on purpose.
    fn tell_apart(&mut self, cgroups: &Cgroups, alive: &HashSet<u64>) {
        let mut first: HashMap<Arc<Series>, &str> = HashMap::new();
        let mut shared = HashSet::new();
        for owner in cgroups.owners().filter(|owner| alive.contains(&owner.id)) {
            let Some((id, row)) = owner.identity.container_id.as_deref().zip(self.owners.get(&owner.id))
            else {
                continue;
            };
            let series = &row.row.series;
            if !series.is_of_job() && *first.entry(Arc::clone(series)).or_insert(id) != id {
                shared.insert(Arc::clone(series));
            }
        }
        if shared.is_empty() {
            return;
        }
        for owner in cgroups.owners() {
            if let Some(RowOf { row, names }) = self.owners.get_mut(&owner.id)
                && shared.contains(&row.series)
                && let Some(id) = &owner.identity.container_id
            {
                row.series = Arc::new(row.series.with_container_id(id));
                // The other may be gone at the next gather.
                *names = None;
            }
        }
    }
}

/// The row of what has these names: the remembered one, that of the gather before, or a new one.
fn row_of<N: PartialEq>(
    remembered: Option<&OwnerRow>,
    before: Option<&RowOf<N>>,
    names: N,
    new: impl FnOnce(&N) -> OwnerRow,
) -> RowOf<N> {
    if let Some(row) = remembered {
        return RowOf { row: row.clone(), names: None };
    }
    let before = before.filter(|of| of.names.as_ref() == Some(&names));
    RowOf { row: before.map_or_else(|| new(&names), |of| of.row.clone()), names: Some(names) }
}

/// Each owner with the names that it has now.
///
/// The container that holds a pod's namespaces is made before the others, and no source lists it: a container without a
/// name that was there before one with a name is that one. Of a pod that is over soon, nothing else tells.
fn named<'a>(cgroups: &'a Cgroups, names: &Names) -> Vec<(&'a Arc<Owner>, Named)> {
    let all = cgroups.owners().map(|owner| (owner, owner.identity.named(names, owner.since)));
    let mut all: Vec<(&Arc<Owner>, Named)> = all.collect();
    let mut latest: HashMap<&str, u64> = HashMap::new();
    for (owner, named) in &all {
        if let (Some(uid), Some(_)) = (&owner.identity.pod_uid, &named.container) {
            let latest = latest.entry(uid).or_insert(owner.id);
            *latest = owner.id.max(*latest);
        }
    }
    for (owner, named) in &mut all {
        let identity = &owner.identity;
        let latest = identity.pod_uid.as_deref().and_then(|uid| latest.get(uid));
        let is_before = latest.is_some_and(|latest| owner.id < *latest);
        named.is_pause |= is_before && identity.container_id.is_some() && named.container.is_none();
    }
    all
}
