//! Everything that a dashboard shows, happening: a pod and a unit that each spin against a quota, wait for a disk, run out of
//! page cache, talk over a line that loses packets, and send what a policy refuses.

use std::path::Path;

use seismograf_tests::Skip;
use seismograf_tests::cgroup::{Cgroup, Layout};
use seismograf_tests::kubelet::Kubelet;
use seismograf_tests::program::{AttachedProgram, Direction, LOSE, REFUSE};
use seismograf_tests::work::Worker;
use serde_json::json;

/// What the kubelet's stand-in asks for.
pub(super) const TOKEN: &str = "of-the-service-account";
/// The name of a container's directory.
const ID: &str = "5e15000000000000000000000000000000000000000000000000000000da5b0a";
const UID: &str = "5e150000-2222-4333-8444-0000da5b0a2d";
/// So much that nothing below ends by itself.
const FOR_EVER: &str = "1000000000000";

/// The workers; ended with their cgroups when it is dropped.
pub(super) struct Load {
    // In this order: a cgroup can be removed once nobody is in it.
    _workers: Vec<Worker>,
    _policies: Vec<AttachedProgram>,
    _cgroups: Vec<Cgroup>,
    _files: tempfile::TempDir,
    token: tempfile::NamedTempFile,
}

impl Load {
    /// Starts it, and has the kubelet know of the pod.
    ///
    /// # Errors
    /// Skips where the programs that lose and refuse packets were not built.
    pub(super) fn start(kubelet: &Kubelet) -> Result<Self, Skip> {
        let token = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(token.path(), TOKEN).unwrap();
        kubelet.set_pods(|pods| {
            *pods = vec![json!({
                "metadata": {
                    "name": "web-5d4f9c7b6d-x2x4z", "namespace": "shop", "uid": UID,
                    "labels": {"pod-template-hash": "5d4f9c7b6d"},
                    "ownerReferences": [{"kind": "ReplicaSet", "name": "web-5d4f9c7b6d", "controller": true}],
                },
                "spec": {"nodeName": "node1", "containers": [{"name": "web", "image": "registry/web:7"}]},
                "status": {"containerStatuses": [{
                    "name": "web", "containerID": format!("containerd://{ID}"),
                    "state": {"running": {"startedAt": "2026-11-22T12:58:41Z"}}, "lastState": {},
                }]},
            })];
        });
        let files = tempfile::tempdir_in("/var/tmp").unwrap();
        let unit = format!("sgdash{}.slice/sg-dash-{}.service", std::process::id(), std::process::id());
        let rows = [Cgroup::of_container("dash", UID, ID), Cgroup::at(&unit)];
        let (mut workers, mut policies, mut cgroups) = (Vec::new(), Vec::new(), Vec::new());
        for (row, port) in rows.iter().zip(9400..) {
            limit(row);
            workers.extend(all_kinds(row, files.path(), port));
            policies.push(AttachedProgram::policy(&row.unified(), LOSE, Direction::In)?);
            // What is within a container or a unit is a part of its row.
            let refused = Cgroup::at(&format!("{}/refused", row.path()));
            policies.push(AttachedProgram::policy(&refused.unified(), REFUSE, Direction::Out)?);
            workers.push(Worker::start(&refused, "", &["udp-send-any", "127.0.0.1:9", "100", FOR_EVER]));
            cgroups.push(refused);
        }
        // The pod's own limit is that of the directory above its container's.
        set(
            &Layout::read().memory.join(parent(&rows[0])),
            "memory.limit_in_bytes",
            "memory.max",
            "536870912",
        );
        cgroups.extend(rows);
        workers.iter_mut().for_each(Worker::go);
        Ok(Self { _workers: workers, _policies: policies, _cgroups: cgroups, _files: files, token })
    }

    /// The file with the token.
    pub(super) fn token(&self) -> &Path {
        self.token.path()
    }
}

fn parent(cgroup: &Cgroup) -> String {
    let path = cgroup.path();
    path.trim_start_matches('/').rsplit_once('/').unwrap().0.to_owned()
}

/// Writes a file of v1, or where that is not there of v2.
fn set(directory: &Path, v1: &str, v2: &str, value: &str) {
    let path = if directory.join(v1).exists() { directory.join(v1) } else { directory.join(v2) };
    std::fs::write(&path, value).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// A fifth of a CPU, and little memory.
fn limit(cgroup: &Cgroup) {
    cgroup.limit_cpu(20);
    let memory = cgroup.file("memory", "cgroup.procs");
    set(memory.parent().unwrap(), "memory.limit_in_bytes", "memory.max", "33554432");
}

/// Workers of every kind in a cgroup, not yet at work.
fn all_kinds(cgroup: &Cgroup, files: &Path, port: usize) -> Vec<Worker> {
    let file = |name: &str| files.join(format!("{name}-{port}")).display().to_string();
    let blocks = file("blocks");
    std::fs::write(&blocks, vec![0; 8 << 20]).unwrap();
    let address = format!("127.0.0.1:{port}");
    let start = |args: &[&str]| Worker::start(cgroup, "", args);
    let receives = start(&["tcp-receive", &address]);
    vec![
        start(&["spin", "600000"]),
        start(&["spin", "600000"]),
        start(&["read", &blocks, "4096", FOR_EVER]),
        start(&["write", &blocks, "4096", FOR_EVER]),
        // More than the limit of its memory: it waits for page cache.
        start(&["buffered", &file("cache"), "65536", "4000", "100"]),
        // Ended in this order, since a sender complains about a receiver that is gone.
        start(&["tcp-send", &address, FOR_EVER]),
        receives,
    ]
}
