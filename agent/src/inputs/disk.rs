//! `[[inputs.disk]]`: space and inodes of each mounted filesystem, from proc(5) `mountinfo` and statfs(2).

use serde::Deserialize;

/// The section `[[inputs.disk]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Only these mount points; empty means all.
    pub mount_points: Vec<String>,
    /// Filesystem types to leave out.
    pub ignore_fs: Vec<String>,
    /// Mount options that leave a mount out; `bind` stands for a bind mount.
    pub ignore_mount_opts: Vec<String>,
}
