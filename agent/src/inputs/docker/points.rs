//! From what is known of containers to points; pure.
//!
//! Names and rules are Telegraf's. What the kernel does not say is left out, where Telegraf has a zero; a container that
//! does not run has Telegraf's zeros.

use std::sync::Arc;

use super::{Area, Options, StorageObject};
use crate::host::cgroupfs::figures::{Activity, Cpu, DeviceIo, IO_KINDS, Memory, Throttling};
use crate::host::proc::net_dev::{self, InterfaceLine};
use crate::host::proc::{pid_cgroup, stat};
use crate::identity::docker::api::{DiskUsage, Info};
use crate::identity::docker::{Container, Engine};
use crate::identity::names::cut;
use crate::inputs::Gathered;
use crate::point::{FieldValue, Name, Point, Timestamp};

/// Keys that a label cannot have, since the point itself may: a container must not pass for another one.
const RESERVED: [&str; 4] = ["cpu", "device", "host", "network"];
/// The keys of `memory.stat` that are fields, sorted.
const MEMORY_KEYS: [&str; 29] = [
    "active_anon",
    "active_file",
    "cache",
    "hierarchical_memory_limit",
    "inactive_anon",
    "inactive_file",
    "mapped_file",
    "pgfault",
    "pgmajfault",
    "pgpgin",
    "pgpgout",
    "rss",
    "rss_huge",
    "total_active_anon",
    "total_active_file",
    "total_cache",
    "total_inactive_anon",
    "total_inactive_file",
    "total_mapped_file",
    "total_pgfault",
    "total_pgmajfault",
    "total_pgpgin",
    "total_pgpgout",
    "total_rss",
    "total_rss_huge",
    "total_unevictable",
    "total_writeback",
    "unevictable",
    "writeback",
];
/// Fields of bytes, by [`IO_KINDS`].
const IO_BYTES: [&str; IO_KINDS.len()] = [
    "io_service_bytes_recursive_read",
    "io_service_bytes_recursive_write",
    "io_service_bytes_recursive_sync",
    "io_service_bytes_recursive_async",
    "io_service_bytes_recursive_discard",
    "io_service_bytes_recursive_total",
];
/// Fields of operations, likewise.
const IO_OPERATIONS: [&str; IO_KINDS.len()] = [
    "io_serviced_recursive_read",
    "io_serviced_recursive_write",
    "io_serviced_recursive_sync",
    "io_serviced_recursive_async",
    "io_serviced_recursive_discard",
    "io_serviced_recursive_total",
];
/// Fields of an interface.
const NET_FIELDS: [&str; 8] = [
    "rx_bytes",
    "rx_packets",
    "rx_errors",
    "rx_dropped",
    "tx_bytes",
    "tx_packets",
    "tx_errors",
    "tx_dropped",
];
/// Interfaces that the kernel makes in every namespace by itself.
const OWN_INTERFACES: [&str; 10] =
    ["lo", "erspan0", "gre0", "gretap0", "ip6_vti0", "ip6gre0", "ip6tnl0", "ip_vti0", "sit0", "tunl0"];
/// Digits of an id in the tags `source` and `image_id`.
const SHORT_ID: usize = 12;

/// What a container's figures are compared with.
pub(super) struct Machine {
    /// Time of all CPUs, idle or not, in nanoseconds.
    pub(super) cpu_ns: u64,
    n_cpus: usize,
    memory_bytes: Option<u64>,
    now: Timestamp,
}

impl Machine {
    /// From `/proc/stat`.
    pub(super) fn new(text: &str, memory_bytes: Option<u64>, now: Timestamp) -> Self {
        let cpu_ns = stat::machine(text).unwrap_or_default().total_ns();
        Self { cpu_ns, n_cpus: stat::n_cpus(text), memory_bytes, now }
    }
}

/// What the kernel says of one container.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) memory: Option<Arc<Memory>>,
    pub(super) activity: Option<Arc<Activity>>,
    pub(super) networks: Option<Arc<[Network]>>,
}

/// An interface in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Network {
    name: String,
    /// By [`NET_FIELDS`].
    counts: [u64; NET_FIELDS.len()],
}

/// The interfaces in `/proc/PID/net/dev`, without those that the kernel makes by itself.
pub(super) fn networks(text: &str) -> Arc<[Network]> {
    let interfaces = text.lines().filter_map(net_dev::parse_line);
    interfaces
        .filter(|line| !OWN_INTERFACES.contains(&line.name))
        .map(|InterfaceLine { name, rx, tx }| Network {
            name: name.to_owned(),
            counts: [
                rx.bytes, rx.packets, rx.errors, rx.dropped, tx.bytes, tx.packets, tx.errors, tx.dropped,
            ],
        })
        .collect()
}

