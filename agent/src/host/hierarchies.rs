//! Which cgroup hierarchies there are, where they are mounted, and which of them each controller is in.
//!
//! Reads proc(5) `PID/cgroup` and `PID/mountinfo` of process 1, so that an agent in a container sees the
//! host's. Decides nothing but which hierarchy each area is accounted in.

use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use seismograf_ebpf::abi::ROOT_CGROUP;

use super::file::lossy;
use super::proc::{pid_cgroup, pid_mountinfo};
use super::{CGROUP_MAGIC, CGROUP2_MAGIC, Host};

/// Where CPU time is accounted: decides which of a task's cgroups is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuController {
    /// The cgroup2 hierarchy.
    Unified,
    /// The v1 hierarchy of the controller `cpuacct`.
    Cpuacct,
    /// The v1 hierarchy of the controller `cpu`.
    Cpu,
}

/// A hierarchy's number, as in proc(5) `PID/cgroup`; 0 is cgroup2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HierarchyId(pub u32);

impl HierarchyId {
    /// The one hierarchy of cgroup2.
    pub const UNIFIED: Self = Self(0);
}

/// The cgroup hierarchies of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchies {
    /// Number and controllers of each, cgroup2 with none.
    all: Vec<(HierarchyId, Vec<String>)>,
    /// Where each mounted one can be read by this process.
    mounts: Vec<(HierarchyId, PathBuf)>,
    /// Mounts that show only the part of a cgroup namespace, which cannot be told from the whole by its paths.
    parts: Vec<(HierarchyId, PathBuf)>,
}

/// How the hierarchies are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// cgroup2 alone.
    Unified,
    /// v1 controllers, with cgroup2 beside them.
    Hybrid,
    /// v1 alone.
    Legacy,
    /// No hierarchy is mounted.
    None,
}

impl Hierarchies {
    /// Reads the layout of this machine.
    #[must_use]
    pub fn read(host: &Host) -> Self {
        let cgroup = read_first(host, &["1/cgroup", "self/cgroup"]);
        let mountinfo = read_first(host, &["1/mountinfo", "self/mountinfo"]);
        let mut hierarchies = Self::parse(&cgroup, &mountinfo);
        for (_, mount) in &mut hierarchies.mounts {
            *mount = host.mounted(mount);
        }
        // What the host mounted need not be to be seen from here: this process may have mounts of its own.
        hierarchies.mounts.retain(|(id, mount)| {
            let magic = if *id == HierarchyId::UNIFIED { CGROUP2_MAGIC } else { CGROUP_MAGIC };
            rustix::fs::statfs(mount).is_ok_and(|stat| stat.f_type == magic)
        });
        // In a cgroup namespace of its own it may have mounted that namespace's part: its root is somebody's cgroup.
        let is_whole = |mount: &Path| std::fs::metadata(mount).is_ok_and(|root| root.ino() == ROOT_CGROUP);
        let parts = hierarchies.mounts.extract_if(.., |(_, mount)| !is_whole(mount));
        hierarchies.parts = parts.collect();
        hierarchies
    }

    /// Combines the two files; pure.
    #[must_use]
    pub fn parse(cgroup: &str, mountinfo: &str) -> Self {
        let all: Vec<(HierarchyId, Vec<String>)> = pid_cgroup::lines(cgroup)
            .map(|line| {
                let controllers = line.controllers.split(',').filter(|c| !c.is_empty()).map(str::to_owned);
                (HierarchyId(line.hierarchy), controllers.collect())
            })
            .collect();
        let mut mounts: Vec<(HierarchyId, PathBuf)> = Vec::new();
        for line in mountinfo.lines() {
            let Some(line) = pid_mountinfo::parse_line(line.as_bytes()) else { continue };
            let Some(options) = line.super_options else { continue };
            // From a container with its own cgroup namespace, the hierarchy's root is some levels up: `/../..`.
            if line.root.split(|byte| *byte == b'/').any(|part| !matches!(part, b"" | b"..")) {
                continue;
            }
            let has = |controller: &str| {
                options.split(|byte| *byte == b',').any(|option| option == controller.as_bytes())
            };
            let id = match line.fstype {
                b"cgroup2" => Some(HierarchyId::UNIFIED),
                b"cgroup" => all
                    .iter()
                    .find(|(_, controllers)| {
                        !controllers.is_empty() && controllers.iter().all(|controller| has(controller))
                    })
                    .map(|(id, _)| *id),
                _ => None,
            };
            if let Some(id) = id
                && !mounts.iter().any(|(known, _)| *known == id)
            {
                mounts.push((id, pid_mountinfo::unescape(line.point)));
            }
        }
        Self { all, mounts, parts: Vec::new() }
    }

