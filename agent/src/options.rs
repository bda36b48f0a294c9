//! What plugins are told: the options that they share, and the parts that their own are made of.
//!
//! Below the plugins, so that all of them can use it. How a file is read, and what is said about it, is `config`'s.

pub mod common;
pub(crate) mod duration;
pub(crate) mod filter;
pub(crate) mod keys;
pub mod secret;
pub(crate) mod tls;

use serde::de::DeserializeOwned;

/// An option of a plugin that it cannot work with.
#[derive(Debug, thiserror::Error)]
#[error("`{option}`: {what}")]
pub struct OptionError {
    /// The option.
    pub option: &'static str,
    /// What is wrong with it, and what to do.
    pub what: String,
}

impl OptionError {
    /// About one option.
    pub(crate) fn new(option: &'static str, what: impl Into<String>) -> Self {
        Self { option, what: what.into() }
    }
}

/// A plugin's section of a file, as the table of plugins sees it.
pub trait Section {
    /// The options as the plugin's own type; `None` when they have problems, which the section keeps.
    fn read<T: DeserializeOwned>(&mut self) -> Option<T>;
}
