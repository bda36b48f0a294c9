//! An agent that is killed and started again, at random, under load: what its totals are then.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use libtest_mimic::Trial;
use seismograf_tests::cgroup::Cgroup;
use seismograf_tests::disk::LoopDisk;
use seismograf_tests::mount::Mount;
use seismograf_tests::netns::{ADDRESSES, INTERFACE, Wire};
use seismograf_tests::running::{Running, int, time};
use seismograf_tests::suite::Outcome;
use seismograf_tests::work::Worker;
use seismograf_tests::{agent_binary, needs, number, oracle, pause, run, trial, wait_for};

/// Bytes of an IPv4 and a UDP header.
const UDP_HEADERS: u64 = 28;
/// Bytes of a datagram's content.
const SIZE: u64 = 300;
/// How many times the agent is killed; the variable says more.
const KILLS: (&str, u64) = ("SEISMOGRAF_RESTARTS", 5);
/// Up to how long after it was started.
const MOST_MS: u64 = 1_500;
const LIMIT: Duration = Duration::from_secs(30);

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("restart::with_pins_totals_are_the_kernels_own", with_pins),
        trial("restart::with_a_statefile_no_total_goes_down", with_a_statefile),
        trial("restart::without_either_cpu_and_blocks_go_on", without_either),
        trial("restart::pins_that_cannot_be_taken_over_are_replaced", replaced),
        trial("restart::a_reload_takes_the_place_of_the_pins", reloaded),
        trial("restart::a_reload_with_other_options_loses_nothing", reloads),
    ]
}

/// What is written down of each gather.
fn config(ebpf: &str, statefile: &str) -> String {
    format!(
        r#"
[agent]
  interval = "200ms"
  round_interval = false
  flush_interval = "100ms"
  hostname = "h"
  statefile = "{statefile}"
  buffer_strategy = "disk"
  buffer_directory = "{{directory}}/spool"
[[outputs.file]]
  files = ["{{points}}"]
[[inputs.ebpf]]
  cgroupfs = []
{ebpf}
"#
    )
}

/// Work in cgroups of three containers, and in short-lived ones, until it is stopped.
struct Load {
    cgroups: [Cgroup; 3],
    disk: LoopDisk,
    wire: Wire,
}

/// What was done.
struct Done {
    written: u64,
    writes: u64,
    packets: u64,
    /// The short-lived cgroups: path, packets and CPU time.
    short: Vec<(String, u64, u64)>,
}

impl Load {
    fn new() -> Self {
        let id = |n: u64| format!("{n:x}").repeat(64);
        let uid = "01234567-0123-0123-0123-0123456789ab";
        let cgroups = [10, 11, 12].map(|n| Cgroup::of_container("restart", uid, &id(n)));
        let load = Self { cgroups, disk: LoopDisk::new(), wire: Wire::new() };
        load.cgroups[1].count_written_bytes(&load.disk.numbers());
        load
    }

    /// Works while `meanwhile` runs.
    fn during(&self, meanwhile: impl FnOnce()) -> Done {
        let file = self.disk.file("data", 8);
        let to = format!("{}:9000", ADDRESSES[1]);
        let size = SIZE.to_string();
        let stop = AtomicBool::new(false);
        let goes_on = || !stop.load(Ordering::Relaxed);
        let [cpu, disk, net] = &self.cgroups;
        let netns = &self.wire.names[0];
        let sink = Cgroup::new("restart-sink");
        let mut receiver =
            Worker::start(&sink, &self.wire.names[1], &["udp-receive", &to, &size, "100000000"]);
        receiver.go();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while goes_on() {
                    Worker::start(cpu, "", &["spin", "150"]).run();
                }
            });
            let written = scope.spawn(|| {
                let (mut bytes, mut writes) = (0, 0);
                while goes_on() {
                    bytes += Worker::start(disk, "", &["write", &file, "4096", "500"]).run();
                    writes += 500;
                }
                (bytes, writes)
            });
            let packets = scope.spawn(|| {
                let mut n = 0;
                while goes_on() {
                    n += Worker::start(net, netns, &["udp-send", &to, &size, "1000", "1"]).run();
                }
                n
            });
            let short = scope.spawn(|| {
                let mut short = Vec::new();
                while goes_on() {
                    let cgroup = Cgroup::new(&format!("restart-{}", short.len()));
                    let n = Worker::start(&cgroup, netns, &["udp-send", &to, &size, "50", "1"]).run();
                    short.push((cgroup.path(), n, cgroup.cpu_ns()));
                    cgroup.remove();
                }
                short
            });
            meanwhile();
            stop.store(true, Ordering::Relaxed);
            let ((written, writes), packets) = (written.join().unwrap(), packets.join().unwrap());
            Done { written, writes, packets, short: short.join().unwrap() }
        })
    }
}

