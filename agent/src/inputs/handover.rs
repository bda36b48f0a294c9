//! What an input that ends leaves: to the one that takes its place, and to the next run of the agent.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde::Serialize;
use serde_json::Value;

use crate::service::statefile::{Safety, Statefile};

/// What was left, if nobody has taken it over, and what is remembered; one input makes use of it.
#[derive(Default)]
pub(crate) struct Handover {
    left: Mutex<Option<Box<dyn Any + Send>>>,
    purpose: Mutex<Purpose>,
    /// What the one that runs can leave to its successor.
    offered: Mutex<Option<Weak<dyn Any + Send + Sync>>>,
}

/// What the process is there for.
#[derive(Default)]
enum Purpose {
    /// Somebody looks: it changes nothing that outlives it.
    #[default]
    Looking,
    /// It runs on, and there may be a file for what the next run is to remember.
    Service(Option<Memo>),
}

struct Memo {
    file: Arc<Statefile>,
    /// What an earlier run had.
    earlier: Option<Value>,
    /// There while an input keeps its state.
    keeper: Weak<()>,
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
    pub(crate) fn leave(&self, left: impl Any + Send) {
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

    /// What was left, once, if it is of that kind.
    pub(crate) fn take<T: Any>(&self) -> Option<T> {
        let left: Box<dyn Any> = lock(&self.left).take_if(|left| left.is::<T>())?;
        left.downcast().ok().map(|left| *left)
    }

    /// The process runs as a service, with a statefile and what an earlier run has left there.
    pub(crate) fn serve(&self, memory: Option<(Statefile, Option<Value>)>) {
        let memory =
            memory.map(|(file, earlier)| Memo { file: Arc::new(file), earlier, keeper: Weak::new() });
        *lock(&self.purpose) = Purpose::Service(memory);
    }

    /// Whether the process may leave anything to the next run: it is a service.
    pub(crate) fn is_service(&self) -> bool {
        matches!(*lock(&self.purpose), Purpose::Service(_))
    }

    /// Whether there is a statefile.
    pub(crate) fn has_memory(&self) -> bool {
        matches!(*lock(&self.purpose), Purpose::Service(Some(_)))
    }

    /// What an earlier run had, once.
    pub(crate) fn remembered(&self) -> Option<Value> {
        match &mut *lock(&self.purpose) {
            Purpose::Service(Some(memory)) => memory.earlier.take(),
            _ => None,
        }
    }

    /// The right to keep a state for the next run; `None` without a file for it, and while another input has it.
    pub(crate) fn keeper(&self) -> Option<Keeper> {
        let mut purpose = lock(&self.purpose);
        let Purpose::Service(Some(memory)) = &mut *purpose else { return None };
        if memory.keeper.strong_count() > 0 {
            return None;
        }
        let right = Arc::default();
        memory.keeper = Arc::downgrade(&right);
        Some(Keeper { file: Arc::clone(&memory.file), _right: right })
    }
}

/// Keeps the state of the input that has it.
#[derive(Debug)]
pub(crate) struct Keeper {
    file: Arc<Statefile>,
    _right: Arc<()>,
}

impl Keeper {
    /// What keeps a state; it can be moved to where it may block. Of several, the state of the latest stays.
    pub(crate) fn keep<S: Serialize>(
        &self,
        state: S,
        safety: Safety,
    ) -> impl FnOnce() -> anyhow::Result<()> + use<S> {
        let (file, number) = (Arc::clone(&self.file), self.file.number());
        move || file.save(number, &state, safety)
    }
}
