//! What the agent gives up once it has started: every capability, most system calls, and all files but those that it needs.
//!
//! By then probes are attached, sockets bound and spools open, and what is open stays usable. The threads that there are do it to
//! themselves (`threads`), those that come later inherit it, and nothing gets it back: not the agent, and not what takes it over.
//! What a kernel does not have is left out and said.

mod calls;
mod capabilities;
mod files;
mod threads;

use std::fmt;
use std::sync::OnceLock;

pub use self::files::{Files, Ruleset};

/// What was given up, once it is.
static CONFINED: OnceLock<Confinement> = OnceLock::new();

/// What became of each part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// Capabilities that are still held, by their bits: BPF, where the kernel asks for it at every use of an open map.
    pub kept: u64,
    /// What the bounding set still has: taking from it needs the capability SETPCAP. Without `execve` nothing comes of it.
    pub bounding: u64,
    /// The version of the kernel's Landlock interface; `None` where files are not restricted.
    pub landlock: Option<i32>,
    /// Why the system calls are not restricted.
    pub calls: Result<(), String>,
    /// Threads that hang in the kernel: each gives up its privileges before it does anything else.
    pub late: usize,
}

/// What is said of this kernel and process before anything is given up, for `doctor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// See [`Confinement::kept`].
    pub kept: u64,
    /// See [`Confinement::landlock`].
    pub landlock: Option<i32>,
    /// Whether the kernel filters system calls.
    pub calls: bool,
}

/// Gives up what the agent does not need any more. There is no way back.
///
/// # Errors
/// A thread could not: what, and the system's error.
pub fn confine(ruleset: Option<Ruleset>) -> std::io::Result<Confinement> {
    let kept = capabilities::needed_later();
    let landlock = ruleset.as_ref().map(Ruleset::version);
    let late = threads::confine_each(kept, ruleset)?;
    // rustix reads `/proc/self/auxv` when it is first asked for one of these, which is for root alone once the next call is done.
    let _ = (rustix::param::page_size(), rustix::param::clock_ticks_per_second());
    // Memory holds secrets: it is in no core dump, and no process of the same user looks into it.
    // SAFETY: sets a flag of this process.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
    let calls = calls::restrict();
    let confinement = Confinement { kept, bounding: capabilities::bounding(), landlock, calls, late };
    Ok(CONFINED.get_or_init(|| confinement).clone())
}

/// What was given up; `None` as long as nothing was.
#[must_use]
pub fn confinement() -> Option<&'static Confinement> {
    CONFINED.get()
}

/// What would be given up.
#[must_use]
pub fn outlook() -> Outlook {
    Outlook { kept: capabilities::needed_later(), landlock: files::version(), calls: calls::are_filtered() }
}

impl fmt::Display for Outlook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kept {
            0 => write!(f, "no capability")?,
            kept => {
                let kept = capabilities::names(kept);
                write!(
                    f,
                    "keeps {kept}: this kernel asks for it at each use of a map (Linux 5.19 does not)"
                )?;
            }
        }
        match self.landlock {
            Some(version) => write!(f, "; files restricted by Landlock {version}")?,
            None => write!(f, "; files NOT restricted: this kernel has no Landlock, or it is off")?,
        }
        let calls = if self.calls { "restricted by seccomp" } else { "NOT restricted: no seccomp here" };
        write!(f, "; system calls {calls}")
    }
}

/// What to do about something that the agent may no longer do.
pub const ADVICE: &str = "the agent gave up the privileges for it when it had started: restart it, or set `privileges = \"keep\"` in [agent]";

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = capabilities::names(self.kept);
        write!(f, "capabilities {}", if kept.is_empty() { "none" } else { &kept })?;
        if self.bounding & !self.kept != 0 {
            write!(f, " (bounding set {})", capabilities::names(self.bounding))?;
        }
        match self.landlock {
            Some(version) => write!(f, ", files by Landlock {version}")?,
            None => write!(f, ", files not restricted")?,
        }
        match &self.calls {
            Ok(()) => write!(f, ", system calls by seccomp"),
            Err(why) => write!(f, ", system calls not restricted: {why}"),
        }
    }
}
