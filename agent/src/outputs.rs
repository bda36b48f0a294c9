//! The outputs: where points go.

pub mod file;
pub mod influxdb;