/// Kills the agent and starts it again, each time after a random while.
fn kills(agent: &mut Running, what: &str) {
    let n = number(KILLS.0, KILLS.1);
    let seed = number("SEISMOGRAF_SEED", fastrand::u64(..));
    println!("restart: {what}: seed {seed}, {n} kills");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..n {
        pause(Duration::from_millis(random.u64(0..MOST_MS)));
        agent.kill();
        agent.resume();
    }
}

/// Waits for the points of a gather that began after this call, and of the one after it.
fn next_gather(agent: &Running) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    let is_later = || {
        let lines = agent.lines("seismograf,host=h,part=ring");
        lines.iter().filter(|line| u128::try_from(time(line)).unwrap() > now).count() >= 2
    };
    wait_for(is_later, LIMIT, "a gather");
}

/// The totals of each series and field, in the order of their times.
fn totals(agent: &Running, is_checked: impl Fn(&str) -> bool) -> BTreeMap<String, Vec<(i64, i64)>> {
    const FIELDS: [(&str, &[&str]); 3] = [
        ("_cpu,", &["usage_ns", "context_switches"]),
        ("_blkio,", &["read_bytes", "write_bytes", "reads", "writes", "write_time_ns"]),
        ("_net,", &["rx_bytes", "rx_packets", "tx_bytes", "tx_packets"]),
    ];
    let mut totals: BTreeMap<String, Vec<(i64, i64)>> = BTreeMap::new();
    for line in agent.lines("") {
        let (series, _) = line.split_once(' ').unwrap();
        let fields =
            FIELDS.iter().find(|(area, _)| series.contains(area)).map_or(&[][..], |(_, fields)| fields);
        for field in fields {
            let name = format!("{series} {field}");
            if let Some(value) = int(&line, field).filter(|_| is_checked(&name)) {
                totals.entry(name).or_default().push((time(&line), value));
            }
        }
    }
    totals.values_mut().for_each(|totals| totals.sort_unstable());
    totals
}

/// Asserts that no total is lower than one before it.
fn assert_monotonic(agent: &Running, is_checked: impl Fn(&str) -> bool) {
    let totals = totals(agent, is_checked);
    let (mut n, mut lower) = (0, Vec::new());
    for (series, totals) in &totals {
        n += totals.len();
        let steps = totals.windows(2).filter(|pair| pair[1].1 < pair[0].1);
        lower.extend(steps.map(|pair| format!("{series}: {pair:?}")));
    }
    println!(
        "restart: {n} totals of {} series and fields, {} lower than one before",
        totals.len(),
        lower.len()
    );
    assert!(n > 10, "there is nothing to compare");
    assert!(lower.is_empty(), "{}\n{}", lower.join("\n"), agent.log());
}

fn last(agent: &Running, measurement: &str, path: &str, field: &str) -> u64 {
    agent.count(&format!("{measurement},cgroup={path},"), field)
}

