//! What it costs, measured for docs/overhead.md; `cargo xtask bench` runs these. They take minutes, and hold no bars: what CI
//! holds is in `cost`.

mod cpu_source;
mod peers;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use seismograf::stages::STAGES;
use seismograf_tests::bench::{Bench, Form, Hook, WriteBack, ns, ns_a_row, table_bytes_a_cpu};
use seismograf_tests::cgroup::Cgroup;
use seismograf_tests::loads::{datagrams, reads};
use seismograf_tests::report::{self, Table, quartiles};
use seismograf_tests::running::Running;
use seismograf_tests::suite::Outcome;
use seismograf_tests::work::Worker;
use seismograf_tests::{needs, number, oracle, pause, run, stage, trial, try_run, wait_for};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    if std::env::var_os(report::DIRECTORY).is_none() {
        return Vec::new();
    }
    vec![
        trial("bench::probes", probes),
        trial("bench::write_back", write_back),
        trial("bench::many_cpus", many_cpus),
        trial("bench::cpu_source", cpu_source::cpu_source),
        trial("bench::work", work),
        trial("bench::agent", agent),
        trial("bench::hour", hour),
        trial("bench::host", host),
        trial("bench::peers", peers::peers),
        trial("bench::stages", stages),
    ]
}

/// How often everything is loaded anew.
fn reloads() -> u64 {
    number("SEISMOGRAF_RELOADS", 9)
}

/// What events are made of.
struct Load {
    what: &'static str,
    hook: Hook,
    work: fn(),
}

const LOADS: &[Load] = &[
    Load { what: "switches on one CPU", hook: Hook::Switch, work: switches },
    Load { what: "switches, 4 MiB walked in between", hook: Hook::Switch, work: cold_switches },
    Load { what: "switches across two CPUs", hook: Hook::Switch, work: switches_across },
    Load { what: "UDP, 200 bytes", hook: Hook::Packet, work: datagrams },
    Load { what: "four TCP pairs", hook: Hook::Packet, work: streams },
    Load { what: "4 KiB reads of a loop device", hook: Hook::Block, work: reads },
];

/// Nanoseconds per event of each program, alone with an empty one and net of it; medians over reloads in an order that is new
/// each time.
fn probes() -> Outcome {
    needs(&["ip", "losetup", "truncate", "perf", "taskset"])?;
    let mut table = Table::new(
        &["load", "program", "ns net of empty", "quartiles", "as it was built", "empty"],
        "ns per event",
    );
    for Load { what, hook, work } in LOADS {
        let [empty, programs @ ..] = hook.programs() else { continue };
        let mut runs: Vec<_> = [Form::Folded, Form::Plain]
            .into_iter()
            .flat_map(|form| programs.iter().map(move |program| (form, *program)))
            .map(|run| (run, Vec::new()))
            .collect();
        for _ in 0..reloads() {
            fastrand::shuffle(&mut runs);
            for ((form, program), samples) in &mut runs {
                samples.push(sample(*form, [empty, program], *work)?);
            }
        }
        for program in programs {
            let of = |form| {
                runs.iter().find(|(run, _)| *run == (form, *program)).map(|(_, samples)| samples.as_slice())
            };
            let (folded, plain) = (of(Form::Folded).unwrap(), of(Form::Plain).unwrap());
            let net = |samples: &[[f64; 2]]| {
                quartiles(&samples.iter().map(|[empty, program]| program - empty).collect::<Vec<_>>())
            };
            let ([low, median, high], [_, as_built, _]) = (net(folded), net(plain));
            let [_, empty, _] = quartiles(&folded.iter().map(|[empty, _]| *empty).collect::<Vec<_>>());
            table.row(&[
                (*what).to_owned(),
                format!("`{program}`"),
                format!("{median:.1}"),
                format!("{low:.1} to {high:.1}"),
                format!("{as_built:.1}"),
                format!("{empty:.1}"),
            ]);
            table.bar(format!("{program}, {what}"), median);
        }
    }
    table.write("probes");
    Ok(())
}

