//! What the tests of the inputs share: the recorded machines, what Telegraf printed for each, and gathers to compare with it.
//!
//! A recorded machine is a tree of files below `testdata/telegraf` (Telegraf's own lines beside it) or `testdata/kernels`
//! (lines worked out from the files of other kernels). Compiled for tests only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Gathered, Input};
use crate::host::Host;
use crate::point::{FieldValue, Point, Timestamp};
use crate::schema;

/// The recorded cases, by folder below `testdata/telegraf`.
pub(super) const CASES: [&str; 5] = ["base", "cpu96", "oldkernel", "procs", "wrapped"];

/// A point without its time. All integers are signed, and those above the largest such become it, as Telegraf writes both
/// kinds; which kind an input gives is checked against the schema.
pub(super) type Line = (BTreeMap<String, String>, BTreeMap<String, FieldValue>);

/// What Telegraf printed for a measurement, one list for each gather.
pub(super) fn expected(case: &str, measurement: &str) -> Vec<Vec<Line>> {
    read_lines(&folder(case), measurement)
}

fn read_lines(folder: &Path, measurement: &str) -> Vec<Vec<Line>> {
    let text = std::fs::read_to_string(folder.join("expected.lp")).unwrap();
    let mut rounds = BTreeMap::<i64, Vec<Line>>::new();
    for (name, time, line) in text.lines().map(parse) {
        if name == measurement {
            rounds.entry(time).or_default().push(line);
        }
    }
    rounds.into_values().collect()
}

/// A line that Telegraf printed: measurement, time, and the rest without the tags that its configuration added.
pub(super) fn parse(line: &str) -> (&str, i64, Line) {
    let (series, rest) = line.split_once(' ').unwrap();
    let (fields, time) = rest.rsplit_once(' ').unwrap();
    let (name, tags) = series.split_once(',').unwrap_or((series, ""));
    let tags = tags.split(',').filter(|tag| !tag.is_empty()).map(|tag| tag.split_once('=').unwrap());
    let tags = tags.filter(|(key, _)| !["env", "host"].contains(key));
    // No value in these files contains a comma.
    let fields = fields.split(',').map(|field| field.split_once('=').unwrap());
    let line = (
        tags.map(|(key, value)| (key.into(), value.into())).collect(),
        fields.map(|(key, value)| (key.into(), field_value(value))).collect(),
    );
    (name, time.parse().unwrap(), line)
}

fn field_value(text: &str) -> FieldValue {
    if let Some(text) = text.strip_prefix('"') {
        return text.strip_suffix('"').unwrap().into();
    }
    match text.strip_suffix('i') {
        Some(integer) => FieldValue::Int(integer.parse().unwrap()),
        None => FieldValue::Float(text.parse().unwrap()),
    }
}

/// A point in the same form.
pub(super) fn line(point: &Point) -> Line {
    schema::check(point).unwrap();
    let tags = point.tags.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let fields = point.fields.iter().map(|(key, value)| {
        let value = match value {
            FieldValue::UInt(value) => FieldValue::Int(i64::try_from(*value).unwrap_or(i64::MAX)),
            value => value.clone(),
        };
        (key.to_string(), value)
    });
    (tags, fields.collect())
}

fn folder(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/telegraf").join(case)
}

/// A recorded machine, at first in its state 0.
pub(super) struct Machine {
    root: tempfile::TempDir,
    case: &'static str,
}

impl Machine {
    pub(super) fn new(case: &'static str) -> Self {
        let machine = Self { root: tempfile::tempdir().unwrap(), case };
        machine.switch(0);
        machine
    }

    pub(super) fn host(&self) -> Host {
        Host::at(self.root.path())
    }

    /// Changes its state, while inputs read it.
    pub(super) fn switch(&self, state: usize) {
        let state = state.to_string();
        for (case, state) in [("base", "0"), ("base", &state), (self.case, "0"), (self.case, &state)] {
            lay_over(&folder(case).join(state), self.root.path());
        }
    }
}

