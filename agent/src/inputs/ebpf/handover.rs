//! What an input that ends leaves to the one that takes its place: a reload with other options starts no total anew.
//!
//! The new one is at work before the old one ends. What both have counted is taken from the old one, up to its last gather;
//! from there on the new one counts. Pure.

use serde_json::Value;

use super::accounts::Accounts;
use super::host_totals::HostTotals;
use super::naming::Naming;
use super::state::State;
use crate::inputs::handover::Legacy;
use crate::kernel::plan::{Probe, Report};

/// The accounts of an input that has ended, and what its rows and the disks were called at its last gather.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) accounts: Accounts,
    pub(super) report: Report,
    pub(super) naming: Naming,
    pub(super) host: HostTotals,
}

impl Legacy for Left {
    fn state(&self) -> Option<Value> {
        serde_json::to_value(State::of(&self.accounts, &self.naming, &self.host)).ok()
    }
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
