//! `[[inputs.cpu]]`: time of each CPU and of the machine, from proc(5) `stat`.
//!
//! Keeps the times of the previous gather, and gives the share of each kind of time since then. The arithmetic is
//! Telegraf's, in its order, down to the last bit: a dashboard must not show a step when the agent is replaced.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;

use super::{GatherError, Gathered, Input, InputPlugin, Shared, StartError, read_again, read_text};
use crate::host::Host;
use crate::host::file::KernelFile;
use crate::host::proc::stat::{self, CpuTicks};
use crate::host::proc::{USER_HZ, cpuinfo};
use crate::point::{Name, Point};

/// The section `[[inputs.cpu]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// One point for each CPU.
    pub(super) percpu: bool,
    /// One point for the machine, `cpu-total`.
    pub(super) totalcpu: bool,
    /// Also the cumulative `time_*` fields.
    pub(super) collect_cpu_time: bool,
    /// Also `usage_active` and `time_active`.
    pub(super) report_active: bool,
    /// Tags `core_id` and `physical_id`.
    pub(super) core_tags: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { percpu: true, totalcpu: true, collect_cpu_time: false, report_active: false, core_tags: false }
    }
}

/// The input.
#[derive(Debug)]
pub(super) struct Cpu {
    options: Options,
    stat: KernelFile,
    topology: HashMap<String, Topology>,
    last: HashMap<String, Times>,
}

/// Where a CPU sits, for the tags.
#[derive(Clone, Debug, Default)]
struct Topology {
    core_id: Option<String>,
    physical_id: Option<String>,
}

/// Times of one CPU, in seconds since boot.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    user: f64,
    nice: f64,
    system: f64,
    idle: f64,
    iowait: f64,
    irq: f64,
    softirq: f64,
    steal: f64,
    guest: f64,
    guest_nice: f64,
}

impl From<CpuTicks> for Times {
    fn from(ticks: CpuTicks) -> Self {
        let seconds = |ticks: u64| ticks as f64 / USER_HZ as f64;
        Self {
            user: seconds(ticks.user),
            nice: seconds(ticks.nice),
            system: seconds(ticks.system),
            idle: seconds(ticks.idle),
            iowait: seconds(ticks.iowait),
            irq: seconds(ticks.irq),
            softirq: seconds(ticks.softirq),
            steal: seconds(ticks.steal),
            guest: seconds(ticks.guest),
            guest_nice: seconds(ticks.guest_nice),
        }
    }
}

impl Times {
    /// All time that has passed. Guest time is left out: the kernel counts it as user time already.
    fn total(&self) -> f64 {
        self.user + self.system + self.nice + self.iowait + self.irq + self.softirq + self.steal + self.idle
    }

    /// All time but idle; waiting for I/O counts as active, as in Telegraf.
    fn active(&self) -> f64 {
        self.total() - self.idle
    }
}

/// A share in percent. None of a counter that stepped back, as `iowait` and a hypervisor's do, nor of one that went further
/// than the whole: both are no share of anything.
fn share(amount: f64, total: f64) -> Option<f64> {
    // Times are whole ticks; what is less is the arithmetic's.
    const HALF_A_TICK: f64 = 0.5 / USER_HZ as f64;
    let is_share = amount > -HALF_A_TICK && amount < total + HALF_A_TICK;
    is_share.then(|| if amount < 0.0 { 0.0 } else { 100.0 * amount / total })
}

impl Cpu {
    /// An input that reads `stat` of this host. With `core_tags`, `cpuinfo` is read here, once.
    #[must_use]
    pub(super) fn new(options: Options, host: &Host) -> Self {
        let topology = if options.core_tags { topology(host) } else { HashMap::new() };
        Self { options, stat: KernelFile::new(host.proc("stat")), topology, last: HashMap::new() }
    }

    /// The times of the CPUs, then those of the machine; and the first line that is malformed.
    fn parse(&self, text: &str) -> (Vec<(String, Times)>, Option<String>) {
        let mut lines = stat::cpu_lines(text);
        let total = lines.next().filter(|_| self.options.totalcpu);
        let each = lines.filter(|_| self.options.percpu);
        let mut malformed = None;
        let mut times = Vec::new();
        for line in each.chain(total) {
            match stat::parse_cpu_line(line) {
                Some(("cpu", ticks)) => times.push(("cpu-total".to_owned(), ticks.into())),
                Some((name, ticks)) => times.push((name.to_owned(), ticks.into())),
                None => malformed = malformed.or_else(|| Some(line.to_owned())),
            }
        }
        if !text.starts_with("cpu ") {
            malformed =
                Some(format!("no line `cpu` at the start, but {:?}", text.lines().next().unwrap_or("")));
        }
        (times, malformed)
    }

