//! `[[inputs.processes]]`: how many processes are in which state.
//!
//! Where `[[inputs.ebpf]]` has its probes, the kernel counts them. Elsewhere it is the one input whose cost grows with the number
//! of processes, because each has a file of its own, proc(5) `PID/stat`: three system calls on paths of two components, and no
//! allocation.

use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::Errno;
use serde::Deserialize;

use super::{GatherError, Gathered, Input, InputPlugin, Shared, StartError};
use crate::host::Host;
use crate::host::proc::pid_stat;
use crate::kernel::processes::{ProcessCounts, ProcessPass};

/// The section `[[inputs.processes]]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {}

/// The input.
#[derive(Debug)]
pub(super) struct Processes {
    proc: PathBuf,
    /// `None` where the kernel would count others than there are in `proc`.
    in_kernel: Option<Arc<Shared>>,
    /// At the gather before.
    latest: Counts,
}

/// So many threads a process, on average, cost as much in the kernel, which goes over them all, as a file of the process:
/// 0.9 µs each there, and 10 µs a file.
const MOST_THREADS: i64 = 10;

/// Processes by their state, proc(5) `PID/stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    running: i64,
    sleeping: i64,
    blocked: i64,
    zombies: i64,
    stopped: i64,
    dead: i64,
    paging: i64,
    idle: i64,
    parked: i64,
    total: i64,
    total_threads: i64,
}

impl Counts {
    /// Counts a process; `false` when its `stat` is malformed.
    fn add(&mut self, stat: &[u8]) -> bool {
        let Some((state, threads)) = pid_stat::parse(stat) else { return false };
        self.add_in(state, 1);
        self.total_threads += threads;
        true
    }

    /// Whether files of so many processes cost less than a pass over so many threads.
    fn has_many_threads(&self) -> bool {
        self.total_threads > MOST_THREADS * self.total
    }

    /// Counts processes in a state.
    fn add_in(&mut self, state: u8, n: i64) {
        match state {
            b'R' => self.running += n,
            b'S' => self.sleeping += n,
            b'D' => self.blocked += n,
            b'Z' => self.zombies += n,
            b'T' | b't' => self.stopped += n,
            b'X' => self.dead += n,
            b'W' => self.paging += n,
            b'I' => self.idle += n,
            b'P' => self.parked += n,
            // Counted in the total alone, as in Telegraf, whose `unknown` is always 0 on Linux.
            _ => {}
        }
        self.total += n;
    }
}

impl From<ProcessCounts> for Counts {
    fn from(in_kernel: ProcessCounts) -> Self {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let mut counts = Self { total_threads: number(in_kernel.threads), ..Self::default() };
        for (state, n) in in_kernel.states {
            counts.add_in(state, number(n));
        }
        counts
    }
}

impl Processes {
    /// An input for the processes of this host.
    #[must_use]
    pub(super) fn new(_: Options, host: &Host) -> Self {
        Self { proc: host.proc(""), in_kernel: None, latest: Counts::default() }
    }

    /// Counts them all; with the first whose `stat` is malformed.
    fn count(&self) -> Result<(Counts, Option<GatherError>), GatherError> {
        match self.pass().map(|pass| pass.run()) {
            Some(Ok(counted)) => {
                let has_init = counted.has_init;
                let mut counts = Counts::from(counted);
                if !has_init {
                    counts.add(&std::fs::read(self.proc.join("1/stat")).unwrap_or_default());
                }
                return Ok((counts, None));
            }
            Some(Err(error)) => tracing::debug!(%error, "processes are counted by a file of each"),
            None => {}
        }
        self.count_files()
    }

    /// What counts them in the kernel, where that is cheaper.
    fn pass(&self) -> Option<Arc<ProcessPass>> {
        self.in_kernel.as_ref().filter(|_| !self.latest.has_many_threads())?.process_pass.get()
    }

