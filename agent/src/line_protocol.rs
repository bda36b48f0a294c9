//! InfluxDB's line protocol: points to text that no input can break.
//!
//! Pure. Tags are sorted by key; every special character is escaped; what the format cannot carry is left out. Owns the
//! limits that come from the database, too.

use std::borrow::Cow;
use std::io::Write as _;

use smallvec::SmallVec;

use crate::point::{FieldValue, Name, Point};

/// The longest name from outside that becomes a tag: Kubernetes allows 253 bytes and an image reference has up to 4,096, but
/// InfluxDB rejects a series key above 64 KiB as a whole.
pub(crate) const MAX_TAG_BYTES: usize = 1024;
/// A blank, the longest time and a line feed.
const MAX_TAIL: usize = 22;
/// So many tags are put in order without an allocation.
const MAX_TAGS: usize = 16;
/// What ends a measurement's name.
const NAME: &[u8] = b", ";
/// What ends a key or a tag's value.
const KEY: &[u8] = b",= ";

/// How points become lines: Telegraf's `influx_*` options of an output. The default is Telegraf's too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Format {
    /// Unsigned counts are written as such, with `u`, which not every server accepts; otherwise as integers, capped at
    /// `i64::MAX`.
    pub uint_support: bool,
    /// Lines carry no time: the server uses the time at which it receives them.
    pub omit_timestamp: bool,
    /// Fields are sorted by key, instead of kept in the order they were added.
    pub sort_fields: bool,
    /// The longest line, including its end: a point's fields are spread over several lines with the same tags and time,
    /// which the server joins again. 0 means no limit.
    pub max_line_bytes: usize,
}

/// Why a point cannot be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// It has no name, or no field that can be written: floats that are not finite cannot.
    Empty,
    /// A field does not fit into a line of [`Format::max_line_bytes`] even alone.
    TooLong,
}

/// Adds a point as one line with its end to `out`, in the default format. `false` when nothing of it can be written.
pub(crate) fn encode(point: &Point, out: &mut Vec<u8>) -> bool {
    Format::default().encode(point, out, &mut Vec::new()).is_ok()
}

impl Format {
    /// Adds a point to `out`, usually as one line, and the end of each line to `ends`.
    ///
    /// # Errors
    /// Why nothing was added.
    pub fn encode(&self, point: &Point, out: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<(), EncodeError> {
        let (start, n_ends) = (out.len(), ends.len());
        let encoded = self.try_encode(point, out, ends);
        if encoded.is_err() {
            out.truncate(start);
            ends.truncate(n_ends);
        }
        encoded
    }

    fn try_encode(&self, point: &Point, out: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<(), EncodeError> {
        if is_empty(&point.measurement) {
            return Err(EncodeError::Empty);
        }
        let head = out.len();
        encode_head(point, out);
        let head = head..out.len();
        let mut tail = [0; MAX_TAIL];
        let tail = self.tail(point, &mut tail);
        let mut sorted: Vec<&(Name, FieldValue)> = Vec::new();
        if self.sort_fields {
            sorted.extend(&point.fields);
            sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        let field = |i: usize| if self.sort_fields { sorted[i] } else { &point.fields[i] };

        let mut line = head.start;
        let mut separator = b' ';
        let is_too_long = |line: usize, out: &Vec<u8>| {
            self.max_line_bytes > 0 && out.len() - line + tail.len() > self.max_line_bytes
        };
        for (key, value) in (0..point.fields.len()).map(field) {
            let before = out.len();
            out.push(separator);
            escape(key, KEY, out);
            out.push(b'=');
            if is_empty(key) || !self.encode_value(value, out) {
                out.truncate(before);
                continue;
            }
            if is_too_long(line, out) && separator == b',' {
                // It starts a new line.
                let field = out.split_off(before);
                out.extend_from_slice(tail);
                line = out.len();
                ends.push(line);
                out.extend_from_within(head.clone());
                out.push(b' ');
                out.extend(&field[1..]);
            }
            if is_too_long(line, out) {
                return Err(EncodeError::TooLong);
            }
            separator = b',';
        }
        if separator == b' ' {
            return Err(EncodeError::Empty);
        }
        out.extend_from_slice(tail);
        ends.push(out.len());
        Ok(())
    }

    /// What ends a line.
    fn tail<'a>(&self, point: &Point, tail: &'a mut [u8; MAX_TAIL]) -> &'a [u8] {
        if self.omit_timestamp {
            return b"\n";
        }
        let mut buffer = itoa::Buffer::new();
        let time = buffer.format(point.time.0).as_bytes();
        // It is long enough for every time.
        let end = time.len() + 1;
        tail[0] = b' ';
        tail[1..end].copy_from_slice(time);
        tail[end] = b'\n';
        &tail[..=end]
    }

    fn encode_value(&self, value: &FieldValue, out: &mut Vec<u8>) -> bool {
        match value {
            FieldValue::Int(value) => encode_integer(*value, b'i', out),
            FieldValue::UInt(value) if self.uint_support => encode_integer(*value, b'u', out),
            FieldValue::UInt(value) => encode_integer(i64::try_from(*value).unwrap_or(i64::MAX), b'i', out),
            FieldValue::Float(value) if value.is_finite() => encode_float(*value, out),
            FieldValue::Float(_) => return false,
            FieldValue::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
            FieldValue::Text(text) => {
                out.push(b'"');
                for byte in text.bytes() {
                    if matches!(byte, b'"' | b'\\') {
                        out.push(b'\\');
                    }
                    out.push(byte);
                }
                out.push(b'"');
            }
        }
        true
    }
}

fn encode_integer(value: impl itoa::Integer, kind: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    out.push(kind);
}

/// The shortest form that reads back as the same number, without an exponent, as Telegraf has it.
fn encode_float(value: f64, out: &mut Vec<u8>) {
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value);
    if text.contains('e') {
        // Very large or very small; writing to a vector does not fail.
        let _ = write!(out, "{value}");
    } else {
        out.extend_from_slice(text.strip_suffix(".0").unwrap_or(text).as_bytes());
    }
}

