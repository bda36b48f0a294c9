//! IP traffic: sums per cgroup, in cgroup2.

use seismograf_ebpf::abi::{NetAmounts, NetRow};

use super::sums::{Sums, Totals};

impl Totals for NetAmounts {
    fn add(&mut self, other: &Self) {
        self.rx_bytes += other.rx_bytes;
        self.rx_packets += other.rx_packets;
        self.tx_bytes += other.tx_bytes;
        self.tx_packets += other.tx_packets;
        self.tcp_retransmits += other.tcp_retransmits;
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
