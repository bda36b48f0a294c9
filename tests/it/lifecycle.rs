//! Cgroups that come and go: nothing they did is lost, and nothing is left of them.

use std::time::Duration;

use libtest_mimic::Trial;
use seismograf_tests::agent::Agent;
use seismograf_tests::cgroup::{Cgroup, Layout};
use seismograf_tests::suite::Outcome;
use seismograf_tests::work::Worker;
use seismograf_tests::{needs, oracle, trial, wait_for};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("lifecycle::five_hundred_short_lives", five_hundred_short_lives),
        trial("lifecycle::ten_thousand_leave_nothing_behind", ten_thousand_leave_nothing_behind),
    ]
}

fn five_hundred_short_lives() -> Outcome {
    const N: usize = 500;
    needs(&[])?;
    // Longer than most of these live: none can be found by looking.
    let agent = Agent::start("probes = [\"cpu\"]", 2_000)?;
    let (mut kernel, mut paths) = (0, Vec::new());
    for i in 0..N {
        let cgroup = Cgroup::new(&format!("short-{i}"));
        Worker::start(&cgroup, "", &["spin", "10"]).run();
        kernel += cgroup.cpu_ns();
        paths.push(cgroup.path());
        cgroup.remove();
    }
    agent.next_gather();
    let points = agent.points("cgroup_cpu");
    let usage =
        |path: &String| points.iter().find(|point| point.tag("cgroup") == path).map(|p| p.int("usage_ns"));
    let found: Vec<i64> = paths.iter().filter_map(usage).collect();
    let ours: i64 = found.iter().sum();
    let percent = 100.0 * ours as f64 / kernel as f64;
    println!(
        "lifecycle: {} of {N} found with their path, {percent:.3} % of {:.1} ms of CPU time",
        found.len(),
        kernel as f64 / 1e6
    );
    assert_eq!(found.len(), N);
    assert!((99.0..101.0).contains(&percent), "{percent} %");
    Ok(())
}

fn ten_thousand_leave_nothing_behind() -> Outcome {
    const N: usize = 10_000;
    needs(&[])?;
    let agent = Agent::start("probes = [\"cpu\", \"blkio\", \"net\"]", 1_000)?;
    // A first wave brings every buffer to its working size; what the second adds would be a leak.
    let wave = |n: usize| {
        let churner = Cgroup::new("churner");
        let roots = Layout::read()
            .roots()
            .iter()
            .map(|root| root.display().to_string())
            .collect::<Vec<_>>()
            .join(",");
        assert_eq!(Worker::start(&churner, "", &["churn", &roots, &n.to_string()]).run(), n as u64);
    };
    let settled = || {
        // Gathers until the dead are forgotten: two after the last of them was released.
        for _ in 0..3 {
            agent.next_gather();
        }
        (oracle::process(agent.pid()).0, agent.part("identity").int("cgroups"), kernel_cgroups())
    };
    wave(N / 5);
    let (rss_before, known_before, kernel_before) = settled();
    let ring_before = agent.part("ring");
    wave(N);
    let (rss, known, kernel) = settled();
    let ring = agent.part("ring");
    let events = ring.int("records") - ring_before.int("records");
    println!(
        "lifecycle: {N} cgroups: {events} records, {} lost, {} unresolved; RSS {:.1} to {:.1} MB; known {known_before} to {known}; kernel {kernel_before} to {kernel} cgroups",
        ring.int("lost_cgroup_events"),
        agent.part("identity").int("unresolved_cgroups"),
        rss_before as f64 / 1e6,
        rss as f64 / 1e6,
    );
    let named =
        agent.points("cgroup_cpu").iter().filter(|point| point.tag("cgroup").starts_with("/churn-")).count();
    println!("lifecycle: {named} of {N} had CPU time of their own");
    assert!(events as usize >= 3 * N, "each made, removed and released");
    assert_eq!(ring.int("lost_cgroup_events"), 0);
    assert_eq!(agent.part("identity").int("unresolved_cgroups"), 0);
    // The latest thousand series that ended are remembered; 300 bytes kept of each cgroup would be too much.
    assert!(rss <= rss_before + (3 << 20), "user memory grew");
    assert_eq!(ring.int("map_bytes"), ring_before.int("map_bytes"), "kernel memory grew");
    wait_for(
        || kernel_cgroups() <= kernel_before + 8,
        Duration::from_secs(20),
        "the kernel to be rid of the cgroups",
    );
    assert!((known - known_before).abs() <= 8, "names are still kept");
    Ok(())
}

/// How many cgroups the kernel has, over all hierarchies (`/proc/cgroups`).
fn kernel_cgroups() -> i64 {
    let text = std::fs::read_to_string("/proc/cgroups").unwrap();
    let n = |line: &str| line.split_whitespace().nth(2).and_then(|n| n.parse::<i64>().ok());
    text.lines().skip(1).filter_map(n).sum()
}
