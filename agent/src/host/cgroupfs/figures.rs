//! The figures of one cgroup's files, with one meaning under v1 and v2, and how each file is parsed.
//!
//! Source: Documentation/admin-guide/cgroup-v2.rst and Documentation/admin-guide/cgroup-v1. What a file or the kernel
//! lacks is `None`. Pure: texts in, figures out.

use serde::{Deserialize, Serialize};

use crate::host::proc::NS_PER_TICK;

/// Memory of a cgroup and everything below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Whether the figures are those of v1's controller.
    pub is_v1: bool,
    /// `memory.usage_in_bytes`, `memory.current`: bytes, page cache included.
    pub usage: u64,
    /// `memory.max_usage_in_bytes`, `memory.peak` (since Linux 5.19).
    pub max_usage: Option<u64>,
    /// `memory.limit_in_bytes`, `memory.max`; `None` without a limit.
    pub limit: Option<u64>,
    /// `memory.failcnt`: how often the limit was hit; v1 alone.
    pub fail_count: Option<u64>,
    /// Processes that were OOM-killed since the cgroup was created (`memory.oom_control`, since Linux 4.13;
    /// `memory.events`).
    pub oom_kills: Option<u64>,
    pub(super) stat: String,
}

impl Memory {
    /// With these lines of `memory.stat`, and nothing else.
    pub fn of_stat<'a>(lines: impl IntoIterator<Item = (&'a str, u64)>) -> Self {
        let stat = lines.into_iter().map(|(key, value)| format!("{key} {value}\n")).collect();
        Self { stat, ..Self::default() }
    }

    /// The lines of `memory.stat`: key, and bytes or a count.
    pub fn stat(&self) -> impl Iterator<Item = (&str, u64)> {
        key_values(&self.stat)
    }

    /// One line of `memory.stat`.
    #[must_use]
    pub fn stat_value(&self, key: &str) -> Option<u64> {
        value(&self.stat, key)
    }

    /// A line of `memory.stat` that includes everything below the cgroup, by its key under v1 and under v2.
    #[must_use]
    pub fn total(&self, v1: &str, v2: &str) -> Option<u64> {
        self.stat_value(if self.is_v1 { v1 } else { v2 })
    }

    /// Anonymous memory.
    #[must_use]
    pub fn rss(&self) -> Option<u64> {
        self.total("total_rss", "anon")
    }

    /// What the kubelet's eviction is based on: all but the inactive page cache, which can be reclaimed at any time.
    #[must_use]
    pub fn working_set(&self) -> u64 {
        self.usage.saturating_sub(self.total("total_inactive_file", "inactive_file").unwrap_or(0))
    }
}

/// CPU time of a cgroup and everything below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Nanoseconds.
    pub usage_ns: u64,
    /// The part in user mode; in steps of 10 ms under v1.
    pub user_ns: Option<u64>,
    /// The part in the kernel, likewise.
    pub system_ns: Option<u64>,
    /// Nanoseconds on each CPU, by its number; empty under v2.
    pub per_cpu_ns: Vec<u64>,
}

/// How a CPU quota throttled a cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttling {
    /// Enforcement periods in which it ran.
    pub nr_periods: u64,
    /// The ones of these in which the quota was used up.
    pub nr_throttled: u64,
    /// How long it was kept from its CPUs, in nanoseconds, summed over them.
    pub throttled_ns: u64,
}

/// The resources of pressure stall information, and their files.
pub(super) const RESOURCES: [(&str, &str); 3] =
    [("cpu", "cpu.pressure"), ("memory", "memory.pressure"), ("io", "io.pressure")];

/// Block I/O of a cgroup and everything below it, on one device, since the cgroup was created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceIo {
    /// Major and minor number.
    pub device: (u32, u32),
    /// Bytes, by [`IO_KINDS`].
    pub bytes: [Option<u64>; IO_KINDS.len()],
    /// Operations, likewise.
    pub operations: [Option<u64>; IO_KINDS.len()],
}

/// What of a cgroup changes only while its processes run (or, under v2, while their pages are written back).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// CPU time.
    pub cpu: Option<Cpu>,
    /// How the CPU quota throttled it; `None` without a `cpu` controller.
    pub throttling: Option<Throttling>,
    /// Block I/O.
    pub blkio: Option<Vec<DeviceIo>>,
}

/// The kinds of block I/O that v1 distinguishes. v2 has no `sync`, `async` and `total`.
pub const IO_KINDS: [&str; 6] = ["read", "write", "sync", "async", "discard", "total"];

