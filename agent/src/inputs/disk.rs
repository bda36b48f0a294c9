//! `[[inputs.disk]]`: space and inodes of each mounted filesystem, from proc(5) `mountinfo` and statfs(2).
//!
//! Which file systems there are is read from the mount table of process 1 (`mounts`). statfs(2) says how full each is; it can
//! hang for as long as a network server is down, so it is called on threads of its own (`ask`).

mod ask;
mod mounts;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use self::ask::{Asker, Space};
use self::mounts::{Mount, Places, Table};
use super::{GatherError, Gathered, Input, InputPlugin, Shared, StartError, read_text};
use crate::host::Host;
use crate::options::OptionError;
use crate::point::Name;

/// The section `[[inputs.disk]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Only these mount points; empty means all.
    pub(crate) mount_points: Vec<String>,
    /// Filesystem types to leave out.
    pub(super) ignore_fs: Vec<String>,
    /// Mount options that leave a mount out; `bind` stands for a bind mount.
    pub(super) ignore_mount_opts: Vec<String>,
}

/// File systems that hold no data of anybody: they have no space to tell of, so they are not asked for it. Some are where the
/// agent may not look, such as the credentials of services and the network namespaces of containers.
const WITHOUT_SPACE: &[&str] = &[
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "fusectl",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "ramfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "sysfs",
    "tracefs",
];

/// The input.
#[derive(Debug)]
pub(super) struct Disk {
    options: Options,
    host: Host,
    places: Places,
    known: Option<Known>,
    asker: Asker,
}

/// What is known of the mounts: for as long as the table stays as it is, and not for ever, since a label can be changed.
#[derive(Debug)]
struct Known {
    since: Instant,
    table: Table,
    /// Those to ask, each with the path where the agent finds it.
    mounts: Vec<(Mount, PathBuf)>,
    labels: Vec<Option<String>>,
    /// The first line that is none.
    malformed: Option<String>,
}

/// How long a label is not looked for again.
const LABELS_KEPT: Duration = Duration::from_secs(60);

impl Disk {
    /// An input for the mounts of this host. It gathers on a tokio runtime that has a blocking pool.
    #[must_use]
    pub(super) fn new(options: Options, host: &Host) -> Self {
        Self { options, host: host.clone(), places: Places::new(host), known: None, asker: Asker::default() }
    }

    /// Whether the options select this mount.
    fn is_wanted(&self, mount: &Mount) -> bool {
        let Options { mount_points, ignore_fs, ignore_mount_opts } = &self.options;
        // Asking an autofs would mount it; what is mounted there has its own line.
        mount.fstype != "autofs"
            && !WITHOUT_SPACE.contains(&mount.fstype.as_str())
            && !ignore_fs.contains(&mount.fstype)
            && !mount.options.iter().any(|option| ignore_mount_opts.contains(option))
            && (mount_points.is_empty() || mount_points.iter().any(|point| Path::new(point) == mount.point))
    }

    /// The mounts to ask, each with the path where the agent finds it.
    fn select(&self, mounts: Vec<Mount>) -> Vec<(Mount, PathBuf)> {
        let points: HashSet<_> = mounts.iter().map(|mount| mount.point.clone()).collect();
        let wanted = mounts.into_iter().filter(|mount| self.is_wanted(mount));
        let found = wanted.map(|mount| {
            let here = self.host.mounted(&mount.point);
            (mount, here)
        });
        // The same file system under its two names: the one below the prefix stays.
        found.filter(|(mount, here)| *here == mount.point || !points.contains(here)).collect()
    }

    /// Takes note of the mounts, unless they are known.
    fn know(&mut self) -> Result<(), GatherError> {
        let table = self.places.read()?;
        let is_known = |known: &Known| known.table == table && known.since.elapsed() < LABELS_KEPT;
        if self.known.as_ref().is_some_and(is_known) {
            return Ok(());
        }
        let (mounts, malformed) = table.parse(&self.host);
        let mounts = self.select(mounts);
        let labels = mounts.iter().map(|(mount, _)| self.label(mount)).collect();
        self.known = Some(Known { since: Instant::now(), table, mounts, labels, malformed });
        Ok(())
    }

