//! Reads the small files of proc(5) and cgroupfs, thousands of them in a gather, as cheaply as possible.
//!
//! Opening a file costs more than reading it. So what is read again and again is kept open: in cgroupfs the file, which is then
//! one `pread` into a buffer that is reused, elsewhere the directory. (The kernel holds a page for each file that is open. Reading
//! one of a removed cgroup fails. One of `/proc/PID/net` would keep the network of an ended container alive, and is closed again.)

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::host::file::{self, fill, is_on};
use crate::host::{CGROUP_MAGIC, CGROUP2_MAGIC};

/// What was not read for this long is closed.
const IDLE_TIME: Duration = Duration::from_secs(60);
/// The most open files of this process, if the system allows them: some fifteen for each of 2,000 containers.
const MAX_OPEN: u64 = 32 << 10;
/// How many of these are for everything else: connections, files of outputs, probes.
const OTHERS: u64 = 512;
/// How many files and directories all readers keep open.
static N_KEPT: AtomicUsize = AtomicUsize::new(0);

/// Reads files below one directory.
#[derive(Debug)]
pub struct Reader {
    root: PathBuf,
    kept: HashMap<Box<str>, Directory>,
    swept: Instant,
    buffer: Vec<u8>,
    /// The text of a file that is not UTF-8.
    replaced: String,
}

/// A file or directory that is kept open, and counted as long as it is.
#[derive(Debug)]
struct Kept(OwnedFd);

impl Kept {
    fn new(fd: OwnedFd) -> Self {
        N_KEPT.fetch_add(1, Ordering::Relaxed);
        Self(fd)
    }

    /// Whether one more can be kept.
    fn has_room() -> bool {
        N_KEPT.load(Ordering::Relaxed) < max_kept()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        N_KEPT.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is kept of a directory.
#[derive(Debug)]
enum Directory {
    /// Of cgroupfs: its files. It need not be open itself.
    Files(Vec<File>),
    /// Of any other file system: the directory.
    Opened { fd: Kept, is_used: bool },
}

#[derive(Debug)]
struct File {
    name: Box<str>,
    fd: Kept,
    is_used: bool,
}

impl Directory {
    /// Reads a file that is open, or can be opened here; returns the number of bytes, which are at the buffer's start.
    fn fill(&mut self, name: &str, buffer: &mut Vec<u8>) -> Option<usize> {
        match self {
            Self::Files(files) => {
                let file = files.iter_mut().find(|file| *file.name == *name)?;
                file.is_used = true;
                fill(&file.fd.0, buffer).ok()
            }
            Self::Opened { fd, is_used } => {
                *is_used = true;
                fill(&rustix::fs::openat(&fd.0, name, file::FLAGS, Mode::empty()).ok()?, buffer).ok()
            }
        }
    }

    /// Whether a file that cannot be read shows that another directory has taken the place of this one.
    fn has(&self, name: &str) -> bool {
        match self {
            Self::Files(files) => files.iter().any(|file| *file.name == *name),
            Self::Opened { .. } => true,
        }
    }

    /// Closes what was not read since the last time. Returns whether anything is left.
    fn sweep(&mut self) -> bool {
        match self {
            Self::Files(files) => {
                files.retain_mut(|file| std::mem::replace(&mut file.is_used, false));
                !files.is_empty()
            }
            Self::Opened { is_used, .. } => std::mem::replace(is_used, false),
        }
    }
}

impl Reader {
    /// A reader below `root`; nothing is opened yet.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            kept: HashMap::new(),
            swept: Instant::now(),
            buffer: Vec::new(),
            replaced: String::new(),
        }
    }

    /// The text of a file in a directory, which is given by its path below the root. `None` when it does not exist, or the
    /// process or cgroup is gone. Bytes that are not UTF-8 are replaced: a container may name its interfaces by any.
    pub fn read(&mut self, directory: &str, file: &str) -> Option<&str> {
        if self.swept.elapsed() > IDLE_TIME {
            self.sweep();
        }
        let filled = match self.kept.get_mut(directory) {
            Some(kept) => match kept.fill(file, &mut self.buffer) {
                Some(filled) => filled,
                None => {
                    if kept.has(file) {
                        // Another directory may have taken its place.
                        self.kept.remove(directory);
                    }
                    self.open(directory, file)?
                }
            },
            None => self.open(directory, file)?,
        };
        let bytes = &self.buffer[..filled];
        Some(match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(_) => {
                self.replaced = String::from_utf8_lossy(bytes).into_owned();
                &self.replaced
            }
        })
    }

    /// Opens a file by its path, reads it, and keeps what will be of use.
    fn open(&mut self, directory: &str, name: &str) -> Option<usize> {
        let path = self.root.join(directory.trim_start_matches('/'));
        let fd = rustix::fs::openat(CWD, path.join(name), file::FLAGS, Mode::empty()).ok()?;
        let filled = fill(&fd, &mut self.buffer).ok()?;
        if !Kept::has_room() {
            return Some(filled);
        }
        if is_on(&fd, &[CGROUP_MAGIC, CGROUP2_MAGIC]) {
            let file = File { name: name.into(), fd: Kept::new(fd), is_used: true };
            match self.kept.get_mut(directory) {
                Some(Directory::Files(files)) => files.push(file),
                _ => drop(self.kept.insert(directory.into(), Directory::Files(vec![file]))),
            }
        } else {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            if let Ok(fd) = rustix::fs::openat(CWD, &path, flags, Mode::empty()) {
                self.kept.insert(directory.into(), Directory::Opened { fd: Kept::new(fd), is_used: true });
            }
        }
        Some(filled)
    }

    /// Closes a directory and its files.
    pub fn forget(&mut self, directory: &str) {
        self.kept.remove(directory);
    }

    fn sweep(&mut self) {
        self.swept = Instant::now();
        self.kept.retain(|_, directory| directory.sweep());
    }
}

