//! The spool of an output, which works on a thread of its own: one job at a time, in which everything is done that is due.
//!
//! While a job waits for the disk, what comes in is gathered for the next one: however many wait for it, it is one sync.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::batch::{Line, Queued, Route};
use super::delivery::Rejected;
use super::memory::Memory;
use crate::service::off_thread;
use crate::spool::log::{Limits, Log, Loss, Payload};

/// A record is begun after so many bytes: what a damaged one loses.
const RECORD: usize = 16 << 10;
/// After a failure the disk is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// A job that takes longer is said to hang.
const HANG_LIMIT: Duration = Duration::from_secs(2);

/// What is to be done.
#[derive(Default)]
pub(super) struct Job {
    /// To be appended, in this order.
    pub(super) append: Vec<(Bytes, Route)>,
    /// Numbers of lines that are done.
    pub(super) done: Vec<Range<u64>>,
    /// Where to read, and how much.
    pub(super) read: Option<(u64, Wanted)>,
    /// Lines to be set aside.
    pub(super) rejected: Vec<Rejected>,
}

/// How much is to be read; no less than a record.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) lines: u64,
    pub(super) bytes: u64,
    /// Where it counts.
    pub(super) memory: Memory,
}

impl Job {
    /// Whether there is anything to do.
    pub(super) fn is_something(&self) -> bool {
        !(self.append.is_empty() && self.done.is_empty() && self.rejected.is_empty()) || self.read.is_some()
    }
}

/// What became of a job.
pub(super) struct Outcome {
    /// The number of the first line, if there was something to append.
    pub(super) appended: Option<std::io::Result<u64>>,
    /// The lines, and where to read on.
    pub(super) read: Option<std::io::Result<(Vec<Queued>, u64)>>,
    /// Lines that are lost.
    pub(super) lost: Vec<(Loss, Range<u64>)>,
    /// What else failed.
    pub(super) failed: Option<std::io::Error>,
    /// All lines before this one are done.
    pub(super) done_until: u64,
    /// How many are not.
    pub(super) pending: u64,
    /// In how many ranges those are that are done behind that.
    pub(super) n_ranges: usize,
    /// Bytes of the spool.
    pub(super) bytes: u64,
}

impl Outcome {
    /// Why it did not work, if it did not.
    pub(super) fn error(&self) -> Option<&std::io::Error> {
        let appended = self.appended.as_ref().and_then(|appended| appended.as_ref().err());
        let read = self.read.as_ref().and_then(|read| read.as_ref().err());
        appended.or(read).or(self.failed.as_ref())
    }
}

/// Opens a spool, whose disk may be full or fail.
pub(crate) type Opener = Arc<dyn Fn() -> anyhow::Result<Log> + Send + Sync>;

pub(super) struct Spooler {
    /// `None` while a job has it, or it is not open yet.
    log: Option<Log>,
    /// How it is opened, where it is not yet.
    opener: Option<Opener>,
    job: Option<JoinHandle<Finished>>,
    /// New limits, for the next job.
    limits: Option<Limits>,
    hangs_at: Instant,
    is_hanging: bool,
    retry_at: Option<Instant>,
}

enum Finished {
    Worked(Log, Outcome),
    Opened(anyhow::Result<Log>),
}

/// Why a sender looks after its spool.
pub(super) enum Event {
    Done(Outcome),
    /// It is open, with these points of earlier runs.
    Opened(Range<u64>),
    /// It could not be opened.
    Closed(anyhow::Error),
    /// The job takes long.
    Hangs,
    /// It is time to try again.
    Retry,
}

impl Spooler {
    pub(super) fn new(log: Log) -> Self {
        Self {
            log: Some(log),
            opener: None,
            job: None,
            limits: None,
            hangs_at: Instant::now(),
            is_hanging: false,
            retry_at: None,
        }
    }

