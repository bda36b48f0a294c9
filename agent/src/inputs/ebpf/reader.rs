//! Reads what the points of a gather need besides the ledger: the files of cgroupfs and the totals of the host.
//!
//! The one part of `ebpf` that touches the file system. It runs before any point is made, and hands plain values on:
//! [`Readings`] and [`HostTotals`].

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::accounts::Accounts;
use super::host_totals::{self, HostTotals};
use super::options::{CgroupfsReading, EbpfOptions, Selection};
use super::pods::PodSum;
use super::readings::{MemoryAmounts, MemoryReading, PressureReading, Readings};
use crate::host::Host;
use crate::host::cgroupfs::Cgroupfs;
use crate::host::hierarchies::{CpuController, Hierarchies, HierarchyId};
use crate::host::proc::{net_ip, stat};
use crate::identity::Identity;
use crate::point::Timestamp;

/// Reads the cgroups that are alive and selected.
#[derive(Clone, Copy)]
pub(super) struct CgroupReader<'a> {
    pub(super) cgroupfs: &'a Cgroupfs,
    pub(super) options: &'a EbpfOptions,
    pub(super) selection: &'a Selection,
    pub(super) accounts: &'a Accounts,
    /// The time of the gather.
    pub(super) time: Timestamp,
    /// Whether the CPU probe is on, which says what ran.
    pub(super) counts_cpu: bool,
    /// Whether other inputs may read the same containers in this gather.
    pub(super) has_other_readers: bool,
}

impl<'a> CgroupReader<'a> {
    /// Reads what the options ask for.
    pub(super) fn read(self, pods: &'a HashMap<String, PodSum>) -> Readings<'a> {
        let busy = self.busy();
        let mut readings = Readings::default();
        if self.options.reads(CgroupfsReading::Throttling) {
            self.read_throttling(&mut readings);
        }
        if self.options.reads(CgroupfsReading::Mem) {
            self.read_memory(&busy, &mut readings);
        }
        if self.options.reads(CgroupfsReading::Pressure) {
            self.read_pressure(&busy, &mut readings);
        }
        if self.options.reads(CgroupfsReading::Mem) {
            self.read_pod_memory(pods, &mut readings);
        }
        readings
    }

    /// The paths in or below which something ran in this interval; `None` when that is not known.
    fn busy(self) -> Option<HashSet<&'a str>> {
        let Accounts { areas, ledger, cgroups, .. } = self.accounts;
        let mut busy = HashSet::new();
        for (id, _) in ledger.cpu.rows().filter(|(_, totals)| totals.interval_ns > 0) {
            let Some(identity) = cgroups.get((areas.cpu, id)) else { continue };
            let mut path = identity.path.as_str();
            while !path.is_empty() && busy.insert(path) {
                path = path.rsplit_once('/').map_or("", |(above, _)| above);
            }
        }
        self.counts_cpu.then_some(busy)
    }

    fn read_throttling(self, readings: &mut Readings<'a>) {
        let Accounts { areas, ledger, cgroups, .. } = self.accounts;
        for (id, _) in ledger.cpu.rows() {
            let key = (areas.cpu, id);
            // Without a quota there are no periods.
            if cgroups.is_alive(key)
                && let Some(identity) = cgroups.get(key)
                && self.selection.takes(&identity.path)
                && let Some(throttling) = self.cgroupfs.throttling(&identity.path)
                && throttling.nr_periods > 0
            {
                readings.throttling.insert(id, throttling);
            }
        }
    }

    fn read_memory(self, busy: &Option<HashSet<&str>>, readings: &mut Readings<'a>) {
        for (identity, since) in self.accounts.cgroups.alive(self.accounts.areas.memory) {
            if self.selection.takes(&identity.path)
                && let Some(amounts) = self.memory_of(identity, rests(busy, identity))
            {
                readings.memory.push(MemoryReading { identity, since, amounts });
            }
        }
    }

    /// The memory of a container may be wanted by other inputs too, and is then read once for all.
    fn memory_of(self, identity: &Identity, rests: bool) -> Option<MemoryAmounts> {
        if identity.is_container_root() && self.has_other_readers {
            return Some((&*self.cgroupfs.memory(&identity.path, self.time, rests)?).into());
        }
        Some((&self.cgroupfs.memory_now(&identity.path)?).into())
    }

    fn read_pressure(self, busy: &Option<HashSet<&str>>, readings: &mut Readings<'a>) {
        for (identity, since) in self.accounts.cgroups.alive(HierarchyId::UNIFIED) {
            // The root's is the machine's.
            if identity.path == "/" || !self.selection.takes(&identity.path) {
                continue;
            }
            for (resource, kinds) in self.cgroupfs.pressure(&identity.path, rests(busy, identity)) {
                readings.pressure.push(PressureReading { identity, since, resource, kinds });
            }
        }
    }

    fn read_pod_memory(self, pods: &'a HashMap<String, PodSum>, readings: &mut Readings<'a>) {
        for sum in pods.values() {
            if self.selection.takes(&sum.path)
                && let Some(memory) = self.cgroupfs.memory_now(&sum.path)
            {
                readings.pod_memory.insert(&sum.path, (&memory).into());
            }
        }
    }
}

/// Whether nothing in a cgroup ran in this interval, as far as that is known.
fn rests(busy: &Option<HashSet<&str>>, identity: &Identity) -> bool {
    busy.as_ref().is_some_and(|busy| !busy.contains(identity.path.as_str()))
}

/// Reads the totals of the host now. What cannot be read is `None` or empty.
pub(super) fn read_host_totals(host: &Host, hierarchies: &Hierarchies) -> HostTotals {
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    HostTotals {
        cpu_ns: cpu_ns(host, hierarchies),
        disks: host_totals::disks(&read(&host.proc("diskstats"))),
        // Of process 1: the agent may be in a namespace of its own.
        ip: net_ip::parse(&read(&host.proc("1/net/netstat")), &read(&host.proc("1/net/snmp6"))),
    }
}

/// Run time of all tasks: the root cgroup's, which the scheduler adds up in the same place as the probe's amounts;
/// else busy time in ticks.
fn cpu_ns(host: &Host, hierarchies: &Hierarchies) -> Option<u64> {
    let (controller, hierarchy) = hierarchies.cpu();
    let root = hierarchies.mount(hierarchy);
    let file = |name: &str| std::fs::read_to_string(root?.join(name)).ok();
    match controller {
        CpuController::Cpuacct => file("cpuacct.usage").and_then(|text| text.trim().parse().ok()),
        CpuController::Unified => file("cpu.stat").and_then(|text| {
            let usec: u64 = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?.parse().ok()?;
            Some(usec * 1_000)
        }),
        CpuController::Cpu => None,
    }
    .or_else(|| {
        let text = std::fs::read_to_string(host.proc("stat")).ok()?;
        Some(stat::machine(&text)?.tasks_ns())
    })
}
