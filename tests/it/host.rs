//! The host inputs on this machine, against readings of the test's own and what the system's tools say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::process::{Child, Command};
use std::time::Duration;

use libtest_mimic::Trial;
use seismograf_tests::agent::{Agent, Point};
use seismograf_tests::cgroup::{Cgroup, Layout};
use seismograf_tests::netns::{ADDRESSES, INTERFACE, Wire};
use seismograf_tests::suite::Outcome;
use seismograf_tests::work::Worker;
use seismograf_tests::{agent_binary, gather, needs, oracle, run, trial, wait_for};
use serde_json::Value;

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("host::counters_lie_between_two_readings", counters_lie_between_two_readings),
        trial("host::sizes_are_what_the_tools_say", sizes_are_what_the_tools_say),
        trial("host::processes_are_counted_by_state", processes_are_counted_by_state),
        trial("host::a_write_is_seen_on_its_disk", a_write_is_seen_on_its_disk),
        trial("host::interfaces_of_a_namespace_and_of_the_host", interfaces_of_a_namespace_and_of_the_host),
        trial("host::files_of_a_cgroup", files_of_a_cgroup),
        trial("host::what_a_gather_costs", what_a_gather_costs),
    ]
}

const INTERVAL_MS: u64 = 300;

/// Starts the agent with these inputs and their options.
fn start(inputs: &[(&str, &str)]) -> Result<Agent, seismograf_tests::Skip> {
    let sections: Vec<_> =
        inputs.iter().map(|(name, options)| format!("[[inputs.{name}]]\n{options}\n")).collect();
    Agent::start_inputs(&sections.concat(), INTERVAL_MS)
}

