mod routes;
mod spooled;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::*;
use crate::line_protocol::Format;
use crate::outputs::batch::{Encoding, RouteTag};
use crate::outputs::{Answer, Blame};
use crate::point::Timestamp;

/// A test server: what it does with lines, and what it received.
#[derive(Default)]
struct Server {
    /// Rejects every batch that has one of these lines, by number.
    poison: BTreeSet<i64>,
    /// It stores the others instead, and says how many it dropped.
    drops: bool,
    /// What its answer says of them.
    blame: Blame,
    /// Rejects every batch that has a line of this measurement.
    minds: Option<&'static str>,
    /// How long a connection and a write take.
    takes: Duration,
    /// Answers `Retry` this many times first.
    down_for: usize,
    /// Does so with each request by chance, of one in so many.
    stumbles: Option<(fastrand::Rng, usize)>,
    /// Writes under way, and the most that there were.
    under_way: usize,
    most: usize,
    /// Routes that are missing.
    missing: BTreeSet<String>,
    stored: BTreeMap<i64, usize>,
    /// Lines are encoded without a timestamp.
    omits_time: bool,
    /// How many of those it received.
    without_time: usize,
    requests: Vec<usize>,
    times: Vec<Instant>,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Server>>);

impl Shared {
    fn with<T>(&self, f: impl FnOnce(&mut Server) -> T) -> T {
        f(&mut self.0.lock().unwrap())
    }
}

fn number(line: &Bytes) -> i64 {
    let line = String::from_utf8_lossy(line);
    line.split_once("f=").unwrap().1.split('i').next().unwrap().parse().unwrap()
}

#[async_trait::async_trait]
impl Output for Shared {
    fn place(&self) -> String {
        "here".into()
    }

    fn encoding(&self) -> Encoding {
        let omit_timestamp = self.with(|server| server.omits_time);
        let format = Format { max_line_bytes: 40, omit_timestamp, ..Format::default() };
        Encoding { format, route: vec![RouteTag { key: "db".into(), exclude: true }], ..Encoding::default() }
    }

    async fn connect(&self) {
        tokio::time::sleep(self.with(|server| server.takes)).await;
    }

    fn max_in_flight(&self) -> usize {
        2
    }

    async fn write(&self, route: &[Option<String>], lines: &[Bytes]) -> Answer {
        let takes = self.with(|server| {
            server.under_way += 1;
            server.most = server.most.max(server.under_way);
            let by_chance = server.stumbles.as_mut().map_or(0, |(random, _)| random.u64(..5));
            Duration::from_millis(1 + by_chance) + server.takes
        });
        tokio::time::sleep(takes).await;
        self.with(|server| {
            server.under_way -= 1;
            server.requests.push(lines.len());
            server.times.push(Instant::now());
            if server.down_for > 0 {
                server.down_for -= 1;
                return Answer::retry("down");
            }
            if server.stumbles.as_mut().is_some_and(|(random, n)| random.usize(..*n) == 0) {
                return Answer::retry("stumbled");
            }
            if route[0].as_ref().is_some_and(|route| server.missing.contains(route)) {
                return Answer::Retry { reason: "missing".into(), after: None, route_only: true };
            }
            let is_minded = |line: &Bytes| server.minds.is_some_and(|name| line.starts_with(name.as_bytes()));
            if let Some(n) = lines.iter().position(is_minded) {
                let bad = (n..lines.len()).filter(|n| is_minded(&lines[*n]));
                let bad = bad.map(|n| (n, "minded".to_owned())).collect();
                let blame =
                    if let Blame::Lines(_) = server.blame { Blame::Lines(bad) } else { server.blame.clone() };
                return Answer::Rejected { reason: "minded".into(), blame };
            }
            let n_poison = lines.iter().filter(|line| server.poison.contains(&number(line))).count();
            if server.drops && n_poison > 0 {
                let good = lines.iter().map(number).filter(|n| !server.poison.contains(n));
                let good: Vec<i64> = good.collect();
                server.stored.extend(good.into_iter().map(|n| (n, 1)));
                return Answer::Stored { dropped: n_poison as u64, reason: "conflict".into() };
            }
            if n_poison > 0 {
                return Answer::Rejected { reason: "poison".into(), blame: server.blame.clone() };
            }
            for line in lines {
                server.without_time += usize::from(line.iter().filter(|byte| **byte == b' ').count() == 1);
                *server.stored.entry(number(line)).or_insert(0) += 1;
            }
            Answer::STORED
        })
    }
}

