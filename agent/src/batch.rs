//! What an output still has to write: lines in the order of their making, up to a limit, handed out in batches.
//!
//! Pure. Points are encoded before they come here and never again: what is sent a second time is the same to the byte, so
//! that the server takes it for the same point. A line that finds the buffer full pushes the oldest one out, and that is counted.

use std::borrow::Borrow;
use std::collections::VecDeque;

use bytes::Bytes;

use crate::line_protocol;
use crate::point::Point;

/// Encoded points that wait for their output.
#[derive(Debug)]
pub struct Buffer {
    lines: VecDeque<Bytes>,
    limit: usize,
    batch_size: usize,
    dropped: u64,
}

impl Buffer {
    /// Holds up to `limit` lines, and hands out `batch_size` at a time.
    #[must_use]
    pub fn new(limit: usize, batch_size: usize) -> Self {
        Self { lines: VecDeque::new(), limit, batch_size, dropped: 0 }
    }

    /// Holds and hands out as many from now on; what has no room any more is dropped, oldest first.
    pub fn resize(&mut self, limit: usize, batch_size: usize) {
        (self.limit, self.batch_size) = (limit, batch_size);
        self.keep_to_limit();
    }

    /// Encodes points and adds them. Points that say nothing in line protocol are left out. Returns how many were added.
    pub fn extend(&mut self, points: impl IntoIterator<Item: Borrow<Point>>) -> usize {
        let (mut text, mut ends) = (Vec::new(), Vec::new());
        for point in points {
            if line_protocol::encode(point.borrow(), &mut text) {
                ends.push(text.len());
            }
        }
        // One piece of memory for all of them; it is given back with its last line.
        let text = Bytes::from(text);
        let mut start = 0;
        for end in &ends {
            self.lines.push_back(text.slice(start..*end));
            start = *end;
        }
        self.keep_to_limit();
        ends.len()
    }

    /// Takes the oldest lines out, a batch of them at the most; empty when there are none.
    pub fn take_batch(&mut self) -> Vec<Bytes> {
        let n = self.batch_size.min(self.lines.len());
        self.lines.drain(..n).collect()
    }

    /// Puts lines back in front, in their order.
    pub fn put_back(&mut self, lines: Vec<Bytes>) {
        for line in lines.into_iter().rev() {
            self.lines.push_front(line);
        }
        self.keep_to_limit();
    }

    fn keep_to_limit(&mut self) {
        let excess = self.lines.len().saturating_sub(self.limit);
        self.lines.drain(..excess);
        self.dropped += excess as u64;
    }

    /// Whether a whole batch waits.
    #[must_use]
    pub fn has_batch(&self) -> bool {
        self.lines.len() >= self.batch_size
    }

    /// How many lines wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether none does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// How many were pushed out so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::Timestamp;

    fn points(range: std::ops::Range<i64>) -> Vec<Point> {
        range.map(|i| Point::new("m", Timestamp(i)).field("f", i)).collect()
    }

    fn times(lines: &[Bytes]) -> Vec<i64> {
        let time = |line: &Bytes| {
            let text = String::from_utf8_lossy(line);
            text.trim().rsplit(' ').next().unwrap().parse().unwrap()
        };
        lines.iter().map(time).collect()
    }

    #[test]
    fn hands_out_batches_in_order() {
        let mut buffer = Buffer::new(10, 2);
        assert_eq!(buffer.extend(points(0..3)), 3);
        assert!(buffer.has_batch());
        assert_eq!(times(&buffer.take_batch()), [0, 1]);
        assert_eq!(times(&buffer.take_batch()), [2]);
        assert!(buffer.take_batch().is_empty());
        assert_eq!(buffer.dropped(), 0);
    }

    #[test]
    fn a_full_buffer_loses_the_oldest_and_counts_them() {
        let mut buffer = Buffer::new(4, 2);
        buffer.extend(points(0..6));
        assert_eq!((buffer.len(), buffer.dropped()), (4, 2));
        let batch = buffer.take_batch();
        assert_eq!(times(&batch), [2, 3]);
        buffer.extend(points(6..8));
        buffer.put_back(batch);
        assert_eq!((buffer.len(), buffer.dropped()), (4, 4));
        assert_eq!(times(&buffer.take_batch()), [4, 5]);
        assert_eq!(times(&buffer.take_batch()), [6, 7]);
    }

    #[test]
    fn what_is_put_back_comes_out_first() {
        let mut buffer = Buffer::new(10, 3);
        buffer.extend(points(0..5));
        let batch = buffer.take_batch();
        buffer.put_back(batch);
        assert_eq!(times(&buffer.take_batch()), [0, 1, 2]);
    }

    #[test]
    fn a_point_without_a_finite_field_is_no_line() {
        let mut buffer = Buffer::new(10, 3);
        let nothing = Point::new("m", Timestamp(0)).field("f", f64::NAN);
        assert_eq!(buffer.extend([&nothing]), 0);
        assert!(buffer.is_empty());
    }
}
