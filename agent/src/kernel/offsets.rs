//! The offsets that the programs are given: what each kernel field's global is set to.
//!
//! Which fields there are, and who needs them, is `seismograf_ebpf::fields`. Presence is tested in the running kernel's BTF,
//! never a version.

use seismograf_ebpf::abi::{ABSENT, CAST_TO_KERNEL_CONTEXT};
use seismograf_ebpf::fields::{Area, FIELDS, Field, When};

use super::btf::Btf;
use crate::host::hierarchies::CpuController;

/// The values of the programs' globals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offsets {
    globals: Vec<(&'static str, u64)>,
    functions: Vec<(i32, u32)>,
}

/// Bit of `RQF_FLUSH_SEQ` where it is a macro and not an enumerator: Linux before 6.12.
const RQF_FLUSH_SEQ_BIT: u64 = 4;
/// Globals that are an enumerator's value: why a packet was dropped, and the first and the last of the steps that a CPU
/// itself takes on its way down.
const ENUMERATORS: [(&str, &str); 3] = [
    ("DROPPED_BY_CGROUP", "SKB_DROP_REASON_BPF_CGROUP_EGRESS"),
    ("CPU_STEPS_FROM", "CPUHP_AP_ONLINE_IDLE"),
    ("CPU_STEPS_TO", "CPUHP_ONLINE"),
];
/// Functions of the kernel that programs call, by the number that stands for each.
const FUNCTIONS: [(i32, &str); 1] = [(CAST_TO_KERNEL_CONTEXT, "bpf_cast_to_kern_ctx")];
/// Of `tcp_retransmit_skb` where the last one is an error: since Linux 6.17 it is also called when nothing was sent.
const RETRANSMIT_ARGUMENTS: u32 = 3;
/// The controller of memory in `enum cgroup_subsys_id`.
const MEMORY_CONTROLLER: &str = "memory_cgrp_id";
/// Bytes of a pointer: BPF programs run on 64-bit machines only.
const POINTER_BYTES: u64 = 8;

impl Offsets {
    /// Looks up every global.
    #[must_use]
    pub fn find(btf: &Btf<'_>, cpu: CpuController, memory_is_v1: bool) -> Self {
        let cpu = match cpu {
            CpuController::Unified => None,
            CpuController::Cpuacct => Some("cpuacct_cgrp_id"),
            CpuController::Cpu => Some("cpu_cgrp_id"),
        };
        let memory = memory_is_v1.then_some(MEMORY_CONTROLLER);
        let offset = |field: &Field| {
            let plain = btf.offset(field.structure, field.path);
            match field.global {
                "CSS_SET_MEMBER" => css_set_member(btf, cpu, plain),
                "MEMORY_CSS_SET_MEMBER" => css_set_member(btf, memory, plain),
                "CGROUP_CPU_SUMS" => plain.or_else(|| btf.offset(field.structure, "rstat_base_cpu")),
                "CPU_SUM_RUN_NS" => plain.or_else(|| btf.offset("cgroup_rstat_base_cpu", field.path)),
                "TASK_STATE" => plain.or_else(|| btf.offset(field.structure, "state")),
                "CSS_CGROUP" => cpu.and(plain),
                "MEMORY_CSS_CGROUP" => memory.and(plain),
                "CGROUP_MEMORY" => Some(plain? + btf.enumerator(MEMORY_CONTROLLER)? * POINTER_BYTES),
                // In the control block of the packet.
                "SKB_TCP_GSO_SEGS" | "SKB_LARGEST_FRAGMENT" | "SKB_LARGEST_FRAGMENT6" => {
                    Some(btf.offset("sk_buff", "cb")? + plain?)
                }
                _ => plain,
            }
        };
        let mut globals: Vec<_> =
            FIELDS.iter().map(|field| (field.global, offset(field).unwrap_or(ABSENT))).collect();
        let flush_bit = btf.enumerator("__RQF_FLUSH_SEQ").unwrap_or(RQF_FLUSH_SEQ_BIT);
        globals.push(("RQF_FLUSH_SEQ", 1 << flush_bit));
        for (global, enumerator) in ENUMERATORS {
            globals.push((global, btf.enumerator(enumerator).unwrap_or(ABSENT)));
        }
        let arguments = btf.tracepoint_arguments("tcp_retransmit_skb").unwrap_or(0);
        globals.push(("RETRANSMITS_CAN_FAIL", u64::from(arguments >= RETRANSMIT_ARGUMENTS)));
        let functions = FUNCTIONS.iter().filter_map(|(call, name)| Some((*call, btf.function(name)?)));
        Self { globals, functions: functions.collect() }
    }

