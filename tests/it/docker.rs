//! The containers of a real docker daemon: figures against its own, names, cost, and what happens when it does not behave.

mod figures;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use seismograf_tests::cgroup::Cgroup;
use seismograf_tests::docker::Docker;
use seismograf_tests::influxd::{Influxd, Setup};
use seismograf_tests::looks::{HOT, of_a_gather};
use seismograf_tests::running::{Running, int};
use seismograf_tests::suite::Outcome;
use seismograf_tests::{oracle, pause, trial, wait_for};
use serde_json::{Value, json};

use self::figures::{Cgroups, are_those_of_the_daemon};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("docker::figures_are_those_of_the_daemon", || are_those_of_the_daemon(Cgroups::Seen)),
        trial("docker::figures_without_cgroups_are_those_of_the_daemon", || {
            are_those_of_the_daemon(Cgroups::Hidden)
        }),
        trial("docker::many_containers_have_names_and_cost_little", many_containers),
        trial("docker::short_lives_have_names", short_lives),
        trial("docker::a_daemon_that_hangs_dies_or_talks_nonsense_costs_no_interval", daemon_misbehaves),
        trial("docker::what_a_container_says_of_itself_makes_no_series", hostile),
    ]
}

const LIMIT: Duration = Duration::from_secs(60);
/// Has the agent write to a file.
const FILE: &str = "\n[[outputs.file]]\nfiles = [\"{points}\"]\n";

/// Lines of a measurement, with their times.
fn lines(agent: &Running, measurement: &str) -> Vec<(String, i64)> {
    let lines = agent.lines(&format!("{measurement},")).into_iter();
    lines
        .map(|line| {
            let (line, time) = line.rsplit_once(' ').unwrap();
            (line.to_owned(), time.parse().unwrap())
        })
        .collect()
}

fn tag<'a>(line: &'a str, tag: &str) -> Option<&'a str> {
    let start = line.find(&format!(",{tag}="))? + tag.len() + 2;
    line[start..].split([',', ' ']).next()
}

/// For each container a gather may take the CPU time of so many looks at a file, and for everything else of so many.
const CONTAINER_LOOKS: f64 = 20.0;
const OTHER_LOOKS: f64 = 800.0;
/// A gather before which nothing happened may take the daemon so much of the CPU time of `/info` and a list, and what it
/// takes by itself differs by so much from second to second: its time is counted in ticks of 10 ms.
const DAEMON_ANSWERS: f64 = 0.5;
const NOISE_MS: f64 = 10.0;
/// How many containers, unless this variable says otherwise.
const CONTAINERS: &str = "SEISMOGRAF_CONTAINERS";
/// How many of those that live shortly, likewise; 100 is the whole of it.
const LIVES: &str = "SEISMOGRAF_LIVES";

fn many_containers() -> Outcome {
    let n_containers = seismograf_tests::number(CONTAINERS, 50) as usize;
    let docker = Docker::start()?;
    let start = Instant::now();
    for i in 0..n_containers {
        // One in ten does something now and then, so that its cgroup has rows.
        let command = if i % 10 == 0 { "while true; do sleep 2; done" } else { "exec sleep 100000" };
        docker.run(&format!("c{i}"), command, &json!({"Labels": {"app": format!("web{i}")}}));
    }
    println!("docker: {n_containers} containers started in {:.0} s", start.elapsed().as_secs_f64());
    let config = |interval: Duration| {
        format!(
            "[agent]\ninterval = \"{interval:?}\"\nflush_interval = \"{interval:?}\"\nhostname = \"h\"\n[[inputs.ebpf]]\n{}{FILE}",
            docker.section()
        )
    };
    let mut agent = Running::start(&config(Duration::from_secs(5)))?;
    every_point_has_its_names(&agent, n_containers);
    agent.stop();
    what_many_cost(&docker, n_containers, &config(HOT))
}

