//! What a file has, before anything is resolved: keys with their values and places, and the tables of plugins.

use toml::Value;

use super::Place;

/// A key with its value and place.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) value: Value,
    /// Variables in it that are not set.
    pub(super) unset: Vec<String>,
    /// Where the keys are, if it is a table.
    pub(super) keys: Vec<(String, Place)>,
}

impl Entry {
    pub(super) fn new(key: &str, place: Place, value: Value) -> Self {
        Self { key: key.to_owned(), place, value, unset: Vec::new(), keys: Vec::new() }
    }
}

/// A plugin's table.
pub(super) struct RawSection {
    /// `inputs`, `outputs` or one of those that are not here.
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) entries: Vec<Entry>,
}

/// A section and the index of its file. Telegraf takes the buffer sizes and some more from `[agent]` as read up to that file.
pub(super) type Found = (RawSection, usize);
