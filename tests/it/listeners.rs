//! What listens, under load and under attack.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use seismograf_tests::http::{free_address, gzip, request};
use seismograf_tests::influxd::{Influxd, Setup};
use seismograf_tests::running::{Running, int};
use seismograf_tests::suite::Outcome;
use seismograf_tests::{Skip, needs, number, oracle, pause, trial, wait_for};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("listeners::each_datagram_is_taken_or_counted", datagrams),
        trial("listeners::a_good_client_is_served_among_bad_ones", attacks),
    ]
}

const LIMIT: Duration = Duration::from_secs(120);
/// `SEISMOGRAF_DATAGRAMS=2000000` is the whole of it.
const N_DATAGRAMS: u64 = 200_000;

/// The latest figures of what listens.
fn figure(agent: &Running, field: &str) -> u64 {
    let lines = agent.lines("seismograf,");
    let line = lines.iter().rev().find(|line| line.contains(",part=listener "));
    line.and_then(|line| int(line, field)).map_or(0, |n| u64::try_from(n).unwrap())
}

/// A datagram of the test; one in a hundred is malformed.
fn datagram(n: u64) -> String {
    if n % 100 == 99 { format!("no line {n}") } else { format!("udp n={n}i {}", n + 1) }
}

fn datagrams() -> Outcome {
    needs(&["influxd"])?;
    let n_datagrams = number("SEISMOGRAF_DATAGRAMS", N_DATAGRAMS);
    let influxd = Influxd::start(Setup::default())?;
    let address = free_address();
    let config = format!(
        r#"[agent]
  hostname = "h"
  interval = "500ms"
  flush_interval = "500ms"
  metric_batch_size = 5000
  metric_buffer_limit = 100000
[[inputs.socket_listener]]
  service_address = "udp://{address}"
  read_buffer_size = "8MiB"
[[outputs.influxdb]]
  urls = ["{}"]
  database = "udp"
  namedrop = ["seismograf"]
[[outputs.file]]
  files = ["{{points}}"]
  namepass = ["seismograf"]
"#,
        influxd.url()
    );
    let mut agent = Running::start(&config)?;
    agent.wait_for_log("listen");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let start = Instant::now();
    for n in 0..n_datagrams {
        socket.send_to(datagram(n).as_bytes(), address).unwrap();
    }
    let took = start.elapsed();
    let counted = || figure(&agent, "datagrams") + figure(&agent, "overflow");
    let what = format!("all datagrams to be counted\n{}", agent.log());
    wait_for(|| counted() >= n_datagrams, LIMIT, &what);
    assert_eq!(counted(), n_datagrams);
    let (points, malformed) = (figure(&agent, "points"), figure(&agent, "malformed"));
    assert_eq!(points + malformed, figure(&agent, "datagrams"));
    let what = format!("{points} points\n{}", agent.log());
    wait_for(|| influxd.count("udp", "udp", "n") >= points, LIMIT, &what);
    assert_eq!(influxd.count("udp", "udp", "n"), points, "stored and said");
    println!(
        "listeners: {n_datagrams} datagrams sent in {took:?}: {} taken, {} dropped by the kernel, {malformed} malformed, \
         {points} stored",
        figure(&agent, "datagrams"),
        figure(&agent, "overflow"),
    );

    // The end of the agent is nothing to the sender. It is not slower by more than what a busy machine is.
    let time = |n: u64| {
        let start = Instant::now();
        for n in 0..n {
            // The kernel may tell of a datagram before that nobody took.
            let _ = socket.send_to(datagram(n).as_bytes(), address);
        }
        start.elapsed()
    };
    let with = time(200_000);
    agent.kill();
    let without = time(200_000);
    println!("listeners: 200,000 datagrams in {with:?} with the agent, in {without:?} after it was killed");
    assert!(without < with * 3);
    Ok(())
}

/// Resident bytes of a process, and the most that there were.
fn memory(pid: u32) -> (u64, u64) {
    (oracle::status_bytes(pid, "VmRSS:"), oracle::status_bytes(pid, "VmHWM:"))
}

/// A good client's write; how long it took.
fn good(address: SocketAddr, n: u64) -> Duration {
    let start = Instant::now();
    let path = "/write?db=good";
    let answer = request(address, "POST", path, None, &format!("good n={n}i {}", n + 1)).unwrap();
    assert_eq!(answer.status, 204, "{answer:?}");
    start.elapsed()
}

