//! `cargo xtask image`: a container image `FROM scratch`, without a container engine.
//!
//! The tar is what `docker load` and `ctr images import` take.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::build::{self, Profile};
use crate::command::{command, output, run, run_quietly, workspace};

/// The variable that names another profile than `release` for the agent in it: `fast`.
pub(crate) const PROFILE: &str = "SEISMOGRAF_IMAGE_PROFILE";
/// The image's name.
const NAME: &str = "docker.io/library/seismograf:latest";
/// The system's certificate authorities, for `https` outputs.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Builds target/image/seismograf.tar, and the folder that the Dockerfile takes its files from.
pub(crate) fn image() -> anyhow::Result<()> {
    let is_fast = std::env::var(PROFILE).is_ok_and(|profile| profile == "fast");
    let profile = if is_fast { Profile::Fast } else { Profile::Release };
    let archive = build(profile, &workspace().join("target/image"))?;
    run(command("ls").args(["-l"]).arg(&archive))?;
    println!("load it with `docker load -i FILE` or `ctr -n k8s.io images import FILE`");
    Ok(())
}

/// Builds the image in a directory of its own. Returns the archive's path.
pub(crate) fn build(profile: Profile, directory: &Path) -> anyhow::Result<PathBuf> {
    let agent = build::agent(profile)?;
    let _ = std::fs::remove_dir_all(directory);
    let root = directory.join("root");
    copy(&agent, &root.join("usr/bin/seismograf"))?;
    if Path::new(CERTIFICATES).exists() {
        copy(Path::new(CERTIFICATES), &root.join(CERTIFICATES.trim_start_matches('/')))?;
    }
    for empty in ["tmp", "etc/seismograf", "rootfs"] {
        std::fs::create_dir_all(root.join(empty))?;
    }
    let tar = |archive: &Path, from: &Path, what: &[&str]| {
        // The same files give the same archive.
        let mut tar = command("tar");
        tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "-C"]).arg(from);
        run_quietly(tar.arg("-cf").arg(archive).args(what))
    };
    let layer = directory.join("layer.tar");
    tar(&layer, &root, &["."])?;
    let sum = output(command("sha256sum").arg(&layer))?;
    let sum = sum.split(' ').next().unwrap_or_default();
    let architecture = if std::env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" };
    let config = format!(
        r#"{{"architecture":"{architecture}","os":"linux","config":{{"Entrypoint":["/usr/bin/seismograf"],"Env":["SSL_CERT_FILE={CERTIFICATES}"]}},"rootfs":{{"type":"layers","diff_ids":["sha256:{sum}"]}}}}"#
    );
    std::fs::write(directory.join("config.json"), config)?;
    let manifest = format!(r#"[{{"Config":"config.json","RepoTags":["{NAME}"],"Layers":["layer.tar"]}}]"#);
    std::fs::write(directory.join("manifest.json"), manifest)?;
    let archive = directory.join("seismograf.tar");
    tar(&archive, directory, &["manifest.json", "config.json", "layer.tar"])?;
    Ok(archive)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}
