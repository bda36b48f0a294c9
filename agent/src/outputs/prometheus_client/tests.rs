//! Requests as clients send them, and the page that they get.

use std::io::Read as _;

use rstest::rstest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::*;

fn options() -> Options {
    Options { listen: "127.0.0.1:0".into(), ..Options::default() }
}

#[derive(Default)]
struct Machine {
    sockets: Sockets,
    telemetry: Telemetry,
}

impl Machine {
    async fn start(&self, options: Options) -> PrometheusClient {
        let mut output = PrometheusClient::new(options).unwrap();
        output.bind(&self.sockets, &self.telemetry).unwrap();
        output.connect().await;
        output
    }
}

async fn write(output: &PrometheusClient, lines: &str) -> Answer {
    let lines: Vec<Bytes> = lines.lines().map(|line| Bytes::from(format!("{line}\n"))).collect();
    output.write(&[], &lines).await
}

fn port(output: &PrometheusClient) -> String {
    output.endpoint.as_ref().unwrap().name().trim_start_matches("tcp://").to_owned()
}

/// The head and the body of an answer.
async fn ask(output: &PrometheusClient, target: &str, headers: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(port(output)).await.unwrap();
    talk(&mut stream, target, headers).await
}

async fn talk<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    stream: &mut S,
    target: &str,
    headers: &str,
) -> (String, Vec<u8>) {
    let request = format!("{target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let limit = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    limit.expect("no answer in time").unwrap();
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n").unwrap() + 4;
    let body = answer.split_off(end);
    (String::from_utf8(answer).unwrap(), body)
}

#[tokio::test]
async fn the_page_has_what_was_written_in_the_form_that_is_asked_for() {
    let machine = Machine::default();
    let output = machine.start(options()).await;
    let answer =
        write(&output, "mem,host=h total=18446744073709551615u 1\ncpu,cpu=cpu0 time_user=1.5 1").await;
    assert_eq!(answer, Answer::STORED);
    let (head, body) = ask(&output, "GET /metrics", "").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(
        head.contains("content-type: text/plain; version=0.0.4; charset=utf-8; escaping=underscores\r\n"),
        "{head}"
    );
    let text = String::from_utf8(body).unwrap();
    let expected = "\
# HELP cpu_time_user Telegraf collected metric
# TYPE cpu_time_user counter
cpu_time_user{cpu=\"cpu0\"} 1.5
# HELP mem_total Telegraf collected metric
# TYPE mem_total gauge
mem_total{host=\"h\"} 1.8446744073709552e+19
";
    assert_eq!(text, expected);
    let accept = "Accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\nAccept-Encoding: gzip\r\n";
    let (head, body) = ask(&output, "GET /metrics", accept).await;
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(head.contains("content-encoding: gzip\r\n"), "{head}");
    let mut text = String::new();
    flate2::read::GzDecoder::new(body.as_slice()).read_to_string(&mut text).unwrap();
    assert!(text.ends_with("# EOF\n") && text.contains("cpu_time_user{cpu=\"cpu0\"} 1.5\n"), "{text}");
    let (head, body) = ask(&output, "HEAD /metrics", "").await;
    assert!(head.starts_with("HTTP/1.1 200") && body.is_empty(), "{head}");
    for (target, status) in [("GET /", "200"), ("GET /other", "404"), ("POST /metrics", "405")] {
        let (head, _) = ask(&output, target, "").await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{target}: {head}");
    }
}

#[tokio::test]
async fn who_may_see_it() {
    let machine = Machine::default();
    let secured = Options {
        basic_username: "me".into(),
        basic_password: "a:secret".into(),
        http_headers: BTreeMap::from([("X-Mine".to_owned(), "here".into())]),
        ..options()
    };
    let output = machine.start(secured).await;
    // me:a:secret, me:wrong, nothing that is base64
    for (headers, status) in [
        ("Authorization: Basic bWU6YTpzZWNyZXQ=\r\n", "200"),
        ("authorization: basic bWU6YTpzZWNyZXQ=\r\n", "200"),
        ("Authorization: Basic bWU6d3Jvbmc=\r\n", "401"),
        ("Authorization: Basic ???\r\n", "401"),
        ("", "401"),
    ] {
        for path in ["/metrics", "/"] {
            let (head, _) = ask(&output, &format!("GET {path}"), headers).await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{path} {headers}: {head}");
            assert!(head.contains("x-mine: here\r\n"), "{head}");
            assert_eq!(
                head.contains("www-authenticate: Basic realm=\"prometheus\""),
                status == "401",
                "{head}"
            );
        }
    }
    let elsewhere = Machine::default();
    let away = elsewhere.start(Options { ip_range: vec!["10.0.0.0/8".into()], ..options() }).await;
    assert!(ask(&away, "GET /metrics", "").await.0.starts_with("HTTP/1.1 403"));
    let ranges = vec!["10.0.0.0/8".into(), "127.0.0.0/8".into()];
    let machines = [machine, elsewhere, Machine::default()];
    let here = machines[2].start(Options { ip_range: ranges, ..options() }).await;
    assert!(ask(&here, "GET /metrics", "").await.0.starts_with("HTTP/1.1 200"));
    // Those that were turned away are counted at their socket.
    let refused = machines.map(|machine| {
        let points = machine.telemetry.points(Timestamp(0));
        points.iter().find_map(|point| point.field_value("refused").cloned()).unwrap()
    });
    assert_eq!(refused, [6, 1, 0].map(crate::point::FieldValue::Int));
}

#[tokio::test]
async fn a_successor_has_the_socket_and_the_series() {
    let machine = Machine::default();
    let first = machine.start(options()).await;
    write(&first, "m n=1i 1").await;
    let at = port(&first);
    let again = machine.start(Options { basic_username: "me".into(), path: "/p".into(), ..options() }).await;
    drop(first);
    assert_eq!(port(&again), at);
    let (head, body) = ask(&again, "GET /p", "Authorization: Basic bWU6\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(String::from_utf8(body).unwrap().contains("m_n 1\n"));
    let other = machine.start(Options { metric_version: 2, ..options() }).await;
    drop(again);
    let (_, body) = ask(&other, "GET /metrics", "").await;
    assert_eq!(String::from_utf8(body).unwrap(), "", "other names are other series");
    let mut second = PrometheusClient::new(Options { listen: at, ..options() }).unwrap();
    assert!(second.bind(&machine.sockets, &machine.telemetry).is_err());
}

#[tokio::test]
async fn one_that_is_taken_says_what_to_do() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = other.local_addr().unwrap().to_string();
    let mut output = PrometheusClient::new(Options { listen: listen.clone(), ..options() }).unwrap();
    let error = output.bind(&Sockets::default(), &Telemetry::default()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("`listen`: another process listens on {listen}")), "{error}");
}

#[tokio::test]
async fn a_unix_socket_is_served_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.sock");
    let machine = Machine::default();
    let listen = format!("unix://{}", path.display());
    let output = machine.start(Options { listen, ip_range: vec!["10.0.0.0/8".into()], ..options() }).await;
    assert_eq!(output.options.remarks().len(), 1);
    write(&output, "m n=1i 1").await;
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let (head, body) = talk(&mut stream, "GET /metrics", "").await;
    assert!(head.starts_with("HTTP/1.1 200") && body.ends_with(b"m_n 1\n"), "{head}");
}

#[tokio::test]
async fn what_is_beyond_the_limit_is_counted_and_said() {
    let output = PrometheusClient::new(options()).unwrap();
    *output.collection.lock().await = Collection::new(1_000, Duration::ZERO);
    let lines: String = (0..100).map(|i| format!("m,a={i} n=1i,o=1i 1\n")).collect();
    let Answer::Stored { dropped, reason } = write(&output, &lines).await else { panic!() };
    assert!(dropped > 90 && reason.contains("no room for one of m_"), "{dropped} {reason}");
    assert_eq!(write(&output, "m,a=0 n=2i 2").await, Answer::STORED);
    write(&output, "other count=1,sum=2,0.5=3 1").await;
}

#[rstest]
#[case(Options { metric_version: 3, ..options() }, "`metric_version`: `3`: it is 1 or 2")]
#[case(Options { listen: "udp://:1".into(), ..options() }, "`listen`: `udp://:1`: write it as")]
#[case(Options { listen: "vsock://:1".into(), ..options() }, "`listen`: `vsock` is not listened on")]
#[case(Options { listen: "nowhere".into(), ..options() }, "`listen`: `nowhere` needs a port")]
#[case(Options { ip_range: vec!["10.0.0.1".into()], ..options() }, "`ip_range`: `10.0.0.1` is no range")]
#[case(Options { path: "metrics".into(), ..options() }, "`path`: `metrics` must begin with a slash")]
#[case(Options { name_sanitization: "ascii".into(), ..options() }, "`name_sanitization`: `ascii`: it is")]
#[case(Options { http_headers: BTreeMap::from([("a b".into(), "c".into())]), ..options() }, "`http_headers`: `a b`: ")]
#[case(Options { metric_types: MetricTypes { gauge: vec!["[".into()], ..MetricTypes::default() }, ..options() }, "`metric_types`: bad glob")]
#[case(Options { server_tls: ServerTls { tls_cert: "x".into(), ..ServerTls::default() }, ..options() }, "`tls_cert`: needs `tls_key`")]
fn rejects_what_it_cannot_use(#[case] options: Options, #[case] expected: &str) {
    let error = PrometheusClient::new(options).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.starts_with(expected), "{error}");
}

#[rstest]
#[case("", ":9273")]
#[case(":9273", ":9273")]
#[case("http://localhost:1/x", "localhost:1")]
#[case("tcp://:1", ":1")]
#[case("unix:///a/b", "unix:///a/b")]
fn addresses_are_written_in_several_ways(#[case] listen: &str, #[case] expected: &str) {
    assert_eq!(Options { listen: listen.into(), ..options() }.address(), expected);
}
