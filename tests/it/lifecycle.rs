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
    const WAVE: usize = 2_000;
    const N_WAVES: usize = 5;
    needs(&[])?;
    let agent = Agent::start("probes = [\"cpu\", \"blkio\", \"net\"]", 1_000)?;
    let wave = || {
        let churner = Cgroup::new("churner");
        let roots = Layout::read()
            .roots()
            .iter()
            .map(|root| root.display().to_string())
            .collect::<Vec<_>>()
            .join(",");
        let made = Worker::start(&churner, "", &["churn", &roots, &WAVE.to_string()]).run();
        assert_eq!(made, WAVE as u64);
        // Gathers until the dead are forgotten: two after the last of them was released.
        for _ in 0..3 {
            agent.next_gather();
        }
        let known = agent.part("identity").int("cgroups");
        (oracle::own_memory(agent.pid()), known, kernel_cgroups(), agent.part("ring"))
    };
    // The first wave brings every buffer to its working size.
    let waves: [_; N_WAVES] = std::array::from_fn(|_| wave());
    let [(_, known_before, kernel_before, ring_before), .., (_, known, kernel, ring)] = &waves;
    let events = ring.int("records") - ring_before.int("records");
    let memory = waves.each_ref().map(|(memory, ..)| *memory);
    println!(
        "lifecycle: {N_WAVES} x {WAVE} cgroups: {events} records, {} lost, {} unresolved; own memory {memory:?}; known {known_before} to {known}; kernel {kernel_before} to {kernel} cgroups",
        ring.int("lost_cgroup_events"),
        agent.part("identity").int("unresolved_cgroups"),
    );
    let named =
        agent.points("cgroup_cpu").iter().filter(|point| point.tag("cgroup").starts_with("/churn-")).count();
    println!("lifecycle: {named} of {} had CPU time of their own", N_WAVES * WAVE);
    assert!(events as usize >= 3 * (N_WAVES - 1) * WAVE, "each made, removed and released");
    assert_eq!(ring.int("lost_cgroup_events"), 0);
    assert_eq!(agent.part("identity").int("unresolved_cgroups"), 0);
    // What is kept of each cgroup makes every wave grow, a gather that came late on a busy machine one of them.
    // The latest thousand series that ended are remembered; 300 bytes of each cgroup would be too much.
    let growth = memory.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).min();
    assert!(growth <= Some(300 * WAVE as u64), "user memory grew with each wave: {memory:?}");
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
