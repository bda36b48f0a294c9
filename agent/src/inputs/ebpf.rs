//! `[[inputs.ebpf]]`: CPU, block I/O and network of every cgroup, from the kernel's ledger.

use serde::Deserialize;

/// A probe group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    /// CPU time and context switches.
    Cpu,
    /// Block I/O.
    Blkio,
    /// IP packets and bytes.
    Net,
    /// Waiting for a CPU (optional).
    Runqueue,
    /// TCP retransmits (optional).
    Tcp,
}

/// The section `[[inputs.ebpf]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The probe groups that are loaded.
    pub probes: Vec<Probe>,
    /// How long a delta stays in the kernel's cache at the most.
    #[serde(deserialize_with = "crate::config::duration::deserialize")]
    pub flush_period: std::time::Duration,
    /// Size of the ring buffer; rounded up to a power of two of pages.
    pub ring_bytes: u32,
    /// Only cgroups whose path matches one of these globs; empty means all.
    pub cgroup_include: Vec<String>,
    /// No cgroups whose path matches one of these globs.
    pub cgroup_exclude: Vec<String>,
    /// Tags that are only added on request: `container_id`, `pod_uid`.
    pub tag_include: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            probes: vec![Probe::Cpu, Probe::Blkio, Probe::Net],
            flush_period: std::time::Duration::from_secs(1),
            ring_bytes: 1 << 20,
            cgroup_include: Vec::new(),
            cgroup_exclude: Vec::new(),
            tag_include: Vec::new(),
        }
    }
}
