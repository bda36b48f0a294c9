//! Every measurement once: its name, tags, fields, units and where the numbers come from.
//!
//! Owns the vocabulary, not the values. `docs/metrics.md` is made from it, and the tests of every input hold their
//! points against it, so that a name or a type cannot change by accident. Measurements that Telegraf has are named,
//! tagged and typed as Telegraf does.

use std::fmt::Write;

use crate::point::{FieldValue, Point};

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`FieldValue::Int`].
    Int,
    /// [`FieldValue::UInt`]; an integer on the wire, unless unsigned ones are asked for.
    UInt,
    /// [`FieldValue::Float`].
    Float,
    /// [`FieldValue::Text`].
    Text,
    /// [`FieldValue::Bool`].
    Bool,
}

impl Kind {
    /// The type of a value.
    #[must_use]
    pub fn of(value: &FieldValue) -> Self {
        match value {
            FieldValue::Int(_) => Self::Int,
            FieldValue::UInt(_) => Self::UInt,
            FieldValue::Float(_) => Self::Float,
            FieldValue::Text(_) => Self::Text,
            FieldValue::Bool(_) => Self::Bool,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Int => "integer",
            Self::UInt => "unsigned",
            Self::Float => "float",
            Self::Text => "string",
            Self::Bool => "boolean",
        }
    }
}

/// A measurement: what one kind of point says.
#[derive(Clone, Copy, Debug)]
pub struct Measurement {
    /// Its name.
    pub name: &'static str,
    /// The input that gathers it, as in `[[inputs.NAME]]`.
    pub input: &'static str,
    /// What it is, and where it comes from.
    pub help: &'static str,
    /// Its tags, besides `host` and the global ones.
    pub tags: &'static [Tag],
    /// Its fields.
    pub fields: &'static [Field],
}

/// A tag of a measurement. One with a name in angle brackets stands for any: `<property>`.
#[derive(Clone, Copy, Debug)]
pub struct Tag {
    /// Its key; `*` stands for any.
    pub name: &'static str,
    /// What it says, and when it is there.
    pub help: &'static str,
}

/// A field of a measurement. One with a name in angle brackets stands for any, of its type: `<file>`.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its key.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its unit; empty for a text.
    pub unit: &'static str,
    /// What it counts, since when, and its source.
    pub help: &'static str,
}

const fn tag(name: &'static str, help: &'static str) -> Tag {
    Tag { name, help }
}

const fn int(name: &'static str, unit: &'static str, help: &'static str) -> Field {
    Field { name, kind: Kind::Int, unit, help }
}

const fn uint(name: &'static str, unit: &'static str, help: &'static str) -> Field {
    Field { name, kind: Kind::UInt, unit, help }
}

const fn float(name: &'static str, unit: &'static str, help: &'static str) -> Field {
    Field { name, kind: Kind::Float, unit, help }
}

const fn text(name: &'static str, help: &'static str) -> Field {
    Field { name, kind: Kind::Text, unit: "", help }
}

const fn boolean(name: &'static str, help: &'static str) -> Field {
    Field { name, kind: Kind::Bool, unit: "", help }
}

/// Every measurement, in the order of the documentation.
pub const MEASUREMENTS: &[Measurement] = &[
    CPU,
    MEM,
    SWAP,
    SYSTEM,
    KERNEL,
    PRESSURE,
    PROCESSES,
    DISK,
    DISKIO,
    NET,
    CGROUP,
    CGROUP_CPU,
    CGROUP_BLKIO,
    CGROUP_NET,
    CGROUP_MEM,
    CGROUP_PRESSURE,
    POD_CPU,
    POD_BLKIO,
    POD_NET,
    POD_MEM,
    DOCKER,
    DOCKER_DATA,
    DOCKER_METADATA,
    DOCKER_DEVICEMAPPER,
    DOCKER_CONTAINER_STATUS,
    DOCKER_CONTAINER_HEALTH,
    DOCKER_CONTAINER_MEM,
    DOCKER_CONTAINER_CPU,
    DOCKER_CONTAINER_NET,
    DOCKER_CONTAINER_BLKIO,
    DOCKER_DISK_USAGE,
    KUBERNETES_NODE,
    KUBERNETES_SYSTEM_CONTAINER,
    KUBERNETES_POD_CONTAINER,
    KUBERNETES_POD_VOLUME,
    KUBERNETES_POD_NETWORK,
    INTERNAL_AGENT,
    INTERNAL_GATHER,
    INTERNAL_WRITE,
    SEISMOGRAF,
];

const CPU: Measurement = Measurement {
    name: "cpu",
    input: "cpu",
    help: "Time of each CPU and of the machine, from `/proc/stat`. `time_*` are cumulative since boot and come with \
           `collect_cpu_time`, `usage_*` are shares of the interval and start with the second gather; the two are \
           points of their own. Guest time is part of `time_user`, but not of `usage_user`.",
    tags: &[
        tag("cpu", "`cpu0`, `cpu1` …, or `cpu-total` for the machine"),
        tag("core_id", "core of the CPU in its package, with `core_tags`"),
        tag("physical_id", "package of the CPU, with `core_tags`"),
    ],
    fields: &[
        float("time_user", "s", "user mode, guests included"),
        float("time_system", "s", "kernel"),
        float("time_idle", "s", "idle"),
        float("time_nice", "s", "user mode at low priority"),
        float("time_iowait", "s", "idle while I/O was outstanding"),
        float("time_irq", "s", "hardware interrupts"),
        float("time_softirq", "s", "software interrupts"),
        float("time_steal", "s", "taken by the hypervisor"),
        float("time_guest", "s", "running a guest"),
        float("time_guest_nice", "s", "running a guest at low priority"),
        float("time_active", "s", "all but idle, with `report_active`"),
        float("usage_user", "%", "user mode, without guests"),
        float("usage_system", "%", "kernel"),
        float("usage_idle", "%", "idle"),
        float("usage_nice", "%", "user mode at low priority, without guests"),
        float("usage_iowait", "%", "idle while I/O was outstanding"),
        float("usage_irq", "%", "hardware interrupts"),
        float("usage_softirq", "%", "software interrupts"),
        float("usage_steal", "%", "taken by the hypervisor"),
        float("usage_guest", "%", "running a guest"),
        float("usage_guest_nice", "%", "running a guest at low priority"),
        float("usage_active", "%", "all but idle, with `report_active`"),
    ],
};

