//! The task of an input: when it gathers, what it does in between, and where its points go.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::futures::Notified;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::cardinality::{Guard, Places, Times};
use crate::clock;
use crate::inputs::listener::queue::{Queue, Received};
use crate::inputs::offloaded::{Offloaded, hang_limit, log_hang};
use crate::inputs::{self, Gathered, Given};
use crate::options::common::InputCommon;
use crate::outputs::sender::Message;
use crate::point::{Name, Point, Timestamp};
use crate::schema;
use crate::service::clock_watch::ClockWatch;
use crate::service::receipt::{Receipt, Receipts};
use crate::service::telemetry::{Entry, InputCounts, OutputCounts, Telemetry};

/// Where every input sends its points.
#[derive(Clone)]
pub(super) struct Fan {
    pub(super) outputs: Vec<(mpsc::Sender<Message>, Arc<OutputCounts>)>,
    pub(super) global_tags: Arc<BTreeMap<String, String>>,
    /// One of them has a spool.
    pub(super) keeps: bool,
}

impl Fan {
    async fn send(&self, points: Vec<Point>) {
        if points.is_empty() {
            return;
        }
        let points = Arc::new(points);
        self.send_each(points.len(), || Message::Points(Arc::clone(&points))).await;
    }

    /// Sends points that somebody waits for until they are kept.
    async fn send_received(&self, points: Vec<Point>, receipts: Vec<Receipt>) {
        if points.is_empty() {
            return;
        }
        let (points, receipts) = (Arc::new(points), Receipts::from(receipts));
        let message = || Message::Received(Arc::clone(&points), Arc::clone(&receipts));
        self.send_each(points.len(), message).await;
    }

    async fn send_each(&self, n: usize, message: impl Fn() -> Message) {
        for (output, counts) in &self.outputs {
            counts.sent(n as u64);
            // Fails only if the output's task is gone, after a panic.
            let _ = output.send(message()).await;
        }
    }

    /// How many points can be sent without pushing others out of a buffer, of the output that has most room: one that is stuck
    /// holds up no other.
    fn room(&self) -> usize {
        self.outputs.iter().map(|(_, counts)| counts.room()).max().unwrap_or(0)
    }

    /// The next points of an input that others send to, once an output has room for them.
    async fn next(&self, queue: Option<&Queue>) -> Received {
        let Some(queue) = queue else { return std::future::pending().await };
        queue.attend(self.keeps);
        loop {
            queue.arrival().await;
            // Before the look, so that no change is missed.
            let mut changes: Vec<Pin<Box<Notified<'_>>>> =
                self.outputs.iter().map(|(_, counts)| Box::pin(counts.changed.notified())).collect();
            let room = self.room();
            if room > 0 {
                return queue.take(room.min(MAX_HANDED_ON), MAX_HANDED_ON_BYTES);
            }
            let any = std::future::poll_fn(|context| {
                let is_any = changes.iter_mut().any(|change| change.as_mut().poll(context).is_ready());
                if is_any { Poll::Ready(()) } else { Poll::Pending }
            });
            any.await;
        }
    }
}

/// Points of an input that others send to, handed on at once: as many as take about a millisecond.
const MAX_HANDED_ON: usize = 1_000;
/// Bytes of their text.
const MAX_HANDED_ON_BYTES: usize = 1 << 20;
/// A gather that is late by so many intervals is overdue: nothing but a task that is stuck takes as long.
const OVERDUE_INTERVALS: u32 = 3;
/// For that, an interval is at least this: a busy machine is no reason to start again.
const MIN_INTERVAL: Duration = Duration::from_secs(2);
/// No gather waits longer than this for a time that has not been, after the clock was set back.
const MAX_BACK: Duration = Duration::from_secs(60);
/// The clock is also made to go slower, by half a millisecond a second: that is no step.
const MAX_SLEWED: Duration = Duration::from_millis(100);
/// How long what was received is handed on when its input ends; within the time that inputs have at the end of the agent.
const END_LIMIT: Duration = Duration::from_secs(2);