    fn add_tags(&self, cpu: &str, mut point: Point) -> Point {
        point.set_tag("cpu", Name::new(cpu));
        if let Some(topology) = self.topology.get(cpu) {
            for (key, value) in [("core_id", &topology.core_id), ("physical_id", &topology.physical_id)] {
                if let Some(value) = value {
                    point.set_tag(key, value);
                }
            }
        }
        point
    }

    fn add_points(&self, times: &[(String, Times)], gathered: &mut Gathered) -> Result<(), GatherError> {
        for (cpu, now) in times {
            if self.options.collect_cpu_time {
                let mut point = self.add_tags(cpu, gathered.point("cpu"));
                point.set_field("time_user", now.user);
                point.set_field("time_system", now.system);
                point.set_field("time_idle", now.idle);
                point.set_field("time_nice", now.nice);
                point.set_field("time_iowait", now.iowait);
                point.set_field("time_irq", now.irq);
                point.set_field("time_softirq", now.softirq);
                point.set_field("time_steal", now.steal);
                point.set_field("time_guest", now.guest);
                point.set_field("time_guest_nice", now.guest_nice);
                if self.options.report_active {
                    point.set_field("time_active", now.active());
                }
                gathered.push(point);
            }

            let Some(last) = self.last.get(cpu) else { continue };
            let total = now.total() - last.total();
            if total < 0.0 {
                return Err(GatherError::Other(
                    "current total CPU time is less than previous total CPU time".to_owned(),
                ));
            }
            if total == 0.0 {
                continue;
            }
            let mut point = self.add_tags(cpu, gathered.point("cpu"));
            let mut set_share = |field: &'static str, amount: f64| {
                if let Some(share) = share(amount, total) {
                    point.set_field(field, share);
                }
            };
            // Guest time is a field of its own, so it is subtracted from the kind that the kernel counted it as.
            set_share("usage_user", now.user - last.user - (now.guest - last.guest));
            set_share("usage_system", now.system - last.system);
            set_share("usage_idle", now.idle - last.idle);
            let guest_nice = now.guest_nice - last.guest_nice;
            set_share("usage_nice", now.nice - last.nice - guest_nice);
            set_share("usage_iowait", now.iowait - last.iowait);
            set_share("usage_irq", now.irq - last.irq);
            set_share("usage_softirq", now.softirq - last.softirq);
            set_share("usage_steal", now.steal - last.steal);
            set_share("usage_guest", now.guest - last.guest);
            set_share("usage_guest_nice", guest_nice);
            if self.options.report_active {
                set_share("usage_active", now.active() - last.active());
            }
            gathered.push(point);
        }
        Ok(())
    }
}

/// Core and package of each CPU, by the names that `stat` gives them.
///
/// Whether there are tags at all is decided by the first CPU, as in Telegraf.
fn topology(host: &Host) -> HashMap<String, Topology> {
    let path = host.proc("cpuinfo");
    let places = read_text(&path).and_then(|text| {
        cpuinfo::places(&text).map_err(|error| GatherError::Malformed { path, what: error.to_string() })
    });
    let places = match places {
        Ok(places) => places,
        Err(error) => {
            tracing::warn!(%error, "no tags core_id and physical_id: cannot read cpuinfo");
            return HashMap::new();
        }
    };
    let cpus = places.into_iter().map(|place| {
        let name = format!("cpu{}", place.number);
        let core_id = place.core_id.or_else(|| {
            let text = read_text(&host.sys(format!("devices/system/cpu/{name}/topology/core_id"))).ok()?;
            Some(text.trim().to_owned())
        });
        (name, Topology { core_id, physical_id: place.physical_id })
    });
    let mut cpus: Vec<_> = cpus.collect();
    let Some((_, first)) = cpus.first().cloned() else { return HashMap::new() };
    for (_, topology) in &mut cpus {
        topology.core_id.take_if(|_| first.core_id.is_none());
        topology.physical_id.take_if(|_| first.physical_id.is_none());
    }
    cpus.into_iter().collect()
}

impl InputPlugin for Options {
    fn build(self: Box<Self>, shared: &Arc<Shared>) -> Result<Box<dyn Input>, StartError> {
        Ok(Box::new(Cpu::new(*self, &shared.host)))
    }
}

