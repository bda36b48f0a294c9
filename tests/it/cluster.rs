//! In a real Kubernetes: what is shipped runs there with the rights that it asks for, and figures have the names that the
//! API server knows.
//!
//! `cargo xtask cluster test` runs this suite on the node that it starts, and nothing else does.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use libtest_mimic::Trial;
use seismograf_tests::cgroup::Layout;
use seismograf_tests::influxd::{Influxd, Setup};
use seismograf_tests::suite::Outcome;
use seismograf_tests::{pause, run, trial, try_run, wait_for};
use serde_json::Value;

/// The address of the node that this process is on.
const NODE: &str = "SEISMOGRAF_NODE";
/// For pods to start, and for a few of the agent's intervals.
const LIMIT: Duration = Duration::from_secs(120);
/// The tags that say whose a row is.
const NAMES: [&str; 5] = ["container_image", "container_name", "namespace", "node_name", "pod_name"];
const ACCOUNT: &str = "system:serviceaccount:monitoring:seismograf";

/// The suite; none where there is no node.
pub(crate) fn trials() -> Vec<Trial> {
    if std::env::var_os(NODE).is_none() {
        return Vec::new();
    }
    let cluster = Arc::new(Mutex::new(None));
    let on = |name: &str, test: fn(&mut Cluster)| {
        let cluster = Arc::clone(&cluster);
        trial(name, move || {
            let mut cluster = cluster.lock().unwrap_or_else(PoisonError::into_inner);
            if cluster.is_none() {
                *cluster = Some(Cluster::start()?);
            }
            test(cluster.as_mut().unwrap());
            Ok(())
        })
    };
    vec![
        trial("cluster::the_account_may_ask_the_kubelet_and_nothing_else", rights),
        on("cluster::the_daemonset_runs", daemonset_runs),
        on("cluster::cpu_time_is_the_kernels", cpu_time_is_the_kernels),
        on("cluster::what_the_kubelet_says_arrives", kubelet_figures),
        on("cluster::containers_have_their_names", containers_have_their_names),
        on("cluster::short_lived_containers_have_their_names", short_lived_have_their_names),
        on("cluster::sandboxes_have_the_names_of_their_pods", sandboxes_have_their_names),
        on("cluster::a_kill_for_want_of_memory_is_counted", oom_kill_is_counted),
        on("cluster::no_container_stays_unknown", nothing_unresolved),
    ]
}

/// A file of the suite.
fn file(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster").join(name).display().to_string()
}

fn node() -> IpAddr {
    std::env::var(NODE).unwrap().parse().unwrap()
}

fn kubectl(args: &[&str]) -> String {
    run("kubectl", args)
}

fn pods() -> Vec<Value> {
    let mut all: Value =
        serde_json::from_str(&kubectl(&["get", "pods", "--all-namespaces", "-o", "json"])).unwrap();
    list(all["items"].take())
}