    fn add_point(&self, mount: &Mount, label: Option<&str>, space: &Space, gathered: &mut Gathered) {
        if space.total() == 0 {
            return; // No storage behind it, as with procfs.
        }
        let mut point = gathered.point("disk");
        point.set_tag("path", self.host.unmounted(&mount.point).to_string_lossy());
        point.set_tag("device", mount.device_tag());
        point.set_tag("fstype", &mount.fstype);
        point.set_tag("mode", mount.mode());
        if let Some(label) = label {
            point.set_tag("label", Name::new(label));
        }
        point.set_field("total", space.total());
        point.set_field("free", space.free());
        point.set_field("used", space.used());
        point.set_field("used_percent", percent(space.used(), space.free()));
        point.set_field("inodes_total", space.inodes);
        point.set_field("inodes_free", space.inodes_free);
        point.set_field("inodes_used", space.inodes_used());
        point.set_field("inodes_used_percent", percent(space.inodes_used(), space.inodes_free));
        gathered.push(point);
    }

    /// The name in the device mapper, or else the label that udev found on the device.
    fn label(&self, mount: &Mount) -> Option<String> {
        use std::os::unix::fs::MetadataExt;
        let name = mount.device.strip_prefix("/dev/").unwrap_or(&mount.device);
        // The name is whatever was mounted: it must not lead out of the folders it is looked up in.
        let is_plain =
            Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if !is_plain || name.is_empty() {
            return None;
        }
        if let Ok(label) = read_text(&self.host.sys(format!("block/{name}/dm/name"))) {
            return Some(label.trim().to_owned()).filter(|label| !label.is_empty());
        }
        let node = std::fs::metadata(self.host.dev(name)).map(|node| node.rdev());
        let number =
            node.map(|number| format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number)));
        // The kernel has it too, where device nodes are out of sight.
        let number = number.or_else(|_| read_text(&self.host.sys(format!("class/block/{name}/dev")))).ok()?;
        let data = read_text(&self.host.run(format!("udev/data/b{}", number.trim()))).ok()?;
        let label = data.lines().find_map(|line| line.strip_prefix("E:ID_FS_LABEL="))?;
        Some(label.to_owned()).filter(|label| !label.is_empty())
    }
}

/// Used of used and free together, so that what is reserved for root does not count.
fn percent(used: u64, free: u64) -> f64 {
    let (used, free) = (used as f64, free as f64);
    if used + free > 0.0 { used / (used + free) * 100.0 } else { 0.0 }
}

impl InputPlugin for Options {
    fn remarks(&self, host: Option<&Host>) -> Vec<OptionError> {
        let Some(host) = host else { return Vec::new() };
        let Ok(table) = Places::new(host).read() else { return Vec::new() };
        let (mounts, _) = table.parse(host);
        let is_mounted = |point: &&String| mounts.iter().any(|mount| mount.point == Path::new(point));
        let idle = self.mount_points.iter().filter(|point| !is_mounted(point));
        idle.map(|point| OptionError::local("mount_points", format!("nothing is mounted at `{point}`")))
            .collect()
    }

    fn build(self: Box<Self>, shared: &Arc<Shared>) -> Result<Box<dyn Input>, StartError> {
        Ok(Box::new(Disk::new(*self, &shared.host)))
    }
}

#[async_trait::async_trait]
impl Input for Disk {
    fn name(&self) -> &'static str {
        "disk"
    }

    /// Adds a point for each mount that responds. One that does not is logged and skipped.
    async fn gather(&mut self, gathered: &mut Gathered) -> Result<(), GatherError> {
        self.know()?;
        let Some(Known { table, mounts, labels, malformed, .. }) = &self.known else { return Ok(()) };
        let answers = self.asker.ask(mounts).await;
        for (((mount, _), label), space) in mounts.iter().zip(labels).zip(answers) {
            if let Some(space) = space {
                self.add_point(mount, label.as_deref(), &space, gathered);
            }
        }
        match malformed.clone() {
            Some(what) => Err(GatherError::Malformed { path: table.path().to_owned(), what }),
            None => Ok(()),
        }
    }
}

