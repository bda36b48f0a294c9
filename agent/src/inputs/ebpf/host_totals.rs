//! What the kernel itself counted on the host: the other side of the ledger's balance.
//!
//! Pure: texts in, totals out; `reader` reads the files. All totals are absolute, so a balance takes the difference from
//! a first reading at the start of the probes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::host::proc::diskstats::{self, SECTOR_BYTES};
use crate::host::proc::net_ip::IpBytes;
use crate::ledger::blkio::Device;
use crate::point::Name;

/// A disk's own counters (`/proc/diskstats`, Documentation/admin-guide/iostats.rst).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DiskTotals {
    /// Its name, `sda`.
    pub(super) name: String,
    /// Reads that completed.
    pub(super) reads: u64,
    /// Bytes read.
    pub(super) read_bytes: u64,
    /// Writes that completed.
    pub(super) writes: u64,
    /// Bytes written.
    pub(super) write_bytes: u64,
    /// Discards that completed; 0 before Linux 4.18.
    pub(super) discards: u64,
    /// Bytes discarded.
    pub(super) discard_bytes: u64,
}

impl DiskTotals {
    /// Whether these are the counters of another disk than those before.
    pub(super) fn is_another_than(&self, before: &Self) -> bool {
        self.name != before.name || self.reads < before.reads || self.writes < before.writes
    }
}

/// The totals of the host, absolute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HostTotals {
    /// Run time of all tasks in nanoseconds.
    pub(super) cpu_ns: Option<u64>,
    /// Disks by their numbers; partitions are among them.
    #[serde(with = "by_number")]
    pub(super) disks: BTreeMap<Device, DiskTotals>,
    /// IP traffic of the host's own network namespace.
    pub(super) ip: Option<IpBytes>,
}

/// Disks as pairs: a key of JSON is a text.
mod by_number {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::{BTreeMap, Device, DiskTotals};

    pub(super) fn serialize<S: Serializer>(
        disks: &BTreeMap<Device, DiskTotals>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(disks)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Device, DiskTotals>, D::Error> {
        Ok(Vec::deserialize(deserializer)?.into_iter().collect())
    }
}

impl HostTotals {
    /// The disk of a name, as [`Self::disk_name`] has it.
    pub(super) fn disk(&self, name: &str) -> Option<Device> {
        self.disks.iter().find(|(_, disk)| disk.name == name).map(|(device, _)| *device)
    }

    /// The path by which an NVMe disk is reached, where it can have several and has one: `nvme0c1n2` of `nvme0n2`.
    pub(super) fn only_path(&self, disk: Device) -> Option<Device> {
        let (controller, namespace) = self.disks.get(&disk)?.name.strip_prefix("nvme")?.split_once('n')?;
        let is_path = |name: &str| {
            let path = name.strip_prefix("nvme").and_then(|name| name.strip_prefix(controller));
            let path = path.and_then(|path| path.strip_prefix('c')?.split_once('n'));
            path.is_some_and(|(_, of)| of == namespace)
        };
        let mut paths = self.disks.iter().filter(|(_, disk)| is_path(&disk.name));
        let (path, _) = paths.next()?;
        paths.next().is_none().then_some(*path)
    }

    /// The name of a disk; its numbers where it has none.
    pub(super) fn disk_name(&self, device: Device) -> Name {
        match self.disks.get(&device) {
            Some(disk) => Name::from(&disk.name),
            None => Name::of(format_args!("{}:{}", device.major, device.minor)),
        }
    }
}

/// The disks of `/proc/diskstats`.
pub(super) fn disks(diskstats: &str) -> BTreeMap<Device, DiskTotals> {
    diskstats
        .lines()
        .filter_map(|line| {
            let line = diskstats::parse_line(line)?;
            let (counters, discards) = (line.counters, line.discards.unwrap_or_default());
            let disk = DiskTotals {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_that_of_its_disk() {
        let text = "259 0 nvme0n1 0 0 0 0 0 0 0 0 0 0 0\n\
                    259 1 nvme0c0n1 0 0 0 0 0 0 0 0 0 0 0\n\
                    259 2 nvme0n12 0 0 0 0 0 0 0 0 0 0 0\n\
                    259 3 nvme0c0n12 0 0 0 0 0 0 0 0 0 0 0\n\
                    259 4 nvme0c1n12 0 0 0 0 0 0 0 0 0 0 0\n\
                    259 5 nvme1n1 0 0 0 0 0 0 0 0 0 0 0\n\
                    8 0 sda 0 0 0 0 0 0 0 0 0 0 0\n";
        let totals = HostTotals { disks: disks(text), ..HostTotals::default() };
        let path =
            |name: &str| totals.only_path(totals.disk(name).unwrap()).map(|path| totals.disk_name(path));
        let paths = ["nvme0n1", "nvme0n12", "nvme1n1", "nvme0c0n1", "sda"].map(path);
        assert_eq!(paths, [Some("nvme0c0n1".into()), None, None, None, None]);
    }

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
}