/// The path of a container's own cgroup in the `cgroup` file of one of its processes, without what is nested in it.
pub(super) fn cgroup_of<'a>(text: &'a str, id: &str) -> Option<&'a str> {
    let paths = pid_cgroup::lines(text).map(|line| line.path);
    // One that begins with `/..` is seen from a cgroup namespace, and says nothing of the hierarchy's root.
    paths.filter(|path| !path.starts_with("/..")).find_map(|path| {
        let start = path.find(id)?;
        let end = path[start..].find('/').map_or(path.len(), |length| start + length);
        Some(&path[..end])
    })
}

/// An image's name and version; what comes before the first slash may be a registry with a port.
fn image(reference: &str) -> (&str, &str) {
    let registry = match reference.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first.len() + 1,
        _ => 0,
    };
    match reference[registry..].rfind(':') {
        Some(colon) => (&reference[..registry + colon], &reference[registry + colon + 1..]),
        None => (reference, "unknown"),
    }
}

fn set_engine(tags: &mut Vec<(Name, String)>, engine: &Engine) {
    tags.push(("engine_host".into(), engine.host.clone()));
    tags.push(("server_version".into(), engine.server_version.clone()));
}

fn set_image(tags: &mut Vec<(Name, String)>, names: (&'static str, &'static str), reference: &str) {
    let (name, version) = image(reference);
    tags.push((names.0.into(), cut(name.to_owned())));
    tags.push((names.1.into(), cut(version.to_owned())));
}

fn short(id: &str) -> &str {
    &id[..id.floor_char_boundary(SHORT_ID)]
}

/// Makes the points of containers.
pub(super) struct Maker<'a> {
    pub(super) options: &'a Options,
    pub(super) engine: &'a Engine,
    pub(super) machine: &'a Machine,
}

