//! `[[outputs.opentelemetry]]` against a real collector over both protocols; and, where there is none, against stand-ins that
//! give the answers of the specification: <https://opentelemetry.io/docs/specs/otlp/>.

mod standin;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libtest_mimic::Trial;
use seismograf::outputs::opentelemetry::{Opentelemetry, Options};
use seismograf::point::{Name, Point, Timestamp};
use seismograf_tests::otelcol::{DataPoint, Otelcol};
use seismograf_tests::running::Running;
use seismograf_tests::suite::Outcome;
use seismograf_tests::{trial, wait_for};

use crate::outputs::{value, write};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("opentelemetry::a_collector_gets_every_point_over_http_and_grpc", collector_gets_every_point),
        trial("opentelemetry::semantic_names_have_resources", semantic_names),
        trial("opentelemetry::counters_stay_cumulative_over_restarts_of_either", restarts),
        trial("opentelemetry::with_a_statefile_sums_keep_their_start", statefile),
    ];
    trials.extend(standin::trials());
    trials
}

const LIMIT: Duration = Duration::from_secs(60);
/// Points of each kind; each has two numbers.
const N: i64 = 2_100;

fn output(service_address: &str, set: impl FnOnce(&mut Options)) -> Opentelemetry {
    let mut options = Options { service_address: service_address.into(), ..Options::default() };
    set(&mut options);
    Opentelemetry::new(options).unwrap()
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

/// The machine's boot, as the kernel says it.
fn boot() -> i64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime ")).unwrap();
    seconds.trim().parse::<i64>().unwrap() * 1_000_000_000
}

/// Points whose fields count up, some that do not, and what a collector is to have of them.
fn points(label: &str) -> (Vec<Point>, Vec<DataPoint>) {
    let (start, mut points, mut expected) = (now() - N * 1_000_000, Vec::new(), Vec::new());
    for i in 0..N {
        let time = start + i * 1_000_000;
        let tags = [("host", "h"), ("name", ["sda", "zürich \"1\""][i as usize % 2]), ("run", label)];
        let attributes: BTreeMap<String, String> =
            tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        for (measurement, counts, fields) in [
            ("diskio", true, [("reads", i as f64), ("read_bytes", i as f64 * 4_096.0)]),
            ("of_others", false, [("level", i as f64 / 4.0), ("n", -i as f64)]),
        ] {
            let mut point = Point::new(measurement, Timestamp(time)).field("text", "left out");
            tags.iter().for_each(|(key, value)| point.set_tag(*key, Name::new(value)));
            for (field, value) in fields {
                match (counts, field) {
                    (true, _) => point.set_field(field, value as u64),
                    (false, "n") => point.set_field(field, value as i64),
                    _ => point.set_field(field, value),
                }
                expected.push(DataPoint {
                    resource: BTreeMap::new(),
                    name: format!("{measurement}_{field}"),
                    unit: String::new(),
                    kind: if counts { "Sum monotonic cumulative" } else { "Gauge" }.into(),
                    attributes: attributes.clone(),
                    start: if counts { boot() } else { 0 },
                    time,
                    value,
                });
            }
            points.push(point);
        }
    }
    (points, expected)
}

fn sorted(mut points: Vec<DataPoint>) -> Vec<DataPoint> {
    let key = |point: &DataPoint| (point.name.clone(), point.attributes.clone(), point.time);
    points.sort_by_key(key);
    points
}

fn collector_gets_every_point() -> Outcome {
    let collector = Otelcol::start()?;
    let mut expected = Vec::new();
    for (label, address) in [("http", collector.http()), ("grpc", collector.grpc())] {
        for compression in ["gzip", "none"] {
            let (points, of_these) = points(&format!("{label} {compression}"));
            let n = points.len() as u64;
            let (left, counts) = write(output(&address, |to| to.compression = compression.into()), points);
            assert_eq!((left, value(&counts.written), value(&counts.losses.rejected)), (0, n, 0), "{label}");
            expected.extend(of_these);
        }
    }
    let got = collector.data_points();
    println!("opentelemetry: {} of {} data points are with the collector", got.len(), expected.len());
    assert_eq!(got.len(), expected.len());
    for (got, expected) in sorted(got).into_iter().zip(sorted(expected)) {
        assert_eq!(got, expected);
    }
    Ok(())
}

