//! The figures of one cgroup from the files of cgroupfs, v1 and v2, and the way from a container's id to its cgroup.
//!
//! Source: Documentation/admin-guide/cgroup-v2.rst and Documentation/admin-guide/cgroup-v1. What a file does not say, or
//! a kernel does not have, is `None`. Nothing here is added up or named. All inputs of a process share one [`Cgroupfs`],
//! and files that several ask for in the same gather are read once.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::host::Host;
use crate::identity::path;
use crate::point::Timestamp;
use crate::probes::support::{Hierarchies, HierarchyId};

/// How often the hierarchies are walked for containers that have no path yet, at the most.
const WALK_PERIOD: Duration = Duration::from_secs(1);
/// How deep a walk goes.
const WALK_DEPTH: usize = 32;
/// What v1 says where there is no limit: the largest whole page.
const V1_NO_LIMIT: u64 = 0x7fff_ffff_ffff_f000;
/// Ticks of `cpuacct.stat` in a second: `USER_HZ`, which Linux has fixed for all architectures that BPF runs on.
const USER_HZ: u64 = 100;

/// Memory of a cgroup and everything below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Whether the figures are those of v1's controller.
    pub is_v1: bool,
    /// `memory.usage_in_bytes`, `memory.current`: bytes, page cache included.
    pub usage: u64,
    /// `memory.max_usage_in_bytes`, `memory.peak` (since Linux 5.19).
    pub max_usage: Option<u64>,
    /// `memory.limit_in_bytes`, `memory.max`; `None` without a limit.
    pub limit: Option<u64>,
    /// `memory.failcnt`: how often the limit was hit; v1 alone.
    pub fail_count: Option<u64>,
    /// Processes killed for want of memory since the cgroup was made (`memory.oom_control`, since Linux 4.13;
    /// `memory.events`).
    pub oom_kills: Option<u64>,
    stat: String,
}

impl Memory {
    /// The lines of `memory.stat`: key, and bytes or a count.
    pub fn stat(&self) -> impl Iterator<Item = (&str, u64)> {
        key_values(&self.stat)
    }

    /// One line of `memory.stat`.
    #[must_use]
    pub fn stat_value(&self, key: &str) -> Option<u64> {
        self.stat().find(|(name, _)| *name == key).map(|(_, value)| value)
    }
}

/// CPU time of a cgroup and everything below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Nanoseconds.
    pub usage_ns: u64,
    /// Of these in user mode; in steps of 10 ms under v1.
    pub user_ns: Option<u64>,
    /// Of these in the kernel, likewise.
    pub system_ns: Option<u64>,
    /// Nanoseconds on each CPU, by its number; empty under v2.
    pub per_cpu_ns: Vec<u64>,
}

/// What a CPU quota did to a cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttling {
    /// Enforcement periods in which it ran.
    pub nr_periods: u64,
    /// Of these, the ones in which the quota was used up.
    pub nr_throttled: u64,
    /// How long its CPUs were kept from it, in nanoseconds, added up.
    pub throttled_ns: u64,
}

/// The cgroups of this machine as cgroupfs shows them.
#[derive(Debug)]
pub struct Cgroupfs {
    hierarchies: Hierarchies,
    memory: HierarchyId,
    cpu: HierarchyId,
    cpuacct: HierarchyId,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Container id to the path of its own cgroup.
    containers: HashMap<String, Arc<str>>,
    walked: Option<Instant>,
    /// The gather that `memory` was read in.
    time: Option<Timestamp>,
    memory: HashMap<String, Option<Arc<Memory>>>,
}

impl Cgroupfs {
    /// The hierarchies of this host; nothing is read but where they are.
    #[must_use]
    pub fn new(host: &Host) -> Self {
        Self::of(Hierarchies::read(host))
    }

    fn of(hierarchies: Hierarchies) -> Self {
        let controller = |name| hierarchies.of_controller(name);
        let (memory, cpu, cpuacct) = (controller("memory"), controller("cpu"), controller("cpuacct"));
        Self { hierarchies, memory, cpu, cpuacct, state: Mutex::default() }
    }

