//! Cgroup path to container, pod and unit.
//!
//! Pure and total: any string has a result. `testdata/cgroup-paths.txt` has the known layouts, by runtime and driver, with
//! the result of each.
//!
//! A path is only as trustworthy as whoever may create a directory there: a process that manages cgroups of its own, as
//! in a container or below `user@1000.service`, can name one like a container.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod invariants;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use seismograf_ebpf::abi::PATH_BYTES;

use super::Identity;

/// Digits of a container's id.
const CONTAINER_ID_DIGITS: usize = 64;
/// Digits of an ECS task's id.
const SHORT_ID_DIGITS: usize = 32;
/// The longest UID of a pod that is accepted. Most are UUIDs; that of a static pod is a hash of its manifest, or in it.
const MAX_POD_UID_BYTES: usize = 128;
/// Digits of a UUID, group by group.
pub(super) const UUID_GROUPS: &[usize] = &[8, 4, 4, 4, 12];
/// The same for Garden's container ids: almost a UUID.
const GARDEN_GROUPS: &[usize] = &[8, 4, 4, 4, 4];
/// Letters and digits of BuildKit's ids.
const BUILDKIT_ID_LETTERS: usize = 25;

/// The prefix of a container's id in a name, and the runtime that writes it. Monitors have names of their own
/// (`crio-conmon-<id>`), so they are not mistaken for the container.
const PREFIXES: &[(&str, &str)] = &[
    ("docker", "docker"),
    ("cri-containerd", "containerd"),
    ("nerdctl", "containerd"),
    ("crio", "cri-o"),
    ("libpod", "podman"),
    ("libpod-payload", "podman"),
];

/// Parses a path.
///
/// The innermost container and the innermost pod count, and what is below them belongs to them. The unit is the
/// innermost one of this machine's own systemd; those of a systemd in a container do not count.
#[must_use]
pub fn parse(path: &str) -> Identity {
    let mut reader = Reader::default();
    let mut start = 0;
    for name in path.split('/') {
        let end = start + name.len();
        if !name.is_empty() {
            reader.read(name, end);
        }
        start = end + 1;
    }
    reader.identity(path)
}

/// Parses the path of a life-cycle record. The kernel truncates one that does not fit into the record. The deciding name can
/// be in the part that is missing, so such a path is nothing but a path.
#[must_use]
pub fn parse_record(path: &[u8]) -> Identity {
    let text = String::from_utf8_lossy(path);
    if path.len() + 1 < PATH_BYTES {
        parse(&text)
    } else {
        Identity { path: text.into(), ..Identity::default() }
    }
}

/// The paths above a path, the nearest first and the root last.
pub(crate) fn above(path: &str) -> impl Iterator<Item = &str> {
    fn next<'a>(path: &&'a str) -> Option<&'a str> {
        match path.rsplit_once('/')? {
            ("", "") => None,
            ("", _) => Some("/"),
            (above, _) => Some(above),
        }
    }
    std::iter::successors(Some(path), next).skip(1)
}

/// What was found so far, from the root down.
#[derive(Default)]
struct Reader<'a> {
    top: &'a str,
    grandparent: &'a str,
    parent: &'a str,
    parent_is_pod: bool,
    pod: Option<PodPart<'a>>,
    /// Where the pod's own directory ends. A pod that is only mentioned has none.
    pod_end: Option<usize>,
    container: Option<ContainerPart<'a>>,
    container_end: Option<usize>,
    unit: Option<&'a str>,
    unit_end: Option<usize>,
}

struct PodPart<'a> {
    /// With dashes, or with underscores instead.
    uid: &'a str,
    qos: &'static str,
}

struct ContainerPart<'a> {
    id: Cow<'a, str>,
    runtime: Option<&'static str>,
}

impl<'a> ContainerPart<'a> {
    fn new(id: impl Into<Cow<'a, str>>, runtime: &'static str) -> Self {
        Self { id: id.into(), runtime: Some(runtime) }
    }
}

