//! `cargo xtask fuzz`: the parsers of bytes that others write, by libFuzzer.
//!
//! The targets are the agent's own (`agent/src/fuzzing.rs`), one program has them all. It is built by the stable toolchain, with
//! the counters that libFuzzer goes by; the address sanitizer needs a nightly one. What is found is left below
//! `agent/fuzz/artifacts`, and the inputs that are kept below `agent/fuzz/corpus`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::command::{command, find, output, run};

const FUZZ: &str = "agent/fuzz";
/// The targets' names are those of its table.
const TARGETS: &str = "agent/src/fuzzing.rs";
/// The paths that the tests of the parser know.
const PATHS: &str = "agent/testdata/cgroup-paths.txt";
/// Build scripts run without the flags, because they are built for the host and the rest for this.
const TRIPLE: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };
const COUNTERS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

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
    /// Build the targets in the quickest way, and run none.
    #[arg(long)]
    build: bool,
    /// With the address sanitizer, by rustup's nightly toolchain.
    #[arg(long)]
    sanitize: bool,
}

/// Fuzzes.
pub(crate) fn fuzz(args: &FuzzArgs) -> anyhow::Result<()> {
    if args.build {
        return check();
    }
    if find("c++").is_none() {
        bail!("libFuzzer needs a C++ compiler: apt-get install g++");
    }
    let known = targets()?;
    let targets: Vec<&str> = match &args.target {
        Some(target) if known.contains(target) => vec![target],
        Some(target) => bail!("there is no target {target}: it is one of {}", known.join(", ")),
        None => known.iter().map(String::as_str).collect(),
    };
    let program = build(args.sanitize)?;
    let end = args.runs.map_or(format!("-max_total_time={}", args.seconds), |runs| format!("-runs={runs}"));
    for target in targets {
        let start = Instant::now();
        let corpus = Path::new(FUZZ).join("corpus").join(target);
        let artifacts = Path::new(FUZZ).join("artifacts").join(target);
        for directory in [&corpus, &artifacts] {
            fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let mut fuzz = command(&program);
        fuzz.env("SEISMOGRAF_FUZZ_TARGET", target).env("SEISMOGRAF_FUZZ_SEEDS", &corpus);
        fuzz.args([&end, "-max_len=1024", "-timeout=10", "-verbosity=0", "-print_final_stats=1"]);
        fuzz.arg(format!("-artifact_prefix={}/", artifacts.display()));
        match target {
            "cgroup_path" => {
                let dictionary = corpus.with_extension("dict");
                seed_paths(&corpus, &dictionary)?;
                fuzz.arg(format!("-dict={}", dictionary.display()));
            }
            "exposition" => seed_texts(&corpus, "agent/testdata/prometheus", "metrics.gz")?,
            "line_protocol" => seed_texts(&corpus, "agent/testdata/prometheus", "lp.gz")?,
            "config" => drop(fs::copy("agent/src/config/default.conf", corpus.join("seed"))?),
            _ => {}
        }
        run(fuzz.arg(&corpus)).with_context(|| format!("the target {target} found something"))?;
        println!("-- {target}: {:.0} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// The names in the table of targets.
fn targets() -> anyhow::Result<Vec<String>> {
    let table = fs::read_to_string(TARGETS).with_context(|| format!("cannot read {TARGETS}"))?;
    Ok(names(&table))
}

fn names(table: &str) -> Vec<String> {
    let calls = table.split("target(").skip(1);
    calls
        .filter_map(|call| Some(call.trim_start().strip_prefix('"')?.split_once('"')?.0.to_owned()))
        .collect()
}

/// Compiles the program without the counters, to see that it can be built. Its targets are run over their seeds by the unit tests.
pub(crate) fn check() -> anyhow::Result<()> {
    if find("c++").is_none() {
        println!("skipped: the fuzz targets are not compiled: libFuzzer needs a C++ compiler (g++)");
        return Ok(());
    }
    let mut build = command("cargo");
    build.args(["check", "--quiet", "--target-dir", "target", "--manifest-path"]);
    run(build.arg(Path::new(FUZZ).join("Cargo.toml")))
}

/// Builds the program with all targets.
fn build(is_sanitized: bool) -> anyhow::Result<PathBuf> {
    let directory = Path::new("target/fuzz").join(if is_sanitized { "nightly" } else { "stable" });
    let mut build: Command = command("cargo");
    let mut flags = COUNTERS.to_owned();
    if is_sanitized {
        build.env_remove("RUSTUP_TOOLCHAIN").arg("+nightly");
        flags += " -Zsanitizer=address";
    }
    build
        .args(["build", "--quiet", "--release", "--target", TRIPLE, "--manifest-path"])
        .arg(Path::new(FUZZ).join("Cargo.toml"));
    run(build.arg("--target-dir").arg(&directory).env("RUSTFLAGS", flags))?;
    Ok(directory.join(TRIPLE).join("release/seismograf-fuzz"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_table() {
        let table = "target(\n  \"a\", x), target(\"b\", y)\nconst fn target(name: &str) { target.seeds }";
        assert_eq!(names(table), ["a", "b"]);
    }
}
