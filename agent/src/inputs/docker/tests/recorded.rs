//! Recorded responses of a daemon, and what Telegraf made of them.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use rstest::rstest;

use super::*;
use crate::identity::docker::Stats;

/// v1's way to say that there is no limit.
const NO_LIMIT: u64 = 0x7fff_ffff_ffff_f000;

impl Machine {
    /// The files of a running container under v1 from what the daemon's `stats` actual; `cpu` is the key of its CPU's part.
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
        // As many as are possible.
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

/// Where figures come from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    /// Files, which say what the daemon's statistics say.
    Cgroups,
    /// These statistics themselves, for there are no files.
    Daemon,
}

/// Everything that was recorded, gathered twice, and what Telegraf made of it.
async fn replay(config: &str, expected: &str, from: From) -> (Vec<Line>, Vec<Line>) {
    let machine = Machine::new(true);
    let inspected = ["c1", "k1", "limited"].map(|name| json(&format!("inspect-{name}.json")));
    let mut docker = machine.docker(&recorded(config), inspected.clone());
    let mut actual = Vec::new();
    let stats = ["c1", "limited"].map(|name| json(&format!("stats-{name}.json")));
    for cpu in ["precpu_stats", "cpu_stats"] {
        if from == From::Cgroups {
            // The last one's time of the machine is everyone's.
            machine.play(&inspected[0], &stats[0], cpu);
            machine.play(&inspected[2], &stats[1], cpu);
        }
        actual = gather(&mut docker).await.unwrap();
    }
    let mut gathered = Gathered::at(Timestamp(1));
    if from == From::Daemon {
        let answered = stats.map(|stats| {
            let container = Arc::clone(&docker.daemon.known().containers[stats["id"].as_str().unwrap()]);
            let mut stats: Stats = serde_json::from_value(stats).unwrap();
            for value in stats.memory_stats.stats.values_mut() {
                *value = (*value).min(NO_LIMIT);
            }
            (container, Ok(stats))
        });
        docker.figures_of_daemon(&mut gathered, answered.into());
    }
    let known = docker.daemon.known();
    let engine = known.engine.as_ref().unwrap();
    engine::info(&mut gathered, engine, &serde_json::from_value(json("info.json")).unwrap());
    // `/system/df` was not recorded; this is what it says where Telegraf's lines came from.
    let usage = r#"{"LayersSize":1982368,"Images":[
        {"Id":"sha256:b6fe4604d73971a212c71b09c24f4a86972cb10c0a5543f001d2f2c82b35a460","RepoTags":["bb:1"],"Size":1982368,"SharedSize":1982368},
        {"Id":"sha256:25014b82077e","RepoTags":["pause:1"],"Size":1982368,"SharedSize":1982368}],
        "Containers":[
        {"Id":"7cdcbeca16834b381aa2a0345d216023f4dc5c133aed22979527806616240945","Names":["/x/y","/c1"],"Image":"bb:1","SizeRootFs":1982368},
        {"Id":"c827d33045d6f0e22c8da2d0f25d7b4321c7a4a7121e4e10aee481c0cb4b326b","Names":["/k1"],"Image":"bb:1","SizeRw":3276800,"SizeRootFs":5259168},
        {"Id":"e03f8dd17309a4f5983273903670ed9d99d34d58852620caa94a99edbf267913","Names":["/limited"],"Image":"bb:1","SizeRw":655360,"SizeRootFs":2637728}],
        "Volumes":null}"#;
    engine::disk_usage(&mut gathered, engine, &docker.options, &serde_json::from_str(usage).unwrap());
    actual.append(&mut gathered.points);
    let others = ["c2", "c3", "never"];
    let expected = recorded(expected);
    let expected = expected.lines().map(parse);
    let expected = expected.filter(|(_, tags, _)| {
        !tags.get("container_name").is_some_and(|name| others.contains(&name.as_str()))
    });
    (lines(&actual), expected.collect())
}

#[rstest]
#[case::defaults("telegraf-0.conf", "expected-0.lp", 16)]
#[case::all_options("telegraf-1.conf", "expected-1.lp", 28)]
#[tokio::test]
async fn matches_telegraf(
    #[case] config: &str,
    #[case] expected: &str,
    #[case] n: usize,
    #[values(From::Cgroups, From::Daemon)] from: From,
) {
    let (actual, expected) = replay(config, expected, from).await;
    assert_eq!(shapes(&actual), shapes(&expected));
    assert_eq!((actual.len(), expected.len()), (n, n));

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
    assert_eq!(values(&actual), values(&expected));
}

#[rstest]
#[tokio::test]
async fn figures_are_what_the_daemon_says_they_are(#[values(From::Cgroups, From::Daemon)] from: From) {
    let (actual, _) = replay("telegraf-1.conf", "expected-1.lp", from).await;
    let limited = ("container_name", "limited");
    let of = |measurement, field| value(&actual, measurement, &[limited], field).to_owned();
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
    let cpu = |cpu, field| value(&actual, "docker_container_cpu", &[limited, ("cpu", cpu)], field).to_owned();
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
    let info = |field| value(&actual, "docker", &[], field);
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
    engine::info(
        &mut gathered,
        &Engine::new(&Info { name: "h".into(), server_version: "1".into(), ..Info::default() }),
        &info,
    );
    let actual = lines(&gathered.points);
    assert_eq!(value(&actual, "docker", &[("unit", "bytes")], "pool_blocksize"), "65540i");
    assert_eq!(value(&actual, "docker_data", &[("unit", "bytes")], "used"), "1500000000i");
    assert_eq!(value(&actual, "docker_data", &[], "total"), "107400000000i");
    assert_eq!(value(&actual, "docker_metadata", &[], "available"), "2000000000000i");
    let mapper = |field| value(&actual, "docker_devicemapper", &[("pool_name", "docker-pool")], field);
    assert_eq!(mapper("base_device_size_bytes"), "10740000000i");
    assert_eq!(mapper("thin_pool_minimum_free_space_bytes"), "10i");
    assert_eq!(mapper("data_space_used_bytes"), "1500000000i");
}
