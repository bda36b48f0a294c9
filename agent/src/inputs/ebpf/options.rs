//! The section `[[inputs.ebpf]]` of the configuration, and the selection of cgroups that it makes.
//!
//! Pure: nothing is loaded or read here.

use std::time::Duration;

use globset::{Glob, GlobSet, GlobSetBuilder};
use serde::Deserialize;

use crate::identity::series::SeriesOptions;
use crate::kernel::cpu_source::CpuSource;
use crate::kernel::plan::{Probe, ProbeOptions};
use crate::options::{OptionError, nearest};

/// What is asked of the kernel, and where it is pinned.
pub(super) type Asked = (ProbeOptions, Option<String>);

/// Tags that rows have only on request.
const TAGS_ON_REQUEST: &[&str] = &["cgroup", "container_id", "pod_uid"];
/// Where probes are pinned.
const PIN_PATH: &str = "/sys/fs/bpf/seismograf";
/// The size of the ring buffer.
const DEFAULT_RING_BYTES: u32 = 1 << 20;

/// What is read of each cgroup from the files of cgroupfs, in addition to what the probes count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupfsReading {
    /// Memory, as `cgroup_mem`.
    Mem,
    /// What a CPU quota did, in `cgroup_cpu`.
    Throttling,
    /// Pressure stall information, as `cgroup_pressure`.
    Pressure,
}

/// The section `[[inputs.ebpf]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EbpfOptions {
    /// The probe groups to load.
    pub probes: Vec<Probe>,
    /// Where CPU time comes from: `probe`, a program at each context switch, or `kernel`, the sums that the kernel keeps anyway,
    /// read once a gather and when a cgroup goes. These have no context switches, nothing of the root cgroup, and need cgroup2
    /// and Linux 6.1; else the probe counts.
    pub cpu_source: CpuSource,
    /// What else is read of each cgroup, from the files of cgroupfs.
    pub cgroupfs: Vec<CgroupfsReading>,
    /// The longest time that a delta stays in the kernel's cache.
    #[serde(deserialize_with = "crate::options::duration::deserialize_or::<_, 10>")]
    pub flush_period: Duration,
    /// Size of the ring buffer; rounded up to a power of two of pages.
    #[serde(deserialize_with = "crate::options::duration::deserialize_size_or::<_, DEFAULT_RING_BYTES>")]
    pub ring_bytes: u32,
    /// Only cgroups whose path matches one of these globs; empty means all.
    pub cgroup_include: Vec<String>,
    /// No cgroups whose path matches one of these globs.
    pub cgroup_exclude: Vec<String>,
    /// Have the kernel measure what each probe costs, and publish it (measurement `seismograf`, part `probe`).
    pub probe_costs: bool,
    /// Put the places of the kernel's fields into the programs' instructions, which makes them faster. To compare: where the
    /// kernel refuses a program in that form, all are loaded as they were built anyway.
    pub fold: bool,
    /// Pin probes, tables and ring buffer, so that the kernel goes on counting while the agent is replaced. Needs a
    /// `statefile` below `[agent]`.
    pub pin: bool,
    /// Where they are pinned: a directory of a BPF file system, for this agent alone.
    pub pin_path: String,
    /// Tags that are only added on request, since they make each instance a series of its own: `cgroup`, `container_id`,
    /// `pod_uid`.
    pub tag_include: Vec<String>,
    /// Whether the pods of a job are one row, or each has its own.
    pub job_pods: JobPods,
}

/// The rows of the pods of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobPods {
    /// One for all of them, by workload and container.
    #[default]
    Sum,
    /// One for each.
    Each,
}

impl EbpfOptions {
    /// The part that concerns the probes.
    #[must_use]
    pub fn kernel(&self) -> ProbeOptions {
        let Self { probes, ring_bytes, probe_costs, fold, cpu_source, .. } = self;
        let (ring_bytes, probe_costs, fold, cpu_source) = (*ring_bytes, *probe_costs, *fold, *cpu_source);
        ProbeOptions { probes: probes.clone(), ring_bytes, probe_costs, fold, cpu_source }
    }

    /// What is asked of the kernel, and where it is pinned.
    pub(super) fn asked(&self) -> Asked {
        (self.kernel(), self.pin.then(|| self.pin_path().to_owned()))
    }

    /// How rows are told apart.
    pub(super) fn series(&self) -> SeriesOptions<'_> {
        SeriesOptions { tag_include: &self.tag_include, each_job_pod: self.job_pods == JobPods::Each }
    }

    /// Tags that there are not.
    pub(super) fn remarks(&self) -> Vec<OptionError> {
        let unknown = self.tag_include.iter().filter(|tag| !TAGS_ON_REQUEST.contains(&tag.as_str()));
        let what = |tag: &String| {
            let (near, all) = (nearest(tag, TAGS_ON_REQUEST), TAGS_ON_REQUEST.join(", "));
            format!("there is no `{tag}`{near}; there are: {all}")
        };
        unknown.map(|tag| OptionError::new("tag_include", what(tag))).collect()
    }

    /// Where probes are pinned, if they are.
    #[must_use]
    pub fn pin_path(&self) -> &str {
        if self.pin_path.is_empty() { PIN_PATH } else { &self.pin_path }
    }

    /// Whether probes are pinned there.
    pub(super) fn is_pinned_at(&self, path: &str) -> bool {
        self.pin && self.pin_path() == path
    }

    /// Whether `reading` is requested.
    pub(super) fn reads(&self, reading: CgroupfsReading) -> bool {
        self.cgroupfs.contains(&reading)
    }
}

impl Default for EbpfOptions {
    fn default() -> Self {
        Self {
            probes: vec![Probe::Cpu, Probe::Blkio, Probe::Net],
            cpu_source: CpuSource::Probe,
            cgroupfs: vec![CgroupfsReading::Mem, CgroupfsReading::Throttling, CgroupfsReading::Pressure],
            flush_period: Duration::from_secs(10),
            ring_bytes: DEFAULT_RING_BYTES,
            cgroup_include: Vec::new(),
            cgroup_exclude: Vec::new(),
            probe_costs: false,
            fold: true,
            pin: false,
            pin_path: PIN_PATH.to_owned(),
            tag_include: Vec::new(),
            job_pods: JobPods::Sum,
        }
    }
}

/// Which cgroups are reported, by path.
pub(super) struct Selection {
    include: GlobSet,
    exclude: GlobSet,
}

impl Selection {
    /// # Errors
    /// When a pattern is not a valid glob.
    pub(super) fn new(options: &EbpfOptions) -> Result<Self, OptionError> {
        let set = |option, globs: &[String]| -> Result<GlobSet, OptionError> {
            let invalid = |error: globset::Error| OptionError::new(option, error.to_string());
            let mut builder = GlobSetBuilder::new();
            for glob in globs {
                builder.add(Glob::new(glob).map_err(invalid)?);
            }
            builder.build().map_err(invalid)
        };
        Ok(Self {
            include: set("cgroup_include", &options.cgroup_include)?,
            exclude: set("cgroup_exclude", &options.cgroup_exclude)?,
        })
    }

    pub(super) fn takes(&self, path: &str) -> bool {
        // An empty set still takes a path apart before it finds nothing to match.
        (self.include.is_empty() || self.include.is_match(path))
            && (self.exclude.is_empty() || !self.exclude.is_match(path))
    }
}
