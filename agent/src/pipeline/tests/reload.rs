//! Reloads of a running pipeline, in the time of the test.

use super::*;
use crate::plugins::OutputOptions;
use crate::service::telemetry::Telemetry;

/// A running pipeline that can be given orders.
struct Running {
    orders: mpsc::Sender<Order>,
    telemetry: Arc<Telemetry>,
}

impl Running {
    async fn reload(&self, loaded: anyhow::Result<Config>) -> bool {
        let (done, is_applied) = oneshot::channel();
        assert!(self.orders.send(Order::Reload { loaded: loaded.map(Box::new), done }).await.is_ok());
        is_applied.await.unwrap()
    }

    /// Sum over all outputs.
    fn outputs(&self, of: fn(&OutputCounts) -> &std::sync::atomic::AtomicU64) -> u64 {
        self.telemetry.outputs().iter().map(|entry| of(&entry.counts).load(Ordering::Relaxed)).sum()
    }
}

/// Runs a pipeline for as long as `drive` takes. Returns whether every point was written in the end.
async fn running<T>(config: Config, drive: impl AsyncFnOnce(&Running) -> T) -> (bool, T) {
    let shared = Shared::new(Host::default());
    let telemetry = Arc::clone(&shared.telemetry);
    let pipeline = Pipeline::start(config, Arc::clone(&shared)).await.unwrap();
    let (orders, receive) = mpsc::channel(1);
    let (stop, stopped) = oneshot::channel::<()>();
    let running = Running { orders, telemetry };
    let drive = async {
        let result = drive(&running).await;
        drop(stop);
        result
    };
    let shutdown = async {
        let _ = stopped.await;
    };
    tokio::join!(pipeline.run(receive, shutdown), drive)
}

/// One input and one output; `agent`, `input` and `output` are options of theirs.
fn one(path: &Path, agent: &str, input: &str, output: &str) -> Config {
    let path = path.display();
    let text = format!(
        "[agent]\nround_interval = false\n{agent}\n[[inputs.mem]]\n{input}\n[[outputs.file]]\nfiles = [\"{path}\"]\n{output}"
    );
    read(&[("t.conf", &text)]).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_input_that_stays_keeps_its_schedule_and_gets_its_new_options() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("points");
    let (is_whole, ()) = running(one(&path, "", "", ""), async |running| {
        tokio::time::sleep(Duration::from_secs(14)).await;
        assert!(running.reload(Ok(one(&path, "", "name_override = \"renamed\"", ""))).await);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(running.reload(Ok(one(&path, "interval = \"3s\"", "name_override = \"faster\"", ""))).await);
        tokio::time::sleep(Duration::from_secs(7)).await;
        // The same input all the time, by its counters.
        let inputs = running.telemetry.inputs();
        assert_eq!(inputs.len(), 1);
        assert_eq!(inputs[0].counts.gathers.load(Ordering::Relaxed), 5);
    })
    .await;
    assert!(is_whole);
    // At 0 s and 10 s, and not at 14 s; then every 3 s since 10 s, which is at 19 s, 22 s and 25 s.
    assert_eq!((lines(&path, "mem ").len(), lines(&path, "mem,").len()), (0, 2));
    assert_eq!(lines(&path, "renamed,").len(), 0);
    assert_eq!(lines(&path, "faster,").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_input_with_other_options_takes_over_with_its_first_interval() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("points");
    let text = |options: &str| {
        let path = path.display();
        let text = format!(
            "[agent]\nround_interval = false\n[[inputs.cpu]]\n{options}\n[[outputs.file]]\nfiles = [\"{path}\"]"
        );
        read(&[("t.conf", &text)]).unwrap()
    };
    let (is_whole, ()) = running(text("percpu = false"), async |running| {
        tokio::time::sleep(Duration::from_secs(14)).await;
        assert!(running.reload(Ok(text("percpu = false\nreport_active = true"))).await);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let inputs = running.telemetry.inputs();
        let runs: Vec<_> = inputs.iter().map(|entry| (entry.name.as_str(), entry.runs())).collect();
        // The old one has ended by then, and the new one counts on under its name: at 0 s, at 10 s, and at its start.
        assert_eq!(runs, [("cpu", true)]);
        let gathers = inputs.iter().map(|entry| entry.counts.gathers.load(Ordering::Relaxed));
        assert_eq!(gathers.collect::<Vec<_>>(), [3]);
    })
    .await;
    assert!(is_whole);
}

#[tokio::test(start_paused = true)]
async fn the_buffer_of_an_output_that_stays_is_kept_and_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("not/there");
    let (is_whole, ()) = running(one(&path, "", "", ""), async |running| {
        tokio::time::sleep(Duration::from_secs(35)).await;
        let waiting = running.outputs(|counts| &counts.waiting);
        assert!(waiting >= 4, "{waiting}");
        // Other common options, and other options of its own.
        for options in ["metric_batch_size = 1", "data_format = \"influx\""] {
            assert!(running.reload(Ok(one(&path, "", "", options))).await);
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(running.outputs(|counts| &counts.waiting) >= waiting, "{options}");
        }
        assert_eq!(running.telemetry.outputs().len(), 1);
        std::fs::create_dir(directory.path().join("not")).unwrap();
        assert!(running.orders.send(Order::Flush).await.is_ok());
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(running.outputs(|counts| &counts.waiting), 0);
        assert_eq!(running.outputs(|counts| &counts.losses.ended), 0);
    })
    .await;
    assert!(is_whole);
    assert_eq!(lines(&path, "mem,").len(), 4, "at 0, 10, 20 and 30 s");
}

