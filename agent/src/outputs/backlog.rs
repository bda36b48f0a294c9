//! What an output with a spool has where: lines that are on their way to the disk, on the disk alone, and in memory too.
//!
//! ```text
//! done | ready ........ | on the disk alone ........ | newest | fresh, being appended
//!        in memory                                    in memory  in memory alone
//! ```
//!
//! Among those that are ready or done, some can be on the disk alone again, because others are read past them: see `passed`.
//!
//! Lines are written to the other side from the front, and now and then from the newest, so that what is new does not wait for
//! hours until all is written that is old. What goes into memory is bounded by shares of the buffer's limit. Pure: `spooler`
//! works with the disk.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

use super::batch::{Batch, Blocked, Line, Queued, take_from};
use super::delivery::Rejected;
use super::passed::Passed;
use super::spooler::{Job, Outcome, Wanted};
use crate::service::receipt::{Receipt, Receipts};
use crate::spool::log::Loss;
use crate::spool::ranges::Ranges;

/// Lines that wait to be set aside; others are told in the log alone.
const MAX_REJECTED: usize = 10_000;
/// Ranges of lines that are done behind others that are not, which the spool remembers: beyond that, none is read past. With some
/// 32 bytes for each.
const MAX_RANGES: usize = 1 << 18;
/// Lines that are appended together.
const MAX_APPENDED: usize = 20_000;

/// A line that is not on the disk.
#[derive(Debug)]
struct Fresh {
    line: Queued,
    receipts: Receipts,
}

/// How many lines of a spool are lost, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) damaged: u64,
    pub(super) overflowed: u64,
    pub(super) expired: u64,
}

#[derive(Clone, Copy, Debug)]
enum Read {
    /// What was not read yet.
    On,
    /// What was passed, from here on.
    Again(u64),
}

#[derive(Debug)]
pub(super) struct Backlog {
    /// The numbers of lines that are on the disk alone and were not read yet, with some that are done or in flight.
    on_disk: Range<u64>,
    /// Lines before those that are on the disk alone, too.
    passed: Passed,
    /// Where the job under way reads.
    reading: Option<Read>,
    reads_again: bool,
    n_ranges: usize,
    /// On the disk and in memory, with higher numbers than those, in their order.
    newest: VecDeque<Queued>,
    fresh: VecDeque<Fresh>,
    appending: Vec<Fresh>,
    in_flight: BTreeSet<u64>,
    /// Done, and not said to the spool yet.
    done: Ranges,
    /// All lines before this one are done, as far as the spool knows.
    done_until: u64,
    /// How many lines are not.
    pending: u64,
    bytes: u64,
    /// To be set aside.
    rejected: Vec<Rejected>,
    /// The disk fails, or hangs: what is fresh is written to the other side without it.
    is_down: bool,
    /// The newest wait for all that is on the disk alone.
    in_order: bool,
}

impl Backlog {
    /// Of a spool with lines of earlier runs.
    pub(super) fn new(pending: Range<u64>, in_order: bool) -> Self {
        Self {
            done_until: pending.start,
            pending: pending.end - pending.start,
            on_disk: pending,
            passed: Passed::default(),
            reading: None,
            reads_again: false,
            n_ranges: 0,
            newest: VecDeque::new(),
            fresh: VecDeque::new(),
            appending: Vec::new(),
            in_flight: BTreeSet::new(),
            done: Ranges::default(),
            bytes: 0,
            rejected: Vec::new(),
            is_down: false,
            in_order,
        }
    }

    /// The spool is open only now: no line has a number yet.
    pub(super) fn opened(&mut self, pending: Range<u64>) {
        self.done_until = pending.start;
        self.pending = pending.end - pending.start;
        self.on_disk = pending;
    }

    /// Lines that are in memory, without those that are ready or in flight.
    pub(super) fn in_memory(&self) -> usize {
        self.newest.len() + self.unkept()
    }

    /// Lines that would be lost if the agent ended now.
    pub(super) fn unkept(&self) -> usize {
        self.fresh.len() + self.appending.len()
    }

    /// Lines that are on the disk and not done.
    pub(super) fn kept(&self) -> u64 {
        self.pending.saturating_sub(self.done.len())
    }

    /// Bytes of the spool.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether a line that is ready is on the disk.
    pub(super) fn keeps(&self, line: &Queued) -> bool {
        line.line.number.is_some_and(|number| number >= self.done_until)
    }

