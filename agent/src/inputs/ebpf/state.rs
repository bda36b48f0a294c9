//! What is remembered from one run of the agent to the next, in the `statefile`: the totals of what ended, and of what is
//! there those that the kernel keeps no sum of.
//!
//! Disks are remembered by name, since their numbers can change with a boot. Pure: JSON in, amounts out.

use std::collections::BTreeMap;
use std::sync::Arc;

use seismograf_ebpf::abi::{BlkioAmounts, NetAmounts};
use serde::{Deserialize, Serialize};

use super::accounts::Accounts;
use super::ended::Ended;
use super::host_totals::HostTotals;
use super::naming::Naming;
use crate::host::cgroupfs::figures::Throttling;
use crate::identity::series::Series;
use crate::ledger::amounts::Amounts;
use crate::ledger::blkio::BlkioTotals;
use crate::ledger::cpu::CpuTotals;
use crate::ledger::memory::PageFaults;

/// The state of the input.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    cgroups: Vec<SeriesState>,
    pods: Vec<SeriesState>,
}

/// The totals of one series; what was never counted is left out.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct SeriesState {
    tags: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<CpuTotals>,
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
}

#[derive(Debug, Serialize, Deserialize)]
struct NetState(#[serde(with = "NetFigures")] NetAmounts);

#[derive(Debug, Serialize, Deserialize)]
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
    /// What the accounts of an input that ends are to be remembered by.
    pub(super) fn of(accounts: &Accounts, naming: &Naming, host: &HostTotals) -> Self {
        let (mut cgroups, mut pods) = (accounts.ended.clone(), accounts.ended_pods.clone());
        for (key, known) in accounts.cgroups.iter() {
            let mut amounts = Amounts::default();
            accounts.areas.add(&accounts.ledger, key, &mut amounts);
            let rest = without_the_kernels(amounts);
            if let Some(series) = naming.row(known.owner()).and_then(|row| row.lasting.as_ref()) {
                cgroups.keep(series, &rest);
            }
            if let Some(series) = naming.pod_row(known.owner()).and_then(|row| row.lasting.as_ref()) {
                pods.keep(series, &rest);
            }
        }
        let written = |ended: &Ended| {
            ended.iter().map(|(series, amounts)| SeriesState::of(series, amounts, host)).collect()
        };
        Self { cgroups: written(&cgroups), pods: written(&pods) }
    }

    /// Has the accounts go on from here.
    pub(super) fn restore(self, accounts: &mut Accounts, host: &HostTotals) {
        for (states, ended) in [(self.cgroups, &mut accounts.ended), (self.pods, &mut accounts.ended_pods)] {
            for state in states {
                let series = Arc::new(Series::from_tags(&state.tags));
                ended.keep(&series, &state.amounts(host));
            }
        }
    }
}

/// Of what is there, the next run has CPU time, block I/O and OOM kills from the kernel, and the rest from its files.
fn without_the_kernels(amounts: Amounts) -> Amounts {
    let Amounts { cpu, net, .. } = amounts;
    let cpu = cpu.map(|cpu| CpuTotals { usage_ns: 0, interval_ns: 0, ..cpu });
    Amounts { cpu, net, ..Amounts::default() }
}

impl SeriesState {
    fn of(series: &Series, amounts: &Amounts, host: &HostTotals) -> Self {
        let disks = amounts.blkio.iter();
        let disks = disks.map(|(device, totals)| (host.disk_name(*device), DiskState(totals.amounts)));
        Self {
            tags: series.tags().iter().map(|(tag, value)| ((*tag).to_owned(), value.clone())).collect(),
            cpu: counted(amounts.cpu),
            net: counted(amounts.net).map(NetState),
            disks: disks.collect(),
            oom_kills: counted(amounts.oom_kills),
            page_faults: counted(amounts.page_faults),
            throttling: counted(amounts.throttling),
        }
    }

    /// A disk that is not there any more is forgotten.
    fn amounts(self, host: &HostTotals) -> Amounts {
        let disks = self.disks.into_iter().filter_map(|(name, DiskState(amounts))| {
            let (device, _) = host.disks.iter().find(|(_, disk)| disk.name == name)?;
            Some((*device, BlkioTotals { amounts, ..BlkioTotals::default() }))
        });
        Amounts {
            cpu: self.cpu,
            net: self.net.map(|NetState(amounts)| amounts),
            blkio: disks.collect(),
            oom_kills: self.oom_kills,
            page_faults: self.page_faults,
            throttling: self.throttling,
            ..Amounts::default()
        }
    }
}

/// What is 0 counts as never counted: a row has no fields that it would not have had.
fn counted<T: Default + PartialEq>(amount: Option<T>) -> Option<T> {
    amount.filter(|amount| *amount != T::default())
}
