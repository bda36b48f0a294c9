//! Which numbers of points are done: all before one, and some behind it.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of numbers that fills up from below.
#[derive(Debug, Default)]
pub(crate) struct Ranges {
    /// The ends by the starts; no two touch.
    ranges: BTreeMap<u64, u64>,
}

impl Ranges {
    /// How many ranges there are.
    pub(crate) fn count(&self) -> usize {
        self.ranges.len()
    }

    /// Adds numbers.
    pub(crate) fn insert(&mut self, Range { mut start, mut end }: Range<u64>) {
        if start >= end {
            return;
        }
        if let Some((before, before_end)) = self.ranges.range(..=start).next_back()
            && *before_end >= start
        {
            start = *before;
            end = end.max(*before_end);
        }
        while let Some((after, after_end)) = self.ranges.range(start..=end).next() {
            let after = *after;
            end = end.max(*after_end);
            self.ranges.remove(&after);
        }
        self.ranges.insert(start, end);
    }

    /// Removes all numbers below one.
    pub(crate) fn forget_below(&mut self, number: u64) {
        while let Some(first) = self.ranges.first_entry()
            && *first.key() < number
        {
            let end = first.remove();
            if end > number {
                self.ranges.insert(number, end);
            }
        }
    }

    /// Removes all numbers from one on.
    pub(crate) fn forget_from(&mut self, number: u64) {
        self.ranges.split_off(&number);
        if let Some(mut last) = self.ranges.last_entry()
            && *last.get() > number
        {
            last.insert(number);
        }
    }

    /// Whether it has a number.
    pub(crate) fn contains(&self, number: u64) -> bool {
        self.ranges.range(..=number).next_back().is_some_and(|(_, end)| *end > number)
    }

    /// The first number from `number` on that it does not have.
    pub(crate) fn first_missing(&self, number: u64) -> u64 {
        self.ranges.range(..=number).next_back().map_or(number, |(_, end)| number.max(*end))
    }

    /// What of a range it does not have, in order.
    pub(crate) fn missing_in(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let (mut missing, mut at) = (Vec::new(), range.start);
        while at < range.end {
            at = self.first_missing(at);
            let next = self.ranges.range(at..).next().map_or(range.end, |(start, _)| (*start).min(range.end));
            if at < next {
                missing.push(at..next);
            }
            at = next.max(at);
        }
        missing
    }

    /// The ranges, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ranges.iter().map(|(start, end)| *start..*end)
    }

    /// How many it has.
    pub(crate) fn len(&self) -> u64 {
        self.iter().map(|range| range.end - range.start).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn is_what_a_set_of_numbers_is() {
        fastrand::seed(7);
        for _ in 0..2_000 {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for _ in 0..fastrand::usize(1..12) {
                let start = fastrand::u64(0..30);
                let end = start + fastrand::u64(0..6);
                let which = fastrand::u8(0..6);
                if which == 0 {
                    ranges.forget_below(start);
                    set = set.split_off(&start);
                } else if which == 1 {
                    ranges.forget_from(start);
                    set.split_off(&start);
                } else {
                    ranges.insert(start..end);
                    set.extend(start..end);
                }
            }
            let of = start_and_end();
            assert_eq!(ranges.iter().flatten().collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
            assert!(ranges.iter().zip(ranges.iter().skip(1)).all(|(a, b)| a.end < b.start), "{ranges:?}");
            let missing: Vec<u64> = ranges.missing_in(of.clone()).into_iter().flatten().collect();
            let expected: Vec<u64> = of.clone().filter(|n| !set.contains(n)).collect();
            assert_eq!(missing, expected, "{ranges:?} {of:?}");
            assert!((0..40).all(|n| ranges.contains(n) == set.contains(&n)));
            assert_eq!(ranges.first_missing(of.start), (of.start..).find(|n| !set.contains(n)).unwrap());
            assert_eq!(ranges.len(), set.len() as u64);
        }
    }

    fn start_and_end() -> Range<u64> {
        let start = fastrand::u64(0..30);
        start..start + fastrand::u64(0..10)
    }
}
