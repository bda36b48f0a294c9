//! The latest value of each series, until it expires, and no more of them than there may be. Pure: the time is passed in.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::samples::{Number, Sample};
use crate::point::Timestamp;
use crate::schema::ValueType;

/// What a series takes besides its texts, roughly: its place in the tree, its number, its times.
const OVERHEAD: usize = 128;
/// What a bucket or a quantile takes, in memory and on a page.
const PART: usize = 64;

/// What is known of a series.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    pub(super) labels: Arc<str>,
    pub(super) value: SeriesValue,
    pub(super) time: Timestamp,
    /// When it was last written.
    written: Instant,
}

/// The value of a series.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum SeriesValue {
    Single(f64),
    Many(Box<Distribution>),
}

/// A histogram, or a summary.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Distribution {
    /// How many there were up to each bound, in the bounds' order.
    pub(super) buckets: Vec<(f64, f64)>,
    /// The value of each quantile, likewise.
    pub(super) quantiles: Vec<(f64, f64)>,
    pub(super) sum: f64,
    pub(super) count: f64,
}

impl Distribution {
    fn set(&mut self, number: Number) {
        match number {
            Number::Value(_) => {}
            Number::Sum(sum) => self.sum = sum,
            Number::Count(count) => self.count = count,
            Number::Bucket { bound, count } => insert(&mut self.buckets, bound, count),
            Number::Quantile { quantile, value } => insert(&mut self.quantiles, quantile, value),
        }
    }

    /// Whether a number is a part that it does not have.
    fn grows(&self, number: Number) -> bool {
        let has = |parts: &[(f64, f64)], at: f64| parts.iter().any(|part| part.0.total_cmp(&at).is_eq());
        match number {
            Number::Bucket { bound, .. } => !has(&self.buckets, bound),
            Number::Quantile { quantile, .. } => !has(&self.quantiles, quantile),
            Number::Value(_) | Number::Sum(_) | Number::Count(_) => false,
        }
    }

    fn n_parts(&self) -> usize {
        self.buckets.len() + self.quantiles.len()
    }
}

fn insert(parts: &mut Vec<(f64, f64)>, at: f64, value: f64) {
    match parts.binary_search_by(|part| part.0.total_cmp(&at)) {
        Ok(i) => parts[i].1 = value,
        Err(i) => parts.insert(i, (at, value)),
    }
}

/// A metric with its series.
#[derive(Clone, Debug)]
pub(super) struct MetricFamily {
    pub(super) value_type: ValueType,
    pub(super) help: Cow<'static, str>,
    is_single: bool,
    series: BTreeMap<Arc<str>, Series>,
}

impl MetricFamily {
    pub(super) fn series(&self) -> impl Iterator<Item = &Series> {
        self.series.values()
    }

    /// `histogram` or `summary`, if it is one: a summary has no buckets.
    pub(super) fn distribution(&self) -> Option<&'static str> {
        let has_buckets = |series: &Series| match &series.value {
            SeriesValue::Single(_) => false,
            SeriesValue::Many(distribution) => !distribution.buckets.is_empty(),
        };
        match self.is_single {
            true => None,
            false if self.series().any(has_buckets) => Some("histogram"),
            false => Some("summary"),
        }
    }
}

/// All metrics.
#[derive(Debug)]
pub(super) struct Collection {
    families: BTreeMap<String, MetricFamily>,
    /// What they take, and would take as a page.
    bytes: usize,
    limit: usize,
    /// Series that were not written for so long are removed; zero keeps all.
    expiration: Duration,
    /// When that was last looked at.
    looked: Option<Instant>,
}

/// Why a sample was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// There are as many series as there may be.
    Full,
    /// Its metric is a histogram or summary, and it is none, or the other way round.
    Mixed,
}

impl Collection {
    pub(super) fn new(limit: usize, expiration: Duration) -> Self {
        Self { families: BTreeMap::new(), bytes: 0, limit, expiration, looked: None }
    }

