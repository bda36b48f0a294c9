//! A disk of the tests' own.

use std::path::PathBuf;

use crate::{run, try_run};

/// A file system on a loop device; gone when it is dropped.
pub struct LoopDisk {
    directory: tempfile::TempDir,
    device: String,
}

impl LoopDisk {
    /// Makes one of 256 MiB.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let image = directory.path().join("image");
        run("truncate", &["-s", "256M", image.to_str().unwrap()]);
        let device = run("losetup", &["--find", "--show", image.to_str().unwrap()]).trim().to_owned();
        let disk = Self { directory, device };
        run("mkfs.ext4", &["-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", &disk.device]);
        std::fs::create_dir(disk.mount()).unwrap();
        run("mount", &[&disk.device, disk.mount().to_str().unwrap()]);
        disk
    }

    /// Where it is mounted.
    #[must_use]
    pub fn mount(&self) -> PathBuf {
        self.directory.path().join("mount")
    }

    /// A file whose blocks are there.
    #[must_use]
    pub fn file(&self, name: &str, mib: u32) -> String {
        let path = self.mount().join(name).display().to_string();
        run(
            "dd",
            &[
                "if=/dev/zero",
                &format!("of={path}"),
                "bs=1M",
                &format!("count={mib}"),
                "conv=fsync",
                "status=none",
            ],
        );
        path
    }

    /// Its numbers, as cgroup files have them.
    ///
    /// # Panics
    /// When the kernel does not tell them.
    #[must_use]
    pub fn numbers(&self) -> String {
        std::fs::read_to_string(format!("/sys/block/{}/dev", self.name())).unwrap().trim().to_owned()
    }

    /// Its name, `loop0`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.device.trim_start_matches("/dev/")
    }
}

impl Default for LoopDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        let _ = try_run("umount", &[self.mount().to_str().unwrap()]);
        let _ = try_run("losetup", &["--detach", &self.device]);
    }
}
