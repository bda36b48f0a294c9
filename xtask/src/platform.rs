//! What the agent is built for: Linux on x86-64 and on 64-bit ARM, each from either.
//!
//! One BPF object serves both: it names no register and no structure of either, and the offsets come from the running kernel.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::command::{command, find, is_root, output, run};
use crate::packages::{apt_install, is_debian};

/// A platform, by the name that container images have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Platform {
    /// x86-64.
    #[value(name = "linux/amd64")]
    Amd64,
    /// 64-bit ARM.
    #[value(name = "linux/arm64")]
    Arm64,
}

impl Platform {
    /// The one that this program runs on.
    pub(crate) fn host() -> Self {
        if cfg!(target_arch = "aarch64") { Self::Arm64 } else { Self::Amd64 }
    }

    /// The architecture's name at Debian, Go and in container images.
    pub(crate) fn architecture(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The architecture's name at GNU, Linux and rustc.
    pub(crate) fn machine(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    /// The compiler's name for it.
    pub(crate) fn target(self) -> String {
        format!("{}-unknown-linux-gnu", self.machine())
    }

    /// Has a build by cargo be for this platform; finds or installs what that takes.
    pub(crate) fn choose(self, build: &mut Command) -> anyhow::Result<()> {
        let target = self.target();
        build.args(["--target", &target]);
        if self == Self::host() {
            return Ok(());
        }
        self.library()?;
        let compiler = self.compiler()?;
        let lower = target.replace('-', "_");
        build.env(format!("CC_{lower}"), &compiler);
        build.env(format!("CARGO_TARGET_{}_LINKER", lower.to_uppercase()), &compiler);
        Ok(())
    }

    /// Rust's library for it, which is rustup's.
    fn library(self) -> anyhow::Result<()> {
        let target = self.target();
        let is_there = || {
            let directory = output(command("rustc").args(["--print", "target-libdir", "--target", &target]));
            directory.is_ok_and(|directory| Path::new(directory.trim()).exists())
        };
        if is_there() {
            return Ok(());
        }
        if find("rustup").is_none() {
            bail!(
                "Rust's library for {target} is missing, and there is no rustup to add it: https://rustup.rs"
            );
        }
        run(command("rustup").args(["target", "add", &target]))
            .with_context(|| format!("Rust's library for {target} is missing"))
    }

    /// A C compiler that links for it, with a C library to link statically.
    fn compiler(self) -> anyhow::Result<String> {
        let compiler = format!("{}-linux-gnu-gcc", self.machine());
        let library = format!("/usr/{}-linux-gnu/lib/libc.a", self.machine());
        let is_there = || find(&compiler).is_some() && Path::new(&library).exists();
        if is_there() {
            return Ok(compiler);
        }
        let dashed = self.machine().replace('_', "-");
        let packages =
            [format!("gcc-{dashed}-linux-gnu"), format!("libc6-dev-{}-cross", self.architecture())];
        if !is_debian() || !is_root() {
            bail!(
                "{compiler} or {library} is missing; do this, and then the same again:\n  apt-get install {}   (Debian, as root)",
                packages.join(" ")
            );
        }
        eprintln!("setup: installing a C compiler for {}", self.machine());
        apt_install(&packages.each_ref().map(String::as_str))?;
        if is_there() {
            return Ok(compiler);
        }
        bail!("{compiler} or {library} is still missing after {} were installed", packages.join(" and "))
    }
}
