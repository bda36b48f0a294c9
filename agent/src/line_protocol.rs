//! InfluxDB's line protocol: points to text that no input can break.
//!
//! Pure. Tags are sorted by key; every special character is escaped; what the format cannot carry is left out.

use std::io::Write as _;

use crate::point::{FieldValue, Point};

/// Adds a point as one line with its end to `out`. `false` when nothing of it can be said: no field is left.
pub fn encode(point: &Point, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    escape(&point.measurement, &[b',', b' '], out);
    let mut tags: Vec<&(crate::point::Name, String)> =
        point.tags.iter().filter(|(key, value)| !key.is_empty() && !value.is_empty()).collect();
    tags.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (key, value) in tags {
        out.push(b',');
        escape(key, &[b',', b'=', b' '], out);
        out.push(b'=');
        escape(value, &[b',', b'=', b' '], out);
    }
    let mut separator = b' ';
    for (key, value) in &point.fields {
        let before = out.len();
        out.push(separator);
        escape(key, &[b',', b'=', b' '], out);
        out.push(b'=');
        if !key.is_empty() && encode_value(value, out) {
            separator = b',';
        } else {
            out.truncate(before);
        }
    }
    if separator == b' ' || point.measurement.is_empty() {
        out.truncate(start);
        return false;
    }
    let _ = writeln!(out, " {}", point.time.0);
    true
}

fn encode_value(value: &FieldValue, out: &mut Vec<u8>) -> bool {
    let _ = match value {
        FieldValue::Int(value) => write!(out, "{value}i"),
        FieldValue::UInt(value) => write!(out, "{}i", i64::try_from(*value).unwrap_or(i64::MAX)),
        FieldValue::Float(value) if value.is_finite() => write!(out, "{value}"),
        FieldValue::Float(_) => return false,
        FieldValue::Bool(value) => write!(out, "{value}"),
        FieldValue::Text(text) => {
            out.push(b'"');
            for byte in text.bytes() {
                if matches!(byte, b'"' | b'\\') {
                    out.push(b'\\');
                }
                out.push(byte);
            }
            out.push(b'"');
            Ok(())
        }
    };
    true
}

/// Names and tag values: special characters get a backslash; a line's end, which nothing can escape, becomes `\n`
/// in letters.
fn escape(text: &str, special: &[u8], out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            byte => {
                if special.contains(&byte) {
                    out.push(b'\\');
                }
                out.push(byte);
            }
        }
    }
    // A backslash at the end would escape what follows.
    if text.ends_with('\\') {
        out.push(b' ');
    }
}
