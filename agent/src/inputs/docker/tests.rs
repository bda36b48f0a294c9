use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use rstest::rstest;
use serde_json::Value;

use super::*;
use crate::config::env::Environment;
use crate::config::env::Lookup;
use crate::config::file::{self, PluginFilter};
use crate::config::reader::Source;
use crate::host::hierarchies::Hierarchies;
use crate::identity::docker::Engine;
use crate::inputs::golden::write;
use crate::line_protocol;
use crate::plugins::InputOptions;
use crate::point::Point;
use crate::schema;

/// v1's way to say that there is no limit.
const NO_LIMIT: u64 = 0x7fff_ffff_ffff_f000;

fn recorded(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/docker").join(file);
    std::fs::read_to_string(path).unwrap()
}

fn json(file: &str) -> Value {
    serde_json::from_str(&recorded(file)).unwrap()
}

fn options(text: &str) -> Result<Options, String> {
    let sources = [Source { path: "t".into(), text: text.to_owned() }];
    let lookup: Lookup<'_> = &|_| None;
    let config = file::load(&sources, &PluginFilter::default(), &Environment::strict(lookup), "h")
        .map_err(|error| error.to_string())?;
    let InputOptions::Docker(options) = config.inputs[0].options.clone() else { panic!("another input") };
    Ok(options)
}

/// A host of its own, with v1's controllers or with cgroup2.
struct Machine {
    root: tempfile::TempDir,
    shared: Arc<Shared>,
}

impl Machine {
    fn new(is_v1: bool) -> Self {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join("sys").join(name).display().to_string();
        let (cgroup, mounts) = if is_v1 {
            let controllers = ["memory", "cpu", "cpuacct", "blkio"];
            let mount = |name: &&str| format!("1 1 0:1 / {} rw - cgroup cgroup rw,{name}\n", at(name));
            let line = |(n, name): (usize, &&str)| format!("{}:{name}:/\n", n + 1);
            (controllers.iter().enumerate().map(line).collect(), controllers.iter().map(mount).collect())
        } else {
            ("0::/\n".to_owned(), format!("1 1 0:1 / {} rw - cgroup2 cgroup2 rw\n", at("unified")))
        };
        let host = Host::at(root.path());
        write(root.path(), "proc/1/ns/net", "");
        let shared = Arc::new(Shared::of(host, Hierarchies::parse(&cgroup, &mounts)));
        Self { root, shared }
    }

    /// An input that knows these containers, as if a daemon had told them.
    fn docker(&self, text: &str, inspected: impl IntoIterator<Item = Value>) -> Docker {
        let options = options(text).unwrap();
        let selection = Selection {
            labels: IncludeExclude::new(
                ("docker_label_include", &options.docker_label_include),
                ("docker_label_exclude", &options.docker_label_exclude),
            )
            .unwrap(),
            variables: options.tag_env.clone(),
        };
        let docker = Docker::unwatched(options, &self.shared).unwrap();
        let mut known = docker.daemon.known();
        let info: Info = serde_json::from_value(json("info.json")).unwrap();
        (known.engine, known.is_up) = (Some(Engine::new(&info)), true);
        for inspected in inspected {
            let container = Container::new(serde_json::from_value(inspected).unwrap(), &selection);
            known.containers.insert(container.id.clone(), Arc::new(container));
        }
        drop(known);
        docker
    }

