//! What the kubelet answers, as far as it is needed: `/pods` and `/stats/summary`. Pure.
//!
//! Sources: [core/v1 `PodList`](https://github.com/kubernetes/api/blob/v0.33.3/core/v1/types.go) and
//! [stats/v1alpha1 `Summary`](https://github.com/kubernetes/kubelet/blob/v0.33.3/pkg/apis/stats/v1alpha1/types.go).
//! The rest of an answer is skipped as it is read. Every key may be missing or null. Names are cut to a length that a
//! database takes, and ids that cannot be ones are left out.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, Error, IgnoredAny, Visitor};
use serde::{Deserialize, de::DeserializeOwned};

use crate::line_protocol::truncated;

/// The longest id of a container or pod that is believed; real ones have up to 64 characters.
const MOST_ID_BYTES: usize = 128;

/// A pod of `/pods`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Item")]
pub struct Pod {
    /// Its UIDs: the one it is listed by, and for a static pod also the one that its cgroup has, where that is another.
    pub uids: Vec<String>,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The node it runs on.
    pub node: String,
    /// Whether it is in the node's own network namespace.
    pub has_host_network: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its containers, init and ephemeral ones too.
    pub containers: Vec<Container>,
}

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its name within the pod.
    pub name: String,
    /// Its image as the pod asks for it.
    pub image: String,
    /// Whether it is one of the pod's main containers; the others are init and ephemeral ones.
    pub is_main: bool,
    /// Whether it runs, by the time of the listing.
    pub is_running: bool,
    /// The id of what runs now, or ran last; `None` before it first started.
    pub id: Option<String>,
    /// The id of what ran before that.
    pub last_id: Option<String>,
}

/// Reads the answer to `/pods`.
///
/// # Errors
/// What the parser does not understand.
pub fn pods(body: &[u8]) -> serde_json::Result<Vec<Pod>> {
    #[derive(Deserialize)]
    struct List {
        #[serde(default, deserialize_with = "or_default")]
        items: Vec<Pod>,
    }
    serde_json::from_slice(body).map(|List { items }| items)
}

