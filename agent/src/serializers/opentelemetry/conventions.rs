//! OpenTelemetry's semantic conventions: which metric a field is, and which attribute a tag.
//!
//! Data. Source: `model/{container,k8s,system}` of <https://github.com/open-telemetry/semantic-conventions> as of August 2026, after
//! version 1.43. Where a convention has several attributes for one metric, such as `cpu.mode`, a field is one of their values.

use super::batch::Kind::{self, Counter, Gauge, UpDown};

/// What becomes of the points of a measurement.
#[derive(Debug)]
pub(super) struct Convention {
    pub(super) measurement: &'static str,
    /// Which points it is for.
    pub(super) of: Of,
    /// Tags and the attributes of data points that they are; others keep their names.
    pub(super) tags: &'static [(&'static str, &'static str)],
    pub(super) metrics: &'static [Metric],
}

/// Which points a convention is for.
#[derive(Debug)]
pub(super) enum Of {
    All,
    /// Those of a container.
    Containers,
    /// Those whose tag has this value, and no attribute for it.
    Total(&'static str, &'static str),
    /// Those whose tag has another value.
    Each(&'static str, &'static str),
}

/// A metric that a field is, or a part of one.
#[derive(Debug)]
pub(super) struct Metric {
    pub(super) field: &'static str,
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) kind: Kind,
    /// What the value is divided by; 1 leaves an integer one.
    pub(super) divisor: f64,
    /// Which part of it.
    pub(super) attribute: Option<(&'static str, &'static str)>,
}

const fn metric(field: &'static str, name: &'static str, unit: &'static str, kind: Kind) -> Metric {
    Metric { field, name, unit, kind, divisor: 1.0, attribute: None }
}

impl Metric {
    const fn by(self, divisor: f64) -> Self {
        Self { divisor, ..self }
    }

    const fn where_(self, key: &'static str, value: &'static str) -> Self {
        Self { attribute: Some((key, value)), ..self }
    }
}

/// Tags that say what a point is about, and the attributes of a resource that they are.
pub(super) const RESOURCES: &[(&str, &str)] = &[
    ("host", "host.name"),
    ("container_id", "container.id"),
    ("runtime", "container.runtime.name"),
    ("pod_name", "k8s.pod.name"),
    ("pod_uid", "k8s.pod.uid"),
    ("namespace", "k8s.namespace.name"),
    ("node_name", "k8s.node.name"),
    // Without a convention.
    ("unit", "unit"),
    ("cgroup", "cgroup"),
];

/// What made a pod, and the attribute that is its name.
pub(super) const WORKLOADS: &[(&str, &str)] = &[
    ("cronjob", "k8s.cronjob.name"),
    ("daemonset", "k8s.daemonset.name"),
    ("deployment", "k8s.deployment.name"),
    ("job", "k8s.job.name"),
    ("replicaset", "k8s.replicaset.name"),
    ("replicationcontroller", "k8s.replicationcontroller.name"),
    ("statefulset", "k8s.statefulset.name"),
];

const MODE: &str = "cpu.mode";
const STATE: &str = "system.memory.state";
const DISK: &str = "disk.io.direction";
const NETWORK: &str = "network.io.direction";
const FAULT: &str = "system.paging.fault.type";
const FILE_SYSTEM: &str = "system.filesystem.state";
const PROCESS: &str = "process.state";
const INTERFACE: &str = "network.interface.name";
const DEVICE: &str = "system.device";

/// The metrics of memory under a prefix.
macro_rules! memory {
    ($prefix:literal, $usage:literal, $working_set:literal, $rss:literal, $major:literal) => {
        &[
            metric($usage, concat!($prefix, ".memory.usage"), "By", UpDown),
            metric($working_set, concat!($prefix, ".memory.working_set"), "By", UpDown),
            metric($rss, concat!($prefix, ".memory.rss"), "By", UpDown),
            metric(AVAILABLE, concat!($prefix, ".memory.available"), "By", UpDown),
            metric($major, concat!($prefix, ".paging.faults"), "{fault}", Counter).where_(FAULT, "major"),
            metric(MINOR_FAULTS, concat!($prefix, ".paging.faults"), "{fault}", Counter)
                .where_(FAULT, "minor"),
        ]
    };
}

