//! From samples to points, as Telegraf's `metric_version` 1 and 2 have it. Pure.
//!
//! The samples of a histogram or a summary follow each other, series by series; they become points when another series
//! begins. Where a page mixes series, one has several points of the same time, which a database joins again. What is not
//! finite has no place in line protocol and is left out.

use super::bound;
use crate::parsers::exposition::{FamilyType, Format, Label, Part, Sample};
use crate::point::list::List;
use crate::point::{FieldValue, Name, Point, Timestamp};

/// Which samples become which points: `metric_version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// A measurement for each family, a point for each series of it.
    One,
    /// One measurement for all, a field for each family, a point for each bucket and quantile.
    Two,
}

/// What is the same for all points of a page.
#[derive(Clone, Debug)]
pub(super) struct Page<'a> {
    pub(super) format: Format,
    pub(super) version: Version,
    /// The time of samples that have none.
    pub(super) time: Timestamp,
    pub(super) ignores_timestamps: bool,
    /// Tags of the target; they win over labels.
    pub(super) tags: &'a [(Name, Name)],
}

/// Makes points of the samples of one page.
pub(super) struct Points<'a> {
    page: Page<'a>,
    /// The series whose samples are coming in.
    open: Option<SampleSeries>,
    points: Vec<Point>,
    /// What these have beside the vector.
    bytes: usize,
}

/// A series of a histogram, a summary or a state set: what has more than one sample.
struct SampleSeries {
    family: String,
    family_type: FamilyType,
    labels: Vec<(String, String)>,
    /// What the samples without a point of their own go to.
    point: Point,
    /// Version 2: the observations, if they were counted and no bucket without a bound was seen.
    count: Option<f64>,
    has_unbounded: bool,
    /// Bytes of the texts that its fields may have.
    texts: usize,
}

/// Bytes that a text needs which does not stand in its name, with the allocator's own.
fn text_bytes(length: usize) -> usize {
    const INLINE: usize = 23;
    const OVERHEAD: usize = 32;
    if length > INLINE { length + OVERHEAD } else { 0 }
}

/// Bytes that the lists of a point need, with the allocator's own.
fn list_bytes(point: &Point) -> usize {
    const OVERHEAD: usize = 2 * 16;
    point.tags.capacity() * size_of::<(Name, Name)>()
        + point.fields.capacity() * size_of::<(Name, FieldValue)>()
        + OVERHEAD
}

/// The label that tells the samples of a series apart.
fn inner_label<'s>(sample: &'s Sample<'_>) -> Option<&'s str> {
    match sample.family_type {
        FamilyType::Histogram | FamilyType::GaugeHistogram => Some("le"),
        FamilyType::Summary => Some("quantile"),
        FamilyType::StateSet => Some(&sample.family),
        _ => None,
    }
}

impl<'a> Points<'a> {
    pub(super) fn new(page: Page<'a>) -> Self {
        Self { page, open: None, points: Vec::new(), bytes: 0 }
    }

    /// Bytes that the points need so far.
    pub(super) fn bytes(&self) -> usize {
        let open = self.open.as_ref().map_or(0, |open| list_bytes(&open.point) + open.texts);
        self.points.capacity() * size_of::<Point>() + self.bytes + open
    }

    fn push(&mut self, point: Point) {
        let tags = point.tags.iter().map(|(key, value)| text_bytes(key.len()) + text_bytes(value.len()));
        let keys = point.fields.iter().map(|(key, _)| text_bytes(key.len()));
        self.bytes += list_bytes(&point) + text_bytes(point.measurement.len());
        self.bytes += tags.chain(keys).sum::<usize>();
        self.points.push(point);
    }

    /// Takes the next sample of the page.
    pub(super) fn take(&mut self, sample: &Sample<'_>) {
        let Some(inner) = inner_label(sample) else {
            self.close();
            self.take_simple(sample);
            return;
        };
        let time = self.time(sample);
        let is_open = self.open.as_ref().is_some_and(|open| open.has(sample, inner, time));
        if !is_open {
            self.close();
            self.open = Some(self.series(sample, inner, time));
        }
        let inner = sample.labels.iter().find(|(name, _)| name == inner).map(|(_, value)| &**value);
        if let Some(open) = &mut self.open {
            let key = sample.family.len() + "_created".len();
            open.texts += text_bytes(inner.map_or(0, str::len).max(key));
        }
        match self.page.version {
            Version::One => self.take_part(sample, inner),
            Version::Two => self.take_part_2(sample, inner),
        }
    }

    /// The points of all samples.
    pub(super) fn finish(mut self) -> Vec<Point> {
        self.close();
        self.points
    }

    /// A counter, a gauge, an info or a sample of no type.
    fn take_simple(&mut self, sample: &Sample<'_>) {
        if sample.part != Part::Value || !sample.value.is_finite() {
            return;
        }
        let is_info = sample.family_type == FamilyType::Info;
        let key: Name = match (self.page.version, sample.family_type) {
            (Version::One, FamilyType::Counter) => "counter".into(),
            (Version::One, FamilyType::Gauge) => "gauge".into(),
            (Version::One, FamilyType::Info) => "info".into(),
            (Version::One, _) => "value".into(),
            (Version::Two, FamilyType::Info) => format!("{}_info", sample.family).into(),
            (Version::Two, _) => sample.family.clone().into_owned().into(),
        };
        let point = self.point(sample, None, self.time(sample));
        let point = if is_info { point.field(key, 1_u64) } else { point.field(key, sample.value) };
        self.push(point);
    }

