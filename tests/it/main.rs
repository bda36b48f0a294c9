//! The end-to-end tests: one binary, one module for each suite.
//!
//! Run with `--test-threads=1`: suites measure this machine, and would measure each other.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is the way of a test to fail")]

mod influx;

use std::process::ExitCode;

fn main() -> ExitCode {
    let suites = [influx::trials()];
    seismograf_tests::suite::run(suites.into_iter().flatten().collect())
}
