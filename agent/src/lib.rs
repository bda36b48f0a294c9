//! Seismograf, the agent: an eBPF-backed, low-overhead host telemetry agent.
//!
//! ```text
//! kernel hooks -> per-CPU write-combining cache -> ring buffer -> drain -> ledger -+
//! /proc, /sys -----------------------------------------------------------> inputs -+
//! cgroup life cycle ----------------------------------------------------> identity-+-> points -> batch -> output
//! ```
//!
//! Each stage knows the types of the stage before it and nothing of the one after; only `pipeline` knows all of them.

pub mod cli;
mod clock;
pub mod commands;
pub mod config;
pub mod dashboards;
pub mod exit;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod host;
mod http;
pub mod identity;
pub mod inputs;
pub mod kernel;
mod ledger;
mod line_protocol;
pub mod options;
pub mod outputs;
pub mod parsers;
mod pipeline;
mod plugins;
pub mod point;
pub mod schema;
pub mod service;
pub mod spool;
mod uuid;
pub mod views;
