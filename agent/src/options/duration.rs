//! Durations and sizes in Telegraf's formats.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserializer, Error, Visitor};

/// A duration in an option of `[agent]` or of a plugin: Go's syntax, `1h30m` or `500ms`, with Telegraf's `d` for days, or a
/// number of seconds; an empty one is zero.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(Duration::ZERO);
    }
    if let Some(seconds) = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite()) {
        return of_seconds(seconds);
    }
    sum_of_parts(text, Some(86_400.0)).and_then(bounded)
}

/// A duration in an option that every plugin has: only Go's syntax.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse_go(text: &str) -> Result<Duration, String> {
    match text {
        "" => Err(not_a_duration(text)),
        "0" => Ok(Duration::ZERO),
        _ => sum_of_parts(text, None).and_then(bounded),
    }
}

/// The longest duration, Go's: 292 years. Any moment plus this one can be told.
const LONGEST: Duration = Duration::from_nanos(i64::MAX as u64);

fn bounded(duration: Duration) -> Result<Duration, String> {
    if duration <= LONGEST { Ok(duration) } else { Err(TOO_LONG.into()) }
}

const TOO_LONG: &str = "a duration cannot be longer than 292 years";
const NEGATIVE: &str = "a duration cannot be negative";

fn of_seconds(seconds: f64) -> Result<Duration, String> {
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) => bounded(duration),
        Err(_) if seconds < 0.0 => Err(NEGATIVE.into()),
        Err(_) => Err(TOO_LONG.into()),
    }
}

fn not_a_duration(text: &str) -> String {
    format!("`{text}` is not a duration: write it as 10s, 500ms or 1h30m")
}

/// `day` is the length of a `d`, if that unit is allowed.
fn sum_of_parts(text: &str, day: Option<f64>) -> Result<Duration, String> {
    let bad = || not_a_duration(text);
    if text.starts_with('-') && sum_of_parts(&text[1..], day).is_ok() {
        return Err(NEGATIVE.into());
    }
    let mut rest = text;
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
            "d" => day.ok_or_else(bad)?,
            _ => return Err(bad()),
        };
        rest = &rest[unit_end..];
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| bad())?;
        sum = sum.checked_add(part).ok_or_else(bad)?;
    }
    Ok(sum)
}

/// Deserializes a duration: seconds as a number, or text for [`parse`].
///
/// # Errors
/// The value is neither.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    struct DurationVisitor;
    impl Visitor<'_> for DurationVisitor {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration such as \"10s\", or a number of seconds")
        }

        fn visit_i64<E: Error>(self, seconds: i64) -> Result<Duration, E> {
            let seconds = u64::try_from(seconds).map_err(|_| E::custom(NEGATIVE))?;
            bounded(Duration::from_secs(seconds)).map_err(E::custom)
        }

        fn visit_f64<E: Error>(self, seconds: f64) -> Result<Duration, E> {
            of_seconds(seconds).map_err(E::custom)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
            parse(text).map_err(E::custom)
        }
    }
    deserializer.deserialize_any(DurationVisitor)
}

/// As [`deserialize`], for an option that cannot be zero: zero and an empty text mean the default, as in Telegraf.
///
/// # Errors
/// The value is no duration.
pub(crate) fn deserialize_or<'de, D: Deserializer<'de>, const SECONDS: u64>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    let duration = deserialize(deserializer)?;
    Ok(if duration.is_zero() { Duration::from_secs(SECONDS) } else { duration })
}

/// As [`deserialize_size`], for an option that cannot be zero.
///
/// # Errors
/// The value is no size, or is out of range.
pub(crate) fn deserialize_size_or<'de, D: Deserializer<'de>, const BYTES: u32>(
    deserializer: D,
) -> Result<u32, D::Error> {
    Ok(match deserialize_size(deserializer)? {
        0 => BYTES,
        bytes => bytes,
    })
}

/// Deserializes a size in bytes: a number, or text with a decimal (`KB`) or binary (`KiB`) unit; an empty one is 0.
///
/// # Errors
/// The value is neither, or does not fit the option's type.
pub(crate) fn deserialize_size<'de, D: Deserializer<'de>, T: TryFrom<u64>>(
    deserializer: D,
) -> Result<T, D::Error> {
    struct SizeVisitor;
    impl Visitor<'_> for SizeVisitor {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a size such as \"1MiB\", or a number of bytes")
        }

        fn visit_i64<E: Error>(self, bytes: i64) -> Result<u64, E> {
            u64::try_from(bytes).map_err(|_| E::custom("a size cannot be negative"))
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
            parse_size(text)
                .ok_or_else(|| E::custom(format!("`{text}` is not a size: write it as 65536, 64KiB or 1MB")))
        }
    }
    let bytes = deserializer.deserialize_any(SizeVisitor)?;
    T::try_from(bytes).map_err(|_| D::Error::custom(format!("{bytes} bytes are out of range")))
}

fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    if text.is_empty() {
        return Some(0);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let unit = text[digits..].trim();
    let bytes = match unit.strip_suffix('B').unwrap_or(unit) {
        "" => number,
        prefix => {
            let (letter, base) = match prefix.strip_suffix('i') {
                Some(letter) => (letter, 1024_f64),
                None => (prefix, 1000_f64),
            };
            // Telegraf's units end with a B.
            let power = ["K", "M", "G", "T", "P"].iter().position(|known| *known == letter)?;
            if !unit.ends_with('B') {
                return None;
            }
            number * base.powi(i32::try_from(power).ok()? + 1)
        }
    };
    // Up to this a float represents every integer.
    (bytes <= 2_f64.powi(53)).then_some(bytes as u64)
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
    #[case("2562047h", 9_223_369_200_000_000_000)]
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
    #[case("2562048h")]
    #[case("9223372037")]
    #[case("-7")]
    #[case("1..2s")]
    #[case("é")]
    fn invalid_durations(#[case] text: &str) {
        assert!(parse(text).is_err());
    }

    #[rstest]
    #[case("1MiB", Some(1 << 20))]
    #[case("64 KB", Some(64_000))]
    #[case("1.5KiB", Some(1536))]
    #[case("12", Some(12))]
    #[case("12B", Some(12))]
    #[case("", Some(0))]
    #[case("2TB", Some(2_000_000_000_000))]
    #[case("1M", None)]
    #[case("1XB", None)]
    #[case("x", None)]
    #[case("99999999PiB", None)]
    fn sizes(#[case] text: &str, #[case] bytes: Option<u64>) {
        assert_eq!(parse_size(text), bytes);
    }

    #[rstest]
    #[case("10s", Some(10_000))]
    #[case("1h0.5s", Some(3_600_500))]
    #[case("0", Some(0))]
    #[case("0s", Some(0))]
    #[case("", None)]
    #[case("s", None)]
    #[case("10", None)]
    #[case("1d", None)]
    #[case("-1s", None)]
    fn durations_that_every_plugin_has_are_gos(#[case] text: &str, #[case] ms: Option<u64>) {
        assert_eq!(parse_go(text).ok(), ms.map(Duration::from_millis));
    }
}
