//! Becomes a program with no more than a container has: `it --confine CAPS PROGRAM ARGS...`.
//!
//! A container's root directory has no tools in it, so this binary, which is linked statically, goes along.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// The first argument.
pub const FLAG: &str = "--confine";

/// Capabilities by the names that Kubernetes gives them (`include/uapi/linux/capability.h`).
const CAPABILITIES: &[(&str, u64)] = &[
    ("DAC_READ_SEARCH", 2),
    ("NET_ADMIN", 12),
    ("SYS_PTRACE", 19),
    ("SYS_ADMIN", 21),
    ("SYS_RESOURCE", 24),
    ("PERFMON", 38),
    ("BPF", 39),
];
/// More than any kernel has.
const MOST_CAPABILITIES: u64 = 64;

/// Does so when this process was started for it; `None` when it was not.
pub fn main_if_confined() -> Option<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [flag, kept, program, rest @ ..] = args.as_slice() else { return None };
    if flag != FLAG {
        return None;
    }
    let kept: Vec<u64> = kept.split(',').map(number).collect();
    for capability in (0..MOST_CAPABILITIES).filter(|capability| !kept.contains(capability)) {
        // SAFETY: changes this process's bounding set; a number that the kernel does not know is an error without effect.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
    // SAFETY: as `allowPrivilegeEscalation: false` has it.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // Root gets at exec what the bounding set has, and no more.
    panic!("cannot run {program}: {}", Command::new(program).args(rest).exec());
}

fn number(name: &str) -> u64 {
    let known = CAPABILITIES.iter().find(|(known, _)| *known == name);
    known.unwrap_or_else(|| panic!("{name} is no capability that this knows")).1
}
