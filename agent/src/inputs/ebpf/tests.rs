//! The measurements of `ebpf` from the kernel's records to whole points, without a kernel: records are entered as they
//! come from the ring buffer, and cgroupfs is a folder.
//!
//! All figures of a case are different primes, so that none can stand in for another. Each area is in a hierarchy of its
//! own, and the same id is another cgroup in each.

mod about;
mod begin;
mod cgroups;
mod containers;
mod histories;
mod life;
mod pods;
mod reader;
mod restart;
mod series;

use std::path::Path;
use std::time::{Duration, Instant};

use seismograf_ebpf::abi::{
    self, BUCKETS, BlkioAmounts, BlkioRow, CgroupChange, CpuRow, HostBytes, NetAmounts, NetRow, OomKill,
    RunqueueRow, bucket,
};

use super::accounts::Accounts;
use super::areas::Areas;
use super::host_totals::{DiskTotals, HostTotals};
use super::naming::{Naming, NamingContext, Waiting};
use super::options::{CgroupfsReading, EbpfOptions, Selection};
use super::points;
use super::reader::CgroupReader;
use super::snapshot::Snapshot;
use super::totals::Totals;
use crate::allocations::allocations;
use crate::host::cgroupfs::Cgroupfs;
use crate::host::hierarchies::{Hierarchies, HierarchyId};
use crate::host::proc::net_ip::IpBytes;
use crate::identity::containers::Containers;
use crate::identity::names::Names;
use crate::inputs::Gathered;
use crate::kernel::activity::{Activity, Cost};
use crate::kernel::cpu_source::CpuSource;
use crate::kernel::drain::Counts;
use crate::kernel::plan::{Group, GroupState, Probe, Report};
use crate::kernel::records::Record;
use crate::ledger::Ledger;
use crate::ledger::blkio::Device;
use crate::line_protocol;
use crate::point::{FieldValue, Point, Timestamp};
use crate::schema;

const CPU: HierarchyId = HierarchyId(2);
const BLKIO: HierarchyId = HierarchyId(3);
const MEMORY: HierarchyId = HierarchyId(4);
const NET: HierarchyId = HierarchyId::UNIFIED;
const SDA: Device = Device { major: 8, minor: 0 };
const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const OTHER_ID: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
const UID: &str = "12345678-1234-1234-1234-123456789abc";

/// A machine with hierarchies in a folder, and everything that a gather is made of.
struct Case {
    folder: tempfile::TempDir,
    cgroupfs: Cgroupfs,
    accounts: Accounts,
    waiting: Waiting,
    /// Of the latest gather.
    naming: Naming,
    names: Names,
    containers: Containers,
    options: EbpfOptions,
    report: Report,
    host_at_start: HostTotals,
    host: HostTotals,
    overflow: abi::Overflow,
    ring: Counts,
    programs: Vec<Activity>,
    now: Instant,
    elapsed: Duration,
    time: Timestamp,
    is_only: bool,
}

impl Case {
    /// Controllers under v1, with cgroup2 beside them for the network; these groups are on, and nothing is read.
    fn new(groups: &[Group]) -> Self {
        let cgroup = "4:memory:/\n3:blkio:/\n2:cpu,cpuacct:/\n0::/\n";
        let v1 = [("cpu", "cpu,cpuacct"), ("blkio", "blkio"), ("memory", "memory")];
        Self::with(groups, |folder| {
            let mount = |name: &str| folder.join(name).display().to_string();
            let v1 = v1.map(|(name, controllers)| {
                format!("1 1 0:1 / {} rw - cgroup cgroup rw,{controllers}\n", mount(name))
            });
            let v2 = format!("1 1 0:1 / {} rw - cgroup2 cgroup2 rw\n", mount("unified"));
            Hierarchies::parse(cgroup, &(v1.concat() + &v2))
        })
    }

    /// cgroup2 alone.
    fn unified(groups: &[Group]) -> Self {
        Self::with(groups, |folder| {
            let mount = folder.join("unified").display().to_string();
            Hierarchies::parse("0::/\n", &format!("1 1 0:1 / {mount} rw - cgroup2 cgroup2 rw\n"))
        })
    }