    /// Lines are to be set aside, as many as there is room for.
    pub(super) fn set_aside(&mut self, rejected: Vec<Rejected>) {
        let room = MAX_REJECTED.saturating_sub(self.rejected.len());
        self.rejected.extend(rejected.into_iter().take(room));
    }

    /// The disk hangs.
    pub(super) fn hangs(&mut self) {
        self.is_down = true;
    }

    /// Takes a line that came in.
    pub(super) fn push(&mut self, line: Queued, receipts: Receipts) {
        self.fresh.push_back(Fresh { line, receipts });
    }

    /// Drops up to `n` lines that are not on the disk, the oldest first; returns how many.
    pub(super) fn shed(&mut self, n: usize) -> usize {
        let n = n.min(self.fresh.len());
        for fresh in self.fresh.drain(..n) {
            fresh.receipts.iter().for_each(Receipt::lose);
        }
        n
    }

    /// A batch of the newest lines, where it is their turn.
    pub(super) fn take_newest(&mut self, blocked: &Blocked, size: usize, has_routes: bool) -> Option<Batch> {
        if !self.is_newest_open() {
            return None;
        }
        if !self.in_order || self.passed.is_empty() {
            return take_from(&mut self.newest, blocked, size, has_routes);
        }
        let mut blocked = blocked.clone();
        self.passed.block(&mut blocked);
        take_from(&mut self.newest, &blocked, size, has_routes)
    }

    fn is_newest_open(&self) -> bool {
        !self.in_order || self.on_disk.is_empty()
    }

    /// Lines of the newest that can be counted, and of the fresh where the disk is down.
    pub(super) fn open(&self) -> impl Iterator<Item = &Queued> {
        let waits = |line: &&Queued| self.in_order && self.passed.holds(line);
        let newest = self.is_newest_open().then(|| self.newest.iter().filter(move |line| !waits(line)));
        let fresh = self.is_down.then(|| self.fresh.iter().map(|fresh| &fresh.line));
        newest.into_iter().flatten().chain(fresh.into_iter().flatten())
    }

    /// How many those are.
    pub(super) fn n_open(&self) -> usize {
        if self.in_order && !self.passed.is_empty() {
            return self.open().count();
        }
        let newest = if self.is_newest_open() { self.newest.len() } else { 0 };
        newest + if self.is_down { self.fresh.len() } else { 0 }
    }

    /// A batch of fresh lines, where the disk does not take them.
    pub(super) fn take_fresh(&mut self, blocked: &Blocked, size: usize) -> Option<Batch> {
        if !self.is_down {
            return None;
        }
        let route = self.fresh.iter().find(|fresh| !blocked.has(&fresh.line))?.line.route.clone();
        let mut lines = Vec::new();
        self.fresh.retain_mut(|Fresh { line: queued, receipts }| {
            let is_taken = lines.len() < size && queued.route == route && !blocked.has(queued);
            if is_taken {
                // It may be written, or not: nobody is told that it is kept.
                receipts.iter().for_each(Receipt::lose);
                lines.push(queued.line.clone());
            }
            !is_taken
        });
        Some(Batch { route, lines })
    }

    /// Lines are handed out.
    pub(super) fn handed_out(&mut self, lines: &[Line]) {
        self.in_flight.extend(lines.iter().filter_map(|line| line.number));
    }

