//! What an output still has to write: lines in the order of their making, up to a limit, handed out in batches.
//!
//! Pure. Points are encoded before they come here and never again: what is sent a second time is the same to the byte, so
//! that the server takes it for the same point. A line that finds the buffer full pushes the oldest one out, and that is counted.

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::line_protocol::{EncodeError, Format};
use crate::point::Point;

/// Where within an output a line goes: the values of the tags that its [`Encoding`] names, such as a database. `None` for a
/// tag that the point does not have; empty for an output that asks for no tags.
pub type Route = Arc<[Option<String>]>;

/// A tag that says where a point goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteTag {
    /// Its key; an empty one is a tag that no point has.
    pub key: String,
    /// It is left out of the line.
    pub exclude: bool,
}

/// How an output wants its lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Their form.
    pub format: Format,
    /// The tags that say where a line goes.
    pub route: Vec<RouteTag>,
}

impl Encoding {
    /// Takes the route out of a point's tags.
    fn route(&self, point: &mut Cow<'_, Point>) -> Vec<Option<String>> {
        let value = |tag: &RouteTag| point.tag_value(&tag.key).filter(|value| !value.is_empty());
        let route = self.route.iter().map(|tag| value(tag).map(str::to_owned)).collect();
        for tag in self.route.iter().filter(|tag| tag.exclude) {
            if point.tag_value(&tag.key).is_some() {
                point.to_mut().tags.retain(|(key, _)| *key != *tag.key);
            }
        }
        route
    }
}

/// Lines that go the same way.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The way.
    pub route: Route,
    /// The lines, each with its end, oldest first.
    pub lines: Vec<Bytes>,
}

#[derive(Debug)]
struct Line {
    text: Bytes,
    route: Route,
}

/// What became of points that were added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Lines that wait now.
    pub lines: usize,
    /// Points with a field that does not fit into a line; they are left out.
    pub too_long: usize,
}

/// Encoded points that wait for their output.
#[derive(Debug)]
pub struct Buffer {
    encoding: Encoding,
    lines: VecDeque<Line>,
    limit: usize,
    batch_size: usize,
    dropped: u64,
}

impl Buffer {
    /// Holds up to `limit` lines, and hands out `batch_size` at a time.
    #[must_use]
    pub fn new(encoding: Encoding, limit: usize, batch_size: usize) -> Self {
        Self { encoding, lines: VecDeque::new(), limit, batch_size, dropped: 0 }
    }

    /// Encodes what comes from now on in this way, which asks for the same tags as the one before; what waits stays as it is.
    pub fn reencode(&mut self, encoding: Encoding) {
        self.encoding = encoding;
    }

    /// Holds and hands out as many from now on; what has no room any more is dropped, oldest first.
    pub fn resize(&mut self, limit: usize, batch_size: usize) {
        (self.limit, self.batch_size) = (limit, batch_size);
        self.keep_to_limit();
    }

