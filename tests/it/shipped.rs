//! What comes with the agent's file: its version, manual pages and completions; and how soon it is at work.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use seismograf_tests::suite::Outcome;
use seismograf_tests::{Skip, agent_binary, has, needs, run, terminate, trial, try_run};
use serde_json::Value;

/// From the start of the process to the first record that it prints: twice what is asked for on the development machine, since
/// others are slower.
const START_LIMIT: Duration = Duration::from_millis(600);
/// The quickest of so many starts counts: the others had to share the machine.
const STARTS: usize = 7;

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("shipped::the_version_names_the_commit", the_version_names_the_commit),
        trial("shipped::there_is_a_manual_page_for_each_command", manual_pages),
        trial("shipped::shells_take_the_completions", completions),
        trial("shipped::the_first_record_comes_soon_after_the_start", first_record),
    ]
}

fn agent() -> Result<String, Skip> {
    Ok(agent_binary()?.to_str().unwrap().to_owned())
}

fn the_version_names_the_commit() -> Outcome {
    let agent = agent()?;
    let version = run(&agent, &["--version"]);
    assert_eq!(version, run(&agent, &["version"]));
    println!("shipped: {}", version.trim());
    if version.contains("commit unknown") {
        let is_known = try_run("sh", &["-c", "git -c safe.directory='*' rev-parse HEAD"]).status.success();
        assert!(!is_known, "git knows the commit, and the agent does not: {version}");
        return Err(Skip::because("there is no git here, or no history, to tell the commit by"));
    }
    let (name, rest) = version.trim().split_once(" (").unwrap();
    assert_eq!(name, format!("seismograf {}", env!("CARGO_PKG_VERSION")));
    let (commit, date) = rest.strip_suffix(')').unwrap().split_once(", ").unwrap();
    let commit = commit.trim_end_matches(" and changes");
    assert!(commit.len() == 9 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{commit}");
    let of_commit = try_run(
        "git",
        &["-c", "safe.directory=*", "-C", env!("CARGO_MANIFEST_DIR"), "show", "-s", "--format=%ct", commit],
    );
    if of_commit.status.success() {
        let time = String::from_utf8(of_commit.stdout).unwrap();
        let day = run("date", &["--utc", "--date", &format!("@{}", time.trim()), "+%F"]);
        assert_eq!(date, day.trim(), "the day of the commit");
    }
    Ok(())
}

/// The commands in a help text.
fn commands(agent: &str, of: &[&str]) -> Vec<String> {
    let help = run(agent, &[of, &["--help"]].concat());
    let lines =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .filter(|name| name != "help")
        .collect()
}

fn manual_pages() -> Outcome {
    let agent = agent()?;
    let directory = tempfile::tempdir().unwrap();
    run(&agent, &["man", directory.path().to_str().unwrap()]);
    let mut names = vec!["seismograf".to_owned()];
    for command in commands(&agent, &[]) {
        let below = commands(&agent, &[&command]);
        names.extend(below.iter().map(|name| format!("seismograf-{command}-{name}")));
        names.push(format!("seismograf-{command}"));
    }
    assert!(names.len() > 8, "{names:?}");
    for name in &names {
        let path = directory.path().join(format!("{name}.1"));
        let page = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}.1: {error}"));
        assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{name}:\n{page}");
        if has("groff") {
            let rendered = try_run("groff", &["-man", "-Tutf8", "-ww", path.to_str().unwrap()]);
            let said = String::from_utf8_lossy(&rendered.stderr).into_owned();
            assert!(rendered.status.success() && said.is_empty(), "{name}: {said}");
        }
    }
    println!(
        "shipped: {} manual pages{}",
        names.len(),
        if has("groff") { ", rendered by groff" } else { "" }
    );
    Ok(())
}

fn completions() -> Outcome {
    let agent = agent()?;
    let directory = tempfile::tempdir().unwrap();
    let mut judged = Vec::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&agent, &["completions", shell]);
        for word in ["dump", "--config-directory", "check"] {
            assert!(script.contains(word.trim_start_matches('-')), "{shell}: no {word}");
        }
        let path = directory.path().join(shell);
        std::fs::write(&path, script).unwrap();
        if has(shell) {
            run(shell, &["-n", path.to_str().unwrap()]);
            judged.push(shell);
        }
    }
    assert!(judged.contains(&"bash"), "bash is on every machine that builds this");
    let complete = format!(
        "source {}; COMP_WORDS=(seismograf du); COMP_CWORD=1; _seismograf seismograf du seismograf; echo \"${{COMPREPLY[*]}}\"",
        directory.path().join("bash").display()
    );
    assert_eq!(run("bash", &["-c", &complete]).trim(), "dump");
    println!("shipped: completions, read by {judged:?}");
    Ok(())
}

fn first_record() -> Outcome {
    needs(&[])?;
    let agent = agent()?;
    let mut starts: Vec<Duration> = (0..STARTS).map(|_| time_of_first_record(&agent)).collect();
    starts.sort();
    let [quickest, median] = [starts[0], starts[STARTS / 2]];
    println!("shipped: first record {quickest:.0?} after the start, {median:.0?} in the median of {STARTS}");
    assert!(quickest <= START_LIMIT, "{starts:?}");
    Ok(())
}

fn time_of_first_record(agent: &str) -> Duration {
    let start = Instant::now();
    let mut child = Command::new(agent)
        .args(["dump", "--raw", "--input-filter", "ebpf", "--interval", "1ms"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let time = start.elapsed();
    terminate(&mut child);
    let record: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert!(record["record"].is_string(), "{line}");
    time
}
