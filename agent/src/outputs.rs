//! The outputs: where points go.
//!
//! Owns the `Output` trait, the table of outputs by Telegraf name, and what is done with a server's answer: deliver, split,
//! wait and try again. An output knows nothing of inputs and schedules; `pipeline` runs [`Sender`]s.

mod answer;
pub mod file;
pub mod influxdb;
pub mod influxdb_v2;
mod servers;
mod udp;

use std::collections::BTreeSet;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::bufread::GzEncoder;
use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;

use crate::batch::{Batch, Buffer, Encoding, Route};
use crate::clock;
use crate::config::{OptionError, OutputCommon, file as config_file};
use crate::point::Point;
use crate::telemetry::OutputCounts;

/// The options of one output, whichever it is.
#[derive(Clone, Debug, PartialEq)]
pub enum OutputOptions {
    /// `[[outputs.file]]`
    File(file::Options),
    /// `[[outputs.influxdb]]`
    Influxdb(influxdb::Options),
    /// `[[outputs.influxdb_v2]]`
    InfluxdbV2(influxdb_v2::Options),
}

impl OutputOptions {
    /// The names of all outputs, sorted.
    pub const NAMES: &'static [&'static str] = &["file", "influxdb", "influxdb_v2"];

    /// The output's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Influxdb(_) => "influxdb",
            Self::InfluxdbV2(_) => "influxdb_v2",
        }
    }

    /// Reads the options of the output `name`; `None` when they have problems or there is no such output.
    pub fn read(name: &str, options: &mut config_file::Options<'_>) -> Option<Self> {
        match name {
            "file" => options.read().map(Self::File),
            "influxdb" => options.read().map(Self::Influxdb),
            "influxdb_v2" => options.read().map(Self::InfluxdbV2),
            _ => None,
        }
    }

    /// Makes the outputs of a section, mostly one; nothing is contacted yet.
    ///
    /// # Errors
    /// Which option it cannot work with, and what to do.
    pub fn build(self) -> Result<Vec<Box<dyn Output>>, OptionError> {
        fn boxed(output: impl Output + 'static) -> Box<dyn Output> {
            Box::new(output)
        }
        Ok(match self {
            Self::File(options) => file::File::each(options)?.into_iter().map(boxed).collect(),
            Self::Influxdb(options) => vec![boxed(influxdb::Influxdb::new(options)?)],
            Self::InfluxdbV2(options) => vec![boxed(influxdb_v2::InfluxdbV2::new(options)?)],
        })
    }
}

/// What became of some lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// They are stored, but for `dropped` of them, which the other side counts and will never take.
    Stored {
        /// How many it dropped.
        dropped: u64,
        /// Why, when it dropped some.
        reason: String,
    },
    /// Something about these lines is not acceptable; fewer of them may be.
    Refused(String),
    /// Not now, whatever the lines are.
    Later {
        /// Why, and what to do.
        reason: String,
        /// How long the other side asks to be left alone.
        after: Option<Duration>,
        /// It is said of the lines' route alone, such as of a database that is missing: others may go.
        only_here: bool,
    },
}

impl Answer {
    /// All are stored.
    pub const STORED: Self = Self::Stored { dropped: 0, reason: String::new() };

    /// [`Answer::Later`] for all lines, whenever it suits.
    pub fn later(reason: impl Into<String>) -> Self {
        Self::Later { reason: reason.into(), after: None, only_here: false }
    }

    /// With the server's URL, where there is something to be said about it.
    fn from(self, url: &str) -> Self {
        match self {
            Self::Later { reason, after, only_here } => {
                Self::Later { reason: format!("{url}: {reason}"), after, only_here }
            }
            answer => answer,
        }
    }
}

/// A place that takes lines.
#[async_trait::async_trait]
pub trait Output: Send {
    /// Where it writes to, for the log: a path, or a URL without its secrets.
    fn place(&self) -> String;

    /// What tells this place from every other of its kind: points that wait for one may be written to another that is the
    /// same. The default is for places that say it all.
    fn destination(&self) -> String {
        self.place()
    }

    /// Prepares the other side, such as by creating a database. Called once, before the first write; what does not work is
    /// logged, and tried again when a write shows that it is needed.
    async fn connect(&mut self) {}

    /// How it wants its lines.
    fn encoding(&self) -> Encoding {
        Encoding::default()
    }

