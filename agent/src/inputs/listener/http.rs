//! The HTTP API of InfluxDB, as far as clients that write need it, for both versions.
//!
//! One server for both inputs: each takes the requests of both versions, in the words of its own.

mod answer;
mod auth;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod influxql;
mod listen;
mod params;
mod routes;
mod write;

pub(in super::super) use self::answer::Dialect;
pub(in super::super) use self::auth::{Auth, Jwt};
pub(in super::super) use self::listen::{admission, listen};
pub(in super::super) use self::routes::{Api, MAX_BODY, READ_TIMEOUT, TagNames};

#[cfg(test)]
mod tests;
