//! Seismograf, the agent: an eBPF-backed, low-overhead host telemetry agent.
//!
//! ```text
//! kernel hooks -> per-CPU write-combining cache -> ring buffer -> drain -> ledger -+
//! /proc, /sys -----------------------------------------------------------> inputs -+
//! cgroup life cycle ----------------------------------------------------> identity-+-> points -> batch -> output
//! ```
//!
//! Each stage knows the types of the stage before it and nothing of the one after; only `pipeline` knows all of them.

#![cfg_attr(
    not(feature = "default"),
    allow(
        dead_code,
        reason = "what only an output that is left out would use; the linker leaves it out too"
    )
)]

#[cfg(test)]
mod allocations;
pub mod cli;
mod clock;
pub mod commands;
pub mod config;
pub mod dashboards;
pub mod exit;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
#[cfg(test)]
mod generated;
pub mod host;
mod http;
pub mod identity;
pub mod inputs;
pub mod kernel;
mod ledger;
mod line_protocol;
mod listen;
pub mod options;
pub mod outputs;
pub mod parsers;
mod pipeline;
mod plugins;
pub mod point;
pub mod schema;
mod serializers;
pub mod service;
pub mod spool;
pub mod stages;
mod uuid;
pub mod views;
