//! One output with its buffer: takes points, keeps what cannot be written, and retries with backoff.

mod spool;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::Output;
use super::batch::{Batch, Blocked, Route, lead_apart};
use super::buffer::Buffer;
use super::delivery::{Delivery, Failure, Rejected, Repeats, Scope, deliver};
use super::spooler::{Spooler, event};
use crate::clock;
use crate::options::common::OutputCommon;
use crate::point::Point;
use crate::service::receipt::Receipts;
use crate::service::telemetry::OutputCounts;
use crate::spool::log::Limits;

/// The backoff after the first failed write; see [`clock::backoff`].
const MIN_BACKOFF: Duration = Duration::from_secs(1);
/// The longest backoff. Half a minute after a server is back, every agent has noticed.
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// A server's `Retry-After` is followed up to this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);
/// A failure that persists is logged this often.
const REMINDER_PERIOD: Duration = Duration::from_secs(60);

/// What a sender is told.
pub enum Message {
    /// Points of one gather.
    Points(Arc<Vec<Point>>),
    /// Points that others sent, who wait until they are kept.
    Received(Arc<Vec<Point>>, Receipts),
    /// Write everything in the buffer now.
    Flush,
    /// Continue with other options, after a reload; the buffer is kept.
    Change {
        /// Replaces the current output, which has the same destination.
        output: Box<dyn Output>,
        /// The options that every output has.
        common: Box<OutputCommon>,
        /// Those of its spool.
        limits: Option<Limits>,
    },
}

/// What a sender does next.
enum Due {
    /// Write whole batches: the buffer has one.
    Batch,
    /// Write everything: it is time, a backoff is over, or a flush is requested.
    Flush,
    /// Wait for messages, until this time.
    Wait(Instant),
}

/// How much a flush writes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Extent {
    /// Whole batches, as long as there are any.
    Batches,
    /// What there is at the start, and then whole batches.
    #[default]
    All,
}

/// A flush under way. Batches are numbered in the order in which they were taken.
#[derive(Default)]
struct Flushing {
    extent: Extent,
    /// Lines that are still to be written, of [`Extent::All`].
    left: usize,
    /// The output failed: nothing more is begun.
    is_over: bool,
    n: usize,
    /// Those that are being written.
    under_way: BTreeMap<usize, UnderWay>,
    /// The next one, which waits for those.
    ready: Option<Taken>,
    /// Routes whose next batch waits for one of those.
    waiting: BTreeSet<Route>,
    unfinished: BTreeMap<usize, Batch>,
    /// Routes of which something was stored.
    trusted: BTreeSet<Route>,
    failure: Option<Failure>,
}

/// The earliest and the latest time of a batch, where they are known.
type Times = Option<(i64, i64)>;

/// Of a batch that is being written.
struct UnderWay {
    route: Route,
    times: Times,
}

/// A batch that was taken out of the buffer.
struct Taken {
    n: usize,
    batch: Batch,
    times: Times,
}

/// A batch that was written, or not.
struct Written {
    n: usize,
    n_lines: usize,
    /// Those of its lines that are in the spool.
    numbers: BTreeSet<u64>,
    route: Route,
    delivery: Delivery,
    rejected: Vec<Rejected>,
    output: Arc<dyn Output>,
}

