//! `cargo xtask vm`: the agent on other kernels.
//!
//! Debian's cloud kernels, by their own packages, boot under QEMU's emulation with an initramfs of busybox, the static agent and
//! the tests' worker. `vm/init.sh` lays out the machine and has `vm/figures.sh` do known work there and compare, or
//! `vm/no_btf.sh` look at what is left without BTF; this file says which kernel is booted how, and brings the parts together.

mod idle;
mod machine;
mod matrix;
mod provision;
mod systemd;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, bail};

use self::machine::{BOOKWORM, Disk, LIMIT, Machine, busybox, kernel, pack};
use self::matrix::Cell;
use crate::build::{self, Profile};
use crate::command::{command, find, run_quietly, workspace};
use crate::packages::{self, is_debian};
use crate::platform::Platform;

const PROGRAMS: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("cpio", "cpio"),
    ("xz", "xz-utils"),
];
/// What the other architecture takes besides.
const ARM_PROGRAMS: &[(&str, &str)] = &[("qemu-system-aarch64", "qemu-system-arm")];
/// What stands for the shipped unit under systemd among the suites.
const SYSTEMD: &str = "systemd";
/// And for Vagrant's script.
const PROVISION: &str = "provision";
/// And for an idle CPU, at which an hour is looked.
const IDLE: &str = "idle";

/// What is booted.
#[derive(clap::Args)]
pub(crate) struct VmArgs {
    /// Debian suites, such as bullseye or bookworm-arm64, `systemd` for the shipped unit under it, and `provision` for
    /// Vagrant's script; without one, all of them. docs/kernels.md has the results then. `idle` looks for an hour at what
    /// interrupts an idle CPU, and runs only when it is named.
    kernels: Vec<String>,
    /// Only with these on the kernel's command line, such as layout=v1, no_btf or "" for nothing.
    #[arg(long)]
    boot: Vec<String>,
}

/// A suite of Debian on a platform, by the kernel that it brings, and how that is booted.
struct Kernel {
    suite: &'static str,
    linux: &'static str,
    platform: Platform,
    boots: &'static [Boot],
    /// Of these, the ones that there is time for among all the tests: of the oldest kernel, whose verifier takes least, and of
    /// the newest.
    among_all_tests: &'static [Boot],
}

/// How a kernel is booted: on its command line, where `init.sh` reads it too.
type Boot = &'static str;

/// With cgroup v2 alone, and nothing said.
const PLAIN: Boot = "";
const V1: Boot = "layout=v1";
const HYBRID: Boot = "layout=hybrid";
/// Nobody may change the running kernel, root included; what Secure Boot does at most distributions.
const INTEGRITY: Boot = "lockdown=integrity";
/// Nor read its memory.
const CONFIDENTIALITY: Boot = "lockdown=confidentiality";
/// Without type information of the kernel.
const NO_BTF: Boot = "no_btf";
/// With an extensible scheduler; Debian's first cloud kernel that takes one is later than Linux 6.12.
const SCHED_EXT: Boot = "sched_ext";

/// CPU time by the kernel's own sums, where it goes over them in one pass: since Linux 6.1.
const CPU_KERNEL: Boot = "cpu_kernel";

const ALL: &[Boot] = &[PLAIN, V1, HYBRID, INTEGRITY, CONFIDENTIALITY, NO_BTF, CPU_KERNEL];
const WITH_SCHED_EXT: &[Boot] =
    &[PLAIN, V1, HYBRID, INTEGRITY, CONFIDENTIALITY, NO_BTF, CPU_KERNEL, SCHED_EXT];
const ON_ARM: &[Boot] = &[PLAIN, HYBRID, CONFIDENTIALITY, CPU_KERNEL];

/// All kernels.
const KERNELS: &[Kernel] = &[
    Kernel {
        suite: "bullseye",
        linux: "5.10",
        platform: Platform::Amd64,
        boots: ALL,
        among_all_tests: &[PLAIN],
    },
    Kernel { suite: BOOKWORM, linux: "6.1", platform: Platform::Amd64, boots: ALL, among_all_tests: &[] },
    Kernel { suite: "trixie", linux: "6.12", platform: Platform::Amd64, boots: ALL, among_all_tests: &[] },
    Kernel {
        suite: "sid",
        linux: "the newest",
        platform: Platform::Amd64,
        boots: WITH_SCHED_EXT,
        among_all_tests: &[PLAIN, CPU_KERNEL],
    },
    Kernel { suite: BOOKWORM, linux: "6.1", platform: Platform::Arm64, boots: ON_ARM, among_all_tests: &[] },
    Kernel { suite: "trixie", linux: "6.12", platform: Platform::Arm64, boots: ON_ARM, among_all_tests: &[] },
];

impl Kernel {
    /// What it is called on the command line, and its directory.
    fn name(&self) -> String {
        match self.platform {
            Platform::Amd64 => self.suite.to_owned(),
            Platform::Arm64 => format!("{}-arm64", self.suite),
        }
    }
}

