//! `cargo xtask build`: the BPF object, and the agent that carries it.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;

use crate::command::{command, git, is_root, output, run_quietly, workspace};
use crate::platform::Platform;
use crate::setup;

/// Where the object is left; `agent/build.rs` takes it from there.
const OBJECT: &str = "target/bpf/seismograf.o";
pub(crate) const BPF_TARGET: &str = "bpfel-unknown-none";

/// How the agent is optimised.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build.
    Fast,
    /// One file to ship.
    Release,
    /// The same with its symbols.
    Symbols,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Release | Self::Symbols => "release",
        }
    }
}

/// Builds both. Returns the agent's path, which is target/PROFILE/seismograf for the platform that this runs on.
///
/// The agent is linked statically, against glibc, which needs no further target installed: one file that runs on any
/// distribution, in an image `FROM scratch` and in a virtual machine without a root file system. Since glibc 2.34 host names are
/// resolved without loading anything.
pub(crate) fn agent(profile: Profile, platform: Platform) -> anyhow::Result<PathBuf> {
    agent_with(None, profile, platform)
}

/// [`agent`], with these alone of the outputs that can be left out.
pub(crate) fn agent_with(
    outputs: Option<&[String]>,
    profile: Profile,
    platform: Platform,
) -> anyhow::Result<PathBuf> {
    let built = build_agent(&workspace(), outputs, profile, platform)?;
    if platform != Platform::host() {
        return Ok(built);
    }
    let agent = workspace().join("target").join(profile.name()).join("seismograf");
    copy_if_changed(&built, &agent)?;
    Ok(agent)
}

/// Builds both of a source tree. Returns where cargo left the agent.
pub(crate) fn agent_of(source: &Path, profile: Profile, platform: Platform) -> anyhow::Result<PathBuf> {
    build_agent(source, None, profile, platform)
}

fn build_agent(
    source: &Path,
    outputs: Option<&[String]>,
    profile: Profile,
    platform: Platform,
) -> anyhow::Result<PathBuf> {
    object_of(source)?;
    let mut build = command("cargo");
    build.current_dir(source);
    build.args(["build", "--quiet", "--package", "seismograf", "--profile", profile.name()]);
    if profile == Profile::Symbols {
        build.env("CARGO_PROFILE_RELEASE_STRIP", "none");
    }
    if let Some(outputs) = outputs {
        build.args(["--no-default-features", "--features", &outputs.join(",")]);
    }
    if profile == Profile::Release {
        // What is shipped names its commit, also when nothing but that has changed.
        build.env("SEISMOGRAF_HEAD", git(&["rev-parse", "HEAD"]).unwrap_or_default());
    }
    let built = link_statically(&mut build, source, platform)?.join(profile.name()).join("seismograf");
    run_quietly(&mut build)?;
    Ok(built)
}

/// Builds the end-to-end tests, which are also their own workers, as [`agent`] is. Returns the binary's path.
pub(crate) fn tests(platform: Platform) -> anyhow::Result<PathBuf> {
    let mut build = command("cargo");
    build.args(["test", "--quiet", "--no-run", "--message-format=json", "--profile", Profile::Fast.name()]);
    build.args(["--package", "seismograf-tests", "--test", "it"]);
    link_statically(&mut build, &workspace(), platform)?;
    let messages = output(&mut build)?;
    let executable = messages.lines().rev().find_map(|line| {
        let rest = line.split_once("\"executable\":\"")?.1;
        Some(PathBuf::from(rest.split_once('"')?.0))
    });
    executable.context("cargo did not say where the tests' binary is")
}

/// Has cargo link without shared libraries. Returns the folder of the target's profiles.
fn link_statically(build: &mut Command, source: &Path, platform: Platform) -> anyhow::Result<PathBuf> {
    platform.choose(build)?;
    // Its own folder: other flags would rebuild everything else.
    let directory = source.join("target/static");
    build.arg("--target-dir").arg(&directory);
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    flags.extend(remap(source));
    build.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    Ok(directory.join(platform.target()))
}

/// Flags that have source files go under names that are the same on every machine.
fn remap(source: &Path) -> Vec<String> {
    let home =
        std::env::var("CARGO_HOME").or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")));
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    let mut flags = vec![remap(source, "/seismograf")];
    flags.extend(home.map(|home| remap(Path::new(&home), "/cargo")));
    flags
}

/// Builds the object. Returns its path.
pub(crate) fn object() -> anyhow::Result<PathBuf> {
    object_of(&workspace())
}

