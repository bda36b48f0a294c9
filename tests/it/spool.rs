//! The spool of the real agent, with a real influxd, when either of them is killed, the disk is full, or the machine restarts.
//!
//! The oracle is this process: it remembers what was acknowledged, and reads it back from influxd.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use seismograf_tests::http::{free_address, request};
use seismograf_tests::influxd::{Influxd, Setup};
use seismograf_tests::mount::Mount;
use seismograf_tests::running::{OUTPUT, Running};
use seismograf_tests::standin::Standin;
use seismograf_tests::suite::Outcome;
use seismograf_tests::writers::{Writers, value_of};
use seismograf_tests::{agent_binary, needs, number, pause, trial, wait_for};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("spool::nothing_acknowledged_is_lost_when_either_is_killed", kills),
        trial("spool::it_is_killed_or_fails_at_each_call_that_writes", calls),
        trial("spool::an_outage_goes_on_over_a_restart", restart),
        trial("spool::what_influxd_refuses_is_set_aside", set_aside),
        trial("spool::a_full_disk_is_waited_for", full_disk),
        trial("spool::another_agent_has_the_directory", taken),
    ]
}

const LIMIT: Duration = Duration::from_secs(60);
/// `SEISMOGRAF_KILLS=200` is the whole of it.
const N_KILLS: u64 = 16;
/// `SEISMOGRAF_CALLS=100` is the whole of it.
const N_CALLS: u64 = 1;
/// `SEISMOGRAF_FULL=50` is the whole of it.
const N_FULL: u64 = 6;

fn config(listen: SocketAddr, influxd: &str, directory: &Path) -> String {
    format!(
        r#"[agent]
  hostname = "h"
  interval = "250ms"
  flush_interval = "100ms"
  metric_buffer_limit = 2000
  buffer_strategy = "disk_write_through"
  buffer_directory = "{}"
[[inputs.influxdb_listener]]
  service_address = "{listen}"
[[inputs.mem]]
[[outputs.influxdb]]
  urls = ["{influxd}"]
  database = "db"
  timeout = "2s"
  namedrop = ["seismograf"]
[[outputs.file]]
  files = ["{{points}}"]
  namepass = ["seismograf"]
  buffer_strategy = "memory"
"#,
        directory.display()
    )
}

/// Clients that write, five points at a time, which are numbered.
fn writers(address: SocketAddr, n: usize) -> Writers<u64> {
    let next = Arc::new(AtomicU64::new(0));
    Writers::start(address, n, |_| {
        let next = Arc::clone(&next);
        move || {
            let first = next.fetch_add(5, Ordering::Relaxed);
            let line = |n: u64| format!("oracle n={n}i,v={}i {}\n", value_of(n), n + 1);
            ((first..first + 5).collect(), (first..first + 5).map(line).collect())
        }
    })
}

/// The points of the oracle that influxd has. One that is being written can have one of its fields.
fn stored(influxd: &Influxd) -> BTreeMap<u64, u64> {
    let series = influxd.series("db", "SELECT n, v FROM oracle");
    let rows = series.first().map(|series| series["values"].as_array().unwrap().clone()).unwrap_or_default();
    rows.iter().filter_map(|row| Some((row[1].as_u64()?, row[2].as_u64()?))).collect()
}

/// Waits until all that was acknowledged is stored, and looks at each.
fn check(influxd: &Influxd, acknowledged: &[u64], log: impl Fn() -> String) -> usize {
    let missing = || {
        let stored = stored(influxd);
        acknowledged.iter().filter(|n| !stored.contains_key(n)).count()
    };
    let end = Instant::now() + LIMIT;
    while missing() > 0 && Instant::now() < end {
        pause(Duration::from_millis(200));
    }
    assert_eq!(missing(), 0, "acknowledged and lost of {}\n{}", acknowledged.len(), log());
    let stored = stored(influxd);
    assert!(stored.iter().all(|(n, v)| *v == value_of(*n)), "a point is wrong");
    stored.len()
}

