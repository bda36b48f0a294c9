//! A series outlives its instances: one name, one series, with the sum of what the kernel recorded for each; totals begin
//! where the kernel's own stand, and go on when the agent is killed.

use std::collections::BTreeSet;
use std::time::Duration;

use libtest_mimic::Trial;
use seismograf_tests::agent::{Agent, Point};
use seismograf_tests::cgroup::{Cgroup, Layout};
use seismograf_tests::docker::Docker;
use seismograf_tests::suite::Outcome;
use seismograf_tests::work::Worker;
use seismograf_tests::{number, pause, trial, wait_for};
use serde_json::{Value, json};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("series::starts_of_one_unit_are_one_row", starts_of_one_unit),
        trial("series::containers_of_one_name_are_one_row", containers_of_one_name),
        trial("series::what_sleeps_has_its_rows_and_totals_survive_a_kill", survives_a_kill),
    ]
}

/// `SEISMOGRAF_INSTANCES=200` is the whole of it.
const N: u64 = 50;
const LIMIT: Duration = Duration::from_secs(60);
/// Every measurement of a row.
const MEASUREMENTS: [&str; 5] = ["cgroup_cpu", "cgroup_mem", "cgroup_net", "cgroup_blkio", "cgroup_pressure"];

/// The series of the rows that `of` picks, by measurement and tags, ever seen.
fn series(agent: &Agent, of: impl Fn(&Point) -> bool) -> BTreeSet<String> {
    let points = MEASUREMENTS.iter().flat_map(|measurement| agent.points(measurement));
    points.filter(|point| of(point)).map(|point| format!("{} {:?}", point.measurement, point.tags)).collect()
}

/// Prints the total beside the kernel's, and holds it to a thousandth.
fn compare(what: &str, ours: i64, kernel: u64) {
    let percent = 100.0 * ours as f64 / kernel as f64;
    println!("series: {what}: {percent:.3} % of {:.1} ms of CPU time", kernel as f64 / 1e6);
    assert!((99.9..=100.1).contains(&percent), "{percent} %");
}

fn starts_of_one_unit() -> Outcome {
    let unit = format!("sg-series-{}.service", std::process::id());
    // What ends runs on for a moment after it is waited for, and its cgroup is gone by then: the slice has that too.
    let slice = format!("sgseries{}.slice", std::process::id());
    let _slice = Cgroup::at(&format!("{slice}/stays"));
    let path = format!("/{slice}/{unit}");
    let agent = Agent::start("", 500)?;
    let n_starts = number("SEISMOGRAF_INSTANCES", N);
    for _ in 0..n_starts {
        let cgroup = Cgroup::at(&path);
        Worker::start(&cgroup, "", &["spin", "50"]).run();
        cgroup.remove();
    }
    let _last = Cgroup::at(&path);
    agent.next_gather();
    agent.next_gather();
    let of_unit = |point: &Point| point.tag("unit") == unit;
    let seen = series(&agent, of_unit);
    let tags = [("unit", unit.as_str()), ("cgroup", path.as_str())];
    let ours = agent.point("cgroup_cpu", &tags).expect("a row of the unit").int("usage_ns");
    compare(&format!("{n_starts} starts of one unit"), ours, Layout::read().cpu_ns(&slice));
    for measurement in MEASUREMENTS {
        let n = seen.iter().filter(|series| series.starts_with(measurement)).count();
        // Pressure has a series for each resource.
        assert!(n <= if measurement == "cgroup_pressure" { 3 } else { 1 }, "{seen:#?}");
    }
    Ok(())
}