/// Nanoseconds per run of two programs of a hook, attached anew.
fn sample(form: Form, programs: [&'static str; 2], work: fn()) -> Result<[f64; 2], seismograf_tests::Skip> {
    let bench = Bench::attach_only(form, &programs)?;
    let before = bench.sample();
    work();
    let after = bench.sample();
    Ok(programs.map(|program| ns(&before, &after, program).0))
}

fn pipe(affinity: &str, turns: u64) {
    run("taskset", &["--cpu-list", affinity, "perf", "bench", "sched", "pipe", "-l", &turns.to_string()]);
}

fn switches() {
    pipe("0", 100_000);
}

/// Where the two are on one CPU each, it goes idle in between.
fn switches_across() {
    run("perf", &["bench", "sched", "pipe", "-l", "50000"]);
}

fn cold_switches() {
    let cgroup = Cgroup::new("bench-cold");
    Worker::start(&cgroup, "", &["switch-cold", "2000", "4"]).run();
}

fn streams() {
    let start = |pair: u16| {
        let address = format!("127.0.0.1:{}", 9201 + pair);
        let cgroups = ["to", "from"].map(|end| Cgroup::new(&format!("bench-tcp-{end}-{pair}")));
        let mut receiver = Worker::start(&cgroups[0], "", &["tcp-receive", &address]);
        receiver.go();
        let mut sender = Worker::start(&cgroups[1], "", &["tcp-send", &address, "1000000000"]);
        sender.go();
        (sender, receiver, cgroups)
    };
    for (sender, receiver, _cgroups) in (0..4).map(start).collect::<Vec<_>>() {
        sender.finish();
        receiver.finish();
    }
}

/// The write-back: ns in the program, with interrupts off, and the time of the call.
fn write_back() -> Outcome {
    needs(&["perf", "taskset"])?;
    let mut table = Table::new(
        &["CPU", "cgroups that ran there", "ns in the program", "µs for the call", "rows"],
        "ns in the program",
    );
    let mut bench = WriteBack::attach()?;
    for n_cgroups in [0, 1, 10, 100] {
        let cgroups: Vec<_> = (0..n_cgroups).map(|i| Cgroup::new(&format!("bench-flush-{i}"))).collect();
        let mut workers: Vec<_> =
            cgroups.iter().map(|cgroup| Worker::start(cgroup, "", &["switch", "600000", "20"])).collect();
        workers.iter_mut().for_each(Worker::go);
        // All of these run on the first CPU.
        for (cpu, what) in [(0, "the first"), (1, "the other")] {
            let (mut inside, mut calls, mut rows) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..50 {
                pause(Duration::from_millis(100));
                let run = bench.run(cpu);
                inside.push(run.program_ns);
                calls.push(run.call_ns / 1e3);
                rows.push(run.rows);
            }
            let [[_, inside, _], [_, call, _], [_, rows, _]] =
                [&inside, &calls, &rows].map(|samples| quartiles(samples));
            table.row(&[
                what.to_owned(),
                n_cgroups.to_string(),
                format!("{inside:.0}"),
                format!("{call:.1}"),
                format!("{rows:.0}"),
            ]);
            table.bar(format!("{what} CPU, {n_cgroups} cgroups"), inside);
        }
    }
    table.write("write_back");
    Ok(())
}

/// Rows that have to give way to another cgroup's, on each CPU in a second: a machine that runs more cgroups in turn than a cache
/// has slots.
const ROWS_A_SECOND: f64 = 1_000.0;

/// What CPUs that write at one time do to each other, and from that and the price of a write-back what many of them cost.
fn many_cpus() -> Outcome {
    needs(&[])?;
    let mut table = Table::new(&["rows are written by", "ns a row", "quartiles"], "ns a row");
    // What it takes at most: rows of CPUs that wait for each other.
    let mut rows_a_second = f64::MAX;
    let ways: [(&str, &[u64]); 3] = [
        ("one CPU", &[0]),
        ("two at one time, into one ring", &[0, 0]),
        ("two at one time, into a ring each", &[0, 1]),
    ];
    for (what, rings) in ways {
        let samples = (0..reloads()).map(|_| ns_a_row(rings)).collect::<Result<Vec<_>, _>>()?;
        let [low, median, high] = quartiles(&samples);
        table.row(&[what.to_owned(), format!("{median:.0}"), format!("{low:.0} to {high:.0}")]);
        table.bar(what, median);
        rows_a_second = rows_a_second.min(rings.len() as f64 * 1e9 / median);
    }
    table.write("ring");
    let mut write_back = WriteBack::attach()?;
    let calls: Vec<f64> = (0..50)
        .map(|_| {
            pause(Duration::from_millis(20));
            write_back.run(1).call_ns / 1e6
        })
        .collect();
    let ([_, call_ms, _], bytes) = (quartiles(&calls), table_bytes_a_cpu()?);
    let mut table = Table::new(
        &["CPUs", "the kernel's tables", "a write-back of all", "rows, of what a ring takes"],
        "ms for a write-back of all",
    );
    for n in [2_u32, 96, 256] {
        let n_cpus = f64::from(n);
        table.row(&[
            n.to_string(),
            format!("{:.1} MiB", mib(bytes * u64::from(n))),
            format!("{:.2} ms", n_cpus * call_ms),
            format!("{:.2} %", 100.0 * n_cpus * ROWS_A_SECOND / rows_a_second),
        ]);
        table.bar(format!("{n} CPUs"), n_cpus * call_ms);
    }
    table.write("many_cpus");
    Ok(())
}

/// Work that is timed with and without the agent.
struct Job {
    what: &'static str,
    /// How much was done in a second.
    speed: fn() -> f64,
}

const JOBS: &[Job] = &[
    Job { what: "perf bench sched pipe", speed: || per_second(100_000.0, || pipe("0", 100_000)) },
    Job {
        what: "perf bench sched messaging",
        speed: || per_second(1.0, || drop(run("perf", &["bench", "sched", "messaging", "-l", "400"]))),
    },
    Job { what: "iperf3 over loopback", speed: || iperf3(&[]) },
    Job { what: "iperf3, UDP of 64 bytes", speed: || iperf3(&["-u", "-b", "0", "-l", "64"]) },
    Job { what: "fio, random reads of 4 KiB", speed: || fio("randread", "1") },
    Job { what: "fio, buffered writes", speed: || fio("write", "0") },
    Job { what: "processes, one after the other", speed: forks },
    Job { what: "cgroups, one after the other", speed: || per_second(200.0, || churn(200)) },
];

/// How much real work slows down: off, on and off again, in turn. The difference of the two offs is the noise.
fn work() -> Outcome {
    const ROUNDS: u64 = 7;
    needs(&["perf", "taskset", "iperf3", "fio"])?;
    let mut table = Table::new(&["work", "slower with the agent", "off against off"], "% slower");
    for Job { what, speed } in JOBS {
        let (mut slower, mut noise) = (Vec::new(), Vec::new());
        speed();
        for _ in 0..number("SEISMOGRAF_ROUNDS", ROUNDS) {
            let before = speed();
            let with = {
                let _agent = Running::start("[agent]\n[[inputs.ebpf]]\n[[inputs.cpu]]\n[[inputs.mem]]\n")?;
                speed()
            };
            let after = speed();
            slower.push(100.0 * (1.0 - with / f64::midpoint(before, after)));
            noise.push(100.0 * (1.0 - after / before).abs());
        }
        let ([low, median, high], [_, noise, _]) = (quartiles(&slower), quartiles(&noise));
        table.row(&[
            (*what).to_owned(),
            format!("{median:.1} % ({low:.1} to {high:.1})"),
            format!("{noise:.1} %"),
        ]);
        table.bar(*what, median);
    }
    table.write("work");
    Ok(())
}

fn per_second(n: f64, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    n / start.elapsed().as_secs_f64()
}

fn forks() -> f64 {
    let cgroup = Cgroup::new("bench-fork");
    Worker::start(&cgroup, "", &["fork", "1500"]).run() as f64
}

fn churn(n: u64) {
    let cgroup = Cgroup::new("bench-churn");
    let root = cgroup.unified().display().to_string();
    let outside = Cgroup::new("bench-churner");
    Worker::start(&outside, "", &["churn", &root, &n.to_string()]).run();
}

/// Bits per second, as the receiver has them.
fn iperf3(args: &[&str]) -> f64 {
    let mut server = Command::new("iperf3")
        .args(["--server", "--one-off", "--port", "9301"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(
        || std::fs::read_to_string("/proc/net/tcp6").is_ok_and(|sockets| sockets.contains(":2455 ")),
        Duration::from_secs(5),
        "iperf3's server",
    );
    let client = [&["--client", "127.0.0.1", "--port", "9301", "--time", "2", "--json"], args].concat();
    let answer: serde_json::Value = serde_json::from_str(&run("iperf3", &client)).unwrap();
    let _ = server.wait();
    let end = &answer["end"];
    let sum =
        if end["sum_received"]["bits_per_second"].is_f64() { &end["sum_received"] } else { &end["sum"] };
    sum["bits_per_second"].as_f64().unwrap()
}

/// Operations per second on a file.
fn fio(kind: &str, direct: &str) -> f64 {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let file = directory.path().join("file").display().to_string();
    let args = [
        format!("--filename={file}"),
        format!("--rw={kind}"),
        format!("--direct={direct}"),
        "--name=job".into(),
        "--size=256m".into(),
        "--bs=4k".into(),
        "--ioengine=psync".into(),
        "--time_based".into(),
        "--runtime=2".into(),
        "--output-format=json".into(),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let answer: serde_json::Value = serde_json::from_str(&run("fio", &args)).unwrap();
    let side = if kind == "write" { "write" } else { "read" };
    answer["jobs"][0][side]["iops"].as_f64().unwrap()
}

/// How often the agent gathers.
const INTERVAL: Duration = Duration::from_secs(10);
/// An agent with what it reads by default, whose points but those of itself go nowhere.
const AGENT: &str = r#"
[agent]
hostname = "h"
[[inputs.ebpf]]
[[inputs.cpu]]
[[inputs.mem]]
[[inputs.disk]]
[[inputs.system]]
[[outputs.file]]
files = ["/dev/null"]
[[outputs.file]]
alias = "own"
files = ["{points}"]
namepass = ["seismograf"]
"#;

/// The agent itself, by the number of cgroups: each has a process that sleeps, and ten have one that works.
fn agent() -> Outcome {
    needs(&["strace", "sleep"])?;
    let mut table = Table::new(
        &[
            "cgroups",
            "CPU",
            "a gather",
            "resident",
            "of it its own",
            "peak",
            "kernel maps",
            "system calls a gather",
        ],
        "ms of CPU time a gather",
    );
    for n_cgroups in [10, 100, 1_000, 5_000] {
        let cgroups: Vec<_> = (0..n_cgroups).map(|i| Cgroup::new(&format!("bench-agent-{i}"))).collect();
        let sleepers: Vec<_> = cgroups.iter().map(Sleeper::start).collect();
        let mut workers: Vec<_> = cgroups
            .iter()
            .take(10)
            .map(|cgroup| Worker::start(cgroup, "", &["switch", "600000", "1000"]))
            .collect();
        workers.iter_mut().for_each(Worker::go);
        let ms = agent_row(&mut table, n_cgroups)?;
        table.bar(format!("{n_cgroups} cgroups"), ms);
        drop((workers, sleepers));
    }
    table.write("agent");
    Ok(())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The agent's memory over an hour of gathers, with cgroups that come and go.
fn hour() -> Outcome {
    const CGROUPS: usize = 100;
    const PARTS: u64 = 6;
    needs(&["sleep"])?;
    let part = Duration::from_secs(number("SEISMOGRAF_MINUTES", 60) * 60 / PARTS);
    let mut table = Table::new(&["minutes", "resident", "of it its own", "CPU"], "MiB that are its own");
    let cgroups: Vec<_> = (0..CGROUPS).map(|i| Cgroup::new(&format!("bench-hour-{i}"))).collect();
    let _sleepers: Vec<_> = cgroups.iter().map(Sleeper::start).collect();
    let agent = Running::start(AGENT)?;
    let ring = || agent.lines("seismograf,host=h,part=ring").len();
    wait_for(|| ring() >= 2, 8 * INTERVAL, "gathers of the agent");
    for n in 1..=PARTS {
        let (start, (_, cpu_before)) = (Instant::now(), oracle::process(agent.pid()));
        // The most that it has between two gathers: what one takes comes and goes.
        let (mut most, mut most_own) = (0, 0);
        while start.elapsed() < part {
            let passing = Cgroup::new("bench-hour-passing");
            drop((Sleeper::start(&passing), passing));
            let before = ring();
            wait_for(|| ring() > before, 3 * INTERVAL, "a gather of the agent");
            pause(INTERVAL / 2);
            most = most.max(oracle::process(agent.pid()).0);
            most_own = most_own.max(oracle::own_memory(agent.pid()));
        }
        let percent =
            100.0 * (oracle::process(agent.pid()).1 - cpu_before) as f64 / start.elapsed().as_nanos() as f64;
        let minutes = n * part.as_secs() / 60;
        table.row(&[
            minutes.to_string(),
            format!("{:.2} MiB", mib(most)),
            format!("{:.2} MiB", mib(most_own)),
            format!("{percent:.3} %"),
        ]);
        table.bar(format!("{minutes} minutes"), mib(most_own));
    }
    table.write("hour");
    Ok(())
}

/// A process that does nothing; ended when it is dropped.
struct Sleeper(std::process::Child);

impl Sleeper {
    fn start(cgroup: &Cgroup) -> Self {
        let child = Command::new("sleep").arg("infinity").stdin(Stdio::null()).spawn().unwrap();
        cgroup.add(child.id());
        Self(child)
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Measures an agent over some gathers. Returns the milliseconds that one takes.
fn agent_row(table: &mut Table, n_cgroups: usize) -> Result<f64, seismograf_tests::Skip> {
    const GATHERS: usize = 3;
    let agent = Running::start(AGENT)?;
    let ring = || agent.lines("seismograf,host=h,part=ring");
    let wait = |n: usize| wait_for(|| ring().len() >= n, 8 * INTERVAL, "gathers of the agent");
    wait(2);
    pause(Duration::from_millis(500));
    let (n, start, (_, cpu_before)) = (ring().len(), Instant::now(), oracle::process(agent.pid()));
    wait(n + GATHERS);
    pause(Duration::from_millis(500));
    let (rss, cpu) = oracle::process(agent.pid());
    let (own, peak) = (oracle::own_memory(agent.pid()), oracle::status_bytes(agent.pid(), "VmHWM:"));
    let (ns, elapsed) = ((cpu - cpu_before) as f64, start.elapsed());
    let calls = system_calls(agent.pid(), INTERVAL);
    let maps = agent.count("seismograf,host=h,part=ring", "map_bytes");
    let mib = |bytes| format!("{:.1} MiB", mib(bytes));
    let ms = ns / 1e6 / GATHERS as f64;
    table.row(&[
        n_cgroups.to_string(),
        format!("{:.3} %", 100.0 * ns / elapsed.as_nanos() as f64),
        format!("{ms:.2} ms"),
        mib(rss),
        mib(own),
        mib(peak),
        mib(maps),
        calls.to_string(),
    ]);
    Ok(ms)
}

/// System calls of a process within a time.
fn system_calls(pid: u32, time: Duration) -> u64 {
    let seconds = time.as_secs().to_string();
    let pid = pid.to_string();
    let traced = try_run("timeout", &["--signal=INT", &seconds, "strace", "-f", "-c", "-p", &pid]);
    let text = String::from_utf8_lossy(&traced.stderr).into_owned();
    let total = text.lines().find(|line| line.trim_end().ends_with(" total"));
    let numbers = total.into_iter().flat_map(str::split_whitespace).filter(|word| !word.contains('.'));
    numbers.filter_map(|word| word.parse().ok()).max().unwrap_or_else(|| panic!("strace said: {text}"))
}

/// Each stage of the pipeline alone, on one CPU.
fn stages() -> Outcome {
    needs(&["valgrind"])?;
    let mut table = Table::new(&["for each", "a second", "instructions"], "million a second");
    for stage in STAGES {
        let (rate, instructions) = (stage::per_second(stage), stage::instructions(stage));
        table.row(&[stage.of.to_owned(), format!("{:.1} million", rate / 1e6), format!("{instructions:.0}")]);
        table.bar(stage.of, rate / 1e6);
    }
    table.write("stages");
    Ok(())
}

/// The inputs of the host beside node exporter, which reads the same files of `/proc` and `/sys`, in one run.
fn host() -> Outcome {
    const ROUNDS: usize = 20;
    needs(&["prometheus-node-exporter"])?;
    let inputs = ["cpu", "mem", "swap", "system", "kernel", "processes", "disk", "diskio", "net"];
    let inputs: String = inputs.map(|input| format!("[[inputs.{input}]]\n")).concat();
    let agent = Running::start(&format!(
        "[agent]\nhostname = \"h\"\ninterval = \"1s\"\n{inputs}[[outputs.file]]\nfiles = [\"{{points}}\"]\n"
    ))?;
    let mut exporter = Command::new("prometheus-node-exporter")
        // Of what it does not read by default, what the agent's inputs have.
        .args(["--web.listen-address=127.0.0.1:9302", "--collector.processes"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let scrape = || try_run("curl", &["--silent", "--fail", "http://127.0.0.1:9302/metrics"]);
    wait_for(|| scrape().status.success(), Duration::from_secs(10), "node exporter");
    let gathers = || agent.lines("mem,").len();
    wait_for(|| gathers() >= 3, Duration::from_secs(10), "gathers of the agent");
    let before = [agent.pid(), exporter.id()].map(|pid| oracle::process(pid).1);
    let n = gathers();
    for _ in 0..ROUNDS {
        assert!(scrape().status.success());
        pause(Duration::from_secs(1));
    }
    let after = [agent.pid(), exporter.id()].map(oracle::process);
    let rounds = [gathers() - n, ROUNDS];
    let mut table = Table::new(&["program", "CPU time a gather", "resident"], "ms of CPU time a gather");
    for (i, what) in ["Seismograf", "node exporter"].into_iter().enumerate() {
        let ms = (after[i].1 - before[i]) as f64 / 1e6 / rounds[i] as f64;
        let mib = mib(after[i].0);
        table.row(&[what.to_owned(), format!("{ms:.2} ms"), format!("{mib:.1} MiB")]);
        table.bar(what, ms);
    }
    let _ = exporter.kill();
    let _ = exporter.wait();
    table.write("host");
    Ok(())
}
