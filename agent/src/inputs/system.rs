//! `[[inputs.system]]`: load, uptime, and how many CPUs and users.

use serde::Deserialize;

/// The section `[[inputs.system]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {}