    /// One that could not be opened, and is to be as after any other failure.
    pub(super) fn unopened(opener: Opener) -> Self {
        Self {
            log: None,
            opener: Some(opener),
            job: None,
            limits: None,
            hangs_at: Instant::now(),
            is_hanging: false,
            retry_at: Some(Instant::now() + RETRY),
        }
    }

    /// Other limits, from the next job on.
    pub(super) fn limit(&mut self, limits: Limits) {
        self.limits = Some(limits);
    }

    /// Whether it can be given a job.
    pub(super) fn is_idle(&self) -> bool {
        self.job.is_none() && self.retry_at.is_none_or(|at| at <= Instant::now())
    }

    /// Whether a job is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.job.is_some()
    }

    /// Begins to open it, where it is idle and not open. Returns whether it is not: then there is no job for it.
    pub(super) fn begin_opening(&mut self) -> bool {
        let Some(opener) = self.opener.clone() else { return false };
        self.run(move || Finished::Opened(opener()));
        true
    }

    /// Begins a job, where it is idle.
    pub(super) fn begin(&mut self, job: Job) {
        let Some(mut log) = self.log.take() else { return };
        if let Some(limits) = self.limits.take() {
            log.limit(limits);
        }
        self.run(move || {
            let outcome = work(&mut log, job);
            Finished::Worked(log, outcome)
        });
    }

    fn run(&mut self, work: impl FnOnce() -> Finished + Send + 'static) {
        self.retry_at = None;
        self.hangs_at = Instant::now() + HANG_LIMIT;
        self.job = Some(off_thread::spawn(work));
    }

    /// The next thing to know. Can be dropped and called again.
    pub(super) async fn event(&mut self) -> Event {
        let Some(job) = &mut self.job else {
            return match self.retry_at {
                Some(at) => {
                    tokio::time::sleep_until(at).await;
                    self.retry_at = None;
                    Event::Retry
                }
                None => std::future::pending().await,
            };
        };
        tokio::select! {
            finished = off_thread::finished(job) => {
                (self.job, self.is_hanging) = (None, false);
                self.finished(finished)
            }
            () = tokio::time::sleep_until(self.hangs_at), if !self.is_hanging => {
                self.is_hanging = true;
                Event::Hangs
            }
        }
    }

    fn finished(&mut self, finished: Finished) -> Event {
        match finished {
            Finished::Worked(log, outcome) => {
                self.log = Some(log);
                self.retry_at = outcome.error().map(|_| Instant::now() + RETRY);
                Event::Done(outcome)
            }
            Finished::Opened(Ok(log)) => {
                let pending = log.pending();
                (self.log, self.opener) = (Some(log), None);
                Event::Opened(pending)
            }
            Finished::Opened(Err(error)) => {
                self.retry_at = Some(Instant::now() + RETRY);
                Event::Closed(error)
            }
        }
    }

    /// Has what was said to be done on the disk, at the end.
    pub(super) async fn close(mut self) {
        if let Some(mut log) = self.log.take() {
            let closed = off_thread::run(move || log.close());
            if let Ok(Err(error)) = tokio::time::timeout(HANG_LIMIT, closed).await {
                tracing::warn!(%error, "cannot write the spool's cursor: some points will be sent again");
            }
        }
    }
}

/// The next event of a spool, where there is one.
pub(super) async fn event(spooler: &mut Option<Spooler>) -> Event {
    match spooler {
        Some(spooler) => spooler.event().await,
        None => std::future::pending().await,
    }
}

