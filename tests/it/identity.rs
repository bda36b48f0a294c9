//! Who it is, and what is read of each cgroup beside the probes: against the kernel's own files.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;
use seismograf_tests::agent::Agent;
use seismograf_tests::cgroup::Cgroup;
use seismograf_tests::suite::Outcome;
use seismograf_tests::work::Worker;
use seismograf_tests::{needs, trial, wait_for};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("identity::a_cgroup_made_again_goes_on", a_cgroup_made_again_goes_on),
        trial("identity::pods_are_the_sum_of_their_containers", pods_are_the_sum_of_their_containers),
        trial("identity::memory_and_oom_kills", memory_and_oom_kills),
        trial("identity::memory_of_what_rests", memory_of_what_rests),
        trial("identity::throttling_and_pressure", throttling_and_pressure),
    ]
}

// Not where a kubelet of this machine would clean up.
const POD: &str = "/kubelet/kubepods/besteffort/pod7e57c0de-0000-4000-8000-000000000001";

fn container(n: u8) -> String {
    format!("{POD}/{n:064x}")
}

fn usage(agent: &Agent, measurement: &str, cgroup: &str) -> i64 {
    agent.point(measurement, &[("cgroup", cgroup)]).map_or(0, |point| point.int("usage_ns"))
}

fn a_cgroup_made_again_goes_on() -> Outcome {
    needs(&[])?;
    // Longer than it takes to remove it and make it again: both are in one gather.
    let agent = Agent::start("probes = [\"cpu\"]", 3_000)?;
    let mut kernel = 0;
    let mut path = String::new();
    for ms in ["300", "200", "100"] {
        let cgroup = Cgroup::new("again");
        Worker::start(&cgroup, "", &["spin", ms]).run();
        kernel += cgroup.cpu_ns();
        path = cgroup.path();
    }
    agent.next_gather();
    let ours = usage(&agent, "cgroup_cpu", &path);
    let percent = 100.0 * ours as f64 / kernel as f64;
    println!("identity: three lives of one path: {ours} ns, the kernel {kernel} ns, {percent:.3} %");
    assert!((99.0..101.0).contains(&percent), "{percent} %");
    Ok(())
}

fn pods_are_the_sum_of_their_containers() -> Outcome {
    needs(&[])?;
    let agent = Agent::start("probes = [\"cpu\"]", 500)?;
    let (first, second) = (Cgroup::at(&container(1)), Cgroup::at(&container(2)));
    Worker::start(&first, "", &["spin", "300"]).run();
    Worker::start(&second, "", &["spin", "200"]).run();
    agent.next_gather();
    let [a, b] = [&first, &second].map(|cgroup| usage(&agent, "cgroup_cpu", &cgroup.path()));
    assert!(a > 0 && b > 0, "{a} {b}");
    assert_eq!(usage(&agent, "pod_cpu", POD), a + b);
    // One ends; the pod keeps what it had.
    drop(first);
    for _ in 0..3 {
        agent.next_gather();
    }
    assert_eq!(usage(&agent, "pod_cpu", POD), a + b);
    Worker::start(&second, "", &["spin", "100"]).run();
    agent.next_gather();
    let c = usage(&agent, "cgroup_cpu", &second.path());
    assert!(c > b);
    assert_eq!(usage(&agent, "pod_cpu", POD), a + c);
    println!(
        "identity: pod {:.1} ms, of that {:.1} ms of a container that ended",
        (a + c) as f64 / 1e6,
        a as f64 / 1e6
    );
    Ok(())
}

fn memory_and_oom_kills() -> Outcome {
    const LIMIT: u64 = 32 << 20;
    needs(&[])?;
    let agent = Agent::start("probes = [\"cpu\"]", 500)?;
    let cgroup = Cgroup::at(&container(3));
    let limit = match cgroup.file("memory", "memory.limit_in_bytes").exists() {
        true => "memory.limit_in_bytes",
        false => "memory.max",
    };
    fs::write(cgroup.file("memory", limit), LIMIT.to_string()).unwrap();
    // One that stays within the limit, to be looked at. It has enough for the kernel to add it up at once: less than 64 pages a CPU
    // are in `memory.stat` two seconds later (`FLUSH_TIME` in `mm/memcontrol.c`).
    let mut worker = Worker::start(&cgroup, "", &["hold", "8388608", "60000"]);
    worker.go();
    let point = |agent: &Agent| {
        agent.next_gather();
        agent.point("cgroup_mem", &[("cgroup", &cgroup.path())]).expect("a point of its memory")
    };
    let before = cgroup.memory_bytes();
    let memory = point(&agent);
    let after = cgroup.memory_bytes();
    println!("identity: memory {} bytes, the kernel {before} to {after}", memory.int("usage_bytes"));
    // What is charged goes in steps of 64 pages a CPU.
    let slack = 2 * 64 * 4096 * std::thread::available_parallelism().unwrap().get() as i64;
    assert!((memory.int("usage_bytes") - before as i64).abs() <= slack);
    assert_eq!(memory.int("limit_bytes"), LIMIT as i64);
    assert_eq!(memory.int("oom_kills"), 0);
    assert!(memory.int("page_faults") > 0 && memory.int("rss_bytes") > 0);
    for n in 1..=2 {
        let mut hungry = Worker::start(&cgroup, "", &["allocate", "64"]);
        hungry.go();
        assert_eq!(hungry.killed_by(), Some(libc::SIGKILL));
        assert_eq!(point(&agent).int("oom_kills"), n);
    }
    // The kernel's own count goes away with the cgroup, the agent's is in its last points and stays in the pod.
    let path = cgroup.path();
    drop(worker);
    drop(cgroup);
    agent.next_gather();
    let last = agent.point("cgroup_mem", &[("cgroup", &path)]).expect("a last point");
    assert_eq!(last.fields.keys().collect::<Vec<_>>(), ["oom_kills"]);
    assert_eq!((last.int("oom_kills"), agent.part("ring").int("oom_kills")), (2, 2));
    Ok(())
}

