//! What is in no dashboard, and why. A test holds every field of the schema against this and the boards.

/// Of a measurement the fields that no dashboard shows, `*` for all of them, and the reason.
pub(super) const LEFT_OUT: &[(&str, &[&str], &str)] = &[
    ("cpu", &["time_user", "time_system", "time_idle", "time_nice", "time_iowait", "time_irq"], SAME),
    (
        "cpu",
        &["time_softirq", "time_steal", "time_guest", "time_guest_nice", "time_active", "usage_active"],
        SAME,
    ),
    ("mem", &["available_percent", "swap_total", "swap_free"], SAME),
    (
        "mem",
        &["active", "inactive", "write_back", "write_back_tmp", "mapped", "sreclaimable", "sunreclaim"],
        DETAIL,
    ),
    ("mem", &["page_tables", "swap_cached", "commit_limit", "committed_as", "huge_page_size"], DETAIL),
    ("mem", &["huge_pages_total", "huge_pages_free", "unevictable", "percpu"], DETAIL),
    ("mem", &["active_file", "inactive_file", "active_anon", "inactive_anon"], DETAIL),
    ("mem", &["high_total", "high_free", "low_total", "low_free"], "of 32-bit kernels"),
    ("mem", &["vmalloc_total", "vmalloc_used", "vmalloc_chunk"], DETAIL),
    ("disk", &["total", "used", "inodes_total", "inodes_free", "inodes_used"], SAME),
    (
        "diskio",
        &["read_time", "write_time", "io_time", "weighted_io_time", "io_svctm"],
        "`io_util` and `io_await` say it",
    ),
    ("diskio", &["iops_in_progress", "merged_reads", "merged_writes"], DETAIL),
    (
        "kernel",
        &["boot_time", "disk_pages_in", "disk_pages_out", "entropy_avail"],
        "never changes on a kernel of today",
    ),
    (
        "kernel",
        &["ksm_full_scans", "ksm_max_page_sharing", "ksm_merge_across_nodes", "ksm_pages_shared"],
        DETAIL,
    ),
    (
        "kernel",
        &["ksm_pages_sharing", "ksm_pages_to_scan", "ksm_pages_unshared", "ksm_pages_volatile"],
        DETAIL,
    ),
    ("kernel", &["ksm_run", "ksm_sleep_millisecs", "ksm_stable_node_chains", "ksm_stable_node_dups"], DETAIL),
    (
        "kernel",
        &["ksm_stable_node_chains_prune_millisecs", "ksm_use_zero_pages", "ksm_general_profit"],
        DETAIL,
    ),
    ("pressure", &["total"], SAME),
    ("processes", &["dead", "paging", "parked", "unknown"], "nearly always 0"),
    ("net", &["speed"], "never changes"),
    ("cgroup", &["*"], "whatever the configuration names"),
    ("system", &["n_physical_cpus", "n_users", "n_unique_users", "uptime_format"], DETAIL),
    ("system", &["os", "arch", "platform", "platform_family", "platform_version", "kernel_version"], TEXT),
    (
        "system",
        &["bios_vendor", "bios_version", "bios_date", "board_vendor", "board_product", "board_version"],
        TEXT,
    ),
    (
        "system",
        &["board_serial", "board_asset_tag", "chassis_vendor", "chassis_type_code", "chassis_type"],
        TEXT,
    ),
    (
        "system",
        &["chassis_version", "chassis_serial", "chassis_asset_tag", "product_vendor", "product_name"],
        TEXT,
    ),
    ("system", &["product_family", "product_version", "product_serial", "product_sku", "product_uuid"], TEXT),
    ("cgroup_cpu", &["usage_percent"], SAME),
    ("cgroup_blkio", &["discards"], "`discard_bytes` says it"),
    ("cgroup_net", &["tx_dropped_bytes"], "`tx_dropped_packets` says it"),
    ("cgroup_mem", &["usage_bytes"], "with page cache that is given back at need"),
    ("cgroup_pressure", &["some_avg60", "some_avg300", "some_total_us"], "the graph is over time"),
    ("cgroup_pressure", &["full_avg60", "full_avg300", "full_total_us"], "the graph is over time"),
    ("pod_cpu", &["usage_percent"], SAME),
    ("pod_mem", &["page_faults"], NEIGHBOURS),
    (
        "pod_blkio",
        &["discard_bytes", "discards", "read_time_ns", "write_time_ns", "read_p50_us", "write_p50_us"],
        NEIGHBOURS,
    ),
    ("pod_net", &["tx_dropped_bytes"], "`tx_dropped_packets` says it"),
    ("docker", &["*"], DOCKER),
    ("docker_data", &["*"], DOCKER),
    ("docker_metadata", &["*"], DOCKER),
    ("docker_devicemapper", &["*"], DOCKER),
    ("docker_container_status", &["*"], DOCKER),
    ("docker_container_health", &["*"], DOCKER),
    ("docker_container_mem", &["*"], DOCKER),
    ("docker_container_cpu", &["*"], DOCKER),
    ("docker_container_net", &["*"], DOCKER),
    ("docker_container_blkio", &["*"], DOCKER),
    ("docker_disk_usage", &["*"], DOCKER),
    ("kubernetes_node", &["*"], "the node by the host inputs"),
    ("kubernetes_system_container", &["*"], "the units by `cgroup_*`"),
    (
        "kubernetes_pod_container",
        &["cpu_usage_nanocores", "cpu_usage_core_nanoseconds", "memory_usage_bytes"],
        BY_PODS,
    ),
    (
        "kubernetes_pod_container",
        &["memory_working_set_bytes", "memory_rss_bytes", "memory_page_faults"],
        BY_PODS,
    ),
    ("kubernetes_pod_container", &["memory_major_page_faults"], BY_PODS),
    (
        "kubernetes_pod_container",
        &["rootfs_available_bytes", "rootfs_capacity_bytes"],
        "the node's file system",
    ),
    (
        "kubernetes_pod_container",
        &["logsfs_available_bytes", "logsfs_capacity_bytes"],
        "the node's file system",
    ),
    (
        "kubernetes_pod_volume",
        &["available_bytes", "capacity_bytes"],
        "mostly those of the node's file system",
    ),
    ("kubernetes_pod_network", &["*"], BY_PODS),
    ("<metric>", &["*"], APPLICATIONS),
    ("prometheus", &["*"], APPLICATIONS),
    ("openmetric", &["*"], APPLICATIONS),
    ("prometheus_request", &["*"], APPLICATIONS),
    ("internal_agent", &["*"], INTERNAL),
    ("internal_gather", &["*"], INTERNAL),
    ("internal_write", &["*"], INTERNAL),
    ("internal_serializer", &["*"], INTERNAL),
    (
        "seismograf",
        &["unseen_ops", "rows_rx_packets", "rows_tx_packets", "rows_tcp_retransmits"],
        "the balance of bytes says it",
    ),
    ("seismograf", &["bytes"], "`records` says it"),
    ("seismograf", &["reloads", "reload_errors", "lost_received"], "the log says why"),
    ("seismograf", &["datagrams", "overflow"], "of `socket_listener` with UDP alone"),
    (
        "seismograf",
        &["overflow_time_ns", "overflow_tx_dropped_bytes"],
        "lost with the operations and packets that are shown",
    ),
];

const SAME: &str = "another field that is shown says the same";
const DETAIL: &str = "a detail for who looks for it";
const TEXT: &str = "a text, which no graph is made of";
const NEIGHBOURS: &str = "shown by container, in the dashboard of noisy neighbours";
const DOCKER: &str =
    "Telegraf's: the dashboards that there are for it show it, and the containers are in `cgroup_*`";
const BY_PODS: &str = "shown as `pod_*`";
const APPLICATIONS: &str = "of applications, which have dashboards of their own";
const INTERNAL: &str = "Telegraf's: `seismograf` says it";