    /// Encodes points and adds them. Points that say nothing in line protocol are left out.
    pub fn extend<'a>(&mut self, points: impl IntoIterator<Item = Cow<'a, Point>>) -> Added {
        let (mut text, mut ends) = (Vec::new(), Vec::new());
        // The routes of the lines, and each of them once.
        let (mut routes, mut known) = (Vec::new(), BTreeSet::<Route>::new());
        let mut added = Added::default();
        for mut point in points {
            let route = self.encoding.route(&mut point);
            let encoded = self.encoding.format.encode(&point, &mut text, &mut ends);
            added.too_long += usize::from(encoded == Err(EncodeError::TooLong));
            if encoded.is_ok() {
                let route = known.get(&*route).cloned().unwrap_or_else(|| {
                    let route = Route::from(route);
                    known.insert(Arc::clone(&route));
                    route
                });
                routes.resize(ends.len(), route);
            }
        }
        // One piece of memory for all of them; it is given back with its last line.
        let text = Bytes::from(text);
        let mut start = 0;
        for (end, route) in ends.iter().zip(routes) {
            self.lines.push_back(Line { text: text.slice(start..*end), route });
            start = *end;
        }
        self.keep_to_limit();
        Added { lines: ends.len(), ..added }
    }

    /// Takes the oldest lines out that go none of the ways in `closed`, a batch of one way at the most. `None` when there are
    /// none.
    pub fn take_batch(&mut self, closed: &BTreeSet<Route>) -> Option<Batch> {
        let route = Arc::clone(&self.lines.iter().find(|line| !closed.contains(&line.route))?.route);
        if self.encoding.route.is_empty() {
            let n = self.batch_size.min(self.lines.len());
            return Some(Batch { route, lines: self.lines.drain(..n).map(|line| line.text).collect() });
        }
        let mut lines = Vec::new();
        self.lines.retain_mut(|line| {
            let is_taken = lines.len() < self.batch_size && line.route == route;
            if is_taken {
                lines.push(std::mem::take(&mut line.text));
            }
            !is_taken
        });
        Some(Batch { route, lines })
    }

    /// Puts lines back in front, in their order.
    pub fn put_back(&mut self, batch: Batch) {
        for text in batch.lines.into_iter().rev() {
            self.lines.push_front(Line { text, route: Arc::clone(&batch.route) });
        }
        self.keep_to_limit();
    }

    fn keep_to_limit(&mut self) {
        let excess = self.lines.len().saturating_sub(self.limit);
        self.lines.drain(..excess);
        self.dropped += excess as u64;
    }

    /// Whether a whole batch waits, apart from what goes one of the ways in `closed`.
    #[must_use]
    pub fn has_batch(&self, closed: &BTreeSet<Route>) -> bool {
        let n_open = match closed.is_empty() {
            true => self.lines.len(),
            false => self.lines.iter().filter(|line| !closed.contains(&line.route)).count(),
        };
        n_open >= self.batch_size
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

    fn buffer(limit: usize, batch_size: usize) -> Buffer {
        Buffer::new(Encoding::default(), limit, batch_size)
    }

    fn points(range: std::ops::Range<i64>) -> impl Iterator<Item = Cow<'static, Point>> {
        range.map(|i| Cow::Owned(Point::new("m", Timestamp(i)).field("f", i)))
    }

    fn take(buffer: &mut Buffer) -> Batch {
        buffer
            .take_batch(&BTreeSet::new())
            .unwrap_or_else(|| Batch { route: Route::from([]), lines: Vec::new() })
    }

    fn times(batch: &Batch) -> Vec<i64> {
        let time = |line: &Bytes| {
            let text = String::from_utf8_lossy(line);
            text.trim().rsplit(' ').next().unwrap().parse().unwrap()
        };
        batch.lines.iter().map(time).collect()
    }

    #[test]
    fn hands_out_batches_in_order() {
        let mut buffer = buffer(10, 2);
        assert_eq!(buffer.extend(points(0..3)).lines, 3);
        assert!(buffer.has_batch(&BTreeSet::new()));
        assert_eq!(times(&take(&mut buffer)), [0, 1]);
        assert_eq!(times(&take(&mut buffer)), [2]);
        assert!(buffer.take_batch(&BTreeSet::new()).is_none());
        assert_eq!(buffer.dropped(), 0);
    }

    #[test]
    fn a_full_buffer_loses_the_oldest_and_counts_them() {
        let mut buffer = buffer(4, 2);
        buffer.extend(points(0..6));
        assert_eq!((buffer.len(), buffer.dropped()), (4, 2));
        let batch = take(&mut buffer);
        assert_eq!(times(&batch), [2, 3]);
        buffer.extend(points(6..8));
        buffer.put_back(batch);
        assert_eq!((buffer.len(), buffer.dropped()), (4, 4));
        assert_eq!(times(&take(&mut buffer)), [4, 5]);
        assert_eq!(times(&take(&mut buffer)), [6, 7]);
    }

    #[test]
    fn what_is_put_back_comes_out_first() {
        let mut buffer = buffer(10, 3);
        buffer.extend(points(0..5));
        let batch = take(&mut buffer);
        buffer.put_back(batch);
        assert_eq!(times(&take(&mut buffer)), [0, 1, 2]);
    }

    #[test]
    fn a_point_without_a_finite_field_is_no_line() {
        let mut buffer = buffer(10, 3);
        let nothing = Point::new("m", Timestamp(0)).field("f", f64::NAN);
        assert_eq!(buffer.extend([Cow::Owned(nothing)]), Added::default());
        assert!(buffer.is_empty());
    }

    #[test]
    fn each_batch_goes_one_way_and_closed_ways_wait() {
        let route =
            vec![RouteTag { key: "db".into(), exclude: true }, RouteTag { key: "rp".into(), exclude: false }];
        let mut buffer = Buffer::new(Encoding { route, ..Encoding::default() }, 100, 3);
        let dbs = [Some("a"), Some("b"), None, Some("a"), Some(""), Some("a"), Some("a")];
        buffer.extend(dbs.iter().zip(0..).map(|(db, i)| {
            let mut point = Point::new("m", Timestamp(i)).tag("rp", "p").field("f", i);
            if let Some(db) = db {
                point.set_tag("db", *db);
            }
            Cow::Owned(point)
        }));
        let way = |db: Option<&str>| Route::from([db.map(str::to_owned), Some("p".to_owned())]);
        let mut closed = BTreeSet::new();
        let first = buffer.take_batch(&closed).unwrap();
        assert_eq!((&first.route, times(&first)), (&way(Some("a")), vec![0, 3, 5]));
        assert_eq!(first.lines[0], "m,rp=p f=0i 0\n", "`db` is left out and `rp` is not");
        buffer.put_back(first);
        closed.insert(way(Some("a")));
        assert!(buffer.has_batch(&closed));
        let second = buffer.take_batch(&closed).unwrap();
        assert_eq!((&second.route, times(&second)), (&way(Some("b")), vec![1]));
        assert!(!buffer.has_batch(&closed), "two are left, and four that wait for the closed way");
        let third = buffer.take_batch(&closed).unwrap();
        assert_eq!((&third.route, times(&third)), (&way(None), vec![2, 4]));
        assert!(buffer.take_batch(&closed).is_none());
        assert_eq!(times(&take(&mut buffer)), [0, 3, 5], "in their order, once the way is open");
        assert_eq!(times(&take(&mut buffer)), [6]);
    }

    #[test]
    fn long_points_are_several_lines_and_too_long_ones_are_counted() {
        let format = Format { max_line_bytes: 13, ..Format::default() };
        let mut buffer = Buffer::new(Encoding { format, ..Encoding::default() }, 100, 10);
        let long = Point::new("m", Timestamp(7)).field("a", 1_i64).field("b", 22_222_i64);
        let too_long = Point::new("m", Timestamp(7)).field("a", "123456789");
        assert_eq!(
            buffer.extend([Cow::Borrowed(&long), Cow::Borrowed(&too_long)]),
            Added { lines: 2, too_long: 1 }
        );
        assert_eq!(take(&mut buffer).lines, ["m a=1i 7\n", "m b=22222i 7\n"].map(Bytes::from));
    }
}