/// As logrotate does it: the file is moved, and the agent told.
#[tokio::test(start_paused = true)]
async fn a_reload_reopens_files() {
    let directory = tempfile::tempdir().unwrap();
    let [path, moved] = ["points", "points.1"].map(|name| directory.path().join(name));
    let (is_whole, ()) = running(one(&path, "", "", ""), async |running| {
        tokio::time::sleep(Duration::from_secs(15)).await;
        std::fs::rename(&path, &moved).unwrap();
        assert!(running.reload(Ok(one(&path, "", "", ""))).await);
        tokio::time::sleep(Duration::from_secs(20)).await;
    })
    .await;
    assert!(is_whole);
    let [before, after] = [&moved, &path].map(|path| lines(path, "mem,").len());
    assert!(before >= 1 && after >= 2, "{before} before and {after} after");
    assert_eq!(before + after, 4, "at 0, 10, 20 and 30 s");
}

#[tokio::test(start_paused = true)]
async fn an_output_without_a_successor_writes_its_buffer_or_reports_what_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let [old, bad, new] = ["old", "not/there", "new"].map(|name| directory.path().join(name));
    let (is_whole, ()) = running(one(&old, "", "", ""), async |running| {
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(running.reload(Ok(one(&bad, "", "", ""))).await);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(lines(&old, "mem,").len(), 1, "before its flush was due");
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(running.reload(Ok(one(&new, "", "", ""))).await);
        tokio::time::sleep(Duration::from_secs(6)).await;
        // Two gathers of `mem`, and the agent's own telemetry.
        let lost = running.outputs(|counts| &counts.losses.ended);
        assert!(lost >= 2, "{lost}");
        let runs = running.telemetry.outputs().iter().filter(|entry| entry.runs()).count();
        assert_eq!(runs, 1);
    })
    .await;
    assert!(is_whole, "what is there in the end is written");
    assert_eq!(lines(&new, "mem,").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_cannot_be_used_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let [path, log] = ["points", "log"].map(|name| directory.path().join(name));
    let _log = logging::to_file(&log);
    let (is_whole, ()) = running(one(&path, "", "", ""), async |running| {
        let bad: Vec<anyhow::Result<Config>> = vec![
            read(&[("t.conf", "[agent]\n  intervall = 1\n[[inputs.x]]")]).map_err(Into::into),
            Ok(one(&path, "", "", "data_format = \"json\"")),
            Ok(Config { outputs: Vec::new(), ..one(&path, "", "", "") }),
            Err(anyhow::anyhow!("cannot read t.conf")),
        ];
        let n = bad.len() as u64;
        for loaded in bad {
            tokio::time::sleep(Duration::from_secs(3)).await;
            assert!(!running.reload(loaded).await);
        }
        assert_eq!(running.telemetry.reload_errors.load(Ordering::Relaxed), n);
        assert_eq!(running.telemetry.reloads.load(Ordering::Relaxed), 0);
        tokio::time::sleep(Duration::from_secs(10)).await;
    })
    .await;
    assert!(is_whole);
    assert_eq!(lines(&path, "mem,").len(), 3, "at 0, 10 and 20 s");
    let log = std::fs::read_to_string(&log).unwrap();
    for expected in [
        "E! [agent] not reloaded, all goes on as before: t.conf:2:3: unknown option `intervall`",
        "E! [agent] not reloaded, all goes on as before: t.conf:3:1: unknown input `x`",
        "E! [agent] not reloaded, all goes on as before: t.conf:6:1: output `file`: `data_format`",
        "before: no outputs",
        "before: cannot read t.conf",
    ] {
        assert!(log.contains(expected), "{expected}: {log}");
    }
}

