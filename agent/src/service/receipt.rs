//! Receipts: how a listener hears that what it was sent is kept, before it says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;

/// Goes along with points. It is over when its last clone is dropped.
#[derive(Clone, Debug)]
pub struct Receipt(Arc<Held>);

/// The receipts of points that came together.
pub type Receipts = Arc<[Receipt]>;

#[derive(Debug)]
struct Held {
    is_lost: AtomicBool,
    done: Option<oneshot::Sender<bool>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            // Nobody may be interested any more.
            let _ = done.send(!self.is_lost.load(Ordering::Relaxed));
        }
    }
}

impl Receipt {
    /// A receipt, and what completes when all of its clones are dropped, with whether all that they went along with is kept.
    pub(crate) fn new() -> (Self, oneshot::Receiver<bool>) {
        let (done, kept) = oneshot::channel();
        (Self(Arc::new(Held { is_lost: AtomicBool::new(false), done: Some(done) })), kept)
    }

    /// Something that it goes along with is not kept.
    pub(crate) fn lose(&self) {
        self.0.is_lost.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_over_with_its_last_clone() {
        let (receipt, mut kept) = Receipt::new();
        let other = receipt.clone();
        drop(receipt);
        assert!(kept.try_recv().is_err());
        drop(other);
        assert_eq!(kept.await, Ok(true));
        let (receipt, kept) = Receipt::new();
        receipt.clone().lose();
        drop(receipt);
        assert_eq!(kept.await, Ok(false));
    }
}
