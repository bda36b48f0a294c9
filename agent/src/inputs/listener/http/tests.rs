//! Requests as clients send them, byte by byte, and what they are answered.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::inputs::listener::testing::{Started, gzip, names};
use crate::inputs::{influxdb_listener as v1, influxdb_v2_listener as v2};

const ADDRESS: &str = "127.0.0.1:0";

fn v1_options() -> v1::Options {
    v1::Options { service_address: ADDRESS.into(), ..v1::Options::default() }
}

fn v2_options() -> v2::Options {
    v2::Options { service_address: ADDRESS.into(), ..v2::Options::default() }
}

/// A request with a body, whose connection is closed after the answer.
fn request(line: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// Sends bytes and reads the answer to its end.
async fn send(started: &mut Started, bytes: &[u8]) -> String {
    // It listens between gathers too.
    let _ = tokio::time::timeout(Duration::ZERO, started.input.between()).await;
    let mut stream = TcpStream::connect(started.address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = String::new();
    let limit = tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await;
    limit.expect("no answer in time").unwrap();
    answer
}

fn has(answer: &str, parts: &[&str]) {
    for part in parts {
        assert!(answer.contains(part), "no {part:?} in {answer}");
    }
}

#[tokio::test]
async fn writes_of_version_1() {
    let tags = v1::Options { database_tag: "db".into(), retention_policy_tag: "rp".into(), ..v1_options() };
    let mut started = Started::new(&tags);
    let write = |query: &str, body: &[u8]| request(&format!("POST /write?{query}"), "", body);
    let answer = send(&mut started, &write("db=a&rp=week&precision=ms", b"m,t=x f=1 5\nn f=2i 6")).await;
    has(
        &answer,
        &["HTTP/1.1 204", "x-influxdb-version: 1.8.10\r\n", "x-influxdb-build: OSS", "request-id: "],
    );
    let points = started.points(2).await;
    assert_eq!((names(&points).as_str(), points[0].time.0), ("m n", 5_000_000));
    assert_eq!((points[1].tag_value("db"), points[1].tag_value("rp")), (Some("a"), Some("week")));

    has(&send(&mut started, &write("db=a", b"")).await, &["HTTP/1.1 204"]);
    let answer = send(&mut started, &write("db=a", b"good f=1 1\nbad\n")).await;
    has(&answer, &["HTTP/1.1 400", "application/json"]);
    has(&answer, &[r#"{"error":"partial write: unable to parse 'bad': missing fields (line 2) dropped=1"}"#]);
    assert_eq!(names(&started.points(1).await), "good");
    let answer = send(&mut started, &write("db=a", b"bad\n")).await;
    has(
        &answer,
        &[r#"{"error":"unable to parse 'bad': missing fields (line 1)"}"#, "x-influxdb-error: unable"],
    );
    let answer = send(&mut started, &request("GET /write", "", b"")).await;
    has(&answer, &["HTTP/1.1 405", "allow: POST"]);
    has(&send(&mut started, &request("GET /none", "", b"")).await, &["HTTP/1.1 404", "404 page not found"]);
}

#[tokio::test]
async fn bodies_in_members_and_chunks() {
    let mut started = Started::new(&v1_options());
    let packed = [gzip(b"a f=1 1\nb f=\"x"), gzip(b"\ny\" 2\nc f=3 3")].concat();
    let answer = send(&mut started, &request("POST /write", "Content-Encoding: gzip\r\n", &packed)).await;
    has(&answer, &["HTTP/1.1 204"]);
    let mut chunked =
        b"POST /write HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            .to_vec();
    for piece in b"d f=1 1\ne f=\"x\ny\" 2\n".chunks(3) {
        chunked.extend(format!("{:x}\r\n", piece.len()).bytes());
        chunked.extend(piece);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    has(&send(&mut started, &chunked).await, &["HTTP/1.1 204"]);
    assert_eq!(names(&started.points(5).await), "a b c d e");
    let answer = send(&mut started, &request("POST /write", "Content-Encoding: gzip\r\n", b"no gzip")).await;
    has(&answer, &["HTTP/1.1 400", "the body is no gzip"]);
    let answer = send(&mut started, &request("POST /write", "Content-Encoding: br\r\n", b"m f=1")).await;
    has(&answer, &["HTTP/1.1 400", "must be gzip or identity"]);
    has(
        &send(&mut started, &request("POST /write", "Content-Encoding: gzip\r\n", b"")).await,
        &["HTTP/1.1 204"],
    );
}

#[tokio::test]
async fn bodies_have_a_limit_on_both_sides_of_unpacking() {
    let mut started = Started::new(&v1::Options { max_body_size: 1_000, ..v1_options() });
    let long = b"m f=1 1\n".repeat(126);
    has(
        &send(&mut started, &request("POST /write", "", &long)).await,
        &["HTTP/1.1 413", "request body too large"],
    );
    let bomb = request("POST /write", "Content-Encoding: gzip\r\n", &gzip(&long));
    has(&send(&mut started, &bomb).await, &["HTTP/1.1 413"]);
    let exact = request("POST /write", "", &b"m f=1 1\n".repeat(125));
    has(&send(&mut started, &exact).await, &["HTTP/1.1 204"]);
    let mut started = Started::new(&v2::Options { max_body_size: 1_000, ..v2_options() });
    let answer = send(&mut started, &request("POST /api/v2/write", "", &long)).await;
    has(&answer, &["HTTP/1.1 413", r#""maxLength":"1000""#]);
}

#[tokio::test]
async fn a_line_that_does_not_end_is_refused() {
    let mut started = Started::new(&v1_options());
    let endless = [b"m f=\"".as_slice(), &vec![b'x'; 2 << 20]].concat();
    has(
        &send(&mut started, &request("POST /write", "", &endless)).await,
        &["HTTP/1.1 400", "a line has more than"],
    );
    has(&send(&mut started, &request("POST /write", "", b"m f=1")).await, &["HTTP/1.1 204"]);
}

#[tokio::test]
async fn what_clients_ask_before_they_write() {
    let mut started = Started::new(&v1_options());
    for method in ["GET", "HEAD"] {
        let answer = send(&mut started, &request(&format!("{method} /ping"), "", b"")).await;
        has(&answer, &["HTTP/1.1 204", "x-influxdb-version: 1.8.10"]);
    }
    has(
        &send(&mut started, &request("GET /ping?verbose=true", "", b"")).await,
        &["HTTP/1.1 200", "\"version\""],
    );
    has(&send(&mut started, &request("GET /health", "", b"")).await, &["HTTP/1.1 200", r#""status":"pass""#]);
    has(&send(&mut started, &request("GET /ready", "", b"")).await, &["HTTP/1.1 200", r#""status":"ready""#]);
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let answer = send(&mut started, &request("POST /query", form, b"q=CREATE+DATABASE+%22x+y%22")).await;
    has(&answer, &["HTTP/1.1 200", r#"{"results":[{"statement_id":0}]}"#]);
    send(&mut started, &request("POST /write?db=w", "", b"m f=1")).await;
    let answer = send(&mut started, &request("GET /query?q=SHOW%20DATABASES", "", b"")).await;
    has(&answer, &[r#""values":[["w"],["x y"]]"#]);
    let answer = send(&mut started, &request("GET /query", "", b"")).await;
    has(&answer, &["HTTP/1.1 400", r#"missing required parameter \"q\""#]);
}

#[tokio::test]
async fn queries_and_names_have_a_limit() {
    let mut started = Started::new(&v1_options());
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let many = [b"q=".as_slice(), &b"x%3B".repeat(200)].concat();
    let answer = send(&mut started, &request("POST /query", form, &many)).await;
    has(&answer, &["HTTP/1.1 400", r#"{"error":"error parsing query: more than 100 statements"#]);
    let long = [b"q=".as_slice(), &vec![b'x'; 64 << 10]].concat();
    let answer = send(&mut started, &request("POST /query", form, &long)).await;
    has(&answer, &["HTTP/1.1 413", "http: request body too large"]);
    for name in ["db", "rp"] {
        let line = format!("POST /write?{name}={}", "x".repeat(256));
        let answer = send(&mut started, &request(&line, "", b"m f=1")).await;
        has(&answer, &["HTTP/1.1 400", r#"{"error":"name too long"}"#]);
    }
    assert_eq!(started.count("points"), 0);
}

#[tokio::test]
async fn writes_of_version_2() {
    let options = v2::Options { bucket_tag: "bucket".into(), token: "t".into(), ..v2_options() };
    let mut started = Started::new(&options);
    let write = |query: &str, token: &str, body: &[u8]| {
        request(&format!("POST /api/v2/write?{query}"), &format!("Authorization: Token {token}\r\n"), body)
    };
    let answer =
        send(&mut started, &write("org=o&bucket=b&precision=s", "t", b"a f=1 2\nbad\nb f=1 3")).await;
    has(&answer, &["HTTP/1.1 400", r#""code":"invalid""#, "unable to parse 'bad': missing fields (line 2)"]);
    let points = started.points(2).await;
    assert_eq!((points[1].time.0, points[1].tag_value("bucket")), (3_000_000_000, Some("b")));
    let answer = send(&mut started, &write("precision=m", "t", b"m f=1 1")).await;
    has(&answer, &["HTTP/1.1 400", "invalid precision"]);
    let answer = send(&mut started, &write("bucket=b", "wrong", b"m f=1 1")).await;
    has(&answer, &["HTTP/1.1 401", r#"{"code":"unauthorized","message":"unauthorized access"}"#]);
    let answer = send(&mut started, &request("GET /health", "", b"")).await;
    has(&answer, &["HTTP/1.1 200", "x-influxdb-version: v2.7.12"]);
    let answer = send(&mut started, &request("GET /api/v2/buckets?name=b&u=x&p=t", "", b"")).await;
    has(&answer, &["HTTP/1.1 200", r#""name":"b""#]);
    assert_eq!(started.count("refused"), 1);
}

#[tokio::test]
async fn a_full_queue_is_answered_with_when_to_come_again() {
    let mut started = Started::new(&v1_options());
    started.gather().await;
    let queue = started.input.queue().unwrap();
    // Nobody takes anything from now on.
    let _ = tokio::time::timeout(Duration::ZERO, queue.arrival()).await;
    let line = format!("m f=\"{}\" 1\n", "x".repeat(900_000));
    let full = request("POST /write", "", line.repeat(25).as_bytes());
    has(&send(&mut started, &full).await, &["HTTP/1.1 503", "retry-after: 5"]);
    assert!(queue.take(usize::MAX, usize::MAX).points.len() > 10);
    has(&send(&mut started, &request("POST /write", "", b"m f=1")).await, &["HTTP/1.1 204"]);
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request_and_announced_closed_at_the_end() {
    let mut started = Started::new(&v1_options());
    started.gather().await;
    let mut stream = TcpStream::connect(started.address()).await.unwrap();
    let request = b"POST /write HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nm f=1";
    let mut buffer = vec![0; 4_096];
    for _ in 0..3 {
        stream.write_all(request).await.unwrap();
        let n = stream.read(&mut buffer).await.unwrap();
        has(&String::from_utf8_lossy(&buffer[..n]), &["HTTP/1.1 204"]);
    }
    assert_eq!((started.points(3).await.len(), started.count("connections")), (3, 1));
    started.input.queue().unwrap().close();
    let end = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut buffer)).await;
    assert_eq!(end.expect("it is closed").unwrap(), 0);
}
