//! The accounts that the kernel's records are entered into: the ledger, whose row each cgroup belongs to, what ended.
//!
//! Pure: records come in, nothing is read. `Accounts` knows which hierarchy the ids of each area belong to.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use seismograf_ebpf::abi::CgroupChange;

use super::areas::Areas;
use super::ended::Ended;
use super::host_totals::HostTotals;
use super::naming::{Naming, OwnerRow, Remembered, Waiting};
use super::readings::{MemoryReading, Readings};
use crate::host::cgroupfs::rest::Rest;
use crate::host::hierarchies::{FoundCgroup, HierarchyId};
use crate::identity::cgroup::{Cgroups, Key, KnownCgroup, Owner};
use crate::identity::containers::Containers;
use crate::identity::names::Names;
use crate::kernel::pass::Figures;
use crate::kernel::records::Record;
use crate::ledger::Ledger;
use crate::ledger::amounts::Amounts;
use crate::ledger::blkio::Device;

/// No process has a larger number (`PID_MAX_LIMIT`, include/linux/threads.h), and no task so low an address.
const MAX_PID: u64 = 1 << 22;

/// The accounts of every cgroup.
#[derive(Debug)]
pub(super) struct Accounts {
    pub(super) areas: Areas,
    pub(super) ledger: Ledger,
    pub(super) cgroups: Cgroups,
    /// What earlier instances had, by the series of rows of cgroups.
    pub(super) ended: Ended,
    /// Likewise by those of pods.
    pub(super) ended_pods: Ended,
    /// What an earlier run of the agent called the rows of owners that are still there.
    pub(super) remembered: Remembered,
    /// The cgroups that an earlier run had, until the totals of this one have begun.
    resumed: HashSet<Key>,
    /// Of these, the owners' own that are there.
    resumed_owners: HashSet<(HierarchyId, u64)>,
    /// The latest reading of each cgroup's memory, by its id in that hierarchy, and how long it holds.
    pub(super) memory_read: HashMap<u64, (MemoryReading, Rest)>,
    /// The most cgroups that a pass over the kernel's own sums had no room for.
    most_left_out: usize,
    /// OOM kills since the last gather whose victim is a number, by the cgroup that ran out of memory: another one, where the limit
    /// is that of a cgroup above both, or the machine has no memory left.
    guessed_kills: HashMap<u64, u64>,
    /// Life-cycle records that were lost when the hierarchies were last walked.
    pub(super) lost_events: u64,
}

/// What was forgotten at the end of an interval.
#[derive(Debug, Default)]
pub(super) struct Closed {
    /// The paths of cgroups that are gone.
    pub(super) paths: Vec<Arc<str>>,
    /// They were so many that their memory should be released.
    pub(super) is_wave: bool,
}

impl Accounts {
    pub(super) fn new(areas: Areas) -> Self {
        Self {
            areas,
            ledger: Ledger::default(),
            cgroups: Cgroups::default(),
            ended: Ended::default(),
            ended_pods: Ended::default(),
            remembered: Remembered::default(),
            resumed: HashSet::new(),
            resumed_owners: HashSet::new(),
            memory_read: HashMap::new(),
            most_left_out: 0,
            guessed_kills: HashMap::new(),
            lost_events: 0,
        }
    }

    /// Enters one record. Containers whose cgroup comes or goes are passed on to `containers`, nameless ones are
    /// requested from `names`.
    pub(super) fn take(&mut self, record: Record<'_>, names: &Names, containers: &Containers, now: Instant) {
        if let Record::Cgroup { change, hierarchy, cgroup, run_ns, path } = record {
            let key = (HierarchyId(hierarchy), cgroup);
            if run_ns > 0 {
                self.reach(key, run_ns);
            }
            self.cgroups.changed(key, change, path, now);
            self.begin(key);
            self.pass_on(key, change, names, containers, now);
        } else {
            if let Record::OomKill(kill) = &record
                && kill.victim <= MAX_PID
            {
                *self.guessed_kills.entry(kill.cgroup).or_default() += 1;
            }
            self.ledger.apply(&record);
        }
    }

    /// Whether there are kills of which it is not known whose they are.
    pub(super) fn has_guessed_kills(&self) -> bool {
        !self.guessed_kills.is_empty()
    }

