//! `[[outputs.prometheus_client]]` under a real Prometheus: each number is the one that was gathered, whoever may ask gets it, and a
//! reload is no gap.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use seismograf::parsers::line_protocol::{Precision, Value, parse};
use seismograf_tests::http::{free_address, request};
use seismograf_tests::prometheus::{Labels, Prometheus, promtool};
use seismograf_tests::running::Running;
use seismograf_tests::suite::Outcome;
use seismograf_tests::{needs, pause, trial, try_run, wait_for};

use crate::encrypted::{authority, certify};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("prometheus_client::each_number_is_the_one_that_was_gathered", numbers),
        trial("prometheus_client::who_may_see_the_page", access),
        trial("prometheus_client::a_reload_is_no_gap", reload),
        trial("prometheus_client::a_series_that_is_written_no_more_expires", expiration),
    ]
}

const LIMIT: Duration = Duration::from_secs(60);

/// The target of a job.
fn at(address: SocketAddr) -> String {
    format!("static_configs:\n  - targets: [\"{address}\"]")
}

/// What was written to a file, as Prometheus is to have it: by name, labels and time in milliseconds.
fn written(agent: &Running) -> BTreeMap<(String, Labels, i64), f64> {
    let text = agent.lines("").join("\n");
    let mut all = BTreeMap::new();
    for line in parse(&text, Precision::Nanoseconds) {
        let line = line.unwrap_or_else(|error| panic!("{error}"));
        let millis = line.time().unwrap().0 / 1_000_000;
        let labels: Labels = line.tags().map(|(key, value)| (key.into_owned(), value.into_owned())).collect();
        for (field, value) in line.fields() {
            let value = match value {
                Value::Int(value) => value as f64,
                Value::UInt(value) => value as f64,
                Value::Float(value) => value,
                _ => continue,
            };
            let name: String = format!("{}_{field}", line.measurement())
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
                .collect();
            all.insert((name, labels.clone(), millis), value);
        }
    }
    all
}

fn numbers() -> Outcome {
    needs(&["prometheus", "promtool"])?;
    let [address, conventions] = [(); 2].map(|()| free_address());
    let config = format!(
        r#"[agent]
  hostname = "h"
  interval = "1s"
  flush_interval = "200ms"
[[inputs.ebpf]]
[[inputs.cpu]]
  collect_cpu_time = true
[[inputs.mem]]
[[inputs.system]]
  fieldexclude = ["uptime_format"]
[[inputs.kernel]]
[[inputs.diskio]]
[[inputs.net]]
  interfaces = ["*"]
[[outputs.file]]
  files = ["{{points}}"]
[[outputs.prometheus_client]]
  listen = "{address}"
  export_timestamp = true
[[outputs.prometheus_client]]
  listen = "{conventions}"
  profile = "prometheus"
"#
    );
    let agent = Running::start(&config)?;
    let prometheus = Prometheus::start(&[("agent", &at(address))])?;
    prometheus.wait_for_scrapes("agent", 8);
    let scraped = prometheus.range("{job=\"agent\"}", "5m");
    // What is on the page is in the file, which is written at the same flush, if not yet.
    pause(Duration::from_secs(1));
    let written = written(&agent);
    let types = prometheus.types("agent");
    let (mut n_series, mut n_samples, mut n_counters) = (0, 0, 0);
    for (mut labels, values) in scraped {
        let name = labels.remove("__name__").unwrap();
        labels.retain(|label, _| label != "job" && label != "instance");
        if !types.contains_key(&name) && !types.contains_key(name.trim_end_matches("_total")) {
            // What Prometheus says of the scrape itself.
            assert!(name == "up" || name.starts_with("scrape_"), "{name}: no type");
            continue;
        }
        n_series += 1;
        let is_counter = name.ends_with("_ns") || name.contains("_bytes") || name.contains("time_");
        for (time, value) in values {
            let expected = written.get(&(name.clone(), labels.clone(), time));
            assert_eq!(expected, Some(&value), "{name} {labels:?} at {time}");
            n_samples += 1;
            n_counters += usize::from(is_counter);
        }
    }
    println!(
        "prometheus_client: {n_samples} samples of {n_series} series are those that were gathered, {n_counters} of them counters"
    );
    assert!(
        n_series > 100 && n_samples > 5 * n_series && n_counters > 200,
        "{n_series} {n_samples} {n_counters}"
    );
    says_little(address)?;
    let page = request(conventions, "GET", "/metrics", None, "").unwrap().body;
    let said = promtool(&page)?;
    println!(
        "prometheus_client: promtool says {} things of {} metrics by its conventions",
        said.len(),
        page.matches("# TYPE ").count()
    );
    assert!(said.is_empty() && page.contains("cgroup_cpu_usage_seconds_total{"), "{said:?}\n{page}");
    Ok(())
}

