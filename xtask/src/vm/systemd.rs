//! `cargo xtask vm systemd`: the shipped unit under a real systemd.
//!
//! The machine's own systemd, journald and their libraries, with the agent and `deploy/systemd/seismograf.service`, are the
//! whole system. `systemd.sh` starts, reloads and refuses there, and prints what it found.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::machine::{BOOKWORM, Disk, LIMIT, Machine, kernel, pack};
use crate::build::{self, Profile};
use crate::command::{command, find, output, run_quietly, workspace};
use crate::platform::Platform;

const PROGRAMS: [&str; 4] = [
    "/usr/lib/systemd/systemd",
    "/usr/lib/systemd/systemd-journald",
    "/usr/bin/systemctl",
    "/usr/bin/journalctl",
];
/// Gives users that systemd made up their names.
const NAMES: &str = "/lib/x86_64-linux-gnu/libnss_systemd.so.2";
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
/// Systemd's own units that there is a use for.
const UNITS: [&str; 14] = [
    "basic.target",
    "sysinit.target",
    "sockets.target",
    "paths.target",
    "timers.target",
    "slices.target",
    "shutdown.target",
    "umount.target",
    "final.target",
    "poweroff.target",
    "systemd-poweroff.service",
    "multi-user.target",
    "systemd-journald.socket",
    "systemd-journald-dev-log.socket",
];
/// Files of the system, by path.
const FILES: [(&str, &str); 8] = [
    ("etc/passwd", "root:x:0:0::/root:/bin/sh\n"),
    ("etc/group", "root:x:0:\ndocker:x:4711:\nsystemd-journal:x:999:\n"),
    ("etc/nsswitch.conf", "passwd: files systemd\ngroup: files systemd\n"),
    ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
    (
        "etc/systemd/system/default.target",
        "[Unit]\nRequires=check.service\nAfter=check.service\nAllowIsolate=yes\n",
    ),
    (
        "etc/systemd/system/check.service",
        "[Unit]\nRequires=systemd-journald.socket\nAfter=basic.target systemd-journald.socket\n\
         [Service]\nType=oneshot\nStandardOutput=file:/dev/console\nStandardError=file:/dev/console\n\
         ExecStart=/bin/busybox sh /check.sh\nTimeoutStartSec=infinity\n",
    ),
    (
        // The distribution's has a sandbox that needs more of a system than there is here.
        "etc/systemd/system/systemd-journald.service",
        "[Unit]\nDefaultDependencies=no\nRequires=systemd-journald.socket\nAfter=systemd-journald.socket\n\
         [Service]\nType=notify\nExecStart=/usr/lib/systemd/systemd-journald\nFileDescriptorStoreMax=99\n\
         Sockets=systemd-journald.socket systemd-journald-dev-log.socket\n",
    ),
    (
        // The first root cannot be left; a copy of it can.
        "init",
        "#!/bin/busybox sh\n/bin/busybox mount -t tmpfs -o size=80% root /newroot\n\
         for d in bin usr etc lib lib64 check.sh; do /bin/busybox cp -a /$d /newroot/; done\n\
         cd /newroot && /bin/busybox mkdir -p proc sys dev run tmp var/log var/lib root\n\
         /bin/busybox chroot /newroot /bin/busybox --install -s /bin\n\
         exec /bin/busybox switch_root /newroot /usr/lib/systemd/systemd\n",
    ),
];

/// Why it cannot run here.
fn unavailable() -> Option<String> {
    let missing = PROGRAMS.into_iter().chain([NAMES]).find(|program| !Path::new(program).exists())?;
    Some(format!(
        "the unit under a real systemd: there is no {missing} here (package systemd, libnss-systemd)"
    ))
}

/// Boots, and checks the shipped unit.
pub(super) fn systemd(directory: &Path) -> anyhow::Result<()> {
    if let Some(reason) = unavailable() {
        println!("skipped: {reason}");
        return Ok(());
    }
    let version = output(command("systemctl").arg("--version"))?;
    println!("-- {}", version.lines().next().unwrap_or_default());
    let platform = Platform::host();
    let kernel = kernel(&directory.join(BOOKWORM), BOOKWORM, platform)?;
    let (initramfs, disk) = (&initramfs(directory)?, Disk::Scratch(directory));
    let machine = Machine { platform, kernel: &kernel, initramfs, disk, limit: LIMIT };
    if machine.boot("")?.is_none() {
        bail!("the unit failed under systemd");
    }
    Ok(())
}

fn initramfs(directory: &Path) -> anyhow::Result<PathBuf> {
    let root = directory.join("root-systemd");
    let _ = fs::remove_dir_all(&root);
    let copy = |from: &Path, to: &str| -> anyhow::Result<()> {
        let to = root.join(to.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap_or(&root))?;
        fs::copy(from, &to).map(drop).with_context(|| format!("cannot copy {}", from.display()))
    };
    let mut libraries = BTreeSet::from([NAMES.to_owned(), LOADER.to_owned()]);
    for program in PROGRAMS.into_iter().chain([NAMES]) {
        let needed = output(command("ldd").arg(program))?;
        libraries.extend(needed.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned));
    }
    for path in PROGRAMS.into_iter().chain(libraries.iter().map(String::as_str)) {
        copy(Path::new(path), path)?;
    }
    for unit in UNITS {
        let path = format!("/usr/lib/systemd/system/{unit}");
        copy(Path::new(&path), &path)?;
    }
    copy(&build::agent(Profile::Fast, Platform::host())?, "usr/bin/seismograf")?;
    copy(&find("busybox").context("busybox is not installed")?, "bin/busybox")?;
    copy(&workspace().join("xtask/src/vm/systemd.sh"), "check.sh")?;
    let unit = "etc/systemd/system/seismograf.service";
    copy(&workspace().join("deploy/systemd/seismograf.service"), unit)?;
    for (path, text) in FILES {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap_or(&root))?;
        fs::write(path, text)?;
    }
    for empty in ["newroot", "proc", "sys", "dev", "run", "tmp", "etc/seismograf"] {
        fs::create_dir_all(root.join(empty))?;
    }
    run_quietly(command("chmod").arg("755").arg(root.join("init")))?;
    pack(&root, &directory.join("initramfs-systemd"))
}
