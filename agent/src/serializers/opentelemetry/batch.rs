//! Data points by resource and metric, as they are gathered for a request, and the messages that they become.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValueOf;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, Summary,
    SummaryDataPoint, number_data_point,
};

use crate::point::{FieldValue, Point};
use crate::schema::Since;

/// Knows when sums were 0.
pub(crate) trait StartTimes {
    /// The time at which the sum was 0 that has this value at `time`, in nanoseconds since 1970; 0 where nobody knows. `series`
    /// tells sums apart.
    fn start(&mut self, series: u64, since: Since, time: i64, value: f64) -> u64;
}

/// An attribute's value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Value {
    Text(String),
    List(Vec<String>),
}

/// Attributes by key.
pub(super) type Attributes = BTreeMap<Cow<'static, str>, Value>;

/// What tells a metric from others of its resource. The order is that of the request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) name: Cow<'static, str>,
    pub(super) unit: &'static str,
    pub(super) kind: Kind,
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Of the moment.
    Gauge,
    /// A sum that goes up.
    Counter,
    /// A sum that goes up and down, such as of bytes in use.
    UpDown,
    Histogram,
    Summary,
}

/// The data points of a metric.
#[derive(Debug, Default)]
pub(super) struct DataPoints {
    numbers: Vec<NumberDataPoint>,
    histograms: Vec<HistogramDataPoint>,
    summaries: Vec<SummaryDataPoint>,
}

/// What has been converted so far.
pub(super) struct Batch<'a> {
    pub(super) starts: &'a mut dyn StartTimes,
    pub(super) resources: BTreeMap<Attributes, BTreeMap<Name, DataPoints>>,
    pub(super) data_points: u64,
}

impl Batch<'_> {
    /// When a field of a point was 0.
    pub(super) fn start(&mut self, point: &Point, field: &str, since: Since, value: f64) -> u64 {
        let mut series = DefaultHasher::new();
        (&point.measurement, &point.tags, field).hash(&mut series);
        self.starts.start(series.finish(), since, point.time.0, value)
    }

    pub(super) fn number(&mut self, resource: &Attributes, name: Name, point: NumberDataPoint) {
        self.points(resource, name).numbers.push(point);
    }

    pub(super) fn histogram(&mut self, resource: &Attributes, name: Name, point: HistogramDataPoint) {
        self.points(resource, name).histograms.push(point);
    }

    pub(super) fn summary(&mut self, resource: &Attributes, name: Name, point: SummaryDataPoint) {
        self.points(resource, name).summaries.push(point);
    }

    /// Those of a metric, to which one is added.
    fn points(&mut self, resource: &Attributes, name: Name) -> &mut DataPoints {
        self.data_points += 1;
        if !self.resources.contains_key(resource) {
            self.resources.insert(resource.clone(), BTreeMap::new());
        }
        self.resources.entry(resource.clone()).or_default().entry(name).or_default()
    }
}

/// A number of OTLP; `None` of what is none. One above the largest integer is that.
pub(super) fn number(value: &FieldValue) -> Option<number_data_point::Value> {
    match value {
        FieldValue::Int(value) => Some(number_data_point::Value::AsInt(*value)),
        FieldValue::UInt(value) => {
            Some(number_data_point::Value::AsInt(i64::try_from(*value).unwrap_or(i64::MAX)))
        }
        FieldValue::Float(value) => Some(number_data_point::Value::AsDouble(*value)),
        FieldValue::Text(_) | FieldValue::Bool(_) => None,
    }
}

/// The same as it is compared and scaled.
pub(super) fn float(value: &FieldValue) -> Option<f64> {
    match value {
        FieldValue::Int(value) => Some(*value as f64),
        FieldValue::UInt(value) => Some(*value as f64),
        FieldValue::Float(value) => Some(*value),
        FieldValue::Text(_) | FieldValue::Bool(_) => None,
    }
}

/// A point's time; OTLP has none before 1970.
pub(super) fn nanos(point: &Point) -> u64 {
    u64::try_from(point.time.0).unwrap_or(0)
}

pub(super) fn metric(name: Name, DataPoints { numbers, histograms, summaries }: DataPoints) -> Metric {
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    let data = match name.kind {
        Kind::Gauge => Data::Gauge(Gauge { data_points: numbers }),
        Kind::Counter | Kind::UpDown => Data::Sum(Sum {
            data_points: numbers,
            aggregation_temporality,
            is_monotonic: name.kind == Kind::Counter,
        }),
        Kind::Histogram => Data::Histogram(Histogram { data_points: histograms, aggregation_temporality }),
        Kind::Summary => Data::Summary(Summary { data_points: summaries }),
    };
    Metric { name: name.name.into_owned(), unit: name.unit.into(), data: Some(data), ..Metric::default() }
}

pub(super) fn key_values(attributes: Attributes) -> Vec<KeyValue> {
    let text = |text| AnyValue { value: Some(AnyValueOf::StringValue(text)) };
    let value = |value| match value {
        Value::Text(value) => text(value),
        Value::List(values) => {
            let values = values.into_iter().map(text).collect();
            AnyValue { value: Some(AnyValueOf::ArrayValue(ArrayValue { values })) }
        }
    };
    let key_value = |(key, of): (Cow<'static, str>, Value)| KeyValue {
        key: key.into_owned(),
        value: Some(value(of)),
        ..KeyValue::default()
    };
    attributes.into_iter().map(key_value).collect()
}