fn kills() -> Outcome {
    needs(&["influxd"])?;
    let n_kills = number("SEISMOGRAF_KILLS", N_KILLS);
    let seed = number("SEISMOGRAF_SEED", fastrand::u64(..1 << 32));
    let mut random = fastrand::Rng::with_seed(seed);
    println!("spool: seed {seed}");
    let mut influxd = Influxd::start(Setup::default())?;
    let (listen, directory, url) = (free_address(), tempfile::tempdir().unwrap(), influxd.url());
    let config = config(listen, &url, directory.path());
    let clients = writers(listen, 4);
    let (mut is_up, mut n_down) = (true, 0);
    for _ in 0..n_kills {
        let mut agent = Running::start(&config)?;
        wait_for(|| agent.log().contains("listen"), LIMIT, &agent.log());
        pause(Duration::from_millis(random.u64(1..400)));
        match (is_up, random.bool()) {
            (true, true) => influxd.kill(),
            (false, true) => influxd.resume()?,
            _ => {}
        }
        is_up = influxd.is_running();
        n_down += u64::from(!is_up);
        pause(Duration::from_millis(random.u64(1..400)));
        agent.kill();
    }
    if !is_up {
        influxd.resume()?;
    }
    let mut agent = Running::start(&config)?;
    let before = clients.n_acknowledged();
    wait_for(|| clients.n_acknowledged() > before, LIMIT, &agent.log());
    let (acknowledged, n_refused) = clients.end();
    let n_stored = check(&influxd, &acknowledged, || agent.log());
    println!(
        "spool: {n_kills} kills, {n_down} of them with influxd down: {} points acknowledged, {n_refused} not, {n_stored} stored, 0 lost, 0 wrong",
        acknowledged.len()
    );
    assert!(acknowledged.len() > 20 * usize::try_from(n_kills).unwrap(), "{}", acknowledged.len());
    let (is_success, _) = agent.stop();
    assert!(is_success, "{}", agent.log());
    Ok(())
}

/// What each of the first calls of a kind does instead of its work.
const INJECTED: [&str; 6] = [
    "pwrite64:signal=KILL",
    "fdatasync:signal=KILL",
    "fsync:signal=KILL",
    "unlink:signal=KILL",
    "pwrite64:error=ENOSPC",
    "fdatasync:error=EIO",
];

/// Ends what strace runs, and strace with it.
fn end_traced(agent: &mut Running) {
    let children = format!("/proc/{0}/task/{0}/children", agent.pid());
    let children = std::fs::read_to_string(children).unwrap_or_default();
    let children =
        children.split_whitespace().filter_map(|pid| rustix::process::Pid::from_raw(pid.parse().ok()?));
    for child in children {
        // It may have ended.
        let _ = rustix::process::kill_process(child, rustix::process::Signal::KILL);
    }
    agent.ended();
}

fn calls() -> Outcome {
    needs(&["influxd", "strace"])?;
    let n_calls = number("SEISMOGRAF_CALLS", N_CALLS);
    let influxd = Influxd::start(Setup::default())?;
    let (listen, directory, url) = (free_address(), tempfile::tempdir().unwrap(), influxd.url());
    // So small that segments come and go.
    let small = "  buffer_disk_limit = \"800KB\"\n[[inputs.influxdb_listener]]";
    let config = config(listen, &url, directory.path()).replace("[[inputs.influxdb_listener]]", small);
    let clients = writers(listen, 2);
    let mut n_met = 0;
    for (call, n) in (1..=n_calls).flat_map(|n| INJECTED.map(|call| (call, n))) {
        let mut strace = std::process::Command::new("strace");
        let trace = format!("trace={}", call.split(':').next().unwrap());
        let inject = format!("inject={call}:when={}", n * n);
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject]).arg(agent_binary()?);
        let mut agent = Running::start_by(strace, &config, &[]);
        let (kills, before) = (call.ends_with("KILL"), clients.n_acknowledged());
        let end = Instant::now() + Duration::from_secs(4);
        let goes_on = || !kills && clients.n_acknowledged() > before + 500;
        while Instant::now() < end && agent.is_running() && !goes_on() {
            pause(Duration::from_millis(10));
        }
        n_met += u64::from(if kills { !agent.is_running() } else { goes_on() });
        end_traced(&mut agent);
    }
    let agent = Running::start(&config)?;
    let before = clients.n_acknowledged();
    wait_for(|| clients.n_acknowledged() > before, LIMIT, &agent.log());
    let (acknowledged, n_refused) = clients.end();
    let n_stored = check(&influxd, &acknowledged, || agent.log());
    println!(
        "spool: {n_met} calls met of {}: {} points acknowledged, {n_refused} not, {n_stored} stored, 0 lost, 0 wrong",
        n_calls * INJECTED.len() as u64,
        acknowledged.len()
    );
    assert!(n_met * 2 > n_calls * INJECTED.len() as u64, "{n_met}");
    Ok(())
}

