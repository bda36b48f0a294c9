//! `GET /containers/ID/stats`: the figures of a container by the daemon itself. Pure.
//!
//! Source: <https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerStats>. Under cgroup v1
//! they are those of v1's files, under v2 those of v2's, as far as each has them. A daemon on Windows has others, and no
//! `system_cpu_usage`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::answers::nullable;

/// The answer, as far as it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// CPU time now.
    #[serde(deserialize_with = "nullable")]
    pub cpu_stats: DockerCpu,
    /// And a second before; zeros where the daemon was asked to read once alone.
    #[serde(deserialize_with = "nullable")]
    pub precpu_stats: DockerCpu,
    /// Memory.
    #[serde(deserialize_with = "nullable")]
    pub memory_stats: DockerMemory,
    /// Block I/O.
    #[serde(deserialize_with = "nullable")]
    pub blkio_stats: DockerBlkio,
    /// By the interface's name; `None` where it has the host's network.
    pub networks: Option<BTreeMap<String, DockerNetwork>>,
}

/// CPU time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DockerCpu {
    /// The container's.
    pub cpu_usage: CpuUsage,
    /// The machine's, of all CPUs, idle or not, in nanoseconds; 0 of a container that does not run.
    pub system_cpu_usage: u64,
    /// CPUs; 0 where the daemon does not say.
    pub online_cpus: usize,
    /// How its CPU quota throttled it.
    #[serde(deserialize_with = "nullable")]
    pub throttling_data: ThrottlingData,
}

/// A container's CPU time in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct CpuUsage {
    /// All of it.
    pub total_usage: u64,
    /// By the CPU's number, with zeros behind those that there are; empty under cgroup v2.
    #[serde(deserialize_with = "nullable")]
    pub percpu_usage: Vec<u64>,
    /// In the kernel.
    pub usage_in_kernelmode: u64,
    /// In user mode.
    pub usage_in_usermode: u64,
}

/// How a CPU quota throttled a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ThrottlingData {
    /// Enforcement periods in which it ran.
    pub periods: u64,
    /// Of these, the ones in which the quota was used up.
    pub throttled_periods: u64,
    /// Nanoseconds.
    pub throttled_time: u64,
}

/// A container's memory in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DockerMemory {
    /// Page cache included.
    pub usage: u64,
    /// The most there was; v1 alone.
    pub max_usage: u64,
    /// How often the limit was hit; v1 alone.
    pub failcnt: u64,
    /// Its limit, and without one the machine's memory.
    pub limit: u64,
    /// The lines of `memory.stat`.
    #[serde(deserialize_with = "nullable")]
    pub stats: BTreeMap<String, u64>,
}

/// A container's block I/O.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DockerBlkio {
    /// Bytes.
    #[serde(deserialize_with = "nullable")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    /// Operations.
    #[serde(deserialize_with = "nullable")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
}

/// Of one device and one kind of operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct BlkioEntry {
    /// The device.
    pub major: u32,
    /// Its minor number.
    pub minor: u32,
    /// `Read`, `write` …
    pub op: String,
    /// How many.
    pub value: u64,
}

/// An interface of a container: the counts of proc(5) `net/dev`, by its names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DockerNetwork {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}
