//! Which rows there are, and that a series outlives the instances that it is made of.

use super::*;
use crate::identity::names::{ContainerName, PodName, Source};
use crate::identity::workloads::Workload;

/// A different container id for each `n`.
fn id(n: u64) -> String {
    format!("{n:064x}")
}

/// The value of a field of a line.
fn field(line: &str, name: &str) -> u64 {
    let start = format!("{name}=");
    let value = line.split([' ', ',']).find_map(|field| field.strip_prefix(&start)).unwrap();
    value.trim_end_matches('i').parse().unwrap()
}

fn name(case: &Case, id: &str, name: &str) {
    let name = ContainerName { name: name.into(), image: "bb:1".into() };
    case.names.name_container(Source::Docker, id, name, case.now);
}

/// One life after the other: each is made, named by `name`, has its amounts in each area, and is gone.
fn lives(case: &mut Case, n: u64, path: impl Fn(u64) -> String, name: impl Fn(&Case, u64)) {
    for n in 1..=n {
        let path = path(n);
        for hierarchy in [CPU, BLKIO, MEMORY, NET] {
            case.made(hierarchy, n, &path);
        }
        name(case, n);
        case.take(cpu(n, 100 + n, 2));
        case.take(net(n, PACKETS));
        case.take(blkio(n, SDA, AMOUNTS, [&[], &[]]));
        case.take(oom(n));
        for hierarchy in [CPU, BLKIO, MEMORY, NET] {
            case.removed(hierarchy, n, &path);
            case.change(CgroupChange::Released, hierarchy, n, &path);
        }
        case.close();
        case.close();
    }
}

/// The series that were ever seen, measurement and tags, while `work` ran after each gather.
fn series(lines: &[String]) -> std::collections::BTreeSet<String> {
    let rows = lines.iter().filter(|line| !line.starts_with("seismograf"));
    rows.map(|line| line.split_once(' ').unwrap().0.to_owned()).collect()
}

#[test]
fn containers_of_one_name_one_after_the_other_are_one_series_with_the_sum() {
    let mut case = Case::new(&[on(Probe::Cpu), on(Probe::Net), on(Probe::Blkio), Group::Oom]);
    lives(&mut case, 200, |n| format!("/docker/{}", id(n)), |case, n| name(case, &id(n), "web"));
    assert_eq!(case.accounts.cgroups.len(), 0);
    assert!(series(&case.gather()).is_empty(), "nothing is there");
    // The next of the name has the totals of all.
    case.made(CPU, 1_000, &format!("/docker/{}", id(1_000)));
    name(&case, &id(1_000), "web");
    let lines = case.lines("cgroup_");
    let tags = ",container_image=bb:1,container_name=web";
    let expected = ["cgroup_blkio", "cgroup_cpu", "cgroup_mem", "cgroup_net"];
    let starts: Vec<bool> = lines
        .iter()
        .zip(expected)
        .map(|(line, measurement)| line.starts_with(&(measurement.to_owned() + tags)))
        .collect();
    assert_eq!(starts, [true; 4], "{lines:?}");
    assert_eq!(field(&lines[1], "usage_ns"), (1..=200).map(|n| 100 + n).sum::<u64>());
    assert_eq!(field(&lines[0], "read_bytes"), 200 * AMOUNTS.read_bytes);
    assert_eq!(field(&lines[2], "oom_kills"), 200);
    assert_eq!(field(&lines[3], "tx_bytes"), 200 * PACKETS.tx_bytes);
}

#[test]
fn a_unit_that_is_started_again_is_one_series_with_the_sum() {
    let mut case = Case::new(&[on(Probe::Cpu)]);
    let path = "/system.slice/backup.service";
    lives(&mut case, 200, |_| path.into(), |_, _| {});
    case.made(CPU, 1_000, path);
    let lines = case.lines("cgroup_cpu");
    assert!(
        lines.len() == 1 && lines[0].starts_with(&format!("cgroup_cpu,cgroup={path},unit=backup.service "))
    );
    assert_eq!(field(&lines[0], "usage_ns"), (1..=200).map(|n| 100 + n).sum::<u64>());
}

