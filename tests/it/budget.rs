//! What the agent says at its start that it takes at most, against what it takes when all goes wrong at once.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use libtest_mimic::Trial;
use seismograf_tests::cgroup::Cgroup;
use seismograf_tests::http::{free_address, request};
use seismograf_tests::looks::{Looks, is_quiet, slowness};
use seismograf_tests::running::Running;
use seismograf_tests::standin::{Reply, Standin};
use seismograf_tests::suite::Outcome;
use seismograf_tests::{OWN_MOUNTS, Skip, agent_binary, needs, number, pause, trial};

use crate::hangs::full_pipe;

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("budget::holds_with_a_tenth_of_a_cpu_when_all_goes_wrong", holds)]
}

/// For how long all goes wrong, unless this variable says otherwise, in seconds.
const TIME: &str = "SEISMOGRAF_BUDGET_SECONDS";
const DEFAULT_TIME: u64 = 30;
const INTERVAL_MS: i64 = 2_000;
/// Of an interval, for 99 of 100 gathers.
const MAX_JITTER: f64 = 0.1;
/// Of a CPU.
const QUOTA: u64 = 10;
/// A name server of the test's own, which does not answer.
const NAME_SERVER: &str = "127.0.0.54";

/// The most memory that a cgroup had, as the kernel itself counts it.
fn peak(cgroup: &Cgroup) -> u64 {
    let v1 = cgroup.file("memory", "memory.max_usage_in_bytes");
    let v2 = cgroup.file("memory", "memory.peak");
    let file = if v1.exists() { v1 } else { v2 };
    std::fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        .trim()
        .parse()
        .unwrap()
}

/// Sends points of ever new series, some of them long, until `ends`.
fn flood(http: SocketAddr, udp: SocketAddr, ends: &AtomicBool) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for n in 0_u64.. {
        if ends.load(Ordering::Relaxed) {
            return;
        }
        let line =
            |i: u64| format!("requests,id={n}-{i} text=\"{}\",v=1i\n", "x".repeat(i as usize % 16 * 1_000));
        let body: String = (0..200).map(line).collect();
        // Refused is fine: nothing of it may be held then.
        let _ = request(http, "POST", "/write?db=d", None, &body);
        for i in 0..100 {
            let _ = socket.send_to(line(i).as_bytes(), udp);
        }
        pause(Duration::from_millis(20));
    }
}

fn configuration(places: &[(&str, String)]) -> String {
    let text = r#"[agent]
  interval = "2s"
  flush_interval = "1s"
  precision = "1ms"
  hostname = "h"
  metric_series_limit = 20000
  statefile = "DIRECTORY/small/state"
[[inputs.ebpf]]
[[inputs.cpu]]
[[inputs.mem]]
[[inputs.kernel]]
[[inputs.docker]]
  endpoint = "tcp://SILENT"
[[inputs.kubernetes]]
  url = "http://SILENT"
[[inputs.prometheus]]
  urls = ["http://SILENT/metrics"]
[[inputs.influxdb_listener]]
  service_address = "HTTP"
[[inputs.socket_listener]]
  service_address = "udp://UDP"
[[outputs.file]]
  files = ["{points}"]
  namepass = ["kernel"]
[[outputs.file]]
  files = ["DIRECTORY/pipe"]
[[outputs.influxdb]]
  alias = "silent"
  urls = ["http://SILENT"]
  timeout = "2s"
  metric_buffer_limit = 20000
[[outputs.influxdb]]
  alias = "name"
  urls = ["http://influxdb.example:8086"]
[[outputs.influxdb_v2]]
  alias = "token"
  urls = ["REFUSING"]
  token = "t"
  organization = "o"
  bucket = "b"
  buffer_strategy = "disk_write_through"
  buffer_directory = "DIRECTORY/small"
"#;
    places.iter().fold(text.to_owned(), |text, (name, place)| text.replace(name, place))
}

/// What the log says that a run takes at most, in bytes.
fn said(log: &str) -> u64 {
    let line = log.lines().find(|line| line.contains("] takes at most ")).unwrap_or_else(|| panic!("{log}"));
    println!("budget: {line}");
    let memory = line.split("memory=\"").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    memory.parse::<u64>().unwrap() << 20
}