/// What an input does under the current configuration.
pub(super) struct Work {
    pub(super) common: InputCommon,
    pub(super) round: bool,
    pub(super) fan: Fan,
    /// For the series of all inputs; `None` where they are not counted.
    pub(super) places: Option<Arc<Places>>,
    /// Remembers what the input says of itself; `None` where nobody asks.
    pub(super) telemetry: Option<Arc<Telemetry>>,
}

impl Work {
    /// Hands the points of a gather to the outputs, and counts it. Called within the input's span.
    async fn pass_on(&self, mut given: Given, tally: &mut Tally, took: Duration) {
        let receipt = given.0.receipt.take();
        let (points, is_whole) = inputs::finish(given, &self.common, &self.fan.global_tags);
        if let Some(entry) = &tally.entry {
            count(&entry.counts, points.len(), is_whole, took);
            if let Some(telemetry) = &self.telemetry {
                let own = points.iter().filter(|point| point.measurement == schema::SELF);
                telemetry.remember(&entry.name, own.cloned().collect());
            }
        }
        let points = self.within_limits(points, Times::OfPoints, tally);
        match receipt {
            Some(receipt) => self.fan.send_received(points, vec![receipt]).await,
            None => self.fan.send(points).await,
        }
    }

    /// Points of no more series than are allowed.
    fn within_limits(&self, points: Vec<Point>, times: Times, tally: &mut Tally) -> Vec<Point> {
        let (Some(entry), Some(guard)) = (&tally.entry, &mut tally.guard) else { return points };
        let has = |tags: &BTreeMap<String, String>, (key, value): &(Name, Name)| {
            tags.get(key.as_str()).is_some_and(|of| of == value)
        };
        let is_constant = |tag: &_| has(&self.common.tags, tag) || has(&self.fan.global_tags, tag);
        guard.pass(points, times, is_constant, &entry.counts)
    }

    /// Hands points on that others sent.
    async fn hand_on(&self, Received { points, receipts }: Received, tally: &mut Tally) {
        let points = inputs::process(points, &self.common, &self.fan.global_tags);
        if let Some(entry) = &tally.entry {
            entry.counts.gathered.fetch_add(points.len() as u64, Ordering::Relaxed);
        }
        self.fan.send_received(self.within_limits(points, Times::Unique, tally), receipts).await;
    }

    /// Ends the receiving, and hands on what was received, as far as the outputs take it in time.
    async fn hand_on_rest(&self, queue: &Queue, tally: &mut Tally) {
        queue.close();
        let end = Instant::now() + END_LIMIT;
        while !queue.is_empty()
            && let Ok(received) = tokio::time::timeout_at(end, self.fan.next(Some(queue))).await
        {
            self.hand_on(received, tally).await;
        }
        let lost = queue.take(usize::MAX, usize::MAX);
        lost.receipts.iter().for_each(Receipt::lose);
        if !lost.points.is_empty() {
            let points = lost.points.len();
            if let Some(entry) = &tally.entry {
                entry.counts.losses.unread.fetch_add(points as u64, Ordering::Relaxed);
            }
            tracing::error!(points, "received, but not taken by an output, and lost");
        }
    }
}

/// When an input gathers.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Schedule {
    interval: Duration,
    round: bool,
    offset: Duration,
    jitter: Duration,
    precision: Duration,
}

impl Schedule {
    fn of(work: &Work) -> Self {
        Self {
            interval: work.common.interval,
            round: work.round,
            offset: work.common.collection_offset,
            jitter: work.common.collection_jitter,
            precision: work.common.precision,
        }
    }

    /// Whether a gather had this time already, or a later one: the clock was set back a little. A row of the same time would take
    /// the place of the earlier one. Where the clock was set back by more, the earlier times are what was wrong.
    fn has_come(&self, time: Timestamp, last: Timestamp) -> bool {
        let back = last.0.saturating_sub(time.0);
        self.interval >= self.precision && (0..=MAX_BACK.as_nanos() as i64).contains(&back)
    }

