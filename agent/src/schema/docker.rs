//! The input `docker`: Telegraf's measurements of a daemon and its containers.

use super::kinds::{Measurement, Tag, boolean, float, int, tag, text, uint};

pub(super) const DOCKER: Measurement = Measurement {
    name: "docker",
    input: "docker",
    help: "The docker daemon about itself, from its API's `/info`: one point of counts, one of memory, and one with the \
           tag `unit` where the storage driver is `devicemapper`. It is requested when something has happened to a \
           container or an image, and else every five minutes, since it costs the daemon more than all other figures \
           cost the agent: goroutines, open files and clients can be that old.",
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
pub(super) const DEVICE_MAPPER_TAGS: &[Tag] =
    &[tag("engine_host", "as in `docker`"), tag("server_version", "as in `docker`"), tag("unit", "`bytes`")];

pub(super) const DOCKER_DATA: Measurement = Measurement {
    name: "docker_data",
    input: "docker",
    help: "Data of the storage driver `devicemapper`, which docker had until version 24.",
    tags: DEVICE_MAPPER_TAGS,
    fields: &[int("available", "byte", "free"), int("total", "byte", "size"), int("used", "byte", "used")],
};

pub(super) const DOCKER_METADATA: Measurement = Measurement {
    name: "docker_metadata",
    input: "docker",
    help: "Metadata of the storage driver `devicemapper`.",
    tags: DEVICE_MAPPER_TAGS,
    fields: &[int("available", "byte", "free"), int("total", "byte", "size"), int("used", "byte", "used")],
};

pub(super) const DOCKER_DEVICEMAPPER: Measurement = Measurement {
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

pub(super) const DOCKER_CONTAINER_STATUS: Measurement = Measurement {
    name: "docker_container_status",
    input: "docker",
    help: "State of each container, as the daemon's events tell it.",
    tags: container!(),
    fields: &[
        text("container_id", "id"),
        boolean("oomkilled", "a process of it was OOM-killed"),
        int("pid", "", "its first process; 0 when it does not run"),
        int("exitcode", "", "exit code of its last run"),
        int("restart_count", "restart", "how often docker started it again by itself"),
        int("started_at", "ns", "start of its last run, since 1970; absent before the first"),
        int("finished_at", "ns", "end of its last run, since 1970; absent before the first"),
        int("uptime_ns", "ns", "how long its last run took, or takes"),
    ],
};

pub(super) const DOCKER_CONTAINER_HEALTH: Measurement = Measurement {
    name: "docker_container_health",
    input: "docker",
    help: "Health of each container with a `HEALTHCHECK`.",
    tags: container!(),
    fields: &[
        text("health_status", "`starting`, `healthy` or `unhealthy`"),
        int("failing_streak", "check", "checks that failed in a row, at most 30 s old"),
    ],
};

pub(super) const DOCKER_CONTAINER_MEM: Measurement = Measurement {
    name: "docker_container_mem",
    input: "docker",
    help: "Memory of each container, from its cgroup; where that is not seen here, from the daemon's \
           `/containers/ID/stats`, as are the other figures then. Which lines of `memory.stat` there are depends on the \
           cgroup's version: `cache`, `rss`, `mapped_file`, `pgpgin`, `pgpgout`, `hierarchical_memory_limit` and `total_*` \
           (with what is below it) are v1's.",
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

pub(super) const DOCKER_CONTAINER_CPU: Measurement = Measurement {
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

pub(super) const DOCKER_CONTAINER_NET: Measurement = Measurement {
    name: "docker_container_net",
    input: "docker",
    help: "Traffic of each container's interfaces, from `/proc/PID/net/dev`: of those that docker made, `eth0` and so on, or of all where there is none such; none for one with the host's network.",
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

pub(super) const DOCKER_CONTAINER_BLKIO: Measurement = Measurement {
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

pub(super) const DOCKER_DISK_USAGE: Measurement = Measurement {
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
