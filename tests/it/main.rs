//! The end-to-end tests: one binary, one module for each suite.
//!
//! Run with `--test-threads=1`: suites measure this machine, and would measure each other.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is the way of a test to fail")]

mod answers;
mod article;
mod bench;
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
mod kafka;
mod kubelet;
#[cfg(target_arch = "x86_64")]
mod layout;
mod lifecycle;
mod lines;
mod listeners;
mod loss;
mod migrate;
mod net;
mod opentelemetry;
mod outputs;
mod pictures;
mod privilege;
mod profiles;
mod programs;
mod prometheus_client;
mod read_back;
mod refused;
mod reload;
mod remote_write;
mod restart;
mod scale;
mod series;
mod serve;
mod service;
mod shards;
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

use libtest_mimic::Trial;

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
    if seismograf_tests::stage::main_if_stage().is_some() {
        return ExitCode::SUCCESS;
    }
    let suites = [
        cpu::trials(),
        #[cfg(target_arch = "x86_64")]
        layout::trials(),
        lifecycle::trials(),
        identity::trials(),
        blkio::trials(),
        budget::trials(),
        net::trials(),
        wire::trials(),
        programs::trials(),
        loss::trials(),
        cost::trials(),
        bench::trials(),
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
        read_back::trials(),
        influxdb_v3::trials(),
        opentelemetry::trials(),
        remote_write::trials(),
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
        prometheus_client::trials(),
        profiles::trials(),
        spool::trials(),
        shards::trials(),
        kafka::trials(),
        scale::trials(),
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
    let trials = suites.into_iter().flatten();
    let part = std::env::var(PART).ok();
    let is_wanted = |trial: &Trial| part.as_deref().is_none_or(|part| part == part_of(trial.name()));
    seismograf_tests::suite::run(trials.filter(is_wanted).collect())
}

/// Names a part of the trials, which are all without it: [`ALONE`], or one of [`BESIDE`].
const PART: &str = "SEISMOGRAF_PART";
/// Trials whose figures are those of the machine, or that measure something.
const ALONE: &str = "alone";
/// Suites that mostly wait, for a server, an interval or a limit: these parts can run at the same time.
const BESIDE: [(&str, &[&str]); 3] = [
    (
        "first",
        &[
            "article",
            "dump",
            "hangs",
            "influx",
            "influxdb_v3",
            "kafka",
            "opentelemetry",
            "read_back",
            "remote_write",
            "sidecar",
        ],
    ),
    ("second", &["outputs", "prometheus_client", "refused", "scale", "series", "shards", "spool"]),
    (
        "third",
        &[
            "answers",
            "clients",
            "dashboards",
            "deploy",
            "encrypted",
            "health",
            "kubelet",
            "lines",
            "listeners",
            "migrate",
            "shipped",
            "tasks",
        ],
    ),
];

/// The part that a trial belongs to.
fn part_of(trial: &str) -> &'static str {
    let (suite, what) = trial.split_once("::").unwrap_or((trial, ""));
    let beside = BESIDE.iter().find(|(_, suites)| suites.contains(&suite));
    beside.filter(|_| !what.contains("cost")).map_or(ALONE, |(part, _)| part)
}
