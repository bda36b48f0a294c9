//! What it costs: each probe per event, and the agent as a whole.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use seismograf_tests::bench::{Bench, ns};
use seismograf_tests::cgroup::Cgroup;
use seismograf_tests::suite::Outcome;
use seismograf_tests::work::Worker;
use seismograf_tests::{agent_binary, needs, oracle, pause, run, terminate, trial, try_run, wait_for};

/// CPU accounting may cost this share of the design that everyone falls back to, per context switch and net of an empty program.
/// How many nanoseconds that is depends on the machine.
const CPU_SHARE_OF_HASH: f64 = 0.2;

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("cost::of_each_probe", of_each_probe), trial("cost::of_the_agent", of_the_agent)]
}

fn of_each_probe() -> Outcome {
    needs(&["ip", "losetup", "truncate"])?;
    let bench = Bench::attach()?;
    let (mut best_cpu, mut best_share) = (f64::MAX, f64::MAX);
    // Other work of the machine can only make a round slower: the best of them tells what the program costs.
    for round in 1..=3 {
        let (empty, runs, net) = measured(&bench, "bench_sched_switch_empty", || switches(true));
        let (cpu, runqueue, hash) =
            (net("cpu_sched_switch"), net("runqueue_sched_switch"), net("bench_sched_switch_hash"));
        println!(
            "cost: round {round}, {runs} switches: empty {empty:.1} ns; net of it: cpu {cpu:.1}, runqueue {runqueue:.1}, hash and clock {hash:.1} ns"
        );
        best_cpu = best_cpu.min(cpu);
        best_share = best_share.min(cpu / hash);

        let (empty, runs, net) = measured(&bench, "bench_skb_empty", packets);
        println!(
            "cost: round {round}, {runs} packets out: empty {empty:.1} ns; net of it: out {:.1}, in {:.1} ns",
            net("net_egress"),
            net("net_ingress")
        );

        let (empty, runs, net) = measured(&bench, "bench_block_rq_complete_empty", completions);
        let blkio = net("blkio_block_rq_complete");
        println!(
            "cost: round {round}, {runs} completions: empty {empty:.1} ns; net of it: blkio {blkio:.1} ns"
        );
        if best_share <= CPU_SHARE_OF_HASH {
            break;
        }
    }
    // Where the two tasks are on two CPUs, each goes idle in between, caches and all: a price to know, and no bar.
    let (empty, runs, net) = measured(&bench, "bench_sched_switch_empty", || switches(false));
    println!(
        "cost: wherever the scheduler puts them, {runs} switches: empty {empty:.1} ns; net of it: cpu {:.1}, hash and clock {:.1} ns",
        net("cpu_sched_switch"),
        net("bench_sched_switch_hash")
    );
    println!(
        "cost: cpu {best_cpu:.1} ns a switch, {:.1} % of a per-CPU hash with a clock",
        100.0 * best_share
    );
    assert!(best_share <= CPU_SHARE_OF_HASH, "{best_share}");
    Ok(())
}

/// What an empty program took per run under a load, how often it ran, and what any other took net of it.
fn measured(bench: &Bench, empty: &'static str, load: fn()) -> (f64, u64, impl Fn(&str) -> f64 + use<>) {
    let before = bench.sample();
    load();
    let after = bench.sample();
    let (empty, runs) = ns(&before, &after, empty);
    (empty, runs, move |name: &str| ns(&before, &after, name).0 - empty)
}

/// Context switches, by the kernel's own benchmark where it is installed; `on_one_cpu`, or where the scheduler likes.
fn switches(on_one_cpu: bool) {
    let mut perf = if on_one_cpu {
        let mut taskset = Command::new("taskset");
        taskset.args(["--cpu-list", "0", "perf"]);
        taskset
    } else {
        Command::new("perf")
    };
    let status = perf.args(["bench", "sched", "pipe", "-l", "300000"]).stdout(Stdio::null()).status();
    if !status.is_ok_and(|status| status.success()) {
        let cgroup = Cgroup::new("bench-switch");
        Worker::start(&cgroup, "", &["switch", "3000", "1000000"]).run();
    }
}

fn packets() {
    let (sender, sink) = (Cgroup::new("bench-sender"), Cgroup::new("bench-sink"));
    let mut receiver = Worker::start(&sink, "", &["udp-receive", "127.0.0.1:9200", "200", "1000000000"]);
    receiver.go();
    run("ip", &["link", "set", "lo", "up"]);
    Worker::start(&sender, "", &["udp-send", "127.0.0.1:9200", "200", "200000", "2"]).run();
}