    /// The files of a running container under v1 from what the daemon's `stats` said; `cpu` is the key of its CPU's part.
    fn play(&self, inspected: &Value, stats: &Value, cpu: &str) {
        let (id, pid) = (inspected["Id"].as_str().unwrap(), inspected["State"]["Pid"].as_i64().unwrap());
        let file = |name: &str, text: String| {
            let controller = name.split('.').next().unwrap();
            let controller = if name == "cpu.stat" { "cpu" } else { controller };
            write(self.root.path(), &format!("sys/{controller}/docker/{id}/{name}"), text);
        };
        // The recording has passed through a program that rounds what is above 2^53.
        let exact = |value: &Value| value.as_u64().unwrap().min(NO_LIMIT);
        let memory = &stats["memory_stats"];
        let machine = json("info.json")["MemTotal"].as_u64().unwrap();
        let limit = exact(&memory["limit"]);
        file("memory.limit_in_bytes", if limit == machine { NO_LIMIT } else { limit }.to_string());
        file("memory.usage_in_bytes", memory["usage"].to_string());
        file("memory.max_usage_in_bytes", memory["max_usage"].to_string());
        file("memory.failcnt", "0\n".into());
        let mut stat = String::new();
        for (key, value) in memory["stats"].as_object().unwrap() {
            writeln!(stat, "{key} {}", exact(value)).unwrap();
        }
        file("memory.stat", stat);
        let (cpu, throttling) = (&stats[cpu], &stats[cpu]["throttling_data"]);
        let usage = &cpu["cpu_usage"];
        let ticks = |key: &str| usage[key].as_u64().unwrap() / 10_000_000;
        let (user, system) = (ticks("usage_in_usermode"), ticks("usage_in_kernelmode"));
        file("cpuacct.stat", format!("user {user}\nsystem {system}\n"));
        let per_cpu: Vec<String> =
            usage["percpu_usage"].as_array().unwrap().iter().map(Value::to_string).collect();
        // As many as there could be.
        file("cpuacct.usage_percpu", format!("{} 0 0 \n", per_cpu.join(" ")));
        file(
            "cpu.stat",
            format!(
                "nr_periods {}\nnr_throttled {}\nthrottled_time {}\n",
                throttling["periods"], throttling["throttled_periods"], throttling["throttled_time"]
            ),
        );
        for name in ["blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive"] {
            file(name, "Total 0\n".into());
        }
        let system = cpu["system_cpu_usage"].as_u64().unwrap() / 10_000_000;
        write(
            self.root.path(),
            "proc/stat",
            format!("cpu  1 2 3 {} 5 6 7 800 9\ncpu0 1\ncpu1 1\nintr 0\n", system - 24),
        );
        let network = |name: &str| {
            let of = |key: &str| stats["networks"][name][key].to_string();
            let rx = ["rx_bytes", "rx_packets", "rx_errors", "rx_dropped"].map(of).join(" ");
            let tx = ["tx_bytes", "tx_packets", "tx_errors", "tx_dropped"].map(of).join(" ");
            format!("{name:>6}: {rx} 91 92 93 94 {tx} 95 96 97 98\n")
        };
        let title = "Inter-|   Receive\n face |bytes\n    lo: 1 1 1 1 0 0 0 0 1 1 1 1 0 0 0 0\n";
        self.process(
            pid,
            id,
            &format!("{title}{} tunl0: 1 1 1 1 0 0 0 0 1 1 1 1 0 0 0 0\n", network("eth0")),
        );
    }

    fn process(&self, pid: i64, id: &str, net_dev: &str) {
        let file = |name: &str, text: &str| write(self.root.path(), &format!("proc/{pid}/{name}"), text);
        file("cgroup", &format!("4:memory:/docker/{id}/nested\n0::/docker/{id}\n"));
        file("net/dev", net_dev);
        file("ns/net", "");
    }
}

/// One gather at a time of its own.
async fn gather(docker: &mut Docker) -> Result<Vec<Point>, GatherError> {
    let mut gathered = Gathered::at(Timestamp::now());
    docker.gather(&mut gathered).await?;
    Ok(gathered.points)
}

/// A line's measurement, tags without `host`, and fields.
type Line = (String, BTreeMap<String, String>, BTreeMap<String, String>);

