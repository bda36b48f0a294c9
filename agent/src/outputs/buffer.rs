//! An output's buffer: encoded lines in the order they were made, up to a limit, handed out in batches.
//!
//! Pure. Points are encoded once, when they are added: what is sent a second time is the same to the byte, so that the server
//! takes it for the same point. The limit holds at every moment, with the batch that is being written: when the buffer is full, a
//! new line pushes the oldest one out that is not, and that is counted. So it is with the memory that lines take, where they are
//! long. With a spool, what is full is memory, and lines wait on the disk.

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::backlog::{Backlog, Lost};
use super::batch::{Batch, Blocked, Encoding, Line, Queued, Route, take_from};
use super::delivery::Rejected;
use super::memory::{self, Memory};
use super::spooler::{Job, Outcome, Wanted};
use crate::line_protocol::EncodeError;
use crate::point::Point;
use crate::service::receipt::Receipts;

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
    /// The next ones to be written to the other side.
    lines: VecDeque<Queued>,
    limit: usize,
    memory: Memory,
    batch_size: usize,
    /// Lines of the batches that were handed out.
    in_flight: usize,
    dropped: u64,
    /// The rest of them, where there is a spool.
    backlog: Option<Backlog>,
    /// Batches that were handed out.
    n_batches: u64,
}

/// With a spool, every so many batches are of the newest lines, so that they do not wait for all that is old.
const NEWEST_EVERY: u64 = 4;
/// So many routes and measurements can be read past, as a part of the limit: some of each stay in memory.
const PASSED: usize = 16;

impl Buffer {
    /// Holds up to `limit` lines, and hands out `batch_size` at a time.
    pub(super) fn new(encoding: Encoding, limit: usize, batch_size: usize) -> Self {
        Self {
            encoding,
            lines: VecDeque::new(),
            limit,
            memory: Memory::default(),
            batch_size,
            in_flight: 0,
            dropped: 0,
            backlog: None,
            n_batches: 0,
        }
    }

    /// From now on it is lines in memory that are limited, and all are in a spool, which has `pending` ones of earlier runs.
    pub(super) fn add_spool(&mut self, pending: Range<u64>) {
        self.backlog = Some(Backlog::new(pending, self.encoding.in_order));
    }

    /// The spool, which could not be opened before, has `pending` lines of earlier runs.
    pub(super) fn open_spool(&mut self, pending: Range<u64>) {
        if let Some(backlog) = &mut self.backlog {
            backlog.opened(pending);
        }
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

    /// Encodes points and adds them. Points without a field that line protocol can express are left out. `receipts` are over
    /// when all are on the disk, or at once where there is none.
    pub(super) fn extend<'a>(
        &mut self,
        points: impl IntoIterator<Item = Cow<'a, Point>>,
        receipts: &Receipts,
    ) -> Added {
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
        let text = self.memory.hold(text);
        let mut start = 0;
        for (end, route) in ends.iter().zip(routes) {
            let line = Queued { line: Line { text: text.slice(start..*end), number: None }, route };
            match &mut self.backlog {
                Some(backlog) => backlog.push(line, Arc::clone(receipts)),
                None => self.lines.push_back(line),
            }
            start = *end;
        }
        self.keep_to_limit();
        Added { lines: ends.len(), bytes: start, ..added }
    }

    /// Hands out the oldest lines that are not blocked: at most a batch, of one route. `None` when there are none. They
    /// count until they are settled or put back.
    pub(super) fn take_batch(&mut self, blocked: &Blocked) -> Option<Batch> {
        self.n_batches += 1;
        let wants_newest = self.n_batches.is_multiple_of(NEWEST_EVERY);
        let (size, routes) = (self.batch_size, self.encoding.has_routes());
        let take = |lines: &mut VecDeque<Queued>| take_from(lines, blocked, size, routes);
        let batch = match &mut self.backlog {
            None => take(&mut self.lines),
            Some(backlog) => {
                let newest_first = wants_newest && !self.encoding.in_order;
                let first = newest_first.then(|| backlog.take_newest(blocked, size, routes)).flatten();
                let batch = first.or_else(|| take(&mut self.lines));
                let batch = batch.or_else(|| backlog.take_newest(blocked, size, routes));
                batch.or_else(|| backlog.take_fresh(blocked, size))
            }
        }?;
        self.in_flight += batch.lines.len();
        if let Some(backlog) = &mut self.backlog {
            backlog.handed_out(&batch.lines);
        }
        Some(batch)
    }

    /// So many lines that were handed out are done with, with these numbers in the spool.
    pub(super) fn settle(&mut self, n: usize, numbers: impl IntoIterator<Item = u64>) {
        self.in_flight -= n;
        if let Some(backlog) = &mut self.backlog {
            backlog.settle(numbers);
            let (ready, _) = shares(self.limit, &self.memory);
            backlog.advance(&mut self.lines, ready);
        }
    }