fn list(value: Value) -> Vec<Value> {
    if let Value::Array(values) = value { values } else { Vec::new() }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A container, as the API server knows it.
#[derive(Clone, Debug)]
struct Container {
    /// What the agent has to tag it with.
    names: BTreeMap<&'static str, String>,
    runs: bool,
}

/// The cgroup of a container, as the agent wrote it.
#[derive(Debug)]
struct Series {
    tags: BTreeMap<String, String>,
    /// When the last row was gathered, in nanoseconds of the wall clock.
    time: i64,
}

/// The agent and the workloads, and the database that they are read from.
struct Cluster {
    server: Influxd,
    /// Every container that was ever seen, by id: those of a crash loop come and go.
    containers: BTreeMap<String, Container>,
}

impl Cluster {
    fn start() -> Result<Self, seismograf_tests::Skip> {
        let (overlay, workloads) = (file("overlay"), file("workloads.yaml"));
        // What an earlier run left on this node.
        for what in [["-f", &workloads], ["-k", &overlay]] {
            kubectl(&[
                "delete",
                what[0],
                what[1],
                "--ignore-not-found",
                "--grace-period=1",
                "--timeout=120s",
            ]);
        }
        let listen = Some(SocketAddr::new(node(), 8086));
        let server = Influxd::start(Setup { listen, ..Setup::default() })?;
        kubectl(&["apply", "-k", &overlay]);
        let rollout = try_run(
            "kubectl",
            &["rollout", "status", "daemonset/seismograf", "--namespace", "monitoring", "--timeout=120s"],
        );
        assert!(rollout.status.success(), "{rollout:?}\n{}", agent_log());
        let mut cluster = Self { server, containers: BTreeMap::new() };
        // From here on no container is older than the agent's eyes.
        cluster.settle("the agent's first rows", |cluster| {
            if cluster.count("cgroup_cpu", "usage_ns") > 0 { Vec::new() } else { vec!["none".into()] }
        });
        kubectl(&["apply", "-f", &workloads]);
        cluster.settle("the workloads", |cluster| {
            cluster.look();
            waits_for()
        });
        println!("cluster: {} containers came and went", cluster.containers.len());
        Ok(cluster)
    }

    /// Takes in which containers there are now.
    fn look(&mut self) {
        for pod in pods() {
            let statuses = ["initContainerStatuses", "containerStatuses"];
            for status in statuses.into_iter().flat_map(|key| list(pod["status"][key].clone())) {
                let names = BTreeMap::from([
                    ("container_image", text(&status["image"])),
                    ("container_name", text(&status["name"])),
                    ("namespace", text(&pod["metadata"]["namespace"])),
                    ("node_name", text(&pod["spec"]["nodeName"])),
                    ("pod_name", text(&pod["metadata"]["name"])),
                ]);
                let runs = status["state"].get("running").is_some();
                // The one before, of a container that was started again.
                let before = text(&status["lastState"]["terminated"]["containerID"]);
                for (id, runs) in [(before, false), (text(&status["containerID"]), runs)] {
                    if let Some((_, id)) = id.split_once("://") {
                        self.containers.insert(id.to_owned(), Container { names: names.clone(), runs });
                    }
                }
            }
        }
    }

    /// Waits until nothing is wrong any more, and fails with what still is.
    fn settle(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Vec<String>) {
        let start = Instant::now();
        wait_for(
            || {
                let wrong = look(self);
                if start.elapsed() > LIMIT {
                    assert!(wrong.is_empty(), "{what}:\n  {}\n{}", wrong.join("\n  "), agent_log());
                }
                // The API server has better to do than to answer all the time.
                pause(Duration::from_millis(300));
                wrong.is_empty()
            },
            2 * LIMIT,
            what,
        );
    }

    fn count(&self, measurement: &str, field: &str) -> u64 {
        self.server.count("metrics", measurement, field)
    }

    /// Every series of a measurement, with the time of its last row.
    fn series(&self, measurement: &str, field: &str) -> Vec<Series> {
        let query = format!("SELECT last(\"{field}\") FROM \"{measurement}\" GROUP BY *");
        let series = |row: &Value| {
            let tags =
                row["tags"].as_object().into_iter().flatten().map(|(key, tag)| (key.clone(), text(tag)));
            // The server lists every key that any series has.
            let tags = tags.filter(|(_, tag)| !tag.is_empty()).collect();
            Series { tags, time: row["values"][0][0].as_i64().unwrap() }
        };
        self.server.series("metrics", &query).iter().map(series).collect()
    }

    /// The series of each container's or sandbox's CPU time, by id, the latest one last.
    fn by_id(&self) -> BTreeMap<String, Vec<Series>> {
        let mut all: BTreeMap<String, Vec<Series>> = BTreeMap::new();
        for series in self.series("cgroup_cpu", "usage_ns") {
            if let Some((_, id)) = series.tags.get("cgroup").and_then(|path| path.rsplit_once('/')) {
                all.entry(id.to_owned()).or_default().push(series);
            }
        }
        for series in all.values_mut() {
            series.sort_by_key(|series| series.time);
        }
        all
    }

    /// What is wrong with the names of these ids' rows. Totals are cumulative, so the last row is what counts: it has every
    /// name. One before may lack them, if it was gathered before the kubelet listed them, but none has a wrong one.
    fn wrong_names<'a>(
        &self,
        wanted: impl Iterator<Item = (&'a String, BTreeMap<&'static str, String>)>,
    ) -> Vec<String> {
        let all = self.by_id();
        let mut wrong = Vec::new();
        for (id, names) in wanted {
            let Some(series) = all.get(id) else {
                wrong.push(format!("no row of {id}: {names:?}"));
                continue;
            };
            for (i, one) in series.iter().enumerate() {
                let is_last = i + 1 == series.len();
                let differs =
                    |name: &str, value: &str| one.tags.get(name).map_or(is_last, |tag| tag != value);
                if names.iter().any(|(name, value)| differs(name, value)) {
                    wrong.push(format!("{:?} and not {names:?}", one.tags));
                }
            }
        }
        wrong
    }
}

