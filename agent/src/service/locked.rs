//! Files that one process has at a time, by flock(2): the lock goes with the process, however that ends.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Locks an open file or directory as long as it is open; `false` where another one has it.
///
/// # Errors
/// The system's, such as for a file system without locks.
pub(crate) fn lock(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether it is this open file that has a name.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    let there = std::fs::metadata(path);
    there.is_ok_and(|there| file.metadata().is_ok_and(|own| own.ino() == there.ino()))
}
