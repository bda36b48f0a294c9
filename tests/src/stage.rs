//! What one stage of the agent takes by itself: `it --stage NAME N`.

use std::process::Command;
use std::time::{Duration, Instant};

use seismograf::stages::{STAGES, Stage};

/// The first argument.
const FLAG: &str = "--stage";

/// Runs a stage when this process was started for it; `None` when it was not.
pub fn main_if_stage() -> Option<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [flag, name, n] = args.as_slice() else { return None };
    let stage = STAGES.iter().find(|stage| flag == FLAG && stage.name == name)?;
    (stage.run)(n.parse().unwrap());
    Some(())
}

/// Instructions that a stage takes for each that it takes in, as valgrind counts them: the same number each time.
///
/// # Panics
/// With its output, when valgrind fails.
pub fn instructions(stage: &Stage) -> f64 {
    const N: u64 = 20_000;
    // What comes before and after is the same in both.
    (collected(stage, 2 * N) - collected(stage, N)) as f64 / N as f64
}

fn collected(stage: &Stage, n: u64) -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=out"])
        .arg(std::env::current_exe().unwrap())
        .args([FLAG, stage.name, &n.to_string()])
        .current_dir(directory.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    let count = text.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    assert!(output.status.success(), "{text}");
    count.unwrap_or_else(|| panic!("valgrind said: {text}"))
}

/// How many a stage takes in within a second, in the best of several short runs.
pub fn per_second(stage: &Stage) -> f64 {
    const TIME: Duration = Duration::from_millis(50);
    const RUNS: usize = 20;
    const N: u64 = 1_000;
    let once = || {
        let (start, mut n) = (Instant::now(), 0);
        while start.elapsed() < TIME {
            (stage.run)(N);
            n += N;
        }
        n as f64 / start.elapsed().as_secs_f64()
    };
    (0..RUNS).map(|_| once()).fold(0.0, f64::max)
}
