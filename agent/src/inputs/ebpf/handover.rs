//! What an input that ends leaves to the one that takes its place: a reload with other options starts no total anew.
//!
//! The new one is at work before the old one ends. What both have counted is taken from the old one, up to its last gather;
//! from there on the new one counts. What is left at the end of the agent is for its next run. Pure.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::accounts::Accounts;
use super::host_totals::HostTotals;
use super::naming::Naming;
use super::state::State;
use crate::kernel::plan::{Probe, Report};

/// The accounts of an input that has ended, if nobody has taken them over.
#[derive(Debug, Default)]
pub struct Handover {
    left: Mutex<Option<Left>>,
    /// What an earlier run of the agent had.
    remembered: Mutex<Option<State>>,
}

/// The accounts, which areas were on, and what its rows and disks were called.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) accounts: Accounts,
    pub(super) on: Vec<Probe>,
    pub(super) naming: Naming,
    pub(super) host: HostTotals,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Handover {
    /// Leaves the accounts of an input that ends.
    pub(super) fn leave(&self, left: Left) {
        *lock(&self.left) = Some(left);
    }

    /// What was left, once.
    pub(super) fn take(&self) -> Option<Left> {
        lock(&self.left).take()
    }

    /// What an earlier run had, once.
    pub(super) fn remembered(&self) -> Option<State> {
        lock(&self.remembered).take()
    }

    /// Gives the next input what an earlier run of the agent had, as [`Self::state`] gave it.
    ///
    /// # Errors
    /// It is something else.
    pub(crate) fn remember(&self, state: serde_json::Value) -> Result<(), serde_json::Error> {
        *lock(&self.remembered) = Some(serde_json::from_value(state)?);
        Ok(())
    }

    /// What is to be remembered of the input that has ended; `None` when there was none.
    pub(crate) fn state(&self) -> Option<serde_json::Value> {
        let left = lock(&self.left);
        let Left { accounts, naming, host, .. } = left.as_ref()?;
        serde_json::to_value(State::of(accounts, naming, host)).ok()
    }
}

impl Left {
    /// What an input leaves whose groups are those of `report`.
    pub(super) fn new(accounts: Accounts, report: &Report, naming: Naming, host: HostTotals) -> Self {
        let on = Probe::ALL.into_iter().filter(|probe| report.is_on(*probe)).collect();
        Self { accounts, on, naming, host }
    }
}

impl Accounts {
    /// Goes on with the accounts of an input that has ended. In an area that was off there, with those that there are. The sums
    /// of the balance begin anew.
    ///
    /// Walk the hierarchies afterwards: what came and went since is in no record.
    pub(super) fn take_over(&mut self, Left { accounts, on, .. }: Left) {
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
