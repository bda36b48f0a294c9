//! The mount table: proc(5) `mountinfo`, or `mounts` where there is none, and the file system of each mount that can be seen.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::host::Host;
use crate::host::file::KernelFile;
use crate::host::proc::pid_mountinfo::{self, FstabLine, MountLine, unescape};
use crate::inputs::GatherError;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// The file system: its device number.
    pub(super) id: String,
    /// Where it is mounted, as the table says.
    pub(super) point: PathBuf,
    /// The device as a path, or whatever is mounted instead.
    pub(super) device: String,
    /// The type of the file system.
    pub(super) fstype: String,
    /// The options; `rw` only when both the mount and the file system are, and `bind` for a bind mount.
    pub(super) options: Vec<String>,
}

impl Mount {
    /// The device without `/dev/`, or the type where there is no device.
    pub(super) fn device_tag(&self) -> String {
        match self.device.replace("/dev/", "") {
            device if device.is_empty() || device == "none" => self.fstype.clone(),
            device => device,
        }
    }

    pub(super) fn mode(&self) -> &'static str {
        let has = |mode| self.options.iter().any(|option| option == mode);
        if has("rw") {
            "rw"
        } else if has("ro") {
            "ro"
        } else {
            "unknown"
        }
    }
}

/// Where the table may be, the best place first.
#[derive(Debug)]
pub(super) struct Places(Vec<TableFile>);

#[derive(Debug)]
struct TableFile {
    file: KernelFile,
    is_mountinfo: bool,
}

/// The text of a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table {
    path: PathBuf,
    is_mountinfo: bool,
    text: Vec<u8>,
}

impl Places {
    /// Those of this host.
    pub(super) fn new(host: &Host) -> Self {
        // `mountinfo` came with Linux 2.6.26.
        let names = [("mountinfo", true), ("mounts", false)];
        let in_folder = |folder: PathBuf| {
            names.map(|(name, is_mountinfo)| TableFile {
                file: KernelFile::new(folder.join(name)),
                is_mountinfo,
            })
        };
        Self(host.mount_tables().into_iter().flat_map(in_folder).collect())
    }

    /// The first table that can be read.
    ///
    /// # Errors
    /// When there is none: about the first place where one should be.
    pub(super) fn read(&mut self) -> Result<Table, GatherError> {
        let mut first_error = None;
        for TableFile { file, is_mountinfo } in &mut self.0 {
            let (read, path) = (file.read_to_end(), file.path().to_owned());
            match read {
                Ok(text) => return Ok(Table { path, is_mountinfo: *is_mountinfo, text }),
                Err(error) => first_error = first_error.or(Some(GatherError::Read { path, error })),
            }
        }
        Err(first_error.unwrap_or_else(|| GatherError::Other("no mount table to read".to_owned())))
    }
}

impl Table {
    /// Its mounts, and the first malformed line, which is skipped.
    pub(super) fn parse(&self, host: &Host) -> (Vec<Mount>, Option<String>) {
        parse(&self.text, self.is_mountinfo, host)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn parse(table: &[u8], is_mountinfo: bool, host: &Host) -> (Vec<Mount>, Option<String>) {
    let lines: Vec<_> = table.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    if is_mountinfo {
        let (lines, malformed) = parsed(&lines, pid_mountinfo::parse_line);
        let mut devices = HashMap::new();
        let hidden = hidden(&lines);
        // Also of one that is hidden: a bind mount may go by its device.
        let mounts = lines.iter().map(|line| (line.mount, mount(*line, &mut devices, host)));
        let visible = mounts.filter(|(mount, _)| !hidden.contains(mount)).map(|(_, mount)| mount);
        return (visible.collect(), malformed);
    }
    let (lines, malformed) = parsed(&lines, pid_mountinfo::parse_fstab_line);
    // Without numbers, the last one at a point is taken for the upper one.
    let last: HashMap<_, _> = lines.iter().enumerate().map(|(at, line)| (line.point, at)).collect();
    let visible = lines.iter().enumerate().filter(|(at, line)| last.get(line.point) == Some(at));
    (visible.map(|(_, line)| fstab_mount(*line)).collect(), malformed)
}

/// The lines that can be parsed, and the first that cannot.
fn parsed<'a, T>(lines: &[&'a [u8]], parse: fn(&'a [u8]) -> Option<T>) -> (Vec<T>, Option<String>) {
    let malformed = lines.iter().find(|line| parse(line).is_none()).map(|line| text(line));
    (lines.iter().filter_map(|line| parse(line)).collect(), malformed)
}

/// The mounts that another one covers, at their own point or above it: a path leads to the upper one alone.
fn hidden<'a>(lines: &[MountLine<'a>]) -> HashSet<&'a [u8]> {
    let parents: HashMap<_, _> = lines.iter().map(|line| (line.mount, line.parent)).collect();
    let mut upon: HashMap<_, Vec<_>> = HashMap::new();
    // The first root is mounted on itself.
    for line in lines.iter().filter(|line| line.mount != line.parent) {
        upon.entry((line.parent, unescape(line.point))).or_default().push(line.mount);
    }
    let is_hidden = |line: &&MountLine<'a>| {
        // The mount and those that it is mounted on, down to the root.
        let mut chain = vec![line.mount];
        while let Some(parent) = chain.last().and_then(|mount| parents.get(mount))
            && !chain.contains(parent)
        {
            chain.push(parent);
        }
        let point = unescape(line.point);
        let mut prefixes: Vec<_> = point.ancestors().collect();
        prefixes.reverse();
        // Whoever follows the path leaves a mount at the first one upon it; what is mounted there further on is out of reach.
        let leads_away = |below: &&'a [u8]| {
            let upper = prefixes.iter().find_map(|path| upon.get(&(*below, path.to_path_buf())));
            upper.is_some_and(|upper| !upper.iter().any(|upper| chain.contains(upper)))
        };
        chain.iter().any(leads_away)
    };
    lines.iter().filter(is_hidden).map(|line| line.mount).collect()
}

