//! What is remembered from one run of the agent to the next, in the `statefile`: what ended, what each cgroup that is there
//! had, and with pinned probes where in the ring buffer that is.
//!
//! A cgroup's number is its own until the next boot, so within one a run goes on with each of them. What of it is gone, and all
//! of it after a boot, goes on under the tags of its row. Disks are remembered by name, since their numbers can change with
//! a boot. Pure: JSON in, amounts out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use seismograf_ebpf::abi::{BlkioAmounts, HostBytes, NetAmounts};
use serde::{Deserialize, Serialize};

use super::accounts::Accounts;
use super::ended::Ended;
use super::host_totals::HostTotals;
use super::naming::{Naming, OwnerRow};
use crate::host::cgroupfs::figures::Throttling;
use crate::host::hierarchies::HierarchyId;
use crate::identity::series::Series;
use crate::kernel::drain::{Counts, Position};
use crate::kernel::early::Early;
use crate::ledger::amounts::Amounts;
use crate::ledger::blkio::BlkioTotals;
use crate::ledger::cpu::{CpuTotals, KernelTimes};
use crate::ledger::memory::PageFaults;
use crate::ledger::runqueue::RunqueueTotals;
use crate::point::Tags;
use crate::service::origin::{self, Origin};

/// The state of the input.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    /// The boot that the numbers of cgroups are of.
    boot: String,
    /// What ended, by the tags of rows of cgroups.
    cgroups: Vec<SeriesState>,
    /// Likewise, of pods.
    pods: Vec<SeriesState>,
    owners: Vec<OwnerState>,
    /// When these totals were 0; `None` of an older version.
    pub(super) began: Option<Origin>,
    pub(super) pinned: Option<PinnedState>,
}

/// How far the records of pinned probes are in the accounts, and what these have beside the totals of cgroups.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PinnedState {
    pub(super) position: Position,
    pub(super) counts: Counts,
    /// Absent in the file of an older version, which read nothing early.
    #[serde(default)]
    pub(super) early: Early,
    lost_events: u64,
    pub(super) host_at_start: HostTotals,
    pub(super) host_before: HostTotals,
    sums: SumsState,
    /// Absent in the file of an older version.
    #[serde(default)]
    kernel_times: Option<KernelTimes>,
}

/// The sums over all cgroups, forgotten ones included.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct SumsState {
    rows: u64,
    cpu: CpuTotals,
    runqueue: RunqueueTotals,
    net: NetState,
    host_rx_bytes: u64,
    host_tx_bytes: u64,
    oom_kills: u64,
    disks: BTreeMap<String, DiskState>,
}

/// The resources that tasks stand still for.
const STALLS: [&str; 3] = ["cpu", "memory", "io"];

/// An owner, what its rows were called, and its cgroups with what each had.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct OwnerState {
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<RowState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<RowState>,
    cgroups: Vec<CgroupState>,
}

#[derive(Debug, Serialize, Deserialize)]
struct RowState {
    tags: Tags,
    /// Those under which what ended goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    lasting: Option<Tags>,
}

#[derive(Debug, Serialize, Deserialize)]
struct CgroupState {
    hierarchy: u32,
    id: u64,
    path: String,
    /// Nothing of it can follow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_released: bool,
    #[serde(flatten)]
    amounts: AmountsState,
}

/// The totals of one series.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct SeriesState {
    tags: Tags,
    #[serde(flatten)]
    amounts: AmountsState,
}