const MEM: Measurement = Measurement {
    name: "mem",
    input: "mem",
    help: "The machine's memory, from `/proc/meminfo`. A field whose line the kernel lacks is 0.",
    tags: &[],
    fields: &[
        uint("total", "byte", "`MemTotal`"),
        uint("free", "byte", "`MemFree`"),
        uint("available", "byte", "`MemAvailable`; estimated before Linux 3.14"),
        uint("used", "byte", "`total` less `available`"),
        float("used_percent", "%", "`used` of `total`"),
        float("available_percent", "%", "`available` of `total`"),
        uint("buffered", "byte", "`Buffers`"),
        uint("cached", "byte", "`Cached` and `SReclaimable`"),
        uint("active", "byte", "`Active`"),
        uint("inactive", "byte", "`Inactive`"),
        uint("dirty", "byte", "`Dirty`"),
        uint("write_back", "byte", "`Writeback`"),
        uint("write_back_tmp", "byte", "`WritebackTmp`"),
        uint("mapped", "byte", "`Mapped`"),
        uint("shared", "byte", "`Shmem`"),
        uint("slab", "byte", "`Slab`"),
        uint("sreclaimable", "byte", "`SReclaimable`"),
        uint("sunreclaim", "byte", "`SUnreclaim`"),
        uint("page_tables", "byte", "`PageTables`"),
        uint("swap_cached", "byte", "`SwapCached`"),
        uint("swap_total", "byte", "`SwapTotal`"),
        uint("swap_free", "byte", "`SwapFree`"),
        uint("commit_limit", "byte", "`CommitLimit`"),
        uint("committed_as", "byte", "`Committed_AS`"),
        uint("high_total", "byte", "`HighTotal`"),
        uint("high_free", "byte", "`HighFree`"),
        uint("low_total", "byte", "`LowTotal`"),
        uint("low_free", "byte", "`LowFree`"),
        uint("vmalloc_total", "byte", "`VmallocTotal`"),
        uint("vmalloc_used", "byte", "`VmallocUsed`"),
        uint("vmalloc_chunk", "byte", "`VmallocChunk`"),
        uint("huge_page_size", "byte", "`Hugepagesize`"),
        uint("huge_pages_total", "page", "`HugePages_Total`"),
        uint("huge_pages_free", "page", "`HugePages_Free`"),
        uint("active_file", "byte", "`Active(file)`, with `collect_extended`"),
        uint("inactive_file", "byte", "`Inactive(file)`, with `collect_extended`"),
        uint("active_anon", "byte", "`Active(anon)`, with `collect_extended`"),
        uint("inactive_anon", "byte", "`Inactive(anon)`, with `collect_extended`"),
        uint("unevictable", "byte", "`Unevictable`, with `collect_extended`"),
        uint("percpu", "byte", "`Percpu`, with `collect_extended`"),
    ],
};

const DISK: Measurement = Measurement {
    name: "disk",
    input: "disk",
    help: "Space and inodes of each mounted file system, from statfs(2), for the mounts of `/proc/1/mountinfo`. File \
           systems without a size are left out.",
    tags: &[
        tag("path", "mount point on the host"),
        tag("device", "device, without `/dev/`, or what is mounted instead"),
        tag("fstype", "type of the file system"),
        tag("mode", "`rw`, `ro` or `unknown`"),
        tag("label", "name in the device mapper or label of the file system, where there is one"),
    ],
    fields: &[
        uint("total", "byte", "size"),
        uint("free", "byte", "what users other than root may still write"),
        uint("used", "byte", "size less what is free for root"),
        float("used_percent", "%", "`used` of `used` and `free` together"),
        uint("inodes_total", "inode", "inodes"),
        uint("inodes_free", "inode", "free inodes"),
        uint("inodes_used", "inode", "used inodes"),
        float("inodes_used_percent", "%", "`inodes_used` of `inodes_total`"),
    ],
};

const DISKIO: Measurement = Measurement {
    name: "diskio",
    input: "diskio",
    help: "Operations, bytes and times of each disk and partition that has ever done anything, from `/proc/diskstats`. \
           Counters are cumulative since boot; the three `io_*` fractions are of the interval, start with the second \
           gather, and are left out when a counter ran backwards.",
    tags: &[
        tag("name", "the kernel's name of the device, or what `name_templates` makes of udev's properties"),
        tag("wwid", "world-wide id, from `/sys/block/NAME/wwid`; whole disks that have one"),
        tag("serial", "serial number or `unknown`, with `skip_serial_number = false`"),
        tag(
            "<property>",
            "udev's properties named in `device_tags`, and `DEVNAME`, `DEVTYPE`, `DEVPATH`, `DEVLINKS`",
        ),
    ],
    fields: &[
        uint("reads", "operation", "reads that completed"),
        uint("writes", "operation", "writes that completed"),
        uint("read_bytes", "byte", "read"),
        uint("write_bytes", "byte", "written"),
        uint("read_time", "ms", "time that reads took, summed over them"),
        uint("write_time", "ms", "the same for writes"),
        uint("io_time", "ms", "time in which anything was under way"),
        uint("weighted_io_time", "ms", "that time, weighted by how many operations were"),
        uint("iops_in_progress", "operation", "under way now"),
        uint("merged_reads", "operation", "reads that became a part of another"),
        uint("merged_writes", "operation", "writes that became a part of another"),
        float("io_util", "%", "of the interval, in which anything was under way"),
        float("io_await", "ms", "time of one read or write; only when there was any"),
        float("io_svctm", "ms", "busy time for each of them; only when there was any"),
    ],
};

const SWAP: Measurement = Measurement {
    name: "swap",
    input: "swap",
    help: "Swap space, from sysinfo(2), and what went through it, from `/proc/vmstat`: two points.",
    tags: &[],
    fields: &[
        uint("total", "byte", "size"),
        uint("used", "byte", "`total` less `free`"),
        uint("free", "byte", "free"),
        float("used_percent", "%", "`used` of `total`; 0 without swap"),
        uint("in", "byte", "swapped in since boot: `pswpin`, 4,096 bytes each"),
        uint("out", "byte", "swapped out since boot: `pswpout`, 4,096 bytes each"),
    ],
};