/// How many files this process has open at most.
pub(crate) fn most_open() -> u64 {
    max_kept() as u64 + OTHERS
}

/// How many files and directories all readers keep open at most. Raises the soft limit of open files as far as that is useful:
/// it is only low because of programs that use select(2).
fn max_kept() -> usize {
    static MAX: OnceLock<usize> = OnceLock::new();
    *MAX.get_or_init(|| {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let target = maximum.unwrap_or(u64::MAX).min(MAX_OPEN);
        let mut limit = current.unwrap_or(u64::MAX);
        if limit < target && setrlimit(Resource::Nofile, Rlimit { current: Some(target), maximum }).is_ok() {
            limit = target;
        }
        usize::try_from(limit.min(MAX_OPEN).saturating_sub(OTHERS)).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::file::{BUFFER_BYTES, WHOLE_BYTES};

    #[test]
    fn reads_files_of_any_size_and_no_others() {
        let root = tempfile::tempdir().unwrap();
        let mut reader = Reader::new(root.path());
        std::fs::create_dir(root.path().join("a")).unwrap();
        for size in [0, 1, WHOLE_BYTES - 1, WHOLE_BYTES, BUFFER_BYTES - 1, BUFFER_BYTES, 5 * BUFFER_BYTES + 7]
        {
            let text = "x".repeat(size);
            std::fs::write(root.path().join("a/file"), &text).unwrap();
            assert_eq!(reader.read("/a", "file"), Some(text.as_str()), "{size}");
            assert_eq!(reader.read("", "a/file"), Some(text.as_str()), "{size}");
        }
        assert_eq!(reader.read("a", "other"), None);
        assert_eq!(reader.read("", "a"), None, "a directory");
        std::fs::write(root.path().join("binary"), b"a\xffb").unwrap();
        assert_eq!(reader.read("/", "binary"), Some("a\u{fffd}b"));
        assert_eq!(Reader::new(&root.path().join("missing")).read("", "file"), None);
    }

    #[test]
    fn a_file_of_many_lines_is_read_whole() {
        let mut proc = Reader::new(Path::new("/proc"));
        // `vmstat` is longer than a page.
        let lines = std::fs::read_to_string("/proc/vmstat").unwrap().lines().count();
        assert_eq!(proc.read("", "vmstat").map(|text| text.lines().count()), Some(lines));
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        assert_eq!(proc.read("self", "limits"), Some(limits.as_str()));
    }

    #[test]
    fn a_file_that_is_kept_open_is_read_anew_each_time() {
        // Real cgroupfs: elsewhere no file is kept open. The root's CPU time grows all the time.
        let roots = [("/sys/fs/cgroup/cpuacct", "cpuacct.usage"), ("/sys/fs/cgroup", "cpu.stat")];
        let found = roots.into_iter().filter(|(root, file)| Path::new(root).join(file).exists());
        let mut n_compared = 0;
        for (root, file) in found {
            let mut reader = Reader::new(Path::new(root));
            let first = reader.read("", file).map(str::to_owned);
            let start = Instant::now();
            while reader.read("", file) == first.as_deref() {
                assert!(start.elapsed() < Duration::from_secs(10), "{root}/{file} stands still");
            }
            let is_one_file = |kept: &Directory| matches!(kept, Directory::Files(files) if files.len() == 1);
            assert!(reader.kept.values().all(is_one_file), "{reader:?}");
            reader.sweep();
            assert!(reader.read("", file).is_some() && reader.kept.len() == 1);
            reader.sweep();
            reader.sweep();
            assert!(reader.kept.is_empty());
            n_compared += 1;
        }
        if n_compared == 0 {
            assert!(!Path::new("/sys/fs/cgroup/cgroup.controllers").exists());
            println!("skipped: no CPU time in cgroupfs at /sys/fs/cgroup");
        }
    }

    #[test]
    fn a_directory_that_was_created_again_is_reopened_and_an_unused_one_is_closed() {
        let root = tempfile::tempdir().unwrap();
        let make = |text: &str| {
            std::fs::create_dir(root.path().join("a")).unwrap();
            std::fs::write(root.path().join("a/file"), text).unwrap();
        };
        let mut reader = Reader::new(root.path());
        make("1");
        assert_eq!(reader.read("a", "file"), Some("1"));
        std::fs::remove_dir_all(root.path().join("a")).unwrap();
        assert_eq!(reader.read("a", "file"), None);
        make("2");
        assert_eq!(reader.read("a", "file"), Some("2"));
        std::fs::remove_dir_all(root.path().join("a")).unwrap();
        make("3");
        assert_eq!(reader.read("a", "file"), Some("3"));
        assert_eq!(reader.kept.len(), 1);
        reader.forget("a");
        assert!(reader.kept.is_empty());
        assert_eq!(reader.read("a", "file"), Some("3"));
        reader.sweep();
        assert_eq!(reader.kept.len(), 1, "was used since");
        reader.sweep();
        assert_eq!(reader.kept.len(), 0);
        assert_eq!(reader.read("a", "file"), Some("3"));
    }
}
