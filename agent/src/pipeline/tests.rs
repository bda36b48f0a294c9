use std::path::Path;

use super::*;
use crate::config::{OutputCommon, Place};
use crate::inputs::{GatherError, Gathered};
use crate::outputs::{OutputOptions, file};

/// Counts its gathers.
struct Counter(i64);

#[async_trait::async_trait]
impl Input for Counter {
    fn name(&self) -> &'static str {
        "counter"
    }

    async fn gather(&mut self, gathered: &mut Gathered) -> Result<(), GatherError> {
        self.0 += 1;
        gathered.push(gathered.point("counter").field("n", self.0));
        if self.0 == 2 { Err(GatherError::Other("half of it".into())) } else { Ok(()) }
    }
}

fn agent() -> Agent {
    Agent {
        interval: Duration::from_secs(10),
        round_interval: false,
        precision: Duration::from_nanos(1),
        ..Agent::default()
    }
}

fn output(path: &Path, agent: &Agent) -> OutputSection {
    let options = file::Options { files: vec![path.display().to_string()], ..file::Options::default() };
    OutputSection {
        options: OutputOptions::File(options),
        common: OutputCommon::of(agent),
        place: Place::default(),
    }
}

fn lines(path: &Path, measurement: &str) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter(|line| line.starts_with(measurement)).map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn gathers_at_each_interval_and_once_more_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("points");
    let agent = agent();
    let inputs: Vec<(Box<dyn Input>, InputCommon)> = vec![(Box::new(Counter(0)), InputCommon::of(&agent))];
    let tags = BTreeMap::from([("host".to_owned(), "h".to_owned())]);
    let outputs = vec![output(&path, &agent)];
    let shutdown = tokio::time::sleep(Duration::from_secs(25));
    assert!(run(inputs, outputs, agent, tags, false, shutdown).await.unwrap());
    let written = lines(&path, "counter");
    assert_eq!(written.len(), 4, "at 0, 10 and 20 s, and at the end: {written:?}");
    assert!(written[3].starts_with("counter,host=h n=4i "), "{written:?}");
    let about = lines(&path, "seismograf,host=h,part=agent");
    assert!(about.last().is_some_and(|line| line.contains("gather_errors=1i")), "{about:?}");
    assert!(!lines(&path, "seismograf,host=h,output=file,part=output").is_empty());
}

#[tokio::test(start_paused = true)]
async fn once_is_one_gather_after_a_first_reading() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("points");
    let agent = agent();
    let inputs: Vec<(Box<dyn Input>, InputCommon)> = vec![(Box::new(Counter(0)), InputCommon::of(&agent))];
    let outputs = vec![output(&path, &agent)];
    let never = std::future::pending();
    assert!(run(inputs, outputs, agent, BTreeMap::new(), true, never).await.unwrap());
    let written = lines(&path, "counter");
    assert_eq!(written.len(), 1, "{written:?}");
    assert!(written[0].starts_with("counter n=2i "), "{written:?}");
}

#[tokio::test(start_paused = true)]
async fn points_that_nobody_took_are_an_end_that_failed() {
    let directory = tempfile::tempdir().unwrap();
    let agent = agent();
    let inputs: Vec<(Box<dyn Input>, InputCommon)> = vec![(Box::new(Counter(0)), InputCommon::of(&agent))];
    let outputs = vec![output(&directory.path().join("not/there"), &agent)];
    let shutdown = tokio::time::sleep(Duration::from_secs(25));
    assert!(!run(inputs, outputs, agent, BTreeMap::new(), false, shutdown).await.unwrap());
}

#[tokio::test]
async fn an_option_that_cannot_be_worked_with_is_named_with_its_place() {
    let agent = agent();
    let mut section = output(Path::new("x"), &agent);
    section.options =
        OutputOptions::File(file::Options { data_format: "json".into(), ..file::Options::default() });
    section.place = Place { file: "t.conf".into(), line: 7 };
    let error = run(Vec::new(), vec![section], agent, BTreeMap::new(), true, async {}).await.unwrap_err();
    let text = format!("{error:#}");
    assert!(text.starts_with("t.conf:7: output `file`: `data_format`"), "{text}");
}
