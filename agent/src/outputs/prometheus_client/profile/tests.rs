use rstest::rstest;

use super::table::Figure;
use super::*;
use crate::generated::assert_current;
use crate::outputs::prometheus_client::samples::{Number, Sample};
use crate::point::Point;
use crate::point::Timestamp;
use crate::schema::MEASUREMENTS;

fn shown(profile: &str, point: &Point) -> Vec<String> {
    let samples = super::profile(profile).unwrap().samples(point);
    let shown = |sample: &Sample<'_>| match sample.number {
        Number::Value(value) => format!("{}{{{}}} {value}", sample.name, sample.labels),
        other => panic!("{other:?}"),
    };
    samples.iter().map(shown).collect()
}

fn point(measurement: &'static str) -> Point {
    Point::new(measurement, Timestamp(1_500_000_000)).tag("host", "h")
}

#[test]
fn docs_prometheus_is_current() {
    assert_current("../docs/prometheus.md", &markdown());
}

/// What a table names is in the schema, and has the type that the schema gives it.
#[test]
fn fields_are_those_of_the_schema() {
    for profile in PROFILES {
        for source in profile.sources {
            let known =
                MEASUREMENTS.iter().find(|known| known.name == source.measurement).expect(source.measurement);
            let has = |key: &str| known.fields.iter().any(|field| field.name == key);
            for metric in source.metrics {
                let fields = match &metric.value {
                    Figure::Field(key, _) | Figure::FieldOrZero(key, _) => vec![*key],
                    Figure::Difference(key, less, _) => vec![*key, *less],
                    Figure::Is(tag, _) => {
                        assert!(known.tags.iter().any(|known| known.name == *tag), "{}", metric.name);
                        vec![]
                    }
                    Figure::Time | Figure::Zero => vec![],
                };
                for field in &fields {
                    assert!(has(field), "{}: {} has no {field}", metric.name, source.measurement);
                }
                if let [field] = fields[..]
                    && metric.value_type != ValueType::Untyped
                {
                    let is_counter =
                        crate::schema::value_type(source.measurement, field) == ValueType::Counter;
                    assert_eq!(is_counter, metric.value_type == ValueType::Counter, "{}", metric.name);
                }
            }
        }
    }
}

#[test]
fn a_name_is_given_or_it_is_not() {
    for profile in PROFILES {
        let given: Vec<&str> =
            profile.sources.iter().flat_map(|source| source.metrics).map(|metric| metric.name).collect();
        for (name, _) in profile.left_out {
            let matches = |given: &&str| match name.strip_suffix('*') {
                Some(start) => given.starts_with(start),
                None => given == name,
            };
            assert_eq!(given.iter().find(|given| matches(given)), None, "{name}");
        }
        let mut left_out: Vec<&str> = profile.left_out.iter().map(|(name, _)| *name).collect();
        left_out.dedup();
        assert_eq!(left_out.len(), profile.left_out.len(), "a name is there twice");
    }
}

