//! A client with ever new series: what becomes of them, of the agent and of the server, and what counting series costs.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use seismograf_tests::http::{free_address, write_lines};
use seismograf_tests::influxd::{Influxd, Setup};
use seismograf_tests::running::Running;
use seismograf_tests::suite::Outcome;
use seismograf_tests::{Skip, needs, number, oracle, trial, wait_for};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("cardinality::series_without_end_become_one_and_their_sum_holds", series_without_end),
        trial("cardinality::what_counting_costs", cost),
    ]
}

/// `SEISMOGRAF_SERIES=1000000` is the whole of it.
const N_SERIES: u64 = 50_000;
const SERIES_LIMIT: u64 = 10_000;
const N_CLIENTS: u64 = 2;
const LINES: u64 = 1_000;
const TIME_LIMIT: Duration = Duration::from_secs(300);
/// Of the agent, beside the 24 bytes of a series and what waits in its queue and buffer.
const MAX_MEMORY: u64 = 50_000_000;

fn series_without_end() -> Outcome {
    needs(&["influxd"])?;
    let n = number("SEISMOGRAF_SERIES", N_SERIES);
    let influxd = Influxd::start(Setup::default())?;
    let address = free_address();
    let config = format!(
        r#"[agent]
  hostname = "h"
  interval = "1s"
  flush_interval = "1s"
  metric_batch_size = 5000
  metric_series_limit = {SERIES_LIMIT}
[[inputs.mem]]
[[inputs.influxdb_listener]]
  service_address = "{address}"
[[outputs.influxdb]]
  urls = ["{}"]
  database = "series"
  namedrop = ["seismograf"]
[[outputs.file]]
  files = ["{{points}}"]
  namepass = ["seismograf"]
"#,
        influxd.url()
    );
    let agent = Running::start(&config)?;
    agent.wait_for_log("] listen ");
    let start = Instant::now();
    std::thread::scope(|scope| {
        for client in 0..N_CLIENTS {
            let batches = (0..n / LINES).filter(move |batch| batch % N_CLIENTS == client);
            scope.spawn(move || write_lines(address, "series", batches.map(new_series)));
        }
    });
    let took = start.elapsed();
    let sum = || sum(&influxd, "v");
    wait_for(|| sum() >= n as f64, TIME_LIMIT, &format!("{n} points in the sum\n{}", agent.log()));
    assert_eq!(sum(), n as f64);
    assert_eq!(self::sum(&influxd, "f"), n as f64 / 4.0);
    let stored = influxd.series("series", "SHOW SERIES EXACT CARDINALITY");
    let stored: u64 = stored.iter().map(|series| series["values"][0][0].as_u64().unwrap()).sum();
    let others = influxd.series("series", "SHOW SERIES FROM requests WHERE id = 'other'");
    let others = others[0]["values"].as_array().unwrap().len();
    let input = "seismograf,host=h,input=influxdb_listener,";
    // The agent tells of it at each gather, so a moment later.
    let all = || agent.count(input, "collapsed") >= n - SERIES_LIMIT;
    wait_for(all, TIME_LIMIT, "the agent's own figures");
    let (series, collapsed) = (agent.count(input, "series"), agent.count(input, "collapsed"));
    let memory = oracle::status_bytes(agent.pid(), "VmHWM:");
    println!(
        "cardinality: {n} new series in {:.1} s: {stored} of them in influxd with a limit of {SERIES_LIMIT}, {others} rows `other` with {collapsed} points; the sum is exact; the agent had {:.1} MB at most",
        took.as_secs_f64(),
        memory as f64 / 1e6
    );
    // A quarter is the share of the other input, a sixteenth is for rows `other`.
    assert!(stored <= SERIES_LIMIT && stored > SERIES_LIMIT * 2 / 3, "{stored}");
    assert!(others >= 8, "one of each service");
    assert!(series <= SERIES_LIMIT, "{series}");
    assert!(memory < MAX_MEMORY, "{memory} bytes");
    let log = agent.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("metric_series_limit")).collect();
    assert!(
        matches!(told[..], [line] if line.contains("measurement=requests") && line.contains("tag=id")),
        "{told:?}"
    );
    println!("cardinality: the log: {}", told[0]);
    Ok(())
}

/// Lines of applications that put the number of a request into a tag.
fn new_series(batch: u64) -> String {
    let line = |n: u64| format!("requests,service=s{},id={n} v=1i,f=0.25\n", n % 8);
    (batch * LINES..(batch + 1) * LINES).map(line).collect()
}

/// The sum of a field of all series.
fn sum(influxd: &Influxd, field: &str) -> f64 {
    let series = influxd.series("series", &format!("SELECT sum(\"{field}\") FROM requests"));
    series.first().map_or(0.0, |series| series["values"][0][1].as_f64().unwrap())
}

/// Points of each measured run, unless this variable says otherwise.
const COSTED: &str = "SEISMOGRAF_POINTS";
const FEW: u64 = 100_000;
const ROUNDS: usize = 3;

/// CPU time of a point of a known series from a listener into a file, without a limit and with one, by turns.
fn cost() -> Outcome {
    let n = number(COSTED, FEW);
    let (mut without, mut with) = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        without = without.min(cpu_ns_per_point(0, n)?);
        with = with.min(cpu_ns_per_point(SERIES_LIMIT, n)?);
    }
    println!("cardinality: a point costs {without:.0} ns of CPU without a limit, {with:.0} ns with one");
    // Hashing takes a tenth of it; the rest is what two runs differ by.
    assert!(with < without * 1.5 + 100.0, "{without:.0} and {with:.0} ns");
    Ok(())
}

fn cpu_ns_per_point(limit: u64, n: u64) -> Result<f64, Skip> {
    let address: SocketAddr = free_address();
    let config = format!(
        r#"[agent]
  hostname = "h"
  interval = "1s"
  flush_interval = "200ms"
  metric_batch_size = 5000
  metric_buffer_limit = 40000
  metric_series_limit = {limit}
[[inputs.influxdb_listener]]
  service_address = "{address}"
[[outputs.file]]
  files = ["{{points}}"]
"#
    );
    let agent = Running::start(&config)?;
    agent.wait_for_log("] listen ");
    let known = |batch: u64| -> String {
        let line = |n: u64| {
            format!("requests,service=checkout,instance=i-{} count={n}i,seconds=0.25 {}\n", n % 1_000, n + 1)
        };
        (batch * LINES..(batch + 1) * LINES).map(line).collect()
    };
    write_lines(address, "a", (0..n / LINES).map(known));
    let written = || agent.count("seismograf,host=h,output=file,", "written") >= n;
    wait_for(written, TIME_LIMIT, "all points to be written");
    Ok(oracle::process(agent.pid()).1 as f64 / n as f64)
}
