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

/// The totals of one series; what is 0 is left out.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct SeriesState {
    tags: BTreeMap<String, String>,
    usage_ns: u64,
    context_switches: u64,
    /// Received, sent and dropped: bytes and packets each; retransmits.
    net: [u64; 7],
    /// By disk: bytes and operations read, written and discarded; errors, and the times.
    disks: BTreeMap<String, [u64; 9]>,
    oom_kills: u64,
    page_faults: [u64; 2],
    throttling: [u64; 3],
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
                let amounts = state.amounts(host);
                ended.keep(&Arc::new(Series::from_tags(&state.tags)), &amounts);
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
        let (cpu, net) = (amounts.cpu.unwrap_or_default(), amounts.net.unwrap_or_default());
        let faults = amounts.page_faults.unwrap_or_default();
        let throttling = amounts.throttling.unwrap_or_default();
        let disks = amounts.blkio.iter().map(|(device, totals)| {
            let a = &totals.amounts;
            let bytes = [a.read_bytes, a.write_bytes, a.discard_bytes];
            let [read, write, discard] = bytes;
            let figures = [
                read,
                write,
                discard,
                a.reads,
                a.writes,
                a.discards,
                a.errors,
                a.read_time_ns,
                a.write_time_ns,
            ];
            (host.disk_name(*device), figures)
        });
        Self {
            tags: series.tags().iter().map(|(tag, value)| ((*tag).to_owned(), value.clone())).collect(),
            usage_ns: cpu.usage_ns,
            context_switches: cpu.context_switches,
            net: [
                net.rx_bytes,
                net.rx_packets,
                net.tx_bytes,
                net.tx_packets,
                net.tx_dropped_bytes,
                net.tx_dropped_packets,
                net.tcp_retransmits,
            ],
            disks: disks.collect(),
            oom_kills: amounts.oom_kills.unwrap_or(0),
            page_faults: [faults.all, faults.major],
            throttling: [throttling.nr_periods, throttling.nr_throttled, throttling.throttled_ns],
        }
    }

    /// What was never counted stays so: a row has no fields that it would not have had.
    fn amounts(&self, host: &HostTotals) -> Amounts {
        let [
            rx_bytes,
            rx_packets,
            tx_bytes,
            tx_packets,
            tx_dropped_bytes,
            tx_dropped_packets,
            tcp_retransmits,
        ] = self.net;
        let net = NetAmounts {
            rx_bytes,
            rx_packets,
            tx_bytes,
            tx_packets,
            tx_dropped_bytes,
            tx_dropped_packets,
            tcp_retransmits,
        };
        let cpu =
            CpuTotals { usage_ns: self.usage_ns, context_switches: self.context_switches, interval_ns: 0 };
        let [all, major] = self.page_faults;
        let [nr_periods, nr_throttled, throttled_ns] = self.throttling;
        let disks = self.disks.iter().filter_map(|(name, figures)| {
            let (device, _) = host.disks.iter().find(|(_, disk)| disk.name == *name)?;
            let [
                read_bytes,
                write_bytes,
                discard_bytes,
                reads,
                writes,
                discards,
                errors,
                read_time_ns,
                write_time_ns,
            ] = *figures;
            let amounts = BlkioAmounts {
                read_bytes,
                write_bytes,
                discard_bytes,
                reads,
                writes,
                discards,
                errors,
                read_time_ns,
                write_time_ns,
            };
            Some((*device, BlkioTotals { amounts, ..BlkioTotals::default() }))
        });
        Amounts {
            cpu: counted(cpu),
            net: counted(net),
            blkio: disks.collect(),
            oom_kills: counted(self.oom_kills),
            page_faults: counted(PageFaults { all, major }),
            throttling: counted(Throttling { nr_periods, nr_throttled, throttled_ns }),
            ..Amounts::default()
        }
    }
}

fn counted<T: Default + PartialEq>(amount: T) -> Option<T> {
    (amount != T::default()).then_some(amount)
}
