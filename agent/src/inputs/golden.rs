//! For tests: what Telegraf printed for a tree of `/proc`, and whether an input says the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Gathered, Input};
use crate::host::Host;
use crate::point::{FieldValue, Point, Timestamp};
use crate::schema;

/// The recorded cases, by folder below `testdata/telegraf`.
pub(super) const CASES: [&str; 5] = ["base", "cpu96", "oldkernel", "procs", "wrapped"];

/// A point without its time. All integers are signed and end at the largest such, as Telegraf writes both kinds; which
/// kind an input's are is held against the schema.
pub(super) type Line = (BTreeMap<String, String>, BTreeMap<String, FieldValue>);

/// What Telegraf printed for a measurement, one list for each gather.
pub(super) fn expected(case: &str, measurement: &str) -> Vec<Vec<Line>> {
    let text = std::fs::read_to_string(folder(case).join("expected.lp")).unwrap();
    let mut rounds = BTreeMap::<i64, Vec<Line>>::new();
    for line in text.lines() {
        let (series, rest) = line.split_once(' ').unwrap();
        let (fields, time) = rest.rsplit_once(' ').unwrap();
        let mut tags = series.split(',');
        if tags.next() != Some(measurement) {
            continue;
        }
        let tags = tags.map(|tag| tag.split_once('=').unwrap());
        let tags = tags.filter(|(key, _)| !["env", "host"].contains(key));
        // No value in these files contains a comma.
        let fields = fields.split(',').map(|field| field.split_once('=').unwrap());
        rounds.entry(time.parse().unwrap()).or_default().push((
            tags.map(|(key, value)| (key.into(), value.into())).collect(),
            fields.map(|(key, value)| (key.into(), field_value(value))).collect(),
        ));
    }
    rounds.into_values().collect()
}

fn field_value(text: &str) -> FieldValue {
    if let Some(text) = text.strip_prefix('"') {
        return FieldValue::Text(text.strip_suffix('"').unwrap().into());
    }
    match text.strip_suffix('i') {
        Some(integer) => FieldValue::Int(integer.parse().unwrap()),
        None => FieldValue::Float(text.parse().unwrap()),
    }
}

/// A point in the same form.
pub(super) fn line(point: &Point) -> Line {
    schema::check(point).unwrap();
    let tags = point.tags.iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
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

    /// Changes its state, under inputs that look at it.
    pub(super) fn switch(&self, state: usize) {
        let state = state.to_string();
        for (case, state) in [("base", "0"), ("base", &state), (self.case, "0"), (self.case, &state)] {
            lay_over(&folder(case).join(state), self.root.path());
        }
    }
}

/// Copies a layer's files over those that are there; a layer that a machine does not have is empty.
pub(super) fn lay_over(layer: &Path, root: &Path) {
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
    let mut said = Vec::new();
    for round in 0..rounds {
        if round == rounds - 1 {
            machine.switch(1);
        }
        said.push(gather(&mut input).await.unwrap().iter().map(line).collect());
    }
    said
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
pub(super) async fn gather(input: &mut impl Input) -> Result<Vec<Point>, (String, Vec<Point>)> {
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

#[tokio::test]
async fn this_machine_is_gathered_and_the_time_printed() {
    let host = Host::default();
    let mut inputs: Vec<Box<dyn Input>> = vec![
        Box::new(super::cpu::Cpu::new(Default::default(), &host)),
        Box::new(super::mem::Mem::new(Default::default(), &host)),
        Box::new(super::disk::Disk::new(Default::default(), &host)),
        Box::new(super::system::System::new(Default::default(), &host)),
    ];
    const ROUNDS: u32 = 200;
    for input in &mut inputs {
        let mut points = 0;
        let start = std::time::Instant::now();
        for _ in 0..ROUNDS {
            let mut gathered = Gathered::at(Timestamp::now());
            input.gather(&mut gathered).await.unwrap();
            points = gathered.points.len();
        }
        println!("{}: {:?} a gather, {points} points in the last", input.name(), start.elapsed() / ROUNDS);
    }
}
