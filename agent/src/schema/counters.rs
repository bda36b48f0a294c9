//! Which fields count up, and since when: what Prometheus calls a counter, and OpenTelemetry a monotonic sum.
//!
//! All others are of the moment of their point, or of an interval.

use super::agent::SEISMOGRAF;
use super::exposed::is_of_this_moment;

/// When a counter stood at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// At the machine's boot: the kernel keeps it. What came later, such as a container, had nothing then.
    Boot,
    /// Likewise, and a total goes on over a boot as the `statefile` has it.
    KeptFromBoot,
    /// When the agent started, or the run before whose totals the `statefile` has.
    Kept,
    /// When the agent's process started.
    Process,
    /// At a time that only others know, whose point it is.
    Unknown,
}

/// The fields that every measurement of a row's block I/O has.
const BLKIO: &[&str] = &["read_bytes", "write_bytes", "discard_bytes", "reads", "writes", "discards"];
const BLKIO_BESIDE: &[&str] = &["errors", "read_time_ns", "write_time_ns"];
const NETWORK: &[&str] = &[
    "rx_bytes",
    "tx_bytes",
    "rx_packets",
    "tx_packets",
    "tx_dropped_bytes",
    "tx_dropped_packets",
    "tcp_retransmits",
];
const MEMORY: &[&str] = &["page_faults", "major_page_faults", "oom_kills"];

/// The counters of each measurement but the agent's own.
const COUNTERS: &[(&str, Since, &[&str])] = &[
    (
        "cpu",
        Since::Boot,
        &[
            "time_user",
            "time_system",
            "time_idle",
            "time_nice",
            "time_iowait",
            "time_irq",
            "time_softirq",
            "time_steal",
            "time_guest",
            "time_guest_nice",
            "time_active",
        ],
    ),
    ("swap", Since::Boot, &["in", "out"]),
    ("system", Since::Boot, &["uptime"]),
    (
        "kernel",
        Since::Boot,
        &[
            "interrupts",
            "context_switches",
            "processes_forked",
            "disk_pages_in",
            "disk_pages_out",
            "ksm_full_scans",
        ],
    ),
    ("pressure", Since::Boot, &["total"]),
    (
        "diskio",
        Since::Boot,
        &[
            "reads",
            "writes",
            "read_bytes",
            "write_bytes",
            "read_time",
            "write_time",
            "io_time",
            "weighted_io_time",
            "merged_reads",
            "merged_writes",
        ],
    ),
    (
        "net",
        Since::Boot,
        &[
            "bytes_recv",
            "bytes_sent",
            "packets_recv",
            "packets_sent",
            "err_in",
            "err_out",
            "drop_in",
            "drop_out",
        ],
    ),
    ("cgroup_cpu", Since::KeptFromBoot, &["usage_ns", "nr_periods", "nr_throttled", "throttled_ns"]),
    ("cgroup_cpu", Since::Kept, &["context_switches", "runqueue_wait_ns"]),
    ("cgroup_blkio", Since::KeptFromBoot, BLKIO),
    ("cgroup_blkio", Since::Kept, BLKIO_BESIDE),
    ("cgroup_net", Since::Kept, NETWORK),
    ("cgroup_mem", Since::KeptFromBoot, MEMORY),
    ("cgroup_pressure", Since::KeptFromBoot, &["some_total_us", "full_total_us"]),
    ("pod_cpu", Since::KeptFromBoot, &["usage_ns"]),
    ("pod_cpu", Since::Kept, &["context_switches"]),
    ("pod_blkio", Since::KeptFromBoot, BLKIO),
    ("pod_blkio", Since::Kept, BLKIO_BESIDE),
    ("pod_net", Since::Kept, NETWORK),
    ("pod_mem", Since::KeptFromBoot, MEMORY),
    (
        "docker_container_mem",
        Since::Boot,
        &[
            "fail_count",
            "pgfault",
            "pgmajfault",
            "pgpgin",
            "pgpgout",
            "total_pgfault",
            "total_pgmajfault",
            "total_pgpgin",
            "total_pgpgout",
        ],
    ),
    ("docker_container_status", Since::Unknown, &["restart_count"]),
    (
        "docker_container_cpu",
        Since::Boot,
        &[
            "usage_total",
            "usage_in_usermode",
            "usage_in_kernelmode",
            "usage_system",
            "throttling_periods",
            "throttling_throttled_periods",
            "throttling_throttled_time",
        ],
    ),
    (
        "docker_container_net",
        Since::Boot,
        &[
            "rx_bytes",
            "rx_packets",
            "rx_errors",
            "rx_dropped",
            "tx_bytes",
            "tx_packets",
            "tx_errors",
            "tx_dropped",
        ],
    ),
    (
        "docker_container_blkio",
        Since::Boot,
        &[
            "io_service_bytes_recursive_read",
            "io_service_bytes_recursive_write",
            "io_service_bytes_recursive_sync",
            "io_service_bytes_recursive_async",
            "io_service_bytes_recursive_discard",
            "io_service_bytes_recursive_total",
            "io_serviced_recursive_read",
            "io_serviced_recursive_write",
            "io_serviced_recursive_sync",
            "io_serviced_recursive_async",
            "io_serviced_recursive_discard",
            "io_serviced_recursive_total",
        ],
    ),
    (
        "kubernetes_node",
        Since::Boot,
        &[
            "cpu_usage_core_nanoseconds",
            "memory_page_faults",
            "memory_major_page_faults",
            "network_rx_bytes",
            "network_rx_errors",
            "network_tx_bytes",
            "network_tx_errors",
        ],
    ),
    ("kubernetes_system_container", Since::Boot, KUBERNETES),
    ("kubernetes_pod_container", Since::Boot, KUBERNETES),
    ("kubernetes_pod_network", Since::Boot, &["rx_bytes", "rx_errors", "tx_bytes", "tx_errors"]),
    (
        "internal_agent",
        Since::Process,
        &[
            "metrics_gathered",
            "gather_errors",
            "gather_timeouts",
            "metrics_written",
            "metrics_rejected",
            "metrics_dropped",
            "write_errors",
        ],
    ),
    (
        "internal_gather",
        Since::Process,
        &["metrics_gathered", "gather_timeouts", "errors", "gather_errors", "startup_errors"],
    ),
    (
        "internal_write",
        Since::Process,
        &[
            "metrics_added",
            "metrics_written",
            "metrics_rejected",
            "metrics_dropped",
            "metrics_filtered",
            "errors",
            "write_errors",
            "startup_errors",
        ],
    ),
    (
        "internal_serializer",
        Since::Process,
        &["metrics_serialized", "bytes_serialized", "serialization_time_ns", "errors"],
    ),
];

