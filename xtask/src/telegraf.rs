//! `cargo xtask telegraf`: the real Telegraf with all its plugins, built once from its public source.
//!
//! `tests/telegraf` names the version.

use std::path::PathBuf;

use crate::go::GoModule;

const MODULE: GoModule = GoModule {
    name: "telegraf",
    source: &["go.mod"],
    packages: &["github.com/influxdata/telegraf/cmd/telegraf"],
};

/// The program, if it was built from what the source names now.
pub(crate) fn built() -> Option<PathBuf> {
    MODULE.is_built().then(|| MODULE.programs().join("telegraf"))
}

/// Builds it, unless it was built before. Takes a quarter of an hour of CPU time.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    MODULE.build(|_| ())?;
    Ok(MODULE.programs().join("telegraf"))
}
