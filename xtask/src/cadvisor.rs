//! `cargo xtask cadvisor`: the real cAdvisor, which is not among Debian's packages, built once from its public source.
//!
//! `tests/cadvisor` names the version, and is a program around it.

use std::path::PathBuf;

use crate::go::GoModule;

const MODULE: GoModule = GoModule { name: "cadvisor", source: &["go.mod", "main.go"], packages: &["."] };

/// The program, if it was built from what the source is now.
pub(crate) fn built() -> Option<PathBuf> {
    MODULE.is_built().then(|| MODULE.programs().join("cadvisor"))
}

/// Builds it, unless it was built before. Takes a minute or two.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    MODULE.build(|_| ())?;
    Ok(MODULE.programs().join("cadvisor"))
}
