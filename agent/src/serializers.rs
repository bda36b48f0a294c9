//! Points in the data formats that other systems than InfluxDB take, named and spelled as Telegraf's serializers do.
//!
//! Pure: points in, bytes out. Which output uses which is the outputs' own matter; lines are `line_protocol`'s.

pub(crate) mod json;
#[cfg(feature = "opentelemetry")]
pub(crate) mod opentelemetry;
#[cfg(any(feature = "http", feature = "kafka"))]
pub(crate) mod prometheus_remote_write;
