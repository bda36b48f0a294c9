//! Which files the agent can open once it has started, by Landlock (landlock(7), since Linux 5.13).
//!
//! What is open stays open. Finding out that a file is there, and what file system it is on, needs no right.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, Scope,
    make_bitflags, path_beneath_rules,
};

/// What reading takes.
const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});
/// What writing takes: files, folders and sockets come and go; no devices, no links.
const WRITE: BitFlags<AccessFs> =
    make_bitflags!(AccessFs::{WriteFile | Truncate | MakeReg | MakeDir | MakeSock | RemoveFile});

/// Files that are needed after the start, by the directories that they are in: what has another file's name takes its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    read: BTreeSet<PathBuf>,
    write: BTreeSet<PathBuf>,
    remove: BTreeSet<PathBuf>,
}

impl Files {
    /// Files that are read, and what takes their places.
    pub fn read_all<'a>(files: impl IntoIterator<Item = &'a str>) -> Self {
        files.into_iter().fold(Self::default(), |mut all, file| {
            all.read(file);
            all
        })
    }

    /// Everything below a directory is read.
    pub fn read_below(&mut self, directory: impl Into<PathBuf>) {
        self.read.insert(directory.into());
    }

    /// A file is read, and what takes its place. An empty path is none.
    pub fn read(&mut self, file: impl AsRef<Path>) {
        self.read.extend(place(file.as_ref()));
    }

    /// Everything below a directory is read and written.
    pub fn write_below(&mut self, directory: impl Into<PathBuf>) {
        self.write.insert(directory.into());
    }

    /// A file is read and written, made and replaced. An empty path is none.
    pub fn write(&mut self, file: impl AsRef<Path>) {
        self.write.extend(place(file.as_ref()));
    }

    /// A file that is there is removed at the end.
    pub fn remove(&mut self, file: impl AsRef<Path>) {
        self.remove.extend(place(file.as_ref()));
    }

    /// Adds those of another one.
    pub fn add(&mut self, other: Self) {
        self.read.extend(other.read);
        self.write.extend(other.write);
        self.remove.extend(other.remove);
    }

    /// What `granted` does not have of those that are read and written.
    #[must_use]
    pub fn lacking(&self, granted: &Self) -> Vec<&Path> {
        let is_below =
            |path: &Path, of: &BTreeSet<PathBuf>| of.iter().any(|directory| path.starts_with(directory));
        let granted =
            Self { read: resolved(&granted.read), write: resolved(&granted.write), ..Self::default() };
        let may_write = |path: &&PathBuf| is_below(&real(path), &granted.write);
        let may_read = |path: &&PathBuf| is_below(&real(path), &granted.read) || may_write(path);
        let unread = self.read.iter().filter(|path| !may_read(path));
        let unwritten = self.write.iter().filter(|path| !may_write(path));
        unread.chain(unwritten).map(PathBuf::as_path).collect()
    }

    /// The rules for these, of which what is not there is left out; `None` where the kernel has none. A directory of a mount that
    /// hangs may hold it up.
    ///
    /// # Errors
    /// The kernel refuses the rules.
    pub fn ruleset(&self) -> Result<Option<Ruleset>, RulesetError> {
        let Some(version) = version() else { return Ok(None) };
        // The newest version of which all rights are known here to be of no use to the agent.
        let handled = landlock::Ruleset::default().handle_access(AccessFs::from_all(ABI::V5))?;
        let handled = if notifies_by_name() { handled } else { handled.scope(Scope::AbstractUnixSocket)? };
        let rules = handled.create()?;
        let rules = rules.add_rules(path_beneath_rules(&self.read, READ))?;
        let rules =
            rules.add_rules(path_beneath_rules(self.write.iter().map(|path| there(path)), READ | WRITE))?;
        let rules = rules.add_rules(path_beneath_rules(&self.remove, AccessFs::RemoveFile))?;
        Ok(Option::<OwnedFd>::from(rules).map(|descriptor| Ruleset { descriptor, version }))
    }
}

/// Whether the service manager has a socket without a file.
fn notifies_by_name() -> bool {
    std::env::var("NOTIFY_SOCKET").is_ok_and(|name| name.starts_with('@'))
}

/// Rules that the kernel has, and that no thread keeps yet.
#[derive(Debug)]
pub struct Ruleset {
    descriptor: OwnedFd,
    version: i32,
}

impl Ruleset {
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    pub(super) fn into_descriptor(self) -> OwnedFd {
        self.descriptor
    }

    /// The version of the kernel's interface.
    pub(super) fn version(&self) -> i32 {
        self.version
    }
}

/// The version of the kernel's interface; `None` where it has none, or it is turned off.
pub(super) fn version() -> Option<i32> {
    const VERSION: libc::c_uint = 1;
    // SAFETY: asks for a number, and makes no rules.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0, VERSION) };
    i32::try_from(version).ok().filter(|version| *version > 0)
}

/// What a file needs: its directory, since it may be replaced. A device or pipe stays what it is; and all files are below `/`.
fn place(file: &Path) -> Option<PathBuf> {
    if file.as_os_str().is_empty() {
        return None;
    }
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let is_plain = std::fs::metadata(&file).map_or(true, |metadata| metadata.is_file());
    let directory = file.parent().filter(|directory| directory.parent().is_some() && is_plain);
    Some(directory.unwrap_or(&file).to_owned())
}

/// The directory, or the one that it will be made in.
fn there(directory: &Path) -> &Path {
    let mut parents = directory.ancestors().filter(|parent| parent.parent().is_some());
    parents.find(|parent| parent.exists()).unwrap_or(directory)
}

/// The path without links, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let found = path.ancestors().find_map(|part| Some((std::fs::canonicalize(part).ok()?, part)));
    found.map_or_else(
        || path.to_owned(),
        |(real, part)| real.join(path.strip_prefix(part).unwrap_or(Path::new(""))),
    )
}

fn resolved(paths: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    paths.iter().map(|path| real(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_needs_its_directory_and_a_device_itself() {
        assert_eq!(place(Path::new("/etc/hosts")), Some("/etc".into()));
        assert_eq!(place(Path::new("/not/there")), Some("/not".into()));
        assert_eq!(place(Path::new("/dev/null")), Some("/dev/null".into()));
        assert_eq!(place(Path::new("/not-there")), Some("/not-there".into()));
        assert_eq!(place(Path::new("")), None);
    }

    #[test]
    fn what_is_lacking_is_neither_below_nor_linked_to_what_is_granted() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("data")).unwrap();
        std::os::unix::fs::symlink(at("data"), at("link")).unwrap();
        let mut granted = Files::default();
        granted.write_below(at("link"));
        granted.read_below(at("keys"));
        let mut wanted = Files::default();
        wanted.write(at("data/points"));
        wanted.read(at("data/sub/ca.pem"));
        wanted.read(at("keys/ca.pem"));
        assert!(wanted.lacking(&granted).is_empty());
        wanted.write(at("keys/points"));
        wanted.read(at("else/ca.pem"));
        assert_eq!(wanted.lacking(&granted), [at("else"), at("keys")]);
    }
}
