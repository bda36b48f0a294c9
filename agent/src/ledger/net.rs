//! IP traffic: sums per cgroup, in cgroup2.

use seismograf_ebpf::abi::{NetAmounts, NetRow};

use super::sums::{Accumulate, Sums};

impl Accumulate for NetAmounts {
    fn add(&mut self, other: &Self) {
        *self += other;
    }
}

/// The sums.
pub type Net = Sums<NetAmounts>;

impl Net {
    /// Adds a delta.
    pub fn apply(&mut self, row: &NetRow) {
        self.add(row.cgroup, &row.amounts);
    }
}
