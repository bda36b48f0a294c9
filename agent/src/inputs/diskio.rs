//! `[[inputs.diskio]]`: operations, bytes and times of each disk, from proc(5) `diskstats`.
//!
//! Other names of a disk are read from udev's data and from sysfs (`udev`), and only when an option needs them.
//! The arithmetic of the `io_*` fields is Telegraf's, to the last bit.

mod udev;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use self::udev::Properties;
use super::{GatherError, Gathered, Input, InputPlugin, Shared, StartError, read_again, read_text};
use crate::host::Host;
use crate::host::file::KernelFile;
use crate::host::proc::diskstats::{self, DiskCounters, DiskLine, SECTOR_BYTES};
use crate::options::OptionError;
use crate::options::filter::{GlobList, Patterns};
use crate::point::{Name, Point};

/// The section `[[inputs.diskio]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Only these: names or paths, also links such as `/dev/disk/by-label/home`. When one of them is a glob, all are, and
    /// are held against the name and the links that udev made, without `/dev/`. Empty means all.
    pub(super) devices: GlobList,
    /// udev's properties that become tags, such as `ID_FS_TYPE`; also `DEVNAME`, `DEVTYPE`, `DEVPATH`, `DEVLINKS`.
    pub(super) device_tags: Vec<String>,
    /// Templates of the tag `name`, of which the first is taken whose properties are all there: `$ID_FS_LABEL`.
    pub(super) name_templates: Vec<String>,
    /// No tag `serial`.
    pub(super) skip_serial_number: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            devices: GlobList::default(),
            device_tags: Vec::new(),
            name_templates: Vec::new(),
            skip_serial_number: true,
        }
    }
}

/// The input.
#[derive(Debug)]
pub(super) struct Diskio {
    options: Options,
    host: Host,
    diskstats: KernelFile,
    /// The counters of the previous gather, by name, and when that was.
    last: (Instant, HashMap<String, DiskCounters>),
    /// Devices without udev data, each of which was logged once.
    without_udev: HashSet<String>,
}

impl Diskio {
    /// An input for the disks of this host.
    #[must_use]
    pub(super) fn new(options: Options, host: &Host) -> Self {
        let last = (Instant::now(), HashMap::new());
        let diskstats = KernelFile::new(host.proc("diskstats"));
        Self { options, host: host.clone(), diskstats, last, without_udev: HashSet::new() }
    }

    /// The names of the devices to take, links resolved; `None` when there is no such list.
    fn names(&self) -> Option<Vec<String>> {
        let Some(Patterns::Exact(devices)) = self.options.devices.patterns() else { return None };
        Some(devices.iter().map(|device| self.resolve(device)).collect())
    }