fn points(range: std::ops::Range<i64>) -> Message {
    let points = range.map(|i| Point::new("m", Timestamp(i)).field("f", i));
    Message::Points(Arc::new(points.collect()))
}

fn sender(server: &Shared, batch: usize, limit: usize) -> (Sender, Arc<OutputCounts>) {
    let common = OutputCommon {
        metric_batch_size: batch,
        metric_buffer_limit: limit,
        flush_interval: Duration::from_secs(10),
        ..OutputCommon::default()
    };
    let counts = Arc::new(OutputCounts::default());
    (Sender::new(Box::new(server.clone()), common, Arc::clone(&counts)), counts)
}

async fn deliver_all(server: &Shared, n: i64, batch: usize) -> (usize, Arc<OutputCounts>) {
    let (sender, counts) = sender(server, batch, 100_000);
    let (send, receive) = mpsc::channel(4);
    send.send(points(0..n)).await.unwrap();
    drop(send);
    (sender.run(receive).await, counts)
}

fn value(counter: &std::sync::atomic::AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn poison_lines_are_found_by_halving_and_all_others_are_stored() {
    const POISON: [i64; 4] = [0, 17, 18, 4_999];
    let server = Shared::default();
    server.with(|server| server.poison.extend(POISON));
    let (left, counts) = deliver_all(&server, 5_000, 5_000).await;
    assert_eq!((left, value(&counts.written), value(&counts.losses.rejected)), (0, 4_996, 4));
    server.with(|server| {
        assert_eq!(server.stored.len(), 4_996);
        assert!(POISON.iter().all(|i| !server.stored.contains_key(i)));
        let most = 2 * POISON.len() * 13 + 1;
        assert!(server.requests.len() <= most, "{} requests", server.requests.len());
    });
}

/// How long 40 lines take in batches of 10, when each takes a second, and how many batches were under way at one time.
async fn seconds_of_four(time: impl Fn(i64) -> i64) -> (u64, usize) {
    let server = Shared::default();
    server.with(|server| server.takes = Duration::from_secs(1));
    let (sender, _) = sender(&server, 10, 100);
    let (send, receive) = mpsc::channel(1);
    let points = (0..40).map(|i| Point::new("m", Timestamp(time(i))).field("f", i)).collect();
    send.send(Message::Points(Arc::new(points))).await.unwrap();
    drop(send);
    let start = Instant::now();
    assert_eq!(sender.run(receive).await, 0);
    server.with(|server| {
        assert_eq!(server.stored.len(), 40);
        (start.elapsed().as_secs(), server.most)
    })
}

#[tokio::test(start_paused = true)]
async fn two_batches_are_under_way_where_their_order_does_not_matter() {
    assert_eq!(seconds_of_four(|i| i).await, (2, 2));
    assert_eq!(seconds_of_four(|_| 7).await, (4, 1), "one time");
    assert_eq!(seconds_of_four(|i| i % 11).await, (4, 1), "times that overlap");
}

/// Whatever fails in whatever order, each line is stored, and none is in the buffer twice.
#[tokio::test(start_paused = true)]
async fn nothing_is_lost_when_some_of_several_writes_fail() {
    for seed in 0..300 {
        let server = Shared::default();
        server.with(|server| {
            server.stumbles = Some((fastrand::Rng::with_seed(seed), 3));
            server.poison.extend([5, 77]);
            server.missing = [["a"], ["b"]][seed as usize % 2].map(str::to_owned).into();
        });
        let (sender, counts) = sender(&server, 10, 1_000);
        let (send, receive) = mpsc::channel(1);
        let feeds = async {
            for i in 0..20 {
                let point = |n: i64| {
                    let point = Point::new("m", Timestamp(n)).field("f", n);
                    match n % 7 {
                        0 => point.tag("db", "a"),
                        1 => point.tag("db", "b"),
                        _ => point,
                    }
                };
                send.send(Message::Points(Arc::new((i * 8..i * 8 + 8).map(point).collect()))).await.unwrap();
                tokio::time::sleep(Duration::from_secs(7)).await;
                let held = value(&counts.waiting) + value(&counts.written) + value(&counts.losses.rejected);
                assert!(held >= value(&counts.taken), "seed {seed}");
            }
            server.with(|server| {
                server.missing.clear();
                server.stumbles = None;
            });
            tokio::time::sleep(Duration::from_secs(100)).await;
            drop(send);
        };
        let (left, ()) = tokio::join!(sender.run(receive), feeds);
        let stored = server.with(|server| server.stored.len());
        assert_eq!((left, stored, value(&counts.losses.rejected)), (0, 158, 2), "seed {seed}");
        assert_eq!(value(&counts.written), 158, "seed {seed}");
    }
}

/// What is requested does not wait until there are no whole batches any more: there may always be some.
#[tokio::test(start_paused = true)]
async fn a_flush_is_carried_out_while_batches_keep_coming() {
    let server = Shared::default();
    server.with(|server| {
        server.takes = Duration::from_millis(9);
        server.missing.insert("a".into());
    });
    let (sender, _) = sender(&server, 10, 100_000);
    let (send, receive) = mpsc::channel(4);
    let feeds = async {
        for i in 0..400_i64 {
            if i == 200 {
                server.with(|server| server.missing.clear());
                send.send(Message::Flush).await.unwrap();
            }
            let mut points: Vec<Point> =
                (1..20).map(|n| Point::new("m", Timestamp(i * 20 + n)).field("f", i * 20 + n)).collect();
            points.extend((i < 10).then(|| Point::new("m", Timestamp(i)).tag("db", "a").field("f", -i)));
            send.send(Message::Points(Arc::new(points))).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server.with(|server| {
            assert!(server.stored.len() < 400 * 19, "there are whole batches all the time");
            assert!((-9..=0).all(|n| server.stored.contains_key(&n)), "what was blocked is tried again");
        });
        drop(send);
    };
    let (left, ()) = tokio::join!(sender.run(receive), feeds);
    assert_eq!(left, 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_rejects_every_line_loses_none() {
    let server = Shared::default();
    server.with(|server| server.poison.extend(0..100));
    let (left, counts) = deliver_all(&server, 100, 50).await;
    assert_eq!((left, value(&counts.losses.rejected), value(&counts.written)), (100, 0, 0));
}

/// Points whose measurement is `a`, `b` or `c`: first many of `a`, then of all.
fn of_three() -> Message {
    let name = |i: i64| if i < 60 { "a" } else { ["a", "b", "c"][i as usize % 3] };
    let point = |i: i64| Point::new(name(i), Timestamp(i)).field("f", i);
    Message::Points(Arc::new((0..120).map(point).collect()))
}

/// Where lines of one measurement are rejected, at the head of the queue, all others are stored within a flush, and each of these
/// is counted: whatever the answer says of lines, and however long the batches are.
#[tokio::test(start_paused = true)]
async fn a_measurement_that_is_rejected_holds_up_no_other() {
    for blame in [Blame::Unknown, Blame::Some, Blame::Lines(BTreeMap::new())] {
        for batch in [1, 7, 50, 1_000] {
            let server = Shared::default();
            server.with(|server| (server.minds, server.blame) = (Some("a"), blame.clone()));
            let (sender, counts) = sender(&server, batch, 1_000);
            let (send, receive) = mpsc::channel(4);
            let feeds = async {
                send.send(of_three()).await.unwrap();
                send.send(Message::Flush).await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
                assert_eq!(value(&counts.written), 40, "{blame:?}, batches of {batch}");
                assert_eq!(value(&counts.losses.rejected), 80, "{blame:?}, batches of {batch}");
                drop(send);
            };
            let (left, ()) = tokio::join!(sender.run(receive), feeds);
            assert_eq!(left, 0, "{blame:?}, batches of {batch}");
            server.with(|server| assert_eq!(server.stored.len(), 40));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_says_it_is_the_lines_is_believed_when_all_are_bad() {
    for blame in [Blame::Some, Blame::Lines((0..100).map(|n| (n, "poison".to_owned())).collect())] {
        let server = Shared::default();
        server.with(|server| (server.poison, server.blame) = ((0..100).collect(), blame));
        let (left, counts) = deliver_all(&server, 100, 50).await;
        assert_eq!((left, value(&counts.losses.rejected), value(&counts.written)), (0, 100, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn the_limit_holds_while_the_output_connects_and_writes() {
    const LIMIT: u64 = 25;
    let server = Shared::default();
    server.with(|server| server.takes = Duration::from_secs(3_600));
    let (sender, counts) = sender(&server, 10, LIMIT as usize);
    let (send, receive) = mpsc::channel(1);
    let feeds = async {
        for i in 0..200 {
            send.send(points(i * 10..i * 10 + 10)).await.unwrap();
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert!(value(&counts.waiting) <= LIMIT, "{} wait", value(&counts.waiting));
            let dropped = 10 * (i as u64 + 1) - value(&counts.written) - value(&counts.waiting);
            assert_eq!(value(&counts.losses.overflowed), dropped, "each is held or counted");
        }
        server.with(|server| server.takes = Duration::ZERO);
        drop(send);
    };
    let (left, ()) = tokio::join!(sender.run(receive), feeds);
    assert_eq!((left, value(&counts.written) + value(&counts.losses.overflowed)), (0, 2_000));
}

#[tokio::test(start_paused = true)]
async fn an_output_with_nothing_to_write_ends_while_it_connects() {
    let server = Shared::default();
    server.with(|server| server.takes = Duration::from_secs(3_600));
    let (sender, _) = sender(&server, 10, 100);
    let (send, receive) = mpsc::channel::<Message>(1);
    let start = Instant::now();
    let feeds = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(send);
    };
    let (left, ()) = tokio::join!(sender.run(receive), feeds);
    assert_eq!((left, start.elapsed().as_secs()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_down_in_the_middle_of_the_halving_gets_the_rest_later() {
    // Nine requests are what the halving takes.
    for down_after in 1..9 {
        let server = Shared::default();
        server.with(|server| server.poison.insert(7));
        let (sender, counts) = sender(&server, 16, 1_000);
        let (send, receive) = mpsc::channel(4);
        send.send(points(0..16)).await.unwrap();
        let watched = server.clone();
        let breaks = async move {
            while watched.with(|server| server.requests.len()) < down_after {
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
            watched.with(|server| server.down_for = 2);
            tokio::time::sleep(Duration::from_secs(100)).await;
            drop(send);
        };
        let ((), left) = tokio::join!(breaks, sender.run(receive));
        assert_eq!(left, 0, "down after {down_after}");
        assert_eq!(value(&counts.losses.rejected), 1, "down after {down_after}");
        server.with(|server| assert_eq!(server.stored.len(), 15, "down after {down_after}"));
    }
}

#[tokio::test(start_paused = true)]
async fn retries_with_growing_backoff_and_keeps_the_order() {
    let server = Shared::default();
    server.with(|server| server.down_for = 6);
    let (sender, counts) = sender(&server, 10, 100);
    let (send, receive) = mpsc::channel(4);
    let feeds = async move {
        send.send(points(0..10)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(300)).await;
        send.send(points(10..20)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(20)).await;
    };
    let ((), left) = tokio::join!(feeds, sender.run(receive));
    assert_eq!((left, value(&counts.failed_writes), value(&counts.written)), (0, 6, 20));
    server.with(|server| {
        let waits: Vec<f64> =
            server.times.windows(2).take(6).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        for (i, wait) in waits.iter().enumerate() {
            let most = f64::from(1 << i).min(30.0) + 0.1;
            assert!(*wait <= most && *wait >= most / 2.0 - 0.1, "wait {i} of {waits:?}");
        }
    });
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_some_is_not_waited_for_as_one_that_takes_nothing() {
    let server = Shared::default();
    server.with(|server| server.stumbles = Some((fastrand::Rng::with_seed(7), 2)));
    let (sender, _) = sender(&server, 10, 10_000);
    let (send, receive) = mpsc::channel(1);
    let start = Instant::now();
    let feeds = async move {
        send.send(points(0..1_000)).await.unwrap();
        while server.with(|server| server.stored.len()) < 1_000 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let ((), left) = tokio::join!(feeds, sender.run(receive));
    assert_eq!(left, 0);
    let took = start.elapsed();
    assert!(
        took < Duration::from_secs(150),
        "100 batches, of which every second one fails at first: {took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_buffer_drops_the_oldest_and_says_how_many() {
    let server = Shared::default();
    server.with(|server| server.down_for = usize::MAX);
    let (sender, counts) = sender(&server, 10, 25);
    let (send, receive) = mpsc::channel(4);
    let feeds = async {
        for i in 0..5 {
            send.send(points(i * 10..i * 10 + 10)).await.unwrap();
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        server.with(|server| server.down_for = 0);
        drop(send);
    };
    let (left, ()) = tokio::join!(sender.run(receive), feeds);
    assert_eq!((left, value(&counts.losses.overflowed), value(&counts.written)), (0, 25, 25));
    server.with(|server| assert_eq!(server.stored.keys().min(), Some(&25)));
}

#[tokio::test(start_paused = true)]
async fn a_whole_batch_is_written_early_and_the_rest_waits_for_the_flush() {
    let server = Shared::default();
    let (sender, _) = sender(&server, 10, 100);
    let (send, receive) = mpsc::channel(4);
    let start = Instant::now();
    let feeds = async move {
        send.send(points(0..25)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(11)).await;
        drop(send);
    };
    let (left, ()) = tokio::join!(sender.run(receive), feeds);
    assert_eq!(left, 0);
    server.with(|server| {
        assert_eq!(server.requests, [10, 10, 5]);
        assert!(server.times[1] - start < Duration::from_secs(1));
        assert!(server.times[2] - start >= Duration::from_secs(10));
    });
}

#[tokio::test(start_paused = true)]
async fn a_blocked_route_does_not_delay_the_others() {
    let server = Shared::default();
    server.with(|server| server.missing.insert("b".into()));
    let (sender, counts) = sender(&server, 10, 1_000);
    let (send, receive) = mpsc::channel(4);
    let db = |i: i64| ["a", "b", "c"][i as usize % 3];
    let of = |range: std::ops::Range<i64>| {
        let point = |i: i64| Point::new("m", Timestamp(i)).tag("db", db(i)).field("f", i);
        Message::Points(Arc::new(range.map(point).collect::<Vec<_>>()))
    };
    let feeds = async {
        send.send(of(0..300)).await.unwrap();
        for i in 0..20 {
            tokio::time::sleep(Duration::from_secs(10)).await;
            server.with(|server| {
                assert!(server.stored.keys().all(|i| db(*i) != "b"));
                assert_eq!(server.stored.len(), 200 + i * 20, "the others are late");
            });
            send.send(of(300 + 30 * i as i64..330 + 30 * i as i64)).await.unwrap();
        }
        server.with(|server| {
            // A blocked route is tried once per flush.
            assert!(server.requests.len() <= 20 + 20 * 3 + 20, "{} requests", server.requests.len());
            server.missing.clear();
        });
        drop(send);
    };
    let (left, ()) = tokio::join!(sender.run(receive), feeds);
    assert_eq!((left, value(&counts.written)), (0, 900));
    server.with(|server| {
        assert_eq!(server.stored.len(), 900);
        assert!(server.stored.values().all(|n| *n == 1), "what was stored is not sent again");
    });
}

#[tokio::test(start_paused = true)]
async fn a_field_that_fits_into_no_line_is_counted_as_rejected() {
    let server = Shared::default();
    let (sender, counts) = sender(&server, 10, 1_000);
    let (send, receive) = mpsc::channel(4);
    let long = "x".repeat(40);
    let point = |i: i64| Point::new("m", Timestamp(i)).field("f", long.as_str());
    send.send(Message::Points(Arc::new(vec![point(0), Point::new("m", Timestamp(1)).field("f", 1_i64)])))
        .await
        .unwrap();
    drop(send);
    assert_eq!(sender.run(receive).await, 0);
    assert_eq!((value(&counts.taken), value(&counts.written), value(&counts.losses.rejected)), (2, 1, 1));
    assert_eq!((value(&counts.encoded_bytes), value(&counts.unencodable)), ("m f=1i 1\n".len() as u64, 1));
}

#[tokio::test(start_paused = true)]
async fn a_requested_flush_does_not_wait() {
    let server = Shared::default();
    server.with(|server| server.down_for = 1);
    let (sender, counts) = sender(&server, 10, 100);
    let (send, receive) = mpsc::channel(4);
    let feeds = async move {
        send.send(points(0..3)).await.unwrap();
        for written in [0, 3] {
            // The second one comes during the backoff after a failure.
            send.send(Message::Flush).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert_eq!(value(&counts.written), written);
        }
    };
    let (left, ()) = tokio::join!(sender.run(receive), feeds);
    assert_eq!(left, 0);
}

#[tokio::test(start_paused = true)]
async fn other_options_take_over_the_buffer_even_during_a_write() {
    let (before, after) = (Shared::default(), Shared::default());
    before.with(|server| server.down_for = usize::MAX);
    let (sender, counts) = sender(&before, 10, 100);
    let (send, receive) = mpsc::channel(4);
    let feeds = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        before.with(|server| server.takes = Duration::from_secs(1));
        send.send(points(0..25)).await.unwrap();
        // Two whole batches are in flight.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let common =
            OutputCommon { metric_batch_size: 5, metric_buffer_limit: 20, ..OutputCommon::default() };
        let output: Box<dyn Output> = Box::new(after.clone());
        send.send(Message::Change { output, common: Box::new(common), limits: None }).await.unwrap();
        send.send(points(25..30)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        drop(send);
    };
    let (left, ()) = tokio::join!(sender.run(receive), feeds);
    // 20 fit: those that were being written.
    assert_eq!((left, value(&counts.losses.overflowed), value(&counts.written)), (0, 10, 20));
    after.with(|server| {
        assert_eq!(server.requests, [5; 4]);
        assert!(server.stored.keys().copied().eq(0..20), "{:?}", server.stored);
    });
    before.with(|server| assert!(server.stored.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn after_a_reload_new_lines_have_the_new_encoding() {
    let (before, after) = (Shared::default(), Shared::default());
    before.with(|server| server.down_for = usize::MAX);
    after.with(|server| server.omits_time = true);
    let (sender, counts) = sender(&before, 10, 100);
    let (send, receive) = mpsc::channel(4);
    let common = OutputCommon::default();
    send.send(points(0..3)).await.unwrap();
    send.send(Message::Change { output: Box::new(after.clone()), common: Box::new(common), limits: None })
        .await
        .unwrap();
    send.send(points(3..5)).await.unwrap();
    drop(send);
    assert_eq!(sender.run(receive).await, 0);
    assert_eq!(value(&counts.written), 5);
    after.with(|server| {
        assert_eq!(
            server.without_time, 2,
            "queued lines keep their encoding, and later ones have the new one"
        );
    });
}
