//! What an input that ends leaves to the one that takes its place: a reload with other options starts no total anew.
//!
//! The new one is at work before the old one ends. What both have counted is taken from the old one, up to its last gather;
//! from there on the new one counts. Pure.

use super::accounts::Accounts;
use crate::kernel::plan::{Probe, Report};

/// The accounts of an input that has ended, and which areas were on.
#[derive(Debug)]
pub(super) struct Left {
    accounts: Accounts,
    on: Vec<Probe>,
}

impl Left {
    /// What an input leaves whose groups are those of `report`.
    pub(super) fn new(accounts: Accounts, report: &Report) -> Self {
        Self { accounts, on: Probe::ALL.into_iter().filter(|probe| report.is_on(*probe)).collect() }
    }
}

impl Accounts {
    /// Goes on with the accounts of an input that has ended. In an area that was off there, with those that there are. The sums
    /// of the balance begin anew.
    ///
    /// Walk the hierarchies afterwards: what came and went since is in no record.
    pub(super) fn take_over(&mut self, Left { accounts, on }: Left) {
        let own = std::mem::replace(self, accounts);
        self.lost_events = own.lost_events;
        let is_on = |probe| on.contains(&probe);
        let (ledger, own) = (&mut self.ledger, own.ledger);
        if !is_on(Probe::Cpu) {
            ledger.cpu = own.cpu;
        }
        if !is_on(Probe::Runqueue) {
            ledger.runqueue = own.runqueue;
        }
        if !is_on(Probe::Blkio) {
            ledger.blkio = own.blkio;
        }
        if !is_on(Probe::Net) {
            ledger.net = own.net;
        }
        ledger.begin_sums();
    }
}
