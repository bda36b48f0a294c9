//! How far one server goes: agents by the thousand, simulated in this process, before one influxd, four, and Kafka.
//!
//! Each agent has a connection of its own, or a share of one, and sends the lines of a gather every ten seconds, packed as an agent
//! packs them; what is sent is made before the clock starts. Where a server does not keep up, an agent sends late. What is
//! measured is what the servers took in the second half of the run. `cargo xtask bench scale` has ten thousand of them.

mod page;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ApiKey, ProduceRequest, RequestHeader, TopicName};
use kafka_protocol::protocol::{Encodable, HeaderVersion, StrBytes};
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, Record,
    RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use libtest_mimic::Trial;
use seismograf_tests::influxd::{Influxd, Setup};
use seismograf_tests::kafka::{Consumer, Kafka, PARTITIONS};
use seismograf_tests::suite::Outcome;
use seismograf_tests::{needs, number, trial, wait_for};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("scale::one_influxd", || influxds(1)),
        trial("scale::four_influxds", || influxds(4)),
        trial("scale::kafka", kafka),
        trial("scale::the_configurations_of_its_page_bring_points_where_they_say", page::run),
    ]
}

/// `SEISMOGRAF_AGENTS=10000` is the whole of it, over `SEISMOGRAF_AGENTS_SECONDS=60`. `SEISMOGRAF_AGENTS_A_CONNECTION=10` has ten
/// times as many, of which ten share a connection: a process has only so many files.
const N_AGENTS: u64 = 100;
const SECONDS: u64 = 4;
/// From one gather of an agent to the next.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long an agent waits for an answer, as its default.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The lines of a gather are those of a node with so many containers.
const CONTAINERS: usize = 30;
const TOPIC: &str = "points";

/// How many agents share a connection.
fn a_connection() -> u64 {
    number("SEISMOGRAF_AGENTS_A_CONNECTION", 1)
}

/// The lines of a gather of one agent, without times: the server sets them, so that no two gathers are the same points.
fn gather(agent: u64) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(agent);
    let mut lines = Vec::new();
    let host = format!("node-{agent:05}");
    let mut count = |max: u64| random.u64(..max);
    for container in 0..CONTAINERS {
        let tags = format!(
            "container_name=app-{container},host={host},namespace=ns-{},pod_name=pod-{container},workload=deployment/app-{container}",
            container % 5
        );
        lines.push(format!(
            "cgroup_cpu,{tags} usage_ns={}i,context_switches={}i,usage_percent={}.5",
            count(1 << 40),
            count(1 << 20),
            count(100)
        ));
        lines.push(format!(
            "cgroup_mem,{tags} usage_bytes={}i,working_set_bytes={}i,rss_bytes={}i,cache_bytes={}i,limit_bytes={}i,page_faults={}i,major_page_faults={}i,oom_kills=0i",
            count(1 << 30), count(1 << 30), count(1 << 30), count(1 << 30), 1_u64 << 30, count(1 << 20), count(1 << 10)
        ));
        lines.push(format!(
            "cgroup_net,{tags} rx_bytes={}i,tx_bytes={}i,rx_packets={}i,tx_packets={}i",
            count(1 << 40),
            count(1 << 40),
            count(1 << 30),
            count(1 << 30)
        ));
        lines.push(format!(
            "cgroup_blkio,{tags},device=sda read_bytes={}i,write_bytes={}i,reads={}i,writes={}i,read_time_ns={}i,write_time_ns={}i",
            count(1 << 40), count(1 << 40), count(1 << 20), count(1 << 20), count(1 << 40), count(1 << 40)
        ));
    }
    for cpu in 0..8 {
        lines.push(format!(
            "cpu,cpu=cpu{cpu},host={host} usage_user={}.25,usage_system={}.5,usage_idle={}.125,usage_iowait=0,usage_steal=0",
            count(50), count(50), count(100)
        ));
    }
    lines.push(format!(
        "mem,host={host} total={}i,used={}i,available={}i,free={}i",
        1_u64 << 34,
        count(1 << 34),
        count(1 << 34),
        count(1 << 34)
    ));
    lines
}

/// Where an agent sends, and what.
struct Agent {
    address: SocketAddr,
    request: Bytes,
    /// How an answer ends.
    answer: Answer,
}

#[derive(Clone, Copy)]
enum Answer {
    /// HTTP, without a body: status 204.
    Http,
    /// A length and that many bytes, with Kafka's code for the partition.
    Kafka,
}

/// What became of the requests of all agents.
#[derive(Default)]
struct Counts {
    taken: AtomicU64,
    refused: AtomicU64,
    late: AtomicU64,
    /// Milliseconds of those that were taken.
    took: Mutex<Vec<u32>>,
}

