//! A container's figures against those that the daemon itself has of it, from its cgroup and without.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use seismograf_tests::agent::Agent;
use seismograf_tests::docker::Docker;
use seismograf_tests::suite::{Outcome, Skip};
use seismograf_tests::{agent_binary, wait_for};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);
/// A tick of the clock that `/proc/stat` counts in.
const TICK_NS: u64 = 10_000_000;

/// A number of an answer; `None` where it is missing.
fn number(value: &Value, path: &str) -> Option<u64> {
    value.pointer(path).and_then(Value::as_u64)
}

/// Block I/O of an answer, all devices together.
fn io(stats: &Value, list: &str, op: &str) -> u64 {
    let entries = stats["blkio_stats"][list].as_array().cloned().unwrap_or_default();
    let of =
        entries.iter().filter(|entry| entry["op"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(op)));
    of.map(|entry| entry["value"].as_u64().unwrap()).sum()
}

/// Whether the agent sees the containers' cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cgroups {
    Seen,
    /// As of a daemon on another host: the daemon is asked for what they would say.
    Hidden,
}

/// An agent that gathers `docker` alone, in a mount namespace in which there is no cgroup.
fn without_cgroups(inputs: &str, interval_ms: u64) -> Result<Agent, Skip> {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "umount --recursive /sys/fs/cgroup && exec \"$@\"", "sh"]);
    command.arg(agent_binary()?);
    let agent = Agent::spawn_inputs(command, inputs, interval_ms);
    agent.next_gather();
    Ok(agent)
}

