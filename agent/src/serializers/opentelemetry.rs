//! OTLP: points as OpenTelemetry's metrics.
//!
//! Numbers are data points. A field that counts up is a cumulative, monotonic sum with the time when it was 0, which is kept
//! elsewhere ([`StartTimes`]); all others are gauges. Names and attributes are Telegraf's (`telegraf`), or those of OpenTelemetry's
//! semantic conventions (`semantic`, `conventions`).
//!
//! Source: <https://opentelemetry.io/docs/specs/otel/metrics/data-model/>.

mod batch;
mod conventions;
mod semantic;
mod telegraf;

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;

pub(crate) use self::batch::StartTimes;
use self::batch::{Batch, Value, key_values, metric};
use crate::point::Point;

/// Which names metrics and attributes have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Names {
    /// `measurement_field`, with the tags as attributes.
    #[default]
    Telegraf,
    /// Those of the semantic conventions, and Telegraf's of what has none.
    Semantic,
}

/// The format.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Otlp {
    pub(crate) names: Names,
    /// Further attributes of every resource.
    pub(crate) attributes: BTreeMap<String, String>,
}

/// What points became.
#[derive(Debug, Default)]
pub(crate) struct Converted {
    pub(crate) request: ExportMetricsServiceRequest,
    /// How many data points are in the request.
    pub(crate) data_points: u64,
}

impl Otlp {
    /// All points in one request, by resource and metric.
    pub(crate) fn convert(&self, points: &[Point], starts: &mut dyn StartTimes) -> Converted {
        let mut batch = Batch { starts, resources: BTreeMap::new(), data_points: 0 };
        for point in points {
            match self.names {
                Names::Telegraf => telegraf::add(&mut batch, point),
                Names::Semantic => semantic::add(&mut batch, point),
            }
        }
        let Batch { resources, data_points, .. } = batch;
        let resource_metrics = resources.into_iter().map(|(mut attributes, metrics)| {
            attributes.extend(
                self.attributes.iter().map(|(key, value)| (key.clone().into(), Value::Text(value.clone()))),
            );
            ResourceMetrics {
                resource: Some(Resource { attributes: key_values(attributes), ..Resource::default() }),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(self.scope()),
                    metrics: metrics.into_iter().map(|(name, points)| metric(name, points)).collect(),
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            }
        });
        let request = ExportMetricsServiceRequest { resource_metrics: resource_metrics.collect() };
        Converted { request, data_points }
    }

    /// Telegraf's has no name.
    fn scope(&self) -> InstrumentationScope {
        match self.names {
            Names::Telegraf => InstrumentationScope::default(),
            Names::Semantic => InstrumentationScope {
                name: env!("CARGO_PKG_NAME").into(),
                version: env!("CARGO_PKG_VERSION").into(),
                ..InstrumentationScope::default()
            },
        }
    }
}

#[cfg(test)]
mod tests;