    /// Forgets these kills where the kernel's own count `is_known`; else they stay with the cgroup that ran out of memory.
    pub(super) fn take_guessed_kills_back(&mut self, is_known: impl Fn(&Owner) -> bool) {
        for (id, kills) in self.guessed_kills.drain() {
            let known = self.cgroups.get((self.areas.memory, id));
            if known.is_some_and(|known| known.is_alive() && is_known(known.owner())) {
                let entry = self.ledger.oom.entry(id);
                *entry = entry.saturating_sub(kills);
            }
        }
    }

    /// Enters the kernel's own sums of CPU time.
    pub(super) fn take_run_times(&mut self, figures: &Figures) {
        if figures.n_left_out() > self.most_left_out {
            self.most_left_out = figures.n_left_out();
            tracing::warn!(
                cgroups = self.most_left_out,
                "more cgroups than one pass has room for: these have their CPU time when they are removed"
            );
        }
        for (cgroup, run_ns) in figures.run_times() {
            self.reach((self.areas.cpu, cgroup), run_ns);
        }
    }

    /// Enters the kernel's own sum of a cgroup that is known: of one that is forgotten nobody knows what was entered, and one
    /// that was made just now has its record first.
    fn reach(&mut self, key: Key, run_ns: u64) {
        let Ledger { cpu, kernel_times, .. } = &mut self.ledger;
        if let Some(times) = kernel_times
            && self.cgroups.get(key).is_some()
        {
            cpu.reach(times, key.1, run_ns);
        }
    }

    /// Enters what a walk of a hierarchy found, for what no record told of.
    pub(super) fn walked(&mut self, hierarchy: HierarchyId, found: &[FoundCgroup], now: Instant) {
        self.cgroups.walked(hierarchy, found, now);
        for FoundCgroup { id, .. } in found {
            self.begin((hierarchy, *id));
        }
    }

    /// Goes on with what an earlier run of the agent had of a cgroup: its path, whether nothing of it can follow, and its totals.
    pub(super) fn resume(
        &mut self,
        key: Key,
        (path, is_released): (&str, bool),
        amounts: &Amounts,
        now: Instant,
    ) {
        self.cgroups.changed(key, CgroupChange::Made, path.as_bytes(), now);
        if is_released {
            self.cgroups.changed(key, CgroupChange::Released, b"", now);
        }
        self.areas.resume(&mut self.ledger, key, amounts);
        self.resumed.insert(key);
    }

    /// Whether a cgroup was its owner's in an earlier run, and what is the owner's own now was made since.
    pub(super) fn is_of_earlier_instance(&self, key: Key) -> bool {
        let known = self.cgroups.get(key).filter(|known| self.resumed.contains(&key) && !known.is_alive());
        let Some(owner) = known.map(KnownCgroup::owner) else { return false };
        !self.resumed_owners.contains(&(key.0, owner.id))
    }

    /// Notes whose own cgroup is the one that an earlier run had. Call it when it is known what is there.
    pub(super) fn note_resumed_owners(&mut self) {
        let own = self.cgroups.own().filter(|(key, _)| self.resumed.contains(key));
        self.resumed_owners = own.map(|((hierarchy, _), owner)| (hierarchy, owner.id)).collect();
    }

    /// Forgets what was resumed, once totals have begun.
    pub(super) fn forget_resumed(&mut self) {
        (self.resumed, self.resumed_owners) = (HashSet::new(), HashSet::new());
    }

    /// Nothing follows of what is not there: nobody has told, and nobody will.
    pub(super) fn release_the_gone(&mut self, now: Instant) {
        let gone = self.cgroups.iter().filter(|(_, known)| !known.is_alive());
        for key in gone.map(|(key, _)| key).collect::<Vec<_>>() {
            self.cgroups.changed(key, CgroupChange::Released, b"", now);
        }
    }

    /// Keeps the totals of what has ended under the tags of its rows.
    pub(super) fn end(&mut self, amounts: &Amounts, row: Option<&OwnerRow>, pod: Option<&OwnerRow>) {
        if let Some(series) = row.and_then(|row| row.lasting.as_ref()) {
            self.ended.keep(series, amounts);
        }
        if let Some(series) = pod.and_then(|row| row.lasting.as_ref()) {
            self.ended_pods.keep(series, amounts);
        }
    }

    /// An owner has its rows from the first gather on, also while it sleeps.
    fn begin(&mut self, key: Key) {
        if self.cgroups.get(key).is_some_and(|known| known.is_owner() && known.is_alive()) {
            self.areas.begin(&mut self.ledger, key);
        }
    }