fn parse(line: &str) -> Line {
    fn split(text: &str, separator: char) -> Vec<String> {
        let (mut parts, mut is_escaped) = (vec![String::new()], false);
        for letter in text.chars() {
            if letter == separator && !is_escaped {
                parts.push(String::new());
            } else {
                parts.last_mut().unwrap().push(letter);
            }
            is_escaped = letter == '\\' && !is_escaped;
        }
        parts
    }
    let pairs = |parts: &[String]| -> BTreeMap<String, String> {
        let pair =
            |part: &String| part.split_once('=').map(|(key, value)| (key.into(), value.into())).unwrap();
        parts.iter().map(pair).collect()
    };
    let parts = split(line, ' ');
    let series = split(&parts[0], ',');
    let mut tags = pairs(&series[1..]);
    tags.remove("host");
    (series[0].clone(), tags, pairs(&split(&parts[1], ',')))
}

fn lines(points: &[Point]) -> Vec<Line> {
    let lines = points.iter().map(|point| {
        schema::check(point).unwrap();
        let mut text = Vec::new();
        assert!(line_protocol::encode(point, &mut text));
        parse(std::str::from_utf8(&text).unwrap().trim_end())
    });
    lines.collect()
}

/// The type of a field on the wire.
fn kind(value: &str) -> &'static str {
    match value {
        "true" | "false" => "boolean",
        value if value.starts_with('"') => "string",
        value if value.ends_with('i') => "integer",
        value => value.parse::<f64>().map(|_| "float").unwrap(),
    }
}

/// A measurement and its tags.
type Series = (String, BTreeMap<String, String>);

/// The measurement and tags of every series, with the fields' types.
fn shapes(lines: &[Line]) -> BTreeMap<Series, BTreeMap<String, &'static str>> {
    let mut shapes = BTreeMap::<_, BTreeMap<String, &'static str>>::new();
    for (measurement, tags, fields) in lines {
        let shape = shapes.entry((measurement.clone(), tags.clone())).or_default();
        shape.extend(fields.iter().map(|(key, value)| (key.clone(), kind(value))));
    }
    shapes
}

fn value<'a>(lines: &'a [Line], measurement: &str, tags: &[(&str, &str)], field: &str) -> &'a str {
    let has = |line: &&Line| {
        line.0 == measurement
            && tags.iter().all(|(key, value)| line.1.get(*key).is_some_and(|tag| tag == value))
    };
    let found: Vec<&str> =
        lines.iter().filter(has).filter_map(|line| line.2.get(field)).map(String::as_str).collect();
    assert_eq!(found.len(), 1, "{measurement} {tags:?} {field}: {found:?}");
    found[0]
}

/// Everything that was recorded, gathered twice, and what Telegraf made of it.
async fn replay(config: &str, expected: &str) -> (Vec<Line>, Vec<Line>) {
    let machine = Machine::new(true);
    let inspected = ["c1", "k1", "limited"].map(|name| json(&format!("inspect-{name}.json")));
    let mut docker = machine.docker(&recorded(config), inspected.clone());
    let mut said = Vec::new();
    for cpu in ["precpu_stats", "cpu_stats"] {
        // The last one's time of the machine is everyone's.
        machine.play(&inspected[0], &json("stats-c1.json"), cpu);
        machine.play(&inspected[2], &json("stats-limited.json"), cpu);
        said = gather(&mut docker).await.unwrap();
    }
    let mut gathered = Gathered::at(Timestamp(1));
    let known = docker.daemon.known();
    let engine = known.engine.as_ref().unwrap();
    points::engine(&mut gathered, engine, &serde_json::from_value(json("info.json")).unwrap());
    // `/system/df` was not recorded; this is what it says where Telegraf's lines came from.
    let usage = r#"{"LayersSize":1982368,"Images":[
        {"Id":"sha256:b6fe4604d73971a212c71b09c24f4a86972cb10c0a5543f001d2f2c82b35a460","RepoTags":["bb:1"],"Size":1982368,"SharedSize":1982368},
        {"Id":"sha256:25014b82077e","RepoTags":["pause:1"],"Size":1982368,"SharedSize":1982368}],
        "Containers":[
        {"Id":"7cdcbeca16834b381aa2a0345d216023f4dc5c133aed22979527806616240945","Names":["/x/y","/c1"],"Image":"bb:1","SizeRootFs":1982368},
        {"Id":"c827d33045d6f0e22c8da2d0f25d7b4321c7a4a7121e4e10aee481c0cb4b326b","Names":["/k1"],"Image":"bb:1","SizeRw":3276800,"SizeRootFs":5259168},
        {"Id":"e03f8dd17309a4f5983273903670ed9d99d34d58852620caa94a99edbf267913","Names":["/limited"],"Image":"bb:1","SizeRw":655360,"SizeRootFs":2637728}],
        "Volumes":null}"#;
    points::disk_usage(&mut gathered, engine, &docker.options, &serde_json::from_str(usage).unwrap());
    said.append(&mut gathered.points);
    let others = ["c2", "c3", "never"];
    let expected = recorded(expected);
    let expected = expected.lines().map(parse);
    let expected = expected.filter(|(_, tags, _)| {
        !tags.get("container_name").is_some_and(|name| others.contains(&name.as_str()))
    });
    (lines(&said), expected.collect())
}

