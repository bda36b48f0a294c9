//! The `statefile` of `[agent]`: what is remembered from one run to the next, a JSON object with a key for each plugin, as
//! Telegraf writes it. Keys of others are kept.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, bail};
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use serde_json::{Map, Value};

use super::locked;

/// It names what runs on the host: for the agent alone, and a group that may read its logs.
const MODE: u32 = 0o640;

/// A statefile, of which one key is ours.
#[derive(Debug)]
pub(crate) struct Statefile {
    path: PathBuf,
    key: &'static str,
    others: Map<String, Value>,
    /// Counts the states.
    clock: AtomicU64,
    written: Mutex<Written>,
}

/// What is on the disk.
#[derive(Debug)]
struct Written {
    /// The number of the state.
    number: u64,
    /// The file that has it, which nobody else gets meanwhile (flock(2)).
    _lock: File,
}

/// How safe a state is once it is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Safety {
    /// It outlives the process.
    Process,
    /// It outlives the machine.
    Machine,
}

impl Statefile {
    /// Opens a statefile. The second part is what was remembered under our key; `None` where there is no file yet, or
    /// nothing of that key.
    ///
    /// # Errors
    /// The file cannot be read or made, is something else, or another agent has it.
    pub(crate) fn open(path: &Path, key: &'static str) -> anyhow::Result<(Self, Option<Value>)> {
        let (lock, is_new) = lock(path)?;
        let mut others = if is_new { Map::new() } else { read(path)? };
        let state = others.remove(key);
        let written = Mutex::new(Written { number: 0, _lock: lock });
        Ok((Self { path: path.to_owned(), key, others, clock: AtomicU64::new(0), written }, state))
    }

    /// Whether what is there is one, or there is nothing; nothing is changed.
    ///
    /// # Errors
    /// It cannot be read, or is something else.
    pub(crate) fn check(path: &Path) -> anyhow::Result<()> {
        if path.exists() { read(path).map(drop) } else { Ok(()) }
    }

    /// A number for a state: the next one that is saved.
    pub(crate) fn number(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Remembers a state. The file is replaced as a whole, so that it is never half of one. Of states with rising numbers
    /// that are saved side by side, the latest stays.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn save(&self, number: u64, state: &impl Serialize, safety: Safety) -> anyhow::Result<()> {
        // Nothing panics while it holds the lock.
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.number > number {
            return Ok(());
        }
        let what = || format!("cannot write the statefile {}", self.path.display());
        let mut new = self.path.as_os_str().to_owned();
        new.push(".new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(MODE);
        let mut file = options.open(&new).with_context(what)?;
        // Before it has the name, so that nobody gets it in between. A file system without locks has none here either.
        let _ = locked::lock(&file);
        file.write_all(&serde_json::to_vec(&All { file: self, state })?).with_context(what)?;
        if safety == Safety::Machine {
            file.sync_all().with_context(what)?;
        }
        std::fs::rename(&new, &self.path).with_context(what)?;
        *written = Written { number, _lock: file };
        Ok(())
    }
}

/// All keys.
struct All<'a, S> {
    file: &'a Statefile,
    state: &'a S,
}

impl<S: Serialize> Serialize for All<'_, S> {
    fn serialize<T: Serializer>(&self, serializer: T) -> Result<T::Ok, T::Error> {
        let mut map = serializer.serialize_map(Some(self.file.others.len() + 1))?;
        for (key, value) in &self.file.others {
            map.serialize_entry(key, value)?;
        }
        map.serialize_entry(self.file.key, self.state)?;
        map.end()
    }
}

/// Locks a statefile, which is made where there is none: then the second part is true. Two agents with one would take each
/// other's totals for their own.
fn lock(path: &Path) -> anyhow::Result<(File, bool)> {
    loop {
        let (file, is_new) = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let made = OpenOptions::new().write(true).create(true).truncate(false).mode(MODE).open(path);
                let cannot = || format!("cannot make the statefile {}", path.display());
                (made.with_context(cannot)?, true)
            }
            opened => {
                let cannot = || format!("cannot read the statefile {}", path.display());
                (opened.with_context(cannot)?, false)
            }
        };
        if let Ok(false) = locked::lock(&file) {
            let path = path.display();
            bail!("{path}: another agent has it: end that one, or name another `statefile`");
        }
        // The one before may have replaced it since it was opened.
        if locked::is_at(&file, path) {
            return Ok((file, is_new));
        }
    }
}

fn read(path: &Path) -> anyhow::Result<Map<String, Value>> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read the statefile {}", path.display()));
        }
    };
    // What a file system can leave of one that was replaced right before the power failed.
    if text.iter().all(|byte| *byte == 0) {
        tracing::warn!(path = %path.display(), "the statefile is empty: nothing is remembered");
        return Ok(Map::new());
    }
    serde_json::from_slice(&text)
        .with_context(|| format!("{} is no statefile: name another one, or remove it", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> anyhow::Result<(Statefile, Option<Value>)> {
        Statefile::open(path, "ebpf")
    }

    #[test]
    fn a_state_is_remembered_beside_those_of_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        assert_eq!(open(&path).unwrap().1, None);
        std::fs::write(&path, r#"{"inputs.tail": {"offset": 7}}"#).unwrap();
        let (file, _) = open(&path).unwrap();
        file.save(1, &1, Safety::Process).unwrap();
        drop(file);
        let (file, state) = open(&path).unwrap();
        assert_eq!(state, Some(Value::from(1)));
        file.save(3, &3, Safety::Machine).unwrap();
        file.save(2, &2, Safety::Process).unwrap();
        drop(file);
        let (file, state) = open(&path).unwrap();
        assert_eq!((state, &file.others["inputs.tail"]["offset"]), (Some(3.into()), &7.into()));
        let mode = std::os::unix::fs::MetadataExt::mode(&path.metadata().unwrap());
        assert_eq!(mode & 0o037, 0, "{mode:o}");
        drop(file);
        std::fs::write(&path, "not json").unwrap();
        let error = open(&path).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{} is no statefile", path.display())), "{error}");
        for empty in ["", "\0\0\0"] {
            std::fs::write(&path, empty).unwrap();
            assert_eq!(open(&path).unwrap().1, None);
        }
    }
    #[test]
    fn two_agents_do_not_have_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let refused = || open(&path).unwrap_err().to_string();
        let (first, _) = open(&path).unwrap();
        assert!(refused().contains("another agent has it"), "{}", refused());
        // What replaces it is the same agent's.
        first.save(1, &1, Safety::Process).unwrap();
        assert!(refused().contains("another agent has it"), "{}", refused());
        drop(first);
        assert_eq!(open(&path).unwrap().1, Some(Value::from(1)));
        let nowhere = folder.path().join("no/state");
        assert!(open(&nowhere).unwrap_err().to_string().starts_with("cannot make the statefile"));
    }
}
