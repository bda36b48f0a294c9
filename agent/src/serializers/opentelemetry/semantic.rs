//! The names of OpenTelemetry's semantic conventions, from the table in `conventions`. What has no convention is as `telegraf` has
//! it, with the resource that its tags say.

use std::borrow::Cow;

use opentelemetry_proto::tonic::metrics::v1::{NumberDataPoint, number_data_point};

use super::batch::{Attributes, Batch, Kind, Name, Value, float, key_values, nanos, number};
use super::conventions::{
    AVAILABLE, CONVENTIONS, Convention, MINOR_FAULTS, Metric, Of, PACKETS, RESERVED, RESOURCES, USED_MEMORY,
    WORKLOADS,
};
use super::telegraf;
use crate::point::{FieldValue, Point};
use crate::schema::{self, Since};

/// Adds a point.
pub(super) fn add(batch: &mut Batch<'_>, point: &Point) {
    let of_measurement = |convention: &&Convention| convention.measurement == point.measurement;
    let convention =
        CONVENTIONS.iter().find(|convention| of_measurement(convention) && is_of(point, &convention.of));
    let (resource, rest) = resource(point);
    if let Some(convention) = convention {
        add_metrics(batch, point, convention, &resource, &rest);
    }
    let of_convention = |field: &str| {
        convention.is_some_and(|convention| convention.metrics.iter().any(|metric| metric.field == field))
    };
    let attributes = rest.iter().map(|(key, value)| (Cow::Owned((*key).to_owned()), text(value)));
    let attributes = key_values(attributes.collect());
    telegraf::add_fields(batch, point, &resource, &attributes, |field| !of_convention(field));
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn is_of(point: &Point, of: &Of) -> bool {
    match of {
        Of::All => true,
        Of::Containers => ["container_name", "container_id"].iter().any(|tag| point.tag_value(tag).is_some()),
        Of::Total(tag, value) => point.tag_value(tag) == Some(value),
        Of::Each(tag, total) => point.tag_value(tag).is_some_and(|value| value != *total),
    }
}

/// What a point is about, and the tags that do not say it.
fn resource(point: &Point) -> (Attributes, Vec<(&str, &str)>) {
    let (mut resource, mut rest) = (Attributes::new(), Vec::new());
    let is_in_pod = point.tag_value("pod_name").is_some();
    for (key, value) in &point.tags {
        let (key, value) = (key.as_str(), value.as_str());
        let mut set = |key: &'static str, value| {
            resource.insert(Cow::Borrowed(key), value);
        };
        match key {
            "container_name" if is_in_pod => set("k8s.container.name", text(value)),
            "container_name" if point.measurement == "kubernetes_system_container" => {
                set("k8s.node.system_container.name", text(value));
            }
            "container_name" => set("container.name", text(value)),
            "container_image" | "image" => {
                let (name, tag) = image(value);
                set("container.image.name", text(name));
                if let Some(tag) = tag.or_else(|| version(point)) {
                    set("container.image.tags", Value::List(vec![tag.to_owned()]));
                }
            }
            // It is with the image.
            "container_version" | "version" if version(point).is_some() => {}
            "workload" => match workload(value) {
                Some((key, name)) => set(key, text(name)),
                None => set("workload", text(value)),
            },
            _ => match RESOURCES.iter().find(|(tag, _)| *tag == key) {
                Some((_, attribute)) => set(attribute, text(value)),
                None => rest.push((key, value)),
            },
        }
    }
    (resource, rest)
}

/// An image's name and its tag; a digest is left out.
fn image(image: &str) -> (&str, Option<&str>) {
    let image = image.split_once('@').map_or(image, |(image, _)| image);
    match image.rsplit_once(':') {
        // Else it is a registry's port.
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (image, None),
    }
}

/// The image's tag, where it is one of its own.
fn version(point: &Point) -> Option<&str> {
    let of_docker = point.tag_value("container_image").and(point.tag_value("container_version"));
    of_docker.or_else(|| point.tag_value("image").and(point.tag_value("version")))
}

