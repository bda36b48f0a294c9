//! Targets that are well, slow, wrong, large or gone, over real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rstest::rstest;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::Instant;

use super::super::{Options, Prometheus};
use crate::host::Host;
use crate::inputs::{Gathered, Input as _, Shared};
use crate::point::{FieldValue, Point, Timestamp};

const PAGE: &str = "# TYPE up gauge\nup{zone=\"a\"} 1\nold 2 1000\n";

/// An answer, and how it is sent.
#[derive(Clone, Default)]
struct Reply {
    text: String,
    /// Before the answer.
    delay: Duration,
    /// After it, again and again.
    repeated: String,
    /// The connection stays open.
    stalls: bool,
}

fn reply(status: &str, headers: &str, body: &str) -> Reply {
    let length = body.len();
    let text =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}");
    Reply { text, ..Reply::default() }
}

fn page() -> Reply {
    reply("200 OK", "Content-Type: text/plain; version=0.0.4\r\n", PAGE)
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, make: &impl Fn(&str) -> Reply) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let Reply { text, delay, repeated, stalls } = make(&String::from_utf8(head).unwrap());
    tokio::time::sleep(delay).await;
    let mut sent = stream.write_all(text.as_bytes()).await;
    while sent.is_ok() && !repeated.is_empty() {
        sent = stream.write_all(repeated.as_bytes()).await;
    }
    if stalls {
        std::future::pending::<()>().await;
    }
}

/// A target that answers each request with what `make` gives for its head. Returns its URL.
async fn serve(make: impl Fn(&str) -> Reply + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    let make = Arc::new(make);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let make = Arc::clone(&make);
            tokio::spawn(async move { answer(stream, &*make).await });
        }
    });
    url
}

fn input(options: Options) -> Prometheus {
    Prometheus::new(options, &Shared::new(Host::at("/nonexistent".as_ref()))).unwrap()
}

fn of(urls: &[&str]) -> Options {
    Options { urls: urls.iter().map(|url| (*url).to_owned()).collect(), ..Options::default() }
}

/// One gather at `time`: its points, and whether it was whole.
async fn gather(input: &mut Prometheus, time: i64) -> (Vec<Point>, bool) {
    let mut gathered = Gathered::at(Timestamp(time));
    let result = input.gather(&mut gathered).await;
    (gathered.points, result.is_ok())
}

/// The last gather, which waits for all.
async fn gather_last(options: Options) -> (Vec<Point>, bool) {
    let mut gathered = Gathered { is_last: true, ..Gathered::at(Timestamp(7)) };
    let result = input(options).gather(&mut gathered).await;
    (gathered.points, result.is_ok())
}

/// What a scrape that failed says.
async fn error(options: Options) -> String {
    let setup = options.setup(&Host::at("/nonexistent".as_ref())).unwrap();
    let scraped = setup.scraper.scrape(&setup.urls[0], Timestamp(7)).await;
    scraped.result.err().map(|error| error.to_string()).unwrap_or_default()
}

#[tokio::test]
async fn samples_have_the_targets_url_and_their_own_time() {
    let url = serve(|_| page()).await;
    let up = Point::new("up", Timestamp(7)).tag("zone", "a").tag("url", &url).field("gauge", 1.0);
    let old = Point::new("old", Timestamp(1_000_000_000)).tag("url", &url).field("value", 2.0);
    assert_eq!(gather_last(of(&[&url])).await, (vec![up, old], true));

    let plain = Options { url_tag: String::new(), ignore_timestamp: true, metric_version: 2, ..of(&[&url]) };
    let up = Point::new("prometheus", Timestamp(7)).tag("zone", "a").field("up", 1.0);
    let old = Point::new("prometheus", Timestamp(7)).field("old", 2.0);
    assert_eq!(gather_last(plain).await, (vec![up, old], true));
}