#[rstest]
#[case::defaults("telegraf-0.conf", "expected-0.lp", 16)]
#[case::all_options("telegraf-1.conf", "expected-1.lp", 28)]
#[tokio::test]
async fn says_what_telegraf_says(#[case] config: &str, #[case] expected: &str, #[case] n: usize) {
    let (said, expected) = replay(config, expected).await;
    assert_eq!(shapes(&said), shapes(&expected));
    assert_eq!((said.len(), expected.len()), (n, n));

    // Containers that did nothing between the answers and Telegraf's gather: every value, but for what is the clock's.
    let is_still = |line: &&Line| {
        line.1.get("container_name").is_none_or(|name| name != "limited") && line.0 != "docker"
    };
    let values = |lines: &[Line]| -> BTreeSet<String> {
        let lines = lines.iter().filter(is_still).map(|(measurement, tags, fields)| {
            let mut fields = fields.clone();
            for field in ["usage_system", "uptime_ns"] {
                // The daemon's `stats` has zeros for one that does not run.
                if tags.get("container_status").is_some_and(|status| status == "running") {
                    fields.remove(field);
                }
            }
            format!("{measurement} {tags:?} {fields:?}")
        });
        lines.collect()
    };
    assert_eq!(values(&said), values(&expected));
}

#[tokio::test]
async fn figures_are_what_the_daemon_says_they_are() {
    let (said, _) = replay("telegraf-1.conf", "expected-1.lp").await;
    let limited = ("container_name", "limited");
    let of = |measurement, field| value(&said, measurement, &[limited], field).to_owned();
    let memory = |field| of("docker_container_mem", field);
    assert_eq!(memory("usage"), format!("{}i", 1_937_408 - 1_232_896));
    assert_eq!(memory("limit"), "67108864i");
    assert_eq!(memory("max_usage"), "3813376i");
    let percent: f64 = memory("usage_percent").parse().unwrap();
    assert!((percent - 100.0 * 704_512.0 / 67_108_864.0).abs() < 1e-9, "{percent}");
    for (key, count) in json("stats-limited.json")["memory_stats"]["stats"].as_object().unwrap() {
        if !["dirty", "total_dirty", "hierarchical_memsw_limit"].contains(&key.as_str()) {
            assert_eq!(memory(key), format!("{count}i"), "{key}");
        }
    }
    let cpu = |cpu, field| value(&said, "docker_container_cpu", &[limited, ("cpu", cpu)], field).to_owned();
    assert_eq!(cpu("cpu-total", "usage_total"), "81165457i");
    assert_eq!(cpu("cpu0", "usage_total"), "23467398i");
    assert_eq!(cpu("cpu1", "usage_total"), "57698059i");
    assert_eq!(cpu("cpu-total", "usage_in_usermode"), "20000000i");
    assert_eq!(cpu("cpu-total", "usage_in_kernelmode"), "50000000i");
    assert_eq!(cpu("cpu-total", "usage_system"), "3053000000000i");
    assert_eq!(cpu("cpu-total", "throttling_periods"), "47i");
    let percent: f64 = cpu("cpu-total", "usage_percent").parse().unwrap();
    let expected = 100.0 * 2.0 * (81_165_457.0 - 70_839_718.0) / 1.96e9;
    assert!((percent - expected).abs() < 1e-9, "{percent}, not {expected}");
    let info = |field| value(&said, "docker", &[], field);
    for (field, expected) in [
        ("n_containers", "7i"),
        ("n_containers_running", "4i"),
        ("n_containers_stopped", "3i"),
        ("n_used_file_descriptors", "51i"),
        ("n_goroutines", "56i"),
        ("n_images", "2i"),
        ("memory_total", "25276502016i"),
    ] {
        assert_eq!(info(field), expected, "{field}");
    }
}

