//! Telegraf's data format `prometheusremotewrite`: Prometheus' remote write 1.0, a message of protobuf in a block of snappy.
//!
//! A sample for each number and boolean, named `measurement_field`, and its field alone where the measurement is `prometheus`;
//! tags are labels. Unlike in Telegraf, a sample that is older than the one before it in a batch is sorted in and not dropped.
//!
//! Source: <https://prometheus.io/docs/specs/prw/remote_write_spec/>.

use std::borrow::Cow;
use std::collections::BTreeMap;

use prost::Message;

use crate::point::{FieldValue, Point};

/// What a request says of its body.
pub(crate) const HEADERS: &[(&str, &str)] = &[
    ("Content-Type", "application/x-protobuf"),
    ("Content-Encoding", "snappy"),
    ("X-Prometheus-Remote-Write-Version", "0.1.0"),
];

/// The format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PrometheusRemoteWrite {
    /// Texts are labels of the other fields; else they are left out.
    pub(crate) string_as_label: bool,
}

/// `prometheus.WriteRequest` of `prompb/remote.proto`, without metadata.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    pub(crate) timeseries: Vec<TimeSeries>,
}

/// `prometheus.TimeSeries` of `prompb/types.proto`, as the next two.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TimeSeries {
    /// Sorted by name.
    #[prost(message, repeated, tag = "1")]
    pub(crate) labels: Vec<Label>,
    /// By time.
    #[prost(message, repeated, tag = "2")]
    pub(crate) samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Message)]
pub(crate) struct Label {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Sample {
    #[prost(double, tag = "1")]
    pub(crate) value: f64,
    /// Milliseconds since 1970.
    #[prost(int64, tag = "2")]
    pub(crate) timestamp: i64,
}

impl PrometheusRemoteWrite {
    /// A request's body.
    pub(crate) fn batch(self, points: &[Point]) -> Vec<u8> {
        let message = self.request(points).encode_to_vec();
        // It fails for 4 GiB and more.
        snap::raw::Encoder::new().compress_vec(&message).unwrap_or_default()
    }

    /// Each series once, sorted by its labels.
    fn request(self, points: &[Point]) -> WriteRequest {
        let mut series: BTreeMap<Vec<Label>, BTreeMap<i64, f64>> = BTreeMap::new();
        for point in points {
            let labels = self.labels(point);
            let timestamp = point.time.0 / 1_000_000;
            for (key, value) in &point.fields {
                let (Some(value), Some(name)) = (number(value), name(&point.measurement, key)) else {
                    continue;
                };
                let mut labels = labels.clone();
                // Before all that begins with a small letter, but not before all others.
                let place = labels.partition_point(|label| label.name.as_str() < NAME);
                labels.insert(place, Label { name: NAME.into(), value: name });
                // Of two in one millisecond the last counts.
                series.entry(labels).or_default().insert(timestamp, value);
            }
        }
        let timeseries = series.into_iter().map(|(labels, samples)| {
            let samples = samples.into_iter().map(|(timestamp, value)| Sample { value, timestamp });
            TimeSeries { labels, samples: samples.collect() }
        });
        WriteRequest { timeseries: timeseries.collect() }
    }

    /// The labels of all samples of a point, sorted, each name once.
    fn labels(self, point: &Point) -> Vec<Label> {
        let mut labels: Vec<Label> = Vec::with_capacity(point.tags.len() + 1);
        let tags = point.tags.iter().map(|(key, value)| (key, value.as_str()));
        let texts = point.fields.iter().filter_map(|(key, value)| match value {
            FieldValue::Text(text) if self.string_as_label => Some((key, text.as_str())),
            _ => None,
        });
        for (key, value) in tags.chain(texts).filter(|(_, value)| !value.is_empty()) {
            let Some(name) = label_name(key) else { continue };
            if name != NAME && !labels.iter().any(|label| label.name == name) {
                labels.push(Label { name: name.into_owned(), value: value.to_owned() });
            }
        }
        labels.sort();
        labels
    }
}

/// The label that a metric's name is.
const NAME: &str = "__name__";

fn number(value: &FieldValue) -> Option<f64> {
    match value {
        FieldValue::Int(value) => Some(*value as f64),
        FieldValue::UInt(value) => Some(*value as f64),
        FieldValue::Float(value) => Some(*value),
        FieldValue::Bool(value) => Some(f64::from(u8::from(*value))),
        FieldValue::Text(_) => None,
    }
}

/// The metric's name; `None` where nothing is left of it.
fn name(measurement: &str, key: &str) -> Option<String> {
    let name = match measurement {
        "prometheus" => Cow::Borrowed(key),
        _ => Cow::Owned(format!("{measurement}_{key}")),
    };
    valid(&name, |c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':')).map(Cow::into_owned)
}

