//! Where CPU time comes from: a program at each context switch, or the sums that the kernel keeps anyway.

use std::fs::File;
use std::io::{BufRead, BufReader};

use seismograf_ebpf::abi::ABSENT;
use serde::Deserialize;

use super::offsets::Offsets;
use crate::host::Host;
use crate::host::hierarchies::{CpuController, Hierarchies, HierarchyId};

/// The kernel's table of how far the memory of each CPU is from that of the first.
const PER_CPU_OFFSETS: &str = "__per_cpu_offset";

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

/// Where the kernel has [`PER_CPU_OFFSETS`], by which its sums are found.
///
/// # Errors
/// Why its sums cannot be read here.
pub(super) fn per_cpu_offsets(
    host: &Host,
    hierarchies: &Hierarchies,
    offsets: &Offsets,
    is_confidential: bool,
) -> Result<u64, &'static str> {
    let (controller, _) = hierarchies.cpu();
    if controller != CpuController::Unified || hierarchies.memory() != HierarchyId::UNIFIED {
        return Err("the controllers of CPU time and memory are not in cgroup2");
    }
    if is_confidential {
        return Err("the kernel is locked down to confidentiality");
    }
    let known = |name: &str| offsets.globals().iter().any(|&(global, at)| global == name && at != ABSENT);
    if !known("CGROUP_CPU_SUMS") || !known("CPU_SUM_RUN_NS") {
        return Err("this kernel keeps them elsewhere");
    }
    let symbols = File::open(host.proc("kallsyms")).map_err(|_| "/proc/kallsyms cannot be read")?;
    address(BufReader::new(symbols), PER_CPU_OFFSETS)
        .ok_or("/proc/kallsyms has no addresses: set kernel.kptr_restrict to 1 or 0")
}

/// The address of a symbol in the lines of `/proc/kallsyms`; `None` where it is not told.
fn address(mut symbols: impl BufRead, name: &str) -> Option<u64> {
    let mut line = String::new();
    while symbols.read_line(&mut line).ok()? > 0 {
        // `ffffffff82a1b2c0 D __per_cpu_offset`
        let mut words = line.split_ascii_whitespace();
        let (address, symbol) = (words.next()?, words.nth(1));
        if symbol == Some(name) {
            return u64::from_str_radix(address, 16).ok().filter(|address| *address != 0);
        }
        line.clear();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_by_its_symbol() {
        let symbols = "ffffffff82a1b2b8 D __per_cpu_offset_not\nffffffff82a1b2c0 D __per_cpu_offset\nffffffffc0 t x [module]\n";
        assert_eq!(address(symbols.as_bytes(), PER_CPU_OFFSETS), Some(0xffff_ffff_82a1_b2c0));
        assert_eq!(address(symbols.as_bytes(), "x"), Some(0xff_ffff_ffc0));
        assert_eq!(address(symbols.as_bytes(), "y"), None);
        // To those who may not know.
        let hidden = "0000000000000000 D __per_cpu_offset\n";
        assert_eq!(address(hidden.as_bytes(), PER_CPU_OFFSETS), None);
        assert_eq!(address("\n".as_bytes(), PER_CPU_OFFSETS), None);
    }
}