fn running(id: &str, pid: i64, more: Value) -> Value {
    let mut inspected = serde_json::json!({
        "Id": id, "Name": format!("/n{}", &id[..4]), "Config": {"Image": "r:5000/a/b:1.2"},
        "State": {"Status": "running", "Pid": pid, "StartedAt": "2026-11-22T13:00:53.88339895Z"},
    });
    inspected.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    inspected
}

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const OTHER_ID: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";

impl Machine {
    /// A container under cgroup2.
    fn unified(&self, id: &str) {
        let file = |name: &str, text: &str| {
            write(self.root.path(), &format!("sys/unified/docker/{id}/{name}"), text);
        };
        file("memory.current", "5000\n");
        file("memory.max", "max\n");
        file("memory.stat", "anon 10\nfile 20\ninactive_file 1000\nactive_anon 7\npgfault 9\nsock 3\n");
        file("cpu.stat", "usage_usec 1000\nuser_usec 600\nsystem_usec 400\n");
        file(
            "io.stat",
            "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n259:0 rbytes=10 wbytes=20 rios=30 wios=40 dbytes=0 dios=0\n",
        );
        write(self.root.path(), "proc/stat", "cpu  1 1 1 1 1 1 1 1\ncpu0 1\n");
    }
}

#[tokio::test]
async fn what_cgroup2_does_not_say_is_absent() {
    let machine = Machine::new(false);
    machine.unified(ID);
    machine.process(7, ID, "\n\n");
    let config = "[[inputs.docker]]\nperdevice_include = [\"cpu\", \"blkio\", \"network\"]\n";
    let mut docker = machine.docker(config, [running(ID, 7, Value::Object(Default::default()))]);
    let said = lines(&gather(&mut docker).await.unwrap());
    let fields = |measurement: &str, tag: (&str, &str)| -> BTreeMap<String, String> {
        let mut found =
            said.iter().filter(|line| line.0 == measurement && line.1.get(tag.0).is_some_and(|v| v == tag.1));
        let fields = found.next().unwrap().2.clone();
        assert!(found.next().is_none());
        fields.into_iter().filter(|(key, _)| key != "container_id").collect()
    };
    let expect = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    };
    let name = ("container_name", "n0123");
    assert_eq!(
        fields("docker_container_mem", name),
        expect(&[
            ("usage", "4000i"),
            ("limit", "25276502016i"),
            ("usage_percent", &format!("{}", 100.0 * 4000.0 / 25276502016.0)),
            ("inactive_file", "1000i"),
            ("active_anon", "7i"),
            ("pgfault", "9i"),
        ])
    );
    // No CPU by itself, no quota, and no difference yet.
    assert_eq!(
        fields("docker_container_cpu", name),
        expect(&[
            ("usage_total", "1000000i"),
            ("usage_in_usermode", "600000i"),
            ("usage_in_kernelmode", "400000i"),
            ("usage_system", "70000000i"),
        ])
    );
    let io = [("read", "11i", "33i"), ("write", "22i", "44i"), ("discard", "5i", "6i")];
    let mut total = BTreeMap::new();
    for (kind, bytes, operations) in io {
        total.insert(format!("io_service_bytes_recursive_{kind}"), bytes.to_owned());
        total.insert(format!("io_serviced_recursive_{kind}"), operations.to_owned());
    }
    assert_eq!(fields("docker_container_blkio", ("device", "total")), total);
    assert_eq!(fields("docker_container_blkio", ("device", "259:0"))["io_serviced_recursive_write"], "40i");
    assert!(said.iter().all(|line| line.0 != "docker_container_net"), "no interface of its own");
    let tags = &said.iter().find(|line| line.0 == "docker_container_status").unwrap().1;
    assert_eq!((tags["container_image"].as_str(), tags["container_version"].as_str()), ("r:5000/a/b", "1.2"));
}