fn containers_of_one_name() -> Outcome {
    let docker = Docker::start()?;
    let agent = Agent::start_inputs(&format!("[[inputs.ebpf]]\n{}", docker.section()), 1_000)?;
    let parent = Cgroup::new("one-name");
    let before = parent.cpu_ns();
    let host = json!({"CgroupParent": parent.path(), "NetworkMode": "none"});
    let command = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done";
    let run = |command: &str| docker.run("one-name", command, &json!({"HostConfig": host}));
    let n_containers = number("SEISMOGRAF_INSTANCES", N);
    for _ in 0..n_containers {
        let id = run(command);
        docker.ask("POST", &format!("/containers/{id}/wait"), &Value::Null);
        docker.ask("DELETE", &format!("/containers/{id}"), &Value::Null);
    }
    let kernel = || parent.cpu_ns() - before;
    run("exec sleep 100000");
    let of_name = |point: &Point| point.tag("container_name") == "one-name";
    let usage =
        || agent.point("cgroup_cpu", &[("container_name", "one-name")]).map_or(0, |row| row.int("usage_ns"));
    wait_for(|| usage() as f64 > 0.99 * kernel() as f64, LIMIT, "the row of the last container");
    agent.next_gather();
    let seen = series(&agent, of_name);
    compare(&format!("{n_containers} containers of one name"), usage(), kernel());
    for measurement in ["cgroup_cpu", "cgroup_net", "cgroup_mem"] {
        let n = seen.iter().filter(|series| series.starts_with(measurement)).count();
        assert_eq!(n, 1, "{seen:#?}");
    }
    let ids = seen.iter().filter(|series| series.contains("container_id") || series.contains("cgroup\""));
    assert_eq!(ids.count(), 0, "{seen:#?}");
    drop(docker);
    Ok(())
}

/// The row of each of the containers `names`, with the kernel's CPU time before and after the gather.
fn totals(agent: &Agent, names: &[(String, String)]) -> Vec<(i64, u64, u64)> {
    let layout = Layout::read();
    let kernel = || names.iter().map(|(_, path)| layout.cpu_ns(path)).collect::<Vec<_>>();
    let before = kernel();
    agent.next_gather();
    let rows: Vec<i64> = names
        .iter()
        .map(|(name, _)| {
            let tags = [("container_name", name.as_str())];
            let row = agent.point("cgroup_cpu", &tags).unwrap_or_else(|| panic!("no cgroup_cpu of {name}"));
            agent.point("cgroup_mem", &tags).unwrap_or_else(|| panic!("no cgroup_mem of {name}"));
            agent.point("cgroup_net", &tags).unwrap_or_else(|| panic!("no cgroup_net of {name}"));
            row.int("usage_ns")
        })
        .collect();
    let after = kernel();
    rows.into_iter().zip(before).zip(after).map(|((row, before), after)| (row, before, after)).collect()
}

fn survives_a_kill() -> Outcome {
    const SLEEPING: usize = 4;
    let docker = Docker::start()?;
    let parent = Cgroup::new("survives");
    let host = json!({"CgroupParent": parent.path(), "NetworkMode": "none"});
    let mut names = Vec::new();
    for i in 0..=SLEEPING {
        // The last one never sleeps.
        let command = match i {
            SLEEPING => "while true; do :; done",
            _ => "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; exec sleep 100000",
        };
        let name = format!("survives-{i}");
        let id = docker.run(&name, command, &json!({"HostConfig": host}));
        names.push((name, format!("{}/{id}", parent.path())));
    }
    pause(Duration::from_secs(1));
    let inputs = format!("[[inputs.ebpf]]\n{}", docker.section());
    let mut last = vec![0; names.len()];
    for round in 0..5 {
        let agent = Agent::start_inputs(&inputs, 300)?;
        let totals = totals(&agent, &names);
        for (((name, _), (row, before, after)), last) in names.iter().zip(&totals).zip(&mut last) {
            println!(
                "series: start {round}: {name} {row} ns, the kernel {before} to {after}, before the kill {last}"
            );
            // What a gather is late by, and the microseconds in which the busy one ran while its sum was read.
            let slack = if name.ends_with(&SLEEPING.to_string()) { 1_000_000 } else { 0 };
            assert!(*row + slack >= before.cast_signed() && *row <= after.cast_signed() + slack, "{name}");
            assert!(*row >= *last, "{name} went down: {last} to {row}");
            *last = *row;
        }
        agent.signal(libc::SIGKILL);
    }
    drop(docker);
    Ok(())
}
