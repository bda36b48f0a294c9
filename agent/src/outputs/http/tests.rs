use rstest::rstest;

use super::*;

fn of(data_format: &str) -> Options {
    Options { data_format: data_format.into(), ..Options::default() }
}

#[rstest]
#[case(of("carbon2"), "`data_format`: `carbon2` is not supported")]
#[case(Options { method: "GET".into(), ..of("") }, "`method`: `GET`: it is POST")]
#[case(Options { content_encoding: "zstd".into(), ..of("") }, "`content_encoding`: `zstd`: it is gzip")]
#[case(
    Options { content_encoding: "gzip".into(), ..of("prometheusremotewrite") },
    "`content_encoding`: `gzip`: remote write is packed by snappy"
)]
#[case(Options { url: "127.0.0.1:9090".into(), ..of("") }, "`url`: `127.0.0.1:9090` is no URL")]
#[case(Options { url: "udp://h:1".into(), ..of("") }, "`url`: `udp://h:1` is of a protocol")]
#[case(Options { http_proxy_url: "http://u:hunter2@".into(), ..of("") }, "`http_proxy_url`: is no URL")]
#[case(
    Options { headers: BTreeMap::from([("a b".into(), "hunter2".into())]), ..of("") },
    "`headers`: `a b`: "
)]
fn rejects_what_it_cannot_use(#[case] options: Options, #[case] expected: &str) {
    let error = Http::new(options).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.starts_with(expected) && !error.contains("hunter2"), "{error}");
}

#[test]
fn only_lines_are_as_the_influx_options_say() {
    let encoding = |format: &str| {
        let options = Options { influx_omit_timestamp: true, influx_max_line_bytes: 9, ..of(format) };
        Http::new(options).unwrap().encoding()
    };
    let lines = encoding("influx");
    assert_eq!((lines.format.max_line_bytes, lines.in_order), (9, false));
    let remote_write = encoding("prometheusremotewrite");
    assert_eq!(remote_write.format, Format { uint_support: true, ..Format::default() });
    assert!(remote_write.in_order && !encoding("json").in_order);
}

fn reply(status: u16, body: &str) -> Reply {
    let status = StatusCode::from_u16(status).unwrap();
    let (error_header, retry_after) = (None, Some("7".to_owned()));
    Reply { status, error_header, retry_after, location: None, body: body.into() }
}

/// What becomes of three lines.
fn becomes(format: &str, status: u16) -> &'static str {
    let output = Http::new(Options { non_retryable_statuscodes: vec![409], ..of(format) }).unwrap();
    match output.meaning(&reply(status, "out of order\n"), 3) {
        Answer::Stored { dropped: 0, .. } => "stored",
        Answer::Stored { dropped: 3, reason } if reason.ends_with(": out of order") => "dropped",
        Answer::Rejected { blame: Blame::Some, reason } if reason.ends_with(": out of order") => "halved",
        Answer::Retry { after: Some(after), .. } if after.as_secs() == 7 => "retried",
        other => panic!("{other:?}"),
    }
}

/// The rules of the specification of remote write 1.0, "Retries & Backoff"; of all else Telegraf's.
#[rstest]
#[case(200, "stored", "stored")]
#[case(204, "stored", "stored")]
#[case(400, "halved", "retried")]
#[case(401, "dropped", "retried")]
#[case(404, "dropped", "retried")]
#[case(409, "dropped", "dropped")]
#[case(413, "halved", "halved")]
#[case(429, "retried", "retried")]
#[case(500, "retried", "retried")]
#[case(503, "retried", "retried")]
fn each_status_has_its_rule(#[case] status: u16, #[case] remote_write: &str, #[case] others: &str) {
    assert_eq!(becomes("prometheusremotewrite", status), remote_write);
    assert_eq!(becomes("influx", status), others);
    assert_eq!(becomes("json", status), others);
}

#[test]
fn a_redirect_is_told_with_its_place() {
    let moved = Reply { location: Some("https://db/".into()), ..reply(301, "") };
    assert_eq!(said(&moved), "the server refers to https://db/: write the URL that it is at now in `url`");
    assert_eq!(said(&reply(500, " ")), "without a word");
}

#[test]
fn a_body_is_in_its_format() {
    let lines = ["m,t=a f=1.5 7000000000\n", "m f=2i 8000000000\n", "m f=\n"].map(Bytes::from);
    let body = |options: Options, lines: &[Bytes]| Http::new(options).unwrap().body(lines);
    assert_eq!(body(of(""), &lines).0, lines.concat());
    let (json, unreadable) = body(of("json"), &lines);
    let first = r#"{"fields":{"f":1.5},"name":"m","tags":{"t":"a"},"timestamp":7}"#;
    let second = r#"{"fields":{"f":2},"name":"m","tags":{},"timestamp":8}"#;
    assert_eq!((json, unreadable), (format!("{{\"metrics\":[{first},{second}]}}\n").into(), 1));
    let single = body(Options { use_batch_format: false, ..of("json") }, &lines[..1]).0;
    assert_eq!(single, format!("{first}\n"));
    let packed = body(Options { content_encoding: "gzip".into(), ..of("json") }, &lines[..1]).0;
    assert_eq!(packed[..2], [0x1F, 0x8B]);
}

#[test]
fn what_is_queued_for_one_tenant_never_goes_to_another() {
    let destination = |url: &str| Http::new(Options { url: url.into(), ..of("") }).unwrap().destination();
    assert_ne!(destination("http://h/?tenant=1"), destination("http://h/?tenant=2"));
    assert!(!Http::new(Options { url: "http://u:p@h/".into(), ..of("") }).unwrap().place().contains("u:p"));
}

/// Point by point, the second one is refused for a while.
#[tokio::test]
async fn what_is_left_waits_as_long_as_the_server_asks() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let serve = async {
        for status in ["204 No Content", "429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 0"] {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\n\n") {
                assert!(connection.read_buf(&mut request).await.unwrap() > 0);
            }
            let answer = format!("HTTP/1.1 {status}\r\nConnection: close\r\n\r\n");
            connection.write_all(answer.as_bytes()).await.unwrap();
        }
    };
    let output = Http::new(Options { url, use_batch_format: false, ..of("influx") }).unwrap();
    let lines = ["m f=1 1\n\n", "m f=2 2\n\n", "m f=3 3\n\n"].map(Bytes::from);
    let (answer, ()) = tokio::join!(output.write(&[], &lines), serve);
    let Answer::Partly { left, after, .. } = answer else { panic!("{answer:?}") };
    assert_eq!((left, after), ([1, 2].into(), Some(Duration::from_secs(7))));
}