/// The only point of a measurement that has these tags.
fn point(agent: &Agent, measurement: &str, tags: &[(&str, &str)]) -> Point {
    let point = agent.point(measurement, tags);
    point.unwrap_or_else(|| panic!("no {measurement} with {tags:?}; the log:\n{}", agent.log()))
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The first number after a name at the start of a line.
fn after(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// Counters of the machine, each by measurement, tags and field as the agent has it.
type Counters = BTreeMap<(&'static str, Vec<(&'static str, String)>, &'static str), f64>;

fn read_counters() -> Counters {
    let mut counters = Counters::new();
    let stat = read("/proc/stat");
    for line in stat.lines().filter(|line| line.starts_with("cpu")) {
        let (name, columns) = line.split_once(' ').unwrap();
        let cpu = if name == "cpu" { "cpu-total" } else { name };
        let ticks: Vec<f64> = columns.split_whitespace().map(|column| column.parse().unwrap()).collect();
        let fields = ["time_user", "time_nice", "time_system", "time_idle"];
        for (field, ticks) in fields.into_iter().zip(ticks) {
            counters.insert(("cpu", vec![("cpu", cpu.to_owned())], field), ticks / 100.0);
        }
    }
    let names = [("intr", "interrupts"), ("ctxt", "context_switches"), ("processes", "processes_forked")];
    for (name, field) in names {
        counters.insert(("kernel", vec![], field), after(&stat, name).unwrap() as f64);
    }
    let vmstat = read("/proc/vmstat");
    for (name, field) in [("pswpin", "in"), ("pswpout", "out")] {
        counters.insert(("swap", vec![], field), after(&vmstat, name).unwrap_or(0) as f64 * 4096.0);
    }
    for line in read("/proc/diskstats").lines() {
        let columns: Vec<&str> = line.split_whitespace().collect();
        if columns[3..].iter().all(|column| *column == "0") {
            continue;
        }
        let disk = oracle::disk(columns[2]);
        let tags = vec![("name", columns[2].to_owned())];
        for (field, count) in [
            ("reads", disk.reads),
            ("read_bytes", disk.read_bytes),
            ("writes", disk.writes),
            ("write_bytes", disk.write_bytes),
        ] {
            counters.insert(("diskio", tags.clone(), field), count as f64);
        }
    }
    for link in links() {
        for (field, direction, count) in [
            ("bytes_recv", "rx", "bytes"),
            ("packets_recv", "rx", "packets"),
            ("bytes_sent", "tx", "bytes"),
            ("packets_sent", "tx", "packets"),
        ] {
            let count = link["stats64"][direction][count].as_f64().unwrap();
            let name = link["ifname"].as_str().unwrap().to_owned();
            counters.insert(("net", vec![("interface", name)], field), count);
        }
    }
    for (resource, path) in [("cpu", "/proc/pressure/cpu"), ("io", "/proc/pressure/io")] {
        if let Ok(text) = fs::read_to_string(path) {
            let total = text.lines().next().unwrap().split_once("total=").unwrap().1;
            let tags = vec![("resource", resource.to_owned()), ("type", "some".to_owned())];
            counters.insert(("pressure", tags, "total"), total.parse().unwrap());
        }
    }
    counters
}

/// Interfaces as `ip -s link` has them.
fn links() -> Vec<Value> {
    serde_json::from_str(&run("ip", &["-s", "-j", "link", "show"])).unwrap()
}

fn counters_lie_between_two_readings() -> Outcome {
    needs(&["ip"])?;
    let psi = if fs::exists("/proc/pressure").unwrap() { "collect = [\"psi\"]" } else { "" };
    let agent = start(&[
        ("cpu", "collect_cpu_time = true"),
        ("kernel", psi),
        ("swap", ""),
        ("diskio", ""),
        ("net", "interfaces = [\"*\"]"),
    ])?;
    let before = read_counters();
    agent.next_gather();
    let points: Vec<_> = ["cpu", "kernel", "swap", "diskio", "net", "pressure"]
        .into_iter()
        .flat_map(|measurement| agent.points(measurement))
        .collect();
    let after = read_counters();
    let mut compared = BTreeMap::<&str, usize>::new();
    for ((measurement, tags, field), before) in &before {
        let key = (*measurement, tags.clone(), *field);
        // What is gone by now, such as the interface of a container, is skipped.
        let Some(after) = after.get(&key) else { continue };
        let has = |point: &&Point| {
            point.measurement == *measurement && tags.iter().all(|(key, value)| point.tag(key) == value)
        };
        let point = points.iter().find(has).unwrap_or_else(|| panic!("no point for {key:?}"));
        let sample = point.float(field);
        // Idle time of a CPU can run backwards by a tick: proc(5) `stat`.
        let slack = if *measurement == "cpu" { 0.011 } else { 0.0 };
        assert!(
            *before - slack <= sample && sample <= *after + slack,
            "{key:?}: {sample} is not between {before} and {after}"
        );
        *compared.entry(*measurement).or_default() += 1;
    }
    println!("host: counters compared, by measurement: {compared:?}");
    for measurement in ["cpu", "kernel", "swap", "diskio", "net"] {
        assert!(compared.contains_key(measurement), "nothing of {measurement} was compared");
    }
    Ok(())
}

/// Within this share of the whole, for what other processes change all the time.
fn is_near(sample: f64, expected: f64, share: f64, whole: f64) -> bool {
    (sample - expected).abs() <= share * whole
}

fn sizes_are_what_the_tools_say() -> Outcome {
    needs(&["free", "df"])?;
    let agent = start(&[("swap", ""), ("disk", ""), ("system", ""), ("kernel", "collect = [\"ksm\"]")])?;
    let load =
        || read("/proc/loadavg").split(' ').take(3).map(|load| load.parse().unwrap()).collect::<Vec<f64>>();
    let free = || run("free", &["--bytes", "--wide"]);
    let free_before = free();
    let (load_before, df) =
        (load(), run("df", &["--all", "--output=target,size,used,avail,itotal,iused", "-B1"]));
    agent.next_gather();
    let (mem, swap, system) =
        (point(&agent, "mem", &[]), point(&agent, "swap", &[]), point(&agent, "system", &[]));
    let load_after = load();

    let free_after = free();
    let row = |free: &str, name| -> Vec<i64> {
        let line = free.lines().find_map(|line: &str| line.strip_prefix(name)).unwrap();
        line.split_whitespace().map(|column| column.parse().unwrap()).collect()
    };
    // total, used, free, shared, buffers, cache, available
    let rows = [row(&free_before, "Mem:"), row(&free_after, "Mem:")];
    let total = rows[0][0];
    assert_eq!(mem.int("total"), total);
    for (field, column) in [("free", 2), ("shared", 3), ("buffered", 4), ("cached", 5), ("available", 6)] {
        let (reported, before, after) = (mem.int(field), rows[0][column], rows[1][column]);
        println!("host: mem {field}: {reported}, by free {before} before and {after} after it");
        let slack = total / 50;
        let range = before.min(after) - slack..=before.max(after) + slack;
        assert!(range.contains(&reported), "{field}: {reported} is not in {range:?}");
    }
    assert_eq!(mem.int("used"), total - mem.int("available"));
    let row_swap = row(&free_after, "Swap:");
    assert_eq!(swap.int("total"), row_swap[0]);
    assert!(is_near(swap.int("used") as f64, row_swap[1] as f64, 0.01, row_swap[0] as f64));
    assert_eq!(swap.int("used") + swap.int("free"), swap.int("total"));

    let mut compared = 0;
    for line in df.lines().skip(1) {
        let mut columns: Vec<&str> = line.split_whitespace().rev().take(5).collect();
        columns.reverse();
        let numbers: Vec<i64> = columns.iter().filter_map(|column| column.parse().ok()).collect();
        let path = line[..line.find(columns[0]).unwrap()].trim();
        let ([size, used, avail, itotal, iused], Some(disk)) =
            (numbers[..].try_into().unwrap_or([0; 5]), agent.point("disk", &[("path", path)]))
        else {
            continue;
        };
        if size == 0 {
            continue;
        }
        assert_eq!(disk.int("total"), size, "{path}");
        assert_eq!(disk.int("inodes_total"), itotal, "{path}");
        for (field, tool, whole) in
            [("used", used, size), ("free", avail, size), ("inodes_used", iused, itotal)]
        {
            let sample = disk.int(field);
            assert!(
                is_near(sample as f64, tool as f64, 0.02, whole as f64),
                "{path}: {field}: {sample} and not {tool}"
            );
        }
        compared += 1;
    }
    println!("host: {compared} file systems are as df has them");
    assert!(compared >= 1, "no file system was compared:\n{df}");

    for (i, field) in ["load1", "load5", "load15"].into_iter().enumerate() {
        let sample = system.float(field);
        assert!(
            sample == load_before[i] || sample == load_after[i] || load_before[i] != load_after[i],
            "{field}: {sample}"
        );
    }
    let online = fs::read_dir("/sys/devices/system/cpu").unwrap().flatten().filter(|entry| {
        let name = entry.file_name().into_string().unwrap();
        name.strip_prefix("cpu").is_some_and(|number| number.parse::<u32>().is_ok())
    });
    assert_eq!(system.int("n_cpus"), online.count() as i64);
    let uptime: f64 = read("/proc/uptime").split(' ').next().unwrap().parse().unwrap();
    assert!((system.int("uptime") as f64 - uptime).abs() < 2.0 + INTERVAL_MS as f64 / 1e3);

    let kernel = point(&agent, "kernel", &[]);
    for file in ["max_page_sharing", "sleep_millisecs", "stable_node_chains_prune_millisecs", "pages_to_scan"]
    {
        let number: i64 = read(&format!("/sys/kernel/mm/ksm/{file}")).trim().parse().unwrap();
        assert_eq!(kernel.int(&format!("ksm_{file}")), number, "{file}");
    }
    assert_eq!(kernel.int("boot_time"), after(&read("/proc/stat"), "btime").unwrap().cast_signed());
    Ok(())
}

/// A child that is ended when it is dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn processes_are_counted_by_state() -> Outcome {
    needs(&["ps", "sleep", "true"])?;
    let [processes, ebpf] = [("processes", ""), ("ebpf", "probes = []")];
    by_state(&start(&[processes])?);
    by_state(&start(&[processes, ebpf])?);

    let cgroup = Cgroup::new("herd");
    let herd = Worker::start(&cgroup, "", &["herd", &SLEEPERS.to_string()]);
    let files = reads(&start(&[processes])?);
    let (probes, both) = (reads(&start(&[ebpf])?), reads(&start(&[ebpf, processes])?));
    herd.run();
    println!(
        "host: a gather of processes reads {files} times; with probes, where the kernel counts them, {both}, of which {probes} are theirs"
    );
    let sleepers = SLEEPERS.cast_unsigned();
    assert!(files >= sleepers, "{files}");
    assert!(both < probes + sleepers / 2, "{both} with processes, {probes} without");
    Ok(())
}

/// Processes that do nothing.
const SLEEPERS: i64 = 200;

/// How often an agent calls read(2) in a gather, at the least.
fn reads(agent: &Agent) -> u64 {
    let so_far = || after(&read(&format!("/proc/{}/io", agent.pid())), "syscr:").unwrap();
    let of_one = (0..10).map(|_| {
        let start = so_far();
        agent.next_gather();
        so_far() - start
    });
    of_one.min().unwrap()
}

/// Compares what the agent counts to what ps(1) does.
fn by_state(agent: &Agent) {
    /// Others come and go meanwhile, on a machine that is not ours alone.
    const OTHERS: i64 = 25;
    let states = || {
        let mut counts = BTreeMap::new();
        for line in run("ps", &["-e", "-o", "stat=,nlwp="]).lines() {
            let (state, threads) = line.trim().split_once(' ').unwrap();
            *counts.entry(state.chars().next().unwrap()).or_insert(0) += 1;
            *counts.entry('#').or_insert(0) += threads.trim().parse::<i64>().unwrap();
        }
        counts
    };
    let sample = || {
        agent.next_gather();
        point(agent, "processes", &[])
    };
    let compare = |reported: &Point, tool: &BTreeMap<char, i64>| {
        let of = |state| tool.get(&state).copied().unwrap_or(0);
        let total: i64 = tool.iter().filter(|(state, _)| **state != '#').map(|(_, n)| n).sum();
        for (field, expected) in [
            ("total", total),
            ("total_threads", of('#')),
            ("sleeping", of('S')),
            ("idle", of('I')),
            ("zombies", of('Z')),
            ("stopped", of('T') + of('t')),
        ] {
            let reported = reported.int(field);
            println!("host: processes {field}: {reported}, by ps {expected}");
            assert!((reported - expected).abs() <= OTHERS, "{field}: {reported} and not {expected}");
        }
    };
    let before = sample();
    compare(&before, &states());

    let cgroup = Cgroup::new("herd");
    let herd = Worker::start(&cgroup, "", &["herd", &SLEEPERS.to_string()]);
    let _zombie = Ended(Command::new("true").spawn().unwrap());
    let stopped = Ended(Command::new("sleep").arg("600").spawn().unwrap());
    // SAFETY: a system call on our own child, which is not reaped before this.
    assert_eq!(unsafe { libc::kill(stopped.0.id().cast_signed(), libc::SIGSTOP) }, 0);
    let is_stopped = || read(&format!("/proc/{}/stat", stopped.0.id())).contains(") T ");
    wait_for(is_stopped, Duration::from_secs(10), "a child to be stopped");
    let during = sample();
    compare(&during, &states());
    let change = |field: &str| during.int(field) - before.int(field);
    for (field, ours) in [("total", SLEEPERS + 3), ("sleeping", SLEEPERS), ("total_threads", SLEEPERS + 3)] {
        let change = change(field);
        assert!((change - ours).abs() <= OTHERS, "{field} changed by {change} and not {ours}");
    }
    assert!(during.int("zombies") >= 1 && during.int("stopped") >= 1, "{:?}", during.fields);
    assert_eq!(during.int("unknown"), 0);
    herd.run();
}

fn a_write_is_seen_on_its_disk() -> Outcome {
    needs(&[])?;
    const BYTES: usize = 16 << 20;
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let number = {
        use std::os::unix::fs::MetadataExt as _;
        let device = fs::metadata(directory.path()).unwrap().dev();
        format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device))
    };
    let uevent = format!("/sys/dev/block/{number}/uevent");
    let Ok(uevent) = fs::read_to_string(&uevent) else {
        return Err(seismograf_tests::Skip::because("/var/tmp is on no disk"));
    };
    let disk = uevent.lines().find_map(|line| line.strip_prefix("DEVNAME=")).unwrap().to_owned();
    let agent = start(&[("diskio", &format!("devices = [\"/dev/{disk}\"]"))])?;
    agent.next_gather();
    let before = point(&agent, "diskio", &[("name", &disk)]);
    let mut file = fs::File::create(directory.path().join("file")).unwrap();
    file.write_all(&vec![0x33; BYTES]).unwrap();
    file.sync_all().unwrap();
    agent.next_gather();
    let after = point(&agent, "diskio", &[("name", &disk)]);
    let change = |field: &str| after.int(field) - before.int(field);
    println!("host: diskio of {disk}: {} bytes in {} writes", change("write_bytes"), change("writes"));
    assert!(change("write_bytes") >= BYTES as i64, "{}", change("write_bytes"));
    assert!(change("writes") >= 1 && change("write_time") >= 0);
    // A busy millisecond at the edge may be counted in the next interval.
    assert!((0.0..=110.0).contains(&after.float("io_util")));
    assert!(
        agent.points("diskio").iter().all(|point| point.tag("name") == disk),
        "others were requested too"
    );
    Ok(())
}

