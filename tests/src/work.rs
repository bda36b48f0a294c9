//! Known work, done by this same binary in processes of its own: `it --work KIND ARGS...`.
//!
//! A worker gives the CPU up before it joins its cgroup in each hierarchy, and once more after, so that the time slice in
//! which it joins, which the kernel and the agent may split in different places, is next to nothing; then it says `ready`,
//! waits for a line, works, and says `done` with what it did.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crate::cgroup::Cgroup;
use crate::oracle;

/// The first argument of a worker.
pub const FLAG: &str = "--work";

/// A worker process; ended when it is dropped.
pub struct Worker {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Worker {
    /// Starts one in a cgroup, and waits until it is ready. `netns` is a namespace's name, or empty.
    pub fn start(cgroup: &Cgroup, netns: &str, args: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(FLAG)
            .arg(cgroup.joins().join(","))
            .arg(netns)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut worker = Self { child, stdin, stdout };
        assert_eq!(worker.line(), "ready", "{args:?}");
        worker
    }

    /// Lets it begin.
    pub fn go(&mut self) {
        writeln!(self.stdin.as_mut().unwrap(), "go").unwrap();
    }

    /// Waits for its end, and returns what it reported: a number for most kinds.
    pub fn finish(mut self) -> u64 {
        let line = self.line();
        let _ = self.child.wait();
        let Some(number) = line.strip_prefix("done ") else { panic!("the worker printed {line:?}") };
        number.parse().unwrap()
    }

    /// Waits for its end, and gives the signal that ended it, if one did.
    pub fn killed_by(mut self) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt as _;
        drop(self.stdin.take());
        self.child.wait().unwrap().signal()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has done its work, and may be there still.
    pub fn wait_until_done(&mut self) {
        let line = self.line();
        assert!(line.starts_with("done "), "the worker printed {line:?}");
    }

