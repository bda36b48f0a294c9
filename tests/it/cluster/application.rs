//! An application with the agent as its side-car, as `deploy/kubernetes/sidecar-app` has it.

use seismograf_tests::{try_run, wait_for};

use super::{Cluster, LIMIT, file, kubectl, text};

/// An application that writes to `localhost:8086` of its pod, where the agent stands in for an InfluxDB.
pub(super) fn writes(cluster: &mut Cluster) {
    let overlay = file("sidecar-app");
    kubectl(&["apply", "-k", &overlay]);
    let namespace = "--namespace=myapp";
    let rollout = try_run("kubectl", &["rollout", "status", "deployment/app", namespace, "--timeout=120s"]);
    let about = || {
        let logs =
            try_run("kubectl", &["logs", namespace, "deployment/app", "--all-containers", "--tail=20"]);
        format!(
            "{}\n{}",
            kubectl(&["get", "pods", namespace, "-o", "wide"]),
            String::from_utf8_lossy(&logs.stdout)
        )
    };
    assert!(rollout.status.success(), "{rollout:?}\n{}", about());
    let stored = || cluster.server.count("myapp", "app_requests", "count");
    wait_for(|| stored() >= 3, LIMIT, "three points of the application");
    let query = "SELECT last(\"count\") FROM \"app_requests\" GROUP BY *";
    let rows = cluster.server.series("myapp", query);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((text(&rows[0]["tags"]["env"]), text(&rows[0]["tags"]["path"])), ("test".into(), "/".into()));
    let restarts = "-o=jsonpath={.items[*].status.initContainerStatuses[*].restartCount}";
    assert_eq!(kubectl(&["get", "pods", namespace, restarts]), "0", "{}", about());

    // The side-car ends after the application: what that wrote last is stored.
    kubectl(&["scale", "deployment/app", namespace, "--replicas=0"]);
    kubectl(&["wait", "pod", namespace, "--all", "--for=delete", "--timeout=90s"]);
    println!("cluster: {} points of the application are stored, through its side-car", stored());
    // What is in the namespace goes with it, and may be gone by the time it is asked for.
    kubectl(&["delete", "-k", &overlay, "--ignore-not-found", "--timeout=120s"]);
}
