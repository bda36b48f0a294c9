//! Durations as Telegraf writes them.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// A duration of a plugin's own option: seconds as a number, or a Go duration such as `1h30m`.
///
/// # Errors
/// What is neither.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_secs)
}
