//! The kernel fields that the probes read, each with its source.
//!
//! Rust has no CO-RE relocations. So the agent looks each offset up in the running kernel's BTF and sets it here
//! before the object is loaded; the globals are frozen then, the verifier takes them for constants, and a typed
//! pointer plus an offset is a plain, checked load. A field that a kernel lacks is [`ABSENT`]: the branch that
//! would use it is dead code to the verifier.

use aya_ebpf::{Global, helpers::bpf_probe_read_kernel};
use seismograf_ebpf::abi::ABSENT;

/// Declares an offset that the agent sets before the object is loaded.
macro_rules! offsets {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        $($(#[$doc])* #[unsafe(no_mangle)] pub(super) static $name: Global<u64> = Global::new(ABSENT);)*
    };
}

offsets! {
    /// `task_struct.se.sum_exec_runtime`: ns of run time so far, what the scheduler charges (`include/linux/sched.h`).
    TASK_SUM_EXEC_RUNTIME,
    /// `task_struct.se.prev_sum_exec_runtime`: the same when the fair class last picked it.
    TASK_PREV_SUM_EXEC_RUNTIME,
    /// `task_struct.sched_info.run_delay`: ns of waiting on a run queue so far.
    TASK_RUN_DELAY,
    /// `task_struct.pid`: 0 for each CPU's idle task.
    TASK_PID,
    /// `task_struct.prio`: 100 and above is the fair class.
    TASK_PRIO,
    /// `task_struct.cgroups`: the `css_set`.
    TASK_CGROUPS,
    /// `css_set.dfl_cgrp`, or `css_set.subsys[i]` where CPU time is accounted in a v1 hierarchy.
    CSS_SET_MEMBER,
    /// `cgroup_subsys_state.cgroup`; absent where `CSS_SET_MEMBER` is a cgroup already.
    CSS_CGROUP,
    /// As `CSS_SET_MEMBER`, for the hierarchy that memory is accounted in.
    MEMORY_CSS_SET_MEMBER,
    /// As `CSS_CGROUP`, likewise.
    MEMORY_CSS_CGROUP,
    /// `cgroup.kn`: its directory.
    CGROUP_KN,
    /// `kernfs_node.id`: the inode number, which is the cgroup's id (`include/linux/kernfs.h`).
    KERNFS_ID,
    /// `cgroup.root`: its hierarchy.
    CGROUP_ROOT,
    /// `cgroup_root.hierarchy_id`: 0 for cgroup2.
    ROOT_HIERARCHY_ID,
    /// `request.bio`: the first bio; the block layer does not merge across block cgroups.
    REQUEST_BIO,
    /// `request.cmd_flags`: the operation in the low 8 bits (`include/linux/blk_types.h`).
    REQUEST_CMD_FLAGS,
    /// `request.rq_flags`.
    REQUEST_RQ_FLAGS,
    /// `request.__data_len`: bytes still to be completed.
    REQUEST_DATA_LEN,
    /// `request.start_time_ns`: when it was allocated; 0 where the queue keeps no statistics.
    REQUEST_START_TIME_NS,
    /// `request.rq_disk`: before Linux 5.17.
    REQUEST_RQ_DISK,
    /// `request.q`.
    REQUEST_Q,
    /// `request_queue.disk`: since Linux 5.15.
    QUEUE_DISK,
    /// `gendisk.major`.
    DISK_MAJOR,
    /// `gendisk.first_minor`.
    DISK_FIRST_MINOR,
    /// `bio.bi_blkg`: the block cgroup that is charged.
    BIO_BLKG,
    /// `blkcg_gq.blkcg`.
    BLKG_BLKCG,
    /// `blkcg.css.cgroup`.
    BLKCG_CGROUP,
    /// `sock.sk_cgrp_data`.
    SOCK_CGROUP_DATA,
    /// `sk_buff.cb` plus `tcp_skb_cb.tcp_gso_segs`: segments that a queued packet stands for.
    SKB_TCP_GSO_SEGS,
}

/// The bit of `request.rq_flags` that says that the flush machinery owns the request
/// (`RQF_FLUSH_SEQ`, `include/linux/blk-mq.h`).
#[unsafe(no_mangle)]
pub(super) static RQF_FLUSH_SEQ: Global<u64> = Global::new(0);

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
    if MAY_READ_KERNEL.load() == 0 {
        return None;
    }
    // SAFETY: the helper checks the address; a bad one is an error.
    unsafe { bpf_probe_read_kernel(object.wrapping_add(offset.load() as usize).cast::<T>()) }.ok()
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
