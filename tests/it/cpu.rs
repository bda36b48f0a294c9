//! CPU time of cgroups against the kernel's own sums.

use std::time::Duration;

use libtest_mimic::Trial;
use seismograf_tests::agent::Agent;
use seismograf_tests::cgroup::Cgroup;
use seismograf_tests::suite::Outcome;
use seismograf_tests::work::Worker;
use seismograf_tests::{needs, oracle, pause, trial, wait_for};

/// A figure may be off by 0.1 % and 4 ms: the slice in which a task joined, and what ran between two readings. And where a kernel
/// calls no tracing program as some task is switched out, the begin of the next slice is not seen: of one in which a task
/// ends, what came before it left its autogroup is missing.
const RELATIVE: f64 = 0.001;
const ABSOLUTE_NS: f64 = 4e6;

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("cpu::eight_cgroups_within_a_thousandth", eight_cgroups_within_a_thousandth),
        trial("cpu::waits_are_those_of_the_scheduler", waits),
        trial("cpu::the_quantile_of_waits_is_that_of_the_samples", quantile_of_waits),
    ]
}

fn eight_cgroups_within_a_thousandth() -> Outcome {
    needs(&[])?;
    let agent = Agent::start("probes = [\"cpu\"]", 500)?;
    let kinds: [(&str, &[&str]); 8] = [
        ("spinner", &["spin", "6000"]),
        ("switcher", &["switch", "6000", "50000"]),
        ("forker", &["fork", "6000"]),
        ("mixed", &["switch", "6000", "2000"]),
        ("burst", &["spin", "300"]),
        ("idle-1", &["idle", "6000"]),
        ("idle-2", &["idle", "6000"]),
        ("idle-3", &["idle", "6000"]),
    ];
    let cgroups: Vec<Cgroup> = kinds.iter().map(|(name, _)| Cgroup::new(name)).collect();
    let machine_before = oracle::machine_cpu_ns();
    let balance_before = agent.part("cpu");
    let mut workers: Vec<Worker> =
        cgroups.iter().zip(kinds).map(|(cgroup, (_, args))| Worker::start(cgroup, "", args)).collect();
    for worker in &mut workers {
        worker.go();
    }
    // In the middle: the sample lies between a reading before it and one after it.
    pause(Duration::from_secs(3));
    let before: Vec<u64> = cgroups.iter().map(Cgroup::cpu_ns).collect();
    agent.next_gather();
    let sample: Vec<i64> = cgroups.iter().map(|cgroup| usage(&agent, cgroup)).collect();
    let after: Vec<u64> = cgroups.iter().map(Cgroup::cpu_ns).collect();
    for (i, (name, _)) in kinds.iter().enumerate() {
        let (low, high) = (before[i] as f64, after[i] as f64);
        let sample = sample[i] as f64;
        assert!(sample >= low - allowed(low), "{name}: {sample} is below {low}, read before it");
        assert!(sample <= high + allowed(high), "{name}: {sample} is above {high}, read after it");
    }
    // At the end: nothing runs any more, so the two must be the same.
    let done: Vec<u64> = workers.into_iter().map(Worker::finish).collect();
    println!("cpu: the switcher made {:.0} switches a second", done[1] as f64 / 6.0);
    assert!(done[1] as f64 / 6.0 > 30_000.0, "the switcher was too slow to show anything: {}", done[1]);
    agent.next_gather();
    let mut compared = 0;
    for (cgroup, (name, _)) in cgroups.iter().zip(kinds) {
        let (kernel, ours) = (cgroup.cpu_ns() as f64, usage(&agent, cgroup) as f64);
        let percent = if kernel > 0.0 { 100.0 * (ours - kernel) / kernel } else { 0.0 };
        println!(
            "cpu: {name:<9} kernel {:>10.3} ms, agent {:>10.3} ms, {percent:+.4} %",
            kernel / 1e6,
            ours / 1e6
        );
        assert!((ours - kernel).abs() <= allowed(kernel), "{name}: {ours} and not {kernel} ns");
        compared += usize::from(kernel > 5e8);
    }
    assert!(compared >= 3, "only {compared} cgroups did anything to compare");
    let machine = oracle::machine_cpu_ns() - machine_before;
    let balance = agent.part("cpu");
    let change = |field: &str| balance.int(field) - balance_before.int(field);
    println!(
        "cpu: balance of the machine: rows {:.1} ms + overflow {:.1} ms + unseen {:.1} ms = {:.1} ms; read here {:.1} ms",
        change("rows_ns") as f64 / 1e6,
        change("overflow_ns") as f64 / 1e6,
        change("unseen_ns") as f64 / 1e6,
        change("machine_ns") as f64 / 1e6,
        machine as f64 / 1e6
    );
    assert_eq!(change("rows_ns") + change("overflow_ns") + change("unseen_ns"), change("machine_ns"));
    // The agent read the machine's sum a little earlier than this test did.
    assert!((change("machine_ns") - machine.cast_signed()).abs() < 1_500_000_000);
    assert!(change("unseen_ns").abs() as f64 <= 0.01 * change("machine_ns") as f64, "too much was unseen");
    Ok(())
}