    /// The time of the next gather, without the jitter; `last` was that of the previous one, if any.
    fn next(&self, last: Option<Instant>) -> Instant {
        let now = Instant::now();
        match last {
            _ if self.round => now + clock::until_next(Timestamp::now(), self.interval, true, self.offset),
            // Without rounding the first gather is immediate, as in Telegraf.
            None => now + self.offset,
            Some(last) => {
                let late = now.saturating_duration_since(last).as_nanos();
                let intervals = late.div_ceil(self.interval.as_nanos().max(1)).max(1);
                last + self.interval.saturating_mul(u32::try_from(intervals).unwrap_or(u32::MAX))
            }
        }
    }
}

/// A moment by the clock that can be set, and by the one that cannot.
#[derive(Clone, Copy)]
struct Moment {
    time: Timestamp,
    at: std::time::Instant,
}

impl Moment {
    fn now() -> Self {
        Self { time: Timestamp::now(), at: std::time::Instant::now() }
    }

    /// Whether the clock was set back since an earlier moment. Nothing else tells that at once: who watches the clock may not have
    /// had its turn yet.
    fn is_set_back_since(&self, earlier: &Self) -> bool {
        let passed = i64::try_from((self.at - earlier.at).as_nanos()).unwrap_or(i64::MAX);
        passed.saturating_sub(self.time.0 - earlier.time.0) > MAX_SLEWED.as_nanos() as i64
    }
}

/// Why an input stops waiting.
enum Wake {
    Time,
    Changed,
    /// The clock was set.
    Clock,
    Stop,
    /// Others sent points to it.
    Received(Received),
}

/// Waits for the next gather, while the input does its work in between.
async fn wait(
    input: &mut Offloaded,
    at: Instant,
    (fan, clock): (&Fan, &ClockWatch),
    work: &mut watch::Receiver<Arc<Work>>,
) -> Wake {
    let mut is_idle = false;
    let queue = input.queue();
    loop {
        tokio::select! {
            points = fan.next(queue.as_deref()) => return Wake::Received(points),
            changed = work.changed() => return if changed.is_ok() { Wake::Changed } else { Wake::Stop },
            () = tokio::time::sleep_until(at) => return Wake::Time,
            () = clock.set() => return Wake::Clock,
            // When it completes, there is no more to do until the next gather.
            () = input.between(), if !is_idle => is_idle = true,
        }
    }
}

/// The task of an input.
pub(super) struct Gatherer {
    input: Offloaded,
    work: watch::Receiver<Arc<Work>>,
    current: Arc<Work>,
    tally: Tally,
    clock: Arc<ClockWatch>,
}

/// What is counted of an input.
#[derive(Default)]
struct Tally {
    /// `None` for one that is not counted.
    entry: Option<Arc<Entry<InputCounts>>>,
    /// The limit of its series, if there is one.
    guard: Option<Guard>,
}

impl Tally {
    /// The task gives its next sign by then.
    fn expect(&self, at: Instant, interval: Duration) {
        if let Some(entry) = &self.entry {
            entry.counts.pulse.expect(at + OVERDUE_INTERVALS * interval.max(MIN_INTERVAL));
        }
    }

    /// A gather is under way, which may hang.
    fn rest(&self) {
        if let Some(entry) = &self.entry {
            entry.counts.pulse.rest();
        }
    }

    /// Takes over the limits of a configuration.
    fn follow(&mut self, work: &Work) {
        let limit = work.common.metric_series_limit;
        let places = work.places.as_ref();
        self.guard = places.and_then(|places| Guard::with(self.guard.take(), limit, places));
        if let (Some(entry), None) = (&self.entry, &self.guard) {
            entry.counts.series_limit.store(0, Ordering::Relaxed);
        }
    }
}

impl Gatherer {
    /// An input that does the `work` until the other end is dropped.
    pub(super) fn new(
        input: Offloaded,
        mut work: watch::Receiver<Arc<Work>>,
        entry: Option<Arc<Entry<InputCounts>>>,
        clock: Arc<ClockWatch>,
    ) -> Self {
        let current = work.borrow_and_update().clone();
        let mut tally = Tally { entry, guard: None };
        tally.follow(&current);
        Self { input, work, current, tally, clock }
    }

