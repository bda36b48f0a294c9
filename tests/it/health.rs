//! Whether others can tell that the agent is alive: while its database is away, an input hangs, its thread stands still.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use libtest_mimic::Trial;
use seismograf_tests::http::{Answer, free_address, request};
use seismograf_tests::running::Running;
use seismograf_tests::suite::Outcome;
use seismograf_tests::{Skip, extra, needs, prometheus, run, trial, wait_for};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("health::an_agent_that_goes_on_is_healthy_whatever_hangs_or_is_away", goes_on),
        trial("health::an_agent_whose_thread_stands_still_is_not", stands_still),
        extra("health::promtool_finds_nothing_to_complain_about", promtool),
    ]
}

const LIMIT: Duration = Duration::from_secs(30);
/// How long a probe waits.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// An agent whose database is away; `{proc}` is its `/proc`.
fn start(environment: &[(&str, &str)]) -> Result<(Running, SocketAddr), Skip> {
    let address = free_address();
    let config = format!(
        r#"[agent]
  hostname = "h"
  interval = "500ms"
  flush_interval = "500ms"
  health_address = "{address}"
  metric_series_limit = 1000
[[inputs.mem]]
[[inputs.kernel]]
[[inputs.socket_listener]]
  service_address = "udp://127.0.0.1:0"
[[outputs.influxdb]]
  urls = ["http://{}"]
"#,
        free_address()
    );
    let agent = Running::start_with(&config, environment)?;
    wait_for(|| ask(address, "/readyz").status == 200, LIMIT, "the agent to be ready");
    Ok((agent, address))
}

fn ask(address: SocketAddr, path: &str) -> Answer {
    request(address, "GET", path, None, "").unwrap_or(Answer { status: 0, body: String::new() })
}

fn goes_on() -> Outcome {
    needs(&["mkfifo"])?;
    let directory = tempfile::tempdir().unwrap();
    for name in ["stat", "vmstat", "loadavg", "uptime", "self"] {
        let to = std::path::Path::new("/proc").join(name);
        std::os::unix::fs::symlink(to, directory.path().join(name)).unwrap();
    }
    let pipe = directory.path().join("meminfo").display().to_string();
    run("mkfifo", &[&pipe]);
    let proc = directory.path().display().to_string();
    let (agent, address) = start(&[("HOST_PROC", proc.as_str())])?;
    agent.wait_for_log("[inputs.mem] hangs");
    agent.wait_for_log("[outputs.influxdb]");
    // Three intervals are less than the six seconds that are looked at.
    let figure = |name: &str| {
        let page = ask(address, "/metrics").body;
        let line = page.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or(0.0)
    };
    let before = figure("seismograf_agent_gathered_total ");
    let went_on = || figure("seismograf_agent_gathered_total ") >= before + 14.0;
    wait_for(went_on, LIMIT, "seven seconds of gathers");
    let answer = ask(address, "/healthz");
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"), "{}", agent.log());
    let ready = ask(address, "/readyz");
    println!("health: {}", ready.body.replace('\n', "; "));
    assert_eq!(ready.status, 200);
    assert!(
        ready.body.contains("input mem: has not gathered yet\ninput kernel: gathers\n"),
        "{}",
        ready.body
    );
    assert!(figure("seismograf_output_failed_writes_total") > 0.0);
    assert!(figure("seismograf_output_waiting") > 0.0);
    // Lets the gather end, and the agent with it.
    drop(std::fs::OpenOptions::new().read(true).write(true).open(&pipe));
    Ok(())
}

/// The agent's first thread, stopped while the others go on.
struct Stopped(i32);

impl Stopped {
    fn new(agent: &Running) -> Self {
        let pid = agent.pid().cast_signed();
        let ptrace = |request| {
            // SAFETY: on a child of ours, by numbers alone.
            let result = unsafe { libc::ptrace(request, pid, 0, 0) };
            assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
        };
        ptrace(libc::PTRACE_SEIZE);
        ptrace(libc::PTRACE_INTERRUPT);
        let mut status = 0;
        // SAFETY: writes a number to where it is told.
        let stopped = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
        assert!(stopped == pid && libc::WIFSTOPPED(status), "{status:#x}");
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // SAFETY: on a child of ours, which this thread has stopped.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.0, 0, 0) };
    }
}

fn stands_still() -> Outcome {
    let (agent, address) = start(&[])?;
    assert_eq!(ask(address, "/healthz").status, 200);
    let stopped = Stopped::new(&agent);
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PROBE_LIMIT)).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
    let answer = stream.read(&mut [0; 64]);
    assert!(answer.is_err(), "{answer:?}: a probe was answered");
    drop(stopped);
    wait_for(|| ask(address, "/healthz").status == 200, LIMIT, "the agent to go on");
    println!("health: no answer within {PROBE_LIMIT:?} while its thread stood still, and one after");
    Ok(())
}

fn promtool() -> Outcome {
    let (_agent, address) = start(&[])?;
    let page = ask(address, "/metrics").body;
    let said = prometheus::promtool(&page)?;
    assert!(said.is_empty(), "{said:?}\n{page}");
    println!("health: promtool accepts {} metrics", page.matches("# TYPE ").count());
    Ok(())
}
