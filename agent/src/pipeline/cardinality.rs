//! The limit of series (`metric_series_limit`), of one input and of all: what is new beyond it becomes a row `other`.
//!
//! A series is a measurement with its tags, as a database counts them. A point of a series that finds no place loses the value
//! of the tag that grows, `other` takes its place, and the points that are one series by that are added up. Rows `other` have
//! places of their own, so nothing, and no name of a measurement or tag, makes more series than the limit says.
//!
//! Nothing waits here: what comes in together goes out together, so that whoever was told that a point is kept can rely on it.

mod growth;
mod known;
mod sums;

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use self::growth::Growth;
use self::known::Known;
use self::sums::Sums;
use crate::point::{Name, Point, Timestamp};
use crate::service::telemetry::InputCounts;

/// What takes the place of a value, or of a measurement.
const OTHER: &str = "other";
/// From one message about new series to the next.
const REMINDER_PERIOD: Duration = Duration::from_secs(600);
/// Of its places, an input has this part for rows `other`, and no fewer than are needed for each kind.
const ROWS_PART: usize = 16;
const MIN_ROWS: usize = 3;

/// The places for the series of all inputs. Half of them are shared out, so that one input whose series grow without end leaves
/// the others some; the other half is for who comes first.
#[derive(Debug)]
pub(super) struct Places {
    /// 0 is no limit.
    limit: usize,
    n_inputs: usize,
    /// Series of inputs beyond their shares. More than there are places after a reload that made the limit lower.
    beyond: AtomicUsize,
    /// The time that was given last.
    time: AtomicI64,
}

impl Places {
    /// As many as `limit`, for so many inputs; 0 is without limit.
    pub(super) fn new(limit: usize, n_inputs: usize) -> Arc<Self> {
        let (beyond, time) = (AtomicUsize::new(0), AtomicI64::new(i64::MIN));
        Arc::new(Self { limit, n_inputs: n_inputs.max(1), beyond, time })
    }

    /// Rows `other` of one input.
    fn rows(&self) -> usize {
        rows(self.limit / self.n_inputs)
    }

    /// Series of one input that nobody else can keep out.
    fn share(&self) -> usize {
        (self.limit / 2 / self.n_inputs).saturating_sub(self.rows())
    }

    /// Places for series beyond the shares.
    fn common(&self) -> usize {
        self.limit.saturating_sub(self.n_inputs * (self.share() + self.rows()))
    }

    /// Whether there is a place for one more series of an input that has `n`; it is taken then.
    fn take(&self, n: usize) -> bool {
        let take = |beyond: usize| (beyond < self.common()).then_some(beyond + 1);
        self.limit == 0
            || n < self.share()
            || self.beyond.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// An input that has `before` series has `after` from now on.
    fn changed(&self, before: usize, after: usize) {
        let beyond = |n: usize| n.saturating_sub(self.share());
        self.beyond.fetch_add(beyond(after), Ordering::Relaxed);
        self.beyond.fetch_sub(beyond(before), Ordering::Relaxed);
    }

    /// The time now, or a little later: no two are the same, in any input.
    fn time(&self) -> Timestamp {
        let now = Timestamp::now().0;
        let next = |last: i64| Some(now.max(last.saturating_add(1)));
        let last = self.time.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        Timestamp(now.max(last.unwrap_or(now).saturating_add(1)))
    }
}

fn rows(limit: usize) -> usize {
    (limit / ROWS_PART).max(MIN_ROWS)
}

/// Which time a row `other` has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Times {
    /// That of its points: those of a gather are all there.
    OfPoints,
    /// One that no other has: of what others send, more may come with the same time.
    Unique,
}

/// The limit of one input.
pub(super) struct Guard {
    /// Its own; 0 is none.
    limit: usize,
    places: Arc<Places>,
    /// The key of all hashes, so that nobody can choose series that are taken for one.
    key: RandomState,
    known: Known,
    /// The rows `other` that there are.
    others: HashSet<u64>,
    growth: Growth,
    /// When new series were last logged, and how many points were since.
    said: Option<Instant>,
    n_unsaid: u64,
}

/// What a point's tag became `other` for: the tag, and about how many values it had.
type Blamed = Option<(Name, usize)>;

impl Guard {
    /// With a limit of its own, or 0. `None` where there is no limit at all.
    pub(super) fn new(limit: usize, places: &Arc<Places>) -> Option<Self> {
        (limit > 0 || places.limit > 0).then(|| Self {
            limit,
            places: Arc::clone(places),
            key: RandomState::new(),
            known: Known::default(),
            others: HashSet::new(),
            growth: Growth::default(),
            said: None,
            n_unsaid: 0,
        })
    }

    /// The same with limits that may be others; what is known stays.
    pub(super) fn with(guard: Option<Self>, limit: usize, places: &Arc<Places>) -> Option<Self> {
        let new = Self::new(limit, places)?;
        let Some(guard) = guard else { return Some(new) };
        if !Arc::ptr_eq(&guard.places, places) {
            places.changed(0, guard.known.len());
        }
        Some(Self { limit, places: new.places, ..guard })
    }