/// Totals; what was never counted is left out.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct AmountsState {
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<CpuTotals>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runqueue: Option<RunqueueTotals>,
    #[serde(skip_serializing_if = "Option::is_none")]
    net: Option<NetState>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    disks: BTreeMap<String, DiskState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oom_kills: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page_faults: Option<PageFaults>,
    #[serde(skip_serializing_if = "Option::is_none")]
    throttling: Option<Throttling>,
    /// By resource and kind, `cpu some`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    stalls: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct NetState(#[serde(with = "NetFigures")] NetAmounts);

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct DiskState(#[serde(with = "DiskFigures")] BlkioAmounts);

/// How [`NetAmounts`] are written.
#[derive(Serialize, Deserialize)]
#[serde(remote = "NetAmounts")]
struct NetFigures {
    rx_bytes: u64,
    rx_packets: u64,
    tx_bytes: u64,
    tx_packets: u64,
    tx_dropped_bytes: u64,
    tx_dropped_packets: u64,
    tcp_retransmits: u64,
}

/// How [`BlkioAmounts`] are written.
#[derive(Serialize, Deserialize)]
#[serde(remote = "BlkioAmounts")]
struct DiskFigures {
    read_bytes: u64,
    write_bytes: u64,
    discard_bytes: u64,
    reads: u64,
    writes: u64,
    discards: u64,
    errors: u64,
    read_time_ns: u64,
    write_time_ns: u64,
}

impl State {
    /// What the accounts are to be remembered by. `naming` is that of the latest gather, and `host` has the disks' names.
    pub(super) fn of(accounts: &Accounts, naming: &Naming, host: &HostTotals, boot: &str) -> Self {
        let remembered = &accounts.remembered;
        let mut owners: HashMap<u64, OwnerState> = HashMap::new();
        for (key, known) in accounts.cgroups.iter() {
            let mut amounts = Amounts::default();
            accounts.areas.add(&accounts.ledger, key, &mut amounts);
            let amounts = AmountsState::of(&amounts, host);
            if amounts.is_empty() {
                continue;
            }
            let owner = owners.entry(known.owner().id).or_insert_with(|| OwnerState {
                row: naming.row(known.owner()).or_else(|| remembered.row(known.owner())).map(RowState::of),
                pod: naming
                    .pod_row(known.owner())
                    .or_else(|| remembered.pod_row(known.owner()))
                    .map(RowState::of),
                cgroups: Vec::new(),
            });
            let (HierarchyId(hierarchy), id) = key;
            let (path, is_released) = (known.path().to_owned(), known.is_released());
            owner.cgroups.push(CgroupState { hierarchy, id, path, is_released, amounts });
        }
        let written = |ended: &Ended| {
            let series = ended.iter();
            series.map(|(series, amounts)| SeriesState::of(series, amounts, host)).collect()
        };
        Self {
            boot: boot.to_owned(),
            cgroups: written(&accounts.ended),
            pods: written(&accounts.ended_pods),
            owners: owners.into_values().collect(),
            began: Some(origin::of_kept()),
            pinned: None,
        }
    }

    /// The number of the ring buffer that it goes on with, in the boot that it is of.
    pub(super) fn ring(&self) -> Option<u32> {
        Some(self.pinned.as_ref()?.position.ring)
    }

    /// Has the accounts go on from here. What is not of this boot goes on under its tags.
    pub(super) fn restore(self, accounts: &mut Accounts, host: &HostTotals, boot: &str, now: Instant) {
        for (states, ended) in [(self.cgroups, &mut accounts.ended), (self.pods, &mut accounts.ended_pods)] {
            for SeriesState { tags, amounts } in states {
                ended.keep(&Arc::new(Series::from_tags(&tags)), &amounts.amounts(host));
            }
        }
        let is_this_boot = self.boot == boot;
        for OwnerState { row, pod, cgroups } in self.owners {
            let (row, pod) = (row.map(RowState::row), pod.map(RowState::row));
            for CgroupState { hierarchy, id, path, is_released, amounts } in cgroups {
                let (key, amounts) = ((HierarchyId(hierarchy), id), amounts.amounts(host));
                if is_this_boot {
                    accounts.resume(key, (&path, is_released), &amounts, now);
                    if let Some(known) = accounts.cgroups.get(key) {
                        accounts.remembered.add(known.owner(), row.as_ref(), pod.as_ref());
                    }
                } else {
                    accounts.end(&amounts, row.as_ref(), pod.as_ref());
                }
            }
        }
    }
}

impl PinnedState {
    pub(super) fn of(
        accounts: &Accounts,
        (position, counts, early): (Position, Counts, Early),
        host_at_start: &HostTotals,
        host: &HostTotals,
    ) -> Self {
        let ledger = &accounts.ledger;
        let disks = ledger.blkio.devices().iter();
        Self {
            position,
            counts,
            early,
            lost_events: accounts.lost_events,
            kernel_times: ledger.kernel_times.clone(),
            host_at_start: host_at_start.clone(),
            host_before: host.clone(),
            sums: SumsState {
                rows: ledger.rows,
                cpu: *ledger.cpu.sum(),
                runqueue: ledger.runqueue.sum().clone(),
                net: NetState(*ledger.net.sum()),
                host_rx_bytes: ledger.host_net.rx_bytes,
                host_tx_bytes: ledger.host_net.tx_bytes,
                oom_kills: *ledger.oom.sum(),
                disks: disks
                    .map(|(device, amounts)| (host.disk_name(*device).to_string(), DiskState(*amounts)))
                    .collect(),
            },
        }
    }

    /// Has the sums go on from here.
    pub(super) fn restore(self, accounts: &mut Accounts) {
        let Self { sums, host_before, lost_events, kernel_times, .. } = self;
        accounts.lost_events = lost_events;
        let ledger = &mut accounts.ledger;
        ledger.kernel_times = kernel_times;
        ledger.rows = sums.rows;
        ledger.host_net = HostBytes { rx_bytes: sums.host_rx_bytes, tx_bytes: sums.host_tx_bytes };
        ledger.cpu.resume_sum(sums.cpu);
        ledger.runqueue.resume_sum(sums.runqueue);
        ledger.net.resume_sum(sums.net.0);
        ledger.oom.resume_sum(sums.oom_kills);
        for (name, DiskState(amounts)) in sums.disks {
            if let Some(device) = host_before.disk(&name) {
                ledger.blkio.resume_sum(device, amounts);
            }
        }
    }
}

impl RowState {
    fn of(row: &OwnerRow) -> Self {
        Self { tags: written(&row.series), lasting: row.lasting.as_deref().map(written) }
    }

    fn row(self) -> OwnerRow {
        let series = |tags: &Tags| Arc::new(Series::from_tags(tags));
        OwnerRow { series: series(&self.tags), lasting: self.lasting.as_ref().map(series) }
    }
}

fn written(series: &Series) -> Tags {
    series.tags().iter().map(|(tag, value)| ((*tag).into(), value.clone())).collect()
}

impl SeriesState {
    fn of(series: &Series, amounts: &Amounts, host: &HostTotals) -> Self {
        Self { tags: written(series), amounts: AmountsState::of(amounts, host) }
    }
}

impl AmountsState {
    fn of(amounts: &Amounts, host: &HostTotals) -> Self {
        let disks = amounts.blkio.iter();
        let disks =
            disks.map(|(device, totals)| (host.disk_name(*device).to_string(), DiskState(totals.amounts)));
        let stalls = amounts.stalls.iter().filter(|(_, us)| **us > 0);
        Self {
            cpu: counted(amounts.cpu),
            runqueue: amounts.runqueue.as_deref().filter(|totals| totals.waits > 0).cloned(),
            net: counted(amounts.net).map(NetState),
            disks: disks.collect(),
            oom_kills: counted(amounts.oom_kills),
            page_faults: counted(amounts.page_faults),
            throttling: counted(amounts.throttling),
            stalls: stalls.map(|((resource, kind), us)| (format!("{resource} {kind}"), *us)).collect(),
        }
    }

    fn is_empty(&self) -> bool {
        let Self { cpu, runqueue, net, disks, oom_kills, page_faults, throttling, stalls } = self;
        cpu.is_none()
            && runqueue.is_none()
            && net.is_none()
            && disks.is_empty()
            && oom_kills.is_none()
            && page_faults.is_none()
            && throttling.is_none()
            && stalls.is_empty()
    }

    /// A disk that is not there any more is forgotten.
    fn amounts(self, host: &HostTotals) -> Amounts {
        let disks = self.disks.into_iter().filter_map(|(name, DiskState(amounts))| {
            Some((host.disk(&name)?, BlkioTotals { amounts, ..BlkioTotals::default() }))
        });
        let stalls = self.stalls.into_iter().filter_map(|(name, us)| {
            let kinds = STALLS.into_iter().flat_map(|resource| [(resource, "some"), (resource, "full")]);
            let mut named = kinds.filter(|(resource, kind)| name == format!("{resource} {kind}"));
            Some((named.next()?, us))
        });
        Amounts {
            cpu: self.cpu,
            runqueue: self.runqueue.map(Box::new),
            net: self.net.map(|NetState(amounts)| amounts),
            blkio: disks.collect(),
            oom_kills: self.oom_kills,
            page_faults: self.page_faults,
            throttling: self.throttling,
            stalls: stalls.collect(),
        }
    }
}

/// What is 0 counts as never counted: a row has no fields that it would not have had.
fn counted<T: Default + PartialEq>(amount: Option<T>) -> Option<T> {
    amount.filter(|amount| *amount != T::default())
}
