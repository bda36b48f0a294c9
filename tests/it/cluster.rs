//! In a real Kubernetes: what is shipped runs there with the rights that it asks for, and figures have the names that the
//! API server knows.
//!
//! `cargo xtask cluster test` runs this suite on the node that it starts, and nothing else does.

mod application;
mod article;
mod chart;
mod manifests;
mod overlays;
mod rights;
mod system;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use libtest_mimic::Trial;
use seismograf_tests::cgroup::Layout;
use seismograf_tests::influxd::{Influxd, Setup};
use seismograf_tests::suite::Outcome;
use seismograf_tests::{Skip, extra, number, pause, run, trial, try_run, wait_for};
use serde_json::Value;

/// The address of the node that this process is on.
const NODE: &str = "SEISMOGRAF_NODE";
/// Set where the whole suite is asked for.
const WHOLE: &str = "SEISMOGRAF_WHOLE_CLUSTER";
/// For pods to start, and for a few of the agent's intervals.
const LIMIT: Duration = Duration::from_secs(120);

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
    // What begins with an empty cluster, and leaves one.
    let alone = |test: fn() -> Outcome| {
        let cluster = Arc::clone(&cluster);
        move || {
            *cluster.lock().unwrap_or_else(PoisonError::into_inner) = None;
            clear();
            test()
        }
    };
    let whole = |test: fn() -> Outcome| {
        let test = alone(test);
        move || {
            if std::env::var_os(WHOLE).is_none() {
                return Err(Skip::because("left out of this run; `cargo xtask cluster test` has all"));
            }
            test()
        }
    };
    vec![
        trial("cluster::every_object_is_one_of_the_api", manifests::typed),
        trial("cluster::the_account_may_ask_the_kubelet_and_nothing_else", rights::are_enough_and_no_more),
        on("cluster::the_daemonset_runs", daemonset_runs),
        on("cluster::cpu_time_is_the_kernels", cpu_time_is_the_kernels),
        on("cluster::what_the_kubelet_says_arrives", kubelet_figures),
        on("cluster::containers_have_their_names", containers_have_their_names),
        on("cluster::short_lived_containers_have_their_names", short_lived_have_their_names),
        on("cluster::sandboxes_have_the_names_of_their_pods", sandboxes_have_their_names),
        on("cluster::a_kill_for_want_of_memory_is_counted", oom_kill_is_counted),
        on("cluster::no_container_stays_unknown", nothing_unresolved),
        on("cluster::the_pods_of_a_cron_job_are_one_row", pods_of_a_cron_job),
        on("cluster::an_application_writes_through_its_side_car", application::writes),
        extra("cluster::chart_and_kustomization_are_the_same", chart::same),
        trial("cluster::four_commands_bring_the_whole_system", alone(system::four_commands)),
        extra("cluster::chart_lives", whole(chart::lives)),
        extra("cluster::values_of_telegraf_ds_work", chart::values_of_telegraf_ds),
        extra("cluster::overlays_run", whole(overlays::run)),
        extra("cluster::the_articles_daemonset_runs", whole(article::daemonset)),
        extra("cluster::the_articles_etcd_runs", whole(article::etcd)),
    ]
}

/// A file of the repository.
fn repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).canonicalize().unwrap()
}

/// Where the agent of the overlay keeps its state.
const STATE: &str = "/var/lib/seismograf.test";

/// Removes what an earlier test, or an earlier run, left on this node.
fn clear() {
    let gone = ["--ignore-not-found", "--timeout=120s"];
    let delete = |what: &[&str]| kubectl(&[&["delete"], what, &gone].concat());
    delete(&["-f", &file("workloads.yaml"), "--grace-period=1"]);
    delete(&["namespace", "monitoring", "myapp"]);
    delete(&[
        "clusterrole,clusterrolebinding,persistentvolume",
        "-l",
        "app.kubernetes.io/part-of=seismograf",
    ]);
    // The node is this machine.
    let _ = std::fs::remove_dir_all(STATE);
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
    /// What the agent has to tag its row with.
    names: BTreeMap<&'static str, String>,
    /// The name of the pod itself, which is not that of its row where a job made it.
    pod: String,
    runs: bool,
}

