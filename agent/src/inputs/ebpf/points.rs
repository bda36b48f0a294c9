//! From the ledger to points: the totals of every cgroup, the balance with the machine, the losses.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use seismograf_ebpf::abi::{self, BlkioAmounts, NetAmounts};

use super::balance::{Disk, Machine};
use super::books::Books;
use super::held::Naming;
use super::{Options, Probe, Selection};
use crate::host::cgroupfs::Cgroupfs;
use crate::host::cgroupfs::figures::Memory;
use crate::host::hierarchies::HierarchyId;
use crate::identity::{Identity, path};
use crate::inputs::Gathered;
use crate::kernel::drain;
use crate::kernel::plan::{Group, Report};
use crate::ledger::blkio::Device;
use crate::ledger::{blkio, cpu};
use crate::point::{Point, Timestamp};

/// Makes the points of one gather.
pub(super) struct Maker<'a> {
    pub(super) options: &'a Options,
    pub(super) report: &'a Report,
    pub(super) selection: &'a Selection,
    pub(super) cgroupfs: &'a Cgroupfs,
    pub(super) naming: Naming<'a>,
    pub(super) books: &'a mut Books,
    pub(super) machine: &'a Machine,
    pub(super) elapsed: Duration,
}

/// A row on its way out: the figures, and whose they are.
type Row = (Point, Arc<Identity>, Instant);

