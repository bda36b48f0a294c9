//! What the end-to-end tests take from package registries, of pinned versions: InfluxDB's client libraries, which write to the
//! agent, and for pages a library that finds barriers (axe-core) and one that draws graphs (uPlot). Into `target/clients`.
//!
//! Those of Go are linked into one program (`tests/it/clients/go`), which is built again when it has changed.

use std::process::{Command, Stdio};

use crate::command::{command, find, go, run_quietly, workspace};

/// Where they are, from the workspace's root.
const DIRECTORY: &str = "target/clients";
const PYTHON: &[&str] = &["influxdb==5.3.2", "influxdb-client==1.50.0"];
const NODE: &[&str] =
    &["influx@5.12.0", "@influxdata/influxdb-client@1.35.0", "axe-core@4.14.1", "uplot@1.6.32"];

/// Installs those that are missing. Where that does not work, the tests that need them skip, and say so.
pub(crate) fn install() {
    let directory = workspace().join(DIRECTORY);
    let python = directory.join("python");
    if !python.join("influxdb_client").exists() && find("python3").is_some() {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        report(pip.args(["--root-user-action=ignore", "--target"]).arg(&python).args(PYTHON));
    }
    let name = |package: &&str| package.rsplit_once('@').map_or(*package, |(name, _)| name).to_owned();
    let is_there = |package| directory.join("node_modules").join(name(package)).exists();
    if !NODE.iter().all(is_there) && find("npm").is_some() {
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]);
        report(npm.arg(&directory).args(NODE));
    }
    let source = workspace().join("tests/it/clients/go");
    if let Ok(go) = go() {
        let mut build = command(go);
        build.current_dir(source).env("GOTOOLCHAIN", "local");
        build.args(["build", "-mod=readonly", "-buildvcs=false", "-o"]);
        report(build.arg(directory.join("go")).arg("."));
    }
}

fn report(command: &mut Command) {
    if let Err(error) = run_quietly(command.stdin(Stdio::null())) {
        eprintln!("the tests that need it will skip: {error:#}");
    }
}
