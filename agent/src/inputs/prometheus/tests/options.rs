//! The options, as they are written in a file.

use rstest::rstest;
use toml::Value;

use super::super::Options;
use crate::host::Host;
use crate::inputs::InputPlugin as _;
use crate::options::value;

fn options(text: &str) -> Options {
    value::read(&Value::Table(text.parse().unwrap())).unwrap()
}

fn check(text: &str) -> Result<(), String> {
    options(text).check(&Host::default()).map_err(|error| error.to_string())
}

#[rstest]
#[case("urls = [\"localhost:9100\"]", "`urls`: `localhost:9100` is of a protocol that is not spoken here")]
#[case("kubernetes_services = [\"svc\"]", "`kubernetes_services`: `svc` is no URL")]
#[case("metric_version = 3", "`metric_version`: 3: it must be 1 or 2")]
#[case(
    "content_type_override = \"protobuf-text\"",
    "`content_type_override`: `protobuf-text`: it must be text"
)]
#[case("http_proxy_url = \"http://[\"", "`http_proxy_url`: is no URL of a proxy")]
#[case("http_headers = { \"a b\" = \"c\" }", "`http_headers`: `a b`: invalid HTTP header name")]
#[case("monitor_kubernetes_pods = true\npod_scrape_scope = \"cluster\"", "`pod_scrape_scope`: the pods of")]
#[case(
    "monitor_kubernetes_pods = true\nkubernetes_label_selector = \"a in b\"",
    "`kubernetes_label_selector`: "
)]
#[case(
    "monitor_kubernetes_pods = true\npod_label_include = [\"a[*\"]",
    "`pod_label_include`: error parsing glob"
)]
#[case("monitor_kubernetes_pods = true\nkubelet_url = \"node\"", "`kubelet_url`: ")]
fn a_check_says_what_a_start_would_refuse(#[case] text: &str, #[case] expected: &str) {
    let error = check(text).unwrap_err();
    assert!(error.starts_with(expected), "{error}");
}

#[rstest]
#[case("", &["urls: is empty: nothing is scraped"])]
#[case("urls = [\"http://a\"]\npod_label_include = [\"app\"]\nnode_ip = \"10.0.0.1\"", &[
    "node_ip: has no effect: it is about pods: set monitor_kubernetes_pods = true",
    "pod_label_include: has no effect: it is about pods: set monitor_kubernetes_pods = true",
])]
#[case("urls = [\"http://a\"]\nbearer_token = \"/t\"\nbearer_token_string = \"t\"\nusername = \"u\"", &[
    "bearer_token_string: has no effect: the token of the file in `bearer_token` is sent",
    "username: has no effect: a token is sent",
])]
#[case("urls = [\"http://a\"]\nuse_system_proxy = true\nhttp_proxy_url = \"http://p:1\"", &[
    "http_proxy_url: has no effect: `use_system_proxy` takes the environment's",
])]
#[case("urls = [\"https://a\"]\ntls = { insecure_skip_verify = true }", &["insecure_skip_verify: the server's certificate is not"])]
#[case("monitor_kubernetes_pods = true\npod_scrape_scope = \"node\"", &[
    "kubelet_url: is empty, and the kubelet's certificate is not checked",
])]
#[case("monitor_kubernetes_pods = true\nkubelet_url = \"https://n:10250\"", &[
    "pod_scrape_scope: is not set: Telegraf finds the pods of all nodes then",
])]
#[case("monitor_kubernetes_pods = true\npod_scrape_scope = \"Node\"\nkubelet_url = \"https://n:10250\"", &[])]
fn what_does_nothing_or_is_a_risk_is_said(#[case] text: &str, #[case] expected: &[&str]) {
    check(text).unwrap();
    let remarks = options(text).remarks();
    let remarks: Vec<_> =
        remarks.iter().map(|remark| format!("{}: {}", remark.option, remark.what)).collect();
    assert_eq!(remarks.len(), expected.len(), "{remarks:?}");
    for (remark, expected) in remarks.iter().zip(expected) {
        assert!(remark.starts_with(expected), "{remark}");
    }
}

#[test]
fn zero_is_the_default_where_telegraf_takes_it_so() {
    let zero = options("metric_version = 0\ntimeout = 0\npod_scrape_interval = 0");
    assert_eq!(zero, Options::default());
    assert_eq!(options("url_tag = \"\"").url_tag, "", "no tag, not the default one");
}