    /// Lines that were handed out are done with.
    pub(super) fn settle(&mut self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            // Else it is none of the spool's any more.
            if self.in_flight.remove(&number) && number >= self.done_until {
                self.done.insert(number..number + 1);
            }
            self.passed.settled(number);
        }
    }

    /// Lines of one route that were handed out come back, each to where it belongs by its number now: those before all that is on
    /// the disk alone are `ready`.
    pub(super) fn put_back(
        &mut self,
        lines: impl DoubleEndedIterator<Item = Queued>,
        ready: &mut VecDeque<Queued>,
    ) {
        let (mut before, mut behind) = (Vec::new(), Vec::new());
        for line in lines.rev() {
            let Some(number) = line.line.number else {
                self.fresh.push_front(Fresh { line, receipts: Receipts::from([]) });
                continue;
            };
            self.in_flight.remove(&number);
            if number < self.on_disk.start {
                before.push(line);
            } else if number >= self.on_disk.end {
                behind.push(line);
            }
            // Else it is read again.
        }
        put_in_order(ready, before);
        put_in_order(&mut self.newest, behind);
    }

    /// What is to be done on the disk now, and what may be read into memory.
    pub(super) fn job(&mut self, wanted: Wanted) -> Option<Job> {
        let n = self.fresh.len().min(MAX_APPENDED);
        if n > 0 {
            self.appending = self.fresh.drain(..n).collect();
        }
        let append =
            self.appending.iter().map(|f| (f.line.line.text.clone(), f.line.route.clone())).collect();
        let done: Vec<Range<u64>> = self.done.iter().collect();
        self.done = Ranges::default();
        self.reading = if wanted.lines > 0 { self.next_read() } else { None };
        let read = self.reading.map(|read| match read {
            Read::On => (self.on_disk.start, wanted),
            Read::Again(from) => (from, wanted),
        });
        let rejected = std::mem::take(&mut self.rejected);
        let job = Job { append, done, read, rejected };
        job.is_something().then_some(job)
    }

    /// What was passed and what was not read yet are read in turn: one can be long, and the other wait for nothing.
    fn next_read(&mut self) -> Option<Read> {
        let reads_on = !self.on_disk.is_empty() && (self.passed.is_empty() || self.n_ranges < MAX_RANGES);
        self.reads_again = !self.reads_again || !reads_on;
        let again = self.passed.again().filter(|_| self.reads_again).map(Read::Again);
        again.or(reads_on.then_some(Read::On))
    }

    /// Lines that are blocked take the room of `ready`, for `max_ready` lines: they are read past, where there is something behind
    /// them. Some of each route or measurement stay, which can be `max_keys`.
    pub(super) fn pass(
        &mut self,
        ready: &mut VecDeque<Queued>,
        blocked: &Blocked,
        max_ready: usize,
        max_keys: usize,
    ) {
        let is_more = !self.on_disk.is_empty() || self.passed.again().is_some();
        if is_more && self.n_ranges < MAX_RANGES {
            let n_blocked = ready.iter().filter(|line| blocked.has(line)).count();
            // The others are written, and make room.
            if n_blocked > max_ready / 4 {
                self.passed.pass(ready, blocked, max_ready / 8, max_keys);
            }
        }
    }

    /// What became of a job; returns how many lines are lost. What is now before all that is on the disk alone is `ready`, up to
    /// `max_ready` lines, and `max_newest` stay in memory behind it.
    pub(super) fn apply(
        &mut self,
        outcome: Outcome,
        ready: &mut VecDeque<Queued>,
        max_ready: usize,
        max_newest: usize,
    ) -> Lost {
        self.done_until = outcome.done_until;
        self.done.forget_below(self.done_until);
        (self.pending, self.bytes, self.n_ranges) = (outcome.pending, outcome.bytes, outcome.n_ranges);
        let mut lost = Lost::default();
        for (loss, range) in outcome.lost {
            let n = match loss {
                Loss::Damaged => &mut lost.damaged,
                Loss::Overflow => &mut lost.overflowed,
                Loss::Expired => &mut lost.expired,
            };
            *n += self.lose(range, ready);
        }
        if let (Some(Ok((lines, next))), Some(read)) = (outcome.read, self.reading.take()) {
            self.was_read(read, lines, next, ready);
        }
        match outcome.appended {
            Some(Ok(first)) => {
                self.is_down = false;
                let appended = std::mem::take(&mut self.appending);
                for (number, fresh) in (first..).zip(appended) {
                    self.kept_line(number, fresh.line, max_newest);
                }
            }
            Some(Err(_)) => {
                self.is_down = true;
                let failed = std::mem::take(&mut self.appending);
                failed.into_iter().rev().for_each(|fresh| self.fresh.push_front(fresh));
            }
            None => {}
        }
        self.advance(ready, max_ready);
        lost
    }

    /// Lines were read, and `next` is where to read on.
    fn was_read(&mut self, read: Read, lines: Vec<Queued>, next: u64, ready: &mut VecDeque<Queued>) {
        let is_free = |number: &u64| !self.in_flight.contains(number) && !self.done.contains(*number);
        match read {
            Read::On => {
                let is_here = |line: &Queued| {
                    let number = line.line.number.filter(is_free);
                    number.is_some_and(|number| self.on_disk.contains(&number)) && !self.passed.holds(line)
                };
                put_in_order(ready, lines.into_iter().filter(is_here).collect());
                self.on_disk.start = next.clamp(self.on_disk.start, self.on_disk.end);
            }
            // Else something before it is to be read first.
            Read::Again(from) if self.passed.again() == Some(from) => {
                let end = self.on_disk.start;
                let is_ready =
                    |number| ready.binary_search_by_key(&Some(number), |line| line.line.number).is_ok();
                let is_here = |line: &Queued| {
                    let number = line.line.number.filter(is_free);
                    number.is_some_and(|number| number < end && !is_ready(number)) && self.passed.wants(line)
                };
                let lines = lines.into_iter().filter(is_here).collect();
                put_in_order(ready, lines);
                self.passed.read_again(next, end);
            }
            Read::Again(_) => {}
        }
    }

    /// Lines that the spool has lost; returns how many have not been written to the other side, and are not about to be.
    fn lose(&mut self, range: Range<u64>, ready: &mut VecDeque<Queued>) -> u64 {
        self.passed.lost(range.clone());
        for lines in [ready, &mut self.newest] {
            lines.retain(|line| line.line.number.is_none_or(|number| !range.contains(&number)));
        }
        let n_open: u64 =
            self.done.missing_in(range.clone()).into_iter().map(|open| open.end - open.start).sum();
        if self.on_disk.start >= range.start {
            self.on_disk.start = self.on_disk.start.max(range.end);
            self.on_disk.end = self.on_disk.end.max(range.end);
        }
        n_open.saturating_sub(self.in_flight.range(range).count() as u64)
    }

    /// A line is on the disk, and stays in memory while there is room.
    fn kept_line(&mut self, number: u64, mut line: Queued, max_newest: usize) {
        line.line.number = Some(number);
        if self.newest.is_empty() && self.on_disk.is_empty() {
            self.on_disk = number..number;
        }
        self.newest.push_back(line);
        while self.newest.len() > max_newest.max(1) && self.unload() {}
    }

    /// The oldest of the newest is on the disk alone from now on; `false` where there is none.
    pub(super) fn unload(&mut self) -> bool {
        let Some(line) = self.newest.pop_front() else { return false };
        let Some(number) = line.line.number else { return false };
        if self.on_disk.is_empty() {
            // What is to be read again needs no look at it.
            self.on_disk.start = number + u64::from(self.passed.holds(&line));
        }
        self.on_disk.end = number + 1;
        true
    }

    /// The newest are ready when nothing is between, as far as there is room.
    pub(super) fn advance(&mut self, ready: &mut VecDeque<Queued>, max_ready: usize) {
        while self.on_disk.is_empty()
            && ready.len() + self.in_flight.len() < max_ready
            && let Some(line) = self.newest.pop_front_if(|line| !self.passed.holds(line))
        {
            let next = line.line.number.map_or(self.on_disk.end, |number| number + 1);
            self.on_disk = next..next;
            ready.push_back(line);
        }
    }
}

