//! An output's buffer: encoded lines in the order they were made, up to a limit, handed out in batches.
//!
//! Pure. Points are encoded once, when they are added: what is sent a second time is the same to the byte, so that the server
//! takes it for the same point. The limit holds at every moment, with the batch that is being written: when the buffer is full, a
//! new line pushes the oldest one out that is not, and that is counted.

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::line_protocol::{EncodeError, Format};
use crate::point::Point;

/// Where a line goes within an output: the values of the tags that its [`Encoding`] names, such as a database. `None` for a
/// tag that the point does not have; empty for an output without routing tags.
pub(super) type Route = Arc<[Option<String>]>;

/// A tag that says where a point goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteTag {
    /// Its key; no point has a tag with an empty key.
    pub key: String,
    /// The tag is left out of the line.
    pub exclude: bool,
}

/// How an output's lines are encoded and routed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// The format of the lines.
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

/// Lines of one route.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    /// The route.
    pub(super) route: Route,
    /// The lines, each with its newline, oldest first.
    pub(super) lines: Vec<Bytes>,
}

impl Batch {
    /// The earliest and the latest time of its lines; `None` where one has no time of its own.
    pub(super) fn times(&self) -> Option<(i64, i64)> {
        let mut times = (i64::MAX, i64::MIN);
        for line in &self.lines {
            let line = line.strip_suffix(b"\n")?;
            let time = line.get(memchr::memrchr(b' ', line)? + 1..)?;
            let time: i64 = std::str::from_utf8(time).ok()?.parse().ok()?;
            times = (times.0.min(time), times.1.max(time));
        }
        Some(times)
    }
}

#[derive(Debug)]
struct Line {
    text: Bytes,
    route: Route,
}

/// A line's measurement, as it is escaped.
pub(super) fn measurement(line: &Bytes) -> Bytes {
    let mut is_escaped = false;
    let end = line.iter().position(|byte| {
        let ends = matches!(byte, b',' | b' ') && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        ends
    });
    line.slice(..end.unwrap_or(line.len()))
}

/// What is not written now, because it failed; lines that it has wait, and hold no others up.
#[derive(Debug, Default)]
pub(super) struct Blocked {
    routes: BTreeSet<Route>,
    measurements: BTreeSet<(Route, Bytes)>,
}

impl Blocked {
    /// All lines of a route.
    pub(super) fn block_route(&mut self, route: &Route) {
        self.routes.insert(Arc::clone(route));
    }

    /// All lines of a route that have a measurement that one of `lines` has.
    pub(super) fn block_measurements(&mut self, route: &Route, lines: &[Bytes]) {
        self.measurements.extend(lines.iter().map(|line| (Arc::clone(route), measurement(line))));
    }

    /// Takes back what is blocked of a route's measurements. Returns whether there was anything.
    pub(super) fn open(&mut self, route: &Route) -> bool {
        let before = self.measurements.len();
        self.measurements.retain(|(of, _)| of != route);
        self.measurements.len() < before
    }

    /// Whether nothing is.
    pub(super) fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.measurements.is_empty()
    }

    fn has(&self, line: &Line) -> bool {
        self.has_text(&line.route, &line.text)
    }

    /// Whether it has a line of a batch.
    pub(super) fn has_any(&self, batch: &Batch) -> bool {
        batch.lines.iter().any(|line| self.has_text(&batch.route, line))
    }

    fn has_text(&self, route: &Route, text: &Bytes) -> bool {
        self.routes.contains(route)
            || (!self.measurements.is_empty()
                && self.measurements.contains(&(Arc::clone(route), measurement(text))))
    }
}

/// What became of points that were added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Added {
    /// Lines added to the buffer.
    pub(super) lines: usize,
    /// Their length.
    pub(super) bytes: usize,
    /// Points with a field that does not fit into a line; they are dropped.
    pub(super) too_long: usize,
}

/// Encoded points that are queued for their output.
#[derive(Debug)]
pub(super) struct Buffer {
    encoding: Encoding,
    lines: VecDeque<Line>,
    limit: usize,
    batch_size: usize,
    /// Lines of the batches that were handed out.
    in_flight: usize,
    dropped: u64,
}

impl Buffer {
    /// Holds up to `limit` lines, and hands out `batch_size` at a time.
    pub(super) fn new(encoding: Encoding, limit: usize, batch_size: usize) -> Self {
        Self { encoding, lines: VecDeque::new(), limit, batch_size, in_flight: 0, dropped: 0 }
    }

