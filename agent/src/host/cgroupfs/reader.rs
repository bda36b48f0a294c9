//! Reads the small files of proc(5) and cgroupfs, thousands of them in a gather, for as little as it can be done.
//!
//! To open a file costs more than to read it. So the directories that are asked for again and again are kept open, and
//! below cgroupfs the files too: there a file is mostly one `pread` into a buffer that is kept. (The kernel holds a page for
//! each of them. One of a cgroup that is gone says so. One of `/proc/PID/net` would hold the network of a container that has
//! ended, and is closed again.)

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::host::{CGROUP_MAGIC, CGROUP2_MAGIC};

/// What fits at first, and nearly always is enough; a larger file makes the buffer grow for good.
const BUFFER_BYTES: usize = 8 << 10;
/// A read of fewer bytes has got the whole file, so that there is no need to ask for its end: the kernel's `seq_file` fills
/// a page before it answers, and no single line of these files is as long as half a page.
const WHOLE_BYTES: usize = 2 << 10;
/// A directory that was not asked for in this time is closed.
const KEPT: Duration = Duration::from_secs(60);
/// The most open files that this process allows itself, where the system lets it: some fifteen of 2,000 containers.
const MOST_OPEN: u64 = 32 << 10;
/// Of these for everything else: connections, files of outputs, probes.
const OTHERS: u64 = 512;
/// How many readers there may be, about.
const READERS: u64 = 6;

/// Reads files below one directory.
#[derive(Debug)]
pub struct Reader {
    root: PathBuf,
    kept: HashMap<Box<str>, Directory>,
    /// Open files and directories in `kept`.
    n_open: usize,
    swept: Instant,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Directory {
    fd: OwnedFd,
    /// Whether its files are kept open.
    keeps_files: bool,
    files: Vec<(Box<str>, OwnedFd)>,
    is_used: bool,
}

impl Directory {
    /// Reads a file; gives the number of bytes, which are at the buffer's beginning.
    fn fill(&mut self, file: &str, buffer: &mut Vec<u8>) -> Option<usize> {
        if let Some((_, fd)) = self.files.iter().find(|(name, _)| **name == *file) {
            return fill(fd, buffer);
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, file, flags, Mode::empty()).ok()?;
        let filled = fill(&fd, buffer);
        if self.keeps_files && filled.is_some() {
            self.files.push((file.into(), fd));
        }
        filled
    }

    fn n_open(&self) -> usize {
        1 + self.files.len()
    }
}

impl Reader {
    /// Below `root`; nothing is opened yet.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            kept: HashMap::new(),
            n_open: 0,
            swept: Instant::now(),
            buffer: Vec::new(),
        }
    }

    /// The text of a file in a directory, the latter by its path below the root. `None` when it is not there, or the process
    /// or cgroup is gone.
    pub fn read(&mut self, directory: &str, file: &str) -> Option<&str> {
        if self.swept.elapsed() > KEPT {
            self.sweep();
        }
        let filled = match self.kept.get_mut(directory) {
            Some(kept) => {
                kept.is_used = true;
                let before = kept.n_open();
                match kept.fill(file, &mut self.buffer) {
                    Some(filled) => {
                        self.n_open += kept.n_open() - before;
                        filled
                    }
                    // Perhaps another one is in its place by now.
                    None => {
                        self.n_open -= before;
                        self.kept.remove(directory);
                        self.open(directory, file)?
                    }
                }
            }
            None => self.open(directory, file)?,
        };
        std::str::from_utf8(&self.buffer[..filled]).ok()
    }

    fn open(&mut self, directory: &str, file: &str) -> Option<usize> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let path = self.root.join(directory.trim_start_matches('/'));
        let fd = rustix::fs::openat(CWD, &path, flags, Mode::empty()).ok()?;
        let has_room = self.n_open < most_open();
        let keeps_files = has_room
            && rustix::fs::fstatfs(&fd)
                .is_ok_and(|stat| [CGROUP_MAGIC, CGROUP2_MAGIC].contains(&stat.f_type));
        let mut opened = Directory { fd, keeps_files, files: Vec::new(), is_used: true };
        let filled = opened.fill(file, &mut self.buffer);
        if has_room {
            self.n_open += opened.n_open();
            self.kept.insert(directory.into(), opened);
        }
        filled
    }

    /// Closes a directory and its files.
    pub fn forget(&mut self, directory: &str) {
        if let Some(kept) = self.kept.remove(directory) {
            self.n_open -= kept.n_open();
        }
    }

    fn sweep(&mut self) {
        self.swept = Instant::now();
        self.kept.retain(|_, directory| std::mem::replace(&mut directory.is_used, false));
        self.n_open = self.kept.values().map(Directory::n_open).sum();
    }
}

/// Reads an open file from its beginning.
fn fill(file: &OwnedFd, buffer: &mut Vec<u8>) -> Option<usize> {
    let mut filled = 0;
    loop {
        if filled == buffer.len() {
            buffer.resize((2 * filled).max(BUFFER_BYTES), 0);
        }
        let n = rustix::io::pread(file, &mut buffer[filled..], filled as u64).ok()?;
        filled += n;
        if n < WHOLE_BYTES {
            return Some(filled);
        }
    }
}

/// How many files and directories one reader keeps open, at the most. The soft limit of open files, which is low for the sake of
/// programs that use select(2), is raised as far as that is of use.
fn most_open() -> usize {
    static MOST: OnceLock<usize> = OnceLock::new();
    *MOST.get_or_init(|| {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let wanted = maximum.unwrap_or(u64::MAX).min(MOST_OPEN);
        let mut limit = current.unwrap_or(u64::MAX);
        if limit < wanted && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).is_ok() {
            limit = wanted;
        }
        usize::try_from(limit.min(MOST_OPEN).saturating_sub(OTHERS) / READERS).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
        std::fs::write(root.path().join("binary"), [0xff]).unwrap();
        assert_eq!(reader.read("/", "binary"), None);
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
    fn a_file_that_is_kept_is_read_anew_each_time() {
        // Real cgroupfs, where the machine has some that can be read here.
        let roots = ["/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup"];
        let (mut n, files) = (0, ["cpuacct.usage", "cpu.stat"]);
        for (root, file) in roots.into_iter().zip(files) {
            let mut reader = Reader::new(Path::new(root));
            let Some(first) = reader.read("", file).map(str::to_owned) else { continue };
            let start = Instant::now();
            while reader.read("", file) == Some(first.as_str()) {
                assert!(start.elapsed() < Duration::from_secs(10), "{root}/{file} stands still");
            }
            assert_eq!(reader.n_open, 2, "the directory and the file");
            n += 1;
        }
        println!("read {n} files of cgroupfs again and again");
    }

    #[test]
    fn a_directory_that_was_made_anew_is_opened_anew_and_one_that_is_not_used_is_closed() {
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
        assert_eq!((reader.kept.len(), reader.n_open), (0, 0));
        assert_eq!(reader.read("a", "file"), Some("3"));
        reader.sweep();
        assert_eq!(reader.kept.len(), 1, "was used since");
        reader.sweep();
        assert_eq!(reader.kept.len(), 0);
        assert_eq!(reader.read("a", "file"), Some("3"));
    }
}
