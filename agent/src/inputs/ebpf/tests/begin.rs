//! Where totals begin.

use std::collections::HashMap;

use super::*;
use crate::host::cgroupfs::figures::DeviceIo;
use crate::inputs::ebpf::begin::{KernelSums, Round};

fn sums(case: &Case, of: &[(&str, u64)]) -> HashMap<u64, KernelSums> {
    let id =
        |path: &str| case.accounts.cgroups.owners().find(|owner| owner.identity.path == path).unwrap().id;
    let sums = |ns: u64| KernelSums { cpu_ns: Some(ns), ..KernelSums::default() };
    of.iter().map(|(path, ns)| (id(path), sums(*ns))).collect()
}

fn usage(case: &mut Case, path: &str) -> Option<String> {
    let lines = case.lines(&format!("cgroup_cpu,cgroup={path},"));
    let fields = lines.first()?.split_once(" usage_ns=")?.1;
    Some(fields.split(',').next()?.to_owned())
}

#[test]
fn an_owner_begins_with_what_the_kernel_has_and_no_record_told_of() {
    let mut case = Case::new(&[on(Probe::Cpu)]);
    let (outer, inner) = ("/system.slice/user@1.service", "/system.slice/user@1.service/app.slice/a.service");
    case.made(CPU, 1, outer);
    case.made(CPU, 2, inner);
    case.made(CPU, 3, "/system.slice");
    case.made(CPU, 4, &format!("{outer}/nested"));
    // Already told of, since the probes started.
    for (id, ns) in [(1, 10), (2, 20), (4, 5)] {
        case.take(cpu(id, ns, 1));
    }
    let round = Round::first(&case.accounts);
    assert_eq!(round.owners().len(), 2, "a slice is no owner");
    let before = Round::counted(&case.accounts);
    let sums = sums(&case, &[(outer, 1_000), (inner, 600)]);
    assert!(round.finish(&mut case.accounts, &before, &sums).is_empty());
    // 1000 of both, of which the inner one has 600.
    assert_eq!(usage(&mut case, outer).as_deref(), Some("400i"));
    assert_eq!(usage(&mut case, inner).as_deref(), Some("600i"));
    assert_eq!(usage(&mut case, "/system.slice"), None);
    // The balance has only what the probes saw.
    assert!(case.lines("seismograf,part=cpu")[0].contains("rows_ns=35i"));
    case.take(cpu(1, 7, 1));
    assert_eq!(usage(&mut case, outer).as_deref(), Some("407i"));
}

#[test]
fn what_ran_while_the_sums_were_read_is_read_again() {
    let mut case = Case::new(&[on(Probe::Cpu)]);
    let (busy, idle) = ("/system.slice/busy.service", "/system.slice/idle.service");
    case.made(CPU, 1, busy);
    case.made(CPU, 2, idle);
    let mut round = Round::first(&case.accounts);
    let mut rounds = 0;
    while !round.is_empty() {
        let before = Round::counted(&case.accounts);
        let sums = sums(&case, &[(busy, 1_000 + 10 * rounds), (idle, 500)]);
        // It runs on, all the time.
        case.take(cpu(1, 10, 1));
        round = round.finish(&mut case.accounts, &before, &sums);
        rounds += 1;
        if rounds == 1 {
            let left: Vec<&str> = round.owners().iter().map(|owner| owner.identity.path.as_str()).collect();
            assert_eq!(left, [busy]);
        }
    }
    assert_eq!(rounds, 4, "not for ever");
    assert_eq!(usage(&mut case, idle).as_deref(), Some("500i"));
    // Never more than the kernel has: 1030 when it was last read, of which 10 came later.
    assert_eq!(usage(&mut case, busy).as_deref(), Some("1030i"));
}

#[test]
fn what_was_written_back_meanwhile_is_read_again() {
    let mut case = Case::new(&[on(Probe::Blkio)]);
    case.made(BLKIO, 7, "/system.slice/db.service");
    let round = Round::first(&case.accounts);
    let before = Round::counted(&case.accounts);
    case.take(blkio(7, SDA, AMOUNTS, [&[], &[]]));
    let round = round.finish(&mut case.accounts, &before, &HashMap::new());
    assert_eq!(round.owners().len(), 1);
    let before = Round::counted(&case.accounts);
    assert!(round.finish(&mut case.accounts, &before, &HashMap::new()).is_empty());
}

