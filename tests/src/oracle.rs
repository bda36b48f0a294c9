//! The kernel's own figures, read independently of the agent.

use std::collections::BTreeMap;
use std::fs;

use crate::cgroup::Layout;

/// A disk's line of `/proc/diskstats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// Reads that completed.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Writes that completed.
    pub writes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Discards that completed.
    pub discards: u64,
    /// Bytes discarded.
    pub discard_bytes: u64,
    /// Flushes that completed.
    pub flushes: u64,
}

/// Reads a disk's line.
pub fn disk(name: &str) -> Disk {
    let text = fs::read_to_string("/proc/diskstats").unwrap();
    let columns = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|columns| columns[2] == name)
        .unwrap_or_else(|| panic!("{name} is not in /proc/diskstats"));
    let number = |i: usize| columns.get(i).map_or(0, |column| column.parse::<u64>().unwrap());
    Disk {
        reads: number(3),
        read_bytes: number(5) * 512,
        writes: number(7),
        write_bytes: number(9) * 512,
        discards: number(14),
        discard_bytes: number(16) * 512,
        flushes: number(18),
    }
}

impl Disk {
    /// Reads, writes and discards.
    pub fn ops(&self) -> u64 {
        self.reads + self.writes + self.discards
    }

    /// Their bytes.
    pub fn bytes(&self) -> u64 {
        self.read_bytes + self.write_bytes + self.discard_bytes
    }
}

/// Run time of all tasks in nanoseconds: the root cgroup's.
pub fn machine_cpu_ns() -> u64 {
    Layout::read().cpu_ns("/")
}

/// An interface's packets and bytes, each received and sent, from the text of `/proc/net/dev`.
pub fn interface(dev: &str, name: &str) -> [u64; 4] {
    let line = dev.lines().find_map(|line| line.trim().strip_prefix(&format!("{name}:"))).unwrap();
    let columns: Vec<u64> = line.split_whitespace().map(|column| column.parse().unwrap()).collect();
    [columns[1], columns[0], columns[9], columns[8]]
}

/// Counters of a protocol, from the text of `/proc/net/snmp`.
pub fn snmp(text: &str, protocol: &str) -> BTreeMap<String, u64> {
    let lines: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix(&format!("{protocol}: "))).collect();
    let values = lines[1].split(' ').map(|value| value.parse::<i64>().unwrap().max(0).cast_unsigned());
    lines[0].split(' ').map(str::to_owned).zip(values).collect()
}

/// How long a process of one thread waited for a CPU, in nanoseconds.
pub fn schedstat_wait_ns(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    text.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What it takes to open, read and close one small file of the kernel, in nanoseconds of CPU time: what a bar of CPU time is a
/// multiple of, so that it holds on a slow machine too.
pub fn one_look_ns() -> f64 {
    const LOOKS: u32 = 2_000;
    let rounds = (0..5).map(|_| {
        let before = own_cpu_ns();
        for _ in 0..LOOKS {
            std::hint::black_box(fs::read("/proc/loadavg").unwrap());
        }
        own_cpu_ns() - before
    });
    rounds.min().unwrap() as f64 / f64::from(LOOKS)
}

/// CPU time of this thread in nanoseconds.
pub(crate) fn own_cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// How long this thread waited for a CPU, in nanoseconds, and how many times it got one (`sched-stats.rst`).
pub fn own_waits() -> (u64, u64) {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let mut numbers = text.split_whitespace().skip(1).map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// The sample that a share `q` of them does not exceed.
pub fn quantile(samples: &mut [u64], q: f64) -> u64 {
    samples.sort_unstable();
    samples[((q * samples.len() as f64).ceil() as usize).clamp(1, samples.len()) - 1]
}

/// What a process itself has in memory in bytes: without the pages of its files, which the kernel takes and gives.
pub fn own_memory(pid: u32) -> u64 {
    status_bytes(pid, "RssAnon:")
}

/// An amount of memory in `/proc/PID/status`, in bytes, by its key: `VmHWM:`.
pub fn status_bytes(pid: u32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    value.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Resident memory of a process in bytes, and its CPU time in nanoseconds.
pub fn process(pid: u32) -> (u64, u64) {
    let rss = status_bytes(pid, "VmRSS:");
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let run = tasks.flatten().filter_map(|task| {
        let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<u64>().ok()
    });
    (rss, run.sum())
}
