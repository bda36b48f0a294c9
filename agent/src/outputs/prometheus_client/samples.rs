//! From points to samples, under the names that Telegraf gives them in either version. Pure.
//!
//! A point of Telegraf's says what it is: counter, gauge, histogram. Here that is known of each field that the schema describes;
//! of what the input `prometheus` gathered it is told by its fields, which are named after it.

use std::borrow::Cow;
use std::sync::Arc;

use super::names::{Sanitization, push_label};
use crate::options::filter::Patterns;
use crate::point::{FieldValue, Point, Timestamp};
use crate::schema::{ValueType, value_type};

/// What is said of a metric that Telegraf has no words for.
pub(super) const HELP: &str = "Telegraf collected metric";

/// One number, with all that says what it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample<'a> {
    /// The metric.
    pub(super) name: Cow<'a, str>,
    pub(super) value_type: ValueType,
    pub(super) help: Cow<'static, str>,
    /// A sample with the same key takes the place of the one before, also where its labels differ.
    pub(super) key: Arc<str>,
    /// `a="x",b="y"`
    pub(super) labels: Arc<str>,
    pub(super) number: Number,
    pub(super) time: Timestamp,
}

/// What of a metric a number is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    /// All of it.
    Value(f64),
    /// Of a histogram: how many were up to this bound.
    Bucket { bound: f64, count: f64 },
    /// Of a summary: the value of this quantile.
    Quantile { quantile: f64, value: f64 },
    /// Of either: the sum of what was observed.
    Sum(f64),
    /// And how many.
    Count(f64),
}

/// Telegraf's two ways to name metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum MetricVersion {
    /// Each of the input `prometheus`' metrics is a measurement.
    #[default]
    V1,
    /// Each is a field of the measurement `prometheus`.
    V2,
}

/// How points become samples.
#[derive(Clone, Debug, Default)]
pub(super) struct Naming {
    pub(super) version: MetricVersion,
    pub(super) sanitization: Sanitization,
    /// Texts are labels.
    pub(super) string_as_label: bool,
    /// Metrics that are counters, whatever else is known of them.
    pub(super) counters: Option<Patterns>,
    /// Likewise.
    pub(super) gauges: Option<Patterns>,
}

impl Naming {
    /// The samples of a point.
    pub(super) fn samples<'a>(&self, point: &'a Point) -> Vec<Sample<'a>> {
        let kind = Kind::of(point, self.version);
        let (key, labels) = self.labels(point, kind);
        let fields = point.fields.iter().filter_map(|(field, value)| {
            let number = self.number(value)?;
            let (name, part) = kind.part(point, field, number)?;
            let name = match self.version {
                MetricVersion::V1 => self.sanitization.metric_of_version_1(&name)?.into_owned(),
                MetricVersion::V2 => self.sanitization.metric(&name)?.into_owned(),
            };
            let value_type = self.value_type(&name, point, field, kind);
            let (key, labels) = (Arc::clone(&key), Arc::clone(&labels));
            Some(Sample {
                name: Cow::Owned(name),
                value_type,
                help: HELP.into(),
                key,
                labels,
                number: part,
                time: point.time,
            })
        });
        fields.collect()
    }

    /// The key and the labels of a point whose fields are metrics of a measurement.
    pub(super) fn labels_of_fields(&self, point: &Point) -> (Arc<str>, Arc<str>) {
        self.labels(point, Kind::Fields)
    }

    /// Booleans are numbers since version 2.
    fn number(&self, value: &FieldValue) -> Option<f64> {
        match value {
            FieldValue::Bool(value) => (self.version == MetricVersion::V2).then_some(f64::from(*value)),
            value => number(value),
        }
    }

    fn value_type(&self, name: &str, point: &Point, field: &str, kind: Kind) -> ValueType {
        let is_of = |patterns: &Option<Patterns>| patterns.as_ref().is_some_and(|of| of.matches(name));
        if is_of(&self.gauges) {
            return ValueType::Gauge;
        }
        if is_of(&self.counters) {
            return ValueType::Counter;
        }
        match kind {
            Kind::Passed(value_type) => value_type,
            Kind::Fields | Kind::FieldsOfVersion2 => value_type(&point.measurement, field),
            // What is collected of programs that keep to Prometheus' names.
            Kind::Metrics if name.ends_with("_total") => ValueType::Counter,
            Kind::Histogram | Kind::Summary | Kind::Metrics => ValueType::Untyped,
        }
    }

    /// The key and the labels of a point. A tag and a text of one name are one label: the text's in version 1, else the tag's.
    fn labels(&self, point: &Point, kind: Kind) -> (Arc<str>, Arc<str>) {
        let mut labels: Vec<(Cow<'_, str>, &str)> = Vec::new();
        let is_metric = kind == Kind::Metrics;
        for (key, value) in &point.tags {
            // These say which part of a metric it is.
            if is_metric && (key == "quantile" || key == "le" && has_suffix(point, "_bucket")) {
                continue;
            }
            if let Some(name) = self.sanitization.label(key) {
                set(&mut labels, name, value, true);
            }
        }
        let key = rendered(&mut labels);
        let mut has_texts = false;
        for (field, value) in &point.fields {
            if self.string_as_label
                && let FieldValue::Text(text) = value
                && let Some(name) = self.sanitization.label(field)
            {
                has_texts |= set(&mut labels, name, text, self.version == MetricVersion::V1);
            }
        }
        if !has_texts {
            return (Arc::clone(&key), key);
        }
        let labels = rendered(&mut labels);
        match self.version {
            MetricVersion::V1 => (key, labels),
            MetricVersion::V2 => (Arc::clone(&labels), labels),
        }
    }
}

