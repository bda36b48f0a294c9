//! The outputs: where points go.
//!
//! Owns the `Output` trait, the table of outputs by Telegraf name, and what is done with a server's answer: deliver, split,
//! wait and try again. An output knows nothing of inputs and schedules; `pipeline` runs [`Sender`]s.

pub mod file;
pub mod influxdb;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;

use crate::batch::Buffer;
use crate::clock;
use crate::config::{OptionError, OutputCommon, file as config_file};
use crate::point::Point;
use crate::telemetry::OutputCounts;

/// The options of one output, whichever it is.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a handful of them, at the start")]
pub enum OutputOptions {
    /// `[[outputs.file]]`
    File(file::Options),
    /// `[[outputs.influxdb]]`
    Influxdb(influxdb::Options),
}

impl OutputOptions {
    /// The names of all outputs, sorted.
    pub const NAMES: &'static [&'static str] = &["file", "influxdb"];

    /// The output's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Influxdb(_) => "influxdb",
        }
    }

    /// Reads the options of the output `name`; `None` when they have problems or there is no such output.
    pub fn read(name: &str, options: &mut config_file::Options<'_>) -> Option<Self> {
        match name {
            "file" => options.read().map(Self::File),
            "influxdb" => options.read().map(Self::Influxdb),
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
    },
}

impl Answer {
    /// All are stored.
    pub const STORED: Self = Self::Stored { dropped: 0, reason: String::new() };

    /// [`Answer::Later`], whenever it suits.
    pub fn later(reason: impl Into<String>) -> Self {
        Self::Later { reason: reason.into(), after: None }
    }
}

/// A place that takes lines.
#[async_trait::async_trait]
pub trait Output: Send {
    /// Where it writes to, for the log: a path, or a URL without its secrets.
    fn place(&self) -> String;

    /// Prepares the other side, such as by creating a database. Called once, before the first write; what does not work is
    /// logged, and tried again when a write shows that it is needed.
    async fn connect(&mut self) {}

    /// Hands over lines of line protocol, each with its end. May be called again with the same ones.
    async fn write(&mut self, lines: &[Bytes]) -> Answer;
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

/// One output with its buffer: takes points, and delivers them as the other side allows.
pub struct Sender {
    output: Box<dyn Output>,
    common: OutputCommon,
    buffer: Buffer,
    counts: Arc<OutputCounts>,
    /// `influxdb`, or its alias: for the log.
    name: String,
    failures: u32,
    /// What was last logged about a failure, and when.
    logged: Option<(String, Instant)>,
    dropped_logged: u64,
    /// No write before this.
    not_before: Option<Instant>,
}

/// How a delivery went.
enum Delivery {
    Done,
    Later { rest: Vec<Bytes>, reason: String, after: Option<Duration> },
}

impl Sender {
    /// An output with the options that every output has.
    #[must_use]
    pub fn new(
        output: Box<dyn Output>,
        name: impl Into<String>,
        common: OutputCommon,
        counts: Arc<OutputCounts>,
    ) -> Self {
        let buffer = Buffer::new(common.metric_buffer_limit, common.metric_batch_size);
        Self {
            output,
            common,
            buffer,
            counts,
            name: name.into(),
            failures: 0,
            logged: None,
            dropped_logged: 0,
            not_before: None,
        }
    }

    /// Runs until `points` is closed, then writes what is left, as far as the other side takes it. Returns how many lines
    /// are left over.
    pub async fn run(mut self, mut points: Receiver<Arc<Vec<Point>>>) -> usize {
        self.output.connect().await;
        let mut flush_at = Instant::now() + self.flush_period();
        loop {
            // After a failure the next try is when the wait is over, and the rhythm of flushes starts anew from there.
            let due = self.not_before.unwrap_or(flush_at);
            let whole_batch = self.not_before.is_none() && self.buffer.has_batch();
            if whole_batch || Instant::now() >= due {
                if !whole_batch {
                    flush_at = Instant::now() + self.flush_period();
                }
                self.not_before = None;
                let n = if whole_batch { 1 } else { usize::MAX };
                self.flush(n, &mut points).await;
                self.report_dropped();
                continue;
            }
            tokio::select! {
                received = points.recv() => match received {
                    Some(points) => self.take(&points),
                    None => break,
                },
                () = tokio::time::sleep_until(due) => {}
            }
        }
        self.flush(usize::MAX, &mut points).await;
        self.report_dropped();
        self.buffer.len()
    }

    fn flush_period(&self) -> Duration {
        self.common.flush_interval + clock::jittered(self.common.flush_jitter)
    }

    /// Adds points of one gather, as the output's filters and names have it.
    fn take(&mut self, points: &[Point]) {
        let added = self.buffer.extend(points.iter().filter_map(|point| self.common.process(point)));
        self.counts.add(&self.counts.taken, added as u64);
        self.publish();
    }