    /// Gathers on schedule until the other end of the work is dropped, and then once more where what was counted since the
    /// last gather would be lost.
    ///
    /// With `reads_first` the input is read once at the start, so that the first interval after a reload is not missed.
    pub(super) async fn run(mut self, reads_first: bool) {
        if reads_first && self.input.needs_two_readings() {
            // The next gather logs the same errors.
            let _ = self.gather(Gathered::first_reading()).await;
        }
        self.run_schedule().await;
        if let Some(queue) = self.input.queue() {
            let span = self.span();
            self.current.hand_on_rest(&queue, &mut self.tally).instrument(span).await;
        }
        if let Some(entry) = self.tally.entry {
            entry.ended();
        }
    }

    async fn run_schedule(&mut self) {
        let mut schedule = Schedule::of(&self.current);
        let (mut last, mut time) = (None, None);
        let mut due = schedule.next(last);
        let mut at = due + clock::jittered(schedule.jitter);
        loop {
            let span = self.span();
            self.tally.expect(at, schedule.interval);
            let wait = wait(&mut self.input, at, (&self.current.fan, &self.clock), &mut self.work);
            let wake = wait.instrument(span.clone()).await;
            if let Wake::Received(points) = wake {
                self.current.hand_on(points, &mut self.tally).instrument(span).await;
                continue;
            }
            if matches!(wake, Wake::Changed) {
                self.current = self.work.borrow_and_update().clone();
                self.tally.follow(&self.current);
                if Schedule::of(&self.current) != schedule {
                    schedule = Schedule::of(&self.current);
                    due = schedule.next(last);
                    at = due + clock::jittered(schedule.jitter);
                }
                continue;
            }
            let start = Instant::now();
            let is_last = matches!(wake, Wake::Stop);
            if is_last && !self.input.counts_end_with_it() {
                break;
            }
            let gathered = inputs::begin(&self.current.common, is_last);
            let moment = Moment::now();
            let has_come = time.is_some_and(|(time, last)| {
                moment.is_set_back_since(&last) && schedule.has_come(gathered.time, time)
            });
            if matches!(wake, Wake::Clock) || !is_last && has_come {
                due = schedule.next(last);
                at = due + clock::jittered(schedule.jitter);
                continue;
            }
            time = Some((gathered.time, moment));
            let Some(given) = self.gather(gathered).await else { break };
            let passed_on = self.current.pass_on(given, &mut self.tally, start.elapsed());
            passed_on.instrument(span).await;
            if is_last {
                break;
            }
            self.count_missed(start.elapsed(), schedule.interval);
            // It may be another one since.
            schedule = Schedule::of(&self.current);
            last = Some(due);
            due = schedule.next(last);
            at = due + clock::jittered(schedule.jitter);
        }
    }

    fn span(&self) -> tracing::Span {
        inputs::span(self.input.name(), &self.current.common)
    }

    /// Gathers, and says when the gather hangs. `None` when it hangs and the input is to end: then it is left behind.
    async fn gather(&mut self, gathered: Gathered) -> Option<Given> {
        let span = self.span();
        let limit = hang_limit(self.current.common.interval);
        let hangs_at = Instant::now() + limit;
        let queue = self.input.queue();
        let gather = self.input.gather(gathered).instrument(span.clone());
        tokio::pin!(gather);
        let (mut hangs, mut is_over) = (false, false);
        while !(hangs && is_over) {
            self.tally.rest();
            tokio::select! {
                given = &mut gather => {
                    self.tally.expect(Instant::now(), self.current.common.interval);
                    return Some(given);
                }
                points = self.current.fan.next(queue.as_deref()) => {
                    self.tally.expect(Instant::now(), self.current.common.interval);
                    self.current.hand_on(points, &mut self.tally).instrument(span.clone()).await;
                }
                () = tokio::time::sleep_until(hangs_at), if !hangs => {
                    hangs = true;
                    span.in_scope(|| log_hang(limit));
                }
                // So that it holds on to no output that is gone.
                changed = self.work.changed(), if !is_over => match changed {
                    Ok(()) => {
                        self.current = self.work.borrow_and_update().clone();
                        self.tally.follow(&self.current);
                    }
                    Err(_) => is_over = true,
                },
            }
        }
        None
    }

