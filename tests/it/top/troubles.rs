//! Four troubles at once: one burns CPU, one waits for the disk, one is throttled, one loses packets.

use std::time::{Duration, Instant};

use seismograf::schema::views::view;
use seismograf_tests::cgroup::Cgroup;
use seismograf_tests::netns::{ADDRESSES, Wire};
use seismograf_tests::program::{AttachedProgram, Direction, LOSE};
use seismograf_tests::suite::Outcome;
use seismograf_tests::svg;
use seismograf_tests::work::Worker;
use seismograf_tests::{needs, pause, run};

use super::{SIZE, SOON, Top, repository};

/// Each trouble: whose row is first in which column, and the title of the value that says why.
const TROUBLES: [(&str, &str, &str); 4] = [
    // It burns more than there is, so its tasks stand still for a CPU.
    ("/shop/report", "cpu", "PSI cpu"),
    ("/shop/db", "psi_io", "PSI io"),
    ("/shop/cache", "throttled", "THROT%"),
    ("/shop/mail", "retransmits", "RETR%"),
];

/// How long one may take to be seen, in seconds.
const LIMIT: f64 = 5.0;

pub(super) fn four_troubles_are_marked_and_said() -> Outcome {
    needs(&["ip", "nsenter", "sysctl", "ethtool", "dd"])?;
    let cgroups = ["report", "db", "cache", "mail", "web", "mail-receiver"]
        .map(|name| Cgroup::at(&format!("/shop/{name}")));
    let [report, db, cache, mail, web, receiver] = &cgroups;
    let wire = Wire::new();
    wire.offload(false);
    let mut workers = work(report, db, cache, web);
    let address = format!("{}:9021", ADDRESSES[1]);
    workers.push(Worker::start(receiver, &wire.names[1], &["tcp-receive", &address]));
    workers.last_mut().unwrap().go();
    workers.push(Worker::start(mail, &wire.names[0], &["tcp-send", &address, "100000000000"]));
    let disk = Disk::new();
    workers.extend((0..4).map(|_| Worker::start(db, "", &["read", &disk.path(), "4096", "1000000000"])));
    workers.iter_mut().for_each(Worker::go);
    // Each loses one packet of a hundred, counted from when it came: together they lose several.
    let lines = (0..4).map(|_| AttachedProgram::policy(&receiver.unified(), LOSE, Direction::In));
    let _lines = lines.collect::<Result<Vec<_>, _>>()?;
    let top = Top::start(SIZE, "LC_ALL=C.UTF-8", "--filter /shop/")?;
    top.wait_for_rows("all rows", |rows| rows.len() == cgroups.len());
    let mut column = None;
    for (row, key, title) in TROUBLES {
        if key.starts_with("psi_") && !db.unified().join("io.pressure").exists() {
            println!("top: this kernel has no pressure stall information of cgroups: {key} is not looked at");
            continue;
        }
        column = Some(sort_by(&top, column, key));
        let since = Instant::now();
        // First in its column, marked, and the foot says why, of the row that is selected.
        let is_so = || {
            let (rows, foot) = (top.rows(), top.terminal.lines(&[]).pop()?);
            let first =
                rows.into_iter().next().filter(|first| first.contains(row) && first[..3].contains('!'))?;
            (foot.contains(&format!("{row}:")) && foot.contains(title)).then_some((first, foot))
        };
        let shown = std::iter::repeat_with(is_so).find_map(|shown| {
            assert!(
                since.elapsed() < SOON,
                "{row} is not first and marked in {key}:\n{}",
                top.terminal.text()
            );
            pause(Duration::from_millis(50));
            shown
        });
        let (first, foot) = shown.unwrap();
        let seconds = since.elapsed().as_secs_f64();
        println!("top: {key}, after {seconds:.1} s: {first}\n  {foot}");
        assert!(seconds < LIMIT, "{seconds} s");
        if row == "/shop/db" {
            // Its reads by how long they took, from the kernel's own histogram.
            top.terminal.press(&["Enter"]);
            top.wait_for("reads, p99 ");
            println!("top: in detail:\n{}", top.terminal.text());
            top.terminal.press(&["Escape"]);
            top.wait_for("NAME");
        }
    }
    top.terminal.press(&["b"]);
    picture(&top);
    top.terminal.press(&["q"]);
    top.wait_for("exit 0");
    Ok(())
}

/// Those that burn, are throttled, and do little.
fn work(report: &Cgroup, db: &Cgroup, cache: &Cgroup, web: &Cgroup) -> Vec<Worker> {
    let n_cpus = std::thread::available_parallelism().unwrap().get();
    // More than there are CPUs for, so that some always wait.
    let mut workers: Vec<Worker> =
        (0..n_cpus + 2).map(|_| Worker::start(report, "", &["spin", "300000"])).collect();
    let v1 = cache.file("cpu", "cpu.cfs_quota_us");
    if v1.exists() {
        std::fs::write(v1, "10000").unwrap();
    } else {
        std::fs::write(cache.file("cpu", "cpu.max"), "10000 100000").unwrap();
    }
    workers.push(Worker::start(cache, "", &["spin", "300000"]));
    workers.push(Worker::start(web, "", &["switch", "300000", "2000"]));
    workers.push(Worker::start(db, "", &["idle", "300000"]));
    workers
}

/// A file on a disk, read past the page cache.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Self {
        let disk = Self(tempfile::tempdir_in("/var/tmp").unwrap());
        run(
            "dd",
            &[
                "if=/dev/zero",
                &format!("of={}", disk.path()),
                "bs=1M",
                "count=64",
                "conv=fsync",
                "status=none",
            ],
        );
        disk
    }

    fn path(&self) -> String {
        self.0.path().join("image").display().to_string()
    }
}

/// Presses the key for the next column as often as it takes; `from` is the place of the one before.
fn sort_by(top: &Top, from: Option<usize>, key: &str) -> usize {
    let view = view("all").unwrap();
    let to = view.column(key).unwrap();
    let n = view.columns().count();
    let steps = from.map_or(to + 1, |from| (to + n - from) % n);
    for _ in 0..steps {
        top.terminal.enter(">");
    }
    let title = view.columns().nth(to).unwrap().title;
    top.wait_for(title);
    to
}

/// The picture of the README, when it is asked for.
fn picture(top: &Top) {
    top.wait_for_rows("the busiest first", |rows| rows.first().is_some_and(|first| first.contains("/shop/")));
    top.terminal.resize((120, 11));
    let bars = |row: &String| row.chars().filter(|c| ('▁'..='█').contains(c)).count();
    top.wait_for_rows("sparklines", |rows| rows.len() >= 6 && rows.iter().any(|row| bars(row) >= 10));
    let picture = svg::of_terminal(&top.terminal.lines(&["-e"]), 120);
    assert!(picture.starts_with("<svg") && picture.contains("/shop/report") && picture.ends_with("</svg>\n"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(repository("docs/top.svg"), picture).unwrap();
    }
}