impl Maker<'_> {
    /// The points of every cgroup and every pod.
    pub(super) fn points(&mut self, gathered: &mut Gathered) {
        self.books.held.release(self.naming, gathered);
        let mut unresolved = Unresolved::default();
        let mut rows = Vec::new();
        let busy = self.busy();
        self.cpu(gathered, &mut unresolved, &mut rows);
        self.blkio(gathered, &mut unresolved, &mut rows);
        self.net(gathered, &mut unresolved, &mut rows);
        self.memory(gathered, &busy, &mut rows);
        self.pressure(gathered, &busy, &mut rows);
        self.pods(gathered, &mut rows);
        self.identity(gathered, &unresolved);
        for (point, identity, since) in rows {
            self.books.held.push(self.naming, gathered, point, &identity, since);
        }
    }

    /// The paths in or below which something ran in this interval; `None` when nobody looked.
    fn busy(&self) -> Option<HashSet<&str>> {
        let mut busy = HashSet::new();
        for (id, _) in self.books.ledger.cpu.rows().filter(|(_, totals)| totals.interval_ns > 0) {
            let Some((identity, _)) = self.books.identity((self.books.areas.cpu, id)) else { continue };
            let mut path = identity.path.as_str();
            while !path.is_empty() && busy.insert(path) {
                path = path.rsplit_once('/').map_or("", |(above, _)| above);
            }
        }
        self.report.is_on(Probe::Cpu).then_some(busy)
    }

    fn cpu(&self, gathered: &Gathered, unresolved: &mut Unresolved, rows: &mut Vec<Row>) {
        let ledger = &self.books.ledger;
        for (id, totals) in ledger.cpu.rows() {
            let key = (self.books.areas.cpu, id);
            let Some((identity, since)) = self.books.identity(key) else {
                unresolved.n += 1;
                unresolved.cpu_ns += totals.usage_ns;
                continue;
            };
            if !self.selection.takes(&identity.path) {
                continue;
            }
            let mut point = gathered.point("cgroup_cpu");
            set_cpu_fields(&mut point, totals, self.elapsed);
            if let Some(waits) = ledger.runqueue.get(id) {
                point.set_field("runqueue_wait_ns", integer(waits.wait_ns));
                if let Some(p99) = waits.interval.quantile_ns(0.99) {
                    point.set_field("runqueue_wait_p99_us", p99 / 1e3);
                }
            }
            // Without a quota there are no periods.
            if self.options.cgroupfs.contains(&super::Cgroupfs::Throttling)
                && self.books.cgroups.is_alive(key)
                && let Some(throttling) = self.cgroupfs.throttling(&identity.path)
                && throttling.nr_periods > 0
            {
                point.set_field("nr_periods", integer(throttling.nr_periods));
                point.set_field("nr_throttled", integer(throttling.nr_throttled));
                point.set_field("throttled_ns", integer(throttling.throttled_ns));
            }
            rows.push((point, Arc::clone(identity), since));
        }
    }

    fn blkio(&self, gathered: &Gathered, unresolved: &mut Unresolved, rows: &mut Vec<Row>) {
        for (id, device, totals) in self.books.ledger.blkio.rows() {
            let Some((identity, since)) = self.books.identity((self.books.areas.blkio, id)) else {
                unresolved.n += 1;
                unresolved.blkio_bytes += totals.amounts.read_bytes + totals.amounts.write_bytes;
                continue;
            };
            if self.selection.takes(&identity.path) {
                let mut point = gathered.point("cgroup_blkio").tag("device", self.machine.disk_name(device));
                set_blkio_fields(&mut point, totals);
                rows.push((point, Arc::clone(identity), since));
            }
        }
    }

    fn net(&self, gathered: &Gathered, unresolved: &mut Unresolved, rows: &mut Vec<Row>) {
        for (id, totals) in self.books.ledger.net.rows() {
            let Some((identity, since)) = self.books.identity((self.books.areas.net, id)) else {
                unresolved.n += 1;
                unresolved.net_bytes += totals.rx_bytes + totals.tx_bytes;
                continue;
            };
            if self.selection.takes(&identity.path) {
                let mut point = gathered.point("cgroup_net");
                self.set_net_fields(&mut point, totals);
                rows.push((point, Arc::clone(identity), since));
            }
        }
    }

    /// Memory from the files of cgroupfs; of a cgroup that is gone what the kernel said when it killed.
    fn memory(&self, gathered: &Gathered, busy: &Option<HashSet<&str>>, rows: &mut Vec<Row>) {
        let Books { areas, cgroups, ledger, .. } = &*self.books;
        if self.options.cgroupfs.contains(&super::Cgroupfs::Mem) {
            for (identity, since) in cgroups.alive(areas.memory) {
                if self.selection.takes(&identity.path)
                    && let Some(memory) = self.memory_of(identity, gathered.time, rests(busy, identity))
                {
                    let mut point = gathered.point("cgroup_mem");
                    set_memory_fields(&mut point, &memory);
                    rows.push((point, Arc::clone(identity), since));
                }
            }
        }
        for (id, kills) in ledger.oom.rows() {
            let key = (areas.memory, id);
            if let Some((identity, since)) = self.books.identity(key)
                && !cgroups.is_alive(key)
                && self.selection.takes(&identity.path)
            {
                let point = gathered.point("cgroup_mem").field("oom_kills", integer(*kills));
                rows.push((point, Arc::clone(identity), since));
            }
        }
    }

    /// Those of a container may be wanted by other inputs too.
    fn memory_of(&self, identity: &Identity, time: Timestamp, rests: bool) -> Option<Arc<Memory>> {
        if identity.is_container_root() && self.naming.names.has_sources() {
            return self.cgroupfs.memory(&identity.path, time, rests);
        }
        self.cgroupfs.memory_now(&identity.path).map(Arc::new)
    }

    fn pressure(&self, gathered: &Gathered, busy: &Option<HashSet<&str>>, rows: &mut Vec<Row>) {
        if !self.options.cgroupfs.contains(&super::Cgroupfs::Pressure) {
            return;
        }
        for (identity, since) in self.books.cgroups.alive(HierarchyId::UNIFIED) {
            // The root's is the machine's.
            if identity.path == "/" || !self.selection.takes(&identity.path) {
                continue;
            }
            for (resource, kinds) in self.cgroupfs.pressure(&identity.path, rests(busy, identity)) {
                let mut point = gathered.point("cgroup_pressure").tag("resource", resource);
                for (kind, pressure) in kinds {
                    let [avg10, avg60, avg300, total] = pressure_fields(kind);
                    point.set_field(avg10, pressure.avg10);
                    point.set_field(avg60, pressure.avg60);
                    point.set_field(avg300, pressure.avg300);
                    point.set_field(total, integer(pressure.total_us));
                }
                rows.push((point, Arc::clone(identity), since));
            }
        }
    }

    /// The sums over the containers of each pod.
    fn pods(&mut self, gathered: &Gathered, rows: &mut Vec<Row>) {
        let Books { areas, cgroups, ledger, pods, .. } = &mut *self.books;
        for sum in pods.sums(areas, cgroups, ledger, self.naming.now).into_values() {
            if !self.selection.takes(&sum.path) {
                continue;
            }
            let mut points = Vec::new();
            if let Some(totals) = &sum.cpu {
                let mut point = gathered.point("pod_cpu");
                set_cpu_fields(&mut point, totals, self.elapsed);
                points.push(point);
            }
            for (device, totals) in &sum.blkio {
                let mut point = gathered.point("pod_blkio").tag("device", self.machine.disk_name(*device));
                set_blkio_fields(&mut point, totals);
                points.push(point);
            }
            if let Some(totals) = &sum.net {
                let mut point = gathered.point("pod_net");
                self.set_net_fields(&mut point, totals);
                points.push(point);
            }
            let mut point = gathered.point("pod_mem");
            if self.options.cgroupfs.contains(&super::Cgroupfs::Mem)
                && let Some(memory) = self.cgroupfs.memory_now(&sum.path)
            {
                set_memory_fields(&mut point, &memory);
            }
            // Also those of containers that ended; under v1 the pod's own file does not have even the others.
            if self.report.is_group_on(Group::Oom) {
                point.set_field("oom_kills", integer(sum.oom_kills));
            }
            if !point.fields.is_empty() {
                points.push(point);
            }
            let identity = Arc::new(path::parse(&sum.path));
            let since = sum.since;
            rows.extend(points.into_iter().map(|point| (point, Arc::clone(&identity), since)));
        }
    }

    /// What is known of whom.
    fn identity(&self, gathered: &mut Gathered, unresolved: &Unresolved) {
        let mut point = gathered
            .point("seismograf")
            .tag("part", "identity")
            .field("cgroups", self.books.cgroups.len() as i64)
            .field("unresolved_cgroups", unresolved.n)
            .field("unresolved_cpu_ns", integer(unresolved.cpu_ns))
            .field("unresolved_blkio_bytes", integer(unresolved.blkio_bytes))
            .field("unresolved_net_bytes", integer(unresolved.net_bytes));
        let names = self.naming.names;
        if names.has_sources() {
            let alive = self.books.cgroups.alive(self.books.areas.cpu);
            let containers = alive.filter(|(identity, _)| identity.is_container_root());
            let nameless =
                containers.filter(|(identity, since)| identity.lacks(&identity.named(names, *since)));
            point.set_field("unresolved_containers", nameless.count() as i64);
            point.set_field("waiting_rows", self.books.held.len() as i64);
            let (containers, pods) = names.len();
            point.set_field("named_containers", containers as i64);
            point.set_field("named_pods", pods as i64);
        }
        gathered.push(point);
    }

    fn set_net_fields(&self, point: &mut Point, amounts: &NetAmounts) {
        point.set_field("rx_bytes", integer(amounts.rx_bytes));
        point.set_field("tx_bytes", integer(amounts.tx_bytes));
        point.set_field("rx_packets", integer(amounts.rx_packets));
        point.set_field("tx_packets", integer(amounts.tx_packets));
        if self.report.is_on(Probe::Tcp) {
            point.set_field("tcp_retransmits", integer(amounts.tcp_retransmits));
        }
    }

    /// *machine = rows + overflow + unseen* for each area that is on, since the probes started.
    pub(super) fn balance(&self, gathered: &mut Gathered, start: &Machine, overflow: &abi::Overflow) {
        let ledger = &self.books.ledger;
        if self.report.is_on(Probe::Cpu) {
            let sum = ledger.cpu.sum();
            let mut point = gathered.point("seismograf").tag("part", "cpu");
            set_balance(
                &mut point,
                "ns",
                sum.usage_ns,
                overflow.run_ns,
                self.machine.cpu_ns.zip(start.cpu_ns).map(|(now, then)| now.saturating_sub(then)),
            );
            point.set_field("overflow_switches", integer(overflow.switches));
            gathered.push(point);
        }
        if self.report.is_on(Probe::Blkio) {
            for (device, rows) in ledger.blkio.devices() {
                self.disk_balance(gathered, *device, rows, start.disks.get(device));
            }
            // Which disk an overflow belongs to is part of what was lost.
            gathered.push(
                gathered
                    .point("seismograf")
                    .tag("part", "blkio")
                    .field("overflow_bytes", integer(bytes(&overflow.blkio)))
                    .field("overflow_ops", integer(ops(&overflow.blkio))),
            );
        }
        if self.report.is_on(Probe::Net) {
            let (rows, lost) = (ledger.net.sum(), &overflow.net);
            let (now, then) = (self.machine.interfaces, start.interfaces);
            let mut point = gathered.point("seismograf").tag("part", "net");
            let interfaces = now.rx_bytes.saturating_sub(then.rx_bytes);
            set_balance(&mut point, "rx_bytes", rows.rx_bytes, lost.rx_bytes, Some(interfaces));
            let interfaces = now.tx_bytes.saturating_sub(then.tx_bytes);
            set_balance(&mut point, "tx_bytes", rows.tx_bytes, lost.tx_bytes, Some(interfaces));
            point.set_field("rows_rx_packets", integer(rows.rx_packets));
            point.set_field("rows_tx_packets", integer(rows.tx_packets));
            point.set_field("overflow_rx_packets", integer(lost.rx_packets));
            point.set_field("overflow_tx_packets", integer(lost.tx_packets));
            gathered.push(point);
        }
    }

    fn disk_balance(
        &self,
        gathered: &mut Gathered,
        device: Device,
        rows: &BlkioAmounts,
        start: Option<&Disk>,
    ) {
        let mut point = gathered
            .point("seismograf")
            .tag("part", "blkio")
            .tag("device", self.machine.disk_name(device))
            .field("rows_bytes", integer(bytes(rows)))
            .field("rows_ops", integer(ops(rows)));
        if let Some(now) = self.machine.disks.get(&device) {
            let none = Disk::default();
            let then = start.unwrap_or(&none);
            let total = |disk: &Disk| disk.read_bytes + disk.write_bytes + disk.discard_bytes;
            let machine_bytes = total(now).wrapping_sub(total(then));
            let total = |disk: &Disk| disk.reads + disk.writes + disk.discards;
            let machine_ops = total(now).wrapping_sub(total(then));
            point.set_field("machine_bytes", integer(machine_bytes));
            point.set_field("machine_ops", integer(machine_ops));
            point.set_field("unseen_bytes", difference(machine_bytes, bytes(rows)));
            point.set_field("unseen_ops", difference(machine_ops, ops(rows)));
        }
        gathered.push(point);
    }

    /// What came through the ring, and what did not.
    pub(super) fn ring(&self, gathered: &mut Gathered, counts: &drain::Counts, overflow: &abi::Overflow) {
        gathered.push(
            gathered
                .point("seismograf")
                .tag("part", "ring")
                .field("records", integer(counts.records))
                .field("bytes", integer(counts.bytes))
                .field("rows", integer(self.books.ledger.rows))
                .field("undecodable", integer(counts.undecodable))
                .field("refused", integer(overflow.refused))
                .field("lost_cgroup_events", integer(overflow.cgroup_events))
                .field("oom_kills", integer(*self.books.ledger.oom.sum()))
                .field("lost_oom_kills", integer(overflow.oom_kills))
                .field("map_bytes", integer(self.report.map_bytes)),
        );
    }
}

