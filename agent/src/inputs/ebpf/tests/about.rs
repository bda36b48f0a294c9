//! The balance and the input about itself.

use super::*;
use crate::identity::names::{ContainerName, PodName, Source};
use crate::schema::losses::LOSSES;

#[test]
fn the_cpu_balance_counts_from_the_start_of_the_probes() {
    let mut case = Case::new(&[on(Probe::Cpu)]);
    case.take(cpu(10, 1_009, 3));
    case.take(cpu(11, 2_003, 5));
    case.overflow = abi::Overflow { run_ns: 307, switches: 13, ..abi::Overflow::default() };
    let expected = "seismograf,part=cpu rows_ns=3012i,overflow_ns=307i,overflow_switches=13i 99";
    assert_eq!(case.lines("seismograf,part=cpu"), [expected], "the machine's is not known");
    (case.host_at_start.cpu_ns, case.host.cpu_ns) = (Some(50_021), Some(60_013));
    let expected = "seismograf,part=cpu rows_ns=3012i,overflow_ns=307i,overflow_switches=13i,\
                    machine_ns=9992i,unseen_ns=6673i 99";
    assert_eq!(case.lines("seismograf,part=cpu"), [expected]);
    case.host.cpu_ns = Some(50_021);
    let expected = "seismograf,part=cpu rows_ns=3012i,overflow_ns=307i,overflow_switches=13i,\
                    machine_ns=0i,unseen_ns=-3319i 99";
    assert_eq!(case.lines("seismograf,part=cpu"), [expected]);
}

#[test]
fn the_blkio_balance_closes_over_all_disks() {
    let mut case = Case::new(&[on(Probe::Blkio)]);
    case.host_at_start.disks.extend([sda([2, 3], [5, 7], [11, 13])]);
    case.host.disks.extend([sda([1_009, 100_003], [2_003, 200_003], [3_001, 300_007])]);
    case.take(blkio(10, SDA, AMOUNTS, [&[], &[]]));
    case.take(blkio(10, Device { major: 8, minor: 16 }, AMOUNTS, [&[], &[]]));
    case.overflow.blkio = BlkioAmounts {
        read_bytes: 1_013,
        write_bytes: 1_019,
        discard_bytes: 1_021,
        reads: 23,
        writes: 29,
        discards: 31,
        errors: 37,
        read_time_ns: 41,
        write_time_ns: 43,
    };
    let expected = [
        "seismograf,device=8:16,part=blkio rows_bytes=28719i,rows_ops=15i 99",
        "seismograf,device=sda,part=blkio rows_bytes=28719i,rows_ops=15i,machine_bytes=599990i,machine_ops=5995i 99",
        "seismograf,part=blkio overflow_bytes=3053i,overflow_ops=83i,overflow_errors=37i,overflow_time_ns=84i,rows_bytes=57438i,rows_ops=30i,\
         machine_bytes=599990i,machine_ops=5995i,unseen_bytes=568218i,unseen_ops=5897i 99",
    ];
    let mut lines = case.lines("seismograf");
    lines.retain(|line| line.contains("part=blkio"));
    assert_eq!(lines, expected);
    // A disk that came after the start counts from 0; and without an overflow, what was unseen is known of each.
    case.host_at_start.disks.clear();
    case.overflow = abi::Overflow::default();
    let expected = "seismograf,device=sda,part=blkio rows_bytes=28719i,rows_ops=15i,machine_bytes=600013i,\
                    machine_ops=6013i,unseen_bytes=571294i,unseen_ops=5998i 99";
    assert_eq!(case.lines("seismograf,device=sda"), [expected]);
}

#[test]
fn the_net_balance_is_that_of_the_hosts_own_namespace() {
    let mut case = Case::new(&[on(Probe::Net)]);
    case.host_at_start.ip = Some(IpBytes { rx: 101, tx: 211 });
    case.host.ip = Some(IpBytes { rx: 5_003, tx: 7_001 });
    case.take(net(10, PACKETS));
    case.take(net(11, PACKETS));
    // A refused packet alone in its record takes back what was counted as sent.
    let refused = HostBytes { rx_bytes: 0, tx_bytes: 100_u64.wrapping_neg() };
    let row = NetRow { kind: 3, cgroup: 10, host: refused, ..NetRow::default() };
    case.take(Record::Net(row));
    case.overflow.host = HostBytes { rx_bytes: 307, tx_bytes: 401 };
    let line = case.lines("seismograf,part=net").remove(0);
    let expected = [
        "rows_rx_bytes=2018i,rows_tx_bytes=4006i,rows_rx_packets=26i,rows_tx_packets=34i",
        "overflow_host_rx_bytes=307i,overflow_host_tx_bytes=401i",
        "rows_host_rx_bytes=1814i,rows_host_tx_bytes=3702i",
        "machine_rx_bytes=4902i,unseen_rx_bytes=2781i,machine_tx_bytes=6790i,unseen_tx_bytes=2687i 99",
    ];
    for part in expected {
        assert!(line.contains(part), "{part}: {line}");
    }
    // Where the namespace cannot be told, nothing is compared.
    case.report.sees_host_net = false;
    let line = case.lines("seismograf,part=net").remove(0);
    assert!(!line.contains("machine") && !line.contains("unseen") && !line.contains("rows_host"), "{line}");
}

