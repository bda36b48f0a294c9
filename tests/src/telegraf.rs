//! The real Telegraf with all its plugins, which `cargo xtask telegraf` builds.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Skip;

/// The variable that names the program.
const PROGRAM: &str = "SEISMOGRAF_TELEGRAF";

/// The program.
pub struct Telegraf {
    program: PathBuf,
}

impl Telegraf {
    /// Finds it.
    ///
    /// # Errors
    /// Skips the test when it was not built.
    pub fn find() -> Result<Self, Skip> {
        let program = std::env::var_os(PROGRAM).map(PathBuf::from);
        let program = program
            .ok_or_else(|| Skip::because("there is no Telegraf: build it by `cargo xtask telegraf`"))?;
        Ok(Self { program })
    }

    /// What starts it.
    #[must_use]
    pub fn command(&self) -> Command {
        Command::new(&self.program)
    }

    /// What `telegraf config check` says: it reads the files and initializes every plugin, short of starting it.
    ///
    /// # Errors
    /// What it refuses.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn check(&self, files: &[PathBuf], environment: &[(&str, &str)]) -> Result<(), String> {
        let mut command = self.command();
        command.args(["config", "check", "--non-strict-env-handling"]);
        command.args(files.iter().flat_map(|file| [Path::new("--config"), file]));
        command.envs(environment.iter().copied()).stdin(Stdio::null());
        let output = command.output();
        let output = output.unwrap_or_else(|error| panic!("cannot run {}: {error}", self.program.display()));
        let said = [output.stdout, output.stderr].concat();
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said).into_owned()) }
    }
}
