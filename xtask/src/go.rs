//! Programs of Go modules under `tests/`, which no package of Debian's has: built once, each into a folder of `target/`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;

use crate::command::{command, go, run_quietly, workspace};

/// A Go module of the tests.
pub(crate) struct GoModule {
    /// Its folder, in `tests/` and in `target/`.
    pub(crate) name: &'static str,
    /// The files that say what is built.
    pub(crate) source: &'static [&'static str],
    /// The packages, each a program that is called as the last part of its path; that of the folder, as the folder.
    pub(crate) packages: &'static [&'static str],
}

impl GoModule {
    /// The folder of `target/` that has the programs, once they are built.
    pub(crate) fn programs(&self) -> PathBuf {
        workspace().join("target").join(self.name)
    }

    /// Whether they were built from what the source is now.
    pub(crate) fn is_built(&self) -> bool {
        let built_from = std::fs::read(self.built_from()).ok();
        built_from.is_some_and(|built_from| self.text().is_ok_and(|text| text == built_from))
    }

    /// Builds them, unless they were built before, with what `set` adds to the command.
    pub(crate) fn build(&self, set: impl FnOnce(&mut Command)) -> anyhow::Result<()> {
        if self.is_built() {
            return Ok(());
        }
        let mut build = self.command(self.packages)?;
        set(&mut build);
        run_quietly(&mut build)?;
        std::fs::write(self.built_from(), self.text()?)?;
        Ok(())
    }

    /// The command that builds some of its packages.
    pub(crate) fn command(&self, packages: &[&str]) -> anyhow::Result<Command> {
        let programs = self.programs();
        std::fs::create_dir_all(&programs)
            .with_context(|| format!("cannot create {}", programs.display()))?;
        let mut build = command(go()?);
        build.current_dir(self.folder()).env("GOTOOLCHAIN", "local");
        build.args(["build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w", "-o"]);
        build.arg(programs).args(packages);
        Ok(build)
    }

    /// The folder of `tests/`.
    pub(crate) fn folder(&self) -> PathBuf {
        workspace().join("tests").join(self.name)
    }

    fn built_from(&self) -> PathBuf {
        self.programs().join("built-from")
    }

    fn text(&self) -> anyhow::Result<Vec<u8>> {
        let read = |name: &&str| {
            let path = self.folder().join(name);
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        Ok(self.source.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?.concat())
    }
}
