//! What a configuration lets the agent take of a machine: memory, disk, connections, open files, series.

use std::fmt;

use super::Config;
use crate::host::cgroupfs;
use crate::outputs;
use crate::plugins::PluginTable as _;
use crate::service::budget::Budget;

/// The program with its threads, and what inputs keep that read a few files of the host.
const PROGRAM: u64 = 32 << 20;
/// What is known of one series where they are limited, in a table that was just doubled.
const SERIES: u64 = 40;

/// What a configuration lets the agent take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// What each part takes; those that take nothing are left out.
    pub parts: Vec<(&'static str, Budget)>,
    /// Files that are open at one time.
    pub files: u64,
    /// Series of all inputs; 0 is no limit.
    pub series: u64,
}

impl Budgets {
    /// What all parts take.
    #[must_use]
    pub fn sum(&self) -> Budget {
        self.parts.iter().map(|(_, budget)| *budget).sum()
    }

    /// Memory, and what each part has of it.
    #[must_use]
    pub fn memory(&self) -> String {
        self.shares(|budget| budget.memory)
    }

    /// Files that are kept, and what each part has of them.
    #[must_use]
    pub fn disk(&self) -> String {
        self.shares(|budget| budget.disk)
    }

    /// Series, in words.
    #[must_use]
    pub fn series(&self) -> String {
        if self.series == 0 {
            "no limit: set metric_series_limit in [agent]".into()
        } else {
            self.series.to_string()
        }
    }

    fn shares(&self, of: impl Fn(&Budget) -> u64) -> String {
        let parts =
            self.parts.iter().map(|(name, budget)| (name, of(budget))).filter(|(_, share)| *share > 0);
        let parts: Vec<String> = parts.map(|(name, share)| format!("{name} {}", Mib(share))).collect();
        let sum = Mib(of(&self.sum()));
        if parts.is_empty() { sum.to_string() } else { format!("{sum}: {}", parts.join(", ")) }
    }
}

/// Bytes as a person reads them: in MiB, and not fewer than there are.
struct Mib(u64);

impl fmt::Display for Mib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB", self.0.div_ceil(1 << 20))
    }
}

impl Config {
    /// What the agent takes at most on a machine on which there can be so many CPUs.
    #[must_use]
    pub fn budgets(&self, cpus: u64) -> Budgets {
        let series = self.agent.metric_series_limit as u64;
        let memory = |memory| Budget { memory, ..Budget::default() };
        let mut parts = vec![("program", memory(PROGRAM)), ("series", memory(series.saturating_mul(SERIES)))];
        parts
            .extend(self.inputs.iter().map(|section| (section.options.name(), section.options.budget(cpus))));
        parts.extend(self.outputs.iter().map(|section| {
            (section.options.name(), section.options.budget(cpus) + outputs::budget::of_all(&section.common))
        }));
        parts.retain(|(_, budget)| *budget != Budget::default());
        Budgets { parts, files: cgroupfs::reader::most_open(), series }
    }
}
