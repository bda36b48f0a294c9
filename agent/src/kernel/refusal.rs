//! Why a group is off, in plain words: what the kernel refused, and what to do about it.

use std::io;

use super::plan::GroupState;

/// Off for a reason, with what to do about it.
pub(super) fn off(why: impl Into<String>, advice: impl Into<String>) -> GroupState {
    GroupState::Off { why: why.into(), advice: advice.into() }
}

/// The state after the kernel refused something, with the advice that fits the error number. What only privileges or memory are
/// missing for says so in the same words for whatever was refused: it is one cause.
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
    let has_verdict = text.lines().nth(1).is_some();
    if let Some(number @ (libc::EPERM | libc::EACCES | libc::ENOMEM)) = number
        && (number != libc::EACCES || !has_verdict)
    {
        return off(format!("the kernel refuses it: {}", io::Error::from_raw_os_error(number)), advice);
    }
    let number = number.map(|n| format!(" ({})", io::Error::from_raw_os_error(n))).unwrap_or_default();
    off(format!("{what}: {why}{number}"), advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Refusal(&'static str, #[source] io::Error);

    fn state(what: &str, text: &'static str, number: i32) -> GroupState {
        refused(what, &Refusal(text, io::Error::from_raw_os_error(number)))
    }

    #[test]
    fn one_cause_has_one_state_whatever_was_refused() {
        let first = state("maps", "failed to create map `RECORDS`", libc::EPERM);
        assert_eq!(first, state("cpu_sched_switch", "failed to load the program", libc::EPERM));
        let GroupState::Off { why, advice } = first else { panic!() };
        assert_eq!(why, "the kernel refuses it: Operation not permitted (os error 1)");
        assert!(advice.contains("capabilities BPF and PERFMON"), "{advice}");
    }

    #[test]
    fn what_the_verifier_said_is_kept() {
        let text = "the verifier rejected it\n0: r1 = 1\nR1 type=scalar expected=fp\nprocessed 1 insns";
        let GroupState::Off { why, .. } = state("net_egress", text, libc::EACCES) else { panic!() };
        assert!(why.starts_with("net_egress: ") && why.contains("R1 type=scalar"), "{why}");
    }
}