    /// Numbers that stand for the kernel's functions in the object, and the numbers of those that this kernel has.
    #[must_use]
    pub fn functions(&self) -> &[(i32, u32)] {
        &self.functions
    }

    /// Each global and its value, for the loader.
    #[must_use]
    pub fn globals(&self) -> &[(&'static str, u64)] {
        &self.globals
    }

    /// Whether this kernel has what a global stands for.
    pub(super) fn has(&self, global: &str) -> bool {
        self.globals.iter().any(|&(name, offset)| name == global && offset != ABSENT)
    }

    /// The first field that an area needs and this kernel lacks, as struct and field.
    #[must_use]
    pub fn lacking(&self, area: Area) -> Option<String> {
        let is_needed = |field: &&Field| {
            field.needed_by.contains(&area)
                && match field.when {
                    When::Always => true,
                    When::Has(other) => self.has(other),
                    When::Lacks(other) => !self.has(other),
                }
        };
        let field = FIELDS.iter().filter(is_needed).find(|field| !self.has(field.global))?;
        Some(format!("{}.{}", field.structure, field.path))
    }
}

/// The way from a `css_set` to the cgroup of a v1 controller, or of cgroup2, whose offset is `unified`.
fn css_set_member(btf: &Btf<'_>, v1: Option<&str>, unified: Option<u64>) -> Option<u64> {
    let Some(controller) = v1 else { return unified };
    Some(btf.offset("css_set", "subsys")? + btf.enumerator(controller)? * POINTER_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AREAS: [Area; 7] =
        [Area::Cpu, Area::Blkio, Area::Runqueue, Area::Tcp, Area::Lifecycle, Area::Oom, Area::Net];

    /// Everything is there but these.
    fn without(absent: &[&str]) -> Offsets {
        let offset = |field: &Field| if absent.contains(&field.global) { ABSENT } else { 8 };
        let globals = FIELDS.iter().map(|field| (field.global, offset(field))).collect();
        Offsets { globals, functions: Vec::new() }
    }

    #[test]
    fn each_field_that_is_missing_turns_off_the_areas_that_need_it() {
        for field in FIELDS {
            let offsets = without(&[field.global]);
            for area in AREAS {
                let expected = field.needed_by.contains(&area) && field.when == When::Always
                    || field.needed_by.contains(&area) && matches!(field.when, When::Has(_));
                assert_eq!(offsets.lacking(area).is_some(), expected, "{} {area:?}", field.global);
            }
        }
    }

    #[test]
    fn a_disk_is_found_by_the_request_or_by_its_queue() {
        assert_eq!(without(&["QUEUE_DISK"]).lacking(Area::Blkio), None);
        assert_eq!(without(&["REQUEST_RQ_DISK"]).lacking(Area::Blkio), None);
        let neither = without(&["REQUEST_RQ_DISK", "QUEUE_DISK"]);
        assert_eq!(neither.lacking(Area::Blkio).as_deref(), Some("request_queue.disk"));
    }

    #[test]
    fn without_block_cgroups_all_is_the_roots() {
        assert_eq!(without(&["BIO_BLKG", "BLKG_BLKCG", "BLKCG_CGROUP"]).lacking(Area::Blkio), None);
        assert_eq!(without(&["BLKG_BLKCG"]).lacking(Area::Blkio).as_deref(), Some("blkcg_gq.blkcg"));
    }

    #[test]
    fn finds_every_field_of_this_kernel() {
        let Ok(data) = std::fs::read("/sys/kernel/btf/vmlinux") else {
            println!("skipped: this kernel has no BTF");
            return;
        };
        let btf = Btf::parse(&data).unwrap();
        for cpu in [CpuController::Unified, CpuController::Cpu] {
            let offsets = Offsets::find(&btf, cpu, cpu == CpuController::Cpu);
            for area in AREAS {
                assert_eq!(offsets.lacking(area), None, "{area:?}");
            }
            assert_eq!(offsets.has("CSS_CGROUP"), cpu == CpuController::Cpu);
            assert!(
                offsets.has("CGROUP_CPU_SUMS") && offsets.has("CPU_SUM_RUN_NS") && offsets.has("MAP_PER_CPU")
            );
        }
    }
}
