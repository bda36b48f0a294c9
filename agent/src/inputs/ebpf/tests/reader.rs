//! What is read of cgroupfs, and what is not.

use super::*;
use crate::host::Host;
use crate::inputs::ebpf::host_totals;
use crate::inputs::ebpf::reader::{HostFiles, of_requests};

/// A container and a service in every hierarchy, with memory and pressure.
fn case(groups: &[Group]) -> (Case, String) {
    let mut case = Case::new(groups).reading(&[CgroupfsReading::Mem, CgroupfsReading::Pressure]);
    let container = format!("/docker/{ID}");
    for (id, path) in [(10, container.as_str()), (11, "/a")] {
        for hierarchy in [CPU, BLKIO, MEMORY, NET] {
            case.made(hierarchy, id, path);
        }
        write(&case, path, 3, 5);
    }
    (case, container)
}

/// Cached pages and total pressure of a cgroup whose usage stays the same.
fn write(case: &Case, path: &str, cache: u64, total: u64) {
    case.write(&[
        (&format!("memory{path}/memory.usage_in_bytes"), "7\n"),
        (&format!("memory{path}/memory.stat"), &format!("total_cache {cache}\n")),
        (
            &format!("unified{path}/cpu.pressure"),
            &format!("some avg10=0.00 avg60=0.00 avg300=0.00 total={total}\n"),
        ),
    ]);
}

/// Lets time pass.
fn pass(case: &mut Case, seconds: u32) {
    case.time = Timestamp(case.time.0 + i64::from(seconds) * 1_000_000_000);
    case.now += Duration::from_secs(seconds.into());
}

/// Cached pages and total pressure of a cgroup, as this gather has them.
fn read(case: &mut Case, path: &str) -> (String, String) {
    // Rows of containers go out at once, although there may be sources.
    pass(case, 20);
    let lines = case.lines("cgroup_");
    let field = |measurement: &str, field: &str| {
        let is_of =
            |line: &&String| line.starts_with(measurement) && line.contains(&format!("cgroup={path}"));
        let line = lines.iter().find(is_of).unwrap();
        let value = line.split([',', ' ']).find_map(|word| word.strip_prefix(field)).unwrap();
        value.to_owned()
    };
    (field("cgroup_mem", "cache_bytes="), field("cgroup_pressure", "some_total_us="))
}

fn values(cache: u64, total: u64) -> (String, String) {
    (format!("{cache}i"), format!("{total}i"))
}

#[test]
fn a_cgroup_that_rests_is_not_read_again() {
    let (mut case, container) = case(&[on(Probe::Cpu)]);
    case.names.add_source();
    assert_eq!(read(&mut case, &container), values(3, 5));
    for path in [container.as_str(), "/a"] {
        write(&case, path, 5, 17);
    }
    assert_eq!(read(&mut case, &container), values(5, 5), "what it did may have been added up later");
    for path in [container.as_str(), "/a"] {
        write(&case, path, 13, 17);
    }
    assert_eq!(read(&mut case, &container), values(5, 5));
    assert_eq!(read(&mut case, "/a"), values(5, 5));
    pass(&mut case, 60);
    assert_eq!(read(&mut case, "/a"), values(13, 5), "its memory is read once a minute");
    write(&case, "/a", 29, 17);
    assert_eq!(read(&mut case, "/a"), values(13, 5));
    case.write(&[("memory/a/memory.usage_in_bytes", "8\n")]);
    assert_eq!(read(&mut case, "/a"), values(29, 5), "its usage has changed");
    // What runs in a cgroup below is busy with it.
    case.made(CPU, 12, &format!("{container}/nested"));
    case.take(cpu(12, 1, 1));
    assert_eq!(read(&mut case, &container), values(13, 17));
    assert_eq!(read(&mut case, "/a"), values(29, 5));
    case.close();
    write(&case, &container, 19, 23);
    assert_eq!(read(&mut case, &container), values(19, 17), "its memory of the interval in which it ran");
    write(&case, &container, 31, 23);
    assert_eq!(read(&mut case, &container), values(19, 17), "it ran in another interval");
}

#[test]
fn without_the_cpu_probe_nothing_is_known_to_rest() {
    let (mut case, container) = case(&[]);
    case.names.add_source();
    assert_eq!(read(&mut case, &container), values(3, 5));
    write(&case, &container, 13, 17);
    assert_eq!(read(&mut case, &container), values(13, 17));
}

#[test]
fn a_container_that_other_inputs_read_is_read_once_in_a_gather() {
    let (mut case, container) = case(&[]);
    case.now += Duration::from_secs(60);
    let usage = |case: &mut Case| {
        let lines = case.lines(&format!("cgroup_mem,cgroup={container}"));
        lines[0].split([',', ' ']).find_map(|word| word.strip_prefix("usage_bytes=")).unwrap().to_owned()
    };
    let file = format!("memory{container}/memory.usage_in_bytes");
    case.names.add_source();
    assert_eq!(usage(&mut case), "7i");
    case.write(&[(&file, "11\n")]);
    assert_eq!(usage(&mut case), "7i", "the same gather");
    case.names.remove_source();
    assert_eq!(usage(&mut case), "11i", "nobody else reads it");
}

