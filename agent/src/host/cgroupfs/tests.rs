use super::*;

/// cgroupfs in a folder: v1 with `memory`, `cpu` and `cpuacct`, or v2.
fn tree(is_v1: bool, files: &[(&str, &str)]) -> (tempfile::TempDir, Cgroupfs) {
    let root = tempfile::tempdir().unwrap();
    for (file, text) in files {
        let file = root.path().join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let at = |name: &str| root.path().join(name).display().to_string();
    let (cgroup, mounts) = if is_v1 {
        let mount =
            |controller: &str| format!("1 1 0:1 / {} rw - cgroup cgroup rw,{controller}\n", at(controller));
        let mounts: String = ["memory", "cpu", "cpuacct", "blkio"].map(mount).concat();
        ("4:blkio:/\n3:memory:/\n2:cpu:/\n1:cpuacct:/\n0::/\n", mounts)
    } else {
        ("0::/\n", format!("1 1 0:1 / {} rw - cgroup2 cgroup2 rw\n", root.path().display()))
    };
    (root, Cgroupfs::new(Hierarchies::parse(cgroup, &mounts)))
}

fn cpu(cgroupfs: &Cgroupfs, path: &str) -> Option<Cpu> {
    cgroupfs.read_cpu(&mut cgroupfs.state(), path)
}

fn blkio(cgroupfs: &Cgroupfs, path: &str) -> Option<Vec<DeviceIo>> {
    cgroupfs.read_blkio(&mut cgroupfs.state(), path)
}

#[test]
fn v1() {
    let (_root, cgroupfs) = tree(
        true,
        &[
            ("memory/c/memory.usage_in_bytes", "1000\n"),
            ("memory/c/memory.max_usage_in_bytes", "2000\n"),
            ("memory/c/memory.limit_in_bytes", "8192\n"),
            ("memory/c/memory.failcnt", "3\n"),
            ("memory/c/memory.stat", "cache 10\nrss 20\ntotal_rss 30\n"),
            ("memory/c/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"),
            ("cpuacct/c/cpuacct.stat", "user 5\nsystem 6\n"),
            ("cpuacct/c/cpuacct.usage", "123456789\n"),
            ("cpuacct/c/cpuacct.usage_percpu", "123456780 9 \n"),
            ("cpu/c/cpu.stat", "nr_periods 4\nnr_throttled 2\nthrottled_time 99\n"),
        ],
    );
    let memory = cgroupfs.memory("/c", Timestamp(0), false, None).unwrap();
    assert_eq!((memory.usage, memory.max_usage, memory.limit), (1000, Some(2000), Some(8192)));
    assert_eq!((memory.fail_count, memory.oom_kills), (Some(3), Some(7)));
    assert_eq!(memory.stat_value("total_rss"), Some(30));
    let cpu = cpu(&cgroupfs, "/c").unwrap();
    assert_eq!((cpu.usage_ns, cpu.user_ns, cpu.system_ns), (123_456_789, Some(50_000_000), Some(60_000_000)));
    assert_eq!(cpu.per_cpu_ns, [123_456_780, 9]);
    assert_eq!(cgroupfs.cpu_usage_ns("/c"), Some(cpu.usage_ns));
    let in_use = cgroupfs.memory_in_use("/c").unwrap();
    assert_eq!((in_use.usage, in_use.stat_value("rss"), in_use.max_usage), (1000, Some(20), None));
    let throttling = Throttling { nr_periods: 4, nr_throttled: 2, throttled_ns: 99 };
    assert_eq!(cgroupfs.throttling("/c"), Some(throttling));
}

#[test]
fn without_a_limit_under_v1_there_is_none() {
    let stat = "cache 10\nhierarchical_memory_limit 9223372036854771712\n";
    let files = [("memory/c/memory.usage_in_bytes", "1000\n"), ("memory/c/memory.stat", stat)];
    let (root, cgroupfs) = tree(true, &files);
    let memory = cgroupfs.memory("/c", Timestamp(0), false, None).unwrap();
    assert_eq!((memory.limit, memory.fail_count), (None, None));
    // One above has a limit.
    std::fs::write(root.path().join("memory/c/memory.stat"), "hierarchical_memory_limit 4096\n").unwrap();
    std::fs::write(root.path().join("memory/c/memory.limit_in_bytes"), "9223372036854771712\n").unwrap();
    std::fs::write(root.path().join("memory/c/memory.failcnt"), "7\n").unwrap();
    let memory = cgroupfs.memory("/c", Timestamp(1), false, None).unwrap();
    assert_eq!((memory.limit, memory.fail_count), (None, Some(7)));
}

#[test]
fn v2() {
    let (_root, cgroupfs) = tree(
        false,
        &[
            ("c/memory.current", "1000\n"),
            ("c/memory.max", "4096\n"),
            ("c/memory.stat", "anon 10\nfile 20\n"),
            ("c/memory.events", "low 0\noom 2\noom_kill 1\noom_group_kill 0\n"),
            (
                "c/cpu.stat",
                "usage_usec 7\nuser_usec 4\nsystem_usec 3\nnr_periods 1\nnr_throttled 1\nthrottled_usec 5\n",
            ),
            (
                "c/cpu.pressure",
                "some avg10=1.50 avg60=0.25 avg300=0.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n?\n",
            ),
            ("c/cgroup.procs", "0\n12\n13\n"),
        ],
    );
    let memory = cgroupfs.memory("/c", Timestamp(0), false, None).unwrap();
    assert_eq!((memory.usage, memory.max_usage, memory.limit), (1000, None, Some(4096)));
    assert_eq!((memory.fail_count, memory.oom_kills), (None, Some(1)));
    let cpu = cpu(&cgroupfs, "/c").unwrap();
    assert_eq!((cpu.usage_ns, cpu.user_ns, cpu.system_ns), (7_000, Some(4_000), Some(3_000)));
    assert_eq!(cgroupfs.cpu_usage_ns("/c"), Some(7_000));
    assert_eq!(cgroupfs.memory_in_use("/c").unwrap().stat_value("anon"), Some(10));
    let throttling = Throttling { nr_periods: 1, nr_throttled: 1, throttled_ns: 5_000 };
    assert_eq!(cgroupfs.throttling("/c"), Some(throttling));
    let pressure = Pressure { avg10: 1.5, avg60: 0.25, avg300: 0.0, total_us: 1 };
    let kinds = vec![("some", pressure), ("full", Pressure::default())];
    assert_eq!(cgroupfs.pressure("/c", true, Instant::now()), [("cpu", kinds)]);
    assert_eq!(cgroupfs.pressure("/d", true, Instant::now()), []);
    assert_eq!(cgroupfs.processes("/c"), [12, 13]);
}

#[test]
fn only_the_cpu_time_of_a_sleeping_cgroup_is_read() {
    let files = [
        ("cpuacct/c/cpuacct.stat", "user 1\nsystem 1\n"),
        ("cpuacct/c/cpuacct.usage", "123456789\n"),
        ("cpuacct/c/cpuacct.usage_percpu", "5 6\n"),
        ("cpu/c/cpu.stat", "nr_periods 0\nnr_throttled 0\nthrottled_time 0\n"),
        ("blkio/c/blkio.throttle.io_service_bytes_recursive", "8:0 Read 1\n"),
        ("blkio/c/blkio.throttle.io_serviced_recursive", "8:0 Read 1\n"),
    ];
    let (root, cgroupfs) = tree(true, &files);
    let now = Instant::now();
    let set = |file: &str, text: &str| std::fs::write(root.path().join(file), text).unwrap();
    let read = || {
        let activity = cgroupfs.activity("/c", now).unwrap();
        let cpu = activity.cpu.as_ref().unwrap();
        (cpu.usage_ns, activity.blkio.as_ref().unwrap()[0].bytes[0].unwrap())
    };
    assert_eq!(read(), (11, 1));
    set("blkio/c/blkio.throttle.io_service_bytes_recursive", "8:0 Read 2\n");
    assert_eq!(read(), (11, 2), "a request that was pending");
    set("blkio/c/blkio.throttle.io_service_bytes_recursive", "8:0 Read 3\n");
    assert_eq!(read(), (11, 2), "nothing can have changed");
    set("cpuacct/c/cpuacct.usage_percpu", "5 7\n");
    assert_eq!(read(), (12, 3));
    std::fs::remove_dir_all(root.path().join("cpuacct/c")).unwrap();
    assert_eq!(cgroupfs.activity("/c", now), None);
    assert_eq!(cgroupfs.state().activities.len(), 1);
    for after in [2, 4] {
        assert_eq!(cgroupfs.activity("/c", now + after * SWEEP_PERIOD), None);
    }
    assert_eq!(cgroupfs.state().activities.len(), 0);
}

#[test]
fn activity_under_v2() {
    let (_root, cgroupfs) = tree(
        false,
        &[
            ("c/cpu.stat", "usage_usec 7\nuser_usec 4\nsystem_usec 3\n"),
            ("c/io.stat", "8:0 rbytes=1 rios=1\n"),
        ],
    );
    let activity = cgroupfs.activity("/c", Instant::now()).unwrap();
    assert_eq!(activity.cpu.as_ref().map(|cpu| cpu.usage_ns), Some(7_000));
    assert_eq!(activity.throttling, None, "no quota can be set");
    assert_eq!(activity.blkio.as_ref().map(Vec::len), Some(1));
}

#[test]
fn block_io_of_v1_is_that_of_the_throttling_policy_or_else_bfqs() {
    let bfq = [
        ("blkio/c/blkio.bfq.io_service_bytes_recursive", "8:0 Read 7\n8:0 Total 7\nTotal 7\n"),
        ("blkio/c/blkio.bfq.io_serviced_recursive", "8:0 Read 1\n8:0 Total 1\nTotal 1\n"),
    ];
    let throttle = [
        (
            "blkio/c/blkio.throttle.io_service_bytes_recursive",
            "8:0 Read 1\n8:0 Write 2\n8:0 Sync 3\n8:0 Async 0\n8:0 Discard 4\n8:0 Total 7\n253:1 Total 9\nTotal 16\n",
        ),
        ("blkio/c/blkio.throttle.io_serviced_recursive", "8:0 Read 5\n253:1 Total 6\nTotal 11\n"),
    ];
    let (_root, cgroupfs) = tree(true, &[bfq, throttle].concat());
    let first = DeviceIo {
        device: (8, 0),
        bytes: [Some(1), Some(2), Some(3), Some(0), Some(4), Some(7)],
        operations: [Some(5), None, None, None, None, None],
    };
    let second = DeviceIo {
        device: (253, 1),
        bytes: [None, None, None, None, None, Some(9)],
        operations: [None, None, None, None, None, Some(6)],
    };
    assert_eq!(blkio(&cgroupfs, "/c"), Some(vec![first, second]));
    let (_root, cgroupfs) = tree(true, &bfq);
    assert_eq!(blkio(&cgroupfs, "/c").unwrap()[0].bytes[0], Some(7));
    assert_eq!(blkio(&cgroupfs, "/other"), None);
}

#[test]
fn block_io_of_v2() {
    let text = "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6 cost.usage=7\n\n7:0 \nodd\n";
    let (_root, cgroupfs) = tree(false, &[("c/io.stat", text)]);
    let io = DeviceIo {
        device: (8, 0),
        bytes: [Some(1), Some(2), None, None, Some(5), None],
        operations: [Some(3), Some(4), None, None, Some(6), None],
    };
    let idle = DeviceIo { device: (7, 0), ..DeviceIo::default() };
    assert_eq!(blkio(&cgroupfs, "/c"), Some(vec![io, idle]));
}

#[test]
fn one_that_is_gone_has_no_figures() {
    let (_root, cgroupfs) = tree(true, &[]);
    assert_eq!(cgroupfs.memory("/c", Timestamp(0), false, None), None);
    assert_eq!(cpu(&cgroupfs, "/c"), None);
    assert_eq!(cgroupfs.throttling("/c"), None);
}

#[test]
fn memory_is_read_once_in_a_gather() {
    let (root, cgroupfs) =
        tree(false, &[("c/memory.current", "1\n"), ("c/memory.stat", ""), ("c/memory.max", "max\n")]);
    let usage = |time| cgroupfs.memory("/c", Timestamp(time), false, None).unwrap().usage;
    assert_eq!(usage(0), 1);
    std::fs::write(root.path().join("c/memory.current"), "2\n").unwrap();
    assert_eq!((usage(0), usage(1)), (1, 2));
}

#[test]
fn only_the_usage_of_an_idle_cgroup_is_read() {
    let (root, cgroupfs) =
        tree(false, &[("c/memory.current", "1\n"), ("c/memory.stat", "anon 1\n"), ("c/memory.max", "max\n")]);
    let memory = |seconds: i64, is_idle, usage| {
        cgroupfs.memory("/c", Timestamp(seconds * 1_000_000_000), is_idle, usage)
    };
    let anon = |seconds, is_idle| memory(seconds, is_idle, None).unwrap().stat_value("anon");
    let set = |file: &str, text: &str| std::fs::write(root.path().join("c").join(file), text).unwrap();
    assert_eq!(anon(0, true), Some(1));
    set("memory.stat", "anon 2\n");
    assert_eq!(anon(10, true), Some(2), "what it did last may have been added up later");
    set("memory.stat", "anon 3\n");
    assert_eq!((anon(20, true), anon(30, false)), (Some(2), Some(3)));
    set("memory.stat", "anon 4\n");
    assert_eq!(anon(40, true), Some(4), "added up later");
    set("memory.stat", "anon 5\n");
    assert_eq!(anon(50, true), Some(4));
    set("memory.current", "9\n");
    assert_eq!(anon(60, true), Some(5), "its usage is another");
    set("memory.stat", "anon 6\n");
    let told = |seconds, usage| memory(seconds, true, usage).unwrap().stat_value("anon");
    assert_eq!((told(70, Some(9)), told(80, Some(10))), (Some(5), Some(6)), "what is told needs no file");
    std::fs::remove_dir_all(root.path().join("c")).unwrap();
    assert_eq!(memory(90, true, None), None);
}

#[test]
fn an_idle_cgroup_can_still_hang_in_a_request() {
    let line =
        |total: u64, avg300: &str| format!("some avg10=0.00 avg60=0.00 avg300={avg300} total={total}\n");
    let (root, cgroupfs) =
        tree(false, &[("c/cpu.pressure", &line(1, "0.01")), ("c/io.pressure", &line(1, "0.00"))]);
    let start = Instant::now();
    let totals_at = |is_idle, seconds| {
        let now = start + Duration::from_secs(seconds);
        let pressures = cgroupfs.pressure("/c", is_idle, now).into_iter();
        pressures.map(|(resource, kinds)| (resource, kinds[0].1.total_us)).collect::<Vec<_>>()
    };
    let totals = |is_idle| totals_at(is_idle, 0);
    let set = |file: &str, text: String| std::fs::write(root.path().join("c").join(file), text).unwrap();
    assert_eq!(totals(true), [("cpu", 1), ("io", 1)]);
    set("cpu.pressure", line(2, "0.00"));
    assert_eq!(totals(true), [("cpu", 2), ("io", 1)], "its average was not 0 yet");
    set("cpu.pressure", line(3, "0.00"));
    set("io.pressure", line(3, "0.00"));
    assert_eq!(totals(true), [("cpu", 2), ("io", 3)]);
    assert_eq!(totals(false), [("cpu", 3), ("io", 3)]);

    // A request that it has begun shows within four seconds; it begins no other.
    assert_eq!(totals_at(true, 10), [("cpu", 3), ("io", 3)]);
    set("io.pressure", line(4, "0.00"));
    assert_eq!(totals_at(true, 13), [("cpu", 3), ("io", 4)], "not yet");
    set("io.pressure", line(5, "0.00"));
    assert_eq!(totals_at(true, 14), [("cpu", 3), ("io", 5)], "the last look");
    set("io.pressure", line(6, "0.00"));
    assert_eq!(totals_at(true, 24), [("cpu", 3), ("io", 5)]);
    assert_eq!(totals_at(false, 34), [("cpu", 3), ("io", 6)]);
    assert_eq!(totals_at(true, 44), [("cpu", 3), ("io", 6)]);
    // One that hangs is looked at until that has long been over.
    set("io.pressure", line(7, "0.01"));
    assert_eq!([54, 64].map(|at| totals_at(true, at)), [[("cpu", 3), ("io", 7)]; 2]);
    set("io.pressure", line(8, "0.00"));
    assert_eq!(totals_at(true, 74), [("cpu", 3), ("io", 8)]);
}