    /// Hands over lines of line protocol, each with its end, that have this [`Route`]. May be called
    /// again with the same ones.
    async fn write(&mut self, route: &[Option<String>], lines: &[Bytes]) -> Answer;

    /// What each of its places says of itself, or why it is not reached; for `doctor`. Nothing is written.
    async fn check(&mut self) -> Vec<(String, Result<String, String>)> {
        vec![(self.place(), Ok("not tried".into()))]
    }
}

/// The first wait after a failed write; see [`clock::backoff`].
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// The longest. Half a minute after a server is back, everybody has noticed.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// The longest that a server's own wish is followed.
const LONGEST_WISH: Duration = Duration::from_secs(600);
/// When a batch has this many lines refused one by one and none stored, it is not the lines that the server minds.
const MOST_REFUSED_OF_A_BATCH: usize = 8;
/// A failure that goes on is logged this often.
const REMINDER: Duration = Duration::from_secs(60);

/// What an output is told.
pub enum Message {
    /// Points of one gather.
    Points(Arc<Vec<Point>>),
    /// Write what is there, now.
    Flush,
    /// Go on with other options, after a reload; what waits stays.
    Change {
        /// In place of the one before, which has the same destination; `None` keeps that one.
        output: Option<Box<dyn Output>>,
        /// The options that every output has.
        common: Box<OutputCommon>,
    },
}

/// One output with its buffer: takes points, and delivers them as the other side allows.
pub struct Sender {
    output: Box<dyn Output>,
    common: OutputCommon,
    buffer: Buffer,
    counts: Arc<OutputCounts>,
    /// Writes that did not work since the last one that did.
    failures: u32,
    /// What was last logged about a failure, and when.
    logged: Option<(String, Instant)>,
    dropped_logged: u64,
    /// Points that did not fit into a line, since they were last logged.
    too_long: usize,
    too_long_logged: Option<Instant>,
    /// Routes that did not take lines since the last flush.
    closed: BTreeSet<Route>,
    dropped_counted: u64,
    /// No write before this.
    not_before: Option<Instant>,
    /// The other side was not prepared yet.
    is_new: bool,
    /// Somebody asks for a flush.
    flush_now: bool,
}

/// How a delivery went.
enum Delivery {
    Done,
    Later { rest: Vec<Bytes>, failure: Failure },
}

/// Why something could not be delivered; see [`Answer::Later`].
struct Failure {
    reason: String,
    after: Option<Duration>,
    only_here: bool,
}

impl Sender {
    /// An output with the options that every output has.
    #[must_use]
    pub fn new(output: Box<dyn Output>, common: OutputCommon, counts: Arc<OutputCounts>) -> Self {
        let buffer = Buffer::new(output.encoding(), common.metric_buffer_limit, common.metric_batch_size);
        counts.set(&counts.limit, common.metric_buffer_limit as u64);
        Self {
            output,
            common,
            buffer,
            counts,
            failures: 0,
            logged: None,
            dropped_logged: 0,
            too_long: 0,
            too_long_logged: None,
            closed: BTreeSet::new(),
            dropped_counted: 0,
            not_before: None,
            is_new: true,
            flush_now: false,
        }
    }

    /// Runs until `messages` is closed, then writes what is left, as far as the other side takes it. Returns how many lines
    /// are left over.
    pub async fn run(mut self, mut messages: Receiver<Message>) -> usize {
        let mut flush_at = Instant::now() + self.flush_period();
        loop {
            if std::mem::take(&mut self.is_new) {
                self.output.connect().await;
            }
            // After a failure the next try is when the wait is over, and the rhythm of flushes starts anew from there.
            let due = self.not_before.unwrap_or(flush_at);
            let whole_batch = self.not_before.is_none() && self.buffer.has_batch(&self.closed);
            let asked = std::mem::take(&mut self.flush_now);
            if asked || whole_batch || Instant::now() >= due {
                let whole_batch = whole_batch && !asked;
                if !whole_batch {
                    flush_at = Instant::now() + self.flush_period();
                    self.closed.clear();
                }
                self.not_before = None;
                let n = if whole_batch { 1 } else { usize::MAX };
                self.flush(n, &mut messages).await;
                self.report_dropped();
                continue;
            }
            tokio::select! {
                received = messages.recv() => match received {
                    Some(message) => self.obey(message),
                    None => break,
                },
                () = tokio::time::sleep_until(due) => {}
            }
        }
        self.closed.clear();
        self.flush(usize::MAX, &mut messages).await;
        self.report_dropped();
        self.buffer.len()
    }

