//! Reads the small files of proc(5) and cgroupfs, thousands of them in a gather, for as little as it can be done.
//!
//! A file costs one `openat` below a directory that is opened once, mostly one `read` into a buffer that is kept, and one
//! `close`. What is read is handed out as it is in the buffer.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};

/// What fits at first, and nearly always is enough; a larger file makes the buffer grow for good.
const BUFFER_BYTES: usize = 8 << 10;
/// A read of fewer bytes has got the whole file, so that there is no need to ask for its end: the kernel's `seq_file` fills
/// a page before it answers, and no single line of these files is as long as half a page.
const WHOLE_BYTES: usize = 2 << 10;

/// Reads files below one directory.
#[derive(Debug)]
pub struct Reader {
    root: PathBuf,
    directory: Option<OwnedFd>,
    path: Vec<u8>,
    buffer: Vec<u8>,
}

impl Reader {
    /// Below `root`, which is opened with the first file.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), directory: None, path: Vec::new(), buffer: Vec::new() }
    }

    /// The text of the file whose path below the directory is made of these parts; `None` when it is not there, or the
    /// process or cgroup is gone.
    pub fn read(&mut self, parts: &[&str]) -> Option<&str> {
        self.path.clear();
        for part in parts.iter().map(|part| part.trim_matches('/')).filter(|part| !part.is_empty()) {
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(part.as_bytes());
        }
        if self.directory.is_none() {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            self.directory = Some(rustix::fs::openat(CWD, &self.root, flags, Mode::empty()).ok()?);
            self.buffer.resize(BUFFER_BYTES, 0);
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(self.directory.as_ref()?, &*self.path, flags, Mode::empty()).ok()?;
        let mut filled = 0;
        loop {
            if filled == self.buffer.len() {
                self.buffer.resize(2 * filled, 0);
            }
            let n = rustix::io::read(&file, &mut self.buffer[filled..]).ok()?;
            filled += n;
            if n < WHOLE_BYTES {
                return std::str::from_utf8(&self.buffer[..filled]).ok();
            }
        }
    }
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
            assert_eq!(reader.read(&["/a/", "file"]), Some(text.as_str()), "{size}");
            assert_eq!(reader.read(&["a/file"]), Some(text.as_str()), "{size}");
        }
        assert_eq!(reader.read(&["a", "other"]), None);
        assert_eq!(reader.read(&["a"]), None, "a directory");
        std::fs::write(root.path().join("binary"), [0xff]).unwrap();
        assert_eq!(reader.read(&["/", "binary"]), None);
        assert_eq!(Reader::new(&root.path().join("missing")).read(&["file"]), None);
    }

    #[test]
    fn a_file_of_many_lines_is_read_whole() {
        let expected = std::fs::read_to_string("/proc/self/limits").unwrap();
        assert_eq!(Reader::new(Path::new("/proc")).read(&["self", "limits"]), Some(expected.as_str()));
        // `vmstat` is longer than a page.
        let lines = std::fs::read_to_string("/proc/vmstat").unwrap().lines().count();
        let text = Reader::new(Path::new("/proc")).read(&["vmstat"]).map(|text| text.lines().count());
        assert_eq!(text, Some(lines));
    }
}