/// The metrics of a kubelet's memory and CPU under a prefix.
macro_rules! kubelet {
    ($prefix:literal $(, $metric:expr)* $(,)?) => {
        &[
            metric("cpu_usage_core_nanoseconds", concat!($prefix, ".cpu.time"), "s", Counter).by(1e9),
            metric("cpu_usage_nanocores", concat!($prefix, ".cpu.usage"), "{cpu}", Gauge).by(1e9),
            metric("memory_usage_bytes", concat!($prefix, ".memory.usage"), "By", UpDown),
            metric("memory_working_set_bytes", concat!($prefix, ".memory.working_set"), "By", UpDown),
            metric("memory_rss_bytes", concat!($prefix, ".memory.rss"), "By", UpDown),
            metric("memory_major_page_faults", concat!($prefix, ".paging.faults"), "{fault}", Counter)
                .where_(FAULT, "major"),
            metric(MINOR_FAULTS, concat!($prefix, ".paging.faults"), "{fault}", Counter).where_(FAULT, "minor"),
            $($metric,)*
        ]
    };
}

/// Traffic under a prefix, both ways.
macro_rules! traffic {
    ($prefix:literal, $rx:literal, $tx:literal) => {
        &[
            metric($rx, concat!($prefix, ".network.io"), "By", Counter).where_(NETWORK, "receive"),
            metric($tx, concat!($prefix, ".network.io"), "By", Counter).where_(NETWORK, "transmit"),
        ]
    };
}

/// Page faults that read nothing from a disk: those that are not major.
pub(super) const MINOR_FAULTS: &str = "<minor faults>";
/// What is left of a limit.
pub(super) const AVAILABLE: &str = "<available>";
/// Memory that is neither free nor a cache, so that the states add up.
pub(super) const USED_MEMORY: &str = "<used memory>";
/// What root alone may still write.
pub(super) const RESERVED: &str = "<reserved>";