    /// Begins and waits for the end.
    pub fn run(mut self) -> u64 {
        self.go();
        self.finish()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does the work when this process was started as a worker; `None` when it was not.
pub fn main_if_worker() -> Option<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [flag, joins, netns, kind, rest @ ..] = args.as_slice() else { return None };
    if flag != FLAG {
        return None;
    }
    if !netns.is_empty() {
        let namespace = fs::File::open(format!("/var/run/netns/{netns}")).unwrap();
        rustix::thread::move_into_link_name_space(
            std::os::fd::AsFd::as_fd(&namespace),
            Some(rustix::thread::LinkNameSpaceType::Network),
        )
        .unwrap();
    }
    for file in joins.split(',') {
        crate::pause(Duration::from_millis(1));
        fs::write(file, "0").unwrap_or_else(|error| panic!("{file}: {error}"));
    }
    crate::pause(Duration::from_millis(1));
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    work(kind, &rest);
    Some(())
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Says that everything is prepared, and waits for the start.
fn ready() {
    println!("ready");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

fn done(n: u64) {
    println!("done {n}");
}

fn work(kind: &str, args: &[&str]) {
    match (kind, args) {
        // Writes to so much memory.
        ("allocate", [mib]) => {
            ready();
            let mut memory: Vec<Vec<u8>> = Vec::new();
            for _ in 0..number(mib) {
                memory.push(vec![1; 1 << 20]);
            }
            done(std::hint::black_box(&memory).len() as u64);
        }
        ("schedule", []) => crate::scheduler::start(),
        ("spin", [ms]) => {
            ready();
            spin(Duration::from_millis(number(ms)));
            done(0);
        }
        ("waits", [ms]) => waits(Duration::from_millis(number(ms))),
        ("contend", [ms]) => contend(Duration::from_millis(number(ms))),
        ("hold", [bytes, ms]) => {
            let held = vec![7_u8; number(bytes) as usize];
            ready();
            spin(Duration::from_millis(number(ms)));
            std::hint::black_box(&held);
            done(0);
        }
        ("switch", [ms, per_second]) => switch(Duration::from_millis(number(ms)), number(per_second)),
        ("switch-cold", [n, mib]) => switch_cold(number(n), number(mib) as usize),
        ("fork", [ms]) => fork(Duration::from_millis(number(ms))),
        ("herd", [n]) => herd(number(n)),
        ("churn", [roots, n]) => churn(&roots.split(',').collect::<Vec<_>>(), number(n)),
        ("idle", [ms]) => {
            ready();
            // As idle as a process gets: it looks at its watch now and then.
            let end = Instant::now() + Duration::from_millis(number(ms));
            while Instant::now() < end {
                crate::pause(Duration::from_millis(500));
            }
            done(0);
        }
        ("read" | "write", [path, block, n]) => {
            direct(kind == "read", path, number(block) as usize, number(n));
        }
        ("buffered", [path, block, n, every]) => {
            buffered(path, number(block) as usize, number(n), number(every));
        }
        ("udp-send", [to, size, n, threads]) => {
            udp_send(to, number(size) as usize, number(n), number(threads));
        }
        ("udp-send-any", [to, size, n]) => udp_send_any(to, number(size) as usize, number(n)),
        ("udp-receive", [on, size, n]) => udp_receive(on, number(size) as usize, number(n)),
        ("tcp-send", [to, bytes]) => tcp_send(to, number(bytes)),
        ("tcp-receive", [on]) => tcp_receive(on),
        _ => panic!("no such work: {kind} {args:?}"),
    }
}

fn spin(time: Duration) {
    let end = Instant::now() + time;
    let mut n = 0_u64;
    while Instant::now() < end {
        for _ in 0..10_000 {
            n = std::hint::black_box(n.wrapping_add(1));
        }
    }
}

/// From now on this thread runs on the first CPU alone.
fn stay_on_one_cpu() {
    let mut cpus = rustix::thread::CpuSet::new();
    cpus.set(0);
    rustix::thread::sched_setaffinity(None, &cpus).unwrap();
}

/// On one CPU with others; says what 99 of 100 of its waits did not exceed, in nanoseconds.
fn waits(time: Duration) {
    stay_on_one_cpu();
    ready();
    let mut samples = Vec::new();
    let end = Instant::now() + time;
    let (mut waited, mut turns) = oracle::own_waits();
    while Instant::now() < end {
        // Short and long waits: who slept goes before who spun.
        if turns.is_multiple_of(2) {
            crate::pause(Duration::from_micros(500));
        }
        let (waited_now, turns_now) = oracle::own_waits();
        if turns_now == turns + 1 {
            samples.push(waited_now - waited);
        }
        (waited, turns) = (waited_now, turns_now);
    }
    done(oracle::quantile(&mut samples, 0.99));
}

/// On one CPU with all others of the kind; stays until it may go, so that its own figures can be read.
fn contend(time: Duration) {
    stay_on_one_cpu();
    crate::pause(Duration::from_millis(1));
    ready();
    spin(time);
    done(0);
    let _ = std::io::stdin().read_line(&mut String::new());
}

/// A task that hands a byte back.
struct Partner {
    stream: std::os::unix::net::UnixStream,
    echo: std::thread::JoinHandle<()>,
}

impl Partner {
    fn start() -> Self {
        let (stream, mut there) = std::os::unix::net::UnixStream::pair().unwrap();
        let echo = std::thread::spawn(move || {
            let mut byte = [0];
            while there.read_exact(&mut byte).is_ok() && byte[0] != 0 {
                there.write_all(&byte).unwrap();
            }
        });
        Self { stream, echo }
    }

    /// Hands it a byte, and waits for that.
    fn turn(&mut self) {
        let mut byte = [1];
        self.stream.write_all(&byte).unwrap();
        self.stream.read_exact(&mut byte).unwrap();
    }

    fn end(mut self) {
        self.stream.write_all(&[0]).unwrap();
        self.echo.join().unwrap();
    }
}

/// Two tasks of one CPU that hand a byte to and fro.
fn switch(time: Duration, per_second: u64) {
    stay_on_one_cpu();
    let mut partner = Partner::start();
    ready();
    let (start, mut n) = (Instant::now(), 0);
    while start.elapsed() < time {
        partner.turn();
        n += 2;
        while n > per_second * start.elapsed().as_millis() as u64 / 1000 && n % 128 == 0 {
            crate::pause(Duration::from_micros(100));
        }
    }
    partner.end();
    done(n);
}

/// The same, with so much memory walked through before each turn, which takes what else there is out of the caches.
fn switch_cold(n: u64, mib: usize) {
    stay_on_one_cpu();
    let mut partner = Partner::start();
    let mut memory = vec![1_u64; mib << 17];
    ready();
    for _ in 0..n {
        for word in memory.iter_mut().step_by(8) {
            *word = std::hint::black_box(*word + 1);
        }
        partner.turn();
    }
    partner.end();
    done(2 * n);
}

/// Processes without end, one after the other, each as short as can be.
fn fork(time: Duration) {
    ready();
    let (end, mut n) = (Instant::now() + time, 0);
    while Instant::now() < end {
        // SAFETY: the child only leaves.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { libc::_exit(0) };
        }
        assert!(child > 0);
        let mut status = 0;
        // SAFETY: waits for the child just made.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        n += 1;
    }
    done(n);
}

/// `n` processes that do nothing, until the end.
fn herd(n: u64) {
    let children: Vec<i32> = (0..n)
        .map(|_| {
            // SAFETY: the child sleeps until it is killed, and with its parent at the latest; it runs nothing of the parent's.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: as above.
                unsafe {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    loop {
                        libc::pause();
                    }
                }
            }
            assert!(child > 0, "cannot fork: {}", std::io::Error::last_os_error());
            child
        })
        .collect();
    ready();
    for child in &children {
        // SAFETY: a child just made, not yet waited for.
        unsafe { libc::kill(*child, libc::SIGKILL) };
    }
    for child in &children {
        let mut status = 0;
        // SAFETY: waits for a child just made.
        unsafe { libc::waitpid(*child, &raw mut status, 0) };
    }
    done(n);
}

/// Cgroups that are made, entered by a process that leaves at once, and removed.
fn churn(roots: &[&str], n: u64) {
    ready();
    for i in 1..=n {
        let directories: Vec<String> = roots.iter().map(|root| format!("{root}/churn-{i}")).collect();
        for directory in &directories {
            fs::create_dir(directory).unwrap_or_else(|error| panic!("{directory}: {error}"));
        }
        // SAFETY: the child writes two bytes to files and leaves; this process has one thread.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let joined = directories
                .iter()
                .all(|directory| fs::write(format!("{directory}/cgroup.procs"), "0").is_ok());
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { libc::_exit(i32::from(!joined)) };
        }
        let mut status = 0;
        // SAFETY: waits for the child just made.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(status, 0, "the child could not join");
        for directory in &directories {
            crate::wait_for(|| fs::remove_dir(directory).is_ok(), Duration::from_secs(10), directory);
        }
    }
    done(n);
}

/// A buffer that `O_DIRECT` takes.
fn aligned(size: usize) -> (Vec<u8>, usize) {
    let buffer = vec![0x5a_u8; size + 4096];
    let start = buffer.as_ptr().align_offset(4096);
    (buffer, start)
}

/// `n` blocks past the page cache, one after the other.
fn direct(read: bool, path: &str, block: usize, n: u64) {
    use std::os::unix::fs::FileExt as _;
    let file =
        fs::OpenOptions::new().read(read).write(!read).custom_flags(libc::O_DIRECT).open(path).unwrap();
    let (mut buffer, start) = aligned(block);
    // By seeking: a disk has no length in its metadata.
    let blocks = (&file).seek(SeekFrom::End(0)).unwrap() / block as u64;
    ready();
    for i in 0..n {
        let offset = i % blocks * block as u64;
        let part = &mut buffer[start..start + block];
        let done = if read { file.read_at(part, offset) } else { file.write_at(part, offset) };
        assert_eq!(done.unwrap(), block);
    }
    done(n * block as u64);
}

/// `n` blocks through the page cache, with an fsync after every `every`.
fn buffered(path: &str, block: usize, n: u64, every: u64) {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(path).unwrap();
    let buffer = vec![0xa5_u8; block];
    ready();
    for i in 0..n {
        file.write_all(&buffer).unwrap();
        if (i + 1) % every == 0 {
            file.sync_data().unwrap();
        }
    }
    file.sync_all().unwrap();
    done(n * block as u64);
}

fn udp_send(to: &str, size: usize, n: u64, threads: u64) {
    ready();
    let each = |n: u64| {
        let (to, payload) = (to.to_owned(), vec![7; size]);
        std::thread::spawn(move || {
            let socket = UdpSocket::bind(if to.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" }).unwrap();
            for _ in 0..n {
                assert_eq!(socket.send_to(&payload, &to).unwrap(), payload.len());
            }
        })
    };
    let senders: Vec<_> = (0..threads).map(|_| each(n / threads)).collect();
    for sender in senders {
        sender.join().unwrap();
    }
    done(n / threads * threads);
}

/// Says how many were not refused.
fn udp_send_any(to: &str, size: usize, n: u64) {
    ready();
    let (socket, payload) = (UdpSocket::bind("0.0.0.0:0").unwrap(), vec![7; size]);
    done((0..n).filter(|_| socket.send_to(&payload, to).is_ok()).count() as u64);
}

/// Receives until `n` datagrams came, or none for a second.
fn udp_receive(on: &str, size: usize, n: u64) {
    let socket = UdpSocket::bind(on).unwrap();
    ready();
    let (mut buffer, mut received) = (vec![0; size + 1], 0);
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    while received < n {
        match socket.recv(&mut buffer) {
            Ok(bytes) => assert_eq!(bytes, size),
            Err(_) => break,
        }
        received += 1;
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    }
    done(received);
}

fn tcp_send(to: &str, bytes: u64) {
    ready();
    let mut stream = TcpStream::connect(to).unwrap();
    let chunk = vec![9; 1 << 16];
    let mut left = bytes;
    while left > 0 {
        let part = &chunk[..left.min(1 << 16) as usize];
        stream.write_all(part).unwrap();
        left -= part.len() as u64;
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    // The other end closes when it has everything.
    let _ = stream.read(&mut [0]);
    done(bytes);
}

fn tcp_receive(on: &str) {
    let listener = TcpListener::bind(on).unwrap();
    ready();
    let (mut stream, _) = listener.accept().unwrap();
    let (mut chunk, mut received) = (vec![0; 1 << 16], 0);
    while let Ok(n @ 1..) = stream.read(&mut chunk) {
        received += n as u64;
    }
    done(received);
}
