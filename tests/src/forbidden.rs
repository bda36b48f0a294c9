//! Tries what an agent that was taken over could do: `it --forbidden free|confined DIRECTORY`, one line an act with its outcome.
//!
//! Confined, the process first gives up what the agent gives up, by the agent's own function, and a thread that was there before
//! tries. Each act leaves this machine as it was also where it is allowed: what would not is asked for with arguments that are
//! looked at after the right to do it.

use std::fs::{self, OpenOptions};
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;

use libc::c_long;
use seismograf::service::privilege::{Confinement, Files, confine};

/// The first argument.
const FLAG: &str = "--forbidden";
/// What the process may write to, and what not, in the directory.
const INSIDE: &str = "inside";
const OUTSIDE: &str = "outside";

/// An act and its outcome: 0, or the error's number.
pub type Outcomes = Vec<(String, i32)>;

/// Tries all acts in a process of its own, which gives up its privileges first or does not.
///
/// # Panics
/// With its output, when it fails.
pub fn tried(is_confined: bool) -> (Outcomes, String) {
    let directory = tempfile::tempdir().unwrap();
    for name in [INSIDE, OUTSIDE] {
        fs::create_dir(directory.path().join(name)).unwrap();
        fs::write(directory.path().join(name).join("file"), "secret").unwrap();
    }
    let mode = if is_confined { "confined" } else { "free" };
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args([FLAG, mode]).arg(directory.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    let outcomes = text.lines().filter_map(|line| {
        let (name, number) = line.split_once('\t')?;
        Some((name.to_owned(), number.parse().unwrap()))
    });
    (outcomes.collect(), text)
}

/// Does so when this process was started for it; `None` when it was not.
pub fn main_if_trying() -> Option<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [flag, mode, directory] = args.as_slice() else { return None };
    if flag != FLAG {
        return None;
    }
    let directory = directory.clone();
    let (start, wait) = mpsc::channel::<()>();
    let tries = std::thread::spawn(move || {
        wait.recv().unwrap();
        try_all(Path::new(&directory));
    });
    if mode == "confined" {
        let confined = confined(Path::new(&args[2]));
        println!("{confined}");
        allowed(Path::new(&args[2]));
    }
    start.send(()).unwrap();
    tries.join().unwrap();
    Some(())
}

fn confined(directory: &Path) -> Confinement {
    let mut files = Files::default();
    ["/proc", "/sys", "/etc", "/usr"].into_iter().for_each(|path| files.read_below(path));
    files.write_below(directory.join(INSIDE));
    confine(files.ruleset().unwrap()).unwrap()
}

