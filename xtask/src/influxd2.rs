//! `cargo xtask influxd2`: a real InfluxDB 2, which is not among Debian's packages, built once from its public source.
//!
//! `tests/influxd2` names the version. Its query engine is a Rust library that InfluxData's own `pkg-config` builds, whose code
//! denies the warnings of newer compilers: `rustc.sh` allows them.

use std::path::PathBuf;

use crate::command::run_quietly;
use crate::go::GoModule;

const MODULE: GoModule = GoModule {
    name: "influxd2",
    source: &["go.mod"],
    packages: &["github.com/influxdata/influxdb/v2/cmd/influxd"],
};

/// The program, if it was built from what the source names now.
pub(crate) fn built() -> Option<PathBuf> {
    MODULE.is_built().then(|| MODULE.programs().join("influxd"))
}

/// Builds it, unless it was built before. Takes some minutes, and as long again for what it downloads.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    if built().is_none() {
        run_quietly(&mut MODULE.command(&["github.com/influxdata/pkg-config"])?)?;
    }
    MODULE.build(|build| {
        build.env("PKG_CONFIG", MODULE.programs().join("pkg-config")).env("RUSTUP_TOOLCHAIN", "stable");
        build.env("RUSTC_WRAPPER", MODULE.folder().join("rustc.sh"));
    })?;
    Ok(MODULE.programs().join("influxd"))
}