const KERNEL: Measurement = Measurement {
    name: "kernel",
    input: "kernel",
    help: "Counters of the kernel since boot, from `/proc/stat`; `ksm_*` come with `collect = [\"ksm\"]`, from \
           `/sys/kernel/mm/ksm`. Other than in Telegraf, `HOST_PROC` and `HOST_SYS` count.",
    tags: &[],
    fields: &[
        int("interrupts", "interrupt", "interrupts served"),
        int("context_switches", "switch", "context switches"),
        int("processes_forked", "process", "processes and threads made"),
        int("boot_time", "s", "time of boot since the Unix epoch"),
        int("disk_pages_in", "page", "read from disk; Linux 2.4 and before"),
        int("disk_pages_out", "page", "written to disk; Linux 2.4 and before"),
        int("entropy_avail", "bit", "in the random pool; 256 on every kernel since Linux 5.18"),
        int("ksm_full_scans", "scan", "times that all mergeable memory was scanned"),
        int("ksm_max_page_sharing", "mapping", "limit of mappings of one merged page"),
        int("ksm_merge_across_nodes", "", "1 when pages of different NUMA nodes are merged"),
        int("ksm_pages_shared", "page", "merged pages"),
        int("ksm_pages_sharing", "page", "further mappings of these: what is saved"),
        int("ksm_pages_to_scan", "page", "scanned before a sleep"),
        int("ksm_pages_unshared", "page", "unique, and checked again and again"),
        int("ksm_pages_volatile", "page", "that change too fast"),
        int("ksm_run", "", "1 when it runs, 2 when it undoes what it did"),
        int("ksm_sleep_millisecs", "ms", "a sleep between scans"),
        int("ksm_stable_node_chains", "page", "that reached the limit of mappings"),
        int("ksm_stable_node_chains_prune_millisecs", "ms", "between checks of these"),
        int("ksm_stable_node_dups", "page", "copies of these"),
        int("ksm_use_zero_pages", "", "1 when empty pages are merged with the zero page"),
        int("ksm_general_profit", "byte", "memory saved, less what it takes to keep track; since Linux 6.4"),
    ],
};

const PRESSURE: Measurement = Measurement {
    name: "pressure",
    input: "kernel",
    help: "Time that tasks of the machine stalled for a resource, from `/proc/pressure`, with `collect = [\"psi\"]`: two \
           points for each pair of tags.",
    tags: &[
        tag("resource", "`cpu`, `memory` or `io`"),
        tag("type", "`some` of the tasks stalled, or all of them (`full`, not for the CPU)"),
    ],
    fields: &[
        float("avg10", "%", "share of time, over 10 seconds"),
        float("avg60", "%", "over 60 seconds"),
        float("avg300", "%", "over 300 seconds"),
        uint("total", "us", "stalled since boot"),
    ],
};

const PROCESSES: Measurement = Measurement {
    name: "processes",
    input: "processes",
    help: "Processes by their state, from `/proc/PID/stat`.",
    tags: &[],
    fields: &[
        int("running", "process", "running or ready to (`R`)"),
        int("sleeping", "process", "waiting for something (`S`)"),
        int("blocked", "process", "waiting without being interruptible (`D`), mostly for a disk"),
        int("zombies", "process", "ended, not yet waited for (`Z`)"),
        int("stopped", "process", "stopped or traced (`T`, `t`)"),
        int("dead", "process", "about to be gone (`X`)"),
        int("paging", "process", "paging (`W`); before Linux 2.6"),
        int("idle", "process", "idle kernel threads (`I`)"),
        int("parked", "process", "parked kernel threads (`P`); only when there are any"),
        int("total", "process", "all of them, of other states too"),
        int("total_threads", "thread", "their threads"),
        int("unknown", "process", "always 0, for Telegraf's sake"),
    ],
};

const NET: Measurement = Measurement {
    name: "net",
    input: "net",
    help: "Traffic of each network interface since it was made, from `/proc/net/dev`. Interfaces that are down and the \
           loopback are left out, unless `interfaces` names them or `HOST_PROC` is set. Where `HOST_PROC` is set, the \
           interfaces are those of its process 1, the host's, if `HOST_PROC/1/net/dev` can be read, which takes no \
           privilege; else those of `HOST_PROC/net/dev`, which in a container are the container's.",
    tags: &[tag("interface", "name of the interface")],
    fields: &[
        uint("bytes_recv", "byte", "received"),
        uint("bytes_sent", "byte", "sent"),
        uint("packets_recv", "packet", "received"),
        uint("packets_sent", "packet", "sent"),
        uint("err_in", "packet", "received with an error"),
        uint("err_out", "packet", "not sent for an error"),
        uint("drop_in", "packet", "received and dropped"),
        uint("drop_out", "packet", "dropped instead of sent"),
        int("speed", "Mbit/s", "of the link, `/sys/class/net/IF/speed`; -1 when unknown"),
    ],
};

const CGROUP: Measurement = Measurement {
    name: "cgroup",
    input: "cgroup",
    help: "The files of cgroup directories that `paths` and `files` name, v1 and v2. A field is called after its file and the \
           keys in it, joined by dots: `memory.stat.anon`, `cpu.pressure.some.avg10`, `cpuacct.usage_percpu.0`. Whole \
           numbers are integers, and `max` is the largest.",
    tags: &[tag("path", "the directory")],
    fields: &[
        int("<file>", "", "a whole number, or `max`"),
        float("<file>.<key>", "", "a fraction, or a number above the largest integer"),
        text("<file>.<n>", "a range such as `0-3`"),
    ],
};

