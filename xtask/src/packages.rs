//! Debian packages: which programs are missing, and how they are installed.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::command::{command, find, is_root, output, run};

/// Installs the Debian packages of programs that are missing; elsewhere the tests that need them skip, and say so.
pub(crate) fn install(programs: &[(&str, &str)]) -> anyhow::Result<()> {
    let mut packages: Vec<&str> =
        programs.iter().filter(|(program, _)| find(program).is_none()).map(|(_, package)| *package).collect();
    packages.dedup();
    if !packages.is_empty() && is_debian() && is_root() {
        eprintln!("the tests need {}: installing", packages.join(", "));
        apt_install(&packages)?;
    }
    Ok(())
}

/// Whether packages come from `apt-get` here.
pub(crate) fn is_debian() -> bool {
    Path::new("/etc/debian_version").exists() && find("apt-get").is_some()
}

/// Installs Debian packages, after one look for newer lists.
pub(crate) fn apt_install(packages: &[&str]) -> anyhow::Result<()> {
    static UPDATED: std::sync::Once = std::sync::Once::new();
    UPDATED.call_once(|| {
        let _ = run(Command::new("apt-get").args(["update", "-qq"]).stdin(Stdio::null()));
    });
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages);
    install.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).stdout(Stdio::null());
    run(&mut install)
}

/// The package server that this machine uses.
pub(crate) fn mirror() -> anyhow::Result<String> {
    let script = "cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null; true";
    let text = output(command("sh").args(["-c", script]))?;
    let words = text.lines().filter(|line| line.starts_with("deb ") || line.starts_with("URIs:"));
    let uri = words
        .flat_map(str::split_whitespace)
        .find(|word| word.starts_with("http") && !word.contains("security"));
    uri.map(str::to_owned).context("no package server in /etc/apt")
}