/// Kernel and agent, of CPU time, bytes written and bytes sent.
fn compare(agent: &Running, load: &Load, done: &Done, before: &Before) {
    let [cpu, disk, net] = &load.cgroups;
    let (kernel, ours) = (cpu.cpu_ns(), last(agent, "cgroup_cpu", &cpu.path(), "usage_ns"));
    let percent = 100.0 * ours as f64 / kernel as f64;
    println!("restart: CPU time {ours} of {kernel} ns: {percent:.4} %");
    assert!((99.9..100.1).contains(&percent), "{percent} %");
    let written = last(agent, "cgroup_blkio", &disk.path(), "write_bytes");
    let writes = last(agent, "cgroup_blkio", &disk.path(), "writes");
    let charged = disk.written_bytes(&load.disk.numbers());
    println!(
        "restart: {written} bytes in {writes} writes; {} in {} were written, {charged} the kernel charged",
        done.written, done.writes
    );
    let sent = last(agent, "cgroup_net", &net.path(), "tx_bytes");
    let packets = last(agent, "cgroup_net", &net.path(), "tx_packets");
    let short: u64 = done.short.iter().map(|(_, packets, _)| packets).sum();
    let wire = oracle::interface(&load.wire.proc(0, "net/dev"), INTERFACE)[2] - before.wire_packets;
    println!(
        "restart: {sent} bytes in {packets} packets; {} were sent, {short} more by short-lived cgroups, {wire} on the wire",
        done.packets
    );
    assert_eq!([packets, sent], [done.packets, done.packets * (SIZE + UDP_HEADERS)]);
    assert_eq!(wire, done.packets + short);
    // What no program is called for is in no row.
    let missed = done.written.abs_diff(written) as f64 / done.written as f64;
    assert!(missed <= 0.001 && written <= done.written, "{written} of {}", done.written);
}

/// Of the wire.
struct Before {
    wire_packets: u64,
}

fn before(load: &Load) -> Before {
    Before { wire_packets: oracle::interface(&load.wire.proc(0, "net/dev"), INTERFACE)[2] }
}

/// The short-lived cgroups whose last point has all that they did.
fn compare_short(agent: &Running, done: &Done) {
    let (mut whole, mut ours, mut kernel) = (0, 0, 0);
    for (path, packets, cpu_ns) in &done.short {
        let found = last(agent, "cgroup_net", path, "tx_packets");
        whole += usize::from(found == *packets);
        if found != *packets {
            println!("restart: {path} has {found} packets of {packets}");
        }
        ours += last(agent, "cgroup_cpu", path, "usage_ns");
        kernel += cpu_ns;
    }
    println!(
        "restart: {whole} of {} short-lived cgroups have all their packets, and {:.3} % of their CPU time",
        done.short.len(),
        100.0 * ours as f64 / kernel as f64
    );
    assert_eq!(whole, done.short.len());
}

fn with_pins() -> Outcome {
    needs(&["ip", "nsenter", "sysctl", "losetup", "mkfs.ext4"])?;
    let (load, bpf) = (Load::new(), Mount::bpf());
    let pins = bpf.path().join("seismograf");
    let ebpf = format!("  pin = true\n  pin_path = \"{}\"", pins.display());
    let mut agent = Running::start(&config(&ebpf, "{directory}/state"))?;
    next_gather(&agent);
    let before = before(&load);
    let done = load.during(|| kills(&mut agent, "with pins"));
    next_gather(&agent);
    let taken_over = agent.log().matches("goes on with the pinned probes").count();
    println!("restart: pins were taken over {taken_over} times");
    assert!(taken_over > 0, "{}", agent.log());
    assert_monotonic(&agent, |_| true);
    compare(&agent, &load, &done, &before);
    compare_short(&agent, &done);
    Ok(())
}

fn with_a_statefile() -> Outcome {
    needs(&["ip", "nsenter", "sysctl", "losetup", "mkfs.ext4"])?;
    let load = Load::new();
    let mut agent = Running::start(&config("", "{directory}/state"))?;
    next_gather(&agent);
    load.during(|| kills(&mut agent, "with a statefile"));
    next_gather(&agent);
    assert_monotonic(&agent, |_| true);
    Ok(())
}