/// Memory of a cgroup in which nothing runs, while another process frees what is charged to it.
fn memory_of_what_rests() -> Outcome {
    const BYTES: i64 = 16 << 20;
    needs(&["dd"])?;
    let agent = Agent::start("probes = [\"cpu\"]", 500)?;
    let cgroup = Cgroup::at(&container(5));
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = directory.path().join("shared");
    let script = format!("read go; dd if=/dev/zero of={} bs={BYTES} count=1; exec sleep 600", file.display());
    let mut shell = Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
    cgroup.add(shell.id());
    shell.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let kernel = || cgroup.memory_bytes() as i64;
    wait_for(|| kernel() >= BYTES, Duration::from_secs(20), "the file to be charged");
    let look = |what: &str| {
        // In the second one it rests.
        agent.next_gather();
        agent.next_gather();
        let of = |measurement, field| {
            let point = agent.point(measurement, &[("cgroup", &cgroup.path())]);
            point.unwrap_or_else(|| panic!("no {measurement}")).int(field)
        };
        let (ours, ran_ns) = (of("cgroup_mem", "usage_bytes"), of("cgroup_cpu", "usage_ns"));
        println!("identity: {what}: {ours} bytes, the kernel {}", kernel());
        assert_eq!(ours, kernel(), "{what}");
        (ours, ran_ns)
    };
    let before = look("of one that rests");
    fs::remove_file(&file).unwrap();
    let after = look("of which another process has freed some");
    assert!(before.0 - after.0 >= BYTES && before.1 == after.1, "{before:?}, then {after:?}");
    shell.kill().and_then(|()| shell.wait()).unwrap();
    Ok(())
}

fn throttling_and_pressure() -> Outcome {
    needs(&[])?;
    let agent = Agent::start("probes = [\"cpu\"]", 500)?;
    let cgroup = Cgroup::at(&container(4));
    cgroup.limit_cpu(10);
    Worker::start(&cgroup, "", &["spin", "1000"]).run();
    agent.next_gather();
    let point = agent.point("cgroup_cpu", &[("cgroup", &cgroup.path())]).expect("its CPU time");
    let kernel = |key| cgroup.value("cpu", "cpu.stat", key) as i64;
    println!("identity: throttled in {} of {} periods", point.int("nr_throttled"), point.int("nr_periods"));
    assert!(point.int("nr_throttled") >= 4, "{point:?}");
    // Nothing runs in it any more, so both say the same.
    assert_eq!(point.int("nr_throttled"), kernel("nr_throttled"));
    assert_eq!(point.int("nr_periods"), kernel("nr_periods"));
    let throttled_ns = match cgroup.file("cpu", "cpu.cfs_quota_us").exists() {
        true => kernel("throttled_time"),
        false => kernel("throttled_usec") * 1000,
    };
    assert_eq!(point.int("throttled_ns"), throttled_ns);
    let pressure = cgroup.file("unified", "cpu.pressure");
    if !pressure.exists() {
        println!("identity: this kernel has no pressure stall information of cgroups, which is not compared");
        return Ok(());
    }
    // Two at once on one CPU: one of them always waits.
    let spin = |i: usize| {
        let mut worker = Worker::start(&cgroup, "", &["spin", "400"]);
        worker.go();
        (i, worker)
    };
    let workers: Vec<_> = (0..4).map(spin).collect();
    for (_, worker) in workers {
        worker.finish();
    }
    let total = || {
        let text = fs::read_to_string(&pressure).unwrap();
        let some = text.lines().find(|line| line.starts_with("some")).unwrap();
        some.rsplit('=').next().unwrap().parse::<i64>().unwrap()
    };
    let before = total();
    agent.next_gather();
    let point = agent.point("cgroup_pressure", &[("cgroup", &cgroup.path()), ("resource", "cpu")]);
    let ours = point.expect("its pressure").int("some_total_us");
    println!("identity: CPU pressure {ours} us, the kernel {before} to {}", total());
    assert!(ours >= 100_000 && (before..=total()).contains(&ours));
    Ok(())
}