#[tokio::test]
async fn networks_are_those_of_the_namespace_and_the_hosts_are_left_out() {
    let machine = Machine::new(false);
    let none = || Value::Object(Default::default());
    let net_dev = "\n\n  eth0: 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0\n    lo: 9 9 9 9 0 0 0 0 9 9 9 9 0 0 0 0\neth1:10 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n";
    machine.unified(ID);
    machine.unified(OTHER_ID);
    machine.process(7, ID, net_dev);
    machine.process(8, OTHER_ID, net_dev);
    let proc = machine.root.path().join("proc");
    let config = "[[inputs.docker]]\nperdevice_include = [\"network\"]\n";
    let networks = async |inspected: Vec<Value>| -> Vec<(String, String, String)> {
        let said = lines(&gather(&mut machine.docker(config, inspected)).await.unwrap());
        let of = said.iter().filter(|line| line.0 == "docker_container_net");
        of.map(|(_, tags, fields)| {
            (
                tags["container_name"].clone(),
                tags["network"].clone(),
                format!("{} {}", fields["rx_bytes"], fields["tx_dropped"]),
            )
        })
        .collect()
    };
    let of = |name: &str| {
        [("eth0", "1i 8i"), ("eth1", "10i 0i"), ("total", "11i 8i")]
            .map(|(network, counts)| (name.to_owned(), network.to_owned(), counts.to_owned()))
    };
    assert_eq!(networks(vec![running(ID, 7, none())]).await, of("n0123"));
    let host = serde_json::json!({"HostConfig": {"NetworkMode": "host"}});
    assert_eq!(networks(vec![running(ID, 7, host)]).await, []);
    // Two containers of a pod: read once, and both have it.
    std::fs::remove_file(proc.join("8/ns/net")).unwrap();
    std::fs::hard_link(proc.join("7/ns/net"), proc.join("8/ns/net")).unwrap();
    std::fs::remove_file(proc.join("8/net/dev")).unwrap();
    std::fs::hard_link(proc.join("7/net/dev"), proc.join("8/net/dev")).unwrap();
    assert_eq!(networks(vec![running(ID, 7, none()), running(OTHER_ID, 8, none())]).await.len(), 6);
    // In the network of a container that has the host's.
    std::fs::remove_file(proc.join("7/ns/net")).unwrap();
    std::fs::hard_link(proc.join("1/ns/net"), proc.join("7/ns/net")).unwrap();
    assert_eq!(networks(vec![running(ID, 7, none())]).await, []);
    // A process of the same number that is not the container's.
    write(machine.root.path(), "proc/7/cgroup", "0::/user.slice\n");
    std::fs::remove_file(proc.join("7/ns/net")).unwrap();
    write(machine.root.path(), "proc/7/ns/net", "");
    assert_eq!(networks(vec![running(ID, 7, none())]).await, []);
}

#[tokio::test]
async fn one_whose_cgroup_is_gone_is_left_out_and_one_that_is_never_seen_has_its_state() {
    let machine = Machine::new(false);
    machine.unified(ID);
    machine.process(7, ID, "\n\n");
    let none = || Value::Object(Default::default());
    let mut docker =
        machine.docker("[[inputs.docker]]", [running(ID, 7, none()), running(OTHER_ID, 8, none())]);
    let count = async |docker: &mut Docker| {
        let said = lines(&gather(docker).await.unwrap());
        ["n0123", "nfedc"].map(|name| said.iter().filter(|line| line.1["container_name"] == name).count())
    };
    assert_eq!(count(&mut docker).await, [4, 1]);
    docker.daemon.known().is_up = false;
    assert_eq!(count(&mut docker).await, [4, 0], "what is seen goes on while the daemon is away");
    std::fs::remove_dir_all(machine.root.path().join("sys")).unwrap();
    assert_eq!(count(&mut docker).await, [0, 0]);
    std::fs::remove_dir_all(machine.root.path().join("proc")).unwrap();
    assert_eq!(count(&mut docker).await, [0, 0]);
}