pub(super) fn are_those_of_the_daemon(cgroups: Cgroups) -> Outcome {
    const ROUNDS: usize = 5;
    let docker = Docker::start()?;
    // A limit on everything that can have one: since Linux 6.10 v1 counts the I/O of a device only once one is set. And
    // direct I/O, for what is written back later has no owner under v1.
    let mut limits = json!({"Memory": 64 << 20, "NanoCpus": 200_000_000});
    let disk = docker.disk();
    if let Some(disk) = &disk {
        limits["BlkioDeviceWriteBps"] = json!([{"Path": disk, "Rate": 1_u64 << 30}]);
        limits["BlkioDeviceReadBps"] = json!([{"Path": disk, "Rate": 1_u64 << 30}]);
    } else {
        println!("docker: block I/O is not compared: what is below {} is no disk", docker.socket().display());
    }
    let busy = docker.run(
        "busy",
        "while true; do dd if=/dev/zero of=/f bs=64k count=20 oflag=direct 2>/dev/null; dd if=/f of=/dev/null bs=64k iflag=direct 2>/dev/null; nc -w1 10.213.7.1 9 2>/dev/null; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; done",
        &json!({"HostConfig": limits}),
    );
    let idle = docker.run("idle", "sleep 100000", &Value::Null);
    let section = format!("{}perdevice_include = [\"cpu\", \"blkio\", \"network\"]", docker.section());
    let agent = match cgroups {
        Cgroups::Seen => Agent::start(&format!("probes = []\n{section}"), 500)?,
        Cgroups::Hidden => without_cgroups(&section, 500)?,
    };
    wait_for(|| agent.points("docker_container_net").len() >= 4, LIMIT, "the containers");
    let mut compared = BTreeMap::<&str, usize>::new();
    let mut moved = BTreeSet::new();
    for round in 0..ROUNDS {
        for (id, name) in [(&busy, "busy"), (&idle, "idle")] {
            let before = docker.stats(id);
            agent.next_gather();
            if cgroups == Cgroups::Hidden {
                // An answer that comes late is of the gather before.
                agent.next_gather();
            }
            let field = |measurement: &str, tag: (&str, &str), field: &str| {
                let point = agent.point(measurement, &[("container_name", name), tag]);
                let point = point.unwrap_or_else(|| panic!("no {measurement} of {name}\n{}", agent.log()));
                point.fields.get(field).and_then(Value::as_u64)
            };
            let image = ("container_image", "bb");
            let cpu = |number: &str, name: &str| field("docker_container_cpu", ("cpu", number), name);
            let memory = |name: &str| field("docker_container_mem", image, name);
            let net = |of: &str, name: &str| field("docker_container_net", ("network", of), name);
            let throttling = |name: &str| cpu("cpu-total", &format!("throttling_{name}"));
            let ours = [
                ("/cpu_stats/cpu_usage/total_usage", cpu("cpu-total", "usage_total")),
                ("/cpu_stats/cpu_usage/usage_in_usermode", cpu("cpu-total", "usage_in_usermode")),
                ("/cpu_stats/cpu_usage/usage_in_kernelmode", cpu("cpu-total", "usage_in_kernelmode")),
                ("/cpu_stats/cpu_usage/percpu_usage/0", cpu("cpu0", "usage_total")),
                ("/cpu_stats/system_cpu_usage", cpu("cpu-total", "usage_system")),
                ("/cpu_stats/throttling_data/periods", throttling("periods")),
                ("/cpu_stats/throttling_data/throttled_periods", throttling("throttled_periods")),
                ("/cpu_stats/throttling_data/throttled_time", throttling("throttled_time")),
                ("/memory_stats/max_usage", memory("max_usage")),
                ("/memory_stats/limit", memory("limit")),
                ("/memory_stats/stats/total_pgfault", memory("total_pgfault")),
                ("/memory_stats/stats/pgpgin", memory("pgpgin")),
                ("/networks/eth0/rx_bytes", net("eth0", "rx_bytes")),
                ("/networks/eth0/tx_bytes", net("eth0", "tx_bytes")),
                ("/networks/eth0/tx_packets", net("total", "tx_packets")),
            ];
            let blkio = ["read", "write", "sync", "async", "total"].map(|op| {
                let of = |list: &str| {
                    field("docker_container_blkio", ("device", "total"), &format!("{list}_{op}")).unwrap_or(0)
                };
                (op, of("io_service_bytes_recursive"), of("io_serviced_recursive"))
            });
            let usage = memory("usage").unwrap();
            let after = docker.stats(id);
            for (path, value) in ours {
                // Under v2 the daemon has no figure for a CPU, and what it has instead of the largest use is 0.
                let (Some(least), Some(most)) = (number(&before, path), number(&after, path)) else {
                    continue;
                };
                let Some(value) = value else {
                    assert!(most == 0, "{name} {path}: {most}, but nothing from the agent");
                    continue;
                };
                // The kernel's time of all CPUs can go back by a tick: what a CPU was idle is not added up in one place.
                let ticks = if path == "/cpu_stats/system_cpu_usage" { 2 * TICK_NS } else { 0 };
                assert!(
                    (least.saturating_sub(ticks)..=most + ticks).contains(&value),
                    "{name} {path}: {value} is not in {least}..={most}, round {round}"
                );
                *compared.entry(path).or_default() += 1;
                if value > 0 && name == "busy" {
                    moved.insert(path.to_owned());
                }
            }
            for (op, bytes, operations) in blkio {
                for (list, value) in
                    [("io_service_bytes_recursive", bytes), ("io_serviced_recursive", operations)]
                {
                    let (least, most) = (io(&before, list, op), io(&after, list, op));
                    // Under v2 this daemon has no operations.
                    if most > 0 || value == 0 {
                        assert!(
                            (least..=most).contains(&value),
                            "{name} {list} {op}: {value} is not in {least}..={most}"
                        );
                        *compared.entry("blkio").or_default() += 1;
                        if value > 0 {
                            moved.insert(format!("{list}_{op}"));
                        }
                    }
                }
            }
            let used = |stats: &Value| {
                let usage = number(stats, "/memory_stats/usage").unwrap();
                let less = ["cache", "total_inactive_file", "inactive_file"]
                    .map(|key| number(&stats["memory_stats"]["stats"], &format!("/{key}")));
                usage - less.into_iter().flatten().find(|bytes| *bytes < usage).unwrap_or(0)
            };
            if name == "idle" && used(&before) == used(&after) {
                assert_eq!(usage, used(&after));
                *compared.entry("memory usage").or_default() += 1;
            }
        }
    }
    println!(
        "docker: compared with the daemon's stats, cgroups {cgroups:?}, {ROUNDS} rounds: {compared:?}; above 0: {}",
        moved.len()
    );
    let io = ["io_service_bytes_recursive_write", "io_serviced_recursive_read"];
    let io = io.into_iter().filter(|_| disk.is_some());
    let others =
        ["/cpu_stats/cpu_usage/total_usage", "/cpu_stats/throttling_data/periods", "/networks/eth0/tx_bytes"];
    for path in others.into_iter().chain(io) {
        assert!(moved.contains(path), "{path} stayed 0: this shows nothing; above 0 were {moved:?}");
    }
    let asks = agent.log().matches("the daemon is asked for its figures").count();
    assert_eq!(asks, usize::from(cgroups == Cgroups::Hidden), "{}", agent.log());
    Ok(())
}
