//! The unit of CPU time that bars are multiples of, so that they hold on a slow machine too: what it takes to open, read and close
//! one small file of the kernel, and to write to one page of memory.
//!
//! What has rested for a while is dear: caches are cold, and a virtual machine may have to get its memory back from its host, which
//! took 50 us a page on one after ten seconds, and 13 after one. So what an agent takes that gathers every ten seconds is compared
//! with looks that somebody takes every ten seconds, during the same time.

use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::oracle::{self, own_cpu_ns};

/// Files that are looked at in one go: as many as an agent reads.
const FILES: usize = 100;
const PAGE: usize = 4096;
/// What a look takes, at most, where memory and caches are what they should be, in nanoseconds.
const QUIET_NS: f64 = 10_000.0;

/// Whether a gather's CPU time can be judged on a machine where a look takes so long. Says so if not: one whose host takes memory
/// back gives most of the time to that, and how much differs from minute to minute.
#[must_use]
pub fn is_quiet(look_ns: f64) -> bool {
    let is_quiet = look_ns <= QUIET_NS;
    if !is_quiet {
        println!(
            "looks: not judged: {look_ns:.0} ns a look, where a quiet machine takes {QUIET_NS:.0} at most"
        );
    }
    is_quiet
}

/// By how much this machine is slower than a quiet one in what rests now and then, where a look takes so long; 1 if it is not.
#[must_use]
pub fn slowness(look_ns: f64) -> f64 {
    (look_ns / QUIET_NS).max(1.0)
}

/// How often an agent gathers whose memory is not to rest. `{HOT:?}` is what a configuration has.
pub const HOT: Duration = Duration::from_millis(100);

/// What a gather takes of an agent that gathers every [`HOT`], in looks of somebody who looks as often: the least of some seconds.
/// That can be judged on every machine.
///
/// # Panics
/// When the process ends before.
#[must_use]
pub fn of_a_gather(pid: u32) -> f64 {
    const SECONDS: usize = 8;
    // It gathers some times first: at the first ones it finds what there is.
    crate::pause(Duration::from_secs(2));
    let looks = Looks::start(HOT);
    let least = (0..SECONDS).map(|_| {
        let (start, (_, before)) = (Instant::now(), oracle::process(pid));
        crate::pause(Duration::from_secs(1));
        (oracle::process(pid).1 - before) as f64 * HOT.div_duration_f64(start.elapsed())
    });
    let (gather_ns, look_ns) = (least.fold(f64::MAX, f64::min), looks.one_ns());
    let n = gather_ns / look_ns;
    println!("looks: a gather every {HOT:?}: {:.2} ms, {n:.0} looks of {look_ns:.0} ns", gather_ns / 1e6);
    n
}

/// Somebody who looks at files now and then.
pub struct Looks {
    ends: mpsc::Sender<()>,
    looking: JoinHandle<Vec<f64>>,
}

impl Looks {
    /// Begins to look, as often as an agent gathers.
    #[must_use]
    pub fn start(every: Duration) -> Self {
        let (ends, end) = mpsc::channel();
        let looking = std::thread::spawn(move || {
            let (mut rounds, mut memory) = (Vec::new(), vec![1_u8; FILES * PAGE]);
            while end.recv_timeout(every) == Err(mpsc::RecvTimeoutError::Timeout) {
                rounds.push(round(&mut memory));
            }
            rounds
        });
        Self { ends, looking }
    }

    /// Ends it. As [`slowness`], of what it saw.
    #[must_use]
    pub fn slowness(self) -> f64 {
        slowness(self.one_ns())
    }

    /// Ends it. Returns the nanoseconds of CPU time that a look took: the middle one of all rounds.
    #[must_use]
    pub fn one_ns(self) -> f64 {
        let Self { ends, looking } = self;
        drop(ends);
        let mut rounds = looking.join().unwrap();
        assert!(!rounds.is_empty(), "it ended before the first look");
        rounds.sort_by(f64::total_cmp);
        rounds[rounds.len() / 2]
    }
}

/// Looks at each file once, and writes to a page for each. Returns the nanoseconds of one.
fn round(memory: &mut [u8]) -> f64 {
    let processes: Vec<_> = std::fs::read_dir("/proc").unwrap().flatten().collect();
    let is_process = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    let processes = processes.iter().filter(|entry| is_process(&entry.file_name().to_string_lossy()));
    let files = processes.map(|entry| entry.path().join("stat")).take(FILES);
    let files: Vec<_> = files.collect();
    let before = own_cpu_ns();
    // One whose process has ended is looked for, too.
    for (file, page) in files.iter().zip(memory.chunks_mut(PAGE)) {
        let _ = std::hint::black_box(std::fs::read(file));
        std::hint::black_box(page)[0] ^= 1;
    }
    (own_cpu_ns() - before) as f64 / files.len() as f64
}
