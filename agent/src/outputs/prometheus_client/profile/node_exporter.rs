//! The names of the node exporter, for the host inputs.

use std::borrow::Cow;

use super::table::Figure::{Difference, Field, Is, Time, Zero};
use super::table::{Labels, Metric, Profile, Source, counter, gauge, untyped};
use crate::point::Point;

pub(super) const PROFILE: Profile = Profile {
    name: "node_exporter",
    title: "The page of Prometheus' node exporter.",
    needs: "It needs the inputs `cpu` (with `percpu = true` and `collect_cpu_time = true`), `mem`, `swap`, `system`, `kernel`, `disk`, \
            `diskio`, `net` (with `interfaces = [\"*\"]` for those that it leaves out by itself, such as `lo`); what one of them \
            is told to leave out is not there. `collect_extended = true` in `mem` gives `Active_anon` and its like, \
            `collect = [\"psi\"]` in `kernel` the pressure.",
    sources: SOURCES,
    left_out: LEFT_OUT,
};

/// Milliseconds to seconds.
const MILLIS: f64 = 1e-3;
/// Microseconds to seconds.
const MICROS: f64 = 1e-6;
/// Mbit/s to byte/s.
const MEGABITS: f64 = 1e6 / 8.0;
/// Of swapped bytes to pages.
const PAGES: f64 = 1.0 / 4096.0;

const SOURCES: &[Source] = &[
    Source { measurement: "cpu", labels: of_cpu, metrics: CPU },
    Source { measurement: "mem", labels: of_machine, metrics: MEM },
    Source { measurement: "swap", labels: of_machine, metrics: SWAP },
    Source { measurement: "system", labels: of_machine, metrics: SYSTEM },
    Source { measurement: "kernel", labels: of_machine, metrics: KERNEL },
    Source { measurement: "pressure", labels: of_cpu_pressure, metrics: CPU_PRESSURE },
    Source { measurement: "pressure", labels: of_io_pressure, metrics: IO_PRESSURE },
    Source { measurement: "pressure", labels: of_io_stall, metrics: IO_STALL },
    Source { measurement: "pressure", labels: of_memory_pressure, metrics: MEMORY_PRESSURE },
    Source { measurement: "pressure", labels: of_memory_stall, metrics: MEMORY_STALL },
    Source { measurement: "disk", labels: of_file_system, metrics: DISK },
    Source { measurement: "diskio", labels: of_disk, metrics: DISKIO },
    Source { measurement: "net", labels: of_interface, metrics: NET },
];

fn of_machine(_: &Point) -> Option<Labels<'_>> {
    Some(Vec::new())
}

/// `cpu0` is CPU 0; the machine's sum is no CPU.
fn of_cpu(point: &Point) -> Option<Labels<'_>> {
    let number = point.tag_value("cpu")?.strip_prefix("cpu")?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| vec![("cpu", number.into())])
}

fn pressure<'a>(point: &'a Point, resource: &str, kind: &str) -> Option<Labels<'a>> {
    let is = |tag: &str, value: &str| point.tag_value(tag) == Some(value);
    (is("resource", resource) && is("type", kind)).then(Vec::new)
}

fn of_cpu_pressure(point: &Point) -> Option<Labels<'_>> {
    pressure(point, "cpu", "some")
}

fn of_io_pressure(point: &Point) -> Option<Labels<'_>> {
    pressure(point, "io", "some")
}

fn of_io_stall(point: &Point) -> Option<Labels<'_>> {
    pressure(point, "io", "full")
}

fn of_memory_pressure(point: &Point) -> Option<Labels<'_>> {
    pressure(point, "memory", "some")
}

fn of_memory_stall(point: &Point) -> Option<Labels<'_>> {
    pressure(point, "memory", "full")
}

/// File systems of a block device, of which Telegraf leaves out `/dev/`.
const ON_DEVICES: &[&str] = &[
    "bcachefs", "btrfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "fuseblk", "hfs", "hfsplus",
    "iso9660", "jfs", "msdos", "nilfs2", "ntfs", "ntfs3", "ocfs2", "gfs2", "reiserfs", "squashfs", "udf",
    "vfat", "xfs",
];