const N_SLOW: usize = 10_000;
const N_BOMBS: usize = 50;
const MAX_MEMORY: u64 = 64 << 20;

fn attacks() -> Outcome {
    raise_file_limit()?;
    let (http, udp) = (free_address(), free_address());
    let config = format!(
        r#"[agent]
  hostname = "h"
  interval = "500ms"
  flush_interval = "500ms"
[[inputs.influxdb_listener]]
  service_address = "{http}"
[[inputs.socket_listener]]
  service_address = "udp://{udp}"
[[inputs.mem]]
[[outputs.file]]
  files = ["{{points}}"]
"#
    );
    let agent = Running::start(&config)?;
    wait_for(|| TcpStream::connect(http).is_ok(), LIMIT, "the listener");
    let mut served = Vec::new();
    let mut write = |n: u64| served.push(good(http, n));
    write(0);

    // Connections that send a head byte by byte.
    let mut slow = Vec::new();
    for n in 0..N_SLOW {
        let mut stream = TcpStream::connect(http).unwrap();
        let _ = stream.write_all(b"POST /write HTTP/1.1\r\nHost: x\r\nX: ");
        slow.push(stream);
        if n % 500 == 0 {
            write(1 + n as u64);
        }
    }
    println!("listeners: {N_SLOW} slow connections: {} MB", memory(agent.pid()).0 >> 20);
    let bomb = gzip(&vec![b'\n'; 64 << 20]);
    let bombs: Vec<_> = (0..N_BOMBS)
        .map(|_| {
            let bomb = bomb.clone();
            std::thread::spawn(move || {
                let mut stream = TcpStream::connect(http).unwrap();
                let length = bomb.len();
                let head = format!("POST /write HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n");
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&bomb));
                let mut answer = [0; 12];
                let _ = stream.read_exact(&mut answer);
                assert_eq!(&answer, b"HTTP/1.1 413");
            })
        })
        .collect();
    let endless: Vec<_> = (0..20)
        .map(|_| {
            std::thread::spawn(move || {
                let mut stream = TcpStream::connect(http).unwrap();
                let _ = stream
                    .write_all(b"POST /write HTTP/1.1\r\nHost: x\r\nContent-Length: 30000000\r\n\r\nm f=\"");
                let piece = vec![b'x'; 64 << 10];
                for _ in 0..400 {
                    if stream.write_all(&piece).is_err() {
                        break;
                    }
                }
            })
        })
        .collect();
    let junk = std::thread::spawn(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..1_000_000 {
            let junk: Vec<u8> = (0..random.usize(1..100)).map(|_| random.u8(..)).collect();
            let _ = socket.send_to(&junk, udp);
        }
    });
    let mut n = 100_000;
    while !junk.is_finished() || bombs.iter().chain(&endless).any(|thread| !thread.is_finished()) {
        write(n);
        n += 1;
        pause(Duration::from_millis(20));
    }
    for thread in bombs.into_iter().chain(endless).chain([junk]) {
        thread.join().unwrap();
    }
    drop(slow);
    write(n + 1);
    let (now, most) = memory(agent.pid());
    let slowest = served.iter().max().unwrap();
    println!(
        "listeners: {N_BOMBS} bombs, endless lines, a million junk datagrams and {N_SLOW} slow connections: {} writes of a \
         good client, the slowest in {slowest:?}; {} MB at most, {} MB after",
        served.len(),
        most >> 20,
        now >> 20
    );
    assert!(most < MAX_MEMORY, "{most} bytes");
    assert!(*slowest < Duration::from_secs(1), "{slowest:?}");
    let stored = || agent.lines("good,").len();
    wait_for(|| stored() >= served.len(), LIMIT, "the good client's points");
    assert_gathers_on_time(&agent);
    Ok(())
}

fn assert_gathers_on_time(agent: &Running) {
    let mut times = agent.times("mem", "used");
    times.dedup();
    let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(longest <= 1_000_000_000, "{longest} ns between two gathers");
}

/// The test needs a descriptor for each connection.
fn raise_file_limit() -> Result<(), Skip> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = N_SLOW as u64 + 500;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let maximum = limit.maximum.map(|maximum| maximum.max(wanted));
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })
        .map_err(|error| Skip::because(format!("{wanted} files cannot be open at once: {error}")))
}
