//! bpf(2) itself, for the commands that aya does not offer.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

use aya_obj::generated::bpf_cmd;

/// Has the kernel carry a command out. Returns what it returns, which is a file descriptor of some commands.
///
/// # Safety
/// `attributes` is the part of `union bpf_attr` that the command reads and writes, and what it points to lives as long.
///
/// # Errors
/// The kernel's.
pub(super) unsafe fn bpf<T>(command: bpf_cmd, attributes: &mut T) -> io::Result<i32> {
    let attributes: *mut T = attributes;
    // SAFETY: the kernel reads and writes as many bytes as it is told; the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command as libc::c_long, attributes, size_of::<T>()) };
    i32::try_from(result).ok().filter(|result| *result >= 0).ok_or_else(io::Error::last_os_error)
}

/// A file descriptor as an attribute.
pub(super) fn raw(fd: &impl AsFd) -> u32 {
    u32::try_from(fd.as_fd().as_raw_fd()).unwrap_or(u32::MAX)
}
