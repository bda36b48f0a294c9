mod hangs;
mod health;
mod hosts;
mod received;
mod reload;

use std::path::Path;

use super::*;
use crate::config::env::Environment;
use crate::config::file as config_file;
use crate::config::notes::Problems;
use crate::config::reading::Source;
use crate::config::{OutputSection, Place};
use crate::host::Host;
use crate::inputs::{GatherError, Gathered};
use crate::outputs::file;

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

    fn counts_end_with_it(&self) -> bool {
        true
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
        common: OutputCommon {
            flush_interval: agent.flush_interval,
            flush_jitter: agent.flush_jitter,
            metric_batch_size: agent.metric_batch_size,
            metric_buffer_limit: agent.metric_buffer_limit,
            ..OutputCommon::default()
        },
        place: Place::default(),
    }
}

/// A pipeline with a counter as its only input.
async fn counting(outputs: Vec<OutputSection>, agent: Agent, global_tags: Tags) -> Pipeline {
    let mut pipeline = Pipeline::empty(Shared::new(Host::default()));
    let outputs = pipeline.prepare_outputs(&outputs).await.unwrap();
    pipeline
        .apply(Prepared { agent: agent.clone(), global_tags, inputs: Vec::new(), outputs, health: None })
        .await;
    let fan = Fan {
        keeps: false,
        outputs: pipeline.outputs.iter().map(RunningOutput::channel).collect(),
        global_tags: Arc::new(Tags::from([("host".into(), "h".into())])),
    };
    let work = Work {
        common: agent.input_common(),
        round: agent.round_interval,
        fan,
        places: None,
        telemetry: None,
    };
    let counts = pipeline.shared.telemetry.input("counter", None);
    pipeline.spawn_input(Box::new(Counter(0)), None, work, Some(counts), false);
    pipeline
}

