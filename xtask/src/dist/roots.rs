//! Systems to install packages in: Debian's, by debootstrap, kept in target/roots.

use std::fs;
use std::path::PathBuf;

use crate::command::{command, run_quietly, workspace};
use crate::packages::mirror;

/// What a system has besides the least: an init, somewhere to write points to, and what else the checks use.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,libnss-systemd,influxdb,curl,rpm";

/// A Debian suite's system; made once.
pub(super) fn root(suite: &str) -> anyhow::Result<PathBuf> {
    let root = workspace().join("target/roots").join(suite);
    let list = root.with_extension("packages");
    if fs::read_to_string(&list).is_ok_and(|made_of| made_of.trim() == PACKAGES) {
        return Ok(root);
    }
    let partial = root.with_extension("partial");
    for old in [&root, &partial] {
        let _ = fs::remove_dir_all(old);
    }
    fs::create_dir_all(&partial)?;
    eprintln!("dist: making a system of Debian {suite}, which takes a minute");
    let log = root.with_extension("log");
    let mut debootstrap = command("debootstrap");
    debootstrap.args(["--variant=minbase", &format!("--include={PACKAGES}"), suite]).arg(&partial);
    run_quietly(debootstrap.arg(mirror()?).stdout(fs::File::create(log)?))?;
    // Installers write it, and debootstrap does not.
    fs::write(partial.join("etc/hosts"), "127.0.0.1 localhost\n")?;
    fs::rename(&partial, &root)?;
    fs::write(list, PACKAGES)?;
    Ok(root)
}
