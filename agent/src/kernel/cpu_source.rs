//! Where CPU time comes from: a program at each context switch, or the sums that the kernel keeps anyway.

use aya::Btf as AyaBtf;
use aya_obj::btf::BtfKind;
use serde::Deserialize;

use super::btf::CGROUP_ITERATOR;
use super::offsets::Offsets;
use crate::host::hierarchies::{CpuController, Hierarchies, HierarchyId};

/// The fields of the kernel by which its sums are found.
const FIELDS: [&str; 3] = ["CGROUP_CPU_SUMS", "CPU_SUM_RUN_NS", "MAP_PER_CPU"];

/// Where CPU time comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CpuSource {
    /// A program at each context switch.
    #[default]
    Probe,
    /// The kernel's own sums, read once a gather and when a cgroup goes. They have no context switches, and nothing of the root
    /// cgroup.
    Kernel,
}

/// Why the kernel's sums cannot be read here, if they cannot.
pub(super) fn obstacle(
    hierarchies: &Hierarchies,
    (offsets, btf): (&Offsets, &AyaBtf),
    is_confidential: bool,
) -> Option<&'static str> {
    let (controller, _) = hierarchies.cpu();
    if controller != CpuController::Unified || hierarchies.memory() != HierarchyId::UNIFIED {
        Some("the controllers of CPU time and memory are not in cgroup2")
    } else if is_confidential {
        Some("the kernel is locked down to confidentiality")
    } else if btf.id_by_type_name_kind(CGROUP_ITERATOR, BtfKind::Func).is_err() {
        Some("the kernel has no iterator over cgroups, as Linux 6.1 has")
    } else if !FIELDS.iter().all(|field| offsets.has(field)) {
        Some("this kernel keeps them elsewhere")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::btf::{Btf, TASK_ITERATOR};

    #[test]
    fn the_sums_are_used_where_they_are_whole_and_can_be_read() {
        let Ok(data) = std::fs::read("/sys/kernel/btf/vmlinux") else {
            println!("skipped: this kernel has no BTF");
            return;
        };
        let btf = Btf::parse(&data).unwrap();
        let types = |function| {
            AyaBtf::parse(&btf.typedefs_and("btf_trace_cgroup", &[function]), aya::Endianness::default())
                .unwrap()
        };
        let (with, without) = (types(CGROUP_ITERATOR), types(TASK_ITERATOR));
        let unified = Hierarchies::parse("0::/\n", "");
        let [of_unified, of_v1] = [CpuController::Unified, CpuController::Cpuacct]
            .map(|cpu| Offsets::find(&btf, cpu, cpu == CpuController::Cpuacct));
        assert_eq!(obstacle(&unified, (&of_unified, &with), false), None);
        let why = |hierarchies, is_confidential, types| {
            obstacle(hierarchies, (&of_v1, types), is_confidential).unwrap_or_default()
        };
        assert!(why(&unified, true, &with).contains("locked down"));
        assert!(why(&unified, false, &without).contains("Linux 6.1"));
        let v1 = Hierarchies::parse(
            "3:cpuacct:/\n0::/\n",
            "35 30 0:30 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct\n",
        );
        assert!(why(&v1, false, &with).contains("cgroup2"));
    }
}