/// A pod of the cron job `short`, which runs for the `n`-th time.
fn name_pod(case: &Case, n: u64, uid: &str) {
    let job = format!("short-{}", 29_000_000 + n);
    let workload = crate::identity::workloads::of_owner("Job", &job, None);
    let pod = PodName {
        name: format!("{job}-x{n}"),
        namespace: "default".into(),
        node: "n1".into(),
        workload,
        has_all_containers: true,
    };
    case.names.name_pod(Source::Kubelet, uid, pod, case.now);
    name(case, &id(n), "main");
}

fn uid(n: u64) -> String {
    format!("{n:08x}-1234-1234-1234-123456789abc")
}

#[test]
fn a_day_of_a_cron_job_has_the_series_of_an_hour() {
    let mut case = Case::new(&[on(Probe::Cpu), on(Probe::Net), on(Probe::Blkio), Group::Oom]);
    case.names.add_source();
    let path = |n| format!("/kubepods/besteffort/pod{}/{}", uid(n), id(n));
    let mut seen = std::collections::BTreeSet::new();
    let mut after_an_hour = (0, 0);
    for minute in 1..=24 * 60 {
        // Two gathers see each of them: one while it runs, one when it is over.
        for hierarchy in [CPU, BLKIO, MEMORY, NET] {
            case.made(hierarchy, minute, &path(minute));
        }
        for record in
            [cpu(minute, 100, 2), net(minute, PACKETS), blkio(minute, SDA, AMOUNTS, [&[], &[]]), oom(minute)]
        {
            case.take(record);
        }
        name_pod(&case, minute, &uid(minute));
        seen.extend(series(&case.gather()));
        for hierarchy in [CPU, BLKIO, MEMORY, NET] {
            case.removed(hierarchy, minute, &path(minute));
            case.change(CgroupChange::Released, hierarchy, minute, &path(minute));
        }
        case.now += Duration::from_secs(60);
        case.names.end_container(Source::Kubelet, &id(minute), case.now);
        case.names.forget(case.now);
        for _ in 0..2 {
            seen.extend(series(&case.gather()));
            case.accounts.start_interval(&case.waiting);
            case.accounts.forget(case.now, &case.naming, &case.waiting);
        }
        let kept = case.accounts.ended.iter().count() + case.accounts.ended_pods.iter().count();
        if minute == 60 {
            after_an_hour = (seen.len(), kept);
        }
        assert!(case.accounts.cgroups.len() < 10);
        if minute == 24 * 60 {
            assert_eq!((seen.len(), kept), after_an_hour);
        }
    }
    assert_eq!(seen.len(), 8, "{seen:#?}");
    case.made(CPU, 10_000, &path(10_000));
    name_pod(&case, 10_000, &uid(10_000));
    let lines = case.lines("pod_cpu");
    let tags = "pod_cpu,namespace=default,node_name=n1,pod_name=short-*,workload=cronjob/short ";
    assert!(lines.len() == 1 && lines[0].starts_with(tags), "{lines:?}");
    assert_eq!(field(&lines[0], "usage_ns"), 24 * 60 * 100);
    let rows = case.lines("cgroup_cpu");
    assert_eq!(field(&rows[0], "usage_ns"), 24 * 60 * 100, "{rows:?}");
    // Each of them, where that is wanted; an input with other options is another one.
    case.naming = Naming::default();
    case.options.job_pods = crate::inputs::ebpf::options::JobPods::Each;
    assert!(case.lines("pod_cpu")[0].contains("pod_name=short-29010000-x10000,workload=cronjob/short "));
}

#[test]
fn two_of_one_name_at_one_time_are_told_apart() {
    let mut case = Case::new(&[on(Probe::Cpu)]);
    for (n, ns) in [(1, 3), (2, 5)] {
        case.made(CPU, n, &format!("/docker/{}", id(n)));
        name(&case, &id(n), "web");
        case.take(cpu(n, ns, 1));
    }
    let usage = |case: &mut Case| -> Vec<(bool, u64)> {
        let lines = case.lines("cgroup_cpu");
        lines.iter().map(|line| (line.contains("container_id="), field(line, "usage_ns"))).collect()
    };
    assert_eq!(usage(&mut case), [(true, 3), (true, 5)]);
    case.removed(CPU, 1, &format!("/docker/{}", id(1)));
    assert_eq!(usage(&mut case), [(false, 8)], "the one that is left goes on with both");
    // Those of a job are one row on purpose.
    let workload = Some(Workload { name: "job/import".into(), pods: Some("import-*".into()) });
    for n in [3, 4] {
        let pod = PodName { name: format!("import-{n}"), workload: workload.clone(), ..PodName::default() };
        case.names.name_pod(Source::Kubelet, &uid(n), pod, case.now);
        case.made(CPU, n, &format!("/kubepods/pod{}/{}", uid(n), id(n)));
        name(&case, &id(n), "main");
        case.take(cpu(n, 10, 1));
    }
    assert_eq!(usage(&mut case)[0], (false, 20));
}