    /// Where the hierarchies are.
    #[must_use]
    pub fn hierarchies(&self) -> &Hierarchies {
        &self.hierarchies
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The path of a container's own cgroup, from the hierarchies' root; `None` when there is none now.
    ///
    /// One that is not known is looked for on disk, at most once a second.
    #[must_use]
    pub fn container(&self, id: &str, now: Instant) -> Option<Arc<str>> {
        let mut state = self.state();
        let exists = |path: &str| self.directory(self.memory, path).is_some_and(|path| path.is_dir());
        match state.containers.get(id) {
            Some(path) if exists(path) => return Some(Arc::clone(path)),
            _ if state.walked.is_some_and(|walked| now.duration_since(walked) < WALK_PERIOD) => return None,
            _ => {}
        }
        state.walked = Some(now);
        state.containers.clear();
        if let Some(root) = self.hierarchies.mount(self.memory) {
            walk(root, "", 0, &mut state.containers);
        }
        state.containers.get(id).cloned()
    }

    /// The directory of a cgroup in a hierarchy.
    fn directory(&self, hierarchy: HierarchyId, path: &str) -> Option<PathBuf> {
        Some(self.hierarchies.mount(hierarchy)?.join(path.trim_start_matches('/')))
    }

    /// Where a controller's files of a cgroup are, and whether they are those of v1.
    #[must_use]
    pub fn controller(&self, name: &str, path: &str) -> Option<(PathBuf, bool)> {
        let hierarchy = self.hierarchies.of_controller(name);
        Some((self.directory(hierarchy, path)?, hierarchy != HierarchyId::UNIFIED))
    }

    /// Memory of a cgroup; `time` is that of the gather, in which it is read once.
    #[must_use]
    pub fn memory(&self, path: &str, time: Timestamp) -> Option<Arc<Memory>> {
        let mut state = self.state();
        if state.time != Some(time) {
            state.memory.clear();
            state.time = Some(time);
        }
        if let Some(memory) = state.memory.get(path) {
            return memory.clone();
        }
        let memory = self.read_memory(path).map(Arc::new);
        state.memory.insert(path.to_owned(), memory.clone());
        memory
    }

    fn read_memory(&self, path: &str) -> Option<Memory> {
        let directory = Directory::new(self.directory(self.memory, path)?);
        let memory = self.memory_in_use(path)?;
        if !memory.is_v1 {
            return Some(Memory {
                max_usage: directory.number("memory.peak"),
                limit: directory.number("memory.max"),
                oom_kills: directory.value("memory.events", "oom_kill"),
                ..memory
            });
        }
        Some(Memory {
            max_usage: directory.number("memory.max_usage_in_bytes"),
            limit: directory.number("memory.limit_in_bytes").filter(|limit| *limit < V1_NO_LIMIT),
            fail_count: directory.number("memory.failcnt"),
            oom_kills: directory.value("memory.oom_control", "oom_kill"),
            ..memory
        })
    }

    /// What a cgroup uses of memory, read now; limits and what came of them are left out, which is two thirds of the cost.
    #[must_use]
    pub fn memory_in_use(&self, path: &str) -> Option<Memory> {
        let directory = Directory::new(self.directory(self.memory, path)?);
        let is_v1 = self.memory != HierarchyId::UNIFIED;
        // The root of cgroup2 has no `memory.current`: its figures are the machine's, and `mem` has those.
        let usage = directory.number(if is_v1 { "memory.usage_in_bytes" } else { "memory.current" })?;
        Some(Memory { is_v1, usage, stat: directory.text("memory.stat")?, ..Memory::default() })
    }

    /// CPU time of a cgroup in nanoseconds, by one file.
    #[must_use]
    pub fn cpu_usage_ns(&self, path: &str) -> Option<u64> {
        let directory = Directory::new(self.directory(self.cpuacct, path)?);
        if self.cpuacct == HierarchyId::UNIFIED {
            return Some(directory.value("cpu.stat", "usage_usec")?.saturating_mul(1_000));
        }
        directory.number("cpuacct.usage")
    }

    /// CPU time of a cgroup.
    #[must_use]
    pub fn cpu(&self, path: &str) -> Option<Cpu> {
        let directory = Directory::new(self.directory(self.cpuacct, path)?);
        if self.cpuacct == HierarchyId::UNIFIED {
            let stat = directory.text("cpu.stat")?;
            let ns = |key: &str| value(&stat, key).map(|us| us.saturating_mul(1_000));
            return Some(Cpu {
                usage_ns: ns("usage_usec")?,
                user_ns: ns("user_usec"),
                system_ns: ns("system_usec"),
                per_cpu_ns: Vec::new(),
            });
        }
        let stat = directory.text("cpuacct.stat").unwrap_or_default();
        let ns = |key: &str| value(&stat, key).map(|ticks| ticks.saturating_mul(1_000_000_000 / USER_HZ));
        let per_cpu = directory.text("cpuacct.usage_percpu").unwrap_or_default();
        Some(Cpu {
            usage_ns: directory.number("cpuacct.usage")?,
            user_ns: ns("user"),
            system_ns: ns("system"),
            per_cpu_ns: per_cpu.split_ascii_whitespace().filter_map(|ns| ns.parse().ok()).collect(),
        })
    }

    /// What its CPU quota did to a cgroup.
    #[must_use]
    pub fn throttling(&self, path: &str) -> Option<Throttling> {
        let stat = Directory::new(self.directory(self.cpu, path)?).text("cpu.stat")?;
        let throttled_ns = match value(&stat, "throttled_usec") {
            Some(us) => us.saturating_mul(1_000),
            None => value(&stat, "throttled_time")?,
        };
        Some(Throttling {
            nr_periods: value(&stat, "nr_periods")?,
            nr_throttled: value(&stat, "nr_throttled")?,
            throttled_ns,
        })
    }

    /// A cgroup's file of pressure stall information in cgroup2, as it is; `resource` is `cpu`, `memory` or `io`.
    /// Since Linux 4.20; without `CONFIG_PSI` there is none.
    #[must_use]
    pub fn pressure(&self, path: &str, resource: &str) -> Option<String> {
        let directory = Directory::new(self.directory(HierarchyId::UNIFIED, path)?);
        directory.text(&format!("{resource}.pressure"))
    }

    /// The processes of a cgroup itself, by the ids that they have here: one that this process's PID namespace does not
    /// show is left out.
    #[must_use]
    pub fn processes(&self, path: &str) -> Vec<u32> {
        let directory = self.directory(self.memory, path).map(Directory::new);
        let text = directory.and_then(|directory| directory.text("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|pid| pid.parse().ok()).filter(|pid| *pid != 0).collect()
    }
}

/// Notes the own cgroup of every container below `directory`; parents come before what is nested in them.
fn walk(directory: &Path, at: &str, depth: usize, containers: &mut HashMap<String, Arc<str>>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = format!("{at}/{}", entry.file_name().to_string_lossy());
        if let Some(id) = path::parse(&path).container_id {
            containers.entry(id).or_insert_with(|| path.as_str().into());
        }
        if depth < WALK_DEPTH {
            walk(&entry.path(), &path, depth + 1, containers);
        }
    }
}

/// A cgroup's directory.
struct Directory(PathBuf);

impl Directory {
    fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// A file's text; `None` when it is not there, or the cgroup is gone.
    fn text(&self, file: &str) -> Option<String> {
        let mut text = String::with_capacity(256);
        std::fs::File::open(self.0.join(file)).ok()?.read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// A file that is one number; `None` also for `max`.
    fn number(&self, file: &str) -> Option<u64> {
        self.text(file)?.trim_end().parse().ok()
    }

    /// One line of a file of keys and values.
    fn value(&self, file: &str, key: &str) -> Option<u64> {
        value(&self.text(file)?, key)
    }
}

fn key_values(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key, value.parse().ok()?))
    })
}