    /// Tells others of a change that concerns them.
    fn pass_on(&self, key: Key, change: CgroupChange, names: &Names, containers: &Containers, now: Instant) {
        let Some(known) = self.cgroups.get(key) else { return };
        let identity = &known.owner().identity;
        let Some(container) = &identity.container_id else { return };
        if key.0 == self.areas.memory && known.is_own() {
            match change {
                CgroupChange::Made => containers.made(container, &identity.path),
                CgroupChange::Removed => containers.removed(container, &identity.path),
                // A release follows a removal, and by then another cgroup may be at the same path. Of one that was renamed
                // the old path is not there any more, which is found out when it is asked for.
                CgroupChange::Released | CgroupChange::Renamed => {}
            }
        }
        // Requested right away and not when its first row is due: it may be gone by then.
        if change == CgroupChange::Made
            && key.0 == self.areas.cpu
            && identity.lacks(&identity.named(names, now))
        {
            names.request();
        }
    }

    /// Tells `containers` of all that are alive, after a walk. Only where records follow that say when one is removed.
    pub(super) fn pass_on_alive(&self, containers: &Containers) {
        for ((hierarchy, _), owner) in self.cgroups.own() {
            if hierarchy == self.areas.memory
                && let Some(container) = &owner.identity.container_id
            {
                containers.made(container, &owner.identity.path);
            }
        }
    }

    /// Forgets the disks that are gone, and those whose number is another disk's now: counters go down by nothing else. Their
    /// names went with them, and what comes anew begins anew. Returns them.
    pub(super) fn forget_disks(&mut self, before: &HostTotals, now: &HostTotals) -> Vec<Device> {
        let devices = self.ledger.blkio.devices().keys().copied();
        let is_gone = |device: &Device| match (before.disks.get(device), now.disks.get(device)) {
            (Some(_), None) => true,
            (Some(before), Some(now)) => now.is_another_than(before),
            // Not all are listed: before Linux 5.13 a path to an NVMe disk that has several is there without its number.
            (None, _) => false,
        };
        let gone: Vec<Device> = devices.filter(is_gone).collect();
        for device in &gone {
            self.ledger.blkio.forget_disk(*device);
            self.ended.forget_disk(*device);
            self.ended_pods.forget_disk(*device);
        }
        gone
    }

    /// Enters what counts on in the files of cgroups, so that it is known when they are gone. `counts_oom` says that kills are
    /// counted by a probe.
    pub(super) fn enter(&mut self, readings: &mut Readings, counts_oom: bool) {
        self.memory_read = std::mem::take(&mut readings.raw);
        for (id, throttling) in &readings.throttling {
            *self.ledger.throttling.entry(*id) = *throttling;
        }
        for (id, reading) in &readings.memory {
            if let Some(faults) = reading.page_faults {
                self.ledger.page_faults.entry(*id).raise(faults);
            }
            if let Some(kills) = reading.oom_kills.filter(|_| !counts_oom) {
                let entry = self.ledger.oom.entry(*id);
                *entry = kills.max(*entry);
            }
        }
        for (id, pressures) in &readings.pressure {
            let stalls = self.ledger.stalls.entry(*id);
            for (resource, kinds) in pressures {
                stalls.extend(kinds.iter().map(|(kind, pressure)| ((*resource, *kind), pressure.total_us)));
            }
        }
    }

    /// Starts a new interval. Call it after the rows went out.
    pub(super) fn start_interval(&mut self, waiting: &Waiting) {
        let Self { areas, ledger, cgroups, .. } = self;
        let ends = |key| cgroups.get(key).is_none_or(|known| !waiting.contains(known.owner()));
        ledger.start_interval(
            |id| ends((areas.cpu, id)),
            |id| ends((areas.blkio, id)),
            |id| ends((areas.net, id)),
        );
    }

    /// Forgets the cgroups that are gone for good; their series keep what they had. Call it after the rows went out, and before
    /// the next write-back.
    pub(super) fn forget(&mut self, now: Instant, naming: &Naming, waiting: &Waiting) -> Closed {
        let forgotten = self.cgroups.forget_the_dead(now, |owner| waiting.contains(owner));
        for gone in &forgotten.gone {
            let rest = self.areas.close(&mut self.ledger, gone.key, gone.heir);
            self.end(&rest, naming.row(&gone.owner), naming.pod_row(&gone.owner));
        }
        let Self { areas, ledger, cgroups, remembered, .. } = self;
        areas.retain(ledger, |key| cgroups.get(key).is_some());
        remembered.retain(cgroups);
        let paths = forgotten.gone.into_iter().map(|gone| gone.path).collect();
        Closed { paths, is_wave: forgotten.is_wave }
    }
}