pub(super) const CONVENTIONS: &[Convention] = &[
    Convention {
        measurement: "cpu",
        of: Of::Total("cpu", "cpu-total"),
        tags: &[],
        metrics: &[
            metric("time_user", "system.cpu.time", "s", Counter).where_(MODE, "user"),
            metric("time_system", "system.cpu.time", "s", Counter).where_(MODE, "system"),
            metric("time_nice", "system.cpu.time", "s", Counter).where_(MODE, "nice"),
            metric("time_idle", "system.cpu.time", "s", Counter).where_(MODE, "idle"),
            metric("time_iowait", "system.cpu.time", "s", Counter).where_(MODE, "iowait"),
            metric("time_irq", "system.cpu.time", "s", Counter).where_(MODE, "interrupt"),
            metric("time_softirq", "system.cpu.time", "s", Counter).where_(MODE, "softirq"),
            metric("time_steal", "system.cpu.time", "s", Counter).where_(MODE, "steal"),
            metric("usage_user", "system.cpu.utilization", "1", Gauge).by(100.0).where_(MODE, "user"),
            metric("usage_system", "system.cpu.utilization", "1", Gauge).by(100.0).where_(MODE, "system"),
            metric("usage_nice", "system.cpu.utilization", "1", Gauge).by(100.0).where_(MODE, "nice"),
            metric("usage_idle", "system.cpu.utilization", "1", Gauge).by(100.0).where_(MODE, "idle"),
            metric("usage_iowait", "system.cpu.utilization", "1", Gauge).by(100.0).where_(MODE, "iowait"),
            metric("usage_irq", "system.cpu.utilization", "1", Gauge).by(100.0).where_(MODE, "interrupt"),
            metric("usage_softirq", "system.cpu.utilization", "1", Gauge).by(100.0).where_(MODE, "softirq"),
            metric("usage_steal", "system.cpu.utilization", "1", Gauge).by(100.0).where_(MODE, "steal"),
        ],
    },
    Convention {
        measurement: "mem",
        of: Of::All,
        tags: &[],
        metrics: &[
            metric(USED_MEMORY, "system.memory.usage", "By", UpDown).where_(STATE, "used"),
            metric("free", "system.memory.usage", "By", UpDown).where_(STATE, "free"),
            metric("buffered", "system.memory.usage", "By", UpDown).where_(STATE, "buffers"),
            metric("cached", "system.memory.usage", "By", UpDown).where_(STATE, "cached"),
            metric("total", "system.memory.limit", "By", UpDown),
            metric("available", "system.memory.linux.available", "By", UpDown),
            metric("shared", "system.memory.linux.shared", "By", UpDown),
            metric("sreclaimable", "system.memory.linux.slab.usage", "By", UpDown)
                .where_("system.memory.linux.slab.state", "reclaimable"),
            metric("sunreclaim", "system.memory.linux.slab.usage", "By", UpDown)
                .where_("system.memory.linux.slab.state", "unreclaimable"),
            metric("huge_pages_total", "system.memory.linux.hugepages.limit", "{page}", UpDown),
            metric("huge_page_size", "system.memory.linux.hugepages.page_size", "By", UpDown),
            metric("huge_pages_free", "system.memory.linux.hugepages.usage", "{page}", UpDown)
                .where_("system.memory.linux.hugepages.state", "free"),
        ],
    },
    Convention {
        measurement: "swap",
        of: Of::All,
        tags: &[],
        metrics: &[
            metric("used", "system.paging.usage", "By", UpDown).where_("system.paging.state", "used"),
            metric("free", "system.paging.usage", "By", UpDown).where_("system.paging.state", "free"),
        ],
    },
    Convention {
        measurement: "system",
        of: Of::All,
        tags: &[],
        metrics: &[
            metric("uptime", "system.uptime", "s", Gauge),
            metric("n_cpus", "system.cpu.logical.count", "{cpu}", UpDown),
            metric("n_physical_cpus", "system.cpu.physical.count", "{cpu}", UpDown),
        ],
    },
    Convention {
        measurement: "kernel",
        of: Of::All,
        tags: &[],
        metrics: &[metric("processes_forked", "system.process.created", "{process}", Counter)],
    },
    Convention {
        measurement: "processes",
        of: Of::All,
        tags: &[],
        metrics: &[
            metric("running", "system.process.count", "{process}", UpDown).where_(PROCESS, "running"),
            metric("sleeping", "system.process.count", "{process}", UpDown).where_(PROCESS, "sleeping"),
            metric("stopped", "system.process.count", "{process}", UpDown).where_(PROCESS, "stopped"),
            metric("zombies", "system.process.count", "{process}", UpDown).where_(PROCESS, "defunct"),
            metric("blocked", "system.process.count", "{process}", UpDown).where_(PROCESS, "blocked"),
            metric("idle", "system.process.count", "{process}", UpDown).where_(PROCESS, "idle"),
        ],
    },
    Convention {
        measurement: "disk",
        of: Of::All,
        tags: &[
            ("device", DEVICE),
            ("path", "system.filesystem.mountpoint"),
            ("fstype", "system.filesystem.type"),
            ("mode", "system.filesystem.mode"),
        ],
        metrics: &[
            metric("used", "system.filesystem.usage", "By", UpDown).where_(FILE_SYSTEM, "used"),
            metric("free", "system.filesystem.usage", "By", UpDown).where_(FILE_SYSTEM, "free"),
            metric(RESERVED, "system.filesystem.usage", "By", UpDown).where_(FILE_SYSTEM, "reserved"),
            metric("total", "system.filesystem.limit", "By", UpDown),
        ],
    },
    Convention {
        measurement: "diskio",
        of: Of::All,
        tags: &[("name", DEVICE)],
        metrics: &[
            metric("read_bytes", "system.disk.io", "By", Counter).where_(DISK, "read"),
            metric("write_bytes", "system.disk.io", "By", Counter).where_(DISK, "write"),
            metric("reads", "system.disk.operations", "{operation}", Counter).where_(DISK, "read"),
            metric("writes", "system.disk.operations", "{operation}", Counter).where_(DISK, "write"),
            metric("read_time", "system.disk.operation_time", "s", Counter).by(1e3).where_(DISK, "read"),
            metric("write_time", "system.disk.operation_time", "s", Counter).by(1e3).where_(DISK, "write"),
            metric("io_time", "system.disk.io_time", "s", Counter).by(1e3),
            metric("merged_reads", "system.disk.merged", "{operation}", Counter).where_(DISK, "read"),
            metric("merged_writes", "system.disk.merged", "{operation}", Counter).where_(DISK, "write"),
        ],
    },
    Convention {
        measurement: "net",
        of: Of::All,
        tags: &[("interface", INTERFACE)],
        metrics: &[
            metric("bytes_recv", "system.network.io", "By", Counter).where_(NETWORK, "receive"),
            metric("bytes_sent", "system.network.io", "By", Counter).where_(NETWORK, "transmit"),
            metric("packets_recv", PACKETS, "{packet}", Counter).where_(NETWORK, "receive"),
            metric("packets_sent", PACKETS, "{packet}", Counter).where_(NETWORK, "transmit"),
            metric("err_in", "system.network.errors", "{error}", Counter).where_(NETWORK, "receive"),
            metric("err_out", "system.network.errors", "{error}", Counter).where_(NETWORK, "transmit"),
            metric("drop_in", "system.network.packet.dropped", "{packet}", Counter)
                .where_(NETWORK, "receive"),
            metric("drop_out", "system.network.packet.dropped", "{packet}", Counter)
                .where_(NETWORK, "transmit"),
        ],
    },
    Convention {
        measurement: "cgroup_cpu",
        of: Of::Containers,
        tags: &[],
        metrics: &[
            metric("usage_ns", "container.cpu.time", "s", Counter).by(1e9),
            metric("usage_percent", "container.cpu.usage", "{cpu}", Gauge).by(100.0),
        ],
    },
    Convention {
        measurement: "cgroup_mem",
        of: Of::Containers,
        tags: &[],
        metrics: memory!("container", "usage_bytes", "working_set_bytes", "rss_bytes", "major_page_faults"),
    },
    Convention {
        measurement: "cgroup_blkio",
        of: Of::Containers,
        tags: &[("device", DEVICE)],
        metrics: &[
            metric("read_bytes", "container.disk.io", "By", Counter).where_(DISK, "read"),
            metric("write_bytes", "container.disk.io", "By", Counter).where_(DISK, "write"),
        ],
    },
    Convention {
        measurement: "cgroup_net",
        of: Of::Containers,
        tags: &[],
        metrics: traffic!("container", "rx_bytes", "tx_bytes"),
    },
    Convention {
        measurement: "pod_cpu",
        of: Of::All,
        tags: &[],
        metrics: &[
            metric("usage_ns", "k8s.pod.cpu.time", "s", Counter).by(1e9),
            metric("usage_percent", "k8s.pod.cpu.usage", "{cpu}", Gauge).by(100.0),
        ],
    },
    Convention {
        measurement: "pod_mem",
        of: Of::All,
        tags: &[],
        metrics: memory!("k8s.pod", "usage_bytes", "working_set_bytes", "rss_bytes", "major_page_faults"),
    },
    Convention {
        measurement: "pod_net",
        of: Of::All,
        tags: &[],
        metrics: traffic!("k8s.pod", "rx_bytes", "tx_bytes"),
    },
    Convention {
        measurement: "docker_container_cpu",
        of: Of::Total("cpu", "cpu-total"),
        tags: &[],
        metrics: &[
            metric("usage_total", "container.cpu.time", "s", Counter).by(1e9),
            metric("usage_percent", "container.cpu.usage", "{cpu}", Gauge).by(100.0),
        ],
    },
    Convention {
        measurement: "docker_container_net",
        of: Of::Each("network", "total"),
        tags: &[("network", INTERFACE)],
        metrics: traffic!("container", "rx_bytes", "tx_bytes"),
    },
    Convention {
        measurement: "docker_container_blkio",
        of: Of::Each("device", "total"),
        tags: &[("device", DEVICE)],
        metrics: &[
            metric("io_service_bytes_recursive_read", "container.disk.io", "By", Counter)
                .where_(DISK, "read"),
            metric("io_service_bytes_recursive_write", "container.disk.io", "By", Counter)
                .where_(DISK, "write"),
        ],
    },
    Convention {
        measurement: "kubernetes_node",
        of: Of::All,
        tags: &[],
        metrics: kubelet!(
            "k8s.node",
            metric("memory_available_bytes", "k8s.node.memory.available", "By", UpDown),
            metric("network_rx_bytes", "k8s.node.network.io", "By", Counter).where_(NETWORK, "receive"),
            metric("network_tx_bytes", "k8s.node.network.io", "By", Counter).where_(NETWORK, "transmit"),
            metric("network_rx_errors", "k8s.node.network.errors", "{error}", Counter)
                .where_(NETWORK, "receive"),
            metric("network_tx_errors", "k8s.node.network.errors", "{error}", Counter)
                .where_(NETWORK, "transmit"),
            metric("fs_available_bytes", "k8s.node.filesystem.available", "By", UpDown),
            metric("fs_capacity_bytes", "k8s.node.filesystem.capacity", "By", UpDown),
            metric("fs_used_bytes", "k8s.node.filesystem.usage", "By", UpDown),
        ),
    },
    Convention {
        measurement: "kubernetes_pod_container",
        of: Of::All,
        tags: &[],
        metrics: kubelet!(
            "container",
            metric("rootfs_available_bytes", "container.filesystem.available", "By", UpDown),
            metric("rootfs_capacity_bytes", "container.filesystem.capacity", "By", UpDown),
            metric("rootfs_used_bytes", "container.filesystem.usage", "By", UpDown),
        ),
    },
    Convention {
        measurement: "kubernetes_pod_network",
        of: Of::All,
        tags: &[],
        metrics: &[
            metric("rx_bytes", "k8s.pod.network.io", "By", Counter).where_(NETWORK, "receive"),
            metric("tx_bytes", "k8s.pod.network.io", "By", Counter).where_(NETWORK, "transmit"),
            metric("rx_errors", "k8s.pod.network.errors", "{error}", Counter).where_(NETWORK, "receive"),
            metric("tx_errors", "k8s.pod.network.errors", "{error}", Counter).where_(NETWORK, "transmit"),
        ],
    },
    Convention {
        measurement: "kubernetes_pod_volume",
        of: Of::All,
        tags: &[("volume_name", "k8s.volume.name")],
        metrics: &[
            metric("available_bytes", "k8s.pod.volume.available", "By", UpDown),
            metric("capacity_bytes", "k8s.pod.volume.capacity", "By", UpDown),
            metric("used_bytes", "k8s.pod.volume.usage", "By", UpDown),
        ],
    },
];

