//! The points of nodes, pods and containers, from the figures of the kubelet and the kernel. Pure.
//!
//! Telegraf's rules: what a summary lacks is 0; `version` is there when the image has exactly one colon; the images are
//! those of a pod's main containers. Where the kernel has figures of a container, they replace the kubelet's, which are older.

use std::collections::HashMap;

use crate::host::proc::net_dev;
use crate::identity::kubelet::Listing;
use crate::identity::kubelet::pods::{Pod, PodContainer};
use crate::identity::kubelet::summary::{
    ContainerStats, CpuStats, Figure, FsStats, MemoryStats, NetworkStats, NodeStats, PodStats, Summary,
};
use crate::inputs::Gathered;
use crate::line_protocol::truncated;
use crate::point::{Name, Point, Timestamp};

use super::live::{self, LiveFigures};

/// The interface of a pod, where the kubelet names none; also the kubelet's own default.
const DEFAULT_INTERFACE: &str = "eth0";
/// No more labels of a pod than this become tags, nor more bytes: InfluxDB rejects a series key above 64 KiB.
const MOST_LABELS: usize = 200;
const MOST_LABEL_BYTES: usize = 32 << 10;

/// The kubelet's data, as far as there is any.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KubeletData<'a> {
    /// The pods.
    pub(super) listing: Option<&'a Listing>,
    /// The statistics.
    pub(super) summary: Option<&'a Summary>,
}

/// The listed pods by namespace and name.
pub(super) fn by_name(listing: Option<&Listing>) -> HashMap<(&str, &str), &Pod> {
    let pods = listing.into_iter().flat_map(|listing| &listing.pods);
    pods.map(|pod| ((pod.namespace.as_str(), pod.name.as_str()), pod)).collect()
}

/// Adds all points of a gather.
pub(super) fn add(
    data: &KubeletData<'_>,
    figures: &LiveFigures,
    node_metric_name: &str,
    gathered: &mut Gathered,
) {
    let mut listed = by_name(data.listing);
    if let Some(Summary { node, pods }) = data.summary {
        add_node(node, node_metric_name, gathered);
        for stats in pods {
            let pod = listed.remove(&(stats.pod_ref.namespace.as_str(), stats.pod_ref.name.as_str()));
            add_pod(&node.node_name, pod, Some(stats), figures, gathered);
        }
    }
    // The summary has a pod only some seconds after its start, and while the kubelet is down there is none at all.
    for pod in data.listing.into_iter().flat_map(|listing| &listing.pods) {
        if listed.remove(&(pod.namespace.as_str(), pod.name.as_str())).is_some() {
            add_pod(&pod.node, Some(pod), None, figures, gathered);
        }
    }
}

fn add_node(node: &NodeStats, node_metric_name: &str, gathered: &mut Gathered) {
    let mut point = Point::new(node_metric_name.to_owned(), gathered.time).tag("node_name", &node.node_name);
    set_cpu(&mut point, Some(&node.cpu), None);
    set(&mut point, "memory_available_bytes", Some(node.memory.available_bytes));
    set_memory(&mut point, Some(&node.memory), None);
    set(&mut point, "network_rx_bytes", Some(node.network.rx_bytes));
    set(&mut point, "network_rx_errors", Some(node.network.rx_errors));
    set(&mut point, "network_tx_bytes", Some(node.network.tx_bytes));
    set(&mut point, "network_tx_errors", Some(node.network.tx_errors));
    for (fs, keys) in [
        (&node.fs, ["fs_available_bytes", "fs_capacity_bytes", "fs_used_bytes"]),
        (
            &node.runtime.image_fs,
            [
                "runtime_image_fs_available_bytes",
                "runtime_image_fs_capacity_bytes",
                "runtime_image_fs_used_bytes",
            ],
        ),
    ] {
        set_fs(&mut point, fs, keys);
    }
    gathered.push(point);
    for container in &node.system_containers {
        let mut point = gathered
            .point("kubernetes_system_container")
            .tag("node_name", &node.node_name)
            .tag("container_name", &container.name);
        set_cpu(&mut point, Some(&container.cpu), None);
        set_memory(&mut point, Some(&container.memory), None);
        set(&mut point, "rootfs_available_bytes", Some(container.rootfs.available_bytes));
        set(&mut point, "rootfs_capacity_bytes", Some(container.rootfs.capacity_bytes));
        set(&mut point, "logsfs_available_bytes", Some(container.logs.available_bytes));
        set(&mut point, "logsfs_capacity_bytes", Some(container.logs.capacity_bytes));
        gathered.push(point);
    }
}