    /// How points are encoded now.
    pub(super) fn encoding(&self) -> &Encoding {
        &self.encoding
    }

    /// Changes the encoding of later points, with the same routing tags as before; queued lines stay as they are.
    pub(super) fn reencode(&mut self, encoding: Encoding) {
        self.encoding = encoding;
    }

    /// Changes the limit and the batch size; lines above the limit are dropped, oldest first.
    pub(super) fn resize(&mut self, limit: usize, batch_size: usize) {
        (self.limit, self.batch_size) = (limit, batch_size);
        self.keep_to_limit();
    }

    /// Encodes points and adds them. Points without a field that line protocol can express are left out.
    pub(super) fn extend<'a>(&mut self, points: impl IntoIterator<Item = Cow<'a, Point>>) -> Added {
        let (mut text, mut ends) = (Vec::new(), Vec::new());
        // The route of each line, and the distinct routes.
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
        // One allocation for all lines; it is freed with the last of them.
        let text = Bytes::from(text);
        let mut start = 0;
        for (end, route) in ends.iter().zip(routes) {
            self.lines.push_back(Line { text: text.slice(start..*end), route });
            start = *end;
        }
        self.keep_to_limit();
        Added { lines: ends.len(), bytes: start, ..added }
    }

    /// Hands out the oldest lines that are not blocked: at most a batch, of one route. `None` when there are none. They
    /// count until they are settled or put back.
    pub(super) fn take_batch(&mut self, blocked: &Blocked) -> Option<Batch> {
        let route = Arc::clone(&self.lines.iter().find(|line| !blocked.has(line))?.route);
        let lines: Vec<Bytes> = if self.encoding.route.is_empty() && blocked.is_empty() {
            let n = self.batch_size.min(self.lines.len());
            self.lines.drain(..n).map(|line| line.text).collect()
        } else {
            let mut lines = Vec::new();
            self.lines.retain_mut(|line| {
                let is_taken = lines.len() < self.batch_size && line.route == route && !blocked.has(line);
                if is_taken {
                    lines.push(std::mem::take(&mut line.text));
                }
                !is_taken
            });
            lines
        };
        self.in_flight += lines.len();
        Some(Batch { route, lines })
    }

    /// So many lines that were handed out are done with.
    pub(super) fn settle(&mut self, n: usize) {
        self.in_flight -= n;
    }

    /// Puts lines that were handed out back at the front, in order.
    pub(super) fn put_back(&mut self, batch: Batch) {
        self.in_flight -= batch.lines.len();
        for text in batch.lines.into_iter().rev() {
            self.lines.push_front(Line { text, route: Arc::clone(&batch.route) });
        }
        self.keep_to_limit();
    }

    fn keep_to_limit(&mut self) {
        let excess = self.held().saturating_sub(self.limit).min(self.lines.len());
        self.lines.drain(..excess);
        self.dropped += excess as u64;
    }

    /// Whether a whole batch is queued, without counting what is blocked.
    pub(super) fn has_batch(&self, blocked: &Blocked) -> bool {
        let n_open = match blocked.is_empty() {
            true => self.lines.len(),
            false => self.lines.iter().filter(|line| !blocked.has(line)).count(),
        };
        n_open >= self.batch_size
    }

    /// How many lines there are, with those that were handed out.
    pub(super) fn held(&self) -> usize {
        self.lines.len() + self.in_flight
    }

    /// How many lines are queued.
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// How many lines were pushed out so far.
    pub(super) fn dropped(&self) -> u64 {
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
            .take_batch(&Blocked::default())
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
        assert!(buffer.has_batch(&Blocked::default()));
        assert_eq!(times(&take(&mut buffer)), [0, 1]);
        assert_eq!(times(&take(&mut buffer)), [2]);
        assert!(buffer.take_batch(&Blocked::default()).is_none());
        assert_eq!(buffer.dropped(), 0);
    }

    #[test]
    fn a_full_buffer_drops_the_oldest_and_counts_them() {
        let mut buffer = buffer(4, 2);
        buffer.extend(points(0..6));
        assert_eq!((buffer.len(), buffer.dropped()), (4, 2));
        // A batch that is being written counts, and cannot be taken out of the middle of that.
        let batch = take(&mut buffer);
        assert_eq!(times(&batch), [2, 3]);
        buffer.extend(points(6..8));
        assert_eq!((buffer.held(), buffer.dropped()), (4, 4));
        buffer.put_back(batch);
        assert_eq!((buffer.held(), buffer.dropped()), (4, 4));
        assert_eq!(times(&take(&mut buffer)), [2, 3]);
        buffer.settle(2);
        assert_eq!(times(&take(&mut buffer)), [6, 7]);
        buffer.extend(points(8..18));
        assert_eq!((buffer.held(), buffer.len(), buffer.dropped()), (4, 2, 12));
        // Fewer than are being written.
        buffer.resize(1, 2);
        buffer.extend(points(18..20));
        assert_eq!((buffer.held(), buffer.len()), (2, 0));
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
    fn a_point_without_a_finite_field_makes_no_line() {
        let mut buffer = buffer(10, 3);
        let nothing = Point::new("m", Timestamp(0)).field("f", f64::NAN);
        assert_eq!(buffer.extend([Cow::Owned(nothing)]), Added::default());
        assert_eq!(buffer.len(), 0);
    }

    #[test]
    fn each_batch_has_one_route_and_blocked_routes_wait() {
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
        let route = |db: Option<&str>| Route::from([db.map(str::to_owned), Some("p".to_owned())]);
        let mut blocked = Blocked::default();
        let first = buffer.take_batch(&blocked).unwrap();
        assert_eq!((&first.route, times(&first)), (&route(Some("a")), vec![0, 3, 5]));
        assert_eq!(first.lines[0], "m,rp=p f=0i 0\n", "`db` is left out and `rp` is not");
        buffer.put_back(first);
        blocked.block_route(&route(Some("a")));
        assert!(buffer.has_batch(&blocked));
        let second = buffer.take_batch(&blocked).unwrap();
        assert_eq!((&second.route, times(&second)), (&route(Some("b")), vec![1]));
        assert!(!buffer.has_batch(&blocked), "two are left, and four of the blocked route");
        let third = buffer.take_batch(&blocked).unwrap();
        assert_eq!((&third.route, times(&third)), (&route(None), vec![2, 4]));
        assert!(buffer.take_batch(&blocked).is_none());
        assert_eq!(times(&take(&mut buffer)), [0, 3, 5], "in their order, once the route is not blocked");
        assert_eq!(times(&take(&mut buffer)), [6]);
    }

    #[rstest::rstest]
    #[case("m f=1i 1\n", "m")]
    #[case("m,t=a f=1i 1\n", "m")]
    #[case("a\\ b\\,c,t=a f=1i\n", "a\\ b\\,c")]
    #[case("a\\\\ f=1i\n", "a\\\\")]
    fn a_line_begins_with_its_measurement(#[case] line: &'static str, #[case] expected: &str) {
        assert_eq!(measurement(&Bytes::from(line)), expected);
    }

    #[test]
    fn a_blocked_measurement_waits_and_the_others_do_not() {
        let mut buffer = buffer(100, 3);
        buffer.extend((0..8).map(|i| {
            let name = if i % 2 == 0 { "bad" } else { "good" };
            Cow::Owned(Point::new(name, Timestamp(i)).field("f", i))
        }));
        let (mut blocked, route) = (Blocked::default(), Route::from([]));
        blocked.block_measurements(&route, &[Bytes::from("bad,t=x f=1i 1\n")]);
        assert!(!blocked.is_empty() && buffer.has_batch(&blocked));
        assert_eq!(times(&buffer.take_batch(&blocked).unwrap()), [1, 3, 5]);
        buffer.settle(3);
        assert!(!buffer.has_batch(&blocked), "one is left that is not blocked");
        assert!(blocked.open(&route) && blocked.is_empty() && !blocked.open(&route));
        assert_eq!(times(&take(&mut buffer)), [0, 2, 4]);
    }

    #[test]
    fn long_points_are_several_lines_and_too_long_ones_are_counted() {
        let format = Format { max_line_bytes: 13, ..Format::default() };
        let mut buffer = Buffer::new(Encoding { format, ..Encoding::default() }, 100, 10);
        let long = Point::new("m", Timestamp(7)).field("a", 1_i64).field("b", 22_222_i64);
        let too_long = Point::new("m", Timestamp(7)).field("a", "123456789");
        assert_eq!(
            buffer.extend([Cow::Borrowed(&long), Cow::Borrowed(&too_long)]),
            Added { lines: 2, bytes: "m a=1i 7\nm b=22222i 7\n".len(), too_long: 1 }
        );
        assert_eq!(take(&mut buffer).lines, ["m a=1i 7\n", "m b=22222i 7\n"].map(Bytes::from));
    }
}
