//! `[[inputs.kernel]]`: counters of the kernel as a whole, from proc(5) `stat` and `entropy_avail`; on request same-page
//! merging, from sysfs `kernel/mm/ksm`, and stalls, from proc(5) `pressure`.
//!
//! Telegraf reads its own `/proc` and `/sys` here, whatever `HOST_*` says. In this input the variables count too: the
//! figures are the kernel's, the same in every mount of proc, and a container may not have one of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::{GatherError, Gathered, Input, InputPlugin, Shared, StartError, read_again, read_text};
use crate::host::Host;
use crate::host::file::KernelFile;
use crate::host::proc::pressure::Pressure;
use crate::host::proc::stat;
use crate::options::{OptionError, nearest};
use crate::point::Point;

/// The section `[[inputs.kernel]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Also `ksm`, `psi`. Other names are accepted with a warning, and ignored.
    pub(super) collect: Vec<String>,
}

impl Options {
    fn has(&self, what: &str) -> bool {
        self.collect.iter().any(|entry| entry == what)
    }
}

/// What is gathered on request.
struct Extra {
    name: &'static str,
    folder: fn(&Host) -> PathBuf,
    /// Why the kernel may not have it.
    lacking: &'static str,
}

const KSM_EXTRA: Extra = Extra {
    name: "ksm",
    folder: |host| host.sys("kernel/mm/ksm"),
    lacking: "this kernel has no KSM, or HOST_SYS is wrong",
};
const PSI_EXTRA: Extra = Extra {
    name: "psi",
    folder: |host| host.proc("pressure"),
    lacking: "this kernel has no PSI (it may have to be booted with psi=1), or HOST_PROC is wrong",
};
const EXTRAS: [Extra; 2] = [KSM_EXTRA, PSI_EXTRA];

/// The lines of `stat` that are taken, and the fields that their first numbers are.
const STAT: [(&str, &[&str]); 5] = [
    ("intr", &["interrupts"]),
    ("ctxt", &["context_switches"]),
    ("btime", &["boot_time"]),
    ("processes", &["processes_forked"]),
    // Until Linux 2.4.
    ("page", &["disk_pages_in", "disk_pages_out"]),
];

/// The files of `kernel/mm/ksm` that are taken, and their fields.
const KSM: [(&str, &str); 14] = [
    ("full_scans", "ksm_full_scans"),
    ("max_page_sharing", "ksm_max_page_sharing"),
    ("merge_across_nodes", "ksm_merge_across_nodes"),
    ("pages_shared", "ksm_pages_shared"),
    ("pages_sharing", "ksm_pages_sharing"),
    ("pages_to_scan", "ksm_pages_to_scan"),
    ("pages_unshared", "ksm_pages_unshared"),
    ("pages_volatile", "ksm_pages_volatile"),
    ("run", "ksm_run"),
    ("sleep_millisecs", "ksm_sleep_millisecs"),
    ("stable_node_chains", "ksm_stable_node_chains"),
    ("stable_node_chains_prune_millisecs", "ksm_stable_node_chains_prune_millisecs"),
    ("stable_node_dups", "ksm_stable_node_dups"),
    ("use_zero_pages", "ksm_use_zero_pages"),
];
/// Since Linux 6.4, so it may be missing.
const KSM_PROFIT: (&str, &str) = ("general_profit", "ksm_general_profit");

/// The input.
#[derive(Debug)]
pub(super) struct Kernel {
    stat: KernelFile,
    entropy: KernelFile,
    ksm: Option<PathBuf>,
    pressure: Option<PathBuf>,
}

impl Kernel {
    /// An input for this host's kernel.
    ///
    /// What the kernel lacks is left out.
    #[must_use]
    pub(super) fn new(options: &Options, host: &Host) -> Self {
        let folder = |extra: &Extra| {
            let path = options.has(extra.name).then(|| (extra.folder)(host));
            path.filter(|path| path.is_dir())
        };
        Self {
            stat: KernelFile::new(host.proc("stat")),
            entropy: KernelFile::new(host.proc("sys/kernel/random/entropy_avail")),
            ksm: folder(&KSM_EXTRA),
            pressure: folder(&PSI_EXTRA),
        }
    }