/// Adds lines where their numbers say: what comes back comes by routes, and what is behind the first of a queue has to have a
/// higher number than it.
fn put_in_order(lines: &mut VecDeque<Queued>, more: Vec<Queued>) {
    if !more.is_empty() {
        lines.extend(more);
        lines.make_contiguous().sort_by_key(|line| line.line.number);
    }
}

#[cfg(test)]
impl Backlog {
    /// Whether a line is on the disk alone because others are read past it.
    pub(super) fn has_passed(&self, number: u64, route: &super::batch::Route) -> bool {
        let line = Line { text: bytes::Bytes::new(), number: Some(number) };
        number < self.on_disk.start && self.passed.has(&Queued { line, route: route.clone() })
    }

    /// In how many places each line is that is not done; one that is in flight does not count as one on the disk.
    pub(super) fn places(&self, ready: &VecDeque<Queued>) -> std::collections::BTreeMap<u64, usize> {
        let in_memory = ready.iter().chain(&self.newest).filter_map(|line| line.line.number);
        let on_disk = self.on_disk.clone().filter(|number| !self.in_flight.contains(number));
        let on_disk = on_disk.filter(|number| *number >= self.done_until && !self.done.contains(*number));
        let mut places = std::collections::BTreeMap::new();
        for number in in_memory.chain(self.in_flight.iter().copied()).chain(on_disk) {
            *places.entry(number).or_insert(0) += 1;
        }
        places
    }
}
