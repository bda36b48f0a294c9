//! Embeds the BPF object that `cargo xtask build` made, and says which commit the agent is of.
//!
//! Without an object (a plain `cargo check` or `cargo test`) the agent carries an empty one, builds all the same, and says at
//! start that its probes are missing.
//!
//! A commit alone builds nothing again: git is asked when what the agent is made of has changed. So a developer's build may
//! name the commit before with `and changes` where these have been committed since. What is shipped is built with
//! another `SEISMOGRAF_HEAD` after each commit.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Where `cargo xtask build` leaves the object, from the workspace's root.
const OBJECT: &str = "target/bpf/seismograf.o";

/// The version of glibc from which on a static program sets addresses by a bitmap (`DT_RELR`).
const PACKS_FROM: (u32, u32) = (2, 36);

/// What the agent is made of, from the workspace's root.
const SOURCES: [&str; 7] = [
    "agent/src",
    "agent/layout.ld",
    "agent/Cargo.toml",
    "agent/build.rs",
    "agent-ebpf",
    "Cargo.toml",
    "Cargo.lock",
];

fn main() {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let root = manifest.parent().unwrap_or(Path::new(""));
    embed_object(root);
    lay_out(&manifest);
    pack_relocations();
    name_commit(root);
}

fn embed_object(root: &Path) {
    println!("cargo::rerun-if-env-changed=SEISMOGRAF_BPF_OBJECT");
    let object = env::var_os("SEISMOGRAF_BPF_OBJECT").map_or(root.join(OBJECT), PathBuf::from);
    println!("cargo::rerun-if-changed={}", object.display());
    let bytes = fs::read(&object).unwrap_or_default();
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("seismograf.o");
    if let Err(error) = fs::write(&out, bytes) {
        println!("cargo::error=cannot write {}: {error}", out.display());
    }
}

/// Puts what a gather runs side by side.
fn lay_out(manifest: &Path) {
    let script = manifest.join("layout.ld");
    println!("cargo::rerun-if-changed={}", script.display());
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", script.display());
    }
}

/// Has the linker write the addresses that are set at the start as a bitmap, which takes half a megabyte less. What sets them is
/// glibc's, and linked in: so not for another machine, nor with one that does not know it yet.
fn pack_relocations() {
    let is_here = env::var("TARGET") == env::var("HOST");
    let is_known = ["x86_64", "gnu"]
        == ["ARCH", "ENV"].map(|key| env::var(format!("CARGO_CFG_TARGET_{key}")).unwrap_or_default())[..];
    let glibc = output(Command::new("getconf").arg("GNU_LIBC_VERSION"));
    let version = glibc.as_deref().and_then(|glibc| {
        let (major, minor) = glibc.strip_prefix("glibc ")?.split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    });
    if is_here && is_known && version >= Some(PACKS_FROM) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Sets `SEISMOGRAF_VERSION`: the version, the commit and its date.
///
/// `SEISMOGRAF_COMMIT` and `SOURCE_DATE_EPOCH` say both where there is no git, as in an archive of the source.
fn name_commit(root: &Path) {
    for variable in ["SEISMOGRAF_COMMIT", "SOURCE_DATE_EPOCH", "SEISMOGRAF_HEAD"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    let given = env::var("SEISMOGRAF_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = given.or_else(|| commit(root)).unwrap_or_else(|| "commit unknown".into());
    let epoch = env::var("SOURCE_DATE_EPOCH").ok().or_else(|| git(root, &["log", "-1", "--format=%ct"]));
    let date = epoch.and_then(|epoch| {
        output(Command::new("date").args(["--utc", "--date", &format!("@{epoch}"), "+%F"]))
    });
    let date = date.map(|date| format!(", {date}")).unwrap_or_default();
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    println!("cargo::rustc-env=SEISMOGRAF_VERSION={version} ({commit}{date})");
}

/// The commit of the tree, and whether what the agent is made of was changed since.
fn commit(root: &Path) -> Option<String> {
    let commit = git(root, &["rev-parse", "--short=9", "HEAD"])?;
    let mut status = vec!["status", "--porcelain", "--"];
    status.extend(SOURCES);
    let is_changed = git(root, &status).is_none_or(|changes| !changes.is_empty());
    Some(if is_changed { format!("{commit} and changes") } else { commit })
}

/// What git says of this tree. Nothing where the tree is only a folder within somebody else's.
fn git(root: &Path, args: &[&str]) -> Option<String> {
    let ask = |args: &[&str]| {
        let mut git = Command::new("git");
        // Root may build what is a user's, and this writes nothing.
        git.args(["-c", "safe.directory=*"]).args(args).current_dir(root).env("GIT_OPTIONAL_LOCKS", "0");
        output(&mut git)
    };
    let top = ask(&["rev-parse", "--show-toplevel"])?;
    (fs::canonicalize(top).ok() == fs::canonicalize(root).ok()).then(|| ask(args))?
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
