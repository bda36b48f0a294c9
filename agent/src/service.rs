//! The agent as a process: its log, its notifications to the service manager, and its own telemetry.

pub mod budget;
pub mod clock_watch;
mod journal;
pub(crate) mod locked;
pub mod logging;
pub mod memory;
pub(crate) mod off_thread;
pub(crate) mod origin;
pub(crate) mod pidfile;
pub mod privilege;
pub mod pulse;
pub mod receipt;
pub(crate) mod rotation;
pub(crate) mod sd_notify;
pub(crate) mod statefile;
pub mod telemetry;
pub(crate) mod turns;
