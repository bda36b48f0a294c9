//! Telegraf's names: `measurement_field`, tags as attributes of data points, and the two forms in which samples of Prometheus are
//! points.
//!
//! Source: <https://github.com/influxdata/influxdb-observability/blob/main/docs/metrics.md>. Other than there, what counts up is
//! a sum also where Telegraf's input does not say so, and a summary is told from a histogram, which has a field `+Inf`.

use std::borrow::Cow;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{HistogramDataPoint, NumberDataPoint, SummaryDataPoint};

use super::batch::{Attributes, Batch, Kind, Name, Value, float, key_values, nanos, number};
use crate::point::{FieldValue, Point};
use crate::schema::{self, Since};

/// The tags that are attributes of a resource, with any words after a further dot: those of the semantic conventions 1.16 that
/// are about one.
const OF_RESOURCES: &[&str] = &[
    "aws.ecs.cluster.arn",
    "aws.ecs.container.arn",
    "aws.ecs.launchtype",
    "aws.ecs.task.arn",
    "aws.ecs.task.family",
    "aws.ecs.task.revision",
    "aws.eks.cluster.arn",
    "aws.log.group.arns",
    "aws.log.group.names",
    "aws.log.stream.arns",
    "aws.log.stream.names",
    "browser.brands",
    "browser.language",
    "browser.mobile",
    "browser.platform",
    "browser.user_agent",
    "cloud.account.id",
    "cloud.availability_zone",
    "cloud.platform",
    "cloud.provider",
    "cloud.region",
    "container.id",
    "container.image.name",
    "container.image.tag",
    "container.name",
    "container.runtime",
    "deployment.environment",
    "device.id",
    "device.manufacturer",
    "device.model.identifier",
    "device.model.name",
    "faas.id",
    "faas.instance",
    "faas.max_memory",
    "faas.name",
    "faas.version",
    "host.arch",
    "host.id",
    "host.image.id",
    "host.image.name",
    "host.image.version",
    "host.name",
    "host.type",
    "k8s.cluster.name",
    "k8s.container.name",
    "k8s.container.restart_count",
    "k8s.cronjob.name",
    "k8s.cronjob.uid",
    "k8s.daemonset.name",
    "k8s.daemonset.uid",
    "k8s.deployment.name",
    "k8s.deployment.uid",
    "k8s.job.name",
    "k8s.job.uid",
    "k8s.namespace.name",
    "k8s.node.name",
    "k8s.node.uid",
    "k8s.pod.name",
    "k8s.pod.uid",
    "k8s.replicaset.name",
    "k8s.replicaset.uid",
    "k8s.statefulset.name",
    "k8s.statefulset.uid",
    "os.description",
    "os.name",
    "os.type",
    "os.version",
    "process.command",
    "process.command_args",
    "process.command_line",
    "process.executable.name",
    "process.executable.path",
    "process.owner",
    "process.parent_pid",
    "process.pid",
    "process.runtime.description",
    "process.runtime.name",
    "process.runtime.version",
    "service.instance.id",
    "service.name",
    "service.namespace",
    "service.version",
    "telemetry.auto.version",
    "telemetry.sdk.language",
    "telemetry.sdk.name",
    "telemetry.sdk.version",
    "webengine.description",
    "webengine.name",
    "webengine.version",
];

/// Adds a point.
pub(super) fn add(batch: &mut Batch<'_>, point: &Point) {
    let (mut resource, mut attributes) = (Attributes::new(), Attributes::new());
    for (key, value) in &point.tags {
        let of = if is_of_resource(key) { &mut resource } else { &mut attributes };
        of.insert(Cow::Owned(key.to_string()), Value::Text(value.to_string()));
    }
    add_fields(batch, point, &resource, &key_values(attributes), |_| true);
}

fn is_of_resource(key: &str) -> bool {
    let is_rest = |rest: &str| {
        let mut words = rest.split('.');
        let is_word = |word: &str| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        words.next() == Some("") && words.all(is_word)
    };
    OF_RESOURCES
        .iter()
        .any(|name| key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || is_rest(rest)))
}

