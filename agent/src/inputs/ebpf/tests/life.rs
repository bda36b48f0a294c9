//! The accounts of a cgroup from its making to its end.

use super::*;
use crate::ledger::cpu::KernelTimes;

/// A record in each area, each with an id of its own.
fn take_all(case: &mut Case, [cpu_id, blkio_id, memory_id, net_id]: [u64; 4]) {
    case.take(cpu(cpu_id, 1_009, 3));
    case.take(runqueue(cpu_id, 2_003, &[]));
    case.take(blkio(blkio_id, SDA, AMOUNTS, [&[], &[]]));
    case.take(oom(memory_id));
    case.take(net(net_id, PACKETS));
}

#[test]
fn one_that_is_made_again_goes_on_with_its_totals_in_every_area() {
    let mut case = Case::new(&[on(Probe::Tcp)]);
    let (old, new) = ([10, 20, 30, 40], [11, 21, 31, 41]);
    let hierarchies = [CPU, BLKIO, MEMORY, NET];
    for (hierarchy, id) in hierarchies.into_iter().zip(old) {
        case.made(hierarchy, id, "/a");
    }
    take_all(&mut case, old);
    for (hierarchy, (old, new)) in hierarchies.into_iter().zip(old.into_iter().zip(new)) {
        case.removed(hierarchy, old, "/a");
        case.made(hierarchy, new, "/a");
    }
    // What a CPU only now writes back of the old one.
    take_all(&mut case, old);
    take_all(&mut case, new);
    case.removed(MEMORY, 31, "/a");
    let expected = [
        "cgroup_blkio,cgroup=/a,device=8:0 read_bytes=12297i,write_bytes=24627i,discard_bytes=49233i,reads=9i,writes=15i,\
         discards=21i,errors=33i,read_time_ns=300009i,write_time_ns=600009i 99",
        "cgroup_cpu,cgroup=/a usage_ns=3027i,context_switches=9i,usage_percent=0.00003027,runqueue_wait_ns=6009i 99",
        "cgroup_mem,cgroup=/a oom_kills=3i 99",
        "cgroup_net,cgroup=/a rx_bytes=3027i,tx_bytes=6009i,rx_packets=39i,tx_packets=51i,tcp_retransmits=57i 99",
    ];
    assert_eq!(case.lines("cgroup_"), expected);
}

#[test]
fn each_area_forgets_what_is_gone_from_its_own_hierarchy() {
    for (gone, expected) in [
        (CPU, [false, false, true, true, true]),
        (BLKIO, [true, true, false, true, true]),
        (MEMORY, [true, true, true, false, true]),
        (NET, [true, true, true, true, false]),
    ] {
        let mut case = Case::new(&[]);
        for hierarchy in [CPU, BLKIO, MEMORY, NET] {
            case.made(hierarchy, 10, "/a");
        }
        take_all(&mut case, [10; 4]);
        case.removed(gone, 10, "/a");
        case.change(CgroupChange::Released, gone, 10, "/a");
        case.close();
        case.close();
        let ledger = &case.accounts.ledger;
        let kept = [
            ledger.cpu.get(10).is_some(),
            ledger.runqueue.get(10).is_some(),
            ledger.blkio.of(10).next().is_some(),
            ledger.oom.get(10).is_some(),
            ledger.net.get(10).is_some(),
        ];
        assert_eq!(kept, expected, "gone from {gone:?}");
    }
}

#[test]
fn the_kernels_own_sums_take_the_place_of_rows() {
    let mut case = Case::new(&[]);
    case.report.cpu_source = CpuSource::Kernel;
    case.accounts.ledger.kernel_times = Some(KernelTimes::begin([(10, 100)].into_iter()));
    case.made(CPU, 10, "/a");
    case.made(CPU, 11, "/b");
    let ends = |case: &mut Case, change, cgroup, run_ns, path: &str| {
        let HierarchyId(hierarchy) = CPU;
        case.take(Record::Cgroup { change, hierarchy, cgroup, run_ns, path: path.as_bytes() });
    };
    ends(&mut case, CgroupChange::Removed, 10, 150, "/a");
    ends(&mut case, CgroupChange::Removed, 11, 7, "/b");
    // The last that its task ran came after its directory had gone.
    ends(&mut case, CgroupChange::Released, 11, 9, "/b");
    let lines = case.lines("cgroup_cpu");
    let expected = ["/a usage_ns=50i,usage_percent=0.0000005", "/b usage_ns=9i,usage_percent=0.00000009"];
    assert_eq!(lines, expected.map(|row| format!("cgroup_cpu,cgroup={row} 99")));
    case.close();
    case.close();
    // Nothing is known any more of what was entered of it.
    ends(&mut case, CgroupChange::Released, 11, 9, "/b");
    assert_eq!(case.accounts.ledger.cpu.sum().usage_ns, 59);
}

#[test]
fn where_a_probe_counts_a_sum_of_the_kernels_is_not_entered() {
    let mut case = Case::new(&[]);
    case.made(CPU, 10, "/a");
    case.take(cpu(10, 5, 1));
    let HierarchyId(hierarchy) = CPU;
    case.take(Record::Cgroup {
        change: CgroupChange::Removed,
        hierarchy,
        cgroup: 10,
        run_ns: 5,
        path: b"/a",
    });
    assert_eq!(case.accounts.ledger.cpu.sum().usage_ns, 5);
}
