//! `cargo xtask bench`: what it costs.
//!
//! The measuring itself is some of the end-to-end tests: those that hold bars are part of every run, and here run alone; those
//! of the report run here only.

mod plot;
mod report;

use anyhow::Context as _;
use clap::Subcommand;

use crate::build::Profile;
use crate::command::workspace;
use crate::{cadvisor, ci, packages, telegraf};

/// What the report needs besides what the tests need: program, Debian package.
const PROGRAMS: &[(&str, &str)] = &[("iperf3", "iperf3"), ("fio", "fio"), ("netdata", "netdata")];
/// The variable that names the directory of the report's tables.
const DIRECTORY: &str = "SEISMOGRAF_REPORT";

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
    /// Everything of docs/overhead.md, which is written anew; with a name (probes, write_back, many_cpus, cpu_source, work, agent,
    /// host, peers, stages), that part. `hour`, which takes one, runs by its name alone.
    Report {
        /// The part.
        part: Option<String>,
    },
    /// Where one InfluxDB, four and Kafka saturate, with ten thousand agents simulated on this machine.
    Scale {
        /// How many.
        #[arg(long, default_value_t = 10_000)]
        agents: u64,
        /// How many of them share a connection: a process has only so many files.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
        a_connection: u64,
        /// The server: `one_influxd`, `four_influxds` or `kafka`; without one, each.
        #[arg(long, default_value = "")]
        server: String,
        /// For each of them.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
}

/// Measures; without a choice, everything.
pub(crate) fn bench(cost: Option<&Cost>) -> anyhow::Result<()> {
    let test = match cost {
        Some(Cost::Probes) => "cost::of_each_probe",
        Some(Cost::Agent) => "cost::of_the_agent",
        Some(Cost::Listener) => "throughput::listener_to_influxd",
        Some(Cost::Scale { agents, a_connection, server, seconds }) => {
            let numbers = [
                ("SEISMOGRAF_AGENTS", (agents / a_connection).to_string()),
                ("SEISMOGRAF_AGENTS_A_CONNECTION", a_connection.to_string()),
                ("SEISMOGRAF_AGENTS_SECONDS", seconds.to_string()),
            ];
            return ci::e2e(&[format!("scale::{server}")], &numbers);
        }
        Some(Cost::Report { part }) => return measure(part.as_deref()),
        None => return measure(None),
    };
    ci::e2e(&[test.to_owned()], &[])
}

/// Measures for the report, and writes it.
fn measure(part: Option<&str>) -> anyhow::Result<()> {
    packages::install(PROGRAMS)?;
    if part.is_none_or(|part| part == "peers") {
        cadvisor::build()?;
        telegraf::build()?;
    }
    let tables = workspace().join("target/bench");
    std::fs::create_dir_all(&tables)?;
    let directory = tables.to_str().context("the workspace's path is no text")?.to_owned();
    // What is shipped is what is measured.
    let mut tests = vec![format!("bench::{}", part.unwrap_or_default())];
    if part.is_none() {
        tests.push("--skip=bench::hour".to_owned());
    }
    ci::e2e_of(Profile::Release, &tests, &[(DIRECTORY, directory)])?;
    report::write(&tables, &workspace().join("docs"))
}
