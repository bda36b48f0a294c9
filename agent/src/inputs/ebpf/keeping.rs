//! Has the next run of the agent go on from where this one is, also when it is killed.
//!
//! At each gather, before its points are handed on, the accounts are written to the `statefile`. With pinned probes what was
//! read of the ring buffer is given back only after that, so that it is always in the file or still in the ring: the file says
//! up to where it has the ring. Totals are exact therefore, whenever the agent is killed.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::accounts::Accounts;
use super::host_totals::HostTotals;
use super::naming::Naming;
use super::options::EbpfOptions;
use super::state::{PinnedState, State};
use crate::host::Host;
use crate::inputs::handover::{Handover, Keeper};
use crate::inputs::{Shared, StartError};
use crate::kernel::drain::Drain;
use crate::kernel::load::Probes;
use crate::kernel::pins::{Pins, PinsError};
use crate::options::OptionError;
use crate::service::receipt::Receipt;
use crate::service::statefile::Safety;

/// What has ended is forgotten after this many gathers, also where no output takes its points.
const MAX_WAITED: u32 = 100;

/// What is needed to keep a state.
pub(super) struct Keeping {
    /// `None` where nothing is kept, or another input does it still.
    keeper: Option<Keeper>,
    /// The ring buffer outlives the agent.
    pins: bool,
    pub(super) boot: String,
    /// The rows of the latest gather.
    pub(super) naming: Naming,
    /// The totals of the host when the probes started.
    pub(super) host_at_start: HostTotals,
    /// Those at the gather before.
    pub(super) host_before: HostTotals,
    /// Whether the points of the latest gather are kept, and how many gathers that has been waited for.
    told: Option<(oneshot::Receiver<bool>, u32)>,
    /// The last state could not be written.
    fails: bool,
    /// The probes could not be pinned, which is said once.
    pin_fails: bool,
}

impl Keeping {
    pub(super) fn new(shared: &Shared, pins: bool, host: HostTotals) -> Self {
        Self {
            keeper: shared.handover.keeper(),
            pins,
            boot: boot(&shared.host),
            naming: Naming::default(),
            host_at_start: host.clone(),
            host_before: host,
            told: None,
            fails: false,
            pin_fails: false,
        }
    }

    /// Takes the right over to keep the state, once the input before has ended.
    pub(super) fn take_over(&mut self, handover: &Handover) {
        if self.keeper.is_none() {
            self.keeper = handover.keeper();
        }
    }

    /// Goes on after records were read: without pins they need not stay in the ring. Returns whether a state is to be kept
    /// before there is room again.
    pub(super) fn is_due(&self, drain: &Drain) -> bool {
        let waits = self.pins && self.keeper.is_some();
        if !waits {
            drain.give_back();
        }
        waits && drain.holds_much()
    }

    /// What keeps the state, wherever that may block; `None` where nothing is to be kept.
    pub(super) fn save(
        &self,
        accounts: &Accounts,
        drain: &Drain,
        safety: Safety,
    ) -> Option<impl FnOnce() -> anyhow::Result<()> + Send + use<>> {
        let keeper = self.keeper.as_ref()?;
        let mut state = State::of(accounts, &self.naming, &self.host_before, &self.boot);
        state.pinned = self.pins.then(|| {
            let read = (drain.position(), drain.counts(), drain.early().clone());
            PinnedState::of(accounts, read, &self.host_at_start, &self.host_before)
        });
        Some(keeper.keep(state, safety))
    }

    /// Goes on after a state was kept, or not.
    pub(super) fn saved(&mut self, saved: anyhow::Result<()>, drain: &Drain) {
        drain.give_back();
        match saved {
            Ok(()) if self.fails => {
                self.fails = false;
                tracing::info!("the state is kept again");
            }
            Err(error) if !self.fails => {
                self.fails = true;
                tracing::error!(
                    "{error:#}: an agent that is killed now loses what it counted since the last state"
                );
            }
            _ => {}
        }
    }

    /// A receipt for the points of a gather, where an agent that is killed before they are kept is to be followed by one that
    /// tells the same again. What has ended is forgotten after that.
    pub(super) fn told(&mut self) -> Option<Receipt> {
        if !self.pins || self.keeper.is_none() {
            return None;
        }
        let (receipt, kept) = Receipt::new();
        let waited = self.told.take().map_or(0, |(_, waited)| waited + 1);
        self.told = Some((kept, waited));
        Some(receipt)
    }

    /// Whether all points so far are kept, for the first time since the latest gather; or that takes too long.
    pub(super) fn is_kept(&mut self) -> bool {
        let is_kept = self.told.as_mut().is_some_and(|(kept, waited)| {
            *waited >= MAX_WAITED || !matches!(kept.try_recv(), Err(oneshot::error::TryRecvError::Empty))
        });
        if is_kept {
            self.told = None;
        }
        is_kept
    }

    /// Keeps the state here and now.
    pub(super) fn keep(&mut self, accounts: &Accounts, drain: &Drain, safety: Safety) {
        let saved = self.save(accounts, drain, safety).map_or(Ok(()), |save| save());
        self.saved(saved, drain);
    }

    /// Pins the probes, if they are to be and are not yet. Call it after a state was kept that knows of them.
    pub(super) fn pin(&mut self, probes: &mut Probes) {
        if self.keeper.is_none() {
            return;
        }
        let pinned = probes.pin();
        if let Err(error) = &pinned
            && !self.pin_fails
        {
            tracing::warn!(%error, "the probes are not pinned: they end with this agent");
        }
        self.pin_fails = pinned.is_err();
    }
}

/// The directory of the pins, where the options ask for it and this is a service. What nobody uses any more is removed.
pub(super) fn pins(options: &EbpfOptions, shared: &Shared) -> Result<Option<Arc<Pins>>, StartError> {
    if !shared.handover.is_service() {
        return Ok(None);
    }
    if !options.pin {
        remove(options.pin_path());
        return Ok(None);
    }
    if !shared.handover.has_memory() {
        let what = "needs a `statefile` below [agent], which says up to where the pinned tables are read";
        return Err(OptionError::new("pin", what).into());
    }
    match Pins::lock(Path::new(options.pin_path())) {
        Ok(pins) => Ok(Some(pins)),
        Err(error) => Err(OptionError::new("pin_path", error.to_string()).into()),
    }
}

/// Removes what is pinned, unless another agent has it.
pub(super) fn remove(pin_path: &str) {
    let removed = match Pins::lock_existing(Path::new(pin_path)) {
        Ok(Some(pins)) => pins.remove_all(),
        Ok(None) | Err(PinsError::InUse(_)) => return,
        Err(error) => Err(error),
    };
    match removed {
        Ok(true) => tracing::info!(pin_path, "removed the pinned probes of an agent before this one"),
        Ok(false) => {}
        Err(error) => tracing::warn!(%error, "cannot remove pinned probes that nobody uses"),
    }
}

/// The number of this boot.
fn boot(host: &Host) -> String {
    let boot = std::fs::read_to_string(host.proc("sys/kernel/random/boot_id")).unwrap_or_default();
    boot.trim().to_owned()
}
