//! A file with the process id, for sending signals to the agent.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The file; it is removed on drop.
#[derive(Debug)]
pub(crate) struct Pidfile(PathBuf);

impl Pidfile {
    /// Writes the id of this process; an existing file is overwritten, as in Telegraf.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(path: &Path) -> anyhow::Result<Self> {
        let text = format!("{}\n", std::process::id());
        fs::write(path, text).with_context(|| format!("cannot write the pidfile {}", path.display()))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "cannot remove the pidfile");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exists_while_it_is_needed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        let pidfile = Pidfile::write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().trim(), std::process::id().to_string());
        drop(pidfile);
        assert!(!path.exists());
        assert!(Pidfile::write(&directory.path().join("not/there")).is_err());
    }
}