fn of_file_system(point: &Point) -> Option<Labels<'_>> {
    let (device, kind) = (point.tag_value("device")?, point.tag_value("fstype")?);
    let device = match ON_DEVICES.contains(&kind) {
        true if !device.starts_with('/') => Cow::Owned(format!("/dev/{device}")),
        _ => device.into(),
    };
    Some(vec![("device", device), ("fstype", kind.into()), ("mountpoint", point.tag_value("path")?.into())])
}

/// As the exporter by itself: without partitions, RAM disks, loop devices and floppies.
fn of_disk(point: &Point) -> Option<Labels<'_>> {
    let name = point.tag_value("name")?;
    let base = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let is_numbered = base.len() < name.len();
    let is_letter = |rest: &str| rest.len() == 1 && rest.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_partition =
        ["hd", "sd", "vd", "xvd"].iter().any(|kind| base.strip_prefix(kind).is_some_and(is_letter));
    // nvme0n1p1
    let is_nvme = base.starts_with("nvme") && base.ends_with('p') && base.contains('n');
    let is_other = matches!(base, "ram" | "zram" | "loop" | "fd");
    (!is_numbered || !(is_partition || is_nvme || is_other)).then(|| vec![("device", name.into())])
}

fn of_interface(point: &Point) -> Option<Labels<'_>> {
    let name = point.tag_value("interface")?;
    // The protocols of all together, which Telegraf had once.
    (name != "all").then(|| vec![("device", name.into())])
}

const CPU: &[Metric] = &[
    time("time_user").with(&[("mode", "user")]),
    time("time_nice").with(&[("mode", "nice")]),
    time("time_system").with(&[("mode", "system")]),
    time("time_idle").with(&[("mode", "idle")]),
    time("time_iowait").with(&[("mode", "iowait")]),
    time("time_irq").with(&[("mode", "irq")]),
    time("time_softirq").with(&[("mode", "softirq")]),
    time("time_steal").with(&[("mode", "steal")]),
    guest("time_guest").with(&[("mode", "user")]),
    guest("time_guest_nice").with(&[("mode", "nice")]),
];

const fn time(field: &'static str) -> Metric {
    counter("node_cpu_seconds_total", Field(field, 1.0), "time of a CPU in each mode")
}

const fn guest(field: &'static str) -> Metric {
    counter(
        "node_cpu_guest_seconds_total",
        Field(field, 1.0),
        "of user and nice, time in which it ran a guest",
    )
}

const MEM: &[Metric] = &[
    meminfo("node_memory_MemTotal_bytes", "total"),
    meminfo("node_memory_MemFree_bytes", "free"),
    meminfo("node_memory_MemAvailable_bytes", "available"),
    meminfo("node_memory_Buffers_bytes", "buffered"),
    meminfo("node_memory_SwapCached_bytes", "swap_cached"),
    meminfo("node_memory_Active_bytes", "active"),
    meminfo("node_memory_Inactive_bytes", "inactive"),
    meminfo("node_memory_Active_anon_bytes", "active_anon"),
    meminfo("node_memory_Inactive_anon_bytes", "inactive_anon"),
    meminfo("node_memory_Active_file_bytes", "active_file"),
    meminfo("node_memory_Inactive_file_bytes", "inactive_file"),
    meminfo("node_memory_Unevictable_bytes", "unevictable"),
    meminfo("node_memory_SwapTotal_bytes", "swap_total"),
    meminfo("node_memory_SwapFree_bytes", "swap_free"),
    meminfo("node_memory_Dirty_bytes", "dirty"),
    meminfo("node_memory_Writeback_bytes", "write_back"),
    meminfo("node_memory_WritebackTmp_bytes", "write_back_tmp"),
    meminfo("node_memory_Mapped_bytes", "mapped"),
    meminfo("node_memory_Shmem_bytes", "shared"),
    meminfo("node_memory_Slab_bytes", "slab"),
    meminfo("node_memory_SReclaimable_bytes", "sreclaimable"),
    meminfo("node_memory_SUnreclaim_bytes", "sunreclaim"),
    meminfo("node_memory_PageTables_bytes", "page_tables"),
    meminfo("node_memory_CommitLimit_bytes", "commit_limit"),
    meminfo("node_memory_Committed_AS_bytes", "committed_as"),
    meminfo("node_memory_VmallocTotal_bytes", "vmalloc_total"),
    meminfo("node_memory_VmallocUsed_bytes", "vmalloc_used"),
    meminfo("node_memory_VmallocChunk_bytes", "vmalloc_chunk"),
    meminfo("node_memory_Percpu_bytes", "percpu"),
    meminfo("node_memory_HugePages_Total", "huge_pages_total"),
    meminfo("node_memory_HugePages_Free", "huge_pages_free"),
    meminfo("node_memory_Hugepagesize_bytes", "huge_page_size"),
    gauge("node_memory_Cached_bytes", Difference("cached", "sreclaimable", 1.0), MEMINFO),
];