    /// Where a hierarchy can be read, if it can.
    #[must_use]
    pub fn mount(&self, id: HierarchyId) -> Option<&Path> {
        self.mounts.iter().find(|(known, _)| *known == id).map(|(_, mount)| mount.as_path())
    }

    /// Why a hierarchy that is mounted in part cannot be used, and what to do.
    #[must_use]
    pub fn part(&self, id: HierarchyId) -> Option<(String, &'static str)> {
        self.parts.iter().find(|(known, _)| *known == id).map(|(_, mount)| of_namespace(mount))
    }

    /// The same of each.
    pub fn parts(&self) -> impl Iterator<Item = (String, &'static str)> {
        self.parts.iter().map(|(_, mount)| of_namespace(mount))
    }

    /// The hierarchies that can be read.
    pub fn mounted(&self) -> impl Iterator<Item = (HierarchyId, &Path)> {
        self.mounts.iter().map(|(id, mount)| (*id, mount.as_path()))
    }

    /// The hierarchy a controller is in: its v1 hierarchy where that is mounted, else cgroup2.
    #[must_use]
    pub fn of_controller(&self, controller: &str) -> HierarchyId {
        self.all
            .iter()
            .find(|(id, controllers)| {
                controllers.iter().any(|c| c == controller) && self.mount(*id).is_some()
            })
            .map_or(HierarchyId::UNIFIED, |(id, _)| *id)
    }

    /// Where CPU time is accounted. `cpuacct` comes first: v1's own figures are those of that controller.
    #[must_use]
    pub fn cpu(&self) -> (CpuController, HierarchyId) {
        for (controller, name) in [(CpuController::Cpuacct, "cpuacct"), (CpuController::Cpu, "cpu")] {
            let id = self.of_controller(name);
            if id != HierarchyId::UNIFIED {
                return (controller, id);
            }
        }
        (CpuController::Unified, HierarchyId::UNIFIED)
    }

    /// Where block I/O is accounted.
    #[must_use]
    pub fn blkio(&self) -> HierarchyId {
        self.of_controller("blkio")
    }

    /// Where memory is accounted.
    #[must_use]
    pub fn memory(&self) -> HierarchyId {
        self.of_controller("memory")
    }

    /// How the hierarchies are laid out.
    #[must_use]
    pub fn layout(&self) -> Layout {
        let unified = self.mount(HierarchyId::UNIFIED).is_some();
        let legacy = self.all.iter().any(|(id, controllers)| {
            controllers.iter().any(|c| !c.starts_with("name=")) && self.mount(*id).is_some()
        });
        match (unified, legacy) {
            (true, false) => Layout::Unified,
            (true, true) => Layout::Hybrid,
            (false, true) => Layout::Legacy,
            (false, false) => Layout::None,
        }
    }
}

/// What is wrong with a mount that a cgroup namespace made, and what to do.
fn of_namespace(mount: &Path) -> (String, &'static str) {
    let why = format!("{} shows the cgroups of a namespace, not the host's", mount.display());
    let advice = "start the agent in the host's cgroup namespace (docker: --cgroupns=host), or mount the host's /sys/fs/cgroup over \
                  its own (docker: -v /sys/fs/cgroup:/sys/fs/cgroup:ro)";
    (why, advice)
}

/// How deep a walk goes; nobody nests cgroups that far.
const WALK_DEPTH: usize = 64;

/// A cgroup that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundCgroup {
    /// Its id: the inode number of its directory.
    pub(crate) id: u64,
    /// Its path from the hierarchy's root.
    pub(crate) path: String,
}

/// Finds every cgroup below the mount of a hierarchy, parents before children; none where it cannot be read.
///
/// A directory that is removed meanwhile is skipped; that is not an error.
pub(crate) fn walk(mount: &Path) -> Vec<FoundCgroup> {
    let root = std::fs::metadata(mount).map(|root| FoundCgroup { id: root.ino(), path: "/".into() });
    let mut found = root.into_iter().collect();
    walk_directory(mount, "", 0, &mut found);
    found
}

