//! Seismograf, the agent: an eBPF-backed, low-overhead host telemetry agent.
//!
//! ```text
//! kernel hooks -> per-CPU write-combining cache -> ring buffer -> drain -> ledger -+
//! /proc, /sys -----------------------------------------------------------> inputs -+
//! cgroup life cycle ----------------------------------------------------> identity-+-> points -> batch -> output
//! ```
//!
//! Each stage knows the types of the stage before it and nothing of the one after; `pipeline` alone knows them all.

pub mod config;
pub mod drain;
pub mod host;
pub mod identity;
pub mod inputs;
pub mod ledger;
pub mod object;
pub mod outputs;
pub mod point;
pub mod probes;
pub mod records;
