//! `cargo xtask bench`: what it costs.

use clap::Subcommand;

/// What to measure.
#[derive(Subcommand)]
pub(crate) enum What {
    /// Nanoseconds per event of each probe, less an empty program at the same hook.
    Probes,
}

/// Measures.
pub(crate) fn bench(what: &What) -> anyhow::Result<()> {
    match what {
        What::Probes => anyhow::bail!("not yet"),
    }
}