/// Parses any bytes as a table of mounts, as a fuzzer does.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn parse_any(table: &[u8], host: &Host) {
    mounts::parse_any(table, host);
}

#[cfg(test)]
mod tests {
    use super::super::testing::{gather, write};
    use super::*;
    use crate::point::{FieldValue, Point};

    const SPACE: Space = Space {
        block_size: 10,
        blocks: 100,
        blocks_free: 40,
        blocks_available: 20,
        inodes: 8,
        inodes_free: 6,
    };

    /// An input whose mounts all have this space, but for those below `/none`, which have none.
    fn disk(options: Options, host: &Host) -> Disk {
        let statfs = |path: &Path| {
            if path.starts_with("/gone") {
                return Err(std::io::ErrorKind::NotFound.into());
            }
            Ok(if path.starts_with("/none") { Space::default() } else { SPACE })
        };
        Disk { asker: Asker::with(statfs, Duration::from_secs(60)), ..Disk::new(options, host) }
    }

    fn tags(points: &[Point]) -> Vec<String> {
        let tags =
            |point: &Point| point.tags.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>().join(" ");
        points.iter().map(tags).collect()
    }

    fn machine(mountinfo: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "proc/1/mountinfo", mountinfo);
        root
    }

    const MOUNTINFO: &str = "\
28 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
22 28 0:21 / /none/sys rw shared:7 - sysfs sysfs rw
30 28 0:25 / /run rw,nosuid shared:5 - tmpfs tmpfs rw
31 28 0:31 / /gone rw - nfs server:/export rw
32 28 0:32 / /auto rw - autofs systemd-1 rw
33 28 254:0 /srv /with\\040space ro,relatime - ext4 /dev/vda rw
";

    #[tokio::test]
    async fn file_systems_without_space_are_not_asked() {
        let root = machine(
            "28 1 254:0 / / rw - ext4 /dev/vda rw\n\
             40 28 0:40 / /run/credentials/a.service ro - ramfs none rw\n\
             41 28 0:4 net:[4026532] /run/docker/netns/b rw - nsfs nsfs rw\n\
             42 28 0:41 / /dev/shm rw - tmpfs tmpfs rw\n",
        );
        let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
        let statfs = {
            let asked = Arc::clone(&asked);
            move |path: &Path| {
                asked.lock().unwrap().push(path.to_owned());
                Ok(SPACE)
            }
        };
        let host = Host::at(root.path());
        let asker = Asker::with(statfs, Duration::from_secs(60));
        let mut disk = Disk { asker, ..Disk::new(Options::default(), &host) };
        assert_eq!(gather(&mut disk).await.unwrap().len(), 2);
        assert_eq!(*asked.lock().unwrap(), ["/", "/dev/shm"].map(PathBuf::from));
    }

    #[tokio::test]
    async fn each_mount_is_a_point() {
        let root = machine(MOUNTINFO);
        let points = gather(&mut disk(Options::default(), &Host::at(root.path()))).await.unwrap();
        assert_eq!(tags(&points), ["/ vda ext4 rw", "/run tmpfs tmpfs rw", "/with space vda ext4 ro"]);
        let fields: Vec<_> = points[0].fields.iter().map(|(key, value)| (&**key, value.clone())).collect();
        assert_eq!(
            fields,
            [
                ("total", FieldValue::UInt(1000)),
                ("free", FieldValue::UInt(200)),
                ("used", FieldValue::UInt(600)),
                ("used_percent", FieldValue::Float(75.0)),
                ("inodes_total", FieldValue::UInt(8)),
                ("inodes_free", FieldValue::UInt(6)),
                ("inodes_used", FieldValue::UInt(2)),
                ("inodes_used_percent", FieldValue::Float(25.0)),
            ]
        );
    }

    #[tokio::test]
    async fn options_leave_mounts_out() {
        let root = machine(MOUNTINFO);
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (options, paths) in [
            (
                Options { mount_points: list(&["/", "/with space"]), ..Options::default() },
                vec!["/", "/with space"],
            ),
            (Options { ignore_fs: list(&["ext4"]), ..Options::default() }, vec!["/run"]),
            (
                Options { ignore_mount_opts: list(&["nosuid"]), ..Options::default() },
                vec!["/", "/with space"],
            ),
            (Options { ignore_mount_opts: list(&["bind"]), ..Options::default() }, vec!["/", "/run"]),
        ] {
            let points = gather(&mut disk(options.clone(), &Host::at(root.path()))).await.unwrap();
            let actual: Vec<_> = points.iter().map(|point| point.tag_value("path").unwrap()).collect();
            assert_eq!(actual, paths, "{options:?}");
        }
    }

    #[tokio::test]
    async fn the_prefix_is_added_to_ask_and_removed_to_tell() {
        // The host's table, seen by an agent in a container: `/` and `/data` are found below `/host`.
        let root = machine(
            "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:2 / /data rw - ext4 /dev/sda2 rw\n\
             3 1 8:2 / /host/data rw - ext4 /dev/sda2 rw\n4 1 8:3 / /none rw - ext4 /dev/sda3 rw\n",
        );
        let host = Host::with(root.path(), &[("HOST_MOUNT_PREFIX", "/host")]);
        let mut input = disk(Options::default(), &host);
        let (mounts, _) = Places::new(&host).read().unwrap().parse(&host);
        let asked: Vec<_> = input.select(mounts).into_iter().map(|(_, here)| here).collect();
        assert_eq!(asked, ["/host", "/host/data", "/host/none"].map(PathBuf::from));
        let points = gather(&mut input).await.unwrap();
        assert_eq!(tags(&points), ["/ sda1 ext4 rw", "/data sda2 ext4 rw", "/none sda3 ext4 rw"]);
    }

    #[tokio::test]
    async fn labels_come_from_the_mapper_and_udev() {
        let root = machine(
            "1 0 253:0 / / rw - ext4 /dev/dm-0 rw\n2 1 1:3 / /b rw - ext4 /dev/null rw\n3 1 8:3 / /c rw - ext4 /dev/../../etc rw\n\
             4 1 8:4 / /d rw - ext4 /dev/out-of-sight rw\n",
        );
        write(root.path(), "sys/class/block/out-of-sight/dev", "8:4\n");
        write(root.path(), "run/udev/data/b8:4", "E:ID_FS_LABEL=HIDDEN\n");
        write(root.path(), "sys/block/dm-0/dm/name", "vg-root\n");
        write(root.path(), "run/udev/data/b1:3", "S:x\nE:ID_FS_LABEL_ENC=no\nE:ID_FS_LABEL=DATA\n");
        // A device node that every machine has.
        let host = Host::with(root.path(), &[("HOST_DEV", "/dev")]);
        let points = gather(&mut disk(Options::default(), &host)).await.unwrap();
        let labels: Vec<_> = points.iter().map(|point| point.tag_value("label")).collect();
        assert_eq!(labels, [Some("vg-root"), Some("DATA"), None, Some("HIDDEN")]);
    }

    #[tokio::test]
    async fn a_missing_table_is_named() {
        let root = tempfile::tempdir().unwrap();
        let (error, points) =
            gather(&mut disk(Options::default(), &Host::at(root.path()))).await.unwrap_err();
        assert!(error.contains("/proc/1/mountinfo: No such file"), "{error}");
        assert_eq!(points, []);
    }

    #[tokio::test]
    async fn a_malformed_line_costs_only_itself() {
        let root =
            machine("28 1 254:0 / / rw - ext4 /dev/vda rw\n29 what\n30 28 8:1 / /b rw - ext4 /dev/sda1 rw\n");
        let (error, points) =
            gather(&mut disk(Options::default(), &Host::at(root.path()))).await.unwrap_err();
        assert!(error.ends_with("/proc/1/mountinfo: 29 what"), "{error}");
        assert_eq!(points.len(), 2);
    }

    #[tokio::test]
    async fn this_machine_has_a_root() {
        let root = machine("28 1 254:0 / / rw - ext4 /dev/vda rw\n");
        let points = gather(&mut Disk::new(Options::default(), &Host::at(root.path()))).await.unwrap();
        let stat = rustix::fs::statvfs("/").unwrap();
        assert_eq!(points[0].field_value("total"), Some(&FieldValue::UInt(stat.f_blocks * stat.f_frsize)));
    }
}
