//! What was received and not handed on yet, bounded in bytes.
//!
//! It holds text, which is a fraction of the size of the points that it becomes, and where the parts of each valid line are in
//! it: that was found out to answer the sender. A line becomes a point when an output has room for it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::parsers::line_protocol::Outline;
use crate::point::{Point, Timestamp};
use crate::service::receipt::Receipt;

/// Bytes that may wait in a queue.
pub(super) const LIMIT: usize = 16 << 20;
/// What a text of no length needs.
const OVERHEAD: usize = 128;

/// Tags that each point of a text gets, in place of its own of the same key.
pub(crate) type Tags = Arc<[(String, String)]>;

/// Some lines that were received together.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    pub(crate) text: String,
    /// The lines of it that are valid.
    pub(crate) lines: Vec<Outline>,
    /// Of lines without a time.
    pub(crate) received: Timestamp,
    pub(crate) tags: Tags,
    /// Who waits until they are kept.
    pub(crate) receipt: Option<Receipt>,
}

/// Points that are handed on.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) points: Vec<Point>,
    /// Of the parcels that they are of.
    pub(crate) receipts: Vec<Receipt>,
}

impl Parcel {
    fn size(&self) -> usize {
        let tags: usize = self.tags.iter().map(|(key, value)| key.len() + value.len()).sum();
        self.text.len() + self.lines.len() * size_of::<Outline>() + tags + OVERHEAD
    }

    fn point(&self, line: &Outline) -> Point {
        let mut point = line.point(&self.text, self.received);
        for (key, value) in self.tags.iter() {
            point.set_tag(key.clone(), value.clone());
        }
        point
    }
}

#[derive(Debug, Default)]
struct Parcels {
    parcels: VecDeque<Parcel>,
    bytes: usize,
    /// How many lines of the first parcel have been handed on.
    n_taken: usize,
}

/// Why something was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No room came in time: the outputs take less than is sent.
    Full,
    /// The input ends.
    Closed,
}

/// The queue of one input.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Mutex<Parcels>,
    /// Something arrived, or it was closed.
    arrived: Notify,
    /// There is room again, or it was closed.
    room: Notify,
    is_closed: AtomicBool,
    is_attended: AtomicBool,
    keeps: AtomicBool,
}

