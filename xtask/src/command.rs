//! Running other programs: the one place that does.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// The workspace's root.
pub(crate) fn workspace() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map_or_else(|| manifest.clone(), Path::to_path_buf)
}

/// A command, without this process's own cargo settings: those of the toolchain that runs `xtask` are not another's.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    for variable in
        ["CARGO", "CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "RUSTC", "RUSTDOC", "RUST_RECURSION_COUNT"]
    {
        command.env_remove(variable);
    }
    command
}

/// Says what is run, and runs it with its output shown.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    eprintln!("+ {}", show(command));
    run_quietly(command)
}

/// Runs it with its output shown.
pub(crate) fn run_quietly(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot run {}", show(command)))?;
    if !status.success() {
        bail!("{}: {status}", show(command));
    }
    Ok(())
}

/// Runs it and gives what it printed.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot run {}", show(command)))?;
    if !output.status.success() {
        bail!("{}: {}\n{}", show(command), output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Where a program is, looking in `PATH`, and where cargo and administrators put theirs.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path)
        .chain(home.map(|home| home.join("bin")))
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    directories.map(|directory| directory.join(program)).find(|path| path.is_file())
}

/// Go, which is no package of Debian's in a version of use.
pub(crate) fn go() -> anyhow::Result<PathBuf> {
    let places = ["go", "/usr/local/go/bin/go"];
    places.into_iter().find_map(find).context("Go is not installed: https://go.dev/dl")
}

/// What git says of the workspace. An error where it is none of git's, as in an archive of the source.
pub(crate) fn git(args: &[&str]) -> anyhow::Result<String> {
    let mut git = command("git");
    // Root may build what is a user's.
    git.args(["-c", "safe.directory=*"]).args(args).current_dir(workspace());
    Ok(output(&mut git)?.trim().to_owned())
}

/// Whether this process runs as root, and so may install packages.
pub(crate) fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    words.join(" ")
}
