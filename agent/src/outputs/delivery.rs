//! Delivers one batch: finds out which lines are stored, which are rejected for good, and which have to be retried.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::batch::{Batch, Line, measurement};
use super::{Answer, Blame, Output, shortened};
use crate::service::telemetry::OutputCounts;

/// When so many lines were rejected one by one, none is stored, and no answer says that it is for the lines, no more of the
/// measurements that they have are tried.
const MAX_DOUBTED: usize = 8;

/// So few lines that an answer does not name are looked for, by sending what it was about again in halves.
const MAX_SOUGHT: u64 = 8;

/// A server tells of the lines of one shard, which is of whole hours. Lines of so many hours are sent again by hour.
const MAX_HOURS: usize = 8;
const HOUR_NS: i64 = 3_600_000_000_000;

/// What lines are sent again for, where an answer says only how many of them were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeats {
    /// For nothing: where they have no times of their own, or go to one that would keep them twice.
    Nothing,
    /// To count them: the answer can leave some out.
    Counts,
    /// To count them, and to find a few of them.
    Lines,
}

/// A line that the other side will never take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rejected {
    /// The line, with its newline.
    pub(super) text: Bytes,
    /// Why, in the other side's words.
    pub(super) reason: String,
}

/// How a delivery went.
pub(super) enum Delivery {
    Done {
        /// How many lines the other side has.
        stored: u64,
    },
    /// `rest` is to be retried.
    Unfinished { rest: Vec<Line>, failure: Failure },
}

/// Why something could not be delivered; see [`Answer::Retry`].
pub(super) struct Failure {
    pub(super) reason: String,
    pub(super) after: Option<Duration>,
    pub(super) scope: Scope,
}

/// What a failure is about, from all to little.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// The output, whatever the lines are.
    Output,
    /// The route of the batch.
    Route,
    /// The measurements of the lines that are left.
    Measurements,
}

/// Writes a batch; one that is rejected is halved until the bad lines stand alone, unless the answer names them.
///
/// Those are dropped and counted. Lines that were already stored and are sent again with a half change nothing on the
/// server: same series, same time.
///
/// Where the answers say nothing of lines, a server that rejects everything may have another reason: then nothing is dropped,
/// unless it `is_trusted`, because it has just stored other lines.
///
/// Of lines that a server stored but for some, it says how many: those of the first shard that has such lines. So those of each
/// hour are sent again by themselves, as `repeats` allows, and a few that it does not name are found by halves.
pub(super) async fn deliver(
    output: &dyn Output,
    counts: &OutputCounts,
    Batch { route, lines }: Batch,
    is_trusted: bool,
    repeats: Repeats,
) -> (Delivery, Vec<Rejected>) {
    let pending = vec![(0..lines.len()).collect()];
    let mut course = Course { lines, pending, takes: is_trusted, ..Course::default() };
    while let Some(part) = course.next() {
        let text: Vec<Bytes> = part.iter().map(|i| course.lines[*i].text.clone()).collect();
        match output.write(&route, &text).await {
            Answer::Stored { dropped, reason } => course.settle(part, (dropped, reason), repeats, counts),
            Answer::Rejected { reason, blame } => course.reject(part, reason, blame),
            Answer::Partly { left, rejected, reason, after, route_only } => {
                if course.store_but(&part, &left, rejected) {
                    let scope = if route_only { Scope::Route } else { Scope::Output };
                    return course.end(counts, Some(Failure { reason, after, scope }));
                }
            }
            Answer::Retry { reason, after, route_only } => {
                course.pending.push(part);
                let scope = if route_only { Scope::Route } else { Scope::Output };
                return course.end(counts, Some(Failure { reason, after, scope }));
            }
        }
    }
    let failure = (!course.doubted.is_empty()).then(|| {
        let why = &course.why;
        let reason = format!("every line is rejected, so the lines are not the cause: {why}");
        Failure { reason, after: None, scope: Scope::Measurements }
    });
    course.end(counts, failure)
}

/// A delivery under way. Lines are numbered as in the batch.
#[derive(Default)]
struct Course {
    lines: Vec<Line>,
    /// What is left to write, in parts; the last one is next.
    pending: Vec<Vec<usize>>,
    /// Rejected for good, with the reason.
    rejected: Vec<(usize, String)>,
    /// Rejected one by one, by answers that say nothing of lines, while nothing was stored.
    doubted: Vec<usize>,
    /// Not tried, because others of their measurement are doubted.
    aside: Vec<usize>,
    /// The reason of the last doubt.
    why: String,
    /// The other side stores lines.
    takes: bool,
    stored: u64,
}