#[test]
fn what_a_policy_refused_is_dropped_and_not_sent() {
    let mut case = Case::new(&[on(Probe::Net)]);
    case.made(NET, 10, "/a");
    case.take(net(10, PACKETS));
    assert!(!case.lines("cgroup_net")[0].contains("dropped"));
    let refused = NetAmounts { tx_dropped_bytes: 1_003, tx_dropped_packets: 7, ..NetAmounts::default() };
    case.take(net(10, refused));
    let expected = "cgroup_net,cgroup=/a rx_bytes=1009i,tx_bytes=1000i,rx_packets=13i,tx_packets=10i,\
                    tx_dropped_bytes=1003i,tx_dropped_packets=7i 99";
    assert_eq!(case.lines("cgroup_net"), [expected]);
}

#[test]
fn every_loss_is_in_its_part() {
    let all = [Probe::Cpu, Probe::Blkio, Probe::Net, Probe::Runqueue, Probe::Tcp].map(on);
    let mut case = Case::new(&all);
    let lines = case.lines("seismograf");
    for loss in LOSSES {
        let start = format!("seismograf,part={} ", loss.part);
        let line = lines.iter().find(|line| line.starts_with(&start));
        let line = line.unwrap_or_else(|| panic!("no part {}", loss.part));
        assert!(line.contains(&format!("{}=0i", loss.field.name)), "{}: {line}", loss.field.name);
    }
}

#[test]
fn a_disk_that_is_gone_takes_its_rows_along() {
    let mut case = Case::new(&[on(Probe::Blkio)]);
    case.made(BLKIO, 10, "/a");
    let other = Device { major: 8, minor: 16 };
    for device in [SDA, other] {
        case.take(blkio(10, device, AMOUNTS, [&[], &[]]));
    }
    let mut before = HostTotals::default();
    before.disks.extend([sda([5, 0], [7, 0], [0, 0])]);
    before.disks.insert(other, DiskTotals { name: "sdb".into(), reads: 5, ..DiskTotals::default() });
    assert_eq!(case.accounts.forget_disks(&before, &before), []);
    // One that is never listed stays: before Linux 5.13 that is what a path to a disk with several is.
    let mut unlisted = before.clone();
    unlisted.disks.remove(&SDA);
    assert_eq!(case.accounts.forget_disks(&unlisted, &unlisted), []);
    // One is not there any more, and another one has the number of the other.
    let mut now = before.clone();
    now.disks.remove(&SDA);
    now.disks.insert(other, DiskTotals { name: "sdb".into(), reads: 4, ..DiskTotals::default() });
    assert_eq!(case.accounts.forget_disks(&before, &now), [SDA, other]);
    assert!(case.lines("cgroup_blkio").is_empty());
    case.take(blkio(10, other, AMOUNTS, [&[], &[]]));
    case.host = now;
    let rows = case.lines("cgroup_blkio");
    assert!(rows.len() == 1 && rows[0].contains("device=sdb read_bytes=4099i"), "{rows:?}");
}

#[test]
fn an_area_that_is_off_has_no_balance() {
    let mut case = Case::new(&[]);
    case.take(blkio(10, SDA, AMOUNTS, [&[], &[]]));
    let parts: Vec<String> =
        case.lines("seismograf").into_iter().map(|line| line.split_once(' ').unwrap().0.to_owned()).collect();
    assert_eq!(parts, ["seismograf,part=identity", "seismograf,part=ring"]);
}

