//! How many CPUs and cores the machine has, from proc(5) `cpuinfo`, sysfs `devices/system/cpu`, and proc(5) `stat`.

use std::collections::HashSet;

use crate::host::Host;
use crate::host::file::KernelFile;
use crate::host::proc::{cpuinfo, stat};
use crate::inputs::{GatherError, read_text};

/// CPUs that are online, and the cores that they are in.
#[derive(Clone, Copy, Debug)]
pub(super) struct CpuCounts {
    pub(super) logical: i64,
    pub(super) physical: i64,
}

/// The counts, kept for as long as the same CPUs are online.
#[derive(Debug)]
pub(super) struct Cpus {
    online: KernelFile,
    /// sysfs's list of the CPUs that are online, and what was counted when it was read.
    kept: Option<(String, CpuCounts)>,
}

impl Cpus {
    pub(super) fn new(host: &Host) -> Self {
        Self { online: KernelFile::new(host.sys("devices/system/cpu/online")), kept: None }
    }

    /// Counts them, unless the same are online as before.
    ///
    /// Reading `cpuinfo` is expensive: the kernel asks each CPU for its frequency.
    pub(super) fn count(&mut self, host: &Host) -> Result<CpuCounts, GatherError> {
        let online = self.online.read().ok();
        match (&self.kept, &online) {
            (Some((then, counts)), Some(online)) if then == online => return Ok(*counts),
            _ => {}
        }
        let cpuinfo = read_text(&host.proc("cpuinfo"));
        let logical = count_logical(cpuinfo.as_deref().unwrap_or_default(), host)?;
        let physical = match count_siblings(host) {
            0 => count_cores(&cpuinfo?, host)?,
            cores => saturated(cores),
        };
        let counts = CpuCounts { logical, physical };
        self.kept = online.map(|online| (online, counts));
        Ok(counts)
    }
}

/// The CPUs in `cpuinfo`, or else those in `stat`.
fn count_logical(cpuinfo: &str, host: &Host) -> Result<i64, GatherError> {
    let count = match cpuinfo::n_cpus(cpuinfo) {
        0 => stat::n_cpus(&read_text(&host.proc("stat"))?),
        count => count,
    };
    Ok(saturated(count))
}

/// The cores by sysfs: distinct sets of siblings. 0 where it does not say.
fn count_siblings(host: &Host) -> usize {
    // The second is the name before Linux 5.3.
    for name in ["core_cpus_list", "thread_siblings_list"] {
        let folder = std::fs::read_dir(host.sys("devices/system/cpu")).into_iter().flatten().flatten();
        let cpus = folder.filter(|entry| {
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("cpu"));
            number.is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()))
        });
        let siblings = cpus.filter_map(|cpu| read_text(&cpu.path().join("topology").join(name)).ok());
        let cores: HashSet<_> = siblings.collect();
        if !cores.is_empty() {
            return cores.len();
        }
    }
    0
}

/// The cores of all packages in `cpuinfo`.
fn count_cores(cpuinfo: &str, host: &Host) -> Result<i64, GatherError> {
    cpuinfo::n_cores(cpuinfo).map_err(|error| {
        let what = format!("no number of cores: {error}");
        GatherError::Malformed { path: host.proc("cpuinfo"), what }
    })
}

fn saturated(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
