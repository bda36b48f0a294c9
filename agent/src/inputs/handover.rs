//! What an input that ends leaves: to the one that takes its place, and to the next run of the agent.

use std::any::Any;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// What was left, if nobody has taken it over; one input makes use of it.
#[derive(Default)]
pub(crate) struct Handover {
    left: Mutex<Option<Box<dyn Any + Send>>>,
    state: Mutex<Option<Value>>,
    /// What an earlier run of the agent had.
    remembered: Mutex<Option<Value>>,
}

impl fmt::Debug for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handover").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Handover {
    /// Leaves something to the next input, and a state to the next run.
    pub(crate) fn leave<T: Any + Send>(&self, left: T, state: Option<Value>) {
        *lock(&self.left) = Some(Box::new(left));
        *lock(&self.state) = state;
    }

    /// What was left, once.
    pub(crate) fn take<T: Any>(&self) -> Option<T> {
        let left = lock(&self.left).take()?;
        left.downcast().ok().map(|left| *left)
    }

    /// The state for the next run of the agent; `None` when no input has left one.
    pub(crate) fn state(&self) -> Option<Value> {
        lock(&self.state).take()
    }

    /// Gives the next input what an earlier run had left as its state.
    pub(crate) fn remember(&self, state: Value) {
        *lock(&self.remembered) = Some(state);
    }

    /// What an earlier run had, once.
    pub(crate) fn remembered(&self) -> Option<Value> {
        lock(&self.remembered).take()
    }
}
