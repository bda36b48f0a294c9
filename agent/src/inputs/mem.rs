//! `[[inputs.mem]]`: the machine's memory, from proc(5) `meminfo`.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::{GatherError, Gathered, Input, InputPlugin, Shared, StartError, read_again, read_text};
use crate::host::Host;
use crate::host::file::KernelFile;
use crate::host::proc::meminfo::{self, Meminfo};
use crate::host::proc::zoneinfo;

/// The section `[[inputs.mem]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Also `active_file`, `inactive_file`, `active_anon`, `inactive_anon`, `unevictable` and `percpu`.
    pub(super) collect_extended: bool,
}

/// The fields that are one line of `meminfo`, in bytes. `cached`, `available` and `used` are not: see `gather`.
const BYTES: [(&str, &str); 27] = [
    ("total", "MemTotal"),
    ("free", "MemFree"),
    ("buffered", "Buffers"),
    ("active", "Active"),
    ("inactive", "Inactive"),
    ("dirty", "Dirty"),
    ("write_back", "Writeback"),
    ("write_back_tmp", "WritebackTmp"),
    ("mapped", "Mapped"),
    ("shared", "Shmem"),
    ("slab", "Slab"),
    ("sreclaimable", "SReclaimable"),
    ("sunreclaim", "SUnreclaim"),
    ("page_tables", "PageTables"),
    ("swap_cached", "SwapCached"),
    ("swap_total", "SwapTotal"),
    ("swap_free", "SwapFree"),
    ("commit_limit", "CommitLimit"),
    ("committed_as", "Committed_AS"),
    ("high_total", "HighTotal"),
    ("high_free", "HighFree"),
    ("low_total", "LowTotal"),
    ("low_free", "LowFree"),
    ("vmalloc_total", "VmallocTotal"),
    ("vmalloc_used", "VmallocUsed"),
    ("vmalloc_chunk", "VmallocChunk"),
    ("huge_page_size", "Hugepagesize"),
];

/// Those that are a number of pages.
const PAGES: [(&str, &str); 2] =
    [("huge_pages_total", "HugePages_Total"), ("huge_pages_free", "HugePages_Free")];

/// Those of `collect_extended`, in bytes.
const EXTENDED: [(&str, &str); 6] = [
    ("active_file", "Active(file)"),
    ("inactive_file", "Inactive(file)"),
    ("active_anon", "Active(anon)"),
    ("inactive_anon", "Inactive(anon)"),
    ("unevictable", "Unevictable"),
    ("percpu", "Percpu"),
];

/// The input.
#[derive(Debug)]
pub(super) struct Mem {
    options: Options,
    meminfo: KernelFile,
    zoneinfo: PathBuf,
}

impl Mem {
    /// An input that reads `meminfo` of this host.
    #[must_use]
    pub(super) fn new(options: Options, host: &Host) -> Self {
        Self { options, meminfo: KernelFile::new(host.proc("meminfo")), zoneinfo: host.proc("zoneinfo") }
    }

    /// What the kernel calls available since Linux 3.14, for older ones.
    ///
    /// That is what is free beyond the low watermarks, and the half of file cache and reclaimable slab that can be reclaimed
    /// without swapping; or all of the cache where these are unknown.
    fn estimate_available(&self, meminfo: &Meminfo<'_>) -> u64 {
        let free_and_cached = meminfo.bytes("MemFree").saturating_add(cached(meminfo));
        let lines = [meminfo.get("Active(file)"), meminfo.get("Inactive(file)"), meminfo.get("SReclaimable")];
        let [Some(active_file), Some(inactive_file), Some(reclaimable)] = lines else {
            return free_and_cached;
        };
        let Ok(text) = read_text(&self.zoneinfo) else { return free_and_cached };
        let watermark = zoneinfo::low_watermarks(&text).saturating_mul(rustix::param::page_size() as u64);
        let page_cache = meminfo::bytes(active_file).saturating_add(meminfo::bytes(inactive_file));
        let beyond = |amount: u64| amount - watermark.min(amount / 2);
        // Added first and subtracted last: what is free may be less than the watermarks.
        let reclaimable = beyond(meminfo::bytes(reclaimable));
        (meminfo.bytes("MemFree").saturating_add(beyond(page_cache)).saturating_add(reclaimable))
            .saturating_sub(watermark)
    }
}

/// Whether a line of `meminfo` becomes a field, or a part of one.
fn is_read(name: &str) -> bool {
    let lines = BYTES.iter().chain(&PAGES).chain(&EXTENDED).map(|(_, line)| *line);
    lines.chain(["MemAvailable", "Cached"]).any(|line| line == name)
}

/// The page cache and the slab that can be given back, which Telegraf counts as cached too.
fn cached(meminfo: &Meminfo<'_>) -> u64 {
    meminfo.bytes("Cached").saturating_add(meminfo.bytes("SReclaimable"))
}

impl InputPlugin for Options {
    fn build(self: Box<Self>, shared: &Arc<Shared>) -> Result<Box<dyn Input>, StartError> {
        Ok(Box::new(Mem::new(*self, &shared.host)))
    }
}