    /// The kernel's name of a device that is given by name, path or link.
    fn resolve(&self, device: &str) -> String {
        let below_dev = device.strip_prefix("/dev/").unwrap_or(device);
        // Joining a path of another folder leaves it as it is.
        let path = self.host.block_dev("").join(below_dev);
        let path = std::fs::canonicalize(&path).unwrap_or(path);
        path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// A device's properties from udev and sysfs; logs once when there are none.
    fn properties(&mut self, device: &DiskLine<'_>) -> Properties {
        match Properties::read(device, &self.host) {
            Ok(properties) => properties,
            Err(error) => {
                if self.without_udev.insert(device.name.to_owned()) {
                    tracing::warn!(device = device.name, %error, "udev has no data about this device");
                }
                Properties::default()
            }
        }
    }

    /// Whether the globs in `devices` select it.
    fn matches(&self, device: &DiskLine<'_>, properties: &Properties) -> bool {
        match self.options.devices.patterns() {
            Some(globs @ Patterns::Globs(_)) => {
                globs.matches(device.name) || properties.links().any(|link| globs.matches(link))
            }
            _ => true,
        }
    }

    fn add_tags(&self, device: &DiskLine<'_>, properties: &Properties, point: &mut Point) {
        let mut names = self.options.name_templates.iter().filter_map(|template| properties.fill(template));
        point.set_tag("name", names.next().unwrap_or_else(|| device.name.to_owned()));
        if let Ok(wwid) = read_text(&self.host.block_sys("block").join(device.name).join("wwid")) {
            let wwid = wwid.strip_suffix('\n').unwrap_or(&wwid);
            if !wwid.is_empty() {
                point.set_tag("wwid", Name::new(wwid));
            }
        }
        for key in &self.options.device_tags {
            if let Some(value) = properties.get(key) {
                point.set_tag(key, Name::new(value));
            }
        }
        if !self.options.skip_serial_number {
            let serial = properties.serial(device, &self.host);
            point.set_tag("serial", serial.unwrap_or_else(|| "unknown".to_owned()));
        }
    }

    /// Whether an option needs udev's properties.
    fn asks_udev(&self) -> bool {
        let Options { devices, device_tags, name_templates, skip_serial_number } = &self.options;
        matches!(devices.patterns(), Some(Patterns::Globs(_)))
            || !device_tags.is_empty()
            || !name_templates.is_empty()
            || !skip_serial_number
    }
}

fn add_fields(counters: &DiskCounters, point: &mut Point) {
    point.set_field("reads", counters.reads);
    point.set_field("writes", counters.writes);
    point.set_field("read_bytes", counters.sectors_read.saturating_mul(SECTOR_BYTES));
    point.set_field("write_bytes", counters.sectors_written.saturating_mul(SECTOR_BYTES));
    point.set_field("read_time", counters.read_time);
    point.set_field("write_time", counters.write_time);
    point.set_field("io_time", counters.io_time);
    point.set_field("weighted_io_time", counters.weighted_io_time);
    point.set_field("iops_in_progress", counters.in_progress);
    point.set_field("merged_reads", counters.merged_reads);
    point.set_field("merged_writes", counters.merged_writes);
}

/// What happened since the previous gather; nothing when a counter ran backwards, as when a disk was replaced.
fn add_rates(now: &DiskCounters, last: &DiskCounters, interval: Duration, point: &mut Point) {
    let deltas = || {
        let delta = |now: u64, last: u64| now.checked_sub(last).map(|delta| delta as f64);
        let operations = delta(now.reads, last.reads)? + delta(now.writes, last.writes)?;
        let waited = delta(now.read_time, last.read_time)? + delta(now.write_time, last.write_time)?;
        Some((operations, waited, delta(now.io_time, last.io_time)?))
    };
    let Some((operations, waited, busy)) = deltas() else { return };
    if operations > 0.0 {
        point.set_field("io_await", waited / operations);
        point.set_field("io_svctm", busy / operations);
    }
    // Whole milliseconds, as Telegraf takes them.
    let interval_ms = interval.as_millis() as f64;
    if interval_ms > 0.0 {
        point.set_field("io_util", 100.0 * busy / interval_ms);
    }
}

impl InputPlugin for Options {
    fn remarks(&self, host: Option<&Host>) -> Vec<OptionError> {
        let Some(host) = host else { return Vec::new() };
        let Ok(text) = read_text(&host.proc("diskstats")) else { return Vec::new() };
        let input = Diskio::new(self.clone(), host);
        let lines: Vec<DiskLine<'_>> = text.lines().filter_map(diskstats::parse_line).collect();
        let is_there = |pattern: &Patterns| {
            lines.iter().any(|line| match pattern {
                Patterns::Exact(device) => device.iter().any(|device| input.resolve(device) == line.name),
                globs => {
                    let properties = Properties::read(line, host).unwrap_or_default();
                    globs.matches(line.name) || properties.links().any(|link| globs.matches(link))
                }
            })
        };
        let idle = self.devices.without_match(is_there).into_iter();
        idle.map(|device| OptionError::local("devices", format!("`{device}` matches no disk"))).collect()
    }

    fn build(self: Box<Self>, shared: &Arc<Shared>) -> Result<Box<dyn Input>, StartError> {
        Ok(Box::new(Diskio::new(*self, &shared.host)))
    }
}

#[async_trait::async_trait]
impl Input for Diskio {
    fn name(&self) -> &'static str {
        "diskio"
    }

