//! From a section's keys and values to a plugin's own type.
//!
//! Each key has a place, and so does each problem. Options of Telegraf that have no effect here are accepted with a warning, old
//! names count as the new ones, and for an unknown name the nearest known one is suggested.

use std::fmt;

use serde::de::DeserializeOwned;
use toml::Value;

use super::Place;
use super::common::COMMON_KEYS;
use super::entry::{Entry, RawSection};
use super::notes::Notes;
use super::telegraf::{self, Legacy};
use crate::options;
use crate::options::keys::keys;
use crate::options::tls::{ServerTls, Tls};
use crate::options::{nearest, value};
use crate::plugins::PluginTable;

/// The options of one plugin.
pub(super) fn own_options<O: PluginTable>(
    section: &RawSection,
    entries: &[Entry],
    notes: &mut Notes,
) -> Option<O> {
    let owner = Owner::Plugin { kind: section.kind, name: section.name.clone() };
    O::read(&section.name, &mut PluginSection { entries, owner, notes })
}

/// The names of a plugin's own options, as a file has them.
pub(super) fn option_names<O: PluginTable>(plugin: &str) -> Vec<&'static str> {
    struct Names(Vec<&'static str>);
    impl options::Section for Names {
        fn read<T: DeserializeOwned>(&mut self) -> Option<T> {
            self.0 = keys_in_files::<T>().collect();
            None
        }
    }
    let mut names = Names(Vec::new());
    O::read(plugin, &mut names);
    names.0
}

/// Whose options are read.
#[derive(Clone, Debug)]
pub(super) enum Owner {
    Agent,
    Plugin { kind: &'static str, name: String },
}

impl Owner {
    /// What Telegraf does with an option that is unknown here.
    fn legacy(&self, key: &str) -> Option<Legacy> {
        match self {
            Self::Agent => None,
            Self::Plugin { kind, name } => telegraf::option(kind, name, key),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent => f.write_str("[agent]"),
            Self::Plugin { kind, name } => write!(f, "{} `{name}`", kind.trim_end_matches('s')),
        }
    }
}

/// Deserializes a plugin's options into its own type.
pub(super) struct PluginSection<'a> {
    entries: &'a [Entry],
    owner: Owner,
    notes: &'a mut Notes,
}

impl options::Section for PluginSection<'_> {
    fn read<T: DeserializeOwned>(&mut self) -> Option<T> {
        read_options(self.entries, &self.owner, self.notes)
    }
}

/// Deserializes a table key by key, so that each problem has its line, and then as a whole.
pub(super) fn read_options<T: DeserializeOwned>(
    entries: &[Entry],
    owner: &Owner,
    notes: &mut Notes,
) -> Option<T> {
    let before = notes.problems.len();
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for entry in entries {
        match read_one::<T>(entry) {
            // Telegraf takes an empty text for an option that is not set.
            Ok(()) if entry.value.as_str() == Some("") && takes_any_text::<T>(&entry.key) => {}
            Ok(()) => known.push(entry.clone()),
            Err(Misfit::Unknown) => unknown.push(entry),
            Err(Misfit::Value(message)) => {
                notes.problem(&entry.place, format!("`{}` of {owner}: {message}", entry.key));
            }
        }
    }
    for entry in unknown {
        let (key, place) = (&entry.key, &entry.place);
        let is_foreign = key.starts_with("tls_") && tls_group::<T>().is_none();
        match owner.legacy(key).filter(|_| !is_foreign) {
            Some(Legacy::Renamed(new)) if keys_in_files::<T>().any(|known| known == new) => {
                match take_renamed::<T>(entry, new, &mut known) {
                    Ok(()) => notes.warning(place, format!("`{key}` of {owner} is now called `{new}`")),
                    Err(problem) => notes.problem(place, format!("`{key}` of {owner}: {problem}")),
                }
            }
            Some(Legacy::Ignored(why)) => {
                notes.warning(place, format!("`{key}` of {owner} has no effect: {why}"));
            }
            Some(Legacy::IgnoredUnless(default, why)) => {
                if entry.value.to_string() != default {
                    notes.warning(place, format!("`{key}` of {owner} has no effect: {why}"));
                }
            }
            Some(Legacy::Rejected(why)) => notes.problem(place, format!("`{key}` of {owner}: {why}")),
            _ => {
                let common: &[&str] = if matches!(owner, Owner::Agent) { &[] } else { COMMON_KEYS };
                let known: Vec<&str> = keys_in_files::<T>().chain(common.iter().copied()).collect();
                notes.problem(place, format!("unknown option `{key}` of {owner}{}", nearest(key, &known)));
            }
        }
    }
    if notes.problems.len() > before {
        return None;
    }
    match value::read(&table::<T>(&known)) {
        Ok(options) => Some(options),
        Err(problem) => {
            let place = entries.first().map(|entry| entry.place.clone()).unwrap_or_default();
            notes.problem(&place, format!("{owner}: {problem}"));
            None
        }
    }
}

