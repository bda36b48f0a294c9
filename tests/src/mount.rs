//! A file system of the test's own.

use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// A mounted file system; dropping it unmounts it.
pub struct Mount(tempfile::TempDir);

impl Mount {
    /// A file system in memory with mount options, such as `size=4m`.
    ///
    /// # Panics
    /// When it cannot be mounted.
    #[must_use]
    pub fn tmpfs(options: &str) -> Self {
        let directory = tempfile::tempdir().expect("cannot make a temporary directory");
        let options = std::ffi::CString::new(options).expect("no NUL in the options");
        mount("tmpfs", directory.path(), "tmpfs", MountFlags::empty(), options.as_c_str())
            .expect("cannot mount a tmpfs");
        Self(directory)
    }

    /// A file system for pinned BPF objects.
    ///
    /// # Panics
    /// When it cannot be mounted.
    #[must_use]
    pub fn bpf() -> Self {
        let directory = tempfile::tempdir().expect("cannot make a temporary directory");
        mount("bpf", directory.path(), "bpf", MountFlags::empty(), c"mode=700")
            .expect("cannot mount a bpffs");
        Self(directory)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Whoever still has a file of it keeps it a while longer.
        let _ = unmount(self.path(), UnmountFlags::DETACH);
    }
}
