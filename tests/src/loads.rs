//! Work whose events the programs are measured at.

use crate::cgroup::Cgroup;
use crate::work::Worker;
use crate::{run, try_run};

/// Datagrams of 200 bytes over loopback.
///
/// # Panics
/// When they cannot be sent.
pub fn datagrams() {
    let (sender, sink) = (Cgroup::new("bench-sender"), Cgroup::new("bench-sink"));
    let mut receiver = Worker::start(&sink, "", &["udp-receive", "127.0.0.1:9200", "200", "1000000000"]);
    receiver.go();
    run("ip", &["link", "set", "lo", "up"]);
    Worker::start(&sender, "", &["udp-send", "127.0.0.1:9200", "200", "200000", "2"]).run();
}

/// Direct reads of 4 KiB of a loop device.
///
/// # Panics
/// When there is none.
pub fn reads() {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let image = directory.path().join("image").display().to_string();
    run("truncate", &["-s", "64M", &image]);
    let device = run("losetup", &["--find", "--show", &image]).trim().to_owned();
    let cgroup = Cgroup::new("bench-io");
    Worker::start(&cgroup, "", &["read", &device, "4096", "30000"]).run();
    drop(cgroup);
    let _ = try_run("losetup", &["--detach", &device]);
}
