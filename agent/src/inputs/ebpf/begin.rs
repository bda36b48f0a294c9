//! Has totals begin where the kernel's own stand, for the owners that are there when the probes start.
//!
//! The kernel's sums and the accounts are not read at one instant. So the accounts are brought up to date before and after
//! the sums are read, and what ran in between is read again, alone. Pure: `reader` reads the sums.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use seismograf_ebpf::abi::BlkioAmounts;

use super::accounts::Accounts;
use crate::host::cgroupfs::figures::DeviceIo;
use crate::host::hierarchies::HierarchyId;
use crate::identity::cgroup::Owner;
use crate::identity::path;
use crate::ledger::amounts::Amounts;
use crate::ledger::blkio::Device;

/// What is still read then is read often enough: something in it runs all the time, and what a round misses of it is what
/// it ran while one file was read.
const MAX_ROUNDS: u32 = 4;

/// The kernel's sums of one owner, everything below it included. `None` is what it does not keep.
#[derive(Clone, Debug, Default)]
pub(super) struct KernelSums {
    pub(super) cpu_ns: Option<u64>,
    pub(super) blkio: Vec<DeviceIo>,
    pub(super) oom_kills: Option<u64>,
}

/// What the accounts have of each owner, by its number.
pub(super) type Counted = HashMap<u64, Amounts>;

/// The owners whose totals are still to begin.
#[derive(Debug, Default)]
pub(super) struct Round {
    owners: Vec<Arc<Owner>>,
    n: u32,
}

impl Round {
    /// All owners.
    pub(super) fn first(accounts: &Accounts) -> Self {
        let owners = accounts.cgroups.owners().filter(|owner| owner.identity.is_owner());
        Self { owners: owners.cloned().collect(), n: 1 }
    }

    /// What has rows, whether it is an owner's or of a cgroup that is part of none.
    pub(super) fn of_all(accounts: &Accounts) -> Self {
        Self { owners: accounts.cgroups.owners().cloned().collect(), n: 1 }
    }

    /// Whether all have begun.
    pub(super) fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// The owners.
    pub(super) fn owners(&self) -> &[Arc<Owner>] {
        &self.owners
    }

    /// What the accounts have of each owner now.
    pub(super) fn counted(accounts: &Accounts) -> Counted {
        let mut counted = Counted::new();
        for (key, known) in accounts.cgroups.iter() {
            // What an instance before this one had is in no sum of the kernel any more.
            if !accounts.is_of_earlier_instance(key) {
                let counted = counted.entry(known.owner().id).or_default();
                accounts.areas.add(&accounts.ledger, key, counted);
            }
        }
        counted
    }

    /// Begins the totals of those that did not run since `before`; returns the others. `sums` are by the owner's number, and
    /// the accounts have what came until after they were read.
    pub(super) fn finish(
        self,
        accounts: &mut Accounts,
        before: &Counted,
        sums: &HashMap<u64, KernelSums>,
    ) -> Self {
        let after = Self::counted(accounts);
        let usage_ns = |counted: Option<&Amounts>| counted?.cpu.map(|cpu| cpu.usage_ns);
        let ran = |owner: &Owner| {
            let [then, now] = [before.get(&owner.id), after.get(&owner.id)];
            // What is written back on its behalf is done while it sleeps.
            usage_ns(then) != usage_ns(now) || then.map(|of| &of.blkio) != now.map(|of| &of.blkio)
        };
        let above = self.above();
        let mut again: HashSet<u64> = HashSet::new();
        if self.n < MAX_ROUNDS {
            again.extend(self.owners.iter().filter(|owner| ran(owner)).map(|owner| owner.id));
            // The sum of one has those below it too, so they are read together.
            for (below, above) in &above {
                if again.contains(below) || again.contains(above) {
                    again.extend([*below, *above]);
                }
            }
        }
        let ids = own_ids(accounts);
        for owner in self.owners.iter().filter(|owner| !again.contains(&owner.id)) {
            let Some(own) = sums.get(&owner.id) else { continue };
            let below = sums_below(owner, &above, sums);
            let id = |hierarchy| ids.get(&(hierarchy, owner.id)).copied();
            begin(accounts, id, own, &below, after.get(&owner.id).unwrap_or(&Amounts::default()));
        }
        let owners = self.owners.into_iter().filter(|owner| again.contains(&owner.id)).collect();
        Self { owners, n: self.n + 1 }
    }

