//! Memory of this process that is free, and the allocator's all the same.

/// Returns free memory to the system. glibc by itself keeps what was freed in small pieces, for the next time; after what
/// happens rarely there is none. Takes about a millisecond.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: releases free memory of the allocator and touches nothing in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
