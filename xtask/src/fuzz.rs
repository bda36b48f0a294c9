//! `cargo xtask fuzz`: the parsers of bytes that others write, by libFuzzer.
//!
//! What it finds is left below `agent/fuzz/artifacts`, and the inputs that it keeps below `agent/fuzz/corpus`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::command::{command, find, output, run};

const FUZZ: &str = "agent/fuzz";
/// The paths that the tests of the parser know.
const PATHS: &str = "agent/testdata/cgroup-paths.txt";

/// What to run, and for how long.
#[derive(Args)]
pub(crate) struct FuzzArgs {
    /// A target, such as `cgroup_path`; all of them, one after the other, by default.
    target: Option<String>,
    /// Stop after this many seconds.
    #[arg(long, default_value_t = 60, conflicts_with = "runs")]
    seconds: u64,
    /// Stop after this many inputs instead.
    #[arg(long)]
    runs: Option<u64>,
}

/// Fuzzes.
pub(crate) fn fuzz(args: &FuzzArgs) -> anyhow::Result<()> {
    if find("cargo-fuzz").is_none() {
        bail!("cargo-fuzz is missing: `cargo install cargo-fuzz`, and `rustup toolchain install nightly`");
    }
    let known = output(&mut fuzz_command("list"))?;
    let targets: Vec<&str> = match &args.target {
        Some(target) if known.lines().any(|name| name == target) => vec![target],
        Some(target) => {
            bail!("there is no target {target}: it is one of {}", known.trim().replace('\n', ", "))
        }
        None => known.lines().collect(),
    };
    let end = args.runs.map_or(format!("-max_total_time={}", args.seconds), |runs| format!("-runs={runs}"));
    for target in targets {
        let corpus = Path::new(FUZZ).join("corpus").join(target);
        fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
        let mut fuzz = fuzz_command("run");
        fuzz.args([target, "--", &end, "-max_len=1024"]);
        match target {
            "cgroup_path" => {
                let dictionary = corpus.with_extension("dict");
                seed_paths(&corpus, &dictionary)?;
                fuzz.arg(format!("-dict={}", fs::canonicalize(dictionary)?.display()));
            }
            "exposition" => seed_texts(&corpus, "agent/testdata/prometheus", "metrics.gz")?,
            "line_protocol" => seed_texts(&corpus, "agent/testdata/prometheus", "lp.gz")?,
            "config" => drop(fs::copy("agent/src/config/default.conf", corpus.join("seed"))?),
            _ => {}
        }
        run(&mut fuzz)?;
    }
    Ok(())
}

/// `cargo fuzz`, on the nightly toolchain that sanitizers need.
fn fuzz_command(verb: &str) -> std::process::Command {
    let mut fuzz = command("cargo");
    fuzz.env_remove("RUSTUP_TOOLCHAIN").args(["+nightly", "fuzz", verb, "--fuzz-dir", FUZZ]);
    fuzz
}

/// The beginning of each file of this kind as a seed, unpacked: no input is longer than libFuzzer is told.
fn seed_texts(corpus: &Path, directory: &str, ending: &str) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {directory}"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(ending) {
            let text = output(command("gzip").arg("-dc").arg(&path))?;
            let lines: String = text.split_inclusive('\n').take(8).collect();
            fs::write(corpus.join(name), lines)?;
        }
    }
    Ok(())
}

/// Each path of the table as a seed, and each name in one as a word.
fn seed_paths(corpus: &Path, dictionary: &Path) -> anyhow::Result<()> {
    let table = fs::read_to_string(PATHS).with_context(|| format!("cannot read {PATHS}"))?;
    let lines = table.lines().filter(|line| line.starts_with('/'));
    let mut names = BTreeSet::new();
    for (n, path) in lines.filter_map(|line| line.split_whitespace().next()).enumerate() {
        let path = path.replace(['^', '%'], "");
        fs::write(corpus.join(format!("seed-{n}")), &path)?;
        // libFuzzer's words are up to 64 bytes long.
        names.extend(path.split('/').filter(|name| (1..=64).contains(&name.len())).map(str::to_owned));
    }
    let mut words = String::new();
    for name in names {
        let _ = writeln!(words, "\"{}\"", name.replace('\\', "\\\\"));
    }
    fs::write(dictionary, words)?;
    Ok(())
}
