//! InfluxDB's client libraries, which the end-to-end tests have write to the agent: into `target/clients`, of pinned versions.
//!
//! Those of Go are linked into one program (`tests/it/clients/go`), which is built again when it has changed.

use std::process::{Command, Stdio};

use crate::command::{command, find, go, run_quietly, workspace};

/// Where they are, from the workspace's root.
const DIRECTORY: &str = "target/clients";
const PYTHON: &[&str] = &["influxdb==5.3.2", "influxdb-client==1.50.0"];
const NODE: &[&str] = &["influx@5.12.0", "@influxdata/influxdb-client@1.35.0"];

/// Installs those that are missing. Where that does not work, the tests that need them skip, and say so.
pub(crate) fn install() {
    let directory = workspace().join(DIRECTORY);
    let python = directory.join("python");
    if !python.join("influxdb_client").exists() && find("python3").is_some() {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        report(pip.args(["--root-user-action=ignore", "--target"]).arg(&python).args(PYTHON));
    }
    if !directory.join("node_modules/influx").exists() && find("npm").is_some() {
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
        eprintln!("the tests with InfluxDB's clients will skip: {error:#}");
    }
}