#[async_trait::async_trait]
impl Input for Mem {
    fn name(&self) -> &'static str {
        "mem"
    }

    async fn gather(&mut self, gathered: &mut Gathered) -> Result<(), GatherError> {
        let text = read_again(&mut self.meminfo)?;
        let meminfo = Meminfo::parse(&text, is_read)
            .map_err(|what| GatherError::Malformed { path: self.meminfo.path().to_owned(), what })?;
        let total = meminfo.bytes("MemTotal");
        let available = match meminfo.get("MemAvailable") {
            Some(available) => meminfo::bytes(available),
            None => self.estimate_available(&meminfo),
        };
        // In some containers `meminfo` is synthetic, and the parts can exceed the whole.
        let used = total.saturating_sub(available);
        let percent = |amount: u64| 100.0 * amount as f64 / total as f64;

        let mut point = gathered.point("mem");
        for (field, line) in BYTES {
            point.set_field(field, meminfo.bytes(line));
        }
        for (field, line) in PAGES {
            point.set_field(field, meminfo.get(line).unwrap_or_default());
        }
        point.set_field("cached", cached(&meminfo));
        point.set_field("available", available);
        point.set_field("used", used);
        point.set_field("used_percent", percent(used));
        point.set_field("available_percent", percent(available));
        if self.options.collect_extended {
            for (field, line) in EXTENDED {
                point.set_field(field, meminfo.bytes(line));
            }
        }
        gathered.push(point);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, gather, write};
    use super::*;
    use crate::point::FieldValue;

    #[tokio::test]
    async fn matches_telegraf() {
        for case in testing::CASES {
            let expected = testing::expected(case, "mem");
            let actual =
                testing::replay(case, expected.len(), |host| Mem::new(Options::default(), host)).await;
            assert!(actual.iter().flatten().count() >= 2, "{case}");
            assert_eq!(actual, expected, "{case}");
        }
    }

    async fn field(root: &std::path::Path, field: &str) -> FieldValue {
        let points =
            gather(&mut Mem::new(Options { collect_extended: true }, &Host::at(root))).await.unwrap();
        assert_eq!(points.len(), 1);
        points[0].field_value(field).unwrap().clone()
    }

    #[tokio::test]
    async fn what_the_kernel_lacks_is_zero() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            "proc/meminfo",
            "MemTotal: 100 kB\nNew: a b\nMemAvailable: 25 kB\nHugePages_Total: 3\n",
        );
        assert_eq!(field(root.path(), "used").await, FieldValue::UInt(75 * 1024));
        assert_eq!(field(root.path(), "used_percent").await, FieldValue::Float(75.0));
        assert_eq!(field(root.path(), "huge_pages_total").await, FieldValue::UInt(3));
        assert_eq!(field(root.path(), "vmalloc_chunk").await, FieldValue::UInt(0));
        assert_eq!(field(root.path(), "percpu").await, FieldValue::UInt(0));
    }

    #[tokio::test]
    async fn available_memory_is_estimated_on_old_kernels() {
        let root = tempfile::tempdir().unwrap();
        let old = "MemTotal: 9000 kB\nMemFree: 1000 kB\nCached: 3000 kB\nSReclaimable: 40 kB\n";
        write(root.path(), "proc/meminfo", old);
        assert_eq!(field(root.path(), "available").await, FieldValue::UInt(4040 * 1024));
        let newer = format!("{old}Active(file): 1000 kB\nInactive(file): 500 kB\n");
        write(root.path(), "proc/meminfo", &newer);
        assert_eq!(field(root.path(), "available").await, FieldValue::UInt(4040 * 1024), "no zoneinfo");
        // Two zones, 25 pages together: 100 KiB where a page has 4 KiB.
        let page = rustix::param::page_size() as u64 / 1024;
        let zones = "Node 0, zone DMA\n  pages free 3\n        min 1\n        low      20\n\nNode 0, zone Normal\n        low 5\n";
        write(root.path(), "proc/zoneinfo", zones);
        let watermark = 25 * page;
        let expected = 1000 - watermark + (1500 - watermark.min(750)) + (40 - watermark.min(20));
        assert_eq!(field(root.path(), "available").await, FieldValue::UInt(expected * 1024));
        write(root.path(), "proc/zoneinfo", "low 99999999\n");
        assert_eq!(
            field(root.path(), "available").await,
            FieldValue::UInt(0),
            "watermarks above all there is"
        );
    }

    #[tokio::test]
    async fn a_missing_file_is_named() {
        let root = tempfile::tempdir().unwrap();
        let (error, points) =
            gather(&mut Mem::new(Options::default(), &Host::at(root.path()))).await.unwrap_err();
        assert!(error.contains("/proc/meminfo: No such file"), "{error}");
        assert_eq!(points, []);
    }

    #[tokio::test]
    async fn a_malformed_file_is_refused_with_its_line() {
        for (text, what) in [
            ("MemTotal: 1 kB\n\nMemFree: one kB\n", "MemFree: one kB"),
            ("MemTotal 1\n", "no MemTotal"),
            ("MemTotal:\n", "MemTotal:"),
            ("", "no MemTotal"),
            ("MemTotal: 0 kB\n", "no MemTotal"),
            ("MemTotal: 1 kB\nMemFree: -1 kB\n", "MemFree: -1 kB"),
        ] {
            let root = tempfile::tempdir().unwrap();
            write(root.path(), "proc/meminfo", text);
            let (error, points) =
                gather(&mut Mem::new(Options::default(), &Host::at(root.path()))).await.unwrap_err();
            assert!(error.contains("/proc/meminfo: ") && error.ends_with(what), "{error}");
            assert_eq!(points, []);
        }
    }
}
