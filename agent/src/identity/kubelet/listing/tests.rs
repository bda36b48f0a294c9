use std::sync::atomic::{AtomicUsize, Ordering};

use rstest::rstest;

use super::*;
use crate::identity::kubelet::access::Token;
use crate::identity::kubelet::standin::{client, ok, serve};

const PODS: &str = include_str!("../../../../testdata/kubelet/pods.json");

fn kubelet(url: &str) -> (Arc<Kubelet>, Arc<Names>) {
    let names = Arc::<Names>::default();
    (Kubelet::new(client(url, Token::OfPod), &names, |_| false, |_| false), names)
}

#[tokio::test]
async fn names_current_and_previous_runs() {
    let (kubelet, names) = kubelet(&serve(|_| ok(PODS)).await);
    let listing = kubelet.list(Instant::now()).await.unwrap();
    let name = |id: &str| names.container(id).map(|c| (c.name.clone(), c.image.clone()));
    let bb = "docker.io/library/bb:1".to_owned();
    for (id, expected) in [
        ("a5ecaab3b1acf7769e8d2ee607c1b3d30b58c753dcef82e503a83dd01484b37c", "side-car"),
        ("edfc20bd37601849727da47021da8f4eab193acc78785b488c2f7013d8beaf74", "init"),
        // Of the crash loop: the latest, and the one before.
        ("1f0c43bf7292a74988d61a8db9fdc48d83bb5fa55f530b1eac619bb012f3f9d4", "c"),
        ("4f76fea8e7a34217b12111bc6c79047faea2cda966bf953c628fd9d19bd3d470", "c"),
    ] {
        assert_eq!(name(id), Some((expected.to_owned(), bb.clone())), "{id}");
    }
    let (pod, listed) = names.pod("a195da64-393e-4b3a-b718-7c0d09784d78").unwrap();
    assert_eq!(
        (pod.name.as_str(), pod.namespace.as_str(), pod.node.as_str()),
        ("guaranteed", "kube-system", "node1")
    );
    assert_eq!(listed, listing.requested.into_std());
    assert_eq!(names.len(), (15, 10));
    assert!(listing.pods.iter().all(|pod| pod.labels.is_empty()), "none is selected");
}

#[tokio::test]
async fn concurrent_callers_share_a_request() {
    static REQUESTS: AtomicUsize = AtomicUsize::new(0);
    let url = serve(|_| {
        REQUESTS.fetch_add(1, Ordering::Relaxed);
        ok(PODS)
    })
    .await;
    let (kubelet, _) = kubelet(&url);
    let since = Instant::now();
    let (a, b) = tokio::join!(kubelet.list(since), kubelet.list(since));
    assert!(Arc::ptr_eq(&a.unwrap(), &b.unwrap()));
    assert_eq!(REQUESTS.load(Ordering::Relaxed), 1);
    kubelet.list(Instant::now()).await.unwrap();
    assert_eq!(REQUESTS.load(Ordering::Relaxed), 2, "that one was requested before");
}

