//! The same 96 containers watched by others in turn, every 10 s, in one run: what each takes itself, and what it has the docker
//! daemon take.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use seismograf_tests::cgroup::Cgroup;
use seismograf_tests::docker::Docker;
use seismograf_tests::http::free_address;
use seismograf_tests::prometheus::Cadvisor;
use seismograf_tests::report::Table;
use seismograf_tests::suite::Outcome;
use seismograf_tests::telegraf::Telegraf;
use seismograf_tests::{Skip, agent_binary, needs, number, oracle, pause, terminate, try_run, wait_for};

/// How often each looks.
const INTERVAL: Duration = Duration::from_secs(10);
/// Until a peer has come to rest after it has found all containers.
const SETTLING: Duration = Duration::from_secs(40);
/// Until a peer has found all containers: netdata takes over a minute.
const FINDING: Duration = Duration::from_secs(240);
/// How long each is measured; the daemon without any of them half as long before and after.
const PERIOD: Duration = Duration::from_secs(60);
/// How long the agent is, which has the daemon describe itself that often.
const AGENT_PERIOD: Duration = Duration::from_secs(300);
/// What Telegraf and the agent read of the host.
const HOST: [&str; 9] = ["cpu", "mem", "swap", "system", "kernel", "processes", "disk", "diskio", "net"];

/// A program that is measured.
struct Peer {
    name: &'static str,
    command: Command,
    /// The page that a Prometheus would read.
    page: Option<Page>,
    period: Duration,
}

/// Where a peer shows what it has.
struct Page {
    url: String,
    /// What stands before and after the name of a container, or its cgroup, in each of its lines.
    around: (&'static str, &'static str),
}

impl Page {
    /// Reads it. Returns how many containers it has.
    fn scrape(&self) -> Option<usize> {
        let answer = try_run("curl", &["--silent", "--fail", &self.url]);
        let text = String::from_utf8_lossy(&answer.stdout);
        let names = text.lines().filter_map(|line| {
            let (_, rest) = line.split_once(self.around.0)?;
            Some(rest.split_once(self.around.1)?.0)
        });
        answer.status.success().then(|| names.collect::<BTreeSet<_>>().len())
    }
}

/// What was measured of one: nanoseconds of CPU time a second.
struct Figures {
    own: f64,
    daemon: f64,
    rss: u64,
}

/// CPU time of each a second, and of dockerd and containerd because of it.
pub(super) fn peers() -> Outcome {
    needs(&["netdata", "curl"])?;
    let n_containers = number("SEISMOGRAF_CONTAINERS", 96) as usize;
    // Before the daemons, which have to be gone before it goes.
    let daemon = Cgroup::new("bench-peers-docker");
    let docker = Docker::start()?;
    docker.daemons().into_iter().for_each(|pid| daemon.add(pid));
    for i in 0..n_containers {
        // One in ten does something now and then, so that its cgroup has rows.
        let command = if i % 10 == 0 { "while true; do sleep 2; done" } else { "exec sleep 100000" };
        docker.run(&format!("c{i}"), command, &json!({}));
    }
    let directory = tempfile::tempdir().unwrap();
    let mut table = Table::new(
        &["program", "of its own", "of dockerd and containerd", "both", "times the agent's", "resident"],
        "ms of CPU time a second",
    );
    let mut first = None;
    for peer in [agent(directory.path(), &docker)?, telegraf(directory.path(), &docker)?, cadvisor(&docker)?]
        .into_iter()
        .chain([netdata(directory.path())])
    {
        let name = peer.name;
        let Figures { own, daemon, rss } = measure(peer, &daemon, n_containers);
        let both = own + daemon.max(0.0);
        let agent = *first.get_or_insert(both);
        let ms = |ns: f64| format!("{:.2} ms", ns / 1e6);
        let mib = super::mib(rss);
        let times = format!("{:.0}", both / agent);
        table.row(&[name.to_owned(), ms(own), ms(daemon), ms(both), times, format!("{mib:.1} MiB")]);
        table.bar(name, both / 1e6);
    }
    table.write("peers");
    Ok(())
}

/// Runs one in a cgroup of its own, which has the CPU time of all its processes.
fn measure(mut peer: Peer, daemon: &Cgroup, n_containers: usize) -> Figures {
    let without = || {
        pause(Duration::from_secs(5));
        per_second(daemon)
    };
    let before = without();
    let cgroup = Cgroup::new("bench-peers-peer");
    let mut child =
        peer.command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    cgroup.add(child.id());
    let has_all = || {
        let found = peer.page.as_ref().map(Page::scrape);
        found.is_none_or(|found| found.is_some_and(|found| found >= n_containers))
    };
    wait_for(has_all, FINDING, &format!("{} to find {n_containers} containers", peer.name));
    let start = Instant::now();
    while start.elapsed() < SETTLING {
        pause(INTERVAL);
        assert!(has_all(), "{} has no page any more", peer.name);
    }
    let (start, own_before, daemon_before) = (Instant::now(), cgroup.cpu_ns(), daemon.cpu_ns());
    while start.elapsed() < peer.period {
        pause(INTERVAL);
        assert!(has_all(), "{} has no page any more", peer.name);
    }
    let rate = |before: u64, after: u64| (after - before) as f64 / start.elapsed().as_secs_f64();
    let (own, with) = (rate(own_before, cgroup.cpu_ns()), rate(daemon_before, daemon.cpu_ns()));
    let rss = members(&cgroup).into_iter().map(|pid| oracle::process(pid).0).sum();
    stop(&mut child, &cgroup);
    let after = without();
    println!(
        "bench: {}: the daemons take {:.2} ms a second, {:.2} before, {:.2} after",
        peer.name,
        with / 1e6,
        before / 1e6,
        after / 1e6
    );
    Figures { own, daemon: with - f64::midpoint(before, after), rss }
}