#[test]
fn block_io_and_kills_begin_there_too() {
    let mut case = Case::new(&[on(Probe::Blkio), Group::Oom]);
    let path = "/system.slice/db.service";
    for hierarchy in [BLKIO, MEMORY] {
        case.made(hierarchy, 7, path);
    }
    let amounts = BlkioAmounts { read_bytes: 512, reads: 1, ..BlkioAmounts::default() };
    case.take(blkio(7, SDA, amounts, [&[], &[]]));
    let owner = case.accounts.cgroups.owners().next().unwrap().id;
    let io = DeviceIo {
        device: (SDA.major, SDA.minor),
        bytes: [Some(4_096), Some(8_192), None, None, Some(16_384), None],
        operations: [Some(3), Some(5), None, None, Some(7), None],
    };
    let sums = KernelSums { blkio: vec![io], oom_kills: Some(2), ..KernelSums::default() };
    let round = Round::first(&case.accounts);
    let before = Round::counted(&case.accounts);
    assert!(round.finish(&mut case.accounts, &before, &HashMap::from([(owner, sums)])).is_empty());
    let expected = format!(
        "cgroup_blkio,cgroup={path},device=8:0,unit=db.service read_bytes=4096i,write_bytes=8192i,\
         discard_bytes=16384i,reads=3i,writes=5i,discards=7i,errors=0i,read_time_ns=0i,write_time_ns=0i 99"
    );
    assert_eq!(case.lines("cgroup_blkio"), [expected]);
    assert!(case.lines("seismograf,part=blkio")[0].contains("rows_bytes=512i"));
    case.removed(MEMORY, 7, path);
    assert!(case.lines("cgroup_mem")[0].contains("oom_kills=2i"));
}

#[rstest::rstest]
#[case::v1(Case::new(&[Group::Oom]), MEMORY, 5)]
#[case::v2(Case::unified(&[Group::Oom]), HierarchyId::UNIFIED, 3)]
fn kills_of_a_container_in_a_unit_are_taken_off_where_the_kernel_adds_them_up(
    #[case] mut case: Case,
    #[case] memory: HierarchyId,
    #[case] of_unit: u64,
) {
    let unit = "/system.slice/docker.service";
    let container = format!("{unit}/docker/{}", "0a".repeat(32));
    case.made(memory, 1, unit);
    case.made(memory, 2, &container);
    let round = Round::first(&case.accounts);
    let before = Round::counted(&case.accounts);
    let sums = round.owners().iter().map(|owner| {
        let kills = if owner.identity.path == unit { 5 } else { 2 };
        (owner.id, KernelSums { oom_kills: Some(kills), ..KernelSums::default() })
    });
    let sums = sums.collect();
    assert!(round.finish(&mut case.accounts, &before, &sums).is_empty());
    let of = |id| case.accounts.ledger.oom.get(id).copied();
    assert_eq!([of(1), of(2)], [Some(of_unit), Some(2)]);
}

#[test]
fn a_kill_is_the_victims_where_the_kernel_names_it_by_number() {
    let mut case = Case::new(&[Group::Oom]);
    // A cgroup that is nobody's has its row, too.
    let paths = ["/limited/victim", "/system.slice/other.service", "/system.slice/gone.service"];
    for (id, path) in (1..).zip(paths) {
        case.made(MEMORY, id, path);
    }
    case.made(MEMORY, 4, "/system.slice/other.service/worker");
    // It ran out of memory, and a process of another one was killed; and one in a cgroup that went with it.
    for cgroup in [4, 3] {
        case.take(Record::OomKill(OomKill { kind: 6, pid: 0, cgroup, victim: 4_321 }));
    }
    case.removed(MEMORY, 3, paths[2]);
    assert!(case.accounts.has_guessed_kills());
    let round = Round::of_all(&case.accounts);
    let id = |path: &str| round.owners().iter().find(|owner| owner.identity.path == path).unwrap().id;
    let kills = |n: u64| KernelSums { oom_kills: Some(n), ..KernelSums::default() };
    let sums = HashMap::from([(id(paths[0]), kills(1)), (id(paths[1]), kills(0))]);
    round.settle_kills(&mut case.accounts, &sums);
    assert!(!case.accounts.has_guessed_kills());
    let kills = |case: &Case| [1, 2, 3, 4].map(|id| case.accounts.ledger.oom.get(id).copied().unwrap_or(0));
    assert_eq!(kills(&case), [1, 0, 1, 0]);
    assert_eq!(*case.accounts.ledger.oom.sum(), 2, "all that was told of");
    // The next one of the same count is no news.
    round.settle_kills(&mut case.accounts, &sums);
    assert_eq!(kills(&case), [1, 0, 1, 0]);
}
