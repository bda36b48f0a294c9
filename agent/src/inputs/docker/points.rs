//! The points of containers; pure.
//!
//! Names and rules are Telegraf's. A figure that the kernel does not have is left out, where Telegraf has a zero; a container that
//! does not run has Telegraf's zeros.

use std::sync::Arc;

use super::network::{NET_FIELDS, Network};
use super::options::{Area, DockerOptions};
use super::tags::{point, set, set_engine, set_image, short};
use crate::host::cgroupfs::figures::{Activity, Cpu, DeviceIo, IO_KINDS, Memory, Throttling};
use crate::host::proc::stat;
use crate::identity::docker::{Container, Engine};
use crate::inputs::Gathered;
use crate::point::{Name, Timestamp};

/// Keys that a label cannot have, because the point itself may: a container must not pass for another one.
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
/// What a container's figures are compared with.
pub(super) struct HostCapacity {
    /// Time of all CPUs, idle or not, in nanoseconds.
    pub(super) cpu_ns: u64,
    pub(super) n_cpus: usize,
    pub(super) memory_bytes: Option<u64>,
    pub(super) now: Timestamp,
}

impl HostCapacity {
    /// From proc(5) `stat`; 0 where it cannot be read.
    pub(super) fn new(stat: &str, memory_bytes: Option<u64>, now: Timestamp) -> Self {
        let cpu_ns = stat::machine(stat).unwrap_or_default().total_ns();
        Self { cpu_ns, n_cpus: stat::n_cpus(stat), memory_bytes, now }
    }
}

/// What the kernel knows about one container.
#[derive(Debug, Default)]
pub(super) struct ContainerFigures {
    pub(super) memory: Option<Arc<Memory>>,
    pub(super) activity: Option<Arc<Activity>>,
    pub(super) networks: Option<Arc<[Network]>>,
}

impl ContainerFigures {
    /// CPU time since it was started.
    pub(super) fn cpu_ns(&self) -> Option<u64> {
        Some(self.activity.as_ref()?.cpu.as_ref()?.usage_ns)
    }
}

/// Makes the points of containers.
pub(super) struct ContainerPoints<'a> {
    pub(super) options: &'a DockerOptions,
    pub(super) engine: &'a Engine,
    pub(super) host: &'a HostCapacity,
}

impl ContainerPoints<'_> {
    /// The tags of every point of a container, sorted by key.
    pub(super) fn tags(&self, container: &Container) -> Vec<(Name, Name)> {
        let mut tags = Vec::with_capacity(7 + container.tags.len());
        set_engine(&mut tags, self.engine);
        tags.push(("container_name".into(), Name::from(&container.name)));
        set_image(&mut tags, ("container_image", "container_version"), &container.image);
        tags.push(("container_status".into(), Name::from(&container.status)));
        if self.options.source_tag {
            tags.push(("source".into(), Name::new(short(&container.id))));
        }
        let own = tags.len();
        for (key, value) in &container.tags {
            if !RESERVED.contains(&key.as_str()) && !tags[..own].iter().any(|(name, _)| **name == **key) {
                tags.push((Name::from(key), Name::from(value)));
            }
        }
        tags.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        tags
    }

    /// `docker_container_status` and `docker_container_health`
    pub(super) fn state(&self, gathered: &mut Gathered, tags: &[(Name, Name)], container: &Container) {
        let mut state = point(gathered, "docker_container_status", tags, None, 8);
        let fields = &mut state.fields;
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
            set(fields, "uptime_ns", finished.unwrap_or(self.host.now).0.saturating_sub(started.0));
        }
        gathered.push(state);
        if let Some(health) = &container.health {
            let mut point = point(gathered, "docker_container_health", tags, None, 2);
            set(&mut point.fields, "health_status", health.status.as_str());
            set(&mut point.fields, "failing_streak", health.failing_streak);
            gathered.push(point);
        }
    }

    /// Everything about a container that does not run: Telegraf's zeros.
    pub(super) fn stopped(&self, gathered: &mut Gathered, tags: &[(Name, Name)], container: &Container) {
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

    /// The figures of a container that runs. `before` is its CPU time and the machine's at the previous gather.
    pub(super) fn figures(
        &self,
        gathered: &mut Gathered,
        tags: &[(Name, Name)],
        container: &Container,
        figures: &ContainerFigures,
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

    fn memory(&self, gathered: &mut Gathered, tags: &[(Name, Name)], id: &str, memory: &Memory) {
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
        // The page cache that can be reclaimed; which figure has it depends on the cgroup's version.
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
        // Without a limit it is the machine's memory.
        let limit = [memory.limit, self.host.memory_bytes].into_iter().flatten().min();
        if let Some(limit) = limit {
            set(fields, "limit", limit);
            set(fields, "usage_percent", if limit == 0 { 0.0 } else { 100.0 * usage as f64 / limit as f64 });
        }
        gathered.push(point);
    }

    fn cpu(
        &self,
        gathered: &mut Gathered,
        tags: &[(Name, Name)],
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
            set(fields, "usage_system", self.host.cpu_ns);
            if let Some(throttling) = throttling {
                set(fields, "throttling_periods", throttling.nr_periods);
                set(fields, "throttling_throttled_periods", throttling.nr_throttled);
                set(fields, "throttling_throttled_time", throttling.throttled_ns);
            }
            if let Some((own, all)) = before {
                let own = cpu.usage_ns.saturating_sub(own) as f64;
                let all = self.host.cpu_ns.saturating_sub(all) as f64;
                let percent = if all > 0.0 { 100.0 * own / all * self.host.n_cpus as f64 } else { 0.0 };
                set(fields, "usage_percent", percent);
            }
            gathered.push(point);
        }
        if self.options.perdevice_include.contains(&Area::Cpu) {
            // The kernel has a figure for every possible CPU.
            for (number, usage) in cpu.per_cpu_ns.iter().enumerate().take(self.host.n_cpus) {
                let mut point =
                    point(gathered, "docker_container_cpu", tags, Some(("cpu", &format!("cpu{number}"))), 2);
                set(&mut point.fields, "usage_total", *usage);
                set(&mut point.fields, "container_id", id);
                gathered.push(point);
            }
        }
    }

    fn network(&self, gathered: &mut Gathered, tags: &[(Name, Name)], id: &str, networks: &[Network]) {
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

    fn blkio(&self, gathered: &mut Gathered, tags: &[(Name, Name)], id: &str, devices: &[DeviceIo]) {
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
