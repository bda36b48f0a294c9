//! The host inputs: what Telegraf's inputs of these names say, from `/proc`, `/sys` and `statfs`.

use super::kinds::{Measurement, float, int, tag, text, uint};

pub(super) const CPU: Measurement = Measurement {
    name: "cpu",
    input: "cpu",
    help: "Time of each CPU and of the machine, from `/proc/stat`. `time_*` are cumulative since boot and come with \
           `collect_cpu_time`, `usage_*` are shares of the interval and start with the second gather; the two are \
           points of their own. Guest time is part of `time_user`, but not of `usage_user`. A share is left out where its \
           counter stepped back, or went further than the whole.",
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

pub(super) const MEM: Measurement = Measurement {
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

pub(super) const DISK: Measurement = Measurement {
    name: "disk",
    input: "disk",
    help: "Space and inodes of each mounted file system, from statfs(2), for the mounts of `/proc/1/mountinfo`. File \
           systems without a size are left out, and mounts that another one covers.",
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

pub(super) const DISKIO: Measurement = Measurement {
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

pub(super) const SWAP: Measurement = Measurement {
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

pub(super) const KERNEL: Measurement = Measurement {
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

pub(super) const PRESSURE: Measurement = Measurement {
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

pub(super) const PROCESSES: Measurement = Measurement {
    name: "processes",
    input: "processes",
    help: "Processes by their state, from `/proc/PID/stat`; beside `ebpf` the kernel counts them.",
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

pub(super) const NET: Measurement = Measurement {
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

pub(super) const CGROUP: Measurement = Measurement {
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

pub(super) const SYSTEM: Measurement = Measurement {
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
            "this and the following with `dmi`, from `/sys/class/dmi/id`, `unknown` where it cannot be read",
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