/// A tag whose key is escaped, and its value.
type EscapedTag<'a> = (Cow<'a, [u8]>, &'a str);

/// The measurement and its tags.
fn encode_head(point: &Point, out: &mut Vec<u8>) {
    escape(&point.measurement, NAME, out);
    let can_be_written = |(key, value): &&(Name, Name)| !is_empty(key) && !is_empty(value);
    // As they come from a line, or from an input that knows: nothing to sort, and no two become one.
    if point.tags.is_sorted_by(|(a, _), (b, _)| a < b) && point.tags.iter().all(|(key, _)| is_plain(key)) {
        for (key, value) in point.tags.iter().filter(can_be_written) {
            encode_tag(key.as_bytes(), value, out);
        }
        return;
    }
    let mut tags: SmallVec<[EscapedTag<'_>; MAX_TAGS]> = point
        .tags
        .iter()
        .filter(can_be_written)
        .map(|(key, value)| {
            if is_plain(key) {
                return (Cow::Borrowed(key.as_bytes()), value.as_str());
            }
            let mut escaped = Vec::with_capacity(key.len());
            escape(key, KEY, &mut escaped);
            (Cow::Owned(escaped), value.as_str())
        })
        .collect();
    tags.sort_by(|(a, _), (b, _)| a.cmp(b));
    // Two keys that differ only in what cannot be written would make the server reject the line.
    tags.dedup_by(|(a, _), (b, _)| a == b);
    for (key, value) in tags {
        encode_tag(&key, value, out);
    }
}

/// A tag whose key is escaped.
fn encode_tag(key: &[u8], value: &str, out: &mut Vec<u8>) {
    out.push(b',');
    out.extend_from_slice(key);
    out.push(b'=');
    escape(value, KEY, out);
}

/// Names and tag values: special characters get a backslash; a line's end and its like, which nothing can escape, become
/// `\n` spelled out.
///
/// A backslash of the text itself has no escape. Before a special character, a quote or the end, the server's several
/// scanners (`models/points.go` of InfluxDB 1.8) read it in different ways: for one the line continues, for another it has
/// ended, and what follows becomes an injected line. So it is left out there, and kept everywhere else.
fn escape(text: &str, special: &[u8], out: &mut Vec<u8>) {
    if is_plain(text) {
        return out.extend_from_slice(text.as_bytes());
    }
    let mut backslashes = 0;
    for byte in text.bytes() {
        if byte == b'\\' {
            backslashes += 1;
            continue;
        }
        if !matches!(byte, b',' | b'=' | b' ' | b'"') {
            out.extend(std::iter::repeat_n(b'\\', backslashes));
        }
        backslashes = 0;
        match byte {
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            b'\x0c' => out.extend(b"\\f"),
            byte => {
                if special.contains(&byte) {
                    out.push(b'\\');
                }
                out.push(byte);
            }
        }
    }
}

/// Whether a text needs no escaping, as is nearly always the case.
fn is_plain(text: &str) -> bool {
    // A look for each byte: every name and value passes here.
    const IS_SPECIAL: [bool; 256] = {
        let (mut is_special, special) = ([false; 256], b"\\,= \"\n\r\t\x0c");
        let mut i = 0;
        while i < special.len() {
            is_special[special[i] as usize] = true;
            i += 1;
        }
        is_special
    };
    !text.bytes().any(|byte| IS_SPECIAL[usize::from(byte)])
}

/// Whether nothing of a name or tag value can be written.
fn is_empty(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'\\')
}

