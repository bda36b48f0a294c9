//! The accounts that the kernel's records are entered into: the ledger, whose row each cgroup belongs to, what ended.
//!
//! Pure: records come in, nothing is read. `Accounts` knows which hierarchy the ids of each area belong to.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use seismograf_ebpf::abi::CgroupChange;

use super::areas::Areas;
use super::ended::Ended;
use super::host_totals::HostTotals;
use super::naming::{Naming, Waiting};
use super::readings::{MemoryReading, Readings};
use crate::host::hierarchies::{FoundCgroup, HierarchyId};
use crate::identity::cgroup::{Cgroups, Key};
use crate::identity::containers::Containers;
use crate::identity::names::Names;
use crate::kernel::records::Record;
use crate::ledger::Ledger;
use crate::ledger::blkio::Device;

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
    /// The latest reading of each cgroup's memory, by its id in that hierarchy, and when that was.
    pub(super) memory_read: HashMap<u64, (MemoryReading, Instant)>,
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
            memory_read: HashMap::new(),
            lost_events: 0,
        }
    }

    /// Enters one record. Containers whose cgroup comes or goes are passed on to `containers`, nameless ones are
    /// requested from `names`.
    pub(super) fn take(&mut self, record: Record<'_>, names: &Names, containers: &Containers, now: Instant) {
        if let Record::Cgroup { change, hierarchy, cgroup, path } = record {
            let key = (HierarchyId(hierarchy), cgroup);
            self.cgroups.changed(key, change, path, now);
            self.begin(key);
            self.pass_on(key, change, names, containers, now);
        } else {
            self.ledger.apply(&record);
        }
    }

    /// Enters what a walk of a hierarchy found, for what no record told of.
    pub(super) fn walked(&mut self, hierarchy: HierarchyId, found: &[FoundCgroup], now: Instant) {
        self.cgroups.walked(hierarchy, found, now);
        for FoundCgroup { id, .. } in found {
            self.begin((hierarchy, *id));
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
            (_, None) => true,
            (Some(before), Some(now)) => now.is_another_than(before),
            (None, Some(_)) => false,
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

    /// Starts a new interval and forgets the cgroups that are gone for good; their series keep what they had. Call it after
    /// the rows went out.
    pub(super) fn close(&mut self, now: Instant, naming: &Naming, waiting: &Waiting) -> Closed {
        let Self { areas, ledger, cgroups, ended, ended_pods, .. } = self;
        let ends = |key| cgroups.get(key).is_none_or(|known| !waiting.contains(known.owner()));
        ledger.start_interval(
            |id| ends((areas.cpu, id)),
            |id| ends((areas.blkio, id)),
            |id| ends((areas.net, id)),
        );
        let forgotten = cgroups.forget_the_dead(now, |owner| waiting.contains(owner));
        for gone in &forgotten.gone {
            let rest = areas.close(ledger, gone.key, gone.heir);
            if let Some(series) = naming.row(&gone.owner).and_then(|row| row.lasting.as_ref()) {
                ended.keep(series, &rest);
            }
            if let Some(series) = naming.pod_row(&gone.owner).and_then(|row| row.lasting.as_ref()) {
                ended_pods.keep(series, &rest);
            }
        }
        areas.retain(ledger, |key| cgroups.get(key).is_some());
        let paths = forgotten.gone.into_iter().map(|gone| gone.path).collect();
        Closed { paths, is_wave: forgotten.is_wave }
    }
}