#[tokio::test]
async fn a_label_cannot_pass_for_a_tag_of_the_agents_own() {
    let machine = Machine::new(false);
    machine.unified(ID);
    machine.process(7, ID, "\n\n eth0: 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n");
    let mut labels = serde_json::Map::new();
    for key in ["container_name", "engine_host", "cpu", "device", "network", "host", "container_status"] {
        labels.insert(key.into(), "forged".into());
    }
    labels.insert("app\n,x=y f=1i 1\n".into(), "a\n\"b\",c d=\\".into());
    labels.insert("empty".into(), "".into());
    labels.insert("source".into(), "mine".into());
    let config =
        serde_json::json!({"Config": {"Image": "a", "Labels": labels, "Env": ["JAVA_HOME=/x", "B= ", "C"]}});
    let mut docker = machine
        .docker("[[inputs.docker]]\ntag_env = [\"JAVA_HOME\", \"B\", \"C\"]", [running(ID, 7, config)]);
    let points = gather(&mut docker).await.unwrap();
    assert_eq!(points.len(), 5);
    for point in &points {
        let mut text = Vec::new();
        assert!(line_protocol::encode(point, &mut text));
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains("forged") && !text.contains("empty"), "{text}");
        for tag in [
            "container_name=n0123",
            "engine_host=vm",
            "source=mine",
            "JAVA_HOME=/x",
            "container_version=unknown",
        ] {
            assert!(text.contains(&format!(",{tag}")), "{tag}: {text}");
        }
        assert!(!text.contains(",B=") && !text.contains(",C="), "{text}");
    }
}

#[tokio::test]
async fn names_and_states_are_chosen() {
    let machine = Machine::new(false);
    let with = |id: &str, status: &str| {
        let state = serde_json::json!({"State": {"Status": status, "Pid": 0}});
        running(id, 0, state)
    };
    let containers = [with(ID, "exited"), with(OTHER_ID, "created")];
    let names = async |text: &str| -> Vec<String> {
        let mut docker = machine.docker(&format!("[[inputs.docker]]\n{text}"), containers.clone());
        let points = gather(&mut docker).await.unwrap();
        let names = points.iter().map(|point| point.tag_value("container_name").unwrap().to_owned());
        names.collect::<BTreeSet<_>>().into_iter().collect()
    };
    assert_eq!(names("").await, [""; 0]);
    assert_eq!(names("container_state_include = [\"e*\"]").await, ["n0123"]);
    assert_eq!(names("container_state_exclude = [\"created\", \"running\"]").await, ["n0123"]);
    let all = "container_state_include = [\"*\"]\n";
    assert_eq!(names(all).await, ["n0123", "nfedc"]);
    assert_eq!(names(&format!("{all}container_name_include = [\"n0*\"]")).await, ["n0123"]);
    assert_eq!(names(&format!("{all}container_name_exclude = [\"n0*\"]")).await, ["nfedc"]);
    assert_eq!(names(&format!("{all}container_names = [\"nfedc\"]")).await, ["nfedc"]);
}

