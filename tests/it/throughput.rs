//! Points per second through a listener into a real influxd, beside influxd alone and, where one is, Telegraf's listener.
//!
//! All in one run, since the machine's speed is not the same from one to the next.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use seismograf_tests::http::{free_address, request, write_lines};
use seismograf_tests::influxd::{Influxd, Setup};
use seismograf_tests::suite::Outcome;
use seismograf_tests::{agent_binary, has, needs, number, oracle, terminate, trial, wait_for};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("throughput::listener_to_influxd", listener_to_influxd)]
}

/// How many points go each way, unless this variable says otherwise.
const POINTS: &str = "SEISMOGRAF_POINTS";
const FEW: u64 = 100_000;
/// A Telegraf to run beside it.
pub(crate) const TELEGRAF: &str = "SEISMOGRAF_TELEGRAF";
const N_SERIES: u64 = 1_000;
/// Clients at one time, and lines of a request: applications that write often, and one that fills its batches.
const CASES: [(usize, u64); 2] = [(1, 5_000), (4, 100)];
const LIMIT: Duration = Duration::from_secs(300);
const MAX_MEMORY: u64 = 50_000_000;

/// What stands between the clients and influxd.
#[derive(Clone, Copy)]
enum Way<'a> {
    Direct,
    Agent,
    /// The program.
    Telegraf(&'a str),
}

/// Its process.
struct Between(Child);

impl Drop for Between {
    fn drop(&mut self) {
        terminate(&mut self.0);
    }
}

/// How it went.
struct Result {
    points_per_s: f64,
    /// Of what stands between; of influxd where nothing does.
    cpu_ns_per_point: f64,
    rss: u64,
}

fn listener_to_influxd() -> Outcome {
    needs(&["influxd"])?;
    let n = number(POINTS, FEW);
    let telegraf = std::env::var(TELEGRAF).ok().or_else(|| has("telegraf").then(|| "telegraf".into()));
    if telegraf.is_none() {
        println!("throughput: Telegraf is not beside it: {TELEGRAF} names one");
    }
    for (n_clients, size) in CASES {
        let bodies: Vec<String> = (0..n / size).map(|batch| body(batch * size, size)).collect();
        let of = |way| measure(way, n_clients, &bodies);
        let (direct, agent) = (of(Way::Direct)?, of(Way::Agent)?);
        let telegraf = telegraf.as_deref().map(|program| of(Way::Telegraf(program))).transpose()?;
        let (ratio, cpu) = (agent.points_per_s / direct.points_per_s, agent.cpu_ns_per_point);
        println!(
            "throughput: {n_clients} clients, {size} lines a request: {:.0} points/s into influxd with {:.0} ns of CPU a point, {ratio:.2} times that through the agent, which takes {cpu:.0} ns and {:.1} MB",
            direct.points_per_s,
            direct.cpu_ns_per_point,
            agent.rss as f64 / 1e6
        );
        if let Some(telegraf) = telegraf {
            println!(
                "throughput: {n_clients} clients, {size} lines a request: through Telegraf {:.2} times that, {:.0} ns of CPU a point and {:.1} MB",
                telegraf.points_per_s / direct.points_per_s,
                telegraf.cpu_ns_per_point,
                telegraf.rss as f64 / 1e6
            );
            assert!(cpu * 2.0 < telegraf.cpu_ns_per_point, "{cpu} and {} ns", telegraf.cpu_ns_per_point);
        }
        // The clients, the agent and influxd share the CPUs, of which influxd alone can take more than one.
        assert!(ratio > 0.6, "{ratio}");
        assert!(cpu < direct.cpu_ns_per_point, "{cpu} and {} ns", direct.cpu_ns_per_point);
        assert!(agent.rss <= MAX_MEMORY, "{} bytes", agent.rss);
    }
    Ok(())
}

/// Lines of an application: two tags, three fields.
fn body(first: u64, size: u64) -> String {
    let line = |n: u64| {
        let (series, time) = (n % N_SERIES, 1_700_000_000_000_000_000 + n * 1_000_000);
        format!(
            "requests,service=checkout,instance=i-{series} count={n}i,seconds={}.25,ok=true {time}\n",
            n % 77
        )
    };
    (first..first + size).map(line).collect()
}

fn measure(
    way: Way<'_>,
    n_clients: usize,
    bodies: &[String],
) -> std::result::Result<Result, seismograf_tests::Skip> {
    let n: u64 = bodies.iter().map(|body| body.lines().count() as u64).sum();
    let influxd = Influxd::start(Setup::default())?;
    assert_eq!(influxd.query("", "CREATE DATABASE through").status, 200);
    let listener = free_address();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.conf");
    // As both are delivered, but for the buffer, which has to hold what is written faster than it is stored.
    let is_telegraf = matches!(way, Way::Telegraf(_));
    let config = format!(
        r#"[agent]
  {}
  flush_interval = "1s"
  metric_batch_size = 5000
  metric_buffer_limit = {}
  omit_hostname = true
[[inputs.influxdb_listener]]
  service_address = "{listener}"
[[outputs.influxdb]]
  urls = ["{}"]
  database = "through"
  skip_database_creation = true
"#,
        if is_telegraf { "" } else { "self_metrics = false" },
        if is_telegraf { n } else { 20_000 },
        influxd.url()
    );
    std::fs::write(&path, config).unwrap();
    let start = |program: &std::ffi::OsStr| {
        let mut command = Command::new(program);
        command.arg("--config").arg(&path);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Between(command.spawn().unwrap())
    };
    let between: Option<Between> = match way {
        Way::Direct => None,
        Way::Agent => Some(start(agent_binary()?.as_os_str())),
        Way::Telegraf(program) => Some(start(program.as_ref())),
    };
    let address = if between.is_some() { listener } else { influxd.address() };
    let is_up = || request(address, "GET", "/ping", None, "").is_ok_and(|answer| answer.status == 204);
    wait_for(is_up, LIMIT, "the listener");
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for client in 0..n_clients {
            scope.spawn(move || {
                write_lines(address, "through", bodies.iter().skip(client).step_by(n_clients));
            });
        }
    });
    wait_for(|| taken(&influxd) >= n, LIMIT, "every point to be taken");
    let points_per_s = n as f64 / begun.elapsed().as_secs_f64();
    let (rss, cpu) = oracle::process(between.as_ref().map_or(influxd.pid(), |child| child.0.id()));
    let stored = || influxd.count("through", "requests", "count") == n;
    wait_for(stored, LIMIT, "every point to be stored");
    Ok(Result { points_per_s, cpu_ns_per_point: cpu as f64 / n as f64, rss })
}

/// Points that influxd says it was written: counting the stored ones would take as long as storing them.
fn taken(influxd: &Influxd) -> u64 {
    let series = influxd.series("_internal", "SHOW STATS FOR 'write'");
    let columns = series[0]["columns"].as_array().unwrap();
    let at = columns.iter().position(|column| column == "pointReq").unwrap();
    series[0]["values"][0][at].as_u64().unwrap()
}
