//! Where this host's files are: `/proc`, `/sys` and the rest, or where the `HOST_*` variables point.
//!
//! Owns the variables that Telegraf knows and their rules; reads no file itself. In a container the host's file systems are
//! mounted somewhere else, and these variables say where. They are resolved once, from values that are passed in, so
//! that nothing else looks at the environment and a test can have a host of its own.

pub mod cgroupfs;
pub(crate) mod file;
pub mod hierarchies;
pub(crate) mod proc;

use std::path::{Path, PathBuf};

/// The type of a cgroup2 file system in statfs(2): `CGROUP2_SUPER_MAGIC` in `include/uapi/linux/magic.h`.
const CGROUP2_MAGIC: i64 = 0x6367_7270;
/// The type of the file system of a v1 hierarchy: `CGROUP_SUPER_MAGIC`.
const CGROUP_MAGIC: i64 = 0x0027_e0eb;

/// The roots of this host's file systems as the agent sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    proc: PathBuf,
    sys: PathBuf,
    etc: PathBuf,
    var: PathBuf,
    run: PathBuf,
    dev: PathBuf,
    mount_prefix: Option<PathBuf>,
    mountinfo: Option<PathBuf>,
    block: BlockRoots,
    is_proc_named: bool,
    node_ip: Option<String>,
}

/// The roots that `diskio` looks below, which has a rule of its own for them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct BlockRoots {
    sys: PathBuf,
    run: PathBuf,
    dev: PathBuf,
}

impl Default for Host {
    /// The host that the agent itself runs on, with no variable set.
    fn default() -> Self {
        Self::from_variables(|_| None)
    }
}

