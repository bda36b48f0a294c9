//! The overlays on the whole system, each on the node.

use std::time::Duration;

use seismograf_tests::suite::Outcome;
use seismograf_tests::{pause, try_run, wait_for};
use serde_json::Value;

use super::system::{self, Volumes};
use super::{LIMIT, agent_log, kubectl, manifests, text};

pub(super) fn run() -> Outcome {
    let _volumes = Volumes::new();
    apply("overlays/side-car");
    side_cars_write();
    data_outlive_their_pod();
    // From one to the next, as a person tries them.
    apply("overlays/cluster-before-1.33");
    rights();
    apply("overlays/privileged");
    probes_are_on("overlays/privileged");
    apply("overlays/docker");
    probes_are_on("overlays/docker");
    assert!(
        agent_log().contains("/rootfs/run/docker.sock"),
        "no docker is here, and that is said: {}",
        agent_log()
    );
    kubectl(&["delete", "--kustomize", &manifests::folder("overlays/side-car"), "--timeout=180s"]);
    system::nothing_remains();
    Ok(())
}

fn apply(overlay: &str) {
    kubectl(&["apply", "--kustomize", &manifests::folder(overlay)]);
    system::is_ready();
    println!("cluster: {overlay} is ready");
}

fn side_cars_write() {
    let rollout = ["rollout", "status", "statefulset/etcd", "--namespace=myapp", "--timeout=180s"];
    let rollout = try_run("kubectl", &rollout);
    assert!(rollout.status.success(), "{rollout:?}\n{}", kubectl(&["describe", "pods", "--namespace=myapp"]));
    let mut rows: Vec<Value> = Vec::new();
    let arrived = || {
        pause(Duration::from_secs(1));
        rows = system::query("mydb", "SELECT last(gauge) FROM etcd_server_has_leader GROUP BY *");
        !rows.is_empty()
    };
    wait_for(arrived, LIMIT, "metrics of etcd in the InfluxDB of the other namespace");
    assert_eq!(text(&rows[0]["tags"]["env"]), "prod");
}

fn data_outlive_their_pod() {
    let first = || {
        let rows = system::query("telegraf", "SELECT first(total) FROM mem");
        rows.first().map(|row| row["values"][0][0].clone())
    };
    let mut before = None;
    wait_for(
        || {
            pause(Duration::from_secs(1));
            before = first();
            before.is_some()
        },
        LIMIT,
        "points",
    );
    kubectl(&["delete", "pod", "influxdb-0", "--namespace=monitoring", "--timeout=90s"]);
    system::is_ready();
    wait_for(|| first() == before, LIMIT, "what was stored before the pod was another one");
}

fn rights() {
    let may = |subresource: &str| {
        let account = "--as=system:serviceaccount:monitoring:seismograf";
        let subresource = format!("--subresource={subresource}");
        try_run("kubectl", &["auth", "can-i", "get", "nodes", &subresource, account]).status.success()
    };
    assert!(may("proxy") && may("stats") && !may("pods"));
}

fn probes_are_on(overlay: &str) {
    let log = agent_log();
    assert!(!log.contains("probe is off"), "{overlay}: {log}");
}
