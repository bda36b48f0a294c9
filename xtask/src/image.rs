//! `cargo xtask image`: a container image `FROM scratch`, without a container engine.
//!
//! The tar is an OCI image layout, which has a manifest list where it is of several platforms, with the one more file that
//! `docker load` goes by. So `ctr images import`, `skopeo`, `crane`, `podman load` and docker all take it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::build::{self, Profile};
use crate::command::{command, run_quietly, workspace};
use crate::platform::Platform;

/// The variable that names another profile than `release` for the agent in it: `fast`.
pub(crate) const PROFILE: &str = "SEISMOGRAF_IMAGE_PROFILE";
/// The image's name.
const NAME: &str = "docker.io/library/seismograf:latest";
/// The system's certificate authorities, for `https` outputs.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What it may take on a registry and on each node, which pulls it, for each platform.
const MAX_BYTES: u64 = 12_000_000;

/// Builds target/image/seismograf.tar, and beside it each platform's files, which the Dockerfile takes.
pub(crate) fn image(platforms: &[Platform]) -> anyhow::Result<()> {
    let is_fast = std::env::var(PROFILE).is_ok_and(|profile| profile == "fast");
    let profile = if is_fast { Profile::Fast } else { Profile::Release };
    let archive = build(profile, platforms, &workspace().join("target/image"))?;
    let n_bytes = std::fs::metadata(&archive)?.len();
    println!("{:.1} MB  {}", n_bytes as f64 / 1e6, archive.display());
    let most = MAX_BYTES * platforms.len() as u64;
    if profile == Profile::Release && n_bytes > most {
        bail!("the image has {n_bytes} bytes, and must not have more than {most}");
    }
    println!("load it with `docker load -i FILE` or `ctr -n k8s.io images import FILE`");
    Ok(())
}

/// Builds the image in a directory of its own. Returns the archive's path.
pub(crate) fn build(profile: Profile, platforms: &[Platform], directory: &Path) -> anyhow::Result<PathBuf> {
    let _ = std::fs::remove_dir_all(directory);
    let mut roots = Vec::new();
    for &platform in platforms {
        let root = directory.join("root").join(platform.architecture());
        copy(&build::agent(profile, platform)?, &root.join("usr/bin/seismograf"))?;
        if Path::new(CERTIFICATES).exists() {
            copy(Path::new(CERTIFICATES), &root.join(CERTIFICATES.trim_start_matches('/')))?;
        }
        for empty in ["tmp", "etc/seismograf", "rootfs"] {
            std::fs::create_dir_all(root.join(empty))?;
        }
        roots.push((platform, root));
    }
    let layout = directory.join("layout");
    write_layout(&layout, &roots)?;
    let archive = directory.join("seismograf.tar");
    tar(&archive, &layout, &["oci-layout", "index.json", "manifest.json", "blobs"])?;
    std::fs::remove_dir_all(&layout)?;
    Ok(archive)
}

/// Writes the layout of an image that has each platform's root directory as its one layer.
fn write_layout(directory: &Path, roots: &[(Platform, PathBuf)]) -> anyhow::Result<()> {
    let blobs = Blobs { directory: directory.to_owned() };
    std::fs::create_dir_all(directory.join("blobs/sha256"))?;
    let (mut manifests, mut for_docker) = (Vec::new(), BTreeMap::new());
    for (platform, root) in roots {
        let unpacked = directory.join("layer.tar");
        tar(&unpacked, root, &["."])?;
        let layer = std::fs::read(&unpacked)?;
        std::fs::remove_file(&unpacked)?;
        // Without a time stamp, so that the same files give the same image.
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(&layer)?;
        let packed = blobs.add("application/vnd.oci.image.layer.v1.tar+gzip", &packed.finish()?)?;
        let config = json!({
            "architecture": platform.architecture(),
            "os": "linux",
            "config": {
                "Entrypoint": ["/usr/bin/seismograf"],
                "Env": [format!("SSL_CERT_FILE={CERTIFICATES}")],
            },
            "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
        });
        let config = blobs.add_json("application/vnd.oci.image.config.v1+json", &config)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": [packed],
        });
        let mut manifest = blobs.add_json("application/vnd.oci.image.manifest.v1+json", &manifest)?;
        manifest["platform"] = json!({ "architecture": platform.architecture(), "os": "linux" });
        manifests.push(manifest);
        for_docker.insert(
            platform.architecture(),
            json!([{
                "Config": blobs.path(&config), "RepoTags": [NAME], "Layers": [blobs.path(&packed)],
            }]),
        );
    }
    let list = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
    });
    let mut named = match manifests.as_slice() {
        [only] => only.clone(),
        _ => blobs.add_json("application/vnd.oci.image.index.v1+json", &list)?,
    };
    let (_, tag) = NAME.rsplit_once(':').unwrap_or((NAME, "latest"));
    named["annotations"] =
        json!({ "io.containerd.image.name": NAME, "org.opencontainers.image.ref.name": tag });
    let index = json!({ "schemaVersion": 2, "manifests": [named] });
    std::fs::write(directory.join("index.json"), index.to_string())?;
    std::fs::write(directory.join("oci-layout"), json!({ "imageLayoutVersion": "1.0.0" }).to_string())?;
    // Docker's own form knows one platform: this machine's, where it is among them.
    let docker = for_docker.get(Platform::host().architecture()).or_else(|| for_docker.values().next());
    let docker = docker.context("an image of no platform")?;
    std::fs::write(directory.join("manifest.json"), docker.to_string())?;
    Ok(())
}

