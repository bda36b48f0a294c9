//! The input `ebpf`: what each cgroup and each pod did.

use super::kinds::{Field, Measurement, float, int, tag};

/// What a row is about: its own tags first, then these, which every `cgroup_*` measurement has.
macro_rules! identity {
    ($($tag:expr),* $(,)?) => {
        &[
            $($tag,)*
            tag("container_name", "name of the container; `POD` is what only holds a pod's namespaces"),
            tag("container_image", "its image as it was asked for, with the tag: `redis:7`"),
            tag("pod_name", "its pod; of all pods of a job `NAME-*`, unless `job_pods` is `each`"),
            tag("namespace", "the pod's namespace"),
            tag("node_name", "the pod's node"),
            tag("workload", "what made the pod: `deployment/web`, `statefulset/db`, `cronjob/backup`"),
            tag("cgroup", "path of the cgroup, of what has no name and of units; of all others on request"),
            tag("unit", "systemd unit, with `*` for what counts or is random in its name: `session-*.scope`"),
            tag("runtime", "container runtime, from the path"),
            tag("container_id", "id of the container, on request, and while two have one name"),
            tag("pod_uid", "id of the pod, on request"),
        ]
    };
}

pub(super) const CGROUP_CPU: Measurement = Measurement {
    name: "cgroup_cpu",
    input: "ebpf",
    help: "CPU time of each row, since its container, unit or cgroup began. Charged at each context switch with the run \
           time that the kernel itself keeps; with `cpu_source = \"kernel\"` these are the kernel's own sums, which have \
           nothing of the root cgroup.",
    tags: identity!(),
    fields: &[
        int("usage_ns", "ns", "time on a CPU"),
        int(
            "context_switches",
            "switch",
            "switches away from one of its tasks; not with `cpu_source = \"kernel\"`",
        ),
        float("usage_percent", "%", "of one CPU, over the interval"),
        int("nr_periods", "period", "enforcement periods of its CPU quota in which it ran; with a quota"),
        int("nr_throttled", "period", "of these, the ones in which the quota was used up"),
        int("throttled_ns", "ns", "how long its CPUs were kept from it by the quota, added up"),
        int("runqueue_wait_ns", "ns", "time its tasks waited for a CPU; with the probe `runqueue`"),
        float(
            "runqueue_wait_p99_us",
            "us",
            "99th percentile of one wait, over the interval; with `runqueue`",
        ),
    ],
};

pub(super) const CGROUP_BLKIO: Measurement = Measurement {
    name: "cgroup_blkio",
    input: "ebpf",
    help: "Block I/O of each row and device, counted when a request completes and charged to the cgroup that the kernel \
           charges; bytes and operations since the kernel's own count began, the rest since the agent started. Percentiles \
           are those of the interval.",
    tags: identity!(tag("device", "name of the disk, such as `sda`")),
    fields: &[
        int("read_bytes", "byte", "read"),
        int("write_bytes", "byte", "written"),
        int("discard_bytes", "byte", "discarded"),
        int("reads", "operation", "reads"),
        int("writes", "operation", "writes"),
        int("discards", "operation", "discards"),
        int("errors", "operation", "operations that failed"),
        int("read_time_ns", "ns", "time from start to completion, summed over reads"),
        int("write_time_ns", "ns", "the same for writes"),
        float("read_p50_us", "us", "median latency of reads"),
        float("read_p99_us", "us", "99th percentile"),
        float("write_p50_us", "us", "median latency of writes"),
        float("write_p99_us", "us", "99th percentile"),
    ],
};

pub(super) const CGROUP_NET: Measurement = Measurement {
    name: "cgroup_net",
    input: "ebpf",
    help: "IP traffic of the sockets of each row, since the agent started or the row began, with packets and headers as they \
           are on the wire, also where the card splits and joins them, and of a datagram above the MTU with its \
           fragments: by the MTU of the device, or of the route where that has one of its own, on links of 1,280 bytes and \
           more; by the fragments' own size on arrival. Not looked for is a smaller MTU that IPv4 learned of a path. What a \
           policy of the cgroup refuses (a `cgroup_skb` program, such as systemd's `IPAddressDeny=`) is `tx_dropped_*` \
           and not sent, since Linux 5.18; before, and under `lockdown=confidentiality`, it counts as sent. On arrival it has \
           been received, and counts so. A packet that several sockets get, members of a multicast group or raw sockets \
           (`ping`, VRRP), counts for each of them.",
    tags: identity!(),
    fields: &[
        int("rx_bytes", "byte", "received, from the IP header on"),
        int("tx_bytes", "byte", "sent, from the IP header on"),
        int("rx_packets", "packet", "received"),
        int("tx_packets", "packet", "sent"),
        int("tx_dropped_bytes", "byte", "refused on the way out by a policy; from the first one on"),
        int("tx_dropped_packets", "packet", "likewise"),
        int("tcp_retransmits", "segment", "TCP segments sent again; with the probe `tcp`"),
    ],
};