    /// As [`Self::count`], by a file of each.
    fn count_files(&self) -> Result<(Counts, Option<GatherError>), GatherError> {
        let failed = |path: PathBuf, error: Errno| GatherError::Read { path, error: error.into() };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(&self.proc, flags, Mode::empty())
            .map_err(|error| failed(self.proc.clone(), error))?;
        let (mut counts, mut malformed) = (Counts::default(), None);
        let (mut names, mut buffer) = ([MaybeUninit::uninit(); NAMES_BYTES], [0; STAT_BYTES]);
        let mut entries = RawDir::new(&folder, &mut names);
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(|error| failed(self.proc.clone(), error))?;
            let name = entry.file_name().to_bytes();
            if !name[0].is_ascii_digit() {
                continue;
            }
            let path = || self.proc.join(OsStr::from_bytes(name)).join("stat");
            match read_stat(&folder, name, &mut buffer) {
                Ok(stat) => {
                    if !counts.add(stat) && malformed.is_none() {
                        let what = String::from_utf8_lossy(stat).into_owned();
                        malformed = Some(GatherError::Malformed { path: path(), what });
                    }
                }
                // It has exited meanwhile, or is no process at all.
                Err(Errno::NOENT | Errno::SRCH | Errno::NOTDIR) => {}
                Err(error) => return Err(failed(path(), error)),
            }
        }
        Ok((counts, malformed))
    }
}

/// For the names of some 300 processes in one system call.
const NAMES_BYTES: usize = 8192;
/// For a `stat`: a name of up to 64 bytes, and 52 columns of which few are long.
const STAT_BYTES: usize = 1024;

/// The `stat` of one process, opened by its path from the folder of all.
fn read_stat<'a>(folder: &OwnedFd, name: &[u8], buffer: &'a mut [u8; STAT_BYTES]) -> Result<&'a [u8], Errno> {
    const FILE: &[u8] = b"/stat";
    let mut path = [0; 32];
    let (length, end) = (name.len(), name.len() + FILE.len());
    // A process id has ten digits at most; what is longer is none.
    path.get_mut(..length).ok_or(Errno::NOENT)?.copy_from_slice(name);
    path.get_mut(length..end).ok_or(Errno::NOENT)?.copy_from_slice(FILE);
    let file = rustix::fs::openat(folder, &path[..end], OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let n_read = rustix::io::read(&file, &mut buffer[..])?;
    Ok(&buffer[..n_read])
}

impl InputPlugin for Options {
    fn build(self: Box<Self>, shared: &Arc<Shared>) -> Result<Box<dyn Input>, StartError> {
        let in_kernel = shared.host.is_host_pid_namespace().then(|| Arc::clone(shared));
        Ok(Box::new(Processes { in_kernel, ..Processes::new(*self, &shared.host) }))
    }
}

