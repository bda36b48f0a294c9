//! `cargo xtask vm provision`: `deploy/vagrant/provision.sh` on a Debian 12 of its own.
//!
//! debootstrap makes the system, Debian's cloud kernel boots it in QEMU with a disk and a network, and its systemd runs the
//! script as Vagrant would, but for the build: emulated, that takes hours, so the package is built here and given to it. Then
//! `provision-check.sh` looks for points in the database.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::machine::{BOOKWORM, Disk, Machine};
use crate::command::{command, output, run_quietly, workspace};
use crate::dist;
use crate::packages::{self, mirror};
use crate::platform::Platform;

const PROGRAMS: &[(&str, &str)] = &[("debootstrap", "debootstrap"), ("mkfs.ext4", "e2fsprogs")];
/// What a system has that boots by itself and is asked for its network.
const PACKAGES: &str =
    "ca-certificates,dbus,initramfs-tools,iproute2,linux-image-cloud-amd64,systemd-resolved,systemd-sysv";
/// Files of the system, by path.
const FILES: [(&str, &str); 4] = [
    ("etc/fstab", "/dev/nvme0n1 / ext4 defaults 0 1\n"),
    ("etc/hostname", "seismograf\n"),
    ("etc/systemd/network/any.network", "[Match]\nName=en* eth*\n[Network]\nDHCP=yes\n"),
    (
        "etc/systemd/system/check.service",
        "[Unit]\nAfter=multi-user.target network-online.target\nWants=network-online.target\n\
         [Service]\nType=oneshot\nStandardOutput=file:/dev/console\nStandardError=file:/dev/console\n\
         ExecStart=/bin/sh /vagrant/xtask/src/vm/provision-check.sh\nTimeoutStartSec=infinity\n\
         [Install]\nWantedBy=graphical.target\n",
    ),
];
/// Packages are installed there, by an emulated machine.
const LIMIT: Duration = Duration::from_secs(2_400);
/// The tree's parts that the script needs where it does not build.
const SOURCE: [&str; 2] = ["deploy", "xtask/src/vm/provision-check.sh"];

/// Makes the system, boots it, and checks what the script made of it.
pub(super) fn provision(directory: &Path) -> anyhow::Result<()> {
    packages::install(PROGRAMS)?;
    println!("-- provision.sh on Debian 12");
    let base = base(&directory.join("provision"))?;
    let disk = disk(directory, &base)?;
    let machine = Machine {
        platform: Platform::Amd64,
        kernel: &base.join("vmlinuz"),
        initramfs: &base.join("initrd.img"),
        disk: Disk::System(&disk),
        limit: LIMIT,
    };
    let passed = machine.boot("root=/dev/nvme0n1 rw")?;
    fs::remove_file(&disk)?;
    if passed.is_none() {
        bail!("provision.sh failed on Debian 12");
    }
    Ok(())
}

/// A root directory of Debian 12 that boots; made once for these packages.
fn base(directory: &Path) -> anyhow::Result<PathBuf> {
    let root = directory.join("root");
    let done = directory.join("done");
    if fs::read_to_string(&done).is_ok_and(|packages| packages == PACKAGES) {
        return Ok(root);
    }
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    fs::create_dir_all(&root)?;
    let mut debootstrap = command("debootstrap");
    debootstrap.args(["--variant=minbase", &format!("--include={PACKAGES}"), BOOKWORM]).arg(&root);
    let log = fs::File::create(directory.join("log"))?;
    debootstrap.arg(mirror()?).stdout(log.try_clone()?).stderr(log);
    run_quietly(&mut debootstrap).with_context(|| format!("see {}/log", directory.display()))?;
    for (path, text) in FILES {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap_or(&root))?;
        fs::write(path, text)?;
    }
    let enable = ["enable", "--quiet", "systemd-networkd", "systemd-resolved", "check"];
    run_quietly(command("chroot").arg(&root).arg("systemctl").args(enable))?;
    fs::write(done, PACKAGES)?;
    Ok(root)
}

/// That system on a disk, with the source and the package where Vagrant puts its folder.
fn disk(directory: &Path, base: &Path) -> anyhow::Result<PathBuf> {
    let package = dist::package()?;
    let root = directory.join("provision/with-source");
    let _ = fs::remove_dir_all(&root);
    // Links, since nothing of it is written to.
    run_quietly(command("cp").args(["-al"]).arg(base).arg(&root))?;
    let shared = root.join("vagrant");
    for part in SOURCE {
        let to = shared.join(part);
        fs::create_dir_all(to.parent().unwrap_or(&shared))?;
        run_quietly(command("cp").arg("-r").arg(workspace().join(part)).arg(&to))?;
    }
    fs::copy(&package, shared.join("seismograf.deb"))?;
    let disk = directory.join("provision/disk");
    let _ = fs::remove_file(&disk);
    output(command("mkfs.ext4").args(["-q", "-d"]).arg(&root).arg(&disk).arg("4G"))?;
    fs::remove_dir_all(&root)?;
    Ok(disk)
}
