//! `seismograf top` in a real terminal: what it shows, what keys do, what it costs, and what it records.

mod recording;
mod troubles;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use seismograf_tests::cgroup::Cgroup;
use seismograf_tests::looks::{HOT, of_a_gather};
use seismograf_tests::suite::Outcome;
use seismograf_tests::tmux::Tmux;
use seismograf_tests::work::Worker;
use seismograf_tests::{Skip, agent_binary, has, needs, oracle, pause, trial, wait_for, wait_for_some};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("top::the_one_that_burns_is_first_and_keys_work", the_one_that_burns_is_first_and_keys_work),
        trial("top::four_troubles_are_marked_and_said", troubles::four_troubles_are_marked_and_said),
        trial("top::what_is_recorded_can_be_imported_and_replayed", recording::recorded_imported_replayed),
        trial("top::a_thousand_cgroups_cost_little", a_thousand_cgroups_cost_little),
        trial("top::what_it_cannot_draw_on_is_said", what_it_cannot_draw_on_is_said),
    ]
}

/// How long a change may take to be on the screen.
const SOON: Duration = Duration::from_secs(20);
/// An ordinary terminal.
const SIZE: (usize, usize) = (80, 24);

/// `top` in a terminal.
pub(crate) struct Top {
    pub(crate) terminal: Tmux,
    directory: tempfile::TempDir,
}

impl Top {
    /// Starts it; `before` are variables, `args` its own.
    pub(crate) fn start(size: (usize, usize), before: &str, args: &str) -> Result<Self, Skip> {
        if !has("tmux") {
            return Err(Skip::because("tmux is not installed"));
        }
        Self::of(&agent_binary()?, size, before, args)
    }

    /// The same with another copy of the agent.
    fn of(agent: &Path, size: (usize, usize), before: &str, args: &str) -> Result<Self, Skip> {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("agent.conf");
        std::fs::write(&config, "[[inputs.ebpf]]\n[[inputs.cpu]]\n[[inputs.mem]]\n[[inputs.system]]\n")
            .unwrap();
        // What is behind it can be seen when it has ended.
        let command = format!(
            "unset NO_COLOR; {before} {} top --config {} {args}; echo \"exit $?\"; stty -a | tr ' ' '\\n' | grep -x -e icanon -e echo; exec cat",
            agent.display(),
            config.display()
        );
        let terminal = Tmux::start(directory.path().join("socket"), size, &command)?;
        Ok(Self { terminal, directory })
    }

    /// A place that ends with it.
    pub(crate) fn folder(&self) -> &Path {
        self.directory.path()
    }

    /// The rows, without their titles; whole once it is drawn.
    pub(crate) fn rows(&self) -> Vec<String> {
        let lines = self.terminal.lines(&[]);
        let titles = lines.iter().position(|line| line.contains("CPU%"));
        let foot = lines.len().saturating_sub(1);
        titles.map_or_else(Vec::new, |titles| {
            let rows = lines.get(titles + 1..foot.max(titles + 1)).unwrap_or_default();
            rows.iter().filter(|line| !line.is_empty()).cloned().collect()
        })
    }

    /// Waits until something is on the screen.
    pub(crate) fn wait_for(&self, what: &str) {
        let is_there = || self.terminal.text().contains(what);
        let timed = Instant::now();
        while !is_there() {
            assert!(timed.elapsed() < SOON, "no {what:?} on the screen:\n{}", self.terminal.text());
            pause(Duration::from_millis(50));
        }
    }

    /// Waits until the rows are so, and returns them.
    pub(crate) fn wait_for_rows(&self, what: &str, are_so: impl Fn(&[String]) -> bool) -> Vec<String> {
        wait_for_some(|| Some(self.rows()).filter(|rows| are_so(rows)), SOON, what)
    }

    /// Its process.
    fn pid(&self) -> u32 {
        let socket = self.folder().join("agent.conf").display().to_string();
        let find = || {
            let processes = std::fs::read_dir("/proc").unwrap().flatten();
            let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
            pids.find(|pid| {
                let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let words: Vec<&str> = command.split('\0').collect();
                words.get(1) == Some(&"top") && words.contains(&socket.as_str())
            })
        };
        wait_for_some(find, SOON, "the process of top")
    }
}

