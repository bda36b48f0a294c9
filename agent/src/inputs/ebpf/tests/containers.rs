//! What other inputs learn from the kernel's records.

use super::*;

/// Where the inputs find the container; it must be on disk too.
fn path(case: &Case, path: &str) -> Option<String> {
    case.write(&[(&format!("memory{path}/memory.stat"), "")]);
    case.containers.path(ID, case.now).map(|path| path.to_string())
}

#[test]
fn a_container_that_was_made_is_found_without_a_walk() {
    let mut case = Case::new(&[Group::Lifecycle]);
    assert_eq!(case.containers.path(ID, case.now), None, "walked, and not again for a second");
    let own = format!("/docker/{ID}");
    case.made(CPU, 9, &own);
    assert_eq!(path(&case, &own), None, "another hierarchy");
    case.made(MEMORY, 11, &format!("{own}/nested"));
    assert_eq!(path(&case, &own), None, "a part of it");
    case.made(MEMORY, 10, &own);
    assert_eq!(path(&case, &own), Some(own.clone()));
    case.removed(CPU, 9, &own);
    assert_eq!(path(&case, &own), Some(own.clone()));
    case.removed(MEMORY, 10, &own);
    assert_eq!(path(&case, &own), None);
}

#[test]
fn the_release_of_the_cgroup_before_leaves_the_one_that_took_its_place() {
    let mut case = Case::new(&[Group::Lifecycle]);
    assert_eq!(case.containers.path(ID, case.now), None);
    let own = format!("/docker/{ID}");
    case.made(MEMORY, 10, &own);
    case.removed(MEMORY, 10, &own);
    case.made(MEMORY, 11, &own);
    case.change(CgroupChange::Released, MEMORY, 10, &own);
    assert_eq!(path(&case, &own), Some(own.clone()));
}

#[test]
fn a_cgroup_that_somebody_names_like_a_container_does_not_take_its_place() {
    let mut case = Case::new(&[Group::Lifecycle]);
    assert_eq!(case.containers.path(ID, case.now), None);
    let (own, other) = (format!("/docker/{ID}"), format!("/user.slice/{ID}"));
    case.made(MEMORY, 10, &own);
    case.made(MEMORY, 11, &other);
    assert_eq!(path(&case, &own), Some(own.clone()));
    case.removed(MEMORY, 11, &other);
    assert_eq!(path(&case, &own), Some(own));
}

#[test]
fn those_that_a_walk_found_are_passed_on() {
    let mut case = Case::new(&[Group::Lifecycle]);
    assert_eq!(case.containers.path(ID, case.now), None);
    let own = format!("/docker/{ID}");
    case.write(&[
        (&format!("memory{own}/nested/memory.stat"), ""),
        (&format!("cpu/{OTHER_ID}/cpu.stat"), ""),
    ]);
    for (hierarchy, mount) in case.report.hierarchies.mounted() {
        case.accounts.walked(hierarchy, &crate::host::hierarchies::walk(mount), case.now);
    }
    assert_eq!(path(&case, &own), None);
    case.accounts.pass_on_alive(&case.containers);
    assert_eq!(path(&case, &own), Some(own));
    case.write(&[(&format!("memory/{OTHER_ID}/memory.stat"), "")]);
    assert_eq!(case.containers.path(OTHER_ID, case.now), None, "another hierarchy");
}

#[test]
fn a_container_without_a_name_is_requested_at_once() {
    let mut case = Case::new(&[Group::Lifecycle]);
    let own = format!("/docker/{ID}");
    for (hierarchy, path, is_requested) in
        [(MEMORY, own.as_str(), false), (CPU, "/system.slice/a.service", false), (CPU, own.as_str(), true)]
    {
        let names = std::mem::take(&mut case.names);
        let mut wanted = std::pin::pin!(names.requested());
        let HierarchyId(hierarchy) = hierarchy;
        let (change, path) = (CgroupChange::Made, path.as_bytes());
        let record = Record::Cgroup { change, hierarchy, cgroup: 10, run_ns: 0, path };
        case.accounts.take(record, &names, &case.containers, case.now);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert_eq!(wanted.as_mut().poll(&mut context).is_ready(), is_requested);
    }
}