    fn with(groups: &[Group], hierarchies: impl FnOnce(&Path) -> Hierarchies) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let hierarchies = hierarchies(folder.path());
        Self {
            accounts: Accounts::new(Areas::of(&hierarchies)),
            containers: Containers::new(&hierarchies),
            cgroupfs: Cgroupfs::new(hierarchies.clone()),
            folder,
            waiting: Waiting::default(),
            naming: Naming::default(),
            names: Names::default(),
            options: EbpfOptions { cgroupfs: Vec::new(), ..EbpfOptions::default() },
            report: Report {
                others: 0,
                groups: groups.iter().map(|group| (*group, GroupState::On)).collect(),
                hierarchies,
                map_bytes: 31,
                sees_host_net: true,
                cpu_source: CpuSource::Probe,
            },
            host_at_start: HostTotals::default(),
            host: HostTotals::default(),
            overflow: abi::Overflow::default(),
            ring: Counts::default(),
            programs: Vec::new(),
            now: Instant::now(),
            elapsed: Duration::from_secs(10),
            time: Timestamp(99),
            is_only: false,
        }
    }

    /// Asks for readings of cgroupfs.
    fn reading(mut self, readings: &[CgroupfsReading]) -> Self {
        self.options.cgroupfs = readings.to_vec();
        self
    }

    /// Writes files below the folder of the hierarchies.
    fn write(&self, files: &[(&str, &str)]) {
        for (file, text) in files {
            let file = self.folder.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
    }

    fn take(&mut self, record: Record<'_>) {
        self.accounts.take(record, &self.names, &self.containers, self.now);
    }

    fn change(&mut self, change: CgroupChange, HierarchyId(hierarchy): HierarchyId, cgroup: u64, path: &str) {
        self.take(Record::Cgroup { change, hierarchy, cgroup, run_ns: 0, path: path.as_bytes() });
    }

    fn made(&mut self, hierarchy: HierarchyId, cgroup: u64, path: &str) {
        self.change(CgroupChange::Made, hierarchy, cgroup, path);
    }

    fn removed(&mut self, hierarchy: HierarchyId, cgroup: u64, path: &str) {
        self.change(CgroupChange::Removed, hierarchy, cgroup, path);
    }

    /// Makes the cgroup `id` in each hierarchy: at `path` in that of the area, and elsewhere in the others.
    fn made_only_in(&mut self, area: HierarchyId, id: u64, path: &str) {
        for hierarchy in [CPU, BLKIO, MEMORY, NET] {
            let wrong = format!("/wrong/{}", hierarchy.0);
            self.made(hierarchy, id, if hierarchy == area { path } else { &wrong });
        }
    }

    /// The lines of one gather, in their order; each is one of the schema.
    fn gather(&mut self) -> Vec<String> {
        self.points()
            .0
            .iter()
            .map(|point| {
                schema::check(point).unwrap();
                // The encoder would leave it out.
                let is_finite = |value: &FieldValue| !matches!(value, FieldValue::Float(x) if !x.is_finite());
                assert!(point.fields.iter().all(|(_, value)| is_finite(value)), "{point:?}");
                let mut line = Vec::new();
                line_protocol::encode(point, &mut line);
                String::from_utf8(line).unwrap().trim_end().to_owned()
            })
            .collect()
    }

    /// The points of one gather, and how often their making allocated.
    fn points(&mut self) -> (Vec<Point>, u64) {
        let selection = Selection::new(&self.options).unwrap();
        let mut gathered = Gathered::at(self.time);
        let has_sources = self.names.has_sources();
        let before = std::mem::take(&mut self.naming);
        let context = NamingContext {
            names: &self.names,
            options: self.options.series(),
            selection: &selection,
            now: self.now,
            interval_began: self.now - self.elapsed,
            remembered: &self.accounts.remembered,
            before: &before,
            may_wait: has_sources,
        };
        self.naming = Naming::new(&self.accounts.cgroups, &mut self.waiting, context);
        let reader = CgroupReader {
            cgroupfs: &self.cgroupfs,
            options: &self.options,
            naming: &self.naming,
            accounts: &self.accounts,
            time: self.time,
            now: self.now,
            report: &self.report,
            has_other_readers: has_sources,
            usages: None,
        };
        let mut readings = reader.read();
        self.accounts.enter(&mut readings, self.report.is_group_on(Group::Oom));
        let totals = Totals::new(&self.accounts, &self.naming, &readings, self.now);
        let snapshot = Snapshot {
            time: self.time,
            is_only: self.is_only,
            n_cpus: 2,
            report: &self.report,
            accounts: &self.accounts,
            naming: &self.naming,
            names: has_sources.then_some(&self.names),
            n_waiting: self.waiting.len(),
            host_at_start: &self.host_at_start,
            host: &self.host,
            overflow: &self.overflow,
            ring: self.ring,
            programs: &self.programs,
        };
        let allocations = allocations(|| points::push(&snapshot, &totals, &mut gathered));
        (gathered.points, allocations)
    }

    /// The lines of one gather that begin with `start`, sorted.
    fn lines(&mut self, start: &str) -> Vec<String> {
        let mut lines = self.gather();
        lines.retain(|line| line.starts_with(start));
        lines.sort_unstable();
        lines
    }

    /// Ends the interval, as a gather does last.
    fn close(&mut self) {
        self.gather();
        self.accounts.start_interval(&self.waiting);
        self.accounts.forget(self.now, &self.naming, &self.waiting);
    }
}

