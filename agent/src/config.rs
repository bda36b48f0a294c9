//! The resolved configuration.

pub mod duration;
