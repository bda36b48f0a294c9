//! What can be chosen in dashboards, and what tells the lines of a graph apart.

use crate::dashboards::board::Choice;

/// The cluster: the global tag `env`, which every node of one has.
pub(super) const ENV: Choice =
    Choice { tag: "env", label: "Cluster", from: "system", is_one: false, is_optional: true };
pub(super) const HOST: Choice =
    Choice { tag: "host", label: "Node", from: "system", is_one: false, is_optional: false };
/// One node, whose figures would mean nothing added up with others'.
pub(super) const ONE_HOST: Choice = Choice { is_one: true, ..HOST };
pub(super) const NAMESPACE: Choice =
    Choice { tag: "namespace", label: "Namespace", from: "pod_cpu", is_one: false, is_optional: false };
pub(super) const POD: Choice =
    Choice { tag: "pod_name", label: "Pod", from: "pod_cpu", is_one: false, is_optional: false };

/// What tells pods apart.
pub(super) const BY_POD: &[&str] = &["namespace", "pod_name"];
/// What tells containers of pods apart.
pub(super) const BY_CONTAINER: &[&str] = &["namespace", "pod_name", "container_name"];
/// What tells rows apart: containers, with or without a pod, and units.
pub(super) const BY_ROW: &[&str] = &["host", "namespace", "pod_name", "container_name", "unit"];