/// A pod that is listed, has statistics, or both: what is needed to make its points.
struct PodPoints<'a> {
    node_name: &'a str,
    namespace: &'a str,
    pod_name: &'a str,
    /// Its labels as tags.
    labels: Vec<(String, String)>,
    time: Timestamp,
}

fn add_pod(
    node_name: &str,
    pod: Option<&Pod>,
    stats: Option<&PodStats>,
    figures: &LiveFigures,
    gathered: &mut Gathered,
) {
    let (namespace, pod_name) = match (pod, stats) {
        (Some(pod), _) => (&pod.namespace, &pod.name),
        (None, Some(stats)) => (&stats.pod_ref.namespace, &stats.pod_ref.name),
        (None, None) => return,
    };
    let labels = pod.map(labels).unwrap_or_default();
    let points = PodPoints { node_name, namespace, pod_name, labels, time: gathered.time };
    points.add_containers(pod, stats, figures, gathered);
    for volume in stats.map_or(&[][..], |stats| &stats.volumes) {
        let mut point = points.point("kubernetes_pod_volume", &[("volume_name", &volume.name)]);
        set(&mut point, "available_bytes", Some(volume.available_bytes));
        set(&mut point, "capacity_bytes", Some(volume.capacity_bytes));
        set(&mut point, "used_bytes", Some(volume.used_bytes));
        gathered.push(point);
    }
    points.add_network(pod, stats, figures, gathered);
}

impl PodPoints<'_> {
    fn point(&self, measurement: &'static str, own: &[(&'static str, &str)]) -> Point {
        let of_the_pod =
            [("node_name", self.node_name), ("namespace", self.namespace), ("pod_name", self.pod_name)];
        let mut point = Point::new(measurement, self.time);
        for (key, value) in of_the_pod.iter().chain(own) {
            point.set_tag(*key, Name::new(value));
        }
        // A label never replaces a tag that identifies the pod: whoever may start pods may label them.
        for (key, value) in &self.labels {
            if point.tag_value(key).is_none() {
                point.set_tag(key.clone(), value.clone());
            }
        }
        point
    }

    /// Those with statistics, then those that are only listed.
    fn add_containers(
        &self,
        pod: Option<&Pod>,
        stats: Option<&PodStats>,
        figures: &LiveFigures,
        gathered: &mut Gathered,
    ) {
        let listed = pod.map_or(&[][..], |pod| &pod.containers);
        let known = stats.map_or(&[][..], |stats| &stats.containers);
        let is_known = |container: &&PodContainer| known.iter().any(|stats| stats.name == container.name);
        let both = known.iter().map(|stats| (listed.iter().find(|c| c.name == stats.name), Some(stats)));
        let others =
            listed.iter().filter(|container| !is_known(container)).map(|container| (Some(container), None));
        for (container, stats) in both.chain(others) {
            let live = container.and_then(|c| c.id.as_ref()).and_then(|id| figures.containers.get(id));
            let live = match live {
                // It has ended. The kubelet's figures are older, and would fall below the last ones sent.
                Some(None) => continue,
                Some(Some(figure)) => Some(figure),
                None => None,
            };
            let name = container.map(|c| &c.name).or(stats.map(|stats| &stats.name));
            let mut own = vec![("container_name", name.map_or("", String::as_str))];
            let image = container.filter(|container| container.is_main);
            if let Some(image) = image.map(|container| container.image.as_str()) {
                own.push(("image", image));
                let mut parts = image.split(':').skip(1);
                if let (Some(version), None) = (parts.next(), parts.next()) {
                    own.push(("version", version));
                }
            }
            gathered.push(container_fields(self.point("kubernetes_pod_container", &own), stats, live));
        }
    }

    fn add_network(
        &self,
        pod: Option<&Pod>,
        stats: Option<&PodStats>,
        figures: &LiveFigures,
        gathered: &mut Gathered,
    ) {
        let name = stats.map(|stats| stats.network.name.as_str()).filter(|name| !name.is_empty());
        let text = pod.and_then(|pod| pod.uids.first()).and_then(|uid| figures.networks.get(uid));
        let live = text.and_then(|text| interface(text, name.unwrap_or(DEFAULT_INTERFACE)));
        if let Some(network) = live.as_ref().or(stats.map(|stats| &stats.network)) {
            let mut point = self.point("kubernetes_pod_network", &[]);
            set(&mut point, "rx_bytes", Some(network.rx_bytes));
            set(&mut point, "rx_errors", Some(network.rx_errors));
            set(&mut point, "tx_bytes", Some(network.tx_bytes));
            set(&mut point, "tx_errors", Some(network.tx_errors));
            gathered.push(point);
        }
    }
}

