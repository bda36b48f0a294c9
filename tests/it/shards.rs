//! `shard_by`: several influxds that share the series, with the real agent before them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use libtest_mimic::Trial;
use seismograf_tests::http::{free_address, request};
use seismograf_tests::influxd::{Influxd, Setup};
use seismograf_tests::running::Running;
use seismograf_tests::suite::Outcome;
use seismograf_tests::{trial, wait_for};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("shards::each_series_is_on_one_server_and_one_that_is_down_holds_no_other_up", four)]
}

const LIMIT: Duration = Duration::from_secs(60);
const HOSTS: u64 = 200;
/// The series in which the agent reports its output.
const OUTPUT: &str = "seismograf,output=influxdb";

fn config(listen: SocketAddr, servers: &[Influxd], directory: &Path) -> String {
    let urls: Vec<String> = servers.iter().map(Influxd::url).collect();
    format!(
        r#"[agent]
  omit_hostname = true
  interval = "250ms"
  flush_interval = "100ms"
  metric_buffer_limit = 4000
  metric_batch_size = 200
[[inputs.influxdb_listener]]
  service_address = "{listen}"
[[inputs.mem]]
[[outputs.influxdb]]
  urls = {urls:?}
  shard_by = "host"
  database = "db"
  namepass = ["shared", "untagged"]
  buffer_strategy = "disk"
  buffer_directory = "{}"
[[outputs.file]]
  files = ["{{points}}"]
  namepass = ["seismograf"]
"#,
        directory.display()
    )
}

/// A point of each host, and one of none.
fn write(listen: SocketAddr, round: u64) {
    let line = |host: u64| format!("shared,host=node-{host} v={}i {}\n", host * 1_000 + round, 1_000 + round);
    let body: String = (0..HOSTS).map(line).collect();
    let body = format!("{body}untagged v={round}i {}\n", 1_000 + round);
    assert_eq!(request(listen, "POST", "/write?db=x", None, &body).unwrap().status, 204);
}

/// The values that a server has of each host, and of points without one.
fn stored(server: &Influxd) -> BTreeMap<String, BTreeSet<u64>> {
    let mut all: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for series in server.series("db", "SELECT v FROM shared, untagged GROUP BY host") {
        let host = series["tags"]["host"].as_str().unwrap_or_default().to_owned();
        let rows = series["values"].as_array().unwrap();
        all.entry(host).or_default().extend(rows.iter().map(|row| row[1].as_u64().unwrap()));
    }
    all
}

fn n_stored(servers: &[Influxd]) -> usize {
    servers.iter().filter(|server| server.is_running()).flat_map(stored).map(|(_, values)| values.len()).sum()
}

fn four() -> Outcome {
    const BEFORE: u64 = 10;
    const ROUNDS: u64 = 60;
    let mut servers = Vec::new();
    for _ in 0..4 {
        servers.push(Influxd::start(Setup::default())?);
    }
    let (listen, directory) = (free_address(), tempfile::tempdir().unwrap());
    let mut agent = Running::start(&config(listen, &servers, directory.path()))?;
    agent.wait_for_log("listen");
    let of = |rounds: u64| (rounds * (HOSTS + 1)) as usize;
    (0..BEFORE).for_each(|round| write(listen, round));
    wait_for(|| n_stored(&servers) == of(BEFORE), LIMIT, &agent.log());

    let hosts: Vec<BTreeSet<String>> =
        servers.iter().map(|server| stored(server).into_keys().collect()).collect();
    let n_hosts: Vec<usize> = hosts.iter().map(BTreeSet::len).collect();
    println!("shards: {n_hosts:?} of {} series on each of four influxds", HOSTS + 1);
    assert_eq!(n_hosts.iter().sum::<usize>(), HOSTS as usize + 1, "each is on one of them only");
    assert!(n_hosts.iter().all(|n| (25..80).contains(n)), "{n_hosts:?}");

    // Down for as many points as there is no room for in memory, and over a restart of the agent.
    servers[2].kill();
    for round in BEFORE..ROUNDS {
        write(listen, round);
        let others = of(round + 1) - n_hosts[2] * (round + 1) as usize;
        wait_for(|| n_stored(&servers) == others, LIMIT, &agent.log());
    }
    let share = n_hosts[2] * (ROUNDS - BEFORE) as usize;
    let others = of(ROUNDS) - n_hosts[2] * ROUNDS as usize;
    wait_for(|| agent.count(OUTPUT, "spooled") == share as u64, LIMIT, &agent.log());
    println!(
        "shards: with one down, all {others} points of the others are there, and {share} wait in the spool"
    );
    let (is_success, _) = agent.stop();
    assert!(is_success, "{}", agent.log());
    agent.resume();
    agent.wait_for_log("listen");
    wait_for(|| n_stored(&servers) == others, LIMIT, &agent.log());

    servers[2].resume()?;
    wait_for(|| n_stored(&servers) == of(ROUNDS), LIMIT, &agent.log());
    wait_for(|| agent.count(OUTPUT, "spooled") == 0, LIMIT, &agent.log());
    assert_eq!(agent.count(OUTPUT, "written"), share as u64, "what the others have is not sent again");
    let mut all = BTreeMap::new();
    for (server, expected) in servers.iter().zip(&hosts) {
        let stored = stored(server);
        assert!(stored.keys().eq(expected), "a series moved");
        all.extend(stored);
    }
    for host in 0..HOSTS {
        let values: BTreeSet<u64> = (0..ROUNDS).map(|round| host * 1_000 + round).collect();
        assert_eq!(all[&format!("node-{host}")], values);
    }
    assert_eq!(all[""], (0..ROUNDS).collect());
    println!("shards: all {} points read back equal, each from one server", of(ROUNDS));
    Ok(())
}
