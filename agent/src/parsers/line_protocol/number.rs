//! Numbers, booleans and times: where they end, and what they are.

use super::precision::Precision;
use super::reason::{Reason, TIMES};

/// Whole numbers of so many digits are in the range of 64 bits.
const MAX_DIGITS: usize = 18;

/// The comma or space after a number, or the line's end.
pub(super) fn number_end(text: &[u8], start: usize) -> Result<usize, Reason> {
    let end = value_end(text, start);
    let number = std::str::from_utf8(&text[start..end]).map_err(|_| Reason::InvalidNumber)?;
    let digits = number.strip_prefix('-').unwrap_or(number);
    match digits.as_bytes() {
        [whole @ .., kind @ (b'i' | b'u')]
            if is_whole(whole)
                && whole.len() <= MAX_DIGITS
                && (*kind == b'i' || digits.len() == number.len()) => {}
        [whole @ .., b'i'] if is_whole(whole) => {
            let number = &number[..number.len() - 1];
            number.parse::<i64>().map_err(|_| Reason::IntegerOutOfRange(number.to_owned()))?;
        }
        [whole @ .., b'u'] if is_whole(whole) && digits.len() == number.len() => {
            let number = &number[..number.len() - 1];
            number.parse::<u64>().map_err(|_| Reason::UnsignedOutOfRange(number.to_owned()))?;
        }
        _ => check_float(number.as_bytes())?,
    }
    Ok(end)
}

fn value_end(text: &[u8], start: usize) -> usize {
    let length = text[start..].iter().position(|byte| matches!(byte, b',' | b' '));
    length.map_or(text.len(), |length| start + length)
}

fn is_whole(digits: &[u8]) -> bool {
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// Digits with one point, and with an exponent that they do not start with.
fn check_float(text: &[u8]) -> Result<(), Reason> {
    let is_negative = text.first() == Some(&b'-');
    let mut has_point = false;
    let mut has_exponent = false;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {}
            b'-' if at == 0 => {}
            b'.' if !has_point => has_point = true,
            b'e' | b'E' if at > 0 => has_exponent = true,
            b'+' | b'-' if at > 0 && matches!(text[at - 1], b'e' | b'E') => {}
            _ => return Err(Reason::InvalidNumber),
        }
    }
    if text.len() == usize::from(is_negative) + usize::from(has_point) {
        return Err(Reason::InvalidNumber);
    }
    // Without an exponent a number of up to 308 digits is always one.
    if (has_exponent || text.len() > 300) && float(text).is_none() {
        return Err(Reason::InvalidFloat);
    }
    Ok(())
}

fn float(text: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    value.is_finite().then_some(value)
}

/// The comma or space after a boolean, or the line's end.
pub(super) fn boolean_end(text: &[u8], start: usize) -> Result<usize, Reason> {
    let end = value_end(text, start);
    boolean(&text[start..end]).map(|_| end).ok_or(Reason::InvalidBoolean)
}

/// A boolean in one of influxd's spellings.
pub(super) fn boolean(text: &[u8]) -> Option<bool> {
    match text {
        b"t" | b"T" | b"true" | b"True" | b"TRUE" => Some(true),
        b"f" | b"F" | b"false" | b"False" | b"FALSE" => Some(false),
        _ => None,
    }
}

/// A time in nanoseconds, from digits with or without a minus.
pub(super) fn time(text: &str, precision: Precision) -> Result<i64, Reason> {
    if text == "-" {
        return Err(Reason::NoTimestamp(text.to_owned()));
    }
    let time: i64 = text.parse().map_err(|_| Reason::TimestampOutOfRange(text.to_owned()))?;
    let time = time.checked_mul(precision.nanoseconds());
    time.filter(|time| TIMES.contains(time)).ok_or(Reason::TimeOutOfRange)
}
