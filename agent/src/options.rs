//! Plugin options: those that plugins share, and the building blocks of their own.
//!
//! Below the plugins, so that all of them can use it. Reading a file, and reporting what is wrong with it, is `config`'s.

pub mod common;
pub(crate) mod duration;
pub(crate) mod filter;
pub(crate) mod keys;
pub mod secret;
pub(crate) mod tls;

use serde::de::DeserializeOwned;

/// An option that a plugin cannot use.
#[derive(Debug, thiserror::Error)]
#[error("`{option}`: {what}")]
pub struct OptionError {
    /// The option.
    pub option: &'static str,
    /// What is wrong, and what to do.
    pub what: String,
}

impl OptionError {
    /// An error about one option.
    pub(crate) fn new(option: &'static str, what: impl Into<String>) -> Self {
        Self { option, what: what.into() }
    }
}

/// A plugin's section of a file, as the tables of plugins see it.
pub trait Section {
    /// The options as the plugin's own type; `None` when they have problems, which the section records.
    fn read<T: DeserializeOwned>(&mut self) -> Option<T>;
}
