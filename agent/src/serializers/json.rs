//! Telegraf's data format `json`: an object for each point, `{"fields":{…},"name":"cpu","tags":{…},"timestamp":1458229140}`.
//!
//! To the byte what Go's `encoding/json` makes of it, keys sorted: <https://pkg.go.dev/encoding/json#Marshal>.

use std::io::Write as _;
use std::time::Duration;

use crate::point::{FieldValue, Name, Point};

/// The format: how times are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Json {
    /// Nanoseconds in a unit of a time.
    unit: i64,
}

impl Json {
    /// Times in units of the largest power of ten nanoseconds that is not above this; 0 means seconds.
    pub(crate) fn new(timestamp_units: Duration) -> Self {
        let nanos = match timestamp_units.as_nanos() {
            0 => 1_000_000_000,
            nanos => i64::try_from(nanos).unwrap_or(i64::MAX),
        };
        Self { unit: 10_i64.pow(nanos.ilog10()) }
    }

    /// One point and a newline.
    pub(crate) fn point(self, point: &Point) -> Vec<u8> {
        let mut out = Vec::new();
        self.object(point, &mut out);
        out.push(b'\n');
        out
    }

    /// All points in one object, `{"metrics":[…]}`, and a newline.
    pub(crate) fn batch(self, points: &[Point]) -> Vec<u8> {
        let mut out = b"{\"metrics\":[".to_vec();
        for (i, point) in points.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            self.object(point, &mut out);
        }
        out.extend_from_slice(b"]}\n");
        out
    }

    fn object(self, point: &Point, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"fields\":");
        let is_finite = |value: &FieldValue| !matches!(value, FieldValue::Float(value) if !value.is_finite());
        map(point.fields.iter().filter(|(_, value)| is_finite(value)), value, out);
        out.extend_from_slice(b",\"name\":");
        text(&point.measurement, out);
        out.extend_from_slice(b",\"tags\":");
        map(point.tags.iter(), |tag, out| text(tag, out), out);
        // Writing to memory does not fail, here and below.
        let _ = write!(out, ",\"timestamp\":{}}}", point.time.0 / self.unit);
    }
}

/// An object with its keys sorted; of a key that comes twice the last value.
fn map<'a, V: 'a>(
    entries: impl Iterator<Item = &'a (Name, V)>,
    mut write: impl FnMut(&V, &mut Vec<u8>),
    out: &mut Vec<u8>,
) {
    let mut entries: Vec<&(Name, V)> = entries.collect();
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    out.push(b'{');
    let mut separator: &[u8] = b"";
    for (i, (key, value)) in entries.iter().enumerate() {
        if entries.get(i + 1).is_some_and(|(next, _)| next == key) {
            continue;
        }
        out.extend_from_slice(separator);
        text(key, out);
        out.push(b':');
        write(value, out);
        separator = b",";
    }
    out.push(b'}');
}

fn value(value: &FieldValue, out: &mut Vec<u8>) {
    let _ = match value {
        FieldValue::Int(value) => write!(out, "{value}"),
        FieldValue::UInt(value) => write!(out, "{value}"),
        FieldValue::Bool(value) => write!(out, "{value}"),
        FieldValue::Float(value) => {
            float(*value, out);
            Ok(())
        }
        FieldValue::Text(value) => {
            text(value, out);
            Ok(())
        }
    };
}

/// As ECMAScript writes numbers: very small and very large ones with an exponent.
fn float(value: f64, out: &mut Vec<u8>) {
    let size = value.abs();
    let _ = if size != 0.0 && size < 1e-6 {
        write!(out, "{value:e}")
    } else if size >= 1e21 {
        write!(out, "{}", format!("{value:e}").replace('e', "e+"))
    } else {
        write!(out, "{value}")
    };
}

/// A text in quotes; what HTML could take for its own is escaped, too.
fn text(text: &str, out: &mut Vec<u8>) {
    let start = out.len();
    let _ = serde_json::to_writer(&mut *out, text);
    let is_special = |byte: &u8| matches!(byte, b'<' | b'>' | b'&' | 0xE2);
    if !out[start..].iter().any(is_special) {
        return;
    }
    let quoted = out.split_off(start);
    for c in String::from_utf8_lossy(&quoted).chars() {
        let _ = match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => write!(out, "\\u{:04x}", u32::from(c)),
            c => write!(out, "{c}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::point::Timestamp;

    fn seconds() -> Json {
        Json::new(Duration::from_secs(1))
    }

    /// The example of Telegraf's documentation of the format.
    #[test]
    fn is_as_documented() {
        let point = Point::new("docker", Timestamp(1_458_229_140_000_000_000))
            .tag("host", "raynor")
            .field("n_images", 660_i64)
            .field("field_1", 30_i64)
            .field("field_2", 4_i64)
            .field("field_N", 59_i64);
        let object = r#"{"fields":{"field_1":30,"field_2":4,"field_N":59,"n_images":660},"name":"docker","tags":{"host":"raynor"},"timestamp":1458229140}"#;
        let json = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        assert_eq!(json(seconds().point(&point)), format!("{object}\n"));
        let batch = seconds().batch(&[point.clone(), point]);
        assert_eq!(json(batch), format!("{{\"metrics\":[{object},{object}]}}\n"));
        assert_eq!(json(seconds().batch(&[])), "{\"metrics\":[]}\n");
    }

    /// What `json.Marshal` of Go 1.26 prints for these values.
    #[rstest]
    #[case(FieldValue::Float(1.0), "1")]
    #[case(FieldValue::Float(-0.1), "-0.1")]
    #[case(FieldValue::Float(0.0), "0")]
    #[case(FieldValue::Float(0.000001), "0.000001")]
    #[case(FieldValue::Float(1e-7), "1e-7")]
    #[case(FieldValue::Float(1e20), "100000000000000000000")]
    #[case(FieldValue::Float(-1.5e21), "-1.5e+21")]
    #[case(FieldValue::UInt(u64::MAX), "18446744073709551615")]
    #[case(FieldValue::Int(i64::MIN), "-9223372036854775808")]
    #[case(FieldValue::Bool(true), "true")]
    #[case("a\"b\\c\n\t\u{1}".into(), r#""a\"b\\c\n\t\u0001""#)]
    #[case("<a>&\u{2028}é…".into(), r#""\u003ca\u003e\u0026\u2028é…""#)]
    fn values_are_written_as_go_does(#[case] field: FieldValue, #[case] expected: &str) {
        let mut out = Vec::new();
        value(&field, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[rstest]
    #[case(Duration::ZERO, 1_500)]
    #[case(Duration::from_nanos(1), 1_500_000_000_000)]
    #[case(Duration::from_micros(999), 15_000_000)]
    #[case(Duration::from_millis(10), 150_000)]
    #[case(Duration::from_secs(60), 150)]
    fn times_are_in_powers_of_ten(#[case] units: Duration, #[case] expected: i64) {
        let point = Point::new("m", Timestamp(1_500_000_000_000)).field("f", f64::NAN);
        let expected = format!("{{\"fields\":{{}},\"name\":\"m\",\"tags\":{{}},\"timestamp\":{expected}}}\n");
        assert_eq!(String::from_utf8(Json::new(units).point(&point)).unwrap(), expected);
    }
}
