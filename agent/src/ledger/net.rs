//! IP traffic: sums per cgroup, in cgroup2.

use std::collections::HashMap;

use seismograf_ebpf::abi::{NetAmounts, NetRow};

use super::cpu::shrink;

/// What a cgroup sent and received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Since it was first seen.
    pub amounts: NetAmounts,
    /// Within this interval.
    pub interval: NetAmounts,
}

impl Totals {
    /// Adds those of another cgroup.
    pub fn add(&mut self, other: &Self) {
        add(&mut self.amounts, &other.amounts);
        add(&mut self.interval, &other.interval);
    }
}

/// The sums.
#[derive(Debug, Default)]
pub struct Net {
    rows: HashMap<u64, Totals>,
    /// Of all cgroups, also forgotten ones.
    sum: NetAmounts,
}

impl Net {
    /// Adds a delta.
    pub fn apply(&mut self, row: &NetRow) {
        let totals = self.rows.entry(row.cgroup).or_default();
        add(&mut totals.amounts, &row.amounts);
        add(&mut totals.interval, &row.amounts);
        add(&mut self.sum, &row.amounts);
    }

    /// The totals of a cgroup.
    #[must_use]
    pub fn get(&self, cgroup: u64) -> Option<&Totals> {
        self.rows.get(&cgroup)
    }

    /// `new` goes on with the totals of `old`.
    pub fn succeed(&mut self, old: u64, new: u64) {
        if let Some(totals) = self.rows.remove(&old) {
            self.rows.entry(new).or_default().add(&totals);
        }
    }

    /// Each cgroup's id and totals, in no order.
    pub fn rows(&self) -> impl Iterator<Item = (u64, &Totals)> {
        self.rows.iter().map(|(id, totals)| (*id, totals))
    }

    /// The sum of all rows ever.
    #[must_use]
    pub fn sum(&self) -> &NetAmounts {
        &self.sum
    }

    /// Starts a new interval.
    pub fn start_interval(&mut self) {
        for totals in self.rows.values_mut() {
            totals.interval = NetAmounts::default();
        }
    }

    /// Drops cgroups; what they had stays in the sum.
    pub fn retain(&mut self, mut keep: impl FnMut(u64) -> bool) {
        self.rows.retain(|id, _| keep(*id));
        shrink(&mut self.rows);
    }
}

/// Adds amounts to a sum.
pub fn add(sum: &mut NetAmounts, delta: &NetAmounts) {
    sum.rx_bytes += delta.rx_bytes;
    sum.rx_packets += delta.rx_packets;
    sum.tx_bytes += delta.tx_bytes;
    sum.tx_packets += delta.tx_packets;
    sum.tcp_retransmits += delta.tcp_retransmits;
}
