//! A machine in QEMU: Debian's kernels, an archive as its root, and what it prints.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::command::{command, is_root, output, run_quietly};
use crate::packages::mirror;
use crate::platform::Platform;

/// The suite of Debian 12.
pub(super) const BOOKWORM: &str = "bookworm";
/// Emulation is slow, but not that slow.
pub(super) const LIMIT: Duration = Duration::from_secs(600);
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
pub(super) fn kernel(directory: &Path, suite: &str, platform: Platform) -> anyhow::Result<PathBuf> {
    let image = directory.join("vmlinuz");
    if image.exists() {
        return Ok(image);
    }
    let packages = Suite::new(directory, suite, platform)?;
    let cloud = format!("linux-image-cloud-{}", platform.architecture());
    let package = packages.dependency(&cloud, "linux-image")?.context("no cloud kernel in this suite")?;
    // The newest ones have the kernel in a package of its own.
    for package in
        [Some(package.clone()), packages.dependency(&package, "linux-binary")?].into_iter().flatten()
    {
        packages.download(&package)?;
    }
    let root = packages.unpack()?;
    let found = output(command("find").arg(&root).args(["-name", "vmlinuz*", "-type", "f"]))?;
    let found = found.lines().next().context("no vmlinuz in the package")?;
    std::fs::copy(found, &image)?;
    packages.remove()?;
    Ok(image)
}

/// The programs that the machine's shell has; downloaded once where this machine's own are of another architecture.
pub(super) fn busybox(directory: &Path, platform: Platform) -> anyhow::Result<PathBuf> {
    let busybox = directory.join("busybox");
    if busybox.exists() {
        return Ok(busybox);
    }
    let packages = Suite::new(directory, BOOKWORM, platform)?;
    packages.download("busybox-static")?;
    std::fs::copy(packages.unpack()?.join("bin/busybox"), &busybox)?;
    packages.remove()?;
    Ok(busybox)
}

/// Debian's packages of one suite and platform, apart from those of this machine.
struct Suite {
    directory: PathBuf,
    architecture: &'static str,
}

impl Suite {
    /// What is left in the directory while it works.
    const PARTS: [&str; 3] = ["lists", "archives", "root"];

    fn new(directory: &Path, suite: &str, platform: Platform) -> anyhow::Result<Self> {
        if !is_root() {
            bail!("needs root, for apt-get");
        }
        for part in ["lists/partial", "archives", "root"] {
            std::fs::create_dir_all(directory.join(part))?;
        }
        std::fs::write(directory.join("sources.list"), format!("deb {} {suite} main\n", mirror()?))?;
        let packages = Self { directory: directory.to_owned(), architecture: platform.architecture() };
        run_quietly(packages.apt("apt-get").args(["update", "-qq"]))?;
        Ok(packages)
    }

    fn apt(&self, program: &str) -> Command {
        let mut apt = command(program);
        let at = |part: &str| self.directory.join(part).display().to_string();
        for (key, value) in [
            ("APT::Architecture", self.architecture.into()),
            ("APT::Architectures::", self.architecture.into()),
            ("Dir::Etc::sourcelist", at("sources.list")),
            ("Dir::Etc::sourceparts", "/dev/null".into()),
            ("Dir::State::lists", at("lists")),
            ("Dir::Cache::pkgcache", at("pkgcache.bin")),
            ("Dir::Cache::srcpkgcache", at("srcpkgcache.bin")),
            ("APT::Sandbox::User", "root".into()),
        ] {
            apt.arg("-o").arg(format!("{key}={value}"));
        }
        apt.current_dir(self.directory.join("archives")).stderr(Stdio::null());
        apt
    }

    /// The first package that this one needs and whose name begins so.
    fn dependency(&self, package: &str, prefix: &str) -> anyhow::Result<Option<String>> {
        let text = output(self.apt("apt-cache").args(["depends", package]))?;
        Ok(text.lines().find_map(|line| {
            let name = line.trim().strip_prefix("Depends: ")?;
            name.starts_with(prefix).then(|| name.to_owned())
        }))
    }

    fn download(&self, package: &str) -> anyhow::Result<()> {
        run_quietly(self.apt("apt-get").args(["download", "-qq", package]))
    }

    /// Unpacks all that was downloaded. Returns the root that the files are in.
    fn unpack(&self) -> anyhow::Result<PathBuf> {
        let unpack = "for package in *.deb; do dpkg-deb -x \"$package\" ../root; done";
        run_quietly(command("sh").args(["-c", unpack]).current_dir(self.directory.join("archives")))?;
        Ok(self.directory.join("root"))
    }

    fn remove(self) -> anyhow::Result<()> {
        for part in Self::PARTS {
            std::fs::remove_dir_all(self.directory.join(part))?;
        }
        Ok(())
    }
}

/// What boots.
pub(super) struct Machine<'a> {
    pub(super) platform: Platform,
    pub(super) kernel: &'a Path,
    pub(super) initramfs: &'a Path,
    pub(super) disk: Disk<'a>,
    /// It is ended after that.
    pub(super) limit: Duration,
}

/// The machine's one disk, `/dev/nvme0n1`.
#[derive(Clone, Copy)]
pub(super) enum Disk<'a> {
    /// An empty one, made in this directory; the archive is the whole system, and there is no network.
    Scratch(&'a Path),
    /// The system is on this one, and reaches what this machine does.
    System(&'a Path),
}

impl Machine<'_> {
    /// Boots, and shows what the machine reports about the agent. Returns that, where the last line says that it passed.
    pub(super) fn boot(&self, options: &str) -> anyhow::Result<Option<Vec<String>>> {
        let mut reports = self.boot_once(options)?;
        for _ in 1..MAX_BOOTS {
            if reports.is_empty() {
                println!("the kernel did not come up; once more");
                reports = self.boot_once(options)?;
            }
        }
        Ok(reports.iter().any(|line| line.ends_with(": pass")).then_some(reports))
    }

    /// Boots, and returns what the machine reported, which is nothing where its kernel died before it ran anything of ours.
    fn boot_once(&self, options: &str) -> anyhow::Result<Vec<String>> {
        let (disk, network) = match self.disk {
            Disk::Scratch(directory) => {
                let disk = directory.join("disk");
                run_quietly(command("truncate").args(["-s", "64M"]).arg(&disk))?;
                (disk, "none")
            }
            Disk::System(disk) => (disk.to_owned(), "user,model=virtio-net-pci"),
        };
        let (model, console): (&[&str], _) = match self.platform {
            Platform::Amd64 => (&["-cpu", "max"], "ttyS0"),
            // The standard way of pointer authentication takes the emulator half of its time.
            Platform::Arm64 => (&["-machine", "virt", "-cpu", "max,pauth-impdef=on"], "ttyAMA0"),
        };
        let mut qemu = Command::new("timeout");
        qemu.arg(self.limit.as_secs().to_string()).arg(format!("qemu-system-{}", self.platform.machine()));
        qemu.args(model).args(["-accel", "tcg", "-smp", "2", "-m", "1024", "-nographic"]);
        qemu.args(["-no-reboot", "-nic", network]);
        qemu.arg("-kernel").arg(self.kernel).arg("-initrd").arg(self.initramfs);
        qemu.args(["-append", &format!("console={console} panic=-1 loglevel=3 {options}")]);
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
}