fn container_fields(mut point: Point, stats: Option<&ContainerStats>, live: Option<&live::Figure>) -> Point {
    set_cpu(&mut point, stats.map(|stats| &stats.cpu), live);
    set_memory(&mut point, stats.map(|stats| &stats.memory), live.and_then(|figure| figure.memory));
    if let Some(stats) = stats {
        set_fs(
            &mut point,
            &stats.rootfs,
            ["rootfs_available_bytes", "rootfs_capacity_bytes", "rootfs_used_bytes"],
        );
        set_fs(
            &mut point,
            &stats.logs,
            ["logsfs_available_bytes", "logsfs_capacity_bytes", "logsfs_used_bytes"],
        );
    }
    point
}

fn set_cpu(point: &mut Point, stats: Option<&CpuStats>, live: Option<&live::Figure>) {
    let nanocores = live.and_then(|figure| figure.cpu_nanocores).map(figure);
    let ns = live.and_then(|figure| figure.cpu_ns).map(figure);
    set(point, "cpu_usage_nanocores", nanocores.or(stats.map(|stats| stats.usage_nano_cores)));
    set(point, "cpu_usage_core_nanoseconds", ns.or(stats.map(|stats| stats.usage_core_nano_seconds)));
}

fn set_memory(point: &mut Point, stats: Option<&MemoryStats>, live: Option<live::Memory>) {
    let of = |live: Option<Option<u64>>, stats: Option<Figure>| live.flatten().map(figure).or(stats);
    let usage = of(live.map(|live| Some(live.usage)), stats.map(|stats| stats.usage_bytes));
    let working_set = of(live.map(|live| Some(live.working_set)), stats.map(|stats| stats.working_set_bytes));
    set(point, "memory_usage_bytes", usage);
    set(point, "memory_working_set_bytes", working_set);
    set(point, "memory_rss_bytes", of(live.map(|live| live.rss), stats.map(|stats| stats.rss_bytes)));
    let page_faults = of(live.map(|live| live.page_faults), stats.map(|stats| stats.page_faults));
    let major = of(live.map(|live| live.major_page_faults), stats.map(|stats| stats.major_page_faults));
    set(point, "memory_page_faults", page_faults);
    set(point, "memory_major_page_faults", major);
}

