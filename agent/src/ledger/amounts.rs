//! What one row has in every area: the sum over its cgroups.

use std::collections::BTreeMap;

use seismograf_ebpf::abi::NetAmounts;

use super::Stalls;
use super::blkio::{BlkioTotals, Device};
use super::cpu::CpuTotals;
use super::memory::PageFaults;
use super::runqueue::RunqueueTotals;
use super::sums::Accumulate;
use crate::host::cgroupfs::figures::Throttling;

/// The amounts of a row. An area in which it has nothing is `None`, or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// CPU time.
    pub cpu: Option<CpuTotals>,
    /// What a CPU quota did.
    pub throttling: Option<Throttling>,
    /// Time waiting for a CPU.
    pub runqueue: Option<Box<RunqueueTotals>>,
    /// Block I/O by disk.
    pub blkio: BTreeMap<Device, BlkioTotals>,
    /// IP traffic.
    pub net: Option<NetAmounts>,
    /// OOM-killed processes.
    pub oom_kills: Option<u64>,
    /// Page faults.
    pub page_faults: Option<PageFaults>,
    /// Stall times.
    pub stalls: Stalls,
}

/// Adds what is there.
pub fn add<T: Accumulate>(sum: &mut Option<T>, amount: Option<&T>) {
    if let Some(amount) = amount {
        sum.get_or_insert_default().add(amount);
    }
}

impl Accumulate for Amounts {
    fn add(&mut self, other: &Self) {
        add(&mut self.cpu, other.cpu.as_ref());
        add(&mut self.throttling, other.throttling.as_ref());
        if let Some(runqueue) = &other.runqueue {
            self.runqueue.get_or_insert_default().add(runqueue);
        }
        for (device, totals) in &other.blkio {
            self.blkio.entry(*device).or_default().add(totals);
        }
        add(&mut self.net, other.net.as_ref());
        add(&mut self.oom_kills, other.oom_kills.as_ref());
        add(&mut self.page_faults, other.page_faults.as_ref());
        self.stalls.add(&other.stalls);
    }

    fn start_interval(&mut self) {
        self.cpu.iter_mut().for_each(Accumulate::start_interval);
        self.runqueue.iter_mut().for_each(|runqueue| runqueue.start_interval());
        self.blkio.values_mut().for_each(Accumulate::start_interval);
    }
}