#[tokio::test]
async fn a_url_tag_wins_over_a_label_of_its_name() {
    let url = serve(|_| page()).await;
    let (points, _) = gather_last(Options { url_tag: "zone".into(), ..of(&[&url]) }).await;
    assert_eq!(points[0].tags, [("zone".into(), url.into())]);
}

#[tokio::test]
async fn requests_say_who_asks_and_what_is_read() {
    let heads = Arc::new(std::sync::Mutex::new(Vec::new()));
    let url = {
        let heads = Arc::clone(&heads);
        serve(move |head| {
            heads.lock().unwrap().push(head.to_ascii_lowercase());
            page()
        })
        .await
    };
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "first\n").unwrap();
    let bearer = Options { bearer_token: token.path().display().to_string(), ..of(&[&url]) };
    let mut bearer = input(Options { username: "u".into(), ..bearer });
    gather(&mut bearer, 1).await;
    std::fs::write(token.path(), "second\n").unwrap();
    gather(&mut bearer, 2).await;
    let basic = Options { username: "u".into(), password: "p".into(), ..of(&[&url.replace("//", "//x:y@")]) };
    gather(&mut input(basic), 3).await;
    gather(&mut input(of(&[&url.replace("//", "//x:y@")])), 4).await;
    let headers = [("X-Scope".to_owned(), "a".into()), ("Host".to_owned(), "other.example".into())].into();
    gather(&mut input(Options { http_headers: headers, bearer_token_string: "t".into(), ..of(&[&url]) }), 5)
        .await;

    let heads = heads.lock().unwrap();
    let authorizations = heads.iter().map(|head| {
        let lines: Vec<&str> = head.lines().filter(|line| line.starts_with("authorization: ")).collect();
        assert!(lines.len() == 1, "{head}");
        lines[0]["authorization: ".len()..].to_owned()
    });
    let mut authorizations: Vec<String> = authorizations.collect();
    // A token is read off the thread, and the next input does not wait for it.
    authorizations.sort_unstable();
    // u:p and x:y in base64, in lower case.
    assert_eq!(authorizations, ["basic dtpw", "basic edp5", "bearer first", "bearer second", "bearer t"]);
    let last = heads.iter().find(|head| head.contains("bearer t\r\n")).unwrap();
    assert!(last.contains("x-scope: a\r\n") && last.contains("host: other.example\r\n"), "{last}");
    assert!(heads.iter().all(|head| head.contains("accept: text/plain;") && !head.contains("protobuf")));
}