/// Reads the answer to `/stats/summary`.
///
/// # Errors
/// What the parser does not understand.
pub fn summary(body: &[u8]) -> serde_json::Result<Summary> {
    serde_json::from_slice(body)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Item {
    #[serde(deserialize_with = "or_default")]
    metadata: Metadata,
    #[serde(deserialize_with = "or_default")]
    spec: Spec,
    #[serde(deserialize_with = "or_default")]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    #[serde(deserialize_with = "or_default")]
    name: String,
    #[serde(deserialize_with = "or_default")]
    namespace: String,
    #[serde(deserialize_with = "or_default")]
    uid: String,
    #[serde(deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    annotations: Annotations,
}

/// Of all annotations, which are long, the one that is needed.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Annotations {
    /// Marks a static pod, and is the UID that its cgroup has: in the list of an API server the pod has another.
    #[serde(rename = "kubernetes.io/config.hash", deserialize_with = "or_default")]
    config_hash: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    #[serde(deserialize_with = "or_default")]
    node_name: String,
    #[serde(deserialize_with = "or_default")]
    host_network: bool,
    #[serde(deserialize_with = "or_default")]
    containers: Vec<ContainerSpec>,
    #[serde(deserialize_with = "or_default")]
    init_containers: Vec<ContainerSpec>,
    #[serde(deserialize_with = "or_default")]
    ephemeral_containers: Vec<ContainerSpec>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContainerSpec {
    #[serde(deserialize_with = "or_default")]
    name: String,
    #[serde(deserialize_with = "or_default")]
    image: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    #[serde(deserialize_with = "or_default")]
    container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "or_default")]
    init_container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "or_default")]
    ephemeral_container_statuses: Vec<ContainerStatus>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ContainerStatus {
    #[serde(deserialize_with = "or_default")]
    name: String,
    #[serde(rename = "containerID", deserialize_with = "or_default")]
    container_id: String,
    #[serde(deserialize_with = "or_default")]
    state: State,
    #[serde(deserialize_with = "or_default")]
    last_state: State,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct State {
    running: Option<IgnoredAny>,
    #[serde(deserialize_with = "or_default")]
    terminated: Terminated,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Terminated {
    #[serde(rename = "containerID", deserialize_with = "or_default")]
    container_id: String,
}

impl From<Item> for Pod {
    fn from(Item { metadata, spec, status }: Item) -> Self {
        let mut uids: Vec<String> =
            [metadata.uid, metadata.annotations.config_hash].into_iter().filter_map(id).collect();
        uids.dedup();
        let kinds = [
            (true, spec.containers, status.container_statuses),
            (false, spec.init_containers, status.init_container_statuses),
            (false, spec.ephemeral_containers, status.ephemeral_container_statuses),
        ];
        let containers =
            kinds.into_iter().flat_map(|(is_main, specs, statuses)| joined(is_main, specs, statuses));
        Self {
            uids,
            name: truncated(metadata.name),
            namespace: truncated(metadata.namespace),
            node: truncated(spec.node_name),
            has_host_network: spec.host_network,
            labels: metadata.labels,
            containers: containers.collect(),
        }
    }
}

/// Containers of one kind, each with its status. A pod has few: a look through the list costs less than a map of it.
fn joined(
    is_main: bool,
    specs: Vec<ContainerSpec>,
    mut statuses: Vec<ContainerStatus>,
) -> impl Iterator<Item = Container> {
    specs.into_iter().map(move |ContainerSpec { name, image }| {
        let at = statuses.iter().position(|status| status.name == name);
        let status = at.map(|at| statuses.swap_remove(at)).unwrap_or_default();
        let last_id = without_scheme(status.last_state.terminated.container_id);
        let id = without_scheme(status.container_id);
        Container {
            name: truncated(name),
            image: truncated(image),
            is_main,
            is_running: status.state.running.is_some(),
            last_id: last_id.filter(|last| Some(last) != id.as_ref()),
            id,
        }
    })
}

/// `containerd://0123…` without the runtime's name.
fn without_scheme(text: String) -> Option<String> {
    id(text.split_once("://").map_or("", |(_, id)| id).to_owned())
}

/// An id, when it can be one: that keeps names of any length and content out of the tables that outlive an answer.
fn id(text: String) -> Option<String> {
    let is_id = (1..=MOST_ID_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    is_id.then_some(text)
}

/// `/stats/summary`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// The node.
    #[serde(deserialize_with = "or_default")]
    pub node: NodeStats,
    /// Its pods.
    #[serde(deserialize_with = "or_default")]
    pub pods: Vec<PodStats>,
}

/// A node's figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeStats {
    /// The node's name.
    #[serde(deserialize_with = "name")]
    pub node_name: String,
    /// The kubelet, the runtime, all pods: what the kubelet keeps in cgroups of its own.
    #[serde(deserialize_with = "or_default")]
    pub system_containers: Vec<ContainerStats>,
    /// CPU time.
    #[serde(deserialize_with = "or_default")]
    pub cpu: CpuStats,
    /// Memory.
    #[serde(deserialize_with = "or_default")]
    pub memory: MemoryStats,
    /// Its main interface.
    #[serde(deserialize_with = "or_default")]
    pub network: NetworkStats,
    /// The file system of the kubelet's directory.
    #[serde(deserialize_with = "or_default")]
    pub fs: FsStats,
    /// The container runtime.
    #[serde(deserialize_with = "or_default")]
    pub runtime: RuntimeStats,
}

/// The container runtime's figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RuntimeStats {
    /// The file system of the images.
    #[serde(deserialize_with = "or_default")]
    pub image_fs: FsStats,
}

/// A pod's figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodStats {
    /// Which pod.
    #[serde(deserialize_with = "or_default")]
    pub pod_ref: PodRef,
    /// Its containers.
    #[serde(deserialize_with = "or_default")]
    pub containers: Vec<ContainerStats>,
    /// Its main interface.
    #[serde(deserialize_with = "or_default")]
    pub network: NetworkStats,
    /// Its volumes.
    #[serde(rename = "volume", deserialize_with = "or_default")]
    pub volumes: Vec<VolumeStats>,
}

/// Which pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PodRef {
    /// Its name.
    #[serde(deserialize_with = "name")]
    pub name: String,
    /// Its namespace.
    #[serde(deserialize_with = "name")]
    pub namespace: String,
}