fn semantic_names() -> Outcome {
    let collector = Otelcol::start()?;
    let time = now();
    let container = |measurement| {
        let point = Point::new(measurement, Timestamp(time)).tag("host", "h").tag("container_name", "web");
        point.tag("container_image", "nginx:1.27").tag("runtime", "docker")
    };
    let points = vec![
        container("cgroup_cpu").field("usage_ns", 2_500_000_000_i64),
        container("cgroup_net").field("rx_bytes", 7_i64).field("tx_bytes", 8_i64),
        Point::new("mem", Timestamp(time)).tag("host", "h").field("total", 100_u64),
    ];
    let semantic = |to: &mut Options| {
        to.names = "semantic".into();
        to.attributes = BTreeMap::from([("service.name".to_owned(), "demo".to_owned())]);
    };
    let (left, counts) = write(output(&collector.grpc(), semantic), points);
    assert_eq!((left, value(&counts.written)), (0, 3));
    let got = collector.data_points();
    let shown = |point: &DataPoint| {
        let DataPoint { name, unit, kind, attributes, value, .. } = point;
        format!("{name} {unit} {kind} {attributes:?} {value}")
    };
    let direction = |of: &str| format!("{{\"network.io.direction\": \"{of}\"}}");
    let expected: BTreeSet<String> = [
        "container.cpu.time s Sum monotonic cumulative {} 2.5".to_owned(),
        format!("container.network.io By Sum monotonic cumulative {} 7", direction("receive")),
        format!("container.network.io By Sum monotonic cumulative {} 8", direction("transmit")),
        "system.memory.limit By Sum cumulative {} 100".to_owned(),
    ]
    .into();
    assert_eq!(got.iter().map(shown).collect::<BTreeSet<_>>(), expected);
    for point in &got {
        let of = |key: &str| point.resource.get(key).map(String::as_str);
        assert_eq!((of("host.name"), of("service.name")), (Some("h"), Some("demo")), "{point:?}");
        let name = point.name.starts_with("container.").then_some("web");
        assert_eq!(of("container.name"), name, "{point:?}");
    }
    Ok(())
}

/// What tells series apart.
type Key = (String, BTreeMap<String, String>);

/// The points of each series that counts up, by time: when it was 0, and the value. Of what an agent that was killed left in the
/// spool nobody knows the one any more: those are left out.
fn counters(collector: &Otelcol) -> BTreeMap<Key, BTreeMap<i64, (i64, f64)>> {
    let mut series: BTreeMap<Key, BTreeMap<i64, (i64, f64)>> = BTreeMap::new();
    for point in collector.data_points().into_iter().filter(|point| point.kind.contains("monotonic")) {
        let DataPoint { name, attributes, start, time, value, .. } = point;
        if start > 0 {
            series.entry((name, attributes)).or_default().insert(time, (start, value));
        }
    }
    series
}

/// Holds each step of a series against the one before; returns how many there are.
fn check_steps(what: &str, points: &BTreeMap<i64, (i64, f64)>) -> usize {
    for ((at, (start, before)), (time, (next, value))) in points.iter().zip(points.iter().skip(1)) {
        assert!(start < at && next < time && start <= next, "{what}: {start} {at}, {next} {time}");
        assert!(start != next || before <= value, "{what}: {before} and then {value} since one start");
        assert!(start == next || at < next, "{what}: {next} is not after {at}, which counts from {start}");
    }
    points.len().saturating_sub(1)
}