#[test]
fn the_ring_has_its_counts_and_losses() {
    let mut case = Case::new(&[]);
    case.ring = Counts { records: 101, bytes: 4_001, undecodable: 7 };
    let missed = [Some(2), None, Some(17)];
    case.programs = missed.map(|missed_runs| Activity { program: "a", missed_runs, cost: None }).to_vec();
    case.overflow =
        abi::Overflow { refused: 11, cgroup_events: 13, oom_kills: 17, ..abi::Overflow::default() };
    for record in [cpu(10, 1, 1), oom(10), oom(10)] {
        case.take(record);
    }
    case.made(CPU, 10, "/a");
    let expected = "seismograf,part=ring records=101i,bytes=4001i,rows=3i,oom_kills=2i,map_bytes=31i,\
                    undecodable=7i,refused=11i,missed_runs=19i,lost_cgroup_events=13i,lost_oom_kills=17i 99";
    assert_eq!(case.lines("seismograf,part=ring"), [expected]);
}

#[test]
fn what_has_no_path_is_counted_and_has_no_row() {
    let mut case = Case::new(&[]);
    // Its id is known in the hierarchies of the other areas.
    case.made(BLKIO, 10, "/b");
    case.made(CPU, 20, "/c");
    case.made(MEMORY, 30, "/d");
    case.take(cpu(10, 1_009, 3));
    case.take(cpu(10, 2_003, 3));
    case.take(blkio(20, SDA, AMOUNTS, [&[], &[]]));
    case.take(net(30, PACKETS));
    assert!(case.lines("cgroup_").is_empty());
    let expected = "seismograf,part=identity cgroups=3i,unresolved_cgroups=3i,unresolved_cpu_ns=3012i,\
                    unresolved_blkio_bytes=12308i,unresolved_net_bytes=3012i 99";
    assert_eq!(case.lines("seismograf,part=identity"), [expected]);
}

#[test]
fn where_there_are_sources_names_are_counted_and_rows_wait() {
    let mut case = Case::new(&[]);
    case.names.add_source();
    case.made(CPU, 10, &format!("/docker/{ID}"));
    case.made(CPU, 11, &format!("/docker/{ID}/nested"));
    case.made(CPU, 12, &format!("/docker/{OTHER_ID}"));
    case.made(MEMORY, 13, &format!("/docker/{}", "a".repeat(64)));
    case.made(MEMORY, 14, &format!("/docker/{}", "b".repeat(64)));
    let container = |name: &str| ContainerName { name: name.into(), image: "bb:1".into() };
    case.names.name_container(Source::Docker, OTHER_ID, container("web"), case.now);
    for n in 0..2 {
        case.names.name_container(Source::Docker, &n.to_string(), container("db"), case.now);
    }
    let pod = PodName { name: "p".into(), ..PodName::default() };
    case.names.name_pod(Source::Kubelet, UID, pod, case.now);
    for id in [10, 11, 12] {
        case.take(cpu(id, 2, 3));
    }
    let identity = |waiting: u64, nameless: u64| {
        format!(
            "seismograf,part=identity cgroups=5i,unresolved_cgroups=0i,unresolved_cpu_ns=0i,unresolved_blkio_bytes=0i,\
             unresolved_net_bytes=0i,unresolved_containers={nameless}i,waiting_rows={waiting}i,named_containers={}i,\
             named_pods=1i 99",
            6 - nameless
        )
    };
    let row = |name: &str, amounts: &str| {
        format!("cgroup_cpu,container_image=bb:1,container_name={name},runtime=docker {amounts}")
    };
    // Of those without a name one has CPU time, two have a cgroup in the hierarchy of memory.
    assert_eq!(case.lines("seismograf,part=identity"), [identity(3, 3)]);
    let web = "usage_ns=2i,context_switches=3i,usage_percent=0.00000002";
    assert_eq!(case.lines("cgroup_cpu"), [row("web", &format!("{web} 99"))]);
    case.close();
    // The first row has all that came while it waited, over all of that time.
    (case.time, case.now) = (Timestamp(100), case.now + Duration::from_secs(10));
    for id in [10, 11, 12] {
        case.take(cpu(id, 2, 3));
    }
    case.names.name_container(Source::Docker, ID, container("main"), case.now);
    let main = "usage_ns=8i,context_switches=12i,usage_percent=0.00000004";
    let web = "usage_ns=4i,context_switches=6i,usage_percent=0.00000002";
    let expected = [row("main", &format!("{main} 100")), row("web", &format!("{web} 100"))];
    assert_eq!(case.lines("cgroup_cpu"), expected);
}