/// A container's figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ContainerStats {
    /// Its name.
    #[serde(deserialize_with = "name")]
    pub name: String,
    /// CPU time.
    #[serde(deserialize_with = "or_default")]
    pub cpu: CpuStats,
    /// Memory.
    #[serde(deserialize_with = "or_default")]
    pub memory: MemoryStats,
    /// Its writable layer.
    #[serde(deserialize_with = "or_default")]
    pub rootfs: FsStats,
    /// Its logs.
    #[serde(deserialize_with = "or_default")]
    pub logs: FsStats,
}

/// CPU time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CpuStats {
    /// Billionths of a core, over the kubelet's last 10 s or so.
    pub usage_nano_cores: Figure,
    /// Nanoseconds since the start.
    pub usage_core_nano_seconds: Figure,
}

/// Memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MemoryStats {
    /// Limit less working set.
    pub available_bytes: Figure,
    /// All, page cache included.
    pub usage_bytes: Figure,
    /// All but the page cache that can be dropped at once.
    pub working_set_bytes: Figure,
    /// Anonymous memory.
    pub rss_bytes: Figure,
    /// Page faults since the start.
    pub page_faults: Figure,
    /// Of these, the ones that read from a disk.
    pub major_page_faults: Figure,
}

/// An interface's figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NetworkStats {
    /// Its name; empty when it has none.
    #[serde(deserialize_with = "name")]
    pub name: String,
    /// Bytes received.
    pub rx_bytes: Figure,
    /// Packets received that were in error.
    pub rx_errors: Figure,
    /// Bytes sent.
    pub tx_bytes: Figure,
    /// Packets that could not be sent.
    pub tx_errors: Figure,
}

/// A volume's figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VolumeStats {
    /// Its name within the pod.
    #[serde(deserialize_with = "name")]
    pub name: String,
    /// What may still be written.
    pub available_bytes: Figure,
    /// Its size.
    pub capacity_bytes: Figure,
    /// What is in it.
    pub used_bytes: Figure,
}

/// A file system's figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct FsStats {
    /// What may still be written.
    pub available_bytes: Figure,
    /// Its size.
    pub capacity_bytes: Figure,
    /// What is in it, or what the container has in it.
    pub used_bytes: Figure,
}

/// A number of the kubelet's. One that is missing is 0, as Telegraf has it; one that is too large for an integer of
/// InfluxDB is the largest there is, where Telegraf gives up the whole node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figure(pub i64);

impl<'de> Deserialize<'de> for Figure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FigureVisitor;
        impl Visitor<'_> for FigureVisitor {
            type Value = Figure;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Figure, E> {
                Ok(Figure(i64::try_from(number).unwrap_or(i64::MAX)))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Figure, E> {
                Ok(Figure(number))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Figure, E> {
                // Such a cast keeps to the limits of the integer.
                Ok(Figure(number as i64))
            }

            fn visit_unit<E: Error>(self) -> Result<Figure, E> {
                Ok(Figure::default())
            }
        }
        deserializer.deserialize_any(FigureVisitor)
    }
}

