//! What holds for every path, whatever it contains. Shared by the tests here and the fuzz target.

use super::parse;

/// Replaces the placeholders of `testdata/cgroup-paths.txt` with ids.
pub fn fill(text: &str) -> String {
    const UUIDS: [(char, &str); 2] =
        [('U', "8f1ce4a0-1c2b-4d3e-9f60-0a1b2c3d4e5f"), ('V', "0e51ac4b-77d2-11ef-8a3d-42010a800fe2")];
    if !text.contains('{') {
        return text.to_owned();
    }
    let mut text = text.replace("{H}", "5a0d5ceddf6c44c1928d367a815d890f");
    for (name, digit) in [('A', "0a"), ('B', "1b"), ('C', "2c")] {
        text = text.replace(&format!("{{{name}}}"), &digit.repeat(32));
    }
    for (name, uuid) in UUIDS {
        text = text.replace(&format!("{{{name}}}"), uuid);
        text = text.replace(&format!("{{{name}_}}"), &uuid.replace('-', "_"));
    }
    text
}

/// # Panics
///
/// When something does not hold.
pub fn check(path: &str) {
    let identity = parse(path);
    assert_eq!(identity, parse(path), "the same every time");
    assert_eq!(identity.path, path);

    assert_eq!(identity.container_id.is_some(), identity.container_path().is_some());
    assert!(identity.runtime.is_none() || identity.container_id.is_some(), "{identity:?}");
    if let (Some(id), Some(root)) = (&identity.container_id, identity.container_path()) {
        let is_id_character = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        assert!(!id.is_empty() && !id.contains('/'), "{identity:?}");
        assert!(identity.runtime == Some("lxc") || id.chars().all(is_id_character), "{identity:?}");
        let name = root.rsplit('/').next().unwrap_or(root);
        let plain = |text: &str| text.replace(r"\x2d", "-");
        assert!(plain(name).contains(&plain(id)), "the directory is the container's: {identity:?}");
        assert_ends_a_name(path, root);
        let at_root = parse(root);
        assert!(at_root.is_container_root());
        assert_eq!(at_root.container_id, identity.container_id, "what is inside does not change who it is");
        assert_eq!(at_root.unit, identity.unit, "a unit inside is not the host's");
    }

    assert_eq!(identity.qos.is_some(), identity.pod_uid.is_some());
    if let Some(uid) = &identity.pod_uid {
        assert!((1..=128).contains(&uid.len()), "{identity:?}");
        assert!(uid.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.')), "{identity:?}");
    }
    if let Some(root) = identity.pod_path() {
        assert_ends_a_name(path, root);
        let at_root = parse(root);
        assert_eq!(at_root.pod_path(), Some(root));
        assert_eq!(at_root.pod_uid, identity.pod_uid);
        assert_eq!(at_root.qos, identity.qos);
    }
    if let Some(unit) = &identity.unit {
        assert!(path.split('/').any(|name| name.strip_prefix('_').unwrap_or(name) == unit), "{identity:?}");
    }

    let owner = parse(identity.owner_path());
    assert_ends_a_name(path, identity.owner_path());
    assert_eq!(owner.owner_path(), identity.owner_path(), "an owner owns itself");
    assert_eq!((&owner.container_id, &owner.unit), (&identity.container_id, &identity.unit), "{identity:?}");
    // A pod can be in a container: that of a node that is one.
    let is_in_pod = identity.pod_path().is_some_and(|pod| pod.len() <= identity.owner_path().len());
    assert!(!is_in_pod || owner.pod_uid == identity.pod_uid, "{identity:?}");

    // Where a container is any name below a certain one, this would be the name of one.
    if matches!(path.split('/').rfind(|name| !name.is_empty()), Some("lxc" | "lxc.payload")) {
        return;
    }
    // Below a container everything belongs to the container; elsewhere this is a unit and nothing else.
    let nested = parse(&format!("{path}/cron.service"));
    assert_eq!(nested.container_path(), identity.container_path());
    assert_eq!(nested.container_id, identity.container_id);
    assert_eq!(nested.runtime, identity.runtime);
    assert_eq!(nested.pod_path(), identity.pod_path());
    assert_eq!(nested.pod_uid, identity.pod_uid);
    let unit = if identity.container_id.is_some() { identity.unit.as_deref() } else { Some("cron.service") };
    assert_eq!(nested.unit.as_deref(), unit);
    assert!(!nested.is_container_root());
}

/// `root` is a prefix of `path` that ends where a name ends.
fn assert_ends_a_name(path: &str, root: &str) {
    let rest = path.strip_prefix(root);
    assert!(rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')), "{root} in {path}");
}