    /// Writes up to `batches` batches, oldest first, of what is there at the start; stops at the first failure.
    ///
    /// Takes what arrives on `points` meanwhile, so that a slow server never holds a gather up.
    async fn flush(&mut self, batches: usize, points: &mut Receiver<Arc<Vec<Point>>>) {
        let mut left = self.buffer.len();
        for _ in 0..batches {
            let batch = self.buffer.take_batch();
            if batch.is_empty() || left == 0 {
                self.buffer.put_back(batch);
                break;
            }
            left = left.saturating_sub(batch.len());
            let mut arrived = Vec::new();
            let delivery = {
                let delivery = deliver(&mut *self.output, &self.counts, &self.name, batch);
                tokio::pin!(delivery);
                loop {
                    tokio::select! {
                        delivery = &mut delivery => break delivery,
                        // Closed, it is out of the choice.
                        Some(more) = points.recv() => arrived.push(more),
                    }
                }
            };
            let has_failed = match delivery {
                Delivery::Done => {
                    self.succeeded();
                    false
                }
                Delivery::Later { rest, reason, after } => {
                    self.failed(reason, after, rest.len());
                    self.buffer.put_back(rest);
                    true
                }
            };
            arrived.iter().for_each(|points| self.take(points));
            self.publish();
            if has_failed {
                break;
            }
        }
    }

    fn succeeded(&mut self) {
        if self.failures > 0 {
            let (output, failures, waiting) = (&self.name, self.failures, self.buffer.len());
            tracing::info!(output, failures, waiting, "writes again");
        }
        self.failures = 0;
        self.logged = None;
    }

    fn failed(&mut self, reason: String, after: Option<Duration>, rest: usize) {
        self.failures = self.failures.saturating_add(1);
        self.counts.add(&self.counts.failed_writes, 1);
        let wait = clock::backoff(self.failures, FIRST_BACKOFF, LONGEST_BACKOFF);
        let wait = wait.max(after.unwrap_or_default().min(LONGEST_WISH));
        let now = Instant::now();
        self.not_before = Some(now + wait);
        let is_news = self
            .logged
            .as_ref()
            .is_none_or(|(last, at)| *last != reason || now.duration_since(*at) >= REMINDER);
        if is_news {
            let (output, waiting) = (&self.name, self.buffer.len() + rest);
            let (failures, limit) = (self.failures, self.common.metric_buffer_limit);
            tracing::error!(output, reason, waiting, limit, failures, "cannot write; kept for the next try");
            self.logged = Some((reason, now));
        }
    }

    fn report_dropped(&mut self) {
        let total = self.buffer.dropped();
        let dropped = total - self.dropped_logged;
        if dropped > 0 {
            let (output, limit) = (&self.name, self.common.metric_buffer_limit);
            tracing::error!(
                output,
                dropped,
                total,
                limit,
                "the buffer is full: the oldest points were dropped; raise metric_buffer_limit to keep more"
            );
            self.dropped_logged = total;
        }
    }

    fn publish(&self) {
        self.counts.set(&self.counts.waiting, self.buffer.len() as u64);
        self.counts.set(&self.counts.overflowed, self.buffer.dropped());
    }
}

/// Hands a batch over; one that is refused is halved until the lines that are minded stand alone.
///
/// Those are dropped and counted. Lines that were stored already and come again with a half change nothing at the
/// server: same series, same time.
async fn deliver(output: &mut dyn Output, counts: &OutputCounts, name: &str, batch: Vec<Bytes>) -> Delivery {
    // What is still to be written, as ranges of the batch; the last one is next.
    let mut todo: Vec<_> = std::iter::once(0..batch.len()).collect();
    let (mut refused, mut stored) = (Vec::new(), 0);
    let mut why = String::new();
    while let Some(range) = todo.pop() {
        match output.write(&batch[range.clone()]).await {
            Answer::Stored { dropped, reason } => {
                stored += range.len();
                let written = (range.len() as u64).saturating_sub(dropped);
                counts.add(&counts.written, written);
                counts.add(&counts.refused, dropped);
                if dropped > 0 {
                    tracing::error!(output = name, dropped, reason, "the server dropped points for good");
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
                    return Delivery::Later { rest: batch, reason, after: None };
                }
            }
            Answer::Later { reason, after } => {
                todo.push(range);
                let mut rest: Vec<usize> = todo.into_iter().flatten().chain(refused).collect();
                rest.sort_unstable();
                let rest = rest.into_iter().map(|i| batch[i].clone()).collect();
                return Delivery::Later { rest, reason, after };
            }
        }
    }
    if let Some(&first) = refused.first() {
        counts.add(&counts.refused, refused.len() as u64);
        let line = String::from_utf8_lossy(&batch[first]);
        let line = shortened(line.trim_end());
        tracing::error!(
            output = name,
            dropped = refused.len(),
            reason = why,
            line,
            "the server refuses points for good"
        );
    }
    Delivery::Done
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