    /// Puts lines that were handed out back at the front, in order.
    pub(super) fn put_back(&mut self, batch: Batch) {
        self.in_flight -= batch.lines.len();
        let lines = batch.lines.into_iter().map(|line| Queued { line, route: Arc::clone(&batch.route) });
        match &mut self.backlog {
            Some(backlog) => backlog.put_back(lines, &mut self.lines),
            None => lines.rev().for_each(|line| self.lines.push_front(line)),
        }
        self.keep_to_limit();
    }

    fn keep_to_limit(&mut self) {
        self.shed(self.held().saturating_sub(self.limit));
        // Lines that came together share their memory, until the last of them goes.
        while self.memory.bytes() > memory::most(self.limit)
            && (self.backlog.as_mut().is_some_and(Backlog::unload) || self.shed(1) > 0)
        {}
    }

    /// Drops up to `n` lines, the oldest first; returns how many.
    fn shed(&mut self, n: usize) -> usize {
        let dropped = match &mut self.backlog {
            // What is on the disk is not lost with what is in memory.
            Some(backlog) => backlog.shed(n),
            None => self.lines.drain(..n.min(self.lines.len())).len(),
        };
        self.dropped += dropped as u64;
        dropped
    }

    /// Where lines that are blocked take the room for those that are read, they go back to the disk, and are read past.
    pub(super) fn pass(&mut self, blocked: &Blocked) {
        let (ready, _) = shares(self.limit, &self.memory);
        // Where all go one way, there is nothing behind them that can be written.
        let is_all = !self.encoding.has_routes() && blocked.has_routes();
        if let Some(backlog) = &mut self.backlog
            && !is_all
            && self.lines.len() + self.in_flight > ready / 2
        {
            backlog.pass(&mut self.lines, blocked, ready, self.limit / PASSED);
        }
    }

    /// What is to be done on the disk now.
    pub(super) fn job(&mut self) -> Option<Job> {
        let (ready, _) = shares(self.limit, &self.memory);
        let in_memory = self.lines.len() + self.in_flight;
        // Half of it at a time, so that reading is not for single lines.
        let room = if in_memory <= ready / 2 { ready - in_memory } else { 0 };
        let bytes = (memory::most(self.limit) / 2).saturating_sub(self.memory.bytes());
        let wanted = Wanted { lines: room as u64, bytes: bytes as u64, memory: self.memory.clone() };
        self.backlog.as_mut()?.job(wanted)
    }

    /// What became of a job; returns how many lines are lost.
    pub(super) fn apply(&mut self, outcome: Outcome) -> Lost {
        let (ready, newest) = shares(self.limit, &self.memory);
        let Some(backlog) = &mut self.backlog else { return Lost::default() };
        let lost = backlog.apply(outcome, &mut self.lines, ready, newest);
        self.keep_to_limit();
        lost
    }

    /// The disk hangs.
    pub(super) fn disk_hangs(&mut self) {
        if let Some(backlog) = &mut self.backlog {
            backlog.hangs();
        }
    }

    /// The part of it that is on the disk, if there is a spool.
    pub(super) fn backlog(&self) -> Option<&Backlog> {
        self.backlog.as_ref()
    }

    /// Whether a whole batch is queued, without counting what is blocked.
    pub(super) fn has_batch(&self, blocked: &Blocked) -> bool {
        if blocked.is_empty() {
            return self.len() >= self.batch_size;
        }
        let all = self.lines.iter().chain(self.backlog.iter().flat_map(Backlog::open));
        all.filter(|line| !blocked.has(line)).take(self.batch_size).count() >= self.batch_size
    }

    /// How many lines there are in memory, with those that were handed out.
    pub(super) fn held(&self) -> usize {
        self.lines.len() + self.in_flight + self.backlog.as_ref().map_or(0, Backlog::in_memory)
    }

    /// The memory that lines take, in lines for which there is room in it.
    pub(super) fn taken(&self) -> usize {
        self.memory.bytes() / (memory::most(self.limit) / self.limit).max(1)
    }

    /// How many lines can be handed out.
    pub(super) fn len(&self) -> usize {
        self.lines.len() + self.backlog.as_ref().map_or(0, Backlog::n_open)
    }

    /// How many lines would be lost if this ended now.
    pub(super) fn unkept(&self) -> usize {
        match &self.backlog {
            Some(backlog) => backlog.unkept(),
            None => self.lines.len(),
        }
    }

    /// How many lines are lost when this is dropped.
    pub(super) fn left_over(&self) -> usize {
        match &self.backlog {
            // Some may have had to go from the disk while they were in flight.
            Some(backlog) => backlog.unkept() + self.lines.iter().filter(|line| !backlog.keeps(line)).count(),
            None => self.lines.len(),
        }
    }

