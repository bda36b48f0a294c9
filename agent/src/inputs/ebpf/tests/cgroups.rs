//! The rows of cgroups.

use super::*;

#[test]
fn cgroup_cpu_has_its_totals_its_share_of_the_interval_its_waits_and_its_throttling() {
    let groups = [on(Probe::Cpu), on(Probe::Runqueue)];
    let mut case = Case::new(&groups).reading(&[CgroupfsReading::Throttling]);
    case.made_only_in(CPU, 10, "/system.slice/a.service");
    case.take(cpu(10, 17, 3));
    case.take(runqueue(10, 1_000_003, &[1_000_000]));
    case.close();
    case.take(cpu(10, 2_500_000_000, 5));
    // One wait between 4096 and 8192 ns: 99 % of the way is 8151.04.
    case.take(runqueue(10, 5_003, &[5_003]));
    case.write(&[(
        "cpu/system.slice/a.service/cpu.stat",
        "nr_periods 23\nnr_throttled 11\nthrottled_time 7001\n",
    )]);
    let expected = "cgroup_cpu,cgroup=/system.slice/a.service,unit=a.service \
                    usage_ns=2500000017i,context_switches=8i,usage_percent=25,\
                    runqueue_wait_ns=1005006i,runqueue_wait_p99_us=8.15104,\
                    nr_periods=23i,nr_throttled=11i,throttled_ns=7001i 99";
    assert_eq!(case.lines("cgroup_cpu"), [expected]);
    // Nothing waited since, and no time went by.
    case.close();
    case.elapsed = Duration::ZERO;
    let expected = "cgroup_cpu,cgroup=/system.slice/a.service,unit=a.service \
                    usage_ns=2500000017i,context_switches=8i,runqueue_wait_ns=1005006i,\
                    nr_periods=23i,nr_throttled=11i,throttled_ns=7001i 99";
    assert_eq!(case.lines("cgroup_cpu"), [expected]);
}

#[test]
fn cgroup_cpu_without_a_quota_has_no_throttling() {
    let mut case = Case::new(&[on(Probe::Cpu)]).reading(&[CgroupfsReading::Throttling]);
    case.made_only_in(CPU, 10, "/a");
    case.take(cpu(10, 13, 3));
    case.write(&[("cpu/a/cpu.stat", "nr_periods 0\nnr_throttled 0\nthrottled_time 0\n")]);
    let expected = "cgroup_cpu,cgroup=/a usage_ns=13i,context_switches=3i,usage_percent=0.00000013 99";
    assert_eq!(case.lines("cgroup_cpu"), [expected]);
}

#[test]
fn cgroup_cpu_has_the_throttling_that_is_requested_also_of_one_that_is_gone() {
    let mut case = Case::new(&[on(Probe::Cpu)]);
    case.made_only_in(CPU, 10, "/a");
    case.take(cpu(10, 13, 3));
    case.write(&[("cpu/a/cpu.stat", "nr_periods 23\nnr_throttled 11\nthrottled_time 7001\n")]);
    let expected = "cgroup_cpu,cgroup=/a usage_ns=13i,context_switches=3i,usage_percent=0.00000013 99";
    assert_eq!(case.lines("cgroup_cpu"), [expected]);
    let mut case = case.reading(&[CgroupfsReading::Throttling]);
    assert!(case.lines("cgroup_cpu")[0].contains("nr_periods=23i"));
    case.removed(CPU, 10, "/a");
    std::fs::remove_dir_all(case.folder.path().join("cpu/a")).unwrap();
    assert!(case.lines("cgroup_cpu")[0].contains("nr_periods=23i"), "as it was last read");
}

#[test]
fn cgroup_blkio_has_every_field_and_the_quantiles_of_the_interval() {
    let mut case = Case::new(&[on(Probe::Blkio)]);
    case.host.disks.extend([sda([0; 2], [0; 2], [0; 2])]);
    case.made_only_in(BLKIO, 10, "/a");
    case.take(blkio(10, SDA, AMOUNTS, [&[1 << 30; 9], &[1 << 31; 9]]));
    case.close();
    // Reads: two buckets, from 1024 and from 65536 ns. Half of four is all of the first, 99 % is 1.96 of the other two.
    // Writes: one of two buckets holds all but the last of 100.
    let mut writes = vec![300_000; 99];
    writes.push(5_000_000);
    case.take(blkio(10, SDA, BlkioAmounts::default(), [&[1_500, 2_000, 70_000, 100_000], &writes]));
    let expected = "cgroup_blkio,cgroup=/a,device=sda read_bytes=4099i,write_bytes=8209i,discard_bytes=16411i,\
                    reads=3i,writes=5i,discards=7i,errors=11i,read_time_ns=100003i,write_time_ns=200003i,\
                    read_p50_us=2.048,write_p50_us=394.53995959595966,\
                    read_p99_us=129.76128,write_p99_us=524.288 99";
    assert_eq!(case.lines("cgroup_blkio"), [expected]);
    case.close();
    let expected = "cgroup_blkio,cgroup=/a,device=sda read_bytes=4099i,write_bytes=8209i,discard_bytes=16411i,\
                    reads=3i,writes=5i,discards=7i,errors=11i,read_time_ns=100003i,write_time_ns=200003i 99";
    assert_eq!(case.lines("cgroup_blkio"), [expected]);
}

