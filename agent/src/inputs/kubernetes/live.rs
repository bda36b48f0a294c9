//! The kernel's own figures of this node's containers and pods, from their cgroups and network namespaces.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use crate::host::Host;
use crate::host::cgroupfs::figures;
use crate::host::proc::pid_cgroup;
use crate::identity::kubelet::pods::Pod;
use crate::identity::path;
use crate::inputs::{Shared, read_text};

/// The figures of one gather.
#[derive(Debug, Default)]
pub(super) struct LiveFigures {
    /// By container id; `None` when its cgroup is gone: it has ended.
    pub(super) containers: HashMap<String, Option<Figure>>,
    /// proc(5) `net/dev` of a pod's network namespace, by the first of the pod's UIDs.
    pub(super) networks: HashMap<String, Arc<str>>,
}

/// One container's figures. What could not be read is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Figure {
    /// CPU time in nanoseconds, since the cgroup was made.
    pub(super) cpu_ns: Option<u64>,
    /// Billionths of a core, since the previous gather; `None` in the first.
    pub(super) cpu_nanocores: Option<u64>,
    /// Memory.
    pub(super) memory: Option<Memory>,
}

/// Memory as the kubelet defines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    /// All that is charged to the cgroup, page cache included.
    pub(super) usage: u64,
    /// Of these, all but the page cache that has not been used for long.
    pub(super) working_set: u64,
    /// Anonymous memory.
    pub(super) rss: Option<u64>,
    /// Page faults; under v1 without those of nested cgroups.
    pub(super) page_faults: Option<u64>,
    /// Of these, the ones that read from a disk.
    pub(super) major_page_faults: Option<u64>,
}

impl From<&figures::Memory> for Memory {
    /// The kubelet's arithmetic, which is
    /// [cAdvisor's](https://github.com/google/cadvisor/blob/v0.52.1/container/libcontainer/handler.go#L799).
    fn from(memory: &figures::Memory) -> Self {
        Self {
            usage: memory.usage,
            working_set: memory.working_set(),
            rss: memory.rss(),
            page_faults: memory.stat_value("pgfault"),
            major_page_faults: memory.stat_value("pgmajfault"),
        }
    }
}

/// Reads them, and keeps what the next gather needs.
#[derive(Debug, Default)]
pub(super) struct Live {
    figures: LiveFigures,
    /// How many of the containers that are listed as running have a cgroup here, and how many have none.
    here: usize,
    missing: usize,
    /// The latest CPU time of each container, by its id, and when it was read.
    readings: HashMap<String, (u64, Instant)>,
    processes: ContainerProcesses,
}

impl Live {
    /// Reads what has not been read in this gather yet.
    pub(super) fn read(&mut self, pods: &[Pod], shared: &Shared) {
        (self.here, self.missing) = (0, 0);
        let mut of_the_node = None;
        let mut hidden: Vec<(&str, Vec<&str>)> = Vec::new();
        for pod in pods {
            let running: Vec<(&str, Arc<str>)> = pod
                .containers
                .iter()
                .filter_map(|container| {
                    let id = container.id.as_deref()?;
                    Some((id, self.read_container(id, container.is_running, shared)?))
                })
                .collect();
            let Some(uid) = pod.uids.first() else { continue };
            if running.is_empty() || self.figures.networks.contains_key(uid) {
                continue;
            }
            if pod.has_host_network {
                let text = of_the_node.get_or_insert_with(|| net_dev(&shared.host, 1)).clone();
                self.figures.networks.extend(text.map(|text| (uid.clone(), text)));
                continue;
            }
            let found = running.iter().find_map(|(id, path)| {
                let pid = shared.cgroupfs.processes(path).into_iter().min();
                // To an agent in a PID namespace of its own the number is that namespace's, and in the host's `/proc` another's.
                let pid = pid.filter(|pid| is_of(*pid, id, &shared.host));
                pid.or_else(|| self.processes.known(id, &shared.host))
            });
            match found {
                Some(pid) => self.read_network(uid, pid, &shared.host),
                None => hidden.push((uid, running.iter().map(|(id, _)| *id).collect())),
            }
        }
        let wanted = hidden.iter().flat_map(|(_, ids)| ids).copied();
        self.processes.find(wanted.collect(), &shared.host);
        for (uid, ids) in hidden {
            if let Some(pid) = ids.iter().find_map(|id| self.processes.known(id, &shared.host)) {
                self.read_network(uid, pid, &shared.host);
            }
        }
    }

