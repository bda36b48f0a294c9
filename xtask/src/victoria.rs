//! `cargo xtask victoria`: a real cluster of VictoriaMetrics, whose programs are not among Debian's packages as its single one
//! is, built once from its public source.
//!
//! `tests/victoria` names the version. Its zstd is the one in Go, so that no C compiler is needed.

use std::path::PathBuf;

use crate::go::GoModule;

const MODULE: GoModule = GoModule {
    name: "victoria",
    source: &["go.mod"],
    packages: &[
        "github.com/VictoriaMetrics/VictoriaMetrics/app/vminsert",
        "github.com/VictoriaMetrics/VictoriaMetrics/app/vmselect",
        "github.com/VictoriaMetrics/VictoriaMetrics/app/vmstorage",
    ],
};

/// The folder with the programs, if they were built from what the source names now.
pub(crate) fn built() -> Option<PathBuf> {
    MODULE.is_built().then(|| MODULE.programs())
}

/// Builds them, unless they were built before. Takes a minute.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    MODULE.build(|build| {
        build.env("CGO_ENABLED", "0");
    })?;
    Ok(MODULE.programs())
}
