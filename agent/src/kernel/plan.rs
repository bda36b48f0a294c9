//! Which programs there are: each probe, its group, its hooks, and what it needs of the kernel.
//!
//! One table. Nothing is loaded here: `load` goes through the table and reports the state of each group.

use aya::programs::CgroupSkbAttachType;
use seismograf_ebpf::fields::Area;
use serde::Deserialize;

use super::cpu_source::CpuSource;
use crate::host::hierarchies::Hierarchies;

/// A probe group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    /// CPU time and context switches.
    Cpu,
    /// Block I/O.
    Blkio,
    /// IP packets and bytes.
    Net,
    /// Waiting for a CPU (optional).
    Runqueue,
    /// TCP retransmits (optional).
    Tcp,
}

impl Probe {
    /// All probe groups.
    pub const ALL: [Self; 5] = [Self::Cpu, Self::Blkio, Self::Net, Self::Runqueue, Self::Tcp];

    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Blkio => "blkio",
            Self::Net => "net",
            Self::Runqueue => "runqueue",
            Self::Tcp => "tcp",
        }
    }
}

/// What is requested of the probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeOptions {
    /// The groups that are loaded.
    pub probes: Vec<Probe>,
    /// Size of the ring buffer; rounded up to a power of two of pages.
    pub ring_bytes: u32,
    /// Have the kernel measure what each program costs.
    pub probe_costs: bool,
    /// Put offsets into the instructions, where the kernel takes them so.
    pub fold: bool,
    /// Where CPU time comes from, where that can be.
    pub cpu_source: CpuSource,
}

/// Whether a group of programs is at work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupState {
    /// It is attached.
    On,
    /// It is not, for a reason.
    Off {
        /// What is in the way.
        why: String,
        /// What to do about it.
        advice: String,
    },
    /// The configuration does not request it.
    NotAsked,
}

/// A group of programs that is on or off as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// One of the configured probes.
    Probe(Probe),
    /// The life cycle of cgroups, which all others rely on for names.
    Lifecycle,
    /// OOM-killed processes; always requested, because it costs nothing while nothing happens.
    Oom,
}

impl Group {
    /// The area that it is the probes of.
    pub(super) fn area(self) -> Area {
        match self {
            Self::Probe(Probe::Cpu) => Area::Cpu,
            Self::Probe(Probe::Blkio) => Area::Blkio,
            Self::Probe(Probe::Net) => Area::Net,
            Self::Probe(Probe::Runqueue) => Area::Runqueue,
            Self::Probe(Probe::Tcp) => Area::Tcp,
            Self::Lifecycle => Area::Lifecycle,
            Self::Oom => Area::Oom,
        }
    }

    /// Its name, as in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Probe(probe) => probe.name(),
            Self::Lifecycle => "lifecycle",
            Self::Oom => "oom",
        }
    }
}

/// What is on, and why the rest is not.
#[derive(Clone, Debug)]
pub struct Report {
    /// Each group, in a fixed order.
    pub groups: Vec<(Group, GroupState)>,
    /// Other agents whose probes are at work on this machine, as far as this process may know.
    pub others: usize,
    /// The hierarchies that the figures are of.
    pub hierarchies: Hierarchies,
    /// Bytes of kernel memory that the maps take.
    pub map_bytes: u64,
    /// Whether the network programs tell the host's own network namespace from others.
    pub sees_host_net: bool,
    /// Where CPU time comes from.
    pub cpu_source: CpuSource,
}

impl Report {
    /// What is off and why, one for each cause: the groups, what is in the way, what to do about it.
    #[must_use]
    pub fn off(&self) -> Vec<(Vec<Group>, &str, &str)> {
        let mut causes: Vec<(Vec<Group>, &str, &str)> = Vec::new();
        for (group, state) in &self.groups {
            let GroupState::Off { why, advice } = state else { continue };
            match causes.iter_mut().find(|(_, known, _)| known == why) {
                Some((groups, ..)) => groups.push(*group),
                None => causes.push((vec![*group], why, advice)),
            }
        }
        causes
    }

    /// Whether a probe is at work.
    #[must_use]
    pub fn is_on(&self, probe: Probe) -> bool {
        self.is_group_on(Group::Probe(probe))
    }

    /// Whether anything is at work.
    #[must_use]
    pub fn is_any_on(&self) -> bool {
        self.groups.iter().any(|(_, state)| *state == GroupState::On)
    }

    /// Whether a group is at work.
    #[must_use]
    pub fn is_group_on(&self, wanted: Group) -> bool {
        self.groups.iter().any(|(group, state)| *group == wanted && *state == GroupState::On)
    }
}

