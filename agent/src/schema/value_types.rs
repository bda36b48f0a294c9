//! Telegraf's value types: for stores that tell counters from other numbers.
//!
//! Telegraf types whole points, so that it calls a link's speed a counter, and has no types for docker and Kubernetes. Here each
//! field is what it is; of what is no counter, Telegraf's word is taken.

use super::counters::counter;
use super::kinds::Measurement;

/// What kind of number a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ValueType {
    /// It only grows, and begins anew at 0.
    Counter,
    /// It is of this moment.
    Gauge,
    /// Nobody says.
    Untyped,
}

/// Inputs whose points have no type in Telegraf.
const WITHOUT_TYPES: &[&str] = &["cgroup", "docker", "kubernetes", "internal"];

/// The type of a field of a measurement, which has its description here, or none.
pub(super) fn of(measurement: &str, described: Option<&Measurement>, field: &str) -> ValueType {
    if counter(measurement, field).is_some() {
        return ValueType::Counter;
    }
    match described {
        Some(described) if !WITHOUT_TYPES.contains(&described.input) => ValueType::Gauge,
        _ => ValueType::Untyped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::value_type;
    use crate::schema::views::{How, VIEWS, View};

    #[test]
    fn a_rate_is_of_a_counter() {
        let figures = VIEWS.iter().flat_map(View::columns).flat_map(|column| column.value.figures());
        for figure in figures {
            for field in figure.fields {
                let is_counter = value_type(figure.measurement, field) == ValueType::Counter;
                assert_eq!(is_counter, figure.how == How::Rate, "{} {field}", figure.measurement);
            }
        }
    }

    #[test]
    fn each_is_what_it_is() {
        for (measurement, field, expected) in [
            ("cpu", "time_user", ValueType::Counter),
            ("cpu", "usage_user", ValueType::Gauge),
            ("net", "speed", ValueType::Gauge),
            ("pod_blkio", "reads", ValueType::Counter),
            ("pod_mem", "usage_bytes", ValueType::Gauge),
            ("docker_container_cpu", "usage_total", ValueType::Counter),
            ("docker_container_mem", "usage", ValueType::Untyped),
            ("seismograf", "written", ValueType::Counter),
            ("seismograf", "rss_bytes", ValueType::Gauge),
            ("foreign", "x", ValueType::Untyped),
        ] {
            assert_eq!(value_type(measurement, field), expected, "{measurement} {field}");
        }
    }
}
