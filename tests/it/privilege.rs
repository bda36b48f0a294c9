//! What the agent gives up once it has started, and that it goes on without it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;
use seismograf_tests::cgroup::Cgroup;
use seismograf_tests::http::{free_address, request};
use seismograf_tests::influxd::Influxd;
use seismograf_tests::running::{Running, int};
use seismograf_tests::suite::Outcome;
use seismograf_tests::work::Worker;
use seismograf_tests::{agent_binary, extra, forbidden, needs, needs_open_root, terminate, trial, wait_for};

const LIMIT: Duration = Duration::from_secs(60);

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("privilege::forbidden_acts_are_refused", forbidden_acts),
        trial("privilege::every_feature_goes_on", every_feature),
        trial("privilege::no_call_that_the_agent_makes_is_refused", no_refusal),
        trial("privilege::what_needs_a_restart_says_so", needs_a_restart),
        trial("privilege::another_user_than_root_goes_on", another_user),
        trial("privilege::all_are_kept_where_that_is_asked_for", kept),
        extra("privilege::the_shipped_unit_is_exposed_little", unit),
    ]
}

/// Each act is possible without the restriction, so that its refusal says something.
fn forbidden_acts() -> Outcome {
    const LEAST: usize = 50;
    needs(&[])?;
    let (free, _) = forbidden::tried(false);
    let (confined, text) = forbidden::tried(true);
    let is_refusal = |number: i32| [libc::EPERM, libc::EACCES, libc::EXDEV].contains(&number);
    assert_eq!(free.len(), confined.len(), "{text}");
    let mut shown = 0;
    let mut elsewhere = Vec::new();
    for ((act, before), (same, after)) in free.iter().zip(&confined) {
        assert_eq!(act, same);
        assert!(is_refusal(*after), "confined, it can {act}: {}", std::io::Error::from_raw_os_error(*after));
        if is_refusal(*before) || *before == libc::ENOSYS {
            elsewhere.push(act.as_str());
        } else {
            shown += 1;
        }
    }
    println!("privilege: {}", text.lines().next().unwrap());
    println!("privilege: {shown} acts are possible before and refused after");
    println!("privilege: refused after, and on this machine also before: {}", elsewhere.join(", "));
    assert!(shown >= LEAST, "{shown}");
    Ok(())
}

/// The lines about privileges of each thread (proc(5) `PID/task/TID/status`).
fn threads(pid: u32) -> Vec<String> {
    const LINES: [&str; 7] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"];
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let statuses = tasks.filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
    let of = |status: String| {
        let lines = status.lines().filter_map(|line| line.split_once(":\t"));
        let lines = lines.filter(|(key, _)| LINES.contains(key));
        lines
            .map(|(key, value)| format!("{key} {}", value.trim_start_matches('0')))
            .collect::<Vec<_>>()
            .join(" ")
    };
    statuses.map(of).collect()
}

fn assert_confined(pid: u32) {
    const NOTHING: &str = "CapInh  CapPrm  CapEff  CapBnd  CapAmb  NoNewPrivs 1 Seccomp 2";
    let threads = threads(pid);
    assert!(!threads.is_empty() && threads.iter().all(|thread| thread == NOTHING), "{threads:#?}");
}