/// What the agent's container printed.
fn agent_log() -> String {
    let args = ["logs", "--namespace", "monitoring", "daemonset/seismograf", "--tail=40"];
    let output = try_run("kubectl", &args);
    format!(
        "the agent's log:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Pods that are not yet as the workloads say they will be.
fn waits_for() -> Vec<String> {
    let pods = pods();
    let named = |prefix: &str| -> Vec<&Value> {
        pods.iter().filter(|pod| text(&pod["metadata"]["name"]).starts_with(prefix)).collect()
    };
    let in_phase = |prefix: &str, phase: &str| {
        named(prefix).into_iter().filter(|pod| pod["status"]["phase"] == phase).count()
    };
    let restarts = named("crash-loop")
        .first()
        .map_or(0, |pod| pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or(0));
    let reason = named("out-of-memory").first().map_or(String::new(), |pod| {
        text(&pod["status"]["containerStatuses"][0]["state"]["terminated"]["reason"])
    });
    let conditions = [
        ("two pods of web", in_phase("web-", "Running") == 2),
        ("guaranteed", in_phase("guaranteed", "Running") == 1),
        ("host-network", in_phase("host-network", "Running") == 1),
        ("once", in_phase("once-", "Succeeded") == 1),
        ("each-minute", in_phase("each-minute-", "Succeeded") >= 1),
        ("a second start of crash-loop", restarts >= 2),
        ("out-of-memory to be killed", reason == "OOMKilled"),
    ];
    conditions.into_iter().filter(|(_, holds)| !holds).map(|(what, _)| what.to_owned()).collect()
}

/// By the API server's rules, and by the kubelet's own answers to a token of the account.
fn rights() -> Outcome {
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

fn daemonset_runs(cluster: &mut Cluster) {
    let log = agent_log();
    assert!(!log.contains("probe is off"), "{log}");
    for (measurement, field) in [("cgroup_cpu", "usage_ns"), ("cgroup_net", "rx_bytes"), ("mem", "total")] {
        cluster.settle(measurement, |cluster| {
            let there = cluster.count(measurement, field) > 0;
            if there { Vec::new() } else { vec![format!("no row of {measurement}")] }
        });
    }
    let hosts: Vec<String> = cluster
        .series("mem", "total")
        .into_iter()
        .map(|mut series| series.tags.remove("host").unwrap())
        .collect();
    assert_eq!(hosts, ["node-1"]);
    let restarts = kubectl(&[
        "get",
        "pods",
        "--namespace=monitoring",
        "-o=jsonpath={.items[*].status.containerStatuses[*].restartCount}",
    ]);
    assert_eq!(restarts, "0", "the agent was started again: {log}");
    // Each container that runs has its rows, whatever they are called.
    cluster.settle("rows of each container", |cluster| {
        cluster.look();
        let all = cluster.by_id();
        let running = cluster.containers.iter().filter(|(_, container)| container.runs);
        running
            .filter(|(id, _)| !all.contains_key(*id))
            .map(|(_, container)| format!("{container:?}"))
            .collect()
    });
}

fn containers_have_their_names(cluster: &mut Cluster) {
    cluster.settle("the names of containers that run", |cluster| {
        cluster.look();
        let running: Vec<_> = cluster.containers.iter().filter(|(_, container)| container.runs).collect();
        assert!(running.len() >= 7, "{running:?}");
        cluster.wrong_names(running.into_iter().map(|(id, container)| (id, container.names.clone())))
    });
    let all = cluster.by_id();
    let known = cluster.containers.keys().filter_map(|id| all.get(id)).flatten();
    let (named, unnamed): (Vec<&Series>, Vec<&Series>) =
        known.partition(|series| NAMES.iter().all(|name| series.tags.contains_key(*name)));
    println!("cluster: {} series with all names, {} from before they were known", named.len(), unnamed.len());
}

fn short_lived_have_their_names(cluster: &mut Cluster) {
    for pod in ["once-", "each-minute-", "crash-loop", "out-of-memory", "host-network"] {
        let ended = |container: &Container| !container.runs && container.names["pod_name"].starts_with(pod);
        let n = cluster.containers.values().filter(|container| ended(container)).count();
        assert!(n > 0, "no container of {pod} has ended");
        cluster.settle(&format!("the names of what ran in {pod}"), |cluster| {
            let ended = cluster.containers.iter().filter(|(_, container)| ended(container));
            cluster.wrong_names(ended.map(|(id, container)| (id, container.names.clone())))
        });
        println!("cluster: {n} ended containers of {pod} have their names");
    }
}

fn sandboxes_have_their_names(cluster: &mut Cluster) {
    let ctr = |args: &[&str]| run("ctr", &[&["--namespace", "k8s.io", "containers"], args].concat());
    let ids = ctr(&["list", "--quiet", r#"labels."io.cri-containerd.kind"==sandbox"#]);
    let mut sandboxes = BTreeMap::new();
    for id in ids.lines() {
        let info: Value = serde_json::from_str(&ctr(&["info", id])).unwrap();
        let label = |name: &str| text(&info["Labels"][format!("io.kubernetes.pod.{name}")]);
        // That of the agent itself did its work before the agent began.
        if label("namespace") != "monitoring" {
            let names = BTreeMap::from([
                ("container_name", "POD".to_owned()),
                ("namespace", label("namespace")),
                ("node_name", "node-1".to_owned()),
                ("pod_name", label("name")),
            ]);
            sandboxes.insert(id.to_owned(), names);
        }
    }
    assert!(sandboxes.len() >= 7, "{sandboxes:?}");
    cluster.settle("the names of sandboxes", |cluster| {
        cluster.wrong_names(sandboxes.iter().map(|(id, names)| (id, names.clone())))
    });
    println!("cluster: {} sandboxes have the names of their pods", sandboxes.len());
}

fn oom_kill_is_counted(cluster: &mut Cluster) {
    cluster.settle("the count of the kill", |cluster| {
        let query = "SELECT last(\"oom_kills\") FROM \"cgroup_mem\" WHERE \"namespace\" = 'default' \
                     AND \"pod_name\" = 'out-of-memory' AND \"container_name\" = 'eats'";
        let rows = cluster.server.series("metrics", query);
        let kills = rows.first().and_then(|row| row["values"][0][1].as_i64());
        if kills >= Some(1) { Vec::new() } else { vec![format!("oom_kills: {kills:?}")] }
    });
}

fn kubelet_figures(cluster: &mut Cluster) {
    type Wanted = (&'static str, &'static str, Vec<(&'static str, String)>);
    cluster.settle("the kubelet's figures", |cluster| {
        cluster.look();
        let node = || ("node_name", "node-1".to_owned());
        let mut wanted: Vec<Wanted> = vec![
            ("kubernetes_node", "memory_working_set_bytes", vec![node()]),
            (
                "kubernetes_system_container",
                "memory_usage_bytes",
                vec![node(), ("container_name", "pods".into())],
            ),
        ];
        for container in cluster.containers.values().filter(|container| container.runs) {
            let name = |key: &'static str| (key, container.names[key].clone());
            let pod = || vec![node(), name("namespace"), name("pod_name")];
            let of_container = [pod(), vec![name("container_name")]].concat();
            wanted.push(("kubernetes_pod_container", "memory_usage_bytes", of_container));
            if container.names["pod_name"].starts_with("web-") {
                wanted.push(("kubernetes_pod_network", "rx_bytes", pod()));
                let of_volume = [pod(), vec![("volume_name", "data".into())]].concat();
                wanted.push(("kubernetes_pod_volume", "capacity_bytes", of_volume));
            }
        }
        let mut there: BTreeMap<&str, Vec<Series>> = BTreeMap::new();
        wanted.retain(|(measurement, field, tags)| {
            let all = there.entry(measurement).or_insert_with(|| cluster.series(measurement, field));
            !all.iter().any(|series| tags.iter().all(|(key, value)| series.tags.get(*key) == Some(value)))
        });
        let mut wrong: Vec<String> = wanted.into_iter().map(|wanted| format!("no {wanted:?}")).collect();
        wrong.sort();
        wrong.dedup();
        wrong
    });
}

fn nothing_unresolved(cluster: &mut Cluster) {
    cluster.settle("a name for every container", |cluster| {
        let query = "SELECT last(\"unresolved_containers\") FROM \"seismograf\" WHERE \"part\" = 'identity'";
        let rows = cluster.server.series("metrics", query);
        let last = rows.first().and_then(|row| row["values"][0][1].as_i64());
        if last == Some(0) { Vec::new() } else { vec![format!("unresolved_containers: {last:?}")] }
    });
}

/// A container that began under the agent's eyes and is always busy, against the kernel's own sum.
fn cpu_time_is_the_kernels(cluster: &mut Cluster) {
    /// A time of the wall clock may be rounded to the second, and a gather is not the instant that it is dated to.
    const ROUNDING: i64 = 1_200_000_000;
    const N: usize = 3;
    cluster.look();
    let busy = |container: &&Container| container.runs && container.names["container_name"] == "busy";
    let id = cluster.containers.iter().find(|(_, container)| busy(container)).unwrap().0.clone();
    let mut cgroup = String::new();
    cluster.settle("rows of the busy container", |cluster| {
        let all = cluster.by_id();
        cgroup = all.get(&id).map_or(String::new(), |series| series[0].tags["cgroup"].clone());
        if cgroup.is_empty() { vec![id.clone()] } else { Vec::new() }
    });
    let layout = Layout::read();
    let now = || i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos()).unwrap();
    let usage = || -> i64 { i64::try_from(layout.cpu_ns(&cgroup)).unwrap() };
    let mut kernel = vec![(now(), usage())];
    let start = kernel[0].0;
    let rows = || -> Vec<(i64, i64)> {
        let query = format!(
            "SELECT \"usage_ns\" FROM \"cgroup_cpu\" WHERE \"cgroup\" = '{cgroup}' AND time > {}",
            start + ROUNDING
        );
        let rows = cluster.server.series("metrics", &query);
        let rows = rows.into_iter().flat_map(|mut series| list(series["values"].take()));
        rows.map(|row| (row[0].as_i64().unwrap(), row[1].as_i64().unwrap())).collect()
    };
    let mut looked = Instant::now();
    wait_for(
        || {
            kernel.push((now(), usage()));
            let is_time = looked.elapsed() > Duration::from_secs(2);
            if is_time {
                looked = Instant::now();
            }
            is_time && rows().iter().filter(|row| row.0 < now() - ROUNDING).count() >= N
        },
        LIMIT,
        "gathers to compare",
    );
    let rows = rows();
    let mut compared = 0;
    for (time, agent) in &rows {
        let before = kernel.iter().rev().find(|(at, _)| at + ROUNDING <= *time);
        let after = kernel.iter().find(|(at, _)| at - ROUNDING >= *time);
        let (Some((_, before)), Some((_, after))) = (before, after) else { continue };
        // A slice in which a task joins the cgroup is charged whole to one of the two.
        let slack = agent / 200 + 10_000_000;
        println!("cluster: {agent} ns of CPU time where the kernel had {before} to {after}");
        assert!(before - slack <= *agent && *agent <= after + slack);
        compared += 1;
    }
    assert!(compared >= N - 1, "{compared} of {rows:?} compared");
}
