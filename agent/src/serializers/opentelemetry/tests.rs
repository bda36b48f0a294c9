use std::fmt::Write as _;

use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, Histogram, Summary};
use rstest::rstest;

use super::batch::Kind;
use super::conventions::{CONVENTIONS, Metric as Convention};
use super::*;
use crate::point::Timestamp;
use crate::schema::{self, MEASUREMENTS, Since};

/// Says what it was asked for as a start: a number for each kind of origin.
struct Asked;

impl StartTimes for Asked {
    fn start(&mut self, _: u64, since: Since, _: i64, _: f64) -> u64 {
        1 + since as u64
    }
}

const BOOT: u64 = 1 + Since::Boot as u64;
const KEPT_FROM_BOOT: u64 = 1 + Since::KeptFromBoot as u64;
const KEPT: u64 = 1 + Since::Kept as u64;
const UNKNOWN: u64 = 1 + Since::Unknown as u64;

fn attributes(attributes: &[KeyValue]) -> String {
    let mut text = String::new();
    for KeyValue { key, value, .. } in attributes {
        let value = match value.clone().and_then(|value| value.value) {
            Some(any_value::Value::StringValue(text)) => text,
            Some(any_value::Value::ArrayValue(values)) => format!("[{} of them]", values.values.len()),
            other => panic!("{other:?}"),
        };
        write!(text, "{}{key}={value}", if text.is_empty() { "" } else { "," }).unwrap();
    }
    text
}

/// Each data point as `resource | name unit kind | attributes | start time | value`.
fn written(names: Names, points: &[Point]) -> Vec<String> {
    let converted = Otlp { names, attributes: BTreeMap::new() }.convert(points, &mut Asked);
    let mut lines = Vec::new();
    for of_resource in &converted.request.resource_metrics {
        let resource = attributes(&of_resource.resource.as_ref().unwrap().attributes);
        for metric in of_resource.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
            let (kind, points) = match metric.data.as_ref().unwrap() {
                Data::Gauge(gauge) => ("gauge", &gauge.data_points),
                Data::Sum(sum) => {
                    assert_eq!(sum.aggregation_temporality, AggregationTemporality::Cumulative as i32);
                    (if sum.is_monotonic { "counter" } else { "updown" }, &sum.data_points)
                }
                other => panic!("{other:?}"),
            };
            for point in points {
                let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
                let value = match point.value.unwrap() {
                    Number::AsInt(value) => format!("{value}i"),
                    Number::AsDouble(value) => value.to_string(),
                };
                let of = attributes(&point.attributes);
                lines.push(format!(
                    "{resource} | {} {} {kind} | {of} | {start} {time} | {value}",
                    metric.name, metric.unit
                ));
            }
        }
    }
    assert_eq!(converted.data_points, lines.len() as u64);
    lines
}

fn container(measurement: &'static str) -> Point {
    Point::new(measurement, Timestamp(7))
        .tag("host", "h")
        .tag("container_name", "web")
        .tag("container_image", "r:5000/nginx:1.27@sha256:0")
        .tag("runtime", "containerd")
}

#[test]
fn telegrafs_names_are_of_measurement_and_field() {
    let point =
        Point::new("diskio", Timestamp(7)).tag("host", "h").tag("name", "sda").tag("service.name", "s");
    let point = point.field("reads", 3_u64).field("io_util", 0.5).field("iops_in_progress", 1_u64);
    let point = point.field("text", "x").field("is", true);
    let expected = [
        "service.name=s | diskio_io_util  gauge | host=h,name=sda | 0 7 | 0.5".to_owned(),
        "service.name=s | diskio_iops_in_progress  gauge | host=h,name=sda | 0 7 | 1i".to_owned(),
        format!("service.name=s | diskio_reads  counter | host=h,name=sda | {BOOT} 7 | 3i"),
    ];
    assert_eq!(written(Names::Telegraf, &[point]), expected);
    let of_others = Point::new("app", Timestamp(7)).field("n", u64::MAX);
    assert_eq!(written(Names::Telegraf, &[of_others]), [" | app_n  gauge |  | 0 7 | 9223372036854775807i"]);
}