fn set_fs(point: &mut Point, fs: &FsStats, [available, capacity, used]: [&'static str; 3]) {
    set(point, available, Some(fs.available_bytes));
    set(point, capacity, Some(fs.capacity_bytes));
    set(point, used, Some(fs.used_bytes));
}

fn set(point: &mut Point, key: &'static str, figure: Option<Figure>) {
    if let Some(Figure(value)) = figure {
        point.set_field(key, value);
    }
}

fn figure(value: u64) -> Figure {
    Figure(i64::try_from(value).unwrap_or(i64::MAX))
}

/// A pod's labels as tags, sorted, as many as a series can have.
fn labels(pod: &Pod) -> Vec<(String, String)> {
    let mut bytes = 0;
    pod.labels
        .iter()
        .take(MOST_LABELS)
        .map(|(key, value)| (truncated(key.clone()), truncated(value.clone())))
        .take_while(|(key, value)| {
            bytes += key.len() + value.len();
            bytes <= MOST_LABEL_BYTES
        })
        .collect()
}

/// An interface's line of proc(5) `net/dev`.
fn interface(dev: &str, name: &str) -> Option<NetworkStats> {
    let line = dev.lines().filter_map(net_dev::parse_line).find(|line| line.name == name)?;
    Some(NetworkStats {
        name: name.to_owned(),
        rx_bytes: figure(line.rx.bytes),
        rx_errors: figure(line.rx.errors),
        tx_bytes: figure(line.tx.bytes),
        tx_errors: figure(line.tx.errors),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tokio::time::Instant;

    use super::*;
    use crate::identity::kubelet::{pods, summary};
    use crate::inputs::testing::{self, Line};
    use crate::options::filter::IncludeExclude;
    use crate::point::FieldValue;
    use crate::schema;

    const PODS: &[u8] = include_bytes!("../../../testdata/kubelet/pods.json");
    const SUMMARY: &[u8] = include_bytes!("../../../testdata/kubelet/stats-summary.json");

    fn listing(pods: Vec<Pod>) -> Listing {
        Listing { requested: Instant::now(), pods }
    }

    fn recorded() -> (Listing, Summary) {
        (listing(pods::parse(PODS).unwrap()), summary::parse(SUMMARY).unwrap())
    }

    fn points(data: &KubeletData<'_>, figures: &LiveFigures) -> Vec<Point> {
        let mut gathered = Gathered::at(Timestamp(1));
        add(data, figures, "kubernetes_node", &mut gathered);
        for point in &gathered.points {
            schema::check(point).unwrap();
        }
        gathered.points
    }

    /// In the form of what Telegraf printed, and in its order.
    fn sorted<'a>(lines: impl Iterator<Item = (&'a str, Line)>) -> Vec<(String, Line)> {
        let mut lines: Vec<_> = lines.map(|(name, line)| (name.to_owned(), line)).collect();
        lines.sort_by(|a, b| (&a.0, &a.1.0).cmp(&(&b.0, &b.1.0)));
        lines
    }

    #[test]
    fn matches_telegraf() {
        for (expected, exclude) in [
            (include_str!("../../../testdata/kubelet/expected-0.lp"), ["*".to_owned()].as_slice()),
            (include_str!("../../../testdata/kubelet/expected-1.lp"), &[]),
        ] {
            let (mut listing, summary) = recorded();
            let labels = IncludeExclude::new(("i", &["app".into(), "tier".into()]), ("e", exclude)).unwrap();
            for pod in &mut listing.pods {
                pod.labels.retain(|key, _| labels.takes(key));
            }
            let data = KubeletData { listing: Some(&listing), summary: Some(&summary) };
            let points = points(&data, &LiveFigures::default());
            let actual = sorted(points.iter().map(|point| (&*point.measurement, testing::line(point))));
            let expected = sorted(expected.lines().map(testing::parse).map(|(name, _, line)| (name, line)));
            assert_eq!(expected.len(), 22);
            assert_eq!(actual, expected);
        }
    }

    fn live(cpu_ns: u64, nanocores: Option<u64>) -> Option<live::Figure> {
        let memory = live::Memory {
            usage: 10,
            working_set: 9,
            rss: Some(8),
            page_faults: Some(7),
            major_page_faults: None,
        };
        Some(live::Figure { cpu_ns: Some(cpu_ns), cpu_nanocores: nanocores, memory: Some(memory) })
    }

    fn of<'a>(points: &'a [Point], measurement: &str, tags: &[(&str, &str)]) -> Vec<&'a Point> {
        let has = |point: &&Point| {
            point.measurement == measurement
                && tags.iter().all(|(key, value)| point.tag_value(key) == Some(value))
        };
        points.iter().filter(has).collect()
    }

    fn int(point: &Point, key: &str) -> Option<i64> {
        match point.field_value(key) {
            Some(FieldValue::Int(value)) => Some(*value),
            _ => None,
        }
    }

    const GUARANTEED: &str = "e8476fe5beefafdf501e68189c82b697c8e1d651341d249552e9c8c9b961ecd7";

    #[test]
    fn the_kernels_figures_come_in_the_place_of_the_kubelets() {
        let (listing, summary) = recorded();
        let data = KubeletData { listing: Some(&listing), summary: Some(&summary) };
        let pod = listing.pods.iter().find(|pod| pod.name == "guaranteed").unwrap();
        let dev = "Inter-| Receive\n face |bytes\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 100 2 3 0 0 0 0 0 200 4 5 0 0 0 0 0\n eth01: 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9\n";
        let figures = LiveFigures {
            containers: HashMap::from([(GUARANTEED.to_owned(), live(5, Some(6)))]),
            networks: HashMap::from([(pod.uids[0].clone(), dev.into())]),
        };
        let points = points(&data, &figures);
        let container = of(&points, "kubernetes_pod_container", &[("pod_name", "guaranteed")]);
        let [container] = container.as_slice() else { panic!("{container:?}") };
        for (key, expected) in [
            ("cpu_usage_core_nanoseconds", 5),
            ("cpu_usage_nanocores", 6),
            ("memory_usage_bytes", 10),
            ("memory_working_set_bytes", 9),
            ("memory_rss_bytes", 8),
            ("memory_page_faults", 7),
            // What the kernel does not have, and what only the kubelet has.
            ("memory_major_page_faults", 0),
            ("rootfs_used_bytes", 28_672),
        ] {
            assert_eq!(int(container, key), Some(expected), "{key}");
        }
        let network = of(&points, "kubernetes_pod_network", &[("pod_name", "guaranteed")]);
        let values = ["rx_bytes", "rx_errors", "tx_bytes", "tx_errors"].map(|key| int(network[0], key));
        assert_eq!(values, [Some(100), Some(3), Some(200), Some(5)]);
        assert_eq!(points.len(), 22);
    }

    #[test]
    fn in_the_first_gather_the_rate_is_the_kubelets() {
        let (listing, summary) = recorded();
        let data = KubeletData { listing: Some(&listing), summary: Some(&summary) };
        let figures = LiveFigures {
            containers: HashMap::from([(GUARANTEED.to_owned(), live(5, None))]),
            ..LiveFigures::default()
        };
        let points = points(&data, &figures);
        let container = of(&points, "kubernetes_pod_container", &[("pod_name", "guaranteed")])[0];
        assert_eq!(int(container, "cpu_usage_nanocores"), Some(99_537_354));
        assert_eq!(int(container, "cpu_usage_core_nanoseconds"), Some(5));
    }

    #[test]
    fn without_statistics_a_container_has_what_its_cgroup_says() {
        let (listing, _) = recorded();
        let figures = LiveFigures {
            containers: HashMap::from([(GUARANTEED.to_owned(), live(5, None))]),
            ..LiveFigures::default()
        };
        let points = points(&KubeletData { listing: Some(&listing), summary: None }, &figures);
        let [point] = points.as_slice() else { panic!("{points:?}") };
        assert_eq!(
            *point,
            Point::new("kubernetes_pod_container", Timestamp(1))
                .tag("node_name", "node1")
                .tag("namespace", "kube-system")
                .tag("pod_name", "guaranteed")
                .tag("container_name", "c")
                .tag("image", "docker.io/library/bb:1")
                .tag("version", "1")
                .field("cpu_usage_core_nanoseconds", 5_i64)
                .field("memory_usage_bytes", 10_i64)
                .field("memory_working_set_bytes", 9_i64)
                .field("memory_rss_bytes", 8_i64)
                .field("memory_page_faults", 7_i64)
        );
    }

    #[test]
    fn one_that_has_ended_is_not_taken_back_to_older_figures() {
        let (listing, summary) = recorded();
        let data = KubeletData { listing: Some(&listing), summary: Some(&summary) };
        let ended = LiveFigures {
            containers: HashMap::from([(GUARANTEED.to_owned(), None)]),
            ..LiveFigures::default()
        };
        let points = points(&data, &ended);
        assert!(of(&points, "kubernetes_pod_container", &[("pod_name", "guaranteed")]).is_empty());
        assert_eq!(points.len(), 21);
    }

    #[test]
    fn without_a_list_the_statistics_have_no_image() {
        let (_, summary) = recorded();
        let points = points(&KubeletData { listing: None, summary: Some(&summary) }, &LiveFigures::default());
        assert_eq!(points.len(), 22);
        let containers = of(&points, "kubernetes_pod_container", &[]);
        assert!(containers.iter().all(|point| point.tag_value("image").is_none()));
    }

    #[test]
    fn labels_are_bounded_and_say_nothing_of_whose_figures_these_are() {
        let mut pod = Pod { name: "p".into(), namespace: "n".into(), node: "h".into(), ..Pod::default() };
        pod.containers = vec![PodContainer {
            name: "c".into(),
            image: "registry:5000/image:1".into(),
            is_main: true,
            is_running: true,
            id: Some("i".into()),
            last_id: None,
        }];
        pod.labels =
            [("namespace", "kube-system"), ("pod_name", "other"), ("container_name", "x"), ("version", "2")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into();
        let figures = LiveFigures {
            containers: HashMap::from([("i".to_owned(), live(1, None))]),
            ..LiveFigures::default()
        };
        let tags = |pod: &Pod| {
            let listing = listing(vec![pod.clone()]);
            points(&KubeletData { listing: Some(&listing), summary: None }, &figures).remove(0).tags
        };
        let read: BTreeSet<(String, String)> =
            tags(&pod).into_iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let expected = [
            ("node_name", "h"),
            ("namespace", "n"),
            ("pod_name", "p"),
            ("container_name", "c"),
            ("image", "registry:5000/image:1"),
            // The image has two colons, so there is room for the label's.
            ("version", "2"),
        ];
        assert_eq!(read, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());

        let many =
            |n: usize, length: usize| (0..n).map(move |i| (format!("l{i:05}"), "v".repeat(length))).collect();
        pod.labels = many(1_000, 1);
        assert_eq!(tags(&pod).len(), 5 + MOST_LABELS);
        pod.labels = many(1_000, 1_000_000);
        let bytes: usize = tags(&pod).iter().map(|(key, value)| key.len() + value.len()).sum();
        assert!((MOST_LABEL_BYTES / 2..MOST_LABEL_BYTES + 100).contains(&bytes), "{bytes}");
    }

    #[test]
    fn an_interface_is_found_by_its_whole_name() {
        let dev = "h\nh\nveth0: 1 0 2 0 0 0 0 0 3 0 4 0 0 0 0 0\n eth0:18446744073709551615 0 2 0 0 0 0 0 3 0 4 0 0 0 0 0\n";
        let network = interface(dev, "eth0").unwrap();
        assert_eq!((network.rx_bytes, network.tx_errors), (Figure(i64::MAX), Figure(4)));
        for (dev, name) in [(dev, "eth1"), ("", "eth0"), ("eth0: 1 2", "eth0"), ("eth0: x", "eth0")] {
            assert_eq!(interface(dev, name), None);
        }
    }
}
