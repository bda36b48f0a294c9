//! The names of cAdvisor, for the inputs `ebpf`, `docker` and `kubernetes`.

use std::borrow::Cow;

use super::table::Figure::{Field, FieldOrZero, Time};
use super::table::{Labels, Metric, Profile, Source, counter, gauge};
use crate::point::Point;

pub(super) const PROFILE: Profile = Profile {
    name: "cadvisor",
    title: "The page of cAdvisor, by itself or in the kubelet (`/metrics/cadvisor`).",
    needs: "CPU, memory and block I/O are those of the input `ebpf`; interfaces, and user and system time, those of `docker` \
            (with `perdevice_include = [\"cpu\", \"network\"]`); the interface of pods that of `kubernetes`; `machine_*` those \
            of `system` and `mem`, without the ids of the machine that are cAdvisor's labels. The labels `id` and, in Kubernetes, \
            `name` are paths and ids, which make ever new series and are left out unless `tag_include = [\"cgroup\", \
            \"container_id\"]` of `ebpf` asks for them; what `docker` and `kubernetes` give has no `id`.",
    sources: SOURCES,
    left_out: LEFT_OUT,
};

const NANOS: f64 = 1e-9;
const MICROS: f64 = 1e-6;

const SOURCES: &[Source] = &[
    Source { measurement: "cgroup_cpu", labels: of_cpu, metrics: CPU },
    Source { measurement: "cgroup_cpu", labels: of_row, metrics: QUOTA },
    Source { measurement: "cgroup_mem", labels: of_row, metrics: MEM },
    Source { measurement: "cgroup_blkio", labels: of_disk, metrics: BLKIO },
    Source { measurement: "cgroup_pressure", labels: of_cpu_pressure, metrics: CPU_PRESSURE },
    Source { measurement: "cgroup_pressure", labels: of_memory_pressure, metrics: MEMORY_PRESSURE },
    Source { measurement: "cgroup_pressure", labels: of_io_pressure, metrics: IO_PRESSURE },
    Source { measurement: "docker_container_cpu", labels: of_docker_total, metrics: DOCKER_CPU },
    Source { measurement: "docker_container_net", labels: of_docker_interface, metrics: DOCKER_NET },
    Source { measurement: "kubernetes_pod_network", labels: of_pod_interface, metrics: POD_NET },
    Source { measurement: "system", labels: of_machine, metrics: SYSTEM },
    Source { measurement: "mem", labels: of_machine, metrics: MACHINE_MEM },
];

fn of_machine(_: &Point) -> Option<Labels<'_>> {
    Some(Vec::new())
}

/// A container of Kubernetes has the names of its pod, and its id for a name; another one has its own. What is no container has its
/// path alone.
fn of_row(point: &Point) -> Option<Labels<'_>> {
    let tag = |key: &str| point.tag_value(key);
    let mut labels: Labels<'_> = Vec::new();
    let mut add = |label: &'static str, value: Option<&'_ str>| {
        if let Some(value) = value {
            labels.push((label, Cow::Owned(value.to_owned())));
        }
    };
    add("id", tag("cgroup"));
    add("image", tag("container_image"));
    if tag("pod_name").is_some() {
        // What only holds a pod's namespaces has no name there.
        add("container", tag("container_name").filter(|name| *name != "POD"));
        add("pod", tag("pod_name"));
        add("namespace", tag("namespace"));
        add("name", tag("container_id"));
    } else {
        add("name", tag("container_name"));
    }
    (!labels.is_empty()).then_some(labels)
}

fn of_cpu(point: &Point) -> Option<Labels<'_>> {
    let mut labels = of_row(point)?;
    labels.push(("cpu", "total".into()));
    Some(labels)
}

fn of_disk(point: &Point) -> Option<Labels<'_>> {
    let mut labels = of_row(point)?;
    labels.push(("device", format!("/dev/{}", point.tag_value("device")?).into()));
    Some(labels)
}

fn of_pressure<'a>(point: &'a Point, resource: &str) -> Option<Labels<'a>> {
    (point.tag_value("resource")? == resource).then(|| of_row(point))?
}

fn of_cpu_pressure(point: &Point) -> Option<Labels<'_>> {
    of_pressure(point, "cpu")
}

fn of_memory_pressure(point: &Point) -> Option<Labels<'_>> {
    of_pressure(point, "memory")
}

fn of_io_pressure(point: &Point) -> Option<Labels<'_>> {
    of_pressure(point, "io")
}

fn of_docker(point: &Point) -> Option<Labels<'_>> {
    let (name, image) = (point.tag_value("container_name")?, point.tag_value("container_image")?);
    let image = match point.tag_value("container_version") {
        None | Some("unknown") => image.into(),
        Some(version) => format!("{image}:{version}").into(),
    };
    Some(vec![("name", name.into()), ("image", image)])
}

fn of_docker_total(point: &Point) -> Option<Labels<'_>> {
    (point.tag_value("cpu")? == "cpu-total").then(|| of_docker(point))?
}

