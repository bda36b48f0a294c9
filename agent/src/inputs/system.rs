//! `[[inputs.system]]`: load, uptime, and how many CPUs and users; on request hardware and operating system.
//!
//! Sources: proc(5) `loadavg`; sysinfo(2) for the uptime, which is therefore always that of the machine the agent runs on;
//! and those of the modules below.

mod cpus;
mod dmi;
mod os;
mod users;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use self::cpus::Cpus;
use super::{GatherError, Gathered, Input, InputPlugin, Shared, StartError};
use crate::host::Host;
use crate::host::file::KernelFile;
use crate::host::proc::loadavg;
use crate::point::Point;

/// The section `[[inputs.system]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// What to gather; empty means the default.
    pub(super) include: Vec<Group>,
    /// How long the fields of `os` are cached; 0 reads them each time.
    #[serde(deserialize_with = "crate::options::duration::deserialize")]
    pub(super) os_cache_ttl: Duration,
    /// The same for `dmi`.
    #[serde(deserialize_with = "crate::options::duration::deserialize")]
    pub(super) dmi_cache_ttl: Duration,
}

impl Default for Options {
    fn default() -> Self {
        /// Telegraf's. These groups change with an upgrade or a restart.
        const CACHE_TTL: Duration = Duration::from_secs(8 * 3600);
        Self { include: vec![Group::Legacy], os_cache_ttl: CACHE_TTL, dmi_cache_ttl: CACHE_TTL }
    }
}

/// A group of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Group {
    /// Load, CPUs, users and uptime in three points, as Telegraf has always done.
    Legacy,
    /// `n_cpus`, `n_physical_cpus`.
    Cpus,
    /// Firmware, board, chassis and product.
    Dmi,
    /// `load1`, `load5`, `load15`.
    Load,
    /// Distribution, architecture and kernel.
    Os,
    /// `uptime`, without `uptime_format`.
    Uptime,
    /// `n_users`, `n_unique_users`.
    Users,
}

/// The input.
#[derive(Debug)]
pub(super) struct System {
    options: Options,
    host: Host,
    loadavg: KernelFile,
    cpus: Cpus,
    os: Kept,
    dmi: Kept,
}