/// What promtool finds of a page with Telegraf's names is their endings and units, and nothing else.
fn says_little(address: SocketAddr) -> Outcome {
    let page = request(address, "GET", "/metrics", None, "").unwrap().body;
    let said = promtool(&page)?;
    let known = [
        "counter metrics should have \"_total\" suffix",
        "use base unit \"seconds\" instead of",
        "use base unit \"bytes\" instead of",
        "metric names should not contain abbreviated units",
        "non-counter metrics should not have \"_total\" suffix",
        "non-histogram and non-summary metrics should not have",
    ];
    let other: Vec<&String> =
        said.iter().filter(|line| !known.iter().any(|known| line.contains(known))).collect();
    println!("prometheus_client: promtool reads the page and says {} things of Telegraf's names", said.len());
    assert!(other.is_empty(), "{other:?}");
    Ok(())
}

/// Asks by curl; gives the status and the answer.
fn curl(args: &[&str]) -> (u16, String) {
    let mut all = vec!["-sS", "--max-time", "10", "-w", "\n%{http_code}"];
    all.extend(args);
    let output = try_run("curl", &all);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap();
    let status = status.trim().parse().unwrap();
    println!(
        "prometheus_client: {}: {status} {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    (status, body.to_owned())
}

fn access() -> Outcome {
    needs(&["prometheus", "curl"])?;
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (ours, other) = (authority("ours"), authority("other"));
    std::fs::write(path("ca.pem"), ours.pem()).unwrap();
    certify(directory.path(), "server", "127.0.0.1", &ours);
    certify(directory.path(), "client", "client", &ours);
    certify(directory.path(), "stranger", "client", &other);
    let [mutual, basic, away, here] = [(); 4].map(|()| free_address());
    let socket = path("a.sock");
    let config = format!(
        r#"[agent]
  interval = "500ms"
  flush_interval = "500ms"
[[inputs.mem]]
[[outputs.prometheus_client]]
  listen = "{mutual}"
  tls_cert = "{server}.pem"
  tls_key = "{server}.key"
  tls_allowed_cacerts = ["{ca}"]
[[outputs.prometheus_client]]
  listen = "tcp://{basic}"
  path = "/here"
  basic_username = "me"
  basic_password = "a secret"
  http_headers = {{X-Mine = "yes"}}
[[outputs.prometheus_client]]
  listen = "{away}"
  ip_range = ["10.0.0.0/8", "192.168.7.0/24"]
[[outputs.prometheus_client]]
  listen = "{here}"
  ip_range = ["10.0.0.0/8", "127.0.0.0/8"]
[[outputs.prometheus_client]]
  listen = "unix://{socket}"
"#,
        server = path("server"),
        ca = path("ca.pem"),
    );
    let _agent = Running::start(&config)?;
    let has = |address: SocketAddr| {
        request(address, "GET", "/metrics", None, "").is_ok_and(|answer| answer.body.contains("mem_total"))
    };
    wait_for(|| has(here), LIMIT, "the page");
    let tls = format!(
        "scheme: https\ntls_config:\n  ca_file: {ca}\n  cert_file: {client}.pem\n  key_file: {client}.key\n{at}",
        ca = path("ca.pem"),
        client = path("client"),
        at = at(mutual)
    );
    let user =
        format!("metrics_path: /here\nbasic_auth:\n  username: me\n  password: a secret\n{}", at(basic));
    let prometheus =
        Prometheus::start(&[("mutual", &tls), ("basic", &user), ("here", &at(here)), ("away", &at(away))])?;
    for job in ["mutual", "basic", "here"] {
        prometheus.wait_for_scrapes(job, 1);
        assert_eq!(prometheus.query(&format!("mem_total{{job=\"{job}\"}}")).len(), 1, "{job}");
    }
    assert_eq!(prometheus.query("mem_total{job=\"away\"}").len(), 0);
    let url = format!("https://{mutual}/metrics");
    let (ca, client, stranger) = (path("ca.pem"), path("client"), path("stranger"));
    let by = |name: &str| {
        curl(&["--cacert", &ca, "--cert", &format!("{name}.pem"), "--key", &format!("{name}.key"), &url]).0
    };
    assert_eq!((by(&client), by(&stranger), curl(&["--cacert", &ca, &url]).0), (200, 0, 0));
    let url = format!("http://{basic}/here");
    let (status, page) = curl(&["-D", "-", "-u", "me:a secret", &url]);
    assert!(
        status == 200 && page.to_lowercase().contains("x-mine: yes") && page.contains("mem_total"),
        "{page}"
    );
    assert_eq!((curl(&["-u", "me:another", &url]).0, curl(&[&url]).0), (401, 401));
    assert_eq!(curl(&[&format!("http://{away}/metrics")]).0, 403);
    let (status, page) = curl(&["--unix-socket", &socket, "http://localhost/metrics"]);
    assert!(status == 200 && page.contains("mem_total"), "{status} {page}");
    let (status, page) = curl(&[
        "--compressed",
        "-H",
        "Accept: application/openmetrics-text; version=1.0.0",
        &format!("http://{here}/metrics"),
    ]);
    assert!(status == 200 && page.ends_with("# EOF\n"), "{status} {page}");
    Ok(())
}

fn reload() -> Outcome {
    let address = free_address();
    let config = |more: &str| {
        format!(
            r#"[agent]
  hostname = "h"
  interval = "500ms"
  flush_interval = "500ms"
[[inputs.mem]]
[[outputs.prometheus_client]]
  listen = "{address}"
  {more}
"#
        )
    };
    let agent = Running::start(&config(""))?;
    let ask = move || request(address, "GET", "/metrics", None, "");
    wait_for(|| ask().is_ok_and(|answer| answer.body.contains("mem_total")), LIMIT, "the page");
    let is_over = Arc::new(AtomicBool::new(false));
    let n_asked = Arc::new(AtomicUsize::new(0));
    let asker = std::thread::spawn({
        let (is_over, n_asked) = (Arc::clone(&is_over), Arc::clone(&n_asked));
        move || {
            while !is_over.load(Ordering::Relaxed) {
                let answer = ask().unwrap_or_else(|error| panic!("{error}: nobody listens"));
                assert_eq!(answer.status, 200);
                assert!(answer.body.contains("mem_total"), "a page without series: {}", answer.body);
                n_asked.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    for n in 1..=5 {
        let changed = config(&format!("expiration_interval = \"60s\"\n  http_headers = {{X-N = \"{n}\"}}"));
        std::fs::write(agent.directory().join("agent.conf"), changed).unwrap();
        agent.reload();
        let is_new = || {
            curl(&["-sD", "-", "-o", "/dev/null", &format!("http://{address}/metrics")])
                .1
                .contains(&format!("x-n: {n}"))
        };
        wait_for(is_new, LIMIT, "the new options");
    }
    is_over.store(true, Ordering::Relaxed);
    asker.join().unwrap();
    println!(
        "prometheus_client: {} requests over 5 reloads, each answered with series",
        n_asked.load(Ordering::Relaxed)
    );
    // Its own successor may have the address, and nobody else.
    let mut second = Running::start(&config(""))?;
    assert!(!second.ended());
    assert!(second.log().contains("another process listens on"), "{}", second.log());
    Ok(())
}

fn expiration() -> Outcome {
    needs(&["prometheus"])?;
    let (address, listener) = (free_address(), free_address());
    let config = format!(
        r#"[agent]
  omit_hostname = true
  interval = "500ms"
  flush_interval = "500ms"
[[inputs.mem]]
[[inputs.socket_listener]]
  service_address = "udp://{listener}"
[[outputs.prometheus_client]]
  listen = "{address}"
  expiration_interval = "3s"
  read_timeout = "2s"
"#
    );
    let agent = Running::start(&config)?;
    agent.wait_for_log("listen address=");
    let prometheus = Prometheus::start(&[("agent", &at(address))])?;
    prometheus.wait_for_scrapes("agent", 1);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"guest,name=a visits=7i", listener).unwrap();
    let is_there = || {
        prometheus.query("guest_visits").iter().any(|(labels, value)| labels["name"] == "a" && *value == 7.0)
    };
    wait_for(is_there, LIMIT, "the series");
    let start = Instant::now();
    // Without it on the page Prometheus says that it ended, long before its look-back of five minutes.
    wait_for(|| prometheus.query("guest_visits").is_empty(), LIMIT, "its end");
    println!("prometheus_client: a series was gone {:?} after it was seen", start.elapsed());
    assert_eq!(prometheus.query("mem_total").len(), 1, "others go on");
    stalls(address);
    Ok(())
}

/// A client that asks and does not read holds up nobody, and is given up.
fn stalls(address: SocketAddr) {
    let idle: Vec<TcpStream> = (0..4)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            stream
        })
        .collect();
    let start = Instant::now();
    assert_eq!(request(address, "GET", "/metrics", None, "").unwrap().status, 200);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    for mut stream in idle {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        // The rest of the answer, and the end of a connection that has no further request for 10 s.
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
}