    /// Adds a point for each device that has ever done anything; a malformed line costs only itself.
    async fn gather(&mut self, gathered: &mut Gathered) -> Result<(), GatherError> {
        let text = read_again(&mut self.diskstats)?;
        let now = Instant::now();
        let interval = now - self.last.0;
        let (names, asks_udev) = (self.names(), self.asks_udev());
        let (mut counters, mut malformed) = (HashMap::new(), None);
        for line in text.lines() {
            let Some(device) = diskstats::parse_line(line) else {
                if !diskstats::is_short(line) {
                    malformed = malformed.or_else(|| Some(line.to_owned()));
                }
                continue;
            };
            let is_named = names.as_ref().is_none_or(|names| names.iter().any(|name| name == device.name));
            if !is_named || device.counters == DiskCounters::default() {
                continue;
            }
            let last = self.last.1.get(device.name).copied();
            counters.insert(device.name.to_owned(), device.counters);
            let properties = if asks_udev { self.properties(&device) } else { Properties::default() };
            if !self.matches(&device, &properties) {
                continue;
            }
            let mut point = gathered.point("diskio");
            self.add_tags(&device, &properties, &mut point);
            add_fields(&device.counters, &mut point);
            if let Some(last) = last {
                add_rates(&device.counters, &last, interval, &mut point);
            }
            gathered.push(point);
        }
        self.last = (now, counters);
        match malformed {
            Some(what) => Err(GatherError::Malformed { path: self.diskstats.path().to_owned(), what }),
            None => Ok(()),
        }
    }
}

/// Parses any text as udev's data of a device, as a fuzzer does.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn parse_any(text: &str) {
    let _ = Properties::parse(text);
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::super::testing::{self, fields, gather, tags, write};
    use super::*;
    use crate::point::FieldValue;

    #[tokio::test(start_paused = true)]
    async fn matches_telegraf() {
        for case in testing::CASES {
            let expected = testing::expected(case, "diskio");
            assert!(expected.iter().all(|round| round.len() == 1), "{case}");
            // Telegraf's own intervals, which were a little off 2 s, from the percentage that it printed for 8 busy milliseconds.
            let interval = match expected.last().unwrap()[0].1["io_util"] {
                FieldValue::Float(percent) => Duration::from_millis((800.0 / percent).round() as u64),
                _ => panic!("{case}"),
            };
            let machine = testing::Machine::new(case);
            let mut input = Diskio::new(Options::default(), &machine.host());
            let mut actual = Vec::new();
            for round in 0..expected.len() {
                if round == expected.len() - 1 {
                    machine.switch(1);
                }
                tokio::time::advance(interval).await;
                actual.push(gather(&mut input).await.unwrap().iter().map(testing::line).collect::<Vec<_>>());
            }
            assert_eq!(actual, expected, "{case}");
        }
    }

    fn list(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|entry| (*entry).to_owned()).collect()
    }

    fn options(devices: &[&str]) -> Options {
        Options { devices: list(devices).try_into().unwrap(), ..Options::default() }
    }

    /// Two disks, of which one has a partition, and one that never did anything.
    const DISKSTATS: &str = "\
   8       0 sda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17
   8       1 sda1 1 0 0 0 0 0 0 0 0 0 0
 259       0 nvme0n1 0 0 0 0 1 0 0 0 0 0 0 0 0 0 0
   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
