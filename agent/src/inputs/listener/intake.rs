//! Text as it comes in, in pieces of any size: to whole lines, checked and counted, and into the queue.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::Inlet;
use super::queue::{Parcel, Refusal, Tags};
use crate::listen::Gate as _;
use crate::parsers::line_protocol::{self, Outline, Precision};
use crate::point::Timestamp;
use crate::service::receipt::Receipt;

/// Bytes of an unfinished line. One has at most 64 KiB of tags, but its text values may be long.
pub(in super::super) const MAX_LINE: usize = 1 << 20;
/// Errors of a text that are told.
const MAX_ERRORS: usize = 5;

/// What became of lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Outcome {
    /// Lines so far, also empty ones.
    n_lines: usize,
    pub(in super::super) n_good: u64,
    pub(in super::super) n_bad: u64,
    /// What is wrong with the first few bad ones: the line's number, and influxd's words.
    pub(in super::super) errors: Vec<(usize, String)>,
}

impl Outcome {
    /// Checks the lines of a text; gives the good ones.
    fn check(&mut self, text: &str, manner: &Manner) -> Vec<Outline> {
        let mut good = Vec::new();
        match manner.lines {
            Lines::Quoted => self.check_part(text, text, manner.precision, &mut good),
            Lines::Plain => {
                for line in text.split_inclusive('\n') {
                    self.check_part(text, line, manner.precision, &mut good);
                }
            }
        }
        good
    }

    /// Checks a part of the whole text.
    fn check_part(&mut self, whole: &str, part: &str, precision: Precision, good: &mut Vec<Outline>) {
        for line in line_protocol::parse(part, precision) {
            match line {
                Ok(line) => good.push(line.outline(whole)),
                Err(error) => {
                    self.n_bad += 1;
                    if self.errors.len() < MAX_ERRORS {
                        let text = shortened(&error.to_string());
                        self.errors.push((self.n_lines + error.number, text));
                    }
                }
            }
        }
        self.n_lines += memchr::memchr_iter(b'\n', part.as_bytes()).count();
    }
}

/// Bytes of a line or message that has not ended yet. All connections of an input share a bound.
pub(in super::super) struct Unfinished<'a> {
    inlet: &'a Inlet,
    bytes: Vec<u8>,
    /// How many of them count for the bound.
    counted: usize,
}

/// Unfinished bytes of all connections, less [`FREE`] for each.
pub(super) const MAX_UNFINISHED: usize = 8 << 20;
/// What each connection may have without counting: most lines are shorter.
pub(super) const FREE: usize = 8 << 10;

impl<'a> Unfinished<'a> {
    pub(in super::super) fn new(inlet: &'a Inlet) -> Self {
        Self { inlet, bytes: Vec::new(), counted: 0 }
    }

    pub(in super::super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds bytes.
    pub(in super::super) fn extend(&mut self, more: &[u8]) {
        self.bytes.extend_from_slice(more);
        self.account();
    }

    /// Removes what was taken; the rest goes on later.
    ///
    /// # Errors
    /// This one and others have long lines that do not end. One whose rest is short is not concerned.
    pub(in super::super) fn drop_first(&mut self, n: usize) -> Result<(), TooMuch> {
        self.bytes.drain(..n);
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
        // The memory of a long text is no rest's to keep. It is left to one that grows, so that each byte is moved but a few times.
        let needed = if self.bytes.len() <= FREE { FREE } else { 2 * self.bytes.len() };
        self.bytes.shrink_to(needed);
        self.account();
        self.within_bound()
    }

    /// # Errors
    /// As of [`Self::drop_first`].
    pub(in super::super) fn within_bound(&self) -> Result<(), TooMuch> {
        let all = self.inlet.unfinished.load(Ordering::Relaxed);
        if self.counted > 0 && all > MAX_UNFINISHED { Err(TooMuch) } else { Ok(()) }
    }

    fn account(&mut self) {
        let counts = self.bytes.capacity().saturating_sub(FREE);
        self.inlet.unfinished.fetch_add(counts, Ordering::Relaxed);
        self.inlet.unfinished.fetch_sub(self.counted, Ordering::Relaxed);
        self.counted = counts;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.inlet.unfinished.fetch_sub(self.counted, Ordering::Relaxed);
    }
}

/// The bound of [`Unfinished`] is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many senders have long lines that do not end")]
pub(in super::super) struct TooMuch;

/// An answer is no place for a line of a megabyte.
fn shortened(error: &str) -> String {
    const MAX: usize = 1_000;
    let end = error.floor_char_boundary(MAX);
    if end < error.len() { format!("{}…", &error[..end]) } else { error.to_owned() }
}

/// Where lines end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Lines {
    /// As influxd reads a text: a line feed within quotes is a part of the value.
    Quoted,
    /// At each line feed, so that a quote that nothing closes spoils only its own line.
    Plain,
}