const MEMINFO: &str = "as in `/proc/meminfo`";

const fn meminfo(name: &'static str, field: &'static str) -> Metric {
    gauge(name, Field(field, 1.0), MEMINFO)
}

const SWAP: &[Metric] = &[
    untyped("node_vmstat_pswpin", Field("in", PAGES), "pages that were swapped in"),
    untyped("node_vmstat_pswpout", Field("out", PAGES), "pages that were swapped out"),
];

const SYSTEM: &[Metric] = &[
    gauge("node_load1", Field("load1", 1.0), "running and waiting tasks, over 1 minute"),
    gauge("node_load5", Field("load5", 1.0), "over 5 minutes"),
    gauge("node_load15", Field("load15", 1.0), "over 15 minutes"),
    gauge("node_time_seconds", Time, "the machine's clock"),
];

const KERNEL: &[Metric] = &[
    counter("node_intr_total", Field("interrupts", 1.0), "interrupts served"),
    counter("node_context_switches_total", Field("context_switches", 1.0), "context switches"),
    counter("node_forks_total", Field("processes_forked", 1.0), "processes and threads made"),
    gauge("node_boot_time_seconds", Field("boot_time", 1.0), "when the machine was booted, since 1970"),
    gauge("node_entropy_available_bits", Field("entropy_avail", 1.0), "entropy of the random pool"),
];

const CPU_PRESSURE: &[Metric] = &[counter(
    "node_pressure_cpu_waiting_seconds_total",
    Field("total", MICROS),
    "some tasks waited for a CPU",
)];
const IO_PRESSURE: &[Metric] =
    &[counter("node_pressure_io_waiting_seconds_total", Field("total", MICROS), "some tasks waited for I/O")];
const IO_STALL: &[Metric] =
    &[counter("node_pressure_io_stalled_seconds_total", Field("total", MICROS), "all tasks waited for I/O")];
const MEMORY_PRESSURE: &[Metric] = &[counter(
    "node_pressure_memory_waiting_seconds_total",
    Field("total", MICROS),
    "some tasks waited for memory",
)];
const MEMORY_STALL: &[Metric] = &[counter(
    "node_pressure_memory_stalled_seconds_total",
    Field("total", MICROS),
    "all tasks waited for memory",
)];

const DISK: &[Metric] = &[
    gauge("node_filesystem_size_bytes", Field("total", 1.0), "size"),
    gauge("node_filesystem_free_bytes", Difference("total", "used", 1.0), "free for root"),
    gauge("node_filesystem_avail_bytes", Field("free", 1.0), "free for others"),
    gauge("node_filesystem_files", Field("inodes_total", 1.0), "inodes"),
    gauge("node_filesystem_files_free", Field("inodes_free", 1.0), "free inodes"),
    gauge("node_filesystem_readonly", Is("mode", "ro"), "1 where nothing can be written"),
    gauge("node_filesystem_device_error", Zero, "0: one that cannot be looked at has no point"),
];

