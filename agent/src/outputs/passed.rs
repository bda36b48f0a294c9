//! Lines that were read past because what they belong to is blocked: they are on the disk alone, and no other waits for them.
//!
//! ```text
//! done | ready: the first of what is blocked, and others | on the disk: passed ........ | on the disk: not read yet
//!                                                        from ...                 `end`
//! ```
//!
//! The first lines stay in memory and are tried again and again. When one of them is done with, the rest is read again, from the
//! first that was passed: so a block that lasts costs no reading. However many lines they are, of each route there is a number
//! and the few that stay. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use super::batch::{Blocked, Key, Queued};

#[derive(Debug, Default)]
pub(super) struct Passed {
    keys: BTreeMap<Key, Passing>,
    /// The lines that are tried, by their numbers, of what is held.
    tried: BTreeMap<u64, Key>,
    /// What catches up is read on from here.
    again: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passing {
    /// All lines from this number on are on the disk alone, as far as the spool was read.
    Held(u64),
    /// They are read again.
    CatchesUp,
}

impl Passed {
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether older lines than this one have to be read again, of what it belongs to.
    pub(super) fn holds(&self, line: &Queued) -> bool {
        self.states(line).next().is_some()
    }

    /// Blocks all that it has lines of.
    pub(super) fn block(&self, blocked: &mut Blocked) {
        self.keys.keys().for_each(|key| blocked.block(key));
    }

    /// Where to read again, if anywhere.
    pub(super) fn again(&self) -> Option<u64> {
        self.keys.values().any(|state| *state == Passing::CatchesUp).then_some(self.again)
    }

    /// Whether a line that was passed is wanted now.
    pub(super) fn wants(&self, line: &Queued) -> bool {
        let is_held = |state| matches!(state, Passing::Held(from) if line.line.number >= Some(from));
        self.states(line).any(|state| state == Passing::CatchesUp) && !self.states(line).any(is_held)
    }

    /// It was read again up to a number; all that was passed is before `end`.
    pub(super) fn read_again(&mut self, next: u64, end: u64) {
        self.again = next;
        if next >= end {
            self.keys.retain(|_, state| *state != Passing::CatchesUp);
        }
    }

    /// Passes blocked lines of `ready` but for the first ones of each route or measurement: so many of all together, and one of
    /// each at least. Where those would be more than `max`, all stay.
    pub(super) fn pass(
        &mut self,
        ready: &mut VecDeque<Queued>,
        blocked: &Blocked,
        to_stay: usize,
        max: usize,
    ) {
        let mut counts: BTreeMap<Key, usize> = BTreeMap::new();
        for key in ready.iter().filter_map(|line| blocked.key_of(line)) {
            *counts.entry(key).or_default() += 1;
        }
        let n_keys = counts.len() + self.keys.keys().filter(|key| !counts.contains_key(*key)).count();
        if n_keys > max {
            return;
        }
        let to_stay = (to_stay / n_keys.max(1)).max(1);
        counts.retain(|_, n| *n > to_stay);
        self.tried.retain(|_, key| !counts.contains_key(key));
        let mut stay: BTreeMap<Key, usize> = BTreeMap::new();
        ready.retain(|line| {
            let key = blocked.key_of(line).filter(|key| counts.contains_key(key));
            let (Some(key), Some(number)) = (key, line.line.number) else { return true };
            let n = stay.entry(key.clone()).or_default();
            *n += 1;
            let stays = *n <= to_stay;
            if stays {
                self.tried.insert(number, key);
            } else {
                let from = match self.keys.get(&key) {
                    Some(Passing::Held(from)) => number.min(*from),
                    Some(Passing::CatchesUp) => number.min(self.again),
                    None => number,
                };
                self.keys.insert(key, Passing::Held(from));
            }
            stays
        });
    }

    /// A line is done with: where it was tried, what is behind it is read again.
    pub(super) fn settled(&mut self, number: u64) {
        if let Some(key) = self.tried.remove(&number) {
            self.catch_up(&key);
        }
    }

    /// Lines are lost.
    pub(super) fn lost(&mut self, range: Range<u64>) {
        while let Some((number, key)) = self.tried.range(range.clone()).next() {
            let (number, key) = (*number, key.clone());
            self.tried.remove(&number);
            if !self.tried.values().any(|other| *other == key) {
                self.catch_up(&key);
            }
        }
    }

    fn catch_up(&mut self, key: &Key) {
        let again = self.again();
        let Some(state) = self.keys.get_mut(key) else { return };
        if let Passing::Held(from) = *state {
            self.again = again.map_or(from, |again| again.min(from));
            *state = Passing::CatchesUp;
            self.tried.retain(|_, other| other != key);
        }
    }

    /// What is known of a line's route, and of its measurement.
    fn states(&self, line: &Queued) -> impl Iterator<Item = Passing> {
        // There are none most of the time.
        let keys = (!self.keys.is_empty()).then(|| line.keys());
        keys.into_iter().flatten().filter_map(|key| self.keys.get(&key).copied())
    }
}

#[cfg(test)]
impl Passed {
    /// Whether a line of a route is on the disk alone, before what was not read yet.
    pub(super) fn has(&self, line: &Queued) -> bool {
        self.states(line).any(|state| match state {
            Passing::Held(from) => line.line.number >= Some(from),
            Passing::CatchesUp => line.line.number >= Some(self.again),
        })
    }
}
