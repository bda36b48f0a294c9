//! What every answer of the kubelet needs to be parsed: values that may be null, and names of a bounded length. Pure.

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};

use crate::line_protocol::truncated;

/// A value, or its default for a null.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A name of a length that a database accepts; empty for a null.
pub(super) fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    or_default(deserializer).map(truncated)
}