fn set_aside() -> Outcome {
    const LINES: u64 = 5_000;
    needs(&["influxd"])?;
    let seed = number("SEISMOGRAF_SEED", fastrand::u64(..1 << 32));
    let mut random = fastrand::Rng::with_seed(seed);
    println!("spool: seed {seed}");
    let influxd = Influxd::start(Setup::default())?;
    let proxy = Standin::proxy(influxd.address());
    let (listen, directory) = (free_address(), tempfile::tempdir().unwrap());
    let config = config(listen, &proxy.url(), directory.path())
        .replace("metric_buffer_limit = 2000", "metric_batch_size = 5000\n  metric_buffer_limit = 20000");
    let agent = Running::start(&config)?;
    wait_for(|| agent.log().contains("listen"), LIMIT, &agent.log());
    let write =
        |body: &str| assert_eq!(request(listen, "POST", "/write?db=x", None, body).unwrap().status, 204);
    write("typed v=1i 1\n");
    wait_for(|| influxd.count("db", "typed", "v") == 1, LIMIT, &agent.log());
    let set_aside = || -> String {
        let outputs = std::fs::read_dir(directory.path()).unwrap();
        outputs
            .filter_map(|output| std::fs::read_to_string(output.ok()?.path().join("rejected")).ok())
            .collect()
    };
    let mut expected = Vec::new();
    for n_poison in 1..=5 {
        // Of another type than is stored, among lines of other series.
        let first = n_poison * LINES;
        let mut poison: Vec<u64> = (0..n_poison).map(|_| first + random.u64(..LINES)).collect();
        poison.sort_unstable();
        poison.dedup();
        let line = |n: u64| match poison.binary_search(&n) {
            Ok(_) => format!("typed v=\"text\" {n}\n"),
            Err(_) => format!("good_{n_poison} v={n}i {n}\n"),
        };
        let before = proxy.requests().len();
        write(&(first..first + LINES).map(line).collect::<String>());
        expected.extend(poison.iter().map(|n| format!("typed,host=h v=\"text\" {n}")));
        let good = LINES - poison.len() as u64;
        let measurement = format!("good_{n_poison}");
        wait_for(|| influxd.count("db", &measurement, "v") == good, LIMIT, &agent.log());
        let is_aside = || expected.iter().all(|line| set_aside().contains(line.as_str()));
        wait_for(is_aside, LIMIT, &format!("all {} to be set aside\n{}", expected.len(), agent.log()));
        let n_requests =
            proxy.requests()[before..].iter().filter(|request| request.target.starts_with("/write")).count();
        println!("spool: {} poisoned of {LINES} lines: {good} stored, {n_requests} requests", poison.len());
        // Other points are written meanwhile, four times a second.
        let most = 2 * poison.len() * 13 + 1 + 20;
        assert!(n_requests <= most, "{n_requests} requests");
    }
    let text = set_aside();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines, expected, "in their order, and nothing else");
    println!("spool: set aside, with influxd's words: {}", text.lines().next().unwrap());
    assert!(text.starts_with("# ") && text.contains("field type conflict"), "{text}");
    wait_for(|| agent.count(OUTPUT, "dropped_refused") == expected.len() as u64, LIMIT, &agent.log());
    wait_for(|| agent.count(OUTPUT, "spooled") == 0, LIMIT, &agent.log());
    Ok(())
}