fn interfaces_of_a_namespace_and_of_the_host() -> Outcome {
    needs(&["ip", "nsenter", "sysctl"])?;
    let wire = Wire::new();
    let [name, _] = &wire.names;
    wire.exec(name, "ip", &["link", "add", "down0", "type", "veth", "peer", "name", "down1"]);
    let sender = Cgroup::new("net-sender");
    let to = format!("{}:9300", ADDRESSES[1]);
    Worker::start(&sender, name, &["udp-send", &to, "300", "1000", "1"]).run();
    let agent = |options: &str, host_proc: Option<&str>| {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{name}")).arg(agent_binary()?);
        if let Some(path) = host_proc {
            command.env("HOST_PROC", path);
        }
        let agent = Agent::spawn_inputs(command, &format!("[[inputs.net]]\n{options}"), INTERVAL_MS);
        agent.next_gather();
        Ok::<_, seismograf_tests::Skip>(agent)
    };
    let interfaces = |agent: &Agent| -> BTreeSet<String> {
        agent.points("net").iter().map(|point| point.tag("interface").to_owned()).collect()
    };
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();

    // Up and no loopback, in the agent's own namespace, and nothing of what its sysfs shows.
    let own = agent("", None)?;
    assert_eq!(interfaces(&own), set(&[INTERFACE]));
    let reported = point(&own, "net", &[("interface", INTERFACE)]);
    let [packets_in, bytes_in, packets_out, bytes_out] =
        oracle::interface(&wire.proc(0, "net/dev"), INTERFACE);
    println!("host: net: {packets_out} packets of {bytes_out} bytes sent over the wire");
    assert!(packets_out >= 1000, "{packets_out}");
    assert_eq!(
        [
            reported.int("packets_recv"),
            reported.int("bytes_recv"),
            reported.int("packets_sent"),
            reported.int("bytes_sent")
        ],
        [packets_in, bytes_in, packets_out, bytes_out].map(u64::cast_signed)
    );
    drop(own);

    // By globs also what is down, and the loopback.
    assert_eq!(interfaces(&agent("interfaces = [\"down*\", \"lo\"]", None)?), set(&["down0", "down1", "lo"]));

    // As in a container with the host's proc: what process 1 has, although the agent is elsewhere.
    // This test itself is where process 1 is.
    let names =
        || links().iter().map(|link| link["ifname"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>();
    let before = names();
    let reported = interfaces(&agent("", Some("/proc"))?);
    let after = names();
    assert!(
        before.intersection(&after).all(|name| reported.contains(name)),
        "{reported:?} lacks some of {before:?}"
    );
    assert!(reported.contains("lo") && !reported.contains(INTERFACE), "{reported:?}");
    Ok(())
}

fn files_of_a_cgroup() -> Outcome {
    needs(&[])?;
    let layout = Layout::read();
    let cgroup = Cgroup::new("files");
    let directory = format!("{}{}", layout.cpu.display(), cgroup.path());
    let (file, field) =
        if layout.is_v1 { ("cpuacct.usage", "cpuacct.usage") } else { ("cpu.stat", "cpu.stat.usage_usec") };
    let sum = || {
        let text = read(&format!("{directory}/{file}"));
        after(&text, if layout.is_v1 { "" } else { "usage_usec" }).unwrap().cast_signed()
    };
    // All files, some of which are only for writing or of no shape, and the one that is compared.
    let pattern = directory.replace("files.", "file?.");
    let agent = start(&[("cgroup", &format!("paths = [\"{pattern}\"]\nfiles = [\"*\"]"))])?;
    Worker::start(&cgroup, "", &["spin", "500"]).run();
    let before = sum();
    agent.next_gather();
    let reported = point(&agent, "cgroup", &[("path", &directory)]);
    println!("host: cgroup: {} fields, {field} {}", reported.fields.len(), reported.int(field));
    assert!(
        (before..=sum()).contains(&reported.int(field)) && before > 0,
        "{} and not {before}",
        reported.int(field)
    );
    let warnings = agent.log();
    agent.next_gather();
    assert_eq!(agent.log(), warnings, "a warning for each file, and not for each gather");
    Ok(())
}

/// A gather of all host inputs with 200 processes may take the agent the CPU time of so many looks at a file.
const GATHER_LOOKS: f64 = 1_000.0;

fn what_a_gather_costs() -> Outcome {
    needs(&[])?;
    let cost = |n_processes: u64| {
        let cost = gather::cost(n_processes);
        let sum: u64 = cost.values().sum();
        let parts: Vec<_> = cost.iter().map(|(name, ns)| format!("{name} {:.0}", *ns as f64 / 1e3)).collect();
        println!(
            "host: a gather with {n_processes} processes: {} us of CPU: {}",
            sum / 1000,
            parts.join(", ")
        );
        (sum, cost["processes"])
    };
    let (few, many) = (cost(200), cost(5_000));
    println!("host: each process more: {} ns", many.1.saturating_sub(few.1) / 4_800);
    let looks = few.0 as f64 / oracle::one_look_ns();
    println!("host: as much as {looks:.0} looks at a file");
    assert!(looks <= GATHER_LOOKS, "{looks} looks");
    Ok(())
}
