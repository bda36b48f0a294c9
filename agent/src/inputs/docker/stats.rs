//! The figures of containers whose cgroups are not seen here, from the daemon's own statistics: those of a daemon on another
//! host, or of one whose cgroups an agent in a container was not given.

use std::sync::Arc;

use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::network::Network;
use super::points::{ContainerFigures, HostCapacity};
use crate::host::cgroupfs::figures::{
    Activity, Cpu, DeviceIo, IO_KINDS, Memory, Throttling, io_kind, of_device,
};
use crate::identity::docker::{ApiError, Container, DockerClient};
use crate::identity::docker::{BlkioEntry, DockerBlkio, DockerCpu, DockerMemory, DockerNetwork, Stats};
use crate::point::Timestamp;

/// How many of these requests are pending at one time.
pub(super) const CONCURRENT: usize = 8;

/// What the daemon answered for one container.
pub(super) type Answered = (Arc<Container>, Result<Stats, ApiError>);

/// Requests the figures of each of these. One that fails does not keep the others from being answered.
pub(super) async fn request(client: Arc<DockerClient>, containers: Vec<Arc<Container>>) -> Vec<Answered> {
    let (mut answered, mut pending) = (Vec::with_capacity(containers.len()), JoinSet::new());
    let mut waiting = containers.into_iter();
    loop {
        while pending.len() < CONCURRENT
            && let Some(container) = waiting.next()
        {
            let client = Arc::clone(&client);
            let request = async move {
                let stats = client.stats(&container.id).await;
                (container, stats)
            };
            pending.spawn(request.in_current_span());
        }
        match pending.join_next().await {
            Some(answer) => answered.extend(answer),
            None => return answered,
        }
    }
}

/// What a daemon's statistics say.
pub(super) struct DaemonFigures {
    pub(super) figures: ContainerFigures,
    /// The daemon's machine.
    pub(super) host: HostCapacity,
    /// CPU time of the container and of the machine a second before, where the daemon read them twice.
    pub(super) before: Option<(u64, u64)>,
}

impl DaemonFigures {
    /// `None` of a container that does not run any more. `memory_bytes` is the memory of the daemon's machine.
    pub(super) fn new(stats: &Stats, memory_bytes: Option<u64>, now: Timestamp) -> Option<Self> {
        let cpu = &stats.cpu_stats;
        if cpu.system_cpu_usage == 0 {
            return None;
        }
        let usage = &cpu.cpu_usage;
        let n_cpus = if cpu.online_cpus == 0 { usage.percpu_usage.len() } else { cpu.online_cpus };
        let activity = Activity {
            cpu: Some(Cpu {
                usage_ns: usage.total_usage,
                user_ns: Some(usage.usage_in_usermode),
                system_ns: Some(usage.usage_in_kernelmode),
                per_cpu_ns: usage.percpu_usage.clone(),
            }),
            throttling: Some(Throttling {
                nr_periods: cpu.throttling_data.periods,
                nr_throttled: cpu.throttling_data.throttled_periods,
                throttled_ns: cpu.throttling_data.throttled_time,
            }),
            blkio: Some(devices(&stats.blkio_stats)),
        };
        let networks = stats.networks.as_ref();
        let figures = ContainerFigures {
            memory: Some(Arc::new(memory(&stats.memory_stats))),
            activity: Some(Arc::new(activity)),
            networks: networks.map(|networks| networks.iter().map(network).collect()),
        };
        let ran = |cpu: &DockerCpu| (cpu.cpu_usage.total_usage, cpu.system_cpu_usage);
        let before = Some(ran(&stats.precpu_stats)).filter(|(_, machine)| *machine > 0);
        let host = HostCapacity { cpu_ns: cpu.system_cpu_usage, n_cpus, memory_bytes, now };
        Some(Self { figures, host, before })
    }
}

fn memory(stats: &DockerMemory) -> Memory {
    let mut memory = Memory::of_stat(stats.stats.iter().map(|(key, value)| (key.as_str(), *value)));
    memory.is_v1 = stats.stats.contains_key("cache");
    memory.usage = stats.usage;
    memory.limit = Some(stats.limit).filter(|bytes| *bytes > 0);
    // Under v2 no daemon has these.
    memory.max_usage = memory.is_v1.then_some(stats.max_usage);
    memory.fail_count = memory.is_v1.then_some(stats.failcnt);
    memory
}

fn devices(stats: &DockerBlkio) -> Vec<DeviceIo> {
    let mut devices = Vec::new();
    for entry in &stats.io_service_bytes_recursive {
        add(&mut devices, entry, |device| &mut device.bytes);
    }
    for entry in &stats.io_serviced_recursive {
        add(&mut devices, entry, |device| &mut device.operations);
    }
    devices
}

fn add(
    devices: &mut Vec<DeviceIo>,
    entry: &BlkioEntry,
    amounts: impl Fn(&mut DeviceIo) -> &mut [Option<u64>; IO_KINDS.len()],
) {
    if let Some(kind) = io_kind(&entry.op) {
        amounts(of_device(devices, (entry.major, entry.minor)))[kind] = Some(entry.value);
    }
}

fn network((name, stats): (&String, &DockerNetwork)) -> Network {
    let DockerNetwork { rx_bytes, rx_packets, rx_errors, rx_dropped, .. } = *stats;
    let DockerNetwork { tx_bytes, tx_packets, tx_errors, tx_dropped, .. } = *stats;
    let counts = [rx_bytes, rx_packets, rx_errors, rx_dropped, tx_bytes, tx_packets, tx_errors, tx_dropped];
    Network { name: name.clone(), counts }
}