    /// Version 1: everything is a field of the series' point.
    fn take_part(&mut self, sample: &Sample<'_>, inner: Option<&str>) {
        let Some(open) = &mut self.open else { return };
        let key: Name = match (sample.part, inner) {
            (Part::Count, _) => "count".into(),
            (Part::Sum, _) => "sum".into(),
            (Part::Created, _) => "created".into(),
            (Part::Value, Some(state)) if sample.family_type == FamilyType::StateSet => {
                let key = state.replace(' ', "_").into();
                return open.point.fields.push((key, (sample.value > 0.0).into()));
            }
            (Part::Bucket | Part::Value, Some(bound)) => match bound.parse() {
                Ok(bound) => bound::shown(bound).into(),
                Err(_) => return,
            },
            (Part::Bucket | Part::Value, None) => return,
        };
        if sample.value.is_finite() {
            // A histogram has many buckets, and each of them once.
            open.point.fields.push((key, sample.value.into()));
        }
    }

    /// Version 2: buckets, quantiles and states are points of their own.
    fn take_part_2(&mut self, sample: &Sample<'_>, inner: Option<&str>) {
        let Some(open) = &mut self.open else { return };
        let suffix = match sample.part {
            Part::Count => "_count",
            Part::Sum => "_sum",
            Part::Created => "_created",
            Part::Bucket => "_bucket",
            Part::Value => "",
        };
        let key = format!("{}{suffix}", sample.family);
        if !matches!(sample.part, Part::Bucket | Part::Value) {
            if sample.value.is_finite() {
                open.point.fields.push((key.into(), sample.value.into()));
                open.count = if sample.part == Part::Count { Some(sample.value) } else { open.count };
            }
            return;
        }
        let Some(inner) = inner else { return };
        if sample.family_type == FamilyType::StateSet {
            let key = format!("{key}_{}", inner.replace(' ', "_"));
            return open.point.fields.push((key.into(), (sample.value > 0.0).into()));
        }
        let Ok(bound) = inner.parse::<f64>() else { return };
        open.has_unbounded |= bound == f64::INFINITY;
        if sample.value.is_finite() {
            let label = if sample.part == Part::Bucket { "le" } else { "quantile" };
            let point = Point { fields: List::new(), ..open.point.clone() };
            self.push(point.tag(label, bound::shown(bound)).field(key, sample.value));
        }
    }

    /// Ends the open series.
    fn close(&mut self) {
        let Some(mut series) = self.open.take() else { return };
        let is_histogram = matches!(series.family_type, FamilyType::Histogram | FamilyType::GaugeHistogram);
        let count = series.count.filter(|_| is_histogram && !series.has_unbounded);
        if let Some(count) = count {
            // Telegraf adds the bucket that every histogram has.
            let point = Point { fields: List::new(), ..series.point.clone() };
            let key = format!("{}_bucket", series.family);
            self.push(point.tag("le", bound::shown(f64::INFINITY)).field(key, count));
        }
        series.point.keep_last_of_each_field();
        if !series.point.fields.is_empty() {
            self.push(series.point);
        }
    }

    fn series(&self, sample: &Sample<'_>, inner: &str, time: Timestamp) -> SampleSeries {
        let labels = outer(&sample.labels, inner);
        SampleSeries {
            family: sample.family.clone().into_owned(),
            family_type: sample.family_type,
            labels: labels.map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            point: self.point(sample, Some(inner), time),
            count: None,
            has_unbounded: false,
            texts: 0,
        }
    }

    /// A point with the tags of a sample, without those of its inner label.
    fn point(&self, sample: &Sample<'_>, inner: Option<&str>, time: Timestamp) -> Point {
        let Page { format, version, tags, .. } = self.page;
        let measurement: Name = match (version, format) {
            (Version::One, _) => sample.family.clone().into_owned().into(),
            (Version::Two, Format::Text) => "prometheus".into(),
            (Version::Two, Format::OpenMetrics) => "openmetric".into(),
        };
        let mut point = Point::new(measurement, time);
        let is_tag = |(name, value): &&Label<'_>| {
            !value.is_empty() && Some(&**name) != inner && !tags.iter().any(|(key, _)| **key == **name)
        };
        // The parser has refused duplicates.
        let labels = sample.labels.iter().filter(is_tag);
        point.tags.extend(labels.map(|(name, value)| (Name::new(name), Name::new(value))));
        point.tags.extend(tags.iter().cloned());
        if let Some(unit) = sample.unit {
            point.set_tag("unit", Name::new(unit));
        }
        point
    }

    fn time(&self, sample: &Sample<'_>) -> Timestamp {
        // Like Telegraf: one before 1970 is none.
        let own = sample.time.filter(|time| !self.page.ignores_timestamps && time.0 > 0);
        own.unwrap_or(self.page.time)
    }
}

impl SampleSeries {
    fn has(&self, sample: &Sample<'_>, inner: &str, time: Timestamp) -> bool {
        let own = self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        self.point.time == time
            && self.family == sample.family
            && self.family_type == sample.family_type
            && own.eq(outer(&sample.labels, inner))
    }
}

/// The labels without the inner one.
fn outer<'l>(labels: &'l [Label<'_>], inner: &'l str) -> impl Iterator<Item = (&'l str, &'l str)> {
    labels.iter().map(|(name, value)| (&**name, &**value)).filter(move |(name, _)| *name != inner)
}
