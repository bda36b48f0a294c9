//! What an input that ends leaves to the one that takes its place: a reload with other options starts no total anew.
//!
//! Where what is asked of the kernel is the same, the new one has the probes of the old one. Else it has its own at work before
//! the old one ends, and the old one's stay until its first gather. What both have counted by then is taken from the old one;
//! from there on the new one counts. Pure.

use super::accounts::Accounts;
use crate::kernel::plan::{Probe, Report};

/// The accounts of an input that has ended.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) accounts: Accounts,
    pub(super) report: Report,
    /// Where its probes are pinned, if they are.
    pub(super) pin_path: Option<String>,
}

impl Accounts {
    /// Goes on with the accounts of an input that has ended. In an area that was off there, with those that there are. The sums
    /// of the balance begin anew.
    ///
    /// Walk the hierarchies afterwards: what came and went since is in no record.
    pub(super) fn take_over(&mut self, Left { accounts, report, .. }: Left) {
        let own = std::mem::replace(self, accounts);
        self.lost_events = own.lost_events;
        let (ledger, own) = (&mut self.ledger, own.ledger);
        let is_cpu_on = report.is_on(Probe::Cpu);
        if !is_cpu_on {
            ledger.cpu = own.cpu;
        }
        if !report.is_on(Probe::Runqueue) {
            ledger.runqueue = own.runqueue;
        }
        if !report.is_on(Probe::Blkio) {
            ledger.blkio = own.blkio;
        }
        if !report.is_on(Probe::Net) {
            ledger.net = own.net;
        }
        // What the kernel has added up since the old one's last reading is in none of its totals yet.
        ledger.kernel_times =
            own.kernel_times.map(|begun| ledger.kernel_times.take().filter(|_| is_cpu_on).unwrap_or(begun));
        ledger.begin_sums();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::hierarchies::Hierarchies;
    use crate::inputs::ebpf::areas::Areas;
    use crate::kernel::cpu_source::CpuSource;
    use crate::kernel::plan::{Group, GroupState};
    use crate::ledger::Ledger;
    use crate::ledger::cpu::KernelTimes;

    /// Accounts with the kernel's sums, if they are from there, begun where one cgroup had so much.
    fn accounts(begun: Option<u64>) -> Accounts {
        let mut accounts = Accounts::new(Areas::of(&Hierarchies::parse("0::/\n", "")));
        accounts.ledger.kernel_times = begun.map(|ns| KernelTimes::begin([(7, ns)].into_iter()));
        accounts
    }

    #[test]
    fn the_kernels_sums_go_on_where_the_one_before_had_them() {
        let with = |old: Option<u64>, new: Option<u64>, is_on: bool| {
            let state = if is_on { GroupState::On } else { GroupState::NotAsked };
            let report = Report {
                groups: vec![(Group::Probe(Probe::Cpu), state)],
                others: 0,
                hierarchies: Hierarchies::parse("0::/\n", ""),
                map_bytes: 0,
                sees_host_net: true,
                cpu_source: CpuSource::Probe,
            };
            let mut successor = accounts(new);
            successor.take_over(Left { accounts: accounts(old), report, pin_path: None });
            let Ledger { cpu, kernel_times, .. } = &mut successor.ledger;
            let times = kernel_times.as_mut()?;
            cpu.reach(times, 7, 100);
            Some(cpu.sum().usage_ns)
        };
        // The old one's last, what had run when the new one was there, and what is entered of 100.
        assert_eq!(with(Some(60), Some(90), true), Some(40));
        assert_eq!(with(None, Some(90), true), Some(10));
        assert_eq!(with(None, Some(90), false), Some(10));
        assert_eq!(with(Some(60), None, true), None);
    }
}