    /// A container's figures; gives the path of its cgroup where it has one.
    ///
    /// One that did not run when it was listed is not looked for: a node keeps many that have ended.
    fn read_container(&mut self, id: &str, is_running: bool, shared: &Shared) -> Option<Arc<str>> {
        let has_run = self.readings.contains_key(id);
        if !is_running && !has_run {
            return None;
        }
        let now = Instant::now();
        let path = shared.containers.path(id, now);
        if is_running {
            *(if path.is_some() { &mut self.here } else { &mut self.missing }) += 1;
        }
        if self.figures.containers.contains_key(id) {
            return path;
        }
        let Some(path) = path else {
            if has_run {
                self.figures.containers.insert(id.to_owned(), None);
            }
            return None;
        };
        let cpu_ns = shared.cgroupfs.cpu_usage_ns(&path);
        let before = cpu_ns.and_then(|ns| self.readings.insert(id.to_owned(), (ns, now)));
        let figure = Figure {
            cpu_ns,
            cpu_nanocores: before.zip(cpu_ns).and_then(|(before, ns)| nanocores(before, (ns, now))),
            memory: shared.cgroupfs.memory_in_use(&path).as_ref().map(Memory::from),
        };
        self.figures.containers.insert(id.to_owned(), Some(figure));
        Some(path)
    }

    fn read_network(&mut self, uid: &str, pid: u32, host: &Host) {
        self.figures.networks.extend(net_dev(host, pid).map(|text| (uid.to_owned(), text)));
    }

    /// Whether the list is out of date: some of the containers that are listed as running have a cgroup here, and some do not.
    ///
    /// Where none has one, they are not visible from here, or their cgroups have an unknown layout.
    #[must_use]
    pub(super) fn disagrees(&self) -> bool {
        self.here > 0 && self.missing > 0
    }

    /// The figures so far.
    #[must_use]
    pub(super) fn figures(&self) -> &LiveFigures {
        &self.figures
    }

    /// Ends a gather: forgets what is not listed any more.
    pub(super) fn end(&mut self, pods: &[Pod]) {
        self.figures = LiveFigures::default();
        let containers = pods.iter().flat_map(|pod| &pod.containers);
        let listed: HashSet<&str> = containers.filter_map(|container| container.id.as_deref()).collect();
        self.readings.retain(|id, _| listed.contains(id.as_str()));
        self.processes.keep(&listed);
    }
}

/// The rate between two readings; `None` when no time has passed, or the counter was reset.
fn nanocores(before: (u64, Instant), now: (u64, Instant)) -> Option<u64> {
    let passed_ns = now.1.checked_duration_since(before.1)?.as_nanos();
    let used_ns = u128::from(now.0.checked_sub(before.0)?);
    u64::try_from((used_ns * 1_000_000_000).checked_div(passed_ns)?).ok()
}

/// proc(5) `PID/net/dev`: the interfaces of the process's network namespace.
fn net_dev(host: &Host, pid: u32) -> Option<Arc<str>> {
    read_text(&host.proc(format!("{pid}/net/dev"))).ok().map(Into::into)
}

/// Whether a process in the host's `/proc` is of a container.
fn is_of(pid: u32, id: &str, host: &Host) -> bool {
    read_text(&host.proc(format!("{pid}/cgroup"))).is_ok_and(|text| text.contains(id))
}

/// A process of each container, where cgroupfs does not have it: to an agent in a PID namespace of its own, as in a pod, the
/// processes of others are 0 there. The host's `/proc` has them all, each with its cgroups.
#[derive(Debug, Default)]
struct ContainerProcesses {
    /// By container id.
    known: HashMap<String, u32>,
    /// Those for which no process was found.
    unknown: HashSet<String>,
}

impl ContainerProcesses {
    /// A process that is known to be of this container, and still is.
    fn known(&self, id: &str, host: &Host) -> Option<u32> {
        self.known.get(id).copied().filter(|pid| is_of(*pid, id, host))
    }