const SYSTEM: Measurement = Measurement {
    name: "system",
    input: "system",
    help: "Load, CPUs and users; uptime; and uptime as a text: three points, or one with what `include` names.",
    tags: &[],
    fields: &[
        float("load1", "task", "running and waiting tasks, over 1 minute; `/proc/loadavg`"),
        float("load5", "task", "the same over 5 minutes"),
        float("load15", "task", "the same over 15 minutes"),
        int("n_cpus", "CPU", "CPUs in `/proc/cpuinfo`"),
        int("n_physical_cpus", "core", "cores, from `/sys/devices/system/cpu`"),
        int(
            "n_users",
            "session",
            "logged-in sessions, from `/var/run/utmp`; absent where that cannot be read",
        ),
        int("n_unique_users", "user", "their distinct users"),
        uint("uptime", "s", "since boot; sysinfo(2)"),
        text("uptime_format", "the same as `14 days, 11:07`"),
        text("os", "`linux`; this and the next five with `os`"),
        text("arch", "architecture, uname(2)"),
        text("platform", "distribution, from the files in `/etc`"),
        text("platform_family", "what it derives from, or empty"),
        text("platform_version", "its version"),
        text("kernel_version", "the kernel's release, uname(2)"),
        text(
            "bios_vendor",
            "this and the following with `dmi`, from `/sys/class/dmi/id`, each where it can be read",
        ),
        text("bios_version", "version of the firmware"),
        text("bios_date", "its date"),
        text("board_vendor", "who made the board"),
        text("board_product", "its name"),
        text("board_version", "its version"),
        text("board_serial", "its serial number"),
        text("board_asset_tag", "its owner's number"),
        text("chassis_vendor", "who made the chassis"),
        text("chassis_type_code", "its kind as a number of SMBIOS"),
        text("chassis_type", "the same in words"),
        text("chassis_version", "its version"),
        text("chassis_serial", "its serial number"),
        text("chassis_asset_tag", "its owner's number"),
        text("product_vendor", "who made the machine"),
        text("product_name", "its name"),
        text("product_family", "its family"),
        text("product_version", "its version"),
        text("product_serial", "its serial number"),
        text("product_sku", "its order number"),
        text("product_uuid", "its id"),
    ],
};

