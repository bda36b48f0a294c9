//! The article's own manifests: as they are printed no API server takes them; mended by a line or two, they run with nothing
//! changed but the image.

use std::net::SocketAddr;

use seismograf_tests::influxd::{Influxd, Setup};
use seismograf_tests::suite::Outcome;
use seismograf_tests::{try_run, wait_for};
use serde_json::Value;

use super::{LIMIT, agent_log_of, file, kubectl, node, text};

/// What is refused in the file as it is printed.
fn refused(file: &str, reasons: &[&str]) {
    let answer = try_run("kubectl", &["apply", "--dry-run=server", "-f", file]);
    let error = String::from_utf8_lossy(&answer.stderr).into_owned();
    assert!(!answer.status.success(), "{file}: {answer:?}");
    for reason in reasons {
        assert!(error.contains(reason), "{error}");
    }
    println!("cluster: as printed: {}", error.trim());
}

fn server() -> Result<Influxd, seismograf_tests::Skip> {
    Influxd::start(Setup { listen: Some(SocketAddr::new(node(), 8086)), ..Setup::default() })
}

/// The series of a field, with their tags.
fn series(server: &Influxd, database: &str, measurement: &str, field: &str) -> Vec<Value> {
    server.series(database, &format!("SELECT last(\"{field}\") FROM \"{measurement}\" GROUP BY *"))
}

/// Waits for a field of each measurement, whose series all have these tags.
fn arrive(server: &Influxd, database: &str, fields: &[(&str, &str)], pods: &str) {
    for (measurement, field) in fields {
        let mut rows = Vec::new();
        let start = std::time::Instant::now();
        wait_for(
            || {
                rows = series(server, database, measurement, field);
                assert!(start.elapsed() < LIMIT, "no {measurement}\n{}", agent_log_of(pods));
                !rows.is_empty()
            },
            2 * LIMIT,
            measurement,
        );
        for row in &rows {
            assert_eq!(row["tags"]["env"], "prod", "{row}");
            assert_eq!(row["tags"]["host"], "node-1", "{row}");
        }
    }
}

pub(super) fn daemonset() -> Outcome {
    let server = server()?;
    // The article's two commands, with what it asks for replaced.
    kubectl(&["create", "namespace", "monitoring"]);
    let printed = file("article/daemonset/as-printed.yaml");
    refused(&printed, &["volumeMounts[1].name: Not found: \"docker\"", "must be unique"]);
    let host = format!("--from-literal=monitor_host={}", server.url());
    let literals = [
        "--from-literal=env=prod",
        "--from-literal=monitor_username=youruser",
        "--from-literal=monitor_password=yourpassword",
        &host,
        "--from-literal=monitor_database=yourdb",
    ];
    kubectl(&[&["create", "secret", "-n", "monitoring", "generic", "telegraf"], &literals[..]].concat());
    kubectl(&["apply", "-k", &file("article/daemonset")]);
    let rollout = ["rollout", "status", "daemonset/telegraf", "--namespace=monitoring", "--timeout=120s"];
    let rollout = try_run("kubectl", &rollout);
    let pods = "--namespace=monitoring daemonset/telegraf";
    assert!(rollout.status.success(), "{rollout:?}\n{}", agent_log_of(pods));
    let fields = [
        ("cpu", "usage_user"),
        ("disk", "total"),
        ("diskio", "reads"),
        ("kernel", "boot_time"),
        ("mem", "total"),
        ("processes", "total"),
        ("swap", "total"),
        ("system", "load1"),
    ];
    arrive(&server, "yourdb", &fields, pods);
    println!(
        "cluster: the article's DaemonSet runs; {} measurements arrived, as `prod`, of node-1",
        fields.len()
    );
    kubectl(&["delete", "-k", &file("article/daemonset"), "--timeout=120s"]);
    Ok(())
}

pub(super) fn etcd() -> Outcome {
    let server = server()?;
    refused(
        &file("article/etcd/as-printed.yaml"),
        &["no matches for kind \"StatefulSet\" in version \"apps/v1beta1\""],
    );
    kubectl(&["apply", "-k", &file("article/etcd")]);
    let rollout = ["rollout", "status", "statefulset/etcd", "--namespace=myapp", "--timeout=180s"];
    let rollout = try_run("kubectl", &rollout);
    let pods = "--namespace=myapp etcd-0 --container=telegraf";
    assert!(rollout.status.success(), "{rollout:?}\n{}", agent_log_of(pods));
    let fields = [("etcd_server_has_leader", "gauge"), ("etcd_network_peer_sent_bytes_total", "counter")];
    arrive(&server, "mydb", &fields, pods);
    let rows = series(&server, "mydb", "etcd_server_has_leader", "gauge");
    let urls: Vec<String> = rows.iter().map(|row| text(&row["tags"]["url"])).collect();
    assert_eq!(urls, ["http://localhost:2379/metrics"], "three agents of one host are one series");
    let measurements = server.series("mydb", "SHOW MEASUREMENTS WITH MEASUREMENT =~ /^etcd_/");
    let n = measurements[0]["values"].as_array().unwrap().len();
    println!(
        "cluster: the article's etcd runs, three of them; {n} measurements of etcd arrived, as `prod`, of node-1"
    );
    kubectl(&["delete", "-k", &file("article/etcd"), "--timeout=120s"]);
    Ok(())
}