impl Cpu {
    /// From v1's `cpuacct.usage_percpu`, and the text of `cpuacct.stat`.
    pub(super) fn of_v1(stat: &str, per_cpu_ns: Vec<u64>) -> Self {
        let ns = |key: &str| value(stat, key).map(|ticks| ticks.saturating_mul(NS_PER_TICK));
        Self {
            usage_ns: per_cpu_ns.iter().fold(0, |sum, ns| sum.saturating_add(*ns)),
            user_ns: ns("user"),
            system_ns: ns("system"),
            per_cpu_ns,
        }
    }

    /// From the text of v2's `cpu.stat`.
    pub(super) fn of_v2(stat: &str) -> Option<Self> {
        let ns = |key: &str| value(stat, key).map(|us| us.saturating_mul(1_000));
        Some(Self {
            usage_ns: ns("usage_usec")?,
            user_ns: ns("user_usec"),
            system_ns: ns("system_usec"),
            per_cpu_ns: Vec::new(),
        })
    }
}

impl Throttling {
    /// Parses `cpu.stat`, v1's or v2's; `None` without a `cpu` controller.
    pub(super) fn parse(stat: &str) -> Option<Self> {
        let throttled_ns = match value(stat, "throttled_usec") {
            Some(us) => us.saturating_mul(1_000),
            None => value(stat, "throttled_time")?,
        };
        Some(Self {
            nr_periods: value(stat, "nr_periods")?,
            nr_throttled: value(stat, "nr_throttled")?,
            throttled_ns,
        })
    }
}

/// Parses a line of v2's `io.stat`: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`.
pub(super) fn io_stat(line: &str) -> Option<DeviceIo> {
    let mut words = line.split_ascii_whitespace();
    let mut io = DeviceIo { device: device(words.next()?)?, ..DeviceIo::default() };
    for (key, value) in words.filter_map(|word| word.split_once('=')) {
        let (kind, is_bytes) = match key {
            "rbytes" => (0, true),
            "wbytes" => (1, true),
            "dbytes" => (4, true),
            "rios" => (0, false),
            "wios" => (1, false),
            "dios" => (4, false),
            _ => continue,
        };
        let amounts = if is_bytes { &mut io.bytes } else { &mut io.operations };
        amounts[kind] = value.parse().ok();
    }
    Some(io)
}

/// Adds one of v1's files: lines such as `8:0 Read 4096`, and at the end `Total 4096`.
pub(super) fn add_io(
    devices: &mut Vec<DeviceIo>,
    text: &str,
    amounts: impl Fn(&mut DeviceIo) -> &mut [Option<u64>; IO_KINDS.len()],
) {
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(number), Some(kind), Some(amount)) =
            (words.next().and_then(device), words.next(), words.next())
        else {
            continue;
        };
        if let Some(kind) = io_kind(kind) {
            amounts(of_device(devices, number))[kind] = amount.parse().ok();
        }
    }
}

/// Which of [`IO_KINDS`] this is, whose first letter may be a capital.
pub(crate) fn io_kind(name: &str) -> Option<usize> {
    IO_KINDS.iter().position(|kind| name.eq_ignore_ascii_case(kind))
}

/// What is known of the device with this number, or nothing yet.
pub(crate) fn of_device(devices: &mut Vec<DeviceIo>, number: (u32, u32)) -> &mut DeviceIo {
    let at = devices.iter().position(|known| known.device == number).unwrap_or_else(|| {
        devices.push(DeviceIo { device: number, ..DeviceIo::default() });
        devices.len() - 1
    });
    &mut devices[at]
}

fn device(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The lines of a file of keys and values.
fn key_values(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key, value.parse().ok()?))
    })
}

/// One line of a file of keys and values. Looked for as a word, because to go over the lines one by one takes several times as
/// long, and that a third of what a gather costs besides the kernel.
pub(super) fn value(text: &str, key: &str) -> Option<u64> {
    memchr::memmem::find_iter(text.as_bytes(), key).find_map(|at| {
        let (before, rest) = (&text[..at], &text[at + key.len()..]);
        let is_whole = before.is_empty() || before.ends_with('\n');
        let value = rest.strip_prefix(' ').filter(|_| is_whole)?;
        value.split('\n').next()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_that_of_its_whole_key() {
        let text = "rss 1\nrss_huge 2\ntotal_rss 3\nanon x\nanon 4\nlast 5";
        let values =
            ["rss", "rss_huge", "total_rss", "anon", "last", "huge", "total"].map(|key| value(text, key));
        assert_eq!(values, [Some(1), Some(2), Some(3), Some(4), Some(5), None, None]);
    }
}