fn of_docker_interface(point: &Point) -> Option<Labels<'_>> {
    let interface = point.tag_value("network").filter(|network| *network != "total")?;
    let mut labels = of_docker(point)?;
    labels.push(("interface", interface.into()));
    Some(labels)
}

/// The kubelet tells of the main interface without its name, and names it so nearly everywhere.
fn of_pod_interface(point: &Point) -> Option<Labels<'_>> {
    let (pod, namespace) = (point.tag_value("pod_name")?, point.tag_value("namespace")?);
    Some(vec![("interface", "eth0".into()), ("namespace", namespace.into()), ("pod", pod.into())])
}

const CPU: &[Metric] =
    &[counter("container_cpu_usage_seconds_total", Field("usage_ns", NANOS), "time on a CPU")];

const QUOTA: &[Metric] = &[
    counter(
        "container_cpu_cfs_periods_total",
        Field("nr_periods", 1.0),
        "periods of its CPU quota; with a quota",
    ),
    counter(
        "container_cpu_cfs_throttled_periods_total",
        Field("nr_throttled", 1.0),
        "those in which it was used up",
    ),
    counter(
        "container_cpu_cfs_throttled_seconds_total",
        Field("throttled_ns", NANOS),
        "how long it was held back",
    ),
    gauge("container_last_seen", Time, "when it was last looked at, since 1970"),
];

const MEM: &[Metric] = &[
    gauge("container_memory_usage_bytes", Field("usage_bytes", 1.0), "charged, with page cache"),
    gauge(
        "container_memory_working_set_bytes",
        Field("working_set_bytes", 1.0),
        "without inactive page cache",
    ),
    gauge("container_memory_rss", Field("rss_bytes", 1.0), "anonymous memory"),
    gauge("container_memory_cache", Field("cache_bytes", 1.0), "page cache"),
    gauge("container_spec_memory_limit_bytes", FieldOrZero("limit_bytes", 1.0), "the limit, or 0"),
    faults("page_faults").with(&[("failure_type", "pgfault"), ("scope", "container")]),
    faults("page_faults").with(&[("failure_type", "pgfault"), ("scope", "hierarchy")]),
    faults("major_page_faults").with(&[("failure_type", "pgmajfault"), ("scope", "container")]),
    faults("major_page_faults").with(&[("failure_type", "pgmajfault"), ("scope", "hierarchy")]),
    counter("container_oom_events_total", FieldOrZero("oom_kills", 1.0), "processes that were OOM-killed"),
];

const fn faults(field: &'static str) -> Metric {
    counter("container_memory_failures_total", Field(field, 1.0), "page faults")
}

/// The kernel's count of a cgroup is of the parts that it submits.
const REQUESTS: &str = "requests that completed; cAdvisor counts what was submitted, before parts are merged";

const BLKIO: &[Metric] = &[
    counter("container_fs_reads_bytes_total", Field("read_bytes", 1.0), "read"),
    counter("container_fs_writes_bytes_total", Field("write_bytes", 1.0), "written"),
    counter("container_fs_reads_total", Field("reads", 1.0), REQUESTS),
    counter("container_fs_writes_total", Field("writes", 1.0), REQUESTS),
];

const CPU_PRESSURE: &[Metric] = &[
    counter(
        "container_pressure_cpu_waiting_seconds_total",
        Field("some_total_us", MICROS),
        "some tasks waited",
    ),
    counter(
        "container_pressure_cpu_stalled_seconds_total",
        Field("full_total_us", MICROS),
        "all tasks waited",
    ),
];

const MEMORY_PRESSURE: &[Metric] = &[
    counter(
        "container_pressure_memory_waiting_seconds_total",
        Field("some_total_us", MICROS),
        "some tasks waited",
    ),
    counter(
        "container_pressure_memory_stalled_seconds_total",
        Field("full_total_us", MICROS),
        "all tasks waited",
    ),
];

const IO_PRESSURE: &[Metric] = &[
    counter(
        "container_pressure_io_waiting_seconds_total",
        Field("some_total_us", MICROS),
        "some tasks waited",
    ),
    counter(
        "container_pressure_io_stalled_seconds_total",
        Field("full_total_us", MICROS),
        "all tasks waited",
    ),
];

const DOCKER_CPU: &[Metric] = &[
    counter("container_cpu_user_seconds_total", Field("usage_in_usermode", NANOS), "in user mode"),
    counter("container_cpu_system_seconds_total", Field("usage_in_kernelmode", NANOS), "in the kernel"),
];

const DOCKER_NET: &[Metric] = &[
    counter("container_network_receive_bytes_total", Field("rx_bytes", 1.0), "received"),
    counter("container_network_receive_packets_total", Field("rx_packets", 1.0), "received"),
    counter("container_network_receive_errors_total", Field("rx_errors", 1.0), "received with an error"),
    counter(
        "container_network_receive_packets_dropped_total",
        Field("rx_dropped", 1.0),
        "received and dropped",
    ),
    counter("container_network_transmit_bytes_total", Field("tx_bytes", 1.0), "sent"),
    counter("container_network_transmit_packets_total", Field("tx_packets", 1.0), "sent"),
    counter("container_network_transmit_errors_total", Field("tx_errors", 1.0), "not sent for an error"),
    counter(
        "container_network_transmit_packets_dropped_total",
        Field("tx_dropped", 1.0),
        "dropped instead of sent",
    ),
];

