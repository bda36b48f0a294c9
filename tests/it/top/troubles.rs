//! Four troubles at once: one burns CPU, one waits for the disk, one is throttled, one loses packets.

use std::time::Instant;

use seismograf::schema::views::view;
use seismograf_tests::cgroup::Cgroup;
use seismograf_tests::netns::{ADDRESSES, Wire};
use seismograf_tests::program::{AttachedProgram, Direction, LOSE};
use seismograf_tests::suite::Outcome;
use seismograf_tests::svg;
use seismograf_tests::work::Worker;
use seismograf_tests::{needs, run};

use super::{SIZE, Top, repository};

/// Each trouble: whose row, the column, and its title.
const TROUBLES: [(&str, &str); 4] = [
    ("/shop/report", "psi_cpu"),
    ("/shop/db", "psi_io"),
    ("/shop/cache", "throttled"),
    ("/shop/mail", "retransmits"),
];

pub(super) fn four_troubles_are_marked_and_said() -> Outcome {
    needs(&["ip", "nsenter", "sysctl", "truncate"])?;
    let cgroups = ["report", "db", "cache", "mail", "web", "mail-receiver"]
        .map(|name| Cgroup::at(&format!("/shop/{name}")));
    let [report, db, cache, mail, web, receiver] = &cgroups;
    let wire = Wire::new();
    // Two of a hundred packets in all.
    let _lines = [0, 1].map(|_| AttachedProgram::policy(&receiver.unified(), LOSE, Direction::In));
    let mut workers = work(report, db, cache, web);
    let address = format!("{}:9021", ADDRESSES[1]);
    workers.push(Worker::start(receiver, &wire.names[1], &["tcp-receive", &address]));
    workers.last_mut().unwrap().go();
    workers.push(Worker::start(mail, &wire.names[0], &["tcp-send", &address, "100000000000"]));
    let disk = Disk::new();
    workers.push(Worker::start(db, "", &["read", &disk.path(), "4096", "1000000000"]));
    workers.iter_mut().for_each(Worker::go);
    let top = Top::start(SIZE, "LC_ALL=C.UTF-8", "--filter /shop/")?;
    top.wait_for_rows("all rows", |rows| rows.len() == cgroups.len());
    let mut column = None;
    for (row, key) in TROUBLES {
        if key.starts_with("psi_") && !db.unified().join("io.pressure").exists() {
            println!("top: this kernel has no pressure stall information of cgroups: {key} is not looked at");
            continue;
        }
        column = Some(sort_by(&top, column, key));
        let since = Instant::now();
        let is_so = |rows: &[String]| {
            rows.first().is_some_and(|first| {
                first.contains(row) && first.starts_with(['!', ' ']) && first[..3].contains('!')
            })
        };
        let rows = top.wait_for_rows(&format!("{row} first and marked in {key}"), is_so);
        let title = view("all").unwrap().columns().find(|column| column.key == key).unwrap().title;
        // The foot says why, of the row that is selected.
        top.wait_for(&format!("{row}:"));
        let foot = top.terminal.lines(&[]).last().unwrap().clone();
        println!("top: {key}, after {:.1} s: {}\n  {foot}", since.elapsed().as_secs_f64(), rows[0]);
        assert!(foot.contains(title), "{foot}");
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
    top.terminal.resize((110, 20));
    let is_drawn =
        |rows: &[String]| rows.len() >= 6 && rows.iter().any(|row| row.contains('▂') || row.contains('█'));
    top.wait_for_rows("sparklines", is_drawn);
    let picture = svg::of_terminal(&top.terminal.lines(&["-e"]), 110);
    assert!(picture.starts_with("<svg") && picture.contains("/shop/report") && picture.ends_with("</svg>\n"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(repository("docs/top.svg"), picture).unwrap();
    }
}
