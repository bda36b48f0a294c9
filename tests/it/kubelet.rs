//! The input `kubernetes` against a kubelet that responds as a real one did, and fails in every way: it takes away its own
//! figures and nothing else.

use std::path::Path;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use seismograf_tests::cgroup::Cgroup;
use seismograf_tests::kubelet::{Fault, Kubelet};
use seismograf_tests::netns::{ADDRESSES, INTERFACE, Wire};
use seismograf_tests::running::{Running, int, time};
use seismograf_tests::suite::Outcome;
use seismograf_tests::work::Worker;
use seismograf_tests::{looks, needs, oracle, pause, trial, wait_for, wait_for_some};
use serde_json::{Value, json};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("kubelet::figures_are_those_of_the_containers_own_cgroup", figures),
        trial("kubelet::faults_take_away_its_own_figures_and_nothing_else", faults),
        trial("kubelet::a_token_that_is_replaced_is_read_anew", token),
        trial("kubelet::cost_of_a_hundred_pods", cost),
    ]
}

const TOKEN: &str = "of-the-service-account";
const SECOND: i64 = 1_000_000_000;
/// A gather may take the agent the CPU time of so many looks at a file.
const GATHER_LOOKS: f64 = 2_000.0;
/// The agent's memory, whatever the kubelet answers; and for a moment, when that is as large as is read at all.
const RSS_BYTES: u64 = 24_000_000;
const PEAK_BYTES: u64 = 64_000_000;
const AGAIN: &str = "the kubelet answers again";

/// The agent's configuration; it gathers every `interval`.
fn config(kubelet: &Kubelet, token: &Path, interval: &str) -> String {
    format!(
        r#"[agent]
  interval = "{interval}"
  flush_interval = "200ms"
  precision = "1ms"
  hostname = "h"
[[inputs.mem]]
[[inputs.kubernetes]]
  url = "{url}"
  bearer_token = "{token}"
  tls_ca = "{ca}"
  response_timeout = "1s"
[[outputs.file]]
  files = ["{{points}}"]
"#,
        url = kubelet.url(),
        token = token.display(),
        ca = kubelet.ca().display(),
    )
}

fn token_file(token: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), token).unwrap();
    file
}

fn uid(n: usize) -> String {
    format!("{n:08x}-2222-4333-8444-{:012x}", std::process::id())
}

/// Ids of containers are unique on a machine, so these are also when another run of this is active.
fn id(pod: usize, container: usize) -> String {
    format!("{:032x}{:032x}", std::process::id(), pod * 1000 + container)
}

/// A pod of ours as `/pods` lists it, with containers `c0`, `c1` …
fn listed(pod: usize, n_containers: usize) -> Value {
    let containers: Vec<Value> =
        (0..n_containers).map(|c| json!({"name": format!("c{c}"), "image": "registry/own:7"})).collect();
    let statuses: Vec<Value> = (0..n_containers)
        .map(|c| {
            json!({
                "name": format!("c{c}"),
                "containerID": format!("containerd://{}", id(pod, c)),
                "state": {"running": {"startedAt": "2026-11-22T12:58:41Z"}},
                "lastState": {},
            })
        })
        .collect();
    json!({
        "metadata": {"name": format!("own-{pod}"), "namespace": "tests", "uid": uid(pod)},
        "spec": {"nodeName": "node1", "containers": containers},
        "status": {"containerStatuses": statuses},
    })
}

/// The same pod in a summary: what the kubelet would have known some seconds ago, made to be told apart.
fn summed(pod: usize, n_containers: usize, interface: &str) -> Value {
    let containers: Vec<Value> = (0..n_containers)
        .map(|c| {
            json!({
                "name": format!("c{c}"),
                "cpu": {"usageNanoCores": 1, "usageCoreNanoSeconds": 1},
                "memory": {"usageBytes": 1, "workingSetBytes": 1, "rssBytes": 1, "pageFaults": 1, "majorPageFaults": 1},
                "rootfs": {"availableBytes": 11, "capacityBytes": 12, "usedBytes": 13},
                "logs": {"availableBytes": 14, "capacityBytes": 15, "usedBytes": 16},
            })
        })
        .collect();
    json!({
        "podRef": {"name": format!("own-{pod}"), "namespace": "tests", "uid": uid(pod)},
        "containers": containers,
        "network": {"name": interface, "rxBytes": 1, "rxErrors": 1, "txBytes": 1, "txErrors": 1},
    })
}

