//! The accounts that the kernel's records are entered into: the ledger, the cgroups' identities, the pods that ended.
//!
//! Pure: records come in, nothing is read. `Accounts` knows which hierarchy the ids of each area belong to.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use seismograf_ebpf::abi::CgroupChange;

use super::areas::Areas;
use super::host_totals::HostTotals;
use super::pods::{EndedPods, PodSum};
use crate::host::hierarchies::{FoundCgroup, HierarchyId};
use crate::identity::Identity;
use crate::identity::cgroup::{Cgroups, Forgotten, Key, Succession};
use crate::identity::containers::Containers;
use crate::identity::names::Names;
use crate::kernel::records::Record;
use crate::ledger::Ledger;
use crate::ledger::blkio::Device;

/// The accounts of every cgroup.
pub(super) struct Accounts {
    pub(super) areas: Areas,
    pub(super) ledger: Ledger,
    pub(super) cgroups: Cgroups,
    ended_pods: EndedPods,
    /// Life-cycle records that were lost when the hierarchies were last walked.
    pub(super) lost_events: u64,
}

impl Accounts {
    pub(super) fn new(areas: Areas) -> Self {
        Self {
            areas,
            ledger: Ledger::default(),
            cgroups: Cgroups::default(),
            ended_pods: EndedPods::default(),
            lost_events: 0,
        }
    }

    /// Enters one record. Containers whose cgroup comes or goes are passed on to `containers`, nameless ones are
    /// requested from `names`.
    pub(super) fn take(
        &mut self,
        mut record: Record<'_>,
        names: &Names,
        containers: &Containers,
        now: Instant,
    ) {
        let Areas { cpu, blkio, memory, net } = self.areas;
        match &mut record {
            Record::Cgroup { change, hierarchy, cgroup, path } => {
                let key = (HierarchyId(*hierarchy), *cgroup);
                self.change(key, *change, path, now);
                self.pass_on(key, *change, names, containers, now);
                return;
            }
            Record::Cpu(row) => row.cgroup = self.cgroups.current((cpu, row.cgroup)),
            Record::Runqueue(row) => row.cgroup = self.cgroups.current((cpu, row.cgroup)),
            Record::Blkio(row) => row.cgroup = self.cgroups.current((blkio, row.cgroup)),
            Record::Net(row) => row.cgroup = self.cgroups.current((net, row.cgroup)),
            Record::OomKill(kill) => kill.cgroup = self.cgroups.current((memory, kill.cgroup)),
        }
        self.ledger.apply(&record);
    }

    fn change(&mut self, key: Key, change: CgroupChange, path: &[u8], now: Instant) {
        for succession in self.cgroups.changed(key, change, path, now) {
            self.succeed(key.0, succession);
        }
    }

    /// Enters what a walk of a hierarchy found, for what no record told of.
    pub(super) fn walked(&mut self, hierarchy: HierarchyId, found: &[FoundCgroup], now: Instant) {
        for succession in self.cgroups.walked(hierarchy, found, now) {
            self.succeed(hierarchy, succession);
        }
    }

    /// A cgroup continues with the totals of the one whose place it took.
    fn succeed(&mut self, hierarchy: HierarchyId, (old, new): Succession) {
        let Ledger { cpu, runqueue, blkio, net, oom, .. } = &mut self.ledger;
        if hierarchy == self.areas.cpu {
            cpu.succeed(old, new);
            runqueue.succeed(old, new);
        }
        if hierarchy == self.areas.blkio {
            blkio.succeed(old, new);
        }
        if hierarchy == self.areas.net {
            net.succeed(old, new);
        }
        if hierarchy == self.areas.memory {
            oom.succeed(old, new);
        }
    }

