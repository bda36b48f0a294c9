//! A file with the process id, for sending signals to the agent.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::locked::{is_at, lock};

/// The file; it is removed on drop, if it is still this one and names this process.
#[derive(Debug)]
pub(crate) struct Pidfile {
    path: PathBuf,
    /// Locked (flock(2)), so that no second agent takes the place of this one.
    file: File,
}

impl Pidfile {
    /// Writes the id of this process; what an agent that has ended left is overwritten, as in Telegraf.
    ///
    /// # Errors
    /// The file cannot be written, or another agent has it.
    pub(crate) fn write(path: &Path) -> anyhow::Result<Self> {
        let what = || format!("cannot write the pidfile {}", path.display());
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).open(path).with_context(what)?;
        // A file system without locks has none here either.
        if let Ok(false) = lock(&file) {
            bail!("{}: another agent has it: end that one, or name another `--pidfile`", path.display());
        }
        file.set_len(0).with_context(what)?;
        file.write_all(text().as_bytes()).with_context(what)?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Whether another process has written or put its own there.
    fn is_of_another(&self) -> bool {
        let text = text();
        let mut there = vec![0; text.len()];
        let is_same_text = self.file.read_exact_at(&mut there, 0).is_ok() && there == text.as_bytes();
        !(is_same_text && is_at(&self.file, &self.path))
    }
}

/// What the file of this process has.
fn text() -> String {
    format!("{}\n", std::process::id())
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        if self.is_of_another() {
            return;
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the pidfile");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn exists_while_it_is_needed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        fs::write(&path, "1234567890\n").unwrap();
        let pidfile = Pidfile::write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text());
        drop(pidfile);
        assert!(!path.exists());
        assert!(Pidfile::write(&directory.path().join("not/there")).is_err());
    }

    #[test]
    fn no_second_agent_takes_it_and_nobody_removes_anothers() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        let first = Pidfile::write(&path).unwrap();
        let error = Pidfile::write(&path).unwrap_err().to_string();
        assert!(error.contains("another agent has it"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text());
        // Another program's, in the file or in its place.
        fs::write(&path, "1\n").unwrap();
        drop(first);
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
        let second = Pidfile::write(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, text()).unwrap();
        drop(second);
        assert!(path.exists());
    }
}
