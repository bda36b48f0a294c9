//! Seismograf, the agent: an eBPF-backed, low-overhead host telemetry agent.
//!
//! ```text
//! kernel hooks -> per-CPU write-combining cache -> ring buffer -> drain -> ledger -+
//! /proc, /sys -----------------------------------------------------------> inputs -+
//! cgroup life cycle ----------------------------------------------------> identity-+-> points -> batch -> output
//! ```
//!
//! Each stage knows the types of the stage before it and nothing of the one after; `pipeline` alone knows them all.

pub mod batch;
pub mod cgroupfs;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod doctor;
pub mod drain;
pub mod dump;
pub mod exit;
pub mod host;
pub mod http;
pub mod identity;
pub mod inputs;
pub mod ledger;
pub mod line_protocol;
pub mod logging;
mod memory;
pub mod notify;
pub mod object;
pub mod outputs;
pub mod pidfile;
pub mod pipeline;
pub mod point;
pub mod probes;
pub mod records;
pub mod rotation;
pub mod sample;
pub mod schema;
pub mod telemetry;
