//! Which system calls the agent makes once it has started, by seccomp(2): a list of those that are allowed, some of them with
//! certain arguments alone. All others fail with `EPERM`.
//!
//! No program is run and no process is made, no probe is loaded, nothing is mounted, and no memory is made executable but that of
//! a library's file.

use std::collections::BTreeMap;
use std::io;

use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// Calls that are allowed whatever their arguments are.
#[rustfmt::skip]
const ALLOWED: &[libc::c_long] = &[
    // Files.
    libc::SYS_openat, libc::SYS_openat2, libc::SYS_close, libc::SYS_close_range, libc::SYS_read, libc::SYS_write, libc::SYS_readv,
    libc::SYS_writev, libc::SYS_pread64, libc::SYS_pwrite64, libc::SYS_preadv, libc::SYS_pwritev, libc::SYS_lseek, libc::SYS_fstat,
    libc::SYS_newfstatat, libc::SYS_statx, libc::SYS_statfs, libc::SYS_fstatfs, libc::SYS_faccessat, libc::SYS_faccessat2,
    libc::SYS_readlinkat, libc::SYS_getdents64, libc::SYS_fcntl, libc::SYS_flock, libc::SYS_fsync, libc::SYS_fdatasync,
    libc::SYS_ftruncate, libc::SYS_fallocate, libc::SYS_renameat, libc::SYS_renameat2, libc::SYS_unlinkat, libc::SYS_mkdirat,
    libc::SYS_fchmod, libc::SYS_fchmodat, libc::SYS_copy_file_range, libc::SYS_sendfile, libc::SYS_splice, libc::SYS_fadvise64,
    libc::SYS_dup, libc::SYS_dup3, libc::SYS_pipe2, libc::SYS_getcwd, libc::SYS_umask,
    // Waiting.
    libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_eventfd2,
    libc::SYS_ppoll, libc::SYS_pselect6, libc::SYS_futex, libc::SYS_nanosleep, libc::SYS_clock_nanosleep, libc::SYS_restart_syscall,
    libc::SYS_timerfd_create, libc::SYS_timerfd_settime,
    libc::SYS_sched_yield,
    // Sockets.
    libc::SYS_connect, libc::SYS_bind, libc::SYS_listen, libc::SYS_accept, libc::SYS_accept4, libc::SYS_getsockname,
    libc::SYS_getpeername, libc::SYS_getsockopt, libc::SYS_setsockopt, libc::SYS_shutdown, libc::SYS_sendto, libc::SYS_recvfrom,
    libc::SYS_sendmsg, libc::SYS_recvmsg, libc::SYS_sendmmsg, libc::SYS_recvmmsg,
    // Memory.
    libc::SYS_brk, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_madvise, libc::SYS_membarrier,
    // Time, and who this is and where it runs.
    libc::SYS_clock_gettime, libc::SYS_clock_getres, libc::SYS_gettimeofday, libc::SYS_getpid, libc::SYS_getppid, libc::SYS_gettid,
    libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid, libc::SYS_uname, libc::SYS_sysinfo,
    libc::SYS_getrusage, libc::SYS_getcpu, libc::SYS_sched_getaffinity, libc::SYS_sched_getscheduler, libc::SYS_sched_getparam,
    libc::SYS_getrandom,
    // Signals, and the ends of threads.
    libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_rt_sigpending, libc::SYS_sigaltstack,
    libc::SYS_set_robust_list, libc::SYS_get_robust_list, libc::SYS_rseq, libc::SYS_set_tid_address, libc::SYS_exit,
    libc::SYS_exit_group,
    // What only gives up more: threads that were late.
    libc::SYS_capset, libc::SYS_capget, libc::SYS_landlock_restrict_self,
];

/// Calls of x86-64 that newer machines have in a more general form alone.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const ALLOWED_HERE: &[libc::c_long] = &[
    libc::SYS_open, libc::SYS_stat, libc::SYS_lstat, libc::SYS_access, libc::SYS_readlink, libc::SYS_rename, libc::SYS_unlink,
    libc::SYS_mkdir, libc::SYS_chmod, libc::SYS_dup2, libc::SYS_pipe, libc::SYS_poll, libc::SYS_select, libc::SYS_epoll_create,
    libc::SYS_epoll_wait, libc::SYS_eventfd, libc::SYS_time, libc::SYS_getdents, libc::SYS_arch_prctl,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[libc::c_long] = &[];

/// What bpf(2) may do: elements of open maps, programs that are run on demand, and what is known of an open descriptor. An
/// iterator is made of a link that is open.
const BPF_COMMANDS: &[u64] = &[
    1,  // BPF_MAP_LOOKUP_ELEM
    2,  // BPF_MAP_UPDATE_ELEM
    3,  // BPF_MAP_DELETE_ELEM
    4,  // BPF_MAP_GET_NEXT_KEY
    10, // BPF_PROG_TEST_RUN
    15, // BPF_OBJ_GET_INFO_BY_FD
    33, // BPF_ITER_CREATE
];

/// What ioctl(2) may ask for.
const REQUESTS: &[u64] = &[
    libc::FIONBIO as _,
    libc::FIONREAD as _,
    libc::FIOCLEX as _,
    libc::TCGETS as _,
    libc::TIOCGWINSZ as _,
    libc::SIOCGIFFLAGS as _,
    libc::SIOCGIFNAME as _,
    libc::SIOCGIFINDEX as _,
];