const KUBERNETES: &[&str] = &["cpu_usage_core_nanoseconds", "memory_page_faults", "memory_major_page_faults"];

/// When a field's value was 0, if it counts up; `None` of all others, and of what is not described here.
pub(crate) fn counter(measurement: &str, field: &str) -> Option<Since> {
    if measurement == SEISMOGRAF.name {
        // The balance is remembered with the rows.
        let is_kept = ["rows", "machine_", "overflow_"].iter().any(|start| field.starts_with(start));
        let is_known = SEISMOGRAF.fields.iter().any(|known| known.name == field);
        return (is_known && !is_of_this_moment(field)).then_some(if is_kept {
            Since::Kept
        } else {
            Since::Process
        });
    }
    let mut of = COUNTERS.iter().filter(|(name, _, _)| *name == measurement);
    of.find(|(_, _, fields)| fields.contains(&field)).map(|(_, since, _)| *since)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Kind, MEASUREMENTS};

    #[test]
    fn what_counts_is_described_and_has_a_number() {
        for (name, _, fields) in COUNTERS {
            let measurement = MEASUREMENTS.iter().find(|known| known.name == *name);
            let measurement = measurement.unwrap_or_else(|| panic!("no such measurement: {name}"));
            for field in *fields {
                let known = measurement.fields.iter().find(|known| known.name == *field);
                let known = known.unwrap_or_else(|| panic!("{name}: no such field: {field}"));
                assert!(matches!(known.kind, Kind::Int | Kind::UInt | Kind::Float), "{name}: {field}");
                // A share of an interval or of a whole does not count.
                assert_ne!(known.unit, "%", "{name}: {field}");
            }
        }
    }

    #[test]
    fn tells_counters_from_what_is_of_the_moment() {
        assert_eq!(counter("cgroup_cpu", "usage_ns"), Some(Since::KeptFromBoot));
        assert_eq!(counter("cgroup_net", "rx_bytes"), Some(Since::Kept));
        assert_eq!(counter("diskio", "iops_in_progress"), None);
        assert_eq!(counter("cgroup_mem", "usage_bytes"), None);
        assert_eq!(counter("cpu", "usage_user"), None);
        assert_eq!(counter("seismograf", "rss_bytes"), None);
        assert_eq!(counter("seismograf", "written"), Some(Since::Process));
        assert_eq!(counter("seismograf", "rows_ns"), Some(Since::Kept));
        assert_eq!(counter("seismograf", "nothing"), None);
        assert_eq!(counter("of_others", "bytes"), None);
    }
}