/// Fields that hardly ever change, and when they were read.
#[derive(Debug)]
struct Kept {
    for_at_most: Duration,
    read: Option<(Instant, Vec<(&'static str, String)>)>,
}

impl Kept {
    fn new(for_at_most: Duration) -> Self {
        Self { for_at_most, read: None }
    }

    fn add(&mut self, read: impl FnOnce() -> Vec<(&'static str, String)>, point: &mut Point) {
        self.read.take_if(|(when, _)| when.elapsed() >= self.for_at_most);
        let (_, fields) = self.read.get_or_insert_with(|| (Instant::now(), read()));
        for (field, text) in fields {
            point.set_field(*field, text.clone());
        }
    }
}

impl System {
    /// An input for this host.
    #[must_use]
    pub(super) fn new(options: Options, host: &Host) -> Self {
        let mut options = options;
        if options.include.is_empty() {
            options.include = Options::default().include;
        }
        let (os, dmi) = (Kept::new(options.os_cache_ttl), Kept::new(options.dmi_cache_ttl));
        let loadavg = KernelFile::new(host.proc("loadavg"));
        Self { options, host: host.clone(), loadavg, cpus: Cpus::new(host), os, dmi }
    }

    /// Load averages from `loadavg`, or else from sysinfo(2).
    fn add_load(&mut self, point: &mut Point) {
        let parsed = self.loadavg.read().ok().and_then(|text| loadavg::parse(&text));
        let loads = parsed.unwrap_or_else(|| {
            tracing::debug!(path = %self.loadavg.path().display(), "no load averages there, taken from sysinfo(2)");
            // 16 bits of fraction, sysinfo(2).
            rustix::system::sysinfo().loads.map(|load| load as f64 / 65536.0)
        });
        for (field, load) in ["load1", "load5", "load15"].into_iter().zip(loads) {
            point.set_field(field, load);
        }
    }

    fn add_users(&self, point: &mut Point) {
        if let Some(users) = users::count(&self.host) {
            point.set_field("n_users", saturated(users.sessions));
            point.set_field("n_unique_users", saturated(users.unique));
        }
    }

    fn add_legacy(&mut self, gathered: &mut Gathered) -> Result<(), GatherError> {
        let mut point = gathered.point("system");
        self.add_load(&mut point);
        self.add_users(&mut point);
        let result = self.add_cpus(&mut point);
        gathered.push(point);
        let uptime = uptime_s();
        gathered.push(gathered.point("system").field("uptime", uptime));
        gathered.push(gathered.point("system").field("uptime_format", format_uptime(uptime)));
        result
    }

    fn add_cpus(&mut self, point: &mut Point) -> Result<(), GatherError> {
        let counts = self.cpus.count(&self.host)?;
        point.set_field("n_cpus", counts.logical);
        point.set_field("n_physical_cpus", counts.physical);
        Ok(())
    }
}

fn saturated(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Seconds since boot, sysinfo(2).
fn uptime_s() -> u64 {
    u64::try_from(rustix::system::sysinfo().uptime).unwrap_or_default()
}

/// As in `14 days, 11:07`.
fn format_uptime(seconds: u64) -> String {
    let minutes = seconds / 60;
    let (days, hours, minutes) = (minutes / 60 / 24, minutes / 60 % 24, minutes % 60);
    match days {
        0 => format!("{hours:2}:{minutes:02}"),
        1 => format!("1 day, {hours:2}:{minutes:02}"),
        days => format!("{days} days, {hours:2}:{minutes:02}"),
    }
}

impl InputPlugin for Options {
    fn build(self: Box<Self>, shared: &Arc<Shared>) -> Result<Box<dyn Input>, StartError> {
        Ok(Box::new(System::new(*self, &shared.host)))
    }
}

#[async_trait::async_trait]
impl Input for System {
    fn name(&self) -> &'static str {
        "system"
    }

    async fn gather(&mut self, gathered: &mut Gathered) -> Result<(), GatherError> {
        let mut result = Ok(());
        let mut point = gathered.point("system");
        for group in self.options.include.clone() {
            match group {
                Group::Legacy => result = self.add_legacy(gathered),
                Group::Cpus => result = self.add_cpus(&mut point),
                Group::Dmi => self.dmi.add(|| dmi::read(&self.host), &mut point),
                Group::Os => self.os.add(|| os::read(&self.host), &mut point),
                Group::Load => self.add_load(&mut point),
                Group::Uptime => point.set_field("uptime", uptime_s()),
                Group::Users => self.add_users(&mut point),
            }
        }
        gathered.push(point);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, gather, write};
    use super::*;
    use crate::point::FieldValue;

    #[tokio::test]
    async fn matches_telegraf() {
        // The uptime is the machine's, so it is put in both, and the text of it is compared by itself.
        let replace = |rounds: &mut Vec<Vec<testing::Line>>| {
            for (_, fields) in rounds.iter_mut().flatten() {
                for (name, value) in fields {
                    match (name.as_str(), &value) {
                        ("uptime", FieldValue::Int(_)) => *value = FieldValue::Int(0),
                        ("uptime_format", FieldValue::Text(_)) => *value = FieldValue::from(""),
                        _ => {}
                    }
                }
            }
        };
        for case in testing::CASES {
            let mut expected = testing::expected(case, "system");
            for round in &expected {
                let FieldValue::Int(uptime) = round[1].1["uptime"] else { panic!("{round:?}") };
                let text = format_uptime(uptime.cast_unsigned());
                assert_eq!(round[2].1["uptime_format"], FieldValue::from(text));
            }
            let mut actual =
                testing::replay(case, expected.len(), |host| System::new(Options::default(), host)).await;
            replace(&mut expected);
            replace(&mut actual);
            assert_eq!(actual, expected, "{case}");
        }
    }

    #[test]
    fn uptime_reads_as_in_telegraf() {
        for (seconds, text) in [
            (0, " 0:00"),
            (59, " 0:00"),
            (36_060, "10:01"),
            (86_400, "1 day,  0:00"),
            (2 * 86_400 + 3_600, "2 days,  1:00"),
            (1_249_632, "14 days, 11:07"),
        ] {
            assert_eq!(format_uptime(seconds), text);
        }
    }

    #[tokio::test]
    async fn users_are_two_fields() {
        let root = tempfile::tempdir().unwrap();
        let mut session = [0; 1024];
        session[..2].copy_from_slice(&7_i16.to_ne_bytes());
        write(root.path(), "var/run/utmp", session);
        let options = Options { include: vec![Group::Users], ..Options::default() };
        let points = gather(&mut System::new(options, &Host::at(root.path()))).await.unwrap();
        assert_eq!(points.len(), 1);
        assert_eq!(points[0].field_value("n_users"), Some(&FieldValue::Int(1)));
        assert_eq!(points[0].field_value("n_unique_users"), Some(&FieldValue::Int(1)));
    }

    #[tokio::test]
    async fn the_fine_groups_share_a_point() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "proc/loadavg", "0.10 2 3.5 1/2 3\n");
        write(root.path(), "proc/cpuinfo", "processor : 0\nphysical id : 0\ncpu cores : 1\n\n");
        let options = Options {
            include: vec![Group::Load, Group::Uptime, Group::Users, Group::Cpus],
            ..Options::default()
        };
        let points = gather(&mut System::new(options, &Host::at(root.path()))).await.unwrap();
        let fields: Vec<_> = points
            .iter()
            .map(|point| point.fields.iter().map(|(key, _)| &**key).collect::<Vec<_>>())
            .collect();
        assert_eq!(fields, [vec!["load1", "load5", "load15", "uptime", "n_cpus", "n_physical_cpus"]]);
        assert_eq!(points[0].field_value("load1"), Some(&FieldValue::Float(0.1)));
    }

    #[tokio::test]
    async fn missing_files_cost_only_their_fields() {
        let root = tempfile::tempdir().unwrap();
        let nothing = Options { include: vec![], ..Options::default() };
        let (error, points) = gather(&mut System::new(nothing, &Host::at(root.path()))).await.unwrap_err();
        assert!(error.contains("/proc/stat: No such file"), "{error}");
        assert_eq!(points.len(), 3);
        assert_eq!(points[0].field_value("n_cpus"), None);
        assert_eq!(points[0].field_value("n_users"), None);
        assert!(matches!(points[0].field_value("load1"), Some(FieldValue::Float(_))), "from sysinfo(2)");
    }

    #[tokio::test]
    async fn malformed_files_have_a_second_source() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "proc/loadavg", "much\n");
        write(root.path(), "proc/cpuinfo", "Processor : ARMv7 rev 4\n\n");
        write(root.path(), "proc/stat", "cpu  1\ncpu0 1\ncpu1 1\ncpus 1\n");
        let points = gather(&mut System::new(Options::default(), &Host::at(root.path()))).await.unwrap();
        assert_eq!(points[0].field_value("n_cpus"), Some(&FieldValue::Int(2)));
        assert_eq!(points[0].field_value("n_physical_cpus"), Some(&FieldValue::Int(0)));
        assert!(matches!(points[0].field_value("load15"), Some(FieldValue::Float(_))));
    }

    #[tokio::test]
    async fn cores_are_counted_again_when_a_cpu_goes_offline() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::at(root.path());
        let counts = |point: &Point| {
            (point.field_value("n_cpus").cloned(), point.field_value("n_physical_cpus").cloned())
        };
        write(root.path(), "proc/cpuinfo", "processor : 0\n\nprocessor : 1\n\nprocessor : 2\n\n");
        write(root.path(), "sys/devices/system/cpu/online", "0-2\n");
        write(root.path(), "sys/devices/system/cpu/cpu0/topology/core_cpus_list", "0-1\n");
        write(root.path(), "sys/devices/system/cpu/cpu1/topology/core_cpus_list", "0-1\n");
        write(root.path(), "sys/devices/system/cpu/cpu2/topology/core_cpus_list", "2\n");
        write(root.path(), "sys/devices/system/cpu/cpuidle/topology/core_cpus_list", "9\n");
        let mut input = System::new(Options::default(), &host);
        let three = (Some(FieldValue::Int(3)), Some(FieldValue::Int(2)));
        assert_eq!(counts(&gather(&mut input).await.unwrap()[0]), three);
        write(root.path(), "proc/cpuinfo", "processor : 0\n\nprocessor : 1\n\n");
        std::fs::remove_dir_all(root.path().join("sys/devices/system/cpu/cpu2")).unwrap();
        assert_eq!(counts(&gather(&mut input).await.unwrap()[0]), three, "the same CPUs are online");
        write(root.path(), "sys/devices/system/cpu/online", "0-1\n");
        assert_eq!(
            counts(&gather(&mut input).await.unwrap()[0]),
            (Some(FieldValue::Int(2)), Some(FieldValue::Int(1)))
        );
    }

    #[tokio::test]
    async fn what_hardly_changes_is_kept() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::at(root.path());
        let texts = |points: Vec<Point>| {
            assert_eq!(points.len(), 1);
            ["platform", "bios_vendor"].map(|field| match points[0].field_value(field) {
                Some(FieldValue::Text(text)) => text.clone(),
                other => panic!("{field}: {other:?}"),
            })
        };
        let state = |name: &str| {
            write(root.path(), "etc/os-release", format!("ID={name}\n"));
            write(root.path(), "sys/class/dmi/id/bios_vendor", format!("{name}\n"));
        };
        let include = vec![Group::Os, Group::Dmi];
        let mut keeping = System::new(Options { include: include.clone(), ..Options::default() }, &host);
        let ttl = Duration::ZERO;
        let mut reading = System::new(Options { include, os_cache_ttl: ttl, dmi_cache_ttl: ttl }, &host);
        state("a");
        assert_eq!(texts(gather(&mut keeping).await.unwrap()), ["a", "a"]);
        assert_eq!(texts(gather(&mut reading).await.unwrap()), ["a", "a"]);
        state("b");
        assert_eq!(texts(gather(&mut keeping).await.unwrap()), ["a", "a"]);
        assert_eq!(texts(gather(&mut reading).await.unwrap()), ["b", "b"]);
    }

    #[test]
    fn an_unknown_group_is_refused() {
        let error = toml::from_str::<Options>("include = [\"lode\"]").unwrap_err().to_string();
        assert!(error.contains("unknown variant `lode`") && error.contains("`load`"), "{error}");
        assert_eq!(toml::from_str::<Options>("").unwrap(), Options::default());
        let options: Options = toml::from_str("include = [\"cpus\", \"dmi\", \"load\", \"os\", \"uptime\", \"users\"]\nos_cache_ttl = \"1m\"\ndmi_cache_ttl = \"0s\"").unwrap();
        assert_eq!((options.include.len(), options.os_cache_ttl), (6, Duration::from_secs(60)));
        assert_eq!(options.dmi_cache_ttl, Duration::ZERO);
    }
}
