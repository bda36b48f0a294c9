//! What an input that ends leaves: to the one that takes its place, and to the next run of the agent.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde_json::Value;

/// What an input leaves when it ends.
pub(crate) trait Legacy: Any + Send {
    /// What the next run of the agent is to remember of it.
    fn state(&self) -> Option<Value>;
}

/// What was left, if nobody has taken it over; one input makes use of it.
#[derive(Default)]
pub(crate) struct Handover {
    left: Mutex<Option<Box<dyn Legacy>>>,
    /// What an earlier run of the agent had.
    remembered: Mutex<Option<Value>>,
    /// What the one that runs can leave to its successor.
    offered: Mutex<Option<Weak<dyn Any + Send + Sync>>>,
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
    /// Leaves something to the next input.
    pub(crate) fn leave(&self, left: impl Legacy) {
        *lock(&self.left) = Some(Box::new(left));
    }

    /// Says, as long as `offer` is kept, what can be left. Whoever waits for it has a part in it.
    pub(crate) fn offer<T: Any + Send + Sync>(&self, offer: &Arc<T>) {
        let offer: Weak<T> = Arc::downgrade(offer);
        *lock(&self.offered) = Some(offer);
    }

    /// What the input that runs can leave.
    pub(crate) fn offered<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        lock(&self.offered).as_ref()?.upgrade()?.downcast().ok()
    }

    /// What was left, once.
    pub(crate) fn take<T: Legacy>(&self) -> Option<T> {
        let left: Box<dyn Any> = lock(&self.left).take()?;
        left.downcast().ok().map(|left| *left)
    }

    /// The state of what was left, for the next run of the agent; `None` when nothing was.
    pub(crate) fn state(&self) -> Option<Value> {
        lock(&self.left).as_ref()?.state()
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