const KUBERNETES_NODE: Measurement = Measurement {
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

const KUBERNETES_SYSTEM_CONTAINER: Measurement = Measurement {
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

const KUBERNETES_POD_CONTAINER: Measurement = Measurement {
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

const KUBERNETES_POD_VOLUME: Measurement = Measurement {
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

const KUBERNETES_POD_NETWORK: Measurement = Measurement {
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

/// What a point of a cgroup is about: its own tags first, then these, which every `cgroup_*` measurement has.
macro_rules! identity {
    ($($tag:expr),* $(,)?) => {
        &[
            $($tag,)*
            tag("cgroup", "path of the cgroup in its hierarchy"),
            tag("container_name", "name of the container, once known"),
            tag("container_image", "its image, once known"),
            tag("pod_name", "its pod, once known"),
            tag("namespace", "the pod's namespace, once known"),
            tag("node_name", "the pod's node, once known"),
            tag("unit", "systemd unit"),
            tag("runtime", "container runtime, from the path"),
            tag("container_id", "id of the container, on request"),
            tag("pod_uid", "id of the pod, on request"),
        ]
    };
}

const CGROUP_CPU: Measurement = Measurement {
    name: "cgroup_cpu",
    input: "ebpf",
    help: "CPU time of each cgroup, its own without that of its children, since the agent first saw it. Charged at \
           each context switch with the run time that the kernel itself keeps.",
    tags: identity!(),
    fields: &[
        int("usage_ns", "ns", "time on a CPU"),
        int("context_switches", "switch", "switches away from one of its tasks"),
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

const CGROUP_BLKIO: Measurement = Measurement {
    name: "cgroup_blkio",
    input: "ebpf",
    help: "Block I/O of each cgroup and device, since the agent first saw it, counted when a request completes and \
           charged to the cgroup that the kernel charges. Percentiles are those of the interval.",
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

const CGROUP_NET: Measurement = Measurement {
    name: "cgroup_net",
    input: "ebpf",
    help: "IP traffic of the sockets of each cgroup, since the agent first saw it, with packets and headers as they \
           are on the wire, also where the card splits and joins them.",
    tags: identity!(),
    fields: &[
        int("rx_bytes", "byte", "received, from the IP header on"),
        int("tx_bytes", "byte", "sent, from the IP header on"),
        int("rx_packets", "packet", "received"),
        int("tx_packets", "packet", "sent"),
        int("tcp_retransmits", "segment", "TCP segments sent again; with the probe `tcp`"),
    ],
};

const CGROUP_MEM: Measurement = Measurement {
    name: "cgroup_mem",
    input: "ebpf",
    help: "Memory of each cgroup and everything below it, from the files of cgroupfs; the same meaning under v1 and v2. \
           When a process is killed for want of memory and its cgroup goes away with it, a last point has the kills.",
    tags: identity!(),
    fields: MEMORY,
};

/// The fields of `cgroup_mem` and `pod_mem`.
const MEMORY: &[Field] = &[
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
    int("oom_kills", "process", "processes killed for want of memory"),
];

const CGROUP_PRESSURE: Measurement = Measurement {
    name: "cgroup_pressure",
    input: "ebpf",
    help: "Pressure stall information of each cgroup in cgroup2 (Linux 4.20 and later), once something stood still.",
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
            help: concat!($help, " The `cgroup` is that of the pod."),
            tags: &[
                $($tag,)?
                tag("cgroup", "path of the pod's own cgroup"),
                tag("pod_name", "its name, once known"),
                tag("namespace", "its namespace, once known"),
                tag("node_name", "its node, once known"),
                tag("pod_uid", "its id, on request"),
            ],
            fields: $fields,
        }
    };
}

const POD_CPU: Measurement = pod!(
    "pod_cpu",
    "CPU time of each pod: all its containers, also those that ended, since the agent first saw it.",
    &[
        int("usage_ns", "ns", "time on a CPU"),
        int("context_switches", "switch", "switches away from one of its tasks"),
        float("usage_percent", "%", "of one CPU, over the interval"),
    ]
);
const POD_BLKIO: Measurement = pod!(
    "pod_blkio",
    "Block I/O of each pod and device: all its containers, also those that ended.",
    CGROUP_BLKIO.fields,
    tag("device", "name of the disk, such as `sda`")
);
const POD_NET: Measurement =
    pod!("pod_net", "IP traffic of each pod: all its containers, also those that ended.", CGROUP_NET.fields);
const POD_MEM: Measurement = pod!(
    "pod_mem",
    "Memory of each pod from the files of its cgroup; `oom_kills` since the agent first saw it, also those of containers \
     that ended.",
    MEMORY
);
const INTERNAL_AGENT: Measurement = Measurement {
    name: "internal_agent",
    input: "internal",
    help: "All inputs and outputs of the agent together, since its start, as Telegraf has it; also those that a reload took \
           away. What Telegraf tells of the Go runtime is not there.",
    tags: &[tag("version", "of the agent")],
    fields: &[
        int("metrics_gathered", "point", "gathered, after the inputs' filters"),
        int("gather_errors", "gather", "gathers that gave less than they should"),
        int("gather_timeouts", "gather", "gathers that were left out because the one before took too long"),
        int("metrics_written", "point", "stored on the other side"),
        int("metrics_rejected", "point", "refused by the other side for good"),
        int("metrics_dropped", "point", "pushed out of a full buffer, or lost with their output"),
        int("write_errors", "request", "writes that did not work"),
    ],
};

const INTERNAL_GATHER: Measurement = Measurement {
    name: "internal_gather",
    input: "internal",
    help: "Each input, since the start; those of the same name and alias together, unless `per_instance` is set.",
    tags: &[
        tag("input", "the plugin"),
        tag("alias", "its alias, if it has one"),
        tag("_id", "tells instances apart, with `per_instance`"),
        tag("version", "of the agent"),
    ],
    fields: &[
        int("metrics_gathered", "point", "gathered, after the input's filters"),
        int("gather_time_ns", "ns", "time of a gather, mean since the gather of `internal` before"),
        int("gather_timeouts", "gather", "gathers that were left out because the one before took too long"),
        int("errors", "error", "`gather_errors` and `startup_errors` together"),
        int("gather_errors", "gather", "gathers that gave less than they should"),
        int("startup_errors", "start", "starts that did not work"),
    ],
};

const INTERNAL_WRITE: Measurement = Measurement {
    name: "internal_write",
    input: "internal",
    help: "Each output, since the start; those of the same name and alias together, unless `per_instance` is set.",
    tags: &[
        tag("output", "the plugin"),
        tag("alias", "its alias, if it has one"),
        tag("_id", "tells instances apart, with `per_instance`"),
        tag("version", "of the agent"),
    ],
    fields: &[
        int("metrics_added", "point", "came in, after the output's filters"),
        int("metrics_written", "point", "of these, stored on the other side"),
        int("metrics_rejected", "point", "of these, refused by the other side for good"),
        int("metrics_dropped", "point", "of these, pushed out of the full buffer"),
        int("metrics_filtered", "point", "kept back by the output's filters"),
        int("buffer_size", "point", "wait in the buffer"),
        int("buffer_limit", "point", "how many may"),
        int("write_time_ns", "ns", "time of a write, mean since the gather of `internal` before"),
        int("errors", "error", "the same as `write_errors`"),
        int("write_errors", "request", "writes that did not work"),
        int("startup_errors", "start", "always 0: an output that cannot connect yet is tried again"),
    ],
};

const DOCKER: Measurement = Measurement {
    name: "docker",
    input: "docker",
    help: "The docker daemon about itself, from its API's `/info`: one point of counts, one of memory, and one with the \
           tag `unit` where the storage driver is `devicemapper`.",
    tags: &[
        tag("engine_host", "name of the machine as the daemon says it"),
        tag("server_version", "version of the daemon"),
        tag("unit", "`bytes`, with `pool_blocksize`"),
    ],
    fields: &[
        int("n_cpus", "CPU", "the machine's CPUs"),
        int("n_used_file_descriptors", "file", "open files of the daemon"),
        int("n_containers", "container", "containers, also those that do not run"),
        int("n_containers_running", "container", "of these, running"),
        int("n_containers_stopped", "container", "of these, neither running nor paused"),
        int("n_containers_paused", "container", "of these, paused"),
        int("n_images", "image", "images"),
        int("n_goroutines", "goroutine", "goroutines of the daemon"),
        int("n_listener_events", "client", "who follows the daemon's events; the agent is one of them"),
        int("memory_total", "byte", "the machine's memory"),
        int("pool_blocksize", "byte", "block size of the device mapper's pool"),
    ],
};

/// The tags of the device mapper's measurements.
const DEVICE_MAPPER_TAGS: &[Tag] =
    &[tag("engine_host", "as in `docker`"), tag("server_version", "as in `docker`"), tag("unit", "`bytes`")];

const DOCKER_DATA: Measurement = Measurement {
    name: "docker_data",
    input: "docker",
    help: "Data of the storage driver `devicemapper`, which docker had until version 24.",
    tags: DEVICE_MAPPER_TAGS,
    fields: &[int("available", "byte", "free"), int("total", "byte", "size"), int("used", "byte", "used")],
};

const DOCKER_METADATA: Measurement = Measurement {
    name: "docker_metadata",
    input: "docker",
    help: "Metadata of the storage driver `devicemapper`.",
    tags: DEVICE_MAPPER_TAGS,
    fields: &[int("available", "byte", "free"), int("total", "byte", "size"), int("used", "byte", "used")],
};

const DOCKER_DEVICEMAPPER: Measurement = Measurement {
    name: "docker_devicemapper",
    input: "docker",
    help: "The same in one point.",
    tags: &[
        tag("engine_host", "as in `docker`"),
        tag("server_version", "as in `docker`"),
        tag("pool_name", "name of the pool"),
    ],
    fields: &[
        int("pool_blocksize_bytes", "byte", "block size"),
        int("base_device_size_bytes", "byte", "size of a container's device"),
        int("data_space_used_bytes", "byte", "data, used"),
        int("data_space_total_bytes", "byte", "data, size"),
        int("data_space_available_bytes", "byte", "data, free"),
        int("metadata_space_used_bytes", "byte", "metadata, used"),
        int("metadata_space_total_bytes", "byte", "metadata, size"),
        int("metadata_space_available_bytes", "byte", "metadata, free"),
        int("thin_pool_minimum_free_space_bytes", "byte", "what is kept free"),
    ],
};

/// What a point of a container is about: its own tags first, then these, which every `docker_container_*` has.
macro_rules! container {
    ($($tag:expr),* $(,)?) => {
        &[
            $($tag,)*
            tag("engine_host", "as in `docker`"),
            tag("server_version", "as in `docker`"),
            tag("container_name", "name of the container"),
            tag("container_image", "its image as it was asked for, with the registry"),
            tag("container_version", "the image's tag; `unknown` without one"),
            tag("container_status", "`created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`"),
            tag("source", "first 12 digits of the container's id, with `source_tag`"),
            tag("<label>", "labels of the container, and variables of its environment with `tag_env`"),
        ]
    };
}

const DOCKER_CONTAINER_STATUS: Measurement = Measurement {
    name: "docker_container_status",
    input: "docker",
    help: "State of each container, as the daemon's events tell it.",
    tags: container!(),
    fields: &[
        text("container_id", "id"),
        boolean("oomkilled", "a process of it was killed for want of memory"),
        int("pid", "", "its first process; 0 when it does not run"),
        int("exitcode", "", "exit code of its last run"),
        int("restart_count", "restart", "how often docker started it again by itself"),
        int("started_at", "ns", "start of its last run, since 1970; absent before the first"),
        int("finished_at", "ns", "end of its last run, since 1970; absent before the first"),
        int("uptime_ns", "ns", "how long its last run took, or takes"),
    ],
};

const DOCKER_CONTAINER_HEALTH: Measurement = Measurement {
    name: "docker_container_health",
    input: "docker",
    help: "Health of each container with a `HEALTHCHECK`.",
    tags: container!(),
    fields: &[
        text("health_status", "`starting`, `healthy` or `unhealthy`"),
        int("failing_streak", "check", "checks that failed in a row, at most 30 s old"),
    ],
};

const DOCKER_CONTAINER_MEM: Measurement = Measurement {
    name: "docker_container_mem",
    input: "docker",
    help: "Memory of each container, from its cgroup. Which lines of `memory.stat` there are depends on the cgroup's version: \
           `cache`, `rss`, `mapped_file`, `pgpgin`, `pgpgout`, `hierarchical_memory_limit` and `total_*` (with what is below \
           it) are v1's.",
    tags: container!(),
    fields: &[
        text("container_id", "id"),
        uint("active_anon", "byte", "`memory.stat`"),
        uint("active_file", "byte", "`memory.stat`"),
        uint("cache", "byte", "`memory.stat`"),
        uint("hierarchical_memory_limit", "byte", "`memory.stat`"),
        uint("inactive_anon", "byte", "`memory.stat`"),
        uint("inactive_file", "byte", "`memory.stat`"),
        uint("mapped_file", "byte", "`memory.stat`"),
        uint("pgfault", "fault", "`memory.stat`"),
        uint("pgmajfault", "fault", "`memory.stat`"),
        uint("pgpgin", "page", "`memory.stat`"),
        uint("pgpgout", "page", "`memory.stat`"),
        uint("rss", "byte", "`memory.stat`"),
        uint("rss_huge", "byte", "`memory.stat`"),
        uint("unevictable", "byte", "`memory.stat`"),
        uint("writeback", "byte", "`memory.stat`"),
        uint("total_active_anon", "byte", "`memory.stat`"),
        uint("total_active_file", "byte", "`memory.stat`"),
        uint("total_cache", "byte", "`memory.stat`"),
        uint("total_inactive_anon", "byte", "`memory.stat`"),
        uint("total_inactive_file", "byte", "`memory.stat`"),
        uint("total_mapped_file", "byte", "`memory.stat`"),
        uint("total_pgfault", "fault", "`memory.stat`"),
        uint("total_pgmajfault", "fault", "`memory.stat`"),
        uint("total_pgpgin", "page", "`memory.stat`"),
        uint("total_pgpgout", "page", "`memory.stat`"),
        uint("total_rss", "byte", "`memory.stat`"),
        uint("total_rss_huge", "byte", "`memory.stat`"),
        uint("total_unevictable", "byte", "`memory.stat`"),
        uint("total_writeback", "byte", "`memory.stat`"),
        uint("fail_count", "time", "how often the limit was hit; v1, absent at 0"),
        uint("limit", "byte", "limit, or the machine's memory without one"),
        uint("max_usage", "byte", "largest use so far; v2 since Linux 5.19"),
        uint(
            "usage",
            "byte",
            "use without page cache: less `cache`, `total_inactive_file` or `inactive_file`",
        ),
        float("usage_percent", "%", "`usage` of `limit`"),
    ],
};

const DOCKER_CONTAINER_CPU: Measurement = Measurement {
    name: "docker_container_cpu",
    input: "docker",
    help: "CPU time of each container since it was started, from its cgroup. Under v2 there is no figure for each CPU.",
    tags: container!(tag("cpu", "`cpu-total`, or `cpu0`, `cpu1` …")),
    fields: &[
        text("container_id", "id"),
        uint("usage_total", "ns", "time on a CPU"),
        uint("usage_in_usermode", "ns", "of this in user mode"),
        uint("usage_in_kernelmode", "ns", "of this in the kernel"),
        uint("usage_system", "ns", "time of all the machine's CPUs, idle or not"),
        uint("throttling_periods", "period", "periods in which its CPU quota was enforced"),
        uint("throttling_throttled_periods", "period", "of these, the ones in which it was used up"),
        uint("throttling_throttled_time", "ns", "how long it had to wait for the next period"),
        float("usage_percent", "%", "of one CPU, over the interval; absent at the first gather"),
    ],
};

const DOCKER_CONTAINER_NET: Measurement = Measurement {
    name: "docker_container_net",
    input: "docker",
    help: "Traffic of each container's interfaces, from `/proc/PID/net/dev`; none for one with the host's network.",
    tags: container!(tag("network", "interface in the container, or `total`")),
    fields: &[
        text("container_id", "id"),
        uint("rx_bytes", "byte", "received"),
        uint("rx_packets", "packet", "received"),
        uint("rx_errors", "packet", "received with errors"),
        uint("rx_dropped", "packet", "received and dropped"),
        uint("tx_bytes", "byte", "sent"),
        uint("tx_packets", "packet", "sent"),
        uint("tx_errors", "packet", "not sent for errors"),
        uint("tx_dropped", "packet", "dropped before they were sent"),
    ],
};

const DOCKER_CONTAINER_BLKIO: Measurement = Measurement {
    name: "docker_container_blkio",
    input: "docker",
    help: "Block I/O of each container, from its cgroup. v2 tells reads, writes and discards apart, and nothing else.",
    tags: container!(tag("device", "`MAJOR:MINOR`, or `total`")),
    fields: &[
        text("container_id", "id"),
        uint("io_service_bytes_recursive_read", "byte", "read"),
        uint("io_service_bytes_recursive_write", "byte", "written"),
        uint("io_service_bytes_recursive_sync", "byte", "synchronous"),
        uint("io_service_bytes_recursive_async", "byte", "asynchronous"),
        uint("io_service_bytes_recursive_discard", "byte", "discarded"),
        uint("io_service_bytes_recursive_total", "byte", "all together"),
        uint("io_serviced_recursive_read", "operation", "reads"),
        uint("io_serviced_recursive_write", "operation", "writes"),
        uint("io_serviced_recursive_sync", "operation", "synchronous ones"),
        uint("io_serviced_recursive_async", "operation", "asynchronous ones"),
        uint("io_serviced_recursive_discard", "operation", "discards"),
        uint("io_serviced_recursive_total", "operation", "all together"),
    ],
};

const DOCKER_DISK_USAGE: Measurement = Measurement {
    name: "docker_disk_usage",
    input: "docker",
    help: "What docker keeps on the disk, from its API's `/system/df`, with `storage_objects`: all layers together, and a \
           point for each container, image and volume.",
    tags: &[
        tag("engine_host", "as in `docker`"),
        tag("server_version", "as in `docker`"),
        tag("container_name", "name of the container"),
        tag("container_image", "its image"),
        tag("container_version", "the image's tag"),
        tag("source", "first 12 digits of the container's id, with `source_tag`"),
        tag("image_id", "first 12 digits of the image's id"),
        tag("image_name", "name of the image"),
        tag("image_version", "its tag"),
        tag("volume_name", "name of the volume"),
    ],
    fields: &[
        int("layers_size", "byte", "all layers together"),
        int("size_rw", "byte", "what the container wrote"),
        int("size_root_fs", "byte", "the container's files, the image's with them"),
        int("size", "byte", "the image or volume; -1 where docker does not know"),
        int("shared_size", "byte", "of the image, shared with others"),
    ],
};

const SEISMOGRAF: Measurement = Measurement {
    name: "seismograf",
    input: "ebpf",
    help: "The agent about itself, one point for each `part`; `agent` and `output` come with every run, the others with \
           the input `ebpf`. For `cpu`, `blkio` and `net` that is the balance since the \
           probes started: what the machine counted is `rows_*` (in the rows of cgroups), `overflow_*` (seen, but the \
           row was lost) and `unseen_*` (no program was called) together.",
    tags: &[
        tag(
            "part",
            "`agent`, `output`, and of the input `ebpf`: `cpu`, `blkio`, `net`, `identity`, `ring`, `probe`",
        ),
        tag("output", "name or alias of the output, for `output`"),
        tag("device", "disk, in the balance of `blkio`"),
        tag("probe", "program, for `probe`"),
    ],
    fields: &[
        int("rows_ns", "ns", "`cpu`: CPU time in rows"),
        int("overflow_ns", "ns", "`cpu`: CPU time whose row was lost"),
        int("machine_ns", "ns", "`cpu`: busy time of the machine"),
        int(
            "unseen_ns",
            "ns",
            "`cpu`: what remains; may be negative, as the two are not read at the same instant",
        ),
        int("overflow_switches", "switch", "`cpu`: context switches whose row was lost"),
        int("rows_bytes", "byte", "`blkio`: bytes in rows"),
        int("overflow_bytes", "byte", "`blkio`: bytes whose row was lost, of all disks"),
        int("machine_bytes", "byte", "`blkio`: bytes of the disk, `/proc/diskstats`"),
        int("unseen_bytes", "byte", "`blkio`: what remains"),
        int("rows_ops", "operation", "`blkio`: operations in rows"),
        int("overflow_ops", "operation", "`blkio`: operations whose row was lost, of all disks"),
        int("machine_ops", "operation", "`blkio`: operations of the disk, `/proc/diskstats`"),
        int("unseen_ops", "operation", "`blkio`: what remains"),
        int("rows_rx_bytes", "byte", "`net`: bytes received, in rows"),
        int("overflow_rx_bytes", "byte", "`net`: bytes received whose row was lost"),
        int("machine_rx_bytes", "byte", "`net`: bytes received by the interfaces"),
        int("unseen_rx_bytes", "byte", "`net`: what remains"),
        int("rows_tx_bytes", "byte", "`net`: bytes sent, in rows"),
        int("overflow_tx_bytes", "byte", "`net`: bytes sent whose row was lost"),
        int("machine_tx_bytes", "byte", "`net`: bytes sent by the interfaces"),
        int("unseen_tx_bytes", "byte", "`net`: what remains"),
        int("rows_rx_packets", "packet", "`net`: packets received, in rows"),
        int("rows_tx_packets", "packet", "`net`: packets sent, in rows"),
        int("overflow_rx_packets", "packet", "`net`: packets received whose row was lost"),
        int("overflow_tx_packets", "packet", "`net`: packets sent whose row was lost"),
        int("cgroups", "cgroup", "`identity`: cgroups whose path is known"),
        int("unresolved_cgroups", "row", "`identity`: rows of the interval whose cgroup has no path"),
        int(
            "unresolved_containers",
            "container",
            "`identity`: of the containers that run, those without a name",
        ),
        int(
            "waiting_rows",
            "row",
            "`identity`: rows that wait for their container's name, some seconds at most",
        ),
        int(
            "named_containers",
            "container",
            "`identity`: containers that have a name, some minutes after they ended too",
        ),
        int("named_pods", "pod", "`identity`: pods likewise"),
        int("unresolved_cpu_ns", "ns", "`identity`: CPU time in these"),
        int("unresolved_blkio_bytes", "byte", "`identity`: block I/O in these"),
        int("unresolved_net_bytes", "byte", "`identity`: IP traffic in these"),
        int("records", "record", "`ring`: records read from the ring buffer"),
        int("bytes", "byte", "`ring`: their bytes"),
        int("rows", "row", "`ring`: rows that the ledger took in"),
        int("undecodable", "record", "`ring`: records that could not be decoded"),
        int(
            "refused",
            "record",
            "`ring`: rows for which the ring had no room; their amounts stayed in the cache",
        ),
        int("lost_cgroup_events", "record", "`ring`: life-cycle records for which the ring had no room"),
        int("oom_kills", "process", "`ring`: processes killed for want of memory"),
        int(
            "lost_oom_kills",
            "process",
            "`ring`: of these, the ones whose record found no room: they are in no row",
        ),
        int("map_bytes", "byte", "`ring`: kernel memory of all maps"),
        uint("gathered", "point", "`agent`: points gathered since the start, after the inputs' filters"),
        uint("gather_errors", "gather", "`agent`: gathers that gave less than they should; the log says why"),
        uint("missed_gathers", "gather", "`agent`: left out because the one before took too long"),
        uint("reloads", "reload", "`agent`: reloads that were carried out"),
        uint(
            "reload_errors",
            "reload",
            "`agent`: reloads whose configuration could not be used; the log says why",
        ),
        uint("lost", "point", "`agent`: not written when their output ended with a reload"),
        uint("rss_bytes", "byte", "`agent`: resident memory"),
        uint("cpu_ns", "ns", "`agent`: CPU time"),
        uint("taken", "point", "`output`: points that came in, after the output's filters"),
        uint("written", "point", "`output`: of these, stored on the other side"),
        uint("waiting", "point", "`output`: of these, in the buffer"),
        uint("dropped_refused", "point", "`output`: of these, refused by the other side for good"),
        uint("dropped_overflow", "point", "`output`: of these, pushed out of the full buffer"),
        uint("failed_writes", "request", "`output`: writes that did not work"),
        uint("run_time_ns", "ns", "`probe`: time the program ran; with `probe_costs`"),
        uint("runs", "call", "`probe`: how often; with `probe_costs`"),
    ],
};

/// The measurement of this name.
#[must_use]
pub fn measurement(name: &str) -> Option<&'static Measurement> {
    MEASUREMENTS.iter().find(|measurement| measurement.name == name)
}

/// Whether a point, as an input makes it, has a name, tags and fields that are described here, with their types.
///
/// # Errors
/// Says what is not: the measurement, the tag, the field or its type, or that the point has no field.
pub fn check(point: &Point) -> Result<(), String> {
    let name = &*point.measurement;
    let measurement = measurement(name).ok_or_else(|| format!("{name}: no such measurement"))?;
    for (key, _) in &point.tags {
        if !measurement.tags.iter().any(|tag| tag.name == key || stands_for_any(tag.name)) {
            return Err(format!("{name}: no such tag: {key}"));
        }
    }
    if point.fields.is_empty() {
        return Err(format!("{name}: no fields"));
    }
    for (key, value) in &point.fields {
        let is_open = |field: &&Field| stands_for_any(field.name) && field.kind == Kind::of(value);
        let named = measurement.fields.iter().find(|field| field.name == key);
        let field = named.or_else(|| measurement.fields.iter().find(is_open));
        let field = field.ok_or_else(|| format!("{name}: no such field: {key}"))?;
        if field.kind != Kind::of(value) {
            return Err(format!("{name}: {key} is {value:?}, but should be {}", field.kind.name()));
        }
    }
    Ok(())
}

fn stands_for_any(name: &str) -> bool {
    name.starts_with('<')
}

/// The documentation of every measurement: `docs/metrics.md`.
#[must_use]
pub fn markdown() -> String {
    let mut page = "\
# Metrics

<!-- Made from agent/src/schema.rs. After a change there: UPDATE_DOCS=1 cargo test -p seismograf docs_ -->

Every measurement has the tag `host` and the global tags besides its own. Integers, also the unsigned ones, are written \
with `i`.
"
    .to_owned();
    for measurement in MEASUREMENTS {
        let Measurement { name, input, help, tags, fields } = measurement;
        // Writing to a string cannot fail.
        let _ = writeln!(page, "\n## {name}\n\nInput `{input}`. {help}");
        if !tags.is_empty() {
            page.push_str("\n| tag | |\n|---|---|\n");
        }
        for Tag { name, help } in *tags {
            let _ = writeln!(page, "| `{name}` | {help} |");
        }
        if !fields.is_empty() {
            page.push_str("\n| field | type | unit | |\n|---|---|---|---|\n");
        }
        for Field { name, kind, unit, help } in *fields {
            let _ = writeln!(page, "| `{name}` | {} | {unit} | {help} |", kind.name());
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::point::Timestamp;

    #[test]
    fn docs_metrics_is_current() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, markdown()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == markdown(),
            "stale: UPDATE_DOCS=1 cargo test -p seismograf docs_ rewrites {}",
            path.display()
        );
    }

    #[test]
    fn every_name_is_there_once() {
        let mut names = HashSet::new();
        for measurement in MEASUREMENTS {
            assert!(names.insert(measurement.name), "{}", measurement.name);
            let tags = measurement.tags.iter().map(|tag| tag.name);
            let fields = measurement.fields.iter().map(|field| field.name);
            let mut keys = HashSet::new();
            for key in tags.chain(fields) {
                assert!(keys.insert(key), "{}: {key}", measurement.name);
            }
        }
    }

    #[test]
    fn a_point_that_is_not_described_is_refused() {
        let point = |measurement| Point::new(measurement, Timestamp(0));
        assert_eq!(check(&point("mem").field("total", 1_u64)), Ok(()));
        assert_eq!(check(&point("cgroup").field("pids.max", 1_i64)), Ok(()));
        assert_eq!(check(&point("diskio").tag("ID_FS_TYPE", "ext4").field("reads", 1_u64)), Ok(()));
        for (point, error) in [
            (point("men").field("total", 1_u64), "men: no such measurement"),
            (point("mem").field("total", 1_u64).tag("cpu", "0"), "mem: no such tag: cpu"),
            (point("mem").field("sum", 1_u64), "mem: no such field: sum"),
            (point("mem").field("total", 1_i64), "mem: total is Int(1), but should be unsigned"),
            (point("mem"), "mem: no fields"),
            (point("cgroup").field("pids.max", 1_u64), "cgroup: no such field: pids.max"),
            (
                point("diskio").tag("ID_FS_TYPE", "ext4").field("io_wait", 1.0),
                "diskio: no such field: io_wait",
            ),
        ] {
            assert_eq!(check(&point), Err(error.to_owned()));
        }
    }
}