#[async_trait::async_trait]
impl Input for Processes {
    fn name(&self) -> &'static str {
        "processes"
    }

    async fn gather(&mut self, gathered: &mut Gathered) -> Result<(), GatherError> {
        let (counts, malformed) = self.count()?;
        self.latest = counts;
        let mut point = gathered.point("processes");
        for (field, count) in [
            ("running", counts.running),
            ("sleeping", counts.sleeping),
            ("blocked", counts.blocked),
            ("zombies", counts.zombies),
            ("stopped", counts.stopped),
            ("dead", counts.dead),
            ("paging", counts.paging),
            ("idle", counts.idle),
            ("total", counts.total),
            ("total_threads", counts.total_threads),
            ("unknown", 0),
        ] {
            point.set_field(field, count);
        }
        // Telegraf has it only when there is one, and then it is always 1; here it is how many there are.
        if counts.parked > 0 {
            point.set_field("parked", counts.parked);
        }
        gathered.push(point);
        match malformed {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, fields, gather, write};
    use super::*;
    use crate::point::FieldValue;

    #[tokio::test]
    async fn matches_telegraf() {
        for case in testing::CASES {
            let expected = testing::expected(case, "processes");
            let actual =
                testing::replay(case, expected.len(), |host| Processes::new(Options::default(), host)).await;
            assert!(actual.iter().all(|round| round.len() == 1), "{case}");
            assert_eq!(actual, expected, "{case}");
        }
    }

    /// A machine with a process in each of these states, the threads of each one more than of the one before.
    fn machine(states: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (n, state) in (1..).zip(states.chars()) {
            let stat =
                format!("{n} (a) b{n}) {state} 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 {n} 0 100 1000000\n");
            write(root.path(), &format!("proc/{n}/stat"), stat);
        }
        root
    }

    #[tokio::test]
    async fn each_state_has_its_field() {
        let root = machine("RSSDZTtXWIPPPKx");
        write(root.path(), "proc/stat", "cpu 1\n");
        write(root.path(), "proc/self/stat", "1 (self) R 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 7\n");
        write(root.path(), "proc/99", "no folder");
        std::fs::create_dir(root.path().join("proc/100")).unwrap();
        write(root.path(), "proc/123456789012345678901234567890/stat", "x");
        let points = gather(&mut Processes::new(Options {}, &Host::at(root.path()))).await.unwrap();
        assert_eq!((points.len(), points[0].tags.len()), (1, 0));
        let expected = [
            ("running", 1),
            ("sleeping", 2),
            ("blocked", 1),
            ("zombies", 1),
            ("stopped", 2),
            ("dead", 1),
            ("paging", 1),
            ("idle", 1),
            ("total", 15),
            ("total_threads", 15 * 16 / 2),
            ("unknown", 0),
            ("parked", 3),
        ]
        .map(|(key, value)| (key, FieldValue::Int(value)));
        assert_eq!(fields(&points[0]), expected);
    }

    #[test]
    fn what_the_kernel_counts_is_what_the_files_have() {
        let mut by_files = Counts::default();
        for (threads, state) in (1..).zip("RSSDZTtXIPP".chars()) {
            let stat = format!("1 (a) {state} 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 {threads} 0 100 1\n");
            assert!(by_files.add(stat.as_bytes()));
        }
        let states = [(b'R', 1), (b'S', 2), (b'D', 1), (b'T', 1), (b't', 1), (b'X', 1), (b'Z', 1)];
        let states = states.into_iter().chain([(b'P', 2), (b'I', 1)]).collect();
        assert_eq!(Counts::from(ProcessCounts { states, threads: 11 * 12 / 2, has_init: true }), by_files);
    }

    #[test]
    fn the_kernel_counts_where_processes_have_few_threads() {
        let has_many =
            |total, total_threads| Counts { total, total_threads, ..Counts::default() }.has_many_threads();
        assert_eq!(
            [(0, 0), (270, 1_300), (100, 1_000), (100, 1_001)].map(|(n, m)| has_many(n, m)),
            [false, false, false, true]
        );
    }

    #[tokio::test]
    async fn parked_is_absent_when_nothing_is() {
        let root = machine("S");
        let points = gather(&mut Processes::new(Options::default(), &Host::at(root.path()))).await.unwrap();
        assert_eq!(points[0].field_value("parked"), None);
        assert_eq!(points[0].field_value("total"), Some(&FieldValue::Int(1)));
    }

    #[tokio::test]
    async fn a_malformed_process_costs_only_itself() {
        for stat in
            ["", "1 (x", "1 (x)", "1 (x) S", "1 (x) S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 many 0\n"]
        {
            let root = machine("RS");
            write(root.path(), "proc/7/stat", stat);
            let mut input = Processes::new(Options::default(), &Host::at(root.path()));
            let (error, points) = gather(&mut input).await.unwrap_err();
            assert!(error.contains("/proc/7/stat: ") && error.ends_with(stat), "{error}");
            assert_eq!(points[0].field_value("total"), Some(&FieldValue::Int(2)), "{stat}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_ends_the_gather() {
        let root = tempfile::tempdir().unwrap();
        let mut input = Processes::new(Options::default(), &Host::at(root.path()));
        let (error, points) = gather(&mut input).await.unwrap_err();
        assert!(error.ends_with("/proc: No such file or directory (os error 2)"), "{error}");
        assert_eq!(points, []);
        // Reading a folder fails for every user.
        std::fs::create_dir_all(root.path().join("proc/5/stat")).unwrap();
        let (error, points) = gather(&mut input).await.unwrap_err();
        assert!(error.contains("/proc/5/stat: Is a directory"), "{error}");
        assert_eq!(points, []);
    }
}
