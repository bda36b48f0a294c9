//! `cargo xtask vm`: the agent on other kernels.
//!
//! Debian's cloud kernels, by their own packages, boot under QEMU's emulation with an initramfs of busybox, the static agent and
//! the tests' worker. `vm/init.sh` does known work there and compares; this file brings the parts together.

mod systemd;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail};

use crate::build::{self, Profile};
use crate::command::{command, find, is_root, output, run_quietly, workspace};
use crate::packages::{self, is_debian};

/// The suites, and the Linux that each brings.
const SUITES: &[(&str, &str)] =
    &[("bullseye", "5.10"), ("bookworm", "6.1"), ("trixie", "6.12"), ("sid", "the newest")];
const PROGRAMS: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("cpio", "cpio"),
    ("xz", "xz-utils"),
];
/// What stands for the shipped unit under systemd among the suites.
const SYSTEMD: &str = "systemd";
/// Emulation is slow, but not that slow.
const LIMIT: &str = "240";

/// Boots each suite's kernel and checks the agent there.
pub(crate) fn vm(suites: &[String]) -> anyhow::Result<()> {
    packages::install(PROGRAMS)?;
    if !is_debian()
        || std::env::consts::ARCH != "x86_64"
        || PROGRAMS.iter().any(|(name, _)| find(name).is_none())
    {
        println!(
            "skipped: other kernels need Debian on x86_64 with qemu-system-x86, busybox-static and cpio"
        );
        return Ok(());
    }
    let directory = workspace().join("target/vm");
    if suites.is_empty() || suites.iter().any(|name| name == SYSTEMD) {
        systemd::systemd(&directory)?;
    }
    let initramfs = initramfs(&directory)?;
    let mut failed = Vec::new();
    for (suite, version) in SUITES {
        if !suites.is_empty() && !suites.iter().any(|name| name == suite) {
            continue;
        }
        println!("-- {suite}: Linux {version}");
        let start = Instant::now();
        let kernel = kernel(&directory.join(suite), suite)
            .with_context(|| format!("cannot get the kernel of {suite}"))?;
        if !boot(&kernel, &initramfs, &directory)? {
            failed.push(*suite);
        }
        println!("-- {suite}: {:.0} s", start.elapsed().as_secs_f64());
    }
    if !failed.is_empty() {
        bail!("failed on {}", failed.join(", "));
    }
    Ok(())
}

/// Everything that runs in the machine, as one archive.
fn initramfs(directory: &Path) -> anyhow::Result<PathBuf> {
    let agent = build::agent(Profile::Fast)?;
    let worker = build::tests()?;
    let root = directory.join("root");
    let _ = std::fs::remove_dir_all(&root);
    std::fs::create_dir_all(root.join("bin"))?;
    let busybox = find("busybox").context("busybox is not installed")?;
    for (from, to) in [(agent, "bin/seismograf"), (worker, "bin/work"), (busybox, "bin/busybox")] {
        std::fs::copy(&from, root.join(to)).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    std::fs::copy(workspace().join("xtask/src/vm/init.sh"), root.join("init"))?;
    run_quietly(command("chmod").arg("755").arg(root.join("init")))?;
    pack(&root, &directory.join("initramfs"))
}

/// A directory as an archive that the kernel starts from.
fn pack(root: &Path, archive: &Path) -> anyhow::Result<PathBuf> {
    let pack = format!("find . | cpio --quiet -o -H newc > '{}'", archive.display());
    run_quietly(command("sh").args(["-c", &pack]).current_dir(root))?;
    Ok(archive.to_owned())
}

/// A suite's cloud kernel; downloaded once.
fn kernel(directory: &Path, suite: &str) -> anyhow::Result<PathBuf> {
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

/// The package server that this machine uses.
fn mirror() -> anyhow::Result<String> {
    let script = "cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null; true";
    let text = output(command("sh").args(["-c", script]))?;
    let words = text.lines().filter(|line| line.starts_with("deb ") || line.starts_with("URIs:"));
    let uri = words
        .flat_map(str::split_whitespace)
        .find(|word| word.starts_with("http") && !word.contains("security"));
    uri.map(str::to_owned).context("no package server in /etc/apt")
}

/// Boots, shows what the machine reports about the agent, and returns whether it passed.
fn boot(kernel: &Path, initramfs: &Path, directory: &Path) -> anyhow::Result<bool> {
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
    qemu.args(["-append", "console=ttyS0 panic=-1 loglevel=3"]);
    qemu.arg("-drive").arg(format!("file={},format=raw,if=none,id=disk", disk.display()));
    qemu.args(["-device", "nvme,drive=disk,serial=seismograf"]);
    let mut child = qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
    let (mut passed, mut all) = (false, Vec::new());
    for line in BufReader::new(child.stdout.take().context("no output")?).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).trim_end().to_owned();
        if let Some(at) = line.find("vm: ") {
            println!("{}", &line[at..]);
            passed |= line.ends_with(": pass");
        }
        all.push(line);
    }
    let status = child.wait()?;
    if !passed {
        println!("{}", all[all.len().saturating_sub(60)..].join("\n"));
        println!("the machine ended with {status}");
    }
    Ok(passed)
}
