//! Cgroups of the tests' own, in every hierarchy that the agent accounts in.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::wait_for;

/// Where the hierarchies are on this machine.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The one CPU time is accounted in, and the file with its sum.
    pub cpu: PathBuf,
    /// The one CPU time is limited in.
    pub quota: PathBuf,
    /// The one block I/O is accounted in.
    pub blkio: PathBuf,
    /// The one memory is accounted in.
    pub memory: PathBuf,
    /// cgroup2.
    pub unified: PathBuf,
    /// Every hierarchy of this machine.
    all: Vec<PathBuf>,
    /// Whether CPU time is in a v1 hierarchy.
    pub is_v1: bool,
}

/// CPU time in nanoseconds of a directory of cgroup2: the kernel has it in microseconds.
///
/// # Panics
/// When it has no such file.
pub fn unified_cpu_ns(directory: &Path) -> u64 {
    let stat = fs::read_to_string(directory.join("cpu.stat")).unwrap();
    let usec = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")).unwrap();
    usec.parse::<u64>().unwrap() * 1000
}

impl Layout {
    /// Reads it from the mount table, independently of the agent.
    pub fn read() -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let columns = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let cgroups: Vec<_> = columns.filter(|columns| columns[2].starts_with("cgroup")).collect();
        let find = |kind: &str, option: &str| {
            let is_it = |columns: &&Vec<&str>| {
                columns[2] == kind && (option.is_empty() || columns[3].split(',').any(|o| o == option))
            };
            cgroups.iter().find(is_it).map(|columns| PathBuf::from(columns[1]))
        };
        let unified = find("cgroup2", "").expect("a cgroup2 mount");
        let cpu = find("cgroup", "cpuacct");
        Self {
            is_v1: cpu.is_some(),
            cpu: cpu.unwrap_or_else(|| unified.clone()),
            quota: find("cgroup", "cpu").unwrap_or_else(|| unified.clone()),
            blkio: find("cgroup", "blkio").unwrap_or_else(|| unified.clone()),
            memory: find("cgroup", "memory").unwrap_or_else(|| unified.clone()),
            unified,
            all: cgroups.iter().map(|columns| PathBuf::from(columns[1])).collect(),
        }
    }

    /// CPU time in nanoseconds of the cgroup of this path, as the kernel itself has it.
    pub fn cpu_ns(&self, path: &str) -> u64 {
        let directory = self.cpu.join(path.trim_start_matches('/'));
        if self.is_v1 {
            return fs::read_to_string(directory.join("cpuacct.usage")).unwrap().trim().parse().unwrap();
        }
        unified_cpu_ns(&directory)
    }

    /// The path of the cgroup of a container with this id, where its directory is called so.
    pub fn cgroup_of(&self, id: &str) -> Option<String> {
        fn find(directory: &Path, id: &str) -> Option<PathBuf> {
            let entries = fs::read_dir(directory).ok()?.flatten();
            let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            folders.map(|entry| entry.path()).find_map(|path| {
                let is_it = path.file_name().is_some_and(|name| name.to_string_lossy().contains(id));
                if is_it { Some(path) } else { find(&path, id) }
            })
        }
        let found = find(&self.cpu, id)?;
        Some(format!("/{}", found.strip_prefix(&self.cpu).ok()?.display()))
    }

    /// Each hierarchy once.
    pub fn roots(&self) -> Vec<&Path> {
        let mut roots = vec![self.cpu.as_path(), &self.quota, &self.blkio, &self.memory, &self.unified];
        roots.sort_unstable();
        roots.dedup();
        roots
    }
}

/// A cgroup of this test; removed when it is dropped.
pub struct Cgroup {
    layout: Layout,
    name: String,
}

impl Cgroup {
    /// Makes `/name` in every hierarchy.
    pub fn new(name: &str) -> Self {
        Self::at(&format!("{name}.{}", std::process::id()))
    }

    /// Makes one as the kubelet's driver `cgroupfs` makes that of a container, below `/name`: a kubelet that runs here
    /// would clear up `/kubepods`.
    pub fn of_container(name: &str, pod_uid: &str, id: &str) -> Self {
        Self::at(&format!("{name}.{}/kubepods/besteffort/pod{pod_uid}/{id}", std::process::id()))
    }

