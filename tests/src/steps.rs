//! Which code of a process runs, seen by single steps of all its threads (ptrace(2)); x86-64 only.

use std::collections::BTreeSet;
use std::fs;
use std::mem::offset_of;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::pause;

/// Where a process has the code of its program.
pub struct Code {
    /// Its addresses.
    pub addresses: Range<u64>,
    /// Where in the file it begins.
    pub offset: u64,
}

impl Code {
    /// Looks it up in `/proc/PID/maps`.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let line =
            maps.lines().find(|line| line.contains(" r-xp ") && line.ends_with(program.to_str().unwrap()));
        let columns: Vec<&str> = line.expect("code of the program").split_whitespace().collect();
        let number = |hex: &str| u64::from_str_radix(hex, 16).unwrap();
        let (start, end) = columns[0].split_once('-').unwrap();
        Self { addresses: number(start)..number(end), offset: number(columns[2]) }
    }
}

/// Steps through what a process does for a time. Returns the places in the program's file that ran, to 16 bytes.
///
/// # Panics
/// When it cannot be traced.
#[must_use]
pub fn executed(pid: u32, code: &Code, time: Duration) -> BTreeSet<u64> {
    // The kernel lets go of all that a thread traces when it ends.
    std::thread::scope(|scope| scope.spawn(|| trace(pid, code, time)).join()).unwrap()
}

fn trace(pid: u32, code: &Code, time: Duration) -> BTreeSet<u64> {
    let tasks: Vec<PathBuf> =
        fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten().map(|task| task.path()).collect();
    tasks.iter().for_each(|task| seize(task));
    let (start, mut places, mut n) = (Instant::now(), BTreeSet::new(), 0_u64);
    while start.elapsed() < time {
        let mut status = 0;
        // SAFETY: waits for any of the threads above, and no other child.
        let thread =
            unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD | libc::WNOHANG) };
        if thread <= 0 {
            pause(Duration::from_micros(20));
            continue;
        }
        if !libc::WIFSTOPPED(status) {
            continue;
        }
        n += 1;
        let at = offset_of!(libc::user_regs_struct, rip);
        // SAFETY: the thread is stopped; reads one of its registers.
        let place = unsafe { libc::ptrace(libc::PTRACE_PEEKUSER, thread, at, 0) }.cast_unsigned();
        if code.addresses.contains(&place) {
            places.insert((place - code.addresses.start + code.offset) & !15);
        }
        // What stops it for the tracer is not handed on.
        let is_own = libc::WSTOPSIG(status) == libc::SIGTRAP || status >> 16 != 0;
        let signal = if is_own { 0 } else { libc::WSTOPSIG(status) };
        // SAFETY: as above.
        unsafe { libc::ptrace(libc::PTRACE_SINGLESTEP, thread, 0, signal) };
    }
    println!("steps: {n}");
    places
}

/// Begins to trace a thread, and those that it will start.
fn seize(task: &Path) {
    let thread: libc::pid_t = task.file_name().unwrap().to_str().unwrap().parse().unwrap();
    // SAFETY: traces a thread of a process of ours.
    let result = unsafe { libc::ptrace(libc::PTRACE_SEIZE, thread, 0, libc::PTRACE_O_TRACECLONE) };
    assert_eq!(result, 0, "{}: {}", task.display(), std::io::Error::last_os_error());
    // SAFETY: as above.
    unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, thread, 0, 0) };
}