/// Copies a layer's files over those that are there; a layer that a machine does not have is empty.
fn lay_over(layer: &Path, root: &Path) {
    for entry in std::fs::read_dir(layer).into_iter().flatten() {
        let (from, to) = (entry.as_ref().unwrap().path(), root.join(entry.unwrap().file_name()));
        if from.is_dir() {
            std::fs::create_dir_all(&to).unwrap();
            lay_over(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap();
        }
    }
}

/// Gathers as often as Telegraf did, with the state of the machine switched before the last gather.
pub(super) async fn replay<I: Input>(
    case: &'static str,
    rounds: usize,
    input: impl FnOnce(&Host) -> I,
) -> Vec<Vec<Line>> {
    let machine = Machine::new(case);
    let mut input = input(&machine.host());
    let mut actual = Vec::new();
    for round in 0..rounds {
        if round == rounds - 1 {
            machine.switch(1);
        }
        actual.push(gather(&mut input).await.unwrap().iter().map(line).collect());
    }
    actual
}

/// A point's fields, in its order.
pub(super) fn fields(point: &Point) -> Vec<(&str, FieldValue)> {
    point.fields.iter().map(|(key, value)| (&**key, value.clone())).collect()
}

/// A point's tags, in its order: `a=1,b=2`.
pub(super) fn tags(point: &Point) -> String {
    let tags = point.tags.iter().map(|(key, value)| format!("{key}={value}"));
    tags.collect::<Vec<_>>().join(",")
}

/// One gather: its points, each checked against the schema, or the error's text and what came before it.
pub(super) async fn gather(input: &mut (impl Input + ?Sized)) -> Result<Vec<Point>, (String, Vec<Point>)> {
    let mut gathered = Gathered::at(Timestamp(1));
    let result = input.gather(&mut gathered).await;
    for point in &gathered.points {
        schema::check(point).unwrap();
    }
    match result {
        Ok(()) => Ok(gathered.points),
        Err(error) => Err((error.to_string(), gathered.points)),
    }
}

/// Writes a file below `root`, with its folders.
pub(super) fn write(root: &Path, path: &str, text: impl AsRef<[u8]>) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Every host input with all of its options on, by its measurements.
fn everything(host: &Host) -> Vec<(&'static [&'static str], Box<dyn Input>)> {
    use super::{cpu, diskio, kernel, mem, net, processes, swap, system};
    let cpu = cpu::Options { collect_cpu_time: true, report_active: true, ..Default::default() };
    let mem = mem::Options { collect_extended: true };
    let mut kernel = kernel::Options { collect: vec!["ksm".into()] };
    if host.proc("pressure").exists() {
        kernel.collect.push("psi".into());
    }
    let include = vec![system::Group::Load, system::Group::Cpus];
    let system = system::Options { include, ..Default::default() };
    vec![
        (&["cpu"], Box::new(cpu::Cpu::new(cpu, host))),
        (&["mem"], Box::new(mem::Mem::new(mem, host))),
        (&["swap"], Box::new(swap::Swap::new(Default::default(), host))),
        (&["system"], Box::new(system::System::new(system, host))),
        (&["kernel", "pressure"], Box::new(kernel::Kernel::new(&kernel, host))),
        (&["processes"], Box::new(processes::Processes::new(Default::default(), host))),
        (&["diskio"], Box::new(diskio::Diskio::new(Default::default(), host))),
        (&["net"], Box::new(net::Net::new(Default::default(), host))),
    ]
}

#[tokio::test]
async fn files_of_other_kernels_are_parsed() {
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/kernels");
    for kernel in ["5.10", "6.1", "6.12"] {
        let root = tempfile::tempdir().unwrap();
        lay_over(&kernels.join("common"), root.path());
        lay_over(&kernels.join(kernel), root.path());
        let mut n_compared = 0;
        for (measurements, mut input) in everything(&Host::at(root.path())) {
            let mut points = gather(&mut *input).await.unwrap();
            // How much swap there is comes from the machine that runs the test.
            points.retain(|point| !(point.measurement == "swap" && point.field_value("total").is_some()));
            for measurement in measurements {
                let of = points.iter().filter(|point| point.measurement == *measurement);
                let actual: Vec<Line> = of.map(line).collect();
                let expected = read_lines(&kernels.join(kernel), measurement).concat();
                assert_eq!(actual, expected, "{kernel}: {measurement}");
                n_compared += actual.len();
            }
        }
        assert!(n_compared > 10, "{kernel}");
    }
}
