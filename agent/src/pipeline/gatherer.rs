//! The task of an input: when it gathers, what it does in between, and where its points go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::clock;
use crate::inputs::offloaded::{Offloaded, hang_limit, log_hang};
use crate::inputs::{self, Gathered, Given};
use crate::options::common::InputCommon;
use crate::outputs::sender::Message;
use crate::point::{Point, Timestamp};
use crate::service::telemetry::{Entry, InputCounts};

/// Where every input sends its points.
#[derive(Clone)]
pub(super) struct Fan {
    pub(super) outputs: Vec<mpsc::Sender<Message>>,
    pub(super) global_tags: Arc<BTreeMap<String, String>>,
}

impl Fan {
    async fn send(&self, points: Vec<Point>) {
        if points.is_empty() {
            return;
        }
        let points = Arc::new(points);
        for output in &self.outputs {
            // Fails only if the output's task is gone, after a panic.
            let _ = output.send(Message::Points(Arc::clone(&points))).await;
        }
    }
}

/// What an input does under the current configuration.
pub(super) struct Work {
    pub(super) common: InputCommon,
    pub(super) round: bool,
    pub(super) fan: Fan,
}

/// When an input gathers.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Schedule {
    interval: Duration,
    round: bool,
    offset: Duration,
    jitter: Duration,
}

impl Schedule {
    fn of(work: &Work) -> Self {
        Self {
            interval: work.common.interval,
            round: work.round,
            offset: work.common.collection_offset,
            jitter: work.common.collection_jitter,
        }
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

/// Why an input stops waiting.
enum Wake {
    Time,
    Changed,
    Stop,
}

/// Waits for the next gather, while the input does its work in between.
async fn wait(input: &mut Offloaded, at: Instant, work: &mut watch::Receiver<Arc<Work>>) -> Wake {
    let mut is_idle = false;
    loop {
        tokio::select! {
            changed = work.changed() => return if changed.is_ok() { Wake::Changed } else { Wake::Stop },
            () = tokio::time::sleep_until(at) => return Wake::Time,
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
    /// `None` for an input that is not counted.
    entry: Option<Arc<Entry<InputCounts>>>,
}

impl Gatherer {
    /// An input that does the `work` until the other end is dropped.
    pub(super) fn new(
        input: Offloaded,
        mut work: watch::Receiver<Arc<Work>>,
        entry: Option<Arc<Entry<InputCounts>>>,
    ) -> Self {
        let current = work.borrow_and_update().clone();
        Self { input, work, current, entry }
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
        if let Some(entry) = self.entry {
            entry.ended();
        }
    }

    async fn run_schedule(&mut self) {
        let mut schedule = Schedule::of(&self.current);
        let mut last = None;
        let mut due = schedule.next(last);
        let mut at = due + clock::jittered(schedule.jitter);
        loop {
            let span = self.span();
            let wake = wait(&mut self.input, at, &mut self.work).instrument(span).await;
            if matches!(wake, Wake::Changed) {
                self.current = self.work.borrow_and_update().clone();
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
            let Some(given) = self.gather(inputs::begin(&self.current.common, is_last)).await else { break };
            self.pass_on(given, start.elapsed()).await;
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
        let gather = self.input.gather(gathered).instrument(span.clone());
        tokio::pin!(gather);
        let (mut hangs, mut is_over) = (false, false);
        while !(hangs && is_over) {
            tokio::select! {
                given = &mut gather => return Some(given),
                () = tokio::time::sleep_until(hangs_at), if !hangs => {
                    hangs = true;
                    span.in_scope(|| log_hang(limit));
                }
                // So that it holds on to no output that is gone.
                changed = self.work.changed(), if !is_over => match changed {
                    Ok(()) => self.current = self.work.borrow_and_update().clone(),
                    Err(_) => is_over = true,
                },
            }
        }
        None
    }

    /// Hands the points of a gather to the outputs.
    async fn pass_on(&mut self, given: Given, took: Duration) {
        let Work { common, fan, .. } = &*self.current;
        let (points, is_whole) = self.span().in_scope(|| inputs::finish(given, common, &fan.global_tags));
        if let Some(entry) = &self.entry {
            count(&entry.counts, points.len(), is_whole, took);
        }
        fan.send(points).await;
    }

    fn count_missed(&self, took: Duration, interval: Duration) {
        if took <= interval {
            return;
        }
        let missed = took.as_nanos() / interval.as_nanos().max(1);
        let missed = u64::try_from(missed).unwrap_or(u64::MAX);
        if let Some(entry) = &self.entry {
            entry.counts.missed.fetch_add(missed, Ordering::Relaxed);
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
        let (points, is_whole) = span.in_scope(|| inputs::finish(given, &work.common, &work.fan.global_tags));
        count(&entry.counts, points.len(), is_whole, start.elapsed());
        work.fan.send(points).await;
    }
}