/// What the agent goes on doing; a refusal of everything would forbid everything.
fn allowed(directory: &Path) {
    let inside = directory.join(INSIDE);
    fs::write(inside.join("new"), "more").unwrap();
    fs::rename(inside.join("new"), inside.join("other")).unwrap();
    fs::remove_file(inside.join("other")).unwrap();
    fs::read_to_string("/proc/stat").unwrap();
    drop(UnixListener::bind(inside.join("socket")).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    std::thread::spawn(move || std::net::TcpStream::connect(at).unwrap()).join().unwrap();
    // It is looked up by the C library.
    std::net::ToSocketAddrs::to_socket_addrs("localhost:80").unwrap();
}

fn try_all(directory: &Path) {
    let (inside, outside) = (directory.join(INSIDE), directory.join(OUTSIDE));
    let of_files = files(&inside, &outside);
    let calls = SIMPLE.iter().chain(OTHERS).map(|(name, act)| (*name, act()));
    for (name, outcome) in of_files.into_iter().chain(calls) {
        let number = outcome.err().map_or(0, |error| error.raw_os_error().unwrap_or(-1));
        println!("{name}\t{number}");
    }
}

/// An act, and what does it.
type Call = (&'static str, fn() -> io::Result<()>);

/// An act that was done.
type Act = (&'static str, io::Result<()>);

/// What is done to files. Each is undone.
fn files(inside: &Path, outside: &Path) -> Vec<Act> {
    let open = |path: &str| OpenOptions::new().write(true).open(path).map(drop);
    let at = |name: &str| outside.join(name);
    let undone = |made: io::Result<()>, path: &str| {
        let _ = fs::remove_file(at(path));
        let _ = fs::remove_dir(at(path));
        made
    };
    let moved = fs::rename(inside.join("file"), at("moved"));
    let _ = fs::rename(at("moved"), inside.join("file"));
    let socket = UnixListener::bind(at("socket")).map(drop);
    vec![
        ("read a file elsewhere", fs::read(at("file")).map(drop)),
        ("list a folder elsewhere", fs::read_dir(outside).map(drop)),
        ("write to a file elsewhere", OpenOptions::new().append(true).open(at("file")).map(drop)),
        ("make a file elsewhere", undone(fs::write(at("new"), ""), "new")),
        ("make a folder elsewhere", undone(fs::create_dir(at("folder")), "folder")),
        ("make a socket elsewhere", undone(socket, "socket")),
        ("move a file elsewhere", moved),
        ("remove a file elsewhere", fs::write(at("gone"), "").and_then(|()| fs::remove_file(at("gone")))),
        ("make a link", undone(std::os::unix::fs::symlink("/etc", at("link")), "link")),
        ("give a file away", std::os::unix::fs::chown(inside, Some(0), Some(0))),
        ("read what /root has", fs::read_dir("/root").map(drop)),
        ("change who may log in", open("/etc/passwd")),
        ("set what the kernel runs at a crash", open("/proc/sys/kernel/core_pattern")),
        ("set what the kernel does at a panic", open("/proc/sys/kernel/panic")),
        ("move a process into a cgroup", open_cgroup()),
    ]
}

fn open_cgroup() -> io::Result<()> {
    let layout = crate::cgroup::Layout::read();
    OpenOptions::new().write(true).open(layout.unified.join("cgroup.procs")).map(drop)
}

/// A system call with these arguments.
fn call(number: c_long, arguments: [u64; 5]) -> io::Result<()> {
    let [a, b, c, d, e] = arguments;
    // SAFETY: the callers name pointers that are null, or valid for as long as the call takes.
    match unsafe { libc::syscall(number, a, b, c, d, e, 0_u64) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// The address of a text that is there for ever.
fn text(text: &'static std::ffi::CStr) -> u64 {
    text.as_ptr() as u64
}

/// A call that fails at its arguments, or has no effect, where it is allowed.
macro_rules! harmless {
    ($($what:literal: $number:ident($($argument:expr),*);)*) => {
        [$(($what, (|| {
            let mut arguments = [0_u64; 5];
            let given: &[u64] = &[$($argument),*];
            arguments[..given.len()].copy_from_slice(given);
            call(libc::$number, arguments)
        }) as fn() -> io::Result<()>)),*]
    };
}

const NONE: u64 = u64::MAX;
const NOWHERE: &std::ffi::CStr = c"/nowhere/at/all";

/// `BPF_MAP_CREATE` and others, with attributes that are empty.
fn bpf(command: u64) -> io::Result<()> {
    let attributes = [0_u64; 16];
    call(libc::SYS_bpf, [command, attributes.as_ptr() as u64, size_of_val(&attributes) as u64, 0, 0])
}

fn socket(family: i32, kind: i32, protocol: i32) -> io::Result<()> {
    // SAFETY: makes a descriptor, which is closed at once.
    let descriptor = unsafe { libc::socket(family, kind, protocol) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above.
    unsafe { libc::close(descriptor) };
    Ok(())
}

fn forked() -> io::Result<()> {
    // SAFETY: the child ends at once.
    let child = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    match i32::try_from(child) {
        // SAFETY: nothing of the parent's is left to be done.
        Ok(0) => unsafe { libc::_exit(0) },
        Ok(child) if child > 0 => {
            // SAFETY: waits for that child.
            unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
            Ok(())
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Raises all capabilities that were there at the start.
fn raised() -> io::Result<()> {
    let own = rustix::thread::capabilities(None)?;
    let all = rustix::thread::CapabilitySet::SYS_ADMIN | own.permitted;
    let sets =
        rustix::thread::CapabilitySets { effective: all, permitted: all, inheritable: own.inheritable };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

fn joined() -> io::Result<()> {
    let namespace = fs::File::open("/proc/self/ns/net")?;
    call(libc::SYS_setns, [namespace.as_raw_fd() as u64, 0, 0, 0, 0])
}

fn counted() -> io::Result<()> {
    // `struct perf_event_attr`: a software clock, of its first version.
    let attributes: [u32; 16] = std::array::from_fn(|n| if n < 2 { [1, 64][n] } else { 0 });
    call(libc::SYS_perf_event_open, [attributes.as_ptr() as u64, 0, NONE, NONE, 0])
}

fn signalled() -> io::Result<()> {
    // SAFETY: asks whether the parent could be signalled.
    match unsafe { libc::kill(libc::getppid(), 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn executable() -> io::Result<()> {
    let (size, kind) = (4_096, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let all = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    call(libc::SYS_mmap, [0, size, all as u64, kind as u64, NONE])
}

fn made_executable() -> io::Result<()> {
    let page = vec![0_u8; 3 * 4_096];
    let start = (page.as_ptr() as u64).next_multiple_of(4_096);
    let (read, run) = (libc::PROT_READ as u64, libc::PROT_EXEC as u64);
    let made = call(libc::SYS_mprotect, [start, 4_096, read | run, 0, 0]);
    call(libc::SYS_mprotect, [start, 4_096, read | libc::PROT_WRITE as u64, 0, 0]).and(made)
}

fn looked_into() -> io::Result<()> {
    let (mut word, of) = (0_u64, 7_u64);
    let vector = |at: u64| [at, 8];
    let (local, remote) = (vector(&raw mut word as u64), vector(&raw const of as u64));
    let (local, remote) = (local.as_ptr() as u64, remote.as_ptr() as u64);
    call(libc::SYS_process_vm_readv, [u64::from(std::process::id()), local, 1, remote, 1])
}

/// Receives more than the machine's limit allows: `SO_RCVBUFFORCE`.
fn forced() -> io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    Ok(rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 1 << 16)?)
}

/// Those that are one call.
#[rustfmt::skip]
const SIMPLE: &[Call] = &harmless! {
        "have mounts of its own": SYS_unshare(libc::CLONE_NEWNS as u64);
        "run a program": SYS_execve(text(NOWHERE), 0, 0);
        "run a program by its descriptor": SYS_execveat(NONE, text(NOWHERE), 0, 0, 0);
        "trace a process": SYS_ptrace(16, u64::MAX >> 33, 0, 0);
        "load a module": SYS_init_module(0, 0, text(c""));
        "load a module's file": SYS_finit_module(NONE, text(c""), 0);
        "unload a module": SYS_delete_module(text(c"none"), libc::O_NONBLOCK as u64);
        "load another kernel": SYS_kexec_load(0, 0, 0, NONE);
        "use the kernel's keys": SYS_keyctl(0, libc::KEY_SPEC_THREAD_KEYRING as u64, 0);
        "add a key": SYS_add_key(0, 0, 0, 0, 0);
        "open a file by its handle": SYS_open_by_handle_at(NONE, 0, 0);
        "handle page faults": SYS_userfaultfd(1);
        "queue I/O past the filter": SYS_io_uring_setup(0, 0);
        "change its root": SYS_chroot(text(c"/"));
        "change the machine's root": SYS_pivot_root(text(NOWHERE), text(NOWHERE));
        "mount": SYS_mount(0, text(NOWHERE), text(c"tmpfs"), 0, 0);
    "unmount": SYS_umount2(text(NOWHERE), 0);
        "open a mount": SYS_open_tree(NONE, text(NOWHERE), 0);
        "move a mount": SYS_move_mount(NONE, text(NOWHERE), NONE, text(NOWHERE), 0);
        "make a file system": SYS_fsopen(text(c"none"), 0);
        "set the clock": SYS_clock_settime(0, 0);
        "name the machine": SYS_sethostname(0, NONE);
        "restart the machine": SYS_reboot(0, 0, 0);
        "swap": SYS_swapon(text(NOWHERE), 0);
        "account processes": SYS_acct(text(NOWHERE));
        "read the kernel's log": SYS_syslog(10, 0, 0);
        "change quotas": SYS_quotactl(NONE, 0, 0, 0);
        "become another user": SYS_setresuid(0, 0, 0);
        "become another group": SYS_setgroups(0, 0);
        "raise its limits": SYS_prlimit64(0, 7, NONE, 0);
        "change its priority": SYS_setpriority(0, 0, 0);
        "choose its CPU": SYS_sched_setaffinity(0, 0, 0);
        "watch all files": SYS_fanotify_init(0, 0);
        "make a device": SYS_mknodat(NONE, text(NOWHERE), u64::from(libc::S_IFCHR), 0);
        "have a file without a name": SYS_memfd_create(text(c"m"), 0);
        "share memory": SYS_shmget(0x5e15, 4_096, 0);
        "take another's descriptor": SYS_pidfd_getfd(NONE, 0, 0);
        "compare processes": SYS_kcmp(1, 1, 9, 0, 0);
        "keep capabilities over a change of the user": SYS_prctl(libc::PR_SET_KEEPCAPS as u64, 0);
        "be dumped": SYS_prctl(libc::PR_SET_DUMPABLE as u64, 1);
        "type into a terminal": SYS_ioctl(NONE, libc::TIOCSTI, 0);
        "stay in memory": SYS_mlockall(0);
};

const OTHERS: &[Call] = &[
    ("join a namespace", joined),
    ("make a process", forked),
    ("raise its capabilities", raised),
    ("make a map of BPF", || bpf(0)),
    ("load a program of BPF", || bpf(5)),
    ("find others' programs of BPF", || bpf(11)),
    ("have BPF measured", || bpf(32)),
    ("attach a program of BPF", || bpf(28)),
    ("count events", counted),
    ("read another process", looked_into),
    ("signal another process", signalled),
    ("write code", executable),
    ("run what it wrote", made_executable),
    ("see all packets", || socket(libc::AF_PACKET, libc::SOCK_RAW, 0)),
    ("forge packets", || socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_UDP)),
    ("ask the kernel of networks", || socket(libc::AF_NETLINK, libc::SOCK_RAW, 0)),
    ("use the kernel's ciphers", || socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0)),
    ("reach the hypervisor", || socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0)),
    ("listen on a port of the system's", || UdpSocket::bind("127.0.0.1:9").map(drop)),
    ("have more memory of sockets", forced),
];