#[test]
fn what_ended_before_its_name_came_has_a_row_all_the_same() {
    let mut case = Case::new(&[]);
    case.names.add_source();
    let path = format!("/docker/{ID}");
    case.made(CPU, 10, &path);
    case.take(cpu(10, 2, 3));
    case.change(CgroupChange::Released, CPU, 10, &path);
    for _ in 0..3 {
        case.close();
    }
    assert!(case.lines("cgroup_cpu").is_empty());
    let name = ContainerName { name: "web".into(), image: String::new() };
    case.names.name_container(Source::Docker, ID, name, case.now);
    let row = "cgroup_cpu,container_name=web,runtime=docker usage_ns=2i,context_switches=3i";
    let lines = case.lines("cgroup_cpu");
    assert!(lines.len() == 1 && lines[0].starts_with(row), "{lines:?}");
    case.close();
    assert!(case.lines("cgroup_cpu").is_empty() && case.accounts.cgroups.len() == 0);
    // One that no source knows goes out with its path.
    case.made(CPU, 11, &path.replace(ID, OTHER_ID));
    case.take(cpu(11, 2, 3));
    assert!(case.lines("cgroup_cpu").is_empty());
    case.now += Duration::from_secs(15);
    let row = format!("cgroup_cpu,cgroup=/docker/{OTHER_ID},runtime=docker usage_ns=2i");
    let lines = case.lines("cgroup_cpu");
    assert!(lines.len() == 1 && lines[0].starts_with(&row), "{lines:?}");
}

#[test]
fn a_probe_has_what_it_missed_and_its_cost() {
    let mut case = Case::new(&[]);
    let cost = Some(Cost { run_time_ns: 1_009, runs: 13 });
    case.programs = vec![
        Activity { program: "cpu_sched_switch", missed_runs: None, cost },
        Activity { program: "net_egress", missed_runs: Some(19), cost },
        Activity { program: "net_ingress", missed_runs: Some(0), cost: None },
        Activity { program: "cpu_wakeup", missed_runs: None, cost: None },
    ];
    let expected = [
        "seismograf,part=probe,probe=cpu_sched_switch run_time_ns=1009i,runs=13i 99",
        "seismograf,part=probe,probe=net_egress missed_runs=19i,run_time_ns=1009i,runs=13i 99",
        "seismograf,part=probe,probe=net_ingress missed_runs=0i 99",
    ];
    assert_eq!(case.lines("seismograf,part=probe"), expected);
}

#[test]
fn the_points_of_a_gather_have_an_order() {
    let groups = [on(Probe::Cpu), on(Probe::Blkio), on(Probe::Net), Group::Oom];
    let readings = [CgroupfsReading::Mem, CgroupfsReading::Pressure];
    let mut case = Case::new(&groups).reading(&readings);
    let (path, gone) = (format!("/kubepods/pod{UID}/{ID}"), format!("/kubepods/pod{UID}/{OTHER_ID}"));
    for hierarchy in [CPU, BLKIO, MEMORY, NET] {
        case.made(hierarchy, 10, &path);
    }
    case.made(MEMORY, 11, &gone);
    case.removed(MEMORY, 11, &gone);
    for record in [cpu(10, 2, 3), blkio(10, SDA, AMOUNTS, [&[], &[]]), net(10, PACKETS), oom(11)] {
        case.take(record);
    }
    case.write(&[
        (&format!("memory{path}/memory.usage_in_bytes"), "5\n"),
        (&format!("memory{path}/memory.stat"), ""),
        (&format!("unified{path}/cpu.pressure"), "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n"),
    ]);
    let cost = Some(Cost { run_time_ns: 1, runs: 1 });
    case.programs = vec![Activity { program: "cpu_sched_switch", missed_runs: None, cost }];
    let names = case.gather();
    let names: Vec<&str> = names
        .iter()
        .map(|line| match line.split_once("part=") {
            Some((_, rest)) => rest.split([',', ' ']).next().unwrap(),
            None => line.split(',').next().unwrap(),
        })
        .collect();
    let rows = [
        "cgroup_cpu",
        "cgroup_blkio",
        "cgroup_net",
        "cgroup_mem",
        "cgroup_pressure",
        "pod_cpu",
        "pod_blkio",
        "pod_net",
        "pod_mem",
    ];
    let about = ["cpu", "blkio", "blkio", "net", "ring", "probe"];
    assert_eq!(names[0], "identity");
    // Rows are in no order; each has its points in one.
    let (of_cgroups, of_pods) = names[1..names.len() - about.len()].split_at(6);
    let is_gone_first = of_cgroups[0] == "cgroup_mem";
    let of_one = if is_gone_first { &of_cgroups[1..] } else { &of_cgroups[..5] };
    assert_eq!([of_one, of_pods].concat(), rows);
    assert_eq!(names[names.len() - about.len()..], about);
}