fn holds() -> Outcome {
    needs(&["unshare", "mount", "mkfifo"])?;
    let time = number(TIME, DEFAULT_TIME);
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::create_dir(at("small")).unwrap();
    let _reader = full_pipe(&at("pipe").display().to_string());
    // Its connections are never accepted.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let refusing = Standin::start(|_| Reply::unauthorized());
    let _names = UdpSocket::bind((NAME_SERVER, 53))
        .map_err(|error| Skip::because(format!("cannot be a name server at {NAME_SERVER}: {error}")))?;
    std::fs::write(at("resolv.conf"), format!("nameserver {NAME_SERVER}\n")).unwrap();
    let (http, udp) = (free_address(), free_address());
    let config = configuration(&[
        ("DIRECTORY", directory.path().display().to_string()),
        ("SILENT", silent.local_addr().unwrap().to_string()),
        ("REFUSING", refusing.url()),
        ("HTTP", http.to_string()),
        ("UDP", udp.to_string()),
    ]);
    let cgroup = Cgroup::new("seismograf.budget");
    cgroup.limit_cpu(QUOTA);
    // The disk of the spool is full after a moment.
    let script = format!(
        "{OWN_MOUNTS}mount --bind {0}/resolv.conf /etc/resolv.conf && mount -t tmpfs -o size=2m small {0}/small || exit 1\n\
         for file in {1}; do echo $$ > $file; done\nexec \"$@\"",
        directory.path().display(),
        cgroup.joins().join(" ")
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "unchanged", "sh", "-c", &script, "sh"]).arg(agent_binary()?);
    let mut agent = Running::start_by(command, &config, &[]);
    agent.wait_for_log("] privileges given up");
    let looks = Looks::start(Duration::from_millis(INTERVAL_MS.cast_unsigned()));
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| flood(http, udp, &ends));
        pause(Duration::from_secs(time));
        ends.store(true, Ordering::Relaxed);
    });
    let look_ns = looks.one_ns();
    let slowness = slowness(look_ns);
    let (budget, peak) = (said(&agent.log()), peak(&cgroup));
    let gathers: Vec<i64> = agent.times("kernel", "boot_time").iter().map(|ns| ns / 1_000_000).collect();
    let mut late: Vec<i64> = gathers.iter().map(|ms| ms % INTERVAL_MS).collect();
    late.sort_unstable();
    let (p99, worst) = (late[(late.len() - 1) * 99 / 100], *late.last().unwrap());
    let missed = gathers.windows(2).filter(|pair| pair[1] - pair[0] > INTERVAL_MS * 3 / 2).count();
    let throttled = cgroup.value("cpu", "cpu.stat", "nr_throttled");
    println!(
        "budget: {} gathers in {time} s with {QUOTA} % of a CPU (held back {throttled} times), {missed} missed, late by {p99} ms (p99) and {worst} ms at most; {} MiB of {} MiB at most",
        gathers.len(),
        peak >> 20,
        budget >> 20
    );
    let log = agent.log();
    for expected in [
        "[outputs.influxdb::silent] cannot write",
        "[outputs.influxdb_v2::token] cannot write",
        "[inputs.docker] ",
    ] {
        assert!(log.contains(expected), "{expected}: {log}");
    }
    assert!(throttled > 0, "it was not held back: this shows nothing");
    assert!(gathers.len() as i64 + 1 >= time as i64 * 1_000 / INTERVAL_MS, "{gathers:?}");
    // A tenth of a slow CPU is less than what is promised for.
    let is_in_time = missed == 0 && (p99 as f64) < INTERVAL_MS as f64 * MAX_JITTER;
    assert!(is_in_time || !is_quiet(look_ns), "{gathers:?}");
    assert!(peak <= budget, "{peak} of {budget}: {log}");
    let (_, took) = agent.stop();
    assert!(took < Duration::from_secs(10).mul_f64(slowness), "{took:?}: {}", agent.log());
    Ok(())
}
