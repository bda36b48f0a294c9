//! Which tag of a measurement grows: how many values each had among the latest new series. Pure, and bounded.

use std::collections::HashMap;

use crate::point::{Name, Point};

/// Measurements that are looked at; the one that had no new series for longest makes room.
const MAX_MEASUREMENTS: usize = 128;
/// Tags of a measurement that are looked at.
const MAX_TAGS: usize = 32;
/// New series of a window. Two windows are looked at, so that what grew long ago is not blamed for what grows now.
const WINDOW: usize = 500;
/// Bits of a sketch: enough to tell the values of two windows.
const BITS: usize = 512;

/// The tags of each measurement, by the hash of its name.
#[derive(Default)]
pub(super) struct Growth {
    measurements: HashMap<u64, Tags>,
    n_new: u64,
}

#[derive(Default)]
struct Tags {
    tags: Vec<(Name, Values)>,
    /// New series of the window so far.
    n_new: usize,
    /// The number of the latest of them.
    latest: u64,
}

impl Tags {
    /// Those of a tag, unless there are too many tags.
    fn values(&mut self, key: &Name) -> Option<&mut Values> {
        let at = self.tags.iter().position(|(of, _)| of == key).unwrap_or(self.tags.len());
        if at == self.tags.len() && at < MAX_TAGS {
            self.tags.push((key.clone(), Values::default()));
        }
        self.tags.get_mut(at).map(|(_, values)| values)
    }
}

/// The values that a tag had, as a bit for each hash (linear counting).
#[derive(Default)]
struct Values {
    now: [u64; BITS / 64],
    before: [u64; BITS / 64],
}

impl Values {
    fn add(&mut self, hash: u64) {
        let bit = hash as usize % BITS;
        self.now[bit / 64] |= 1 << (bit % 64);
    }

    /// About how many there were.
    fn n(&self) -> usize {
        let set: u32 =
            self.now.iter().zip(&self.before).map(|(now, before)| (now | before).count_ones()).sum();
        // With all bits set there were more than can be told.
        let unset = (BITS - set as usize).max(1);
        (BITS as f64 * (BITS as f64 / unset as f64).ln()).round() as usize
    }
}

impl Growth {
    /// Takes a new series into account: the hash of its measurement, and of each of its tags.
    pub(super) fn add(&mut self, measurement: u64, point: &Point, hash: impl Fn(&(Name, Name)) -> u64) {
        self.n_new += 1;
        if self.measurements.len() >= MAX_MEASUREMENTS && !self.measurements.contains_key(&measurement) {
            let oldest = self.measurements.iter().min_by_key(|(_, tags)| tags.latest).map(|(hash, _)| *hash);
            oldest.and_then(|oldest| self.measurements.remove(&oldest));
        }
        let of = self.measurements.entry(measurement).or_default();
        of.latest = self.n_new;
        of.n_new += 1;
        if of.n_new > WINDOW {
            of.n_new = 1;
            for (_, values) in &mut of.tags {
                values.before = std::mem::take(&mut values.now);
            }
        }
        for tag in &point.tags {
            if let Some(values) = of.values(&tag.0) {
                values.add(hash(tag));
            }
        }
    }

    /// The tag of a point that had the most values, as its number among the point's tags, and about how many. `None` where no
    /// tag had two.
    pub(super) fn most(&self, measurement: u64, point: &Point) -> Option<(usize, usize)> {
        let of = self.measurements.get(&measurement)?;
        let n = |key: &Name| of.tags.iter().find(|(of, _)| of == key).map_or(0, |(_, values)| values.n());
        let tags = point.tags.iter().enumerate().map(|(at, (key, _))| (at, n(key)));
        tags.max_by_key(|(_, n)| *n).filter(|(_, n)| *n > 1)
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher as _, RandomState};

    use super::*;
    use crate::point::Timestamp;

    /// Adds series whose tags have so many values each.
    fn add(growth: &mut Growth, state: &RandomState, n: usize, values: [(&'static str, usize); 3]) -> Point {
        let mut last = None;
        for i in 0..n {
            let mut point = Point::new("m", Timestamp(0));
            for (key, values) in values {
                point.set_tag(key, format!("{key}-{n}-{}", i % values));
            }
            growth.add(1, &point, |tag| state.hash_one(tag));
            last = Some(point);
        }
        last.unwrap()
    }

    #[test]
    fn the_tag_with_the_most_values_of_late_is_blamed() {
        let (mut growth, state) = (Growth::default(), RandomState::new());
        let point = add(&mut growth, &state, 400, [("host", 1), ("instance", 400), ("path", 20)]);
        let (at, n) = growth.most(1, &point).unwrap();
        assert_eq!(at, 1);
        assert!((300..500).contains(&n), "{n}");
        let point = add(&mut growth, &state, 1_200, [("host", 1), ("instance", 5), ("path", 1_200)]);
        let (at, n) = growth.most(1, &point).unwrap();
        assert_eq!(at, 2, "what grew before is forgotten");
        assert!((500..1_500).contains(&n), "{n}");
        assert_eq!(growth.most(2, &point), None, "of another measurement nothing is known");
    }

    #[test]
    fn measurements_and_tags_without_number_take_bounded_memory() {
        let mut growth = Growth::default();
        for i in 0..10_000_u64 {
            let point = Point::new("m", Timestamp(0)).tag(format!("k{i}"), "v").tag("a", format!("{i}"));
            growth.add(i, &point, |_| i);
            growth.add(0, &point, |_| i);
        }
        assert_eq!(growth.measurements.len(), MAX_MEASUREMENTS);
        assert!(growth.measurements.values().all(|tags| tags.tags.len() <= MAX_TAGS));
        let point = Point::new("m", Timestamp(0)).tag("k9999", "v").tag("a", "x");
        assert_eq!(growth.most(0, &point).map(|(at, _)| at), Some(1));
    }
}