/// What people do to a configuration, and what disks and editors do.
fn mutated(text: &str, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = text.split_inclusive('\n').map(|line| line.as_bytes().to_vec()).collect();
    for _ in 0..random.usize(1..4) {
        let (i, j) = (random.usize(..lines.len()), random.usize(..lines.len()));
        match random.u8(..7) {
            0 => lines[i].clear(),
            1 => {
                let line = lines[i].clone();
                lines.insert(j, line);
            }
            2 => lines.swap(i, j),
            3 => {
                let length = random.usize(..=lines[i].len());
                lines[i].truncate(length);
            }
            4 => lines.truncate(i.max(1)),
            5 => {
                if let Some(byte) = lines[i].len().checked_sub(1).map(|last| random.usize(..=last)) {
                    lines[i][byte] ^= 1 << random.u8(..8);
                }
            }
            // Two keys with each other's values.
            _ => {
                let equals = |line: &[u8]| line.iter().position(|byte| *byte == b'=');
                if let (Some(a), Some(b)) = (equals(&lines[i]), equals(&lines[j])) {
                    let (first, second) = (lines[i].split_off(a), lines[j].clone());
                    lines[i].extend(&second[b..]);
                    if i != j {
                        lines[j].truncate(b);
                        lines[j].extend(first);
                    }
                }
            }
        }
    }
    lines.concat()
}

/// Whether a mutated configuration is usable for this test: it writes nowhere else, and does not gather thousands of times a second.
fn is_harmless(config: &Config, directory: &Path) -> bool {
    let writes_here = config.outputs.iter().all(|output| match &output.options {
        OutputOptions::File(options) => {
            options.files.iter().all(|file| Path::new(file).starts_with(directory))
        }
        _ => false,
    });
    let second = Duration::from_secs(1);
    writes_here
        && config.inputs.iter().all(|input| input.common.interval >= second)
        && config.agent.interval >= second
        && config.outputs.iter().all(|output| output.common.flush_interval >= second)
}

