//! Free memory of this process that the allocator holds.

/// Returns free memory to the system. glibc keeps memory that was freed in small pieces, to use it again; after a rare event there
/// is no next use. Takes about a millisecond.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: releases free memory of the allocator and touches nothing in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