impl Agent {
    async fn run(self, n: u64, n_connections: u64, counts: Arc<Counts>, end: Instant) {
        let interval = INTERVAL / a_connection() as u32;
        // Spread over the interval, as a fleet with jitter is.
        let phase = interval.mul_f64(n as f64 / n_connections as f64);
        let mut due = Instant::now() + phase.min(end.saturating_duration_since(Instant::now()) / 2);
        let mut connection = None;
        while due < end {
            tokio::time::sleep_until(due).await;
            let start = Instant::now();
            let sent = tokio::time::timeout(TIMEOUT, self.send(&mut connection)).await;
            match sent {
                Ok(Ok(true)) => {
                    counts.taken.fetch_add(1, Ordering::Relaxed);
                    counts.took.lock().unwrap().push(start.elapsed().as_millis() as u32);
                }
                _ => {
                    connection = None;
                    counts.refused.fetch_add(1, Ordering::Relaxed);
                }
            }
            due += interval;
            if due < Instant::now() {
                counts.late.fetch_add(1, Ordering::Relaxed);
                due = Instant::now();
            }
        }
    }

    async fn send(&self, connection: &mut Option<TcpStream>) -> std::io::Result<bool> {
        let stream = match connection {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                none.insert(stream)
            }
        };
        stream.write_all(&self.request).await?;
        match self.answer {
            Answer::Http => {
                let mut answer = Vec::new();
                while !answer.ends_with(b"\r\n\r\n") {
                    answer.push(stream.read_u8().await?);
                }
                Ok(answer.starts_with(b"HTTP/1.1 204"))
            }
            Answer::Kafka => {
                let length = stream.read_i32().await?;
                let mut answer = vec![0; length as usize];
                stream.read_exact(&mut answer).await?;
                // The number of the request, topics, the topic's name, partitions, the partition: then its code.
                let at = 4 + 4 + 2 + TOPIC.len() + 4 + 4;
                Ok(answer[at..at + 2] == [0, 0])
            }
        }
    }
}

/// CPU time of a process, in seconds.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / rustix::param::clock_ticks_per_second() as f64
}

/// As many connections as there are agents.
fn raise_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Runs the agents, and prints what came of it. Returns how many gathers were taken.
fn measure(name: &str, agents: Vec<Agent>, n_lines: usize, servers: &[u32]) -> u64 {
    raise_limit();
    let (n_connections, seconds) = (agents.len() as u64, number("SEISMOGRAF_AGENTS_SECONDS", SECONDS));
    let n_agents = n_connections * a_connection();
    let runtime = seismograf_tests::runtime();
    let counts = Arc::new(Counts::default());
    let bytes: usize = agents.iter().map(|agent| agent.request.len()).sum::<usize>() / agents.len();
    let all_cpu =
        || (servers.iter().map(|pid| cpu_seconds(*pid)).sum::<f64>(), cpu_seconds(std::process::id()));
    let (taken, servers_cpu, own_cpu, took) = runtime.block_on(async {
        let end = Instant::now() + Duration::from_secs(seconds);
        let middle = end - Duration::from_secs(seconds) / 2;
        let mut tasks = tokio::task::JoinSet::new();
        for (n, agent) in (0..).zip(agents) {
            tasks.spawn(agent.run(n, n_connections, Arc::clone(&counts), end));
        }
        tokio::time::sleep_until(middle).await;
        let (before, (servers_before, own_before)) = (counts.taken.load(Ordering::Relaxed), all_cpu());
        counts.took.lock().unwrap().clear();
        tokio::time::sleep_until(end).await;
        let (after, (servers_after, own_after)) = (counts.taken.load(Ordering::Relaxed), all_cpu());
        let mut took = std::mem::take(&mut *counts.took.lock().unwrap());
        took.sort_unstable();
        tasks.join_all().await;
        (after - before, servers_after - servers_before, own_after - own_before, took)
    });
    let half = seconds as f64 / 2.0;
    let rate = taken as f64 / half;
    let percentile = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or(0);
    println!(
        "scale: {name}: {n_agents} agents offer {:.0} gathers of {n_lines} lines ({bytes} bytes) a second; taken {rate:.0}, \
         which are {:.0} lines a second and {:.0} agents; answers after {} ms (median) and {} ms (p99); {} refused or not \
         answered in {TIMEOUT:?}, {} late; CPU: servers {:.2}, sender {:.2}",
        n_agents as f64 / INTERVAL.as_secs_f64(),
        rate * n_lines as f64,
        rate * INTERVAL.as_secs_f64(),
        percentile(50),
        percentile(99),
        counts.refused.load(Ordering::Relaxed),
        counts.late.load(Ordering::Relaxed),
        servers_cpu / half,
        own_cpu / half,
    );
    counts.taken.load(Ordering::Relaxed)
}