    fn count_missed(&self, took: Duration, interval: Duration) {
        if took <= interval {
            return;
        }
        let missed = took.as_nanos() / interval.as_nanos().max(1);
        let missed = u64::try_from(missed).unwrap_or(u64::MAX);
        if let Some(entry) = &self.tally.entry {
            entry.counts.losses.missed.fetch_add(missed, Ordering::Relaxed);
        }
        self.span().in_scope(|| {
            tracing::warn!(?took, ?interval, missed, "a gather took longer than its interval");
        });
    }
}

fn count(counts: &InputCounts, n_points: usize, is_whole: bool, took: Duration) {
    let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    counts.gathers.fetch_add(1, Ordering::Relaxed);
    counts.gather_time_ns.fetch_add(took, Ordering::Relaxed);
    counts.gathered.fetch_add(n_points as u64, Ordering::Relaxed);
    counts.errors.fetch_add(u64::from(!is_whole), Ordering::Relaxed);
}

/// An input that gathers only once.
pub(super) type Once = (Offloaded, Work, Arc<Entry<InputCounts>>);

/// Gathers every input once; those whose figures are differences are read twice. One that hangs is left out.
pub(super) async fn gather_once(inputs: &mut [Once]) {
    let mut has_waited = false;
    for (input, work, _) in inputs.iter_mut().filter(|(input, ..)| input.needs_two_readings()) {
        let span = inputs::span(input.name(), &work.common);
        // Errors are reported with the second reading.
        let first = input.gather_within(Gathered::first_reading(), work.common.interval);
        let _ = first.instrument(span).await;
        has_waited = true;
    }
    if has_waited {
        tokio::time::sleep(inputs::FIRST_READING).await;
    }
    for (input, work, entry) in inputs {
        let (span, start) = (inputs::span(input.name(), &work.common), Instant::now());
        let gathered = Gathered { is_only: true, ..inputs::begin(&work.common, true) };
        let gather = input.gather_within(gathered, work.common.interval);
        let Some(given) = gather.instrument(span.clone()).await else { continue };
        let mut tally = Tally { entry: Some(Arc::clone(entry)), guard: None };
        work.pass_on(given, &mut tally, start.elapsed()).instrument(span).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn schedule(interval: u64, precision: u64) -> Schedule {
        Schedule {
            interval: Duration::from_millis(interval),
            round: true,
            offset: Duration::ZERO,
            jitter: Duration::ZERO,
            precision: Duration::from_millis(precision),
        }
    }

    #[rstest::rstest]
    #[case::next(110, 100, false)]
    #[case::again(100, 100, true)]
    #[case::a_little_back(70, 100, true)]
    #[case::as_far_as_is_waited(40, 100, true)]
    #[case::far_back(39, 100, false)]
    #[case::before_the_epoch(-5, 3_600, false)]
    fn a_time_comes_once_unless_the_clock_was_set_far_back(
        #[case] now: i64,
        #[case] last: i64,
        #[case] expected: bool,
    ) {
        let has_come = schedule(10_000, 1_000).has_come(Timestamp(now * SECOND), Timestamp(last * SECOND));
        assert_eq!(has_come, expected);
    }

    #[test]
    fn times_that_are_rounded_to_more_than_the_interval_come_again() {
        assert!(!schedule(250, 1_000).has_come(Timestamp(SECOND), Timestamp(SECOND)));
    }

    #[test]
    fn a_clock_that_is_set_back_is_told_from_one_that_goes_slower() {
        let at = std::time::Instant::now();
        let moment =
            |time: i64, after: u64| Moment { time: Timestamp(time), at: at + Duration::from_secs(after) };
        let last = moment(100 * SECOND, 0);
        assert!(!moment(110 * SECOND, 10).is_set_back_since(&last));
        assert!(!moment(110 * SECOND - SECOND / 20, 10).is_set_back_since(&last));
        assert!(!moment(3_700 * SECOND, 10).is_set_back_since(&last), "forward");
        assert!(moment(109 * SECOND, 10).is_set_back_since(&last));
        assert!(moment(-SECOND, 10).is_set_back_since(&last));
    }
}