#[tokio::test]
async fn one_target_never_delays_another() {
    let fast = serve(|_| page()).await;
    let slow = serve(|_| Reply { delay: Duration::from_millis(700), ..page() }).await;
    let hanging = serve(|_| Reply { delay: Duration::from_secs(3_600), ..page() }).await;
    let mut input = input(Options { timeout: Duration::from_secs(2), ..of(&[&slow, &hanging, &fast]) });
    let start = Instant::now();
    let (points, _) = gather(&mut input, 1).await;
    assert!(start.elapsed() < Duration::from_millis(650), "{:?}", start.elapsed());
    let targets = |points: &[Point]| -> Vec<String> {
        let named = points.iter().filter(|point| point.measurement == "up");
        named.map(|point| format!("{} {}", point.tag_value("url").unwrap(), point.time.0)).collect()
    };
    assert_eq!(targets(&points), [format!("{fast} 1")]);
    // What the slow one has answered since then has the time of its own gather, and is asked anew.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (points, _) = gather(&mut input, 2).await;
    let mut found = targets(&points);
    found.sort();
    let mut expected = vec![format!("{slow} 1"), format!("{fast} 2")];
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn neither_a_kubelet_nor_a_name_that_is_not_there_delays_a_target() {
    let url = serve(|_| page()).await;
    let kubelet = serve(|_| Reply { delay: Duration::from_secs(3_600), ..page() }).await;
    let options = Options {
        kubernetes_services: vec!["http://nobody.invalid:1/metrics".into()],
        monitor_kubernetes_pods: true,
        kubelet_url: kubelet.trim_end_matches("/metrics").into(),
        ..of(&[&url])
    };
    let mut input = input(options);
    let (points, _) = gather(&mut input, 1).await;
    assert_eq!(points.len(), 2);
    let start = Instant::now();
    let (points, _) = gather(&mut input, 2).await;
    assert_eq!(points.len(), 2);
    assert!(start.elapsed() < Duration::from_millis(400), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_scrape_that_is_still_running_is_not_doubled() {
    let asked = Arc::new(AtomicUsize::new(0));
    let url = {
        let asked = Arc::clone(&asked);
        serve(move |_| {
            asked.fetch_add(1, Ordering::Relaxed);
            Reply { delay: Duration::from_secs(3_600), ..page() }
        })
        .await
    };
    let mut input = input(of(&[&url]));
    for time in 1..4 {
        gather(&mut input, time).await;
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_endless_answer_is_cut_by_time_and_by_size() {
    let head = "HTTP/1.1 200 OK\r\n\r\n".to_owned();
    let endless = serve({
        let head = head.clone();
        move |_| Reply { text: head.clone(), repeated: "up 1\n".repeat(1_000), ..Reply::default() }
    })
    .await;
    let said = error(Options { content_length_limit: 100_000, ..of(&[&endless]) }).await;
    assert_eq!(
        said,
        "the answer is larger than 97.7 KiB; `content_length_limit` says how large a page may be"
    );

    let stalled =
        serve(move |_| Reply { text: format!("{head}up 1\n"), stalls: true, ..Reply::default() }).await;
    let said = error(Options { timeout: Duration::from_millis(300), ..of(&[&stalled]) }).await;
    assert!(said.starts_with("the answer broke off: no answer in time"), "{said}");
}

#[tokio::test]
async fn a_page_of_many_small_samples_is_cut_by_what_its_points_take() {
    let url = serve(|_| reply("200 OK", "", &"a 1\n".repeat(2_000))).await;
    let limited = |kib: usize| Options { content_length_limit: kib << 10, ..of(&[&url]) };
    let said = error(limited(100)).await;
    assert_eq!(
        said,
        "the page with its points takes more than 400 KiB, 4 times what `content_length_limit` lets a page have: raise it, or have the target show less"
    );
    let (points, is_whole) = gather_last(limited(100)).await;
    assert!(points.is_empty() && !is_whole);
    // What was handed on takes no room of the next gather.
    let mut input = input(limited(500));
    for time in 1..4 {
        let mut gathered = Gathered { is_last: true, ..Gathered::at(Timestamp(time)) };
        input.gather(&mut gathered).await.unwrap();
        assert_eq!(gathered.points.len(), 2_000);
    }
}

#[tokio::test]
async fn a_series_of_many_samples_is_cut_too() {
    let buckets: String = (0..10_000).map(|n| format!("h_bucket{{le=\"{n}\"}} 1\n")).collect();
    let histogram = format!("# TYPE h histogram\n{buckets}");
    for version in [1, 2] {
        let histogram = histogram.clone();
        let url = serve(move |_| reply("200 OK", "", &histogram)).await;
        let options = Options { content_length_limit: 250_000, metric_version: version, ..of(&[&url]) };
        assert!(error(options).await.starts_with("the page with its points"), "{version}");
    }
}

#[rstest]
#[case(
    reply("401 Unauthorized", "", ""),
    "401 Unauthorized: `bearer_token`, or `username` and `password`, say who asks"
)]
#[case(reply("404 Not Found", "", ""), "404 Not Found: is this the path of the metrics?")]
#[case(reply("503 Service Unavailable", "", ""), "503 Service Unavailable")]
#[case(
    reply("302 Found", "Location: http://192.0.2.1/login\r\n", ""),
    "302 Found: it leads to another server, http://192.0.2.1/login"
)]
#[case(
    reply("200 OK", "Content-Type: application/vnd.google.protobuf; encoding=delimited\r\n", "\n"),
    "the page is of the type `application/vnd.google.protobuf`, which is not read here: text or OpenMetrics is"
)]
#[case(
    reply("200 OK", "Content-Encoding: gzip\r\n", "x"),
    "the page is of the type `gzip`, which is not read here: text or OpenMetrics is"
)]
#[case(
    reply("200 OK", "", "<html>\n</html>\nup 1\n"),
    "2 lines are no samples and were left out; the first is line 1: `<html>` is not a metric's name"
)]
#[tokio::test]
async fn what_is_wrong_is_said(#[case] reply: Reply, #[case] expected: &str) {
    let url = serve(move |_| reply.clone()).await;
    assert_eq!(error(of(&[&url])).await, expected);
}

