//! The agent as a side-car: beside each member of a real etcd, with the article's own configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use libtest_mimic::Trial;
use seismograf_tests::etcd;
use seismograf_tests::http::{free_address, request};
use seismograf_tests::influxd::{Influxd, Setup};
use seismograf_tests::netns::Star;
use seismograf_tests::running::Running;
use seismograf_tests::suite::Outcome;
use seismograf_tests::{agent_binary, needs, trial, wait_for};
use serde_json::Value;

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("sidecar::each_series_of_three_etcds_arrives", three_etcds),
        trial("sidecar::an_application_writes_to_its_agent", application),
    ]
}

/// The configuration of the manifests, which is the article's; another one of the same kind can be named by `SEISMOGRAF_SIDECAR`.
const CONFIG: &str = include_str!("../../deploy/kubernetes/sidecar/two-containers/seismograf.conf");
const N_MEMBERS: u8 = 3;
const DATABASE: &str = "mydb";

fn three_etcds() -> Outcome {
    needs(&["influxd", "ip", "nsenter", "etcd"])?;
    std::thread::spawn(in_own_networks).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn in_own_networks() -> Outcome {
    let star = Star::new(N_MEMBERS);
    let influxd =
        Influxd::start(Setup { auth: true, listen: Some((Star::HUB, 8086).into()), ..Setup::default() })?;
    let members = etcd::start(&star)?;
    let config = match std::env::var_os("SEISMOGRAF_SIDECAR") {
        Some(path) => std::fs::read_to_string(path).unwrap(),
        None => CONFIG.to_owned(),
    };
    let (agent, url) = (agent_binary()?, influxd.url());
    let start = |member: u8| {
        let host = format!("node{member}");
        let environment = [
            ("ENV", "prod"),
            ("HOSTNAME", &host),
            ("MONITOR_HOST", &url),
            ("MONITOR_USERNAME", "admin"),
            ("MONITOR_PASSWORD", "secret"),
        ];
        Running::start_by(star.command(member, &agent), &config, &environment)
    };
    let agents: Vec<Running> = (0..N_MEMBERS).map(start).collect();

    let (mut n_series, mut n_equal, mut n_moved) = (0, 0, 0);
    for (member, (etcd, agent)) in members.iter().zip(&agents).enumerate() {
        let host = format!("node{member}");
        let before = samples(&etcd.metrics());
        let asked = influxd.times(DATABASE, "etcd_server_has_leader", "gauge").into_iter().max().unwrap_or(0);
        let has_new = || {
            let condition =
                format!("SELECT gauge FROM etcd_server_has_leader WHERE host = '{host}' AND time > {asked}");
            !influxd.series(DATABASE, &condition).is_empty()
        };
        wait_for(
            has_new,
            Duration::from_secs(60),
            &format!("the points of {host}\n{}\n{}", agent.log(), etcd.log()),
        );
        let after = samples(&etcd.metrics());
        let stored = stored(&influxd, &host);
        assert!(before.len() > 500, "{} samples", before.len());
        for (sample, value) in &before {
            // A summary has no quantile before something was observed.
            let Some(value) = value else { continue };
            let found =
                stored.get(sample).unwrap_or_else(|| panic!("{host}: no {sample:?}\n{}", agent.log()));
            // What did not change while the agent read it is what it read; only a gauge can come back to what it was.
            if after.get(sample).is_some_and(|after| *after == Some(*value)) {
                assert!(
                    found == value || sample.2 == "gauge",
                    "{host}: {sample:?} is {value}, stored {found}"
                );
                n_equal += usize::from(found == value);
                n_moved += usize::from(found != value);
            }
        }
        for sample in stored.keys() {
            assert!(after.contains_key(sample), "{host}: etcd has no {sample:?}");
        }
        n_series += before.len();
        let errors: Vec<String> =
            agent.log().lines().filter(|line| line.contains(" E! ")).map(str::to_owned).collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
    println!(
        "sidecar: {n_series} samples of {N_MEMBERS} etcds arrived, {n_equal} of them unchanged and equal"
    );
    assert!(n_equal * 10 > n_series * 8 && n_moved * 100 < n_series, "{n_equal} and {n_moved} of {n_series}");
    Ok(())
}

/// A sample as Telegraf stores it: measurement, labels, field.
type Key = (String, BTreeMap<String, String>, String);

/// The samples of etcd's own page, read without the agent's parser: no label of it has a comma, a quote or a brace.
fn samples(page: &str) -> BTreeMap<Key, Option<f64>> {
    let mut types = BTreeMap::new();
    let mut samples = BTreeMap::new();
    for line in page.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["#", "TYPE", name, kind] = words.as_slice() {
            types.insert((*name).to_owned(), (*kind).to_owned());
        }
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.trim_end_matches('}').split(',').filter_map(|label| label.split_once('='));
        let mut labels: BTreeMap<String, String> = labels
            .map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let parts = ["_bucket", "_count", "_sum"].into_iter().find_map(|suffix| {
            let base = name.strip_suffix(suffix)?;
            let kind = types.get(base)?;
            ["histogram", "summary"]
                .contains(&kind.as_str())
                .then(|| (base.to_owned(), suffix[1..].to_owned()))
        });
        let (measurement, field) = parts.unwrap_or_else(|| {
            let kind = types.get(name).map_or("value", String::as_str);
            (name.to_owned(), if kind == "untyped" { "value" } else { kind }.to_owned())
        });
        let field = match field.as_str() {
            // Like Telegraf, etcd writes bounds as Go does.
            "bucket" => labels.remove("le").unwrap(),
            "summary" => labels.remove("quantile").unwrap(),
            _ => field,
        };
        let value: f64 = value.parse().unwrap();
        samples.insert((measurement, labels, field), value.is_finite().then_some(value));
    }
    samples
}

/// The latest values of a host; its tags besides the labels are checked.
fn stored(influxd: &Influxd, host: &str) -> BTreeMap<Key, f64> {
    let mut stored = BTreeMap::new();
    let query = format!("SELECT * FROM /.*/ WHERE host = '{host}' GROUP BY * ORDER BY time DESC LIMIT 1");
    for series in influxd.series(DATABASE, &query) {
        let name = series["name"].as_str().unwrap().to_owned();
        // The agent's own.
        if name == "seismograf" {
            continue;
        }
        let mut tags: BTreeMap<String, String> = series["tags"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        for (key, value) in [("host", host), ("env", "prod"), ("url", "http://localhost:2379/metrics")] {
            assert_eq!(tags.remove(key).as_deref(), Some(value), "{name}: {key}");
        }
        let columns = series["columns"].as_array().unwrap().iter().map(|column| column.as_str().unwrap());
        let row = columns.zip(series["values"][0].as_array().unwrap());
        for (field, value) in row.filter(|(field, value)| *field != "time" && !Value::is_null(value)) {
            stored.insert((name.clone(), tags.clone(), field.to_owned()), value.as_f64().unwrap());
        }
    }
    stored
}

/// The configuration of the other side-car, on ports that are free here.
const APP_CONFIG: &str = include_str!("../../deploy/kubernetes/sidecar-app/seismograf.conf");

fn application() -> Outcome {
    needs(&["influxd"])?;
    let influxd = Influxd::start(Setup { auth: true, ..Setup::default() })?;
    let (http, udp) = (free_address(), free_address());
    let config = APP_CONFIG
        .replace("127.0.0.1:8086", &http.to_string())
        .replace("127.0.0.1:8094", &udp.to_string())
        .replace("[agent]", "[agent]\n  flush_interval = \"200ms\"");
    let url = influxd.url();
    let environment = [
        ("ENV", "prod"),
        ("HOSTNAME", "node"),
        ("MONITOR_HOST", url.as_str()),
        ("MONITOR_USERNAME", "admin"),
        ("MONITOR_PASSWORD", "secret"),
    ];
    let agent = Running::start_with(&config, &environment)?;
    let limit = Duration::from_secs(30);
    wait_for(|| std::net::TcpStream::connect(http).is_ok(), limit, "the agent to listen");
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for n in 1..=10 {
        let answer = request(http, "POST", "/write?db=other", None, &format!("app_requests count={n}i {n}"));
        assert_eq!(answer.unwrap().status, 204);
        socket.send_to(format!("app_events count={n}i {n}").as_bytes(), udp).unwrap();
    }
    let stored = |database: &str, measurement: &str| {
        let condition = format!("SELECT \"count\" FROM {measurement} WHERE env = 'prod' AND host = 'node'");
        influxd
            .series(database, &condition)
            .first()
            .map_or(0, |series| series["values"].as_array().unwrap().len())
    };
    let all = || stored("other", "app_requests") == 10 && stored("myapp", "app_events") == 10;
    wait_for(all, limit, &format!("what the application wrote\n{}", agent.log()));
    Ok(())
}
