//! Where the host's files are.

use std::path::{Path, PathBuf};

/// Roots.
#[derive(Clone, Debug)]
pub struct Host {
    proc: PathBuf,
    sys: PathBuf,
    mount_prefix: PathBuf,
}

impl Default for Host {
    fn default() -> Self {
        Self { proc: "/proc".into(), sys: "/sys".into(), mount_prefix: PathBuf::new() }
    }
}

impl Host {
    /// A file of proc.
    #[must_use]
    pub fn proc(&self, path: impl AsRef<Path>) -> PathBuf {
        self.proc.join(path)
    }
    /// A file of sys.
    #[must_use]
    pub fn sys(&self, path: impl AsRef<Path>) -> PathBuf {
        self.sys.join(path)
    }
    /// A mount point of the host.
    #[must_use]
    pub fn mounted(&self, path: &Path) -> PathBuf {
        if self.mount_prefix.as_os_str().is_empty() {
            return path.to_owned();
        }
        self.mount_prefix.join(path.strip_prefix("/").unwrap_or(path))
    }
}
