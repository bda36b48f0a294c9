//! `cargo xtask influxd2`: a real InfluxDB 2, which is not among Debian's packages, built once from its public source.
//!
//! `tests/influxd2` names the version. Its query engine is a Rust library that InfluxData's own `pkg-config` builds, whose code
//! denies the warnings of newer compilers: `rustc.sh` allows them.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::command::{command, go, run_quietly, workspace};

/// The program, once it is built.
fn program() -> PathBuf {
    workspace().join("target/influxd2/influxd")
}

/// The program, if it was built from what the source names now.
pub(crate) fn built() -> Option<PathBuf> {
    let is_current = std::fs::read(built_from()).ok()? == source().ok()?;
    is_current.then(program)
}

fn built_from() -> PathBuf {
    workspace().join("target/influxd2/built-from")
}

fn source() -> anyhow::Result<Vec<u8>> {
    let path = workspace().join("tests/influxd2/go.mod");
    std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Builds it, unless it was built before. Takes some minutes, and as long again for what it downloads.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    if let Some(program) = built() {
        return Ok(program);
    }
    let go = go()?;
    let (directory, target) = (workspace().join("tests/influxd2"), workspace().join("target/influxd2"));
    std::fs::create_dir_all(&target)?;
    let pkg_config = target.join("pkg-config");
    let build = |output: &PathBuf, package: &str| {
        let mut build = command(&go);
        build.current_dir(&directory).args(["build", "-mod=readonly", "-buildvcs=false", "-trimpath"]);
        build.args(["-ldflags", "-s -w", "-o"]).arg(output).arg(package).env("GOTOOLCHAIN", "local");
        build
    };
    run_quietly(&mut build(&pkg_config, "github.com/influxdata/pkg-config"))?;
    let mut server = build(&program(), "github.com/influxdata/influxdb/v2/cmd/influxd");
    server.env("PKG_CONFIG", &pkg_config).env("RUSTUP_TOOLCHAIN", "stable");
    run_quietly(server.env("RUSTC_WRAPPER", directory.join("rustc.sh")))?;
    std::fs::write(built_from(), source()?)?;
    Ok(program())
}
