//! A real etcd of several members, each in a network of its own, as in pods.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Child;

use crate::http::{self, request};
use crate::netns::Star;
use crate::{Skip, terminate};

const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;

/// One running member. Dropping it ends the process.
pub struct Member {
    child: Child,
    directory: tempfile::TempDir,
    address: SocketAddr,
}

/// Starts a cluster with a member in each namespace of the star, and waits until all answer.
///
/// # Errors
/// Skips the test when `etcd` is not installed.
///
/// # Panics
/// When a member does not start.
pub fn start(star: &Star) -> Result<Vec<Member>, Skip> {
    let members = 0..u8::try_from(star.names.len()).unwrap();
    let url = |member: u8, port: u16| format!("http://{}:{port}", Star::address(member));
    let cluster: Vec<String> =
        members.clone().map(|member| format!("etcd-{member}={}", url(member, PEER_PORT))).collect();
    let start = |member: u8| {
        let directory = tempfile::tempdir().unwrap();
        let mut command = star.command(member, Path::new("etcd"));
        command
            .args(["--name", &format!("etcd-{member}")])
            .args(["--listen-peer-urls", &url(member, PEER_PORT)])
            .args([
                "--listen-client-urls",
                &format!("{},http://127.0.0.1:{CLIENT_PORT}", url(member, CLIENT_PORT)),
            ])
            .args(["--advertise-client-urls", &url(member, CLIENT_PORT)])
            .args(["--initial-advertise-peer-urls", &url(member, PEER_PORT)])
            .args(["--initial-cluster-token", "etcd-cluster-1", "--initial-cluster", &cluster.join(",")])
            .args(["--initial-cluster-state", "new", "--data-dir"])
            .arg(directory.path().join("default.etcd"));
        // Alone it does not answer: that takes most of the members.
        let child = http::start(&mut command, "etcd-server", &directory.path().join("log"), || true)?;
        Ok(Member { child, directory, address: (Star::address(member), CLIENT_PORT).into() })
    };
    let members: Vec<Member> = members.map(start).collect::<Result<_, Skip>>()?;
    for member in &members {
        crate::wait_for(|| member.is_healthy(), http::START_LIMIT, "etcd to have a leader");
    }
    Ok(members)
}

impl Member {
    /// Its own page of metrics.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn metrics(&self) -> String {
        request(self.address, "GET", "/metrics", None, "").unwrap().body
    }

    fn is_healthy(&self) -> bool {
        request(self.address, "GET", "/health", None, "").is_ok_and(|answer| answer.body.contains("true"))
    }

    /// Its log, for a message.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = terminate(&mut self.child);
    }
}
