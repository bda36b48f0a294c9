//! `cargo xtask setup`: finds or installs what the eBPF build needs.
//!
//! That is a Rust toolchain with the source of its library (`core` is built for BPF), and `bpf-linker`, which needs an LLVM at
//! least as new as the toolchain's. Either can come from rustup and cargo, or from Debian. Nothing is installed that is
//! there already.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::command::{command, find, is_root, output, run};
use crate::packages::{apt_install, is_debian};

/// The linker's version; it is built against one LLVM, so it is not left to chance.
const LINKER_VERSION: &str = "0.13.0";
/// The LLVM of Rust 1.95 and 1.96.
const LLVM: &str = "22";
/// What llvm-sys calls that LLVM.
const LLVM_SYS_PREFIX: &str = "LLVM_SYS_221_PREFIX";

/// What builds for BPF.
pub(crate) struct Toolchain {
    /// The cargo to call.
    pub(crate) cargo: PathBuf,
    /// The compiler, where it is not the one that cargo finds by itself.
    pub(crate) rustc: Option<PathBuf>,
    /// `bpf-linker`.
    pub(crate) linker: PathBuf,
    /// The compiler's own folder.
    pub(crate) sysroot: PathBuf,
}

/// Finds everything, or installs what is missing.
pub(crate) fn setup() -> anyhow::Result<Toolchain> {
    let (cargo, rustc, sysroot) = match compiler() {
        Some(found) => found,
        None => {
            install_compiler()?;
            compiler().context("the Rust library's source is still missing after it was installed")?
        }
    };
    let linker = match find("bpf-linker") {
        Some(linker) => linker,
        None => {
            install_linker()?;
            find("bpf-linker").context("bpf-linker is still missing after it was installed")?
        }
    };
    Ok(Toolchain { cargo, rustc, linker, sysroot })
}

/// A compiler with its library's source: the one in use, else Debian's.
fn compiler() -> Option<(PathBuf, Option<PathBuf>, PathBuf)> {
    let sysroot = |rustc: &Path| {
        let sysroot = PathBuf::from(output(command(rustc).args(["--print", "sysroot"])).ok()?.trim());
        sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml").exists().then_some(sysroot)
    };
    if let Some(sysroot) = sysroot(Path::new("rustc")) {
        return Some(("cargo".into(), None, sysroot));
    }
    let (cargo, rustc) = (PathBuf::from("/usr/bin/cargo"), PathBuf::from("/usr/bin/rustc"));
    if !cargo.exists() || !rustc.exists() {
        return None;
    }
    let sysroot = sysroot(&rustc)?;
    Some((cargo, Some(rustc), sysroot))
}

fn install_compiler() -> anyhow::Result<()> {
    eprintln!("setup: the source of Rust's library is missing; `core` is built from it for BPF");
    if find("rustup").is_some() {
        eprintln!("setup: adding rustup's component rust-src");
        match run(command("rustup").args(["component", "add", "rust-src"])) {
            // rustup takes a component that lost its files for one that is there.
            Ok(()) if compiler().is_some() => return Ok(()),
            Ok(()) => eprintln!("setup: rustup says it is there, but its files are not"),
            Err(error) => eprintln!("setup: {error:#}"),
        }
    }
    let packages = ["rustc-web", "cargo-web", "rust-web-src"];
    if is_debian() && is_root() {
        eprintln!("setup: taking Debian's Rust with its source instead");
        return apt_install(&packages);
    }
    bail!(
        "cannot install it here; do one of these:\n  rustup component add rust-src\n  apt-get install {}   (Debian, as root)",
        packages.join(" ")
    )
}

fn install_linker() -> anyhow::Result<()> {
    eprintln!("setup: bpf-linker is missing; it turns Rust's output into a BPF object");
    let prefix = format!("/usr/lib/llvm-{LLVM}");
    let packages = [&format!("llvm-{LLVM}-dev"), "g++", "libzstd-dev", "zlib1g-dev"].map(str::to_owned);
    if !Path::new(&prefix).join("include/llvm-c").exists() {
        let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
        if !is_debian() || !is_root() {
            bail!(
                "cannot install LLVM {LLVM} here; do this, and then `cargo xtask setup` again:\n  apt-get install {}   (Debian, as root)\nor, with another LLVM {LLVM}:\n  LLVM_PREFIX=DIR {LLVM_SYS_PREFIX}=DIR cargo install bpf-linker --version {LINKER_VERSION} --no-default-features --features llvm-{LLVM}",
                packages.join(" ")
            );
        }
        eprintln!("setup: installing LLVM {LLVM}, which bpf-linker is built against");
        apt_install(&packages)?;
    }
    eprintln!("setup: building bpf-linker {LINKER_VERSION}; this takes about a minute");
    let mut install = Command::new("cargo");
    install.args([
        "install",
        "bpf-linker",
        "--version",
        LINKER_VERSION,
        "--no-default-features",
        "--features",
    ]);
    install.arg(format!("llvm-{LLVM}")).env("LLVM_PREFIX", &prefix).env(LLVM_SYS_PREFIX, &prefix);
    run(&mut install)
}