/// Waits of three tasks that share a CPU, against what the scheduler itself has for each.
fn waits() -> Outcome {
    const TASKS: usize = 3;
    needs(&[])?;
    let agent = Agent::start("probes = [\"cpu\", \"runqueue\"]", 500)?;
    let cgroup = Cgroup::new("waits");
    let mut workers: Vec<Worker> =
        (0..TASKS).map(|_| Worker::start(&cgroup, "", &["contend", "2000"])).collect();
    agent.next_gather();
    let read = |workers: &[Worker]| -> u64 {
        workers.iter().map(|worker| oracle::schedstat_wait_ns(worker.pid())).sum()
    };
    let ours = || {
        let point = agent.point("cgroup_cpu", &[("cgroup", &cgroup.path())]);
        point.map_or(0, |point| point.int("runqueue_wait_ns"))
    };
    let (kernel_before, before) = (read(&workers), ours());
    workers.iter_mut().for_each(Worker::go);
    workers.iter_mut().for_each(Worker::wait_until_done);
    // Each is charged when it is switched out after a wait.
    agent.next_gather();
    let (kernel, agents) = (read(&workers) - kernel_before, ours() - before);
    let percent = 100.0 * (agents - kernel.cast_signed()) as f64 / kernel as f64;
    println!(
        "cpu: {TASKS} tasks on one CPU waited {:.1} ms, agent {:.1} ms, {percent:+.3} %",
        kernel as f64 / 1e6,
        agents as f64 / 1e6
    );
    assert!(kernel > 1_000_000_000, "nobody waited: this shows nothing");
    // A few switches a second no program is called for; each is a wait of some milliseconds.
    assert!(percent.abs() < 2.0, "{percent} %");
    for worker in &mut workers {
        worker.go();
    }
    Ok(())
}

/// The waits of a task on a busy CPU, against those that it saw itself in `schedstat`.
fn quantile_of_waits() -> Outcome {
    needs(&[])?;
    let agent = Agent::start("probes = [\"cpu\", \"runqueue\"]", 2_000)?;
    let (waits, others) = (Cgroup::new("waits"), Cgroup::new("others"));
    let mut busy: Vec<Worker> = (0..2).map(|_| Worker::start(&others, "", &["contend", "60000"])).collect();
    busy.iter_mut().for_each(Worker::go);
    let mut worker = Worker::start(&waits, "", &["waits", "6000"]);
    agent.next_gather();
    worker.go();
    // Each interval has the distribution of all.
    let mut ours = Vec::new();
    let mut gathers = agent.gathers();
    let waiter = std::thread::spawn(move || worker.finish());
    while !waiter.is_finished() {
        wait_for(|| agent.gathers() > gathers, Duration::from_secs(10), "a gather");
        gathers = agent.gathers();
        let point = agent.point("cgroup_cpu", &[("cgroup", &waits.path())]);
        ours.extend(point.map(|point| point.float("runqueue_wait_p99_us")).filter(|p99| p99.is_finite()));
    }
    let kernel = waiter.join().unwrap() as f64 / 1e3;
    println!("cpu: 99 of 100 waits were below {kernel} us by schedstat, by the intervals {ours:.0?}");
    let median = oracle::quantile(&mut ours.iter().map(|us| *us as u64).collect::<Vec<_>>(), 0.5) as f64;
    assert!(kernel > 500.0, "nobody waited: this shows nothing");
    assert!(median > kernel / 2.0 && median < kernel * 2.0, "{median} us and not {kernel}");
    Ok(())
}

fn usage(agent: &Agent, cgroup: &Cgroup) -> i64 {
    agent.point("cgroup_cpu", &[("cgroup", &cgroup.path())]).map_or(0, |point| point.int("usage_ns"))
}

fn allowed(ns: f64) -> f64 {
    RELATIVE * ns + ABSOLUTE_NS
}
