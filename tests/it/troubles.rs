//! Four troubles at once, for whoever shows them: one burns CPU, one waits for the disk, one is throttled, one loses packets.

use std::time::Duration;

use seismograf_tests::cgroup::Cgroup;
use seismograf_tests::looks::Looks;
use seismograf_tests::netns::{ADDRESSES, Wire};
use seismograf_tests::program::{AttachedProgram, Direction, LOSE};
use seismograf_tests::work::Worker;
use seismograf_tests::{Skip, needs, run};

/// Each: whose row is first in which column, and the title of the value that says why.
pub(crate) const TROUBLES: [(&str, &str, &str); 4] = [
    // It burns more than there is, so its tasks wait for a CPU.
    ("/shop/report", "cpu", "WAIT%"),
    ("/shop/db", "psi_io", "PSI io"),
    ("/shop/cache", "throttled", "THROT%"),
    ("/shop/mail", "retransmits", "RETR%"),
];

/// How long one may take to be seen, in seconds.
const LIMIT: f64 = 5.0;

/// Rows in `/shop`.
const NAMES: [&str; 6] = ["report", "db", "cache", "mail", "web", "mail-receiver"];

/// Those who have them; ended when it is dropped.
pub(crate) struct Troubles {
    // In this order: a cgroup can be removed once nobody is in it.
    workers: Vec<Worker>,
    lines: Vec<AttachedProgram>,
    _disk: Disk,
    _wire: Wire,
    cgroups: [Cgroup; NAMES.len()],
}

impl Troubles {
    /// Makes everything ready; nobody is at work yet.
    ///
    /// # Errors
    /// Skips where something that it takes is missing.
    pub(crate) fn new() -> Result<Self, Skip> {
        needs(&["ip", "nsenter", "sysctl", "ethtool", "dd"])?;
        let cgroups = NAMES.map(|name| Cgroup::at(&format!("/shop/{name}")));
        let [report, db, cache, mail, web, receiver] = &cgroups;
        let (wire, disk) = (Wire::new(), Disk::new());
        wire.offload(false);
        let address = format!("{}:9021", ADDRESSES[1]);
        let receives = Worker::start(receiver, &wire.names[1], &["tcp-receive", &address]);
        // Ended in this order, since a sender complains about a receiver that is gone.
        let mut workers =
            vec![Worker::start(mail, &wire.names[0], &["tcp-send", &address, "100000000000"]), receives];
        workers.extend(work(report, db, cache, web));
        workers.extend(
            (0..4).map(|_| Worker::start(db, "", &["read", &disk.path(), "262144", "1000000000000"])),
        );
        Ok(Self { workers, lines: Vec::new(), _disk: disk, _wire: wire, cgroups })
    }

    /// Those that this kernel can tell: without pressure stall information of cgroups, nobody says who waits for a disk.
    pub(crate) fn told(&self) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
        let has_pressure = self.cgroups[1].unified().join("io.pressure").exists();
        TROUBLES.into_iter().filter(move |(_, key, _)| {
            let is_told = has_pressure || !key.starts_with("psi_");
            if !is_told {
                println!("troubles: this kernel has no pressure stall information of cgroups: no {key}");
            }
            is_told
        })
    }

    /// Has all of them begin.
    ///
    /// # Errors
    /// Skips where there is no program that loses packets.
    pub(crate) fn go(&mut self) -> Result<(), Skip> {
        // Who receives is to be there before who sends.
        self.workers.iter_mut().rev().for_each(Worker::go);
        // Each loses one packet of a hundred, counted from when it came: together they lose several.
        for _ in 0..4 {
            self.lines.push(AttachedProgram::policy(&self.cgroups[5].unified(), LOSE, Direction::In)?);
        }
        Ok(())
    }
}

/// Has somebody show all four, who returns after how many seconds the last was to be seen. Other work of the machine can only make
/// that later, so it is tried up to three times.
///
/// # Errors
/// Those of `show`.
pub(crate) fn seen_soon<T>(mut show: impl FnMut() -> Result<(T, f64), Skip>) -> Result<T, Skip> {
    let mut times = [0.0; 3];
    for time in &mut times {
        let looks = Looks::start(Duration::from_secs(1));
        let (shown, seconds) = show()?;
        let limit = LIMIT * looks.slowness();
        println!("troubles: all are seen after {seconds:.1} s, {limit:.1} at most");
        if seconds < limit {
            return Ok(shown);
        }
        *time = seconds;
    }
    panic!("they are seen after {times:?} s");
}

/// Those that burn, are throttled, and do little.
fn work(report: &Cgroup, db: &Cgroup, cache: &Cgroup, web: &Cgroup) -> Vec<Worker> {
    // More than there are CPUs for, so that some always wait; and on half of those that there are, so that who looks is not kept
    // waiting, too.
    let n_cpus = std::thread::available_parallelism().unwrap().get().div_ceil(2);
    let mut cpus = rustix::thread::CpuSet::new();
    (0..n_cpus).for_each(|cpu| cpus.set(cpu));
    let mut workers: Vec<Worker> =
        (0..n_cpus + 2).map(|_| Worker::start(report, "", &["spin", "300000"])).collect();
    for worker in &workers {
        let pid = rustix::process::Pid::from_raw(worker.pid().cast_signed());
        rustix::thread::sched_setaffinity(pid, &cpus).unwrap();
    }
    cache.limit_cpu(10);
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