#[test]
fn cgroup_blkio_is_by_disk_and_one_without_a_name_has_its_numbers() {
    let mut case = Case::new(&[on(Probe::Blkio)]);
    case.host.disks.extend([sda([0; 2], [0; 2], [0; 2])]);
    case.made_only_in(BLKIO, 10, "/a");
    let read = |read_bytes| BlkioAmounts { read_bytes, ..BlkioAmounts::default() };
    for (minor, bytes) in [(0, 2), (0, 3), (16, 7)] {
        case.take(blkio(10, Device { major: 8, minor }, read(bytes), [&[], &[]]));
    }
    let rest = "write_bytes=0i,discard_bytes=0i,reads=0i,writes=0i,discards=0i,errors=0i,read_time_ns=0i,\
                write_time_ns=0i 99";
    let expected = [
        format!("cgroup_blkio,cgroup=/a,device=8:16 read_bytes=7i,{rest}"),
        format!("cgroup_blkio,cgroup=/a,device=sda read_bytes=5i,{rest}"),
    ];
    assert_eq!(case.lines("cgroup_blkio"), expected);
}

#[test]
fn cgroup_net_has_retransmits_where_their_probe_is_on() {
    let expected = "cgroup_net,cgroup=/a rx_bytes=1009i,tx_bytes=2003i,rx_packets=13i,tx_packets=17i";
    for (groups, expected) in [
        (&[on(Probe::Net)][..], format!("{expected} 99")),
        (&[on(Probe::Net), on(Probe::Tcp)], format!("{expected},tcp_retransmits=19i 99")),
    ] {
        let mut case = Case::new(groups);
        case.made_only_in(NET, 10, "/a");
        case.take(net(10, PACKETS));
        assert_eq!(case.lines("cgroup_net"), [expected]);
    }
}

