//! What the kernel itself says that the machine did: the other side of the ledger's balance.
//!
//! *machine = rows + overflow + unseen*: `unseen` is what no program was called for, and is published, never spread
//! over rows. Everything here is counted from a first reading, when the probes started.

use std::collections::BTreeMap;

use crate::host::Host;
use crate::host::hierarchies::CpuController;
use crate::host::hierarchies::Hierarchies;
use crate::host::proc::diskstats::{self, SECTOR_BYTES};
use crate::host::proc::{net_dev, stat};
use crate::ledger::blkio::Device;

/// Bytes of an Ethernet header, which interface counters include and IP bytes do not.
const ETHERNET_BYTES: u64 = 14;

/// A disk's own counters (`/proc/diskstats`, Documentation/admin-guide/iostats.rst).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// Its name, `sda`.
    pub name: String,
    /// Reads that completed.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Writes that completed.
    pub writes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Discards that completed; 0 before Linux 4.18.
    pub discards: u64,
    /// Bytes discarded.
    pub discard_bytes: u64,
}

/// IP bytes of the machine's own interfaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// Received.
    pub rx_bytes: u64,
    /// Sent.
    pub tx_bytes: u64,
}

/// The machine's own figures, absolute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Run time of all tasks in nanoseconds.
    pub cpu_ns: Option<u64>,
    /// Disks by their numbers; partitions are among them.
    pub disks: BTreeMap<Device, Disk>,
    /// Loopback and hardware interfaces of the host's namespace.
    pub interfaces: Interfaces,
}

impl Machine {
    /// Reads them now. What cannot be read is `None` or empty.
    #[must_use]
    pub fn read(host: &Host, hierarchies: &Hierarchies) -> Self {
        let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            cpu_ns: cpu_ns(host, hierarchies),
            disks: disks(&read(&host.proc("diskstats"))),
            // Of process 1: the agent may be in a namespace of its own.
            interfaces: interfaces(&read(&host.proc("1/net/dev")), |name| {
                name == "lo" || host.sys(format!("class/net/{name}/device")).exists()
            }),
        }
    }

    /// The name of a disk.
    #[must_use]
    pub fn disk_name(&self, device: Device) -> String {
        match self.disks.get(&device) {
            Some(disk) => disk.name.clone(),
            None => format!("{}:{}", device.major, device.minor),
        }
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
    .or_else(|| Some(stat::machine(&std::fs::read_to_string(host.proc("stat")).ok()?)?.tasks_ns()))
}

fn disks(diskstats: &str) -> BTreeMap<Device, Disk> {
    diskstats
        .lines()
        .filter_map(|line| {
            let line = diskstats::parse_line(line)?;
            let (counters, discards) = (line.counters, line.discards.unwrap_or_default());
            let disk = Disk {
                name: line.name.to_owned(),
                reads: counters.reads,
                read_bytes: counters.sectors_read.wrapping_mul(SECTOR_BYTES),
                writes: counters.writes,
                write_bytes: counters.sectors_written.wrapping_mul(SECTOR_BYTES),
                discards: discards.completed,
                discard_bytes: discards.sectors.wrapping_mul(SECTOR_BYTES),
            };
            Some((Device { major: line.major, minor: line.minor }, disk))
        })
        .collect()
}

fn interfaces(dev: &str, counts: impl Fn(&str) -> bool) -> Interfaces {
    let mut sum = Interfaces::default();
    let all = dev.lines().filter_map(net_dev::parse_line);
    for line in all.filter(|line| counts(line.name)) {
        sum.rx_bytes += line.rx.bytes.saturating_sub(line.rx.packets * ETHERNET_BYTES);
        sum.tx_bytes += line.tx.bytes.saturating_sub(line.tx.packets * ETHERNET_BYTES);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_diskstats_of_old_and_new_kernels() {
        let text = "   8       0 sda 10 1 100 5 20 2 200 6 0 7 8\n\
                    \x20 7       1 loop1 1 0 8 0 2 0 16 0 0 0 0 3 0 24 0 4 5\n\
                    garbage\n";
        let disks = disks(text);
        assert_eq!(disks.len(), 2);
        let sda = &disks[&Device { major: 8, minor: 0 }];
        assert_eq!((sda.reads, sda.read_bytes, sda.write_bytes, sda.discards), (10, 51_200, 102_400, 0));
        let disk = &disks[&Device { major: 7, minor: 1 }];
        assert_eq!((disk.name.as_str(), disk.discards, disk.discard_bytes), ("loop1", 3, 24 * 512));
    }

    #[test]
    fn adds_up_the_machines_own_interfaces_without_link_headers() {
        let text = "Inter-|   Receive\n face |bytes\n    lo: 1140 10 0 0 0 0 0 0 2280 20 0 0 0 0 0 0\n\
                    veth1: 9999 1 0 0 0 0 0 0 9999 1 0 0 0 0 0 0\n";
        assert_eq!(interfaces(text, |name| name == "lo"), Interfaces { rx_bytes: 1_000, tx_bytes: 2_000 });
    }
}
