//! Sums over pods: all containers of a pod, including those that ended.
//!
//! The kernel's rows are those of single cgroups, and a container that crashes and comes back is a new one each time; the
//! pod is what stays. Pure.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use seismograf_ebpf::abi::NetAmounts;

use super::areas::Areas;
use crate::identity::Identity;
use crate::identity::cgroup::{Cgroups, Key};
use crate::ledger::blkio::Device;
use crate::ledger::sums::Accumulate as _;
use crate::ledger::{Ledger, blkio, cpu};

/// How long the sums of a pod without any known cgroup are kept.
const KEPT: Duration = Duration::from_secs(300);

/// The totals of one pod. An area in which it did nothing is `None`, or empty.
#[derive(Clone, Debug)]
pub(super) struct PodSum {
    /// The path of the pod's own cgroup.
    pub(super) path: String,
    /// When the agent first saw it.
    pub(super) since: Instant,
    pub(super) cpu: Option<cpu::CpuTotals>,
    pub(super) net: Option<NetAmounts>,
    pub(super) blkio: BTreeMap<Device, blkio::BlkioTotals>,
    pub(super) oom_kills: u64,
}

impl PodSum {
    fn of(path: &str, since: Instant) -> Self {
        let (cpu, net, blkio) = (None, None, BTreeMap::new());
        Self { path: path.to_owned(), since, cpu, net, blkio, oom_kills: 0 }
    }

    /// Adds the totals of one cgroup in the hierarchy that its key names.
    fn add(&mut self, areas: &Areas, (hierarchy, id): Key, ledger: &Ledger) {
        if hierarchy == areas.cpu
            && let Some(totals) = ledger.cpu.get(id)
        {
            self.cpu.get_or_insert_default().add(totals);
        }
        if hierarchy == areas.net
            && let Some(totals) = ledger.net.get(id)
        {
            self.net.get_or_insert_default().add(totals);
        }
        if hierarchy == areas.blkio {
            for (device, totals) in ledger.blkio.of(id) {
                self.blkio.entry(device).or_default().add(totals);
            }
        }
        if hierarchy == areas.memory {
            self.oom_kills += ledger.oom.get(id).copied().unwrap_or(0);
        }
    }
}

/// What containers that ended had counted, by pod.
#[derive(Debug, Default)]
pub(super) struct EndedPods {
    ended: HashMap<String, (PodSum, Instant)>,
}

impl EndedPods {
    /// Keeps what a cgroup that is about to be forgotten had counted.
    pub(super) fn keep(
        &mut self,
        areas: &Areas,
        key: Key,
        identity: &Identity,
        ledger: &Ledger,
        now: Instant,
    ) {
        let (Some(uid), Some(path)) = (&identity.pod_uid, identity.pod_path()) else { return };
        let (sum, seen) = self.ended.entry(uid.clone()).or_insert_with(|| (PodSum::of(path, now), now));
        sum.add(areas, key, ledger);
        *seen = now;
    }

    /// Forgets a disk that is gone.
    pub(super) fn forget_disk(&mut self, device: Device) {
        for (sum, _) in self.ended.values_mut() {
            sum.blkio.remove(&device);
        }
    }

    /// Forgets the pods that ended.
    pub(super) fn forget(&mut self, now: Instant) {
        self.ended.retain(|_, (_, seen)| now.duration_since(*seen) < KEPT);
    }

    /// The sum of every pod that has a cgroup, by its UID.
    pub(super) fn sums(
        &mut self,
        areas: &Areas,
        cgroups: &Cgroups,
        ledger: &Ledger,
        now: Instant,
    ) -> HashMap<String, PodSum> {
        let mut sums: HashMap<String, PodSum> = HashMap::new();
        for (key, identity, since) in cgroups.of_pods() {
            let (Some(uid), Some(path)) = (&identity.pod_uid, identity.pod_path()) else { continue };
            if !sums.contains_key(uid) {
                let sum = match self.ended.get_mut(uid) {
                    Some((ended, seen)) => {
                        *seen = now;
                        ended.clone()
                    }
                    None => PodSum::of(path, since),
                };
                sums.insert(uid.clone(), sum);
            }
            if let Some(sum) = sums.get_mut(uid) {
                sum.since = sum.since.min(since);
                sum.add(areas, key, ledger);
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::hierarchies::HierarchyId;
    use seismograf_ebpf::abi::{CgroupChange, CpuRow};

    const UNIFIED: HierarchyId = HierarchyId::UNIFIED;
    const AREAS: Areas = Areas { cpu: UNIFIED, blkio: UNIFIED, memory: UNIFIED, net: UNIFIED };

    #[test]
    fn a_pod_keeps_what_its_containers_had() {
        let uid = "12345678-1234-1234-1234-123456789abc";
        let path = |n: u8| format!("/kubepods/pod{uid}/{n:064x}").into_bytes();
        let (mut pods, mut cgroups, mut ledger) =
            (EndedPods::default(), Cgroups::default(), Ledger::default());
        let now = Instant::now();
        let row = |cgroup, run_ns| CpuRow { kind: 1, cpu: 0, cgroup, run_ns, switches: 1 };
        for (id, run_ns) in [(1, 10), (2, 20)] {
            cgroups.changed((UNIFIED, id), CgroupChange::Made, &path(id as u8), now);
            ledger.cpu.apply(&row(id, run_ns));
        }
        let usage = |pods: &mut EndedPods, cgroups: &Cgroups, ledger: &Ledger| {
            let sums = pods.sums(&AREAS, cgroups, ledger, now);
            assert_eq!(sums[uid].path, format!("/kubepods/pod{uid}"));
            sums[uid].cpu.map(|totals| totals.usage_ns)
        };
        assert_eq!(usage(&mut pods, &cgroups, &ledger), Some(30));
        cgroups.changed((UNIFIED, 1), CgroupChange::Released, &path(1), now);
        cgroups.forget_the_dead(now);
        for (key, identity) in cgroups.forget_the_dead(now).gone {
            pods.keep(&AREAS, key, &identity, &ledger, now);
        }
        ledger.cpu.retain(|id| id == 2);
        assert_eq!(usage(&mut pods, &cgroups, &ledger), Some(30));
        cgroups.changed((UNIFIED, 2), CgroupChange::Removed, &path(2), now);
        cgroups.forget_the_dead(now + KEPT);
        assert!(pods.sums(&AREAS, &cgroups, &ledger, now).is_empty());
        pods.forget(now + KEPT);
        assert!(pods.ended.is_empty());
    }
}
