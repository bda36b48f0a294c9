//! SIGHUP while probes are at work: the kernel's totals go on, and no interval is missed.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;
use seismograf_tests::cgroup::Cgroup;
use seismograf_tests::suite::Outcome;
use seismograf_tests::work::Worker;
use seismograf_tests::{agent_binary, needs, pause, terminate, trial, wait_for};

const LIMIT: Duration = Duration::from_secs(60);
const INTERVAL_MS: i64 = 500;

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("reload::the_ledger_goes_on", the_ledger_goes_on),
        trial("reload::totals_go_on_with_other_options", totals_go_on_with_other_options),
    ]
}

/// A configuration that differs in everything but the probes.
fn config(directory: &Path, n: usize) -> String {
    let directory = directory.display();
    format!(
        "[global_tags]\n  n = \"{n}\"\n[agent]\n  interval = \"{INTERVAL_MS}ms\"\n  flush_interval = \"200ms\"\n\
         [[inputs.ebpf]]\n  probes = [\"cpu\"]\n[[inputs.mem]]\n  collect_extended = {}\n\
         [[outputs.file]]\n  files = [\"{directory}/points\"]\n  metric_batch_size = {}\n",
        n.is_multiple_of(2),
        100 + n
    )
}

/// The times and the figures of the balance of CPU time, as they are written so far.
fn balance(path: &Path) -> Vec<(i64, i64)> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let lines = whole.lines().filter(|line| line.contains(",part=cpu rows_ns="));
    let number = |text: &str| text.trim_end_matches('i').parse::<i64>().unwrap();
    lines
        .map(|line| {
            let rows = line.split("rows_ns=").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
            (number(line.rsplit(' ').next().unwrap()) / 1_000_000, number(rows))
        })
        .collect()
}

fn hang_up(child: &Child) {
    // SAFETY: a system call on our own child, which is not reaped before the end of the test.
    unsafe { libc::kill(child.id().cast_signed(), libc::SIGHUP) };
}

fn the_ledger_goes_on() -> Outcome {
    const RELOADS: usize = 20;
    needs(&[])?;
    let directory = tempfile::tempdir().unwrap();
    let [conf, points, log] = ["agent.conf", "points", "log"].map(|name| directory.path().join(name));
    std::fs::write(&conf, config(directory.path(), 0)).unwrap();
    let mut child = Command::new(agent_binary()?)
        .arg("--config")
        .arg(&conf)
        .stdin(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    wait_for(|| balance(&points).len() >= 2, LIMIT, "two gathers");
    let count = |text: &str| std::fs::read_to_string(&log).unwrap_or_default().matches(text).count();
    for n in 1..=RELOADS {
        // Every third one is broken, each at another moment of the interval.
        let is_bad = n.is_multiple_of(3);
        let text = config(directory.path(), n) + if is_bad { "broken" } else { "" };
        std::fs::write(&conf, text).unwrap();
        let line = if is_bad { "] not reloaded" } else { "] reloaded" };
        let before = count(line);
        hang_up(&child);
        wait_for(|| count(line) > before, LIMIT, line);
        pause(Duration::from_millis(70 * n as u64 % 300));
    }
    let n = balance(&points).len();
    wait_for(|| balance(&points).len() >= n + 2, LIMIT, "two more gathers");
    assert!(terminate(&mut child).success());
    let mut balance = balance(&points);
    // The last one is that of the end.
    balance.pop();
    println!("reload: {} gathers over {RELOADS} reloads, {} of them broken", balance.len(), RELOADS / 3);
    for pair in balance.windows(2) {
        assert!(pair[1].1 >= pair[0].1, "the totals started again: {balance:?}");
        // A gather is a little late, and never by a whole interval.
        let interval = |time_ms: i64| time_ms / INTERVAL_MS;
        assert_eq!(interval(pair[1].0) - interval(pair[0].0), 1, "an interval is missing: {balance:?}");
    }
    Ok(())
}

/// A field of the latest line of a measurement that has this tag.
fn latest(path: &Path, measurement: &str, cgroup: &str, field: &str) -> Option<i64> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let start = format!("{measurement},cgroup={cgroup},");
    let line = whole.lines().rfind(|line| line.starts_with(&start))?;
    let value = line.split([' ', ',']).find_map(|word| word.strip_prefix(&format!("{field}=")))?;
    value.trim_end_matches('i').parse().ok()
}

/// The probes themselves are other ones after such a reload.
fn totals_go_on_with_other_options() -> Outcome {
    const RELOADS: i64 = 5;
    const PACKETS: i64 = 1_000;
    needs(&["ip"])?;
    seismograf_tests::run("ip", &["link", "set", "lo", "up"]);
    let directory = tempfile::tempdir().unwrap();
    let [conf, points, log] = ["agent.conf", "points", "log"].map(|name| directory.path().join(name));
    let configure = |n: i64| {
        let text = format!(
            "[agent]\ninterval = \"200ms\"\nflush_interval = \"100ms\"\n[[inputs.ebpf]]\nprobes = [\"cpu\", \"net\"]\n\
             flush_period = \"{}s\"\n[[outputs.file]]\nfiles = [\"{}\"]\n",
            20 + n,
            points.display()
        );
        std::fs::write(&conf, text).unwrap();
    };
    configure(0);
    let mut child = Command::new(agent_binary()?)
        .arg("--config")
        .arg(&conf)
        .stdin(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    wait_for(|| !std::fs::read_to_string(&points).unwrap_or_default().is_empty(), LIMIT, "a gather");
    let cgroup = Cgroup::new("reload-totals");
    let reloaded = || std::fs::read_to_string(&log).unwrap_or_default().matches("] reloaded").count();
    let (mut packets, mut usage) = (0, 0);
    for n in 1..=RELOADS {
        Worker::start(&cgroup, "", &["udp-send", "127.0.0.1:9", "100", &PACKETS.to_string(), "1"]).run();
        let sent = || latest(&points, "cgroup_net", &cgroup.path(), "tx_packets").unwrap_or(0);
        wait_for(|| sent() >= n * PACKETS, LIMIT, "what was sent before the reload");
        let before = reloaded();
        configure(n);
        hang_up(&child);
        wait_for(|| reloaded() > before, LIMIT, "the reload");
        let n_bytes = || std::fs::metadata(&points).unwrap().len();
        let written = n_bytes();
        wait_for(|| n_bytes() > written + 4_096, LIMIT, "gathers of the new input");
        let now = latest(&points, "cgroup_cpu", &cgroup.path(), "usage_ns").unwrap_or(0);
        assert!(
            sent() >= packets && now >= usage,
            "totals went down: {packets} to {}, {usage} to {now}",
            sent()
        );
        (packets, usage) = (sent(), now);
    }
    println!("reload: {packets} of {} packets after {RELOADS} reloads with other options", RELOADS * PACKETS);
    assert_eq!(packets, RELOADS * PACKETS);
    assert!(terminate(&mut child).success());
    Ok(())
}