/// The one metric of packets whose interface is `system.device`.
pub(super) const PACKETS: &str = "system.network.packet.count";

/// The documentation of the table: `docs/opentelemetry.md`.
#[cfg(test)]
fn markdown() -> String {
    use std::fmt::Write as _;

    let mut page = "\
# OpenTelemetry's names

<!-- Made from agent/src/serializers/opentelemetry/conventions.rs. After a change there: UPDATE_DOCS=1 cargo test -p seismograf docs_ -->

What `[[outputs.opentelemetry]]` sends with `names = \"semantic\"`. Fields that are not here are sent as `measurement_field`, \
with the same resource.

## Resources

A container, a pod, a unit, a cgroup or a host has a resource of its own, with what its tags say:

| tag | attribute |
|---|---|
| `container_name` | `container.name`; `k8s.container.name` in a pod |
| `container_image` | `container.image.name` and `container.image.tags` |
"
    .to_owned();
    // Writing to a string cannot fail.
    for (tag, attribute) in RESOURCES {
        let _ = writeln!(page, "| `{tag}` | `{attribute}` |");
    }
    for (workload, attribute) in WORKLOADS {
        let _ = writeln!(page, "| `workload`, `{workload}/…` | `{attribute}` |");
    }
    page.push_str("\n## Metrics\n");
    for Convention { measurement, of, tags, metrics } in CONVENTIONS {
        let of = match of {
            Of::All => String::new(),
            Of::Containers => ": rows of containers".into(),
            Of::Total(tag, value) => format!(": `{tag}` is `{value}`"),
            Of::Each(tag, value) => format!(": `{tag}` is not `{value}`"),
        };
        let _ = writeln!(page, "\n### {measurement}{of}\n");
        for (tag, attribute) in *tags {
            let _ = writeln!(page, "- tag `{tag}`: `{attribute}`");
        }
        if !tags.is_empty() {
            page.push('\n');
        }
        page.push_str("| field | metric | unit | | attribute |\n|---|---|---|---|---|\n");
        for Metric { field, name, unit, kind, attribute, .. } in *metrics {
            let field = match *field {
                MINOR_FAULTS => "page faults less the major ones".to_owned(),
                AVAILABLE => "`limit_bytes` less `working_set_bytes`".to_owned(),
                USED_MEMORY => "`total` less `free`, `buffered` and `cached`".to_owned(),
                RESERVED => "`total` less `used` and `free`".to_owned(),
                field => format!("`{field}`"),
            };
            let kind = match kind {
                Counter => "counter",
                UpDown => "up-down counter",
                Gauge | Kind::Histogram | Kind::Summary => "gauge",
            };
            let attribute = attribute.map(|(key, value)| format!("`{key}={value}`")).unwrap_or_default();
            let _ = writeln!(page, "| {field} | `{name}` | {unit} | {kind} | {attribute} |");
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generated::assert_current;

    #[test]
    fn docs_opentelemetry_is_current() {
        assert_current("../docs/opentelemetry.md", &markdown());
    }
}