/// Why an entry does not fit a type.
enum Misfit {
    /// The type has no such key.
    Unknown,
    /// The value does not fit; what to write.
    Value(String),
}

/// The keys of a type as a file has them: those of the TLS options are among the others.
fn keys_in_files<T: DeserializeOwned>() -> impl Iterator<Item = &'static str> {
    let (field, tls) = tls_group::<T>().unwrap_or_default();
    keys::<T>().iter().filter(move |key| **key != field).chain(tls).copied()
}

fn read_one<T: DeserializeOwned>(entry: &Entry) -> Result<(), Misfit> {
    if !keys_in_files::<T>().any(|key| key == entry.key) {
        return Err(Misfit::Unknown);
    }
    value::read::<T>(&table::<T>(std::slice::from_ref(entry))).map(drop).map_err(Misfit::Value)
}

/// Whether an option is a text of its own choice, and no duration, size or word of a list.
fn takes_any_text<T: DeserializeOwned>(key: &str) -> bool {
    const NO_WORD: &str = "\0";
    let entry = Entry::new(key, Place::default(), NO_WORD.into());
    read_one::<T>(&entry).is_ok()
}

/// Uses an option under its new name. A list is appended to an existing one, and a text becomes a list where a list is expected.
fn take_renamed<T: DeserializeOwned>(entry: &Entry, new: &str, known: &mut Vec<Entry>) -> Result<(), String> {
    let mut renamed = Entry { key: new.to_owned(), ..entry.clone() };
    if let Err(Misfit::Value(_)) = read_one::<T>(&renamed) {
        renamed.value = Value::Array(vec![renamed.value]);
    }
    match read_one::<T>(&renamed) {
        Ok(()) => {}
        Err(Misfit::Value(message)) => return Err(message),
        Err(Misfit::Unknown) => return Err(format!("there is no `{new}`")),
    }
    match known.iter_mut().find(|other| other.key == new) {
        Some(Entry { value: Value::Array(list), .. }) => {
            list.extend(renamed.value.as_array().cloned().unwrap_or_default());
        }
        Some(_) => return Err(format!("`{new}` is set too: remove one of them")),
        None => known.push(renamed),
    }
    Ok(())
}

/// The field for the TLS options in a plugin's options, and what these are: those of a client or of a server.
const TLS_GROUPS: [(&str, &[&str]); 2] = [("tls", Tls::KEYS), ("server_tls", ServerTls::KEYS)];

/// The one of them that a type has.
fn tls_group<T: DeserializeOwned>() -> Option<(&'static str, &'static [&'static str])> {
    TLS_GROUPS.into_iter().find(|(field, _)| keys::<T>().contains(field))
}

/// The table that a type is deserialized from: the TLS options are one field of it.
fn table<T: DeserializeOwned>(entries: &[Entry]) -> Value {
    let (field, names) = tls_group::<T>().unwrap_or_default();
    let (tls, own): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| names.contains(&entry.key.as_str()));
    let pair = |entry: &Entry| (entry.key.clone(), entry.value.clone());
    let mut table: toml::Table = own.into_iter().map(pair).collect();
    if !tls.is_empty() {
        table.insert(field.into(), Value::Table(tls.into_iter().map(pair).collect()));
    }
    Value::Table(table)
}
