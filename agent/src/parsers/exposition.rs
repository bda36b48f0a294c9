//! Prometheus' text format 0.0.4 and OpenMetrics 1.0: a page to samples, each with its family and the part it is of it.
//!
//! A line that is no sample is an error with its number, and the lines after it are read all the same. Sources: Prometheus'
//! [text format](https://prometheus.io/docs/instrumenting/exposition_formats/) and
//! [OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/).

mod format;
mod line;

use std::borrow::Cow;
use std::collections::HashMap;

pub use self::format::Format;
pub use self::line::Label;
use self::line::{Comment, SampleLine};
use crate::point::Timestamp;

/// The type of a family of samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FamilyType {
    /// None was given, or one that the format does not have.
    #[default]
    Untyped,
    /// A total that only grows.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// Quantiles, a count and a sum.
    Summary,
    /// Cumulative buckets, a count and a sum.
    Histogram,
    /// OpenMetrics: buckets of what is there now.
    GaugeHistogram,
    /// OpenMetrics: labels that describe the target.
    Info,
    /// OpenMetrics: which of several states are on.
    StateSet,
}

impl FamilyType {
    fn of(word: &str, format: Format) -> Self {
        match (word, format) {
            ("counter", _) => Self::Counter,
            ("gauge", _) => Self::Gauge,
            ("summary", _) => Self::Summary,
            ("histogram", _) => Self::Histogram,
            ("gaugehistogram", Format::OpenMetrics) => Self::GaugeHistogram,
            ("info", Format::OpenMetrics) => Self::Info,
            ("stateset", Format::OpenMetrics) => Self::StateSet,
            _ => Self::Untyped,
        }
    }

    /// The part of such a family that a sample with this suffix is.
    fn part(self, suffix: &str, format: Format) -> Option<Part> {
        let is_open = matches!(format, Format::OpenMetrics);
        match (self, suffix) {
            (Self::Counter, "_total") if is_open => Some(Part::Value),
            (Self::Counter | Self::Summary | Self::Histogram, "_created") if is_open => Some(Part::Created),
            (Self::Summary | Self::Histogram, "_count") | (Self::GaugeHistogram, "_gcount") => {
                Some(Part::Count)
            }
            (Self::Summary | Self::Histogram, "_sum") | (Self::GaugeHistogram, "_gsum") => Some(Part::Sum),
            (Self::Histogram | Self::GaugeHistogram, "_bucket") => Some(Part::Bucket),
            (Self::Info, "_info") => Some(Part::Value),
            _ => None,
        }
    }
}

/// The suffixes of samples that belong to a family of another name.
const SUFFIXES: [&str; 8] = ["_total", "_created", "_count", "_gcount", "_sum", "_gsum", "_bucket", "_info"];

/// Families of a page whose type or unit is remembered: some 5 MB.
const MAX_FAMILIES: usize = 50_000;

/// What a sample is of its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The value itself: of a counter its total, of a summary a quantile, of a state set one state.
    Value,
    /// The number of observations.
    Count,
    /// Their sum.
    Sum,
    /// The observations up to the bound in the label `le`.
    Bucket,
    /// When it began to count, in seconds since 1970.
    Created,
}

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    /// The family's name: that of its `TYPE`, or the sample's own.
    pub family: Cow<'a, str>,
    /// The family's type.
    pub family_type: FamilyType,
    /// The family's unit; OpenMetrics only.
    pub unit: Option<&'a str>,
    /// What it is of its family.
    pub part: Part,
    /// Its labels in the page's order; no name comes twice.
    pub labels: Vec<Label<'a>>,
    /// Its value; it may be infinite or not a number.
    pub value: f64,
    /// Its own time, if it has one.
    pub time: Option<Timestamp>,
}

/// A line that is none of the format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {number}: {what}")]
pub struct PageError {
    /// Its number in the page, from 1.
    pub number: usize,
    /// What is wrong with it.
    pub what: String,
}

