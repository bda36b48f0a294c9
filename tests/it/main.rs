//! The end-to-end tests: one binary, one module for each suite.
//!
//! Run with `--test-threads=1`: suites measure this machine, and would measure each other.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is the way of a test to fail")]

mod answers;
mod article;
mod blkio;
mod budget;
mod cardinality;
mod clients;
mod cluster;
mod cost;
mod cpu;
mod dashboards;
mod degraded;
mod deploy;
mod docker;
mod dump;
mod encrypted;
mod hangs;
mod health;
mod host;
mod identity;
mod influx;
mod influxdb_v3;
mod kubelet;
mod lifecycle;
mod lines;
mod listeners;
mod loss;
mod migrate;
mod net;
mod outputs;
mod pictures;
mod privilege;
mod programs;
mod refused;
mod reload;
mod restart;
mod series;
mod serve;
mod service;
mod shipped;
mod sidecar;
mod spool;
mod spool_speed;
mod tasks;
mod throughput;
mod top;
mod troubles;
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    if seismograf_tests::work::main_if_worker().is_some() {
        return ExitCode::SUCCESS;
    }
    seismograf_tests::confine::main_if_confined();
    if seismograf_tests::forbidden::main_if_trying().is_some() {
        return ExitCode::SUCCESS;
    }
    if seismograf_tests::gather::main_if_gatherer().is_some() {
        return ExitCode::SUCCESS;
    }
    let suites = [
        cpu::trials(),
        lifecycle::trials(),
        identity::trials(),
        blkio::trials(),
        budget::trials(),
        net::trials(),
        wire::trials(),
        programs::trials(),
        loss::trials(),
        cost::trials(),
        host::trials(),
        degraded::trials(),
        reload::trials(),
        restart::trials(),
        series::trials(),
        serve::trials(),
        service::trials(),
        privilege::trials(),
        migrate::trials(),
        shipped::trials(),
        answers::trials(),
        influx::trials(),
        influxdb_v3::trials(),
        lines::trials(),
        clients::trials(),
        listeners::trials(),
        encrypted::trials(),
        throughput::trials(),
        cardinality::trials(),
        sidecar::trials(),
        outputs::trials(),
        refused::trials(),
        hangs::trials(),
        health::trials(),
        spool::trials(),
        spool_speed::trials(),
        kubelet::trials(),
        deploy::trials(),
        cluster::trials(),
        docker::trials(),
        tasks::trials(),
        dump::trials(),
        top::trials(),
        article::trials(),
        dashboards::trials(),
    ];
    seismograf_tests::suite::run(suites.into_iter().flatten().collect())
}
