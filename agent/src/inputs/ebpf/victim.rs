//! Whose an OOM kill is, where the kernel names the victim by its number.
//!
//! So it is before Linux 6.8. A program cannot follow a number, and charges the task that ran out of memory: another one, where
//! the limit is that of a cgroup above both, or the machine has no memory left. The victim is there for some milliseconds
//! more, so its cgroup is looked up as the record comes.

use seismograf_ebpf::abi::OomKill;

use crate::host::Host;
use crate::host::hierarchies::HierarchyId;
use crate::host::proc::pid_cgroup;
use crate::identity::cgroup::Cgroups;
use crate::kernel::records::Record;

/// No process has a larger number (`PID_MAX_LIMIT`, include/linux/threads.h), and no task so low an address.
const MAX_PID: u64 = 1 << 22;

/// A record with the cgroup of the victim in the hierarchy of `memory`, where that is found; all others as they are.
pub(super) fn find<'a>(
    record: Record<'a>,
    host: &Host,
    cgroups: &Cgroups,
    memory: HierarchyId,
) -> Record<'a> {
    match record {
        Record::OomKill(kill) if kill.victim <= MAX_PID => {
            let cgroup = cgroup_of(kill.victim, host, cgroups, memory);
            Record::OomKill(OomKill { cgroup: cgroup.unwrap_or(kill.cgroup), ..kill })
        }
        record => record,
    }
}

fn cgroup_of(pid: u64, host: &Host, cgroups: &Cgroups, memory: HierarchyId) -> Option<u64> {
    // Elsewhere it is another process that has the number.
    if !host.is_proc_named() && !host.is_host_pid_namespace() {
        return None;
    }
    let text = std::fs::read_to_string(host.proc(format!("{pid}/cgroup"))).ok()?;
    let path = pid_cgroup::lines(&text).find(|line| line.hierarchy == memory.0)?.path;
    // From a cgroup namespace of its own it is seen from there: `/../../kubepods/a`.
    let below = path.trim_start_matches("/..");
    // Where it has left already, a process is in the root of v1.
    if below.is_empty() || below == "/" {
        return None;
    }
    let is_its =
        |known: &str| if below.len() == path.len() { known == below } else { known.ends_with(below) };
    let mut known =
        cgroups.iter().filter(|((hierarchy, _), known)| *hierarchy == memory && is_its(known.path()));
    known.next().map(|((_, id), _)| id)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use rstest::rstest;
    use seismograf_ebpf::abi::CgroupChange;

    use super::*;

    const MEMORY: HierarchyId = HierarchyId(3);

    /// What a kill of the process 7 is charged to, whose file has that text; the program says 10.
    fn charged(text: &str, victim: u64) -> u64 {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("7")).unwrap();
        fs::write(folder.path().join("7/cgroup"), text).unwrap();
        let place = folder.path().display().to_string();
        let host = Host::from_variables(|variable| (variable == "HOST_PROC").then(|| place.clone()));
        let (mut cgroups, now) = (Cgroups::default(), Instant::now());
        for (hierarchy, id, path) in [(MEMORY, 11, "/a/b"), (MEMORY, 12, "/b"), (HierarchyId(4), 13, "/c")] {
            cgroups.changed((hierarchy, id), CgroupChange::Made, path.as_bytes(), now);
        }
        let kill = OomKill { kind: 6, pid: 0, cgroup: 10, victim };
        match find(Record::OomKill(kill), &host, &cgroups, MEMORY) {
            Record::OomKill(kill) => kill.cgroup,
            record => panic!("{record:?}"),
        }
    }

    #[rstest]
    #[case("4:cpu:/c\n3:memory:/a/b\n", 11)]
    #[case("3:memory:/b\n", 12)]
    #[case::from_a_namespace("3:memory:/../../a/b\n", 11)]
    #[case::has_left("3:memory:/\n", 10)]
    #[case::not_known("3:memory:/x\n", 10)]
    #[case::of_no_such_hierarchy("4:cpu:/c\n", 10)]
    fn a_kill_is_the_victims(#[case] text: &str, #[case] expected: u64) {
        assert_eq!(charged(text, 7), expected);
    }

    #[test]
    fn an_address_is_no_number_and_a_process_that_is_gone_is_not_found() {
        assert_eq!(charged("3:memory:/b\n", 0xffff_8880_0000_0007), 10);
        assert_eq!(charged("3:memory:/b\n", 8), 10);
    }
}