#[test]
fn a_container_has_its_rows_while_it_sleeps_and_what_is_in_it_is_its_own() {
    let mut case = Case::new(&[on(Probe::Cpu), on(Probe::Net)]);
    let path = format!("/docker/{ID}");
    name(&case, ID, "web");
    case.made(CPU, 10, &path);
    case.made(NET, 10, &path);
    case.made(CPU, 9, "/system.slice");
    let tags = ",container_image=bb:1,container_name=web,runtime=docker ";
    let expected = [
        format!("cgroup_cpu{tags}usage_ns=0i,context_switches=0i,usage_percent=0 99"),
        format!("cgroup_net{tags}rx_bytes=0i,tx_bytes=0i,rx_packets=0i,tx_packets=0i 99"),
    ];
    assert_eq!(case.lines("cgroup_"), expected);
    case.made(CPU, 11, &format!("{path}/init.scope"));
    case.made(CPU, 12, &format!("{path}/system.slice/cron.service"));
    case.take(cpu(11, 3, 1));
    case.take(cpu(12, 5, 1));
    case.change(CgroupChange::Released, CPU, 12, &format!("{path}/system.slice/cron.service"));
    case.close();
    case.close();
    case.take(cpu(10, 7, 1));
    let lines = case.lines("cgroup_cpu");
    assert_eq!(lines.len(), 1);
    assert_eq!(field(&lines[0], "usage_ns"), 15);
}

#[test]
fn memory_is_that_of_the_row_without_the_rows_below_it() {
    let mut case = Case::unified(&[]).reading(&[CgroupfsReading::Mem]);
    let stat = |anon: u64, faults: u64| {
        format!("anon {anon}\nfile 100\npgfault {faults}\npgmajfault 2\ninactive_file 10\n")
    };
    let service = "/system.slice/docker.service";
    let inner = format!("{service}/docker/{ID}");
    for (n, path, usage, faults) in [
        (1, "/system.slice", 10_000, 900),
        (2, service, 7_000, 500),
        (3, inner.as_str(), 4_000, 300),
        (4, &format!("{inner}/nested"), 3_000, 200),
    ] {
        case.made(NET, n, path);
        let file = |name: &str| format!("unified{path}/{name}");
        case.write(&[
            (&file("memory.current"), &usage.to_string()),
            (&file("memory.stat"), &stat(usage - 1_000, faults)),
        ]);
    }
    name(&case, ID, "web");
    let rows = case.lines("cgroup_mem");
    let row = |tag: &str| {
        let line = rows.iter().find(|line| line.contains(tag)).unwrap_or_else(|| panic!("{rows:?}"));
        (field(line, "usage_bytes"), field(line, "rss_bytes"))
    };
    assert_eq!(rows.len(), 3);
    assert_eq!(row("container_name=web"), (4_000, 3_000), "what is in it is its own");
    assert_eq!(row("unit=docker.service"), (3_000, 3_000));
    assert_eq!(row("cgroup=/system.slice "), (3_000, 3_000));
    let faults = |tag: &str| rows.iter().find(|line| line.contains(tag)).unwrap().contains("page_faults");
    assert!(
        faults("container_name=web") && faults("unit=docker.service") && !faults("cgroup=/system.slice ")
    );
    assert_eq!(field(rows.iter().find(|line| line.contains("unit=")).unwrap(), "page_faults"), 200);
}

