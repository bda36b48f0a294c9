//! The files of a spool, behind two small traits, so that tests can have them fail, and lose what was not synced.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::service::locked;

/// A file of a spool.
pub trait SpoolFile: Send {
    /// Its length in bytes.
    fn size(&self) -> io::Result<u64>;

    /// When it was last written.
    fn modified(&self) -> io::Result<SystemTime>;

    /// Reads up to the length of `into`; less only at the end.
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize>;

    /// Writes all of `bytes`.
    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Returns when what was written is on the disk (fdatasync(2)). After an error nobody knows what is there.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts it off.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
}

/// The directory of a spool.
pub trait SpoolFolder: Send {
    /// The names in it, in no order.
    fn names(&self) -> io::Result<Vec<String>>;

    /// An empty file, new or cut off.
    fn create(&self, name: &str) -> io::Result<Box<dyn SpoolFile>>;

    /// A file that is there.
    fn open(&self, name: &str) -> io::Result<Box<dyn SpoolFile>>;

    /// A file that is there, or a new one.
    fn append(&self, name: &str) -> io::Result<Box<dyn SpoolFile>>;

    /// Gives a file another name; one that has it is replaced.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Returns when the names are on the disk (fsync(2)).
    fn sync(&self) -> io::Result<()>;
}

impl SpoolFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn modified(&self) -> io::Result<SystemTime> {
        self.metadata()?.modified()
    }

    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let mut n = 0;
        while n < into.len() {
            match FileExt::read_at(self, &mut into[n..], at + n as u64) {
                Ok(0) => break,
                Ok(read) => n += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(n)
    }

    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
}

/// A directory that this process alone has.
pub struct Folder {
    path: PathBuf,
    /// Holds the lock.
    directory: File,
}

/// Points can be of anyone: files are for the agent alone, and a group that may read its logs.
const MODE: u32 = 0o640;
const FOLDER_MODE: u32 = 0o750;

impl Folder {
    /// Makes the directory where there is none, and locks it (flock(2)): `None` when another process has it.
    ///
    /// # Errors
    /// It cannot be made, opened or locked.
    pub fn lock(path: &Path) -> io::Result<Option<Self>> {
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)?;
        let directory = File::open(path)?;
        Ok(locked::lock(&directory)?.then(|| Self { path: path.to_owned(), directory }))
    }

    /// Whether what is in it is gone when the machine stops (statfs(2)).
    pub fn is_in_memory(&self) -> bool {
        /// tmpfs and ramfs.
        const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];
        rustix::fs::fstatfs(&self.directory).is_ok_and(|stat| IN_MEMORY.contains(&(stat.f_type as u64)))
    }
}

impl SpoolFolder for Folder {
    fn names(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.path)?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn SpoolFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(MODE);
        Ok(Box::new(options.open(self.path.join(name))?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn SpoolFile>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).open(self.path.join(name))?))
    }

    fn append(&self, name: &str) -> io::Result<Box<dyn SpoolFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(MODE);
        Ok(Box::new(options.open(self.path.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        self.directory.sync_all()
    }
}