fn packed(text: &[u8]) -> Vec<u8> {
    use std::io::Read as _;
    let mut packed = Vec::new();
    flate2::bufread::GzEncoder::new(text, flate2::Compression::fast()).read_to_end(&mut packed).unwrap();
    packed
}

fn influxds(n: usize) -> Outcome {
    needs(&["influxd"])?;
    let mut servers = Vec::new();
    for _ in 0..n {
        let server = Influxd::start(Setup::default())?;
        assert_eq!(server.query("", "CREATE DATABASE db").status, 200);
        servers.push(server);
    }
    let n_agents = number("SEISMOGRAF_AGENTS", N_AGENTS);
    let mut n_lines = 0;
    let agent = |agent: u64| {
        let lines = gather(agent);
        n_lines = lines.len();
        let body = packed(lines.join("\n").as_bytes());
        let address = servers[agent as usize % n].address();
        let head = format!(
            "POST /write?db=db HTTP/1.1\r\nHost: {address}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        Agent { address, request: [head.into_bytes(), body].concat().into(), answer: Answer::Http }
    };
    let agents: Vec<Agent> = (0..n_agents).map(agent).collect();
    let pids: Vec<u32> = servers.iter().map(Influxd::pid).collect();
    let taken = measure(&format!("{n} influxd"), agents, n_lines, &pids);
    let hosts = |server: &Influxd| server.series("db", "SHOW TAG VALUES FROM mem WITH KEY = host");
    let stored: usize = servers
        .iter()
        .map(|server| hosts(server).first().map_or(0, |series| series["values"].as_array().unwrap().len()))
        .sum();
    println!("scale: {n} influxd: {stored} hosts of {n_agents} are there");
    assert!(taken > 0 && stored > 0 && stored <= n_agents as usize, "{taken} {stored}");
    Ok(())
}

fn kafka() -> Outcome {
    let broker = Kafka::start(None)?;
    make_topic(&broker);
    let n_agents = number("SEISMOGRAF_AGENTS", N_AGENTS);
    let mut n_lines = 0;
    let agent = |agent: u64| {
        let lines = gather(agent);
        n_lines = lines.len();
        let request = produce(agent, &lines);
        Agent { address: broker.address(), request, answer: Answer::Kafka }
    };
    let agents: Vec<Agent> = (0..n_agents).map(agent).collect();
    let taken = measure("Kafka", agents, n_lines, &[broker.pid()]);
    let mut consumer = Consumer::connect(broker.address()).unwrap();
    let stored = consumer.n_messages(TOPIC);
    println!("scale: Kafka: {stored} messages are there");
    assert!(stored >= taken * n_lines as u64 && taken > 0, "{stored} of {taken}");
    Ok(())
}

fn make_topic(broker: &Kafka) {
    let mut consumer = Consumer::connect(broker.address()).unwrap();
    consumer.make_topic(TOPIC);
    wait_for(|| consumer.n_partitions(TOPIC) == PARTITIONS, Duration::from_secs(20), "the topic");
}

/// A whole request to produce the lines of an agent, packed by gzip, which waits for all replicas.
fn produce(agent: u64, lines: &[String]) -> Bytes {
    const VERSION: i16 = 7;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let record = |(offset, line): (i64, &String)| Record {
        transactional: false,
        control: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        timestamp_type: TimestampType::Creation,
        offset,
        sequence: NO_SEQUENCE + offset as i32,
        timestamp: now_ms,
        key: Some(format!("node-{agent:05}").into()),
        value: Some(format!("{line}\n").into()),
        headers: Default::default(),
        delete_horizon: false,
    };
    let records: Vec<Record> = (0..).zip(lines).map(record).collect();
    let mut batch = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::Gzip };
    let pack = |records: &mut BytesMut, batch: &mut BytesMut, _: Compression| {
        batch.extend_from_slice(&packed(records));
        Ok(())
    };
    RecordBatchEncoder::encode_with_custom_compression(&mut batch, &records, &options, Some(pack)).unwrap();
    let partition = (agent % PARTITIONS as u64) as i32;
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch.freeze()));
    let topic = TopicName(StrBytes::from_static_str(TOPIC));
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(5_000)
        .with_topic_data(vec![TopicProduceData::default().with_name(topic).with_partition_data(vec![data])]);
    let header = RequestHeader::default()
        .with_request_api_key(ApiKey::Produce as i16)
        .with_request_api_version(VERSION)
        .with_client_id(Some(StrBytes::from_static_str("Telegraf")));
    let mut frame = BytesMut::from(&[0; 4][..]);
    header.encode(&mut frame, ProduceRequest::header_version(VERSION)).unwrap();
    request.encode(&mut frame, VERSION).unwrap();
    let length = (frame.len() - 4) as i32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame.freeze()
}
