//! Helm, for the chart's tests: built once with Go from a module of its own, `tests/helm`, which names the version.

use std::path::PathBuf;
use std::time::Instant;

use crate::go::GoModule;

const MODULE: GoModule =
    GoModule { name: "helm", source: &["go.mod"], packages: &["helm.sh/helm/v4/cmd/helm"] };

/// The program, if it was built from what the source names now.
pub(crate) fn built() -> Option<PathBuf> {
    MODULE.is_built().then(|| MODULE.programs().join("helm"))
}

/// Builds it, unless it was built before.
pub(crate) fn build() -> anyhow::Result<()> {
    if built().is_some() {
        return Ok(());
    }
    let start = Instant::now();
    eprintln!("Helm is being built, once, which takes some minutes");
    MODULE.build(|build| {
        build.env("CGO_ENABLED", "0");
    })?;
    eprintln!("Helm: built in {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}