    /// Tells others of a change that concerns them.
    fn pass_on(&self, key: Key, change: CgroupChange, names: &Names, containers: &Containers, now: Instant) {
        let Some(identity) = self.cgroups.get(key) else { return };
        let Some(container) = &identity.container_id else { return };
        if key.0 == self.areas.memory && identity.is_container_root() {
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
        for (identity, _) in self.cgroups.alive(self.areas.memory) {
            if let Some(container) = &identity.container_id
                && identity.is_container_root()
            {
                containers.made(container, &identity.path);
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
            self.ended_pods.forget_disk(*device);
        }
        gone
    }

    /// The sum of every pod that has a cgroup, by its UID.
    pub(super) fn pod_sums(&mut self, now: Instant) -> HashMap<String, PodSum> {
        self.ended_pods.sums(&self.areas, &self.cgroups, &self.ledger, now)
    }

    /// Starts a new interval and forgets the cgroups that are gone for good; their pods keep the sums. Call it after the
    /// rows went out. Returns what was forgotten.
    pub(super) fn close(&mut self, now: Instant) -> Forgotten {
        let Self { areas, ledger, cgroups, ended_pods, .. } = self;
        ledger.start_interval();
        let forgotten = cgroups.forget_the_dead(now);
        for (key, identity) in forgotten.gone.iter().filter(|(_, identity)| identity.pod_uid.is_some()) {
            ended_pods.keep(areas, *key, identity, ledger, now);
        }
        ended_pods.forget(now);
        ledger.cpu.retain(|id| cgroups.is_known((areas.cpu, id)));
        ledger.runqueue.retain(|id| cgroups.is_known((areas.cpu, id)));
        ledger.blkio.retain(|id| cgroups.is_known((areas.blkio, id)));
        ledger.net.retain(|id| cgroups.is_known((areas.net, id)));
        ledger.oom.retain(|id| cgroups.is_known((areas.memory, id)));
        forgotten
    }

    /// The identity of a cgroup, and when the agent first saw it.
    pub(super) fn identity(&self, key: Key) -> Option<(&Arc<Identity>, Instant)> {
        Some((self.cgroups.get(key)?, self.cgroups.first_seen(key)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::cpu::CpuTotals;
    use seismograf_ebpf::abi::CpuRow;

    const AREAS: Areas = Areas {
        cpu: HierarchyId(2),
        blkio: HierarchyId(3),
        memory: HierarchyId(4),
        net: HierarchyId::UNIFIED,
    };

    fn cpu(cgroup: u64, run_ns: u64) -> Record<'static> {
        Record::Cpu(CpuRow { kind: 1, cpu: 0, cgroup, run_ns, switches: 1 })
    }

    fn life(change: CgroupChange, cgroup: u64) -> Record<'static> {
        Record::Cgroup { change, hierarchy: 2, cgroup, path: b"/system.slice/a.service" }
    }

    #[test]
    fn a_service_that_is_started_again_goes_on_with_its_totals() {
        let (mut accounts, names, now) = (Accounts::new(AREAS), Names::default(), Instant::now());
        let containers = Containers::default();
        let mut take = |record| accounts.take(record, &names, &containers, now);
        take(life(CgroupChange::Made, 10));
        take(cpu(10, 5));
        take(life(CgroupChange::Removed, 10));
        take(life(CgroupChange::Made, 11));
        // What the last CPU only now writes back of the old one.
        take(cpu(10, 7));
        take(life(CgroupChange::Released, 10));
        take(cpu(11, 100));
        let rows: Vec<(u64, CpuTotals)> =
            accounts.ledger.cpu.rows().map(|(id, totals)| (id, *totals)).collect();
        assert_eq!(rows, [(11, CpuTotals { usage_ns: 112, context_switches: 3, interval_ns: 112 })]);
        accounts.close(now);
        accounts.close(now);
        assert_eq!(accounts.ledger.cpu.rows().count(), 1);
        assert_eq!(accounts.cgroups.len(), 1);
    }

    #[test]
    fn ids_of_another_hierarchy_are_left_alone() {
        let (mut accounts, names, now) = (Accounts::new(AREAS), Names::default(), Instant::now());
        let containers = Containers::default();
        for change in [CgroupChange::Made, CgroupChange::Removed, CgroupChange::Made] {
            let cgroup = if change == CgroupChange::Made { 10 + accounts.cgroups.len() as u64 } else { 10 };
            let path: &[u8] = b"/a";
            accounts.take(Record::Cgroup { change, hierarchy: 9, cgroup, path }, &names, &containers, now);
        }
        accounts.take(cpu(10, 5), &names, &containers, now);
        assert_eq!(accounts.ledger.cpu.get(10).map(|totals| totals.usage_ns), Some(5));
    }
}