/// Each container has each measurement, and each row of its cgroup has its names.
fn every_point_has_its_names(agent: &Running, n_containers: usize) {
    let gathers = || {
        let times = lines(agent, "docker_container_cpu").into_iter().map(|(_, time)| time);
        times.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    wait_for(|| gathers().len() >= 4, Duration::from_secs(40), "gathers of the agent");
    // The last one may not be written whole.
    let times = gathers();
    let last = times[times.len() - 2];
    let mut n = 0;
    for measurement in ["status", "mem", "cpu", "net", "blkio"] {
        let lines: Vec<String> = lines(agent, &format!("docker_container_{measurement}"))
            .into_iter()
            .filter(|(_, time)| *time == last)
            .map(|(line, _)| line)
            .collect();
        let names: BTreeSet<&str> = lines.iter().filter_map(|line| tag(line, "container_name")).collect();
        assert_eq!(names.len(), n_containers, "docker_container_{measurement}");
        for line in &lines {
            let name = tag(line, "container_name").unwrap_or_else(|| panic!("no name: {line}"));
            assert_eq!(tag(line, "container_image"), Some("bb"), "{line}");
            assert_eq!(tag(line, "app"), Some(name.replace('c', "web").as_str()), "{line}");
            n += 1;
        }
    }
    // Rows of cgroups have names too: each has its CPU time, traffic and memory, also while it sleeps.
    let of_containers: Vec<(String, i64)> =
        ["cgroup_cpu", "cgroup_blkio", "cgroup_net", "cgroup_mem", "cgroup_pressure"]
            .into_iter()
            .flat_map(|measurement| lines(agent, measurement))
            .filter(|(line, time)| *time == last && line.contains("runtime=docker"))
            .collect();
    let is_named =
        |line: &str| tag(line, "container_name").is_some() && tag(line, "container_image") == Some("bb:1");
    let named = of_containers.iter().filter(|(line, _)| is_named(line)).count();
    println!(
        "docker: {n} points of containers, all named; {named} of {} rows of their cgroups",
        of_containers.len()
    );
    let nameless = of_containers.iter().find(|(line, _)| !is_named(line));
    assert!(named >= 3 * n_containers && nameless.is_none(), "{named} rows, and this one: {nameless:?}");
}

/// CPU time of the agent, and of the daemon on its behalf, where it gathers so often that nothing rests.
fn what_many_cost(docker: &Docker, n_containers: usize, config: &str) -> Outcome {
    const PERIOD: Duration = Duration::from_secs(8);
    let daemons = docker.daemons();
    assert_eq!(daemons.len(), 2, "dockerd and containerd");
    // What ended on their behalf counts too: `/info` has them run others. In milliseconds a second.
    let spent = || daemons.iter().map(|pid| cpu_with_children(*pid)).sum::<u64>();
    let spends = |work: &mut dyn FnMut()| {
        let (start, before) = (Instant::now(), spent());
        work();
        (spent() - before) as f64 * 10.0 / start.elapsed().as_secs_f64()
    };
    pause(Duration::from_secs(2));
    let rests = spends(&mut || pause(PERIOD));
    let asked = spends(&mut || {
        let start = Instant::now();
        while start.elapsed() < PERIOD {
            docker.ask("GET", "/info", &Value::Null);
            docker.ask("GET", "/containers/json?all=1", &Value::Null);
            pause(HOT);
        }
    });
    let agent = Running::start(config)?;
    let mut looks = f64::MAX;
    let watched = spends(&mut || looks = of_a_gather(agent.pid()));
    println!(
        "docker: {n_containers} containers: {:.1} MB RSS; dockerd and containerd {rests:.1} ms a second, {asked:.1} where both questions are asked again and again, {watched:.1} with an agent that gathers every {HOT:?}",
        oracle::process(agent.pid()).0 as f64 / 1e6
    );
    let limit = OTHER_LOOKS + CONTAINER_LOOKS * n_containers as f64;
    assert!(looks <= limit, "{looks:.0} looks a gather, {limit} at most");
    let (more, most) = (watched - rests, DAEMON_ANSWERS * (asked - rests).max(0.0) + NOISE_MS);
    assert!(more <= most, "{more:.1} ms a second more, {most:.1} at most");
    Ok(())
}

/// Containers that are gone before the agent gathers again: every one has its row, with all that it did.
fn short_lives() -> Outcome {
    const BYTES: u64 = 4 * (64 << 10);
    let n = seismograf_tests::number(LIVES, 40) as usize;
    let docker = Docker::start()?;
    let config = format!(
        "[agent]\ninterval = \"5s\"\nflush_interval = \"1s\"\nhostname = \"h\"\n[[inputs.ebpf]]\n{}",
        docker.section()
    );
    let agent = Running::start(&(config + FILE))?;
    wait_for(|| !lines(&agent, "docker").is_empty(), LIMIT, "the first gather");
    // One cgroup above all of them, which keeps what they had.
    let parent = Cgroup::new("short-lives");
    let host = json!({"CgroupParent": parent.path(), "NetworkMode": "none"});
    let before = parent.cpu_ns();
    let command = "dd if=/dev/zero of=/f bs=64k count=4 oflag=direct 2>/dev/null; i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done";
    let mut ids = Vec::new();
    for i in 0..n {
        let id = docker.run(&format!("short{i}"), command, &json!({"HostConfig": host}));
        docker.ask("POST", &format!("/containers/{id}/wait"), &Value::Null);
        ids.push(id);
    }
    let mut lives: Vec<Duration> = ids
        .iter()
        .map(|id| lifetime(&docker.ask("GET", &format!("/containers/{id}/json"), &Value::Null)))
        .collect();
    lives.sort_unstable();
    let kernel = parent.cpu_ns() - before;
    let rows = |measurement: &str| -> BTreeMap<String, String> {
        let lines = lines(&agent, measurement).into_iter().map(|(line, _)| line);
        let of = lines.filter_map(|line| Some((tag(&line, "container_name")?.to_owned(), line)));
        // The last of each series has all of it.
        of.filter(|(name, _)| name.starts_with("short")).collect()
    };
    wait_for(|| rows("cgroup_cpu").len() >= n, LIMIT, "a row of each container");
    pause(Duration::from_secs(11));
    // The daemon's own counts follow its events.
    let mut counts =
        lines(&agent, "docker").into_iter().filter_map(|(line, _)| int(&line, "n_containers_stopped"));
    assert_eq!(counts.next_back(), Some(n as i64));
    let cpu = rows("cgroup_cpu");
    let images = cpu.values().filter(|line| tag(line, "container_image") == Some("bb:1")).count();
    let ours: i64 = cpu.values().filter_map(|line| int(line, "usage_ns")).sum();
    let percent = 100.0 * ours as f64 / kernel as f64;
    let written: i64 = rows("cgroup_blkio").values().filter_map(|line| int(line, "write_bytes")).sum();
    println!(
        "docker: {n} containers that lived {:?} (median; {:?} at most), a gather every 5 s: {} rows, {percent:.2} % of {:.1} ms of CPU time, {written} of {} bytes written",
        lives[n / 2],
        lives[n - 1],
        cpu.len(),
        kernel as f64 / 1e6,
        BYTES * n as u64,
    );
    assert!(lives[n / 2] < Duration::from_millis(100), "they lived too long to show anything");
    assert_eq!((cpu.len(), images), (n, n));
    assert!((99.0..=101.0).contains(&percent), "{percent} %");
    if let Some(disk) = docker.disk() {
        // A completion that lands on one of the machine's own tasks is seen by no program; it is the disk's `unseen` then.
        let disk = disk.trim_start_matches("/dev/");
        let balances = lines(&agent, "seismograf").into_iter().map(|(line, _)| line);
        let mut of_disk = balances.filter(|line| tag(line, "device") == Some(disk));
        let unseen = of_disk.next_back().and_then(|line| int(&line, "unseen_bytes")).unwrap_or(0);
        let missing = (BYTES * n as u64).cast_signed() - written;
        println!("docker: {missing} bytes are in no row, and {unseen} of {disk} were seen by no program");
        assert!((0..=unseen.max(0)).contains(&missing), "{missing} bytes are missing");
        assert!(missing <= 2 * BYTES.cast_signed(), "{missing} bytes are missing");
    } else {
        println!("docker: bytes are not compared: the containers are on no disk");
    }
    drop(docker);
    Ok(())
}

/// From start to end, as the daemon has it.
fn lifetime(container: &Value) -> Duration {
    let time = |field: &str| {
        let text = container["State"][field].as_str().unwrap();
        let (clock, fraction) = text.trim_end_matches('Z').split_once('.').unwrap();
        let seconds: Vec<u64> =
            clock.split_once('T').unwrap().1.split(':').map(|n| n.parse().unwrap()).collect();
        let nanos: u64 = format!("{fraction:0<9}")[..9].parse().unwrap();
        Duration::new(seconds[0] * 3600 + seconds[1] * 60 + seconds[2], 0) + Duration::from_nanos(nanos)
    };
    // Over midnight it would be negative, which is no life of a container here.
    time("FinishedAt").saturating_sub(time("StartedAt"))
}

/// CPU time of a process and of its children that have ended, in ticks of 10 ms.
fn cpu_with_children(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let columns: Vec<&str> = stat.rsplit(')').next().unwrap().split_ascii_whitespace().collect();
    columns[11..15].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

fn daemon_misbehaves() -> Outcome {
    const INTERVAL: Duration = Duration::from_millis(500);
    const BACK: Duration = Duration::from_secs(10);
    let mut docker = Docker::start()?;
    docker.run("old", "exec sleep 100000", &Value::Null);
    let config = format!(
        "[agent]\ninterval = \"500ms\"\nflush_interval = \"500ms\"\nhostname = \"h\"\n[[inputs.mem]]\n{}timeout = \"2s\"",
        docker.section()
    );
    let agent = Running::start(&(config + FILE))?;
    let of = |name: &str| -> Vec<i64> {
        let lines = lines(&agent, "docker_container_cpu");
        let of = lines.iter().filter(|(line, _)| {
            tag(line, "container_name") == Some(name) && tag(line, "cpu") == Some("cpu-total")
        });
        of.map(|(_, time)| *time).collect()
    };
    let wait_for_times = |text: &str, times: usize| {
        wait_for(
            || agent.log().matches(text).count() >= times,
            LIMIT,
            &format!("`{text}` in the log, {times} times"),
        );
    };
    wait_for(|| of("old").len() >= 2, LIMIT, "the container");
    let (rss, _) = oracle::process(agent.pid());

    // Hung.
    docker.signal(libc::SIGSTOP);
    wait_for_times("docker is away", 1);
    pause(4 * INTERVAL);
    docker.signal(libc::SIGCONT);
    wait_for_times("docker is back", 1);
    docker.run("after-hang", "exec sleep 100000", &Value::Null);
    wait_for(|| !of("after-hang").is_empty(), BACK, "a name after the daemon hung");

    // Killed, and something else in its place that talks nonsense.
    docker.kill();
    wait_for_times("docker is away", 2);
    let _ = std::fs::remove_file(docker.socket());
    let nonsense = UnixListener::bind(docker.socket()).unwrap();
    nonsense.set_nonblocking(true).unwrap();
    let (start, mut n) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(20) && n < 8 {
        if let Ok((mut stream, _)) = nonsense.accept() {
            n += 1;
            let _ = match n % 4 {
                0 => stream.write_all(b"\0\xff\xfe garbage\r\n\r\n"),
                1 => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"Api\":"),
                2 => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{}"),
                _ => {
                    // Without end: the agent must end it.
                    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n[");
                    let zeros = vec![b' '; 1 << 20];
                    (0..100).try_for_each(|_| stream.write_all(&zeros))
                }
            };
        }
        pause(Duration::from_millis(20));
    }
    assert!(n >= 4, "the agent asked {n} times only");
    drop(nonsense);

    docker.resume();
    let back = Instant::now();
    docker.run("after-return", "exec sleep 100000", &Value::Null);
    wait_for(|| !of("after-return").is_empty(), BACK, "a name after the daemon's return");
    let back = back.elapsed();
    wait_for_times("docker is back", 2);
    let (rss_after, _) = oracle::process(agent.pid());

    let gathers =
        |times: Vec<i64>| times.into_iter().map(|time| time / 500_000_000).collect::<BTreeSet<i64>>();
    let mem: BTreeSet<i64> = gathers(lines(&agent, "mem").into_iter().map(|(_, time)| time).collect());
    let old = gathers(of("old"));
    let (first, last) = (*old.first().unwrap(), *old.last().unwrap());
    let missed: Vec<i64> = (first..=last).filter(|time| !old.contains(time) || !mem.contains(time)).collect();
    println!(
        "docker: hung, killed, replaced by nonsense ({n} connections), back: {} gathers, {} missed; named {back:.1?} after the return; {:.1} then {:.1} MB RSS\n{}",
        old.len(),
        missed.len(),
        rss as f64 / 1e6,
        rss_after as f64 / 1e6,
        agent.log()
    );
    assert_eq!(missed, [0_i64; 0], "of {first}..={last}");
    assert!(rss_after < rss + (8 << 20), "{rss} became {rss_after}");
    assert!(agent.log().lines().filter(|line| line.contains("docker is")).count() <= 6, "{}", agent.log());
    Ok(())
}

fn hostile() -> Outcome {
    const INJECTION: &str = "x\ninjected,a=b c=1i 1\n,d=\"e\" f=\\";
    let docker = Docker::start()?;
    let server = Influxd::start(Setup::default())?;
    let mut labels = serde_json::Map::new();
    for i in 0..10_000 {
        labels.insert(format!("l{i:05}"), json!(INJECTION));
    }
    let many = docker.run("many", "exec sleep 100000", &json!({"Labels": labels}));
    let mut labels = serde_json::Map::new();
    labels.insert(INJECTION.into(), json!(INJECTION));
    labels.insert("container_name".into(), json!("another"));
    labels.insert("long".into(), json!("y".repeat(64 << 10)));
    labels.insert("z".repeat(64 << 10), json!("1"));
    labels.insert("\u{fffd}\u{0}\u{7f}".into(), json!("\u{0}東京🦀"));
    let env = [format!("HOSTILE={INJECTION}"), format!("LONG={}", "v".repeat(64 << 10))];
    docker.run("odd", "exec sleep 100000", &json!({"Labels": labels, "Env": env}));
    let config = format!(
        "[agent]\ninterval = \"500ms\"\nflush_interval = \"500ms\"\nhostname = \"h\"\n{}tag_env = [\"HOSTILE\", \"LONG\"]\n[[outputs.influxdb]]\nurls = [\"{}\"]\ndatabase = \"metrics\"\n",
        docker.section(),
        server.url()
    );
    let agent = Running::start(&(config + FILE))?;
    wait_for(
        || server.count("metrics", "docker_container_cpu", "usage_total") >= 12,
        LIMIT,
        "points in the database",
    );
    let names = |query: &str, column: usize| -> BTreeSet<String> {
        let rows = server.series("metrics", query);
        let values = rows.iter().flat_map(|row| row["values"].as_array().cloned().unwrap_or_default());
        values.map(|value| value[column].as_str().unwrap_or_default().to_owned()).collect()
    };
    let measurements = names("SHOW MEASUREMENTS", 0);
    let known: BTreeSet<&str> = [
        "docker",
        "docker_container_status",
        "docker_container_mem",
        "docker_container_cpu",
        "docker_container_net",
        "docker_container_blkio",
        "seismograf",
    ]
    .into();
    assert!(measurements.iter().all(|name| known.contains(name.as_str())), "{measurements:?}");
    assert!(measurements.len() >= 6, "{measurements:?}");
    let containers = names("SHOW TAG VALUES FROM \"docker_container_cpu\" WITH KEY = \"container_name\"", 1);
    assert_eq!(containers, ["many".to_owned(), "odd".to_owned()].into());
    let keys = names("SHOW TAG KEYS FROM \"docker_container_status\"", 0);
    let longest = keys.iter().map(String::len).max().unwrap_or(0);
    // cpu-total and each CPU of two containers: a series more would be one that a label made.
    let n_cpus = std::thread::available_parallelism().unwrap().get();
    let series = names("SHOW SERIES FROM \"docker_container_cpu\"", 0).len();
    println!(
        "docker: hostile: {} measurements, {series} series of CPU time, {} tag keys, the longest {longest} bytes",
        measurements.len(),
        keys.len()
    );
    assert_eq!(series, 2 * (1 + n_cpus));
    assert!(keys.len() > 100 && keys.len() < 300, "{}", keys.len());
    assert!(longest <= 1024);
    let log = agent.log();
    assert_eq!(log.matches("too many labels").count(), 1, "{log}");
    assert!(!log.contains("refused") && !log.contains("ERROR"), "{log}");
    let _ = many;
    Ok(())
}
