//! What an input that ends leaves to the one that takes its place: a reload with other options starts no total anew.
//!
//! The new one is at work before the old one ends. What both have counted is taken from the old one, up to its last gather;
//! from there on the new one counts. Pure.

use std::sync::{Mutex, PoisonError};

use super::accounts::Accounts;
use crate::kernel::plan::{Probe, Report};

/// The accounts of an input that has ended, if nobody has taken them over.
#[derive(Debug, Default)]
pub struct Handover {
    left: Mutex<Option<Left>>,
}

/// The accounts, and which areas were on.
#[derive(Debug)]
pub(super) struct Left {
    accounts: Accounts,
    on: Vec<Probe>,
}

impl Handover {
    /// Leaves the accounts of an input that ends.
    pub(super) fn leave(&self, accounts: Accounts, report: &Report) {
        let on = Probe::ALL.into_iter().filter(|probe| report.is_on(*probe)).collect();
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(Left { accounts, on });
    }

    /// What was left, once.
    pub(super) fn take(&self) -> Option<Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).take()
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
