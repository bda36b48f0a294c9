//! Block I/O: sums per cgroup and disk, in the hierarchy of the controller `blkio` or `io`.

use std::collections::{BTreeMap, HashMap};

use seismograf_ebpf::abi::{BlkioAmounts, BlkioRow};
use serde::{Deserialize, Serialize};

use super::histogram::Histogram;
use super::sums::{Accumulate, shrink};

/// A disk, by its device number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// What a cgroup did on a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlkioTotals {
    /// Since it was first seen.
    pub amounts: BlkioAmounts,
    /// Reads within this interval by latency.
    pub reads: Histogram,
    /// Writes likewise.
    pub writes: Histogram,
}

impl Accumulate for BlkioAmounts {
    fn add(&mut self, other: &Self) {
        *self += other;
    }
}

impl Accumulate for BlkioTotals {
    fn add(&mut self, other: &Self) {
        self.amounts.add(&other.amounts);
        self.reads.merge(&other.reads);
        self.writes.merge(&other.writes);
    }

    fn start_interval(&mut self) {
        self.reads = Histogram::default();
        self.writes = Histogram::default();
    }
}

/// The sums.
#[derive(Debug, Default)]
pub struct Blkio {
    rows: HashMap<(u64, Device), BlkioTotals>,
    /// Of all cgroups by disk, forgotten ones included.
    devices: BTreeMap<Device, BlkioAmounts>,
}

impl Blkio {
    /// Adds a delta.
    pub fn apply(&mut self, row: &BlkioRow) {
        let device = Device { major: row.major, minor: row.minor };
        let totals = self.rows.entry((row.cgroup, device)).or_default();
        totals.amounts.add(&row.amounts);
        totals.reads.add(&row.read_histogram);
        totals.writes.add(&row.write_histogram);
        self.devices.entry(device).or_default().add(&row.amounts);
    }

    /// The totals of a cgroup on a disk, to begin them: what is set here is in no sum, since no record told of it.
    pub fn entry(&mut self, cgroup: u64, device: Device) -> &mut BlkioTotals {
        self.devices.entry(device).or_default();
        self.rows.entry((cgroup, device)).or_default()
    }

    /// The totals of a cgroup by disk.
    pub fn of(&self, cgroup: u64) -> impl Iterator<Item = (Device, &BlkioTotals)> {
        // Looked up for each of the few disks, instead of among all rows.
        self.devices.keys().filter_map(move |device| Some((*device, self.rows.get(&(cgroup, *device))?)))
    }

    /// Has the sums by disk begin at 0.
    pub fn begin_sums(&mut self) {
        self.devices.values_mut().for_each(|sum| *sum = BlkioAmounts::default());
    }

    /// Has the sum of a disk go on from what an earlier run had.
    pub fn resume_sum(&mut self, device: Device, sum: BlkioAmounts) {
        self.devices.insert(device, sum);
    }

    /// `new` continues the totals of `old`.
    pub fn succeed(&mut self, old: u64, new: u64) {
        for device in self.devices.keys() {
            if let Some(totals) = self.rows.remove(&(old, *device)) {
                self.rows.entry((new, *device)).or_default().add(&totals);
            }
        }
    }

    /// Each cgroup's id, disk and totals, in no order.
    pub fn rows(&self) -> impl Iterator<Item = (u64, Device, &BlkioTotals)> {
        self.rows.iter().map(|((id, device), totals)| (*id, *device, totals))
    }

    /// The sum of all rows ever by disk.
    #[must_use]
    pub fn devices(&self) -> &BTreeMap<Device, BlkioAmounts> {
        &self.devices
    }

    /// Drops a disk that is gone, with all that was done on it.
    pub fn forget_disk(&mut self, device: Device) {
        self.devices.remove(&device);
        self.rows.retain(|(_, of), _| *of != device);
    }

    /// Starts a new interval for the cgroups that `ends` names.
    pub fn start_interval(&mut self, ends: impl Fn(u64) -> bool) {
        let ended = self.rows.iter_mut().filter(|((id, _), _)| ends(*id)).map(|(_, totals)| totals);
        ended.for_each(Accumulate::start_interval);
    }

    /// Drops cgroups; their totals stay in the sums.
    pub fn retain(&mut self, mut keep: impl FnMut(u64) -> bool) {
        self.rows.retain(|(id, _), _| keep(*id));
        shrink(&mut self.rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seismograf_ebpf::abi::BUCKETS;

    #[test]
    fn adds_up_by_cgroup_and_disk() {
        let mut blkio = Blkio::default();
        let row = |cgroup, minor, bytes| BlkioRow {
            kind: 2,
            cpu: 0,
            cgroup,
            major: 8,
            minor,
            amounts: BlkioAmounts { read_bytes: bytes, reads: 1, ..BlkioAmounts::default() },
            read_histogram: [1; BUCKETS],
            write_histogram: [0; BUCKETS],
        };
        for (cgroup, minor) in [(1, 0), (1, 0), (1, 16), (2, 0)] {
            blkio.apply(&row(cgroup, minor, 512));
        }
        assert_eq!(blkio.rows().count(), 3);
        blkio.retain(|_| false);
        assert_eq!(blkio.devices()[&Device { major: 8, minor: 0 }].read_bytes, 3 * 512);
        assert_eq!(blkio.devices()[&Device { major: 8, minor: 16 }].reads, 1);
    }
}