impl Host {
    /// Resolves the variables; `variable` gives the value of one by its name. An empty value counts as unset.
    ///
    /// | variable | default | what is there |
    /// |---|---|---|
    /// | `HOST_PROC` | `/proc` | proc(5) |
    /// | `HOST_SYS` | `/sys` | sysfs(5) |
    /// | `HOST_ETC` | `/etc` | |
    /// | `HOST_VAR` | `/var` | `run/utmp` |
    /// | `HOST_RUN` | `/run` | udev's data |
    /// | `HOST_DEV` | `/dev` | device nodes |
    /// | `HOST_ROOT` | none | the host's root directory, for `diskio` alone |
    /// | `HOST_MOUNT_PREFIX` | none | the host's root directory; its mount points are below it |
    /// | `HOST_PROC_MOUNTINFO` | none | the one mount table to read, instead of process 1's |
    /// | `NODE_IP`, `HOST_IP` | none | the node's address, which Kubernetes gives a pod as `status.hostIP` |
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let text = |name| variable(name).filter(|value| !value.is_empty());
        let path = |name| text(name).map(PathBuf::from);
        let root = |name, default: &str| path(name).unwrap_or_else(|| PathBuf::from(default));
        let below_root =
            path("HOST_ROOT").or_else(|| path("HOST_MOUNT_PREFIX")).unwrap_or_else(|| "/".into());
        let block = |name, folder| path(name).unwrap_or_else(|| below_root.join(folder));
        Self {
            proc: root("HOST_PROC", "/proc"),
            sys: root("HOST_SYS", "/sys"),
            etc: root("HOST_ETC", "/etc"),
            var: root("HOST_VAR", "/var"),
            run: root("HOST_RUN", "/run"),
            dev: root("HOST_DEV", "/dev"),
            mount_prefix: path("HOST_MOUNT_PREFIX"),
            mountinfo: path("HOST_PROC_MOUNTINFO"),
            block: BlockRoots {
                sys: block("HOST_SYS", "sys"),
                run: block("HOST_RUN", "run"),
                dev: block("HOST_DEV", "dev"),
            },
            is_proc_named: path("HOST_PROC").is_some(),
            node_ip: text("NODE_IP").or_else(|| text("HOST_IP")),
        }
    }

    /// The directories below which files are read; of devices it is enough to know that they are there.
    pub(crate) fn roots(&self) -> impl Iterator<Item = PathBuf> {
        let tables = self.mountinfo.iter().filter_map(|path| path.parent()).map(Path::to_owned);
        let roots = [&self.proc, &self.sys, &self.etc, &self.run, &self.block.sys, &self.block.run];
        roots.into_iter().cloned().chain([self.var("run")]).chain(tables)
    }

    /// A file of proc(5), by its path below `/proc`.
    pub(crate) fn proc(&self, path: impl AsRef<Path>) -> PathBuf {
        below(&self.proc, path.as_ref())
    }

    /// A file of sysfs(5), by its path below `/sys`.
    pub fn sys(&self, path: impl AsRef<Path>) -> PathBuf {
        below(&self.sys, path.as_ref())
    }

    /// A file by its path below `/etc`.
    pub(crate) fn etc(&self, path: impl AsRef<Path>) -> PathBuf {
        below(&self.etc, path.as_ref())
    }

    /// A file by its path below `/var`.
    pub(crate) fn var(&self, path: impl AsRef<Path>) -> PathBuf {
        below(&self.var, path.as_ref())
    }

    /// A file by its path below `/run`.
    pub(crate) fn run(&self, path: impl AsRef<Path>) -> PathBuf {
        below(&self.run, path.as_ref())
    }

    /// A device node by its path below `/dev`.
    pub(crate) fn dev(&self, path: impl AsRef<Path>) -> PathBuf {
        below(&self.dev, path.as_ref())
    }

    /// A file of sysfs(5) about disks, by its path below `/sys`.
    ///
    /// This and the next two are also found below `HOST_ROOT`, or else `HOST_MOUNT_PREFIX`, where no variable names them.
    pub(crate) fn block_sys(&self, path: impl AsRef<Path>) -> PathBuf {
        below(&self.block.sys, path.as_ref())
    }

    /// A file of udev about disks, by its path below `/run`.
    pub(crate) fn block_run(&self, path: impl AsRef<Path>) -> PathBuf {
        below(&self.block.run, path.as_ref())
    }

    /// The node of a disk, by its path below `/dev`.
    pub(crate) fn block_dev(&self, path: impl AsRef<Path>) -> PathBuf {
        below(&self.block.dev, path.as_ref())
    }

    /// The host's network namespace, by the number that the kernel knows it by; `None` when that may not be seen.
    ///
    /// It is that of process 1. Whoever may not look into that process can still be in the same one: then both have the same
    /// files in proc.
    #[must_use]
    pub fn network_namespace(&self) -> Option<u64> {
        self.proc_inode("1/ns/net").or_else(|| {
            let files = ["1/net/dev", "self/net/dev"].map(|path| self.proc_inode(path));
            (files[0]? == files[1]?).then(|| self.proc_inode("self/ns/net"))?
        })
    }

    /// Whether the agent is in the host's PID namespace, and proc shows it.
    #[must_use]
    pub(crate) fn is_host_pid_namespace(&self) -> bool {
        /// `PROC_PID_INIT_INO` of `include/linux/proc_ns.h`, or `PID_NS_INIT_INO`.
        const INODE: u64 = 0xeffffffc;
        self.proc_inode("self/ns/pid") == Some(INODE)
    }

    /// The inode of a file of proc(5), which tells one namespace from another; `None` when it may not be seen.
    pub(crate) fn proc_inode(&self, path: impl AsRef<Path>) -> Option<u64> {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(self.proc(path)).ok().map(|file| file.ino())
    }

    /// Whether `HOST_PROC` names a place: then what the agent sees of itself is not the host's.
    #[must_use]
    pub(crate) fn is_proc_named(&self) -> bool {
        self.is_proc_named
    }

    /// A file of the host's `/proc/net`, where `HOST_PROC` is set.
    ///
    /// `/proc/net` is a link to `self/net`, so below a `HOST_PROC` it leads to the agent's own network namespace. The host's
    /// is that of its process 1, which anybody may read, unless proc is mounted with `hidepid`.
    #[must_use]
    pub(crate) fn proc_net(&self, path: &str) -> Option<PathBuf> {
        self.is_proc_named.then(|| self.proc("1/net").join(path))
    }

    /// Where the agent finds a mount point of the host: below the prefix, unless it is already.
    ///
    /// Whole components count: with the prefix `/host`, `/hostage` is a mount point of the host.
    #[must_use]
    pub(crate) fn mounted(&self, mountpoint: &Path) -> PathBuf {
        match &self.mount_prefix {
            Some(prefix) if !mountpoint.starts_with(prefix) => below(prefix, mountpoint),
            _ => mountpoint.to_owned(),
        }
    }

    /// The name a mount point has on the host itself: without the prefix. The reverse of [`Self::mounted`].
    #[must_use]
    pub(crate) fn unmounted(&self, mountpoint: &Path) -> PathBuf {
        let prefix = self.mount_prefix.as_deref().unwrap_or(Path::new("/"));
        below(Path::new("/"), mountpoint.strip_prefix(prefix).unwrap_or(mountpoint))
    }

    /// The node's address, where a variable has it.
    #[must_use]
    pub(crate) fn node_ip(&self) -> Option<&str> {
        self.node_ip.as_deref()
    }

    /// The folders in which `mountinfo` (or, on kernels that lack it, `mounts`) may be, the best first.
    ///
    /// Process 1 sees the mounts of the host, the agent only its own; reading those of process 1 takes privileges.
    /// A table named by `HOST_PROC_MOUNTINFO` is the only one.
    #[must_use]
    pub(crate) fn mount_tables(&self) -> Vec<PathBuf> {
        match &self.mountinfo {
            Some(path) => vec![path.parent().unwrap_or(Path::new("/")).to_owned()],
            None => vec![self.proc("1"), self.proc("self")],
        }
    }
}

/// `path` below `root`, also when it starts with a slash, where `Path::join` would drop the root.
fn below(root: &Path, path: &Path) -> PathBuf {
    let relative = path.strip_prefix("/").unwrap_or(path);
    // `join("")` would add a slash at the end.
    if relative.as_os_str().is_empty() { root.to_owned() } else { root.join(relative) }
}

