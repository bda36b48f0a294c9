//! `profile` of `[[outputs.prometheus_client]]` beside the programs whose names it uses: the same queries, of a Prometheus that scrapes
//! both, return the same names, labels and types, and values that lie between those of the other one before and after.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use libtest_mimic::Trial;
use seismograf_tests::docker::Docker;
use seismograf_tests::http::{free_address, request};
use seismograf_tests::prometheus::{Cadvisor, Labels, NodeExporter, Prometheus, promtool};
use seismograf_tests::running::Running;
use seismograf_tests::suite::Outcome;
use seismograf_tests::{extra, needs, trial, wait_for};
use serde_json::json;

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("profiles::a_node_as_the_node_exporter_tells_of_it", node),
        extra("profiles::containers_as_cadvisor_tells_of_them", containers),
    ]
}

/// Scrapes that a comparison is made of.
const SCRAPES: usize = 32;
/// Seconds before and after a value, in which the other one's values are looked at.
const AROUND: i64 = 3;
const LIMIT: Duration = Duration::from_secs(60);

/// A query, with `$` for the job's selector.
#[derive(Clone, Copy)]
enum Query {
    /// A number that only grows, or stands still: it lies between the two readings.
    Total(&'static str),
    /// A number that moves: so far beyond the readings around it, as a part of them and in its own unit, is fine. Between two
    /// readings nobody sees it.
    Moving(&'static str, f64, f64),
}
use Query::{Moving, Total};

impl Query {
    fn expression(self) -> &'static str {
        let (Total(expression) | Moving(expression, ..)) = self;
        expression
    }
}

/// Disks as the exporter's own dashboards choose them, and of the interfaces those that are no loopback, which Debian's exporter
/// leaves out by itself.
const NODE: &[Query] = &[
    Total("node_cpu_seconds_total{$}"),
    Total("node_cpu_guest_seconds_total{$}"),
    Total("count without (cpu, mode) (node_cpu_seconds_total{$,mode=\"idle\"})"),
    Total("sum by (instance, mode) (node_cpu_seconds_total{$})"),
    Moving(
        "1 - avg without (cpu) (sum without (mode) (rate(node_cpu_seconds_total{$,mode=~\"idle|iowait|steal\"}[20s])))",
        0.05,
        0.1,
    ),
    Moving("sum by (mode) (rate(node_cpu_seconds_total{$,mode=\"system\"}[20s]))", 0.05, 0.1),
    Moving("node_load1{$}", 0.05, 0.1),
    Moving("node_load5{$}", 0.05, 0.1),
    Moving("node_load15{$}", 0.05, 0.1),
    Moving("node_load1{$} / count without (cpu, mode) (node_cpu_seconds_total{$,mode=\"idle\"})", 0.05, 0.1),
    Total("node_boot_time_seconds{$}"),
    Total("node_time_seconds{$}"),
    Moving("node_time_seconds{$} - node_boot_time_seconds{$}", 0.0, 1.5),
    Total("node_context_switches_total{$}"),
    Total("node_intr_total{$}"),
    Total("node_forks_total{$}"),
    Moving("rate(node_context_switches_total{$}[20s])", 0.2, 100.0),
    Total("node_memory_MemTotal_bytes{$}"),
    Moving("node_memory_MemFree_bytes{$}", 0.02, 64e6),
    Moving("node_memory_MemAvailable_bytes{$}", 0.02, 64e6),
    Moving("node_memory_Buffers_bytes{$}", 0.02, 16e6),
    Moving("node_memory_Cached_bytes{$}", 0.02, 64e6),
    Moving("node_memory_Slab_bytes{$}", 0.02, 16e6),
    Moving("node_memory_Active_bytes{$}", 0.05, 64e6),
    Moving("node_memory_Inactive_anon_bytes{$}", 0.05, 64e6),
    Moving("node_memory_Dirty_bytes{$}", 0.5, 64e6),
    Moving("node_memory_Committed_AS_bytes{$}", 0.05, 256e6),
    Total("node_memory_CommitLimit_bytes{$}"),
    Total("node_memory_SwapTotal_bytes{$}"),
    Total("node_memory_HugePages_Total{$}"),
    Moving("1 - (node_memory_MemAvailable_bytes{$} / node_memory_MemTotal_bytes{$})", 0.02, 0.01),
    Moving(
        "node_memory_MemTotal_bytes{$} - node_memory_MemFree_bytes{$} - node_memory_Buffers_bytes{$} - node_memory_Cached_bytes{$}",
        0.05,
        64e6,
    ),
    Total("node_vmstat_pswpin{$}"),
    Total("node_vmstat_pswpout{$}"),
    Total("node_disk_reads_completed_total{$,device=~\"sd.+|vd.+|xvd.+|nvme.+\"}"),
    Total("node_disk_writes_completed_total{$,device=~\"sd.+|vd.+|xvd.+|nvme.+\"}"),
    Total("node_disk_read_bytes_total{$,device=~\"sd.+|vd.+|xvd.+|nvme.+\"}"),
    Total("node_disk_written_bytes_total{$,device=~\"sd.+|vd.+|xvd.+|nvme.+\"}"),
    Total("node_disk_io_time_seconds_total{$,device=~\"sd.+|vd.+|xvd.+|nvme.+\"}"),
    Total("node_disk_io_time_weighted_seconds_total{$,device=~\"sd.+|vd.+|xvd.+|nvme.+\"}"),
    Total("node_disk_read_time_seconds_total{$,device=~\"sd.+|vd.+|xvd.+|nvme.+\"}"),
    Total("node_disk_reads_merged_total{$,device=~\"sd.+|vd.+|xvd.+|nvme.+\"}"),
    Total("sum without (device) (node_disk_written_bytes_total{$,device=~\"sd.+|vd.+|xvd.+|nvme.+\"})"),
    Total("node_filesystem_size_bytes{$,mountpoint=\"/\"}"),
    Moving("node_filesystem_avail_bytes{$,mountpoint=\"/\"}", 0.01, 256e6),
    Moving("node_filesystem_free_bytes{$,mountpoint=\"/\"}", 0.01, 256e6),
    Moving(
        "1 - node_filesystem_avail_bytes{$,mountpoint=\"/\"} / node_filesystem_size_bytes{$,mountpoint=\"/\"}",
        0.01,
        0.01,
    ),
    Total("node_filesystem_files{$,mountpoint=\"/\"}"),
    Moving("node_filesystem_files_free{$,mountpoint=\"/\"}", 0.01, 1000.0),
    Total("node_filesystem_readonly{$,mountpoint=\"/\"}"),
    Total("node_filesystem_device_error{$,mountpoint=\"/\"}"),
    Total("node_network_receive_bytes_total{$,device=~\"eth.+|en.+\"}"),
    Total("node_network_transmit_bytes_total{$,device=~\"eth.+|en.+\"}"),
    Total("node_network_receive_packets_total{$,device=~\"eth.+|en.+\"}"),
    Total("node_network_transmit_packets_total{$,device=~\"eth.+|en.+\"}"),
    Total("node_network_receive_drop_total{$,device=~\"eth.+|en.+\"}"),
    Total("node_network_receive_errs_total{$,device=~\"eth.+|en.+\"}"),
    Total("node_network_transmit_drop_total{$,device=~\"eth.+|en.+\"}"),
    Total("node_network_transmit_errs_total{$,device=~\"eth.+|en.+\"}"),
    Total("sum without (device) (node_network_receive_bytes_total{$,device=~\"eth.+|en.+\"})"),
    Total("node_pressure_cpu_waiting_seconds_total{$}"),
    Total("node_pressure_io_stalled_seconds_total{$}"),
    Total("node_pressure_memory_waiting_seconds_total{$}"),
    Total("node_entropy_available_bits{$}"),
];

/// What the dashboards of Kubernetes ask of cAdvisor, by the name of a container where they have that of a pod.
const CONTAINERS: &[Query] = &[
    Total("container_cpu_usage_seconds_total{$,image!=\"\"}"),
    Total("sum by (name) (container_cpu_usage_seconds_total{$,image!=\"\"})"),
    Moving("sum by (name) (rate(container_cpu_usage_seconds_total{$,image!=\"\"}[20s]))", 0.1, 0.1),
    Total("sum by (name, image) (container_cpu_user_seconds_total{$,image!=\"\"})"),
    Total("sum by (name, image) (container_cpu_system_seconds_total{$,image!=\"\"})"),
    Total("container_cpu_cfs_periods_total{$,image!=\"\"}"),
    Total("container_cpu_cfs_throttled_periods_total{$,image!=\"\"}"),
    Total("container_cpu_cfs_throttled_seconds_total{$,image!=\"\"}"),
    Moving(
        "sum by (name) (increase(container_cpu_cfs_throttled_periods_total{$,image!=\"\"}[20s])) / sum by (name) (increase(container_cpu_cfs_periods_total{$,image!=\"\"}[20s]))",
        0.1,
        0.1,
    ),
    Moving("container_memory_working_set_bytes{$,image!=\"\"}", 0.05, 8e6),
    Moving("container_memory_usage_bytes{$,image!=\"\"}", 0.05, 8e6),
    Moving("container_memory_rss{$,image!=\"\"}", 0.05, 2e6),
    Moving("container_memory_cache{$,image!=\"\"}", 0.05, 8e6),
    Total("container_spec_memory_limit_bytes{$,image!=\"\"}"),
    Moving(
        "sum by (name) (container_memory_working_set_bytes{$,name=\"limited\"}) / sum by (name) (container_spec_memory_limit_bytes{$,name=\"limited\"})",
        0.05,
        0.05,
    ),
    Total("container_memory_failures_total{$,image!=\"\"}"),
    Total(
        "sum by (name, device) (container_fs_writes_bytes_total{$,image!=\"\",device=~\"/dev/(sd|vd|xvd|nvme).+\"})",
    ),
    // Requests, and what they are made of.
    Moving(
        "sum by (name, device) (container_fs_writes_total{$,image!=\"\",device=~\"/dev/(sd|vd|xvd|nvme).+\"})",
        0.7,
        10.0,
    ),
    Total(
        "sum by (name, device) (container_fs_reads_bytes_total{$,image!=\"\",device=~\"/dev/(sd|vd|xvd|nvme).+\"})",
    ),
    Total("sum by (name, image, interface) (container_network_receive_bytes_total{$,image!=\"\"})"),
    Total("sum by (name, image, interface) (container_network_transmit_bytes_total{$,image!=\"\"})"),
    Total("sum by (name, image, interface) (container_network_receive_packets_total{$,image!=\"\"})"),
    Total("sum by (name, image, interface) (container_network_transmit_packets_total{$,image!=\"\"})"),
    Total("sum by (name, image, interface) (container_network_receive_packets_dropped_total{$,image!=\"\"})"),
    Total("sum by (name, image, interface) (container_network_transmit_errors_total{$,image!=\"\"})"),
    Total("sum(machine_cpu_cores{$})"),
    Total("sum(machine_memory_bytes{$})"),
];

fn at(address: SocketAddr) -> String {
    format!("static_configs:\n  - targets: [\"{address}\"]")
}

/// Compares each query of ours with the other's, at each time that both know.
fn compare(prometheus: &Prometheus, queries: &[Query], seconds: i64) {
    let (mut problems, mut n_series) = (Vec::new(), 0);
    for query in queries {
        let expression = query.expression();
        let of =
            |job: &str| prometheus.over_time(&expression.replace('$', &format!("job=\"{job}\"")), seconds);
        let (ours, theirs) = (without_place(of("ours")), without_place(of("theirs")));
        let [a, b] = [&ours, &theirs].map(|all| all.keys().cloned().collect::<BTreeSet<Labels>>());
        if a.is_empty() || a != b {
            let only = |x: &BTreeSet<Labels>, y: &BTreeSet<Labels>| {
                x.difference(y).take(3).cloned().collect::<Vec<_>>()
            };
            problems.push(format!(
                "{expression}: {} series here, only here {:?}, only there {:?}",
                a.len(),
                only(&a, &b),
                only(&b, &a)
            ));
            continue;
        }
        n_series += a.len();
        for (labels, values) in &ours {
            problems.extend(outside(*query, labels, values, &theirs[labels]));
        }
    }
    println!("profiles: {} queries, {n_series} series: {} problems", queries.len(), problems.len());
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Without what says where a series comes from.
fn without_place(series: Vec<(Labels, BTreeMap<i64, f64>)>) -> BTreeMap<Labels, BTreeMap<i64, f64>> {
    let strip = |(mut labels, values): (Labels, BTreeMap<i64, f64>)| {
        labels.retain(|label, _| label != "job" && label != "instance");
        (labels, values)
    };
    series.into_iter().map(strip).collect()
}

/// The first value that does not lie between those around it.
fn outside(
    query: Query,
    labels: &Labels,
    ours: &BTreeMap<i64, f64>,
    theirs: &BTreeMap<i64, f64>,
) -> Option<String> {
    let (expression, part, more) = match query {
        // Counters go through floats, and a sum of them through several.
        Total(expression) => (expression, 1e-9, 1e-6),
        Moving(expression, part, more) => (expression, part, more),
    };
    let mut n_compared = 0;
    for (time, value) in ours {
        let around = theirs.range(time - AROUND * 1_000..=time + AROUND * 1_000);
        let (mut low, mut high, mut n) = (f64::INFINITY, f64::NEG_INFINITY, 0);
        for (_, other) in around {
            (low, high, n) = (low.min(*other), high.max(*other), n + 1);
        }
        if n < 2 * AROUND {
            continue;
        }
        n_compared += 1;
        let slack = high.abs().max(low.abs()) * part + more;
        if *value < low - slack || *value > high + slack {
            return Some(format!("{expression} {labels:?} at {time}: {value}, and there {low} to {high}"));
        }
    }
    (n_compared == 0).then(|| format!("{expression} {labels:?}: no time to compare at"))
}

/// Each name of the other's page is on ours, with its type, or is documented as left out.
fn names(profile: &str, ours: SocketAddr, theirs: SocketAddr) -> (String, String) {
    let page = |address| request(address, "GET", "/metrics", None, "").unwrap().body;
    let (ours, theirs) = (page(ours), page(theirs));
    let documented =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/prometheus.md")).unwrap();
    let (_, section) = documented.split_once(&format!("## `profile = \"{profile}\"`")).unwrap();
    let (given, left_out) = section.split("\n## ").next().unwrap().split_once("Not given:").unwrap();
    let first = |line: &str| line.strip_prefix("| `")?.split(['`', '{']).next().map(str::to_owned);
    let given: BTreeSet<String> = given.lines().filter_map(first).collect();
    let left_out: Vec<String> = left_out.lines().filter_map(first).collect();
    let is_left_out = |name: &str| {
        left_out
            .iter()
            .any(|known| known.strip_suffix('*').map_or(name == known, |start| name.starts_with(start)))
    };
    let (ours_typed, theirs_typed) = (types(&ours), types(&theirs));
    let mut n = 0;
    for (name, kind) in &theirs_typed {
        match ours_typed.get(name) {
            Some(other) => {
                assert_eq!(other, kind, "{name}");
                n += 1;
            }
            None => {
                assert!(is_left_out(name) || given.contains(name), "{name} is neither given nor documented");
            }
        }
        assert!(
            !(is_left_out(name) && ours_typed.contains_key(name)),
            "{name} is given, and documented as left out"
        );
    }
    for name in ours_typed.keys() {
        assert!(given.contains(name), "{name} is not documented");
    }
    println!("profiles: {n} metrics of {} have the names and types of {profile}'s page", theirs_typed.len());
    (ours, theirs)
}

fn types(page: &str) -> BTreeMap<String, String> {
    let lines = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    lines.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

fn node() -> Outcome {
    needs(&["prometheus", "promtool", "prometheus-node-exporter"])?;
    let exporter = NodeExporter::start()?;
    let address = free_address();
    let config = format!(
        r#"[agent]
  interval = "1s"
  flush_interval = "100ms"
[[inputs.cpu]]
  percpu = true
  collect_cpu_time = true
[[inputs.mem]]
  collect_extended = true
[[inputs.swap]]
[[inputs.system]]
[[inputs.kernel]]
  collect = ["psi"]
[[inputs.disk]]
[[inputs.diskio]]
[[inputs.net]]
  interfaces = ["*"]
[[outputs.prometheus_client]]
  listen = "{address}"
  profile = "node_exporter"
"#
    );
    let agent = Running::start(&config)?;
    let is_there = || {
        request(address, "GET", "/metrics", None, "").is_ok_and(|answer| answer.body.contains("node_load1"))
    };
    wait_for(is_there, LIMIT, "the page");
    let prometheus = Prometheus::start(&[("ours", &at(address)), ("theirs", &at(exporter.address))])?;
    for job in ["ours", "theirs"] {
        prometheus.wait_for_scrapes(job, SCRAPES);
    }
    let (ours, theirs) = names("node_exporter", address, exporter.address);
    let [ours, theirs] = [promtool(&ours)?, promtool(&theirs)?];
    let more: Vec<&String> = ours.iter().filter(|line| !theirs.contains(line)).collect();
    assert!(more.is_empty(), "promtool says of this page and not of the exporter's: {more:?}");
    compare(&prometheus, NODE, 30);
    drop(agent);
    Ok(())
}

/// Whether the kernel's own files have what cAdvisor reads. Those of cgroup v1 stay at `Total 0` on Linux 6.18 while no disk has a
/// limit, whatever is written.
fn kernel_tells_of_disks() -> bool {
    let file = "/sys/fs/cgroup/blkio/blkio.throttle.io_service_bytes_recursive";
    !std::fs::read_to_string(file).is_ok_and(|text| text.trim() == "Total 0")
}

fn containers() -> Outcome {
    needs(&["prometheus", "promtool"])?;
    Cadvisor::is_built()?;
    let docker = Docker::start()?;
    let limits = |more| json!({"HostConfig": more});
    docker.run("busy", "while true; do :; done", &limits(json!({"CpuQuota": 20_000, "CpuPeriod": 100_000})));
    docker.run(
        "limited",
        "while true; do dd if=/dev/zero of=/dev/shm/x bs=1M count=8; sleep 1; done",
        &limits(json!({"Memory": 64 << 20})),
    );
    docker.run(
        "writer",
        "while true; do dd if=/dev/zero of=/x bs=64k count=64 conv=fsync; sleep 1; done",
        &json!({}),
    );
    docker.run("server", "while true; do nc -l -p 7000 > /dev/null; done", &json!({}));
    docker.run(
        "client",
        "while true; do dd if=/dev/zero bs=1k count=100 | nc 10.213.7.1 7; sleep 1; done",
        &json!({}),
    );
    let cadvisor = Cadvisor::start(&docker.socket())?;
    let address = free_address();
    let config = format!(
        r#"[agent]
  interval = "1s"
  flush_interval = "100ms"
[[inputs.ebpf]]
  tag_include = ["cgroup"]
[[inputs.mem]]
[[inputs.system]]
{}
  perdevice_include = ["cpu", "network"]
[[outputs.prometheus_client]]
  listen = "{address}"
  profile = "cadvisor"
"#,
        docker.section()
    );
    let agent = Running::start(&config)?;
    let page =
        |address| request(address, "GET", "/metrics", None, "").map(|answer| answer.body).unwrap_or_default();
    for address in [address, cadvisor.address] {
        wait_for(|| page(address).contains("name=\"client\""), LIMIT, "the containers");
    }
    let prometheus = Prometheus::start(&[("ours", &at(address)), ("theirs", &at(cadvisor.address))])?;
    for job in ["ours", "theirs"] {
        prometheus.wait_for_scrapes(job, SCRAPES);
    }
    let (ours, _) = names("cadvisor", address, cadvisor.address);
    let said = promtool(&ours)?;
    assert!(said.is_empty(), "{said:?}");
    let (disks, others): (Vec<Query>, Vec<Query>) =
        CONTAINERS.iter().partition(|query| query.expression().contains("container_fs_"));
    compare(&prometheus, &others, 30);
    if kernel_tells_of_disks() {
        compare(&prometheus, &disks, 30);
    } else {
        println!(
            "profiles: {} queries of disks, of which only ours knows: not in the kernel's files",
            disks.len()
        );
        for query in disks {
            let ours = query.expression().replace('$', "job=\"ours\"");
            assert!(!prometheus.over_time(&ours, 30).is_empty(), "{ours}");
        }
    }
    drop(agent);
    Ok(())
}
