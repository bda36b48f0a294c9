//! The programs that pack: installed once into target/tools, at versions that build with this toolchain.
//!
//! As libraries they would be compiled with `cargo xtask`, and so before every first command of a developer.

use std::path::PathBuf;

use crate::command::{command, output, run, workspace};

const TOOLS: [(&str, &str); 2] = [("cargo-deb", "3.8.0"), ("cargo-generate-rpm", "0.21.1")];

/// Installs those that are missing or of another version. Returns the folder that has them.
pub(super) fn install() -> anyhow::Result<PathBuf> {
    let root = workspace().join("target/tools");
    for (name, version) in TOOLS {
        let installed = output(command("cargo").args(["install", "--list", "--root"]).arg(&root));
        let line = format!("{name} v{version}:");
        if installed.is_ok_and(|list| list.lines().any(|installed| installed == line)) {
            continue;
        }
        eprintln!("dist: building {name} {version}, which takes about a minute");
        let mut install = command("cargo");
        install.args(["install", "--quiet", "--locked", "--force", "--version", version, "--root"]);
        run(install.arg(&root).arg(name))?;
    }
    Ok(root.join("bin"))
}