fn label_name(key: &str) -> Option<Cow<'_, str>> {
    valid(key, |c| c.is_ascii_alphanumeric() || c == '_')
}

/// A text as it is where Prometheus takes it for a name. Else with `_` for each character that no name has, but without a first
/// one that no name begins with, and without any `_` around it; `None` where nothing is left.
fn valid(text: &str, is_part: impl Fn(char) -> bool) -> Option<Cow<'_, str>> {
    let is_start = |c: char| is_part(c) && !c.is_ascii_digit();
    let mut chars = text.chars();
    let first = chars.next()?;
    if is_start(first) && text.chars().all(&is_part) {
        return Some(Cow::Borrowed(text));
    }
    let rest = chars.map(|c| if is_part(c) { c } else { '_' });
    let text: String = Some(first).filter(|first| is_start(*first)).into_iter().chain(rest).collect();
    let text = text.trim_matches('_');
    (!text.is_empty()).then(|| Cow::Owned(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::point::Timestamp;

    const MS: i64 = 1_000_000;

    /// Each series as the text format has it, and its samples.
    fn written(format: PrometheusRemoteWrite, points: &[Point]) -> Vec<(String, Vec<(i64, f64)>)> {
        let body = snap::raw::Decoder::new().decompress_vec(&format.batch(points)).unwrap();
        let request = WriteRequest::decode(body.as_slice()).unwrap();
        let series = request.timeseries.into_iter().map(|series| {
            let labels = series.labels.iter().map(|label| format!("{}={}", label.name, label.value));
            let samples = series.samples.iter().map(|sample| (sample.timestamp, sample.value));
            (labels.collect::<Vec<_>>().join(","), samples.collect())
        });
        series.collect()
    }

    #[test]
    fn numbers_are_samples_and_tags_are_labels() {
        let point = Point::new("cpu", Timestamp(7 * MS + 999_999)).tag("host", "h").tag("Cpu", "cpu0");
        let point = point.field("time_idle", 42.5).field("n", 3_u64).field("on", true).field("text", "x");
        let expected = [
            ("Cpu=cpu0,__name__=cpu_n,host=h".to_owned(), vec![(7, 3.0)]),
            ("Cpu=cpu0,__name__=cpu_on,host=h".to_owned(), vec![(7, 1.0)]),
            ("Cpu=cpu0,__name__=cpu_time_idle,host=h".to_owned(), vec![(7, 42.5)]),
        ];
        assert_eq!(written(PrometheusRemoteWrite::default(), std::slice::from_ref(&point)), expected);
        let labelled = written(PrometheusRemoteWrite { string_as_label: true }, &[point]);
        assert_eq!(labelled[0].0, "Cpu=cpu0,__name__=cpu_n,host=h,text=x");
        let of_prometheus = Point::new("prometheus", Timestamp(0)).field("up", 1.0);
        assert_eq!(written(PrometheusRemoteWrite::default(), &[of_prometheus])[0].0, "__name__=up");
    }

    #[test]
    fn samples_of_a_series_are_sorted_by_time() {
        let point = |time: i64, value: i64| Point::new("m", Timestamp(time)).tag("a", "b").field("f", value);
        let points = [point(3 * MS, 3), point(MS, 1), point(2 * MS, 2), point(3 * MS + 1, 4)];
        let expected = [("__name__=m_f,a=b".to_owned(), vec![(1, 1.0), (2, 2.0), (3, 4.0)])];
        assert_eq!(written(PrometheusRemoteWrite::default(), &points), expected);
    }

    #[test]
    fn a_label_is_there_once_and_never_empty() {
        let point = Point::new("m", Timestamp(0)).tag("a.b", "1").tag("a_b", "2").tag("__name__", "x");
        let point = point.tag("e", "").field("f", 1_i64).field("a_b", "3");
        let format = PrometheusRemoteWrite { string_as_label: true };
        assert_eq!(written(format, &[point])[0].0, "__name__=m_f,a_b=1");
    }

    /// The answers of Telegraf's `SanitizeMetricName`.
    #[rstest]
    #[case("cpu", "time_idle", Some("cpu_time_idle"))]
    #[case("docker.io", "a-b", Some("docker_io_a_b"))]
    #[case("_m", "f_", Some("_m_f_"))]
    #[case("_m", "f.", Some("m_f"))]
    #[case("0m:x", "f", Some("m:x_f"))]
    #[case("prometheus", "é", None)]
    #[case("prometheus", "ab é", Some("ab"))]
    fn names_are_made_valid(#[case] measurement: &str, #[case] key: &str, #[case] expected: Option<&str>) {
        assert_eq!(name(measurement, key).as_deref(), expected);
    }
}
