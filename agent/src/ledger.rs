//! Totals per cgroup (and device) from the deltas of the ring buffer.
//!
//! Pure: records in, sums out. Keyed by ids alone; names belong to `identity` and are added when points are made, never
//! before, so that no number depends on a name. Each area is in the one hierarchy in which the kernel accounts it.
//!
//! Totals count from when the agent first saw the cgroup, never go back, and are kept until the kernel releases it.

pub(crate) mod blkio;
pub(crate) mod cpu;
pub(crate) mod histogram;
pub(crate) mod net;
pub(crate) mod oom;
pub(crate) mod runqueue;
pub(crate) mod sums;

use seismograf_ebpf::abi::HostBytes;

use crate::kernel::records::Record;

/// The ledger of every area.
#[derive(Debug, Default)]
pub struct Ledger {
    /// CPU time by cgroup.
    pub cpu: cpu::Cpu,
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

    /// Starts a new interval: values "over the interval" count from here.
    pub fn start_interval(&mut self) {
        self.cpu.start_interval();
        self.blkio.start_interval();
        self.net.start_interval();
        self.runqueue.start_interval();
    }
}