/// What a thread may change of itself, which is only ever less.
const OF_ITSELF: &[u64] = &[
    libc::PR_SET_NAME as u64,
    libc::PR_GET_NAME as u64,
    libc::PR_SET_VMA as u64,
    libc::PR_SET_NO_NEW_PRIVS as u64,
    libc::PR_CAPBSET_READ as u64,
    libc::PR_CAPBSET_DROP as u64,
    libc::PR_CAP_AMBIENT as u64,
];

/// Flags of clone(2) that make something else than a thread in the namespaces of this process.
const NOT_A_THREAD: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_PTRACE) as u64;

/// Restricts all threads of this process.
pub(super) fn restrict() -> Result<(), String> {
    let shown = |error: seccompiler::Error| match error {
        // It carries the reason, and says nothing else.
        seccompiler::Error::Seccomp(error) | seccompiler::Error::Prctl(error) => error.to_string(),
        error => error.to_string(),
    };
    for filter in filters().map_err(|error| error.to_string())? {
        seccompiler::apply_filter_all_threads(&filter).map_err(shown)?;
    }
    Ok(())
}

/// Whether the kernel has filters: one that cannot be read tells.
pub(super) fn are_filtered() -> bool {
    // SAFETY: gives no filter, so none is set.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, std::ptr::null::<u8>()) };
    result < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

/// An argument of a call: which one, and what it must be.
type Argument = (u8, SeccompCmpArgLen, SeccompCmpOp, u64);

/// The list, and the calls that a library tries first and does without: of `clone3` the flags cannot be seen.
fn filters() -> Result<[BpfProgram; 2], seccompiler::BackendError> {
    let mut rules = BTreeMap::new();
    for call in ALLOWED.iter().chain(ALLOWED_HERE).copied().chain([libc::SYS_clone3]) {
        rules.insert(call, Vec::new());
    }
    for (call, argument) in with_arguments() {
        let conditions =
            argument.into_iter().map(|(n, length, is, value)| SeccompCondition::new(n, length, is, value));
        let rule = SeccompRule::new(conditions.collect::<Result<_, _>>()?)?;
        rules.entry(call).or_insert_with(Vec::new).push(rule);
    }
    let not_there = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let arch = std::env::consts::ARCH.try_into()?;
    let error = |number: i32| SeccompAction::Errno(number.cast_unsigned());
    let listed = SeccompFilter::new(rules, error(libc::EPERM), SeccompAction::Allow, arch)?;
    let absent = SeccompFilter::new(not_there, SeccompAction::Allow, error(libc::ENOSYS), arch)?;
    // After the list no other one can be set.
    Ok([absent.try_into()?, listed.try_into()?])
}

/// The calls that are allowed with certain arguments, each of which has all that are named with it.
fn with_arguments() -> Vec<(libc::c_long, Vec<Argument>)> {
    let one_of = |call, n: u8, values: &[u64]| {
        values.iter().map(move |value| (call, vec![(n, Dword, Eq, *value)])).collect::<Vec<_>>()
    };
    let (write, exec) = (libc::PROT_WRITE as u64, libc::PROT_EXEC as u64);
    let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6].map(|family| family as u64);
    let kinds = [libc::SOCK_STREAM, libc::SOCK_DGRAM].map(|kind| kind as u64);
    /// `SOCK_TYPE_MASK`
    const KIND: u64 = 0xf;
    let mut rules = one_of(libc::SYS_bpf, 0, BPF_COMMANDS);
    rules.extend(one_of(libc::SYS_ioctl, 1, REQUESTS));
    rules.extend(one_of(libc::SYS_prctl, 0, OF_ITSELF));
    for family in families {
        for kind in kinds {
            let arguments = vec![(0, Dword, Eq, family), (1, Dword, MaskedEq(KIND), kind)];
            rules.push((libc::SYS_socket, arguments));
        }
    }
    rules.push((libc::SYS_socketpair, vec![(0, Dword, Eq, libc::AF_UNIX as u64)]));
    // Threads, and no processes.
    let thread = libc::CLONE_THREAD as u64;
    rules.push((libc::SYS_clone, vec![(0, Dword, MaskedEq(NOT_A_THREAD | thread), thread)]));
    // What can be written is not run; a library's file is mapped to be run.
    rules.push((libc::SYS_mmap, vec![(2, Dword, MaskedEq(exec), 0)]));
    rules.push((libc::SYS_mmap, vec![(2, Dword, MaskedEq(exec | write), exec)]));
    rules.push((libc::SYS_mprotect, vec![(2, Dword, MaskedEq(exec), 0)]));
    // Limits are read; the third argument would be new ones.
    rules.push((libc::SYS_prlimit64, vec![(2, Qword, Eq, 0)]));
    // Signals to this process alone, such as that of an abort.
    let own = u64::from(std::process::id());
    rules.extend([libc::SYS_kill, libc::SYS_tgkill].map(|call| (call, vec![(0, Dword, Eq, own)])));
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_are_programs_that_the_kernel_takes() {
        /// `BPF_MAXINSNS`
        const MOST: usize = 4_096;
        for filter in filters().unwrap() {
            assert!(!filter.is_empty() && filter.len() < MOST, "{}", filter.len());
        }
        assert!(are_filtered());
    }

    #[test]
    fn no_call_is_both_always_allowed_and_with_certain_arguments() {
        let always: Vec<_> = ALLOWED.iter().chain(ALLOWED_HERE).collect();
        let both: Vec<_> = with_arguments().into_iter().filter(|(call, _)| always.contains(&call)).collect();
        assert!(both.is_empty(), "{both:?}");
    }
}
