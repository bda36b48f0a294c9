//! The rows of pods.

use super::*;

fn container(id: &str) -> String {
    format!("/kubepods/pod{UID}/{id}")
}

fn tags(measurement: &str) -> String {
    format!("{measurement},cgroup=/kubepods/pod{UID}")
}

/// A pod with two containers in each hierarchy: 10 and 11.
fn case(groups: &[Group]) -> Case {
    let mut case = Case::new(groups);
    for (id, name) in [(10, ID), (11, OTHER_ID)] {
        for hierarchy in [CPU, BLKIO, MEMORY, NET] {
            case.made(hierarchy, id, &container(name));
        }
    }
    case
}

#[test]
fn pod_cpu_is_the_sum_of_its_containers_also_of_one_that_ended() {
    let mut case = case(&[on(Probe::Cpu)]);
    case.take(cpu(10, 1_000_000_007, 3));
    case.take(cpu(11, 2_000_000_011, 5));
    let expected = tags("pod_cpu") + " usage_ns=3000000018i,context_switches=8i,usage_percent=30.00000018 99";
    assert_eq!(case.lines("pod_cpu"), [expected]);
    case.close();
    case.removed(CPU, 10, &container(ID));
    case.change(CgroupChange::Released, CPU, 10, &container(ID));
    case.close();
    case.close();
    case.take(cpu(11, 500_000_000, 7));
    assert_eq!(case.lines("cgroup_cpu").len(), 1);
    let expected = tags("pod_cpu") + " usage_ns=3500000018i,context_switches=15i,usage_percent=5 99";
    assert_eq!(case.lines("pod_cpu"), [expected]);
}

#[test]
fn pod_blkio_is_by_disk() {
    let mut case = case(&[on(Probe::Blkio)]);
    case.host.disks.extend([sda([0; 2], [0; 2], [0; 2])]);
    case.take(blkio(10, SDA, AMOUNTS, [&[5_000], &[70_000]]));
    case.take(blkio(11, SDA, AMOUNTS, [&[], &[]]));
    case.take(blkio(11, Device { major: 8, minor: 16 }, AMOUNTS, [&[], &[]]));
    let expected = [
        tags("pod_blkio")
            + ",device=8:16 read_bytes=4099i,write_bytes=8209i,discard_bytes=16411i,\
               reads=3i,writes=5i,discards=7i,errors=11i,read_time_ns=100003i,write_time_ns=200003i 99",
        tags("pod_blkio")
            + ",device=sda read_bytes=8198i,write_bytes=16418i,discard_bytes=32822i,\
               reads=6i,writes=10i,discards=14i,errors=22i,read_time_ns=200006i,write_time_ns=400006i,\
               read_p50_us=6.144,write_p50_us=98.304,read_p99_us=8.15104,write_p99_us=130.41664 99",
    ];
    assert_eq!(case.lines("pod_blkio"), expected);
}

#[test]
fn pod_net_has_retransmits_where_their_probe_is_on() {
    let fields = " rx_bytes=2018i,tx_bytes=4006i,rx_packets=26i,tx_packets=34i";
    for (groups, fields) in [
        (&[on(Probe::Net)][..], format!("{fields} 99")),
        (&[on(Probe::Net), on(Probe::Tcp)], format!("{fields},tcp_retransmits=38i 99")),
    ] {
        let mut case = case(groups);
        case.take(net(10, PACKETS));
        case.take(net(11, PACKETS));
        assert_eq!(case.lines("pod_net"), [tags("pod_net") + &fields]);
    }
}

#[test]
fn pod_mem_is_that_of_its_own_cgroup_with_the_kills_of_all_its_containers() {
    let mut case = case(&[Group::Oom]);
    for id in [10, 10, 11] {
        case.take(oom(id));
    }
    assert_eq!(case.lines("pod_mem"), [tags("pod_mem") + " oom_kills=3i 99"], "nothing is read");
    let pod = format!("memory/kubepods/pod{UID}");
    case.write(&[
        (&format!("{pod}/memory.usage_in_bytes"), "10007\n"),
        (&format!("{pod}/memory.limit_in_bytes"), "20011\n"),
        (&format!("{pod}/memory.oom_control"), "oom_kill 0\n"),
        (
            &format!("{pod}/memory.stat"),
            "hierarchical_memory_limit 20011\ntotal_cache 3001\ntotal_rss 5003\ntotal_pgfault 709\n\
             total_pgmajfault 11\ntotal_inactive_file 101\n",
        ),
    ]);
    let mut case = case.reading(&[CgroupfsReading::Mem]);
    let memory = " usage_bytes=10007i,working_set_bytes=9906i,rss_bytes=5003i,cache_bytes=3001i,\
                  limit_bytes=20011i";
    assert_eq!(case.lines("pod_mem"), [tags("pod_mem") + memory + ",oom_kills=3i 99"]);
    case.options.cgroupfs.clear();
    assert_eq!(case.lines("pod_mem"), [tags("pod_mem") + " oom_kills=3i 99"]);
    case.report.groups.clear();
    assert!(case.lines("pod_mem").is_empty());
}

#[test]
fn only_selected_pods_have_rows() {
    let mut case = case(&[on(Probe::Cpu), Group::Oom]);
    case.take(cpu(10, 2, 3));
    assert_eq!(case.lines("pod_").len(), 3);
    case.options.cgroup_exclude = vec![format!("/kubepods/pod{UID}")];
    assert!(case.lines("pod_").is_empty());
}