impl Course {
    /// The part to write now.
    fn next(&mut self) -> Option<Vec<usize>> {
        loop {
            let mut part = self.pending.pop()?;
            if self.doubted.len() >= MAX_DOUBTED {
                let doubted: BTreeSet<Bytes> =
                    self.doubted.iter().map(|i| measurement(&self.lines[*i].text)).collect();
                let is_doubted = |i: &mut usize| doubted.contains(&measurement(&self.lines[*i].text));
                self.aside.extend(part.extract_if(.., is_doubted));
            }
            if !part.is_empty() {
                return Some(part);
            }
        }
    }

    fn store(&mut self, n: u64) {
        self.stored += n;
        self.takes = true;
        // So it was the lines.
        let why = &self.why;
        self.rejected.extend(self.doubted.drain(..).map(|i| (i, why.clone())));
        self.pending.push(std::mem::take(&mut self.aside));
    }

    /// The other side stored a part but for these lines. Returns whether some are left.
    fn store_but(
        &mut self,
        part: &[usize],
        left: &BTreeSet<usize>,
        rejected: BTreeMap<usize, String>,
    ) -> bool {
        let n_stored = part.len().saturating_sub(left.len() + rejected.len());
        if n_stored > 0 {
            self.store(n_stored as u64);
        }
        let named = rejected.into_iter().filter_map(|(n, why)| Some((*part.get(n)?, why)));
        self.rejected.extend(named);
        self.pending.push(left.iter().filter_map(|n| part.get(*n).copied()).collect());
        !left.is_empty()
    }

    /// The other side stored a part but for so many lines.
    fn settle(
        &mut self,
        part: Vec<usize>,
        (dropped, reason): (u64, String),
        repeats: Repeats,
        counts: &OutputCounts,
    ) {
        let (n, is_found) = (part.len() as u64, (1..=MAX_SOUGHT).contains(&dropped));
        // Those that are too old are what the server's own policy is about: it tells of all.
        let repeats = if reason.contains("retention policy") { Repeats::Nothing } else { repeats };
        let hours = if (1..n).contains(&dropped) && repeats != Repeats::Nothing {
            self.by_hour(&part)
        } else {
            vec![]
        };
        if (2..=MAX_HOURS).contains(&hours.len()) {
            self.takes = true;
            self.pending.extend(hours.into_iter().rev());
        } else if is_found && repeats == Repeats::Lines {
            self.seek(part, dropped, reason);
        } else {
            self.store(n.saturating_sub(dropped));
            counts.add(&counts.losses.rejected, dropped);
            if dropped > 0 {
                tracing::error!(dropped, reason, "the server dropped points for good");
            }
        }
    }

    /// A part by the hour of its lines, the earliest first. Empty where one has no time of its own.
    fn by_hour(&self, part: &[usize]) -> Vec<Vec<usize>> {
        let mut hours: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for i in part {
            let Some(time) = self.lines[*i].time() else { return Vec::new() };
            hours.entry(time.div_euclid(HOUR_NS)).or_default().push(*i);
        }
        hours.into_values().collect()
    }

    /// Finds the lines that the server dropped of a part.
    fn seek(&mut self, part: Vec<usize>, dropped: u64, reason: String) {
        self.takes = true;
        if dropped >= part.len() as u64 {
            self.rejected.extend(part.into_iter().map(|i| (i, reason.clone())));
        } else {
            self.halve(&part);
        }
    }

    fn halve(&mut self, part: &[usize]) {
        let (first, second) = part.split_at(part.len() / 2);
        self.pending.extend([second.to_vec(), first.to_vec()]);
    }

    fn reject(&mut self, part: Vec<usize>, reason: String, blame: Blame) {
        match (blame, part.as_slice()) {
            (Blame::Lines(mut bad), _) if !bad.is_empty() => {
                let mut rest = Vec::new();
                for (n, i) in part.into_iter().enumerate() {
                    match bad.remove(&n) {
                        Some(why) => self.rejected.push((i, why)),
                        None => rest.push(i),
                    }
                }
                self.pending.push(rest);
            }
            (Blame::Unknown, [i]) if !self.takes => {
                self.doubted.push(*i);
                self.why = reason;
            }
            (_, [i]) => self.rejected.push((*i, reason)),
            _ => self.halve(&part),
        }
    }