    /// Takes a sample. One that is older than the one before changes nothing.
    pub(super) fn add(&mut self, sample: Sample<'_>, now: Instant) -> Result<(), Refused> {
        let Self { families, bytes, limit, .. } = self;
        let is_single = matches!(sample.number, Number::Value(_));
        let is_full = |more: usize| *bytes + more > *limit;
        let Some(family) = families.get_mut(&*sample.name) else {
            let size = size(&sample) + sample.name.len() + OVERHEAD;
            if is_full(size) {
                return Err(Refused::Full);
            }
            let (value_type, help) = (sample.value_type, sample.help.clone());
            let name = sample.name.clone().into_owned();
            let mut family = MetricFamily { value_type, help, is_single, series: BTreeMap::new() };
            let (key, series) = series(sample, now);
            family.series.insert(key, series);
            families.insert(name, family);
            *bytes += size;
            return Ok(());
        };
        if family.is_single != is_single {
            return Err(Refused::Mixed);
        }
        let Some(known) = family.series.get_mut(&sample.key) else {
            let size = size(&sample);
            if is_full(size) {
                return Err(Refused::Full);
            }
            let (key, series) = series(sample, now);
            family.series.insert(key, series);
            *bytes += size;
            return Ok(());
        };
        if sample.time < known.time {
            return Ok(());
        }
        match (&mut known.value, sample.number) {
            (SeriesValue::Single(value), Number::Value(new)) => *value = new,
            (SeriesValue::Single(_), _) => return Err(Refused::Mixed),
            (SeriesValue::Many(distribution), number) => {
                if distribution.grows(number) {
                    let more = PART + sample.name.len() + known.labels.len();
                    if is_full(more) {
                        return Err(Refused::Full);
                    }
                    *bytes += more;
                }
                distribution.set(number);
            }
        }
        (known.time, known.written) = (sample.time, now);
        if known.labels != sample.labels {
            let before = size_of_series(&sample.name, &sample.key, known);
            known.labels = sample.labels;
            *bytes = (*bytes + size_of_series(&sample.name, &sample.key, known)).saturating_sub(before);
        }
        Ok(())
    }

    /// Removes what was not written for long.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.expiration.is_zero() {
            return;
        }
        // Not at each batch of many.
        let pause = self.expiration / 100;
        if self.looked.is_some_and(|looked| now.duration_since(looked) < pause) {
            return;
        }
        self.looked = Some(now);
        let Self { families, bytes, expiration, .. } = self;
        families.retain(|name, family| {
            family.series.retain(|key, series| {
                let stays = now.duration_since(series.written) <= *expiration;
                if !stays {
                    *bytes = bytes.saturating_sub(size_of_series(name, key, series));
                }
                stays
            });
            if family.series.is_empty() {
                *bytes = bytes.saturating_sub(name.len() + OVERHEAD);
            }
            !family.series.is_empty()
        });
        if families.is_empty() {
            *bytes = 0;
        }
    }

    /// All metrics, by name.
    pub(super) fn families(&self) -> impl Iterator<Item = (&str, &MetricFamily)> {
        self.families.iter().map(|(name, family)| (name.as_str(), family))
    }

    /// What it takes, which is about the length of its page.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn series(sample: Sample<'_>, now: Instant) -> (Arc<str>, Series) {
    let value = match sample.number {
        Number::Value(value) => SeriesValue::Single(value),
        number => {
            let mut distribution = Box::<Distribution>::default();
            distribution.set(number);
            SeriesValue::Many(distribution)
        }
    };
    (sample.key, Series { labels: sample.labels, value, time: sample.time, written: now })
}

/// What a new series takes.
fn size(sample: &Sample<'_>) -> usize {
    let texts = sample.name.len() + sample.key.len() + sample.labels.len();
    let part = matches!(sample.number, Number::Bucket { .. } | Number::Quantile { .. });
    texts + OVERHEAD + usize::from(part) * (PART + sample.name.len() + sample.labels.len())
}

