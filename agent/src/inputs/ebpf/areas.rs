//! Which hierarchy the ids of each area of the ledger belong to.
//!
//! Pure: `host::hierarchies` finds them out.

use crate::host::hierarchies::{Hierarchies, HierarchyId};
use crate::identity::cgroup::Key;
use crate::ledger::Ledger;
use crate::ledger::amounts::{Amounts, add};
use crate::ledger::sums::Accumulate as _;

/// The hierarchies whose ids the ledger's areas are keyed by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Areas {
    pub(super) cpu: HierarchyId,
    pub(super) blkio: HierarchyId,
    pub(super) memory: HierarchyId,
    pub(super) net: HierarchyId,
}

impl Areas {
    pub(super) fn of(hierarchies: &Hierarchies) -> Self {
        Self {
            cpu: hierarchies.cpu().1,
            blkio: hierarchies.blkio(),
            memory: hierarchies.memory(),
            net: HierarchyId::UNIFIED,
        }
    }

    /// Adds what the ledger has of a cgroup, in the areas of its hierarchy.
    pub(super) fn add(&self, ledger: &Ledger, key: Key, amounts: &mut Amounts) {
        self.add_counted(ledger, key, amounts);
        self.add_read(ledger, key, amounts);
    }

    /// Adds what the kernel's records told of.
    fn add_counted(&self, ledger: &Ledger, (hierarchy, id): Key, amounts: &mut Amounts) {
        if hierarchy == self.cpu {
            add(&mut amounts.cpu, ledger.cpu.get(id));
            if let Some(totals) = ledger.runqueue.get(id) {
                amounts.runqueue.get_or_insert_default().add(totals);
            }
        }
        if hierarchy == self.blkio {
            for (device, totals) in ledger.blkio.of(id) {
                amounts.blkio.entry(device).or_default().add(totals);
            }
        }
        if hierarchy == self.memory {
            add(&mut amounts.oom_kills, ledger.oom.get(id));
        }
        if hierarchy == self.net {
            add(&mut amounts.net, ledger.net.get(id));
        }
    }

    /// Adds what was read of files.
    fn add_read(&self, ledger: &Ledger, (hierarchy, id): Key, amounts: &mut Amounts) {
        if hierarchy == self.cpu {
            add(&mut amounts.throttling, ledger.throttling.get(id));
        }
        if hierarchy == self.memory {
            add(&mut amounts.page_faults, ledger.page_faults.get(id));
        }
        if hierarchy == self.net
            && let Some(stalls) = ledger.stalls.get(id)
        {
            amounts.stalls.add(stalls);
        }
    }

    /// Has the totals of a cgroup go on from `amounts`, in the areas of its hierarchy.
    pub(super) fn resume(&self, ledger: &mut Ledger, (hierarchy, id): Key, amounts: &Amounts) {
        if hierarchy == self.cpu {
            amounts.cpu.iter().for_each(|totals| ledger.cpu.entry(id).add(totals));
            amounts.runqueue.iter().for_each(|totals| ledger.runqueue.entry(id).add(totals));
            amounts.throttling.iter().for_each(|totals| ledger.throttling.entry(id).add(totals));
        }
        if hierarchy == self.blkio {
            for (device, totals) in &amounts.blkio {
                ledger.blkio.entry(id, *device).add(totals);
            }
        }
        if hierarchy == self.memory {
            amounts.oom_kills.iter().for_each(|kills| ledger.oom.entry(id).add(kills));
            amounts.page_faults.iter().for_each(|faults| ledger.page_faults.entry(id).add(faults));
        }
        if hierarchy == self.net {
            amounts.net.iter().for_each(|totals| ledger.net.entry(id).add(totals));
            if !amounts.stalls.is_empty() {
                ledger.stalls.entry(id).add(&amounts.stalls);
            }
        }
    }

    /// Closes the accounts of a cgroup that is gone. What was counted goes to `heir`, if there is one; the rest is returned.
    pub(super) fn close(&self, ledger: &mut Ledger, key: Key, heir: Option<u64>) -> Amounts {
        let mut rest = Amounts::default();
        match heir {
            // The next reading of the heir's files replaces its own.
            Some(heir) => {
                self.succeed(ledger, key, heir);
                self.add_read(ledger, key, &mut rest);
            }
            None => self.add(ledger, key, &mut rest),
        }
        rest.start_interval();
        rest
    }

    fn succeed(&self, ledger: &mut Ledger, (hierarchy, id): Key, heir: u64) {
        if hierarchy == self.cpu {
            ledger.cpu.succeed(id, heir);
            ledger.runqueue.succeed(id, heir);
        }
        if hierarchy == self.blkio {
            ledger.blkio.succeed(id, heir);
        }
        if hierarchy == self.memory {
            ledger.oom.succeed(id, heir);
        }
        if hierarchy == self.net {
            ledger.net.succeed(id, heir);
        }
    }

    /// Drops what is not `known`; it stays in the sums.
    pub(super) fn retain(&self, ledger: &mut Ledger, known: impl Fn(Key) -> bool) {
        ledger.cpu.retain(|id| known((self.cpu, id)));
        ledger.kernel_times.iter_mut().for_each(|times| times.retain(|id| known((self.cpu, id))));
        ledger.throttling.retain(|id| known((self.cpu, id)));
        ledger.runqueue.retain(|id| known((self.cpu, id)));
        ledger.blkio.retain(|id| known((self.blkio, id)));
        ledger.oom.retain(|id| known((self.memory, id)));
        ledger.page_faults.retain(|id| known((self.memory, id)));
        ledger.net.retain(|id| known((self.net, id)));
        ledger.stalls.retain(|id| known((self.net, id)));
    }

    /// Begins the rows of an owner's own cgroup: it has them also while it sleeps.
    pub(super) fn begin(&self, ledger: &mut Ledger, (hierarchy, id): Key) {
        if hierarchy == self.cpu {
            ledger.cpu.entry(id);
        }
        if hierarchy == self.memory {
            ledger.oom.entry(id);
        }
        if hierarchy == self.net {
            ledger.net.entry(id);
        }
    }
}