/// Does a job.
pub(super) fn work(log: &mut Log, Job { append, done, read, rejected }: Job) -> Outcome {
    // Before they are done.
    let aside = log.set_aside(&aside(&rejected)).err();
    let failed = log.done(done).err().or(aside);
    let appended = (!append.is_empty()).then(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        log.append(&payloads(&append), u32::try_from(now).unwrap_or(u32::MAX))
    });
    let read = read.map(|(from, wanted)| {
        let found = log.read(from, wanted.lines, wanted.bytes)?;
        let mut lines = Vec::new();
        for record in found.records {
            let Some(texts) = lines_of(wanted.memory.hold(record.bytes), record.count) else {
                // Whole by its checksum, so no agent of this version wrote it. Kept, it would hold the cursor for ever.
                log.lose(Loss::Damaged, record.first..record.first + u64::from(record.count));
                continue;
            };
            let numbered = (record.first..).zip(texts);
            let numbered = numbered.filter(|(number, _)| *number >= from && !log.is_done(*number));
            lines.extend(numbered.map(|(number, (text, route))| {
                let line = Line { text, number: Some(number) };
                Queued { line, route }
            }));
        }
        Ok((lines, found.next))
    });
    Outcome {
        appended,
        read,
        lost: log.take_lost(),
        failed,
        done_until: log.pending().start,
        pending: log.len(),
        n_ranges: log.n_ranges(),
        bytes: log.bytes(),
    }
}

/// What is kept of lines that the other side will never take: a comment that says why, and the line.
fn aside(rejected: &[Rejected]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut last = None;
    for Rejected { text: line, reason } in rejected {
        if last != Some(reason) {
            text.extend_from_slice(format!("# {}\n", reason.replace(['\r', '\n'], " ")).as_bytes());
            last = Some(reason);
        }
        text.extend_from_slice(line);
    }
    text
}

/// The records of some lines, in their order.
fn payloads(lines: &[(Bytes, Route)]) -> Vec<Payload> {
    let (mut payloads, mut from, mut size) = (Vec::new(), 0, 0);
    for (i, (text, _)) in lines.iter().enumerate() {
        size += text.len();
        if size >= RECORD || i + 1 == lines.len() {
            payloads.push(payload(&lines[from..=i]));
            (from, size) = (i + 1, 0);
        }
    }
    payloads
}

/// A record has its routes, and then each line with the number of its route. Lengths are in four bytes, little-endian.
///
/// ```text
/// routes (4), { tags (4), { 0 | 1, length (4), value } }
/// { route (4), length (4), line }
/// ```
fn payload(lines: &[(Bytes, Route)]) -> Payload {
    let mut routes: Vec<&Route> = Vec::new();
    let mut numbers = Vec::with_capacity(lines.len());
    for (_, route) in lines {
        let known = routes.iter().rposition(|known| Arc::ptr_eq(known, route) || *known == route);
        numbers.push(known.unwrap_or(routes.len()));
        if known.is_none() {
            routes.push(route);
        }
    }
    let mut bytes = Vec::new();
    put(&mut bytes, routes.len());
    for route in routes {
        put(&mut bytes, route.len());
        for value in route.iter() {
            bytes.push(u8::from(value.is_some()));
            let value = value.as_deref().unwrap_or_default();
            put(&mut bytes, value.len());
            bytes.extend_from_slice(value.as_bytes());
        }
    }
    for (number, (text, _)) in numbers.iter().zip(lines) {
        put(&mut bytes, *number);
        put(&mut bytes, text.len());
        bytes.extend_from_slice(text);
    }
    Payload { count: u32::try_from(lines.len()).unwrap_or(u32::MAX), bytes }
}

fn put(bytes: &mut Vec<u8>, n: usize) {
    bytes.extend_from_slice(&u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes());
}

/// The lines of a record; `None` when it is none.
fn lines_of(mut rest: Bytes, count: u32) -> Option<Vec<(Bytes, Route)>> {
    let number = |rest: &mut Bytes| {
        let (number, _) = rest.split_first_chunk::<4>()?;
        let number = usize::try_from(u32::from_le_bytes(*number)).ok()?;
        drop(rest.split_to(4));
        Some(number)
    };
    let part = |rest: &mut Bytes, len: usize| (len <= rest.len()).then(|| rest.split_to(len));
    let mut routes: Vec<Route> = Vec::new();
    for _ in 0..number(&mut rest)? {
        let mut route = Vec::new();
        for _ in 0..number(&mut rest)? {
            let is_there = *part(&mut rest, 1)?.first()? == 1;
            let len = number(&mut rest)?;
            let value = String::from_utf8(part(&mut rest, len)?.to_vec()).ok()?;
            route.push(is_there.then_some(value));
        }
        routes.push(route.into());
    }
    let mut lines = Vec::new();
    for _ in 0..count {
        let route = Arc::clone(routes.get(number(&mut rest)?)?);
        let len = number(&mut rest)?;
        lines.push((part(&mut rest, len)?, route));
    }
    rest.is_empty().then_some(lines)
}