/// Boots each kernel in each way and checks the agent there; then `docs/kernels.md` has what they reported.
pub(crate) fn vm(VmArgs { kernels: names, boot: only }: &VmArgs) -> anyhow::Result<()> {
    if let Some(reason) = unavailable() {
        bail!("{reason}");
    }
    packages::install(ARM_PROGRAMS)?;
    let known = KERNELS
        .iter()
        .map(Kernel::name)
        .chain([SYSTEMD, PROVISION, IDLE].map(str::to_owned))
        .collect::<Vec<_>>();
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        bail!("there is no kernel {unknown:?}; there are {}", known.join(", "));
    }
    let is_named = |name: &str| names.is_empty() || names.iter().any(|named| named == name);
    if is_named(SYSTEMD) {
        systemd::systemd(&directory())?;
    }
    if is_named(PROVISION) {
        provision::provision(&directory())?;
    }
    if names.iter().any(|name| name == IDLE) {
        idle::idle(&directory(), &initramfs(&directory(), idle::PLATFORM)?)?;
    }
    let kernels: Vec<&Kernel> = KERNELS.iter().filter(|kernel| is_named(&kernel.name())).collect();
    let is_wanted = |boot: &&Boot| only.is_empty() || only.iter().any(|wanted| wanted == *boot);
    let cells = boot(&kernels, |kernel| kernel.boots.iter().filter(is_wanted).copied().collect())?;
    if cells.is_empty() { Ok(()) } else { matrix::write(&cells) }
}

/// Boots what there is time for among all the tests, or says why not.
pub(crate) fn among_all_tests() -> anyhow::Result<()> {
    if let Some(reason) = unavailable() {
        println!("skipped: {reason}");
        return Ok(());
    }
    let kernels: Vec<&Kernel> = KERNELS.iter().filter(|kernel| !kernel.among_all_tests.is_empty()).collect();
    boot(&kernels, |kernel| kernel.among_all_tests.to_vec()).map(drop)
}

/// Why no machine can be booted here.
fn unavailable() -> Option<String> {
    if let Err(error) = packages::install(PROGRAMS) {
        return Some(format!("{error:#}"));
    }
    let is_missing = PROGRAMS.iter().any(|(name, _)| find(name).is_none());
    (!is_debian() || Platform::host() != Platform::Amd64 || is_missing)
        .then(|| "other kernels need Debian on x86_64 with qemu-system-x86, busybox-static and cpio".into())
}

fn directory() -> PathBuf {
    workspace().join("target/vm")
}

/// Boots these, each in so many ways. Returns what they reported, where all passed.
fn boot(kernels: &[&Kernel], boots: impl Fn(&Kernel) -> Vec<Boot>) -> anyhow::Result<Vec<Cell>> {
    let directory = directory();
    let (mut cells, mut failed) = (Vec::new(), Vec::new());
    for platform in [Platform::Amd64, Platform::Arm64] {
        let mut kernels = kernels.iter().filter(|kernel| kernel.platform == platform).peekable();
        if kernels.peek().is_none() {
            continue;
        }
        let initramfs = &initramfs(&directory, platform)?;
        for which in kernels {
            let Kernel { suite, linux, .. } = which;
            println!("-- {}: Linux {linux}", which.name());
            let start = Instant::now();
            let kernel = &kernel(&directory.join(which.name()), suite, platform)
                .with_context(|| format!("cannot get the kernel of {}", which.name()))?;
            let machine =
                Machine { platform, kernel, initramfs, disk: Disk::Scratch(&directory), limit: LIMIT };
            for options in boots(which) {
                match machine.boot(options)? {
                    Some(reports) => cells.push(Cell::new(suite, platform, options, &reports)?),
                    None => failed.push(format!("{} {options}", which.name()).trim_end().to_owned()),
                }
            }
            println!("-- {}: {:.0} s", which.name(), start.elapsed().as_secs_f64());
        }
    }
    if !failed.is_empty() {
        bail!("failed on {}", failed.join(", "));
    }
    Ok(cells)
}

/// Everything that runs in the machine, as one archive.
fn initramfs(directory: &Path, platform: Platform) -> anyhow::Result<PathBuf> {
    let agent = build::agent(Profile::Fast, platform)?;
    let worker = build::tests(platform)?;
    let root = directory.join(format!("root-{}", platform.architecture()));
    let _ = std::fs::remove_dir_all(&root);
    std::fs::create_dir_all(root.join("bin"))?;
    let busybox = if platform == Platform::host() {
        find("busybox").context("busybox is not installed")?
    } else {
        busybox(&directory.join(platform.architecture()), platform)?
    };
    let scripts = workspace().join("xtask/src/vm");
    let files = [
        (agent, "bin/seismograf"),
        (worker, "bin/work"),
        (busybox, "bin/busybox"),
        (scripts.join("init.sh"), "init"),
        (scripts.join("figures.sh"), "figures.sh"),
        (scripts.join("no_btf.sh"), "no_btf.sh"),
        (scripts.join("idle.sh"), "idle.sh"),
    ];
    for (from, to) in files {
        std::fs::copy(&from, root.join(to)).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    run_quietly(command("chmod").arg("755").arg(root.join("init")))?;
    pack(&root, &directory.join(format!("initramfs-{}", platform.architecture())))
}
