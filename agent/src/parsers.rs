//! Parsers of what others send: Prometheus' exposition formats, and InfluxDB's line protocol.
//!
//! Pure: text in, borrowed parts of it out. No input makes them panic, loop, or take more than time and memory in proportion
//! to its length. Nothing here knows a plugin; what a sample or a line becomes is for the input that asked.

pub mod exposition;
pub mod line_protocol;