#[test]
fn a_record_of_a_known_cgroup_allocates_nothing() {
    let amounts = (
        BlkioAmounts { reads: 1, ..BlkioAmounts::default() },
        NetAmounts { rx_bytes: 1, ..NetAmounts::default() },
    );
    let records = [
        cpu(7, 1, 1),
        runqueue(7, 1, &[1]),
        blkio(7, SDA, amounts.0, [&[1], &[]]),
        net(7, amounts.1),
        oom(7),
    ];
    let mut ledger = Ledger::default();
    let mut apply = || records.iter().for_each(|record| ledger.apply(record));
    assert_ne!(allocations(&mut apply), 0, "the first row of a cgroup makes its totals");
    assert_eq!(allocations(apply), 0);
}

#[test]
fn a_point_of_a_known_cgroup_allocates_nothing() {
    let least = |n_cgroups: u64| {
        let mut case = Case::new(&[on(Probe::Cpu), on(Probe::Runqueue), on(Probe::Blkio), on(Probe::Net)]);
        let amounts = (
            BlkioAmounts { reads: 1, ..BlkioAmounts::default() },
            NetAmounts { rx_bytes: 1, ..NetAmounts::default() },
        );
        for id in 10..10 + n_cgroups {
            for hierarchy in [CPU, BLKIO, MEMORY, NET] {
                case.made(hierarchy, id, &format!("/a/path/that/is/longer/than/what/stands/in/a/name/{id}"));
            }
            case.take(cpu(id, 1, 1));
            case.take(runqueue(id, 1, &[1]));
            case.take(blkio(id, SDA, amounts.0, [&[1], &[]]));
            case.take(net(id, amounts.1));
        }
        // Other tests take of the same memory at the same time.
        let rounds: Vec<(usize, u64)> =
            (0..50).map(|_| case.points()).map(|(points, n)| (points.len(), n)).collect();
        rounds.into_iter().min_by_key(|(_, n)| *n).unwrap()
    };
    let ((few, of_few), (many, of_many)) = (least(4), least(64));
    assert!(many >= few + 3 * 60, "{few} and {many} points");
    // The list of points grows by doubling.
    assert!(of_many <= of_few + 4, "{few} points {of_few} times, {many} points {of_many} times");
}

fn on(probe: Probe) -> Group {
    Group::Probe(probe)
}

fn cpu(cgroup: u64, run_ns: u64, switches: u64) -> Record<'static> {
    Record::Cpu(CpuRow { kind: 1, cpu: 0, cgroup, run_ns, switches })
}

