//! The whole system as `deploy/kubernetes/monitoring` has it, by the commands of the README.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use seismograf_tests::suite::Outcome;
use seismograf_tests::{pause, try_run, wait_for};
use serde_json::{Value, json};

use super::{LIMIT, kubectl, list, manifests, pods, repository, text};

const NAMESPACE: &str = "--namespace=monitoring";

/// From a clone to points, and away again.
pub(super) fn four_commands() -> Outcome {
    let commands = of_readme();
    assert_eq!(commands.len(), 4, "{commands:#?}");
    let start = Instant::now();
    let _volumes = Volumes::new();
    for command in &commands[..3] {
        let output = sh(command);
        assert!(output.status.success(), "{command}: {output:?}");
    }
    is_ready();
    let ready = start.elapsed();
    let names = names();
    let mut shown = String::new();
    wait_for(
        || {
            pause(Duration::from_secs(1));
            let output = sh(&commands[3]);
            shown = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(start.elapsed() < 2 * LIMIT, "{output:?}\n{names:?}\n{}", about());
            names.iter().all(|name| shown.contains(name))
        },
        4 * LIMIT,
        "the names of pods in InfluxDB",
    );
    let points = start.elapsed();
    println!("cluster: {}", shown.trim().replace('\n', "\n         "));
    assert_eq!(tags("env"), ["prod"]);
    assert_eq!(tags("host"), ["node-1"]);
    services_answer();
    let peak = peak_memory();
    let restarts = "-o=jsonpath={.items[*].status.containerStatuses[*].restartCount}";
    assert_eq!(kubectl(&["get", "pods", NAMESPACE, restarts]), "0 0 0 0", "{}", about());
    kubectl(&["create", "namespace", "myapp"]);
    manifests::the_server_takes_all();
    kubectl(&["delete", "namespace", "myapp", "--wait=false"]);

    let removal = Instant::now();
    kubectl(&["delete", "--kustomize", &manifests::folder("monitoring"), "--timeout=120s"]);
    nothing_remains();
    println!(
        "cluster: the README's four commands: ready after {:.0} s, the names of {} pods in InfluxDB after {:.0} s; the agent's \
         pod took up to {} KiB; removed in {:.0} s",
        ready.as_secs_f64(),
        names.len(),
        points.as_secs_f64(),
        peak / 1024,
        removal.elapsed().as_secs_f64(),
    );
    Ok(())
}

/// The commands of its section about Kubernetes: the first indented lines.
fn of_readme() -> Vec<String> {
    let readme = std::fs::read_to_string(repository("README.md")).unwrap();
    let section = readme.split("\n## ").find(|section| section.starts_with("On Kubernetes\n")).unwrap();
    let block = section.lines().skip_while(|line| !line.starts_with("    "));
    block.take_while(|line| line.starts_with("    ")).map(|line| line.trim().to_owned()).collect()
}

/// As a person has typed it, in the repository's root.
fn sh(command: &str) -> Output {
    Command::new("bash").args(["-c", command]).current_dir(repository(".")).output().unwrap()
}

/// Waits until every pod of the system is.
pub(super) fn is_ready() {
    for workload in
        ["statefulset/influxdb", "statefulset/chronograf", "statefulset/kapacitor", "daemonset/seismograf"]
    {
        let rollout = try_run("kubectl", &["rollout", "status", workload, NAMESPACE, "--timeout=180s"]);
        assert!(rollout.status.success(), "{workload}: {rollout:?}\n{}", about());
    }
}

/// The pods of the system.
fn names() -> Vec<String> {
    let ours = pods().into_iter().filter(|pod| pod["metadata"]["namespace"] == "monitoring");
    let names: Vec<String> = ours.map(|pod| text(&pod["metadata"]["name"])).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    names
}

/// What is going on there.
pub(super) fn about() -> String {
    let logs = ["logs", NAMESPACE, "-l=app.kubernetes.io/part-of=seismograf", "--prefix", "--tail=15"];
    let events = ["events", NAMESPACE, "--types=Warning"];
    [&["get", "all,persistentvolumeclaims", "-o=wide", NAMESPACE], &events[..], &logs]
        .map(|args| {
            let output = try_run("kubectl", args);
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
        })
        .join("\n")
}

/// What a query in the database's own pod answers: its rows, of which there are none as long as there is no such database, or
/// no server.
pub(super) fn query(database: &str, query: &str) -> Vec<Value> {
    let influx = ["influx", "-database", database, "-format", "json", "-execute", query];
    let output =
        try_run("kubectl", &[&["exec", NAMESPACE, "statefulset/influxdb", "--"], &influx[..]].concat());
    let mut answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    answer.pointer_mut("/results/0/series").map(Value::take).map(list).unwrap_or_default()
}

