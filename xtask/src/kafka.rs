//! `cargo xtask kafka`: a real Kafka from Maven's artifacts, which is not among Debian's packages, taken once for the tests that
//! need one.
//!
//! `tests/kafka` names the version.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::command::{command, find, run_quietly, workspace};

/// The directory with its archives, once they are there.
fn archives() -> PathBuf {
    workspace().join("target/kafka/lib")
}

/// The directory, if it has what the source names now.
pub(crate) fn built() -> Option<PathBuf> {
    let is_current = std::fs::read(built_from()).ok()? == source().ok()?;
    is_current.then(archives)
}

fn built_from() -> PathBuf {
    workspace().join("target/kafka/built-from")
}

fn source() -> anyhow::Result<Vec<u8>> {
    let path = workspace().join("tests/kafka/pom.xml");
    std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Takes it, unless it was taken before: seconds, and 50 MB.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    if let Some(archives) = built() {
        return Ok(archives);
    }
    let maven = find("mvn").context("Maven is not installed: apt-get install maven")?;
    if archives().exists() {
        std::fs::remove_dir_all(archives()).context("cannot remove what another version left")?;
    }
    let mut copy = command(maven);
    copy.current_dir(workspace().join("tests/kafka"));
    copy.args(["-q", "-B", "dependency:copy-dependencies"]);
    copy.arg(format!("-DoutputDirectory={}", archives().display()));
    run_quietly(&mut copy)?;
    std::fs::write(built_from(), source()?)?;
    Ok(archives())
}

/// Takes it where Maven and Java are. Where that does not work, the tests that need it skip, and say so.
pub(crate) fn install() -> Option<PathBuf> {
    if find("mvn").is_none() || find("java").is_none() {
        return None;
    }
    match build() {
        Ok(archives) => Some(archives),
        Err(error) => {
            eprintln!("the tests that need Kafka will skip: {error:#}");
            None
        }
    }
}
