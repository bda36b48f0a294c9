//! The totals of every row at one gather: the sum over its cgroups, and what its earlier instances had.
//!
//! Pure: accounts and readings in, sums out. Tags are those of `naming`, points are made in `rows`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::accounts::Accounts;
use super::ended::Ended;
use super::naming::Naming;
use super::readings::{MemoryAmounts, Readings};
use crate::host::proc::pressure::Pressure;
use crate::identity::cgroup::{Key, KnownCgroup};
use crate::identity::series::Series;
use crate::inputs::latencies::RowLatencies;
use crate::ledger::amounts::Amounts;

/// The totals of one row, of cgroups or of pods.
#[derive(Clone, Debug, Default)]
pub(super) struct RowTotals {
    pub(super) amounts: Amounts,
    /// Of one CPU, over the interval.
    pub(super) usage_percent: Option<f64>,
    pub(super) memory: Option<MemoryAmounts>,
    /// By resource and kind; the totals are in `amounts`.
    pub(super) pressure: BTreeMap<(&'static str, &'static str), Pressure>,
    /// Whether one of its cgroups is there in the hierarchy of memory.
    pub(super) has_memory: bool,
}

/// What has no path, in this interval.
#[derive(Debug, Default)]
pub(super) struct Unresolved {
    pub(super) n: i64,
    pub(super) cpu_ns: u64,
    pub(super) blkio_bytes: u64,
    pub(super) net_bytes: u64,
}

/// The totals of every row.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) cgroups: HashMap<Arc<Series>, RowTotals>,
    pub(super) pods: HashMap<Arc<Series>, RowTotals>,
    pub(super) unresolved: Unresolved,
}

impl Totals {
    /// Adds up the rows that `naming` has.
    pub(super) fn new(accounts: &Accounts, naming: &Naming, readings: &Readings, now: Instant) -> Self {
        let (n_owners, n_pods) = naming.n_rows();
        let mut totals = Self {
            cgroups: HashMap::with_capacity(n_owners),
            pods: HashMap::with_capacity(n_pods),
            unresolved: unresolved(accounts),
        };
        for (key, known) in accounts.cgroups.iter() {
            let share = usage_percent(accounts, naming, (key, known), now);
            if let Some(row) = naming.row(known.owner()) {
                let row = entry(&mut totals.cgroups, &row.series, &accounts.ended);
                row.add(accounts, (key, known), share);
                row.add_readings(accounts, key, readings);
            }
            if let Some(row) = naming.pod_row(known.owner()) {
                let row = entry(&mut totals.pods, &row.series, &accounts.ended_pods);
                row.add(accounts, (key, known), share);
            }
        }
        for (uid, memory) in &readings.pods {
            if let Some(row) = naming.row_of_pod(uid)
                && let Some(row) = totals.pods.get_mut(&row.series)
            {
                row.memory.get_or_insert_default().add(memory);
            }
        }
        totals
    }

    /// How long what each row did in this interval took; rows that did nothing of the kind are left out.
    pub(super) fn latencies(&self) -> Vec<RowLatencies> {
        let mut all = Vec::new();
        for (series, row) in &self.cgroups {
            let mut latencies = RowLatencies::default();
            for disk in row.amounts.blkio.values() {
                latencies.reads.merge(&disk.reads);
                latencies.writes.merge(&disk.writes);
            }
            if let Some(runqueue) = &row.amounts.runqueue {
                latencies.waits.merge(&runqueue.interval);
            }
            if latencies != RowLatencies::default() {
                let tags = series.tags().iter();
                latencies.tags = tags.map(|(key, value)| ((*key).into(), value.clone())).collect();
                all.push(latencies);
            }
        }
        all
    }
}

/// The totals of a row; it begins with what its earlier instances had.
fn entry<'a>(
    rows: &'a mut HashMap<Arc<Series>, RowTotals>,
    series: &Arc<Series>,
    ended: &Ended,
) -> &'a mut RowTotals {
    rows.entry(Arc::clone(series)).or_insert_with(|| {
        let amounts = ended.get(series).cloned().unwrap_or_default();
        RowTotals { amounts, ..RowTotals::default() }
    })
}

impl RowTotals {
    fn add(&mut self, accounts: &Accounts, (key, known): (Key, &KnownCgroup), share: Option<f64>) {
        accounts.areas.add(&accounts.ledger, key, &mut self.amounts);
        if let Some(share) = share {
            *self.usage_percent.get_or_insert_default() += share;
        }
        self.has_memory |= key.0 == accounts.areas.memory && known.is_own() && known.is_alive();
    }

    fn add_readings(&mut self, accounts: &Accounts, (hierarchy, id): Key, readings: &Readings) {
        if hierarchy == accounts.areas.memory
            && let Some(reading) = readings.memory.get(&id)
        {
            self.memory.get_or_insert_default().add(&reading.amounts);
        }
        if hierarchy == accounts.areas.net
            && let Some(pressures) = readings.pressure.get(&id)
        {
            for (resource, kinds) in pressures {
                for (kind, pressure) in kinds {
                    let highest = self.pressure.entry((*resource, *kind)).or_default();
                    highest.avg10 = highest.avg10.max(pressure.avg10);
                    highest.avg60 = highest.avg60.max(pressure.avg60);
                    highest.avg300 = highest.avg300.max(pressure.avg300);
                }
            }
        }
    }
}

/// The share of one CPU that a cgroup had over the interval; `None` where it has no CPU time, or the interval no length.
fn usage_percent(
    accounts: &Accounts,
    naming: &Naming,
    ((hierarchy, id), known): (Key, &KnownCgroup),
    now: Instant,
) -> Option<f64> {
    if hierarchy != accounts.areas.cpu {
        return None;
    }
    let totals = accounts.ledger.cpu.get(id)?;
    let elapsed = now.saturating_duration_since(naming.interval_began(known.owner())?);
    (!elapsed.is_zero()).then(|| 100.0 * totals.interval_ns as f64 / elapsed.as_nanos() as f64)
}

/// What the ledger has of cgroups that have no path.
fn unresolved(accounts: &Accounts) -> Unresolved {
    let Accounts { areas, ledger, cgroups, .. } = accounts;
    let mut unresolved = Unresolved::default();
    for (id, totals) in ledger.cpu.rows() {
        if cgroups.get((areas.cpu, id)).is_none() {
            unresolved.n += 1;
            unresolved.cpu_ns += totals.usage_ns;
        }
    }
    for (id, _, totals) in ledger.blkio.rows() {
        if cgroups.get((areas.blkio, id)).is_none() {
            unresolved.n += 1;
            unresolved.blkio_bytes += totals.amounts.read_bytes + totals.amounts.write_bytes;
        }
    }
    for (id, totals) in ledger.net.rows() {
        if cgroups.get((areas.net, id)).is_none() {
            unresolved.n += 1;
            unresolved.net_bytes += totals.rx_bytes + totals.tx_bytes;
        }
    }
    unresolved
}