    /// Makes a path that is to be just so, with what is above it.
    pub fn at(path: &str) -> Self {
        let cgroup = Self { layout: Layout::read(), name: path.trim_start_matches('/').to_owned() };
        for root in cgroup.layout.roots() {
            let path = root.join(&cgroup.name);
            fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        cgroup
    }

    /// Its path as the agent tags it.
    pub fn path(&self) -> String {
        format!("/{}", self.name)
    }

    /// The files that a process joins it by.
    pub fn joins(&self) -> Vec<String> {
        let join = |root: &Path| root.join(&self.name).join("cgroup.procs").display().to_string();
        self.layout.roots().into_iter().map(join).collect()
    }

    /// Puts a process into it.
    pub fn add(&self, pid: u32) {
        for file in self.joins() {
            fs::write(&file, pid.to_string()).unwrap_or_else(|error| panic!("{file}: {error}"));
        }
    }

    /// CPU time in nanoseconds, as the kernel itself has it.
    pub fn cpu_ns(&self) -> u64 {
        self.layout.cpu_ns(&self.name)
    }

    /// Its directory in cgroup2.
    pub fn unified(&self) -> PathBuf {
        self.layout.unified.join(&self.name)
    }

    /// A file of the controller `memory`, `cpu` (the quota) or of cgroup2 (`unified`).
    pub fn file(&self, controller: &str, file: &str) -> PathBuf {
        let root = match controller {
            "memory" => &self.layout.memory,
            "cpu" => &self.layout.quota,
            _ => &self.layout.unified,
        };
        root.join(&self.name).join(file)
    }

    /// One value of such a file: of the line that begins with `key`, or all of it.
    pub fn value(&self, controller: &str, file: &str, key: &str) -> u64 {
        let path = self.file(controller, file);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let value = text.lines().find_map(|line| match key {
            "" => Some(line),
            key => line.strip_prefix(key)?.strip_prefix(' '),
        });
        value.unwrap_or_else(|| panic!("no {key} in {text}")).trim().parse().unwrap()
    }

    /// Memory in bytes, page cache included, as the kernel itself has it.
    pub fn memory_bytes(&self) -> u64 {
        let is_v1 = self.layout.memory != self.layout.unified;
        self.value("memory", if is_v1 { "memory.usage_in_bytes" } else { "memory.current" }, "")
    }

    /// A line of `memory.stat`; `v1` is its key where memory is in a v1 hierarchy.
    pub fn memory_stat(&self, v1: &str, v2: &str) -> u64 {
        let text = fs::read_to_string(self.layout.memory.join(&self.name).join("memory.stat")).unwrap();
        let key = format!("{} ", if self.layout.is_v1 { v1 } else { v2 });
        text.lines().find_map(|line| line.strip_prefix(&key)).unwrap().parse().unwrap()
    }

    /// Has the kernel count what it charges to this cgroup on a disk: v1 does so only where a limit is set, so one is that
    /// nothing reaches.
    pub fn count_written_bytes(&self, numbers: &str) {
        if self.layout.blkio != self.layout.unified {
            let file = self.layout.blkio.join(&self.name).join("blkio.throttle.write_bps_device");
            fs::write(&file, format!("{numbers} 1000000000000"))
                .unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        }
    }

    /// Bytes that the kernel itself charged to it as written to a disk, given by its numbers.
    pub fn written_bytes(&self, numbers: &str) -> u64 {
        let directory = self.layout.blkio.join(&self.name);
        let (file, prefix) = if self.layout.blkio == self.layout.unified {
            ("io.stat", format!("{numbers} "))
        } else {
            ("blkio.throttle.io_service_bytes", format!("{numbers} Write "))
        };
        let text = fs::read_to_string(directory.join(file)).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or("0");
        let number = line.split(' ').find_map(|word| word.strip_prefix("wbytes=")).unwrap_or(line);
        number.parse().unwrap()
    }

    /// Has the kernel give it no more than so many hundredths of a CPU.
    pub fn limit_cpu(&self, percent: u64) {
        let (v1, v2) = (self.file("cpu", "cpu.cfs_quota_us"), self.file("cpu", "cpu.max"));
        let micros = percent * 1_000;
        let (path, value) =
            if v1.exists() { (v1, micros.to_string()) } else { (v2, format!("{micros} 100000")) };
        fs::write(&path, value).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Removes it, as soon as the kernel lets it go, and what is above it where it was made for this one alone: also where docker
    /// made it, which has it in every hierarchy and leaves it there.
    pub fn remove(&self) {
        for root in &self.layout.all {
            let path = root.join(&self.name);
            removed(&path, || false);
            for above in path.ancestors().skip(1).take_while(|above| above != root) {
                if is_used(above) {
                    break;
                }
                removed(above, || is_used(above));
            }
        }
    }
}

/// Waits until a cgroup is removed, which the kernel refuses for a moment after the last one below it, or is to stay.
fn removed(path: &Path, stays: impl Fn() -> bool) {
    let is_over = || match fs::remove_dir(path) {
        Ok(()) => true,
        Err(error) => error.kind() == std::io::ErrorKind::NotFound || stays(),
    };
    wait_for(is_over, Duration::from_secs(20), &format!("{} to be empty", path.display()));
}

/// Whether there are cgroups below a cgroup, or processes in it.
fn is_used(path: &Path) -> bool {
    let mut entries = fs::read_dir(path).into_iter().flatten().flatten();
    let has_children = entries.any(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    has_children || fs::read_to_string(path.join("cgroup.procs")).is_ok_and(|pids| !pids.is_empty())
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for root in &self.layout.all {
                let _ = fs::remove_dir(root.join(&self.name));
            }
        } else {
            self.remove();
        }
    }
}