/// Where a program is attached.
#[derive(Clone, Copy)]
pub(super) enum Hook {
    TracePoint(&'static str),
    Skb(CgroupSkbAttachType),
    /// Run on demand to write a cache back, and attached to where a CPU goes offline.
    Flush,
    /// Run on demand, once for each object of this kind.
    Iterator(&'static str),
    /// Run on demand, for a CPU that is left alone.
    Look,
}

/// A program that every agent has once, by which agents are counted. The kernel keeps 15 bytes of a name, so no other one may
/// begin with those.
pub(super) const OF_EVERY_AGENT: &str = "oom_mark_victim";

/// A set of programs that make up a group. Where there are several sets, the first that loads is used.
pub(super) type Programs = &'static [(&'static str, Hook)];

/// What a group is made of, and what it needs of the kernel.
pub(super) struct Plan {
    pub(super) group: Group,
    /// Needs a helper that reads kernel memory, which lockdown can forbid.
    pub(super) reads_kernel: bool,
    pub(super) sets: &'static [Programs],
}

/// Each group, in the order in which they are loaded and attached.
pub(super) const PLANS: &[Plan] = &[
    // First, so that no cgroup is made unseen between the walk and the other probes.
    Plan {
        group: Group::Lifecycle,
        reads_kernel: true,
        sets: &[&[
            ("lifecycle_cgroup_mkdir", Hook::TracePoint("cgroup_mkdir")),
            ("lifecycle_cgroup_rmdir", Hook::TracePoint("cgroup_rmdir")),
            ("lifecycle_cgroup_release", Hook::TracePoint("cgroup_release")),
            ("lifecycle_cgroup_rename", Hook::TracePoint("cgroup_rename")),
        ]],
    },
    Plan {
        group: Group::Oom,
        reads_kernel: true,
        sets: &[&[("oom_mark_victim", Hook::TracePoint("mark_victim"))]],
    },
    Plan {
        group: Group::Probe(Probe::Cpu),
        reads_kernel: false,
        sets: &[&[("cpu_sched_switch", Hook::TracePoint("sched_switch"))]],
    },
    Plan {
        group: Group::Probe(Probe::Blkio),
        reads_kernel: false,
        sets: &[&[("blkio_block_rq_complete", Hook::TracePoint("block_rq_complete"))]],
    },
    Plan {
        group: Group::Probe(Probe::Net),
        reads_kernel: false,
        sets: &[
            // Before Linux 6.2, programs at a cgroup have no typed packets.
            &[
                ("net_kfree_skb", Hook::TracePoint("kfree_skb")),
                ("net_ingress_typed", Hook::Skb(CgroupSkbAttachType::Ingress)),
                ("net_egress_typed", Hook::Skb(CgroupSkbAttachType::Egress)),
            ],
            // Before Linux 5.17, the kernel does not say why a packet was dropped.
            &[
                ("net_kfree_skb", Hook::TracePoint("kfree_skb")),
                ("net_ingress", Hook::Skb(CgroupSkbAttachType::Ingress)),
                ("net_egress", Hook::Skb(CgroupSkbAttachType::Egress)),
            ],
            &[
                ("net_ingress", Hook::Skb(CgroupSkbAttachType::Ingress)),
                ("net_egress", Hook::Skb(CgroupSkbAttachType::Egress)),
            ],
            &[
                ("net_ingress_nested", Hook::Skb(CgroupSkbAttachType::Ingress)),
                ("net_egress_nested", Hook::Skb(CgroupSkbAttachType::Egress)),
            ],
        ],
    },
    Plan {
        group: Group::Probe(Probe::Runqueue),
        reads_kernel: false,
        sets: &[&[("runqueue_sched_switch", Hook::TracePoint("sched_switch"))]],
    },
    Plan {
        group: Group::Probe(Probe::Tcp),
        reads_kernel: true,
        sets: &[
            &[
                ("tcp_retransmit_skb", Hook::TracePoint("tcp_retransmit_skb")),
                ("tcp_retransmit_synack", Hook::TracePoint("tcp_retransmit_synack")),
            ],
            &[
                ("tcp_retransmit_skb_nested", Hook::TracePoint("tcp_retransmit_skb")),
                ("tcp_retransmit_synack_nested", Hook::TracePoint("tcp_retransmit_synack")),
            ],
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_counted_by_a_program_that_each_has_once() {
        let names = PLANS.iter().flat_map(|plan| plan.sets).flat_map(|set| *set).map(|(name, _)| *name);
        let alike: Vec<_> = names.filter(|name| name.starts_with(OF_EVERY_AGENT)).collect();
        assert_eq!(alike, [OF_EVERY_AGENT]);
        assert!(OF_EVERY_AGENT.len() <= 15, "the kernel keeps less of it");
    }
}
