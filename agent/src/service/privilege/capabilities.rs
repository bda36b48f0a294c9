//! Capabilities of this process: which have to stay, and which there are.

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets};

/// Takes all capabilities but these from the calling thread. Of the bounding set all go, if the thread may take from it.
///
/// Does system calls alone, so a signal's handler can call it.
pub(super) fn drop_all_but(kept: u64) -> io::Result<()> {
    for number in 0..u64::from(u64::BITS) {
        // SAFETY: changes what this thread may do; a number that the kernel does not know is an error without effect.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) };
    }
    // Linux before 4.3 has none.
    let _ = rustix::thread::clear_ambient_capability_set();
    let kept = CapabilitySet::from_bits_retain(kept);
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

/// The bounding set of this thread.
pub(super) fn bounding() -> u64 {
    let has = |number: &u64| {
        // SAFETY: reads a flag of this thread.
        unsafe { libc::prctl(libc::PR_CAPBSET_READ, *number, 0, 0, 0) == 1 }
    };
    (0..u64::from(u64::BITS)).filter(has).fold(0, |set, number| set | 1 << number)
}

/// The capability that every use of an open map or program needs, where that is so: Linux before 5.19 asks for BPF at each call
/// of bpf(2) under `unprivileged_bpf_disabled`. It is tried by a thread that has none.
pub(super) fn needed_later() -> u64 {
    let held = rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.permitted);
    let bpf = held & CapabilitySet::BPF;
    if bpf.is_empty() {
        return 0;
    }
    let tried = std::thread::spawn(|| drop_all_but(0).is_ok() && is_refused_without_a_capability()).join();
    if tried.unwrap_or(true) { bpf.bits() } else { 0 }
}

/// Whether bpf(2) does not even look at the descriptor.
fn is_refused_without_a_capability() -> bool {
    const TEST_RUN: libc::c_int = 10;
    const INFO_BY_FD: libc::c_int = 15;
    /// `union bpf_attr`: the descriptor, which is none, comes first in both.
    #[repr(C, align(8))]
    struct Attributes([u32; 16]);
    let mut attributes = Attributes([0; 16]);
    attributes.0[0] = u32::MAX;
    [TEST_RUN, INFO_BY_FD].into_iter().any(|command| {
        // SAFETY: the kernel reads `attributes`, which is as long as is said, and finds no descriptor in it.
        let result =
            unsafe { libc::syscall(libc::SYS_bpf, command, &raw const attributes, size_of::<Attributes>()) };
        result < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
    })
}

/// The names of a set, as `BPF PERFMON`.
pub(super) fn names(set: u64) -> String {
    let set = CapabilitySet::from_bits_truncate(set);
    set.iter_names().map(|(name, _)| name).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_gives_up_all_has_none() {
        let left = std::thread::spawn(|| {
            drop_all_but(0).unwrap();
            rustix::thread::capabilities(None).unwrap()
        });
        let left = left.join().unwrap();
        assert_eq!((left.effective.bits(), left.permitted.bits(), left.inheritable.bits()), (0, 0, 0));
    }

    #[test]
    fn sets_are_shown_by_name() {
        assert_eq!(names(1 << 39 | 1 << 12), "NET_ADMIN BPF");
        assert_eq!(names(0), "");
    }
}