/// Truncates a name from outside to [`MAX_TAG_BYTES`], between characters.
#[must_use]
pub(crate) fn truncated(mut name: String) -> String {
    if name.len() > MAX_TAG_BYTES {
        name.truncate(name.floor_char_boundary(MAX_TAG_BYTES));
        name.shrink_to_fit();
    }
    name
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::allocations::allocations;
    use crate::point::Timestamp;

    fn line(point: &Point) -> String {
        let mut out = Vec::new();
        encode(point, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn point(measurement: &'static str) -> Point {
        Point::new(measurement, Timestamp(7)).field("f", 1_i64)
    }

    #[test]
    fn a_point_is_encoded_without_an_allocation() {
        let point = point("m").tag("b", "2").tag("a", "x y").field("e", 2.5).field("t", true).field("s", "x");
        let (mut out, mut ends) = (Vec::new(), Vec::new());
        let mut encode = || {
            out.clear();
            ends.clear();
            Format::default().encode(&point, &mut out, &mut ends)
        };
        assert_ne!(allocations(&mut encode), 0, "the buffers");
        assert_eq!(allocations(encode), 0);
    }

    #[test]
    fn numbers_are_short_and_read_back_as_they_were() {
        let mut random = fastrand::Rng::with_seed(7);
        let typical =
            [0.0, -0.0, 1.0, 100.0, 12.5, 0.1, 1e15, 1e16, 1e17, 1e-5, 1e-7, f64::MAX, f64::MIN_POSITIVE];
        let shares = (0..20_000).map(|i| f64::from(i) / 7.0);
        let any: Vec<f64> = (0..100_000).map(|_| f64::from_bits(random.u64(..))).collect();
        for value in typical.into_iter().chain(shares).chain(any).filter(|value| value.is_finite()) {
            let mut out = Vec::new();
            encode_float(value, &mut out);
            let text = String::from_utf8(out).unwrap();
            // Of two that are as short and as near, each may be taken.
            assert_eq!((text.parse(), text.len()), (Ok(value), value.to_string().len()), "{text}");
            assert!(!text.contains(['e', 'E']), "{text}");
        }
        for value in [0, -1, 7, i64::MIN, i64::MAX] {
            assert_eq!(
                line(&Point::new("m", Timestamp(value)).field("f", value)),
                format!("m f={value}i {value}\n")
            );
        }
    }

    #[test]
    fn sorts_tags_and_keeps_the_order_of_fields() {
        let point = point("m").tag("b", "2").tag("a", "1").field("e", 2.5).field("t", true).field("s", "x");
        assert_eq!(line(&point), "m,a=1,b=2 f=1i,e=2.5,t=true,s=\"x\" 7\n");
    }

    #[rstest]
    #[case::comma("a,b", "a\\,b")]
    #[case::space("a b", "a\\ b")]
    #[case::equals("a=b", "a\\=b")]
    #[case::quote("a\"b", "a\"b")]
    #[case::newline("a\nb", "a\\nb")]
    #[case::injection("a\nm f=1i 7", "a\\nm\\ f\\=1i\\ 7")]
    #[case::backslash("a\\b", "a\\b")]
    #[case::backslash_at_the_end("a\\\\", "a")]
    #[case::backslash_before_a_comma("a\\,b", "a\\,b")]
    #[case::backslashes_before_a_space("a\\\\ b", "a\\ b")]
    #[case::backslash_before_a_quote("a\\\"b", "a\"b")]
    #[case::form_feed("a\x0cb\rc\td", "a\\fb\\rc\\td")]
    #[case::unicode("zürich-東京-🦀", "zürich-東京-🦀")]
    fn escapes_tags(#[case] value: &str, #[case] expected: &str) {
        assert_eq!(line(&point("m").tag("t", Name::new(value))), format!("m,t={expected} f=1i 7\n"));
        let mut named = Point::new("m", Timestamp(7)).field("f", 1_i64);
        named.set_tag(value.to_owned(), "v");
        assert_eq!(line(&named), format!("m,{expected}=v f=1i 7\n"));
        let mut named = Point::new("m", Timestamp(7));
        named.set_field(value.to_owned(), 1_i64);
        assert_eq!(line(&named), format!("m {expected}=1i 7\n"));
    }

    #[test]
    fn a_measurement_keeps_its_equals_sign() {
        assert_eq!(line(&point("a b,c=d\n")), "a\\ b\\,c=d\\n f=1i 7\n");
    }

    #[test]
    fn a_text_keeps_everything_but_what_ends_it() {
        let point = Point::new("m", Timestamp(7)).field("s", "a\"b\\c\nd,e f=g");
        assert_eq!(line(&point), "m s=\"a\\\"b\\\\c\nd,e f=g\" 7\n");
    }

    #[test]
    fn tags_with_the_same_escaped_key_are_one() {
        assert_eq!(line(&point("m").tag("a", "1").tag("a\\", "2").tag("b", "3")), "m,a=1,b=3 f=1i 7\n");
    }

    #[test]
    fn leaves_out_what_cannot_be_written() {
        let odd = point("m").tag("", "x").tag("t", "").tag("u", "\\").field("n", f64::NAN).field("", 1_i64);
        assert_eq!(line(&odd), "m f=1i 7\n");
        let nothing = Point::new("m", Timestamp(7)).field("n", f64::INFINITY).tag("a", "b");
        assert_eq!(line(&nothing), "");
        assert_eq!(line(&point("")), "");
    }

    #[rstest]
    #[case(1.0, "1")]
    #[case(0.1, "0.1")]
    #[case(1e20, "100000000000000000000")]
    #[case(-1.5e-7, "-0.00000015")]
    fn writes_floats_as_telegraf_does(#[case] value: f64, #[case] expected: &str) {
        let point = Point::new("m", Timestamp(7)).field("f", value);
        assert_eq!(line(&point), format!("m f={expected} 7\n"));
    }

    #[rstest]
    #[case::held(Format::default(), "m f=9223372036854775807i,e=1i 7\n")]
    #[case::as_it_is(Format { uint_support: true, ..Format::default() }, "m f=18446744073709551615u,e=1i 7\n")]
    #[case::no_time(Format { omit_timestamp: true, ..Format::default() }, "m f=9223372036854775807i,e=1i\n")]
    #[case::sorted(Format { sort_fields: true, ..Format::default() }, "m e=1i,f=9223372036854775807i 7\n")]
    fn follows_the_format(#[case] format: Format, #[case] expected: &str) {
        let point = Point::new("m", Timestamp(7)).field("f", u64::MAX).field("e", 1_i64);
        let mut out = Vec::new();
        assert_eq!(format.encode(&point, &mut out, &mut Vec::new()), Ok(()));
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[rstest]
    #[case::all_fit(25, &["m,t=x a=1i,b=2i,c=\"\n,\" 7\n"])]
    #[case::two_lines(24, &["m,t=x a=1i,b=2i 7\n", "m,t=x c=\"\n,\" 7\n"])]
    #[case::each_alone(15, &["m,t=x a=1i 7\n", "m,t=x b=2i 7\n", "m,t=x c=\"\n,\" 7\n"])]
    #[case::one_does_not_fit(14, &[])]
    fn long_points_are_spread_over_lines(#[case] max_line_bytes: usize, #[case] expected: &[&str]) {
        let point = Point::new("m", Timestamp(7)).tag("t", "x");
        let point = point.field("a", 1_i64).field("n", f64::NAN).field("b", 2_i64).field("c", "\n,");
        let (mut out, mut ends) = (b"before\n".to_vec(), vec![7]);
        let encoded = Format { max_line_bytes, ..Format::default() }.encode(&point, &mut out, &mut ends);
        let lines: Vec<String> = ends
            .windows(2)
            .map(|pair| String::from_utf8_lossy(&out[pair[0]..pair[1]]).into_owned())
            .collect();
        assert_eq!(lines, expected);
        assert_eq!(out.len(), *ends.last().unwrap());
        assert_eq!(encoded, if expected.is_empty() { Err(EncodeError::TooLong) } else { Ok(()) });
        assert!(lines.iter().all(|line| line.len() <= max_line_bytes));
    }

    #[test]
    fn a_name_is_truncated_between_characters() {
        let long = "é".repeat(MAX_TAG_BYTES);
        let short = truncated(format!("x{long}"));
        assert!(short.len() < MAX_TAG_BYTES && short.starts_with("xé"));
        assert_eq!(truncated("web".into()), "web");
    }
}
