//! The tree of files that every package has, in target/dist/root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::release::{RELEASE, VERSION, epoch};
use super::{crates, sbom};
use crate::build::{self, Profile};
use crate::command::{command, output, run_quietly};
use crate::platform::Platform;

/// The bill of materials among the documents.
pub(super) const SBOM: &str = "sbom.cdx.json";
/// Documents of the source that go along, from the workspace's root; those that there are.
const DOCUMENTS: [&str; 5] =
    ["docs/configuration.md", "docs/kernels.md", "docs/metrics.md", "docs/overhead.md", "docs/tasks.md"];
const LICENCES: [&str; 3] = ["LICENSE-APACHE", "LICENSE-MIT", "LICENSE-GPL2"];
/// Completions: the shell, and the file.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/seismograf"),
    ("zsh", "usr/share/zsh/site-functions/_seismograf"),
    ("fish", "usr/share/fish/vendor_completions.d/seismograf.fish"),
];

/// What is packed.
pub(super) struct Stage {
    /// The source that it is made of.
    source: PathBuf,
    /// The tree.
    pub(super) root: PathBuf,
    /// The commit's time.
    pub(super) epoch: String,
}

impl Stage {
    /// The tree that was made of a source.
    pub(super) fn made(source: &Path) -> anyhow::Result<Self> {
        Ok(Self { source: source.to_owned(), root: source.join("target/dist/root"), epoch: epoch()? })
    }

    /// Builds the agent, and makes the tree.
    pub(super) fn make(source: &Path, profile: Profile) -> anyhow::Result<Self> {
        let built = build::agent_of(source, profile, Platform::host())?;
        let stage = Self::made(source)?;
        copy(&built, &stage.binary())?;
        if profile == Profile::Fast {
            run_quietly(command("strip").arg(stage.binary()))?;
        }
        stage.add_configuration()?;
        stage.add_pages()?;
        stage.add_documents()?;
        Ok(stage)
    }

    /// The agent in the tree.
    pub(super) fn binary(&self) -> PathBuf {
        self.root.join("usr/bin/seismograf")
    }

    /// A document in the tree.
    pub(super) fn doc(&self, name: &str) -> PathBuf {
        self.root.join("usr/share/doc/seismograf").join(name)
    }

    /// A program that packs the tree.
    pub(super) fn tool(&self, tools: &Path, name: &str) -> Command {
        let mut tool = command(tools.join(name));
        tool.current_dir(&self.source).env("SOURCE_DATE_EPOCH", &self.epoch);
        tool
    }

    fn add_configuration(&self) -> anyhow::Result<()> {
        // The unit's own directory.
        let args = ["config", "default", "--state-directory", "/var/lib/seismograf"];
        let default = output(command(self.binary()).args(args))?;
        write(&self.root.join("etc/seismograf/seismograf.conf"), &default)?;
        let systemd = self.source.join("deploy/systemd");
        copy(&systemd.join("default"), &self.root.join("etc/default/seismograf"))?;
        run_quietly(command("chmod").arg("640").arg(self.root.join("etc/default/seismograf")))?;
        let unit = self.root.join("usr/lib/systemd/system/seismograf.service");
        copy(&systemd.join("seismograf.service"), &unit)
    }

    /// Manual pages and completions, by the agent that is packed.
    fn add_pages(&self) -> anyhow::Result<()> {
        let pages = self.root.join("usr/share/man/man1");
        run_quietly(command(self.binary()).arg("man").arg(&pages))?;
        // Without a name and a time in each.
        run_quietly(command("sh").args(["-c", "gzip -9n *.1"]).current_dir(&pages))?;
        for (shell, path) in COMPLETIONS {
            let script = output(command(self.binary()).args(["completions", shell]))?;
            write(&self.root.join(path), &script)?;
        }
        Ok(())
    }

    fn add_documents(&self) -> anyhow::Result<()> {
        for document in DOCUMENTS.iter().map(|path| self.source.join(path)).filter(|path| path.exists()) {
            let name = document.file_name().unwrap_or_default().to_string_lossy().into_owned();
            copy(&document, &self.doc(&name))?;
        }
        // As Debian wants it to be called.
        copy(&self.source.join("CHANGELOG.md"), &self.doc("changelog"))?;
        for licence in LICENCES {
            let to = self.root.join("usr/share/licenses/seismograf").join(licence);
            copy(&self.source.join(licence), &to)?;
        }
        let linked = crates::linked(&self.source)?;
        write(&self.doc("THIRD-PARTY.txt"), &crates::notices(&linked)?)?;
        write(&self.doc(SBOM), &sbom::bill(Platform::host().machine(), &self.epoch, &linked)?)?;
        self.write_changelog()
    }

    /// Debian's own form, which says what the package is; what changed is in the document `changelog`.
    fn write_changelog(&self) -> anyhow::Result<()> {
        let mut date = command("date");
        date.args(["--utc", "--rfc-email", "--date", &format!("@{}", self.epoch)]).env("LC_ALL", "C");
        let text = format!(
            "seismograf ({VERSION}-{RELEASE}) unstable; urgency=medium\n\n  * What changed is in changelog.gz.\n\n -- {MAINTAINER}  {}",
            output(&mut date)?
        );
        write(&self.root.with_file_name("changelog.Debian"), &text)
    }
}

/// As in `agent/Cargo.toml`.
const MAINTAINER: &str = "The Seismograf authors <seismograf@users.noreply.github.com>";

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
