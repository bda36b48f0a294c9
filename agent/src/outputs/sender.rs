//! One output with its queue: takes points, keeps what cannot be written, and writes again with backoff.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;

use super::Output;
use super::batch::{Batch, Buffer, Route};
use super::delivery::{Delivery, Failure, deliver};
use crate::clock;
use crate::options::common::OutputCommon;
use crate::point::Point;
use crate::service::telemetry::OutputCounts;

/// The first wait after a failed write; see [`clock::backoff`].
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// The longest. Half a minute after a server is back, everybody has noticed.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// The longest that a server's own wish is followed.
const LONGEST_WISH: Duration = Duration::from_secs(600);
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

#[cfg(test)]
mod tests;
