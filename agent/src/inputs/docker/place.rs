//! Where the figures of a container are: its cgroup and its network namespace, from proc(5) `PID/cgroup` and `PID/ns/net`; and
//! how they are read there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::network::{Network, read_network};
use super::points::ContainerFigures;
use crate::host::Host;
use crate::host::cgroupfs::reader::Reader;
use crate::host::proc::pid_cgroup;
use crate::identity::docker::Container;
use crate::inputs::Shared;
use crate::point::Timestamp;

/// Where the figures of a container are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The path of its cgroup.
    pub(super) cgroup: Option<Arc<str>>,
    /// Its network namespace, and a process in it; `None` where it has the host's, or none that can be read.
    pub(super) network: Option<(u64, u32)>,
}

/// What figures are read with in one gather.
pub(super) struct Gathering<'a> {
    pub(super) shared: &'a Shared,
    pub(super) proc: &'a mut Reader,
    pub(super) time: Timestamp,
    pub(super) now: Instant,
}

impl Gathering<'_> {
    /// Reads the figures of a container; `None` where its cgroup is not seen. `before` is its CPU time and the machine's at the
    /// previous gather; `namespaces` has what was read of each in this one.
    pub(super) fn figures(
        self,
        place: &Place,
        before: Option<(u64, u64)>,
        namespaces: &mut HashMap<u64, Option<Arc<[Network]>>>,
    ) -> Option<ContainerFigures> {
        let cgroup = place.cgroup.as_ref()?;
        let cgroupfs = &self.shared.cgroupfs;
        let mut figures =
            ContainerFigures { activity: cgroupfs.activity(cgroup, self.now), ..ContainerFigures::default() };
        let cpu_ns = figures.cpu_ns();
        let rests = cpu_ns.is_some() && before.map(|(before, _)| before) == cpu_ns;
        figures.memory = cgroupfs.memory(cgroup, self.time, rests, None);
        figures.networks = place.network.and_then(|network| read_network(self.proc, namespaces, network));
        (figures.memory.is_some() || figures.activity.is_some()).then_some(figures)
    }
}

/// Finds a container's cgroup and network namespace.
pub(super) fn locate(proc: &mut Reader, shared: &Shared, container: &Container, now: Instant) -> Place {
    let Some(pid) = container.pid else { return Place::default() };
    let process = pid.to_string();
    let own = proc.read(&process, "cgroup").and_then(|text| cgroup_of(text, &container.id));
    let (cgroup, is_seen): (Option<Arc<str>>, bool) = match own {
        Some(path) => (Some(path.into()), true),
        None => {
            let path = shared.containers.path(&container.id, now);
            // Without the host's `/proc` the number may be another process's.
            let is_seen = path.as_ref().is_some_and(|path| shared.cgroupfs.processes(path).contains(&pid));
            (path, is_seen)
        }
    };
    let is_own = is_seen && !container.has_host_network;
    let network = is_own.then(|| namespace(&shared.host, &process)).flatten().map(|network| (network, pid));
    Place { cgroup, network }
}

/// Says once that a container runs of which no cgroup is seen, why, what that means, and what to do.
pub(super) fn log_unseen(was_logged: &mut bool, shared: &Shared, container: &Container) {
    if std::mem::replace(was_logged, true) {
        return;
    }
    let (why, advice) = shared.cgroupfs.hierarchies().parts().next().unwrap_or_else(|| {
        let why = "no cgroup of this host has its id".to_owned();
        (why, "run the agent on the host of the daemon; in a container, with that host's /sys/fs/cgroup mounted")
    });
    tracing::warn!(
        container = container.name,
        why,
        advice,
        "no cgroup of a container: the daemon is asked for its figures at each gather, which costs it more than all else"
    );
}

/// The network namespace of a process, by an inode that no other one has; `None` where it is the host's.
fn namespace(host: &Host, process: &str) -> Option<u64> {
    let inode = |process: &str, file: &str| host.proc_inode(format!("{process}/{file}"));
    let of_both = |file: &str| Some((inode(process, file)?, inode("1", file)?));
    // To look at a namespace takes a privilege, which the agent may have given up. Each also has files of its own.
    match of_both("ns/net").or_else(|| of_both("net/dev")) {
        Some((own, hosts)) => (own != hosts).then_some(own),
        None => inode(process, "ns/net"),
    }
}

/// The path of a container's own cgroup in the `cgroup` file of one of its processes, without what is nested in it.
fn cgroup_of<'a>(text: &'a str, id: &str) -> Option<&'a str> {
    let paths = pid_cgroup::lines(text).map(|line| line.path);
    // One that begins with `/..` is seen from a cgroup namespace, and is not below the hierarchy's root.
    paths.filter(|path| !path.starts_with("/..")).find_map(|path| {
        let start = path.find(id)?;
        let end = path[start..].find('/').map_or(path.len(), |length| start + length);
        Some(&path[..end])
    })
}