fn no_orders() -> mpsc::Receiver<Order> {
    mpsc::channel(1).1
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
    let tags = Tags::from([("host".into(), "h".into())]);
    let pipeline = counting(vec![output(&path, &agent)], agent, tags).await;
    let shutdown = tokio::time::sleep(Duration::from_secs(25));
    assert!(pipeline.run(no_orders(), shutdown).await);
    let written = lines(&path, "counter");
    assert_eq!(written.len(), 4, "at 0, 10 and 20 s, and at the end: {written:?}");
    assert!(written[3].starts_with("counter,host=h n=4i "), "{written:?}");
    let about = lines(&path, "seismograf,host=h,part=agent");
    assert!(about.last().is_some_and(|line| line.contains("gather_errors=1i")), "{about:?}");
    assert!(!lines(&path, "seismograf,host=h,output=file,part=output").is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_counts_on_in_the_kernel_is_not_gathered_off_the_grid_and_the_agents_own_only_if_wanted() {
    let directory = tempfile::tempdir().unwrap();
    for (option, has_own) in [("", true), ("self_metrics = true", true), ("self_metrics = false", false)] {
        let path = directory.path().join(format!("points {option}"));
        let text = format!(
            "[agent]\nround_interval = false\n{option}\n[[inputs.mem]]\n[[inputs.cpu]]\n[[outputs.file]]\nfiles = [\"{}\"]",
            path.display()
        );
        let pipeline =
            Pipeline::start(read(&[("t.conf", &text)]).unwrap(), Shared::new(Host::default())).await;
        assert!(pipeline.unwrap().run(no_orders(), tokio::time::sleep(Duration::from_secs(25))).await);
        assert_eq!(lines(&path, "mem,").len(), 3, "at 0, 10 and 20 s");
        assert_eq!(!lines(&path, "seismograf,").is_empty(), has_own, "{option}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_longest_durations_and_the_largest_numbers_are_no_trouble() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("points").display().to_string();
    let long = "\"2562047h\"";
    for round in [true, false] {
        let text = format!(
            "[agent]\nround_interval = {round}\ninterval = {long}\nflush_interval = {long}\nmetric_batch_size = {max}\n\
             metric_buffer_limit = {max}\nprecision = {long}\n\
             [[inputs.mem]]\n[[inputs.cpu]]\ncollection_jitter = {long}\n[[inputs.swap]]\ncollection_offset = {long}\n\
             [[inputs.system]]\nos_cache_ttl = {long}\ninterval = \"1s\"\n\
             [[outputs.file]]\nfiles = [\"{path}\"]\nflush_jitter = {long}\nrotation_interval = {long}\nrotation_max_archives = {max}\n\
             [[outputs.influxdb]]\nurls = [\"http://127.0.0.1:9\"]\ntimeout = {long}\n\
             [[outputs.influxdb_v2]]\nurls = [\"http://127.0.0.1:9\"]\ntimeout = {long}\nrate_limit = {max}\nrate_limit_period = {long}\n",
            max = i64::MAX
        );
        let pipeline =
            Pipeline::start(read(&[("t.conf", &text)]).unwrap(), Shared::new(Host::default())).await;
        let shutdown = tokio::time::sleep(Duration::from_secs(3));
        // Nobody listens at the discard port: what is for it is lost, and nothing panics.
        assert!(!pipeline.unwrap().run(no_orders(), shutdown).await, "{round}");
        assert!(lines(Path::new(&path), "system").len() >= 2, "{round}");
    }
}

/// In real time, because the kernel's figures are.
#[tokio::test]
async fn once_is_one_gather_after_a_first_reading() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("points");
    let text = format!("[[inputs.cpu]]\n[[inputs.mem]]\n[[outputs.file]]\nfiles = [\"{}\"]", path.display());
    let never = std::future::pending();
    let once = Pipeline::once(read(&[("t.conf", &text)]).unwrap(), Shared::new(Host::default()), never);
    assert!(once.await.unwrap());
    assert_eq!(lines(&path, "mem").len(), 1);
    assert!(lines(&path, "cpu").iter().all(|line| line.contains("usage_idle=")));
    assert!(!lines(&path, "cpu").is_empty());
}

/// A point that a length limit leaves out stands for one that a server refuses: both are counted as such.
#[tokio::test]
async fn once_fails_where_an_input_fails_or_a_point_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let [points, log] = ["points", "log"].map(|name| directory.path().join(name));
    let _log = logging::to_file(&log);
    for (input, option, said) in [
        ("prometheus]]\nurls = [\"http://127.0.0.1:9/metrics\"]", "", "inputs failed inputs=1"),
        ("mem]]", "influx_max_line_bytes = 9", "not all was written points=1"),
    ] {
        let text =
            format!("[[inputs.{input}\n[[outputs.file]]\nfiles = [\"{}\"]\n{option}", points.display());
        let config = read(&[("t.conf", &text)]).unwrap();
        let is_whole = Pipeline::once(config, Shared::new(Host::default()), std::future::pending()).await;
        assert!(!is_whole.unwrap(), "{text}");
        let log = std::fs::read_to_string(&log).unwrap();
        assert!(log.contains(said), "{log}");
    }
}

#[tokio::test(start_paused = true)]
async fn points_that_cannot_be_written_make_the_run_fail() {
    let directory = tempfile::tempdir().unwrap();
    let agent = agent();
    let outputs = vec![output(&directory.path().join("not/there"), &agent)];
    let pipeline = counting(outputs, agent, Tags::new()).await;
    assert!(!pipeline.run(no_orders(), tokio::time::sleep(Duration::from_secs(25))).await);
}

#[tokio::test]
async fn what_cannot_be_built_is_named_with_its_place() {
    for (text, expected) in [
        (
            "\n[[inputs.mem]]\n[[outputs.file]]\ndata_format = \"json\"",
            "t.conf:3:1: output `file`: `data_format`",
        ),
        (
            "[[inputs.ebpf]]\ncgroup_include = [\"[\"]\n[[outputs.file]]",
            "t.conf:1:1: cannot start input `ebpf`: ",
        ),
        ("[[inputs.mem]]", "no outputs"),
        ("[[outputs.file]]", "no inputs"),
    ] {
        let config = read(&[("t.conf", text)]).unwrap();
        let error = Pipeline::start(config, Shared::new(Host::default())).await.err().unwrap();
        let error = format!("{error:#}");
        assert!(error.starts_with(expected), "{error}");
    }
}

fn read(sources: &[(&str, &str)]) -> Result<Config, Problems> {
    let sources: Vec<_> =
        sources.iter().map(|(path, text)| Source { path: path.into(), text: (*text).to_owned() }).collect();
    let environment = Environment::strict(&|_| None);
    config_file::load(&sources, &crate::config::reading::Reading::of_text(environment, "h"))
}
