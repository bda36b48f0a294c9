//! Why a group is off, in plain words: what the kernel refused, and what to do about it.

use std::io;

use super::plan::GroupState;

/// Off for a reason, with what to do about it.
pub(super) fn off(why: impl Into<String>, advice: impl Into<String>) -> GroupState {
    GroupState::Off { why: why.into(), advice: advice.into() }
}

/// The state after the kernel refused something, with the advice that fits the error number.
pub(super) fn refused(what: &str, error: &(dyn std::error::Error + 'static)) -> GroupState {
    let mut chain: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut number = None;
    while let Some(error) = chain {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            number = io.raw_os_error();
        }
        if let Some(aya::sys::SyscallError { io_error, .. }) = error.downcast_ref() {
            number = io_error.raw_os_error();
        }
        chain = error.source();
    }
    let advice = match number {
        Some(libc::EPERM | libc::EACCES) => {
            "run as root, or with the capabilities BPF and PERFMON, and for the network NET_ADMIN"
        }
        Some(libc::ENOMEM) => "raise the memory limit of this service (its maps are charged to it)",
        _ => "report this with the kernel's version and the log at debug level",
    };
    // The verifier's output can be thousands of lines, of which the last ones before its statistics matter.
    let text = error.to_string();
    let is_statistic =
        |line: &&str| ["verification time", "stack depth", "processed "].iter().any(|s| line.starts_with(s));
    let telling = text.lines().filter(|line| !line.trim().is_empty()).filter(|line| !is_statistic(line));
    let telling: Vec<&str> = telling.collect();
    let why = telling[telling.len().saturating_sub(3)..].join(" | ");
    tracing::debug!(what, error = text, "refused by the kernel");
    let number = number.map(|n| format!(" ({})", io::Error::from_raw_os_error(n))).unwrap_or_default();
    off(format!("{what}: {why}{number}"), advice)
}
