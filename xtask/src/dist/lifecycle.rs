//! `cargo xtask dist test`: what was made, where it is meant to be used.
//!
//! The scripts beside this file run in booted systems; `lintian` and another CycloneDX implementation judge the rest.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::guest::Guest;
use super::pack::{Artefacts, deb, rpm};
use super::stage::Stage;
use super::{roots, tools};
use crate::build::Profile;
use crate::command::{command, find, is_root, output, run, run_quietly, workspace};
use crate::packages::{self, is_debian};

const PROGRAMS: &[(&str, &str)] = &[
    ("debootstrap", "debootstrap"),
    ("systemd-nspawn", "systemd-container"),
    ("lintian", "lintian"),
    ("curl", "curl"),
    ("python3", "python3-pip"),
];
/// The suites, of which those with a system are named after it.
const SUITES: [&str; 7] = ["lintian", "sbom", "rpm", "bookworm", "trixie", "switch", "readme"];
/// The suite whose system the others run in.
const DEBIAN_12: &str = "bookworm";
/// The library that knows CycloneDX's schemas.
const CYCLONEDX: &str = "cyclonedx-python-lib[json-validation]==11.6.0";
const VALIDATE: &str = "import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read())
sys.exit(str(error) if error else 0)";

/// Makes the packages by the README's own command, and tests them.
pub(super) fn test(profile: Profile, suites: &[String]) -> anyhow::Result<()> {
    if let Some(unknown) = suites.iter().find(|suite| !SUITES.contains(&suite.as_str())) {
        bail!("there is no suite `{unknown}`: {}", SUITES.join(", "));
    }
    if !is_debian() || !is_root() {
        bail!("packages are tested on a Debian, as root");
    }
    packages::install(PROGRAMS)?;
    let [make, install] = readme_commands(&fs::read_to_string(workspace().join("README.md"))?)?;
    let make = if profile == Profile::Fast { format!("{make} --fast") } else { make };
    run(command("sh").args(["-c", &make]))?;
    let packages = Packages::of_this_and_the_next()?;
    let mut failed = Vec::new();
    for suite in SUITES {
        if !suites.is_empty() && !suites.iter().any(|name| name == suite) {
            continue;
        }
        let result = match suite {
            "lintian" => lintian(&packages.made.deb),
            "sbom" => sbom(&packages.made.sbom),
            "rpm" => packages.guest("rpm", DEBIAN_12, include_str!("rpm.sh")),
            "switch" => packages.guest("switch", DEBIAN_12, include_str!("switch.sh")),
            "readme" => readme(&install),
            suite => packages.guest(suite, suite, include_str!("lifecycle.sh")),
        };
        if let Err(error) = result {
            println!("{suite}: FAIL: {error:#}");
            failed.push(suite);
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// The packages, and beside them those of a version that comes after.
struct Packages {
    made: Artefacts,
    /// Folders with those of this version, and the next.
    old: PathBuf,
    new: PathBuf,
}

impl Packages {
    fn of_this_and_the_next() -> anyhow::Result<Self> {
        let made = Artefacts::in_directory(&workspace().join("target/dist"))?;
        let [old, new] = ["old", "new"].map(|name| workspace().join("target/roots/packages").join(name));
        for directory in [&old, &new] {
            let _ = fs::remove_dir_all(directory);
            fs::create_dir_all(directory)?;
        }
        for package in [&made.deb, &made.rpm] {
            fs::copy(package, old.join(package.file_name().context("a package has a name")?))?;
        }
        let tools = tools::install()?;
        let stage = Stage::made(&workspace())?;
        deb(&stage, &tools, NEXT, &new.join("next.deb"))?;
        rpm(&stage, &tools, NEXT, &new.join("next.rpm"))?;
        Ok(Self { made, old, new })
    }

    fn guest(&self, name: &str, suite: &str, script: &str) -> anyhow::Result<()> {
        let root = roots::root(suite)?;
        let files = [
            (self.old.clone(), "/packages/old"),
            (self.new.clone(), "/packages/new"),
            (workspace().join("docs/tasks.md"), "/tasks.md"),
        ];
        Guest { name, root: &root, script, files: &files }.run()
    }
}

/// The packaging after the first.
const NEXT: &str = "2";

/// The two commands of the README's section on machines without Kubernetes.
fn readme_commands(readme: &str) -> anyhow::Result<[String; 2]> {
    let section = readme.split("\n## ").find(|section| section.starts_with("On a virtual machine"));
    let section = section.context("README.md has no section `On a virtual machine`")?;
    let commands: Vec<String> = section
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .map(|line| line.split(" #").next().unwrap_or(line).trim().to_owned())
        .collect();
    commands.try_into().ok().context("README.md has not two commands in `On a virtual machine`")
}

/// Runs the second command as it stands there, in the folder that the first one was run in.
fn readme(install: &str) -> anyhow::Result<()> {
    let file = workspace().join("target/roots/command");
    fs::write(&file, format!("{install}\n"))?;
    let files = [(workspace(), "/seismograf"), (file, "/command")];
    let root = roots::root(DEBIAN_12)?;
    Guest { name: "readme", root: &root, script: include_str!("readme.sh"), files: &files }.run()
}

fn lintian(deb: &Path) -> anyhow::Result<()> {
    let mut lintian = command("lintian");
    lintian.args(["--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0"]);
    run_quietly(lintian.arg(deb))?;
    println!("lintian: no error and no warning");
    Ok(())
}

fn sbom(bill: &Path) -> anyhow::Result<()> {
    let library = workspace().join("target/tools/cyclonedx");
    if !library.join("cyclonedx").exists() {
        find("python3").context("python3 is not installed")?;
        let mut pip = command("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        run_quietly(pip.args(["--root-user-action=ignore", "--target"]).arg(&library).arg(CYCLONEDX))?;
    }
    let mut python = command("python3");
    output(python.args(["-c", VALIDATE]).arg(bill).env("PYTHONPATH", &library))?;
    println!("sbom: valid CycloneDX 1.5");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readmes_two_commands_are_found() {
        let readme = fs::read_to_string(workspace().join("README.md")).unwrap();
        let [make, install] = readme_commands(&readme).unwrap();
        assert_eq!(make, "cargo xtask dist");
        assert!(install.starts_with("apt install ./target/dist/seismograf_"), "{install}");
    }
}