fn runqueue(cgroup: u64, wait_ns: u64, waits: &[u64]) -> Record<'static> {
    let (histogram, n) = (histogram(waits), waits.len() as u64);
    Record::Runqueue(RunqueueRow { kind: 4, cpu: 0, cgroup, wait_ns, waits: n, histogram })
}

fn net(cgroup: u64, amounts: NetAmounts) -> Record<'static> {
    Record::Net(NetRow { kind: 3, cpu: 0, cgroup, amounts, host: HOST_BYTES, ..NetRow::default() })
}

fn oom(cgroup: u64) -> Record<'static> {
    Record::OomKill(OomKill { kind: 6, pid: 1, cgroup, victim: 0xffff_8880_0000_0000 })
}

/// A row of a disk; `times` are those of single reads and writes, in nanoseconds.
fn blkio(cgroup: u64, disk: Device, amounts: BlkioAmounts, times: [&[u64]; 2]) -> Record<'static> {
    let [read_histogram, write_histogram] = times.map(histogram);
    let Device { major, minor } = disk;
    Record::Blkio(BlkioRow {
        kind: 2,
        cpu: 0,
        cgroup,
        major,
        minor,
        amounts,
        read_histogram,
        write_histogram,
    })
}

fn histogram(times: &[u64]) -> [u32; BUCKETS] {
    let mut histogram = [0; BUCKETS];
    for ns in times {
        histogram[bucket(*ns)] += 1;
    }
    histogram
}

/// The disk `sda`: its reads, writes and discards, each as number and bytes.
fn sda(reads: [u64; 2], writes: [u64; 2], discards: [u64; 2]) -> (Device, DiskTotals) {
    let ([reads, read_bytes], [writes, write_bytes]) = (reads, writes);
    let [discards, discard_bytes] = discards;
    let name = "sda".to_owned();
    (SDA, DiskTotals { name, reads, read_bytes, writes, write_bytes, discards, discard_bytes })
}

const AMOUNTS: BlkioAmounts = BlkioAmounts {
    read_bytes: 4_099,
    write_bytes: 8_209,
    discard_bytes: 16_411,
    reads: 3,
    writes: 5,
    discards: 7,
    errors: 11,
    read_time_ns: 100_003,
    write_time_ns: 200_003,
};

const PACKETS: NetAmounts = NetAmounts {
    rx_bytes: 1_009,
    rx_packets: 13,
    tx_bytes: 2_003,
    tx_packets: 17,
    tx_dropped_bytes: 0,
    tx_dropped_packets: 0,
    tcp_retransmits: 19,
};

/// What each row of the network has of the host's own namespace.
const HOST_BYTES: HostBytes = HostBytes { rx_bytes: 907, tx_bytes: 1_901 };

/// What does not read, by the words that it would need.
#[test]
fn what_makes_points_imports_nothing_that_reads() {
    let pure = [
        ("about", include_str!("about.rs")),
        ("accounts", include_str!("accounts.rs")),
        ("areas", include_str!("areas.rs")),
        ("balance", include_str!("balance.rs")),
        ("begin", include_str!("begin.rs")),
        ("ended", include_str!("ended.rs")),
        ("fields", include_str!("fields.rs")),
        ("host_totals", include_str!("host_totals.rs")),
        ("naming", include_str!("naming.rs")),
        ("options", include_str!("options.rs")),
        ("points", include_str!("points.rs")),
        ("readings", include_str!("readings.rs")),
        ("rows", include_str!("rows.rs")),
        ("snapshot", include_str!("snapshot.rs")),
        ("state", include_str!("state.rs")),
        ("handover", include_str!("handover.rs")),
        ("totals", include_str!("totals.rs")),
    ];
    let reading = [
        "std::fs",
        "std::io",
        "std::path",
        "std::process",
        "std::net",
        "rustix::",
        "libc::",
        "tokio::",
        "host::Host",
        "cgroupfs::Cgroupfs",
        "hierarchies::walk",
        "reader::",
        "inputs::Shared",
    ];
    for (file, text) in pure {
        for word in reading {
            assert!(!text.contains(word), "{file}.rs names {word}");
        }
    }
}
