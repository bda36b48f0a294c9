//! `[[inputs.mem]]`: the machine's memory, from proc(5) `meminfo`.

use serde::Deserialize;

/// The section `[[inputs.mem]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Also `active_file`, `inactive_file`, `active_anon`, `inactive_anon`, `unevictable` and `percpu`.
    pub collect_extended: bool,
}