/// Takes any bytes for a record, as a fuzzer does.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn parse_any(bytes: &[u8]) {
    let (count, bytes) = bytes.split_first().map_or((0, bytes), |(count, bytes)| (*count, bytes));
    if let Some(lines) = lines_of(Bytes::copy_from_slice(bytes), count.into()) {
        let again = payload(&lines);
        assert_eq!(lines_of(again.bytes.into(), again.count), Some(lines));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::files::Folder;

    fn lines() -> Vec<(Bytes, Route)> {
        let routes = [
            Route::from([]),
            Route::from([Some("db".to_owned()), None]),
            Route::from([None, Some(String::new())]),
        ];
        (0..3_000)
            .map(|i| (Bytes::from(format!("m f={i}i,s=\"a\nb\" {i}\n")), Arc::clone(&routes[i % 7 % 3])))
            .collect()
    }

    #[test]
    fn records_have_their_lines_and_routes_in_order() {
        let lines = lines();
        let payloads = payloads(&lines);
        assert!(payloads.len() > 3 && payloads.iter().all(|payload| payload.bytes.len() < RECORD * 2));
        let read: Vec<(Bytes, Route)> = payloads
            .iter()
            .flat_map(|payload| lines_of(payload.bytes.clone().into(), payload.count).unwrap())
            .collect();
        assert_eq!(read, lines);
        let Payload { count, bytes } = &payloads[0];
        let whole = Bytes::from(bytes.clone());
        assert!(lines_of(whole.clone(), count + 1).is_none() && lines_of(whole.clone(), count - 1).is_none());
        assert!((0..whole.len()).all(|len| lines_of(whole.slice(..len), *count).is_none()));
        assert_eq!(super::payloads(&[]), []);
    }

    #[test]
    fn a_record_of_another_form_is_lost_and_holds_nothing_up() {
        const LIMITS: Limits =
            Limits { bytes: 1 << 20, age: Duration::MAX, sync: false, segment_bytes: 1 << 20 };
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::lock(directory.path()).unwrap().unwrap();
        let mut log = Log::open(Box::new(folder), LIMITS).unwrap();
        log.append(&[Payload { count: 3, bytes: vec![0xff; 100] }], 0).unwrap();
        log.append(&payloads(&lines()[..5]), 0).unwrap();
        let wanted = Wanted { lines: 100, bytes: 1 << 20, ..Wanted::default() };
        let outcome = work(&mut log, Job { read: Some((0, wanted)), ..Job::default() });
        let (read, next) = outcome.read.as_ref().unwrap().as_ref().unwrap();
        let numbers: Vec<u64> = read.iter().filter_map(|queued| queued.line.number).collect();
        assert_eq!((numbers, *next), (vec![3, 4, 5, 6, 7], 8));
        assert_eq!((outcome.lost.clone(), outcome.pending), (vec![(Loss::Damaged, 0..3)], 5));
        assert!(outcome.error().is_none());
    }

    #[test]
    fn what_is_set_aside_says_why_once_for_all_of_a_reason() {
        let rejected =
            |text: &'static str, reason: &str| Rejected { text: text.into(), reason: reason.into() };
        let all =
            [rejected("a f=1\n", "no\nway"), rejected("b f=1\n", "no\nway"), rejected("c f=1\n", "never")];
        assert_eq!(String::from_utf8(aside(&all)).unwrap(), "# no way\na f=1\nb f=1\n# never\nc f=1\n");
        assert_eq!(aside(&[]), b"");
    }
}