/// Whether nothing of a cgroup ran in this interval, as far as that is known.
fn rests(busy: &Option<HashSet<&str>>, identity: &Identity) -> bool {
    busy.as_ref().is_some_and(|busy| !busy.contains(identity.path.as_str()))
}

/// What has no path, in this interval.
#[derive(Default)]
struct Unresolved {
    n: i64,
    cpu_ns: u64,
    blkio_bytes: u64,
    net_bytes: u64,
}

fn pressure_fields(kind: &str) -> [&'static str; 4] {
    match kind {
        "full" => ["full_avg10", "full_avg60", "full_avg300", "full_total_us"],
        _ => ["some_avg10", "some_avg60", "some_avg300", "some_total_us"],
    }
}

fn set_cpu_fields(point: &mut Point, totals: &cpu::CpuTotals, elapsed: Duration) {
    point.set_field("usage_ns", integer(totals.usage_ns));
    point.set_field("context_switches", integer(totals.context_switches));
    if !elapsed.is_zero() {
        point.set_field("usage_percent", 100.0 * totals.interval_ns as f64 / elapsed.as_nanos() as f64);
    }
}

fn set_blkio_fields(point: &mut Point, totals: &blkio::BlkioTotals) {
    let amounts = &totals.amounts;
    point.set_field("read_bytes", integer(amounts.read_bytes));
    point.set_field("write_bytes", integer(amounts.write_bytes));
    point.set_field("discard_bytes", integer(amounts.discard_bytes));
    point.set_field("reads", integer(amounts.reads));
    point.set_field("writes", integer(amounts.writes));
    point.set_field("discards", integer(amounts.discards));
    point.set_field("errors", integer(amounts.errors));
    point.set_field("read_time_ns", integer(amounts.read_time_ns));
    point.set_field("write_time_ns", integer(amounts.write_time_ns));
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
        if let Some(ns) = totals.reads.quantile_ns(quantile) {
            point.set_field(format!("read_{name}_us"), ns / 1e3);
        }
        if let Some(ns) = totals.writes.quantile_ns(quantile) {
            point.set_field(format!("write_{name}_us"), ns / 1e3);
        }
    }
}