fn size_of_series(name: &str, key: &str, series: &Series) -> usize {
    let parts = match &series.value {
        SeriesValue::Single(_) => 0,
        SeriesValue::Many(distribution) => distribution.n_parts(),
    };
    let texts = name.len() + series.labels.len();
    texts + key.len() + OVERHEAD + parts * (PART + texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPIRATION: Duration = Duration::from_secs(60);

    fn sample<'a>(name: &'a str, labels: &str, number: Number, time: i64) -> Sample<'a> {
        let labels: Arc<str> = labels.into();
        let (value_type, key) = (ValueType::Gauge, Arc::clone(&labels));
        Sample { name: name.into(), value_type, help: "".into(), key, labels, number, time: Timestamp(time) }
    }

    fn values(collection: &Collection) -> Vec<String> {
        let all = collection.families().flat_map(|(name, family)| {
            family.series().map(move |series| match &series.value {
                SeriesValue::Single(value) => format!("{name}{{{}}} {value}", series.labels),
                SeriesValue::Many(of) => {
                    format!(
                        "{name}{{{}}} {:?} {:?} {} {}",
                        series.labels, of.buckets, of.quantiles, of.sum, of.count
                    )
                }
            })
        });
        all.collect()
    }

    #[test]
    fn the_latest_value_counts_and_what_is_late_does_not() {
        let (mut collection, now) = (Collection::new(1 << 20, EXPIRATION), Instant::now());
        for (labels, value, time) in
            [("a", 1.0, 5), ("b", 2.0, 5), ("a", 3.0, 6), ("b", 4.0, 4), ("b", 5.0, 5)]
        {
            collection.add(sample("m", labels, Number::Value(value), time), now).unwrap();
        }
        assert_eq!(values(&collection), ["m{a} 3", "m{b} 5"]);
    }

    #[test]
    fn a_histogram_is_put_together_and_nothing_else_has_its_name() {
        let (mut collection, now) = (Collection::new(1 << 20, EXPIRATION), Instant::now());
        for number in [
            Number::Count(7.0),
            Number::Bucket { bound: f64::INFINITY, count: 7.0 },
            Number::Bucket { bound: 0.5, count: 2.0 },
            Number::Sum(9.0),
            Number::Bucket { bound: 0.5, count: 3.0 },
        ] {
            collection.add(sample("m", "a", number, 1), now).unwrap();
        }
        assert_eq!(values(&collection), ["m{a} [(0.5, 3.0), (inf, 7.0)] [] 9 7"]);
        let other = sample("m", "b", Number::Value(1.0), 1);
        assert_eq!(collection.add(other, now), Err(Refused::Mixed));
    }

    #[test]
    fn what_is_not_written_expires_and_leaves_its_room() {
        let (mut collection, start) = (Collection::new(1 << 20, EXPIRATION), Instant::now());
        let add = |collection: &mut Collection, name: &'static str, labels: &str, seconds: u64| {
            let at = start + Duration::from_secs(seconds);
            let number = Number::Bucket { bound: 1.0, count: 1.0 };
            collection.add(sample(name, labels, number, 1), at).unwrap();
            collection.expire(at);
        };
        add(&mut collection, "m", "a", 0);
        let one = collection.bytes();
        add(&mut collection, "m", "b", 0);
        add(&mut collection, "n", "a", 0);
        add(&mut collection, "m", "a", 50);
        assert_eq!(values(&collection).len(), 3);
        collection.expire(start + Duration::from_secs(61));
        assert_eq!((values(&collection).len(), collection.bytes()), (1, one));
        collection.expire(start + Duration::from_secs(111));
        assert_eq!((values(&collection).len(), collection.bytes()), (0, 0));
        let mut kept = Collection::new(1 << 20, Duration::ZERO);
        kept.add(sample("m", "a", Number::Value(1.0), 1), start).unwrap();
        kept.expire(start + Duration::from_secs(1_000_000));
        assert_eq!(values(&kept).len(), 1, "0 is for ever");
    }

    #[test]
    fn beyond_the_limit_no_series_is_new_and_those_that_are_there_go_on() {
        let (mut collection, now) = (Collection::new(2_000, EXPIRATION), Instant::now());
        let mut n_refused = 0;
        for i in 0..100 {
            let labels = i.to_string();
            let added = collection.add(sample("m", &labels, Number::Value(1.0), 1), now);
            n_refused += usize::from(added == Err(Refused::Full));
        }
        assert!(n_refused > 0 && collection.bytes() <= 2_000, "{n_refused} {}", collection.bytes());
        assert_eq!(values(&collection).len() + n_refused, 100);
        collection.add(sample("m", "0", Number::Value(2.0), 2), now).unwrap();
        assert_eq!(values(&collection)[0], "m{0} 2");
    }
}
