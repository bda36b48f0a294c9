//! For tests: what Telegraf printed for a tree of `/proc`, and whether an input says the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Gathered, Input};
use crate::host::Host;
use crate::point::{FieldValue, Point, Timestamp};
use crate::schema;

/// The recorded cases, by folder below `testdata/telegraf`.
pub(super) const CASES: [&str; 5] = ["base", "cpu96", "oldkernel", "procs", "wrapped"];

/// A point without its time; integers lose their sign, since Telegraf writes both kinds with `i`.
pub(super) type Line = (BTreeMap<String, String>, BTreeMap<String, FieldValue>);

/// What Telegraf printed for a measurement, one list for each gather.
pub(super) fn expected(case: &str, measurement: &str) -> Vec<Vec<Line>> {
    let text = std::fs::read_to_string(folder(case).join("expected.lp")).unwrap();
    let mut rounds = BTreeMap::<i64, Vec<Line>>::new();
    for (name, time, line) in text.lines().map(parse) {
        if name == measurement {
            rounds.entry(time).or_default().push(line);
        }
    }
    rounds.into_values().collect()
}

/// A line of what Telegraf printed: measurement, time, and the rest without the tags that its configuration added.
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
        return FieldValue::Text(text.strip_suffix('"').unwrap().into());
    }
    match text.strip_suffix('i') {
        Some(integer) => FieldValue::UInt(integer.parse().unwrap()),
        None => FieldValue::Float(text.parse().unwrap()),
    }
}

/// A point in the same form.
pub(super) fn line(point: &Point) -> Line {
    schema::check(point).unwrap();
    let tags = point.tags.iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
    let fields = point.fields.iter().map(|(key, value)| {
        let value = match value {
            FieldValue::Int(value) => FieldValue::UInt(u64::try_from(*value).unwrap()),
            value => value.clone(),
        };
        (key.to_string(), value)
    });
    (tags, fields.collect())
}

fn folder(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/telegraf").join(case)
}

/// Gathers as often as Telegraf did, with the state of the machine switched before the last gather.
pub(super) async fn replay<I: Input>(
    case: &str,
    rounds: usize,
    input: impl FnOnce(&Host) -> I,
) -> Vec<Vec<Line>> {
    let machine = tempfile::tempdir().unwrap();
    let state = |state: usize| {
        let link = machine.path().join("proc");
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(folder(case).join(state.to_string()).join("proc"), link).unwrap();
    };
    state(0);
    let mut input = input(&Host::at(machine.path()));
    let mut said = Vec::new();
    for round in 0..rounds {
        if round == rounds - 1 {
            state(1);
        }
        said.push(gather(&mut input).await.unwrap().iter().map(line).collect());
    }
    said
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