/// The same meaning under v1 and v2: everything below the cgroup is in it.
fn set_memory_fields(point: &mut Point, memory: &Memory) {
    for (name, value) in [
        ("usage_bytes", Some(memory.usage)),
        ("working_set_bytes", Some(memory.working_set())),
        ("rss_bytes", memory.rss()),
        ("cache_bytes", memory.total("total_cache", "file")),
        ("limit_bytes", memory.limit),
        ("page_faults", memory.total("total_pgfault", "pgfault")),
        ("major_page_faults", memory.total("total_pgmajfault", "pgmajfault")),
        ("oom_kills", memory.oom_kills),
    ] {
        if let Some(value) = value {
            point.set_field(name, integer(value));
        }
    }
}

/// The four fields of a balance; `unseen` may be negative where the two sides are not read at the same instant.
fn set_balance(point: &mut Point, unit: &str, rows: u64, overflow: u64, machine: Option<u64>) {
    point.set_field(format!("rows_{unit}"), integer(rows));
    point.set_field(format!("overflow_{unit}"), integer(overflow));
    if let Some(machine) = machine {
        point.set_field(format!("machine_{unit}"), integer(machine));
        point.set_field(format!("unseen_{unit}"), difference(machine, rows.saturating_add(overflow)));
    }
}

fn bytes(amounts: &BlkioAmounts) -> u64 {
    amounts.read_bytes + amounts.write_bytes + amounts.discard_bytes
}

fn ops(amounts: &BlkioAmounts) -> u64 {
    amounts.reads + amounts.writes + amounts.discards
}

/// Counts are integers in the database.
fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn difference(a: u64, b: u64) -> i64 {
    integer(a).saturating_sub(integer(b))
}
