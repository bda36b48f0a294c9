//! What an earlier run has left, and how the next one goes on with it.

use std::collections::HashMap;

use super::*;
use crate::identity::cgroup::KnownCgroup;
use crate::identity::names::{ContainerName, Source};
use crate::inputs::ebpf::begin::{KernelSums, Round};
use crate::inputs::ebpf::state::{PinnedState, State};
use crate::kernel::drain::Position;
use crate::kernel::early::Early;
use crate::ledger::cpu::KernelTimes;

const PATH: &str = "/system.slice/a.service";

/// The state of a case, as it is read from a file.
fn state(case: &Case) -> State {
    let state = State::of(&case.accounts, &case.naming, &case.host, "this boot");
    serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap()
}

/// The next run in the same boot, with all groups, and the same disk.
fn next(state: State) -> Case {
    let mut next = Case::unified(&groups());
    next.host.disks.extend([sda([0; 2], [0; 2], [0; 2])]);
    state.restore(&mut next.accounts, &next.host, "this boot", next.now);
    next
}

fn groups() -> [Group; 5] {
    [on(Probe::Cpu), on(Probe::Net), on(Probe::Blkio), on(Probe::Runqueue), Group::Oom]
}

fn ran() -> Case {
    let mut case = Case::unified(&groups());
    case.host.disks.extend([sda([0; 2], [0; 2], [0; 2])]);
    case.made(NET, 10, PATH);
    case.made(NET, 11, &format!("{PATH}/worker"));
    for record in [
        cpu(10, 1_000, 3),
        cpu(11, 500, 2),
        net(10, PACKETS),
        blkio(10, SDA, AMOUNTS, [&[], &[]]),
        runqueue(10, 77, &[50, 27]),
        oom(10),
    ] {
        case.take(record);
    }
    case.gather();
    case
}

#[test]
fn when_the_totals_were_0_is_remembered_with_them() {
    let case = ran();
    assert_eq!(state(&case).began, Some(crate::service::origin::of_kept()));
    let of_an_older_version: State = serde_json::from_str("{\"boot\": \"this boot\"}").unwrap();
    assert_eq!(of_an_older_version.began, None);
}

#[test]
fn within_a_boot_every_cgroup_goes_on_with_its_number() {
    let mut case = ran();
    let mut next = next(state(&case));
    // What an agent with pins reads next, of both numbers.
    for of in [&mut case, &mut next] {
        of.take(cpu(11, 20, 1));
        of.take(net(10, PACKETS));
    }
    let told = case.lines("cgroup_");
    assert!(told.len() >= 3, "{told:?}");
    let without_share = |lines: Vec<String>| -> Vec<String> {
        // The interval of a run begins with it.
        let shares = |field: &&str| {
            !field.starts_with("usage_percent=") && !field.contains("_p50") && !field.contains("_p99")
        };
        lines
            .iter()
            .map(|line| line.trim_end_matches(" 99").split(',').filter(shares).collect::<Vec<_>>().join(","))
            .collect()
    };
    assert_eq!(without_share(next.lines("cgroup_")), without_share(told));
}

#[test]
fn the_kernels_sums_raise_what_is_remembered_and_count_nothing_twice() {
    let mut next = next(state(&ran()));
    next.accounts.note_resumed_owners();
    let owner = next.accounts.cgroups.owners().find(|owner| owner.identity.path == PATH).unwrap().id;
    let sums = KernelSums { cpu_ns: Some(1_700), oom_kills: Some(1), ..KernelSums::default() };
    let round = Round::first(&next.accounts);
    let before = Round::counted(&next.accounts);
    assert!(round.finish(&mut next.accounts, &before, &HashMap::from([(owner, sums)])).is_empty());
    // 1500 were told of, 200 it ran meanwhile.
    assert!(next.lines("cgroup_cpu")[0].contains("usage_ns=1700i"));
    assert_eq!(next.accounts.ledger.oom.get(10), Some(&1));
}