/// CPU time of a cgroup a second.
fn per_second(cgroup: &Cgroup) -> f64 {
    let (start, before) = (Instant::now(), cgroup.cpu_ns());
    pause(PERIOD / 2);
    (cgroup.cpu_ns() - before) as f64 / start.elapsed().as_secs_f64()
}

fn members(cgroup: &Cgroup) -> Vec<u32> {
    let pids = fs::read_to_string(cgroup.unified().join("cgroup.procs")).unwrap();
    pids.lines().map(|pid| pid.parse().unwrap()).collect()
}

/// Ends a peer, and what it has started.
fn stop(child: &mut Child, cgroup: &Cgroup) {
    terminate(child);
    for pid in members(cgroup) {
        // SAFETY: a signal to a process that is in our own cgroup.
        unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) };
    }
    wait_for(|| members(cgroup).is_empty(), Duration::from_secs(20), "a peer's processes to end");
}

/// What both read that read a `telegraf.conf`.
fn config(docker: &Docker) -> String {
    let host = HOST.map(|input| format!("[[inputs.{input}]]\n")).concat();
    format!(
        "[agent]\ninterval = \"10s\"\nflush_interval = \"10s\"\n{host}{}[[outputs.file]]\nfiles = [\"/dev/null\"]\n",
        docker.section()
    )
}

fn agent(directory: &Path, docker: &Docker) -> Result<Peer, Skip> {
    let path = directory.join("agent.conf");
    fs::write(&path, format!("{}[[inputs.ebpf]]\n", config(docker))).unwrap();
    let mut command = Command::new(agent_binary()?);
    command.arg("--config").arg(path);
    Ok(Peer { name: "Seismograf", command, page: None, period: AGENT_PERIOD })
}

fn telegraf(directory: &Path, docker: &Docker) -> Result<Peer, Skip> {
    let path = directory.join("telegraf.conf");
    fs::write(&path, config(docker)).unwrap();
    let mut command = Telegraf::find()?.command();
    command.arg("--config").arg(path);
    Ok(Peer { name: "Telegraf", command, page: None, period: PERIOD })
}

fn cadvisor(docker: &Docker) -> Result<Peer, Skip> {
    let address = free_address();
    let mut command = Cadvisor::command(&docker.socket(), address)?;
    command.arg(format!("-interval={}s", INTERVAL.as_secs()));
    let around = (",name=\"c", "\"");
    let page = Page { url: format!("http://{address}/metrics"), around };
    Ok(Peer { name: "cAdvisor", command, page: Some(page), period: PERIOD })
}

/// With its database in memory, and no look at anything but this machine.
fn netdata(directory: &Path) -> Peer {
    let address = free_address();
    let set = |section: &str, option: &str, value: String| {
        ["-W".to_owned(), "set".to_owned(), section.to_owned(), option.to_owned(), value]
    };
    let mut command = Command::new("netdata");
    command.args(["-D", "-u", "root"]);
    let at = |name: &str| directory.join(name).display().to_string();
    for (section, option, value) in [
        ("global", "update every", INTERVAL.as_secs().to_string()),
        ("global", "memory mode", "ram".to_owned()),
        ("db", "update every", INTERVAL.as_secs().to_string()),
        ("db", "mode", "ram".to_owned()),
        ("directories", "cache", at("cache")),
        ("directories", "lib", at("lib")),
        ("directories", "log", at("log")),
        ("web", "bind to", "127.0.0.1".to_owned()),
        ("web", "default port", address.port().to_string()),
        ("ml", "enabled", "no".to_owned()),
        // By default ten times as rarely as it reads them.
        ("plugin:cgroups", "check for new cgroups every", INTERVAL.as_secs().to_string()),
    ] {
        command.args(set(section, option, value));
    }
    for directory in ["cache", "lib", "log"] {
        fs::create_dir_all(at(directory)).unwrap();
    }
    let around = ("chart=\"cgroup_", ".");
    let page = Page { url: format!("http://{address}/api/v1/allmetrics?format=prometheus"), around };
    Peer { name: "netdata", command, page: Some(page), period: PERIOD }
}