    fn add_stat(&mut self, point: &mut Point) -> Result<(), GatherError> {
        for line in read_again(&mut self.stat)?.lines() {
            let Some((name, mut numbers)) = stat::parse_counters(line) else { continue };
            let fields = STAT.iter().find(|(line, _)| *line == name).map_or(&[][..], |(_, fields)| fields);
            for field in fields {
                let number = numbers.next().flatten().ok_or_else(|| GatherError::Malformed {
                    path: self.stat.path().to_owned(),
                    // The line of interrupts can have thousands of numbers.
                    what: line.chars().take(80).collect(),
                })?;
                point.set_field(*field, number);
            }
        }
        Ok(())
    }

    fn add_entropy(&mut self, point: &mut Point) -> Result<(), GatherError> {
        let text = read_again(&mut self.entropy)?;
        set_number(&text, self.entropy.path(), "entropy_avail", point)
    }

    /// Adds what it can; the error is about the first file that gave nothing.
    fn add_ksm(folder: &Path, point: &mut Point) -> Result<(), GatherError> {
        let mut result = Ok(());
        for (file, field) in KSM {
            result = result.and(add_number(&folder.join(file), field, point));
        }
        let (file, field) = KSM_PROFIT;
        let profit = folder.join(file);
        if profit.exists() { result.and(add_number(&profit, field, point)) } else { result }
    }

    /// Adds two points for each kind of stall, as Telegraf does: the averages, and the total.
    fn add_pressure(folder: &Path, gathered: &mut Gathered) -> Result<(), GatherError> {
        let mut result = Ok(());
        for resource in ["cpu", "memory", "io"] {
            let path = folder.join(resource);
            let text = match read_text(&path) {
                Ok(text) => text,
                Err(error) => {
                    result = result.and(Err(error));
                    continue;
                }
            };
            for line in text.lines() {
                let added = add_stall(resource, line, gathered);
                result =
                    result.and(added.map_err(|what| GatherError::Malformed { path: path.clone(), what }));
            }
        }
        result
    }
}

/// A file that has one number.
fn add_number(path: &Path, field: &'static str, point: &mut Point) -> Result<(), GatherError> {
    set_number(&read_text(path)?, path, field, point)
}

fn set_number(text: &str, path: &Path, field: &'static str, point: &mut Point) -> Result<(), GatherError> {
    let malformed = || GatherError::Malformed { path: path.to_owned(), what: text.to_owned() };
    point.set_field(field, text.trim().parse::<i64>().map_err(|_| malformed())?);
    Ok(())
}

/// Adds a line of `pressure`. The error is the line.
fn add_stall(resource: &'static str, line: &str, gathered: &mut Gathered) -> Result<(), String> {
    let (kind, pressure) = Pressure::parse_line(line).ok_or_else(|| line.to_owned())?;
    // Since Linux 5.13 the CPU has one too, but for the machine it is 0 by definition.
    if (resource, kind) == ("cpu", "full") {
        return Ok(());
    }
    let point = gathered.point("pressure").tag("resource", resource).tag("type", kind);
    let averages = [("avg10", pressure.avg10), ("avg60", pressure.avg60), ("avg300", pressure.avg300)];
    gathered
        .push(averages.into_iter().fold(point.clone(), |point, (field, value)| point.field(field, value)));
    gathered.push(point.field("total", pressure.total_us));
    Ok(())
}

impl InputPlugin for Options {
    fn remarks(&self, host: Option<&Host>) -> Vec<OptionError> {
        let mut remarks = Vec::new();
        let names = EXTRAS.map(|extra| extra.name);
        for name in self.collect.iter().filter(|name| !names.contains(&name.as_str())) {
            let what =
                format!("there is no `{name}`{}; there are: {}", nearest(name, &names), names.join(", "));
            remarks.push(OptionError::new("collect", what));
        }
        for extra in EXTRAS.iter().filter(|extra| self.has(extra.name)) {
            if let Some(path) = host.map(extra.folder).filter(|path| !path.is_dir()) {
                let Extra { name, lacking, .. } = extra;
                let what = format!("\"{name}\" is left out: {} is no folder: {lacking}", path.display());
                remarks.push(OptionError::local("collect", what));
            }
        }
        remarks
    }