/// A row, as the agent wrote it.
#[derive(Debug)]
struct Series {
    tags: BTreeMap<String, String>,
}

/// The agent and the workloads, and the database that they are read from.
struct Cluster {
    server: Influxd,
    /// Every container that was ever seen, by id: those of a crash loop come and go.
    containers: BTreeMap<String, Container>,
}

impl Cluster {
    fn start() -> Result<Self, Skip> {
        let (overlay, workloads) = (file("overlay"), file("workloads.yaml"));
        clear();
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
            let (row, workload) = row_of(&pod);
            let statuses = ["initContainerStatuses", "containerStatuses"];
            for status in statuses.into_iter().flat_map(|key| list(pod["status"][key].clone())) {
                let mut names = BTreeMap::from([
                    ("container_image", text(&status["image"])),
                    ("container_name", text(&status["name"])),
                    ("namespace", text(&pod["metadata"]["namespace"])),
                    ("node_name", text(&pod["spec"]["nodeName"])),
                    ("pod_name", row.clone()),
                ]);
                names.extend(workload.clone().map(|workload| ("workload", workload)));
                let pod = text(&pod["metadata"]["name"]);
                let runs = status["state"].get("running").is_some();
                // The one before, of a container that was started again.
                let before = text(&status["lastState"]["terminated"]["containerID"]);
                for (id, runs) in [(before, false), (text(&status["containerID"]), runs)] {
                    if let Some((_, id)) = id.split_once("://") {
                        let (names, pod) = (names.clone(), pod.clone());
                        self.containers.insert(id.to_owned(), Container { names, pod, runs });
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

    /// Every series of a measurement.
    fn series(&self, measurement: &str, field: &str) -> Vec<Series> {
        let query = format!("SELECT last(\"{field}\") FROM \"{measurement}\" GROUP BY *");
        let series = |row: &Value| {
            let tags =
                row["tags"].as_object().into_iter().flatten().map(|(key, tag)| (key.clone(), text(tag)));
            // The server lists every key that any series has.
            let tags = tags.filter(|(_, tag)| !tag.is_empty()).collect();
            Series { tags }
        };
        self.server.series("metrics", &query).iter().map(series).collect()
    }

    /// What is wrong with the rows of what is called so: there is one series of each name, and none that has an id. A container
    /// has no row before it has its name.
    fn wrong_names<'a>(
        &self,
        wanted: impl Iterator<Item = &'a BTreeMap<&'static str, String>>,
    ) -> Vec<String> {
        let all = self.series("cgroup_cpu", "usage_ns");
        let with_id = all.iter().filter(|series| {
            series.tags.get("cgroup").is_some_and(|path| self.containers.keys().any(|id| path.contains(id)))
        });
        let mut wrong: Vec<String> = with_id.map(|series| format!("with an id: {:?}", series.tags)).collect();
        for names in wanted.collect::<std::collections::BTreeSet<_>>() {
            let is_of = |series: &&Series| {
                let tags = names.iter().all(|(key, value)| series.tags.get(*key) == Some(value));
                tags && series.tags.contains_key("workload") == names.contains_key("workload")
            };
            let n = all.iter().filter(is_of).count();
            if n != 1 {
                wrong.push(format!("{n} series of {names:?}"));
            }
        }
        wrong
    }
}

/// What the row of a pod is called, and its workload: all pods of a job are one row.
fn row_of(pod: &Value) -> (String, Option<String>) {
    let name = text(&pod["metadata"]["name"]);
    let owner = &pod["metadata"]["ownerReferences"][0];
    let (kind, of) = (text(&owner["kind"]), text(&owner["name"]));
    let without_end = of.rsplit_once('-').map_or(of.as_str(), |(start, _)| start);
    match kind.as_str() {
        "ReplicaSet" => (name, Some(format!("deployment/{without_end}"))),
        "DaemonSet" => (name, Some(format!("daemonset/{of}"))),
        "Job" if of.starts_with("each-minute-") => {
            ("each-minute-*".into(), Some("cronjob/each-minute".into()))
        }
        "Job" => (format!("{of}-*"), Some(format!("job/{of}"))),
        _ => (name, None),
    }
}

/// What the agent's container printed.
fn agent_log() -> String {
    agent_log_of("--namespace=monitoring daemonset/seismograf")
}

/// What one of these pods printed, as `kubectl logs` takes them.
fn agent_log_of(pods: &str) -> String {
    let args: Vec<&str> = ["logs", "--tail=40"].into_iter().chain(pods.split(' ')).collect();
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
        cluster.wrong_names(cluster.containers.values().filter(|container| container.runs).map(|c| &c.names))
    });
}

fn containers_have_their_names(cluster: &mut Cluster) {
    cluster.settle("the names of containers that run", |cluster| {
        cluster.look();
        let running: Vec<_> = cluster.containers.values().filter(|container| container.runs).collect();
        assert!(running.len() >= 7, "{running:?}");
        cluster.wrong_names(running.into_iter().map(|container| &container.names))
    });
    // In every measurement, and those that sleep too.
    for (measurement, field) in [("cgroup_mem", "usage_bytes"), ("cgroup_net", "rx_bytes")] {
        let all = cluster.series(measurement, field);
        for container in cluster.containers.values().filter(|container| container.runs) {
            let is_of = |series: &&Series| {
                container.names.iter().all(|(key, value)| series.tags.get(*key) == Some(value))
            };
            assert_eq!(all.iter().filter(is_of).count(), 1, "{measurement} of {container:?}");
        }
    }
}

fn short_lived_have_their_names(cluster: &mut Cluster) {
    for pod in ["once-", "each-minute-", "crash-loop", "out-of-memory", "host-network"] {
        let ended = |container: &Container| !container.runs && container.pod.starts_with(pod);
        let n = cluster.containers.values().filter(|container| ended(container)).count();
        assert!(n > 0, "no container of {pod} has ended");
        cluster.settle(&format!("the names of what ran in {pod}"), |cluster| {
            let ended = cluster.containers.values().filter(|container| ended(container));
            cluster.wrong_names(ended.map(|container| &container.names))
        });
        println!("cluster: {n} ended containers of {pod} have one series of their name");
    }
}

fn sandboxes_have_their_names(cluster: &mut Cluster) {
    let ctr = |args: &[&str]| run("ctr", &[&["--namespace", "k8s.io", "containers"], args].concat());
    let ids = ctr(&["list", "--quiet", r#"labels."io.cri-containerd.kind"==sandbox"#]);
    let mut sandboxes = BTreeMap::new();
    for id in ids.lines() {
        let info: Value = serde_json::from_str(&ctr(&["info", id])).unwrap();
        let label = |name: &str| text(&info["Labels"][format!("io.kubernetes.pod.{name}")]);
        sandboxes.insert(label("name"), label("namespace"));
    }
    assert!(sandboxes.len() >= 7, "{sandboxes:?}");
    cluster.settle("the names of sandboxes", |cluster| {
        let rows: BTreeMap<String, (String, Option<String>)> =
            pods().iter().map(|pod| (text(&pod["metadata"]["name"]), row_of(pod))).collect();
        let names = sandboxes.iter().filter_map(|(pod, namespace)| {
            let (row, workload) = rows.get(pod)?;
            let mut names = BTreeMap::from([
                ("container_name", "POD".to_owned()),
                ("namespace", namespace.clone()),
                ("node_name", "node-1".to_owned()),
                ("pod_name", row.clone()),
            ]);
            names.extend(workload.clone().map(|workload| ("workload", workload)));
            Some(names)
        });
        let names: Vec<_> = names.collect();
        cluster.wrong_names(names.iter())
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
            let pod = || vec![node(), name("namespace"), ("pod_name", container.pod.clone())];
            let of_container = [pod(), vec![name("container_name")]].concat();
            wanted.push(("kubernetes_pod_container", "memory_usage_bytes", of_container));
            if container.pod.starts_with("web-") {
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
    let (id, container) = cluster.containers.iter().find(|(_, container)| busy(container)).unwrap();
    let (layout, pod) = (Layout::read(), container.pod.clone());
    let cgroup = layout.cgroup_of(id).expect("the cgroup of the busy container");
    let now = || i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos()).unwrap();
    let usage = || -> i64 { i64::try_from(layout.cpu_ns(&cgroup)).unwrap() };
    let mut kernel = vec![(now(), usage())];
    let start = kernel[0].0;
    let rows = || -> Vec<(i64, i64)> {
        let query = format!(
            "SELECT \"usage_ns\" FROM \"cgroup_cpu\" WHERE \"pod_name\" = '{pod}' AND \"container_name\" = 'busy' \
             AND time > {}",
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

/// Pods of one cron job, one after the other. Each says at its end what the kernel has of it.
fn pods_of_a_cron_job(cluster: &mut Cluster) {
    /// A pod takes some seconds; `SEISMOGRAF_PODS=200` is the whole of it.
    const N: u64 = 8;
    let n = number("SEISMOGRAF_PODS", N);
    let script = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; cat /sys/fs/cgroup/cpu*/cpuacct.usage 2>/dev/null \
                  | head -n1 || sed -n 's/^usage_usec \\(.*\\)/\\1000/p' /sys/fs/cgroup/cpu.stat";
    let mut kernel = 0;
    for i in 0..n {
        let name = format!("sums-{}", 29_000_000 + i);
        let job = serde_json::json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never", "containers": [{
                "name": "sums", "image": "docker.io/library/box:test", "imagePullPolicy": "Never",
                "command": ["sh", "-c", script],
            }]}}},
        });
        let file = tempfile::NamedTempFile::with_suffix(".json").unwrap();
        std::fs::write(file.path(), job.to_string()).unwrap();
        kubectl(&["apply", "-f", &file.path().display().to_string()]);
        kubectl(&["wait", &format!("job/{name}"), "--for=condition=complete", "--timeout=60s"]);
        let log = kubectl(&["logs", &format!("job/{name}")]);
        kernel += log.trim().parse::<u64>().unwrap_or_else(|error| panic!("{log:?}: {error}"));
        // As a cron job does, keep the latest three.
        if let Some(old) = i.checked_sub(3) {
            kubectl(&["delete", "job", &format!("sums-{}", 29_000_000 + old), "--wait=false"]);
        }
    }
    let of_job = |measurement: &str, field: &str| -> Vec<Value> {
        let query = format!(
            "SELECT last(\"{field}\") FROM \"{measurement}\" WHERE \"workload\" = 'cronjob/sums' GROUP BY *"
        );
        cluster.server.series("metrics", &query)
    };
    let last = |row: &Value| row["values"][0][1].as_u64().unwrap();
    let is_main = |row: &&Value| row["tags"]["container_name"] == "sums";
    let start = Instant::now();
    while of_job("cgroup_cpu", "usage_ns").iter().find(is_main).map_or(0, last) < kernel {
        let rows = of_job("cgroup_cpu", "usage_ns");
        assert!(start.elapsed() < LIMIT, "{kernel} ns: {rows:#?}\n{}", agent_log());
        pause(Duration::from_millis(500));
    }
    let rows = of_job("cgroup_cpu", "usage_ns");
    let ours = rows.iter().find(is_main).map_or(0, last);
    let percent = 100.0 * ours as f64 / kernel as f64;
    let pods = of_job("pod_cpu", "usage_ns");
    let all: u64 = rows.iter().map(last).sum();
    println!(
        "cluster: {n} pods of one cron job: {} series of containers, {} of pods; {percent:.2} % of {:.1} ms that they saw \
         themselves; the pods {:.1} ms, their containers {:.1} ms",
        rows.len(),
        pods.len(),
        kernel as f64 / 1e6,
        pods.first().map_or(0, last) as f64 / 1e6,
        all as f64 / 1e6,
    );
    let names: Vec<&Value> = rows.iter().map(|row| &row["tags"]["container_name"]).collect();
    assert!(rows.len() == 2 && names.contains(&&Value::from("POD")), "{rows:#?}");
    assert_eq!(pods.len(), 1, "{pods:#?}");
    assert_eq!(last(&pods[0]), all, "the pods are the sum of their containers");
    // What the container ran before and after its own look is in ours alone.
    assert!((99.9..110.0).contains(&percent), "{percent} %");
}
