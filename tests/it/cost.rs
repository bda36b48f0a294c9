//! What it costs: each probe per event, and the agent as a whole.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use seismograf::host::Host;
use seismograf::host::hierarchies::Hierarchies;
use seismograf::kernel::drain::Drain;
use seismograf::kernel::load::Probes;
use seismograf::kernel::plan::{Probe, ProbeOptions};
use seismograf::stages::STAGES;
use seismograf_tests::bench::{Bench, Form, ns, options};
use seismograf_tests::cgroup::Cgroup;
use seismograf_tests::loads::{datagrams, reads};
use seismograf_tests::looks::{HOT, of_a_gather};
use seismograf_tests::running::Running;
use seismograf_tests::suite::Outcome;
use seismograf_tests::work::Worker;
use seismograf_tests::{Skip, needs, oracle, pause, stage, trial, wait_for};

/// CPU accounting may cost this share of the design that everyone falls back to, per context switch and net of an empty program.
/// How many nanoseconds that is depends on the machine, and on one with other work around it the share too: it was a twentieth to
/// a quarter. One more helper or clock on the way is more than this. What is less than that, the length of each program shows.
const CPU_SHARE_OF_HASH: f64 = 0.35;
/// Each with everything attached anew, until one shows it.
const ROUNDS: usize = 5;

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("cost::of_each_probe", of_each_probe),
        trial("cost::of_the_agent", of_the_agent),
        trial("cost::folded_programs_are_shorter", folded_programs_are_shorter),
        trial("cost::who_has_nothing_to_say_is_not_asked", who_has_nothing_to_say),
        trial("cost::of_each_stage", of_each_stage),
    ]
}