fn without_either() -> Outcome {
    needs(&["ip", "nsenter", "sysctl", "losetup", "mkfs.ext4"])?;
    let load = Load::new();
    let mut agent = Running::start(&config("", ""))?;
    next_gather(&agent);
    load.during(|| kills(&mut agent, "without a statefile"));
    next_gather(&agent);
    let [cpu, disk, net] = load.cgroups.each_ref().map(Cgroup::path);
    // What the kernel keeps a sum of.
    let kept = ["usage_ns", "read_bytes", "write_bytes", "reads", "writes"];
    let is_kept = |name: &str| {
        let is_ours = [&cpu, &disk, &net].iter().any(|path| name.contains(*path));
        is_ours && !name.contains("_net,") && kept.iter().any(|field| name.ends_with(&format!(" {field}")))
    };
    assert_monotonic(&agent, is_kept);
    Ok(())
}

/// Pins of another version, damaged ones, and what is no place for pins.
fn replaced() -> Outcome {
    needs(&[])?;
    let bpf = Mount::bpf();
    let pins = bpf.path().join("seismograf");
    let pinned =
        |probes: &str| format!("  probes = [{probes}]\n  pin = true\n  pin_path = \"{}\"", pins.display());
    let both = pinned("\"cpu\", \"net\"");
    let mut agent = Running::start(&config(&both, "{directory}/state"))?;
    next_gather(&agent);
    let layout = || {
        let names = std::fs::read_dir(&pins).unwrap().map(|entry| entry.unwrap().file_name());
        let names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        let [name] = <[String; 1]>::try_from(names).unwrap();
        name
    };
    let first = layout();
    let restarts = |agent: &mut Running, says: &str| {
        agent.kill();
        let before = agent.log().len();
        agent.resume();
        next_gather(agent);
        let log = agent.log()[before..].to_owned();
        println!(
            "restart: {}",
            log.lines().find(|line| line.contains(says)).unwrap_or_else(|| panic!("{says}: {log}"))
        );
    };
    restarts(&mut agent, "goes on with the pinned probes");
    assert_eq!(layout(), first);
    // The same number as in the name of another version: a link of somebody else, or one that is gone.
    // Whichever form of the program this kernel takes.
    let mut links = std::fs::read_dir(pins.join(&first)).unwrap().flatten().map(|entry| entry.path());
    let is_egress = |path: &std::path::PathBuf| path.to_string_lossy().contains("/link_net_egress");
    std::fs::remove_file(links.find(is_egress).expect("a link of the network")).unwrap();
    restarts(&mut agent, "somebody else has changed");
    assert_ne!(layout(), first);
    // Killed while it pinned them.
    std::fs::create_dir(pins.join("seismograf_new")).unwrap();
    restarts(&mut agent, "goes on with the pinned probes");
    // Another version.
    let (version, objects) = {
        let name = layout();
        let (version, objects) = name.split_once('-').unwrap();
        (version.to_owned(), objects.to_owned())
    };
    let other = version.chars().rev().collect::<String>();
    std::fs::rename(pins.join(layout()), pins.join(format!("{other}-{objects}"))).unwrap();
    restarts(&mut agent, "is of another version than");
    assert_monotonic(&agent, |_| true);
    // The statefile of another agent.
    std::fs::remove_file(agent.directory().join("state")).unwrap();
    restarts(&mut agent, "the statefile has nothing of what");
    // A second agent, and somebody who looks.
    let name = layout();
    let mut second = Running::start(&config(&both, "{directory}/state"))?;
    assert!(!second.ended());
    let log = second.log();
    assert!(log.contains("another agent is at work with the pins in"), "{log}");
    let conf = agent.directory().join("agent.conf");
    run(agent_binary()?.to_str().unwrap(), &["dump", "--config", conf.to_str().unwrap(), "--count", "1"]);
    assert_eq!(layout(), name);
    // They stay when it is stopped; an agent that pins nothing removes them.
    assert!(agent.stop().0);
    assert_eq!(layout(), name);
    let without = Running::start(&config(&format!("  pin_path = \"{}\"", pins.display()), ""))?;
    without.wait_for_log("removed the pinned probes");
    assert_eq!(std::fs::read_dir(&pins).unwrap().count(), 0);
    for (section, says) in [
        ("  pin = true\n  pin_path = \"/tmp/seismograf-pins\"", "is on no BPF file system"),
        (pinned("\"cpu\"").as_str(), "needs a `statefile`"),
    ] {
        let statefile = if says.contains("statefile") { "" } else { "{directory}/state" };
        let mut refused = Running::start(&config(section, statefile))?;
        assert!(!refused.ended());
        let log = refused.log();
        println!(
            "restart: {}",
            log.lines().find(|line| line.contains(says)).unwrap_or_else(|| panic!("{log}"))
        );
    }
    Ok(())
}