/// Adds a label; one of the same name stays, unless the new one `wins`. Returns whether anything changed.
fn set<'a>(
    labels: &mut Vec<(Cow<'a, str>, &'a str)>,
    name: Cow<'a, str>,
    value: &'a str,
    wins: bool,
) -> bool {
    match labels.iter_mut().find(|(other, _)| *other == name) {
        Some(_) if !wins => false,
        Some(label) => {
            label.1 = value;
            true
        }
        None => {
            labels.push((name, value));
            true
        }
    }
}

fn rendered(labels: &mut [(Cow<'_, str>, &str)]) -> Arc<str> {
    labels.sort_unstable();
    let mut text = String::new();
    for (name, value) in labels {
        push_label(&mut text, name, value);
    }
    text.into()
}

#[expect(clippy::cast_precision_loss, reason = "every number of Prometheus is a float")]
pub(super) fn number(value: &FieldValue) -> Option<f64> {
    match value {
        FieldValue::Int(value) => Some(*value as f64),
        FieldValue::UInt(value) => Some(*value as f64),
        FieldValue::Float(value) => Some(*value),
        FieldValue::Text(_) | FieldValue::Bool(_) => None,
    }
}

/// The measurement whose fields are metrics of other programs, in version 2.
const METRICS: &str = "prometheus";

/// When a metric began to count: a field beside it, of pages in OpenMetrics.
const CREATED: &str = "created";

/// What a point's fields are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Fields of a measurement; in version 1 one that is called `value` has its name.
    Fields,
    FieldsOfVersion2,
    /// A metric of another program, of this type.
    Passed(ValueType),
    /// Such a histogram: fields are bounds.
    Histogram,
    /// Such a summary: fields are quantiles.
    Summary,
    /// Metrics of other programs, each a field.
    Metrics,
}

impl Kind {
    fn of(point: &Point, version: MetricVersion) -> Self {
        match version {
            MetricVersion::V1 => Self::of_version_1(point),
            MetricVersion::V2 if point.measurement == METRICS => Self::Metrics,
            MetricVersion::V2 => Self::FieldsOfVersion2,
        }
    }

    fn of_version_1(point: &Point) -> Self {
        let is_number = |value: &FieldValue| !matches!(value, FieldValue::Text(_) | FieldValue::Bool(_));
        let numbers = point.fields.iter().filter(|(field, value)| is_number(value) && field != CREATED);
        let fields: Vec<&str> = numbers.map(|(field, _)| field.as_str()).collect();
        match fields[..] {
            ["counter"] => return Self::Passed(ValueType::Counter),
            ["gauge"] => return Self::Passed(ValueType::Gauge),
            ["value"] => return Self::Passed(ValueType::Untyped),
            _ => {}
        }
        let is_part = |field: &&str| matches!(*field, "count" | "sum") || field.parse::<f64>().is_ok();
        if fields.contains(&"count") && fields.contains(&"sum") && fields.iter().all(is_part) {
            return if fields.contains(&"+Inf") { Self::Histogram } else { Self::Summary };
        }
        Self::Fields
    }

    /// The metric that a field is of, before it is sanitized, and what it is of it.
    fn part<'a>(self, point: &'a Point, field: &'a str, number: f64) -> Option<(Cow<'a, str>, Number)> {
        let of_point = Cow::Borrowed(point.measurement.as_str());
        match self {
            Self::Fields if field == "value" => Some((of_point, Number::Value(number))),
            Self::Passed(_) if field != CREATED => Some((of_point, Number::Value(number))),
            Self::Fields | Self::FieldsOfVersion2 | Self::Passed(_) => {
                Some((Cow::Owned(format!("{of_point}_{field}")), Number::Value(number)))
            }
            Self::Histogram | Self::Summary => {
                let part = match field {
                    "sum" => Number::Sum(number),
                    "count" => Number::Count(number),
                    bound if self == Self::Histogram => {
                        Number::Bucket { bound: bound.parse().ok()?, count: number }
                    }
                    quantile => Number::Quantile { quantile: quantile.parse().ok()?, value: number },
                };
                Some((of_point, part))
            }
            Self::Metrics => Some(of_version_2(point, field, number)),
        }
    }
}

/// Of the measurement `prometheus` each field is a metric, or a part of one.
fn of_version_2<'a>(point: &Point, field: &'a str, number: f64) -> (Cow<'a, str>, Number) {
    let tag = |key: &str| point.tag_value(key).and_then(|value| value.parse().ok());
    if let (Some(name), Some(bound)) = (field.strip_suffix("_bucket"), tag("le")) {
        return (name.into(), Number::Bucket { bound, count: number });
    }
    if let Some(quantile) = tag("quantile") {
        return (field.into(), Number::Quantile { quantile, value: number });
    }
    // Both come in one point. Alone it is a metric that happens to have such a name.
    let has = |name: &str, suffix: &str| {
        point.fields.iter().any(|(other, _)| other.strip_suffix(suffix) == Some(name))
    };
    for (suffix, other) in [("_sum", "_count"), ("_count", "_sum")] {
        if let Some(name) = field.strip_suffix(suffix)
            && has(name, other)
        {
            let part = if suffix == "_sum" { Number::Sum(number) } else { Number::Count(number) };
            return (name.into(), part);
        }
    }
    (field.into(), Number::Value(number))
}

fn has_suffix(point: &Point, suffix: &str) -> bool {
    point.fields.iter().any(|(field, _)| field.ends_with(suffix))
}

#[cfg(test)]
mod tests;
