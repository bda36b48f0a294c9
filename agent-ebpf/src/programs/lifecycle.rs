//! Cgroups that come and go, with their paths, in every hierarchy.
//!
//! Why: a container that lived 50 ms is gone before its id can be looked up.
//! Hooks: `cgroup_mkdir`, `cgroup_rmdir`, `cgroup_release`, `cgroup_rename`. The kernel calls them under one lock with
//! interrupts off (`TRACE_CGROUP_PATH` in `kernel/cgroup/cgroup-internal.h`), so one scratch record per CPU is enough.

use core::ptr::addr_of_mut;

use aya_ebpf::{
    helpers::generated::{bpf_probe_read_kernel_str, bpf_ringbuf_output},
    macros::{btf_tracepoint, map},
    maps::PerCpuArray,
    programs::BtfTracePointContext,
};
use aya_log_ebpf::{debug, warn};
use seismograf_ebpf::abi::{CGROUP_EVENT_HEAD, CgroupChange, CgroupEvent, Kind, PATH_BYTES};

use super::cache::{RECORDS, add, overflow, wakeup};
use super::kernel::{CGROUP_ROOT, ROOT_HIERARCHY_ID, cgroup_id, field};
use super::sums::run_ns;

/// Where a record is put together: longer than a program's stack.
#[map]
static CGROUP_EVENTS: PerCpuArray<CgroupEvent> = PerCpuArray::with_max_entries(1, 0);

/// `cgroup_mkdir(cgrp, path)`
#[btf_tracepoint(function = "cgroup_mkdir")]
fn lifecycle_cgroup_mkdir(ctx: BtfTracePointContext) -> i32 {
    record(&ctx, CgroupChange::Made);
    0
}

/// `cgroup_rmdir(cgrp, path)`
#[btf_tracepoint(function = "cgroup_rmdir")]
fn lifecycle_cgroup_rmdir(ctx: BtfTracePointContext) -> i32 {
    record(&ctx, CgroupChange::Removed);
    0
}

/// `cgroup_release(cgrp, path)`
#[btf_tracepoint(function = "cgroup_release")]
fn lifecycle_cgroup_release(ctx: BtfTracePointContext) -> i32 {
    record(&ctx, CgroupChange::Released);
    0
}

/// `cgroup_rename(cgrp, path)`
#[btf_tracepoint(function = "cgroup_rename")]
fn lifecycle_cgroup_rename(ctx: BtfTracePointContext) -> i32 {
    record(&ctx, CgroupChange::Renamed);
    0
}

#[inline(always)]
fn record(ctx: &BtfTracePointContext, change: CgroupChange) {
    let Some(event) = CGROUP_EVENTS.get_ptr_mut(0) else { return };
    let (cgroup, path): (*const u8, *const u8) = (ctx.arg(0), ctx.arg(1));
    // SAFETY: argument 0 is a cgroup, 1 a string; the event is this CPU's, and interrupts are off.
    unsafe {
        let id = cgroup_id(cgroup);
        let root: *const u8 = field(cgroup, &CGROUP_ROOT);
        let hierarchy: u32 = field(root, &ROOT_HIERARCHY_ID);
        let read =
            bpf_probe_read_kernel_str(addr_of_mut!((*event).path).cast(), PATH_BYTES as u32, path.cast());
        // The count includes the end mark. The mask tells the verifier the bound that the helper keeps.
        let path_bytes = if read > 0 { (read as usize - 1) & (PATH_BYTES - 1) } else { 0 };
        if path_bytes == 0 {
            warn!(ctx, "cgroup {} of hierarchy {}: path not readable", id, hierarchy);
        }
        (*event).kind = Kind::Cgroup as u32;
        (*event).change = change as u32;
        (*event).cgroup = id;
        (*event).hierarchy = hierarchy;
        (*event).path_bytes = path_bytes as u32;
        let ends = matches!(change, CgroupChange::Removed | CgroupChange::Released) && hierarchy == 0;
        (*event).run_ns = if ends { run_ns(cgroup) } else { 0 };
        let size = (CGROUP_EVENT_HEAD + path_bytes) as u64;
        if bpf_ringbuf_output((&raw const RECORDS).cast_mut().cast(), event.cast(), size, wakeup()) != 0 {
            overflow(|o| add(addr_of_mut!((*o).cgroup_events), 1));
            warn!(ctx, "cgroup {} of hierarchy {}: ring buffer full", id, hierarchy);
        }
        match change {
            CgroupChange::Made => debug!(ctx, "cgroup {} of hierarchy {} made", id, hierarchy),
            CgroupChange::Removed => debug!(ctx, "cgroup {} of hierarchy {} removed", id, hierarchy),
            CgroupChange::Released => debug!(ctx, "cgroup {} of hierarchy {} released", id, hierarchy),
            CgroupChange::Renamed => debug!(ctx, "cgroup {} of hierarchy {} renamed", id, hierarchy),
        }
    }
}
