//! The agent as a process: its log, what the service manager is told, and what it says of itself.

pub mod logging;
pub(crate) mod memory;
pub(crate) mod pidfile;
pub(crate) mod rotation;
pub(crate) mod sd_notify;
pub mod telemetry;
