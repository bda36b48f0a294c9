//! What stays in the kernel while the agent is replaced: links, programs and maps, pinned in a directory of bpffs.
//!
//! ```text
//! PIN_PATH/VERSION-OBJECTS/{map,program,link}_NAME
//! ```
//!
//! `VERSION` is a digest of all that the programs were made of: the object, the globals, the requested probes. `OBJECTS` is one
//! of the numbers of what is pinned, which the kernel gives to nothing else until the next boot. So the name of the directory
//! says whether another agent can go on with it, and whether it is whole: aya itself takes over whatever it finds. All is
//! pinned in a directory `seismograf_new`, which gets its name last. Who has the lock on `PIN_PATH` may change what is in it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use aya::maps::{Map, MapInfo};
use aya::pin::PinError;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{Program, ProgramInfo};
use ring::digest::{Context, SHA256};

use crate::service::locked;

/// The file system of pins (`BPF_FS_MAGIC`, `include/uapi/linux/magic.h`).
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;
/// Where pins are until all are there.
const UNFINISHED: &str = "seismograf_new";
/// The ring buffer's map.
pub(super) const RING: &str = "RECORDS";
/// Bytes of a digest that are in a name.
const DIGEST_BYTES: usize = 8;
/// The locks of this process: an input that a reload changed shares it with its successor.
static LOCKS: Mutex<Vec<Weak<Pins>>> = Mutex::new(Vec::new());

/// Why pins cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PinsError {
    /// Not where pins can be.
    #[error(
        "{0} is on no BPF file system: mount one (mount -t bpf bpf /sys/fs/bpf), or name a directory on one"
    )]
    NoBpffs(PathBuf),
    /// Somebody else has the lock.
    #[error(
        "another agent is at work with the pins in {0}: stop it, or give one of the two another `pin_path`"
    )]
    InUse(PathBuf),
    /// A directory or a pin that cannot be made, read or removed.
    #[error("{path}: {error}")]
    Path {
        /// Which.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The kernel did not pin something.
    #[error("cannot pin {path}: {error}{}", reason(error))]
    Pin {
        /// Where.
        path: PathBuf,
        /// The kernel's error.
        error: PinError,
    },
}

/// The system's error behind the kernel's refusal.
fn reason(error: &PinError) -> String {
    std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default()
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> PinsError {
    |error| PinsError::Path { path: path.to_owned(), error }
}

/// The directory of the pins, locked until nobody in this process has it any more.
#[derive(Debug)]
pub struct Pins {
    path: PathBuf,
    _lock: File,
}

/// What the directory has.
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// All of this version.
    Same(Pinned),
    /// Something that cannot be gone on with, and why.
    Other(String),
}

/// What can be gone on with: where maps and programs are, and the links.
#[derive(Default)]
pub(super) struct Pinned {
    pub(super) directory: PathBuf,
    pub(super) maps: BTreeMap<String, PathBuf>,
    pub(super) programs: BTreeMap<String, PathBuf>,
    pub(super) links: BTreeMap<String, FdLink>,
    /// The number of the ring buffer.
    ring: Option<u32>,
}