    /// Counts and shows what is rejected for good.
    fn end(mut self, counts: &OutputCounts, failure: Option<Failure>) -> (Delivery, Vec<Rejected>) {
        counts.add(&counts.written, self.stored);
        counts.add(&counts.losses.rejected, self.rejected.len() as u64);
        let mut shown: BTreeMap<Bytes, (usize, usize)> = BTreeMap::new();
        for (n, (i, _)) in self.rejected.iter().enumerate() {
            shown.entry(measurement(&self.lines[*i].text)).or_insert((n, 0)).1 += 1;
        }
        for (first, dropped) in shown.into_values() {
            let (i, reason) = &self.rejected[first];
            let line = String::from_utf8_lossy(&self.lines[*i].text);
            let line = shortened(line.trim_end());
            tracing::error!(dropped, reason, line, "the server rejected points for good");
        }
        let rejected = std::mem::take(&mut self.rejected).into_iter();
        let rejected = rejected.map(|(i, reason)| Rejected { text: self.lines[i].text.clone(), reason });
        let rejected: Vec<Rejected> = rejected.collect();
        let Some(failure) = failure else { return (Delivery::Done { stored: self.stored }, rejected) };
        let mut rest: Vec<usize> =
            self.pending.into_iter().flatten().chain(self.doubted).chain(self.aside).collect();
        rest.sort_unstable();
        let rest = rest.into_iter().map(|i| self.lines[i].clone()).collect();
        (Delivery::Unfinished { rest, failure }, rejected)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::Ordering;

    use super::*;

    /// Drops each line whose field is a text, and tells of those of the earliest shard alone.
    #[derive(Default)]
    struct Sharded {
        shard_hours: i64,
        requests: Mutex<usize>,
    }

    #[async_trait::async_trait]
    impl Output for Sharded {
        fn place(&self) -> String {
            "here".into()
        }

        async fn write(&self, _: &[Option<String>], lines: &[Bytes]) -> Answer {
            *self.requests.lock().unwrap() += 1;
            let bad = lines.iter().filter(|line| line.contains(&b'"'));
            let time = |line: &Bytes| Line { text: line.clone(), number: None }.time().unwrap_or(0);
            let shards = bad.map(|line| time(line) / (self.shard_hours * HOUR_NS));
            let shards: Vec<i64> = shards.collect();
            let first = shards.iter().min();
            let dropped = shards.iter().filter(|shard| Some(*shard) == first).count() as u64;
            Answer::Stored { dropped, reason: "conflict".into() }
        }
    }

    /// How many of ten lines an hour are counted as refused, of which some are bad in each hour, and how many requests it took.
    async fn refused(bad: &[usize], shard_hours: i64, repeats: Repeats) -> (u64, usize) {
        let line = |hour: usize, n: usize| {
            let value = if n < bad[hour] { "\"x\"" } else { "1" };
            let time = hour as i64 * HOUR_NS + n as i64;
            Line { text: format!("m f={value} {time}\n").into(), number: None }
        };
        // Not in the order of their times.
        let lines = (0..10).flat_map(|n| (0..bad.len()).map(move |hour| line(hour, n))).collect();
        let (server, counts) = (Sharded { shard_hours, ..Sharded::default() }, OutputCounts::default());
        let batch = Batch { route: [].into(), lines };
        let (delivery, _) = deliver(&server, &counts, batch, false, repeats).await;
        let refused = counts.losses.rejected.load(Ordering::Relaxed);
        let Delivery::Done { stored } = delivery else { panic!() };
        assert_eq!(stored + refused, bad.len() as u64 * 10);
        (refused, server.requests.into_inner().unwrap())
    }

    #[tokio::test]
    async fn what_is_refused_in_several_shards_is_counted() {
        assert_eq!(refused(&[4, 3], 1, Repeats::Counts).await, (7, 3));
        assert_eq!(refused(&[0, 2, 3, 0], 2, Repeats::Counts).await, (5, 5));
        assert_eq!(refused(&[9, 9], 1, Repeats::Lines).await, (18, 3), "too many to be found");
        assert_eq!(refused(&[1, 1], 1, Repeats::Lines).await.0, 2);
        assert_eq!(refused(&[3], 1, Repeats::Counts).await, (3, 1), "one hour has one shard");
        assert_eq!(refused(&[10, 0], 1, Repeats::Counts).await, (10, 3));
        assert_eq!(refused(&[1; 9], 1, Repeats::Counts).await, (1, 1), "too many hours");
        assert_eq!(refused(&[4, 3], 1, Repeats::Nothing).await, (4, 1));
    }
}