    fn obey(&mut self, message: Message) {
        match message {
            Message::Points(points) => self.take(&points),
            Message::Flush => self.flush_now = true,
            Message::Change { output, common } => {
                self.common = *common;
                self.buffer.resize(self.common.metric_buffer_limit, self.common.metric_batch_size);
                self.counts.set(&self.counts.limit, self.common.metric_buffer_limit as u64);
                if let Some(output) = output {
                    self.buffer.reencode(output.encoding());
                    self.closed.clear();
                    self.output = output;
                    // What did not work with the options before may work with these.
                    (self.is_new, self.failures, self.not_before, self.logged) = (true, 0, None, None);
                }
                self.publish();
            }
        }
    }

    fn flush_period(&self) -> Duration {
        self.common.flush_interval + clock::jittered(self.common.flush_jitter)
    }

    /// Adds points of one gather, as the output's filters and names have it.
    fn take(&mut self, points: &[Point]) {
        let mut passed = 0;
        let processed = points.iter().filter_map(|point| self.common.process(point));
        let added = self.buffer.extend(processed.inspect(|_| passed += 1));
        self.counts.add(&self.counts.taken, (added.lines + added.too_long) as u64);
        self.counts.add(&self.counts.filtered, (points.len() - passed) as u64);
        self.counts.add(&self.counts.refused, added.too_long as u64);
        self.too_long += added.too_long;
        self.publish();
    }

    /// Writes up to `batches` batches, oldest first, of what is there at the start; stops at the first failure, or where that
    /// is of one route alone, closes this one until the next flush.
    ///
    /// Takes what arrives on `messages` meanwhile, so that a slow server never holds a gather up.
    async fn flush(&mut self, batches: usize, messages: &mut Receiver<Message>) {
        let mut left = self.buffer.len();
        let (mut has_written, mut failure) = (false, None);
        for _ in 0..batches {
            if left == 0 {
                break;
            }
            let Some(batch) = self.buffer.take_batch(&self.closed) else { break };
            left = left.saturating_sub(batch.lines.len());
            let mut arrived = Vec::new();
            let (route, start) = (Arc::clone(&batch.route), Instant::now());
            let delivery = {
                let delivery = deliver(&mut *self.output, &self.counts, batch);
                tokio::pin!(delivery);
                loop {
                    tokio::select! {
                        delivery = &mut delivery => break delivery,
                        // Closed, it is out of the choice.
                        Some(more) = messages.recv() => arrived.push(more),
                    }
                }
            };
            self.counts.add(&self.counts.writes, 1);
            let took = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.counts.add(&self.counts.write_time_ns, took);
            match delivery {
                Delivery::Done => has_written = true,
                Delivery::Later { rest, failure: failed } => {
                    self.buffer.put_back(Batch { route: Arc::clone(&route), lines: rest });
                    // What ails the whole output is worth more words than what ails a part of it.
                    let goes_on = failed.only_here;
                    if failure.is_none() || !goes_on {
                        failure = Some(failed);
                    }
                    if goes_on {
                        self.closed.insert(route);
                    } else {
                        left = 0;
                    }
                }
            }
            arrived.into_iter().for_each(|message| self.obey(message));
            self.publish();
        }
        match failure {
            Some(failure) => self.failed(failure),
            None if has_written && self.closed.is_empty() => self.succeeded(),
            None => {}
        }
    }

    fn succeeded(&mut self) {
        if self.failures > 0 {
            let (failures, waiting) = (self.failures, self.buffer.len());
            tracing::info!(failures, waiting, "writes again");
        }
        self.failures = 0;
        self.logged = None;
    }