async fn write(
    Taken { n, batch, .. }: Taken,
    output: Arc<dyn Output>,
    (is_trusted, repeats): (bool, Repeats),
    counts: Arc<OutputCounts>,
) -> Written {
    let (route, n_lines, start) = (Arc::clone(&batch.route), batch.lines.len(), Instant::now());
    let numbers = batch.lines.iter().filter_map(|line| line.number).collect();
    let (delivery, rejected) = deliver(&*output, &counts, batch, is_trusted, repeats).await;
    counts.add(&counts.writes, 1);
    counts.add(&counts.write_time_ns, u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
    Written { n, n_lines, numbers, route, delivery, rejected, output }
}

/// Whether no time of one batch lies within another's. Without times nobody can say.
fn are_apart(a: Times, b: Times) -> bool {
    a.zip(b).is_some_and(|(a, b)| a.1 < b.0 || b.1 < a.0)
}

/// One output with its buffer: takes points, and delivers them as the other side allows.
pub struct Sender {
    output: Arc<dyn Output>,
    place: String,
    common: OutputCommon,
    buffer: Buffer,
    spooler: Option<Spooler>,
    /// Why the disk does not take points, since it was said.
    disk_failed: Option<String>,
    counts: Arc<OutputCounts>,
    /// Failed writes since the last successful one.
    failures: u32,
    /// The failure that was last logged, and when.
    logged: Option<(String, Instant)>,
    dropped_logged: u64,
    /// Points that did not fit into a line, since that was last logged.
    too_long: usize,
    too_long_logged: Option<Instant>,
    /// What failed since the last flush. The next flush tries it again.
    blocked: Blocked,
    dropped_counted: u64,
    /// The end of the backoff after a failure: nothing is written before, unless a flush is requested.
    retry_at: Option<Instant>,
    /// The output is not connected yet.
    is_new: bool,
    is_flush_requested: bool,
    /// Something was written.
    has_written: bool,
}

impl Sender {
    /// An output with the options that every output has.
    #[must_use]
    pub fn new(output: Box<dyn Output>, common: OutputCommon, counts: Arc<OutputCounts>) -> Self {
        let (limit, size) = (common.metric_buffer_limit, common.metric_batch_size);
        let buffer = Buffer::new(output.encoding(), limit, size);
        counts.set(&counts.limit, limit as u64);
        Self {
            place: output.place(),
            output: Arc::from(output),
            common,
            buffer,
            spooler: None,
            disk_failed: None,
            counts,
            failures: 0,
            logged: None,
            dropped_logged: 0,
            too_long: 0,
            too_long_logged: None,
            blocked: Blocked::default(),
            dropped_counted: 0,
            retry_at: None,
            is_new: true,
            is_flush_requested: false,
            has_written: false,
        }
    }

    /// Runs until `messages` is closed, then writes what is left, as far as the other side takes it. Returns how many lines
    /// are left over, and are in no spool.
    pub async fn run(mut self, mut messages: Receiver<Message>) -> usize {
        let mut flush_at = Instant::now() + self.flush_period();
        loop {
            if std::mem::take(&mut self.is_new) {
                self.connect(&mut messages).await;
            }
            self.spool();
            let extent = match self.due(flush_at) {
                Due::Wait(until) => {
                    tokio::select! {
                        received = messages.recv() => match received {
                            Some(message) => self.handle(message),
                            None => break,
                        },
                        event = event(&mut self.spooler) => self.spooled(event),
                        () = tokio::time::sleep_until(until) => {}
                    }
                    continue;
                }
                Due::Batch => Extent::Batches,
                Due::Flush => {
                    flush_at = Instant::now() + self.flush_period();
                    self.is_flush_requested = false;
                    self.blocked = Blocked::default();
                    Extent::All
                }
            };
            self.retry_at = None;
            self.flush(extent, &mut messages, &mut flush_at).await;
        }
        // On the disk before anything else: the other side can take longer than there is time.
        self.keep().await;
        self.blocked = Blocked::default();
        self.flush(Extent::All, &mut messages, &mut flush_at).await;
        self.keep().await;
        if let Some(spooler) = self.spooler {
            spooler.close().await;
        }
        self.buffer.left_over()
    }

    /// What to do now, when the next regular flush is at `flush_at`.
    fn due(&self, flush_at: Instant) -> Due {
        // After a failure the retry takes the place of the regular flush, and of whole batches.
        let at = self.retry_at.unwrap_or(flush_at);
        if self.is_flush_requested {
            Due::Flush
        } else if self.retry_at.is_none() && self.buffer.has_batch(&self.blocked) {
            Due::Batch
        } else if Instant::now() >= at {
            Due::Flush
        } else {
            Due::Wait(at)
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Points(points) => self.take(&points, &Receipts::from([])),
            Message::Received(points, receipts) => self.take(&points, &receipts),
            Message::Flush => self.is_flush_requested = true,
            Message::Change { output, common, limits } => {
                if let (Some(spooler), Some(limits)) = (&mut self.spooler, limits) {
                    spooler.limit(limits);
                }
                self.common = *common;
                self.buffer.resize(self.common.metric_buffer_limit, self.common.metric_batch_size);
                self.counts.set(&self.counts.limit, self.common.metric_buffer_limit as u64);
                self.buffer.reencode(output.encoding());
                self.blocked = Blocked::default();
                // A write that is under way ends with the output before.
                (self.place, self.output) = (output.place(), Arc::from(output));
                // What failed with the old options may work with the new ones.
                (self.is_new, self.failures, self.retry_at, self.logged) = (true, 0, None, None);
                self.publish();
            }
        }
    }

    /// Receives messages while the output connects, and has them on the disk, so that a slow one delays no gather, and nobody who
    /// waits until points are kept. It is given up when there will be no more of them: a write does what it does, where it is
    /// needed.
    async fn connect(&mut self, messages: &mut Receiver<Message>) {
        let output = Arc::clone(&self.output);
        let connected = output.connect();
        tokio::pin!(connected);
        loop {
            self.spool();
            tokio::select! {
                () = &mut connected => return,
                received = messages.recv() => match received {
                    Some(message) => self.handle(message),
                    None => return,
                },
                event = event(&mut self.spooler) => self.spooled(event),
            }
        }
    }

    fn flush_period(&self) -> Duration {
        self.common.flush_interval + clock::jittered(self.common.flush_jitter)
    }

    /// Adds the points of one gather, filtered and named by the output's options.
    fn take(&mut self, points: &[Point], receipts: &Receipts) {
        let (mut passed, start) = (0, Instant::now());
        let processed = points.iter().filter_map(|point| self.common.process(point));
        let added = self.buffer.extend(processed.inspect(|_| passed += 1), receipts);
        self.counts.add(&self.counts.taken, (added.lines + added.too_long) as u64);
        self.counts.add(&self.counts.encoded_bytes, added.bytes as u64);
        self.counts.add(&self.counts.unencodable, added.too_long as u64);
        let took = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.counts.add(&self.counts.encode_time_ns, took);
        self.counts.add(&self.counts.filtered, (points.len() - passed) as u64);
        self.counts.add(&self.counts.losses.rejected, added.too_long as u64);
        self.too_long += added.too_long;
        self.counts.arrived(points.len() as u64);
        self.publish();
    }

    /// Writes what is in the buffer at the start, or whole batches as long as there are any, oldest first. Stops at the first
    /// failure of the whole output; one that only affects a route or a measurement blocks that one until the next flush.
    async fn flush(&mut self, extent: Extent, messages: &mut Receiver<Message>, flush_at: &mut Instant) {
        let mut flushing = Flushing { extent, left: self.buffer.len(), ..Flushing::default() };
        let mut writes = JoinSet::new();
        let mut is_open = true;
        loop {
            self.spool();
            while let Some(taken) = self.next(&mut flushing) {
                let route = Arc::clone(&taken.batch.route);
                flushing.under_way.insert(taken.n, UnderWay { route, times: taken.times });
                let is_trusted = flushing.trusted.contains(&taken.batch.route);
                let (output, counts) = (Arc::clone(&self.output), Arc::clone(&self.counts));
                let write = write(taken, output, (is_trusted, self.repeats()), counts);
                writes.spawn(write.in_current_span());
            }
            self.buffer.pass(&self.blocked);
            // Messages are received meanwhile, so that a slow output never delays a gather.
            tokio::select! {
                written = writes.join_next() => match written {
                    Some(Ok(written)) => {
                        self.settle(&mut flushing, written);
                        self.publish();
                        self.report_dropped();
                    }
                    Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    // None is under way, or the runtime ends.
                    Some(Err(_)) | None => break,
                },
                received = messages.recv(), if is_open => match received {
                    Some(message) => self.handle(message),
                    None => is_open = false,
                },
                event = event(&mut self.spooler) => self.spooled(event),
                () = tokio::time::sleep_until(*flush_at), if is_open && !flushing.is_over => {
                    *flush_at = Instant::now() + self.flush_period();
                    self.go_on(&mut flushing);
                }
            }
        }
        self.put_back(&mut flushing);
        self.publish();
        self.report_dropped();
        match flushing.failure {
            Some(failure) => {
                if !flushing.trusted.is_empty() {
                    // It takes some: the backoff is for one that takes nothing.
                    self.failures = 0;
                }
                self.failed(failure);
            }
            None if !flushing.trusted.is_empty() && self.blocked.is_empty() => self.succeeded(),
            None => {}
        }
    }

    /// With a spool, what is refused is kept in a file, so it is looked for.
    fn repeats(&self) -> Repeats {
        let has_times = !self.buffer.encoding().format.omit_timestamp;
        match &self.spooler {
            _ if !has_times || !self.output.may_repeat() => Repeats::Nothing,
            Some(_) => Repeats::Lines,
            None => Repeats::Counts,
        }
    }

    /// It is time for another flush while one route holds this one up: what came meanwhile is written, and what failed is tried.
    fn go_on(&mut self, flushing: &mut Flushing) {
        self.put_back(flushing);
        flushing.failure.take().into_iter().for_each(|failure| self.failed(failure));
        self.blocked = Blocked::default();
        // One that hangs is not known to have failed yet.
        let (blocked, is_busy) = self.blocked_beside(flushing);
        if is_busy && flushing.under_way.len() < self.output.max_in_flight() {
            self.buffer.pass(&blocked);
        }
        (flushing.extent, flushing.left) = (Extent::All, self.buffer.len());
    }

    /// The next batch that can be written now, beside those that are.
    fn next(&mut self, flushing: &mut Flushing) -> Option<Taken> {
        let has_routes = self.buffer.encoding().has_routes();
        while flushing.under_way.len() < self.output.max_in_flight() {
            if flushing.ready.is_none() {
                self.make_ready(flushing);
            }
            let ready = flushing.ready.take()?;
            // Of two points of one series and time the later one counts: where there can be any, their order is kept.
            let is_apart = |other: &UnderWay| {
                lead_apart(&ready.batch.route, &other.route) || are_apart(ready.times, other.times)
            };
            if flushing.under_way.values().all(is_apart) {
                return Some(ready);
            }
            if !has_routes {
                flushing.ready = Some(ready);
                return None;
            }
            // Others need not wait for what it waits for.
            flushing.left += ready.batch.lines.len();
            flushing.waiting.insert(Arc::clone(&ready.batch.route));
            self.buffer.put_back(ready.batch);
        }
        None
    }

    /// Takes the next batch out of the buffer, if there is one.
    fn make_ready(&mut self, flushing: &mut Flushing) {
        let (blocked, is_busy) = self.blocked_beside(flushing);
        if !self.has_more(flushing, &blocked) {
            return;
        }
        let batch = self.buffer.take_batch(&blocked);
        // What is left may be of routes that have enough under way.
        let rest = if is_busy { 0 } else { flushing.left };
        let n = batch.as_ref().map_or(rest, |batch| batch.lines.len());
        flushing.left = flushing.left.saturating_sub(n);
        flushing.n += 1;
        flushing.ready = batch.map(|batch| {
            // Where nothing is written beside it, nobody asks.
            let times = if self.output.max_in_flight() > 1 { batch.times() } else { None };
            Taken { n: flushing.n, batch, times }
        });
    }

    /// What cannot be written now, with the routes that have enough under way; and whether there are such.
    fn blocked_beside(&self, flushing: &Flushing) -> (Blocked, bool) {
        let max = self.output.max_in_flight_of_route();
        let routes = || flushing.under_way.values().map(|other| &other.route);
        let full = routes().filter(|route| routes().filter(|other| other == route).count() >= max);
        let busy: BTreeSet<&Route> = full.chain(&flushing.waiting).collect();
        let mut blocked = self.blocked.clone();
        busy.iter().for_each(|route| blocked.block_route(route));
        (blocked, !busy.is_empty())
    }

    /// Whether a flush takes another batch.
    fn has_more(&self, flushing: &Flushing, blocked: &Blocked) -> bool {
        let is_left = flushing.extent == Extent::All && flushing.left > 0;
        // What is requested meanwhile does not wait until there are no more of them.
        let is_free = !self.is_flush_requested && !self.is_new;
        let has_more = is_left || (is_free && self.buffer.has_batch(blocked));
        has_more && !flushing.is_over
    }

    fn settle(&mut self, flushing: &mut Flushing, written: Written) {
        let Written { n, n_lines, mut numbers, route, delivery, rejected, output } = written;
        self.buffer.set_aside(rejected);
        flushing.under_way.remove(&n);
        flushing.waiting.clear();
        match delivery {
            Delivery::Done { stored } => {
                self.buffer.settle(n_lines, numbers);
                self.wrote(stored);
                // It takes lines of this route: what it minds about others are the lines, and they are tried again.
                if stored > 0 && flushing.trusted.insert(Arc::clone(&route)) && self.blocked.open(&route) {
                    self.put_back(flushing);
                    flushing.left = self.buffer.len();
                }
            }
            Delivery::Unfinished { rest, failure } => {
                let left: BTreeSet<u64> = rest.iter().filter_map(|line| line.number).collect();
                numbers.retain(|number| !left.contains(number));
                self.buffer.settle(n_lines - rest.len(), numbers);
                // What failed for the output before says nothing of the one that replaced it meanwhile.
                if Arc::ptr_eq(&output, &self.output) {
                    match failure.scope {
                        Scope::Output => flushing.is_over = true,
                        Scope::Route => self.blocked.block_route(&route),
                        Scope::Measurements => self.blocked.block_measurements(&route, &rest),
                    }
                    let must_wait =
                        |ready: &mut Taken| flushing.is_over || self.blocked.has_any(&ready.batch);
                    if let Some(Taken { n, batch, .. }) = flushing.ready.take_if(must_wait) {
                        flushing.unfinished.insert(n, batch);
                    }
                    // A failure of the whole output is reported rather than one of a part.
                    if flushing.failure.as_ref().is_none_or(|other| other.scope > failure.scope) {
                        flushing.failure = Some(failure);
                    }
                }
                flushing.unfinished.insert(n, Batch { route, lines: rest });
            }
        }
    }

    /// Puts back what was not written, the latest first, so that the oldest is in front.
    fn put_back(&mut self, flushing: &mut Flushing) {
        while let Some((_, batch)) = flushing.unfinished.pop_last() {
            self.buffer.put_back(batch);
        }
    }

    /// Says that it works, once.
    fn wrote(&mut self, points: u64) {
        if points > 0 && !std::mem::replace(&mut self.has_written, true) {
            tracing::info!(to = self.place, points, "first points written");
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

    fn failed(&mut self, Failure { reason, after, scope }: Failure) {
        self.failures = self.failures.saturating_add(1);
        self.counts.add(&self.counts.failed_writes, 1);
        let now = Instant::now();
        // Other routes, where there are any, keep the flush interval, and the blocked ones are retried with them.
        let has_others = self.buffer.encoding().has_routes();
        if scope == Scope::Output || !has_others || after.is_some() {
            let wait = clock::backoff(self.failures, MIN_BACKOFF, MAX_BACKOFF);
            self.retry_at = Some(now + wait.max(after.unwrap_or_default().min(MAX_RETRY_AFTER)));
        }
        let is_new_failure = self
            .logged
            .as_ref()
            .is_none_or(|(last, at)| *last != reason || now.duration_since(*at) >= REMINDER_PERIOD);
        if is_new_failure {
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
                "the buffer is full: the oldest points were dropped; raise metric_buffer_limit to keep more, or have them on \
                 a disk by buffer_strategy"
            );
            self.dropped_logged = total;
        }
        if self.too_long > 0 && self.too_long_logged.is_none_or(|at| at.elapsed() >= REMINDER_PERIOD) {
            let dropped = std::mem::take(&mut self.too_long);
            let limit = self.buffer.encoding().format.max_line_bytes;
            tracing::error!(dropped, limit, "points with a field that does not fit into a line were dropped");
            self.too_long_logged = Some(Instant::now());
        }
    }

    fn publish(&mut self) {
        let counts = &self.counts;
        let (held, taken) = (self.buffer.held() as u64, self.buffer.taken() as u64);
        let (waiting, occupied) = match self.buffer.backlog() {
            None => (held, held.max(taken)),
            // Its part of the buffer is a quarter, and one half is for points that cannot wait.
            Some(backlog) => {
                counts.set(&counts.kept, backlog.kept());
                counts.set(&counts.spool_bytes, backlog.bytes());
                let unkept = self.buffer.unkept() as u64;
                let occupied = unkept + self.common.metric_buffer_limit as u64 / 4;
                (backlog.kept() + unkept, occupied.max(taken))
            }
        };
        counts.set(&counts.waiting, waiting);
        counts.set(&counts.occupied, occupied);
        let dropped = self.buffer.dropped();
        self.counts.add(&self.counts.losses.overflowed, dropped - self.dropped_counted);
        self.dropped_counted = dropped;
        self.counts.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