#[test]
fn options_of_old_mean_what_they_meant() {
    let modern = |text: &str| {
        let Options { perdevice_include, total_include, .. } =
            options(&format!("[[inputs.docker]]\n{text}")).unwrap().modern();
        (perdevice_include, total_include)
    };
    let (cpu, all) = (vec![Area::Cpu], vec![Area::Cpu, Area::Blkio, Area::Network]);
    assert_eq!(modern(""), (cpu.clone(), all.clone()));
    assert_eq!(modern("perdevice = true"), (vec![Area::Cpu, Area::Network, Area::Blkio], all.clone()));
    assert_eq!(modern("perdevice = false\ntotal = true"), (cpu.clone(), all.clone()));
    assert_eq!(modern("total = false"), (cpu.clone(), cpu.clone()));
    assert_eq!(modern("total = false\ntotal_include = [\"network\"]"), (cpu, vec![]));
    assert_eq!(
        modern("perdevice = true\nperdevice_include = [\"blkio\"]"),
        (vec![Area::Blkio, Area::Network], all)
    );
}

#[rstest]
#[case("gather_services = true", "`gather_services`: services of a swarm are not gathered: leave this out")]
#[case("endpoint = \"docker\"", "`endpoint`: `docker`: it is ENV, or begins with unix:///")]
#[case("container_name_include = [\"a[*\"]", "`container_name_include`: error parsing glob")]
#[case("docker_label_exclude = [\"a[*\"]", "`docker_label_exclude`: error parsing glob")]
#[case("tls_key = \"/k\"\nendpoint = \"https://d:1\"", "`tls_cert`: is missing")]
#[tokio::test]
async fn refuses_what_it_cannot_work_with(#[case] text: &str, #[case] expected: &str) {
    let options = options(&format!("[[inputs.docker]]\n{text}")).unwrap();
    let error = Docker::new(options, &Shared::new(Host::default())).err().unwrap().to_string();
    assert!(error.starts_with(expected), "{error}");
}

#[rstest]
#[case(
    "perdevice_include = [\"memory\"]",
    "t:2:1: `perdevice_include` of input `docker`: unknown variant `memory`, expected one of `cpu`, `blkio`, `network`"
)]
#[case(
    "storage_objects = [\"network\"]",
    "t:2:1: `storage_objects` of input `docker`: unknown variant `network`"
)]
#[case(
    "container_state_includes = []",
    "t:2:1: unknown option `container_state_includes` of input `docker`: did you mean `container_state_include`?"
)]
fn refuses_it_by_line(#[case] text: &str, #[case] expected: &str) {
    let error = options(&format!("[[inputs.docker]]\n{text}")).unwrap_err();
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn the_device_mapper_is_told_in_bytes() {
    let status = [
        ("Pool Name", "docker-pool"),
        ("Pool Blocksize", "65.54 kB"),
        ("Base Device Size", "10.74 GB"),
        ("Data Space Used", "1.5GB"),
        ("Data Space Total", "107.4 GB"),
        ("Metadata Space Available", "2 TB"),
        ("Thin Pool Minimum Free Space", "10 B"),
        ("Library Version", "1.02.93 (2015-01-30)"),
    ];
    let status: Vec<Vec<String>> =
        status.iter().map(|(key, value)| vec![(*key).into(), (*value).into()]).collect();
    let info = Info { driver_status: status, ..Info::default() };
    let mut gathered = Gathered::at(Timestamp(1));
    points::engine(
        &mut gathered,
        &Engine::new(&Info { name: "h".into(), server_version: "1".into(), ..Info::default() }),
        &info,
    );
    let said = lines(&gathered.points);
    assert_eq!(value(&said, "docker", &[("unit", "bytes")], "pool_blocksize"), "65540i");
    assert_eq!(value(&said, "docker_data", &[("unit", "bytes")], "used"), "1500000000i");
    assert_eq!(value(&said, "docker_data", &[], "total"), "107400000000i");
    assert_eq!(value(&said, "docker_metadata", &[], "available"), "2000000000000i");
    let mapper = |field| value(&said, "docker_devicemapper", &[("pool_name", "docker-pool")], field);
    assert_eq!(mapper("base_device_size_bytes"), "10740000000i");
    assert_eq!(mapper("thin_pool_minimum_free_space_bytes"), "10i");
    assert_eq!(mapper("data_space_used_bytes"), "1500000000i");
}