const DISKIO: &[Metric] = &[
    counter("node_disk_reads_completed_total", Field("reads", 1.0), "reads that completed"),
    counter(
        "node_disk_reads_merged_total",
        Field("merged_reads", 1.0),
        "reads that became a part of another",
    ),
    counter("node_disk_read_bytes_total", Field("read_bytes", 1.0), "read"),
    counter(
        "node_disk_read_time_seconds_total",
        Field("read_time", MILLIS),
        "time that reads took, added up",
    ),
    counter("node_disk_writes_completed_total", Field("writes", 1.0), "writes that completed"),
    counter(
        "node_disk_writes_merged_total",
        Field("merged_writes", 1.0),
        "writes that became a part of another",
    ),
    counter("node_disk_written_bytes_total", Field("write_bytes", 1.0), "written"),
    counter(
        "node_disk_write_time_seconds_total",
        Field("write_time", MILLIS),
        "time that writes took, added up",
    ),
    gauge("node_disk_io_now", Field("iops_in_progress", 1.0), "under way now"),
    counter(
        "node_disk_io_time_seconds_total",
        Field("io_time", MILLIS),
        "time in which anything was under way",
    ),
    counter(
        "node_disk_io_time_weighted_seconds_total",
        Field("weighted_io_time", MILLIS),
        "that time, weighted by how many operations were",
    ),
];

const NET: &[Metric] = &[
    counter("node_network_receive_bytes_total", Field("bytes_recv", 1.0), "received"),
    counter("node_network_receive_packets_total", Field("packets_recv", 1.0), "received"),
    counter("node_network_receive_errs_total", Field("err_in", 1.0), "received with an error"),
    counter("node_network_receive_drop_total", Field("drop_in", 1.0), "received and dropped"),
    counter("node_network_transmit_bytes_total", Field("bytes_sent", 1.0), "sent"),
    counter("node_network_transmit_packets_total", Field("packets_sent", 1.0), "sent"),
    counter("node_network_transmit_errs_total", Field("err_out", 1.0), "not sent for an error"),
    counter("node_network_transmit_drop_total", Field("drop_out", 1.0), "dropped instead of sent"),
    gauge("node_network_speed_bytes", Field("speed", MEGABITS), "of the link; negative where nobody knows"),
];

/// No field has it.
const NO_INPUT: &str = "no input gathers it";
/// Likewise, of `/proc/meminfo`.
const NO_LINE: &str = "`mem` has no field for this line of `/proc/meminfo`";
/// What is not about the machine.
const OF_EXPORTER: &str = "about the exporter itself; of this agent it is the measurement `seismograf`";