impl Maker<'_> {
    /// The tags of every point of a container, sorted by key.
    pub(super) fn tags(&self, container: &Container) -> Vec<(Name, String)> {
        let mut tags = Vec::with_capacity(7 + container.tags.len());
        set_engine(&mut tags, self.engine);
        tags.push(("container_name".into(), container.name.clone()));
        set_image(&mut tags, ("container_image", "container_version"), &container.image);
        tags.push(("container_status".into(), container.status.clone()));
        if self.options.source_tag {
            tags.push(("source".into(), short(&container.id).to_owned()));
        }
        let own = tags.len();
        for (key, value) in &container.tags {
            if !RESERVED.contains(&key.as_str()) && !tags[..own].iter().any(|(name, _)| name == key) {
                tags.push((key.clone().into(), value.clone()));
            }
        }
        tags.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        tags
    }

    /// `docker_container_status` and `docker_container_health`
    pub(super) fn state(&self, gathered: &mut Gathered, tags: &[(Name, String)], container: &Container) {
        let mut point = point(gathered, "docker_container_status", tags, None, 8);
        let fields = &mut point.fields;
        set(fields, "container_id", container.id.as_str());
        set(fields, "oomkilled", container.oom_killed);
        set(fields, "pid", i64::from(container.pid.unwrap_or_default()));
        set(fields, "exitcode", container.exit_code);
        set(fields, "restart_count", container.restart_count);
        if let Some(finished) = container.finished_at {
            set(fields, "finished_at", finished.0);
        }
        if let Some(started) = container.started_at {
            set(fields, "started_at", started.0);
            let finished = container.finished_at.filter(|finished| *finished >= started);
            set(fields, "uptime_ns", finished.unwrap_or(self.machine.now).0.saturating_sub(started.0));
        }
        gathered.push(point);
        if let Some(health) = &container.health {
            let mut point = self::point(gathered, "docker_container_health", tags, None, 2);
            set(&mut point.fields, "health_status", health.status.as_str());
            set(&mut point.fields, "failing_streak", health.failing_streak);
            gathered.push(point);
        }
    }

    /// Everything about a container that does not run: Telegraf's zeros.
    pub(super) fn stopped(&self, gathered: &mut Gathered, tags: &[(Name, String)], container: &Container) {
        self.state(gathered, tags, container);
        let id = container.id.as_str();
        let mut memory = point(gathered, "docker_container_mem", tags, None, 5);
        set(&mut memory.fields, "container_id", id);
        for field in ["limit", "max_usage", "usage"] {
            set(&mut memory.fields, field, 0_u64);
        }
        set(&mut memory.fields, "usage_percent", 0.0);
        gathered.push(memory);
        if self.options.total_include.contains(&Area::Cpu) {
            let mut cpu = point(gathered, "docker_container_cpu", tags, Some(("cpu", "cpu-total")), 9);
            set(&mut cpu.fields, "container_id", id);
            for field in [
                "usage_total",
                "usage_in_usermode",
                "usage_in_kernelmode",
                "usage_system",
                "throttling_periods",
                "throttling_throttled_periods",
                "throttling_throttled_time",
            ] {
                set(&mut cpu.fields, field, 0_u64);
            }
            set(&mut cpu.fields, "usage_percent", 0.0);
            gathered.push(cpu);
        }
        self.blkio(gathered, tags, id, &[]);
    }

    /// The figures of a container that runs. `before` is its CPU time and the machine's at the gather before.
    pub(super) fn figures(
        &self,
        gathered: &mut Gathered,
        tags: &[(Name, String)],
        container: &Container,
        figures: &Figures,
        before: Option<(u64, u64)>,
    ) {
        let id = container.id.as_str();
        if let Some(memory) = &figures.memory {
            self.memory(gathered, tags, id, memory);
        }
        if let Some(networks) = &figures.networks {
            self.network(gathered, tags, id, networks);
        }
        let Some(activity) = &figures.activity else { return };
        if let Some(cpu) = &activity.cpu {
            self.cpu(gathered, tags, id, cpu, activity.throttling, before);
        }
        if let Some(devices) = &activity.blkio {
            self.blkio(gathered, tags, id, devices);
        }
    }

    fn memory(&self, gathered: &mut Gathered, tags: &[(Name, String)], id: &str, memory: &Memory) {
        let mut point = point(gathered, "docker_container_mem", tags, None, MEMORY_KEYS.len() + 6);
        let fields = &mut point.fields;
        set(fields, "container_id", id);
        let (mut cache, mut total_inactive_file, mut inactive_file) = (None, None, None);
        for (key, value) in memory.stat() {
            match key {
                "cache" => cache = Some(value),
                "total_inactive_file" => total_inactive_file = Some(value),
                "inactive_file" => inactive_file = Some(value),
                _ => {}
            }
            if let Ok(at) = MEMORY_KEYS.binary_search(&key) {
                set(fields, MEMORY_KEYS[at], value);
            }
        }
        // What the page cache holds and could give back; which figure says so depends on the cgroup's version.
        let mut reclaimable = [cache, total_inactive_file, inactive_file].into_iter().flatten();
        let reclaimable = reclaimable.find(|bytes| *bytes < memory.usage);
        let usage = memory.usage - reclaimable.unwrap_or_default();
        set(fields, "usage", usage);
        if let Some(max_usage) = memory.max_usage {
            set(fields, "max_usage", max_usage);
        }
        if let Some(fail_count) = memory.fail_count.filter(|count| *count > 0) {
            set(fields, "fail_count", fail_count);
        }
        // Without a limit of its own it is the machine's memory.
        let limit = [memory.limit, self.machine.memory_bytes].into_iter().flatten().min();
        if let Some(limit) = limit {
            set(fields, "limit", limit);
            set(fields, "usage_percent", if limit == 0 { 0.0 } else { 100.0 * usage as f64 / limit as f64 });
        }
        gathered.push(point);
    }

    fn cpu(
        &self,
        gathered: &mut Gathered,
        tags: &[(Name, String)],
        id: &str,
        cpu: &Cpu,
        throttling: Option<Throttling>,
        before: Option<(u64, u64)>,
    ) {
        if self.options.total_include.contains(&Area::Cpu) {
            let mut point = point(gathered, "docker_container_cpu", tags, Some(("cpu", "cpu-total")), 9);
            let fields = &mut point.fields;
            set(fields, "container_id", id);
            set(fields, "usage_total", cpu.usage_ns);
            if let Some(user) = cpu.user_ns {
                set(fields, "usage_in_usermode", user);
            }
            if let Some(kernel) = cpu.system_ns {
                set(fields, "usage_in_kernelmode", kernel);
            }
            set(fields, "usage_system", self.machine.cpu_ns);
            if let Some(throttling) = throttling {
                set(fields, "throttling_periods", throttling.nr_periods);
                set(fields, "throttling_throttled_periods", throttling.nr_throttled);
                set(fields, "throttling_throttled_time", throttling.throttled_ns);
            }
            if let Some((own, all)) = before {
                let own = cpu.usage_ns.saturating_sub(own) as f64;
                let all = self.machine.cpu_ns.saturating_sub(all) as f64;
                let percent = if all > 0.0 { 100.0 * own / all * self.machine.n_cpus as f64 } else { 0.0 };
                set(fields, "usage_percent", percent);
            }
            gathered.push(point);
        }
        if self.options.perdevice_include.contains(&Area::Cpu) {
            // The kernel has a figure for every CPU that there could be.
            for (number, usage) in cpu.per_cpu_ns.iter().enumerate().take(self.machine.n_cpus) {
                let mut point =
                    point(gathered, "docker_container_cpu", tags, Some(("cpu", &format!("cpu{number}"))), 2);
                set(&mut point.fields, "usage_total", *usage);
                set(&mut point.fields, "container_id", id);
                gathered.push(point);
            }
        }
    }

    fn network(&self, gathered: &mut Gathered, tags: &[(Name, String)], id: &str, networks: &[Network]) {
        let mut add = |name: &str, counts: &[u64; NET_FIELDS.len()]| {
            let mut point = point(gathered, "docker_container_net", tags, Some(("network", name)), 9);
            set(&mut point.fields, "container_id", id);
            for (field, count) in NET_FIELDS.iter().zip(counts) {
                set(&mut point.fields, field, *count);
            }
            gathered.push(point);
        };
        if self.options.perdevice_include.contains(&Area::Network) {
            for network in networks {
                add(&network.name, &network.counts);
            }
        }
        if self.options.total_include.contains(&Area::Network) && !networks.is_empty() {
            let mut total = [0_u64; NET_FIELDS.len()];
            for network in networks {
                for (total, count) in total.iter_mut().zip(network.counts) {
                    *total = total.saturating_add(count);
                }
            }
            add("total", &total);
        }
    }

    fn blkio(&self, gathered: &mut Gathered, tags: &[(Name, String)], id: &str, devices: &[DeviceIo]) {
        let mut add = |name: &str, device: &DeviceIo| {
            let mut point = point(gathered, "docker_container_blkio", tags, Some(("device", name)), 13);
            set(&mut point.fields, "container_id", id);
            for (names, amounts) in [(IO_BYTES, device.bytes), (IO_OPERATIONS, device.operations)] {
                for (field, amount) in names.into_iter().zip(amounts) {
                    if let Some(amount) = amount {
                        set(&mut point.fields, field, amount);
                    }
                }
            }
            gathered.push(point);
        };
        if self.options.perdevice_include.contains(&Area::Blkio) {
            for device in devices {
                add(&format!("{}:{}", device.device.0, device.device.1), device);
            }
        }
        if self.options.total_include.contains(&Area::Blkio) {
            let mut total = DeviceIo::default();
            for device in devices {
                let bytes = total.bytes.iter_mut().zip(device.bytes);
                for (total, amount) in bytes.chain(total.operations.iter_mut().zip(device.operations)) {
                    if let Some(amount) = amount {
                        *total = Some(total.unwrap_or_default().saturating_add(amount));
                    }
                }
            }
            add("total", &total);
        }
    }
}

