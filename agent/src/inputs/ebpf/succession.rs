//! From one input to the next at a reload: the probes themselves where the same is asked of the kernel, else the accounts.

use std::sync::Arc;
use std::time::Instant;

use super::handover::Left;
use super::{Attached, Ebpf, keeping};
use crate::kernel::plan::Report;

/// What an input leaves to a successor that waits for it.
struct Estate {
    attached: Attached,
    report: Report,
    /// Where its probes are pinned, if they are.
    pin_path: Option<String>,
}

impl Ebpf {
    /// Goes on with what the predecessor left: with its probes where this one has none, else with its accounts as they are now.
    pub(super) fn inherit(&mut self, now: Instant) {
        let handover = &self.shared.handover;
        let left = match (handover.take(), &mut self.attached) {
            (Some(Estate { attached, report, .. }), None) => {
                (self.attached, self.report) = (Some(attached), report);
                return;
            }
            (Some(Estate { attached: mut its, report, pin_path }), Some(attached)) => {
                // What both counted is the predecessor's; from here on this one counts. What comes between the two is in neither,
                // and the second time there is little to do in between.
                for _ in 0..2 {
                    its.catch_up();
                    attached.catch_up();
                }
                Left { accounts: its.accounts, report, pin_path }
            }
            (None, Some(attached)) => {
                let Some(left) = handover.take() else { return };
                attached.catch_up();
                left
            }
            (None, None) => return,
        };
        self.predecessor = None;
        let Some(attached) = &mut self.attached else { return };
        if let Some(pin_path) = left.pin_path.as_deref().filter(|path| !self.options.is_pinned_at(path)) {
            keeping::remove(pin_path);
        }
        attached.accounts.take_over(left);
        attached.walk(&self.report, now);
        attached.keeping.take_over(&self.shared.handover);
        attached.keeping.host_at_start = attached.host_files.read();
    }

    /// Leaves all to a successor that waits for it, else what can be gone on with.
    pub(super) fn leave(&mut self) {
        let Some(attached) = self.attached.take() else { return };
        let report = self.report.clone();
        let pin_path = attached.probes.is_pinned().then(|| self.options.pin_path().to_owned());
        if Arc::strong_count(&self.asked) > 1 {
            self.shared.handover.leave(Estate { attached, report, pin_path });
        } else {
            self.shared.handover.leave(Left { accounts: attached.accounts, report, pin_path });
        }
    }
}
