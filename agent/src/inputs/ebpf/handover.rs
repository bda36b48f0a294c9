//! What an input that ends leaves to the one that takes its place: a reload with other options starts no total anew.
//!
//! The new one is at work before the old one ends. What both have counted is taken from the old one, up to its last gather;
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
        if !report.is_on(Probe::Cpu) {
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
        ledger.begin_sums();
    }
}
