//! What is shipped, against the API's own types and the API server.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use seismograf_tests::suite::Outcome;
use seismograf_tests::try_run;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{file, kubectl, repository, text};

/// Every folder that `kubectl apply -k` is for.
pub(super) const FOLDERS: [&str; 9] = [
    "base",
    "monitoring",
    "overlays/docker",
    "overlays/privileged",
    "overlays/cluster-before-1.33",
    "overlays/side-car",
    "sidecar",
    "sidecar/two-containers",
    "sidecar-app",
];

/// A folder of `deploy/kubernetes`.
pub(super) fn folder(name: &str) -> String {
    repository("deploy/kubernetes").join(name).display().to_string()
}

/// The documents of a text.
pub(super) fn documents(yaml: &str) -> Vec<Value> {
    let documents = serde_yaml_ng::Deserializer::from_str(yaml)
        .map(|document| -> Value { serde::Deserialize::deserialize(document).unwrap() });
    documents.filter(|document| !document.is_null()).collect()
}

/// What `kubectl` builds of a folder.
pub(super) fn built(name: &str) -> Vec<Value> {
    documents(&kubectl(&["kustomize", &folder(name)]))
}

/// Everything in a folder is known here.
pub(super) fn typed() -> Outcome {
    let kustomizations = walk(&repository("deploy/kubernetes"));
    for found in &kustomizations {
        let is_component = found.starts_with("components/");
        assert!(is_component || FOLDERS.contains(&found.as_str()), "{found} is not tested");
    }
    let mut n = 0;
    for name in FOLDERS {
        let objects = built(name);
        assert!(objects.len() >= 4, "{name}: {objects:?}");
        for object in &objects {
            let wrong = wrong(object);
            assert!(wrong.is_empty(), "{name}: {}: {wrong:?}", what(object));
        }
        n += objects.len();
    }
    combined();
    // What is looked for is found.
    let mut broken = built("base").into_iter().find(|object| object["kind"] == "DaemonSet").unwrap();
    broken["spec"]["template"]["spec"]["containers"][0]["securityContext"]["privilegd"] = true.into();
    let found = wrong(&broken);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].ends_with("securityContext.privilegd"), "{found:?}");
    println!("cluster: {n} objects of {} folders are of the API's types, field by field", FOLDERS.len());
    Ok(())
}

/// The components do not get into each other's way.
fn combined() {
    let objects = documents(&kubectl(&["kustomize", &file("combined")]));
    let all = serde_json::to_string(&objects).unwrap();
    let n = all.matches("\"secretKeyRef\"").count();
    // The side-car has a Secret of its own.
    assert_eq!(all.matches(r#""name":"telegraf"}"#).count() + all.matches(r#""name":"monitor"}"#).count(), n);
    for object in &objects {
        assert_eq!(wrong(object), Vec::<String>::new(), "{}", what(object));
        assert!(!(object["kind"] == "Secret" && object["metadata"]["namespace"] == "monitoring"), "{object}");
    }
    for part in
        [r#""privileged":true"#, "/etc/seismograf/docker.conf", "nodes/proxy", r#""restartPolicy":"Always""#]
    {
        assert!(all.contains(part), "{part}");
    }
}

/// The folders with a kustomization.
fn walk(root: &std::path::Path) -> Vec<String> {
    let (mut found, mut left) = (Vec::new(), vec![root.to_owned()]);
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(&directory).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                left.push(entry.path());
            } else if entry.file_name() == "kustomization.yaml" {
                found.push(directory.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }
    found
}

/// What an object is, for a message.
pub(super) fn what(object: &Value) -> String {
    format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

/// Fields that the API's type does not have, or why it is none of it.
pub(super) fn wrong(object: &Value) -> Vec<String> {
    let kind = (text(&object["apiVersion"]), text(&object["kind"]));
    match (kind.0.as_str(), kind.1.as_str()) {
        ("v1", "ConfigMap") => unknown::<ConfigMap>(object),
        ("v1", "Namespace") => unknown::<Namespace>(object),
        ("v1", "Pod") => unknown::<Pod>(object),
        ("v1", "Secret") => unknown::<Secret>(object),
        ("v1", "Service") => unknown::<Service>(object),
        ("v1", "ServiceAccount") => unknown::<ServiceAccount>(object),
        ("apps/v1", "DaemonSet") => unknown::<DaemonSet>(object),
        ("apps/v1", "Deployment") => unknown::<Deployment>(object),
        ("apps/v1", "StatefulSet") => unknown::<StatefulSet>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => unknown::<ClusterRole>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => unknown::<ClusterRoleBinding>(object),
        _ => vec![format!("no type for {kind:?}")],
    }
}

/// These types pass over what they do not know, without a word.
fn unknown<T: DeserializeOwned>(object: &Value) -> Vec<String> {
    let mut unknown = Vec::new();
    // An optional field shows as a question mark behind its name.
    let mut note = |path: serde_ignored::Path<'_>| unknown.push(path.to_string().replace(".?", ""));
    let read: Result<T, _> = serde_ignored::deserialize(object, &mut note);
    unknown.extend(read.err().map(|error| error.to_string()));
    unknown
}

/// What the API server says of each folder, whose namespaces have to be there.
pub(super) fn the_server_takes_all() {
    for name in FOLDERS {
        let folder = folder(name);
        let answer =
            try_run("kubectl", &["apply", "--dry-run=server", "--validate=strict", "--kustomize", &folder]);
        assert!(answer.status.success(), "{name}: {answer:?}");
    }
    println!("cluster: the API server takes all {} folders, strictly", FOLDERS.len());
}