impl Queue {
    fn with<T>(&self, work: impl FnOnce(&mut Parcels) -> T) -> T {
        work(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a parcel; waits for room until `deadline`.
    pub(crate) async fn push(&self, parcel: Parcel, deadline: Instant) -> Result<(), Refusal> {
        self.room(deadline).await?;
        self.with(|waiting| {
            waiting.bytes += parcel.size();
            waiting.parcels.push_back(parcel);
        });
        self.arrived.notify_one();
        Ok(())
    }

    /// Waits for room until `deadline`.
    pub(crate) async fn room(&self, deadline: Instant) -> Result<(), Refusal> {
        tokio::time::timeout_at(deadline, self.has_room()).await.map_err(|_| Refusal::Full)?;
        if self.is_closed() { Err(Refusal::Closed) } else { Ok(()) }
    }

    /// Waits until something may be added. What is added then may exceed the limit by its own size.
    pub(crate) async fn has_room(&self) {
        loop {
            let room = self.room.notified();
            if self.is_closed() || !self.is_full() {
                return;
            }
            room.await;
        }
    }

    /// Whether nothing may be added now.
    pub(crate) fn is_full(&self) -> bool {
        self.with(|waiting| waiting.bytes >= LIMIT)
    }

    /// Somebody takes what arrives, and has it on a disk if it `keeps` points.
    pub(crate) fn attend(&self, keeps: bool) {
        self.is_attended.store(true, Ordering::Relaxed);
        self.keeps.store(keeps, Ordering::Relaxed);
    }

    /// Whether who takes from it has it on a disk before its receipt is over.
    pub(crate) fn keeps(&self) -> bool {
        self.keeps.load(Ordering::Relaxed)
    }

    /// Waits until something can be taken.
    pub(crate) async fn arrival(&self) {
        while self.is_empty() {
            // One call of `notify_one` is remembered.
            self.arrived.notified().await;
        }
    }

    /// Up to `max` points of up to `max_bytes` of text, or one that is longer; the oldest first.
    pub(crate) fn take(&self, max: usize, max_bytes: usize) -> Received {
        let (mut points, mut receipts, mut bytes) = (Vec::new(), Vec::new(), 0);
        self.with(|waiting| {
            while points.len() < max
                && bytes < max_bytes
                && let Some(parcel) = waiting.parcels.front()
            {
                let rest = &parcel.lines[waiting.n_taken..];
                let length = (parcel.text.len() / parcel.lines.len()).max(1);
                let n = rest.len().min(max - points.len()).min((max_bytes - bytes).div_ceil(length));
                bytes += n * length;
                points.extend(rest[..n].iter().map(|line| parcel.point(line)));
                receipts.extend(parcel.receipt.clone());
                waiting.n_taken += n;
                if waiting.n_taken == parcel.lines.len() {
                    waiting.bytes -= parcel.size();
                    waiting.parcels.pop_front();
                    waiting.n_taken = 0;
                }
            }
        });
        self.room.notify_waiters();
        Received { points, receipts }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.with(|waiting| waiting.parcels.is_empty())
    }

    /// Whether nobody ever attended to it: then a gather takes what there is.
    pub(crate) fn is_unattended(&self) -> bool {
        !self.is_attended.load(Ordering::Relaxed)
    }

    /// Takes nothing more; what waits can still be taken.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        self.room.notify_waiters();
    }

    /// Whether it was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// Waits until it is closed.
    pub(crate) async fn closed(&self) {
        loop {
            let changed = self.room.notified();
            if self.is_closed() {
                return;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::parsers::line_protocol::{self, Precision};

    fn parcel(text: impl Into<String>) -> Parcel {
        let tags = [("db".to_owned(), "a".to_owned())].into();
        let text = text.into();
        let lines = line_protocol::parse(&text, Precision::Seconds).filter_map(Result::ok);
        let lines = lines.map(|line| line.outline(&text)).collect();
        Parcel { text, lines, received: Timestamp(7_500_000_000), tags, receipt: None }
    }

    async fn push(queue: &Queue, text: impl Into<String>) -> Result<(), Refusal> {
        queue.push(parcel(text), Instant::now() + Duration::from_secs(1)).await
    }

    #[tokio::test]
    async fn lines_come_out_as_points_in_their_order_and_in_parts() {
        let queue = Queue::default();
        push(&queue, "a,db=x f=\"1\n2\" 1\r\nbad\n\nb f=2i\nc f=3i 3").await.unwrap();
        push(&queue, "d f=4i 4\n").await.unwrap();
        let mut names = Vec::new();
        for max in [1, 1, 5, 5] {
            let points = queue.take(max, usize::MAX).points;
            names.push(points.iter().map(|point| point.measurement.to_string()).collect::<String>());
            assert!(points.iter().all(|point| point.tag_value("db") == Some("a")));
            assert!(names.len() != 2 || points[0].time == Timestamp(7_000_000_000));
        }
        assert_eq!(names, ["a", "b", "cd", ""]);
        assert!(queue.is_empty() && queue.with(|waiting| waiting.bytes == 0));
    }

    #[test]
    fn tags_count_for_the_bound() {
        let tags = [("db".to_owned(), "x".repeat(255))].into();
        assert_eq!(Parcel { tags, ..parcel("m f=1") }.size(), parcel("m f=1").size() + 254);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_takes_more_when_something_was_taken() {
        let queue = Arc::new(Queue::default());
        let line = format!("m f=\"{}\"\n", "x".repeat(1 << 20));
        let mut n = 0;
        while push(&queue, line.clone()).await.is_ok() {
            n += 1;
        }
        assert_eq!((n, push(&queue, "m f=1").await), (16, Err(Refusal::Full)));
        let other = Arc::clone(&queue);
        let pushed = tokio::spawn(async move { push(&other, "m f=1").await });
        tokio::task::yield_now().await;
        assert_eq!(queue.take(1, usize::MAX).points.len(), 1);
        assert_eq!(pushed.await.unwrap(), Ok(()));
        queue.close();
        assert_eq!(push(&queue, "m f=1").await, Err(Refusal::Closed));
        assert_eq!(queue.take(usize::MAX, 2 << 20).points.len(), 2);
        assert_eq!(queue.take(usize::MAX, usize::MAX).points.len(), 14, "what it has can be taken still");
    }
}
