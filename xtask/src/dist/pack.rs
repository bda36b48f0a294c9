//! One tree of files, packed three ways.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::release::{RELEASE, VERSION};
use super::stage::{self, Stage};
use super::tools;
use crate::build::Profile;
use crate::command::{command, output, run_quietly};
use crate::platform::Platform;

/// What is made.
pub(super) struct Artefacts {
    pub(super) binary: PathBuf,
    pub(super) tarball: PathBuf,
    pub(super) deb: PathBuf,
    pub(super) rpm: PathBuf,
    pub(super) sbom: PathBuf,
    pub(super) sums: PathBuf,
}

impl Artefacts {
    /// Where each of them is.
    pub(super) fn in_directory(directory: &Path) -> anyhow::Result<Self> {
        let at = |name: String| directory.join(name);
        let (arch, debian) = (Platform::host().machine(), Platform::host().architecture());
        Ok(Self {
            binary: directory.join("root/usr/bin/seismograf"),
            tarball: at(format!("seismograf-{VERSION}-{arch}-linux.tar.gz")),
            deb: at(format!("seismograf_{VERSION}-{RELEASE}_{debian}.deb")),
            rpm: at(format!("seismograf-{VERSION}-{RELEASE}.{arch}.rpm")),
            sbom: at(format!("seismograf-{VERSION}-{arch}.cdx.json")),
            sums: directory.join("SHA256SUMS"),
        })
    }

    /// What is handed on, by itself.
    pub(super) fn packages(&self) -> [&Path; 4] {
        [&self.tarball, &self.deb, &self.rpm, &self.sbom].map(PathBuf::as_path)
    }
}

/// Builds a source tree, and makes all of its artefacts in its target/dist.
pub(super) fn make(source: &Path, profile: Profile) -> anyhow::Result<Artefacts> {
    let tools = tools::install()?;
    let directory = source.join("target/dist");
    let _ = fs::remove_dir_all(&directory);
    let made = Artefacts::in_directory(&directory)?;
    let stage = Stage::make(source, profile)?;
    tarball(&stage, &made.tarball)?;
    deb(&stage, &tools, RELEASE, &made.deb)?;
    rpm(&stage, &tools, RELEASE, &made.rpm)?;
    fs::copy(stage.doc(stage::SBOM), &made.sbom)?;
    let names = made.packages().into_iter().filter_map(Path::file_name);
    fs::write(&made.sums, output(command("sha256sum").args(names).current_dir(&directory))?)?;
    Ok(made)
}

fn tarball(stage: &Stage, tarball: &Path) -> anyhow::Result<()> {
    // The order, the owners, the times and the modes do not depend on who packs.
    let script = format!(
        "tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@{} --mode=u+rw,go-w \
         --transform='s,^\\.,seismograf-{VERSION}-{}-linux,' -cf - . | gzip -9n > '{}'",
        stage.epoch,
        Platform::host().machine(),
        tarball.display()
    );
    run_quietly(command("bash").args(["-o", "pipefail", "-c", &script]).current_dir(&stage.root))
}

/// Has `cargo-deb` pack a tree.
pub(super) fn deb(stage: &Stage, tools: &Path, release: &str, package: &Path) -> anyhow::Result<()> {
    let mut deb = stage.tool(tools, "cargo-deb");
    deb.args(["deb", "--quiet", "--package", "seismograf", "--target", &Platform::host().target()]);
    deb.args(["--no-build", "--no-strip", "--deb-version", &format!("{VERSION}-{release}"), "--output"]);
    run_quietly(deb.arg(package).stdout(Stdio::null()))
}

/// Has `cargo-generate-rpm` pack a tree.
pub(super) fn rpm(stage: &Stage, tools: &Path, release: &str, package: &Path) -> anyhow::Result<()> {
    let mut rpm = stage.tool(tools, "cargo-generate-rpm");
    rpm.args([
        "generate-rpm",
        "--package",
        "agent",
        "--arch",
        Platform::host().machine(),
        "--payload-compress",
        "zstd",
    ]);
    rpm.args(["--set-metadata", &format!("release = \"{release}\""), "--output"]);
    run_quietly(rpm.arg(package))
}
