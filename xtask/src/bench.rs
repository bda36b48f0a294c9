//! `cargo xtask bench`: what it costs.
//!
//! The measuring itself is some of the end-to-end tests, so that the bars are held on every run; here they run alone, and
//! what they print is the answer.

use clap::Subcommand;

use crate::ci;

/// What to measure.
#[derive(Subcommand)]
pub(crate) enum Cost {
    /// Nanoseconds per event of each probe, less an empty program at the same hook in the same run.
    Probes,
    /// Memory and CPU of the agent at 100 cgroups, of which 10 are busy.
    Agent,
    /// Points per second through a listener into influxd, beside influxd alone and, where there is one (`SEISMOGRAF_TELEGRAF`),
    /// Telegraf's listener.
    Listener,
}

/// Measures.
pub(crate) fn bench(cost: &Cost) -> anyhow::Result<()> {
    let test = match cost {
        Cost::Probes => "cost::of_each_probe",
        Cost::Agent => "cost::of_the_agent",
        Cost::Listener => "throughput::listener_to_influxd",
    };
    ci::e2e(&[test.to_owned()])
}