fn object_of(source: &Path) -> anyhow::Result<PathBuf> {
    let built = compile(source, &source.join("target/bpf"), &[])?;
    let object = source.join(OBJECT);
    copy_if_changed(&built, &object)?;
    Ok(object)
}

/// Builds the object with the programs of the benchmark, beside the other.
pub(crate) fn bench_object() -> anyhow::Result<PathBuf> {
    compile(&workspace(), &workspace().join("target/bpf-bench"), &["--features", "bench"])
}

fn compile(source: &Path, target: &Path, args: &[&str]) -> anyhow::Result<PathBuf> {
    let toolchain = setup::setup()?;
    let mut build = command(&toolchain.cargo);
    build.current_dir(source);
    build.args(["build", "--quiet", "--release", "--package", "seismograf-ebpf", "--bin", "seismograf-ebpf"]);
    build.args(["-Z", "build-std=core", "--target", BPF_TARGET, "--target-dir"]).arg(target).args(args);
    // A stable compiler builds its own library only with this variable.
    build.env("RUSTC_BOOTSTRAP", "1");
    if let Some(rustc) = &toolchain.rustc {
        build.env("RUSTC", rustc);
    }
    let mut flags = vec![
        format!("-Clinker={}", toolchain.linker.display()),
        // The kernel wants type information with the program.
        "-Cdebuginfo=2".into(),
        "-Clink-arg=--btf".into(),
        // The object names source files in its line information.
        format!("--remap-path-prefix={}=/rust", toolchain.sysroot.display()),
    ];
    flags.extend(remap(source));
    build.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    run_quietly(&mut build).context("cannot build the BPF object")?;
    let built = target.join(BPF_TARGET).join("release/seismograf-ebpf");
    let small = target.join("seismograf-small.o");
    std::fs::write(&small, without_dwarf(&std::fs::read(&built)?)?)?;
    Ok(small)
}

/// An object without the compiler's own debug information, which is most of it. The type and line information that the
/// kernel reads was made from that, and stays.
fn without_dwarf(object: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut builder = Builder::read(object).context("cannot read the BPF object")?;
    for section in &mut builder.sections {
        let name = section.name.to_string();
        section.delete = [".debug_", ".rel.debug_"].iter().any(|prefix| name.starts_with(prefix));
    }
    // LLVM keeps the names of sections with those of symbols, which this writer does not.
    let names = builder.sections.add();
    names.name = ".shstrtab".into();
    names.sh_type = SHT_STRTAB;
    names.data = SectionData::SectionString;
    let mut small = Vec::new();
    builder.write(&mut small).context("cannot write the BPF object")?;
    Ok(small)
}

/// Leaves the time stamp alone where nothing changed, so that cargo does not build the agent again.
fn copy_if_changed(from: &Path, to: &Path) -> anyhow::Result<()> {
    let bytes = std::fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if std::fs::read(to).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
    }
    // One that runs cannot be written to, but replaced.
    let _ = std::fs::remove_file(to);
    std::fs::copy(from, to).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(())
}

/// Builds the object from a copy of its source in another place, and compares.
pub(crate) fn check_reproducible() -> anyhow::Result<()> {
    let here = object()?;
    let copy = std::env::temp_dir().join(format!("seismograf-copy-{}", std::process::id()));
    std::fs::create_dir_all(&copy)?;
    let result = (|| {
        // What the build of the object reads: the manifests of all members, and its own source.
        let files = ["Cargo.toml", "Cargo.lock", "agent", "agent-ebpf", "tests", "xtask"];
        run_quietly(command("cp").arg("-r").args(files).arg(&copy))?;
        let there = compile(&copy, &copy.join("target"), &[])?;
        let sums = output(command("sha256sum").arg(&here).arg(&there))?;
        let sums: Vec<&str> = sums.lines().filter_map(|line| line.split(' ').next()).collect();
        if sums.len() != 2 || sums[0] != sums[1] {
            bail!("two builds of the BPF object differ: {sums:?}");
        }
        println!("the BPF object is the same from two directories: sha256 {}", sums[0]);
        Ok(())
    })();
    std::fs::remove_dir_all(&copy)?;
    result
}

/// Builds, and becomes the agent.
pub(crate) fn exec(first: &[&str], args: &[String]) -> anyhow::Result<()> {
    let agent = agent(Profile::Fast, Platform::host())?;
    if !is_root() {
        eprintln!("note: probes need root: sudo {} {}", agent.display(), first.join(" "));
    }
    let error = Command::new(&agent).args(first).args(args).exec();
    Err(error).with_context(|| format!("cannot run {}", agent.display()))
}
