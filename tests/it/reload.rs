//! SIGHUP while probes are at work: the kernel's totals go on, and no interval is missed.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;
use seismograf_tests::suite::Outcome;
use seismograf_tests::{agent_binary, needs, pause, terminate, trial, wait_for};

const LIMIT: Duration = Duration::from_secs(60);
const INTERVAL_MS: i64 = 500;

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("reload::the_ledger_goes_on", the_ledger_goes_on)]
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
