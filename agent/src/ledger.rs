//! Totals per cgroup (and device) from the deltas of the ring buffer.
//!
//! Pure: records in, sums out. Keyed by ids alone; names belong to `identity` and are added when points are made, never
//! before, so that no number depends on a name. Each area is in the one hierarchy in which the kernel accounts it.
//!
//! Totals begin where the kernel's own stand when the agent first sees a cgroup, or at 0 where it keeps none; they never go
//! back, and are kept until the kernel releases it. The sums over all cgroups have only what records told of.

pub(crate) mod amounts;
pub(crate) mod blkio;
pub(crate) mod cpu;
pub(crate) mod histogram;
pub(crate) mod memory;
pub(crate) mod net;
pub(crate) mod oom;
pub(crate) mod runqueue;
pub(crate) mod sums;

use std::collections::BTreeMap;

use seismograf_ebpf::abi::HostBytes;

use self::memory::PageFaults;
use self::sums::{Accumulate, Sums};
use crate::host::cgroupfs::figures::Throttling;
use crate::kernel::records::Record;

/// How long tasks stood still, in microseconds, by resource (`cpu`) and kind (`some`).
pub type Stalls = BTreeMap<(&'static str, &'static str), u64>;

/// The ledger of every area.
#[derive(Debug, Default)]
pub struct Ledger {
    /// CPU time by cgroup.
    pub cpu: cpu::Cpu,
    /// Where the kernel's own sums of it stand; `None` where a probe counts it.
    pub kernel_times: Option<cpu::KernelTimes>,
    /// Block I/O by cgroup and disk.
    pub blkio: blkio::Blkio,
    /// IP traffic by cgroup.
    pub net: net::Net,
    /// Of that, what passed in the host's own network namespace, of all cgroups.
    pub host_net: HostBytes,
    /// Time waiting for a CPU by cgroup.
    pub runqueue: runqueue::Runqueue,
    /// OOM-killed processes by cgroup.
    pub oom: oom::Oom,
    /// Page faults by cgroup in the hierarchy of memory, as its files had them last.
    pub page_faults: Sums<PageFaults>,
    /// What a CPU quota did, by cgroup in the hierarchy of CPU time, likewise.
    pub throttling: Sums<Throttling>,
    /// Stall times by cgroup in cgroup2, likewise.
    pub stalls: Sums<Stalls>,
    /// Rows taken in so far.
    pub rows: u64,
}

impl Ledger {
    /// Adds one record's delta; records without one are ignored.
    pub fn apply(&mut self, record: &Record<'_>) {
        match record {
            Record::Cpu(row) => self.cpu.apply(row),
            Record::Blkio(row) => self.blkio.apply(row),
            Record::Net(row) => {
                self.net.apply(row);
                self.host_net += &row.host;
            }
            Record::Runqueue(row) => self.runqueue.apply(row),
            Record::OomKill(kill) => self.oom.apply(kill),
            Record::Cgroup { .. } => return,
        }
        self.rows += 1;
    }

    /// Has the sums over all cgroups begin at 0; the totals of each stay.
    pub fn begin_sums(&mut self) {
        self.cpu.begin_sum();
        self.runqueue.begin_sum();
        self.net.begin_sum();
        self.oom.begin_sum();
        self.blkio.begin_sums();
        self.host_net = HostBytes::default();
        self.rows = 0;
    }

    /// Starts a new interval for the cgroups in the hierarchy of each area that the functions name.
    pub fn start_interval(
        &mut self,
        of_cpu: impl Fn(u64) -> bool,
        of_blkio: impl Fn(u64) -> bool,
        of_net: impl Fn(u64) -> bool,
    ) {
        self.cpu.start_interval(&of_cpu);
        self.runqueue.start_interval(&of_cpu);
        self.blkio.start_interval(&of_blkio);
        self.net.start_interval(&of_net);
    }
}

impl Accumulate for Throttling {
    fn add(&mut self, other: &Self) {
        self.nr_periods += other.nr_periods;
        self.nr_throttled += other.nr_throttled;
        self.throttled_ns += other.throttled_ns;
    }
}

impl Accumulate for Stalls {
    fn add(&mut self, other: &Self) {
        for (kind, us) in other {
            *self.entry(*kind).or_default() += us;
        }
    }
}
