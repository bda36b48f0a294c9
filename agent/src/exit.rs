//! The exit codes of `seismograf`.

use std::process::ExitCode;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// As requested.
    Ok = 0,
    /// The start, a single gather or the writing of points failed; the log says why.
    Failed = 1,
    /// The command line is invalid.
    Usage = 2,
    /// `doctor` found something that is configured, and is off or cannot be reached.
    Unhealthy = 3,
    /// The configuration is refused; another start changes nothing. `EX_CONFIG` of sysexits.h.
    Refused = 78,
}

/// The codes, for the help text.
pub const HELP: &str = "\
Exit codes:
  0   as asked
  1   the start failed, or points were left when it ended; with --once and --test also where an input
      failed, or points were refused: the log says why
  2   the command line is invalid
  3   doctor: something that is configured is off, or cannot be reached
  78  the configuration is refused: starting again changes nothing";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