/// A point with a container's tags, and room for so many fields.
fn point(
    gathered: &Gathered,
    measurement: &'static str,
    tags: &[(Name, String)],
    part: Option<(&'static str, &str)>,
    n_fields: usize,
) -> Point {
    // One of its own, and `host` or another that is added to every point.
    let mut all = Vec::with_capacity(tags.len() + 3);
    all.extend_from_slice(tags);
    if let Some((key, value)) = part {
        all.push((key.into(), value.to_owned()));
    }
    Point { tags: all, fields: Vec::with_capacity(n_fields), ..gathered.point(measurement) }
}

/// Adds a field that is not there yet: `Point::set_field` would look for it among all of them.
fn set(fields: &mut Vec<(Name, FieldValue)>, field: &'static str, value: impl Into<FieldValue>) {
    fields.push((field.into(), value.into()));
}

/// The measurement `docker`, and those of the device mapper.
pub(super) fn engine(gathered: &mut Gathered, engine: &Engine, info: &Info) {
    let mut tags = Vec::new();
    set_engine(&mut tags, engine);
    let mut counts = point(gathered, "docker", &tags, None, 9);
    for (field, count) in [
        ("n_cpus", info.n_cpu),
        ("n_used_file_descriptors", info.n_fd),
        ("n_containers", info.containers),
        ("n_containers_running", info.containers_running),
        ("n_containers_stopped", info.containers_stopped),
        ("n_containers_paused", info.containers_paused),
        ("n_images", info.images),
        ("n_goroutines", info.n_goroutines),
        ("n_listener_events", info.n_events_listener),
    ] {
        set(&mut counts.fields, field, count);
    }
    gathered.push(counts);
    let memory = point(gathered, "docker", &tags, None, 1).field("memory_total", info.mem_total);
    gathered.push(memory);
    device_mapper(gathered, &tags, &info.driver_status);
}

/// What the storage driver `devicemapper` says of itself; docker had it until version 24.
fn device_mapper(gathered: &mut Gathered, tags: &[(Name, String)], status: &[Vec<String>]) {
    let bytes = Some(("unit", "bytes"));
    let mut data = point(gathered, "docker_data", tags, bytes, 3);
    let mut metadata = point(gathered, "docker_metadata", tags, bytes, 3);
    let mut mapper = point(gathered, "docker_devicemapper", tags, None, 9);
    for pair in status {
        let [name, value] = pair.as_slice() else { continue };
        if name == "Pool Name" {
            mapper.set_tag("pool_name", cut(value.clone()));
        }
        let Some(value) = size(value) else { continue };
        match name.as_str() {
            "Pool Blocksize" => {
                let block = point(gathered, "docker", tags, bytes, 1).field("pool_blocksize", value);
                gathered.push(block);
                mapper.set_field("pool_blocksize_bytes", value);
            }
            "Base Device Size" => mapper.set_field("base_device_size_bytes", value),
            "Thin Pool Minimum Free Space" => mapper.set_field("thin_pool_minimum_free_space_bytes", value),
            "Data Space Used" => {
                data.set_field("used", value);
                mapper.set_field("data_space_used_bytes", value);
            }
            "Data Space Total" => {
                data.set_field("total", value);
                mapper.set_field("data_space_total_bytes", value);
            }
            "Data Space Available" => {
                data.set_field("available", value);
                mapper.set_field("data_space_available_bytes", value);
            }
            "Metadata Space Used" => {
                metadata.set_field("used", value);
                mapper.set_field("metadata_space_used_bytes", value);
            }
            "Metadata Space Total" => {
                metadata.set_field("total", value);
                mapper.set_field("metadata_space_total_bytes", value);
            }
            "Metadata Space Available" => {
                metadata.set_field("available", value);
                mapper.set_field("metadata_space_available_bytes", value);
            }
            _ => {}
        }
    }
    for point in [data, metadata, mapper] {
        gathered.push(point);
    }
}

/// A size as docker prints it: `65.54 kB`, by thousands.
fn size(text: &str) -> Option<i64> {
    let unit = text.find(|letter: char| letter.is_ascii_alphabetic())?;
    let number: f64 = text[..unit].trim().parse().ok()?;
    let factor = match text[unit..].to_ascii_lowercase().as_str() {
        "b" => 1e0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        "pb" => 1e15,
        _ => return None,
    };
    Some((number * factor) as i64)
}

/// The measurement `docker_disk_usage`.
pub(super) fn disk_usage(gathered: &mut Gathered, engine: &Engine, options: &Options, usage: &DiskUsage) {
    let wants = |object| options.storage_objects.contains(&object);
    let mut tags = Vec::new();
    set_engine(&mut tags, engine);
    let start = |gathered: &Gathered| point(gathered, "docker_disk_usage", &tags, None, 2);
    if wants(StorageObject::Image) {
        gathered.push(start(gathered).field("layers_size", usage.layers_size));
        for image in &usage.images {
            let mut point = start(gathered).field("size", image.size).field("shared_size", image.shared_size);
            let id = image.id.split_once(':').map_or(image.id.as_str(), |(_, digits)| digits);
            point.set_tag("image_id", short(id));
            if let Some(name) = image.repo_tags.first() {
                set_image(&mut point.tags, ("image_name", "image_version"), name);
            }
            gathered.push(point);
        }
    }
    for container in usage.containers.iter().filter(|_| wants(StorageObject::Container)) {
        let mut point =
            start(gathered).field("size_rw", container.size_rw).field("size_root_fs", container.size_root_fs);
        let mut names = container.names.iter().map(|name| name.trim_start_matches('/'));
        if let Some(name) = names.find(|name| !name.contains('/')) {
            point.set_tag("container_name", cut(name.to_owned()));
        }
        set_image(&mut point.tags, ("container_image", "container_version"), &container.image);
        if options.source_tag {
            point.set_tag("source", short(&container.id));
        }
        gathered.push(point);
    }
    for volume in usage.volumes.iter().filter(|_| wants(StorageObject::Volume)) {
        let point = start(gathered).field("size", volume.usage_data.size);
        gathered.push(point.tag("volume_name", cut(volume.name.clone())));
    }
}