    fn build(self: Box<Self>, shared: &Arc<Shared>) -> Result<Box<dyn Input>, StartError> {
        Ok(Box::new(Kernel::new(&self, &shared.host)))
    }
}

#[async_trait::async_trait]
impl Input for Kernel {
    fn name(&self) -> &'static str {
        "kernel"
    }

    /// A file that cannot be read costs its own fields, where Telegraf drops the whole point.
    async fn gather(&mut self, gathered: &mut Gathered) -> Result<(), GatherError> {
        let mut point = gathered.point("kernel");
        let mut result = self.add_stat(&mut point);
        result = result.and(self.add_entropy(&mut point));
        if let Some(folder) = &self.ksm {
            result = result.and(Self::add_ksm(folder, &mut point));
        }
        gathered.push(point);
        if let Some(folder) = &self.pressure {
            result = result.and(Self::add_pressure(folder, gathered));
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fields, gather, tags, write};
    use super::*;
    use crate::point::FieldValue;

    fn kernel(collect: &[&str], root: &Path) -> Kernel {
        let collect = collect.iter().map(|name| (*name).to_owned()).collect();
        Kernel::new(&Options { collect }, &Host::at(root))
    }

    fn machine() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let stat = "cpu  1 2 3 4\ncpu0 1 2 3 4\npage 5741 1808\nswap 1 0\nintr 1472 0 7 9\nctxt 2626618\nbtime 1457505775\nprocesses 26442\nprocs_running 2\nsoftirq 31372 4\n";
        write(root.path(), "proc/stat", stat);
        write(root.path(), "proc/sys/kernel/random/entropy_avail", "1024\n");
        root
    }

    #[tokio::test]
    async fn counters_come_from_stat() {
        let root = machine();
        let points = gather(&mut kernel(&["nonsense"], root.path())).await.unwrap();
        assert_eq!(points.len(), 1);
        assert_eq!(points[0].tags, []);
        let expected = [
            ("disk_pages_in", 5741),
            ("disk_pages_out", 1808),
            ("interrupts", 1472),
            ("context_switches", 2_626_618),
            ("boot_time", 1_457_505_775),
            ("processes_forked", 26442),
            ("entropy_avail", 1024),
        ]
        .map(|(key, value)| (key, FieldValue::Int(value)));
        assert_eq!(fields(&points[0]), expected);
    }

    #[tokio::test]
    async fn ksm_adds_its_files() {
        let root = machine();
        // A kernel without it: said at the start, and the rest goes on.
        let options = Options { collect: ["ksm", "kms", "psi"].map(str::to_owned).to_vec() };
        let said: Vec<_> =
            options.remarks(Some(&Host::at(root.path()))).into_iter().map(|r| r.what).collect();
        assert_eq!(said[0], "there is no `kms`: did you mean `ksm`?; there are: ksm, psi");
        assert!(
            said[1].starts_with("\"ksm\" is left out: ")
                && said[1].contains("/sys/kernel/mm/ksm is no folder")
        );
        assert!(said[2].starts_with("\"psi\" is left out: "), "{said:?}");
        assert_eq!(options.remarks(None).len(), 1, "another machine may have them");
        assert_eq!(gather(&mut kernel(&["ksm", "psi"], root.path())).await.unwrap().len(), 1);
        for (n, (file, _)) in KSM.iter().enumerate() {
            write(root.path(), &format!("sys/kernel/mm/ksm/{file}"), format!("{n}\n"));
        }
        let mut input = kernel(&["ksm"], root.path());
        let ksm = |points: &[Point]| {
            fields(&points[0]).into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Vec<_>>()
                [7..]
                .to_vec()
        };
        let mut expected: Vec<_> =
            KSM.iter().zip(0..).map(|((file, _), n)| (format!("ksm_{file}"), FieldValue::Int(n))).collect();
        assert_eq!(ksm(&gather(&mut input).await.unwrap()), expected);
        write(root.path(), "sys/kernel/mm/ksm/general_profit", "-64\n");
        expected.push(("ksm_general_profit".to_owned(), FieldValue::Int(-64)));
        assert_eq!(ksm(&gather(&mut input).await.unwrap()), expected);

        std::fs::remove_file(root.path().join("sys/kernel/mm/ksm/merge_across_nodes")).unwrap();
        write(root.path(), "sys/kernel/mm/ksm/run", "on\n");
        let (error, points) = gather(&mut input).await.unwrap_err();
        assert!(error.contains("ksm/merge_across_nodes: No such file"), "{error}");
        expected.retain(|(field, _)| !["ksm_merge_across_nodes", "ksm_run"].contains(&field.as_str()));
        assert_eq!(ksm(&points), expected);
    }

    #[tokio::test]
    async fn pressure_is_two_points_for_each_kind() {
        let root = machine();
        let line = |n: u64| format!("avg10={n}.10 avg60={n}.60 avg300=0.00 total={n}\n");
        write(root.path(), "proc/pressure/cpu", format!("some {}full {}", line(1), line(9)));
        write(root.path(), "proc/pressure/memory", format!("some {}full {}", line(2), line(3)));
        write(root.path(), "proc/pressure/io", format!("some {}full {}", line(4), line(5)));
        let mut input = kernel(&["psi"], root.path());
        let points = gather(&mut input).await.unwrap();
        let mut expected = Vec::new();
        for (resource, kind, n) in [
            ("cpu", "some", 1_u32),
            ("memory", "some", 2),
            ("memory", "full", 3),
            ("io", "some", 4),
            ("io", "full", 5),
        ] {
            let series = format!("resource={resource},type={kind}");
            let whole = f64::from(n);
            let n = FieldValue::UInt(u64::from(n));
            let averages = [("avg10", whole + 0.1), ("avg60", whole + 0.6), ("avg300", 0.0)]
                .map(|(key, value)| (key, FieldValue::Float(value)));
            expected.push((series.clone(), averages.to_vec()));
            expected.push((series, vec![("total", n)]));
        }
        let actual: Vec<_> = points[1..].iter().map(|point| (tags(point), fields(point))).collect();
        assert_eq!(actual, expected);

        // Before 5.13 the CPU has no second line; a malformed one costs only itself.
        write(root.path(), "proc/pressure/cpu", format!("some {}", line(1)));
        write(root.path(), "proc/pressure/memory", format!("some avg10=x\nfull {}", line(3)));
        std::fs::remove_file(root.path().join("proc/pressure/io")).unwrap();
        let (error, points) = gather(&mut input).await.unwrap_err();
        assert!(error.ends_with("/proc/pressure/memory: some avg10=x"), "{error}");
        let actual: Vec<_> = points[1..].iter().map(tags).collect();
        let cpu = "resource=cpu,type=some";
        let memory = "resource=memory,type=full";
        assert_eq!(actual, [cpu, cpu, memory, memory]);
    }

    #[tokio::test]
    async fn what_is_missing_or_malformed_costs_only_itself() {
        let root = machine();
        std::fs::remove_file(root.path().join("proc/sys/kernel/random/entropy_avail")).unwrap();
        let (error, points) = gather(&mut kernel(&[], root.path())).await.unwrap_err();
        assert!(error.contains("/entropy_avail: No such file"), "{error}");
        assert_eq!(points[0].fields.len(), 6);
        let root = machine();
        write(root.path(), "proc/stat", "ctxt 5\nintr\nbtime 7\n");
        let (error, points) = gather(&mut kernel(&[], root.path())).await.unwrap_err();
        assert!(error.ends_with("/proc/stat: intr"), "{error}");
        assert_eq!(
            fields(&points[0]),
            [("context_switches", FieldValue::Int(5)), ("entropy_avail", FieldValue::Int(1024))]
        );
        std::fs::remove_file(root.path().join("proc/stat")).unwrap();
        let (error, points) = gather(&mut kernel(&[], root.path())).await.unwrap_err();
        assert!(error.contains("/proc/stat: No such file"), "{error}");
        assert_eq!(points.len(), 1);
    }
}