#[rstest]
#[case(point("cpu").tag("cpu", "cpu1").field("time_user", 1.5).field("time_guest", 0.5).field("usage_user", 9.0), &[
    "node_cpu_seconds_total{cpu=\"1\",mode=\"user\"} 1.5", "node_cpu_guest_seconds_total{cpu=\"1\",mode=\"user\"} 0.5",
])]
#[case(point("cpu").tag("cpu", "cpu-total").field("time_user", 1.5), &[])]
#[case(point("mem").field("cached", 7_u64).field("sreclaimable", 3_u64).field("swap_total", 0_u64), &[
    "node_memory_SReclaimable_bytes{} 3", "node_memory_Cached_bytes{} 4", "node_memory_SwapTotal_bytes{} 0",
])]
#[case(point("disk").tag("device", "sda1").tag("fstype", "ext4").tag("path", "/a").tag("mode", "ro").field("total", 9_u64).field("used", 4_u64), &[
    "node_filesystem_size_bytes{device=\"/dev/sda1\",fstype=\"ext4\",mountpoint=\"/a\"} 9",
    "node_filesystem_free_bytes{device=\"/dev/sda1\",fstype=\"ext4\",mountpoint=\"/a\"} 5",
    "node_filesystem_readonly{device=\"/dev/sda1\",fstype=\"ext4\",mountpoint=\"/a\"} 1",
    "node_filesystem_device_error{device=\"/dev/sda1\",fstype=\"ext4\",mountpoint=\"/a\"} 0",
])]
#[case(point("disk").tag("device", "tmpfs").tag("fstype", "tmpfs").tag("path", "/a").field("total", 9_u64), &[
    "node_filesystem_size_bytes{device=\"tmpfs\",fstype=\"tmpfs\",mountpoint=\"/a\"} 9",
    "node_filesystem_device_error{device=\"tmpfs\",fstype=\"tmpfs\",mountpoint=\"/a\"} 0",
])]
#[case(point("pressure").tag("resource", "io").tag("type", "full").field("total", 1_500_000_u64).field("avg10", 1.0), &[
    "node_pressure_io_stalled_seconds_total{} 1.5",
])]
#[case(point("pressure").tag("resource", "cpu").tag("type", "full").field("total", 1_u64), &[])]
fn a_node(#[case] point: Point, #[case] expected: &[&str]) {
    let mut found = shown("node_exporter", &point);
    let mut expected: Vec<&str> = expected.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[rstest]
#[case("sda", true)]
#[case("sda1", false)]
#[case("vdb12", false)]
#[case("nvme0n1", true)]
#[case("nvme0n1p1", false)]
#[case("dm-0", true)]
#[case("md127", true)]
#[case("mmcblk0p1", true)]
#[case("loop0", false)]
#[case("zram0", false)]
#[case("sr0", true)]
fn disks_are_those_of_the_exporter(#[case] name: &'static str, #[case] is_there: bool) {
    let point = point("diskio").tag("name", name).field("reads", 1_u64);
    assert_eq!(shown("node_exporter", &point).len(), usize::from(is_there));
}

#[rstest]
#[case(point("cgroup_cpu").tag("container_name", "web").tag("container_image", "nginx:1").tag("runtime", "docker").field("usage_ns", 1_500_000_000_i64), &[
    "container_cpu_usage_seconds_total{cpu=\"total\",image=\"nginx:1\",name=\"web\"} 1.5",
    "container_last_seen{image=\"nginx:1\",name=\"web\"} 1.5",
])]
#[case(point("cgroup_cpu").tag("container_name", "c").tag("pod_name", "p").tag("namespace", "n").tag("container_id", "abc").tag("cgroup", "/kubepods/x").field("nr_periods", 2_i64), &[
    "container_cpu_cfs_periods_total{container=\"c\",id=\"/kubepods/x\",name=\"abc\",namespace=\"n\",pod=\"p\"} 2",
    "container_last_seen{container=\"c\",id=\"/kubepods/x\",name=\"abc\",namespace=\"n\",pod=\"p\"} 1.5",
])]
#[case(point("cgroup_cpu").tag("container_name", "POD").tag("pod_name", "p").tag("namespace", "n").field("usage_ns", 0_i64), &[
    "container_cpu_usage_seconds_total{cpu=\"total\",namespace=\"n\",pod=\"p\"} 0",
    "container_last_seen{namespace=\"n\",pod=\"p\"} 1.5",
])]
#[case(point("cgroup_blkio").tag("cgroup", "/system.slice/a.service").tag("unit", "a.service").tag("device", "sda").field("reads", 3_i64), &[
    "container_fs_reads_total{device=\"/dev/sda\",id=\"/system.slice/a.service\"} 3",
])]
#[case(point("docker_container_net").tag("container_name", "web").tag("container_image", "nginx").tag("container_version", "1").tag("network", "eth0").field("rx_bytes", 3_u64), &[
    "container_network_receive_bytes_total{image=\"nginx:1\",interface=\"eth0\",name=\"web\"} 3",
])]
#[case(point("docker_container_net").tag("container_name", "web").tag("container_image", "nginx").tag("network", "total").field("rx_bytes", 3_u64), &[])]
#[case(point("kubernetes_pod_network").tag("pod_name", "p").tag("namespace", "n").field("tx_bytes", 3_i64), &[
    "container_network_transmit_bytes_total{interface=\"eth0\",namespace=\"n\",pod=\"p\"} 3",
])]
#[case(point("cgroup_mem").tag("container_name", "web").field("usage_bytes", 3_i64), &[
    "container_memory_usage_bytes{name=\"web\"} 3", "container_spec_memory_limit_bytes{name=\"web\"} 0",
    "container_oom_events_total{name=\"web\"} 0",
])]
#[case(point("cgroup_mem").field("usage_bytes", 3_i64), &[])]
fn containers(#[case] point: Point, #[case] expected: &[&str]) {
    assert_eq!(shown("cadvisor", &point), expected);
}