/// The attribute of `deployment/web`, and its value.
fn workload(workload: &str) -> Option<(&'static str, &str)> {
    let (kind, name) = workload.split_once('/')?;
    WORKLOADS.iter().find(|(of, _)| *of == kind).map(|(_, attribute)| (*attribute, name))
}

fn add_metrics(
    batch: &mut Batch<'_>,
    point: &Point,
    convention: &Convention,
    resource: &Attributes,
    rest: &[(&str, &str)],
) {
    let total = match convention.of {
        Of::Total(tag, _) => tag,
        _ => "",
    };
    let mut attributes = Attributes::new();
    for (key, value) in rest.iter().filter(|(key, _)| *key != total) {
        let known = convention.tags.iter().find(|(tag, _)| tag == key);
        let key =
            known.map_or_else(|| Cow::Owned((*key).to_owned()), |(_, attribute)| Cow::Borrowed(*attribute));
        attributes.insert(key, text(value));
    }
    for metric in convention.metrics {
        let Some((value, field)) = value(point, metric) else { continue };
        let Some(compared) = float(&value) else { continue };
        let number = if metric.divisor == 1.0 {
            number(&value)
        } else {
            Some(number_data_point::Value::AsDouble(compared / metric.divisor))
        };
        let since = match metric.kind {
            Kind::Counter => schema::counter(&point.measurement, field),
            _ => None,
        };
        let start_time_unix_nano = since.map_or(0, |since| start(batch, point, metric, since, compared));
        let data_point = NumberDataPoint {
            attributes: key_values(attributes_of(metric, attributes.clone())),
            start_time_unix_nano,
            time_unix_nano: nanos(point),
            value: number,
            ..NumberDataPoint::default()
        };
        let name = Name { name: Cow::Borrowed(metric.name), unit: metric.unit, kind: metric.kind };
        batch.number(resource, name, data_point);
    }
}

fn start(batch: &mut Batch<'_>, point: &Point, metric: &Metric, since: Since, value: f64) -> u64 {
    batch.start(point, metric.field, since, value)
}

fn attributes_of(metric: &Metric, mut attributes: Attributes) -> Attributes {
    if metric.name == PACKETS
        && let Some(interface) = attributes.remove("network.interface.name")
    {
        attributes.insert("system.device".into(), interface);
    }
    if let Some((key, value)) = metric.attribute {
        attributes.insert(key.into(), text(value));
    }
    attributes
}

/// The value of a metric, and the field that it counts with.
fn value<'a>(point: &'a Point, metric: &Metric) -> Option<(Cow<'a, FieldValue>, &'static str)> {
    let of = |field: &str| whole(point.field_value(field)?);
    let difference = |from: &str, less: &[&str]| {
        let mut rest = of(from)?;
        for field in less {
            rest = rest.checked_sub(of(field)?)?;
        }
        (rest >= 0).then_some(Cow::Owned(FieldValue::Int(rest)))
    };
    Some(match metric.field {
        MINOR_FAULTS => {
            let value = difference("page_faults", &["major_page_faults"]);
            let value = value.or_else(|| difference("memory_page_faults", &["memory_major_page_faults"]))?;
            let field =
                if point.field_value("page_faults").is_some() { "page_faults" } else { "memory_page_faults" };
            (value, field)
        }
        AVAILABLE => (difference("limit_bytes", &["working_set_bytes"])?, ""),
        USED_MEMORY => (difference("total", &["free", "buffered", "cached"])?, ""),
        RESERVED => (difference("total", &["used", "free"])?, ""),
        field => (Cow::Borrowed(point.field_value(field)?), field),
    })
}

fn whole(value: &FieldValue) -> Option<i64> {
    match value {
        FieldValue::Int(value) => Some(*value),
        FieldValue::UInt(value) => i64::try_from(*value).ok(),
        FieldValue::Float(_) | FieldValue::Text(_) | FieldValue::Bool(_) => None,
    }
}
