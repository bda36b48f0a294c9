//! The task of an input: when it gathers, what it does in between, and where its points go.

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
use crate::point::{Name, Point, Tags, Timestamp};
use crate::schema;
use crate::service::clock_watch::ClockWatch;
use crate::service::receipt::{Receipt, Receipts};
use crate::service::telemetry::{Entry, InputCounts, OutputCounts, Telemetry};

/// Where every input sends its points.
#[derive(Clone)]
pub(super) struct Fan {
    pub(super) outputs: Vec<(mpsc::Sender<Message>, Arc<OutputCounts>)>,
    pub(super) global_tags: Arc<Tags>,
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
    /// Hands the points of a gather to the outputs, and counts it. Returns whether it was complete. Called within the input's span.
    async fn pass_on(&self, mut given: Given, tally: &mut Tally, took: Duration) -> bool {
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
        is_whole
    }

    /// Points of no more series than are allowed.
    fn within_limits(&self, points: Vec<Point>, times: Times, tally: &mut Tally) -> Vec<Point> {
        let (Some(entry), Some(guard)) = (&tally.entry, &mut tally.guard) else { return points };
        let has = |tags: &Tags, (key, value): &(Name, Name)| tags.get(key) == Some(value);
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

    /// Whether a gather had the time of this one already, so that its rows would take the place of the earlier ones: that one was
    /// late and its time was rounded up, or the clock was set back a little. Where it was set back by more, the earlier times are
    /// what was wrong.
    fn has_come(&self, now: &Moment, last: &Moment) -> bool {
        let back = last.rounded.0.saturating_sub(now.rounded.0);
        let is_soon = now.start.saturating_duration_since(last.start) < self.interval / 2;
        let is_again = if now.is_set_back_since(last) {
            (0..=MAX_BACK.as_nanos() as i64).contains(&back)
        } else {
            back == 0 && is_soon
        };
        // Else it is what is asked for.
        is_again && self.interval >= self.precision
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

/// When a gather begins.
#[derive(Clone, Copy)]
struct Moment {
    /// The time of its rows.
    rounded: Timestamp,
    time: Timestamp,
    /// By a clock that is not set.
    monotonic: std::time::Instant,
    /// By the runtime's, which a test advances.
    start: Instant,
}

impl Moment {
    fn of(gathered: &Gathered, start: Instant) -> Self {
        Self { rounded: gathered.time, time: Timestamp::now(), monotonic: std::time::Instant::now(), start }
    }

    /// Whether the clock was set back since an earlier moment. Nothing else tells that at once: who watches the clock may not have
    /// had its turn yet.
    fn is_set_back_since(&self, earlier: &Self) -> bool {
        let passed = i64::try_from((self.monotonic - earlier.monotonic).as_nanos()).unwrap_or(i64::MAX);
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
        let (mut last, mut gather) = (None, None);
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
            let moment = Moment::of(&gathered, start);
            let has_come = gather.is_some_and(|last| schedule.has_come(&moment, &last));
            if matches!(wake, Wake::Clock) || !is_last && has_come {
                due = schedule.next(last);
                at = due + clock::jittered(schedule.jitter);
                continue;
            }
            gather = Some(moment);
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

/// Gathers every input once; those whose figures are differences are read twice. One that hangs is left out. Returns how many
/// failed.
pub(super) async fn gather_once(inputs: &mut [Once]) -> usize {
    let mut failed = 0;
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
        let mut tally = Tally { entry: Some(Arc::clone(entry)), guard: None };
        let is_whole = match gather.instrument(span.clone()).await {
            Some(given) => work.pass_on(given, &mut tally, start.elapsed()).instrument(span).await,
            None => false,
        };
        failed += usize::from(!is_whole);
    }
    failed
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

    /// A moment so many milliseconds after another one, at a time in milliseconds that is rounded to a second.
    fn moment(began: (std::time::Instant, Instant), after: u64, time: i64) -> Moment {
        let (time, after) = (Timestamp(time * SECOND / 1_000), Duration::from_millis(after));
        let rounded = time.rounded(Duration::from_secs(1));
        Moment { rounded, time, monotonic: began.0 + after, start: began.1 + after }
    }

    #[rstest::rstest]
    #[case::next(10_000, 110_000, false)]
    #[case::next_that_is_late(12_700, 112_700, false)]
    #[case::soon_after_one_that_was_rounded_up(300, 100_300, true)]
    #[case::set_back(10_000, 100_000, true)]
    #[case::set_back_a_little(10_000, 70_000, true)]
    #[case::as_far_as_is_waited(10_000, 40_000, true)]
    #[case::far_back(10_000, 39_000, false)]
    #[case::before_the_epoch(10_000, -5_000, false)]
    #[case::set_forward(10_000, 3_700_000, false)]
    fn a_time_comes_once_unless_the_clock_was_set_far_back(
        #[case] after: u64,
        #[case] time: i64,
        #[case] expected: bool,
    ) {
        let began = (std::time::Instant::now(), Instant::now());
        let has_come = |interval, precision| {
            let last = moment(began, 0, 100_000);
            schedule(interval, precision).has_come(&moment(began, after, time), &last)
        };
        assert_eq!(has_come(10_000, 1_000), expected);
        assert!(!has_come(250, 1_000), "times that are rounded to more than the interval come again");
    }

    #[test]
    fn a_clock_that_is_set_back_is_told_from_one_that_goes_slower() {
        let began = (std::time::Instant::now(), Instant::now());
        let is_back = |time| moment(began, 10_000, time).is_set_back_since(&moment(began, 0, 100_000));
        assert!(!is_back(110_000) && !is_back(109_950) && !is_back(3_700_000));
        assert!(is_back(109_000) && is_back(-1_000));
    }
}
