//! `cargo xtask telegraf`: the real Telegraf with all its plugins, built once from its public source.
//!
//! `tests/telegraf` names the version.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::command::{command, go, run_quietly, workspace};

/// The program, once it is built.
fn program() -> PathBuf {
    workspace().join("target/telegraf/telegraf")
}

/// The program, if it was built from what the source names now.
pub(crate) fn built() -> Option<PathBuf> {
    let is_current = std::fs::read(built_from()).ok()? == source().ok()?;
    is_current.then(program)
}

fn built_from() -> PathBuf {
    workspace().join("target/telegraf/built-from")
}

fn source() -> anyhow::Result<Vec<u8>> {
    let path = workspace().join("tests/telegraf/go.mod");
    std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Builds it, unless it was built before. Takes a quarter of an hour of CPU time.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    if let Some(program) = built() {
        return Ok(program);
    }
    let mut build = command(go()?);
    build.current_dir(workspace().join("tests/telegraf")).env("GOTOOLCHAIN", "local");
    build.args(["build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w", "-o"]);
    run_quietly(build.arg(program()).arg("github.com/influxdata/telegraf/cmd/telegraf"))?;
    std::fs::write(built_from(), source()?)?;
    Ok(program())
}
