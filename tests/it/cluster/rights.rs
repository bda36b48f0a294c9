//! What the account of the shipped manifests may do.

use std::path::Path;

use seismograf_tests::suite::Outcome;
use seismograf_tests::try_run;

use super::{file, kubectl, node};

const ACCOUNT: &str = "system:serviceaccount:monitoring:seismograf";

/// By the API server's rules, and by the kubelet's own answers to a token of the account.
pub(super) fn are_enough_and_no_more() -> Outcome {
    kubectl(&["apply", "-k", &file("overlay")]);
    let may = |verb: &str, resource: &str, subresource: &str| {
        let subresource = format!("--subresource={subresource}");
        let args = ["auth", "can-i", verb, resource, &subresource, "--as", ACCOUNT];
        try_run("kubectl", &args).status.success()
    };
    for subresource in ["pods", "stats"] {
        assert!(may("get", "nodes", subresource), "get nodes/{subresource}");
    }
    let others = [
        ("get", "nodes", "proxy"),
        ("create", "nodes", "proxy"),
        ("get", "nodes", "log"),
        ("get", "nodes", ""),
        ("list", "pods", ""),
        ("get", "secrets", ""),
        ("create", "pods", "exec"),
    ];
    for (verb, resource, subresource) in others {
        assert!(!may(verb, resource, subresource), "{verb} {resource}/{subresource} is more than needed");
    }
    let token = kubectl(&["create", "token", "seismograf", "--namespace", "monitoring"]);
    let authority = Path::new(&std::env::var_os("KUBECONFIG").unwrap()).with_file_name("pki/ca.crt");
    let ask = |path: &str| {
        let server = format!("--server=https://{}:10250", node());
        let authority = format!("--certificate-authority={}", authority.display());
        let token = format!("--token={}", token.trim());
        try_run("kubectl", &["--kubeconfig=/dev/null", &server, &authority, &token, "get", "--raw", path])
    };
    for path in ["/pods", "/stats/summary"] {
        let answer = ask(path);
        assert!(answer.status.success(), "{path}: {answer:?}");
    }
    for path in ["/logs/", "/metrics", "/configz"] {
        let answer = ask(path);
        let error = String::from_utf8_lossy(&answer.stderr).into_owned();
        assert!(!answer.status.success() && error.contains("Forbidden"), "{path}: {answer:?}");
    }
    println!("cluster: the account gets /pods and /stats/summary of the kubelet, and nothing else");
    Ok(())
}
