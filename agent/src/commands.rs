//! The commands, one file each: they put configuration, inputs, outputs and pipeline together.
//!
//! This file has what they share: the host that the environment names, and the signals that end a command.

pub mod completions;
pub mod config;
mod confine;
pub mod doctor;
pub mod dump;
mod looking;
pub mod man;
pub mod migrate;
pub mod run;
pub mod serve;
pub mod top;

use std::io::Write as _;

use anyhow::bail;

use crate::cli::UnusedArgs;
use crate::config::Config;
use crate::config::loader::Loader;
use crate::exit::Exit;
use crate::host::Host;

/// Loads the configuration, after checking the flags that have no effect.
///
/// # Errors
/// A flag that cannot be ignored, and those of [`Loader::load`].
pub fn load(loader: &mut Loader, unused: &UnusedArgs) -> anyhow::Result<Config> {
    if !unused.select.is_empty() {
        bail!(
            "--select is not part of this agent: what it leaves out would run; use --input-filter and --output-filter"
        );
    }
    for (flag, why) in unused.given() {
        tracing::warn!("{flag} has no effect: {why}");
    }
    Ok(loader.load()?)
}

/// Prints a text.
///
/// # Errors
/// The standard output cannot be written to.
pub fn print(text: &str) -> anyhow::Result<Exit> {
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(Exit::Ok)
}

/// The host, with the places that this process's environment names.
fn host() -> Host {
    Host::from_variables(|name| std::env::var(name).ok())
}

/// Completes when the agent is asked to stop.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot listen for a signal");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
    }
}
