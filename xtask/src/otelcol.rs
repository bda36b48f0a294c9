//! `cargo xtask otelcol`: a real OpenTelemetry collector with the receiver of OTLP and the exporter that prints, built once from
//! its public modules.
//!
//! `tests/otelcol` names the versions, and has the program that puts them together.

use std::path::PathBuf;

use crate::go::GoModule;

const MODULE: GoModule = GoModule { name: "otelcol", source: &["go.mod", "main.go"], packages: &["."] };

/// The program, if it was built from what the source names now.
pub(crate) fn built() -> Option<PathBuf> {
    MODULE.is_built().then(|| MODULE.programs().join("otelcol"))
}

/// Builds it, unless it was built before. Takes a minute or two, and as long again for what it downloads.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    MODULE.build(|_| ())?;
    Ok(MODULE.programs().join("otelcol"))
}