    fn failed(&mut self, Failure { reason, after, only_here }: Failure) {
        self.failures = self.failures.saturating_add(1);
        self.counts.add(&self.counts.failed_writes, 1);
        let now = Instant::now();
        // Where there are other routes, they keep the rhythm of flushes, and the closed ones are tried with them.
        let has_others = !self.output.encoding().route.is_empty();
        if !(only_here && has_others) || after.is_some() {
            let wait = clock::backoff(self.failures, FIRST_BACKOFF, LONGEST_BACKOFF);
            self.not_before = Some(now + wait.max(after.unwrap_or_default().min(LONGEST_WISH)));
        }
        let is_news = self
            .logged
            .as_ref()
            .is_none_or(|(last, at)| *last != reason || now.duration_since(*at) >= REMINDER);
        if is_news {
            let (failures, waiting) = (self.failures, self.buffer.len());
            let limit = self.common.metric_buffer_limit;
            tracing::error!(reason, waiting, limit, failures, "cannot write; kept for the next try");
            self.logged = Some((reason, now));
        }
    }

    fn report_dropped(&mut self) {
        let total = self.buffer.dropped();
        let dropped = total - self.dropped_logged;
        if dropped > 0 {
            let limit = self.common.metric_buffer_limit;
            tracing::error!(
                dropped,
                total,
                limit,
                "the buffer is full: the oldest points were dropped; raise metric_buffer_limit to keep more"
            );
            self.dropped_logged = total;
        }
        if self.too_long > 0 && self.too_long_logged.is_none_or(|at| at.elapsed() >= REMINDER) {
            let dropped = std::mem::take(&mut self.too_long);
            let limit = self.output.encoding().format.max_line_bytes;
            tracing::error!(dropped, limit, "points with a field that does not fit into a line were dropped");
            self.too_long_logged = Some(Instant::now());
        }
    }

    fn publish(&mut self) {
        self.counts.set(&self.counts.waiting, self.buffer.len() as u64);
        let dropped = self.buffer.dropped();
        self.counts.add(&self.counts.overflowed, dropped - self.dropped_counted);
        self.dropped_counted = dropped;
    }
}

/// Hands a batch over; one that is refused is halved until the lines that are minded stand alone.
///
/// Those are dropped and counted. Lines that were stored already and come again with a half change nothing at the
/// server: same series, same time.
async fn deliver(
    output: &mut dyn Output,
    counts: &OutputCounts,
    Batch { route, lines: batch }: Batch,
) -> Delivery {
    // What is still to be written, as ranges of the batch; the last one is next.
    let mut todo: Vec<_> = std::iter::once(0..batch.len()).collect();
    let (mut refused, mut stored) = (Vec::new(), 0);
    let mut why = String::new();
    while let Some(range) = todo.pop() {
        match output.write(&route, &batch[range.clone()]).await {
            Answer::Stored { dropped, reason } => {
                stored += range.len();
                let written = (range.len() as u64).saturating_sub(dropped);
                counts.add(&counts.written, written);
                counts.add(&counts.refused, dropped);
                if dropped > 0 {
                    tracing::error!(dropped, reason, "the server dropped points for good");
                }
            }
            Answer::Refused(_) if range.len() > 1 => {
                let middle = range.start + range.len() / 2;
                todo.push(middle..range.end);
                todo.push(range.start..middle);
            }
            Answer::Refused(reason) => {
                why = reason;
                refused.push(range.start);
                if stored == 0 && refused.len() >= MOST_REFUSED_OF_A_BATCH {
                    let reason = format!("every line is refused, so it is none of theirs: {why}");
                    let failure = Failure { reason, after: None, only_here: true };
                    return Delivery::Later { rest: batch, failure };
                }
            }
            Answer::Later { reason, after, only_here } => {
                todo.push(range);
                let mut rest: Vec<usize> = todo.into_iter().flatten().chain(refused).collect();
                rest.sort_unstable();
                let rest = rest.into_iter().map(|i| batch[i].clone()).collect();
                return Delivery::Later { rest, failure: Failure { reason, after, only_here } };
            }
        }
    }
    if let Some(&first) = refused.first() {
        counts.add(&counts.refused, refused.len() as u64);
        let line = String::from_utf8_lossy(&batch[first]);
        let line = shortened(line.trim_end());
        tracing::error!(dropped = refused.len(), reason = why, line, "the server refuses points for good");
    }
    Delivery::Done
}

/// A text in gzip's format.
fn gzip(text: &[u8], level: Compression) -> Vec<u8> {
    let mut packed = Vec::new();
    // From memory, which does not fail.
    let _ = GzEncoder::new(text, level).read_to_end(&mut packed);
    packed
}

/// No more of a text than a log line should have.
pub(crate) fn shortened(text: &str) -> String {
    const MOST_CHARS: usize = 300;
    match text.char_indices().nth(MOST_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
