//! The agent as a process: signals, its word to the service manager, its files. Needs no privileges: without probes.

#![allow(clippy::unwrap_used, reason = "a panic is a test's way to fail")]

use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(30);

fn seismograf() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seismograf"));
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// An agent with a service manager, which is this test.
struct Agent {
    child: Child,
    manager: UnixDatagram,
    directory: tempfile::TempDir,
}

impl Agent {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("notify");
        let manager = UnixDatagram::bind(&socket).unwrap();
        manager.set_read_timeout(Some(LIMIT)).unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("agent.conf"), config(directory.path(), "")).unwrap();
        let child = seismograf()
            .env("NOTIFY_SOCKET", &socket)
            .args(["-config", &path("agent.conf").display().to_string()])
            .args(["-pidfile", &path("pid").display().to_string()])
            .spawn()
            .unwrap();
        Self { child, manager, directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The next notification to the manager.
    fn notification(&self) -> String {
        let mut buffer = [0; 512];
        let n = self.manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..n].to_vec()).unwrap()
    }

    /// Writes a configuration, and has it read. Returns the last notification to the manager.
    fn reload(&self, text: &str) -> String {
        std::fs::write(self.path("agent.conf"), text).unwrap();
        self.signal(Signal::HUP);
        let notification = self.notification();
        assert!(notification.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{notification}");
        self.notification()
    }

    /// Asks for a flush until a file that the agent writes has a text: what is to be in it may not be gathered yet.
    fn flush_until(&self, name: &str, text: &str) {
        let start = std::time::Instant::now();
        while !self.read(name).contains(text) {
            assert!(start.elapsed() < LIMIT, "no `{text}` in {name}: {}", self.read(name));
            self.signal(Signal::USR1);
            std::thread::yield_now();
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(directory: &Path, more: &str) -> String {
    let directory = directory.display();
    format!(
        "[agent]\n  interval = \"1h\"\n  flush_interval = \"1h\"\n  round_interval = false\n  logfile = \"{directory}/agent.log\"\n\
         [[inputs.mem]]\n[[outputs.file]]\n  files = [\"{directory}/points\"]\n{more}"
    )
}

#[test]
fn reloads_flushes_and_stops_as_it_is_told() {
    let mut agent = Agent::start();
    let notification = agent.notification();
    assert!(notification.starts_with("READY=1\n"), "{notification}");
    assert_eq!(agent.read("pid").trim(), agent.child.id().to_string());

    let notification = agent.reload("[agent]\n  intervall = 1\n");
    assert!(
        notification.starts_with("READY=1\nSTATUS=running; the last reload was refused"),
        "{notification}"
    );
    assert!(agent.read("agent.log").contains(" E! [agent] not reloaded, all goes on as before: "));
    assert!(agent.read("agent.log").contains("agent.conf:2:3: unknown option `intervall` of [agent]"));

    // What was gathered at the start waits for a flush that is an hour away.
    assert_eq!(agent.read("points"), "");
    agent.flush_until("points", "\n");
    assert!(agent.read("points").starts_with("mem,host="), "{}", agent.read("points"));

    let other_log = config(agent.directory.path(), "").replace("agent.log", "other.log");
    assert_eq!(agent.reload(&other_log), "READY=1\nSTATUS=running");
    agent.signal(Signal::TERM);
    assert!(agent.notification().starts_with("STOPPING=1\n"));
    assert!(agent.child.wait().unwrap().success());
    assert!(agent.read("other.log").contains(" I! [agent] stop"), "{}", agent.read("other.log"));
    assert!(!agent.path("pid").exists());
    // The last gather, with the agent's own figures of the reloads.
    let points = agent.read("points");
    let about = points.lines().rfind(|line| line.contains("part=agent")).unwrap();
    assert!(about.contains(",reloads=1i,reload_errors=1i,"), "{about}");
}

fn output(args: &[&str], stdin: &str) -> Output {
    let mut child = seismograf().args(args).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_configuration_can_come_from_the_standard_input() {
    let stdin = "[[inputs.mem]]\n[agent]\n  hostname = \"h\"\n  utc = true\n";
    let test = output(&["--config", "-", "--test", "--pprof-addr", "localhost:0"], stdin);
    assert!(test.status.success());
    let (points, log) = (text(&test.stdout), text(&test.stderr));
    assert!(points.starts_with("> mem,host=h active="), "{points}");
    assert!(points.trim_end().ends_with("000000000"), "rounded to a second: {points}");
    assert!(points.contains("u,") && !points.contains("i,"), "unsigned, as Telegraf prints them: {points}");
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains(" W! ")).collect();
    assert_eq!(warnings.len(), 2, "{log}");
    assert!(
        warnings[0].ends_with("W! [agent] --pprof-addr has no effect: it is for the Go runtime"),
        "{log}"
    );
    assert!(warnings[1].contains("W! [agent] -:4:3: `utc` of [agent] has no effect"), "{log}");
}

#[test]
fn check_says_what_is_fine_and_what_is_not() {
    let good = output(&["config", "check", "--config", "-"], "[[inputs.mem]]\n[[outputs.file]]\n");
    assert_eq!(text(&good.stdout), "fine: inputs mem; outputs file\n");
    let bad = output(
        &["--config", "-", "config", "check"],
        "[[inputs.mem]]\n[[outputs.file]]\ndata_format = \"x\"",
    );
    assert_eq!(bad.status.code(), Some(78), "another start changes nothing");
    assert!(text(&bad.stderr).contains("-:3:1: `data_format` of output `file`: "), "{}", text(&bad.stderr));
    // Away from the host of the configuration.
    let stdin = "[[inputs.mem]]\n[[outputs.influxdb]]\nurls = [\"https://db\"]\ntls_ca = \"/nonexistent\"\n";
    assert_eq!(output(&["config", "check", "--config", "-"], stdin).status.code(), Some(78));
    let offline = output(&["config", "check", "--offline", "--config", "-"], stdin);
    assert_eq!(text(&offline.stdout), "fine: inputs mem; outputs influxdb\n");
    // What a start says of it is the same.
    let check = output(&["config", "check", "--config", "-"], "[[inputs.docker]]\nendpoint = \"x\"\n");
    let start = output(&["--config", "-"], "[[inputs.docker]]\nendpoint = \"x\"\n");
    assert_eq!((text(&check.stderr), check.status), (text(&start.stderr), start.status));
    assert_eq!(text(&check.stderr).lines().count(), 2, "{}", text(&check.stderr));
}

#[test]
fn plugins_that_are_not_here_are_left_out_by_the_command_that_is_told() {
    let stdin = "[[inputs.mem]]\n[[inputs.nginx]]\n[[outputs.file]]\n";
    let refused = output(&["--config", "-", "--input-filter", "mem:nginx", "--once"], stdin);
    assert_eq!(refused.status.code(), Some(78));
    let said = text(&refused.stderr);
    let last = said.lines().last().unwrap();
    let command = last.strip_prefix("to start the rest: seismograf ").unwrap().split(" (or ").next().unwrap();
    let mut args: Vec<&str> = command.split(' ').collect();
    args.push("--once");
    let started = output(&args, stdin);
    assert!(started.status.success(), "{}", text(&started.stderr));
    assert!(text(&started.stdout).starts_with("mem,host="), "{}", text(&started.stdout));
    assert_eq!(text(&started.stderr).matches("left out: Telegraf's `inputs.nginx`").count(), 1);
}

#[test]
fn what_cannot_be_done_is_said_at_the_start() {
    let log = "[agent]\n  logfile = \"/proc/none/at/agent.log\"\n[[inputs.mem]]\n[[outputs.file]]\n";
    for (args, stdin, expected, code) in [
        (
            &["--config", "-"][..],
            log,
            "-:2:3: `logfile` of [agent]: there is no directory /proc/none: create it",
            78,
        ),
        (
            &["--config", "-", "--pidfile", "/proc/none"],
            &log[log.find("[[").unwrap()..],
            "cannot write the pidfile /proc/none",
            1,
        ),
        (&["--config", "http://x/y"], "", "http://x/y: a configuration is read from a file", 78),
        (&["--config", "-", "--select", "a=b"], "", "--select is not part of this agent", 1),
        (&["--usage", "mysql"], "", "Telegraf's `mysql` is not part of this agent", 1),
    ] {
        let output = output(args, stdin);
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        assert!(text(&output.stderr).contains(expected), "{args:?}: {}", text(&output.stderr));
    }
    assert_eq!(output(&["unknown-word"], "").status.code(), Some(2));
}

#[test]
fn prints_what_telegrafs_flags_ask_for() {
    for (args, expected) in [
        (&["--version"][..], "seismograf "),
        (&["version"], "seismograf "),
        (&["-input-list"], "Available Input Plugins:\n  "),
        (&["plugins", "outputs"], "Available Output Plugins:\n  file\n"),
        (&["-usage", "mem"], "## The machine's memory.\n[[inputs.mem]]\n"),
        (&["-deprecation-list"], "inputs.http_listener: now inputs.influxdb_listener\n"),
        (&["config"], "# The default configuration"),
        (&["-sample-config"], "# The default configuration"),
        (&["--section-filter", "agent", "config", "create"], "# The default configuration"),
    ] {
        let output = output(args, "");
        assert!(output.status.success(), "{args:?}");
        assert!(text(&output.stdout).starts_with(expected), "{args:?}: {}", text(&output.stdout));
    }
}
