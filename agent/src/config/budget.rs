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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::env::Environment;
    use crate::config::file;
    use crate::config::reading::{Reading, Source};
    use crate::kernel::object::map_bytes;

    fn budgets(text: &str, cpus: u64) -> Budgets {
        let source = Source { path: "a.conf".into(), text: text.into() };
        let variable =
            |name: &str| Some(if name.ends_with("HOST") { "http://a:8086" } else { "a" }.to_owned());
        file::load(&[source], &Reading::of_text(Environment::strict(&variable), "h")).unwrap().budgets(cpus)
    }

    /// A limit of memory in what is shipped, in bytes.
    fn limit(text: &str, key: &str, unit: &str) -> u64 {
        let values = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix(key)?.strip_suffix(unit)?.parse::<u64>().ok());
        values.max().unwrap() << 20
    }

    #[rstest::rstest]
    #[case(include_str!("../../../deploy/kubernetes/base/seismograf.conf"), include_str!("../../../deploy/kubernetes/base/daemonset.yaml"), "memory: ", "Mi")]
    #[case(include_str!("../../../deploy/kubernetes/base/seismograf.conf"), include_str!("../../../deploy/helm/seismograf/values.yaml"), "memory: ", "Mi")]
    #[case(include_str!("../../../deploy/kubernetes/sidecar-app/seismograf.conf"), include_str!("../../../deploy/kubernetes/sidecar-app/app.yaml"), "memory: ", "Mi")]
    #[case(include_str!("../../../deploy/kubernetes/sidecar/two-containers/seismograf.conf"), include_str!("../../../deploy/kubernetes/sidecar/two-containers/etcd.yaml"), "memory: ", "Mi")]
    #[case(include_str!("default.conf"), include_str!("../../../deploy/systemd/seismograf.service"), "MemoryMax=", "M")]
    fn what_is_shipped_is_within_its_limit_on_any_machine(
        #[case] config: &str,
        #[case] manifest: &str,
        #[case] key: &str,
        #[case] unit: &str,
    ) {
        let budgets = budgets(config, 256);
        let limit = limit(manifest, key, unit);
        // Nobody can tell what maps take of an object that is not built.
        let is_built = map_bytes(1 << 20, 256) > 0;
        let is_tight = limit <= 2 * budgets.sum().memory || !is_built;
        assert!(budgets.sum().memory <= limit && is_tight, "{}", budgets.memory());
    }

    #[test]
    fn each_option_that_takes_something_counts() {
        let output = "[[outputs.influxdb]]\nurls = [\"http://a:1\", \"http://b:1\"]\n";
        let of = |text: &str| budgets(&format!("{text}\n{output}"), 2);
        let least = of("");
        assert_eq!(least.memory(), "50 MiB: program 32 MiB, influxdb 18 MiB");
        assert_eq!((least.disk(), least.sum().connections), ("0 MiB".into(), 4));
        assert!(least.series().starts_with("no limit"));
        let spool = of(
            "[agent]\nbuffer_strategy = \"disk\"\nbuffer_directory = \"/a\"\nbuffer_disk_limit = \"3MiB\"",
        );
        assert_eq!(spool.disk(), "3 MiB: influxdb 3 MiB");
        let buffer = of("[agent]\nmetric_buffer_limit = 100000\nmetric_series_limit = 1000000");
        assert_eq!(buffer.memory(), "176 MiB: program 32 MiB, series 39 MiB, influxdb 106 MiB");
        assert_eq!(buffer.series(), "1000000");
        let listener = of("[[inputs.influxdb_listener]]").sum();
        assert_eq!(listener.memory - least.sum().memory, 48 << 20);
        assert_eq!(listener.connections, 1_028);
        assert_eq!(of("[[inputs.socket_listener]]\nservice_address = \"udp://:1\"").sum().connections, 4);
    }
}