#[tokio::test(start_paused = true)]
async fn a_thousand_mutated_configurations_miss_no_interval_and_lose_no_point() {
    const RELOADS: usize = 1_000;
    let directory = tempfile::tempdir().unwrap();
    // One deeper, so that a file whose slash was changed is still in the directory of the test.
    let here = directory.path().join("here");
    std::fs::create_dir(&here).unwrap();
    let log = directory.path().join("log");
    let _log = logging::to_file(&log);
    let base = format!(
        r#"[agent]
  round_interval = false
[[inputs.mem]]
  alias = "base"
  name_override = "base"
[[outputs.file]]
  alias = "base"
  files = ["{}/base"]
  namepass = ["base"]
"#,
        here.display()
    );
    let more = format!(
        r#"# What a person edits.
[global_tags]
  env = "prod"
  rack = "7"
[agent]
  interval = "10s"
  flush_interval = "4s"
  metric_batch_size = 500
  metric_buffer_limit = 5000
  hostname = "node1"
[[inputs.mem]]
  collect_extended = false
  interval = "30s"
  [inputs.mem.tags]
    kind = "more"
[[inputs.system]]
  fieldexclude = ["uptime_format"]
[[inputs.cpu]]
  percpu = false
  totalcpu = true
  collect_cpu_time = true
[[outputs.file]]
  files = ["{}/more"]
  namedrop = ["base"]
  data_format = "influx"
"#,
        here.display()
    );
    let load = |more: &str| read(&[("base.conf", &base), ("more.conf", more)]);
    let mut random = fastrand::Rng::with_seed(20_261_125);
    let drive = async |running: &Running| {
        let base_entry = running.telemetry.inputs().into_iter().find(|entry| entry.name == "base").unwrap();
        // When `base` has to gather next, and how often it has.
        let mut interval = Duration::from_secs(10);
        let (mut last, mut next, mut due) = (Instant::now(), Instant::now(), 0);
        let (mut taken, mut refused, mut reported) = (0, 0, 0);
        while taken + refused < RELOADS {
            tokio::time::sleep(Duration::from_millis(random.u64(1..20_000))).await;
            while next <= Instant::now() {
                due += 1;
                (last, next) = (next, next + interval);
            }
            assert_eq!(base_entry.counts.gathers.load(Ordering::Relaxed), due, "after {taken} + {refused}");
            let text =
                if random.u8(..10) == 0 { more.clone().into_bytes() } else { mutated(&more, &mut random) };
            let loaded = match String::from_utf8(text) {
                Ok(text) => load(&text).map_err(anyhow::Error::from),
                Err(error) => Err(error.into()),
            };
            if loaded.as_ref().is_ok_and(|config| !is_harmless(config, &here)) {
                continue;
            }
            let new = loaded.as_ref().map(|config| config.agent.interval).ok();
            let problems = loaded.as_ref().map_or_else(|error| error.to_string().lines().count(), |_| 1);
            if running.reload(loaded).await {
                taken += 1;
                if let Some(new) = new.filter(|new| *new != interval) {
                    interval = new;
                    next = last + interval;
                    while next < Instant::now() {
                        next += interval;
                    }
                }
            } else {
                refused += 1;
                reported += problems;
            }
        }
        let counter = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        assert_eq!(counter(&running.telemetry.reloads), taken as u64);
        assert_eq!(counter(&running.telemetry.reload_errors), refused as u64);
        assert!(taken > RELOADS / 5 && refused > RELOADS / 5, "{taken} taken, {refused} refused");
        // The last one, so that the end is as at the start.
        assert!(running.reload(Ok(load(&more).unwrap())).await);
        tokio::time::sleep(Duration::from_millis(1)).await;
        (Arc::clone(&running.telemetry), base_entry, reported)
    };
    let (is_whole, (telemetry, base_entry, reported)) = running(load(&more).unwrap(), drive).await;
    assert!(is_whole);
    let counter = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    // Every gather of `base` is in its file, once.
    assert_eq!(lines(&here.join("base"), "base,").len() as u64, counter(&base_entry.counts.gathers));
    for input in telemetry.inputs() {
        assert_eq!(counter(&input.counts.losses.missed), 0, "{}", input.name);
    }
    // And whatever came to any output, also one that was there for a moment, is written or counted as lost.
    for output in telemetry.outputs() {
        let counts = &output.counts;
        let known =
            counter(&counts.written) + counter(&counts.losses.rejected) + counter(&counts.losses.overflowed);
        assert_eq!(counter(&counts.taken), known + counter(&counts.losses.ended), "{}", output.name);
    }
    let written: usize = walk(directory.path());
    let counted: u64 = telemetry.outputs().iter().map(|output| counter(&output.counts.written)).sum();
    assert_eq!(written as u64, counted);
    let log = std::fs::read_to_string(&log).unwrap();
    assert_eq!(log.lines().filter(|line| line.contains(" E! [agent] not reloaded")).count(), reported);
}

/// Lines in all files below the directory, the log apart.
fn walk(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| match path.is_dir() {
            true => walk(&path),
            false if path.ends_with("log") => 0,
            false => std::fs::read(&path).unwrap().iter().filter(|byte| **byte == b'\n').count(),
        })
        .sum()
}