fn value(text: &str, key: &str) -> Option<u64> {
    key_values(text).find(|(name, _)| *name == key).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    /// cgroupfs in a folder: v1 with `memory`, `cpu` and `cpuacct`, or v2.
    fn tree(is_v1: bool, files: &[(&str, &str)]) -> (tempfile::TempDir, Cgroupfs) {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let file = root.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        let at = |name: &str| root.path().join(name).display().to_string();
        let (cgroup, mounts) = if is_v1 {
            let mount = |controller: &str| {
                format!("1 1 0:1 / {} rw - cgroup cgroup rw,{controller}\n", at(controller))
            };
            let mounts: String = ["memory", "cpu", "cpuacct"].map(mount).concat();
            ("3:memory:/\n2:cpu:/\n1:cpuacct:/\n0::/\n", mounts)
        } else {
            ("0::/\n", format!("1 1 0:1 / {} rw - cgroup2 cgroup2 rw\n", root.path().display()))
        };
        (root, Cgroupfs::of(Hierarchies::parse(cgroup, &mounts)))
    }

    #[test]
    fn v1() {
        let (_root, cgroupfs) = tree(
            true,
            &[
                ("memory/c/memory.usage_in_bytes", "1000\n"),
                ("memory/c/memory.max_usage_in_bytes", "2000\n"),
                ("memory/c/memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory/c/memory.failcnt", "3\n"),
                ("memory/c/memory.stat", "cache 10\nrss 20\ntotal_rss 30\n"),
                ("memory/c/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"),
                ("cpuacct/c/cpuacct.usage", "123456789\n"),
                ("cpuacct/c/cpuacct.stat", "user 5\nsystem 6\n"),
                ("cpuacct/c/cpuacct.usage_percpu", "1 2 \n"),
                ("cpu/c/cpu.stat", "nr_periods 4\nnr_throttled 2\nthrottled_time 99\n"),
            ],
        );
        let memory = cgroupfs.memory("/c", Timestamp(0)).unwrap();
        assert_eq!((memory.usage, memory.max_usage, memory.limit), (1000, Some(2000), None));
        assert_eq!((memory.fail_count, memory.oom_kills), (Some(3), Some(7)));
        assert_eq!(memory.stat_value("total_rss"), Some(30));
        let cpu = cgroupfs.cpu("/c").unwrap();
        assert_eq!(
            (cpu.usage_ns, cpu.user_ns, cpu.system_ns),
            (123_456_789, Some(50_000_000), Some(60_000_000))
        );
        assert_eq!(cpu.per_cpu_ns, [1, 2]);
        assert_eq!(cgroupfs.cpu_usage_ns("/c"), Some(cpu.usage_ns));
        let in_use = cgroupfs.memory_in_use("/c").unwrap();
        assert_eq!((in_use.usage, in_use.stat_value("rss"), in_use.max_usage), (1000, Some(20), None));
        let throttling = Throttling { nr_periods: 4, nr_throttled: 2, throttled_ns: 99 };
        assert_eq!(cgroupfs.throttling("/c"), Some(throttling));
    }

    #[test]
    fn v2() {
        let (_root, cgroupfs) = tree(
            false,
            &[
                ("c/memory.current", "1000\n"),
                ("c/memory.max", "4096\n"),
                ("c/memory.stat", "anon 10\nfile 20\n"),
                ("c/memory.events", "low 0\noom 2\noom_kill 1\noom_group_kill 0\n"),
                (
                    "c/cpu.stat",
                    "usage_usec 7\nuser_usec 4\nsystem_usec 3\nnr_periods 1\nnr_throttled 1\nthrottled_usec 5\n",
                ),
                ("c/cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n"),
                ("c/cgroup.procs", "0\n12\n13\n"),
            ],
        );
        let memory = cgroupfs.memory("/c", Timestamp(0)).unwrap();
        assert_eq!((memory.usage, memory.max_usage, memory.limit), (1000, None, Some(4096)));
        assert_eq!((memory.fail_count, memory.oom_kills), (None, Some(1)));
        let cpu = cgroupfs.cpu("/c").unwrap();
        assert_eq!((cpu.usage_ns, cpu.user_ns, cpu.system_ns), (7_000, Some(4_000), Some(3_000)));
        assert_eq!(cgroupfs.cpu_usage_ns("/c"), Some(7_000));
        assert_eq!(cgroupfs.memory_in_use("/c").unwrap().stat_value("anon"), Some(10));
        let throttling = Throttling { nr_periods: 1, nr_throttled: 1, throttled_ns: 5_000 };
        assert_eq!(cgroupfs.throttling("/c"), Some(throttling));
        assert!(cgroupfs.pressure("/c", "cpu").unwrap().starts_with("some"));
        assert_eq!(cgroupfs.pressure("/c", "io"), None);
        assert_eq!(cgroupfs.processes("/c"), [12, 13]);
    }

    #[test]
    fn one_that_is_gone_has_no_figures() {
        let (_root, cgroupfs) = tree(true, &[]);
        assert_eq!(cgroupfs.memory("/c", Timestamp(0)), None);
        assert_eq!(cgroupfs.cpu("/c"), None);
        assert_eq!(cgroupfs.throttling("/c"), None);
    }

    #[test]
    fn memory_is_read_once_in_a_gather() {
        let (root, cgroupfs) =
            tree(false, &[("c/memory.current", "1\n"), ("c/memory.stat", ""), ("c/memory.max", "max\n")]);
        let usage = |time| cgroupfs.memory("/c", Timestamp(time)).unwrap().usage;
        assert_eq!(usage(0), 1);
        std::fs::write(root.path().join("c/memory.current"), "2\n").unwrap();
        assert_eq!((usage(0), usage(1)), (1, 2));
    }

    #[test]
    fn finds_a_containers_own_cgroup_and_not_what_is_nested_in_it() {
        let file = format!("docker/{ID}/init/cgroup.procs");
        let (root, cgroupfs) = tree(false, &[(&file, "")]);
        let start = Instant::now();
        let path = cgroupfs.container(ID, start);
        assert_eq!(path.as_deref(), Some(format!("/docker/{ID}").as_str()));
        std::fs::remove_dir_all(root.path().join("docker")).unwrap();
        assert_eq!(cgroupfs.container(ID, start), None);
        std::fs::create_dir_all(root.path().join(format!("other/{ID}"))).unwrap();
        assert_eq!(cgroupfs.container(ID, start), None, "not walked again so soon");
    }
}