/// With everything that has a file, a socket or a probe. `{n}` makes a reload one of other options.
fn config(influxd: &Influxd, n: u32) -> String {
    format!(
        "[agent]\n  interval = \"500ms\"\n  flush_interval = \"200ms\"\n  hostname = \"h\"\n  logfile = \"{{directory}}/agent.log\"\n\
         logfile_rotation_max_size = \"4KB\"\n  logfile_rotation_max_archives = -1\n  statefile = \"{{directory}}/state\"\n  debug = true\n\
         [[inputs.ebpf]]\n  probes = [\"cpu\", \"blkio\", \"net\", \"runqueue\", \"tcp\"]\n  flush_period = \"{}s\"\n\
         [[inputs.cpu]]\n[[inputs.disk]]\n[[inputs.diskio]]\n[[inputs.kernel]]\n[[inputs.mem]]\n[[inputs.net]]\n\
         [[inputs.processes]]\n[[inputs.swap]]\n[[inputs.system]]\n[[inputs.internal]]\n\
         [[inputs.cgroup]]\n  paths = [\"/sys/fs/cgroup/unified\", \"/sys/fs/cgroup\"]\n  files = [\"cgroup.*\"]\n\
         [[inputs.influxdb_listener]]\n  service_address = \"127.0.0.1:{}\"\n\
         [[inputs.socket_listener]]\n  service_address = \"unixgram://{{directory}}/socket\"\n\
         [[outputs.file]]\n  files = [\"{{points}}\"]\n  rotation_max_size = \"1MB\"\n  metric_batch_size = {}\n\
         [[outputs.influxdb]]\n  urls = [\"{}\"]\n  database = \"d\"\n  buffer_strategy = \"disk\"\n\
         buffer_directory = \"{{directory}}/spool\"\n",
        10 + n,
        LISTENER,
        900 + n,
        influxd.url()
    )
}

const LISTENER: u16 = 18_099;

/// All that was logged, also to files that were rotated.
fn log(agent: &Running) -> String {
    let files = fs::read_dir(agent.directory()).unwrap().flatten();
    let is_log = |name: &str| name.starts_with("agent.") && name.ends_with(".log");
    let logs = files.filter(|file| is_log(&file.file_name().to_string_lossy()));
    let texts = logs.filter_map(|file| fs::read_to_string(file.path()).ok());
    texts.collect::<String>() + &agent.log()
}

/// Gives the agent another configuration, and waits for a line of the log.
fn reload(agent: &Running, pid: u32, config: &str, line: &str) {
    let directory = agent.directory().display().to_string();
    let text =
        config.replace("{points}", &agent.points().display().to_string()).replace("{directory}", &directory);
    fs::write(agent.directory().join("agent.conf"), text).unwrap();
    let before = log(agent).matches(line).count();
    // SAFETY: a system call on a process of ours.
    unsafe { libc::kill(pid.cast_signed(), libc::SIGHUP) };
    wait_for(|| log(agent).matches(line).count() > before, LIMIT, line);
}

/// All that an agent does for a while: probes, files, sockets, a database that goes and comes, reloads with other options.
fn exercise(agent: &Running, pid: u32, influxd: &mut Influxd) -> Result<(), seismograf_tests::Skip> {
    let packets = |cgroup: &Cgroup| {
        let lines = agent.lines(&format!("cgroup_net,cgroup={},", cgroup.path()));
        lines.last().and_then(|line| int(line, "tx_packets")).unwrap_or(0)
    };
    let cgroup = Cgroup::new("privilege");
    for n in 1..=2 {
        Worker::start(&cgroup, "", &["udp-send", "127.0.0.1:9", "100", "50", "1"]).run();
        wait_for(|| packets(&cgroup) == 50 * i64::from(n), LIMIT, "what was sent");
        let at = std::net::SocketAddr::from(([127, 0, 0, 1], LISTENER));
        let line = format!("sent,by=http n={n}i");
        let answer = request(at, "POST", "/write?db=d", None, &line).unwrap();
        assert_eq!(answer.status, 204, "{answer:?}");
        let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
        socket
            .send_to(format!("sent,by=socket n={n}i").as_bytes(), agent.directory().join("socket"))
            .unwrap();
        wait_for(|| influxd.count("d", "sent", "n") == 2 * u64::from(n), LIMIT, "what was received");
        influxd.stop();
        reload(agent, pid, &config(influxd, n), "] reloaded");
        influxd.resume()?;
        let cpu = influxd.count("d", "cgroup_cpu", "usage_ns");
        wait_for(|| influxd.count("d", "cgroup_cpu", "usage_ns") > cpu, LIMIT, "rows after the reload");
    }
    Ok(())
}

