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

use crate::clock;
use crate::inputs::listener::queue::Queue;
use crate::inputs::{self, Gathered, Input};
use crate::options::common::InputCommon;
use crate::outputs::sender::Message;
use crate::point::{Point, Timestamp};
use crate::service::telemetry::{Entry, InputCounts, OutputCounts};

/// Where every input sends its points.
#[derive(Clone)]
pub(super) struct Fan {
    pub(super) outputs: Vec<(mpsc::Sender<Message>, Arc<OutputCounts>)>,
    pub(super) global_tags: Arc<BTreeMap<String, String>>,
}

impl Fan {
    async fn send(&self, points: Vec<Point>) {
        if points.is_empty() {
            return;
        }
        let points = Arc::new(points);
        for (output, counts) in &self.outputs {
            counts.sent(points.len() as u64);
            // Fails only if the output's task is gone, after a panic.
            let _ = output.send(Message::Points(Arc::clone(&points))).await;
        }
    }

    /// How many points can be sent without pushing others out of a buffer, of the output that has most room: one that is stuck
    /// holds up no other.
    fn room(&self) -> usize {
        self.outputs.iter().map(|(_, counts)| counts.room()).max().unwrap_or(0)
    }

    /// The next points of an input that others send to, once an output has room for them.
    async fn next(&self, queue: Option<&Queue>) -> Vec<Point> {
        let Some(queue) = queue else { return std::future::pending().await };
        loop {
            queue.arrival().await;
            // Before the look, so that no change is missed.
            let mut changes: Vec<Pin<Box<Notified<'_>>>> =
                self.outputs.iter().map(|(_, counts)| Box::pin(counts.changed.notified())).collect();
            let room = self.room();
            if room > 0 {
                return queue.take(room.min(MAX_HANDED_ON));
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
/// How long what was received is handed on when its input ends.
const END_LIMIT: Duration = Duration::from_secs(3);

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
    /// Others sent points to it.
    Received(Vec<Point>),
}

/// Waits for the next gather, while the input does its work in between.
async fn wait(input: &mut dyn Input, at: Instant, fan: &Fan, work: &mut watch::Receiver<Arc<Work>>) -> Wake {
    let mut is_idle = false;
    let queue = input.queue();
    loop {
        tokio::select! {
            points = fan.next(queue.as_deref()) => return Wake::Received(points),
            changed = work.changed() => return if changed.is_ok() { Wake::Changed } else { Wake::Stop },
            () = tokio::time::sleep_until(at) => return Wake::Time,
            // When it completes, there is no more to do until the next gather.
            () = input.between(), if !is_idle => is_idle = true,
        }
    }
}

/// The task of an input: gathers on schedule until the other end of `work` is dropped, and then once more where what was counted
/// since the last gather would be lost.
///
/// With `reads_first` the input is read once at the start, so that the first interval after a reload is not missed.
pub(super) async fn gather_at_intervals(
    mut input: Box<dyn Input>,
    mut work: watch::Receiver<Arc<Work>>,
    entry: Option<Arc<Entry<InputCounts>>>,
    reads_first: bool,
) {
    let counts = entry.as_ref().map(|entry| &*entry.counts);
    let mut current = work.borrow_and_update().clone();
    if reads_first && input.needs_two_readings() {
        // The next gather logs the same errors.
        let _ = input.gather(&mut Gathered::first_reading()).await;
    }
    let mut schedule = Schedule::of(&current);
    let mut last = None;
    let mut due = schedule.next(last);
    let mut at = due + clock::jittered(schedule.jitter);
    loop {
        let span = inputs::span(input.name(), &current.common);
        let wake = wait(&mut *input, at, &current.fan, &mut work).instrument(span).await;
        if let Wake::Received(points) = wake {
            hand_on(points, &current, counts).await;
            continue;
        }
        if matches!(wake, Wake::Changed) {
            current = work.borrow_and_update().clone();
            if Schedule::of(&current) != schedule {
                schedule = Schedule::of(&current);
                due = schedule.next(last);
                at = due + clock::jittered(schedule.jitter);
            }
            continue;
        }
        let start = Instant::now();
        let is_last = matches!(wake, Wake::Stop);
        if is_last {
            if let Some(queue) = input.queue() {
                let span = inputs::span(input.name(), &current.common);
                hand_on_rest(&queue, &current, counts).instrument(span).await;
            }
            if !input.counts_end_with_it() {
                break;
            }
        }
        let points = gather(&mut *input, &current, counts, is_last).await;
        current.fan.send(points).await;
        if is_last {
            break;
        }
        inputs::span(input.name(), &current.common)
            .in_scope(|| count_missed(start.elapsed(), schedule.interval, counts));
        last = Some(due);
        due = schedule.next(last);
        at = due + clock::jittered(schedule.jitter);
    }
    if let Some(entry) = entry {
        entry.ended();
    }
}

/// Hands points on that others sent.
async fn hand_on(points: Vec<Point>, work: &Work, counts: Option<&InputCounts>) {
    let points = inputs::process(points, &work.common, &work.fan.global_tags);
    if let Some(counts) = counts {
        counts.gathered.fetch_add(points.len() as u64, Ordering::Relaxed);
    }
    work.fan.send(points).await;
}

/// Ends the receiving, and hands on what was received, as far as the outputs take it in time.
async fn hand_on_rest(queue: &Queue, work: &Work, counts: Option<&InputCounts>) {
    queue.close();
    let end = Instant::now() + END_LIMIT;
    while !queue.is_empty()
        && let Ok(points) = tokio::time::timeout_at(end, work.fan.next(Some(queue))).await
    {
        hand_on(points, work, counts).await;
    }
    let lost = queue.take(usize::MAX).len();
    if lost > 0 {
        tracing::error!(points = lost, "received, but not taken by an output, and lost");
    }
}

fn count_missed(took: Duration, interval: Duration, counts: Option<&InputCounts>) {
    if took <= interval {
        return;
    }
    let missed = took.as_nanos() / interval.as_nanos().max(1);
    let missed = u64::try_from(missed).unwrap_or(u64::MAX);
    if let Some(counts) = counts {
        counts.missed.fetch_add(missed, Ordering::Relaxed);
    }
    tracing::warn!(?took, ?interval, missed, "a gather took longer than its interval");
}

async fn gather(
    input: &mut dyn Input,
    work: &Work,
    counts: Option<&InputCounts>,
    is_last: bool,
) -> Vec<Point> {
    let start = Instant::now();
    let (points, is_whole) = inputs::gather(input, &work.common, &work.fan.global_tags, is_last).await;
    if let Some(counts) = counts {
        let took = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        counts.gathers.fetch_add(1, Ordering::Relaxed);
        counts.gather_time_ns.fetch_add(took, Ordering::Relaxed);
        counts.gathered.fetch_add(points.len() as u64, Ordering::Relaxed);
        counts.errors.fetch_add(u64::from(!is_whole), Ordering::Relaxed);
    }
    points
}

/// An input that gathers only once.
pub(super) type Once = (Box<dyn Input>, Work, Arc<Entry<InputCounts>>);

/// Gathers every input once; those whose figures are differences are read twice.
pub(super) async fn gather_once(inputs: &mut [Once]) {
    let mut has_waited = false;
    for (input, ..) in inputs.iter_mut().filter(|(input, ..)| input.needs_two_readings()) {
        // Errors are reported with the second reading.
        let _ = input.gather(&mut Gathered::first_reading()).await;
        has_waited = true;
    }
    if has_waited {
        tokio::time::sleep(inputs::FIRST_READING).await;
    }
    for (input, work, entry) in inputs {
        let points = gather(&mut **input, work, Some(&entry.counts), true).await;
        work.fan.send(points).await;
    }
}
