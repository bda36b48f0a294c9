//! Every measurement once: its name, tags, fields, units and where the numbers come from.
//!
//! Owns the vocabulary, not the values. `docs/metrics.md` is generated from it, and the tests of every input check their
//! points against it, so that a name or a type cannot change by accident. Measurements that Telegraf has are named,
//! tagged and typed as Telegraf does.

mod agent;
mod cgroup;
mod counters;
mod docker;
mod exposed;
mod host;
mod kinds;
mod kubernetes;
pub mod losses;
mod prometheus;
mod value_types;
pub mod views;

use std::fmt::Write;

#[cfg(feature = "opentelemetry")]
pub(crate) use self::counters::{Since, counter};
pub(crate) use self::exposed::{Exposed, exposed};
pub use self::kinds::{Field, Kind, Measurement, Tag};
pub(crate) use self::value_types::ValueType;
use crate::point::Point;

/// Every measurement, in the order of the documentation.
pub const MEASUREMENTS: &[Measurement] = &[
    host::CPU,
    host::MEM,
    host::SWAP,
    host::SYSTEM,
    host::KERNEL,
    host::PRESSURE,
    host::PROCESSES,
    host::DISK,
    host::DISKIO,
    host::NET,
    host::CGROUP,
    cgroup::CGROUP_CPU,
    cgroup::CGROUP_BLKIO,
    cgroup::CGROUP_NET,
    cgroup::CGROUP_MEM,
    cgroup::CGROUP_PRESSURE,
    cgroup::POD_CPU,
    cgroup::POD_BLKIO,
    cgroup::POD_NET,
    cgroup::POD_MEM,
    docker::DOCKER,
    docker::DOCKER_DATA,
    docker::DOCKER_METADATA,
    docker::DOCKER_DEVICEMAPPER,
    docker::DOCKER_CONTAINER_STATUS,
    docker::DOCKER_CONTAINER_HEALTH,
    docker::DOCKER_CONTAINER_MEM,
    docker::DOCKER_CONTAINER_CPU,
    docker::DOCKER_CONTAINER_NET,
    docker::DOCKER_CONTAINER_BLKIO,
    docker::DOCKER_DISK_USAGE,
    kubernetes::KUBERNETES_NODE,
    kubernetes::KUBERNETES_SYSTEM_CONTAINER,
    kubernetes::KUBERNETES_POD_CONTAINER,
    kubernetes::KUBERNETES_POD_VOLUME,
    kubernetes::KUBERNETES_POD_NETWORK,
    prometheus::METRIC,
    prometheus::PROMETHEUS,
    prometheus::OPENMETRIC,
    prometheus::PROMETHEUS_REQUEST,
    agent::INTERNAL_AGENT,
    agent::INTERNAL_GATHER,
    agent::INTERNAL_WRITE,
    agent::INTERNAL_SERIALIZER,
    agent::SEISMOGRAF,
];

/// The name of the measurement that the agent writes about itself.
pub(crate) const SELF: &str = agent::SEISMOGRAF.name;

/// Whether a measurement of this name is described here.
pub(crate) fn is_known(name: &str) -> bool {
    measurement(name).is_some()
}

/// The measurement of this name.
fn measurement(name: &str) -> Option<&'static Measurement> {
    MEASUREMENTS.iter().find(|measurement| measurement.name == name)
}

/// The type of a field; nobody says where the measurement is not described.
pub(crate) fn value_type(name: &str, field: &str) -> ValueType {
    value_types::of(name, measurement(name), field)
}