    /// Has OOM kills stand where the kernel's own counts do. What was guessed stays where its cgroup is gone, and with it the
    /// kernel's count.
    pub(super) fn settle_kills(&self, accounts: &mut Accounts, sums: &HashMap<u64, KernelSums>) {
        accounts.take_guessed_kills_back(|owner| {
            sums.get(&owner.id).is_some_and(|sums| sums.oom_kills.is_some())
        });
        let (counted, above, ids) = (Self::counted(accounts), self.above(), own_ids(accounts));
        for owner in &self.owners {
            let own = sums.get(&owner.id).zip(ids.get(&(accounts.areas.memory, owner.id)));
            let Some((own, id)) = own else { continue };
            let below = sums_below(owner, &above, sums);
            let counted = counted.get(&owner.id).and_then(|counted| counted.oom_kills);
            begin_kills(accounts, *id, own, &below, counted);
        }
    }

    /// Of each owner that is below another, the next one above it.
    fn above(&self) -> HashMap<u64, u64> {
        let by_path: HashMap<&str, u64> =
            self.owners.iter().map(|owner| (owner.identity.path.as_str(), owner.id)).collect();
        let next = |owner: &Arc<Owner>| {
            let above = path::above(&owner.identity.path).find_map(|above| by_path.get(above));
            above.map(|above| (owner.id, *above))
        };
        self.owners.iter().filter_map(next).collect()
    }
}

/// The sums of those of which an owner is the next one `above`.
fn sums_below<'a>(
    owner: &Owner,
    above: &HashMap<u64, u64>,
    sums: &'a HashMap<u64, KernelSums>,
) -> Vec<&'a KernelSums> {
    let below = above.iter().filter(|(_, above)| **above == owner.id);
    below.filter_map(|(below, _)| sums.get(below)).collect()
}

/// The id of each owner's own cgroup in each hierarchy, by the hierarchy and the owner's number.
fn own_ids(accounts: &Accounts) -> HashMap<(HierarchyId, u64), u64> {
    accounts.cgroups.own().map(|((hierarchy, id), owner)| ((hierarchy, owner.id), id)).collect()
}

/// Adds to the totals of one owner what the kernel has counted more than the records told of, without those `below` it.
fn begin(
    accounts: &mut Accounts,
    id: impl Fn(HierarchyId) -> Option<u64>,
    own: &KernelSums,
    below: &[&KernelSums],
    counted: &Amounts,
) {
    let Accounts { areas, ledger, .. } = accounts;
    let sum = |of: fn(&KernelSums) -> Option<u64>| below.iter().filter_map(|sums| of(sums)).sum::<u64>();
    if let (Some(id), Some(ns)) = (id(areas.cpu), own.cpu_ns) {
        let counted = counted.cpu.map_or(0, |cpu| cpu.usage_ns);
        let before = ns.saturating_sub(sum(|sums| sums.cpu_ns)).saturating_sub(counted);
        ledger.cpu.entry(id).usage_ns += before;
    }
    if let Some(id) = id(areas.blkio) {
        for io in &own.blkio {
            let device = Device { major: io.device.0, minor: io.device.1 };
            let below = below.iter().flat_map(|sums| &sums.blkio).filter(|other| other.device == io.device);
            let mut before = amounts(io);
            below.for_each(|below| take_off(&mut before, &amounts(below)));
            if let Some(counted) = counted.blkio.get(&device) {
                take_off(&mut before, &counted.amounts);
            }
            ledger.blkio.entry(id, device).amounts += &before;
        }
    }
    if let Some(id) = id(areas.memory) {
        begin_kills(accounts, id, own, below, counted.oom_kills);
    }
}

/// The same of OOM kills.
fn begin_kills(
    Accounts { areas, ledger, .. }: &mut Accounts,
    id: u64,
    own: &KernelSums,
    below: &[&KernelSums],
    counted: Option<u64>,
) {
    let Some(kills) = own.oom_kills else { return };
    // In v1 each cgroup's count is of itself alone.
    let is_sum = areas.memory == HierarchyId::UNIFIED;
    let below = below.iter().filter_map(|sums| sums.oom_kills.filter(|_| is_sum)).sum::<u64>();
    *ledger.oom.entry(id) += kills.saturating_sub(below).saturating_sub(counted.unwrap_or(0));
}

fn amounts(io: &DeviceIo) -> BlkioAmounts {
    let [read_bytes, write_bytes, _, _, discard_bytes, _] = io.bytes.map(Option::unwrap_or_default);
    let [reads, writes, _, _, discards, _] = io.operations.map(Option::unwrap_or_default);
    BlkioAmounts {
        read_bytes,
        write_bytes,
        discard_bytes,
        reads,
        writes,
        discards,
        ..BlkioAmounts::default()
    }
}

fn take_off(amounts: &mut BlkioAmounts, others: &BlkioAmounts) {
    for (amount, other) in [
        (&mut amounts.read_bytes, others.read_bytes),
        (&mut amounts.write_bytes, others.write_bytes),
        (&mut amounts.discard_bytes, others.discard_bytes),
        (&mut amounts.reads, others.reads),
        (&mut amounts.writes, others.writes),
        (&mut amounts.discards, others.discards),
    ] {
        *amount = amount.saturating_sub(other);
    }
}