/// What is known of a family from its comments.
#[derive(Clone, Copy, Debug, Default)]
struct Family<'a> {
    family_type: FamilyType,
    unit: Option<&'a str>,
}

/// The samples of a page, one after the other.
#[derive(Debug)]
pub struct Samples<'a> {
    lines: std::str::Split<'a, char>,
    /// How many lines were read.
    number: usize,
    format: Format,
    families: HashMap<Cow<'a, str>, Family<'a>>,
    has_ended: bool,
}

/// Parses a page.
#[must_use]
pub fn parse(page: &str, format: Format) -> Samples<'_> {
    Samples { lines: page.split('\n'), number: 0, format, families: HashMap::new(), has_ended: false }
}

impl<'a> Iterator for Samples<'a> {
    type Item = Result<Sample<'a>, PageError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.has_ended {
            let Some(text) = self.lines.next() else {
                self.has_ended = true;
                let what = "the page ends without `# EOF`: it was cut off".to_owned();
                let error = PageError { number: self.number, what };
                return matches!(self.format, Format::OpenMetrics).then_some(Err(error));
            };
            self.number += 1;
            let text = text.strip_suffix('\r').unwrap_or(text).trim_matches([' ', '\t']);
            if text.is_empty() {
                continue;
            }
            if let Some(comment) = text.strip_prefix('#') {
                match self.take_comment(comment) {
                    Ok(()) => continue,
                    Err(what) => return Some(Err(PageError { number: self.number, what })),
                }
            }
            let sample = SampleLine::parse(text, self.format).map(|line| self.sample(line));
            return Some(sample.map_err(|what| PageError { number: self.number, what }));
        }
        None
    }
}

impl<'a> Samples<'a> {
    fn take_comment(&mut self, text: &'a str) -> Result<(), String> {
        match Comment::parse(text) {
            Comment::Type(name, word) => self.family(name)?.family_type = FamilyType::of(word, self.format),
            Comment::Unit(name, unit) if matches!(self.format, Format::OpenMetrics) => {
                self.family(name)?.unit = Some(unit).filter(|unit| !unit.is_empty());
            }
            Comment::Eof if matches!(self.format, Format::OpenMetrics) => self.has_ended = true,
            Comment::Unit(..) | Comment::Eof | Comment::Other => {}
        }
        Ok(())
    }

    /// The family of a name, which a comment says something of.
    fn family(&mut self, name: Cow<'a, str>) -> Result<&mut Family<'a>, String> {
        if self.families.len() == MAX_FAMILIES && !self.families.contains_key(&name) {
            return Err(format!("there are more than {MAX_FAMILIES} families"));
        }
        Ok(self.families.entry(name).or_default())
    }

    /// Finds the family of a sample: the one of its name, or the one whose name it continues.
    fn sample(&self, line: SampleLine<'a>) -> Sample<'a> {
        let SampleLine { name, labels, value, time } = line;
        let (length, family, part) = self.place(&name);
        let name = match name {
            Cow::Borrowed(name) => Cow::Borrowed(&name[..length]),
            Cow::Owned(mut name) => {
                name.truncate(length);
                Cow::Owned(name)
            }
        };
        let Family { family_type, unit } = family;
        Sample { family: name, family_type, unit, part, labels, value, time }
    }

    /// How much of a sample's name is its family's, what that is, and what the sample is of it.
    fn place(&self, name: &str) -> (usize, Family<'a>, Part) {
        if let Some(family) = self.families.get(name) {
            return (name.len(), *family, Part::Value);
        }
        for suffix in SUFFIXES {
            let family = name.strip_suffix(suffix).and_then(|base| self.families.get(base));
            let Some(family) = family else { continue };
            if let Some(part) = family.family_type.part(suffix, self.format) {
                return (name.len() - suffix.len(), *family, part);
            }
        }
        (name.len(), Family::default(), Part::Value)
    }
}

#[cfg(test)]
mod tests;