/// Checks that a point has a name, tags and fields that are described here, with their types.
///
/// # Errors
/// What is not: the measurement, the tag, the field or its type, or that the point has no field.
pub fn check(point: &Point) -> Result<(), String> {
    let name = &*point.measurement;
    let measurement = measurement(name).ok_or_else(|| format!("{name}: no such measurement"))?;
    for (key, _) in &point.tags {
        if !measurement.tags.iter().any(|tag| tag.name == key || stands_for_any(tag.name)) {
            return Err(format!("{name}: no such tag: {key}"));
        }
    }
    if point.fields.is_empty() {
        return Err(format!("{name}: no fields"));
    }
    for (key, value) in &point.fields {
        let is_open = |field: &&Field| stands_for_any(field.name) && field.kind == Kind::of(value);
        let named = measurement.fields.iter().find(|field| field.name == key);
        let field = named.or_else(|| measurement.fields.iter().find(is_open));
        let field = field.ok_or_else(|| format!("{name}: no such field: {key}"))?;
        if field.kind != Kind::of(value) {
            return Err(format!("{name}: {key} is {value:?}, but should be {}", field.kind.name()));
        }
    }
    Ok(())
}

fn stands_for_any(name: &str) -> bool {
    name.starts_with('<')
}

/// The documentation of every measurement: `docs/metrics.md`.
#[must_use]
pub fn markdown() -> String {
    let mut page = "\
# Metrics

<!-- Made from agent/src/schema.rs. After a change there: UPDATE_DOCS=1 cargo test -p seismograf docs_ -->

Every measurement has the tag `host` and the global tags besides its own. Integers, also the unsigned ones, are written \
with `i`.
"
    .to_owned();
    for measurement in MEASUREMENTS {
        let Measurement { name, input, help, tags, fields } = measurement;
        // Writing to a string cannot fail.
        let _ = writeln!(page, "\n## {name}\n\nInput `{input}`. {help}");
        if !tags.is_empty() {
            page.push_str("\n| tag | |\n|---|---|\n");
        }
        for Tag { name, help } in *tags {
            let _ = writeln!(page, "| `{name}` | {help} |");
        }
        if !fields.is_empty() {
            page.push_str("\n| field | type | unit | |\n|---|---|---|---|\n");
        }
        for Field { name, kind, unit, help } in *fields {
            let _ = writeln!(page, "| `{name}` | {} | {unit} | {help} |", kind.name());
        }
    }
    page.push_str(&views::markdown());
    page
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::generated::assert_current;
    use crate::point::Timestamp;

    #[test]
    fn docs_metrics_is_current() {
        assert_current("../docs/metrics.md", &markdown());
    }

    #[test]
    fn every_name_is_there_once() {
        let mut names = HashSet::new();
        for measurement in MEASUREMENTS {
            assert!(names.insert(measurement.name), "{}", measurement.name);
            let tags = measurement.tags.iter().map(|tag| tag.name);
            let fields = measurement.fields.iter().map(|field| field.name);
            let mut keys = HashSet::new();
            for key in tags.chain(fields) {
                assert!(keys.insert(key), "{}: {key}", measurement.name);
            }
        }
    }

    #[test]
    fn a_point_that_is_not_described_is_rejected() {
        let point = |measurement| Point::new(measurement, Timestamp(0));
        assert_eq!(check(&point("mem").field("total", 1_u64)), Ok(()));
        assert_eq!(check(&point("cgroup").field("pids.max", 1_i64)), Ok(()));
        assert_eq!(check(&point("diskio").tag("ID_FS_TYPE", "ext4").field("reads", 1_u64)), Ok(()));
        for (point, error) in [
            (point("men").field("total", 1_u64), "men: no such measurement"),
            (point("mem").field("total", 1_u64).tag("cpu", "0"), "mem: no such tag: cpu"),
            (point("mem").field("sum", 1_u64), "mem: no such field: sum"),
            (point("mem").field("total", 1_i64), "mem: total is Int(1), but should be unsigned"),
            (point("mem"), "mem: no fields"),
            (point("cgroup").field("pids.max", 1_u64), "cgroup: no such field: pids.max"),
            (
                point("diskio").tag("ID_FS_TYPE", "ext4").field("io_wait", 1.0),
                "diskio: no such field: io_wait",
            ),
        ] {
            assert_eq!(check(&point), Err(error.to_owned()));
        }
    }
}
