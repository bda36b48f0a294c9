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
pub mod inputs;
pub mod outputs;
pub mod point;
