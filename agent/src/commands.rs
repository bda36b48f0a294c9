//! What each command does: puts configuration, inputs, outputs and pipeline together, one file a command.
//!
//! Here is what they share: the host that the environment names, and the signals that end a command.

pub mod config;
pub mod doctor;
pub mod dump;
pub mod run;

use std::io::Write as _;

use anyhow::bail;

use crate::cli::UnusedArgs;
use crate::config::Config;
use crate::config::loader::Loader;
use crate::exit::Exit;
use crate::host::Host;

/// Reads the configuration, once the command line is known to make sense.
///
/// # Errors
/// A flag that cannot be followed; else those of [`Loader::load`].
pub fn load(loader: &mut Loader, unused: &UnusedArgs) -> anyhow::Result<Config> {
    if !unused.select.is_empty() {
        bail!(
            "--select is not part of this agent: what it leaves out would run; use --input-filter and --output-filter"
        );
    }
    for (flag, why) in unused.given() {
        tracing::warn!("{flag} has no effect: {why}");
    }
    loader.load()
}

/// Prints a text that is asked for.
///
/// # Errors
/// When the output is gone.
pub fn print(text: &str) -> anyhow::Result<Exit> {
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(Exit::Ok)
}

/// The host as this process's environment names its places.
fn host() -> Host {
    Host::from_variables(|name| std::env::var(name).ok())
}

/// Over when somebody asks the agent to stop.
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