/// A line of `mounts`. It has no device number, so every mount counts as a file system of its own.
fn fstab_mount(line: FstabLine<'_>) -> Mount {
    let point = unescape(line.point);
    Mount {
        id: point.to_string_lossy().into_owned(),
        point,
        device: decoded(line.source),
        fstype: text(line.fstype),
        options: split_options(line.options),
    }
}

/// A line of `mountinfo`. `devices` has the device of each id so far: a bind mount goes by that of the first mount.
fn mount(line: MountLine<'_>, devices: &mut HashMap<String, String>, host: &Host) -> Mount {
    let (id, root, point) = (text(line.id), decoded(line.root), unescape(line.point));
    let (fstype, source) = (text(line.fstype), decoded(line.source));
    let super_options = line.super_options.map(split_options).unwrap_or_default();
    let mut options = effective(line.options.map(split_options).unwrap_or_default(), &super_options);
    // The root of a btrfs subvolume is its path, which makes it no bind mount.
    let subvolume = super_options.iter().find_map(|option| option.strip_prefix("subvol="));
    if source.starts_with('/') && root != "/" && subvolume != Some(&root) {
        options.push("bind".to_owned());
    }
    // File systems without storage have an arbitrary source, so the root says more, as in `net:[4026]`.
    let device = if source.starts_with('/') || root == "/" { source } else { root };
    let device = devices.entry(id.clone()).or_insert(device).clone();
    let device = resolve(device, &id, host);
    Mount { id, point, device, fstype, options }
}

/// The options with one `ro` or `rw`, at the first place of either: read-only if the mount or the file system is.
///
/// The two can differ since Linux 2.6.16.
fn effective(options: Vec<String>, super_options: &[String]) -> Vec<String> {
    let has = |options: &[String], mode| options.iter().any(|option| option == mode);
    let mode = if has(&options, "ro") || has(super_options, "ro") {
        "ro"
    } else if has(&options, "rw") && has(super_options, "rw") {
        "rw"
    } else {
        return options;
    };
    let rest = options.into_iter().filter(|option| option != "ro" && option != "rw");
    std::iter::once(mode.to_owned()).chain(rest).collect()
}

/// The device's own name, for a link of the device mapper and for `/dev/root`, which is no device.
///
/// The link may be out of sight, with the other device nodes; the kernel knows the name by the number.
fn resolve(device: String, id: &str, host: &Host) -> String {
    let by_number = || {
        let link = std::fs::read_link(host.sys(format!("dev/block/{id}"))).ok()?;
        Some(Path::new("/dev").join(link.file_name()?).to_string_lossy().into_owned())
    };
    if let Some(name) = device.strip_prefix("/dev/mapper/") {
        let folder = host.dev("");
        let path = std::fs::canonicalize(folder.join("mapper").join(name));
        let in_folder = |path: PathBuf| {
            let name = path.strip_prefix(std::fs::canonicalize(&folder).ok()?).ok()?.to_str()?.to_owned();
            Some(format!("/dev/{name}"))
        };
        return path.ok().and_then(in_folder).or_else(by_number).unwrap_or(device);
    }
    if device == "/dev/root" {
        return by_number().unwrap_or(device);
    }
    device
}

fn split_options(options: &[u8]) -> Vec<String> {
    options.split(|byte| *byte == b',').map(text).collect()
}