#[test]
fn what_is_gone_or_not_requested_is_not_read() {
    let (mut case, container) = case(&[]);
    case.removed(MEMORY, 10, &container);
    case.removed(NET, 10, &container);
    let starts = |case: &mut Case| -> Vec<String> {
        let mut lines = case.lines("cgroup_");
        lines.retain(|line| line.starts_with("cgroup_mem") || line.starts_with("cgroup_pressure"));
        lines.iter().map(|line| line.split_once(' ').unwrap().0.to_owned()).collect()
    };
    assert_eq!(starts(&mut case), ["cgroup_mem,cgroup=/a", "cgroup_pressure,cgroup=/a,resource=cpu"]);
    case.options.cgroupfs = vec![CgroupfsReading::Pressure];
    assert_eq!(starts(&mut case), ["cgroup_pressure,cgroup=/a,resource=cpu"]);
    case.options.cgroupfs = vec![CgroupfsReading::Mem];
    assert_eq!(starts(&mut case), ["cgroup_mem,cgroup=/a"]);
    case.options.cgroupfs = vec![CgroupfsReading::Throttling];
    assert!(starts(&mut case).is_empty());
}

#[test]
fn totals_of_block_io_begin_where_requests_are_counted() {
    let case = Case::new(&[]);
    for disk in ["8:0/mq", "253:0", "259:0", "259:2"] {
        std::fs::create_dir_all(case.folder.path().join("sys/dev/block").join(disk)).unwrap();
    }
    let folder = case.folder.path().join("sys").display().to_string();
    let host = Host::from_variables(|variable| (variable == "HOST_SYS").then(|| folder.clone()));
    let disks = "8 0 sda 0 0 0 0 0 0 0 0 0 0 0\n\
                 253 0 dm-0 0 0 0 0 0 0 0 0 0 0 0\n\
                 259 0 nvme0n1 0 0 0 0 0 0 0 0 0 0 0\n\
                 259 1 nvme0c0n1 0 0 0 0 0 0 0 0 0 0 0\n\
                 259 2 nvme1n1 0 0 0 0 0 0 0 0 0 0 0\n";
    let totals = HostTotals { disks: host_totals::disks(disks), ..HostTotals::default() };
    let counted = |device| of_requests(device, &host, &totals);
    assert_eq!(counted((8, 0)), Some((8, 0)));
    assert_eq!(counted((253, 0)), None, "made of others");
    assert_eq!(counted((259, 0)), Some((259, 1)), "the only path");
    assert_eq!(counted((259, 2)), None, "no path that is listed");
    assert_eq!(counted((9, 9)), Some((9, 9)), "sysfs does not show it");
}

#[test]
fn the_totals_of_the_host_are_read() {
    let case = Case::new(&[]);
    case.write(&[
        ("cpu/cpuacct.usage", "1009\n"),
        ("proc/stat", "cpu  1 2 4 8 16 32 64\n"),
        ("proc/diskstats", "   8       0 sda 3 1 5 1 7 1 11 1 0 1 1 13 0 17 0\n"),
        ("proc/1/net/netstat", "IpExt: InOctets OutOctets\nIpExt: 1009 2003\n"),
        ("proc/1/net/snmp6", "Ip6InOctets 101\nIp6OutOctets 211\n"),
    ]);
    let folder = |name: &str| case.folder.path().join(name).display().to_string();
    let host = Host::from_variables(|variable| match variable {
        "HOST_PROC" => Some(folder("proc")),
        "HOST_SYS" => Some(folder("sys")),
        _ => None,
    });
    let mut expected = HostTotals {
        cpu_ns: Some(1_009),
        disks: [sda([3, 5 * 512], [7, 11 * 512], [13, 17 * 512])].into(),
        ip: Some(IpBytes { rx: 1_110, tx: 2_214 }),
    };
    assert_eq!(HostFiles::new(&host, &case.report.hierarchies).read(), expected);
    std::fs::remove_file(case.folder.path().join("cpu/cpuacct.usage")).unwrap();
    let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second();
    expected.cpu_ns = Some(7 * tick);
    assert_eq!(HostFiles::new(&host, &case.report.hierarchies).read(), expected);
    let case = Case::unified(&[]);
    case.write(&[("unified/cpu.stat", "user_usec 1\nusage_usec 2003\n")]);
    expected.cpu_ns = Some(2_003_000);
    assert_eq!(HostFiles::new(&host, &case.report.hierarchies).read(), expected);
}