#[tokio::test]
async fn good_lines_of_a_bad_page_are_kept() {
    let url = serve(|_| reply("200 OK", "", "up 1\nbad\ndown 2\n")).await;
    let (points, is_whole) = gather_last(of(&[&url])).await;
    let names: Vec<&str> = points.iter().map(|point| &*point.measurement).collect();
    assert_eq!((names, is_whole), (vec!["up", "down"], false));
}

#[tokio::test]
async fn a_page_that_moved_on_the_same_server_is_followed() {
    let url = serve(|head| {
        if head.starts_with("GET /metrics ") {
            reply("301 Moved", "Location: /metrics/\r\n", "")
        } else {
            page()
        }
    })
    .await;
    assert!(gather_last(of(&[&url])).await.1);
    let url = serve(|_| reply("301 Moved", "Location: /metrics\r\n", "")).await;
    assert!(error(of(&[&url])).await.starts_with("301"), "in circles");
}

#[tokio::test]
async fn openmetrics_is_read_as_such_when_it_comes_or_is_said_to_come() {
    let body = "# TYPE a counter\na_total 1\n# EOF\n";
    let typed = serve(move |_| {
        reply("200 OK", "Content-Type: application/openmetrics-text; version=1.0.0\r\n", body)
    })
    .await;
    let untyped = serve(move |_| reply("200 OK", "", body)).await;
    for options in
        [of(&[&typed]), Options { content_type_override: "openmetrics-text".into(), ..of(&[&untyped]) }]
    {
        let (points, is_whole) = gather_last(options).await;
        assert_eq!((&*points[0].measurement, is_whole), ("a", true));
    }
}

#[tokio::test]
async fn a_unix_socket_is_a_target() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("m.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            answer(stream, &|head| {
                if head.starts_with("GET /x HTTP") { page() } else { reply("404 No", "", "") }
            })
            .await;
        }
    });
    let url = format!("unix://{}?path=/x", path.display());
    let (points, is_whole) = gather_last(of(&[&url])).await;
    assert!(is_whole);
    assert_eq!(points[0].tag_value("url"), Some(url.as_str()));
}

#[tokio::test]
async fn requests_have_figures_of_their_own() {
    let good = serve(|_| page()).await;
    let bad = serve(|_| reply("500 No", "", "")).await;
    let (points, _) =
        gather_last(Options { enable_request_metrics: true, ..of(&[&good, &bad, "http://127.0.0.1:1/"]) })
            .await;
    let mut requests: Vec<&Point> = points.iter().filter(|p| p.measurement == "prometheus_request").collect();
    requests.sort_by_key(|point| point.fields.len());
    assert_eq!(requests.len(), 2, "one that was never answered has none");
    assert_eq!(requests[0].tag_value("url"), Some(bad.as_str()));
    assert_eq!(requests[1].tag_value("url"), Some(good.as_str()));
    let length = FieldValue::Int(i64::try_from(PAGE.len()).unwrap());
    assert_eq!(requests[1].field_value("content_length"), Some(&length));
    for request in requests {
        crate::schema::check(request).unwrap();
    }
}