#[test]
fn cgroup_mem_is_read_under_v1() {
    let mut case = Case::new(&[]).reading(&[CgroupfsReading::Mem]);
    case.made_only_in(MEMORY, 10, "/a");
    case.write(&[
        ("memory/a/memory.usage_in_bytes", "10007\n"),
        ("memory/a/memory.limit_in_bytes", "20011\n"),
        ("memory/a/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
        (
            "memory/a/memory.stat",
            "cache 1\nrss 1\npgfault 1\npgmajfault 1\ninactive_file 1\nhierarchical_memory_limit 20011\n\
             total_cache 3001\ntotal_rss 5003\ntotal_pgfault 709\ntotal_pgmajfault 11\ntotal_inactive_file 101\n",
        ),
    ]);
    let expected = "cgroup_mem,cgroup=/a usage_bytes=10007i,working_set_bytes=9906i,rss_bytes=5003i,cache_bytes=3001i,\
                    limit_bytes=20011i,page_faults=709i,major_page_faults=11i,oom_kills=2i 99";
    assert_eq!(case.lines("cgroup_mem"), [expected]);
}

#[test]
fn a_unit_keeps_its_kills_under_v1_and_a_container_in_it_has_its_own() {
    let mut case = Case::new(&[]).reading(&[CgroupfsReading::Mem]);
    let id = "0a".repeat(32);
    for (number, path) in [(10, "system.slice/a.service"), (11, &format!("system.slice/a.service/{id}"))] {
        case.made_only_in(MEMORY, number, &format!("/{path}"));
        case.write(&[
            (&format!("memory/{path}/memory.usage_in_bytes"), "10007\n"),
            (&format!("memory/{path}/memory.oom_control"), &format!("oom_kill {}\n", 15 - number)),
            (&format!("memory/{path}/memory.stat"), "total_cache 1\ntotal_rss 1\n"),
        ]);
    }
    let rows = case.lines("cgroup_mem");
    let has = |tag: &str, kills: &str| rows.iter().any(|line| line.contains(tag) && line.contains(kills));
    assert!(has("unit=a.service", "oom_kills=5i") && has(&id[..12], "oom_kills=4i"), "{rows:#?}");
}

#[test]
fn cgroup_mem_is_read_under_v2() {
    let mut case = Case::unified(&[]).reading(&[CgroupfsReading::Mem]);
    case.made(NET, 10, "/a");
    case.write(&[
        ("unified/a/memory.current", "10007\n"),
        ("unified/a/memory.max", "max\n"),
        ("unified/a/memory.events", "oom 1\noom_kill 2\n"),
        ("unified/a/memory.stat", "anon 5003\nfile 3001\npgfault 709\npgmajfault 11\ninactive_file 101\n"),
    ]);
    let expected = "cgroup_mem,cgroup=/a usage_bytes=10007i,working_set_bytes=9906i,rss_bytes=5003i,cache_bytes=3001i,\
                    page_faults=709i,major_page_faults=11i,oom_kills=2i 99";
    assert_eq!(case.lines("cgroup_mem"), [expected]);
}

#[test]
fn cgroup_mem_of_one_that_is_gone_has_the_kills_that_the_kernel_reported() {
    let mut case = Case::new(&[Group::Oom]);
    case.made_only_in(MEMORY, 10, "/a");
    case.made_only_in(MEMORY, 11, "/b");
    for id in [10, 10, 10, 11] {
        case.take(oom(id));
    }
    assert!(case.lines("cgroup_mem").is_empty(), "those that are alive have files");
    case.removed(MEMORY, 10, "/a");
    assert_eq!(case.lines("cgroup_mem"), ["cgroup_mem,cgroup=/a oom_kills=3i 99"]);
}

#[test]
fn cgroup_pressure_has_a_point_for_each_resource() {
    let mut case = Case::new(&[]).reading(&[CgroupfsReading::Pressure]);
    case.made_only_in(NET, 10, "/a");
    case.made_only_in(NET, 1, "/");
    let line = |kind: &str, n: u64| {
        format!("{kind} avg10={n}.25 avg60={}.25 avg300={}.25 total={}\n", n + 1, n + 2, n + 3)
    };
    case.write(&[
        ("unified/a/cpu.pressure", &line("some", 10)),
        ("unified/a/io.pressure", &(line("some", 20) + &line("full", 30))),
        ("unified/a/memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"),
        ("unified/cpu.pressure", &line("some", 40)),
    ]);
    let expected = [
        "cgroup_pressure,cgroup=/a,resource=cpu some_avg10=10.25,some_avg60=11.25,some_avg300=12.25,some_total_us=13i 99",
        "cgroup_pressure,cgroup=/a,resource=io some_avg10=20.25,some_avg60=21.25,some_avg300=22.25,some_total_us=23i,\
         full_avg10=30.25,full_avg60=31.25,full_avg300=32.25,full_total_us=33i 99",
    ];
    assert_eq!(case.lines("cgroup_pressure"), expected);
}

#[test]
fn only_selected_cgroups_have_rows() {
    let readings = [CgroupfsReading::Mem, CgroupfsReading::Pressure];
    let mut case = Case::new(&[on(Probe::Cpu), on(Probe::Blkio), on(Probe::Net)]).reading(&readings);
    case.options.cgroup_include = vec!["/in*".into()];
    case.options.cgroup_exclude = vec!["*/out".into()];
    for (id, path) in [(10, "/in"), (11, "/in/out"), (12, "/other")] {
        for hierarchy in [CPU, BLKIO, MEMORY, NET] {
            case.made(hierarchy, id, path);
        }
        case.take(cpu(id, 2, 3));
        case.take(blkio(id, SDA, AMOUNTS, [&[], &[]]));
        case.take(net(id, PACKETS));
        case.take(oom(id));
        case.write(&[
            (&format!("memory{path}/memory.usage_in_bytes"), "5\n"),
            (&format!("memory{path}/memory.stat"), ""),
            (&format!("unified{path}/cpu.pressure"), "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n"),
        ]);
    }
    let measurements = |lines: Vec<String>| -> Vec<String> {
        let rows = lines.into_iter().map(|line| line.split_once(' ').unwrap().0.to_owned());
        rows.collect()
    };
    let expected = [
        "cgroup_blkio,cgroup=/in,device=8:0",
        "cgroup_cpu,cgroup=/in",
        "cgroup_mem,cgroup=/in",
        "cgroup_net,cgroup=/in",
        "cgroup_pressure,cgroup=/in,resource=cpu",
    ];
    assert_eq!(measurements(case.lines("cgroup_")), expected);
    for (id, path) in [(10, "/in"), (11, "/in/out"), (12, "/other")] {
        case.removed(MEMORY, id, path);
    }
    assert_eq!(measurements(case.lines("cgroup_mem")), ["cgroup_mem,cgroup=/in"]);
}