pub(super) const CGROUP_MEM: Measurement = Measurement {
    name: "cgroup_mem",
    input: "ebpf",
    help: "Memory of each row, from the files of cgroupfs: everything in its cgroup but the rows below it; the same meaning \
           under v1 and v2. A cgroup that only groups others has no `page_faults`. When a process is OOM-killed and its \
           cgroup goes away with it, a last point has the kills.",
    tags: identity!(),
    fields: MEMORY,
};

/// The fields of `cgroup_mem` and `pod_mem`.
pub(super) const MEMORY: &[Field] = &[
    int("usage_bytes", "byte", "charged, with page cache (`memory.usage_in_bytes`, `memory.current`)"),
    int(
        "working_set_bytes",
        "byte",
        "the same without the page cache that is not in use, as the kubelet has it",
    ),
    int("rss_bytes", "byte", "anonymous memory (`total_rss`, `anon`)"),
    int("cache_bytes", "byte", "page cache, with shared memory (`total_cache`, `file`)"),
    int("limit_bytes", "byte", "the limit, where there is one"),
    int("page_faults", "fault", "page faults"),
    int("major_page_faults", "fault", "of these, the ones that had to read from a disk"),
    int("oom_kills", "process", "processes that were OOM-killed"),
];

pub(super) const CGROUP_PRESSURE: Measurement = Measurement {
    name: "cgroup_pressure",
    input: "ebpf",
    help: "Pressure stall information of each row's cgroup in cgroup2 (Linux 4.20 and later), once something stood still. \
           It cannot be divided: what is below the cgroup is in it. Of several cgroups in one row, the highest averages, and \
           the sum of the times.",
    tags: identity!(tag("resource", "what tasks stood still for: `cpu`, `memory`, `io`")),
    fields: &[
        float("some_avg10", "%", "of the last 10 s, in which at least one task stood still"),
        float("some_avg60", "%", "of the last minute"),
        float("some_avg300", "%", "of the last five minutes"),
        int("some_total_us", "us", "time in which at least one task stood still"),
        float("full_avg10", "%", "of the last 10 s, in which all tasks stood still"),
        float("full_avg60", "%", "of the last minute"),
        float("full_avg300", "%", "of the last five minutes"),
        int("full_total_us", "us", "time in which all tasks stood still"),
    ],
};

/// What every `pod_` measurement says of itself.
macro_rules! pod {
    ($name:literal, $help:literal, $fields:expr $(, $tag:expr)?) => {
        Measurement {
            name: $name,
            input: "ebpf",
            help: $help,
            tags: &[
                $($tag,)?
                tag("pod_name", "its name; of all pods of a job `NAME-*`, unless `job_pods` is `each`"),
                tag("namespace", "its namespace"),
                tag("node_name", "its node"),
                tag("workload", "what made it: `deployment/web`, `statefulset/db`, `cronjob/backup`"),
                tag("cgroup", "path of its own cgroup, while it has no name; else on request"),
                tag("pod_uid", "its id, on request"),
            ],
            fields: $fields,
        }
    };
}

pub(super) const POD_CPU: Measurement = pod!(
    "pod_cpu",
    "CPU time of each pod: all its containers, also those that ended while the agent ran.",
    &[
        int("usage_ns", "ns", "time on a CPU"),
        int(
            "context_switches",
            "switch",
            "switches away from one of its tasks; not with `cpu_source = \"kernel\"`"
        ),
        float("usage_percent", "%", "of one CPU, over the interval"),
    ]
);
pub(super) const POD_BLKIO: Measurement = pod!(
    "pod_blkio",
    "Block I/O of each pod and device: all its containers, also those that ended.",
    CGROUP_BLKIO.fields,
    tag("device", "name of the disk, such as `sda`")
);
pub(super) const POD_NET: Measurement =
    pod!("pod_net", "IP traffic of each pod: all its containers, also those that ended.", CGROUP_NET.fields);
pub(super) const POD_MEM: Measurement = pod!(
    "pod_mem",
    "Memory of each pod from the files of its cgroup; `page_faults` and `oom_kills` are those of its containers, also of \
     those that ended.",
    MEMORY
);
