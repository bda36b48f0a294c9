//! Helm, for the chart's tests: built once with Go from a module of its own, `tests/helm`, which names the version.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;

use crate::command::{command, go, run_quietly, workspace};

/// The program, once it is built.
fn program() -> PathBuf {
    workspace().join("target/helm/helm")
}

fn built_from() -> PathBuf {
    workspace().join("target/helm/built-from")
}

fn source() -> anyhow::Result<Vec<u8>> {
    let path = workspace().join("tests/helm/go.mod");
    std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// The program, if it was built from what the source names now.
pub(crate) fn built() -> Option<PathBuf> {
    let is_current = std::fs::read(built_from()).ok()? == source().ok()?;
    is_current.then(program)
}

/// Builds it, unless it was built before.
pub(crate) fn build() -> anyhow::Result<()> {
    if built().is_some() {
        return Ok(());
    }
    let start = Instant::now();
    eprintln!("Helm is being built, once, which takes some minutes");
    let mut build = command(go()?);
    build.current_dir(workspace().join("tests/helm")).env("CGO_ENABLED", "0").env("GOTOOLCHAIN", "local");
    build.args(["build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w", "-o"]);
    run_quietly(build.arg(program()).arg("helm.sh/helm/v4/cmd/helm"))?;
    std::fs::write(built_from(), source()?)?;
    eprintln!("Helm: built in {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}