#[async_trait::async_trait]
impl Input for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn needs_two_readings(&self) -> bool {
        true
    }

    /// Adds two points for a CPU: its times (when asked for) and its usage since the previous gather.
    ///
    /// A `stat` that cannot be read is an error here, where Telegraf silently gathers nothing.
    async fn gather(&mut self, gathered: &mut Gathered) -> Result<(), GatherError> {
        let stat = read_again(&mut self.stat)?;
        let (times, malformed) = self.parse(&stat);
        let result = self.add_points(&times, gathered);
        self.last = times.into_iter().collect();
        result?;
        match malformed {
            Some(what) => Err(GatherError::Malformed { path: self.stat.path().to_owned(), what }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, gather, write};
    use super::*;
    use crate::point::{FieldValue, Timestamp};

    const ALL: Options = Options {
        percpu: true,
        totalcpu: true,
        collect_cpu_time: true,
        report_active: true,
        core_tags: false,
    };

    #[tokio::test]
    async fn matches_telegraf() {
        for case in testing::CASES {
            let mut expected = testing::expected(case, "cpu");
            // Telegraf prints what is below zero; here it is left out. Some recorded guests are ahead of what they are part of.
            for (_, fields) in expected.iter_mut().flatten() {
                fields.retain(|_, value| !matches!(value, FieldValue::Float(value) if *value < 0.0));
            }
            let actual = testing::replay(case, expected.len(), |host| Cpu::new(ALL, host)).await;
            assert!(actual.iter().flatten().count() >= 9, "{case}");
            // Also in Telegraf's order.
            assert_eq!(actual, expected, "{case}");
        }
    }

    /// A machine whose `stat` has these lines.
    fn machine(lines: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "proc/stat", lines);
        root
    }

    #[tokio::test]
    async fn usage_starts_with_the_second_gather() {
        let root = machine("cpu  10000 0 0 10000 0 0 0 0 0 0\ncpu0 10000 0 0 10000 0 0 0 0 0 0\nintr 1\n");
        let mut input = Cpu::new(Options::default(), &Host::at(root.path()));
        assert_eq!(gather(&mut input).await.unwrap(), []);
        // Of 100 s 60 were user time, 20 of these for a guest. The other CPU is new, and has no previous times.
        let lines = "cpu  16000 0 0 14000 0 0 0 0 2000 0\ncpu0 16000 0 0 14000 0 0 0 0 2000 0\ncpu7 1 0 0 1 0 0 0 0 0 0\n";
        write(root.path(), "proc/stat", lines);
        let points = gather(&mut input).await.unwrap();
        let cpus: Vec<_> = points.iter().map(|point| point.tag_value("cpu").unwrap()).collect();
        assert_eq!(cpus, ["cpu0", "cpu-total"]);
        assert_eq!(points[0].field_value("usage_user"), Some(&FieldValue::Float(40.0)));
        assert_eq!(points[0].field_value("usage_guest"), Some(&FieldValue::Float(20.0)));
        assert_eq!(points[0].field_value("usage_idle"), Some(&FieldValue::Float(40.0)));
        assert_eq!(points[0].field_value("usage_active"), None);
        // No time passed: no points.
        assert_eq!(gather(&mut input).await.unwrap(), []);
    }

    #[tokio::test]
    async fn time_that_runs_backwards_ends_the_gather() {
        let root = machine("cpu  9 0 0 9 0 0 0 0\ncpu0 5 0 0 5 0 0 0 0\ncpu1 4 0 0 4 0 0 0 0\n");
        let mut input = Cpu::new(Options::default(), &Host::at(root.path()));
        gather(&mut input).await.unwrap();
        write(root.path(), "proc/stat", "cpu  9 0 0 9 0 0 0 0\ncpu0 6 0 0 6 0 0 0 0\ncpu1 3 0 0 3 0 0 0 0\n");
        let (error, points) = gather(&mut input).await.unwrap_err();
        assert_eq!(error, "current total CPU time is less than previous total CPU time");
        assert_eq!(points.len(), 1, "the CPU before is kept");
        write(
            root.path(),
            "proc/stat",
            "cpu  11 0 0 9 0 0 0 0\ncpu0 7 0 0 6 0 0 0 0\ncpu1 4 0 0 3 0 0 0 0\n",
        );
        assert_eq!(gather(&mut input).await.unwrap().len(), 3, "the next gather starts from there");
    }

    #[tokio::test]
    async fn what_steps_back_has_no_share() {
        let root = machine("cpu  1000 0 0 1000 500 0 0 0 0 0\n");
        let mut input = Cpu::new(ALL, &Host::at(root.path()));
        gather(&mut input).await.unwrap();
        // The guest had more than the user time that it is part of; waiting for I/O went back by a second.
        write(root.path(), "proc/stat", "cpu  1100 0 0 1900 400 0 0 0 187 0\n");
        let points = gather(&mut input).await.unwrap();
        let share = |field| points.last().unwrap().field_value(field).cloned();
        assert_eq!((share("usage_user"), share("usage_iowait")), (None, None));
        assert_eq!(share("usage_system"), Some(FieldValue::Float(0.0)));
        assert_eq!(share("usage_idle"), Some(FieldValue::Float(100.0)));
        write(root.path(), "proc/stat", "cpu  1200 0 0 1900 500 0 0 0 187 0\n");
        let points = gather(&mut input).await.unwrap();
        let user = points.last().unwrap().field_value("usage_user").cloned();
        assert_eq!(user, Some(FieldValue::Float(50.0)), "the next interval has all again");
    }

    #[test]
    fn rounding_is_no_step() {
        assert_eq!(share(-1e-12, 10.0), Some(0.0));
        assert!(share(10.000000000001, 10.0).is_some_and(|share| share > 100.0), "as Telegraf prints it");
        assert_eq!((share(-0.01, 10.0), share(10.01, 10.0)), (None, None));
    }

    #[tokio::test]
    async fn a_missing_file_is_named() {
        let root = tempfile::tempdir().unwrap();
        let (error, points) = gather(&mut Cpu::new(ALL, &Host::at(root.path()))).await.unwrap_err();
        assert!(error.starts_with("cannot read ") && error.contains("/proc/stat: No such file"), "{error}");
        assert_eq!(points, []);
    }

    #[tokio::test]
    async fn a_malformed_line_costs_only_itself() {
        for (lines, what, n_points) in [
            ("cpu  1 0 0 1 0 0 0 0\ncpu0 1 x 0 1 0 0 0 0\ncpu1 1 0 0 1 0 0 0 0\n", "cpu0 1 x 0", 2),
            ("cpu  1 0 0 1 0 0 0 0\ncpu0 1 0 0\n", "cpu0 1 0 0", 1),
            ("", "no line `cpu`", 0),
            ("intr 5\n", "intr 5", 0),
        ] {
            let root = machine(lines);
            let (error, points) = gather(&mut Cpu::new(ALL, &Host::at(root.path()))).await.unwrap_err();
            assert!(error.contains("/proc/stat: ") && error.contains(what), "{error}");
            assert_eq!(points.len(), n_points, "{lines}");
        }
    }

    #[tokio::test]
    async fn options_choose_the_points() {
        let root = machine("cpu  1 0 0 1 0 0 0 0\ncpu0 1 0 0 1 0 0 0 0\n");
        for (percpu, totalcpu, cpus) in
            [(false, true, vec!["cpu-total"]), (true, false, vec!["cpu0"]), (false, false, vec![])]
        {
            let options = Options { percpu, totalcpu, report_active: false, ..ALL };
            let points = gather(&mut Cpu::new(options, &Host::at(root.path()))).await.unwrap();
            assert_eq!(points.iter().map(|point| point.tag_value("cpu").unwrap()).collect::<Vec<_>>(), cpus);
            assert!(points.iter().all(|point| point.field_value("time_active").is_none()));
        }
    }

    #[tokio::test]
    async fn core_tags_come_from_cpuinfo_and_sysfs() {
        let root = machine("cpu  2 0 0 2 0 0 0 0\ncpu0 1 0 0 1 0 0 0 0\ncpu2 1 0 0 1 0 0 0 0\n");
        let tags = |input: &Cpu| {
            let (times, _) = input.parse(&read_text(input.stat.path()).unwrap());
            let points = times.iter().map(|(cpu, _)| input.add_tags(cpu, Point::new("cpu", Timestamp(0))));
            let tags = points.map(|point| {
                point.tags.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
            });
            tags.collect::<Vec<_>>()
        };
        let options = Options { core_tags: true, ..ALL };
        let cpuinfo = "processor\t: 0\nphysical id\t: 1\ncore id\t\t: 5\n\nprocessor\t: 2\nphysical id\t: 1\ncore id\t\t: 6\n\n";
        write(root.path(), "proc/cpuinfo", cpuinfo);
        let input = Cpu::new(options.clone(), &Host::at(root.path()));
        assert_eq!(
            tags(&input),
            ["cpu=cpu0,core_id=5,physical_id=1", "cpu=cpu2,core_id=6,physical_id=1", "cpu=cpu-total"]
        );
        write(root.path(), "proc/cpuinfo", "processor\t: 0\n\nprocessor\t: 2\n\n");
        write(root.path(), "sys/devices/system/cpu/cpu0/topology/core_id", "3\n");
        let input = Cpu::new(options.clone(), &Host::at(root.path()));
        assert_eq!(tags(&input), ["cpu=cpu0,core_id=3", "cpu=cpu2", "cpu=cpu-total"]);
        std::fs::remove_file(root.path().join("proc/cpuinfo")).unwrap();
        assert_eq!(
            tags(&Cpu::new(options, &Host::at(root.path()))),
            ["cpu=cpu0", "cpu=cpu2", "cpu=cpu-total"]
        );
    }
}
