//! Tags that several of docker's measurements have, and points that are made with them.

use crate::identity::docker::Engine;
use crate::inputs::Gathered;
use crate::line_protocol::truncated;
use crate::point::{FieldValue, Name, Point};

/// Digits of an id in the tags `source` and `image_id`.
const SHORT_ID: usize = 12;

/// An image's name and version; what comes before the first slash may be a registry with a port.
fn image(reference: &str) -> (&str, &str) {
    let registry = match reference.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first.len() + 1,
        _ => 0,
    };
    match reference[registry..].rfind(':') {
        Some(colon) => (&reference[..registry + colon], &reference[registry + colon + 1..]),
        None => (reference, "unknown"),
    }
}

pub(super) fn set_engine(tags: &mut Vec<(Name, Name)>, engine: &Engine) {
    tags.push(("engine_host".into(), Name::from(&engine.host)));
    tags.push(("server_version".into(), Name::from(&engine.server_version)));
}

pub(super) fn set_image(tags: &mut Vec<(Name, Name)>, names: (&'static str, &'static str), reference: &str) {
    let (name, version) = image(reference);
    tags.push((names.0.into(), truncated(name.to_owned()).into()));
    tags.push((names.1.into(), truncated(version.to_owned()).into()));
}

pub(super) fn short(id: &str) -> &str {
    &id[..id.floor_char_boundary(SHORT_ID)]
}

/// A point with a container's tags, and room for so many fields.
pub(super) fn point(
    gathered: &Gathered,
    measurement: &'static str,
    tags: &[(Name, Name)],
    part: Option<(&'static str, &str)>,
    n_fields: usize,
) -> Point {
    let mut point = gathered.point(measurement);
    // One of its own, and `host` or another that is added to every point.
    point.tags.reserve(tags.len() + 3);
    point.tags.extend_from_slice(tags);
    if let Some((key, value)) = part {
        point.tags.push((key.into(), Name::new(value)));
    }
    point.fields.reserve(n_fields);
    point
}

/// Adds a field that is not there yet: `Point::set_field` would look for it among all of them.
pub(super) fn set(fields: &mut Vec<(Name, FieldValue)>, field: &'static str, value: impl Into<FieldValue>) {
    fields.push((field.into(), value.into()));
}