/// Two containers: the second burns CPU.
fn containers(name: &str) -> [Cgroup; 2] {
    const POD: &str = "0f0e0d0c-0b0a-0908-0706-050403020100";
    ["a", "b"].map(|digit| Cgroup::of_container(name, POD, &digit.repeat(64)))
}

/// What a row's name ends with, by `docker ps`.
fn id(digit: &str) -> String {
    digit.repeat(12)
}

fn the_one_that_burns_is_first_and_keys_work() -> Outcome {
    needs(&["stty"])?;
    let cgroups = containers("top-keys");
    let mut workers = vec![Worker::start(&cgroups[0], "", &["idle", "120000"])];
    workers.extend((0..2).map(|_| Worker::start(&cgroups[1], "", &["spin", "120000"])));
    workers.iter_mut().for_each(Worker::go);
    let top = Top::start(SIZE, "LC_ALL=C.UTF-8", "--view containers --sort cpu")?;
    let is_first = |rows: &[String]| rows.len() == 2 && rows[0].contains(&id("b"));
    let rows = top.wait_for_rows("the container that burns to be first", is_first);
    println!("top: 80 x 24:\n{}", top.terminal.text());
    let cpu: f64 = rows[0].split_whitespace().find_map(|word| word.parse().ok()).unwrap();
    assert!(cpu > 10.0, "two that spin: {rows:?}");
    // By name it is the other way round, and a click at a title is as good as a key.
    top.terminal.press(&["n"]);
    top.wait_for_rows("the order of names", |rows| rows.len() == 2 && rows[0].contains(&id("a")));
    let lines = top.terminal.lines(&[]);
    let (line, title) =
        (lines.iter().enumerate()).find_map(|(at, line)| Some((at, line.find("CPU%")?))).unwrap();
    top.terminal.click(title + 1, line);
    top.wait_for_rows("the order of CPU time", is_first);
    top.terminal.enter(&format!("/{}", id("a")));
    top.terminal.press(&["Enter"]);
    let rows = top.wait_for_rows("one row", |rows| rows.len() == 1);
    assert!(rows[0].contains(&id("a")), "{rows:?}");
    top.terminal.press(&["Escape"]);
    top.wait_for_rows("all rows again", is_first);
    for size in [(40, 10), (200, 50), (20, 4), (1, 1), SIZE] {
        top.terminal.resize(size);
        if size.1 >= 10 {
            top.wait_for_rows("the rows after a resize", is_first);
            let (lines, joined) = (top.terminal.lines(&[]), top.terminal.lines(&["-J"]));
            assert_eq!(lines.len(), joined.len(), "something wraps at {size:?}:\n{}", lines.join("\n"));
        }
    }
    detail(&top);
    top.terminal.press(&["q"]);
    is_given_back(&top, "exit 0");
    Ok(())
}

/// The first row alone: its histogram of waits for a CPU, of which two that spin beside each other have some.
fn detail(top: &Top) {
    top.wait_for(" Containers ");
    top.terminal.press(&["Enter"]);
    top.wait_for("waits for a CPU, p99 ");
    let text = top.terminal.text();
    println!("top: in detail:\n{text}");
    assert!(text.contains("█") && text.contains("<"), "{text}");
    // With what follows at once, it would be another key.
    top.terminal.press(&["Escape"]);
    top.wait_for("NAME");
    top.terminal.press(&["?"]);
    top.wait_for("Space");
    top.terminal.press(&["Escape"]);
}

/// The terminal is as it was before.
fn is_given_back(top: &Top, exit: &str) {
    top.wait_for(exit);
    top.wait_for("icanon");
    let text = top.terminal.text();
    assert!(!text.contains("CPU%"), "the screen is still there:\n{text}");
    let settings: Vec<&str> = text.lines().filter(|line| ["icanon", "echo"].contains(line)).collect();
    assert_eq!(settings, ["icanon", "echo"], "{text}");
}

