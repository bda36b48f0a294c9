//! Everything that can hang does, all at once: what does not goes on in time, each is named once, and the agent ends in time.

use std::io::Write as _;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;
use seismograf_tests::running::Running;
use seismograf_tests::suite::Outcome;
use seismograf_tests::{OWN_MOUNTS, Skip, agent_binary, needs, number, pause, run, trial, try_run, wait_for};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("hangs::all_at_once_hold_up_nothing_else", all_at_once),
        trial("hangs::a_log_that_nobody_reads_holds_up_nothing", log_that_nobody_reads),
        trial("hangs::a_mount_that_gives_no_answer_holds_up_nothing", mount_that_gives_no_answer),
    ]
}

/// For how long they hang, unless this variable says otherwise, in seconds.
const TIME: &str = "SEISMOGRAF_HANG_SECONDS";
const DEFAULT_TIME: u64 = 15;
const INTERVAL: Duration = Duration::from_millis(500);
/// A name server of the test's own, which does not answer.
const NAME_SERVER: &str = "127.0.0.53";

/// How a configuration begins.
fn head() -> String {
    format!(
        r#"[agent]
  interval = "{}ms"
  flush_interval = "200ms"
  precision = "1ms"
  hostname = "h""#,
        INTERVAL.as_millis()
    )
}

/// A `/proc` whose `meminfo` hangs: a pipe that nobody writes.
fn proc(directory: &Path) -> String {
    let proc = directory.join("proc");
    std::fs::create_dir(&proc).unwrap();
    for name in ["stat", "vmstat", "loadavg", "uptime", "diskstats", "self"] {
        std::os::unix::fs::symlink(Path::new("/proc").join(name), proc.join(name)).unwrap();
    }
    run("mkfifo", &[&proc.join("meminfo").display().to_string()]);
    proc.display().to_string()
}

/// Makes a pipe whose reader has stopped: nothing more fits into it.
pub(crate) fn full_pipe(path: &str) -> std::fs::File {
    run("mkfifo", &[path]);
    let mut options = std::fs::OpenOptions::new();
    let mut reader = options.read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap();
    while reader.write(&[b'#'; 4096]).is_ok() {}
    reader
}

fn all_at_once() -> Outcome {
    needs(&["unshare", "mount", "mkfifo"])?;
    let time = number(TIME, DEFAULT_TIME);
    let directory = tempfile::tempdir().unwrap();
    let proc = proc(directory.path());
    let pipe = directory.path().join("pipe").display().to_string();
    let reader = full_pipe(&pipe);
    // A server whose connections nobody takes.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let _names = UdpSocket::bind((NAME_SERVER, 53))
        .map_err(|error| Skip::because(format!("cannot be a name server at {NAME_SERVER}: {error}")))?;
    let resolv = directory.path().join("resolv.conf");
    std::fs::write(&resolv, format!("nameserver {NAME_SERVER}\n")).unwrap();
    let script =
        format!("{OWN_MOUNTS}mount --bind {} /etc/resolv.conf || exit 1\nexec \"$@\"", resolv.display());
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "unchanged", "sh", "-c", &script, "sh"]).arg(agent_binary()?);
    let config = format!(
        r#"{}
  metric_buffer_limit = 2000
[[inputs.kernel]]
[[inputs.mem]]
[[outputs.file]]
  files = ["{{points}}"]
[[outputs.file]]
  files = ["{pipe}"]
[[outputs.influxdb]]
  alias = "server"
  urls = ["http://{}"]
  timeout = "2s"
[[outputs.influxdb]]
  alias = "name"
  urls = ["http://influxdb.example:8086"]
  timeout = "2s"
[[outputs.influxdb]]
  alias = "local"
  urls = ["http://127.0.0.1:9"]
  local_address = "nic.example"
"#,
        head(),
        server.local_addr().unwrap()
    );
    let mut agent = Running::start_by(command, &config, &[("HOST_PROC", proc.as_str())]);
    pause(Duration::from_secs(time) / 2);
    agent.reload();
    agent.wait_for_log("reloaded");
    pause(Duration::from_secs(time) / 2);
    let lines: Vec<String> = agent.log().lines().map(str::to_owned).collect();
    let n = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    for expected in [
        "[inputs.mem] hangs: ",
        "[outputs.influxdb::server] cannot write",
        "[outputs.influxdb::name] cannot write",
    ] {
        assert!(n(expected) >= 1, "{expected}: {lines:#?}");
    }
    assert_eq!(n("[inputs.mem] "), 1, "{lines:#?}");
    assert_eq!(n("a write hangs"), 1, "{lines:#?}");
    goes_on_and_ends(&mut agent, time);
    drop(reader);
    Ok(())
}

