//! Memory of this process that the allocator holds.

/// Has all threads use the same memory. The agent's hardly ever run at the same time, and glibc would keep free memory for each.
pub fn keep_together() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a parameter of the allocator, before there is a second thread.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Returns free memory to the system. glibc keeps memory that was freed in small pieces, to use it again; after a rare event there
/// is no next use. Takes about a millisecond.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: releases free memory of the allocator and touches nothing in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
