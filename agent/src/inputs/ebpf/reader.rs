//! Reads what the points of a gather need besides the ledger: the files of cgroupfs and the totals of the host.
//!
//! The one part of `ebpf` that touches the file system. It runs before any point is made, and hands plain values on:
//! [`Readings`] and [`HostTotals`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use super::accounts::Accounts;
use super::areas::Areas;
use super::begin::KernelSums;
use super::host_totals::{self, HostTotals};
use super::naming::Naming;
use super::options::{CgroupfsReading, EbpfOptions};
use super::readings::{MemoryReading, Readings};
use crate::host::Host;
use crate::host::cgroupfs::Cgroupfs;
use crate::host::cgroupfs::figures::DeviceIo;
use crate::host::cgroupfs::rest::Rest;
use crate::host::file::KernelFile;
use crate::host::hierarchies::{CpuController, Hierarchies, HierarchyId};
use crate::host::proc::{net_ip, stat};
use crate::identity::cgroup::Owner;
use crate::identity::{Identity, path};
use crate::inputs::Shared;
use crate::kernel::pass::Figures;
use crate::kernel::plan::{Group, Probe, Report};
use crate::ledger::blkio::Device;
use crate::point::Timestamp;

/// Reads the own cgroups of the owners that are there and have a row.
#[derive(Clone, Copy)]
pub(super) struct CgroupReader<'a> {
    pub(super) cgroupfs: &'a Cgroupfs,
    pub(super) options: &'a EbpfOptions,
    pub(super) naming: &'a Naming,
    pub(super) accounts: &'a Accounts,
    /// The time of the gather.
    pub(super) time: Timestamp,
    pub(super) now: Instant,
    /// Which probes are on: they say what ran, and what was killed.
    pub(super) report: &'a Report,
    /// Whether other inputs may read the same containers in this gather.
    pub(super) has_other_readers: bool,
    /// How much memory cgroups use, where the kernel has said it of all at once.
    pub(super) usages: Option<&'a Figures>,
}

/// A cgroup whose memory is read, and the row that is next above it.
struct MemoryRow<'a> {
    id: u64,
    owner: &'a Arc<Owner>,
    above: Option<&'a str>,
    reading: Option<MemoryReading>,
}

impl<'a> CgroupReader<'a> {
    /// Reads what the options ask for.
    pub(super) fn read(self) -> Readings {
        let busy = self.busy();
        let mut readings = Readings::default();
        if self.options.reads(CgroupfsReading::Throttling) {
            self.read_throttling(&busy, &mut readings);
        }
        if self.options.reads(CgroupfsReading::Mem) {
            self.read_memory(&busy, &mut readings);
        }
        if self.options.reads(CgroupfsReading::Pressure) {
            self.read_pressure(&busy, &mut readings);
        }
        readings
    }