/// What the lines of one sender have in common.
#[derive(Clone, Debug)]
pub(in super::super) struct Manner {
    pub(in super::super) precision: Precision,
    pub(in super::super) lines: Lines,
    pub(in super::super) tags: Tags,
    /// Who waits until they are kept.
    pub(in super::super) receipt: Option<Receipt>,
}

impl Inlet {
    /// Says what is wrong with lines whose sender gets no answer, from time to time.
    pub(in super::super) fn log_malformed(&self, outcome: &Outcome) {
        let Some((_, error)) = outcome.errors.first() else { return };
        if self.malformed.due().is_some() {
            let malformed = self.socket.counts().losses.malformed.load(Ordering::Relaxed);
            tracing::error!(malformed, error, "lines are no line protocol");
        }
    }

    /// Says why a connection was closed, from time to time.
    pub(in super::super) fn log_closed(&self, why: &str) {
        if let Some(connections) = self.closed.due() {
            tracing::warn!(connections, why, "closed for what was sent");
        }
    }

    /// Checks whole lines and queues the good ones; waits for room for at most `patience`.
    ///
    /// # Errors
    /// They were not queued.
    pub(in super::super) async fn take(
        &self,
        bytes: &[u8],
        manner: &Manner,
        patience: Duration,
        outcome: &mut Outcome,
    ) -> Result<(), Refusal> {
        let n_bad = outcome.n_bad;
        // Checking alone is faster than looking for what has to be replaced.
        let text = std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed);
        let lines = outcome.check(&text, manner);
        self.count(|counts| &counts.losses.malformed, outcome.n_bad - n_bad);
        if lines.is_empty() {
            return Ok(());
        }
        let (n_good, tags) = (lines.len() as u64, Arc::clone(&manner.tags));
        let receipt = manner.receipt.clone();
        let parcel = Parcel { text: text.into_owned(), lines, received: Timestamp::now(), tags, receipt };
        self.queue.push(parcel, Instant::now() + patience).await?;
        outcome.n_good += n_good;
        self.count(|counts| &counts.points, n_good);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use crate::inputs::Shared;
    use crate::inputs::listener::bind;
    use crate::listen::bind::Wishes;

    fn check(text: &str, lines: Lines) -> (Vec<String>, Vec<usize>) {
        let manner = Manner { precision: Precision::Nanoseconds, lines, tags: [].into(), receipt: None };
        let mut outcome = Outcome { n_lines: 10, ..Outcome::default() };
        let good = outcome.check(text, &manner);
        assert_eq!(outcome.n_bad, outcome.errors.len() as u64);
        let good = good.iter().map(|line| line.point(text, Timestamp(0)).measurement.to_string());
        (good.collect(), outcome.errors.iter().map(|(line, _)| *line).collect())
    }

    #[test]
    fn good_lines_are_kept_and_bad_ones_are_told_by_their_number() {
        let text = "a f=1 1\n\nbad\n b f=\"x\ny\" 2\nc f=\n";
        assert_eq!(check(text, Lines::Quoted), (vec!["a".to_owned(), "b".to_owned()], vec![13, 16]));
    }

    #[tokio::test]
    async fn what_has_not_ended_counts_from_when_it_comes_and_keeps_no_more_memory_than_it_needs() {
        let shared = Shared::new(Host::default());
        let inlet = Inlet::new(bind("test", "127.0.0.1:0", &Wishes::default(), &shared).unwrap());
        let counted = || inlet.unfinished.load(Ordering::Relaxed);
        let mut unfinished = Unfinished::new(&inlet);
        unfinished.extend(&vec![b'x'; 2 << 20]);
        assert!(counted() >= (2 << 20) - FREE, "{}", counted());
        assert_eq!(unfinished.drop_first((2 << 20) - 10), Ok(()));
        assert_eq!((counted(), unfinished.bytes.capacity()), (0, FREE));
        unfinished.extend(&vec![b'x'; MAX_UNFINISHED + 2 * FREE]);
        assert_eq!(unfinished.drop_first(1), Err(TooMuch));
        drop(unfinished);
        assert_eq!(counted(), 0);
    }

    #[test]
    fn a_quote_that_nothing_closes_spoils_its_own_line_in_a_stream() {
        let text = "a f=\"x 1\nb f=2 2\n";
        assert_eq!(check(text, Lines::Plain), (vec!["b".to_owned()], vec![11]));
        assert_eq!(check(text, Lines::Quoted), (vec![], vec![11]));
    }
}
