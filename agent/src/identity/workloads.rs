//! What a pod belongs to: the deployment, set or job that its owner stands for. Pure.
//!
//! A series should outlive the pod. Who made a pod is in its `ownerReferences`, where a deployment and a cron job hide
//! behind what they made themselves: a replica set, named after a hash, and a job, named after its time.

/// The workload of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its kind and name: `deployment/web`, `cronjob/short`.
    pub name: String,
    /// The name that stands for all its pods, `short-*`, where each of them runs once.
    pub pods: Option<String>,
}

/// Digits of the time in the name of a cron job's job: minutes since 1970, and seconds in old versions.
const TIME_DIGITS: std::ops::RangeInclusive<usize> = 8..=10;

/// The workload of a pod with an owner of this kind and name; `template_hash` is the pod's label `pod-template-hash`.
///
/// `None` for a static pod, whose owner is its node.
#[must_use]
pub fn of_owner(kind: &str, name: &str, template_hash: Option<&str>) -> Option<Workload> {
    let without_hash =
        || name.strip_suffix(template_hash?)?.strip_suffix('-').filter(|name| !name.is_empty());
    let without_time = || {
        let (name, time) = name.rsplit_once('-')?;
        let is_time = TIME_DIGITS.contains(&time.len()) && time.bytes().all(|byte| byte.is_ascii_digit());
        (is_time && !name.is_empty()).then_some(name)
    };
    let (kind, name, runs_once) = match kind {
        "" | "Node" => return None,
        "ReplicaSet" => match without_hash() {
            Some(name) => ("deployment", name, false),
            None => ("replicaset", name, false),
        },
        "Job" => match without_time() {
            Some(name) => ("cronjob", name, true),
            None => ("job", name, true),
        },
        kind => return Some(Workload { name: format!("{}/{name}", kind.to_ascii_lowercase()), pods: None }),
    };
    Some(Workload { name: format!("{kind}/{name}"), pods: runs_once.then(|| format!("{name}-*")) })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("ReplicaSet", "web-5d4f9c7b6d", Some("5d4f9c7b6d"), "deployment/web", None)]
    #[case("ReplicaSet", "web-5d4f9c7b6d", None, "replicaset/web-5d4f9c7b6d", None)]
    #[case("ReplicaSet", "-5d4f9", Some("5d4f9"), "replicaset/-5d4f9", None)]
    #[case("StatefulSet", "db", None, "statefulset/db", None)]
    #[case("DaemonSet", "log", Some("x"), "daemonset/log", None)]
    #[case("Job", "short-29012345", None, "cronjob/short", Some("short-*"))]
    #[case("Job", "import-2024", None, "job/import-2024", Some("import-2024-*"))]
    #[case("Job", "-29012345", None, "job/-29012345", Some("-29012345-*"))]
    #[case("Rollout", "web", None, "rollout/web", None)]
    fn the_owner_stands_for_the_workload(
        #[case] kind: &str,
        #[case] name: &str,
        #[case] hash: Option<&str>,
        #[case] workload: &str,
        #[case] pods: Option<&str>,
    ) {
        let expected = Workload { name: workload.into(), pods: pods.map(Into::into) };
        assert_eq!(of_owner(kind, name, hash), Some(expected));
    }

    #[test]
    fn a_static_pod_has_none() {
        assert_eq!(of_owner("Node", "node1", None), None);
        assert_eq!(of_owner("", "", None), None);
    }
}
