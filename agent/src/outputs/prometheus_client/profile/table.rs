//! What a profile is made of: the types of its tables, and short constructors for their rows. Pure.

use std::borrow::Cow;
use std::sync::Arc;

use crate::outputs::prometheus_client::names::push_label;
use crate::outputs::prometheus_client::samples::{Number, Sample, number};
use crate::point::Point;
use crate::schema::ValueType;

/// A program whose page this one stands in for.
#[derive(Debug)]
pub(in super::super) struct Profile {
    /// The value of the option.
    pub(in super::super) name: &'static str,
    /// What it is, in the documentation.
    pub(super) title: &'static str,
    /// What the inputs have to be like.
    pub(super) needs: &'static str,
    pub(super) sources: &'static [Source],
    /// What the program has and this page has not, and why. `*` stands for the rest of a name.
    pub(super) left_out: &'static [(&'static str, &'static str)],
}

/// A measurement of which metrics are made.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) measurement: &'static str,
    /// The labels of a point; `None` for a point that is left out.
    pub(super) labels: fn(&Point) -> Option<Labels<'_>>,
    pub(super) metrics: &'static [Metric],
}

pub(super) type Labels<'a> = Vec<(&'static str, Cow<'a, str>)>;

/// A metric, or those of its series that have these labels.
#[derive(Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) value_type: ValueType,
    pub(super) value: Figure,
    pub(super) labels: &'static [(&'static str, &'static str)],
    pub(super) help: &'static str,
}

/// What a metric's value is made of.
#[derive(Debug)]
pub(super) enum Figure {
    /// A field, times this.
    Field(&'static str, f64),
    /// The first field less the second, times this.
    Difference(&'static str, &'static str, f64),
    /// A field, or 0 where the point does not have it.
    FieldOrZero(&'static str, f64),
    /// 1 where a tag has this value, else 0.
    Is(&'static str, &'static str),
    /// The point's time, in seconds.
    Time,
    /// That there is a point.
    Zero,
}

impl Figure {
    fn of(&self, point: &Point) -> Option<f64> {
        let field = |key: &str| number(point.field_value(key)?);
        match self {
            Self::Field(key, scale) => Some(field(key)? * scale),
            Self::Difference(key, less, scale) => Some((field(key)? - field(less)?) * scale),
            Self::FieldOrZero(key, scale) => Some(field(key).unwrap_or(0.0) * scale),
            Self::Is(tag, value) => Some(f64::from(point.tag_value(tag)? == *value)),
            Self::Zero => Some(0.0),
            #[expect(clippy::cast_precision_loss, reason = "every number of Prometheus is a float")]
            Self::Time => Some((point.time.0 / 1_000_000) as f64 / 1_000.0),
        }
    }

    /// What it is made of, in words.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Field(key, _) | Self::FieldOrZero(key, _) => format!("`{key}`"),
            Self::Difference(key, less, _) => format!("`{key}` less `{less}`"),
            Self::Is(tag, value) => format!("the tag `{tag}` is `{value}`"),
            Self::Time => "the time of a point".into(),
            Self::Zero => "there is a point".into(),
        }
    }
}

impl Profile {
    /// The samples of a point.
    pub(in super::super) fn samples<'a>(&self, point: &Point) -> Vec<Sample<'a>> {
        let sources = self.sources.iter().filter(|source| source.measurement == point.measurement);
        sources.filter_map(|source| source.samples(point)).flatten().collect()
    }
}

impl Source {
    fn samples<'a>(&self, point: &Point) -> Option<Vec<Sample<'a>>> {
        let labels = (self.labels)(point)?;
        let plain = rendered(&labels, &[]);
        let sample = |metric: &Metric| {
            let value = metric.value.of(point)?;
            let labels =
                if metric.labels.is_empty() { Arc::clone(&plain) } else { rendered(&labels, metric.labels) };
            Some(Sample {
                name: Cow::Borrowed(metric.name),
                value_type: metric.value_type,
                help: metric.help.into(),
                key: Arc::clone(&labels),
                labels,
                number: Number::Value(value),
                time: point.time,
            })
        };
        Some(self.metrics.iter().filter_map(sample).collect())
    }
}

fn rendered(labels: &[(&str, Cow<'_, str>)], more: &[(&str, &str)]) -> Arc<str> {
    let more = more.iter().map(|(name, value)| (*name, *value));
    let mut all: Vec<(&str, &str)> =
        labels.iter().map(|(name, value)| (*name, &**value)).chain(more).collect();
    all.sort_unstable();
    let mut text = String::new();
    for (name, value) in all {
        push_label(&mut text, name, value);
    }
    text.into()
}

pub(super) const fn counter(name: &'static str, value: Figure, help: &'static str) -> Metric {
    Metric { name, value_type: ValueType::Counter, value, labels: &[], help }
}

pub(super) const fn gauge(name: &'static str, value: Figure, help: &'static str) -> Metric {
    Metric { name, value_type: ValueType::Gauge, value, labels: &[], help }
}

pub(super) const fn untyped(name: &'static str, value: Figure, help: &'static str) -> Metric {
    Metric { name, value_type: ValueType::Untyped, value, labels: &[], help }
}

impl Metric {
    /// With labels of its own.
    pub(super) const fn with(self, labels: &'static [(&'static str, &'static str)]) -> Self {
        Self { labels, ..self }
    }
}