/// Reloads with another text in the configuration.
fn change(agent: &Running, from: &str, to: &str) {
    let conf = agent.directory().join("agent.conf");
    let text = std::fs::read_to_string(&conf).unwrap();
    assert!(text.contains(from), "{from}: {text}");
    std::fs::write(&conf, text.replace(from, to)).unwrap();
    let n = agent.log().matches("reloaded").count();
    agent.reload();
    wait_for(|| agent.log().matches("reloaded").count() > n, LIMIT, "the reload");
    next_gather(agent);
}

/// What is counted between the last gather of the one input and the first of the next, also where the kernel is asked for
/// something else.
fn reloads() -> Outcome {
    /// Reloads of a kind.
    const N: u64 = 6;
    needs(&["ip", "nsenter", "sysctl", "losetup", "mkfs.ext4"])?;
    for (has_other_probes, [one, other]) in [
        (false, ["  cgroupfs = []", "  cgroupfs = [\"mem\"]"]),
        (true, ["  probe_costs = false", "  probe_costs = true"]),
    ] {
        let load = Load::new();
        let text = config("  probe_costs = false", "{directory}/state");
        let agent = Running::start(&text.replace("[agent]", "[agent]\n  privileges = \"keep\""))?;
        next_gather(&agent);
        let before = before(&load);
        let done = load.during(|| {
            for _ in 0..N / 2 {
                change(&agent, one, other);
                change(&agent, other, one);
            }
        });
        next_gather(&agent);
        assert_monotonic(&agent, |_| true);
        if has_other_probes {
            // Some three packets a millisecond, and a moment of each reload is in neither of the two.
            let packets = last(&agent, "cgroup_net", &load.cgroups[2].path(), "tx_packets");
            println!("restart: {packets} of {} packets after {N} reloads with other probes", done.packets);
            assert!(packets.abs_diff(done.packets) <= done.packets / 500, "{packets} of {}", done.packets);
        } else {
            compare(&agent, &load, &done, &before);
        }
    }
    Ok(())
}

/// A reload with other options takes the place of the pins, and totals go on.
fn reloaded() -> Outcome {
    needs(&[])?;
    let bpf = Mount::bpf();
    let pins = bpf.path().join("seismograf");
    let ebpf = |more: &str| format!("  pin = true\n  pin_path = \"{}\"\n{more}", pins.display());
    // Other probes take the privileges that the agent otherwise gives up.
    let text = config(&ebpf(""), "{directory}/state").replace("[agent]", "[agent]\n  privileges = \"keep\"");
    let agent = Running::start(&text)?;
    next_gather(&agent);
    let change = |from: &str, to: &str| change(&agent, from, to);
    let is_pinned = || std::fs::read_dir(&pins).unwrap().count() == 1;
    assert!(is_pinned());
    change("  pin = true", "  probe_costs = true\n  pin = true");
    assert!(is_pinned());
    change("  pin = true", "  pin = false");
    wait_for(|| !is_pinned(), LIMIT, &agent.log());
    change("  pin = false", "  pin = true");
    wait_for(is_pinned, LIMIT, &agent.log());
    Ok(())
}