fn walk_directory(directory: &Path, at: &str, depth: usize, found: &mut Vec<FoundCgroup>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = format!("{at}/{}", entry.file_name().to_string_lossy());
        found.push(FoundCgroup { id: entry.ino(), path: path.clone() });
        if depth < WALK_DEPTH {
            walk_directory(&entry.path(), &path, depth + 1, found);
        }
    }
}

/// The first of some files of proc that can be read; empty when none can. A path in it may have bytes that are not UTF-8, which
/// are replaced: anybody can mount something at such a one.
fn read_first(host: &Host, paths: &[&str]) -> String {
    paths.iter().find_map(|path| std::fs::read(host.proc(path)).ok()).map(lossy).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID_CGROUP: &str = "9:name=systemd:/\n5:cpuacct:/\n4:cpu:/\n2:blkio:/\n0::/\n";
    const HYBRID_MOUNTS: &str = "\
30 24 0:25 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
31 30 0:26 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
32 30 0:27 / /sys/fs/cgroup/cpuacct rw,relatime shared:4 - cgroup cgroup rw,cpuacct
33 30 0:28 / /sys/fs/cgroup/blk\\040io rw,relatime - cgroup cgroup rw,blkio
34 30 0:29 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
35 30 0:30 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
36 30 0:28 /docker/x /elsewhere rw,relatime - cgroup cgroup rw,blkio
";

    #[test]
    fn hybrid() {
        let hierarchies = Hierarchies::parse(HYBRID_CGROUP, HYBRID_MOUNTS);
        assert_eq!(hierarchies.layout(), Layout::Hybrid);
        assert_eq!(hierarchies.cpu(), (CpuController::Cpuacct, HierarchyId(5)));
        assert_eq!(hierarchies.blkio(), HierarchyId(2));
        assert_eq!(hierarchies.mount(HierarchyId(2)), Some(Path::new("/sys/fs/cgroup/blk io")));
        assert_eq!(hierarchies.mount(HierarchyId::UNIFIED), Some(Path::new("/sys/fs/cgroup/unified")));
    }

    #[test]
    fn unified_and_nothing() {
        let mounts = "35 30 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let unified = Hierarchies::parse("0::/init.scope\n", mounts);
        assert_eq!(unified.layout(), Layout::Unified);
        assert_eq!(unified.cpu(), (CpuController::Unified, HierarchyId::UNIFIED));
        assert_eq!(unified.blkio(), HierarchyId::UNIFIED);
        assert_eq!(Hierarchies::parse("", "").layout(), Layout::None);
        assert_eq!(Hierarchies::parse("x\n:::\n", "a b - c\n").layout(), Layout::None);
    }

    #[test]
    fn a_mount_point_that_is_not_utf8_costs_only_itself() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("proc/1")).unwrap();
        let write =
            |file: &str, text: &[u8]| std::fs::write(root.path().join("proc/1").join(file), text).unwrap();
        write("cgroup", b"5:cpuacct:/\xff\n0::/\n");
        write("mountinfo", b"1 0 0:1 / /\xff rw - tmpfs tmpfs rw\n2 1 0:2 / /cg rw - cgroup2 cgroup2 rw\n");
        let host = Host::at(root.path());
        let [cgroup, mountinfo] = ["1/cgroup", "1/mountinfo"].map(|path| read_first(&host, &[path]));
        let hierarchies = Hierarchies::parse(&cgroup, &mountinfo);
        assert_eq!(hierarchies.mount(HierarchyId::UNIFIED), Some(Path::new("/cg")));
        assert_eq!(hierarchies.all.len(), 2);
    }

    #[test]
    fn a_root_above_that_of_this_namespace_is_the_root() {
        let mounts = "35 30 0:30 /../../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
                      36 30 0:30 /../x /elsewhere rw - cgroup2 cgroup2 rw\n";
        let hierarchies = Hierarchies::parse("0::/../../init.scope\n", mounts);
        assert_eq!(hierarchies.mount(HierarchyId::UNIFIED), Some(Path::new("/sys/fs/cgroup")));
        assert_eq!(hierarchies.layout(), Layout::Unified);
    }

    #[test]
    fn a_controller_whose_hierarchy_is_not_mounted_counts_in_cgroup2() {
        let hierarchies = Hierarchies::parse(HYBRID_CGROUP, "35 30 0:30 / /cg rw - cgroup2 cgroup2 rw\n");
        assert_eq!(hierarchies.cpu().1, HierarchyId::UNIFIED);
    }
}