fn completions() {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let image = directory.path().join("image").display().to_string();
    run("truncate", &["-s", "64M", &image]);
    let device = run("losetup", &["--find", "--show", &image]).trim().to_owned();
    let cgroup = Cgroup::new("bench-io");
    Worker::start(&cgroup, "", &["read", &device, "4096", "30000"]).run();
    drop(cgroup);
    let _ = try_run("losetup", &["--detach", &device]);
}

/// Resident memory, a share of one core, and the kernel's maps.
const RSS_BYTES: u64 = 15_000_000;
const CPU_PERCENT: f64 = 0.2;
const MAP_BYTES: i64 = 8 << 20;

fn of_the_agent() -> Outcome {
    const CGROUPS: usize = 100;
    const BUSY: usize = 10;
    const INTERVAL: Duration = Duration::from_secs(10);
    needs(&["ip"])?;
    let directory = tempfile::tempdir().unwrap();
    let points = directory.path().join("points");
    let mut config = tempfile::NamedTempFile::with_suffix(".conf").unwrap();
    writeln!(
        config,
        "[agent]\n[[inputs.ebpf]]\nprobes = [\"cpu\", \"blkio\", \"net\", \"runqueue\", \"tcp\"]\n[[inputs.cpu]]\n[[inputs.mem]]\n[[inputs.disk]]\n[[inputs.system]]\n[[outputs.file]]\nfiles = [\"{}\"]",
        points.display()
    )
    .unwrap();
    let cgroups: Vec<Cgroup> = (0..CGROUPS).map(|i| Cgroup::new(&format!("cost-{i}"))).collect();
    // A process in each, ten of which run without end for a tenth of the time each.
    let mut workers: Vec<Worker> = cgroups
        .iter()
        .enumerate()
        .map(|(i, cgroup)| match i < BUSY {
            true => Worker::start(cgroup, "", &["switch", "90000", "2000"]),
            false => Worker::start(cgroup, "", &["idle", "90000"]),
        })
        .collect();
    workers.iter_mut().for_each(Worker::go);
    let mut agent = Command::new(agent_binary()?)
        .args(["--config"])
        .arg(config.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let written = || std::fs::read_to_string(&points).unwrap_or_default();
    let gathers = || written().matches("part=ring").count();
    wait_for(|| gathers() >= 2, 4 * INTERVAL, "two gathers of the agent");
    let (start, (_, cpu_before)) = (Instant::now(), oracle::process(agent.id()));
    let n = gathers();
    // Between gathers: what one takes while it is under way comes and goes.
    let (mut rss, mut own) = (u64::MAX, u64::MAX);
    let mut look = || {
        rss = rss.min(oracle::process(agent.id()).0);
        own = own.min(oracle::own_memory(agent.id()));
    };
    wait_for(
        || {
            look();
            gathers() >= n + 3
        },
        6 * INTERVAL,
        "three more gathers of the agent",
    );
    // To the same point between two gathers as at the start.
    pause(Duration::from_millis(50));
    look();
    let (_, cpu) = oracle::process(agent.id());
    let percent = 100.0 * (cpu - cpu_before) as f64 / start.elapsed().as_nanos() as f64;
    let text = written();
    let maps =
        text.lines().rev().find_map(|line| line.split_once("map_bytes=")?.1.split_once('i')?.0.parse().ok());
    let maps: i64 = maps.expect("the size of the maps");
    let series = text.lines().filter(|line| line.starts_with("cgroup_cpu,cgroup=/cost-")).count();
    terminate(&mut agent);
    drop(workers);
    let cpus = std::thread::available_parallelism().unwrap().get();
    // All but the ring buffer is per CPU.
    const RING: i64 = 1 << 20;
    let on_96 = RING + (maps - RING) / cpus as i64 * 96;
    println!(
        "cost: agent at {CGROUPS} cgroups ({BUSY} busy), every 10 s: {:.1} MB RSS, {:.1} of it its own, {percent:.3} % of one core, kernel maps {:.2} MiB on {cpus} CPUs, {:.1} on 96; {series} points of cgroup_cpu",
        rss as f64 / 1e6,
        own as f64 / 1e6,
        maps as f64 / 1_048_576.0,
        on_96 as f64 / 1_048_576.0
    );
    assert!(series >= 3 * CGROUPS, "not every cgroup was reported: this shows nothing");
    assert!(rss <= RSS_BYTES, "{rss} bytes of RSS");
    assert!(percent <= CPU_PERCENT, "{percent} % of one core");
    assert!(maps <= MAP_BYTES, "{maps} bytes of kernel maps");
    Ok(())
}