    /// Lines that the other side will never take are set aside on the disk, where there is a spool.
    pub(super) fn set_aside(&mut self, rejected: Vec<Rejected>) {
        if let Some(backlog) = &mut self.backlog {
            backlog.set_aside(rejected);
        }
    }

    /// How many lines were pushed out so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// How many lines of the limit are for those that are ready or in flight, and for the newest, where there is a spool. The rest
/// is for what is on its way to the disk. So it is with memory: where half of it is taken, no more lines than one are to be ready.
fn shares(limit: usize, memory: &Memory) -> (usize, usize) {
    let is_long = memory.bytes() > memory::most(limit) / 2;
    if is_long { (1, 0) } else { ((limit / 2).max(1), limit / 4) }
}

#[cfg(test)]
mod spooled;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::line_protocol::Format;
    use crate::outputs::batch::RouteTag;
    use crate::point::Timestamp;

    fn buffer(limit: usize, batch_size: usize) -> Buffer {
        Buffer::new(Encoding::default(), limit, batch_size)
    }

    fn add<'a>(buffer: &mut Buffer, points: impl IntoIterator<Item = Cow<'a, Point>>) -> Added {
        buffer.extend(points, &Receipts::from([]))
    }

    fn line(text: &'static str) -> Line {
        Line { text: Bytes::from(text), number: None }
    }

    fn points(range: Range<i64>) -> impl Iterator<Item = Cow<'static, Point>> {
        range.map(|i| Cow::Owned(Point::new("m", Timestamp(i)).field("f", i)))
    }

    fn take(buffer: &mut Buffer) -> Batch {
        buffer
            .take_batch(&Blocked::default())
            .unwrap_or_else(|| Batch { route: Route::from([]), lines: Vec::new() })
    }

    fn times(batch: &Batch) -> Vec<i64> {
        let time = |line: &Line| {
            let text = String::from_utf8_lossy(&line.text);
            text.trim().rsplit(' ').next().unwrap().parse().unwrap()
        };
        batch.lines.iter().map(time).collect()
    }

    #[test]
    fn hands_out_batches_in_order() {
        let mut buffer = buffer(10, 2);
        assert_eq!(add(&mut buffer, points(0..3)).lines, 3);
        assert!(buffer.has_batch(&Blocked::default()));
        assert_eq!(times(&take(&mut buffer)), [0, 1]);
        assert_eq!(times(&take(&mut buffer)), [2]);
        assert!(buffer.take_batch(&Blocked::default()).is_none());
        assert_eq!(buffer.dropped(), 0);
    }

    #[test]
    fn a_full_buffer_drops_the_oldest_and_counts_them() {
        let mut buffer = buffer(4, 2);
        add(&mut buffer, points(0..6));
        assert_eq!((buffer.len(), buffer.dropped()), (4, 2));
        // A batch that is being written counts, and cannot be taken out of the middle of that.
        let batch = take(&mut buffer);
        assert_eq!(times(&batch), [2, 3]);
        add(&mut buffer, points(6..8));
        assert_eq!((buffer.held(), buffer.dropped()), (4, 4));
        buffer.put_back(batch);
        assert_eq!((buffer.held(), buffer.dropped()), (4, 4));
        assert_eq!(times(&take(&mut buffer)), [2, 3]);
        buffer.settle(2, []);
        assert_eq!(times(&take(&mut buffer)), [6, 7]);
        add(&mut buffer, points(8..18));
        assert_eq!((buffer.held(), buffer.len(), buffer.dropped()), (4, 2, 12));
        // Fewer than are being written.
        buffer.resize(1, 2);
        add(&mut buffer, points(18..20));
        assert_eq!((buffer.held(), buffer.len()), (2, 0));
    }

    #[test]
    fn long_points_are_limited_by_the_memory_that_they_take() {
        let mut buffer = buffer(8 << 10, 2);
        let long = |i: i64| Cow::Owned(Point::new("m", Timestamp(i)).field("f", "x".repeat(60 << 10)));
        for i in 0..1_000 {
            add(&mut buffer, [long(i)]);
            assert!(buffer.memory.bytes() <= 8 << 20);
        }
        let n = buffer.len();
        assert!((60..140).contains(&n) && buffer.dropped() == 1_000 - n as u64, "{n}");
        assert!((3 << 10..=8 << 10).contains(&buffer.taken()), "{}", buffer.taken());
        assert_eq!(times(&take(&mut buffer))[0], 1_000 - n as i64, "the oldest went");
        // However long, one point has room.
        let mut buffer = Buffer::new(Encoding::default(), 1, 1);
        add(&mut buffer, [long(0)]);
        assert_eq!((buffer.len(), buffer.dropped()), (1, 0));
    }

    #[test]
    fn what_is_put_back_comes_out_first() {
        let mut buffer = buffer(10, 3);
        add(&mut buffer, points(0..5));
        let batch = take(&mut buffer);
        buffer.put_back(batch);
        assert_eq!(times(&take(&mut buffer)), [0, 1, 2]);
    }

    #[test]
    fn where_the_order_counts_the_newest_wait_for_what_is_on_the_disk() {
        let outcome = |appended: Option<u64>, read: &[i64]| {
            let line = |n: &i64| Queued {
                line: Line { text: format!("m f={n}i {n}\n").into(), number: Some(*n as u64) },
                route: Route::from([]),
            };
            let read = (!read.is_empty()).then(|| Ok((read.iter().map(line).collect(), 4)));
            let (lost, failed) = (Vec::new(), None);
            let (appended, done_until, pending) = (appended.map(Ok), 0, 6);
            Outcome { appended, read, lost, failed, done_until, pending, n_ranges: 0, bytes: 0 }
        };
        for in_order in [false, true] {
            let mut buffer = Buffer::new(Encoding { in_order, ..Encoding::default() }, 100, 2);
            buffer.add_spool(0..4);
            add(&mut buffer, points(4..6));
            let job = buffer.job().unwrap();
            assert_eq!((job.append.len(), job.read.is_some()), (2, true));
            buffer.apply(outcome(Some(4), &[]));
            let waits = (buffer.len(), buffer.has_batch(&Blocked::default()), times(&take(&mut buffer)));
            assert_eq!(waits, if in_order { (0, false, vec![]) } else { (2, true, vec![4, 5]) });
            assert!(buffer.job().is_some_and(|job| job.read.is_some()));
            buffer.apply(outcome(None, &[0, 1, 2, 3]));
            assert_eq!((times(&take(&mut buffer)), times(&take(&mut buffer))), (vec![0, 1], vec![2, 3]));
            assert_eq!(times(&take(&mut buffer)), if in_order { vec![4, 5] } else { vec![] });
        }
    }

    #[test]
    fn a_point_without_a_finite_field_makes_no_line() {
        let mut buffer = buffer(10, 3);
        let nothing = Point::new("m", Timestamp(0)).field("f", f64::NAN);
        assert_eq!(add(&mut buffer, [Cow::Owned(nothing)]), Added::default());
        assert_eq!(buffer.len(), 0);
    }

    #[test]
    fn each_batch_has_one_route_and_blocked_routes_wait() {
        let route =
            vec![RouteTag { key: "db".into(), exclude: true }, RouteTag { key: "rp".into(), exclude: false }];
        let mut buffer = Buffer::new(Encoding { route, ..Encoding::default() }, 100, 3);
        let dbs = [Some("a"), Some("b"), None, Some("a"), Some(""), Some("a"), Some("a")];
        add(
            &mut buffer,
            dbs.iter().zip(0..).map(|(db, i)| {
                let mut point = Point::new("m", Timestamp(i)).tag("rp", "p").field("f", i);
                if let Some(db) = db {
                    point.set_tag("db", *db);
                }
                Cow::Owned(point)
            }),
        );
        let route = |db: Option<&str>| Route::from([db.map(str::to_owned), Some("p".to_owned())]);
        let mut blocked = Blocked::default();
        let first = buffer.take_batch(&blocked).unwrap();
        assert_eq!((&first.route, times(&first)), (&route(Some("a")), vec![0, 3, 5]));
        assert_eq!(first.lines[0].text, "m,rp=p f=0i 0\n", "`db` is left out and `rp` is not");
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

    #[test]
    fn a_blocked_measurement_waits_and_the_others_do_not() {
        let mut buffer = buffer(100, 3);
        add(
            &mut buffer,
            (0..8).map(|i| {
                let name = if i % 2 == 0 { "bad" } else { "good" };
                Cow::Owned(Point::new(name, Timestamp(i)).field("f", i))
            }),
        );
        let (mut blocked, route) = (Blocked::default(), Route::from([]));
        blocked.block_measurements(&route, &[line("bad,t=x f=1i 1\n")]);
        assert!(!blocked.is_empty() && buffer.has_batch(&blocked));
        assert_eq!(times(&buffer.take_batch(&blocked).unwrap()), [1, 3, 5]);
        buffer.settle(3, []);
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
            add(&mut buffer, [Cow::Borrowed(&long), Cow::Borrowed(&too_long)]),
            Added { lines: 2, bytes: "m a=1i 7\nm b=22222i 7\n".len(), too_long: 1 }
        );
        assert_eq!(take(&mut buffer).lines, ["m a=1i 7\n", "m b=22222i 7\n"].map(line));
    }
}