fn every_feature() -> Outcome {
    needs(&["ip"])?;
    seismograf_tests::run("ip", &["link", "set", "lo", "up"]);
    let mut influxd = Influxd::start(Default::default())?;
    let mut agent = Running::start(&config(&influxd, 0))?;
    wait_for(|| log(&agent).contains("privileges given up"), LIMIT, "the end of the start");
    let pid = agent.pid();
    assert_confined(pid);
    exercise(&agent, pid, &mut influxd)?;
    assert_confined(pid);
    let n_threads = threads(pid).len();
    let (is_well, _) = agent.stop();
    let log = log(&agent);
    let problems: Vec<&str> = log.lines().filter(|line| line.contains(" E! ")).collect();
    // The database was away.
    let others: Vec<&&str> = problems.iter().filter(|line| !line.contains("[outputs.influxdb]")).collect();
    assert!(is_well && others.is_empty(), "{others:#?}");
    assert!(agent.directory().join("state").exists(), "no statefile was left");
    assert!(!agent.directory().join("socket").exists(), "the socket was left");
    let line = log.lines().find(|line| line.contains("privileges given up")).unwrap();
    println!("privilege: {n_threads} threads; {}", line.split("] ").nth(1).unwrap());
    Ok(())
}

/// Under strace: what fails with `EPERM` is a call that is missing in the list.
fn no_refusal() -> Outcome {
    needs(&["ip", "strace"])?;
    let mut influxd = Influxd::start(Default::default())?;
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-Z", "-e", "signal=none", "-o"]).arg(&trace).arg(agent_binary()?);
    let mut agent = Running::start_by(command, &config(&influxd, 0), &[]);
    wait_for(|| log(&agent).contains("privileges given up"), LIMIT, "the end of the start");
    let before = fs::read_to_string(&trace).unwrap().lines().count();
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", agent.pid())).unwrap();
    let pid: u32 = children.trim().parse().unwrap();
    exercise(&agent, pid, &mut influxd)?;
    // SAFETY: a system call on a process of ours.
    unsafe { libc::kill(pid.cast_signed(), libc::SIGTERM) };
    assert!(agent.ended(), "{}", log(&agent));
    let trace = fs::read_to_string(&trace).unwrap();
    let failed: Vec<&str> = trace.lines().skip(before).collect();
    let refused: Vec<&&str> =
        failed.iter().filter(|line| line.contains("EPERM") || line.contains("EACCES")).collect();
    println!("privilege: {} calls failed in all, and none of them was refused", failed.len());
    assert!(!failed.is_empty(), "nothing was traced");
    assert!(refused.is_empty(), "{refused:#?}");
    Ok(())
}

fn needs_a_restart() -> Outcome {
    needs(&[])?;
    let with = |probes: &str, more: &str| {
        format!(
            "[agent]\n  interval = \"200ms\"\n  flush_interval = \"100ms\"\n[[inputs.ebpf]]\n  probes = [{probes}]\n\
             [[inputs.mem]]\n[[outputs.file]]\n  files = [\"{{points}}\"]\n{more}"
        )
    };
    let mut agent = Running::start(&with("\"cpu\"", ""))?;
    agent.wait_for_log("privileges given up");
    let pid = agent.pid();
    let elsewhere = tempfile::tempdir_in("/var/tmp").unwrap();
    let file = format!("[[outputs.file]]\n  files = [\"{}/points\"]\n", elsewhere.path().display());
    let port = "[[inputs.socket_listener]]\n  service_address = \"udp://127.0.0.1:83\"\n";
    for (config, said) in [
        (with("\"cpu\", \"blkio\"", ""), "other probes cannot be loaded"),
        (with("\"cpu\"", &file), "out of reach"),
        (with("\"cpu\"", port), "a port below 1024"),
    ] {
        reload(&agent, pid, &config, "] not reloaded");
        let log = agent.log();
        let line = log.lines().rfind(|line| line.contains("] not reloaded")).unwrap();
        println!("privilege: {line}");
        assert!(line.contains(said) && line.contains("restart it"), "{line}");
        let n = agent.times("cgroup_cpu", "usage_ns").len();
        wait_for(|| agent.times("cgroup_cpu", "usage_ns").len() > n, LIMIT, "the old configuration's rows");
    }
    reload(&agent, pid, &with("\"cpu\"", "  metric_batch_size = 10\n"), "] reloaded");
    assert!(agent.stop().0);
    assert!(fs::read_dir(elsewhere.path()).unwrap().next().is_none());
    Ok(())
}

