//! What is released: which version, for which processor, as of when.

use anyhow::Context as _;

use crate::command::git;

/// The version of the workspace, which is the agent's.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Which packaging of this version it is.
pub(super) const RELEASE: &str = "1";

/// When the commit was made, in seconds since 1970; `SOURCE_DATE_EPOCH` says it where there is no git.
pub(super) fn epoch() -> anyhow::Result<String> {
    if let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH") {
        return Ok(epoch);
    }
    git(&["log", "-1", "--format=%ct"])
        .context("set SOURCE_DATE_EPOCH: there is no commit to take the time of")
}