";

    fn machine() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "proc/diskstats", DISKSTATS);
        root
    }

    async fn names(options: Options, root: &Path) -> Vec<String> {
        let points = gather(&mut Diskio::new(options, &Host::at(root))).await.unwrap();
        points.iter().map(|point| point.tag_value("name").unwrap().to_owned()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_that_did_anything_is_a_point() {
        let root = machine();
        let mut input = Diskio::new(Options::default(), &Host::at(root.path()));
        let points = gather(&mut input).await.unwrap();
        assert_eq!(points.iter().map(tags).collect::<Vec<_>>(), ["name=sda", "name=sda1", "name=nvme0n1"]);
        let cumulative = [
            ("reads", 1),
            ("writes", 5),
            ("read_bytes", 3 * 512),
            ("write_bytes", 7 * 512),
            ("read_time", 4),
            ("write_time", 8),
            ("io_time", 10),
            ("weighted_io_time", 11),
            ("iops_in_progress", 9),
            ("merged_reads", 2),
            ("merged_writes", 6),
        ]
        .map(|(key, value)| (key, FieldValue::UInt(value)));
        assert_eq!(fields(&points[0]), cumulative);

        // In the next second three operations waited for 9 ms together, and the disk was busy for 6 of them.
        write(
            root.path(),
            "proc/diskstats",
            "8 0 sda 2 2 3 10 7 6 7 11 9 16 11\n8 1 sda1 1 0 0 0 0 0 0 0 0 0 0\n",
        );
        tokio::time::advance(Duration::from_millis(1000)).await;
        let points = gather(&mut input).await.unwrap();
        let rates = [("io_await", 3.0), ("io_svctm", 2.0), ("io_util", 0.6)]
            .map(|(key, value)| (key, FieldValue::Float(value)));
        assert_eq!(fields(&points[0])[11..], rates);
        // Without an operation there is no time per operation.
        assert_eq!(fields(&points[1])[11..], [("io_util", FieldValue::Float(0.0))]);

        // Immediately after: no time has passed, so there is no share of it.
        let points = gather(&mut input).await.unwrap();
        assert_eq!(points[1].fields.len(), 11);
    }

    #[tokio::test(start_paused = true)]
    async fn a_counter_that_runs_backwards_gives_no_rates() {
        let root = tempfile::tempdir().unwrap();
        let line =
            |columns: [u64; 11]| format!("8 0 sda {}\n", columns.map(|column| column.to_string()).join(" "));
        // Reads, writes, their times and the busy time; the others do not matter.
        for (column, matters) in
            [(0, true), (3, true), (4, true), (7, true), (9, true), (2, false), (10, false)]
        {
            write(root.path(), "proc/diskstats", line([10; 11]));
            let mut input = Diskio::new(Options::default(), &Host::at(root.path()));
            gather(&mut input).await.unwrap();
            let mut columns = [11; 11];
            columns[column] = 9;
            write(root.path(), "proc/diskstats", line(columns));
            tokio::time::advance(Duration::from_secs(1)).await;
            let points = gather(&mut input).await.unwrap();
            assert_eq!(points[0].fields.len(), if matters { 11 } else { 14 }, "column {column}");
        }
    }

    #[tokio::test]
    async fn devices_are_named_by_name_path_or_link() {
        let root = machine();
        let dev = root.path().join("dev");
        for (node, link, to) in [("sda", "by-id/disk", "../sda"), ("nvme0n1", "mapper/fast", "../nvme0n1")] {
            write(&dev, node, "");
            std::fs::create_dir_all(dev.join(link).parent().unwrap()).unwrap();
            symlink(to, dev.join(link)).unwrap();
        }
        let outside = root.path().join("link");
        symlink("dev/nvme0n1", &outside).unwrap();
        for (devices, expected) in [
            (&["sda"][..], vec!["sda"]),
            (&["/dev/sda1", "gone"], vec!["sda1"]),
            (&["/dev/by-id/disk"], vec!["sda"]),
            (&["mapper/fast", "sda"], vec!["sda", "nvme0n1"]),
            (&[outside.to_str().unwrap()], vec!["nvme0n1"]),
            (&["loop0"], vec![]),
            (&["sd"], vec![]),
        ] {
            assert_eq!(names(options(devices), root.path()).await, expected, "{devices:?}");
        }
    }

    #[tokio::test]
    async fn globs_match_names_and_links() {
        let root = machine();
        write(root.path(), "run/udev/data/b8:1", "S:disk/by-label/home\nS:disk/by-id/x-part1\n");
        for (devices, expected) in [
            (&["sd*"][..], vec!["sda", "sda1"]),
            (&["sd?", "nvme*"], vec!["sda", "nvme0n1"]),
            // With a glob in the list, the others are globs too, and links are not followed.
            (&["x[ab]", "sda1"], vec!["sda1"]),
            (&["disk/by-label/*"], vec!["sda1"]),
            (&["/dev/sd*"], vec![]),
        ] {
            assert_eq!(names(options(devices), root.path()).await, expected, "{devices:?}");
        }
    }

    #[tokio::test]
    async fn udevs_properties_become_tags_and_names() {
        let root = machine();
        let data = "S:disk/by-id/a\nS:disk/by-path/b\nI:123\nE:ID_FS_LABEL=ROOT\nE:ID_FS_TYPE=ext4\nE:EMPTY=\nE:ID_SERIAL=S3R=1\nG:systemd\nV:1\n";
        write(root.path(), "run/udev/data/b8:0", data);
        let uevent = "MAJOR=8\nMINOR=0\nDEVNAME=sda\nDEVTYPE=disk\nDISKSEQ=9\n";
        write(root.path(), "sys/devices/pci/host0/block/sda/uevent", uevent);
        std::fs::create_dir_all(root.path().join("sys/class/block")).unwrap();
        symlink("../../devices/pci/host0/block/sda", root.path().join("sys/class/block/sda")).unwrap();
        symlink("../../../host0", root.path().join("sys/devices/pci/host0/block/sda/device")).unwrap();
        let device_tags =
            list(&["ID_FS_TYPE", "ID_NONE", "EMPTY", "DEVNAME", "DEVTYPE", "DEVPATH", "DEVLINKS", "MAJOR"]);
        let name_templates = list(&["$ID_NONE", "${ID_FS_LABEL}/$ID_FS_TYPE$$"]);
        let options =
            Options { device_tags, name_templates, skip_serial_number: false, ..options(&["sda", "sda1"]) };
        let points = gather(&mut Diskio::new(options, &Host::at(root.path()))).await.unwrap();
        let expected = "name=ROOT/ext4$$,ID_FS_TYPE=ext4,EMPTY=,DEVNAME=/dev/sda,DEVTYPE=disk,DEVPATH=/devices/pci/host0/sda,DEVLINKS=/dev/disk/by-id/a /dev/disk/by-path/b,serial=S3R=1";
        assert_eq!(points.iter().map(tags).collect::<Vec<_>>(), [expected, "name=sda1,serial=unknown"]);
    }

    #[tokio::test]
    async fn serial_and_wwid_come_from_sysfs_too() {
        let root = machine();
        write(root.path(), "sys/block/nvme0n1/wwid", "eui.0025\n");
        write(root.path(), "sys/block/sda/wwid", "\n");
        write(root.path(), "sys/devices/host0/model", "DISK  \n");
        write(root.path(), "sys/devices/host0/serial", " 42 \n");
        std::fs::create_dir_all(root.path().join("sys/devices/host0/block/sda/sda1")).unwrap();
        symlink("../..", root.path().join("sys/devices/host0/block/sda/device")).unwrap();
        std::fs::create_dir_all(root.path().join("sys/dev/block")).unwrap();
        for (number, device) in [("8:0", "sda"), ("8:1", "sda/sda1")] {
            let link = root.path().join("sys/dev/block").join(number);
            symlink(format!("../../devices/host0/block/{device}"), link).unwrap();
        }
        let points = gather(&mut Diskio::new(Options::default(), &Host::at(root.path()))).await.unwrap();
        let actual: Vec<_> = points.iter().map(tags).collect();
        assert_eq!(actual, ["name=sda", "name=sda1", "name=nvme0n1,wwid=eui.0025"]);
        let options = Options { skip_serial_number: false, ..Options::default() };
        let points = gather(&mut Diskio::new(options, &Host::at(root.path()))).await.unwrap();
        let serials: Vec<_> = points.iter().map(|point| point.tag_value("serial").unwrap()).collect();
        // A partition has that of its disk.
        assert_eq!(serials, ["DISK  _ 42", "DISK  _ 42", "unknown"]);
    }

    #[tokio::test]
    async fn lines_without_all_columns_are_left_out_and_malformed_ones_named() {
        let root = machine();
        write(
            root.path(),
            "proc/diskstats",
            "3 1 hda1 35486 38030 38030 38030\n8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n",
        );
        assert_eq!(names(Options::default(), root.path()).await, ["sda"]);
        let bad = "8 0 sda 1 2 3 4 5 6 7 8 9 ten 11";
        write(root.path(), "proc/diskstats", format!("{bad}\n8 1 sda1 1 2 3 4 5 6 7 8 9 10 11\n"));
        let mut input = Diskio::new(Options::default(), &Host::at(root.path()));
        let (error, points) = gather(&mut input).await.unwrap_err();
        assert!(error.ends_with(&format!("/proc/diskstats: {bad}")), "{error}");
        assert_eq!(points.len(), 1);
        std::fs::remove_file(root.path().join("proc/diskstats")).unwrap();
        let (error, points) = gather(&mut input).await.unwrap_err();
        assert!(error.contains("/proc/diskstats: No such file"), "{error}");
        assert_eq!(points, []);
    }
}