fn what_it_cannot_draw_on_is_said() -> Outcome {
    needs(&["stty"])?;
    let run = || Command::new(agent_binary().unwrap()).args(["top"]).stdin(Stdio::null()).output().unwrap();
    let (agent, piped) = (agent_binary()?, run());
    let told = String::from_utf8_lossy(&piped.stderr);
    assert!(!piped.status.success() && told.contains("seismograf dump"), "{agent:?}: {told}");
    let top = Top::start(SIZE, "TERM=dumb", "")?;
    top.wait_for("seismograf dump");
    top.wait_for("exit 1");
    // A signal gives the terminal back, too.
    let top = Top::start(SIZE, "NO_COLOR=1", "")?;
    top.wait_for("NAME");
    let shown = top.terminal.lines(&["-e"]);
    assert!(!shown.iter().any(|line| is_colored(line)), "{shown:?}");
    // SAFETY: a signal to a process of this test, whose parent has not waited for it.
    unsafe { libc::kill(top.pid().cast_signed(), libc::SIGTERM) };
    is_given_back(&top, "exit 0");
    without_privileges()
}

/// What is not allowed is said on the screen, and what there is without it is shown.
fn without_privileges() -> Outcome {
    needs(&["setpriv"])?;
    let public = tempfile::tempdir().unwrap();
    let agent = public.path().join("seismograf");
    std::fs::copy(agent_binary()?, &agent).unwrap();
    let cgroup = Cgroup::new("top-unprivileged");
    let mut worker = Worker::start(&cgroup, "", &["spin", "60000"]);
    worker.go();
    let without = "setpriv --bounding-set=-all --inh-caps=-all";
    let top = Top::of(&agent, SIZE, without, "--sort cpu --filter top-unprivileged")?;
    let has_cpu = |rows: &[String]| {
        let words = rows.first().map(|row| row.split_whitespace().collect::<Vec<_>>()).unwrap_or_default();
        words.iter().find_map(|word| word.parse::<f64>().ok()).is_some_and(|cpu| cpu > 5.0)
    };
    let rows = top.wait_for_rows("the CPU time that cgroupfs has", has_cpu);
    let text = top.terminal.text();
    println!("top: without privileges:\n{text}");
    assert!(rows.len() == 1 && text.contains("PROBES OFF") && text.starts_with("cpu "), "{text}");
    top.terminal.press(&["l"]);
    top.wait_for("probe is off");
    top.terminal.press(&["q"]);
    is_given_back(&top, "exit 0");
    Ok(())
}

/// Whether a line, as `capture-pane -e` gives it, has another colour than the terminal's own.
fn is_colored(line: &str) -> bool {
    let codes = line.split("\x1b[").skip(1).filter_map(|rest| rest.split_once('m')).map(|(codes, _)| codes);
    let mut numbers = codes.flat_map(|codes| codes.split(';')).filter_map(|code| code.parse().ok());
    numbers.any(|number: u32| matches!(number, 30..=38 | 40..=48 | 90..=107))
}

/// What a refresh may take, in looks at a small file for each cgroup.
const LOOKS: f64 = 5.0;

fn a_thousand_cgroups_cost_little() -> Outcome {
    const CGROUPS: usize = 1_000;
    needs(&[])?;
    let cgroups: Vec<Cgroup> = (0..CGROUPS).map(|i| Cgroup::new(&format!("top-cost-{i}"))).collect();
    // Some have something to show.
    let mut workers: Vec<Worker> =
        cgroups.iter().take(20).map(|cgroup| Worker::start(cgroup, "", &["idle", "600000"])).collect();
    workers.iter_mut().for_each(Worker::go);
    let top = Top::start(SIZE, "", &format!("--filter top-cost --interval {HOT:?}"))?;
    top.wait_for("of ");
    top.wait_for_rows("rows", |rows| rows.len() > 15);
    let looks = of_a_gather(top.pid()) / CGROUPS as f64;
    let (rss, _) = oracle::process(top.pid());
    println!(
        "top: at {CGROUPS} cgroups: {looks:.1} looks at a file for each, {:.1} MB RSS",
        rss as f64 / 1e6
    );
    drop(workers);
    assert!(looks <= LOOKS, "{looks} looks for each");
    Ok(())
}

/// Waits until a file has so many bytes.
pub(crate) fn wait_for_bytes(path: &Path, bytes: u64) {
    let is_written = || std::fs::metadata(path).is_ok_and(|file| file.len() >= bytes);
    wait_for(is_written, SOON, &format!("{} to have {bytes} bytes", path.display()));
}
