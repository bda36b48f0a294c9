//! Durations and sizes as Telegraf writes them.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserializer, Error, Visitor};

/// A duration in Go's syntax, `1h30m` or `500ms`, with `d` for days as Telegraf adds it.
///
/// # Errors
/// What is wrong with it, in words.
pub fn parse(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is no duration: write it as 10s, 500ms or 1h30m");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Ok(Duration::ZERO);
    }
    if let Ok(seconds) = rest.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| bad());
    }
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let number: f64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let seconds = match &rest[..unit_end] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return Err(bad()),
        };
        rest = &rest[unit_end..];
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| bad())?;
        sum = sum.checked_add(part).ok_or_else(bad)?;
    }
    Ok(sum)
}

/// A duration of an option: seconds as a number, or text as [`parse`] takes it.
///
/// # Errors
/// What is neither.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    struct DurationVisitor;
    impl Visitor<'_> for DurationVisitor {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration such as \"10s\", or a number of seconds")
        }

        fn visit_i64<E: Error>(self, seconds: i64) -> Result<Duration, E> {
            u64::try_from(seconds)
                .map(Duration::from_secs)
                .map_err(|_| E::custom("a duration cannot be negative"))
        }

        fn visit_u64<E: Error>(self, seconds: u64) -> Result<Duration, E> {
            Ok(Duration::from_secs(seconds))
        }

        fn visit_f64<E: Error>(self, seconds: f64) -> Result<Duration, E> {
            Duration::try_from_secs_f64(seconds)
                .map_err(|_| E::custom("a duration cannot be negative or without end"))
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
            parse(text).map_err(E::custom)
        }
    }
    deserializer.deserialize_any(DurationVisitor)
}

/// A size in bytes: a number, or text with a decimal (`KB`) or binary (`KiB`) unit.
///
/// # Errors
/// What is neither, or does not fit.
pub fn deserialize_size<'de, D: Deserializer<'de>, T: TryFrom<u64>>(deserializer: D) -> Result<T, D::Error> {
    struct SizeVisitor;
    impl Visitor<'_> for SizeVisitor {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a size such as \"1MiB\", or a number of bytes")
        }

        fn visit_i64<E: Error>(self, bytes: i64) -> Result<u64, E> {
            u64::try_from(bytes).map_err(|_| E::custom(format!("{bytes} is out of range")))
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
            parse_size(text)
                .ok_or_else(|| E::custom(format!("`{text}` is no size: write it as 65536, 64KiB or 1MB")))
        }
    }
    let bytes = deserializer.deserialize_any(SizeVisitor)?;
    T::try_from(bytes).map_err(|_| D::Error::custom(format!("{bytes} is out of range")))
}

fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    if text.is_empty() {
        return Some(0);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim() {
        "" | "B" => 1.0,
        "KB" | "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "KiB" => 1024.0,
        "MiB" => 1_048_576.0,
        "GiB" => 1_073_741_824.0,
        _ => return None,
    };
    /// The last up to which a float counts every byte.
    const MOST: f64 = 9_007_199_254_740_992.0;
    let bytes = number * unit;
    (bytes <= MOST).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("10s", 10_000_000_000)]
    #[case("1h30m", 5_400_000_000_000)]
    #[case("500ms", 500_000_000)]
    #[case("10us", 10_000)]
    #[case("10µs", 10_000)]
    #[case("1.5d", 129_600_000_000_000)]
    #[case("7", 7_000_000_000)]
    #[case("", 0)]
    fn durations(#[case] text: &str, #[case] ns: u128) {
        assert_eq!(parse(text).map(|d| d.as_nanos()), Ok(ns));
    }

    #[rstest]
    #[case("s")]
    #[case("10 apples")]
    #[case("-1s")]
    #[case("1e400")]
    #[case("99999999999999999999d")]
    #[case("1..2s")]
    #[case("é")]
    fn no_durations(#[case] text: &str) {
        assert!(parse(text).is_err());
    }

    #[rstest]
    #[case("1MiB", Some(1 << 20))]
    #[case("64 KB", Some(64_000))]
    #[case("12", Some(12))]
    #[case("1TB", None)]
    #[case("x", None)]
    #[case("99GiB", Some(99 << 30))]
    #[case("99999999GiB", None)]
    fn sizes(#[case] text: &str, #[case] bytes: Option<u64>) {
        assert_eq!(parse_size(text), bytes);
    }
}