    /// Goes through all processes of the host, when one is wanted that was not looked for before.
    fn find(&mut self, wanted: HashSet<&str>, host: &Host) {
        if wanted.iter().all(|id| self.unknown.contains(*id)) {
            return;
        }
        let mut found: HashMap<&str, u32> = HashMap::new();
        for entry in std::fs::read_dir(host.proc("")).into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            let Ok(text) = read_text(&entry.path().join("cgroup")) else { continue };
            let id = pid_cgroup::lines(&text).find_map(|line| path::parse(line.path).container_id);
            if let Some(id) = id.as_deref().and_then(|id| wanted.get(id)) {
                // The lowest is the container's first, which is in the pod's namespaces.
                found.entry(*id).and_modify(|least| *least = pid.min(*least)).or_insert(pid);
            }
        }
        for id in wanted {
            match found.get(id) {
                Some(pid) => {
                    self.known.insert(id.to_owned(), *pid);
                    self.unknown.remove(id);
                }
                None => {
                    self.unknown.insert(id.to_owned());
                }
            }
        }
    }

    fn keep(&mut self, listed: &HashSet<&str>) {
        self.known.retain(|id, _| listed.contains(id.as_str()));
        self.unknown.retain(|id| listed.contains(id.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::hierarchies::Hierarchies;
    use crate::identity::kubelet::pods::PodContainer;
    use crate::inputs::testing::write;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const POD: &str = "11111111-2222-3333-4444-555555555555";

    #[test]
    fn a_number_of_the_agents_own_namespace_is_not_looked_up_among_the_hosts() {
        let root = tempfile::tempdir().unwrap();
        let file = |path: &str, text: &str| write(root.path(), path, text);
        let path = format!("/kubepods/pod{POD}/{ID}");
        // The agent's own pod: it sees its own process by the number 1.
        file(&format!("cg{path}/cgroup.procs"), "1\n0\n");
        file("proc/1/cgroup", "0::/init.scope\n");
        file("proc/1/net/dev", "the node's");
        file("proc/30/cgroup", &format!("0::/../..{path}\n"));
        file("proc/30/net/dev", "the pod's");
        let mounts = format!("1 1 0:1 / {}/cg rw - cgroup2 cgroup2 rw\n", root.path().display());
        let shared = Shared::of(Host::at(root.path()), Hierarchies::parse("0::/\n", &mounts));
        let container = PodContainer { is_running: true, id: Some(ID.into()), ..PodContainer::default() };
        let pods = [Pod { uids: vec![POD.into()], containers: vec![container], ..Pod::default() }];
        let network = || {
            let mut live = Live::default();
            live.read(&pods, &shared);
            live.figures().networks.get(POD).map(ToString::to_string)
        };
        assert_eq!(network().as_deref(), Some("the pod's"));
        // In the host's namespace the numbers are the same.
        file(&format!("cg{path}/cgroup.procs"), "31\n");
        file("proc/31/cgroup", &format!("0::{path}\n"));
        file("proc/31/net/dev", "by its number");
        assert_eq!(network().as_deref(), Some("by its number"));
    }

    #[test]
    fn a_rate_needs_time_and_a_counter_that_rises() {
        let start = Instant::now();
        let later = start + std::time::Duration::from_secs(2);
        assert_eq!(nanocores((1_000, start), (3_000_001_000, later)), Some(1_500_000_000));
        assert_eq!(nanocores((1_000, start), (1_000, later)), Some(0));
        assert_eq!(nanocores((1_000, start), (999, later)), None);
        assert_eq!(nanocores((1_000, start), (1_001, start)), None);
        // 500 CPUs for a year.
        let year = start + std::time::Duration::from_secs(365 * 86_400);
        assert_eq!(nanocores((0, start), (500 * 31_536_000_000_000_000, year)), Some(500_000_000_000));
    }

    #[test]
    fn finds_a_containers_first_process_where_cgroupfs_hides_it() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::at(root.path());
        let write = |pid: u32, path: &str| {
            let directory = host.proc(pid.to_string());
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join("cgroup"), format!("4:memory:{path}\n0::/\n")).unwrap();
        };
        let pod = format!("/kubepods/besteffort/pod{POD}");
        write(1, "/");
        write(30, &format!("{pod}/{ID}"));
        write(7, &format!("/../..{pod}/{ID}/nested"));
        std::fs::create_dir_all(host.proc("self")).unwrap();
        let mut processes = ContainerProcesses::default();
        processes.find(HashSet::from([ID, "other"]), &host);
        assert_eq!(processes.known(ID, &host), Some(7));
        assert_eq!(processes.known("other", &host), None);
        // The process has ended, and its number is another's now.
        write(7, "/");
        assert_eq!(processes.known(ID, &host), None);
        processes.find(HashSet::from(["other"]), &host);
        assert_eq!(processes.known.get(ID), Some(&7), "not looked for again in vain");
        processes.find(HashSet::from([ID, "other"]), &host);
        assert_eq!(processes.known(ID, &host), Some(30));
        processes.keep(&HashSet::new());
        assert_eq!(processes.known(ID, &host), None);
    }
}