const POD_NET: &[Metric] = &[
    counter("container_network_receive_bytes_total", Field("rx_bytes", 1.0), "received"),
    counter("container_network_receive_errors_total", Field("rx_errors", 1.0), "received with an error"),
    counter("container_network_transmit_bytes_total", Field("tx_bytes", 1.0), "sent"),
    counter("container_network_transmit_errors_total", Field("tx_errors", 1.0), "not sent for an error"),
];

const SYSTEM: &[Metric] = &[
    gauge("machine_cpu_cores", Field("n_cpus", 1.0), "CPUs"),
    gauge("machine_cpu_physical_cores", Field("n_physical_cpus", 1.0), "cores"),
];

const MACHINE_MEM: &[Metric] = &[
    gauge("machine_memory_bytes", Field("total", 1.0), "the machine's memory"),
    gauge("machine_swap_bytes", Field("swap_total", 1.0), "its swap space"),
];

/// No field has it.
const NO_INPUT: &str = "no input gathers it";
/// By default cAdvisor in the kubelet has none of these either.
const EXTRA: &str = "one of those that cAdvisor has on request";

const LEFT_OUT: &[(&str, &str)] = &[
    ("go_*", "about cAdvisor itself; of this agent it is the measurement `seismograf`"),
    ("process_*", "likewise"),
    ("promhttp_*", "likewise"),
    ("cadvisor_version_info", "likewise"),
    ("container_scrape_error", "likewise"),
    ("container_blkio_device_usage_total", "points have the names of disks, and not their numbers"),
    ("container_cpu_load_*", NO_INPUT),
    ("container_cpu_schedstat_*", "`ebpf` has `runqueue_wait_ns` of each row with its probe `runqueue`"),
    ("container_file_descriptors", NO_INPUT),
    (
        "container_fs_inodes_*",
        "the size of the file system that a container is on: `disk` has it, by mount point",
    ),
    ("container_fs_io_*", "the kernel has it for disks alone, where `diskio` gathers it"),
    (
        "container_fs_limit_bytes",
        "the size of the file system that a container is on: `disk` has it, by mount point",
    ),
    (
        "container_fs_read_seconds_total",
        "`ebpf` has the sum of latencies, which is another number than the kernel's",
    ),
    ("container_fs_reads_merged_total", NO_INPUT),
    ("container_fs_sector_*", NO_INPUT),
    (
        "container_fs_usage_bytes",
        "`docker` has it with `storage_objects`, `kubernetes` as `rootfs_used_bytes`",
    ),
    (
        "container_fs_write_seconds_total",
        "`ebpf` has the sum of latencies, which is another number than the kernel's",
    ),
    ("container_fs_writes_merged_total", NO_INPUT),
    ("container_health_state", "`docker` has it as a text"),
    ("container_hugetlb_*", EXTRA),
    ("container_llc_occupancy_bytes", EXTRA),
    ("container_memory_bandwidth_*", EXTRA),
    ("container_memory_failcnt", "of `docker`, under cgroup v1 and once it is not 0; it is on no other page"),
    ("container_memory_kernel_usage", NO_INPUT),
    ("container_memory_mapped_file", NO_INPUT),
    ("container_memory_max_usage_bytes", NO_INPUT),
    ("container_memory_migrate", EXTRA),
    ("container_memory_numa_pages", EXTRA),
    ("container_memory_swap", NO_INPUT),
    ("container_memory_total_*", NO_INPUT),
    ("container_network_advance_tcp_stats_total", EXTRA),
    ("container_network_tcp*", EXTRA),
    ("container_network_udp*", EXTRA),
    ("container_perf_*", EXTRA),
    ("container_processes", NO_INPUT),
    ("container_referenced_bytes", EXTRA),
    ("container_sockets", NO_INPUT),
    ("container_spec_cpu_*", NO_INPUT),
    ("container_spec_memory_reservation_limit_bytes", NO_INPUT),
    ("container_spec_memory_swap_limit_bytes", NO_INPUT),
    ("container_start_time_seconds", "no field has when a container was made"),
    ("container_tasks_state", NO_INPUT),
    ("container_threads*", NO_INPUT),
    ("container_ulimits_soft", NO_INPUT),
    ("machine_cpu_cache_capacity_bytes", EXTRA),
    ("machine_cpu_sockets", NO_INPUT),
    ("machine_dimm_*", EXTRA),
    ("machine_node_*", EXTRA),
    ("machine_nvm_*", EXTRA),
    ("machine_scrape_error", "about cAdvisor itself"),
    ("machine_thread_siblings_count", EXTRA),
];
