use std::sync::atomic::{AtomicU32, Ordering};

use rstest::rstest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::config::env::Environment;
use crate::config::file;
use crate::config::reading::Reading;
use crate::config::reading::Source;
use crate::inputs::testing::gather;
use crate::plugins::InputOptions;

fn options(url: &str) -> Options {
    Options { url: url.into(), ..Options::default() }
}

#[rstest]
#[case(None, "https://127.0.0.1:10250")]
#[case(Some("10.1.2.3"), "https://10.1.2.3:10250")]
#[case(Some("fd00::1"), "https://[fd00::1]:10250")]
fn without_a_url_it_is_this_nodes_kubelet(#[case] ip: Option<&str>, #[case] expected: &str) {
    let host = Host::from_variables(|name| ip.filter(|_| name == "HOST_IP").map(str::to_owned));
    // There is no `tls_ca`, and the certificate is not checked.
    assert_eq!(Options::default().client(&host).unwrap().url(), expected);
}

#[test]
fn a_section_of_telegrafs_is_read() {
    let text = r#"
[[inputs.kubernetes]]
  url = "https://$HOSTIP:10250"
  bearer_token = "/run/token"
  bearer_token_string = "old"
  label_include = ["app"]
  label_exclude = []
  response_timeout = "7s"
  node_metric_name = "node"
  ssl_ca = "/ca.pem"
  insecure_skip_verify = true
"#;
    let source = Source { path: "t.conf".into(), text: text.into() };
    let lookup = |name: &str| (name == "HOSTIP").then(|| "10.0.0.1".to_owned());
    let config = file::load(&[source], &Reading::of_text(Environment::strict(&lookup), "h")).unwrap();
    let InputOptions::Kubernetes(options) = &config.inputs[0].options else { panic!("{:?}", config.inputs) };
    let expected = Options {
        url: "https://10.0.0.1:10250".into(),
        bearer_token: "/run/token".into(),
        bearer_token_string: "old".into(),
        node_metric_name: "node".into(),
        label_include: vec!["app".into()],
        label_exclude: Vec::new(),
        response_timeout: Duration::from_secs(7),
        tls: Tls { tls_ca: "/ca.pem".into(), insecure_skip_verify: true, ..Tls::default() },
    };
    assert_eq!(*options, expected);
}

#[rstest]
#[case(0, 5_000)]
#[case(999, 5_000)]
#[case(1_000, 1_000)]
#[case(60_000, 60_000)]
fn a_short_timeout_is_telegrafs_default(#[case] ms: u64, #[case] expected_ms: u64) {
    let options = Options { response_timeout: Duration::from_millis(ms), ..Options::default() };
    assert_eq!(options.timeout(), Duration::from_millis(expected_ms));
}

#[tokio::test]
async fn a_bad_glob_is_refused() {
    let options = Options { label_include: vec!["a[*".into()], ..options("http://127.0.0.1:1") };
    let error = Kubernetes::new(options, &Shared::new(Host::default())).err().unwrap();
    assert!(error.to_string().starts_with("`label_include`: "), "{error}");
}

#[tokio::test]
async fn a_kubelet_that_is_down_or_silent_holds_nothing_up() {
    // Accepts connections and never responds.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for url in [format!("http://{}", silent.local_addr().unwrap()), "http://127.0.0.1:1".into()] {
        let mut input = Kubernetes::new(options(&url), &Shared::new(Host::default())).unwrap();
        for _ in 0..3 {
            let start = Instant::now();
            let (error, points) = gather(&mut input).await.unwrap_err();
            assert_eq!((error.as_str(), points.len()), ("still incomplete", 0));
            assert!(start.elapsed() < 2 * FIRST_WAIT, "{:?}", start.elapsed());
            // The next wait is a part of this.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn statistics_that_come_late_are_the_next_gathers() {
    const LATE: Duration = Duration::from_millis(800);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let n_summaries = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&n_summaries);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            // The first one is slow.
            if head.starts_with(b"GET /stats") && counted.fetch_add(1, Ordering::Relaxed) == 0 {
                tokio::time::sleep(LATE).await;
            }
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 26\r\nConnection: close\r\n\r\n{\"node\":{\"nodeName\":\"n1\"}}";
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let mut input = Kubernetes::new(options(&url), &Shared::new(Host::default())).unwrap();
    assert!(gather(&mut input).await.is_err(), "it is not waited for that long");
    // The second takes it and requests ahead; the third takes that, and sees that it came in time; the fourth requests again.
    for n_requests in [1, 2, 3] {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let points = gather(&mut input).await.unwrap();
        assert_eq!(points[0].tag_value("node_name"), Some("n1"));
        // The request ahead has not been sent yet.
        assert_eq!(n_summaries.load(Ordering::Relaxed), n_requests);
    }
}

#[test]
fn that_one_node_is_asked_and_not_all_is_said_where_no_url_is_set() {
    let remarks = |url: &str, tls_ca: &str| {
        let tls = Tls { tls_ca: tls_ca.into(), ..Tls::default() };
        let remarks = Options { url: url.into(), tls, ..Options::default() }.remarks(None);
        remarks.into_iter().map(|remark| remark.to_string()).collect::<Vec<_>>()
    };
    let [said] = remarks("", "/ca").try_into().unwrap();
    assert!(said.starts_with("`url`: is empty: Telegraf asks the kubelets of all nodes"), "{said}");
    assert!(!said.contains("certificate"), "{said}");
    let [said] = remarks("", "").try_into().unwrap();
    assert!(said.contains("all nodes") && said.contains("certificate"), "{said}");
    assert_eq!(remarks("https://10.0.0.1:10250", "/ca"), [""; 0]);
}

#[test]
fn an_authority_that_is_named_is_used_also_for_the_nodes_own_kubelet() {
    let client = |tls_ca: &str, insecure_skip_verify: bool| {
        let tls = Tls { tls_ca: tls_ca.into(), insecure_skip_verify, ..Tls::default() };
        Options { tls, ..Options::default() }.client(&Host::default())
    };
    // Where nothing is checked, the file is not even read.
    assert!(client("", false).is_ok() && client("/nonexistent", true).is_ok());
    let error = client("/nonexistent", false).err().unwrap().to_string();
    assert!(error.starts_with("`tls_ca`: cannot read /nonexistent"), "{error}");
}
