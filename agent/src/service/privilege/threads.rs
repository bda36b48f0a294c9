//! Has every thread of the process do something to itself: capabilities and Landlock are a thread's own, and no other thread can
//! take them away.
//!
//! Each thread gets a signal, whose handler does it, as glibc does for `setuid`. One that hangs in the kernel does it before it
//! does anything else, so it is not waited for long.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsRawFd as _, IntoRawFd as _};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::capabilities;
use super::files::Ruleset;

/// How long threads are waited for. One that runs takes microseconds.
const PATIENCE: Duration = Duration::from_secs(1);
/// From one look at who has answered to the next.
const POLL_PERIOD: Duration = Duration::from_millis(1);
/// More threads than the agent ever has.
const MOST_THREADS: usize = 512;

/// The capabilities that stay.
static KEPT: AtomicU64 = AtomicU64::new(0);
/// The descriptor of the Landlock rules; -1 where there are none.
static RULES: AtomicI32 = AtomicI32::new(-1);
/// The threads that have answered.
static ANSWERS: [AtomicI32; MOST_THREADS] = [const { AtomicI32::new(0) }; MOST_THREADS];
static N_ANSWERS: AtomicUsize = AtomicUsize::new(0);
/// The error of a thread that could not.
static FAILURE: AtomicI32 = AtomicI32::new(0);
/// There is one set of the above.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Takes the privileges of every thread. Returns how many have not answered.
pub(super) fn confine_each(kept: u64, ruleset: Option<Ruleset>) -> io::Result<usize> {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    KEPT.store(kept, Ordering::SeqCst);
    RULES.store(ruleset.as_ref().map_or(-1, |ruleset| ruleset.descriptor().as_raw_fd()), Ordering::SeqCst);
    N_ANSWERS.store(0, Ordering::SeqCst);
    FAILURE.store(0, Ordering::SeqCst);
    let signal = libc::SIGRTMIN() + 7;
    handle(signal, on_signal as *const () as libc::sighandler_t)?;
    let late = signal_each(signal)?;
    confine_this_thread();
    if late == 0 {
        handle(signal, libc::SIG_IGN)?;
    } else if let Some(ruleset) = ruleset {
        // Those that are late still need it.
        let _ = ruleset.into_descriptor().into_raw_fd();
    }
    match FAILURE.load(Ordering::SeqCst) {
        0 => Ok(late),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Signals all threads but this one, until each that there is has answered.
fn signal_each(signal: libc::c_int) -> io::Result<usize> {
    let (process, own) = (std::process::id(), rustix::thread::gettid().as_raw_nonzero().get());
    let mut signalled = HashSet::from([own]);
    let deadline = Instant::now() + PATIENCE;
    loop {
        // One that had not answered yet may have started another.
        let there = threads()?;
        for thread in there.iter().filter(|thread| signalled.insert(**thread)) {
            // SAFETY: a signal to a thread of this process, which has a handler for it; one that has ended gets none.
            unsafe { libc::syscall(libc::SYS_tgkill, process, *thread, signal) };
        }
        let n_answers = N_ANSWERS.load(Ordering::SeqCst).min(MOST_THREADS);
        let answered = |thread: &&i32| {
            **thread == own
                || ANSWERS[..n_answers].iter().any(|answer| answer.load(Ordering::SeqCst) == **thread)
        };
        let n_waiting = there.iter().filter(|thread| !answered(thread)).count();
        if n_waiting == 0 && threads()?.iter().all(|thread| signalled.contains(thread)) {
            return Ok(0);
        }
        if Instant::now() > deadline {
            return Ok(n_waiting);
        }
        std::thread::park_timeout(POLL_PERIOD);
    }
}

/// The threads of this process (proc(5) `PID/task`).
fn threads() -> io::Result<Vec<i32>> {
    let entries = std::fs::read_dir("/proc/self/task")?;
    let names = entries.map(|entry| Ok(entry?.file_name()));
    names.map(|name: io::Result<_>| Ok(name?.to_string_lossy().parse().unwrap_or_default())).collect()
}

fn handle(signal: libc::c_int, handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: zeros are a valid `sigaction` without a handler, flags or blocked signals.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    // What a thread waits for goes on where it can.
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handler does system calls and atomic operations alone; nobody else uses this signal.
    match unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

extern "C" fn on_signal(_: libc::c_int) {
    // SAFETY: the C library's own place of this thread's `errno`.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above; what was interrupted finds it as it was.
    let before = unsafe { *errno };
    confine_this_thread();
    let place = N_ANSWERS.fetch_add(1, Ordering::SeqCst);
    if let Some(answer) = ANSWERS.get(place) {
        answer.store(rustix::thread::gettid().as_raw_nonzero().get(), Ordering::SeqCst);
    }
    // SAFETY: as above.
    unsafe { *errno = before };
}

/// System calls and atomic operations alone: it runs in a signal's handler.
fn confine_this_thread() {
    if let Err(error) = confine_here() {
        FAILURE.store(error.raw_os_error().unwrap_or(libc::EPERM), Ordering::SeqCst);
    }
}

/// Goes on after an error: what can be given up is.
fn confine_here() -> io::Result<()> {
    let rules = RULES.load(Ordering::SeqCst);
    let privileges = rustix::thread::set_no_new_privs(true).map_err(io::Error::from);
    // SAFETY: takes a descriptor, which is open for as long as a thread may come here.
    let restricted =
        match rules >= 0 && unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules, 0) } < 0 {
            true => Err(io::Error::last_os_error()),
            false => Ok(()),
        };
    let dropped = capabilities::drop_all_but(KEPT.load(Ordering::SeqCst));
    privileges.and(restricted).and(dropped)
}