#[test]
fn what_was_in_a_pod_before_a_named_container_is_its_pause_container() {
    let mut case = Case::new(&[on(Probe::Cpu)]);
    case.names.add_source();
    let path = |n| format!("/kubepods/besteffort/pod{}/{}", uid(1), id(n));
    for n in [1, 2] {
        case.made(CPU, n, &path(n));
        case.take(cpu(n, 10 * n, 1));
    }
    assert!(case.lines("cgroup_cpu").is_empty(), "nobody has a name yet");
    name_pod(&case, 2, &uid(1));
    // Both are over, and the kubelet will not list the pod again.
    for n in [1, 2] {
        case.change(CgroupChange::Released, CPU, n, &path(n));
    }
    // The one that was started again is not listed yet.
    case.made(CPU, 3, &path(3));
    case.take(cpu(3, 100, 1));
    let lines = case.lines("cgroup_cpu");
    let usage = |name: &str| {
        let of = lines.iter().filter(|line| line.contains(&format!("container_name={name},")));
        of.map(|line| field(line, "usage_ns")).collect::<Vec<_>>()
    };
    assert_eq!((usage("POD"), usage("main"), lines.len()), (vec![10], vec![20], 2), "{lines:?}");
}

#[test]
fn totals_go_on_under_their_tags_after_a_boot() {
    use crate::inputs::ebpf::state::State;

    let groups = [on(Probe::Cpu), on(Probe::Net), on(Probe::Blkio)];
    let mut case = Case::new(&groups);
    case.host.disks.extend([sda([0; 2], [0; 2], [0; 2])]);
    let path = |n| format!("/docker/{}", id(n));
    // One that ended, and one that is there; both had ended when the machine was up again.
    lives(&mut case, 1, path, |case, n| name(case, &id(n), "web"));
    for hierarchy in [CPU, NET] {
        case.made(hierarchy, 2, &path(2));
    }
    name(&case, &id(2), "web");
    case.take(cpu(2, 1_000, 7));
    case.take(net(2, PACKETS));
    case.gather();
    let state = State::of(&case.accounts, &case.naming, &case.host, "one boot");
    let written = serde_json::to_string(&state).unwrap();

    let mut next = Case::new(&groups);
    // The same disk, under another number.
    let other = Device { major: 8, minor: 16 };
    next.host.disks.insert(other, sda([0; 2], [0; 2], [0; 2]).1);
    let state: State = serde_json::from_str(&written).unwrap();
    state.restore(&mut next.accounts, &next.host, "another boot", next.now);
    for hierarchy in [CPU, NET] {
        next.made(hierarchy, 2, &path(2));
    }
    name(&next, &id(2), "web");
    let lines = next.lines("cgroup_");
    let line = |measurement: &str| {
        lines.iter().find(|line| line.starts_with(measurement)).unwrap_or_else(|| panic!("{lines:?}"))
    };
    assert_eq!(field(line("cgroup_cpu"), "usage_ns"), 1_101);
    assert_eq!(field(line("cgroup_cpu"), "context_switches"), 9);
    assert_eq!(field(line("cgroup_net"), "rx_bytes"), 2 * PACKETS.rx_bytes);
    assert!(line("cgroup_blkio").contains("device=sda"));
    assert_eq!(field(line("cgroup_blkio"), "read_bytes"), AMOUNTS.read_bytes);
}

#[test]
fn what_one_run_stores_once_has_only_totals_that_the_kernel_began() {
    let mut case = Case::unified(&[on(Probe::Cpu), on(Probe::Net), on(Probe::Blkio), on(Probe::Runqueue)]);
    case.made(NET, 10, "/system.slice/a.service");
    for record in
        [cpu(10, 17, 3), net(10, PACKETS), blkio(10, SDA, AMOUNTS, [&[], &[]]), runqueue(10, 5, &[5])]
    {
        case.take(record);
    }
    case.is_only = true;
    let tags = "cgroup=/system.slice/a.service";
    let expected = [
        format!(
            "cgroup_blkio,{tags},device=8:0,unit=a.service read_bytes=4099i,write_bytes=8209i,discard_bytes=16411i,\
             reads=3i,writes=5i,discards=7i 99"
        ),
        format!("cgroup_cpu,{tags},unit=a.service usage_ns=17i,usage_percent=0.00000017 99"),
    ];
    assert_eq!(case.lines("cgroup_"), expected);
    let mut case = Case::new(&[on(Probe::Blkio)]);
    case.made(BLKIO, 10, "/system.slice/a.service");
    case.take(blkio(10, SDA, AMOUNTS, [&[], &[]]));
    case.is_only = true;
    assert!(case.lines("cgroup_blkio").is_empty(), "v1 keeps no sum");
}
