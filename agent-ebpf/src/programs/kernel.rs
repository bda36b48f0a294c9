//! How the programs read the kernel's fields; which there are says `seismograf_ebpf::fields`.
//!
//! Rust has no CO-RE relocations. So the agent looks each offset up in the running kernel's BTF and sets it here
//! before the object is loaded; the globals are frozen then, the verifier takes them for constants, and a typed
//! pointer plus an offset is a plain, checked load. A field that a kernel lacks is [`ABSENT`]: the branch that
//! would use it is dead code to the verifier.

use aya_ebpf::{Global, helpers::bpf_probe_read_kernel};
use seismograf_ebpf::abi::ABSENT;
use seismograf_ebpf::kernel_fields;

/// Declares the global of each field, which the agent sets before the object is loaded.
macro_rules! offsets {
    ($($(#[$doc:meta])* $name:ident: $structure:literal . $path:literal needed by [$($area:ident),*] ($when:expr);)*) => {
        $(
            #[doc = concat!("`", $structure, ".", $path, "`")]
            ///
            $(#[$doc])*
            #[unsafe(no_mangle)]
            pub(super) static $name: Global<u64> = Global::new(ABSENT);
        )*
    };
}

kernel_fields!(offsets);

/// The bit of `request.rq_flags` that says that the flush machinery owns the request
/// (`RQF_FLUSH_SEQ`, `include/linux/blk-mq.h`).
#[unsafe(no_mangle)]
pub(super) static RQF_FLUSH_SEQ: Global<u64> = Global::new(0);

/// Why `kfree_skb` says that a packet was dropped which a program at a cgroup refused; since Linux 5.18
/// (`enum skb_drop_reason`).
#[unsafe(no_mangle)]
pub(super) static DROPPED_BY_CGROUP: Global<u64> = Global::new(ABSENT);

/// Whether the programs may read kernel memory by helper; 0 under lockdown=confidentiality, where the verifier
/// refuses the helper unless the branch is dead.
#[unsafe(no_mangle)]
static MAY_READ_KERNEL: Global<u64> = Global::new(1);

/// Loads the field at `offset` from the kernel object that `object` points to.
///
/// # Safety
/// `object` is a pointer that the verifier has typed (an argument of the tracepoint, or loaded through this
/// function), and `offset` that of a `T` in it. The verifier checks both when the program is loaded; a null
/// pointer reads as zero.
#[inline(always)]
pub(super) unsafe fn field<T: Copy>(object: *const u8, offset: &'static Global<u64>) -> T {
    // SAFETY: the caller's promise; volatile, because the kernel changes it at any time, and so that LLVM does not merge
    // it with a load from a map value, which the verifier refuses ("same insn cannot be used with different pointers").
    unsafe { object.add(offset.load() as usize).cast::<T>().read_volatile() }
}

/// Reads the field at `offset` by helper, for a pointer that the verifier has not typed. For rare paths.
#[inline(always)]
pub(super) fn probe<T: Copy>(object: *const u8, offset: &'static Global<u64>) -> Option<T> {
    let offset = offset.load();
    if offset == ABSENT {
        return None;
    }
    probe_at(object.wrapping_add(offset as usize).cast())
}

/// [`probe`] of an address.
#[inline(always)]
pub(super) fn probe_at<T: Copy>(address: *const T) -> Option<T> {
    if MAY_READ_KERNEL.load() == 0 {
        return None;
    }
    // SAFETY: the helper checks the address; a bad one is an error.
    unsafe { bpf_probe_read_kernel(address) }.ok()
}

/// The id of the cgroup that a task's CPU time is charged to.
///
/// # Safety
/// As of [`field`]: `task` is a typed `task_struct`.
#[inline(always)]
pub(super) unsafe fn task_cgroup(task: *const u8) -> u64 {
    // SAFETY: each pointer is loaded from a typed one.
    unsafe {
        let css_set: *const u8 = field(task, &TASK_CGROUPS);
        let mut cgroup: *const u8 = field(css_set, &CSS_SET_MEMBER);
        if CSS_CGROUP.load() != ABSENT {
            cgroup = field(cgroup, &CSS_CGROUP);
        }
        cgroup_id(cgroup)
    }
}

/// The id of a cgroup.
///
/// # Safety
/// As of [`field`]: `cgroup` is a typed `cgroup`.
#[inline(always)]
pub(super) unsafe fn cgroup_id(cgroup: *const u8) -> u64 {
    // SAFETY: each pointer is loaded from a typed one.
    unsafe {
        let node: *const u8 = field(cgroup, &CGROUP_KN);
        field(node, &KERNFS_ID)
    }
}

/// The id of a task's cgroup in the hierarchy that the two offsets stand for, by helper.
#[inline(always)]
pub(super) fn probe_task_cgroup(
    task: *const u8,
    member: &'static Global<u64>,
    css_cgroup: &'static Global<u64>,
) -> Option<u64> {
    let css_set: *const u8 = probe(task, &TASK_CGROUPS)?;
    let mut cgroup: *const u8 = probe(css_set, member)?;
    if css_cgroup.load() != ABSENT {
        cgroup = probe(cgroup, css_cgroup)?;
    }
    let node: *const u8 = probe(cgroup, &CGROUP_KN)?;
    probe(node, &KERNFS_ID)
}

/// The id of a socket's cgroup, by helper; `None` where it has none.
#[inline(always)]
pub(super) fn socket_cgroup(sock: *const u8) -> Option<u64> {
    // `sock_cgroup_data` is a pointer to the cgroup. Before Linux 5.17 its lowest bit says that net_cls or
    // net_prio took the field over for their own data; such a socket counts for the root.
    let data: u64 = probe(sock, &SOCK_CGROUP_DATA)?;
    if data == 0 || data & 1 == 1 {
        return None;
    }
    let node: *const u8 = probe(data as *const u8, &CGROUP_KN)?;
    probe(node, &KERNFS_ID)
}