/// Every value of a tag.
fn tags(key: &str) -> Vec<String> {
    let rows = query("telegraf", &format!("SHOW TAG VALUES WITH KEY = \"{key}\""));
    let values = rows.into_iter().flat_map(|mut row| list(row["values"].take()));
    let mut values: Vec<String> = values.map(|value| text(&value[1])).collect();
    values.sort();
    values.dedup();
    values
}

/// Each by the name of its Service, from another pod.
fn services_answer() {
    for (service, path) in [("chronograf 8888", "ping"), ("kapacitor 9092", "kapacitor/v1/ping")] {
        let service = service.replace(' ', ".monitoring.svc ");
        // Debian's static busybox cannot look up a name for wget.
        let get = format!("printf 'GET /{path} HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {service}");
        let answer = try_run("kubectl", &["exec", NAMESPACE, "statefulset/influxdb", "--", "sh", "-c", &get]);
        let text = String::from_utf8_lossy(&answer.stdout);
        assert!(text.starts_with("HTTP/1.1 200"), "{service}: {answer:?}\n{}", about());
    }
}

/// The most that the agent's pod has had, in bytes; it is half of its limit at most.
fn peak_memory() -> u64 {
    let agent = pods().into_iter().find(|pod| text(&pod["metadata"]["name"]).starts_with("seismograf-"));
    let id = format!("pod{}", text(&agent.unwrap()["metadata"]["uid"]));
    let roots = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"].map(Path::new);
    let files = ["memory.max_usage_in_bytes", "memory.peak", "memory.current"];
    let places = roots.iter().flat_map(|root| {
        let cgroup = root.join("kubepods/burstable").join(&id);
        files.map(|file| cgroup.join(file))
    });
    let peak = places.filter_map(|file| std::fs::read_to_string(file).ok()).next().expect("the pod's cgroup");
    let peak = peak.trim().parse().unwrap();
    assert!(peak < 64 << 20, "{peak} bytes");
    peak
}

/// Of the system and of its containers nothing is left on the node.
pub(super) fn nothing_remains() {
    let all = "namespaces,clusterroles,clusterrolebindings,daemonsets,statefulsets,services,configmaps,secrets,\
               persistentvolumeclaims,serviceaccounts,pods";
    let labels = "-l=app.kubernetes.io/part-of=seismograf";
    let left = kubectl(&["get", all, "--all-namespaces", labels, "--output=name", "--ignore-not-found"]);
    assert_eq!(left, "");
    let namespace = kubectl(&["get", "namespace", "monitoring", "--ignore-not-found"]);
    assert_eq!(namespace, "");
    let filter = r#"labels."io.kubernetes.pod.namespace"==monitoring"#;
    let list = ["--namespace", "k8s.io", "containers", "list", "--quiet", filter];
    wait_for(|| try_run("ctr", &list).stdout.is_empty(), LIMIT, "the containers to be gone");
}

/// Persistent volumes for the claims, since this node has nothing that makes them: directories of root, which the kubelet hands
/// over to the group that a pod names. Dropping them removes them.
pub(super) struct Volumes {
    directory: tempfile::TempDir,
}

impl Volumes {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let node = json!({"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-1"]},
        ]}]});
        let volume = |size: &str| {
            let name = format!("volume-{}", size.to_lowercase());
            let path: PathBuf = directory.path().join(&name);
            std::fs::create_dir(&path).unwrap();
            json!({
                "apiVersion": "v1", "kind": "PersistentVolume",
                "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "seismograf"}},
                "spec": {
                    "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "local": {"path": path},
                    "nodeAffinity": {"required": node}, "persistentVolumeReclaimPolicy": "Retain",
                },
            })
        };
        let volumes = ["1Gi", "5Gi", "20Gi"].map(volume);
        let list = json!({"apiVersion": "v1", "kind": "List", "items": volumes});
        let file = directory.path().join("volumes.json");
        std::fs::write(&file, list.to_string()).unwrap();
        kubectl(&["apply", "-f", &file.display().to_string()]);
        Self { directory }
    }
}

impl Drop for Volumes {
    fn drop(&mut self) {
        let file = self.directory.path().join("volumes.json").display().to_string();
        // Whoever fails leaves claims, which hold them.
        try_run("kubectl", &["delete", "-f", &file, "--wait=false"]);
    }
}