    /// The paths in or below which something ran in this interval; `None` when that is not known.
    fn busy(self) -> Option<HashSet<&'a str>> {
        let Accounts { areas, ledger, cgroups, .. } = self.accounts;
        let mut busy = HashSet::new();
        for (id, _) in ledger.cpu.rows().filter(|(_, totals)| totals.interval_ns > 0) {
            let Some(known) = cgroups.get((areas.cpu, id)) else { continue };
            let mut paths = std::iter::once(known.path()).chain(path::above(known.path()));
            // What is above one that is there is there too.
            while paths.next().is_some_and(|path| busy.insert(path)) {}
        }
        self.report.is_on(Probe::Cpu).then_some(busy)
    }

    /// Owners' own cgroups that are there in a hierarchy.
    fn own(self, hierarchy: HierarchyId) -> impl Iterator<Item = (u64, &'a Arc<Owner>)> {
        let own = self.accounts.cgroups.own().filter(move |((of, _), _)| *of == hierarchy);
        own.map(|((_, id), owner)| (id, owner))
    }

    fn read_throttling(self, busy: &Option<HashSet<&str>>, readings: &mut Readings) {
        let Accounts { areas, ledger, .. } = self.accounts;
        for (id, owner) in self.own(areas.cpu) {
            // Without running there is nothing to throttle.
            let is_read = rests(busy, &owner.identity) && ledger.throttling.get(id).is_some();
            if !is_read && self.naming.row(owner).is_some() && ledger.cpu.get(id).is_some() {
                // One without the controller has no quota, and need not be looked at each time.
                let throttling = self.cgroupfs.throttling(&owner.identity.path);
                readings.throttling.insert(id, throttling.unwrap_or_default());
            }
        }
    }

    /// Reads each row, and the rows below it that are to be taken off.
    fn read_memory(self, busy: &Option<HashSet<&str>>, readings: &mut Readings) {
        let mut rows = self.memory_rows();
        readings.memory.reserve(rows.len());
        readings.raw.reserve(rows.len());
        for path in rows.keys().copied().collect::<Vec<_>>() {
            let row = &rows[path];
            let above = row.above.and_then(|above| rows.get(above));
            let is_needed = |owner: &Owner| self.naming.row(owner).is_some();
            let is_pod = row.owner.identity.pod_path() == Some(path);
            let is_needed_pod = is_pod && self.naming.pod_row(row.owner).is_some();
            if is_needed(row.owner) || is_needed_pod || above.is_some_and(|above| is_needed(above.owner)) {
                let reading = self.memory_of(row, rests(busy, &row.owner.identity));
                if let Some(reading) = reading {
                    readings.raw.insert(row.id, reading);
                }
                if let Some(row) = rows.get_mut(path) {
                    row.reading = reading.map(|(reading, _)| reading);
                }
            }
        }
        for (uid, owner) in self.naming.pods_of(rows.values().map(|row| row.owner)) {
            if let Some(path) = owner.identity.pod_path()
                && let Some(reading) = rows.get(path).map_or_else(|| self.memory_now(path), |row| row.reading)
            {
                readings.pods.insert(uid.to_owned(), reading.amounts);
            }
        }
        for row in rows.values().filter(|row| self.naming.row(row.owner).is_some()) {
            if let Some(reading) = row.reading {
                readings.memory.insert(row.id, reading);
            }
        }
        for row in rows.values() {
            if let (Some(below), Some(above)) = (row.reading, row.above.and_then(|above| rows.get(above)))
                && let Some(reading) = readings.memory.get_mut(&above.id)
            {
                reading.take_off(&below, above.owner.identity.is_owner());
            }
        }
    }

    /// The rows of the hierarchy of memory by path.
    fn memory_rows(self) -> HashMap<&'a str, MemoryRow<'a>> {
        let own = self.own(self.accounts.areas.memory).map(|(id, owner)| {
            let row = MemoryRow { id, owner, above: None, reading: None };
            (owner.identity.path.as_str(), row)
        });
        let mut rows: HashMap<&str, MemoryRow<'_>> = HashMap::with_capacity(self.naming.n_rows().0);
        rows.extend(own);
        for path in rows.keys().copied().collect::<Vec<_>>() {
            let above = path::above(path).find(|above| rows.contains_key(above));
            if let Some(row) = rows.get_mut(path) {
                row.above = above;
            }
        }
        rows
    }

    /// The memory of a container may be wanted by other inputs too, and is then read once for all. What rests and has the same
    /// usage is as it was read before.
    fn memory_of(self, row: &MemoryRow<'_>, rests: bool) -> Option<(MemoryReading, Rest)> {
        let identity = &row.owner.identity;
        if identity.is_container_root() && self.has_other_readers {
            let memory = self.cgroupfs.memory(&identity.path, self.time, rests, self.usage(row))?;
            return Some(((&*memory).into(), Rest::new(self.time)));
        }
        let mut rest = Rest::new(self.time);
        if let Some((known, before)) = self.accounts.memory_read.get(&row.id) {
            rest = before.asked_at(self.time, rests);
            if rest.holds()
                && self.usage(row).or_else(|| self.cgroupfs.memory_usage(&identity.path))
                    == Some(known.amounts.usage_bytes)
            {
                return Some((*known, rest));
            }
        }
        Some((self.memory_now(&identity.path)?, rest.once_read()))
    }

    /// How much memory a row's cgroup uses, where the kernel has said it. The root's file has another figure.
    fn usage(self, row: &MemoryRow<'_>) -> Option<u64> {
        self.usages.filter(|_| row.owner.identity.path != "/")?.memory_bytes(row.id)
    }

    fn memory_now(self, path: &str) -> Option<MemoryReading> {
        // Kills are counted as they happen, where that probe is on.
        Some((&self.cgroupfs.memory_now(path, !self.report.is_group_on(Group::Oom))?).into())
    }

    fn read_pressure(self, busy: &Option<HashSet<&str>>, readings: &mut Readings) {
        for (id, owner) in self.own(HierarchyId::UNIFIED) {
            let path = &owner.identity.path;
            // The root's is the machine's.
            if path != "/" && self.naming.row(owner).is_some() {
                let pressures = self.cgroupfs.pressure(path, rests(busy, &owner.identity), self.now);
                if !pressures.is_empty() {
                    readings.pressure.insert(id, pressures);
                }
            }
        }
    }
}

/// Whether nothing in a cgroup ran in this interval, as far as that is known.
fn rests(busy: &Option<HashSet<&str>>, identity: &Identity) -> bool {
    busy.as_ref().is_some_and(|busy| !busy.contains(identity.path.as_str()))
}

