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
/// With `seeks`, a few lines that a server dropped without naming them are found, too. Lines need times of their own for that.
pub(super) async fn deliver(
    output: &dyn Output,
    counts: &OutputCounts,
    Batch { route, lines }: Batch,
    is_trusted: bool,
    seeks: bool,
) -> (Delivery, Vec<Rejected>) {
    let pending = vec![(0..lines.len()).collect()];
    let mut course = Course { lines, pending, takes: is_trusted, ..Course::default() };
    while let Some(part) = course.next() {
        let text: Vec<Bytes> = part.iter().map(|i| course.lines[*i].text.clone()).collect();
        match output.write(&route, &text).await {
            Answer::Stored { dropped, reason } if seeks && is_sought(dropped, &reason) => {
                course.seek(part, dropped, reason);
            }
            Answer::Stored { dropped, reason } => {
                course.store((part.len() as u64).saturating_sub(dropped));
                counts.add(&counts.losses.rejected, dropped);
                if dropped > 0 {
                    tracing::error!(dropped, reason, "the server dropped points for good");
                }
            }
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

/// Whether so many lines are looked for. Those that are too old are what the server's own policy is about.
fn is_sought(dropped: u64, reason: &str) -> bool {
    (1..=MAX_SOUGHT).contains(&dropped) && !reason.contains("retention policy")
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

    /// The server stored a part but for so many lines.
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
