//! A machine in QEMU: Debian's kernels, an archive as its root, and what it prints.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::command::{command, is_root, output, run_quietly};
use crate::packages::mirror;

/// One of Debian's, by the kernel that it brings.
pub(super) struct Suite {
    pub(super) name: &'static str,
    pub(super) linux: &'static str,
    /// The kernel takes extensible schedulers; Debian's first one in its cloud kernels is later than Linux 6.12.
    pub(super) has_sched_ext: bool,
}

/// The suites.
pub(super) const SUITES: &[Suite] = &[
    Suite { name: "bullseye", linux: "5.10", has_sched_ext: false },
    Suite { name: "bookworm", linux: "6.1", has_sched_ext: false },
    Suite { name: "trixie", linux: "6.12", has_sched_ext: false },
    Suite { name: "sid", linux: "the newest", has_sched_ext: true },
];
/// Emulation is slow, but not that slow.
const LIMIT: &str = "400";
/// Emulated CPUs may see each other's changes of code too late, of which a kernel that patches itself dies at boot, now and
/// then. So it may try again, as long as nothing of ours has run.
const MAX_BOOTS: u32 = 3;

/// A directory as an archive that the kernel starts from.
pub(super) fn pack(root: &Path, archive: &Path) -> anyhow::Result<PathBuf> {
    let pack = format!("find . | cpio --quiet -o -H newc > '{}'", archive.display());
    run_quietly(command("sh").args(["-c", &pack]).current_dir(root))?;
    Ok(archive.to_owned())
}

/// A suite's cloud kernel; downloaded once.
pub(super) fn kernel(directory: &Path, suite: &str) -> anyhow::Result<PathBuf> {
    let image = directory.join("vmlinuz");
    if image.exists() {
        return Ok(image);
    }
    if !is_root() {
        bail!("needs root, for apt-get");
    }
    for part in ["lists/partial", "archives", "root"] {
        std::fs::create_dir_all(directory.join(part))?;
    }
    let sources = directory.join("sources.list");
    std::fs::write(&sources, format!("deb {} {suite} main\n", mirror()?))?;
    let apt = |program: &str| {
        let mut apt = command(program);
        let at = |part: &str| directory.join(part).display().to_string();
        for (key, value) in [
            ("Dir::Etc::sourcelist", at("sources.list")),
            ("Dir::Etc::sourceparts", "/dev/null".into()),
            ("Dir::State::lists", at("lists")),
            ("Dir::Cache::pkgcache", at("pkgcache.bin")),
            ("Dir::Cache::srcpkgcache", at("srcpkgcache.bin")),
            ("APT::Sandbox::User", "root".into()),
        ] {
            apt.arg("-o").arg(format!("{key}={value}"));
        }
        apt.current_dir(directory.join("archives")).stderr(Stdio::null());
        apt
    };
    run_quietly(apt("apt-get").args(["update", "-qq"]))?;
    let depends = |package: &str, prefix: &str| -> anyhow::Result<Option<String>> {
        let text = output(apt("apt-cache").args(["depends", package]))?;
        Ok(text.lines().find_map(|line| {
            let name = line.trim().strip_prefix("Depends: ")?;
            name.starts_with(prefix).then(|| name.to_owned())
        }))
    };
    let package =
        depends("linux-image-cloud-amd64", "linux-image")?.context("no cloud kernel in this suite")?;
    // The newest ones have the kernel in a package of its own.
    for package in [Some(package.clone()), depends(&package, "linux-binary")?].into_iter().flatten() {
        run_quietly(apt("apt-get").args(["download", "-qq", &package]))?;
    }
    let unpack = "for package in *.deb; do dpkg-deb -x \"$package\" ../root; done";
    run_quietly(command("sh").args(["-c", unpack]).current_dir(directory.join("archives")))?;
    let found =
        output(command("find").arg(directory.join("root")).args(["-name", "vmlinuz*", "-type", "f"]))?;
    let found = found.lines().next().context("no vmlinuz in the package")?;
    std::fs::copy(found, &image)?;
    for part in ["lists", "archives", "root"] {
        std::fs::remove_dir_all(directory.join(part))?;
    }
    Ok(image)
}

/// Boots, shows what the machine reports about the agent, and returns whether it passed.
pub(super) fn boot(kernel: &Path, initramfs: &Path, directory: &Path, options: &str) -> anyhow::Result<bool> {
    let mut reports = boot_once(kernel, initramfs, directory, options)?;
    for _ in 1..MAX_BOOTS {
        if reports.is_empty() {
            println!("the kernel did not come up; once more");
            reports = boot_once(kernel, initramfs, directory, options)?;
        }
    }
    Ok(reports.iter().any(|line| line.ends_with(": pass")))
}

/// Boots, and returns what the machine reported, which is nothing where its kernel died before it ran anything of ours.
fn boot_once(
    kernel: &Path,
    initramfs: &Path,
    directory: &Path,
    options: &str,
) -> anyhow::Result<Vec<String>> {
    let disk = directory.join("disk");
    run_quietly(command("truncate").args(["-s", "64M"]).arg(&disk))?;
    let mut qemu = Command::new("timeout");
    qemu.args([
        LIMIT,
        "qemu-system-x86_64",
        "-accel",
        "tcg",
        "-cpu",
        "max",
        "-smp",
        "2",
        "-m",
        "1024",
        "-nographic",
    ]);
    qemu.args(["-no-reboot", "-nic", "none", "-kernel"]).arg(kernel).arg("-initrd").arg(initramfs);
    qemu.args(["-append", &format!("console=ttyS0 panic=-1 loglevel=3 {options}")]);
    qemu.arg("-drive").arg(format!("file={},format=raw,if=none,id=disk", disk.display()));
    qemu.args(["-device", "nvme,drive=disk,serial=seismograf"]);
    let mut child = qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
    let (mut reports, mut all) = (Vec::new(), Vec::new());
    for line in BufReader::new(child.stdout.take().context("no output")?).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).trim_end().to_owned();
        if let Some(at) = line.find("vm: ") {
            println!("{}", &line[at..]);
            reports.push(line[at..].to_owned());
        }
        all.push(line);
    }
    let status = child.wait()?;
    if !reports.iter().any(|line| line.ends_with(": pass")) {
        println!("{}", all[all.len().saturating_sub(60)..].join("\n"));
        println!("the machine ended with {status}");
    }
    Ok(reports)
}
