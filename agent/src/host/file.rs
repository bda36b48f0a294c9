//! A file of the kernel's that is read at each gather, and stays open in between.
//!
//! Opening a file of proc(5) or sysfs(5), asking for its size and closing it costs more than reading it. Where a path leads to any
//! other file system, as in a container that has a file of its own there, it is opened each time: that file may be replaced.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};

use super::{CGROUP_MAGIC, CGROUP2_MAGIC};

/// The type of proc in statfs(2): `PROC_SUPER_MAGIC` in `include/uapi/linux/magic.h`.
const PROC_MAGIC: i64 = 0x9fa0;
/// The type of sysfs: `SYSFS_MAGIC`.
const SYSFS_MAGIC: i64 = 0x6265_6572;
/// How files are opened.
pub(super) const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC);
/// The buffer's initial size, which is nearly always enough.
pub(super) const BUFFER_BYTES: usize = 8 << 10;
/// A read of fewer bytes has the whole file, so there is no need to read up to its end: the kernel's `seq_file` fills a page
/// before it returns, less the line that does not fit, and no line of most files is as long as half a page.
pub(super) const WHOLE_BYTES: usize = 2 << 10;

/// A file, by its path.
#[derive(Debug)]
pub(crate) struct KernelFile {
    path: PathBuf,
    open: Option<OwnedFd>,
}

impl KernelFile {
    /// Nothing is opened yet.
    #[must_use]
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    /// Where it is.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its text as it is now. Bytes that are not UTF-8 are replaced. The kernel answers at once, so this may block.
    ///
    /// A file of lines that may be longer than [`WHOLE_BYTES`] can lack its end: see [`Self::read_to_end`].
    ///
    /// # Errors
    /// The system's, when it cannot be opened or read.
    pub(crate) fn read(&mut self) -> io::Result<String> {
        self.bytes(WHOLE_BYTES).map(lossy)
    }

    /// Its bytes as they are now, whatever the length of its lines: one system call more. The options of an overlay, in a table
    /// of mounts, are a page alone.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        self.bytes(1)
    }

    fn bytes(&mut self, whole_bytes: usize) -> io::Result<Vec<u8>> {
        // What it was opened for may be gone, and something else in its place.
        if let Some(file) = self.open.take()
            && let Ok(bytes) = whole(&file, whole_bytes)
        {
            self.open = Some(file);
            return Ok(bytes);
        }
        let file = rustix::fs::openat(CWD, &self.path, FLAGS, Mode::empty())?;
        let bytes = whole(&file, whole_bytes)?;
        // Those that the kernel makes as they are read.
        self.open = is_on(&file, &[PROC_MAGIC, SYSFS_MAGIC, CGROUP_MAGIC, CGROUP2_MAGIC]).then_some(file);
        Ok(bytes)
    }
}

/// A text, in which bytes that are not UTF-8 are replaced.
pub(crate) fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Whether an open file is on a file system of one of these types.
pub(super) fn is_on(file: &OwnedFd, types: &[i64]) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|stat| types.contains(&stat.f_type))
}

fn whole(file: &OwnedFd, whole_bytes: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let n = fill_to(file, whole_bytes, &mut bytes)?;
    bytes.truncate(n);
    Ok(bytes)
}

/// Reads an open file of short lines from its start to the end. Returns the number of bytes, which are at the buffer's start.
///
/// # Errors
/// The system's.
pub(super) fn fill(file: &OwnedFd, buffer: &mut Vec<u8>) -> io::Result<usize> {
    fill_to(file, WHOLE_BYTES, buffer)
}

fn fill_to(file: &OwnedFd, whole_bytes: usize, buffer: &mut Vec<u8>) -> io::Result<usize> {
    fill_by(|part, at| Ok(rustix::io::pread(file, part, at)?), whole_bytes, buffer)
}

/// As [`fill`], by a function that reads into a part of the buffer what is at an offset. A read of less than `whole_bytes` is the
/// last.
fn fill_by(
    mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
    whole_bytes: usize,
    buffer: &mut Vec<u8>,
) -> io::Result<usize> {
    let mut filled = 0;
    loop {
        if filled == buffer.len() {
            buffer.resize((2 * filled).max(BUFFER_BYTES), 0);
        }
        let n = read(&mut buffer[filled..], filled as u64)?;
        filled += n;
        if n < whole_bytes {
            return Ok(filled);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_of_the_kernels_stays_open_and_is_read_anew() {
        let mut file = KernelFile::new("/proc/self/comm".into());
        assert_eq!(file.read().unwrap(), fs::read_to_string("/proc/self/comm").unwrap());
        assert!(file.open.is_some());
        fs::write("/proc/self/comm", "renamed").unwrap();
        assert_eq!(file.read().unwrap(), "renamed\n");
        // More than a page.
        let mut file = KernelFile::new("/proc/vmstat".into());
        for _ in 0..2 {
            assert_eq!(
                file.read().unwrap().lines().count(),
                fs::read_to_string("/proc/vmstat").unwrap().lines().count()
            );
        }
    }

    /// Reads as the kernel's `seq_file` does: a page of whole lines, or one line that is longer.
    fn read_lines(text: &[u8], part: &mut [u8], at: u64) -> usize {
        let rest = &text[usize::try_from(at).unwrap()..];
        let mut n = 0;
        for line in rest.split_inclusive(|byte| *byte == b'\n') {
            if n > 0 && n + line.len() > 4096 {
                break;
            }
            n += line.len();
        }
        let n = n.min(part.len());
        part[..n].copy_from_slice(&rest[..n]);
        n
    }

    #[test]
    fn lines_of_half_a_page_and_more_are_read_to_the_end() {
        let line = |n: usize| "x".repeat(n - 1) + "\n";
        let text = [line(1931), line(2455), line(30), line(9000), line(70), line(4096), line(2048)].concat();
        let n_read = |whole_bytes| {
            let mut bytes = Vec::new();
            let read = |part: &mut [u8], at| Ok(read_lines(text.as_bytes(), part, at));
            let n = fill_by(read, whole_bytes, &mut bytes).unwrap();
            assert_eq!(bytes[..n], text.as_bytes()[..n]);
            n
        };
        assert_eq!((n_read(WHOLE_BYTES), n_read(1)), (1931, text.len()));
    }

    #[test]
    fn any_other_file_is_opened_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stat");
        let mut file = KernelFile::new(path.clone());
        assert_eq!(file.read().unwrap_err().kind(), io::ErrorKind::NotFound);
        for size in [0, 1, WHOLE_BYTES - 1, WHOLE_BYTES, BUFFER_BYTES - 1, BUFFER_BYTES, 5 * BUFFER_BYTES + 7]
        {
            let text = "x".repeat(size);
            let other = folder.path().join("other");
            fs::write(&other, &text).unwrap();
            fs::rename(&other, &path).unwrap();
            assert_eq!(file.read().unwrap(), text, "{size}");
        }
        fs::write(&path, b"a\xffb").unwrap();
        assert_eq!(file.read().unwrap(), "a\u{fffd}b");
        assert_eq!(file.read_to_end().unwrap(), b"a\xffb");
        fs::remove_file(&path).unwrap();
        assert_eq!(file.read().unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn one_that_is_gone_is_opened_anew() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let mut file = KernelFile::new(format!("/proc/{}/stat", child.id()).into());
        assert!(file.read().unwrap().contains("(sleep)"));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(file.read().unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