#[tokio::test]
async fn each_address_of_a_service_is_a_target() {
    let url = serve(|_| page()).await.replace("127.0.0.1", "localhost");
    let services = Options { kubernetes_services: vec![url.clone()], ..Options::default() };
    let (points, _) = gather_last(services).await;
    assert_eq!(points[0].tag_value("address"), Some("127.0.0.1"));
    assert_eq!(points[0].tag_value("url"), Some(url.as_str()));
}

#[tokio::test]
async fn pods_that_ask_for_it_are_scraped_until_they_are_gone() {
    let target =
        serve(|head| if head.starts_with("GET /stats ") { page() } else { reply("404 No", "", "") }).await;
    let port: u16 = target.trim_end_matches("/metrics").rsplit(':').next().unwrap().parse().unwrap();
    let pod = format!(
        r#"{{"metadata":{{"name":"web-0","namespace":"shop","labels":{{"app":"web"}},
            "annotations":{{"prometheus.io/scrape":"true","prometheus.io/port":"{port}","prometheus.io/path":"/stats"}}}},
            "status":{{"phase":"Running","podIP":"127.0.0.1"}}}}"#
    );
    let listed = Arc::new(AtomicUsize::new(0));
    let kubelet = {
        let listed = Arc::clone(&listed);
        serve(move |_| {
            let items = if listed.fetch_add(1, Ordering::Relaxed) == 0 { pod.as_str() } else { "" };
            reply("200 OK", "", &format!("{{\"items\":[{items}]}}"))
        })
        .await
    };
    let options = Options {
        monitor_kubernetes_pods: true,
        kubelet_url: kubelet.trim_end_matches("/metrics").into(),
        pod_scrape_interval: 1,
        ..Options::default()
    };
    let mut input = input(options);
    let (points, _) = gather(&mut input, 1).await;
    let url = format!("http://127.0.0.1:{port}/stats");
    let expected =
        Point::new("up", Timestamp(1)).tag("zone", "a").tag("url", url).tag("address", "127.0.0.1");
    let expected = expected.tag("pod_name", "web-0").tag("namespace", "shop").tag("app", "web");
    assert_eq!(points.first(), Some(&expected.field("gauge", 1.0)));
    while listed.load(Ordering::Relaxed) < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(gather(&mut input, 2).await.0, [], "it is forgotten with the next listing");
}

#[rstest]
#[case(Options { metric_version: 3, ..Options::default() }, "`metric_version`: 3: it must be 1 or 2")]
#[case(of(&["localhost:9100"]), "`urls`: `localhost:9100` is of a protocol")]
#[case(Options { content_type_override: "protobuf-text".into(), ..Options::default() }, "`content_type_override`: `protobuf-text`")]
#[case(Options { http_headers: [("a b".to_owned(), "c".into())].into(), ..Options::default() }, "`http_headers`: `a b`")]
#[case(Options { http_proxy_url: "::".into(), ..Options::default() }, "`http_proxy_url`: is no URL of a proxy")]
#[case(pods(|o| o.pod_scrape_scope = "cluster".into()), "`pod_scrape_scope`: the pods of the agent's own node")]
#[case(pods(|o| o.kubernetes_label_selector = "a b".into()), "`kubernetes_label_selector`: `a b`")]
#[case(pods(|o| o.monitor_kubernetes_pods_method = "all".into()), "`monitor_kubernetes_pods_method`: `all`")]
#[case(pods(|o| o.kubelet_url = "kubelet".into()), "`kubelet_url`: `kubelet`")]
#[case(pods(|o| o.pod_label_include = vec!["[".into()]), "`pod_label_include`")]
fn options_that_cannot_be_used_are_named(#[case] options: Options, #[case] expected: &str) {
    let error = options.setup(&Host::at("/nonexistent".as_ref())).err().map(|error| error.to_string());
    assert!(error.as_ref().is_some_and(|error| error.starts_with(expected)), "{error:?}");
}

fn pods(set: impl FnOnce(&mut Options)) -> Options {
    let mut options = Options { monitor_kubernetes_pods: true, ..Options::default() };
    set(&mut options);
    options
}