fn restart() -> Outcome {
    needs(&["influxd"])?;
    let mut influxd = Influxd::start(Setup::default())?;
    let (listen, directory, url) = (free_address(), tempfile::tempdir().unwrap(), influxd.url());
    let config = config(listen, &url, directory.path());
    influxd.stop();
    let mut n_gathers = 0;
    for _ in 0..2 {
        let mut agent = Running::start(&config)?;
        let waiting = |agent: &Running| agent.count(OUTPUT, "spooled");
        wait_for(|| waiting(&agent) >= n_gathers + 5, LIMIT, &agent.log());
        n_gathers = waiting(&agent);
        let (is_success, took) = agent.stop();
        println!("spool: {n_gathers} points wait; ended in {took:?}");
        assert!(is_success && took < Duration::from_secs(10), "{took:?}\n{}", agent.log());
        assert!(agent.log().contains("kept on the disk for the next start"), "{}", agent.log());
        // Where /tmp is in memory, that is said at the start.
        let log = agent.log();
        let mut lines = log.lines().filter(|line| !line.contains("is in memory"));
        assert!(!lines.any(|line| line.contains("lost")), "{log}");
    }
    influxd.resume()?;
    let agent = Running::start(&config)?;
    wait_for(|| influxd.count("db", "mem", "total") >= n_gathers, LIMIT, &agent.log());
    wait_for(|| agent.count(OUTPUT, "spooled") == 0, LIMIT, &agent.log());
    Ok(())
}

/// Fills a file system with something else, but for nothing.
fn fill(directory: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(directory.join("filler")).unwrap();
    let block = vec![7; 4096];
    while file.write_all(&block).is_ok() {}
}

fn full_disk() -> Outcome {
    needs(&["influxd"])?;
    let n_full = number("SEISMOGRAF_FULL", N_FULL);
    let influxd = Influxd::start(Setup::default())?;
    let listen = free_address();
    let disk = Mount::tmpfs("size=4m");
    let agent = Running::start(&config(listen, &influxd.url(), &disk.path().join("spool")))?;
    wait_for(|| agent.log().contains("listen"), LIMIT, &agent.log());
    assert!(agent.log().contains("is in memory"), "it is a tmpfs: {}", agent.log());
    let clients = writers(listen, 2);
    let mut longest = Duration::ZERO;
    for i in 0..n_full {
        let before = clients.n_acknowledged();
        wait_for(|| clients.n_acknowledged() > before + 50, LIMIT, &agent.log());
        fill(disk.path());
        let refused = clients.n_refused();
        let is_refused = || clients.n_refused() > refused;
        wait_for(is_refused, LIMIT, &format!("writes to be refused, {i}\n{}", agent.log()));
        std::fs::remove_file(disk.path().join("filler")).unwrap();
        let (before, start) = (clients.n_acknowledged(), Instant::now());
        wait_for(|| clients.n_acknowledged() > before, LIMIT, &agent.log());
        longest = longest.max(start.elapsed());
    }
    let (acknowledged, n_refused) = clients.end();
    let n_stored = check(&influxd, &acknowledged, || agent.log());
    println!(
        "spool: a disk {n_full} times full: {} points acknowledged, {n_refused} refused, {n_stored} stored, 0 lost; goes on after {longest:?}",
        acknowledged.len()
    );
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    assert!(
        agent.log().contains("No space left") && agent.log().contains("takes points again"),
        "{}",
        agent.log()
    );
    Ok(())
}

fn taken() -> Outcome {
    let (directory, url) = (tempfile::tempdir().unwrap(), "http://127.0.0.1:9");
    let agent = Running::start(&config(free_address(), url, directory.path()))?;
    wait_for(|| agent.log().contains("listen"), LIMIT, &agent.log());
    let mut second = Running::start(&config(free_address(), url, directory.path()))?;
    let is_success = second.ended();
    println!("{}", second.log());
    assert!(!is_success && second.log().contains("another agent has it"), "{}", second.log());
    Ok(())
}