/// Checks that gathers were on time, for `time` seconds, and that the agent ends in time.
fn goes_on_and_ends(agent: &mut Running, time: u64) {
    let gathers = agent.times("kernel", "boot_time");
    let steps: Vec<i64> = gathers.windows(2).map(|pair| (pair[1] - pair[0]) / 1_000_000).collect();
    println!("hangs: {} gathers in {time} s, the longest step {:?} ms", gathers.len(), steps.iter().max());
    assert!(gathers.len() as u64 + 2 >= time * 2, "{} gathers in {time} s", gathers.len());
    assert!(steps.iter().all(|step| *step < 2 * INTERVAL.as_millis() as i64), "{steps:?}");
    let (_, took) = agent.stop();
    println!("hangs: ended {took:?} after SIGTERM");
    assert!(took < Duration::from_secs(10), "{took:?}: {}", agent.log());
}

fn log_that_nobody_reads() -> Outcome {
    const TIME: u64 = 5;
    needs(&["mkfifo"])?;
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("log").display().to_string();
    let reader = full_pipe(&pipe);
    let config = format!(
        r#"{}
  debug = true
  logfile = "{pipe}"
[[inputs.kernel]]
[[outputs.file]]
  files = ["{{points}}"]
[[outputs.influxdb]]
  urls = ["http://127.0.0.1:9"]
"#,
        head(),
    );
    let mut agent = Running::start_by(Command::new(agent_binary()?), &config, &[]);
    pause(Duration::from_secs(TIME));
    goes_on_and_ends(&mut agent, TIME);
    drop(reader);
    Ok(())
}

/// A mount that is gone when it is dropped.
struct Unmount(String);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = try_run("umount", &["--lazy", &self.0]);
    }
}

/// A file system in user space (fuse(4)) whose server never answers: each access to it waits for ever.
fn mount_that_gives_no_answer() -> Outcome {
    const TIME: u64 = 10;
    needs(&["mount", "umount"])?;
    if !Path::new("/dev/fuse").exists() {
        return Err(Skip::because("the kernel has no /dev/fuse"));
    }
    let directory = tempfile::tempdir().unwrap();
    let hung = directory.path().join("hung").display().to_string();
    std::fs::create_dir(&hung).unwrap();
    let _unmount = Unmount(hung.clone());
    // It is the agent that holds the server's end: when it ends, nothing waits any more.
    let script = format!(
        "exec 9<>/dev/fuse\nmount -i -t fuse -o fd=9,rootmode=40000,user_id=0,group_id=0 hung {hung} || exit 1\nexec \"$@\""
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh"]).arg(agent_binary()?);
    let config = format!(
        r#"{}
[[inputs.kernel]]
[[inputs.disk]]
  mount_points = ["{hung}"]
[[outputs.file]]
  files = ["{{points}}"]
[[outputs.file]]
  files = ["{hung}/points"]
"#,
        head(),
    );
    // In a root directory of its own it has other paths than process 1.
    let own_mounts = ("HOST_PROC_MOUNTINFO", "/proc/self/mountinfo");
    let mut agent = Running::start_by(command, &config, &[own_mounts]);
    wait_for(|| !agent.log().is_empty(), Duration::from_secs(10), "the start, or why there is none");
    if agent.log().contains("mount:") {
        return Err(Skip::because(format!("no FUSE can be mounted: {}", agent.log().trim())));
    }
    pause(Duration::from_secs(TIME));
    let log = agent.log();
    println!("hangs: the log:\n{log}");
    assert_eq!(log.matches("[inputs.disk] hangs: ").count(), 1, "{log}");
    goes_on_and_ends(&mut agent, TIME);
    let log = agent.log();
    assert!(log.matches("a write hangs").count() <= 1, "{log}");
    Ok(())
}