/// A value, or its default for a null.
fn or_default<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A name of a length that a database takes; empty for a null.
fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    or_default(deserializer).map(truncated)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::line_protocol::MAX_TAG_BYTES;

    const CONFIG_HASH: &str = "kubernetes.io/config.hash";

    #[test]
    fn a_pod_has_its_ids_of_now_and_before() {
        let body = include_bytes!("../../../testdata/kubelet/pods.json");
        let pods = pods(body).unwrap();
        assert_eq!(pods.len(), 10);
        let pod = |name: &str| pods.iter().find(|pod| pod.name == name).unwrap();
        let crash = pod("crash");
        assert_eq!((crash.namespace.as_str(), crash.node.as_str()), ("default", "node1"));
        assert_eq!(crash.uids, ["d70f9137-3267-427e-8681-e245e5dfa52b"]);
        let [container] = crash.containers.as_slice() else { panic!("{:?}", crash.containers) };
        assert_eq!(container.image, "docker.io/library/bb:1");
        assert_eq!(
            (container.id.as_deref(), container.last_id.as_deref()),
            (
                Some("1f0c43bf7292a74988d61a8db9fdc48d83bb5fa55f530b1eac619bb012f3f9d4"),
                Some("4f76fea8e7a34217b12111bc6c79047faea2cda966bf953c628fd9d19bd3d470"),
            )
        );
        let hostnet: Vec<_> =
            pod("hostnet").containers.iter().map(|c| (c.name.as_str(), c.is_main, c.is_running)).collect();
        assert_eq!(hostnet, [("c", true, true), ("init", false, false)]);
        assert!(pod("hostnet").has_host_network && !crash.has_host_network && !container.is_running);
        assert_eq!(pod("nopull").containers[0].id, None, "it never started");
    }

    #[test]
    fn a_static_pod_is_also_known_by_the_uid_of_its_cgroup() {
        let body = format!(
            r#"{{"items":[{{"metadata":{{"uid":"11111111-2222-3333-4444-555555555555","annotations":{{"{CONFIG_HASH}":"0123456789abcdef0123456789abcdef"}}}}}},
               {{"metadata":{{"uid":"0123456789abcdef0123456789abcdef","annotations":{{"{CONFIG_HASH}":"0123456789abcdef0123456789abcdef"}}}}}}]}}"#
        );
        let pods = pods(body.as_bytes()).unwrap();
        assert_eq!(
            pods[0].uids,
            ["11111111-2222-3333-4444-555555555555", "0123456789abcdef0123456789abcdef"]
        );
        assert_eq!(pods[1].uids, ["0123456789abcdef0123456789abcdef"], "as the kubelet itself lists it");
    }

    #[rstest]
    #[case::nothing("{}", 0)]
    #[case::no_pods(r#"{"items":[]}"#, 0)]
    #[case::null(r#"{"items":null}"#, 0)]
    #[case::an_empty_pod(r#"{"items":[{}]}"#, 1)]
    #[case::null_parts(r#"{"items":[{"metadata":null,"spec":null,"status":null}]}"#, 1)]
    #[case::null_leaves(
        r#"{"items":[{"metadata":{"name":null,"labels":null},"spec":{"containers":null},"status":{"containerStatuses":[{"lastState":null}]}}]}"#,
        1
    )]
    fn missing_and_null_is_empty(#[case] body: &str, #[case] n: usize) {
        assert_eq!(pods(body.as_bytes()).unwrap(), vec![Pod::default(); n]);
    }

    #[rstest]
    #[case::nothing("{}")]
    #[case::nulls(r#"{"node":null,"pods":null}"#)]
    #[case::null_leaves(
        r#"{"node":{"nodeName":null,"cpu":{"usageNanoCores":null},"systemContainers":null,"fs":null}}"#
    )]
    fn a_summary_of_nothing_is_zero(#[case] body: &str) {
        assert_eq!(summary(body.as_bytes()).unwrap(), Summary::default());
    }

    #[rstest]
    #[case("18446744073709551615", i64::MAX)]
    #[case("9223372036854775808", i64::MAX)]
    #[case("1e300", i64::MAX)]
    #[case("184467440737095516150", i64::MAX)]
    #[case("-5", -5)]
    #[case("12.9", 12)]
    #[case("null", 0)]
    fn a_number_keeps_to_the_limits_of_an_integer(#[case] number: &str, #[case] expected: i64) {
        let body = format!(r#"{{"node":{{"cpu":{{"usageNanoCores":{number}}}}}}}"#);
        assert_eq!(summary(body.as_bytes()).unwrap().node.cpu.usage_nano_cores, Figure(expected));
    }

    #[test]
    fn names_are_cut_and_what_is_no_id_is_left_out() {
        let long = "x".repeat(MAX_TAG_BYTES + 1);
        for bad in [
            format!("containerd://{long}"),
            "0123".into(),
            "containerd://".into(),
            "containerd://a/../b".into(),
        ] {
            let body = format!(
                r#"{{"items":[{{"metadata":{{"name":"{long}","uid":"{long}"}},"spec":{{"containers":[{{"name":"c"}}]}},
                "status":{{"containerStatuses":[{{"name":"c","containerID":"{bad}"}}]}}}}]}}"#
            );
            let pods = pods(body.as_bytes()).unwrap();
            assert_eq!(pods[0].name.len(), MAX_TAG_BYTES);
            assert!(pods[0].uids.is_empty());
            assert_eq!(pods[0].containers[0].id, None, "{bad}");
        }
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for body in ["", "<html>", r#"{"items":[{"metadata"#, r#"{"items":7}"#, "\u{0}"] {
            assert!(pods(body.as_bytes()).is_err(), "{body}");
        }
        assert!(summary(br#"{"node":7}"#).is_err());
    }
}