fn decoded(bytes: &[u8]) -> String {
    unescape(bytes).to_string_lossy().into_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Parses any bytes as a table of either kind, as a fuzzer does: no more mounts than lines.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn parse_any(table: &[u8], host: &Host) {
    let n_lines = table.split(|byte| *byte == b'\n').count();
    for is_mountinfo in [true, false] {
        assert!(parse(table, is_mountinfo, host).0.len() <= n_lines);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::super::testing::write;
    use super::*;

    fn one(line: &str, host: &Host) -> Mount {
        let (mounts, malformed) = parse(line.as_bytes(), true, host);
        assert_eq!((mounts.len(), malformed), (1, None), "{line}");
        mounts.into_iter().next().unwrap()
    }

    #[test]
    fn a_mount_is_writable_when_both_options_are() {
        let host = Host::default();
        for (mount, filesystem, mode, options) in [
            ("rw,noatime", "rw", "rw", "rw,noatime"),
            ("noatime,ro", "rw", "ro", "ro,noatime"),
            ("rw,noatime", "ro,errors=x", "ro", "ro,noatime"),
            ("rw", "seclabel", "rw", "rw"),
            ("noatime", "seclabel", "unknown", "noatime"),
        ] {
            let mount = one(&format!("1 0 8:1 / / {mount} - ext4 /dev/sda1 {filesystem}"), &host);
            assert_eq!((mount.mode(), mount.options.join(",").as_str()), (mode, options));
        }
    }

    #[test]
    fn a_device_is_named_for_what_holds_the_data() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::at(root.path());
        write(root.path(), "dev/dm-3", "");
        std::fs::create_dir(root.path().join("dev/mapper")).unwrap();
        symlink("../dm-3", root.path().join("dev/mapper/vg-home")).unwrap();
        std::fs::create_dir_all(root.path().join("sys/dev/block")).unwrap();
        symlink("../../devices/vda/vda2", root.path().join("sys/dev/block/254:2")).unwrap();
        for (line, tag) in [
            ("1 0 8:1 / / rw - ext4 /dev/sda1 rw", "sda1"),
            ("1 0 253:3 / / rw - ext4 /dev/mapper/vg-home rw", "dm-3"),
            ("1 0 253:4 / / rw - ext4 /dev/mapper/gone rw", "mapper/gone"),
            ("1 0 254:2 / / rw - ext4 /dev/mapper/out-of-sight rw", "vda2"),
            ("1 0 254:2 / / rw - ext4 /dev/root rw", "vda2"),
            ("1 0 254:9 / / rw - ext4 /dev/root rw", "root"),
            ("1 0 0:50 / / rw - overlay none rw", "overlay"),
            ("1 0 0:51 / / rw - tmpfs  rw", "tmpfs"),
            ("1 0 0:52 / / rw - nfs4 server:/a\\040b rw", "server:/a b"),
            ("1 0 0:4 net:[4026532] /run/netns/x rw - nsfs nsfs rw", "net:[4026532]"),
            ("1 0 0:9 / / rw shared:1 master:2 - fuse.x /dev/a/dev/b rw", "ab"),
        ] {
            assert_eq!(one(line, &host).device_tag(), tag, "{line}");
        }
    }

    #[test]
    fn bind_mounts_are_told_from_subvolumes() {
        let lines = "\
1 0 8:1 / / rw - ext4 /dev/sda1 rw
2 1 8:1 /srv /srv rw - ext4 /dev/disk/by-label/x rw
3 1 0:30 /@home /home rw - btrfs /dev/sdb rw,subvol=/@home
4 1 0:30 /@home/a /a rw - btrfs /dev/sdb rw,subvol=/@home
5 1 0:4 net:[1] /run/netns/x rw - nsfs nsfs rw
";
        let (mounts, _) = parse(lines.as_bytes(), true, &Host::default());
        let binds: Vec<_> = mounts.iter().map(|mount| mount.options.contains(&"bind".to_owned())).collect();
        assert_eq!(binds, [false, true, false, true, false]);
        assert_eq!(mounts[1].device, "/dev/sda1", "that of the first mount");
    }

    #[test]
    fn of_mounts_upon_each_other_the_upper_one_is_seen() {
        let points = |table: &str, is_mountinfo| {
            let (mounts, _) = parse(table.as_bytes(), is_mountinfo, &Host::default());
            let shown = mounts.iter().map(|mount| format!("{} {}", mount.point.display(), mount.device));
            shown.collect::<Vec<_>>()
        };
        // The first root is below the second; `/mnt/a` is below what came later to `/mnt`, and `/mnt/b` upon it.
        let table = "\
1 1 0:2 / / rw - rootfs rootfs rw
28 1 8:1 / / rw - ext4 /dev/sda1 rw
29 28 8:2 / /srv rw - ext4 /dev/sda2 rw
30 29 8:3 / /srv rw - ext4 /dev/sda3 rw
31 28 8:4 / /mnt/a rw - ext4 /dev/sda4 rw
32 28 8:5 / /mnt rw - ext4 /dev/sda5 rw
33 32 8:6 / /mnt/b rw - ext4 /dev/sda6 rw
34 28 8:7 / /mnt2 rw - ext4 /dev/sda7 rw
";
        let seen = ["/ /dev/sda1", "/srv /dev/sda3", "/mnt /dev/sda5", "/mnt/b /dev/sda6", "/mnt2 /dev/sda7"];
        assert_eq!(points(table, true), seen);
        // One at `/a/b`, then all of `/a` covered, and another at `/a/b`.
        let table = "\
73 1 8:1 / / rw - ext4 /dev/sda1 rw
74 73 0:2 / /a/b rw - tmpfs one rw
75 73 8:2 / /a rw - ext4 /dev/sda2 rw
76 75 0:3 / /a/b rw - tmpfs two rw
77 76 0:4 / /a/b/c rw - tmpfs three rw
78 74 0:5 / /a/b/c rw - tmpfs four rw
";
        assert_eq!(points(table, true), ["/ /dev/sda1", "/a /dev/sda2", "/a/b two", "/a/b/c three"]);
        let table = "/dev/sda1 / ext4 rw 0 0\n/dev/sda2 /srv ext4 rw 0 0\nserver:/a\\040b /srv nfs rw 0 0\n";
        assert_eq!(points(table, false), ["/ /dev/sda1", "/srv server:/a b"]);
    }

    #[test]
    fn the_kernel_agrees_on_what_is_seen() {
        let table = std::fs::read("/proc/self/mountinfo").unwrap();
        let lines: Vec<_> =
            table.split(|byte| *byte == b'\n').filter_map(pid_mountinfo::parse_line).collect();
        let hidden = hidden(&lines);
        let mut n = 0;
        for line in &lines {
            // A directory that nobody but root may enter cannot be asked.
            let flags = rustix::fs::StatxFlags::MNT_ID;
            let asked = rustix::fs::statx(
                rustix::fs::CWD,
                unescape(line.point),
                rustix::fs::AtFlags::NO_AUTOMOUNT,
                flags,
            );
            let Ok(found) = asked else { continue };
            if found.stx_mask & flags.bits() != 0 {
                n += 1;
                let is_seen = found.stx_mnt_id.to_string().as_bytes() == line.mount;
                assert_eq!(is_seen, !hidden.contains(line.mount), "{}", text(line.point));
            }
        }
        assert!(n > 0 || lines.is_empty(), "no mount could be asked");
    }

    #[test]
    fn malformed_lines_are_left_out() {
        for line in [
            "x",
            "1 0 8:1 / / rw ext4 /dev/sda1 rw",
            "1 0 8:1 - ext4 /dev/sda1",
            "1 0 8:1 / / rw - ext4",
            " - ",
        ] {
            assert_eq!(
                parse(line.as_bytes(), true, &Host::default()),
                (vec![], Some(line.to_owned())),
                "{line}"
            );
        }
        assert_eq!(parse(b"\xff\xfe / ext4\n", false, &Host::default()).0, []);
    }

    #[test]
    fn tables_are_tried_in_turn() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::at(root.path());
        let points = |host: &Host| {
            let table = Places::new(host).read();
            table.map(|table| table.parse(host).0.into_iter().map(|mount| mount.point).collect::<Vec<_>>())
        };
        assert!(points(&host).is_err());
        write(root.path(), "proc/self/mounts", "/dev/sda1 /d ext4 rw,noatime 0 0\n");
        assert_eq!(points(&host).unwrap(), [Path::new("/d")]);
        write(root.path(), "proc/self/mountinfo", "1 0 8:1 / /c rw - ext4 /dev/sda1 rw\n");
        assert_eq!(points(&host).unwrap(), [Path::new("/c")]);
        write(root.path(), "proc/1/mounts", "/dev/sda1 /b ext4 rw,noatime 0 0\n");
        assert_eq!(points(&host).unwrap(), [Path::new("/b")]);
        write(root.path(), "proc/1/mountinfo", "1 0 8:1 / /a rw - ext4 /dev/sda1 rw\n");
        assert_eq!(points(&host).unwrap(), [Path::new("/a")]);
        let named = root.path().join("elsewhere/mountinfo").to_string_lossy().into_owned();
        let host = Host::with(root.path(), &[("HOST_PROC_MOUNTINFO", &named)]);
        assert!(points(&host).is_err(), "the named one is the only one");
    }
}
