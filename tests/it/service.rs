//! The agent as systemd starts it: the lines that it gives to the journal, and how it ends when it is refused.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, ExitStatus, Stdio};

use libtest_mimic::Trial;
use seismograf_tests::suite::Outcome;
use seismograf_tests::{agent_binary, trial};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("service::the_journal_gets_priorities_and_no_second_time", priorities),
        trial("service::a_refused_configuration_ends_with_a_status_of_its_own", refused),
    ]
}

/// Runs `--once` with this configuration and its standard error in a file, which is the journal's or is not.
fn run_once(config: &str, is_journal: bool) -> Result<(ExitStatus, String), seismograf_tests::Skip> {
    let agent = agent_binary()?;
    let directory = tempfile::tempdir().unwrap();
    let (config_file, log) = (directory.path().join("agent.conf"), directory.path().join("log"));
    fs::write(&config_file, config).unwrap();
    let stderr = File::create(&log).unwrap();
    let stat = stderr.metadata().unwrap();
    let inode = if is_journal { stat.ino() } else { stat.ino() + 1 };
    let status = Command::new(agent)
        .args(["run", "--once", "--config"])
        .arg(config_file)
        .env("JOURNAL_STREAM", format!("{}:{inode}", stat.dev()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .status()
        .unwrap();
    Ok((status, fs::read_to_string(log).unwrap()))
}

const WITH_A_WARNING: &str =
    "[[inputs.mem]]\n[[inputs.net]]\n  interfaces = [\"nowhere*\"]\n[[outputs.file]]\n";

fn priorities() -> Outcome {
    let (status, log) = run_once(WITH_A_WARNING, true)?;
    assert!(status.success(), "{log}");
    assert!(log.lines().any(|line| line.starts_with("<4>W! [agent] ")), "{log}");
    assert!(log.lines().any(|line| line.starts_with("<6>I! [agent] ")), "{log}");
    assert!(log.lines().all(|line| line.starts_with(['<']) && line.as_bytes()[2] == b'>'), "{log}");
    // The variable is inherited by what is started with another standard error.
    let (status, log) = run_once(WITH_A_WARNING, false)?;
    assert!(status.success() && log.contains("Z W! [agent] ") && !log.contains('<'), "{log}");
    Ok(())
}

fn refused() -> Outcome {
    let (status, log) = run_once("[[inputs.mems]]\n[[inputs.cpus]]\n[[outputs.file]]\n", true)?;
    assert_eq!(status.code(), Some(78), "{log}");
    let problems: Vec<&str> = log.lines().filter(|line| line.contains("agent.conf:")).collect();
    assert_eq!(problems.len(), 2, "{log}");
    assert!(log.lines().all(|line| line.starts_with("<3>")), "{log}");
    Ok(())
}
