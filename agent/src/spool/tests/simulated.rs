//! A folder in memory, which fails when it is told to, and knows what a machine that loses its power leaves.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use crate::spool::files::{SpoolFile, SpoolFolder};

/// What a disk writes at once.
const SECTOR: usize = 512;

#[derive(Clone, Default)]
struct Data {
    now: Vec<u8>,
    synced: Vec<u8>,
}

#[derive(Clone, Default)]
struct State {
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    files: Vec<Data>,
    n_calls: u64,
    /// The call that fails, and with what.
    fails: Option<(u64, i32)>,
    /// Nothing works from this call on.
    ends: Option<u64>,
}

/// The folder; its clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Simulated(Arc<Mutex<State>>);

struct Open {
    folder: Simulated,
    file: usize,
}

impl Simulated {
    /// How many calls that change something there were.
    pub(crate) fn n_calls(&self) -> u64 {
        self.0.lock().unwrap().n_calls
    }

    /// A later call fails with an error number.
    pub(crate) fn fail(&self, call: u64, errno: i32) {
        self.0.lock().unwrap().fails = Some((call, errno));
    }

    /// The process is killed at a later call.
    pub(crate) fn end(&self, call: u64) {
        self.0.lock().unwrap().ends = Some(call);
    }

    /// What the next process finds.
    pub(crate) fn after_a_kill(&self) -> Self {
        let mut state = self.0.lock().unwrap().clone();
        (state.fails, state.ends) = (None, None);
        Self(Arc::new(Mutex::new(state)))
    }

    /// What the next process finds after the power was lost: of what was not synced, any sectors, and any names.
    pub(crate) fn after_a_power_loss(&self) -> Self {
        let mut state = self.0.lock().unwrap().clone();
        (state.fails, state.ends) = (None, None);
        for data in &mut state.files {
            // A file's length is its inode's, which is written with the sectors or not.
            let len = if fastrand::bool() { data.now.len() } else { data.synced.len() };
            let mut left = data.synced.clone();
            left.resize(len, 0);
            for (i, sector) in left.chunks_mut(SECTOR).enumerate() {
                let new = data.now.get(i * SECTOR..).unwrap_or_default();
                if fastrand::bool() {
                    let n = sector.len().min(new.len());
                    sector[..n].copy_from_slice(&new[..n]);
                }
            }
            *data = Data { now: left.clone(), synced: left };
        }
        let mut names = state.synced_names.clone();
        for (name, file) in &state.names {
            if fastrand::bool() {
                names.insert(name.clone(), *file);
            }
        }
        names.retain(|name, _| state.names.contains_key(name) || fastrand::bool());
        (state.names, state.synced_names) = (names.clone(), names);
        Self(Arc::new(Mutex::new(state)))
    }

    /// The names and lengths of the files.
    pub(crate) fn files(&self) -> Vec<(String, usize)> {
        let state = self.0.lock().unwrap();
        state.names.iter().map(|(name, file)| (name.clone(), state.files[*file].now.len())).collect()
    }

    /// Changes what a file has.
    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.0.lock().unwrap();
        let file = state.names[name];
        change(&mut state.files[file].now);
    }

    fn act<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.0.lock().unwrap();
        state.n_calls += 1;
        if state.ends.is_some_and(|call| state.n_calls >= call) {
            return Err(io::Error::other("the process has ended"));
        }
        match state.fails {
            Some((call, errno)) if call == state.n_calls => Err(io::Error::from_raw_os_error(errno)),
            _ => act(&mut state),
        }
    }
}

impl SpoolFolder for Simulated {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn SpoolFile>> {
        let file = self.act(|state| {
            let next = state.files.len();
            let file = *state.names.entry(name.to_owned()).or_insert(next);
            if file == next {
                state.files.push(Data::default());
            }
            state.files[file].now.clear();
            Ok(file)
        })?;
        Ok(Box::new(Open { folder: self.clone(), file }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn SpoolFile>> {
        let file = self.0.lock().unwrap().names.get(name).copied();
        let file = file.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(Box::new(Open { folder: self.clone(), file }))
    }

    fn append(&self, name: &str) -> io::Result<Box<dyn SpoolFile>> {
        let is_there = self.0.lock().unwrap().names.contains_key(name);
        if is_there { self.open(name) } else { self.create(name) }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.act(|state| {
            let file = state.names.remove(from).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            state.names.insert(to.to_owned(), file);
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.act(|state| {
            let removed = state.names.remove(name);
            removed.map(drop).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.act(|state| {
            state.synced_names = state.names.clone();
            Ok(())
        })
    }
}

impl SpoolFile for Open {
    fn size(&self) -> io::Result<u64> {
        Ok(self.folder.0.lock().unwrap().files[self.file].now.len() as u64)
    }

    fn modified(&self) -> io::Result<SystemTime> {
        Ok(SystemTime::now())
    }

    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let state = self.folder.0.lock().unwrap();
        let rest = state.files[self.file].now.get(usize::try_from(at).unwrap()..).unwrap_or_default();
        let n = rest.len().min(into.len());
        into[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        let at = usize::try_from(at).unwrap();
        self.folder.act(|state| {
            let data = &mut state.files[self.file].now;
            data.resize(data.len().max(at + bytes.len()), 0);
            data[at..at + bytes.len()].copy_from_slice(bytes);
            Ok(())
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.folder.act(|state| {
            let data = &mut state.files[self.file];
            data.synced = data.now.clone();
            Ok(())
        })
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.folder.act(|state| {
            state.files[self.file].now.truncate(usize::try_from(len).unwrap());
            Ok(())
        })
    }
}
