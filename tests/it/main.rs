//! The end-to-end tests: one binary, one module for each suite.
//!
//! Run with `--test-threads=1`: suites measure this machine, and would measure each other.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is the way of a test to fail")]

mod blkio;
mod cost;
mod cpu;
mod degraded;
mod deploy;
mod docker;
mod influx;
mod lifecycle;
mod loss;
mod net;

use std::process::ExitCode;

fn main() -> ExitCode {
    if seismograf_tests::work::main_if_worker().is_some() {
        return ExitCode::SUCCESS;
    }
    seismograf_tests::confine::main_if_confined();
    let suites = [
        cpu::trials(),
        lifecycle::trials(),
        blkio::trials(),
        net::trials(),
        loss::trials(),
        cost::trials(),
        degraded::trials(),
        influx::trials(),
        deploy::trials(),
        docker::trials(),
    ];
    seismograf_tests::suite::run(suites.into_iter().flatten().collect())
}