fn of_each_probe() -> Outcome {
    needs(&["ip", "losetup", "truncate"])?;
    let (mut best_cpu, mut best_share) = (f64::MAX, f64::MAX);
    // Other work of the machine, and the place that a program gets in memory and in the order, can only make a round slower: the
    // best of them tells what the program costs.
    for round in 1..=ROUNDS {
        let bench = Bench::attach()?;
        let (empty, runs, net) = measured(&bench, "bench_sched_switch_empty", || switches(true));
        let (cpu, runqueue, hash) =
            (net("cpu_sched_switch"), net("runqueue_sched_switch"), net("bench_sched_switch_hash"));
        println!(
            "cost: round {round}, {runs} switches: empty {empty:.1} ns; net of it: cpu {cpu:.1}, runqueue {runqueue:.1}, hash and clock {hash:.1} ns"
        );
        best_cpu = best_cpu.min(cpu);
        best_share = best_share.min(cpu / hash);

        let (empty, runs, net) = measured(&bench, "bench_skb_empty", datagrams);
        println!(
            "cost: round {round}, {runs} packets out: empty {empty:.1} ns; net of it: out {:.1}, in {:.1} ns",
            net("net_egress"),
            net("net_ingress")
        );

        let (empty, runs, net) = measured(&bench, "bench_block_rq_complete_empty", reads);
        let blkio = net("blkio_block_rq_complete");
        println!(
            "cost: round {round}, {runs} completions: empty {empty:.1} ns; net of it: blkio {blkio:.1} ns"
        );
        if best_share <= CPU_SHARE_OF_HASH {
            break;
        }
    }
    let bench = Bench::attach()?;
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

/// Resident memory, looks at a file in a gather, and the kernel's maps.
const RSS_BYTES: u64 = 12_000_000;
const AGENT_LOOKS: f64 = 2_000.0;
const MAP_BYTES: i64 = 8 << 20;
/// What the agent has, besides its interval.
const AGENT_INPUTS: &str = r#"
[[inputs.ebpf]]
probes = ["cpu", "blkio", "net", "runqueue", "tcp"]
[[inputs.cpu]]
[[inputs.mem]]
[[inputs.disk]]
[[inputs.system]]
[[outputs.file]]
files = ["{points}"]
"#;

fn of_the_agent() -> Outcome {
    const CGROUPS: usize = 100;
    const BUSY: usize = 10;
    const INTERVAL: Duration = Duration::from_secs(10);
    needs(&["ip"])?;
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
    let mut agent = Running::start(&format!("[agent]\n{AGENT_INPUTS}"))?;
    let written = || std::fs::read_to_string(agent.points()).unwrap_or_default();
    let gathers = || written().matches("part=ring").count();
    wait_for(|| gathers() >= 2, 4 * INTERVAL, "two gathers of the agent");
    let (start, (_, cpu_before)) = (Instant::now(), oracle::process(agent.pid()));
    let n = gathers();
    // Between gathers: what one takes while it is under way comes and goes.
    let (mut rss, mut own) = (u64::MAX, u64::MAX);
    let mut look = || {
        rss = rss.min(oracle::process(agent.pid()).0);
        own = own.min(oracle::own_memory(agent.pid()));
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
    let (_, cpu) = oracle::process(agent.pid());
    let percent = 100.0 * (cpu - cpu_before) as f64 / start.elapsed().as_nanos() as f64;
    let text = written();
    let maps =
        text.lines().rev().find_map(|line| line.split_once("map_bytes=")?.1.split_once('i')?.0.parse().ok());
    let maps: i64 = maps.expect("the size of the maps");
    let series = text.lines().filter(|line| line.starts_with("cgroup_cpu,cgroup=/cost-")).count();
    agent.stop();
    let hot = Running::start(&format!("[agent]\ninterval = \"{HOT:?}\"\n{AGENT_INPUTS}"))?;
    let looks = of_a_gather(hot.pid());
    drop((hot, workers));
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
    assert!(looks <= AGENT_LOOKS, "{looks} looks a gather, {percent} % of one core");
    assert!(maps <= MAP_BYTES, "{maps} bytes of kernel maps");
    Ok(())
}

/// The most instructions that each stage may take, a quarter more than it does.
const INSTRUCTIONS: &[(&str, f64)] =
    &[("ledger", 440.0), ("proc", 2_800.0), ("points", 2_150.0), ("encode", 4_400.0), ("parse", 11_000.0)];

fn of_each_stage() -> Outcome {
    needs(&["valgrind"])?;
    let mut too_many = Vec::new();
    for (stage, (name, most)) in STAGES.iter().zip(INSTRUCTIONS) {
        assert_eq!(stage.name, *name, "each stage has its limit");
        let n = stage::instructions(stage);
        println!("cost: {n:.0} instructions for each {}", stage.of);
        assert!(n > 0.0, "{name}: nothing is done");
        if n > *most {
            too_many.push(format!("{name}: {n:.0} instructions, of {most} at most"));
        }
    }
    assert!(too_many.is_empty(), "{too_many:?}");
    assert_eq!(STAGES.len(), INSTRUCTIONS.len());
    Ok(())
}

/// Of what the kernel makes of each program, before its own compiler: the same on every machine with this kernel.
fn folded_programs_are_shorter() -> Outcome {
    const MOST: f64 = 0.95;
    /// Bytes, a sixth more than on Linux 6.18: kernels put other instructions in for the same helper.
    const MOST_BYTES: [u32; 4] = [1_800, 2_000, 4_150, 6_950];
    needs(&[])?;
    let programs = ["cpu_sched_switch", "runqueue_sched_switch", "blkio_block_rq_complete", "net_egress"];
    let [folded, plain] = [Form::Folded, Form::Plain].map(|form| -> Result<_, Skip> {
        Ok(programs.map(|program| Bench::attach_only(form, &[program]).map(|bench| bench.bytes(program))))
    });
    for (((program, most), folded), plain) in programs.into_iter().zip(MOST_BYTES).zip(folded?).zip(plain?) {
        let (folded, plain) = (folded?, plain?);
        println!("cost: {program}: {folded} bytes of instructions, {plain} as it was built");
        assert!(f64::from(folded) <= MOST * f64::from(plain), "{program}");
        assert!(folded <= most, "{program}: {folded} bytes, of {most} at most");
    }
    Ok(())
}

/// Of each CPU, the ticks that it was idle, and all (proc(5) `/proc/stat`).
fn cpu_ticks() -> Vec<(u64, u64)> {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    let cpus = stat.lines().skip(1).take_while(|line| line.starts_with("cpu"));
    let ticks = |line: &str| -> Vec<u64> {
        line.split_whitespace().skip(1).map(|ticks| ticks.parse().unwrap()).collect()
    };
    cpus.map(ticks).map(|ticks| (ticks[3] + ticks[4], ticks[..8].iter().sum())).collect()
}

/// Write-backs right after one another.
struct WriteBacks {
    /// How often the program ran, on all CPUs.
    runs: u64,
    /// After how many write-backs it had run on one CPU, or on none.
    alone: u64,
    /// Rows of idle CPUs that were read where they are, and how long that took.
    n_read: u64,
    reading: Duration,
    /// Of the time, what the least idle CPU was idle.
    idle: f64,
}

impl WriteBacks {
    const ROUNDS: u64 = 300;

    fn of(probes: &mut Probes, ring: &mut Drain) -> Self {
        // Else it would fill, and each write-back try ten thousand times.
        let mut empty = || {
            ring.read(|_| ());
            ring.give_back();
        };
        let newest = || {
            let flushes = aya::programs::loaded_programs().flatten();
            let flushes = flushes.filter(|program| program.name_as_str() == Some("flush_typed"));
            flushes.max_by_key(aya::programs::ProgramInfo::id).expect("the write-back program").run_count()
        };
        let mut seen = Self { runs: 0, alone: 0, n_read: 0, reading: Duration::ZERO, idle: 1.0 };
        let before = cpu_ticks();
        for _ in 0..Self::ROUNDS {
            pause(Duration::from_millis(2));
            probes.flush(&mut empty).unwrap();
            let start = Instant::now();
            probes.read_left_alone(|_| seen.n_read += 1).unwrap();
            seen.reading += start.elapsed();
            let before = newest();
            probes.flush(&mut empty).unwrap();
            let n = newest() - before;
            seen.runs += n;
            seen.alone += u64::from(n <= 1);
        }
        let shares = before
            .iter()
            .zip(cpu_ticks())
            .map(|(before, after)| (after.0 - before.0) as f64 / (after.1 - before.1).max(1) as f64);
        seen.idle = shares.fold(1.0, f64::min);
        seen
    }
}

/// A write-back right after another one runs on the CPU that asks for it, which has a task to charge, and on others only where
/// something happened in between. Where another one is idle by then, its rows are read.
fn who_has_nothing_to_say() -> Outcome {
    // A CPU on which other work of the machine runs has a task to charge each time: that shows nothing, and is tried again.
    const TRIES: usize = 20;
    const IDLE: f64 = 0.5;
    needs(&[])?;
    let host = Host::default();
    let options = ProbeOptions { ring_bytes: 1 << 20, probe_costs: true, ..options(&Probe::ALL) };
    let (opened, report) = Probes::open(&options, &host, &Hierarchies::read(&host), None, || ());
    let Some((mut probes, ring)) = opened else { panic!("{:?}", report.groups) };
    let runtime = seismograf_tests::runtime();
    let mut ring = runtime.block_on(async { Drain::new(ring) }).unwrap();
    let cpus = aya::util::online_cpus().unwrap().len();
    for _ in 0..TRIES {
        let WriteBacks { runs, alone, n_read, reading, idle } = WriteBacks::of(&mut probes, &mut ring);
        let n = WriteBacks::ROUNDS;
        println!(
            "cost: {n} write-backs right after another: {runs} runs on {cpus} CPUs, {alone} on one or none, each CPU idle for {:.0} % of the time; {n_read} rows of idle CPUs read before, in {:.1} us a time",
            100.0 * idle,
            reading.as_secs_f64() * 1e6 / n as f64
        );
        assert!(runs >= n / 2, "who asks runs, and has news: this shows nothing");
        if cpus == 1 {
            return Ok(());
        }
        if idle >= IDLE {
            let all_others_idle = idle.powi(i32::try_from(cpus).unwrap() - 1);
            assert!(alone as f64 >= 0.5 * all_others_idle * n as f64, "{alone} of {n}");
            assert!(n_read > 0, "no row of an idle CPU was read: this shows nothing");
            return Ok(());
        }
    }
    Err(Skip::because("other work keeps a CPU busy"))
}