/// Reads what the kernel has counted of each of `owners`, by its number, where a probe goes on with it.
pub(super) fn read_kernel_sums(
    Shared { host, cgroupfs, .. }: &Shared,
    areas: &Areas,
    report: &Report,
    totals: &HostTotals,
    owners: &[Arc<Owner>],
) -> HashMap<u64, KernelSums> {
    let hierarchies = cgroupfs.hierarchies();
    // The sums of one hierarchy say nothing of the cgroups of another.
    let has_cpu = report.is_on(Probe::Cpu) && hierarchies.of_controller("cpuacct") == areas.cpu;
    let (has_blkio, has_oom) = (report.is_on(Probe::Blkio), report.is_group_on(Group::Oom));
    // Thousands of cgroups have the same few disks.
    let mut known = HashMap::new();
    let mut blkio = |path: &str| {
        let mut of_requests = |io: DeviceIo| {
            let device = *known.entry(io.device).or_insert_with(|| of_requests(io.device, host, totals));
            Some(DeviceIo { device: device?, ..io })
        };
        Some(cgroupfs.blkio(path)?.into_iter().filter_map(&mut of_requests).collect())
    };
    read_once(cgroupfs, owners, |path| KernelSums {
        cpu_ns: has_cpu.then(|| cgroupfs.cpu_usage_ns(path)).flatten(),
        blkio: has_blkio.then(|| blkio(path)).flatten().unwrap_or_default(),
        oom_kills: has_oom.then(|| cgroupfs.oom_kills(path)).flatten(),
    })
}

/// How many processes the kernel has OOM-killed of each owner, by the owner's number.
pub(super) fn read_kills(cgroupfs: &Cgroupfs, owners: &[Arc<Owner>]) -> HashMap<u64, KernelSums> {
    read_once(cgroupfs, owners, |path| KernelSums {
        oom_kills: cgroupfs.oom_kills(path),
        ..KernelSums::default()
    })
}

/// What is read of each owner this once, so that its files need not stay open.
fn read_once(
    cgroupfs: &Cgroupfs,
    owners: &[Arc<Owner>],
    mut read: impl FnMut(&str) -> KernelSums,
) -> HashMap<u64, KernelSums> {
    let sums = owners.iter().map(|owner| (owner.id, read(&owner.identity.path))).collect();
    cgroupfs.forget(owners.iter().map(|owner| owner.identity.path.as_str()));
    sums
}

/// The disk whose requests the programs count for one, if there is such. A disk that is made of others (LVM, RAID, zram) has
/// no requests: they are those of the others, which have the sums too. Nor has an NVMe disk with several paths; those of its
/// path are meant where it has one.
pub(super) fn of_requests(
    (major, minor): (u32, u32),
    host: &Host,
    totals: &HostTotals,
) -> Option<(u32, u32)> {
    let disk = host.sys(format!("dev/block/{major}:{minor}"));
    // Where sysfs does not show it, nothing is known of it.
    if disk.join("mq").exists() || !disk.exists() {
        return Some((major, minor));
    }
    let path = totals.only_path(Device { major, minor })?;
    Some((path.major, path.minor))
}

/// The files that have the totals of the host.
#[derive(Debug)]
pub(super) struct HostFiles {
    cpu: Option<CpuFile>,
    stat: KernelFile,
    diskstats: KernelFile,
    netstat: KernelFile,
    snmp6: KernelFile,
}

/// Run time of all tasks: the root cgroup's, which the scheduler adds up in the same place as the probe's amounts.
#[derive(Debug)]
enum CpuFile {
    /// `cpuacct.usage`.
    Usage(KernelFile),
    /// `cpu.stat`.
    Stat(KernelFile),
}

impl CpuFile {
    fn of(hierarchies: &Hierarchies) -> Option<Self> {
        let (controller, hierarchy) = hierarchies.cpu();
        let root = hierarchies.mount(hierarchy)?;
        let file = |name: &str| KernelFile::new(root.join(name));
        match controller {
            CpuController::Cpuacct => Some(Self::Usage(file("cpuacct.usage"))),
            CpuController::Unified => Some(Self::Stat(file("cpu.stat"))),
            CpuController::Cpu => None,
        }
    }

    fn read(&mut self) -> Option<u64> {
        match self {
            Self::Usage(file) => file.read().ok()?.trim().parse().ok(),
            Self::Stat(file) => {
                let text = file.read().ok()?;
                let usec: u64 =
                    text.lines().find_map(|line| line.strip_prefix("usage_usec "))?.parse().ok()?;
                Some(usec * 1_000)
            }
        }
    }
}

impl HostFiles {
    pub(super) fn new(host: &Host, hierarchies: &Hierarchies) -> Self {
        let file = |path: &str| KernelFile::new(host.proc(path));
        Self {
            cpu: CpuFile::of(hierarchies),
            stat: file("stat"),
            diskstats: file("diskstats"),
            // Of process 1: the agent may be in a namespace of its own.
            netstat: file("1/net/netstat"),
            snmp6: file("1/net/snmp6"),
        }
    }

    /// Reads the totals of the host now. What cannot be read is `None` or empty.
    pub(super) fn read(&mut self) -> HostTotals {
        let text = |file: &mut KernelFile| file.read().unwrap_or_default();
        HostTotals {
            // Else busy time in ticks.
            cpu_ns: self.cpu.as_mut().and_then(CpuFile::read).or_else(|| self.busy_ns()),
            disks: host_totals::disks(&text(&mut self.diskstats)),
            ip: net_ip::parse(&text(&mut self.netstat), &text(&mut self.snmp6)),
        }
    }

    fn busy_ns(&mut self) -> Option<u64> {
        Some(stat::machine(&self.stat.read().ok()?)?.tasks_ns())
    }
}