fn kept() -> Outcome {
    needs(&[])?;
    let with = |probes: &str| {
        format!(
            "[agent]\n  interval = \"200ms\"\n  privileges = \"keep\"\n[[inputs.ebpf]]\n  probes = [{probes}]\n\
             [[outputs.file]]\n  files = [\"{{points}}\"]\n"
        )
    };
    let mut agent = Running::start(&with("\"cpu\""))?;
    agent.wait_for_log("attached");
    reload(&agent, agent.pid(), &with("\"cpu\", \"blkio\""), "] reloaded");
    let threads = threads(agent.pid());
    assert!(
        threads.iter().all(|thread| thread.ends_with("NoNewPrivs  Seccomp ") && !thread.contains("CapEff  ")),
        "{threads:?}"
    );
    assert!(agent.stop().0);
    Ok(())
}

/// What `systemd-analyze security` says of the unit, from 0 to 10.
fn unit() -> Outcome {
    const MOST: f64 = 2.0;
    needs(&["systemd-analyze"])?;
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd/seismograf.service");
    let report = seismograf_tests::run(
        "systemd-analyze",
        &["security", "--no-pager", "--offline=true", unit.to_str().unwrap()],
    );
    let line = report.lines().find(|line| line.contains("Overall exposure level")).unwrap();
    let value = line.split(": ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<f64>().ok());
    println!("privilege: {}", line.trim());
    assert!(value.is_some_and(|value| value <= MOST), "{line}");
    Ok(())
}

/// Files of `/proc` about a process that may not be looked into are root's: a user who is not reads none of them any more.
fn another_user() -> Outcome {
    use std::os::unix::fs::PermissionsExt as _;
    needs(&["setpriv"])?;
    needs_open_root()?;
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let agent = at("seismograf");
    fs::copy(agent_binary()?, &agent).unwrap();
    let listen = free_address();
    let config = format!(
        r#"[agent]
  interval = "250ms"
  flush_interval = "250ms"
  hostname = "h"
  statefile = "{0}/state"
  buffer_strategy = "disk"
  buffer_directory = "{0}/spool"
[[inputs.ebpf]]
[[inputs.cpu]]
[[inputs.disk]]
[[inputs.diskio]]
[[inputs.internal]]
[[inputs.kernel]]
[[inputs.mem]]
[[inputs.net]]
[[inputs.processes]]
[[inputs.swap]]
[[inputs.system]]
[[inputs.influxdb_listener]]
  service_address = "{listen}"
[[outputs.file]]
  files = ["{0}/points"]
"#,
        directory.path().display()
    );
    fs::write(at("agent.conf"), config).unwrap();
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--bounding-set=-all",
        "--inh-caps=-all",
    ]);
    command.arg(&agent).arg("--config").arg(at("agent.conf"));
    command.stderr(fs::File::create(at("log")).unwrap());
    let mut child = command.spawn().unwrap();
    let read = |name: &str| fs::read_to_string(at(name)).unwrap_or_default();
    let measurements =
        ["cpu", "disk", "diskio", "internal_agent", "kernel", "mem", "net", "processes", "system"];
    let n = |name: &str| read("points").lines().filter(|line| line.starts_with(&format!("{name},"))).count();
    let goes_on = || {
        measurements.iter().all(|name| n(name) >= 3)
            || !read("log").is_empty() && read("log").contains("panicked")
    };
    wait_for(goes_on, Duration::from_secs(30), "three gathers of each");
    let answer = request(listen, "POST", "/write?db=d", None, "written f=1i\n");
    wait_for(|| n("written") == 1, Duration::from_secs(10), "what was written");
    let status = terminate(&mut child);
    let log = read("log");
    assert!(status.success() && answer.is_ok_and(|answer| answer.status == 204), "{log}");
    assert!(log.contains("privileges given up") && !log.contains("E! "), "{log}");
    Ok(())
}