impl<'a> Reader<'a> {
    /// Reads the next name, which ends at `end`.
    fn read(&mut self, name: &'a str, end: usize) {
        if self.top.is_empty() {
            self.top = name;
        }
        if self.container.is_none() && is_unit(name) {
            // systemd puts an underscore before a name that could be one of the kernel's files (`cg_escape`).
            self.unit = Some(name.strip_prefix('_').unwrap_or(name));
            self.unit_end = Some(end);
        }
        let (pod, mut parent) = (self.pod(name), name);
        let is_pod = pod.is_some();
        if is_pod {
            (self.pod, self.pod_end) = (pod, Some(end));
        } else if let Some(container) = self.container(name) {
            (self.container, self.container_end) = (Some(container), Some(end));
            // A container may be called `lxc`, which does not tell what is in it.
            parent = "";
            // Where systemd's notation was taken for a path, the same name contains the pod.
            if let Some(pod) = name.split_once(':').and_then(|(slice, _)| pod_slice(slice)) {
                (self.pod, self.pod_end) = (Some(pod), None);
            }
        }
        (self.grandparent, self.parent, self.parent_is_pod) = (self.parent, parent, is_pod);
    }

    /// A pod's directory: `pod<uid>` below `kubepods` or a class in it under the cgroupfs driver, a slice under
    /// systemd's.
    fn pod(&self, name: &'a str) -> Option<PodPart<'a>> {
        if name.ends_with(".slice") {
            return pod_slice(name);
        }
        let uid = name.strip_prefix("pod")?;
        let qos = match (self.grandparent, self.parent) {
            (_, "kubepods") => "guaranteed",
            ("kubepods", "burstable") => "burstable",
            ("kubepods", "besteffort") => "besteffort",
            _ => return None,
        };
        is_pod_uid(uid).then_some(PodPart { uid, qos })
    }

    /// A container's directory, and the runtime that created it.
    fn container(&self, name: &'a str) -> Option<ContainerPart<'a>> {
        prefixed(name).or_else(|| self.bare(name)).or_else(|| self.lxc(name)).or_else(|| nspawn(name))
    }

    /// A directory that is named by the container's id alone; its place tells the runtime.
    fn bare(&self, name: &'a str) -> Option<ContainerPart<'a>> {
        if is_hex(name, CONTAINER_ID_DIGITS) {
            let runtime = match self.parent {
                // Podman's pods, whose containers are `libpod-<id>`; what Kata's virtual machines take for themselves.
                "libpod_parent" | "kata_overhead" => return None,
                "docker" => Some("docker"),
                // nerdctl's, by containerd's namespace.
                "default" => Some("containerd"),
                // CRI-O writes a prefix, dockershim and containerd do not.
                _ if self.parent_is_pod => Some("cri"),
                _ if self.top == "ecs" => Some("docker"),
                // Docker puts a container wherever `--cgroup-parent` points. Nothing else is known to name a cgroup with
                // 64 digits, so such a name counts as a container of an unknown runtime: to miss a container is worse
                // than to report an id that no container has.
                _ => None,
            };
            return Some(ContainerPart { id: name.into(), runtime });
        }
        let runtime = match self.parent {
            "mesos" if is_hex_groups(name, '-', UUID_GROUPS) => "mesos",
            "garden" | "garden.service" | "good" | "bad"
                if is_hex_groups(name, '-', GARDEN_GROUPS) || is_hex_groups(name, '-', UUID_GROUPS) =>
            {
                "garden"
            }
            "buildkit" if is_buildkit_id(name) => "buildkit",
            _ if self.top == "ecs" && is_fargate_id(name) => "containerd",
            _ => return None,
        };
        Some(ContainerPart::new(name, runtime))
    }

    /// LXC, LXD and Incus: `lxc.payload.<name>`; in older ones the name below `lxc.payload` or `lxc`. The monitor's
    /// `lxc.monitor.<name>` is no container.
    fn lxc(&self, name: &'a str) -> Option<ContainerPart<'a>> {
        let below = matches!(self.parent, "lxc" | "lxc.payload").then_some(name);
        let name = name.strip_prefix("lxc.payload.").or(below).filter(|name| !name.is_empty())?;
        Some(ContainerPart::new(name, "lxc"))
    }

    fn identity(self, path: &str) -> Identity {
        let (container_id, runtime) =
            self.container.map_or((None, None), |container| (Some(container.id.into()), container.runtime));
        Identity {
            path: path.to_owned(),
            runtime,
            container_id,
            pod_uid: self.pod.as_ref().map(|pod| pod.uid.replace('_', "-")),
            qos: self.pod.map(|pod| pod.qos),
            unit: self.unit.map(str::to_owned),
            container_end: self.container_end,
            pod_end: self.pod_end,
            unit_end: self.unit_end,
        }
    }
}

/// `kubepods[-<class>]-pod<uid with _>.slice`, below whatever slice the kubelet was given.
fn pod_slice(name: &str) -> Option<PodPart<'_>> {
    let (parent, uid) = name.strip_suffix(".slice")?.rsplit_once("-pod")?;
    let (root, qos) = match parent.rsplit_once('-') {
        Some((root, "burstable")) => (root, "burstable"),
        Some((root, "besteffort")) => (root, "besteffort"),
        _ => (parent, "guaranteed"),
    };
    let is_kubernetes = root == "kubepods" || root.ends_with("-kubepods");
    // systemd would take a dash for another slice, so the kubelet writes `_`.
    (is_kubernetes && is_pod_uid(uid) && !uid.contains('-')).then_some(PodPart { uid, qos })
}

/// The manifest of a static pod may have any UID. The place of the directory tells that it is a pod's.
fn is_pod_uid(uid: &str) -> bool {
    let is_character = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_POD_UID_BYTES).contains(&uid.len()) && uid.bytes().all(is_character)
}

/// `<prefix>-<id>.scope` under systemd, `<prefix>-<id>` under cgroupfs, and `<slice>:<prefix>:<id>` where a runtime
/// without systemd was given systemd's notation.
fn prefixed(name: &str) -> Option<ContainerPart<'_>> {
    let (prefix, id) = match name.rsplit_once(':') {
        Some((slice_and_prefix, id)) => (slice_and_prefix.rsplit_once(':')?.1, id),
        None => name.strip_suffix(".scope").unwrap_or(name).rsplit_once('-')?,
    };
    let (_, runtime) = PREFIXES.iter().find(|(known, _)| *known == prefix)?;
    is_hex(id, CONTAINER_ID_DIGITS).then(|| ContainerPart::new(id, runtime))
}

/// A machine of systemd-nspawn: its scope, or the service that `machinectl start` runs it in.
fn nspawn(name: &str) -> Option<ContainerPart<'_>> {
    let scope = || name.strip_prefix("machine-")?.strip_suffix(".scope");
    let service = || name.strip_prefix("systemd-nspawn@")?.strip_suffix(".service");
    let machine = scope().or_else(service)?;
    // libvirt registers its machines as well: `qemu-<number>-<name>` is no container, and its `lxc-` ones are not those
    // of LXC.
    if machine.is_empty() || machine.starts_with(r"qemu\x2d") || machine.starts_with(r"lxc\x2d") {
        return None;
    }
    // The only character of a machine's name that systemd escapes.
    let machine =
        if machine.contains('\\') { machine.replace(r"\x2d", "-").into() } else { Cow::from(machine) };
    let is_name =
        machine.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    is_name.then(|| ContainerPart::new(machine, "systemd-nspawn"))
}

/// A systemd unit that runs something; slices only group.
pub(super) fn is_unit(name: &str) -> bool {
    let is_kind = |kind| matches!(kind, "service" | "scope" | "socket" | "mount" | "swap");
    name.rsplit_once('.').is_some_and(|(stem, kind)| {
        is_kind(kind)
            && !stem.is_empty()
            && stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte))
    })
}

/// `<task>-<number>`, as ECS on Fargate has it.
fn is_fargate_id(name: &str) -> bool {
    name.split_once('-').is_some_and(|(task, number)| {
        is_hex(task, SHORT_ID_DIGITS)
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn is_buildkit_id(name: &str) -> bool {
    name.len() == BUILDKIT_ID_LETTERS
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// Whether this is exactly so many hexadecimal digits; runtimes and Kubernetes only write lower case.
fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_hex_groups(text: &str, separator: char, groups: &[usize]) -> bool {
    let mut parts = text.split(separator);
    groups.iter().all(|digits| parts.next().is_some_and(|part| is_hex(part, *digits)))
        && parts.next().is_none()
}