#[test]
fn samples_of_prometheus_keep_their_names() {
    let sample = |name: &'static str, field: &'static str| {
        Point::new(name, Timestamp(7)).tag("le", "1").field(field, 2.0)
    };
    let points = [
        sample("prometheus", "a_total"),
        sample("openmetric", "b_bucket"),
        sample("prometheus", "c"),
        sample("d", "counter"),
        sample("e", "gauge"),
        sample("f", "value"),
    ];
    let expected = [
        format!(" | a_total  counter | le=1 | {UNKNOWN} 7 | 2"),
        format!(" | b_bucket  counter | le=1 | {UNKNOWN} 7 | 2"),
        " | c  gauge | le=1 | 0 7 | 2".to_owned(),
        format!(" | d  counter | le=1 | {UNKNOWN} 7 | 2"),
        " | e  gauge | le=1 | 0 7 | 2".to_owned(),
        " | f_value  gauge | le=1 | 0 7 | 2".to_owned(),
    ];
    assert_eq!(written(Names::Telegraf, &points), expected);
}

#[test]
fn a_histogram_and_a_summary_are_one_data_point() {
    let family = || Point::new("t", Timestamp(7)).field("count", 10.0).field("sum", 5.5);
    let histogram = family().field("+Inf", 10.0).field("0.5", 4.0).field("0.1", 1.0).field("created", 1.5);
    let summary = family().field("0.5", 4.0).field("0.99", 9.0);
    let of = |point| {
        let converted = Otlp::default().convert(&[point], &mut Asked);
        let mut request = converted.request;
        request.resource_metrics.remove(0).scope_metrics.remove(0).metrics.remove(0).data.unwrap()
    };
    let Data::Histogram(Histogram { data_points, .. }) = of(histogram) else { panic!() };
    let point = &data_points[0];
    assert_eq!((&*point.bucket_counts, &*point.explicit_bounds), (&[1, 3, 6][..], &[0.1, 0.5][..]));
    assert_eq!((point.count, point.sum, point.start_time_unix_nano), (10, Some(5.5), 1_500_000_000));
    let Data::Summary(Summary { data_points }) = of(summary) else { panic!() };
    let point = &data_points[0];
    let quantiles: Vec<_> = point.quantile_values.iter().map(|value| (value.quantile, value.value)).collect();
    assert_eq!(quantiles, [(0.5, 4.0), (0.99, 9.0)]);
    assert_eq!((point.count, point.sum, point.start_time_unix_nano), (10, 5.5, UNKNOWN));
}

#[test]
fn a_container_is_a_resource() {
    let cpu = container("cgroup_cpu").field("usage_ns", 1_500_000_000_i64).field("context_switches", 3_i64);
    let net = container("cgroup_net").tag("region", "eu").field("rx_bytes", 9_i64);
    let resource = "container.image.name=r:5000/nginx,container.image.tags=[1 of them],container.name=web,\
                    container.runtime.name=containerd,host.name=h";
    let expected = [
        format!("{resource} | cgroup_cpu_context_switches  counter |  | {KEPT} 7 | 3i"),
        format!("{resource} | container.cpu.time s counter |  | {KEPT_FROM_BOOT} 7 | 1.5"),
        format!(
            "{resource} | container.network.io By counter | network.io.direction=receive,region=eu | {KEPT} 7 | 9i"
        ),
    ];
    assert_eq!(written(Names::Semantic, &[cpu, net]), expected);
}

#[test]
fn a_pod_and_its_container_are_resources() {
    let pod = |measurement| {
        let point = Point::new(measurement, Timestamp(7)).tag("pod_name", "web-1").tag("namespace", "shop");
        point.tag("node_name", "n").tag("workload", "deployment/web").field("usage_ns", 2_000_000_000_i64)
    };
    let points = [pod("pod_cpu"), pod("cgroup_cpu").tag("container_name", "app")];
    let of_pod = "k8s.deployment.name=web,k8s.namespace.name=shop,k8s.node.name=n,k8s.pod.name=web-1";
    let expected = [
        format!("k8s.container.name=app,{of_pod} | container.cpu.time s counter |  | {KEPT_FROM_BOOT} 7 | 2"),
        format!("{of_pod} | k8s.pod.cpu.time s counter |  | {KEPT_FROM_BOOT} 7 | 2"),
    ];
    assert_eq!(written(Names::Semantic, &points), expected);
}

#[test]
fn what_has_no_convention_has_telegrafs_name() {
    let unit = Point::new("cgroup_cpu", Timestamp(7)).tag("unit", "ssh.service").field("usage_ns", 1_i64);
    let each = Point::new("cpu", Timestamp(7)).tag("cpu", "cpu0").field("time_idle", 1.0);
    let expected = [
        format!(" | cpu_time_idle  counter | cpu=cpu0 | {BOOT} 7 | 1"),
        format!("unit=ssh.service | cgroup_cpu_usage_ns  counter |  | {KEPT_FROM_BOOT} 7 | 1i"),
    ];
    assert_eq!(written(Names::Semantic, &[unit, each]), expected);
}

