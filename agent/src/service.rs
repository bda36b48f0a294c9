//! The agent as a process: its log, what the service manager is told, and what it says of itself.

pub mod logging;
pub mod memory;
pub mod pidfile;
pub mod rotation;
pub mod sd_notify;
pub mod telemetry;