/// Adds those fields of a point that `takes` says.
pub(super) fn add_fields(
    batch: &mut Batch<'_>,
    point: &Point,
    resource: &Attributes,
    attributes: &[KeyValue],
    takes: impl Fn(&str) -> bool,
) {
    let measurement = &*point.measurement;
    if !schema::is_known(measurement) && add_family(batch, point, resource, attributes) {
        return;
    }
    let is_of_prometheus = matches!(measurement, "prometheus" | "openmetric");
    for (key, value) in point.fields.iter().filter(|(key, _)| takes(key)) {
        let (name, since) = if is_of_prometheus {
            (key.to_string(), counts_by_name(key).then_some(Since::Unknown))
        } else {
            (format!("{measurement}_{key}"), schema::counter(measurement, key))
        };
        add_number(batch, point, (resource, attributes), (name, key, value, since));
    }
}

/// Whether a sample of Prometheus counts up, as its conventions name such.
fn counts_by_name(name: &str) -> bool {
    ["_total", "_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end))
}

fn add_number(
    batch: &mut Batch<'_>,
    point: &Point,
    (resource, attributes): (&Attributes, &[KeyValue]),
    (name, field, value, since): (String, &str, &FieldValue, Option<Since>),
) {
    let (Some(value), Some(compared)) = (number(value), float(value)) else { return };
    let start_time_unix_nano = since.map_or(0, |since| batch.start(point, field, since, compared));
    let kind = if since.is_some() { Kind::Counter } else { Kind::Gauge };
    let data_point = NumberDataPoint {
        attributes: attributes.to_vec(),
        start_time_unix_nano,
        time_unix_nano: nanos(point),
        value: Some(value),
        ..NumberDataPoint::default()
    };
    batch.number(resource, Name { name: name.into(), unit: "", kind }, data_point);
}

/// Adds a point that is all of one sample of Prometheus, whose measurement is the metric's name; `false` where it is none.
fn add_family(batch: &mut Batch<'_>, point: &Point, resource: &Attributes, attributes: &[KeyValue]) -> bool {
    let of = (resource, attributes);
    let single = [("gauge", None), ("counter", Some(Since::Unknown))];
    for (field, since) in single {
        if let Some(value) = point.field_value(field) {
            let name = point.measurement.to_string();
            add_number(batch, point, of, (name, field, value, since));
            return true;
        }
    }
    let field = |key: &str| point.field_value(key).and_then(float);
    let (Some(count), Some(sum)) = (field("count"), field("sum")) else { return false };
    let bound = |(key, value): &(_, FieldValue)| Some((<str>::parse(key_of(key)).ok()?, float(value)?));
    let mut bounds: Vec<(f64, f64)> = point.fields.iter().filter_map(bound).collect();
    bounds.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    // Seconds since 1970, where the page has it.
    let start = match field("created") {
        Some(created) => (created * 1e9) as u64,
        None => batch.start(point, "count", Since::Unknown, count),
    };
    let name = |kind| Name { name: Cow::Owned(point.measurement.to_string()), unit: "", kind };
    if point.field_value("+Inf").is_some() {
        let finite: Vec<(f64, f64)> = bounds.into_iter().filter(|(bound, _)| bound.is_finite()).collect();
        let data_point = HistogramDataPoint {
            attributes: attributes.to_vec(),
            start_time_unix_nano: start,
            time_unix_nano: nanos(point),
            count: count as u64,
            sum: Some(sum),
            bucket_counts: bucket_counts(&finite, count),
            explicit_bounds: finite.into_iter().map(|(bound, _)| bound).collect(),
            ..HistogramDataPoint::default()
        };
        batch.histogram(resource, name(Kind::Histogram), data_point);
    } else {
        let quantile = |(quantile, value)| ValueAtQuantile { quantile, value };
        let data_point = SummaryDataPoint {
            attributes: attributes.to_vec(),
            start_time_unix_nano: start,
            time_unix_nano: nanos(point),
            count: count as u64,
            sum,
            quantile_values: bounds.into_iter().map(quantile).collect(),
            ..SummaryDataPoint::default()
        };
        batch.summary(resource, name(Kind::Summary), data_point);
    }
    true
}

fn key_of(key: &crate::point::Name) -> &str {
    key
}

/// How many observations are in each bucket, the last one without an upper bound, from how many are up to each bound.
fn bucket_counts(bounds: &[(f64, f64)], count: f64) -> Vec<u64> {
    let mut before = 0;
    let up_to = bounds.iter().map(|(_, up_to)| *up_to as u64).chain([count as u64]);
    up_to
        .map(|up_to| {
            let n = up_to.saturating_sub(before);
            before = before.max(up_to);
            n
        })
        .collect()
}