/// Lines about a pod of ours.
fn of_pod(agent: &Running, measurement: &str, pod: usize) -> Vec<String> {
    let lines = agent.lines(&format!("{measurement},")).into_iter();
    lines
        .filter(|line| {
            line.contains(&format!("pod_name=own-{pod} ")) || line.contains(&format!("pod_name=own-{pod},"))
        })
        .collect()
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_nanos()).unwrap()
}

/// The first of the lines that `look` finds that was gathered after this call.
fn next(look: impl Fn() -> Vec<String>) -> String {
    // Times are rounded to a millisecond.
    let start = now() + SECOND / 1000;
    wait_for_some(|| look().into_iter().find(|line| time(line) > start), Duration::from_secs(20), "a gather")
}

/// What `start` starts is in a PID namespace of its own, with the host's `/proc`: as in a pod, it sees the host's processes
/// there, and in cgroupfs none.
fn in_a_pid_namespace<T: Send>(start: impl FnOnce() -> T + Send) -> T {
    let of_a_thread = || {
        // SAFETY: only says where the children of this thread will be; it shares nothing less with the others.
        let result = unsafe { libc::unshare(libc::CLONE_NEWPID) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
        start()
    };
    std::thread::scope(|scope| scope.spawn(of_a_thread).join().unwrap())
}

fn figures() -> Outcome {
    const HELD_BYTES: u64 = 32 << 20;
    needs(&["ip", "nsenter"])?;
    let wire = Wire::new();
    let cgroup = Cgroup::of_container("kubelet-figures", &uid(0), &id(0, 0));
    let mut worker = Worker::start(&cgroup, &wire.names[0], &["hold", &HELD_BYTES.to_string(), "60000"]);
    let mut sender = {
        let own = Cgroup::new("kubelet-sender");
        let to = format!("{}:9300", ADDRESSES[0]);
        let sender = Worker::start(&own, &wire.names[1], &["udp-send", &to, "500", "1000", "1"]);
        (sender, own)
    };
    let (kubelet, token) = (Kubelet::start(TOKEN), token_file(TOKEN));
    kubelet.set_pods(|pods| *pods = vec![listed(0, 1)]);
    kubelet.set_summary(Vec::clear);
    let config = config(&kubelet, token.path(), "1s");
    let (agent, in_a_pod) = (Running::start(&config)?, in_a_pid_namespace(|| Running::start(&config))?);
    worker.go();

    // The kubelet's statistics do not have it yet.
    let containers = || of_pod(&agent, "kubernetes_pod_container", 0);
    let line = next(containers);
    for part in
        ["container_name=c0", "image=registry/own:7", "version=7", "namespace=tests", "node_name=node1"]
    {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(
        int(&line, "cpu_usage_core_nanoseconds").is_some() && int(&line, "rootfs_used_bytes").is_none(),
        "{line}"
    );

    kubelet.set_summary(|pods| *pods = vec![summed(0, 1, INTERFACE)]);
    wait_for(
        || containers().last().is_some_and(|line| int(line, "rootfs_used_bytes") == Some(13)),
        Duration::from_secs(20),
        "the kubelet's part",
    );
    let rss = |cgroup: &Cgroup| cgroup.memory_stat("total_rss", "anon");
    let faults = |cgroup: &Cgroup| cgroup.memory_stat("pgfault", "pgfault");
    let inactive = |cgroup: &Cgroup| cgroup.memory_stat("total_inactive_file", "inactive_file");
    sender.0.go();
    let dev = || oracle::interface(&wire.proc(0, "net/dev"), INTERFACE);
    for _ in 0..5 {
        let before =
            [cgroup.cpu_ns(), cgroup.memory_bytes(), rss(&cgroup), faults(&cgroup), inactive(&cgroup)];
        let dev_before = dev();
        let line = next(containers);
        let networks = [&agent, &in_a_pod].map(|agent| next(|| of_pod(agent, "kubernetes_pod_network", 0)));
        let after =
            [cgroup.cpu_ns(), cgroup.memory_bytes(), rss(&cgroup), faults(&cgroup), inactive(&cgroup)];
        let value =
            |field: &str| int(&line, field).unwrap_or_else(|| panic!("no {field}: {line}")).cast_unsigned();
        // Memory can rise and fall in between: the kernel charges it in batches of 64 pages on each CPU.
        const SLACK: u64 = 1 << 20;
        let within = |field: &str, i: usize, slack: u64| {
            let (low, high) = (before[i].min(after[i]), before[i].max(after[i]));
            let value = value(field);
            println!("kubelet: {field}: {low} <= {value} <= {high}, give or take {slack}");
            assert!((low.saturating_sub(slack)..=high + slack).contains(&value), "{line}");
        };
        within("cpu_usage_core_nanoseconds", 0, 0);
        within("memory_usage_bytes", 1, SLACK);
        within("memory_rss_bytes", 2, SLACK);
        assert!(value("memory_rss_bytes") >= HELD_BYTES, "less than the worker holds: {line}");
        within("memory_page_faults", 3, 0);
        assert_eq!(before[4], after[4], "nothing reads or writes files there");
        assert_eq!(value("memory_working_set_bytes"), value("memory_usage_bytes") - before[4]);
        assert_eq!(value("rootfs_used_bytes"), 13, "the kubelet's");
        let dev_after = dev();
        for network in networks {
            let received = int(&network, "rx_bytes").unwrap().cast_unsigned();
            println!("kubelet: rx_bytes: {} <= {received} <= {}", dev_before[1], dev_after[1]);
            assert!((dev_before[1]..=dev_after[1]).contains(&received), "{network}");
        }
    }
    assert!(dev()[1] > 500_000, "nothing was sent: this shows nothing");
    let lines = containers();
    for pair in lines[lines.len() - 4..].windows(2) {
        let cpu = |line: &str| int(line, "cpu_usage_core_nanoseconds").unwrap() as f64;
        let expected = (cpu(&pair[1]) - cpu(&pair[0])) * 1e9 / (time(&pair[1]) - time(&pair[0])) as f64;
        let nanocores = int(&pair[1], "cpu_usage_nanocores").unwrap() as f64;
        println!("kubelet: {nanocores} nanocores, by the sum {expected:.0}");
        assert!((nanocores / expected - 1.0).abs() < 0.1, "{pair:?}");
        assert!(nanocores > 1e8, "the worker does not run");
    }

    // With its end there are no figures, although the kubelet still has some, which are older.
    drop((worker, sender, cgroup));
    pause(Duration::from_secs(2));
    let ended = now();
    next(|| agent.lines("kubernetes_node,"));
    let late: Vec<String> = containers().into_iter().filter(|line| time(line) > ended).collect();
    assert_eq!(late, Vec::<String>::new());
    Ok(())
}

fn faults() -> Outcome {
    needs(&[])?;
    let cgroup = Cgroup::of_container("kubelet-faults", &uid(0), &id(0, 0));
    let mut worker = Worker::start(&cgroup, "", &["idle", "600000"]);
    worker.go();
    let (mut kubelet, token) = (Kubelet::start(TOKEN), token_file(TOKEN));
    kubelet.set_pods(|pods| *pods = vec![listed(0, 1)]);
    let agent = Running::start(&config(&kubelet, token.path(), "1s"))?;
    next(|| agent.lines("kubernetes_node,"));
    next(|| of_pod(&agent, "kubernetes_pod_container", 0));
    let start = Instant::now();
    let faults = [
        (None, "refused"),
        (Some(Fault::Slow(Duration::from_secs(3))), "no answer in time"),
        (Some(Fault::Unauthorized), "401 Unauthorized: the token is not accepted: "),
        (
            Some(Fault::Forbidden),
            "403 Forbidden: allow the token's service account to `get` nodes/stats in a ClusterRole",
        ),
        (Some(Fault::Half), "broke off"),
        (Some(Fault::Large), "the answer is larger than 32 MiB"),
        (Some(Fault::Garbage), "the answer is not a kubelet's"),
        (Some(Fault::WrongCertificate), "name its authority in `tls_ca`, or set `insecure_skip_verify`"),
    ];
    for (n, (fault, expected)) in faults.into_iter().enumerate() {
        let logged = agent.log().lines().count();
        let since = || agent.log().lines().skip(logged).map(str::to_owned).collect::<Vec<_>>();
        match fault {
            None => kubelet.stop(),
            fault => kubelet.set_fault(fault),
        }
        wait_for(|| since().iter().any(|line| line.contains(expected)), Duration::from_secs(20), expected);
        // For some intervals more.
        for _ in 0..4 {
            next(|| of_pod(&agent, "kubernetes_pod_container", 0));
        }
        let [line] = since().try_into().unwrap_or_else(|lines| panic!("one line for {fault:?}: {lines:#?}"));
        println!("kubelet: {line}");
        let (rss, _) = oracle::process(agent.pid());
        // A container that cannot be known yet exists when it is back.
        let (name, now_listed) = (format!("new-{n}"), n + 2);
        kubelet.set_pods(|pods| {
            *pods = (1..=now_listed).map(|pod| listed(pod, 1)).chain([listed(0, 1)]).collect();
        });
        let new = Cgroup::of_container("kubelet-faults", &uid(now_listed), &id(now_listed, 0));
        match fault {
            None => kubelet.resume(),
            _ => kubelet.set_fault(None),
        }
        let back = Instant::now();
        wait_for(
            || !of_pod(&agent, "kubernetes_pod_container", now_listed).is_empty(),
            Duration::from_secs(10),
            &name,
        );
        let named = back.elapsed();
        wait_for(|| since().iter().any(|line| line.contains(AGAIN)), Duration::from_secs(10), AGAIN);
        next(|| agent.lines("kubernetes_node,"));
        println!("kubelet: {fault:?}: {rss} bytes of RSS; a new name {named:?} after the return");
        assert_eq!(since().len(), 2, "one line when it begins and one when it is over: {:#?}", since());
        assert!(rss <= RSS_BYTES, "{rss} bytes of RSS");
        drop(new);
    }
    // Every interval has its points, of this input and of others.
    let seconds = start.elapsed().as_secs();
    for (what, lines) in
        [("mem", agent.lines("mem,")), ("own container", of_pod(&agent, "kubernetes_pod_container", 0))]
    {
        let rounded = |line: &String| (time(line) + SECOND / 2) / SECOND;
        let times: Vec<i64> = lines.iter().map(rounded).collect();
        println!("kubelet: {what}: {} points in {seconds} s of faults", times.len());
        assert!(times.len() as u64 >= seconds, "too few");
        for pair in times.windows(2) {
            assert_eq!(pair[1] - pair[0], 1, "{what}: an interval is missing at {}", pair[0]);
        }
    }
    assert_eq!(agent.count("seismograf,host=h,part=agent", "missed_gathers"), 0);
    assert!(
        agent.count("seismograf,host=h,part=agent", "gather_errors") > 20,
        "what is missing is not counted"
    );
    let peak = oracle::status_bytes(agent.pid(), "VmHWM:");
    println!("kubelet: at most {peak} bytes of RSS, with an answer of 50 MB");
    assert!(peak <= PEAK_BYTES);
    Ok(())
}

fn token() -> Outcome {
    let (kubelet, file) = (Kubelet::start("one"), token_file("one"));
    let agent = Running::start(&config(&kubelet, file.path(), "1s"))?;
    let node = || agent.lines("kubernetes_node,");
    next(node);
    // As Kubernetes does it: both are good for a while.
    kubelet.set_tokens(&["one", "two"]);
    std::fs::write(file.path(), "two\n").unwrap();
    next(node);
    kubelet.set_tokens(&["two"]);
    next(node);
    next(node);
    assert!(!agent.log().contains("no answer from the kubelet"), "{}", agent.log());
    kubelet.set_tokens(&["three"]);
    agent.wait_for_log(&format!("401 Unauthorized: the token is not accepted: {}", file.path().display()));
    std::fs::write(file.path(), "three\n").unwrap();
    agent.wait_for_log(AGAIN);
    next(node);
    for token in ["one", "two", "three"] {
        assert!(!agent.log().contains(&format!("{token}\"")), "a token is in the log: {}", agent.log());
    }
    Ok(())
}

fn cost() -> Outcome {
    const PODS: usize = 100;
    const GATHERS: usize = 15;
    needs(&[])?;
    let cgroups: Vec<Cgroup> = (0..PODS)
        .flat_map(|pod| (0..2).map(move |container| (pod, container)))
        .map(|(pod, container)| Cgroup::of_container("kubelet-cost", &uid(pod), &id(pod, container)))
        .collect();
    let (kubelet, token) = (Kubelet::start(TOKEN), token_file(TOKEN));
    // As much text as real ones have, which is what reading them costs.
    let real = |list: &[Value], own: Value| {
        let mut pod = list.iter().find(|pod| pod.to_string().contains("web-")).unwrap().clone();
        for (key, value) in own.as_object().unwrap() {
            match (&mut pod[key], value) {
                (Value::Object(parts), Value::Object(own)) => parts.extend(own.clone()),
                (part, own) => *part = own.clone(),
            }
        }
        pod
    };
    let mut bytes = [0, 0];
    kubelet.set_pods(|pods| {
        *pods = (0..PODS).map(|pod| real(pods, listed(pod, 2))).collect();
        bytes[0] = pods.iter().map(|pod| pod.to_string().len()).sum();
    });
    kubelet.set_summary(|pods| {
        *pods = (0..PODS).map(|pod| real(pods, summed(pod, 2, "eth0"))).collect();
        bytes[1] = pods.iter().map(|pod| pod.to_string().len()).sum();
    });
    let agent = Running::start(&config(&kubelet, token.path(), &format!("{:?}", looks::HOT)))?;
    let last = || of_pod(&agent, "kubernetes_pod_container", PODS - 1);
    for _ in 0..3 {
        next(last);
    }
    let gathers = || agent.times("mem", "total").len();
    let (asked_before, before) = (kubelet.requests(), gathers());
    let looks = looks::of_a_gather(agent.pid());
    let (asked, n) = (kubelet.requests(), gathers() - before);
    let lines = agent.lines("kubernetes_pod_container,").len();
    let (rss, _) = oracle::process(agent.pid());
    println!(
        "kubelet: {PODS} pods, 2 containers each, {n} gathers, {lines} points of containers: {rss} bytes of RSS; \
         {} requests for pods ({} KB), {} for statistics ({} KB)",
        asked.0 - asked_before.0,
        bytes[0] / 1000,
        asked.1 - asked_before.1,
        bytes[1] / 1000
    );
    assert!(n >= GATHERS && lines >= 2 * PODS * n, "not every container was reported: this shows nothing");
    assert!(asked.0 - asked_before.0 <= 1, "nothing changed, and the pods were requested again and again");
    assert!(rss <= RSS_BYTES, "{rss} bytes of RSS");
    assert!(looks <= GATHER_LOOKS, "{looks} looks");
    drop(cgroups);
    Ok(())
}
