//! The kubelet's answer to `/pods`. Pure.
//!
//! Source: [core/v1 `PodList`](https://github.com/kubernetes/api/blob/v0.33.3/core/v1/types.go). The rest of an answer is
//! skipped by the parser. Every key may be missing or null. Names are truncated to a length that a database accepts, and
//! invalid ids are dropped.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::json::or_default;
use crate::identity::workloads::{self, Workload};
use crate::line_protocol::{MAX_TAG_BYTES, truncated};

/// The longest id of a container or pod that is accepted; real ones have up to 64 characters.
const MAX_ID_BYTES: usize = 128;

/// A pod of `/pods`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Item")]
pub struct Pod {
    /// Its UIDs, with dashes only: the one under which it is listed, and for a static pod also that of its cgroup, if it is a
    /// different one.
    pub uids: Vec<String>,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The node it runs on.
    pub node: String,
    /// Whether it is in the node's own network namespace.
    pub has_host_network: bool,
    /// Its address within the cluster; empty as long as it has none.
    pub ip: String,
    /// Whether its phase is `Running`.
    pub is_running: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What it belongs to.
    pub workload: Option<Workload>,
    /// Its annotations, without those that are longer than a name may be.
    pub annotations: BTreeMap<String, String>,
    /// Its containers, init and ephemeral ones included.
    pub containers: Vec<PodContainer>,
    /// Each of them has a status: one that is not among them is none of the pod's own.
    pub has_all_statuses: bool,
}

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodContainer {
    /// Its name within the pod.
    pub name: String,
    /// Its image as the pod requests it.
    pub image: String,
    /// Whether it is one of the pod's main containers; the others are init and ephemeral ones.
    pub is_main: bool,
    /// Whether it was running at the time of the listing.
    pub is_running: bool,
    /// The id of its current or latest run; `None` before the first.
    pub id: Option<String>,
    /// The id of the run before that.
    pub last_id: Option<String>,
}

/// Parses the answer to `/pods`.
///
/// # Errors
/// What the parser reports.
pub fn parse(body: &[u8]) -> serde_json::Result<Vec<Pod>> {
    #[derive(Deserialize)]
    struct List {
        #[serde(default, deserialize_with = "or_default")]
        items: Vec<Pod>,
    }
    serde_json::from_slice(body).map(|List { items }| items)
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
    annotations: BTreeMap<String, String>,
    #[serde(rename = "ownerReferences", deserialize_with = "or_default")]
    owners: Vec<OwnerReference>,
}

/// One of those that a pod is removed with; at most one of them controls it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct OwnerReference {
    #[serde(deserialize_with = "or_default")]
    kind: String,
    #[serde(deserialize_with = "or_default")]
    name: String,
    #[serde(deserialize_with = "or_default")]
    controller: bool,
}

impl Metadata {
    fn workload(&self) -> Option<Workload> {
        let owner = self.owners.iter().find(|owner| owner.controller).or(self.owners.first())?;
        let template_hash = self.labels.get("pod-template-hash").map(String::as_str);
        workloads::of_owner(&owner.kind, &owner.name, template_hash)
    }
}

/// Marks a static pod, and is the UID in the name of its cgroup: an API server lists the pod under another one.
const CONFIG_HASH: &str = "kubernetes.io/config.hash";

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
    #[serde(rename = "podIP", deserialize_with = "or_default")]
    pod_ip: String,
    #[serde(deserialize_with = "or_default")]
    phase: String,
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
    state: ContainerState,
    #[serde(deserialize_with = "or_default")]
    last_state: ContainerState,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContainerState {
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
    fn from(Item { mut metadata, spec, status }: Item) -> Self {
        let workload = metadata.workload();
        let config_hash = metadata.annotations.remove(CONFIG_HASH).unwrap_or_default();
        // Such as the whole of what `kubectl apply` was given.
        metadata.annotations.retain(|_, value| value.len() <= MAX_TAG_BYTES);
        let uids = [metadata.uid, config_hash].into_iter().filter_map(id);
        // Under systemd, a cgroup's name has underscores for dashes: which of both was meant, it does not tell.
        let mut uids: Vec<String> = uids.map(|uid| uid.replace('_', "-")).collect();
        uids.dedup();
        let kinds = [
            (true, spec.containers, status.container_statuses),
            (false, spec.init_containers, status.init_container_statuses),
            (false, spec.ephemeral_containers, status.ephemeral_container_statuses),
        ];
        let has_status = |statuses: &[ContainerStatus], spec: &ContainerSpec| {
            statuses.iter().any(|status| status.name == spec.name)
        };
        let mut specs = kinds
            .iter()
            .flat_map(|(_, specs, statuses)| specs.iter().map(move |spec| (spec, statuses)))
            .peekable();
        let has_all_statuses =
            specs.peek().is_some() && specs.all(|(spec, statuses)| has_status(statuses, spec));
        let containers =
            kinds.into_iter().flat_map(|(is_main, specs, statuses)| joined(is_main, specs, statuses));
        Self {
            has_all_statuses,
            uids,
            name: truncated(metadata.name),
            namespace: truncated(metadata.namespace),
            node: truncated(spec.node_name),
            has_host_network: spec.host_network,
            ip: truncated(status.pod_ip),
            is_running: status.phase == "Running",
            labels: metadata.labels,
            workload,
            annotations: metadata.annotations,
            containers: containers.collect(),
        }
    }
}

/// Containers of one kind, each with its status. A pod has few: searching the list is cheaper than building a map.
fn joined(
    is_main: bool,
    specs: Vec<ContainerSpec>,
    mut statuses: Vec<ContainerStatus>,
) -> impl Iterator<Item = PodContainer> {
    specs.into_iter().map(move |ContainerSpec { name, image }| {
        let at = statuses.iter().position(|status| status.name == name);
        let status = at.map(|at| statuses.swap_remove(at)).unwrap_or_default();
        let last_id = without_scheme(status.last_state.terminated.container_id);
        let id = without_scheme(status.container_id);
        PodContainer {
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

/// An id, if it is a valid one: keeps text of any length and content out of the tables that outlive an answer.
fn id(text: String) -> Option<String> {
    let is_id = (1..=MAX_ID_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    is_id.then_some(text)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_pod_has_its_current_and_previous_ids() {
        let body = include_bytes!("../../../testdata/kubelet/pods.json");
        let pods = parse(body).unwrap();
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
        let pods = parse(body.as_bytes()).unwrap();
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
        assert_eq!(parse(body.as_bytes()).unwrap(), vec![Pod::default(); n]);
    }

    #[test]
    fn names_are_truncated_and_invalid_ids_are_dropped() {
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
            let pods = parse(body.as_bytes()).unwrap();
            assert_eq!(pods[0].name.len(), MAX_TAG_BYTES);
            assert!(pods[0].uids.is_empty());
            assert_eq!(pods[0].containers[0].id, None, "{bad}");
        }
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for body in ["", "<html>", r#"{"items":[{"metadata"#, r#"{"items":7}"#, "\u{0}"] {
            assert!(parse(body.as_bytes()).is_err(), "{body}");
        }
    }
}