/// The agent is killed, and then the collector while the agent goes on: no point of the file that the agent writes beside it is
/// missing, and what counts up does so from one start to the next.
fn restarts() -> Outcome {
    let mut collector = Otelcol::start()?;
    let config = format!(
        "[agent]\n interval = \"200ms\"\n flush_interval = \"500ms\"\n hostname = \"h\"\n buffer_strategy = \"disk\"\n\
         buffer_directory = \"{{directory}}/spool\"\n\
         [[inputs.cpu]]\n collect_cpu_time = true\n percpu = false\n [[inputs.kernel]]\n[[inputs.internal]]\n\
         [[outputs.file]]\n files = [\"{{points}}\"]\n buffer_strategy = \"memory\"\n\
         [[outputs.opentelemetry]]\n service_address = \"{}\"\n",
        collector.grpc()
    );
    let mut agent = Running::start(&config)?;
    let grows = |agent: &Running, n: usize| {
        let at = agent.times("kernel", "interrupts").len() + n;
        wait_for(|| agent.times("kernel", "interrupts").len() >= at, LIMIT, "points in the file");
    };
    grows(&agent, 8);
    let before: BTreeSet<i64> = agent.times("kernel", "interrupts").into_iter().collect();
    // What is on its way to the disk as it is killed is in no spool.
    grows(&agent, 3);
    agent.kill();
    let killed: BTreeSet<i64> = agent.times("kernel", "interrupts").into_iter().collect();
    agent.resume();
    grows(&agent, 8);
    collector.kill();
    grows(&agent, 8);
    collector.resume()?;
    grows(&agent, 8);
    let mut written: BTreeSet<i64> = agent.times("kernel", "interrupts").into_iter().collect();
    written.retain(|time| before.contains(time) || !killed.contains(time));
    let times = |points: &[DataPoint]| -> BTreeSet<i64> {
        points.iter().filter(|point| point.name == "kernel_interrupts").map(|point| point.time).collect()
    };
    wait_for(|| written.is_subset(&times(&collector.data_points())), LIMIT, "every point at the collector");
    let (series, mut n, boot) = (counters(&collector), 0, boot());
    for ((name, attributes), points) in &series {
        let what = format!("{name} {attributes:?}");
        let starts: BTreeSet<i64> = points.values().map(|(start, _)| *start).collect();
        if name.starts_with("cpu_") || name.starts_with("kernel_") {
            assert_eq!(starts, BTreeSet::from([boot]), "{what}: it counts since the boot");
        } else {
            assert_eq!(
                starts.len(),
                2,
                "{what}: it counts since the start of the agent, of which there are two"
            );
        }
        n += check_steps(&what, points);
    }
    println!("opentelemetry: {n} steps of {} counters over two restarts", series.len());
    assert!(n > 500, "{n}");
    Ok(())
}

/// What the kernel counts was 0 at the boot, and what the agent counts when it started first: also for the one that takes the
/// place of an agent that was killed, and goes on with its totals.
fn statefile() -> Outcome {
    let collector = Otelcol::start()?;
    let config = format!(
        "[agent]\n interval = \"200ms\"\n flush_interval = \"500ms\"\n hostname = \"h\"\n\
         statefile = \"{{directory}}/state\"\n\
         [[inputs.ebpf]]\n probes = [\"cpu\", \"net\"]\n\
         [[outputs.opentelemetry]]\n service_address = \"{}\"\n",
        collector.http()
    );
    let before = now();
    let mut agent = Running::start(&config)?;
    let latest = || {
        let series = counters(&collector);
        let all = series.iter().filter(|((name, _), _)| name == "cgroup_cpu_usage_ns");
        all.filter_map(|(_, points)| points.keys().next_back().copied()).max()
    };
    wait_for(|| latest().is_some(), LIMIT, "rows of cgroups at the collector");
    let started = now();
    agent.kill();
    agent.resume();
    let resumed = now();
    wait_for(|| latest().is_some_and(|time| time > resumed + 1_000_000_000), LIMIT, "rows of the second run");
    let (mut n, mut kinds) = (0, BTreeMap::new());
    for ((name, attributes), points) in counters(&collector) {
        let what = format!("{name} {attributes:?}");
        let is_kernels =
            ["cgroup_cpu_usage_ns", "cgroup_cpu_nr", "cgroup_cpu_throttled", "cgroup_mem", "cgroup_pressure"];
        let is_kernels = is_kernels.iter().any(|start| name.starts_with(start));
        if !is_kernels
            && !["cgroup_cpu_context_switches", "cgroup_net"].iter().any(|start| name.starts_with(start))
        {
            continue;
        }
        let starts: BTreeSet<i64> = points.values().map(|(start, _)| *start).collect();
        assert_eq!(starts.len(), 1, "{what}: {starts:?}");
        let start = *starts.first().unwrap();
        if is_kernels {
            assert_eq!(start, boot(), "{what}");
        } else {
            assert!((before..started).contains(&start), "{what}: {start} is not when the first run began");
        }
        n += check_steps(&what, &points);
        *kinds.entry(is_kernels).or_insert(0) += 1;
    }
    println!("opentelemetry: {n} steps of counters (the kernel's own or not: {kinds:?}) keep their start");
    assert!(kinds.len() == 2 && n > 20, "{kinds:?} {n}");
    Ok(())
}
