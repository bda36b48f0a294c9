//! The offsets that the programs are given: which kernel field each of their globals stands for.
//!
//! One table, the counterpart of `agent-ebpf/src/programs/kernel.rs`. Presence is tested in the running
//! kernel's BTF, never a version.

use seismograf_ebpf::abi::ABSENT;

use super::btf::Btf;
use crate::host::hierarchies::CpuController;

/// The values of the programs' globals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offsets {
    globals: Vec<(&'static str, u64)>,
}

/// Global, struct, path of the field.
const FIELDS: &[(&str, &str, &str)] = &[
    ("TASK_SUM_EXEC_RUNTIME", "task_struct", "se.sum_exec_runtime"),
    ("TASK_PREV_SUM_EXEC_RUNTIME", "task_struct", "se.prev_sum_exec_runtime"),
    ("TASK_RUN_DELAY", "task_struct", "sched_info.run_delay"),
    ("TASK_PID", "task_struct", "pid"),
    ("TASK_PRIO", "task_struct", "prio"),
    ("TASK_CGROUPS", "task_struct", "cgroups"),
    ("CGROUP_KN", "cgroup", "kn"),
    ("KERNFS_ID", "kernfs_node", "id"),
    ("CGROUP_ROOT", "cgroup", "root"),
    ("ROOT_HIERARCHY_ID", "cgroup_root", "hierarchy_id"),
    ("REQUEST_BIO", "request", "bio"),
    ("REQUEST_CMD_FLAGS", "request", "cmd_flags"),
    ("REQUEST_RQ_FLAGS", "request", "rq_flags"),
    ("REQUEST_DATA_LEN", "request", "__data_len"),
    ("REQUEST_START_TIME_NS", "request", "start_time_ns"),
    ("REQUEST_RQ_DISK", "request", "rq_disk"),
    ("REQUEST_Q", "request", "q"),
    ("QUEUE_DISK", "request_queue", "disk"),
    ("DISK_MAJOR", "gendisk", "major"),
    ("DISK_FIRST_MINOR", "gendisk", "first_minor"),
    ("BIO_BLKG", "bio", "bi_blkg"),
    ("BLKG_BLKCG", "blkcg_gq", "blkcg"),
    ("BLKCG_CGROUP", "blkcg", "css.cgroup"),
    ("SOCK_CGROUP_DATA", "sock", "sk_cgrp_data"),
];

/// Bit of `RQF_FLUSH_SEQ` where it is a macro and not an enumerator: Linux before 6.12.
const RQF_FLUSH_SEQ_BIT: u64 = 4;
/// Bytes of a pointer: BPF programs run on 64-bit machines only.
const POINTER_BYTES: u64 = 8;

impl Offsets {
    /// Looks up every global.
    #[must_use]
    pub fn find(btf: &Btf<'_>, cpu: CpuController, memory_is_v1: bool) -> Self {
        let mut offsets = Self { globals: Vec::new() };
        for &(global, name, path) in FIELDS {
            offsets.set(global, btf.offset(name, path));
        }
        let controller = match cpu {
            CpuController::Unified => None,
            CpuController::Cpuacct => Some("cpuacct_cgrp_id"),
            CpuController::Cpu => Some("cpu_cgrp_id"),
        };
        offsets.set_member(btf, ["CSS_SET_MEMBER", "CSS_CGROUP"], controller);
        let memory = memory_is_v1.then_some("memory_cgrp_id");
        offsets.set_member(btf, ["MEMORY_CSS_SET_MEMBER", "MEMORY_CSS_CGROUP"], memory);
        let segments = btf
            .offset("sk_buff", "cb")
            .zip(btf.offset("tcp_skb_cb", "tcp_gso_segs"))
            .map(|(block, segments)| block + segments);
        offsets.set("SKB_TCP_GSO_SEGS", segments);
        let flush_bit = btf.enumerator("__RQF_FLUSH_SEQ").unwrap_or(RQF_FLUSH_SEQ_BIT);
        offsets.globals.push(("RQF_FLUSH_SEQ", 1 << flush_bit));
        offsets
    }

    /// The way from a `css_set` to the cgroup of a v1 controller, or of cgroup2.
    fn set_member(&mut self, btf: &Btf<'_>, [member, css_cgroup]: [&'static str; 2], v1: Option<&str>) {
        let Some(controller) = v1 else {
            self.set(member, btf.offset("css_set", "dfl_cgrp"));
            self.globals.push((css_cgroup, ABSENT));
            return;
        };
        let array = btf.offset("css_set", "subsys").zip(btf.enumerator(controller));
        let offset = array.map(|(array, index)| array + index * POINTER_BYTES);
        self.set(member, offset);
        self.set(css_cgroup, btf.offset("cgroup_subsys_state", "cgroup"));
    }

    fn set(&mut self, global: &'static str, offset: Option<u64>) {
        self.globals.push((global, offset.unwrap_or(ABSENT)));
    }

    /// Each global and its value, for the loader.
    #[must_use]
    pub fn globals(&self) -> &[(&'static str, u64)] {
        &self.globals
    }

    /// Whether this kernel has what a global stands for.
    fn has(&self, global: &str) -> bool {
        self.globals.iter().any(|&(name, offset)| name == global && offset != ABSENT)
    }

    /// The first of `globals` that this kernel lacks, as struct and field.
    pub(super) fn lacking(&self, globals: &[&str]) -> Option<String> {
        let global = globals.iter().find(|global| !self.has(global))?;
        let field = FIELDS.iter().find(|(name, _, _)| name == global);
        Some(field.map_or_else(|| (*global).to_owned(), |(_, name, path)| format!("{name}.{path}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_field_of_this_kernel() {
        let Ok(data) = std::fs::read("/sys/kernel/btf/vmlinux") else {
            println!("skipped: this kernel has no BTF");
            return;
        };
        let btf = Btf::parse(&data).unwrap();
        for cpu in [CpuController::Unified, CpuController::Cpu] {
            let offsets = Offsets::find(&btf, cpu, cpu == CpuController::Cpu);
            for needed in [
                "MEMORY_CSS_SET_MEMBER",
                "TASK_SUM_EXEC_RUNTIME",
                "TASK_PID",
                "CSS_SET_MEMBER",
                "CGROUP_KN",
                "KERNFS_ID",
            ] {
                assert!(offsets.has(needed), "{needed}");
            }
            assert!(offsets.has("REQUEST_RQ_DISK") || offsets.has("QUEUE_DISK"));
        }
    }
}
