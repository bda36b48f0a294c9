//! The log: to the standard error, one short line an event.

use std::io::IsTerminal as _;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Overrides the level, in tracing-subscriber's syntax: `seismograf=debug`.
pub const VARIABLE: &str = "SEISMOGRAF_LOG";

/// Starts logging for good. `quiet` (errors alone) wins over `debug`, as in Telegraf.
///
/// What the probes log comes through the `log` crate, and so do libraries' messages; both end up here.
pub fn start(debug: bool, quiet: bool) {
    // Only the first caller of a process has a say: tests call this again and again.
    let _ = subscriber(debug, quiet).try_init();
}

/// Logs what `work` does, before it is known what the configuration says of the log.
pub fn with_early<T>(debug: bool, quiet: bool, work: impl FnOnce() -> T) -> T {
    tracing::subscriber::with_default(subscriber(debug, quiet), work)
}

fn subscriber(debug: bool, quiet: bool) -> impl Subscriber + Send + Sync + 'static {
    let default = match (quiet, debug) {
        (true, _) => "error",
        // Libraries at debug level drown the agent's own lines.
        (false, true) => "info,seismograf=debug,seismograf_ebpf=debug",
        (false, false) => "info",
    };
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .finish()
}