/// The states of what is divided among them add up to all of it.
#[test]
fn states_add_up() {
    let mem = Point::new("mem", Timestamp(7)).field("total", 100_u64).field("free", 20_u64);
    let mem = mem.field("buffered", 5_u64).field("cached", 35_u64);
    let disk = Point::new("disk", Timestamp(7)).tag("path", "/").tag("fstype", "ext4");
    let disk = disk.field("total", 100_u64).field("used", 60_u64).field("free", 35_u64);
    let faults = container("cgroup_mem").field("page_faults", 9_i64).field("major_page_faults", 2_i64);
    let lines = written(Names::Semantic, &[mem, disk, faults]).join("\n");
    for expected in [
        "system.memory.usage By updown | system.memory.state=used | 0 7 | 40i",
        "system.memory.usage By updown | system.memory.state=cached | 0 7 | 35i",
        "system.memory.limit By updown |  | 0 7 | 100i",
        "system.filesystem.mountpoint=/,system.filesystem.state=reserved,system.filesystem.type=ext4 | 0 7 | 5i",
        "system.paging.fault.type=minor | 2 7 | 7i",
        "system.paging.fault.type=major | 2 7 | 2i",
    ] {
        assert!(lines.contains(expected), "{expected}\n{lines}");
    }
}

#[rstest]
#[case("cpu", ("cpu", "cpu-total"), ("usage_idle", 25.0), "system.cpu.utilization 1 gauge | cpu.mode=idle | 0 7 | 0.25")]
#[case("diskio", ("name", "sda"), ("read_time", 1500.0), "disk.io.direction=read,system.device=sda | 1 7 | 1.5")]
#[case("net", ("interface", "eth0"), ("packets_recv", 3.0), "network.io.direction=receive,system.device=eth0 | 1 7 | 3")]
#[case("net", ("interface", "eth0"), ("err_in", 3.0), "network.interface.name=eth0,network.io.direction=receive | 1 7 | 3")]
fn a_field_is_a_metric(
    #[case] measurement: &'static str,
    #[case] (tag, of): (&'static str, &'static str),
    #[case] (field, value): (&'static str, f64),
    #[case] expected: &str,
) {
    let point = Point::new(measurement, Timestamp(7)).tag(tag, of).field(field, value);
    let lines = written(Names::Semantic, &[point]);
    assert!(lines.len() == 1 && lines[0].ends_with(expected), "{lines:?}");
}

/// Each row of the table is a field that there is, counts where the convention does, and is said once.
#[test]
fn the_table_is_about_fields_that_there_are() {
    for convention in CONVENTIONS {
        let name = convention.measurement;
        let measurement = MEASUREMENTS.iter().find(|known| known.name == name);
        let measurement = measurement.unwrap_or_else(|| panic!("no such measurement: {name}"));
        for (tag, _) in convention.tags {
            assert!(measurement.tags.iter().any(|known| known.name == *tag), "{name}: no such tag: {tag}");
        }
        let mut all = std::collections::HashSet::new();
        for Convention { field, name: metric, kind, attribute, .. } in convention.metrics {
            assert!(all.insert((metric, attribute)), "{name}: {metric} {attribute:?}");
            if field.starts_with('<') {
                continue;
            }
            assert!(
                measurement.fields.iter().any(|known| known.name == *field),
                "{name}: no such field: {field}"
            );
            let counts = schema::counter(name, field).is_some() && *field != "uptime";
            assert_eq!(*kind == Kind::Counter, counts, "{name}: {field}");
        }
    }
}

#[test]
fn resources_have_the_configured_attributes_and_names_their_scope() {
    let attributes_of = BTreeMap::from([("service.name".to_owned(), "demo".to_owned())]);
    let point = Point::new("m", Timestamp(-7)).field("f", 1_i64);
    for (names, scope) in [(Names::Telegraf, ""), (Names::Semantic, "seismograf")] {
        let otlp = Otlp { names, attributes: attributes_of.clone() };
        let of_resource =
            otlp.convert(std::slice::from_ref(&point), &mut Asked).request.resource_metrics.remove(0);
        assert_eq!(attributes(&of_resource.resource.unwrap().attributes), "service.name=demo");
        assert_eq!(of_resource.scope_metrics[0].scope.as_ref().unwrap().name, scope);
    }
}
