//! What the kernel's records are written down in: the ledger, the cgroups' names and the sums of the pods.
//!
//! Pure: records come in, nothing is read. One who asks for a row asks `Books` in which hierarchy its id is.

use std::sync::Arc;
use std::time::Instant;

use seismograf_ebpf::abi::CgroupChange;

use super::held::Held;
use super::pods::Pods;
use crate::host::hierarchies::{Hierarchies, HierarchyId};
use crate::identity::cgroup::{Cgroups, Forgotten, Key};
use crate::identity::names::Names;
use crate::kernel::records::Record;
use crate::ledger::Ledger;

/// The hierarchies whose ids the ledger's areas are keyed by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Areas {
    pub(super) cpu: HierarchyId,
    pub(super) blkio: HierarchyId,
    pub(super) memory: HierarchyId,
    pub(super) net: HierarchyId,
}

impl Areas {
    pub(super) fn of(hierarchies: &Hierarchies) -> Self {
        Self {
            cpu: hierarchies.cpu().1,
            blkio: hierarchies.blkio(),
            memory: hierarchies.memory(),
            net: HierarchyId::UNIFIED,
        }
    }
}

pub(super) struct Books {
    pub(super) areas: Areas,
    pub(super) ledger: Ledger,
    pub(super) cgroups: Cgroups,
    pub(super) pods: Pods,
    pub(super) held: Held,
    /// Life-cycle records that were lost when the hierarchies were last walked.
    pub(super) lost_events: u64,
}

impl Books {
    pub(super) fn new(areas: Areas) -> Self {
        Self {
            areas,
            ledger: Ledger::default(),
            cgroups: Cgroups::default(),
            pods: Pods::default(),
            held: Held::default(),
            lost_events: 0,
        }
    }

    /// Writes one record down.
    pub(super) fn take(&mut self, mut record: Record<'_>, names: &Names, now: Instant) {
        let Areas { cpu, blkio, memory, net } = self.areas;
        match &mut record {
            Record::Cgroup { change, hierarchy, cgroup, path } => {
                self.changed((HierarchyId(*hierarchy), *cgroup), *change, path, names, now);
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

    fn changed(&mut self, key: Key, change: CgroupChange, path: &[u8], names: &Names, now: Instant) {
        let predecessor = self.cgroups.changed(key, change, path, now);
        let (hierarchy, id) = key;
        if let Some(old) = predecessor {
            let Ledger { cpu, runqueue, blkio, net, oom, .. } = &mut self.ledger;
            if hierarchy == self.areas.cpu {
                cpu.succeed(old, id);
                runqueue.succeed(old, id);
            }
            if hierarchy == self.areas.blkio {
                blkio.succeed(old, id);
            }
            if hierarchy == self.areas.net {
                net.succeed(old, id);
            }
            if hierarchy == self.areas.memory {
                oom.succeed(old, id);
            }
        }
        // Asked for right away, and not when its first row is due: it may be gone by then.
        if change == CgroupChange::Made
            && hierarchy == self.areas.cpu
            && let Some(identity) = self.cgroups.get(key)
            && identity.container_id.is_some()
            && identity.lacks(&identity.named(names, now))
        {
            names.request();
        }
    }

    /// Starts a new interval and forgets what nothing more can come of; the pods keep what was theirs. Call it after
    /// the rows went out. Returns what was forgotten.
    pub(super) fn close(&mut self, now: Instant) -> Forgotten {
        let Self { areas, ledger, cgroups, pods, .. } = self;
        ledger.start_interval();
        let forgotten = cgroups.forget_the_dead(now);
        for (key, identity) in forgotten.gone.iter().filter(|(_, identity)| identity.pod_uid.is_some()) {
            pods.keep(areas, *key, identity, ledger, now);
        }
        pods.forget(now);
        ledger.cpu.retain(|id| cgroups.is_known((areas.cpu, id)));
        ledger.runqueue.retain(|id| cgroups.is_known((areas.cpu, id)));
        ledger.blkio.retain(|id| cgroups.is_known((areas.blkio, id)));
        ledger.net.retain(|id| cgroups.is_known((areas.net, id)));
        ledger.oom.retain(|id| cgroups.is_known((areas.memory, id)));
        forgotten
    }

    /// Who a cgroup is, and since when the agent knows.
    pub(super) fn identity(&self, key: Key) -> Option<(&Arc<crate::identity::Identity>, Instant)> {
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
        let (mut books, names, now) = (Books::new(AREAS), Names::default(), Instant::now());
        let mut take = |record| books.take(record, &names, now);
        take(life(CgroupChange::Made, 10));
        take(cpu(10, 5));
        take(life(CgroupChange::Removed, 10));
        take(life(CgroupChange::Made, 11));
        // What the last CPU only now writes back of the old one.
        take(cpu(10, 7));
        take(life(CgroupChange::Released, 10));
        take(cpu(11, 100));
        let rows: Vec<(u64, CpuTotals)> = books.ledger.cpu.rows().map(|(id, totals)| (id, *totals)).collect();
        assert_eq!(rows, [(11, CpuTotals { usage_ns: 112, context_switches: 3, interval_ns: 112 })]);
        books.close(now);
        books.close(now);
        assert_eq!(books.ledger.cpu.rows().count(), 1);
        assert_eq!(books.cgroups.len(), 1);
    }

    #[test]
    fn ids_of_another_hierarchy_are_left_alone() {
        let (mut books, names, now) = (Books::new(AREAS), Names::default(), Instant::now());
        for change in [CgroupChange::Made, CgroupChange::Removed, CgroupChange::Made] {
            let cgroup = if change == CgroupChange::Made { 10 + books.cgroups.len() as u64 } else { 10 };
            let path: &[u8] = b"/a";
            books.take(Record::Cgroup { change, hierarchy: 9, cgroup, path }, &names, now);
        }
        books.take(cpu(10, 5), &names, now);
        assert_eq!(books.ledger.cpu.get(10).map(|totals| totals.usage_ns), Some(5));
    }
}