const LEFT_OUT: &[(&str, &str)] = &[
    ("go_*", OF_EXPORTER),
    ("process_*", OF_EXPORTER),
    ("promhttp_*", OF_EXPORTER),
    ("node_exporter_build_info", OF_EXPORTER),
    ("node_scrape_collector_*", OF_EXPORTER),
    ("node_textfile_*", OF_EXPORTER),
    ("node_arp_*", NO_INPUT),
    ("node_bonding_*", NO_INPUT),
    ("node_btrfs_*", NO_INPUT),
    ("node_cooling_*", NO_INPUT),
    ("node_cpu_core_throttles_total", NO_INPUT),
    ("node_cpu_frequency_*", NO_INPUT),
    ("node_cpu_package_throttles_total", NO_INPUT),
    ("node_cpu_scaling_*", NO_INPUT),
    ("node_disk_ata_*", NO_INPUT),
    ("node_disk_device_mapper_info", NO_INPUT),
    ("node_disk_discard*", "`diskio` has reads and writes alone, as Telegraf's"),
    ("node_disk_filesystem_info", NO_INPUT),
    ("node_disk_flush_*", "`diskio` has reads and writes alone, as Telegraf's"),
    ("node_disk_info", NO_INPUT),
    ("node_dmi_info", "`system` has it with `include = [\"dmi\"]`, as texts under other names"),
    ("node_edac_*", NO_INPUT),
    ("node_entropy_pool_size_bits", NO_INPUT),
    ("node_fibrechannel_*", NO_INPUT),
    ("node_filefd_*", NO_INPUT),
    ("node_filesystem_mount_info", NO_INPUT),
    ("node_hwmon_*", NO_INPUT),
    ("node_infiniband_*", NO_INPUT),
    ("node_ipvs_*", NO_INPUT),
    ("node_md_*", NO_INPUT),
    ("node_memory_AnonHugePages_bytes", NO_LINE),
    ("node_memory_AnonPages_bytes", NO_LINE),
    ("node_memory_Balloon_bytes", NO_LINE),
    ("node_memory_Bounce_bytes", NO_LINE),
    ("node_memory_Cma*", NO_LINE),
    ("node_memory_DirectMap*", NO_LINE),
    ("node_memory_File*", NO_LINE),
    ("node_memory_HardwareCorrupted_bytes", NO_LINE),
    ("node_memory_HugePages_Rsvd", NO_LINE),
    ("node_memory_HugePages_Surp", NO_LINE),
    ("node_memory_Hugetlb_bytes", NO_LINE),
    ("node_memory_KReclaimable_bytes", NO_LINE),
    ("node_memory_KernelStack_bytes", NO_LINE),
    ("node_memory_Mlocked_bytes", NO_LINE),
    ("node_memory_NFS_Unstable_bytes", NO_LINE),
    ("node_memory_SecPageTables_bytes", NO_LINE),
    ("node_memory_ShmemHugePages_bytes", NO_LINE),
    ("node_memory_ShmemPmdMapped_bytes", NO_LINE),
    ("node_memory_Unaccepted_bytes", NO_LINE),
    ("node_memory_Zswap*", NO_LINE),
    ("node_netstat_*", NO_INPUT),
    ("node_network_address_assign_type", NO_INPUT),
    ("node_network_carrier*", NO_INPUT),
    ("node_network_device_id", NO_INPUT),
    ("node_network_dormant", NO_INPUT),
    ("node_network_flags", NO_INPUT),
    ("node_network_iface_*", NO_INPUT),
    ("node_network_info", NO_INPUT),
    ("node_network_mtu_bytes", NO_INPUT),
    ("node_network_name_assign_type", NO_INPUT),
    ("node_network_net_dev_group", NO_INPUT),
    ("node_network_protocol_type", NO_INPUT),
    (
        "node_network_receive_compressed_total",
        "`net` has bytes, packets, errors and drops alone, as Telegraf's",
    ),
    ("node_network_receive_fifo_total", "likewise"),
    ("node_network_receive_frame_total", "likewise"),
    ("node_network_receive_multicast_total", "likewise"),
    ("node_network_receive_nohandler_total", "likewise"),
    ("node_network_transmit_carrier_total", "likewise"),
    ("node_network_transmit_colls_total", "likewise"),
    ("node_network_transmit_compressed_total", "likewise"),
    ("node_network_transmit_fifo_total", "likewise"),
    ("node_network_transmit_queue_length", NO_INPUT),
    ("node_network_up", NO_INPUT),
    ("node_nf_conntrack_*", NO_INPUT),
    ("node_nfs_*", NO_INPUT),
    ("node_nfsd_*", NO_INPUT),
    ("node_nvme_*", NO_INPUT),
    ("node_os_*", "`system` has it with `include = [\"os\"]`, as texts under other names"),
    ("node_power_supply_*", NO_INPUT),
    (
        "node_procs_*",
        "`processes` counts processes by their state, which is not the number that the kernel keeps of threads",
    ),
    ("node_rapl_*", NO_INPUT),
    ("node_schedstat_*", NO_INPUT),
    ("node_selinux_*", NO_INPUT),
    ("node_sockstat_*", NO_INPUT),
    ("node_softnet_*", NO_INPUT),
    ("node_tape_*", NO_INPUT),
    ("node_thermal_zone_*", NO_INPUT),
    ("node_time_clocksource_*", NO_INPUT),
    ("node_time_zone_offset_seconds", NO_INPUT),
    ("node_timex_*", NO_INPUT),
    ("node_udp_queues", NO_INPUT),
    (
        "node_uname_info",
        "`system` has the kernel's release and no version, and a part of an information is another one",
    ),
    ("node_vmstat_oom_kill", "OOM kills are counted by `ebpf`, for each row"),
    ("node_vmstat_pg*", NO_INPUT),
    ("node_watchdog_*", NO_INPUT),
    ("node_xfs_*", NO_INPUT),
    ("node_zfs_*", NO_INPUT),
    ("node_zoneinfo_*", NO_INPUT),
];
