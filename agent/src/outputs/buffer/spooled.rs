//! A buffer with a spool, whose batches are written, or fail, by chance.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::*;
use crate::outputs::batch::RouteTag;
use crate::outputs::spooler::work;
use crate::point::Timestamp;
use crate::spool::log::{Limits, Log};
use crate::spool::tests::simulated::Simulated;

const LIMITS: Limits =
    Limits { bytes: 1 << 30, age: std::time::Duration::ZERO, segment_bytes: 5_000, sync: false };

/// A buffer, its spool, and what has become of its lines.
struct Model {
    buffer: Buffer,
    log: Log,
    next: i64,
    under_way: Vec<Batch>,
    blocked: Blocked,
    /// How often each line is handed out and was not put back, by its number.
    out: BTreeMap<u64, usize>,
    n_settled: u64,
    random: Rng,
}

impl Model {
    fn new(in_order: bool, limit: usize, seed: u64) -> Self {
        let route = vec![RouteTag { key: "db".into(), exclude: true }];
        let mut buffer =
            Buffer::new(Encoding { route, in_order, ..Encoding::default() }, limit, limit / 20 + 1);
        let log = Log::open(Box::new(Simulated::default()), LIMITS).unwrap();
        buffer.add_spool(log.pending());
        let (under_way, blocked, out) = (Vec::new(), Blocked::default(), BTreeMap::new());
        let random = Rng::with_seed(seed);
        Self { buffer, log, next: 0, under_way, blocked, out, n_settled: 0, random }
    }

    fn add(&mut self, n: usize) {
        let points = (self.next..).take(n).map(|i| {
            let db = ["a", "b", "c"][self.random.usize(..3)];
            Cow::Owned(Point::new("m", Timestamp(i)).tag("db", db).field("f", i))
        });
        let points: Vec<Cow<'_, Point>> = points.collect();
        self.next += n as i64;
        self.buffer.extend(points, &Receipts::from([]));
    }

    /// Some job, if there is one. Returns whether there was.
    fn disk(&mut self) -> bool {
        let Some(job) = self.buffer.job() else { return false };
        let outcome = work(&mut self.log, job);
        assert!(outcome.error().is_none());
        assert_eq!(self.buffer.apply(outcome), Lost::default());
        true
    }

    fn take(&mut self) -> bool {
        let Some(batch) = self.buffer.take_batch(&self.blocked) else { return false };
        for number in batch.lines.iter().filter_map(|line| line.number) {
            let n = self.out.entry(number).or_insert(0);
            *n += 1;
            assert_eq!(*n, 1, "{number} is handed out twice");
        }
        self.under_way.push(batch);
        true
    }

    /// A batch that is under way is written, or not: then its route is blocked.
    fn end_one(&mut self, fails: impl Fn(&Route) -> bool) {
        let batch = self.under_way.swap_remove(self.random.usize(..self.under_way.len()));
        if fails(&batch.route) {
            self.blocked.block_route(&batch.route);
            for number in batch.lines.iter().filter_map(|line| line.number) {
                self.out.remove(&number);
            }
            self.buffer.put_back(batch);
        } else {
            self.n_settled += batch.lines.len() as u64;
            self.buffer.settle(batch.lines.len(), batch.lines.iter().filter_map(|line| line.number));
        }
    }

    /// How many lines there were, without those that found no room before they were on the disk.
    fn kept(&self) -> u64 {
        self.next as u64 - self.buffer.dropped()
    }

    /// Each line that is not done is in one place.
    fn check(&self) {
        let backlog = self.buffer.backlog.as_ref().unwrap();
        let mut places = backlog.places(&self.buffer.lines);
        // What is on the disk is read past where it is done.
        places.retain(|number, _| !self.log.is_done(*number));
        assert!(places.values().all(|n| *n == 1), "{places:?}");
        let n = places.len() as u64 + self.n_settled + self.buffer.unkept() as u64;
        assert_eq!(n, self.kept(), "{places:?}");
    }

    fn step(&mut self, fails: impl Fn(&Route) -> bool) {
        match self.random.u8(..12) {
            0..2 => {
                let n = self.random.usize(1..8);
                self.add(n);
            }
            2..6 => drop(self.disk()),
            6..9 if self.under_way.len() < 4 => drop(self.take()),
            9..11 if !self.under_way.is_empty() => self.end_one(fails),
            // The next flush tries all again.
            _ if self.random.u8(..6) == 0 => self.blocked = Blocked::default(),
            _ => {}
        }
        self.check();
    }

    /// Writes all that there is.
    fn finish(&mut self) {
        self.blocked = Blocked::default();
        for _ in 0..100_000 {
            let has_more = self.disk() | self.take();
            if !self.under_way.is_empty() {
                self.end_one(|_| false);
            } else if !has_more {
                break;
            }
            self.check();
        }
        assert_eq!((self.n_settled, self.log.len()), (self.kept(), 0), "all is written");
        assert_eq!(self.log.pending().start, self.kept());
    }
}

#[test]
fn whatever_fails_each_line_is_in_one_place_and_is_written_once() {
    for seed in 0..60 {
        for in_order in [false, true] {
            let mut model = Model::new(in_order, [20, 60, 200][seed as usize % 3], seed);
            for i in 0..1_500 {
                // Two of three routes fail now and then.
                model.step(|route| i / 300 % 2 == 0 && route[0].as_deref() != Some("b"));
            }
            model.finish();
        }
    }
}
