//! What the kernel hands to the programs of its iterators (`kernel/bpf/bpf_iter.c`), which the agent has run once a gather.
//!
//! Those programs are declared without aya's macro, which has none for them. What they have is put into a map, so that one read
//! goes over everything: the file of an iterator takes 32 KiB at a time.

/// The context of such a program, `struct bpf_iter__cgroup` and `struct bpf_iter__task`.
#[repr(C)]
pub(super) struct Context {
    meta: *const Meta,
    /// Null after the last one.
    object: *const u8,
}

/// `struct bpf_iter_meta` (`include/linux/bpf.h`).
#[repr(C)]
struct Meta {
    seq: *const u8,
    session_id: u64,
    /// How many calls of this pass came before.
    seq_num: u64,
}

impl Context {
    /// Whether this is the first call of a pass.
    ///
    /// # Safety
    /// `context` is the one that the program was called with.
    #[inline(always)]
    pub(super) unsafe fn is_first(context: *const Self) -> bool {
        // SAFETY: typed pointers of the context; volatile, so that each stays the load that the verifier has checked.
        unsafe {
            let meta = (&raw const (*context).meta).read_volatile();
            (&raw const (*meta).seq_num).read_volatile() == 0
        }
    }

    /// What the call is for, as a pointer that the verifier has typed; `None` after the last one.
    ///
    /// # Safety
    /// As of [`Self::is_first`].
    #[inline(always)]
    pub(super) unsafe fn object(context: *const Self) -> Option<*const u8> {
        // SAFETY: as above.
        let object = unsafe { (&raw const (*context).object).read_volatile() };
        (!object.is_null()).then_some(object)
    }
}
