//! The table of `seismograf dump` in a real terminal, tmux, of several sizes and locales.

use std::time::Duration;

use libtest_mimic::Trial;
use seismograf_tests::cgroup::Cgroup;
use seismograf_tests::suite::Outcome;
use seismograf_tests::tmux::Tmux;
use seismograf_tests::work::Worker;
use seismograf_tests::{agent_binary, needs, trial, wait_for_some};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("dump::nothing_wraps_and_the_busiest_is_first", nothing_wraps_and_the_busiest_is_first)]
}

fn nothing_wraps_and_the_busiest_is_first() -> Outcome {
    needs(&[])?;
    let agent = agent_binary()?;
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("agent.conf");
    std::fs::write(&config, "[[inputs.ebpf]]\n[[inputs.cpu]]\n[[inputs.mem]]\n[[inputs.system]]\n").unwrap();
    // Longer than any screen, and at its end what tells it from the others.
    let cgroups = ["calm", "busy"].map(|name| Cgroup::new(&format!("{}-{name}", "long-".repeat(45))));
    let mut workers = [
        Worker::start(&cgroups[0], "", &["idle", "60000"]),
        Worker::start(&cgroups[1], "", &["spin", "60000"]),
        Worker::start(&cgroups[1], "", &["spin", "60000"]),
    ];
    workers.iter_mut().for_each(Worker::go);
    for size in [(40, 10), (80, 24), (200, 50)] {
        for locale in ["C.UTF-8", "C"] {
            let command =
                format!("LC_ALL={locale} {} dump --config {} --sort cpu", agent.display(), config.display());
            let socket = directory.path().join(format!("{}-{locale}", size.0));
            let terminal = Tmux::start(socket, size, &command)?;
            let busy = format!("busy.{}", std::process::id());
            let is_drawn = || {
                let (lines, joined) = (terminal.lines(&[]), terminal.lines(&["-J"]));
                // Both are of one screen: it was not drawn anew in between.
                let is_one = lines == terminal.lines(&[]);
                // A row is drawn as soon as its cgroup is known; what it took since then is in the next screen.
                let is_busy = |line: &String| line.contains(&busy) && cpu(&lines[1], line) > 10.0;
                (is_one && lines.iter().any(is_busy)).then_some((lines, joined))
            };
            let (lines, joined) =
                wait_for_some(is_drawn, Duration::from_secs(20), "the row of two that spin");
            assert_shown(&lines, &joined, size, locale);
        }
    }
    Ok(())
}

/// `joined` are the lines as they are without the terminal's breaks.
fn assert_shown(lines: &[String], joined: &[String], (width, height): (usize, usize), locale: &str) {
    let shown = lines.join("\n");
    println!("dump: {width} x {height}, {locale}:\n{}", lines[..4].join("\n"));
    assert_eq!(joined.len(), lines.len(), "something wraps at {width} x {height}:\n{shown}");
    assert!(lines.len() <= height && lines.iter().all(|line| line.chars().count() <= width), "{shown}");
    assert!(lines[0].starts_with("cpu ") && lines[0].contains(" CPUs"), "{shown}");
    let titles: Vec<&str> = lines[1].split_whitespace().collect();
    assert!(titles.join(" ").starts_with("NAME (100% = 1 CPU) CPU% MEM"), "{shown}");
    let mark = if locale == "C" { ".." } else { "…" };
    let row = lines.iter().find(|line| line.contains("-busy.")).unwrap();
    assert!(row.starts_with(mark), "{shown}");
    assert!(locale != "C" || shown.is_ascii(), "{shown}");
    // Other work of this machine may be busier, and is above then.
    let rows = lines[2..].iter().filter(|line| !line.is_empty());
    let all: Vec<f64> = rows.map(|row| cpu(&lines[1], row)).collect();
    assert!(all.len() > 2 && all.is_sorted_by(|a, b| a >= b), "{shown}");
}

/// What a row says of its CPU time, in the column of that title; 0 where nothing is said, as of a cgroup that has only memory.
fn cpu(titles: &str, row: &str) -> f64 {
    let end = titles.find("CPU%").unwrap() + "CPU%".len();
    let upto: String = row.chars().take(end).collect();
    let text = upto.split_whitespace().last().unwrap();
    if text == "-" { 0.0 } else { text.parse().unwrap() }
}