/// The files of a layout, each under its digest.
struct Blobs {
    directory: PathBuf,
}

impl Blobs {
    /// Adds one. Returns what it is referred to by.
    fn add(&self, media_type: &str, bytes: &[u8]) -> anyhow::Result<Value> {
        let descriptor = json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() });
        let path = self.directory.join(self.path(&descriptor));
        std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(descriptor)
    }

    fn add_json(&self, media_type: &str, value: &Value) -> anyhow::Result<Value> {
        self.add(media_type, value.to_string().as_bytes())
    }

    /// Where it is, from the layout's root.
    fn path(&self, descriptor: &Value) -> String {
        format!("blobs/{}", descriptor["digest"].as_str().unwrap_or_default().replace(':', "/"))
    }
}

/// As OCI writes it: `sha256:` and 64 digits.
fn digest(bytes: &[u8]) -> String {
    let sum = Sha256::digest(bytes);
    sum.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// The same files give the same archive.
fn tar(archive: &Path, from: &Path, what: &[&str]) -> anyhow::Result<()> {
    let mut tar = command("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "-C"]).arg(from);
    run_quietly(tar.arg("-cf").arg(archive).args(what))
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(directory: &Path, name: &str) -> Value {
        serde_json::from_slice(&std::fs::read(directory.join(name)).unwrap()).unwrap()
    }

    /// What a descriptor refers to, after its size and its digest were checked.
    fn blob(directory: &Path, descriptor: &Value) -> Vec<u8> {
        let digest = descriptor["digest"].as_str().unwrap();
        let bytes = std::fs::read(directory.join("blobs").join(digest.replace(':', "/"))).unwrap();
        assert_eq!(descriptor["size"], bytes.len());
        assert_eq!(super::digest(&bytes), digest);
        bytes
    }

    fn layout(platforms: &[Platform]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let roots = platforms.iter().map(|&platform| {
            let root = directory.path().join("root").join(platform.architecture());
            std::fs::create_dir_all(root.join("usr/bin")).unwrap();
            std::fs::write(root.join("usr/bin/seismograf"), platform.architecture()).unwrap();
            (platform, root)
        });
        write_layout(&directory.path().join("layout"), &roots.collect::<Vec<_>>()).unwrap();
        directory
    }

    #[test]
    fn an_image_of_two_platforms_is_a_list_of_two_manifests() {
        let directory = layout(&[Platform::Amd64, Platform::Arm64]);
        let layout = directory.path().join("layout");
        let named = &read(&layout, "index.json")["manifests"][0];
        assert_eq!(named["annotations"]["io.containerd.image.name"], NAME);
        assert_eq!(named["mediaType"], "application/vnd.oci.image.index.v1+json");
        let list: Value = serde_json::from_slice(&blob(&layout, named)).unwrap();
        let manifests = list["manifests"].as_array().unwrap();
        assert_eq!(manifests.len(), 2);
        for (descriptor, architecture) in manifests.iter().zip(["amd64", "arm64"]) {
            assert_eq!(descriptor["platform"], json!({ "architecture": architecture, "os": "linux" }));
            let manifest: Value = serde_json::from_slice(&blob(&layout, descriptor)).unwrap();
            let config: Value = serde_json::from_slice(&blob(&layout, &manifest["config"])).unwrap();
            assert_eq!(config["architecture"], architecture);
            let mut layer = Vec::new();
            let packed = blob(&layout, &manifest["layers"][0]);
            std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(packed.as_slice()), &mut layer)
                .unwrap();
            assert_eq!(config["rootfs"]["diff_ids"], json!([digest(&layer)]));
            // The file's own content is in the archive as it is.
            assert!(layer.windows(5).any(|bytes| bytes == architecture.as_bytes()), "{architecture}");
        }
    }

    #[test]
    fn docker_is_told_of_this_machines_platform() {
        let directory = layout(&[Platform::Arm64, Platform::Amd64]);
        let layout = directory.path().join("layout");
        let image = &read(&layout, "manifest.json")[0];
        assert_eq!(image["RepoTags"], json!([NAME]));
        let config = read(&layout, image["Config"].as_str().unwrap());
        assert_eq!(config["architecture"], Platform::host().architecture());
        assert!(layout.join(image["Layers"][0].as_str().unwrap()).exists());
    }

    #[test]
    fn the_same_files_give_the_same_image() {
        let [one, two] = [(), ()].map(|()| layout(&[Platform::Amd64]));
        let index = |directory: &tempfile::TempDir| read(&directory.path().join("layout"), "index.json");
        assert_eq!(index(&one), index(&two));
        assert_eq!(index(&one)["manifests"][0]["platform"]["architecture"], "amd64");
    }
}
