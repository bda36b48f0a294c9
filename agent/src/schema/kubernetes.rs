//! The input `kubernetes`: Telegraf's measurements of a node, its pods and their containers.

use super::kinds::{Measurement, int, tag};

pub(super) const KUBERNETES_NODE: Measurement = Measurement {
    name: "kubernetes_node",
    input: "kubernetes",
    help: "The node, from the kubelet's `/stats/summary`; what that lacks is 0. `node_metric_name` names it otherwise.",
    tags: &[tag("node_name", "the node")],
    fields: &[
        int("cpu_usage_nanocores", "1e-9 core", "CPU use, over the kubelet's last 10 s or so"),
        int("cpu_usage_core_nanoseconds", "ns", "CPU time since the node started"),
        int("memory_available_bytes", "byte", "memory less the working set"),
        int("memory_usage_bytes", "byte", "used memory, page cache included"),
        int("memory_working_set_bytes", "byte", "used memory without inactive page cache"),
        int("memory_rss_bytes", "byte", "anonymous memory"),
        int("memory_page_faults", "fault", "page faults"),
        int("memory_major_page_faults", "fault", "of these, the ones that read from a disk"),
        int("network_rx_bytes", "byte", "received by the main interface"),
        int("network_rx_errors", "packet", "received in error"),
        int("network_tx_bytes", "byte", "sent"),
        int("network_tx_errors", "packet", "not sent for an error"),
        int("fs_available_bytes", "byte", "free in the file system of the kubelet's directory"),
        int("fs_capacity_bytes", "byte", "its size"),
        int("fs_used_bytes", "byte", "used in it"),
        int("runtime_image_fs_available_bytes", "byte", "free in the file system of the images"),
        int("runtime_image_fs_capacity_bytes", "byte", "its size"),
        int("runtime_image_fs_used_bytes", "byte", "used by images"),
    ],
};

pub(super) const KUBERNETES_SYSTEM_CONTAINER: Measurement = Measurement {
    name: "kubernetes_system_container",
    input: "kubernetes",
    help: "The cgroups of the node that the kubelet watches (`kubelet`, `runtime`, `pods` …), from `/stats/summary`; what \
           that lacks is 0.",
    tags: &[tag("node_name", "the node"), tag("container_name", "the cgroup's name with the kubelet")],
    fields: &[
        int("cpu_usage_nanocores", "1e-9 core", "CPU use, over the kubelet's last 10 s or so"),
        int("cpu_usage_core_nanoseconds", "ns", "CPU time"),
        int("memory_usage_bytes", "byte", "used memory, page cache included"),
        int("memory_working_set_bytes", "byte", "used memory without inactive page cache"),
        int("memory_rss_bytes", "byte", "anonymous memory"),
        int("memory_page_faults", "fault", "page faults"),
        int("memory_major_page_faults", "fault", "of these, the ones that read from a disk"),
        int("rootfs_available_bytes", "byte", "mostly 0"),
        int("rootfs_capacity_bytes", "byte", "mostly 0"),
        int("logsfs_available_bytes", "byte", "mostly 0"),
        int("logsfs_capacity_bytes", "byte", "mostly 0"),
    ],
};

/// The tags of a pod's point: its own first, then these.
macro_rules! pod {
    ($($tag:expr),* $(,)?) => {
        &[
            $($tag,)*
            tag("node_name", "the node"),
            tag("namespace", "the pod's namespace"),
            tag("pod_name", "the pod"),
            tag("<label>", "the pod's labels that `label_include` and `label_exclude` take; by default none"),
        ]
    };
}

pub(super) const KUBERNETES_POD_CONTAINER: Measurement = Measurement {
    name: "kubernetes_pod_container",
    input: "kubernetes",
    help: "Each container of a pod. CPU and memory are read from its cgroup at the time of the gather where that is on \
           this machine, else they are from `/stats/summary`, as is the rest. A container that has no statistics there \
           yet has what its cgroup says; what the statistics lack is 0.",
    tags: pod!(
        tag("container_name", "the container's name within the pod"),
        tag("image", "its image as the pod asks for it; not of init and ephemeral containers"),
        tag("version", "what follows the image's only colon"),
    ),
    fields: &[
        int(
            "cpu_usage_nanocores",
            "1e-9 core",
            "CPU use over the interval; in the first gather the kubelet's",
        ),
        int("cpu_usage_core_nanoseconds", "ns", "CPU time since it started; `cpuacct.usage`, `cpu.stat`"),
        int("memory_usage_bytes", "byte", "charged to it, page cache included; `memory.current`"),
        int("memory_working_set_bytes", "byte", "the same without inactive page cache"),
        int("memory_rss_bytes", "byte", "anonymous memory; `total_rss` or `anon` of `memory.stat`"),
        int("memory_page_faults", "fault", "page faults; `pgfault` of `memory.stat`"),
        int("memory_major_page_faults", "fault", "of these, the ones that read from a disk; `pgmajfault`"),
        int("rootfs_available_bytes", "byte", "free in the file system of its writable layer"),
        int("rootfs_capacity_bytes", "byte", "its size"),
        int("rootfs_used_bytes", "byte", "used by its writable layer"),
        int("logsfs_available_bytes", "byte", "free in the file system of its logs"),
        int("logsfs_capacity_bytes", "byte", "its size"),
        int("logsfs_used_bytes", "byte", "used by its logs"),
    ],
};

pub(super) const KUBERNETES_POD_VOLUME: Measurement = Measurement {
    name: "kubernetes_pod_volume",
    input: "kubernetes",
    help: "Each volume of a pod, from `/stats/summary`; the kubelet looks once a minute.",
    tags: pod!(tag("volume_name", "the volume's name within the pod")),
    fields: &[
        int("available_bytes", "byte", "free"),
        int("capacity_bytes", "byte", "its size"),
        int("used_bytes", "byte", "used"),
    ],
};

pub(super) const KUBERNETES_POD_NETWORK: Measurement = Measurement {
    name: "kubernetes_pod_network",
    input: "kubernetes",
    help: "A pod's main interface, mostly `eth0`, read in its network namespace at the time of the gather where that is \
           on this machine, else from `/stats/summary`. Of a pod in the host's network it is the host's.",
    tags: pod!(),
    fields: &[
        int("rx_bytes", "byte", "received"),
        int("rx_errors", "packet", "received in error"),
        int("tx_bytes", "byte", "sent"),
        int("tx_errors", "packet", "not sent for an error"),
    ],
};
