//! Cgroup path to container, pod and unit.
//!
//! Pure and total: any string gives an answer. Known layouts: docker, containerd, CRI-O and podman under the
//! cgroupfs and the systemd driver, Kubernetes' pods of either, LXC, and systemd's own units.

use super::Identity;

/// Digits of a container id.
const CONTAINER_ID_DIGITS: usize = 64;

/// Prefixes of a container's scope under the systemd driver, and who writes them.
const SCOPES: &[(&str, &str)] =
    &[("docker-", "docker"), ("cri-containerd-", "containerd"), ("crio-", "cri-o"), ("libpod-", "podman")];

/// Reads everything that a path says. The innermost container and unit count; a nested cgroup inside a container
/// belongs to it.
#[must_use]
pub fn parse(path: &str) -> Identity {
    let mut identity = Identity { path: path.to_owned(), ..Identity::default() };
    let mut parent = "";
    for name in path.split('/').filter(|name| !name.is_empty()) {
        if let Some(uid) = pod_uid(name) {
            identity.pod_uid = Some(uid);
        } else if let Some((id, runtime)) = container(name, parent, identity.pod_uid.is_some()) {
            identity.container_id = Some(id.to_owned());
            identity.runtime = Some(runtime);
        } else if let Some(name) = parent_lxc(name, parent) {
            identity.container_id = Some(name.to_owned());
            identity.runtime = Some("lxc");
        }
        if is_unit(name) {
            identity.unit = Some(name.to_owned());
        }
        parent = name;
    }
    identity
}

/// A pod's directory: `pod<uid>` under the cgroupfs driver, `kubepods[-<class>]-pod<uid with _>.slice` under
/// systemd's.
fn pod_uid(name: &str) -> Option<String> {
    let uid = match name.strip_suffix(".slice") {
        Some(slice) => slice.strip_prefix("kubepods")?.rsplit_once("-pod")?.1.replace('_', "-"),
        None => name.strip_prefix("pod")?.to_owned(),
    };
    let is_uid = uid.len() >= 32 && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    is_uid.then_some(uid)
}

/// A container's directory, and the runtime that made it.
fn container<'a>(name: &'a str, parent: &str, in_pod: bool) -> Option<(&'a str, &'static str)> {
    if let Some(scope) = name.strip_suffix(".scope") {
        return SCOPES.iter().find_map(|(prefix, runtime)| {
            let id = scope.strip_prefix(prefix)?;
            is_container_id(id).then_some((id, *runtime))
        });
    }
    // CRI-O and podman keep their prefixes under cgroupfs too; others write the bare id.
    if let Some((id, runtime)) =
        SCOPES.iter().find_map(|(prefix, runtime)| Some((name.strip_prefix(prefix)?, *runtime)))
    {
        return is_container_id(id).then_some((id, runtime));
    }
    if !is_container_id(name) {
        return None;
    }
    match parent {
        "docker" => Some((name, "docker")),
        // Under the cgroupfs driver the path does not say who runs the pod.
        _ if in_pod => Some((name, "cri")),
        _ => None,
    }
}

/// LXC: `lxc.payload.<name>`, or `<name>` below `lxc`.
fn parent_lxc<'a>(name: &'a str, parent: &str) -> Option<&'a str> {
    name.strip_prefix("lxc.payload.").or((parent == "lxc").then_some(name)).filter(|name| !name.is_empty())
}

fn is_container_id(id: &str) -> bool {
    id.len() == CONTAINER_ID_DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A systemd unit that runs something; slices only group.
fn is_unit(name: &str) -> bool {
    [".service", ".scope", ".socket", ".mount", ".swap"]
        .iter()
        .any(|suffix| name.strip_suffix(suffix).is_some_and(|stem| !stem.is_empty()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const UID: &str = "11111111-2222-3333-4444-555555555555";

    #[rstest]
    #[case::root("/", None, None, None)]
    #[case::docker_cgroupfs("/docker/ID", Some("docker"), None, None)]
    #[case::docker_systemd("/system.slice/docker-ID.scope", Some("docker"), None, Some("docker-ID.scope"))]
    #[case::nested("/docker/ID/init.scope/x", Some("docker"), None, Some("init.scope"))]
    #[case::pod_cgroupfs("/kubepods/besteffort/podUID/ID", Some("cri"), Some(UID), None)]
    #[case::pod_alone("/kubepods/burstable/podUID", None, Some(UID), None)]
    #[case::containerd(
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUUID.slice/cri-containerd-ID.scope",
        Some("containerd"),
        Some(UID),
        Some("cri-containerd-ID.scope")
    )]
    #[case::crio(
        "/kubepods.slice/kubepods-podUUID.slice/crio-ID.scope/container",
        Some("cri-o"),
        Some(UID),
        Some("crio-ID.scope")
    )]
    #[case::podman("/machine.slice/libpod-ID.scope", Some("podman"), None, Some("libpod-ID.scope"))]
    #[case::service("/system.slice/ssh.service", None, None, Some("ssh.service"))]
    #[case::lxc("/lxc.payload.web/system.slice/cron.service", Some("lxc"), None, Some("cron.service"))]
    #[case::slice("/user.slice/user-1000.slice", None, None, None)]
    #[case::not_an_id("/docker/0123", None, None, None)]
    fn layouts(
        #[case] path: &str,
        #[case] runtime: Option<&str>,
        #[case] pod: Option<&str>,
        #[case] unit: Option<&str>,
    ) {
        let fill = |s: &str| s.replace("UUID", &UID.replace('-', "_")).replace("UID", UID).replace("ID", ID);
        let path = fill(path);
        let identity = parse(&path);
        assert_eq!(identity.runtime, runtime);
        if runtime.is_some_and(|runtime| runtime != "lxc") {
            assert_eq!(identity.container_id.as_deref(), Some(ID));
        }
        assert_eq!(identity.pod_uid.as_deref(), pod);
        assert_eq!(identity.unit, unit.map(fill));
        assert_eq!(identity.path, path);
    }

    #[rstest]
    #[case("")]
    #[case("////")]
    #[case("/.scope/.slice/pod/kubepods-pod.slice/lxc/lxc.payload.")]
    #[case("/docker-é.scope/\u{0}\n")]
    fn garbage_is_an_answer_too(#[case] path: &str) {
        assert_eq!(parse(path).container_id, None);
    }
}
