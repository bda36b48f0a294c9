//! `cargo xtask vm`: the agent on other kernels.
//!
//! Debian's cloud kernels, by their own packages, boot under QEMU's emulation with an initramfs of busybox, the static agent and
//! the tests' worker. `vm/init.sh` does known work there and compares; this file brings the parts together.

mod machine;
mod systemd;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, bail};

use self::machine::{SUITES, Suite, boot, kernel, pack};
use crate::build::{self, Profile};
use crate::command::{command, find, run_quietly, workspace};
use crate::packages::{self, is_debian};

const PROGRAMS: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("cpio", "cpio"),
    ("xz", "xz-utils"),
];
/// What each kernel is told at boot, one machine after the other: nothing, that not even root may read its memory, and, where it
/// can, that an extensible scheduler is to be there.
const BOOTS: [&str; 3] = ["", "lockdown=confidentiality", "sched_ext"];
/// What stands for the shipped unit under systemd among the suites.
const SYSTEMD: &str = "systemd";

/// The suites that there is time for among all the tests: the oldest kernel, whose verifier takes least, and the newest.
const AMONG_ALL_TESTS: [&str; 2] = ["bullseye", "sid"];

/// Boots each suite's kernel and checks the agent there; all of them, also under lockdown, or what there is time for among all
/// the tests.
pub(crate) fn vm(suites: &[String], is_all: bool) -> anyhow::Result<()> {
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
    if is_all && (suites.is_empty() || suites.iter().any(|name| name == SYSTEMD)) {
        systemd::systemd(&directory)?;
    }
    let initramfs = initramfs(&directory)?;
    let mut failed = Vec::new();
    for Suite { name, linux, has_sched_ext } in SUITES {
        let is_named = suites.is_empty() || suites.iter().any(|suite| suite == name);
        if !is_named || !(is_all || AMONG_ALL_TESTS.contains(name)) {
            continue;
        }
        println!("-- {name}: Linux {linux}");
        let start = Instant::now();
        let kernel = kernel(&directory.join(name), name)
            .with_context(|| format!("cannot get the kernel of {name}"))?;
        let boots = match (is_all, has_sched_ext) {
            (false, _) => &BOOTS[..1],
            (true, false) => &BOOTS[..2],
            (true, true) => &BOOTS[..],
        };
        for options in boots {
            if !boot(&kernel, &initramfs, &directory, options)? {
                failed.push(*name);
            }
        }
        println!("-- {name}: {:.0} s", start.elapsed().as_secs_f64());
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
