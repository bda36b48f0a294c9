//! One row of `seismograf dump`, and what rows are sorted by.

use crate::cli::Sort;

/// One row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    /// Of one CPU.
    pub(super) cpu_percent: f64,
    pub(super) memory_bytes: f64,
    pub(super) switches: f64,
    pub(super) read_bytes: f64,
    pub(super) write_bytes: f64,
    pub(super) io_p99_us: f64,
    pub(super) rx_bytes: f64,
    pub(super) tx_bytes: f64,
    pub(super) packets: f64,
}

impl Row {
    /// What rows are sorted by, the largest first.
    pub(super) fn weight(&self, sort: Sort) -> f64 {
        let io = self.read_bytes + self.write_bytes;
        let net = self.rx_bytes + self.tx_bytes;
        match sort {
            // A core's worth of CPU weighs as much as 100 MB/s.
            Sort::Busy => self.cpu_percent + (io + net) / 1e6,
            Sort::Cpu => self.cpu_percent,
            Sort::Mem => self.memory_bytes,
            Sort::Io => io,
            Sort::Net => net,
            Sort::Name => 0.0,
        }
    }
}