    /// Replaces points for which there is no place. `is_constant` tells the tags that all points have. Called within the input's
    /// span.
    pub(super) fn pass(
        &mut self,
        mut points: Vec<Point>,
        times: Times,
        is_constant: impl Fn(&(Name, Name)) -> bool,
        counts: &InputCounts,
    ) -> Vec<Point> {
        self.forget(Instant::now());
        let beyond: Vec<Point> = points.extract_if(.., |point| !self.admits(point)).collect();
        if !beyond.is_empty() {
            counts.collapsed.fetch_add(beyond.len() as u64, Ordering::Relaxed);
            self.n_unsaid += beyond.len() as u64;
            let mut sums = Sums::default();
            for mut point in beyond {
                let name = point.measurement.clone();
                let (series, blamed) = self.collapse(&mut point, &is_constant);
                self.say(&name, blamed);
                if times == Times::Unique {
                    point.time = Timestamp(0);
                }
                sums.add(series, point);
            }
            points.extend(sums.into_points().map(|mut point| {
                if times == Times::Unique {
                    point.time = self.places.time();
                }
                point
            }));
        }
        counts.series_limit.store(self.smallest_limit() as u64, Ordering::Relaxed);
        counts.series.store((self.known.len() + self.others.len()) as u64, Ordering::Relaxed);
        points
    }

    fn forget(&mut self, now: Instant) {
        let before = self.known.len();
        if self.known.forget(now) {
            self.places.changed(before, self.known.len());
            self.others.clear();
        }
    }

    /// The limit that is met first.
    fn smallest_limit(&self) -> usize {
        [self.limit, self.places.limit].into_iter().filter(|limit| *limit > 0).min().unwrap_or(0)
    }

    /// Rows `other` of this input.
    fn rows(&self) -> usize {
        let own = if self.limit > 0 { rows(self.limit) } else { usize::MAX };
        if self.places.limit > 0 { own.min(self.places.rows()) } else { own }
    }

    /// Whether a point's series has a place, or gets one.
    fn admits(&mut self, point: &Point) -> bool {
        let series = self.series(point);
        if self.known.sees(series) {
            return true;
        }
        self.growth.add(self.measurement(point), point, |tag| self.key.hash_one(tag));
        let n = self.known.len();
        let has_place =
            (self.limit == 0 || n < self.limit.saturating_sub(self.rows())) && self.places.take(n);
        if has_place {
            self.known.add(series);
        }
        has_place
    }

    fn measurement(&self, point: &Point) -> u64 {
        self.key.hash_one(&point.measurement)
    }

    /// The hash of a point's series: its tags are the same in any order.
    fn series(&self, point: &Point) -> u64 {
        let tags = point.tags.iter().map(|tag| self.key.hash_one(tag));
        tags.fold(self.measurement(point), u64::wrapping_add)
    }

    /// Gives a point the series of a row `other`. Where one tag grows, it is that one; where more do, all but the constant ones;
    /// and where names grow, there is one row for all.
    fn collapse(&mut self, point: &mut Point, is_constant: &impl Fn(&(Name, Name)) -> bool) -> (u64, Blamed) {
        let n_rows = self.rows();
        let most = self.growth.most(self.measurement(point), point);
        let mut blamed = None;
        if let Some((at, n_values)) = most {
            blamed = Some((point.tags[at].0.clone(), n_values));
            point.tags[at].1 = OTHER.into();
            if let Some(series) = self.row(point, n_rows * 3 / 4) {
                return (series, blamed);
            }
        }
        let varying = point.tags.iter_mut().filter(|tag| !is_constant(tag));
        varying.for_each(|(_, value)| *value = OTHER.into());
        if let Some(series) = self.row(point, n_rows - 1) {
            return (series, blamed);
        }
        point.measurement = OTHER.into();
        point.tags.retain(is_constant);
        let series = self.series(point);
        self.others.insert(series);
        (series, blamed)
    }

    /// The series of a point, if it is a row `other` or becomes one of so many.
    fn row(&mut self, point: &Point, most: usize) -> Option<u64> {
        let series = self.series(point);
        let is_row =
            self.others.contains(&series) || (self.others.len() < most && self.others.insert(series));
        is_row.then_some(series)
    }

    fn say(&mut self, measurement: &Name, blamed: Blamed) {
        if self.said.is_some_and(|said| said.elapsed() < REMINDER_PERIOD) {
            return;
        }
        self.said = Some(Instant::now());
        let points = std::mem::take(&mut self.n_unsaid);
        let limit = self.smallest_limit();
        match blamed {
            Some((tag, n)) => tracing::error!(
                measurement = %measurement,
                tag = %tag,
                limit,
                points,
                "more series than `metric_series_limit`: new ones are added up in rows `other`. The tag `{tag}` grows (about {n} values among the latest): take it out with `tagexclude`, or raise the limit"
            ),
            None => tracing::error!(
                measurement = %measurement,
                limit,
                points,
                "more series than `metric_series_limit`: new ones are added up in rows `other`. The names of measurements or tags grow: take them out with `namedrop` or `tagexclude`, or raise the limit"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
