//! `[[inputs.cpu]]`: time of each CPU and of the machine, from proc(5) `stat`.

use serde::Deserialize;

/// The section `[[inputs.cpu]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// One point for each CPU.
    pub percpu: bool,
    /// One point for the machine, `cpu-total`.
    pub totalcpu: bool,
    /// Also the cumulative `time_*` fields.
    pub collect_cpu_time: bool,
    /// Also `usage_active` and `time_active`.
    pub report_active: bool,
    /// Tags `core_id` and `physical_id`.
    pub core_tags: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { percpu: true, totalcpu: true, collect_cpu_time: false, report_active: false, core_tags: false }
    }
}
