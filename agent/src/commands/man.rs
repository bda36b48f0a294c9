//! `seismograf man`: the manual pages, made from the command line's own description.

use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::exit::Exit;

/// Writes `seismograf.1`, and one page for each command: `seismograf-dump.1`, `seismograf-config-check.1`.
///
/// # Errors
/// The directory cannot be written to.
pub fn write(directory: &Path) -> anyhow::Result<Exit> {
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    clap_mangen::generate_to(Cli::command(), directory)
        .with_context(|| format!("cannot write manual pages to {}", directory.display()))?;
    Ok(Exit::Ok)
}
