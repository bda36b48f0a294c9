//! The exit codes of `seismograf`.

use std::process::ExitCode;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// As requested.
    Ok = 0,
    /// The configuration, the start, or the writing of points failed; the log says why.
    Failed = 1,
    /// The command line is invalid.
    Usage = 2,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