#[tokio::test]
async fn a_request_is_served_soon_and_not_too_often() {
    static REQUESTS: AtomicUsize = AtomicUsize::new(0);
    let url = serve(|_| match REQUESTS.fetch_add(1, Ordering::Relaxed) {
        0 => ok("{}"),
        _ => ok(PODS),
    })
    .await;
    let (kubelet, names) = kubelet(&url);
    assert!(!names.has_sources());
    let keeper = kubelet.keep_names();
    assert!(names.has_sources());
    while kubelet.latest().is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(names.is_empty());
    let start = Instant::now();
    while names.is_empty() {
        names.request();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Not before the pause after the first listing is over; and not much later.
    let took = start.elapsed();
    assert!((REQUEST_PERIOD - REQUEST_DELAY..2 * REQUEST_PERIOD).contains(&took), "{took:?}");
    assert_eq!(REQUESTS.load(Ordering::Relaxed), 2);
    drop(keeper);
    assert!(!names.has_sources());
}

#[rstest]
#[case::unauthorized(include_str!("../../../../testdata/kubelet/401.http"), "401 Unauthorized: no token is sent over plain http")]
#[case::forbidden(include_str!("../../../../testdata/kubelet/403.http"), "allow the token's service account to `get` nodes/pods (before Kubernetes 1.33: nodes/proxy) in a ClusterRole")]
#[case::another_service(
    "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "404 Not Found: is this a kubelet?"
)]
#[case::redirect(
    "HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n",
    "302 Found: is this a kubelet?"
)]
#[case::garbage(
    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n<!--",
    "the answer is not a kubelet's: expected value"
)]
#[case::half("HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{\"items\":[", "the answer broke off: ")]
#[case::too_large("HTTP/1.1 200 OK\r\nContent-Length: 52428800\r\n\r\n{", "the answer is larger than 32 MiB")]
#[case::no_http("SSH-2.0-OpenSSH_9.2\r\n", "invalid HTTP version")]
#[tokio::test]
async fn what_is_no_answer_says_what_to_do(#[case] answer: &'static str, #[case] expected: &str) {
    // What was recorded came by HTTP/2, whose first line is its own.
    let answer = answer.replacen("HTTP/2", "HTTP/1.1", 1);
    let url = serve(move |_| answer.clone()).await;
    let (kubelet, names) = kubelet(&url);
    let error = kubelet.list(Instant::now()).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("{url}/pods: ")) && error.contains(expected), "{error}");
    assert!(kubelet.latest().is_none() && names.is_empty());
}

#[tokio::test]
async fn an_error_is_short_however_long_its_cause() {
    let url = serve(|_| ok(&format!(r#"{{"items":"{}"}}"#, "x".repeat(1 << 20)))).await;
    let error = kubelet(&url).0.list(Instant::now()).await.unwrap_err().to_string();
    assert!(error.len() < 2_000, "{}", error.len());
}

#[tokio::test]
async fn ten_thousand_pods_have_names() {
    const PODS: usize = 10_000;
    let pods: Vec<String> = (0..PODS)
        .map(|i| {
            let containers = [0, 1].map(|c| format!(r#"{{"name":"c{c}","image":"bb:1"}}"#)).join(",");
            let status = |c| format!(r#"{{"name":"c{c}","containerID":"containerd://{i:063}{c}","state":{{"running":{{}}}}}}"#);
            let statuses = [0, 1].map(status).join(",");
            format!(
                r#"{{"metadata":{{"name":"p{i}","namespace":"n","uid":"{i:08}-2222-3333-4444-555555555555"}},"spec":{{"nodeName":"h","containers":[{containers}]}},"status":{{"containerStatuses":[{statuses}]}}}}"#
            )
        })
        .collect();
    let body = ok(&format!(r#"{{"items":[{}]}}"#, pods.join(",")));
    let n_bytes = body.len();
    let (kubelet, names) = kubelet(&serve(move |_| body.clone()).await);
    let start = Instant::now();
    let listing = kubelet.list(start).await.unwrap();
    println!("{PODS} pods in {n_bytes} bytes: {:?}", start.elapsed());
    assert_eq!((listing.pods.len(), names.len()), (PODS, (2 * PODS, PODS)));
}

#[tokio::test]
async fn statistics_need_a_right_of_their_own() {
    let url =
        serve(|_| include_str!("../../../../testdata/kubelet/403.http").replacen("HTTP/2", "HTTP/1.1", 1))
            .await;
    let error = kubelet(&url).0.summary().await.unwrap_err().to_string();
    assert!(error.contains("/stats/summary: 403") && error.contains("`get` nodes/stats in"), "{error}");
}

#[tokio::test]
async fn a_refused_connection_is_reported() {
    let (kubelet, _) = kubelet("http://127.0.0.1:1");
    let error = kubelet.list(Instant::now()).await.unwrap_err().to_string();
    assert!(error.contains("http://127.0.0.1:1/pods: ") && error.contains("refused"), "{error}");
}