#[cfg(test)]
impl Host {
    /// A host whose every root is below one folder: `ROOT/proc`, `ROOT/sys` and so on.
    pub(crate) fn at(root: &Path) -> Self {
        Self::with(root, &[])
    }

    /// As [`Self::at`], with some variables set.
    pub(crate) fn with(root: &Path, variables: &[(&str, &str)]) -> Self {
        Self::from_variables(|name| {
            if let Some((_, value)) = variables.iter().find(|(key, _)| *key == name) {
                return Some((*value).to_owned());
            }
            let folder = name
                .strip_prefix("HOST_")
                .filter(|folder| !folder.contains("MOUNT") && *folder != "IP")?
                .to_lowercase();
            Some(root.join(folder).to_string_lossy().into_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(variables: &[(&str, &str)]) -> Host {
        Host::from_variables(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn without_variables_the_host_is_this_one() {
        let host = Host::default();
        assert_eq!(host.proc("stat"), Path::new("/proc/stat"));
        assert_eq!(host.sys("/devices"), Path::new("/sys/devices"));
        assert_eq!(host.etc("os-release"), Path::new("/etc/os-release"));
        assert_eq!(host.var("run/utmp"), Path::new("/var/run/utmp"));
        assert_eq!(host.run("udev"), Path::new("/run/udev"));
        assert_eq!(host.dev("sda"), Path::new("/dev/sda"));
        assert_eq!(host.mounted(Path::new("/srv")), Path::new("/srv"));
        assert_eq!(host.unmounted(Path::new("/srv")), Path::new("/srv"));
        assert_eq!(host.mount_tables(), [Path::new("/proc/1"), Path::new("/proc/self")]);
    }

    #[test]
    fn another_proc_is_not_of_the_hosts_pid_namespace() {
        let root = tempfile::tempdir().unwrap();
        assert!(!Host::at(root.path()).is_host_pid_namespace());
        std::fs::create_dir_all(root.path().join("proc/self/ns")).unwrap();
        std::fs::write(root.path().join("proc/self/ns/pid"), "").unwrap();
        assert!(!Host::at(root.path()).is_host_pid_namespace());
        let own = std::fs::read_link("/proc/self/ns/pid").unwrap();
        assert_eq!(Host::default().is_host_pid_namespace(), own == Path::new("pid:[4026531836]"));
    }

    #[test]
    fn an_empty_variable_is_none() {
        assert_eq!(host(&[("HOST_PROC", ""), ("HOST_MOUNT_PREFIX", "")]), Host::default());
    }

    #[test]
    fn a_mount_point_gets_the_prefix_once() {
        let host = host(&[("HOST_MOUNT_PREFIX", "/host")]);
        for (on_host, here) in
            [("/", "/host"), ("/srv", "/host/srv"), ("/hostage", "/host/hostage"), ("/srv", "/host/srv")]
        {
            assert_eq!(host.mounted(Path::new(on_host)), Path::new(here));
            assert_eq!(host.mounted(Path::new(here)), Path::new(here));
            assert_eq!(host.unmounted(Path::new(here)), Path::new(on_host));
        }
    }

    #[test]
    fn the_network_is_that_of_process_1_where_proc_is_elsewhere() {
        assert_eq!(Host::default().proc_net("dev"), None);
        assert!(!Host::default().is_proc_named());
        let host = host(&[("HOST_PROC", "/rootfs/proc")]);
        assert_eq!(host.proc_net("dev"), Some("/rootfs/proc/1/net/dev".into()));
        assert!(host.is_proc_named());
    }

    #[test]
    fn disks_are_looked_for_below_the_first_root_that_is_named() {
        let found = |variables: &[(&str, &str)]| {
            let host = host(variables);
            [host.block_dev("sda"), host.block_run("udev"), host.block_sys("block")]
                .map(|path| path.to_string_lossy().into_owned())
        };
        assert_eq!(found(&[]), ["/dev/sda", "/run/udev", "/sys/block"]);
        let prefix = ("HOST_MOUNT_PREFIX", "/hostfs");
        assert_eq!(found(&[prefix]), ["/hostfs/dev/sda", "/hostfs/run/udev", "/hostfs/sys/block"]);
        let root = ("HOST_ROOT", "/r");
        assert_eq!(found(&[prefix, root]), ["/r/dev/sda", "/r/run/udev", "/r/sys/block"]);
        let run = ("HOST_RUN", "/run2");
        assert_eq!(found(&[prefix, root, run]), ["/r/dev/sda", "/run2/udev", "/r/sys/block"]);
        assert_eq!(host(&[root]).sys("block"), Path::new("/sys/block"), "no other input knows HOST_ROOT");
    }

    #[test]
    fn a_named_mount_table_is_the_only_one() {
        let host = host(&[("HOST_PROC", "/host/proc"), ("HOST_PROC_MOUNTINFO", "/p/1/mountinfo")]);
        assert_eq!(host.mount_tables(), [Path::new("/p/1")]);
    }
}