#[test]
fn a_unit_that_was_started_again_meanwhile_has_both_instances() {
    let mut next = next(state(&ran()));
    for id in [10, 11] {
        next.removed(NET, id, PATH);
    }
    next.made(NET, 20, PATH);
    next.accounts.note_resumed_owners();
    next.accounts.release_the_gone(next.now);
    let owner = next.accounts.cgroups.owners().find(|owner| owner.identity.path == PATH).unwrap().id;
    let sums = KernelSums { cpu_ns: Some(90), ..KernelSums::default() };
    let round = Round::first(&next.accounts);
    let before = Round::counted(&next.accounts);
    assert!(round.finish(&mut next.accounts, &before, &HashMap::from([(owner, sums)])).is_empty());
    next.accounts.forget_resumed();
    for _ in 0..3 {
        assert!(next.lines("cgroup_cpu")[0].contains("usage_ns=1590i"));
        next.close();
    }
    assert!(next.accounts.cgroups.get((NET, 10)).is_none(), "it is forgotten, and its totals are not");
}

#[test]
fn a_container_goes_on_under_its_name_before_anybody_tells_it() {
    let mut case = Case::new(&[on(Probe::Cpu)]);
    let path = format!("/docker/{ID}");
    case.made(CPU, 10, &path);
    let name = ContainerName { name: "web".into(), image: "bb:1".into() };
    case.names.name_container(Source::Docker, ID, name, case.now);
    case.take(cpu(10, 1_000, 3));
    let told = case.lines("cgroup_cpu");
    let state = state(&case);
    let mut next = Case::new(&[on(Probe::Cpu)]);
    next.names.name_container(
        Source::Docker,
        OTHER_ID,
        ContainerName { name: "other".into(), image: "bb:1".into() },
        next.now,
    );
    state.restore(&mut next.accounts, &next.host, "this boot", next.now);
    let lines = next.lines("cgroup_cpu");
    let tags = |line: &str| line.split_once(' ').unwrap().0.to_owned();
    assert_eq!((lines.len(), tags(&lines[0])), (1, tags(&told[0])));
    assert!(lines[0].contains("usage_ns=1000i"));
    // It has ended: the next of its name goes on with that.
    next.removed(CPU, 10, &path);
    next.change(CgroupChange::Released, CPU, 10, &path);
    next.close();
    next.close();
    assert!(next.accounts.cgroups.iter().all(|(_, known): (_, &KnownCgroup)| known.path() != path));
    next.made(CPU, 11, &format!("/docker/{OTHER_ID}"));
    let name = ContainerName { name: "web".into(), image: "bb:1".into() };
    next.names.name_container(Source::Docker, OTHER_ID, name, next.now);
    next.take(cpu(11, 7, 1));
    assert!(next.lines("cgroup_cpu")[0].contains("usage_ns=1007i"), "{:?}", next.lines("cgroup_cpu"));
}

#[test]
fn the_balance_goes_on_with_pinned_probes() {
    let mut case = ran();
    case.host_at_start.cpu_ns = Some(5);
    case.host.cpu_ns = Some(2_005);
    let kernel_times = Some(KernelTimes::begin([(10, 100)].into_iter()));
    case.accounts.ledger.kernel_times.clone_from(&kernel_times);
    let position = Position { ring: 7, bytes: 4_096 };
    let read = (position, case.ring, Early::default());
    let pinned = PinnedState::of(&case.accounts, read, &case.host_at_start, &case.host);
    let mut read = state(&case);
    read.pinned = Some(pinned);
    let mut read: State = serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
    assert_eq!(read.ring(), Some(7));
    let pinned = read.pinned.take().unwrap();
    assert_eq!(pinned.position, position);
    let mut next = next(read);
    next.host = case.host.clone();
    next.host_at_start = pinned.host_at_start.clone();
    pinned.restore(&mut next.accounts);
    assert_eq!(next.accounts.ledger.kernel_times, kernel_times);
    assert_eq!(next.lines("seismograf,part=cpu"), case.lines("seismograf,part=cpu"));
    assert_eq!(next.lines("seismograf,part=blkio"), case.lines("seismograf,part=blkio"));
    assert_eq!(next.lines("seismograf,part=net"), case.lines("seismograf,part=net"));
    assert!(case.lines("seismograf,part=cpu")[0].contains("rows_ns=1500i"));
}
