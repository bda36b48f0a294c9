//! A configuration as a team has it that runs Telegraf on each node: the image is changed, and nothing else.

use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;
use seismograf_tests::docker::Docker;
use seismograf_tests::influxd::{Influxd, Setup};
use seismograf_tests::kubelet::serve_read_only;
use seismograf_tests::running::Running;
use seismograf_tests::suite::Outcome;
use seismograf_tests::{Skip, needs, pause, trial};
use serde_json::json;

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("article::the_daemonsets_configuration_runs", daemonset)]
}

/// The configuration; another one of the same kind can be named by `SEISMOGRAF_ARTICLE`.
const CONFIG: &str = include_str!("../../agent/testdata/config/wild/article-daemonset.conf");
/// Where it looks for docker, and for the kubelet.
const DOCKER: &str = "/var/run/docker.sock";
const KUBELET: &str = "1.1.1.1";

/// What is to arrive, each by a field that is always there.
const EXPECTED: [(&str, &str); 14] = [
    ("cpu", "usage_user"),
    ("disk", "total"),
    ("diskio", "reads"),
    ("kernel", "boot_time"),
    ("mem", "total"),
    ("processes", "total"),
    ("swap", "total"),
    ("system", "load1"),
    ("docker", "n_containers"),
    ("docker_container_cpu", "usage_total"),
    ("docker_container_mem", "usage"),
    ("kubernetes_node", "cpu_usage_core_nanoseconds"),
    ("kubernetes_pod_container", "memory_working_set_bytes"),
    ("kubernetes_pod_network", "rx_bytes"),
];

fn daemonset() -> Outcome {
    needs(&["influxd", "ip", "mount"])?;
    // In a network of its own, where the address that the file names can be had.
    std::thread::spawn(in_own_network).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn in_own_network() -> Outcome {
    // SAFETY: of this thread alone, and of what it starts.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    let ip =
        |args: &[&str]| assert!(Command::new("ip").args(args).status().unwrap().success(), "ip {args:?}");
    ip(&["link", "set", "lo", "up"]);
    ip(&["address", "add", &format!("{KUBELET}/32"), "dev", "lo"]);
    serve_read_only(format!("{KUBELET}:10255").parse().unwrap());
    let place = Place::clear()?;
    let docker = Docker::start()?;
    let _link = place.take(&docker);
    docker.run("web", "while true; do sleep 1; done", &json!({}));
    let influxd = Influxd::start(Setup { auth: true, ..Setup::default() })?;

    let config = match std::env::var_os("SEISMOGRAF_ARTICLE") {
        Some(path) => std::fs::read_to_string(path).unwrap(),
        None => CONFIG.to_owned(),
    };
    let url = influxd.url();
    let agent = Running::start_with(
        &config,
        &[
            ("ENV", "prod"),
            ("HOSTNAME", "node1"),
            ("MONITOR_HOST", &url),
            ("MONITOR_DATABASE", "telegraf"),
            ("MONITOR_USERNAME", "admin"),
            ("MONITOR_PASSWORD", "secret"),
        ],
    )?;
    let missing = || {
        let is_missing =
            |(measurement, field): &&(&str, &str)| influxd.count("telegraf", measurement, field) < 2;
        EXPECTED.iter().filter(is_missing).map(|(measurement, _)| *measurement).collect::<Vec<_>>()
    };
    let start = std::time::Instant::now();
    while !missing().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(90), "missing: {:?}\n{}", missing(), agent.log());
        pause(Duration::from_millis(500));
    }
    // Under the tags that dashboards ask for.
    let of = |measurement: &str, tags: &str| {
        let found =
            influxd.series("telegraf", &format!("SELECT * FROM \"{measurement}\" WHERE {tags} LIMIT 1"));
        assert!(!found.is_empty(), "no {measurement} where {tags}");
    };
    for (measurement, _) in EXPECTED {
        of(measurement, "\"host\" = 'node1' AND \"env\" = 'prod'");
    }
    of("docker_container_cpu", "\"container_name\" = 'web' AND \"container_image\" = 'bb'");
    of("kubernetes_pod_container", "\"namespace\" = 'default' AND \"container_name\" = 'main'");
    let errors =
        agent.log().lines().filter(|line| line.contains(" E! ")).map(str::to_owned).collect::<Vec<_>>();
    assert!(errors.is_empty(), "{errors:#?}");
    println!(
        "article: {} measurements arrived twice within {:.0} s",
        EXPECTED.len(),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Where everybody looks for the daemon's socket.
enum Place {
    /// Nothing is there.
    Free,
    /// A daemon of this machine is there; what is mounted over its socket is seen only by this thread and by what it starts.
    Taken,
}

impl Place {
    /// Removes what a daemon left that is gone.
    fn clear() -> Result<Self, Skip> {
        if UnixStream::connect(DOCKER).is_err() {
            let _ = std::fs::remove_file(DOCKER);
            return Ok(Self::Free);
        }
        // SAFETY: of this thread alone, and of what it starts.
        let result = unsafe { libc::unshare(libc::CLONE_NEWNS) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
        if mount(&["--make-rslave", "/"]) {
            Ok(Self::Taken)
        } else {
            Err(Skip::because(format!("{DOCKER} is that of another daemon, and `/` is no mount")))
        }
    }

    fn take(self, docker: &Docker) -> Option<Link> {
        let socket = docker.socket();
        match self {
            Self::Free => {
                std::os::unix::fs::symlink(socket, DOCKER).unwrap();
                Some(Link)
            }
            Self::Taken => {
                assert!(mount(&["--bind", socket.to_str().unwrap(), DOCKER]), "no mount over {DOCKER}");
                None
            }
        }
    }
}

fn mount(args: &[&str]) -> bool {
    Command::new("mount").args(args).status().unwrap().success()
}

/// A link at the usual place, which is removed when this is dropped.
struct Link;

impl Drop for Link {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(DOCKER);
    }
}