impl Pins {
    /// Takes the lock on a directory of bpffs, which is made if it is not there.
    ///
    /// # Errors
    /// [`PinsError::NoBpffs`] and [`PinsError::InUse`] say what to do.
    pub fn lock(path: &Path) -> Result<Arc<Self>, PinsError> {
        let mut locks = LOCKS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pins) = locks.iter().filter_map(Weak::upgrade).find(|pins| pins.path == path) {
            return Ok(pins);
        }
        if !path.exists() && path.parent().is_some_and(is_bpffs) {
            std::fs::create_dir(path).map_err(at(path))?;
        }
        let pins = Arc::new(Self::lock_existing(path)?.ok_or_else(|| PinsError::NoBpffs(path.to_owned()))?);
        locks.retain(|lock| lock.strong_count() > 0);
        locks.push(Arc::downgrade(&pins));
        Ok(pins)
    }

    /// Takes the lock where there is such a directory, and nobody has it.
    ///
    /// # Errors
    /// See [`Self::lock`].
    pub fn lock_existing(path: &Path) -> Result<Option<Self>, PinsError> {
        if !path.exists() || !is_bpffs(path) {
            return Ok(None);
        }
        let lock = File::open(path).map_err(at(path))?;
        if locked::lock(&lock).map_err(at(path))? {
            Ok(Some(Self { path: path.to_owned(), _lock: lock }))
        } else {
            Err(PinsError::InUse(path.to_owned()))
        }
    }

    /// Whether there is anything, in words; `None` where there is nothing.
    #[must_use]
    pub fn look(path: &Path) -> Option<String> {
        let place = path.display();
        match Self::lock_existing(path) {
            Ok(Some(pins)) if pins.layouts().is_ok_and(|names| !names.is_empty()) => Some(format!(
                "in {place}, nobody uses them: an agent with `pin = true` goes on with them; rm -r {place} removes them"
            )),
            Ok(_) => None,
            Err(PinsError::InUse(_)) => Some(format!("in {place}, in use by an agent")),
            Err(error) => Some(error.to_string()),
        }
    }

    /// What is pinned, judged by the version of the programs that are wanted.
    ///
    /// `ring` is the number of the ring buffer whose records are remembered.
    pub(super) fn find(&self, version: &str, ring: Option<u32>) -> Result<Found, PinsError> {
        self.remove(UNFINISHED)?;
        let names = self.layouts()?;
        let [name] = names.as_slice() else {
            let other = || Found::Other(format!("there are several: {}", names.join(", ")));
            return Ok(if names.is_empty() { Found::Nothing } else { other() });
        };
        let Some(objects) = name.strip_prefix(version).and_then(|rest| rest.strip_prefix('-')) else {
            return Ok(Found::Other(format!("{name} is of another version than {version}")));
        };
        Ok(match Pinned::open(self.path.join(name)) {
            Ok((pinned, digest)) if digest == objects && pinned.ring == ring => Found::Same(pinned),
            Ok((_, digest)) if digest == objects => {
                Found::Other(format!("the statefile has nothing of what {name} has counted"))
            }
            Ok(_) => Found::Other(format!("somebody else has changed {name}")),
            Err(why) => Found::Other(format!("{name} is damaged: {why}")),
        })
    }

    /// Removes all that is pinned; what is attached by nothing else is detached. Returns whether there was anything.
    ///
    /// # Errors
    /// What cannot be removed.
    pub fn remove_all(&self) -> Result<bool, PinsError> {
        let names = self.layouts()?;
        names.iter().try_for_each(|name| self.remove(name))?;
        Ok(!names.is_empty())
    }

    /// The directories of the agent's own; others may have theirs beside them.
    fn layouts(&self) -> Result<Vec<String>, PinsError> {
        let is_digest =
            |text: &str| text.len() == 2 * DIGEST_BYTES && text.bytes().all(|b| b.is_ascii_hexdigit());
        let is_ours = |name: &String| {
            name == UNFINISHED
                || name
                    .split_once('-')
                    .is_some_and(|(version, objects)| is_digest(version) && is_digest(objects))
        };
        Ok(entries(&self.path)?.into_iter().filter(is_ours).collect())
    }

    fn remove(&self, name: &str) -> Result<(), PinsError> {
        let directory = self.path.join(name);
        if !directory.exists() {
            return Ok(());
        }
        for pin in entries(&directory)? {
            let pin = directory.join(pin);
            std::fs::remove_file(&pin).map_err(at(&pin))?;
        }
        std::fs::remove_dir(&directory).map_err(at(&directory))
    }

    /// An empty directory to pin in.
    pub(super) fn begin(&self) -> Result<PathBuf, PinsError> {
        self.remove(UNFINISHED)?;
        let directory = self.path.join(UNFINISHED);
        std::fs::create_dir(&directory).map_err(at(&directory))?;
        Ok(directory)
    }

    /// Has a directory that was finished take more.
    pub(super) fn reopen(&self, directory: &Path) -> Result<PathBuf, PinsError> {
        let unfinished = self.path.join(UNFINISHED);
        if directory != unfinished {
            std::fs::rename(directory, &unfinished).map_err(at(directory))?;
        }
        Ok(unfinished)
    }

    /// Gives the directory its name, in place of all others. Returns where it is now.
    pub(super) fn finish(&self, version: &str) -> Result<PathBuf, PinsError> {
        let directory = self.path.join(UNFINISHED);
        for name in self.layouts()?.iter().filter(|name| *name != UNFINISHED) {
            self.remove(name)?;
        }
        let unreadable =
            |why: String| PinsError::Path { path: directory.clone(), error: io::Error::other(why) };
        let (_, objects) = Pinned::open(directory.clone()).map_err(unreadable)?;
        let finished = self.path.join(format!("{version}-{objects}"));
        std::fs::rename(&directory, &finished).map_err(at(&finished))?;
        Ok(finished)
    }

    /// Whether another input of this process has it, too.
    pub(super) fn is_shared(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Pinned {
    /// Opens all pins of a directory; with the digest of what they are.
    fn open(directory: PathBuf) -> Result<(Self, String), String> {
        let mut pinned = Self { directory, ..Self::default() };
        let mut objects = Vec::new();
        for entry in entries(&pinned.directory).map_err(|error| error.to_string())? {
            let path = pinned.directory.join(&entry);
            let unreadable = |error: &dyn std::error::Error| format!("{}: {error}", path.display());
            let object = match entry.split_once('_') {
                Some(("map", name)) => {
                    let info = MapInfo::from_pin(&path).map_err(|error| unreadable(&error))?;
                    let shape = [info.key_size(), info.value_size(), info.max_entries(), info.map_flags()];
                    pinned.ring = pinned.ring.or((name == RING).then_some(info.id()));
                    pinned.maps.insert(name.to_owned(), path);
                    format!("{} {:?} {shape:?}", info.id(), info.map_type().ok())
                }
                Some(("program", name)) => {
                    let info = ProgramInfo::from_pin(&path).map_err(|error| unreadable(&error))?;
                    pinned.programs.insert(name.to_owned(), path);
                    format!("{} {:x}", info.id(), info.tag())
                }
                Some(("link", name)) => {
                    let link = PinnedLink::from_pin(&path).map(FdLink::from);
                    let link = link.map_err(|error| unreadable(&error))?;
                    let info = link.info().map_err(|error| unreadable(&error))?;
                    pinned.links.insert(name.to_owned(), link);
                    format!("{} {}", info.id(), info.program_id())
                }
                _ => return Err(format!("{} is not the agent's", path.display())),
            };
            objects.push(format!("{entry} {object}"));
        }
        objects.sort_unstable();
        Ok((pinned, digest(objects.iter().map(String::as_bytes))))
    }
}

/// Pins a map in a directory.
pub(super) fn pin_map(directory: &Path, name: &str, map: &Map) -> Result<(), PinsError> {
    let path = directory.join(format!("map_{name}"));
    map.pin(&path).map_err(|error| PinsError::Pin { path, error })
}

/// Pins a program in a directory.
pub(super) fn pin_program(directory: &Path, name: &str, program: &mut Program) -> Result<(), PinsError> {
    let path = directory.join(format!("program_{name}"));
    program.pin(&path).map_err(|error| PinsError::Pin { path, error })
}

/// Pins a link in a directory: it stays attached when nobody has it open any more.
pub(super) fn pin_link(directory: &Path, name: &str, link: FdLink) -> Result<FdLink, PinsError> {
    let path = directory.join(format!("link_{name}"));
    link.pin(&path).map(FdLink::from).map_err(|error| PinsError::Pin { path, error })
}

/// A short digest of parts, each of which counts with its length.
pub(super) fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    let bytes = context.finish();
    bytes.as_ref().iter().take(DIGEST_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

fn is_bpffs(path: &Path) -> bool {
    rustix::fs::statfs(path)
        .is_ok_and(|status| u64::try_from(status.f_type).is_ok_and(|kind| kind == BPF_FS_MAGIC))
}

fn entries(directory: &Path) -> Result<Vec<String>, PinsError> {
    let names = std::fs::read_dir(directory).map_err(at(directory))?;
    let name = |entry: io::Result<std::fs::DirEntry>| {
        Ok(entry.map_err(at(directory))?.file_name().to_string_lossy().into_owned())
    };
    names.map(name).collect()
}
