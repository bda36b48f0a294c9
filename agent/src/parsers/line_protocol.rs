//! InfluxDB's line protocol, as influxd 1.6 to 2.8 read it.
//!
//! What one of them takes is taken here and means the same, and what none takes is refused with the text of influxd's own
//! error. One thing more: a line may end with a carriage return, as Telegraf allows. The other direction, points to lines, is
//! the module `line_protocol` at the crate's top.
//!
//! influxd splits a text into lines first, then a line into its key, its fields and its time, and at last the fields; the
//! four scanners treat a backslash in different ways. `scan` has the first three, `parts` the last.

mod number;
mod parts;
mod precision;
mod reason;
mod scan;
mod splitter;

use std::borrow::Cow;
use std::fmt;

pub use self::parts::{Fields, Tags, Value};
pub use self::precision::Precision;
pub use self::reason::Reason;
use self::scan::Scanned;
pub(crate) use self::splitter::Splitter;
use crate::point::{Name, Point, Timestamp};

/// The lines of a text, one after the other; empty ones and comments are left out.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    rest: &'a str,
    /// The number of the line that `rest` starts with.
    number: usize,
    precision: Precision,
}

/// Parses a text whose times are in `precision`.
#[must_use]
pub fn parse(text: &str, precision: Precision) -> Lines<'_> {
    Lines { rest: text, number: 1, precision }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<Line<'a>, LineError<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let end = scan::line_end(self.rest.as_bytes());
            let (line, number) = (&self.rest[..end.at], self.number);
            self.rest = self.rest.get(end.at + 1..).unwrap_or("");
            self.number += 1 + end.n_inner_lines;
            let text = scan::without_leading_blanks(line);
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            // It is within quotes, which nothing closes.
            let text = text.strip_suffix('\n').unwrap_or(text);
            let text = text.strip_suffix('\r').unwrap_or(text);
            if text.is_empty() {
                continue;
            }
            return Some(match Line::new(text, number, self.precision) {
                Ok(line) => Ok(line),
                Err(reason) => Err(LineError { number, text, reason }),
            });
        }
        None
    }
}

/// A valid line. Its parts are borrowed from the text; they are unescaped as they are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its number in the text, from 1.
    pub number: usize,
    /// The whole of it, without blanks at its start and without its end.
    pub text: &'a str,
    measurement: &'a str,
    tags: &'a str,
    fields: &'a str,
    time: Option<i64>,
    precision: Precision,
}

impl<'a> Line<'a> {
    fn new(text: &'a str, number: usize, precision: Precision) -> Result<Self, Reason> {
        let Scanned { measurement, tags, fields, time, rest } = scan::line(text)?;
        let time = time.map(|time| number::time(time, precision)).transpose()?;
        if time.is_some() && !rest.bytes().all(|byte| byte == b' ') {
            return Err(Reason::InvalidPoint);
        }
        if let Some(key) = parts::key_without_value(fields) {
            return Err(Reason::InvalidValue(key.to_owned()));
        }
        Ok(Self { number, text, measurement, tags, fields, time, precision })
    }

    /// Where its parts are in `text`, which it was parsed from, and which has less than 4 GiB.
    #[must_use]
    pub fn outline(&self, text: &str) -> Outline {
        let range = |part: &str| {
            let start = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
            (start as u32, (start + part.len()) as u32)
        };
        let [measurement, tags, fields] = [self.measurement, self.tags, self.fields].map(range);
        Outline { measurement, tags, fields, time: self.time, precision: self.precision }
    }

    /// The name of its measurement.
    #[must_use]
    pub fn measurement(&self) -> Cow<'a, str> {
        unescaped_measurement(self.measurement)
    }

    /// Its tags in the line's order; no key comes twice.
    #[must_use]
    pub fn tags(&self) -> Tags<'a> {
        Tags::new(self.tags)
    }

    /// Its fields in the line's order. A key may come twice: then the last one counts.
    #[must_use]
    pub fn fields(&self) -> Fields<'a> {
        Fields::new(self.fields)
    }

    /// Its own time, if it has one.
    #[must_use]
    pub fn time(&self) -> Option<Timestamp> {
        self.time.map(Timestamp)
    }

    /// Its own time, or else `now`, which is rounded down to the precision as influxd does.
    #[must_use]
    pub fn time_or(&self, now: Timestamp) -> Timestamp {
        time_or(self.time, self.precision, now)
    }

    /// The point that it stands for; at `now` where it has no time of its own.
    #[must_use]
    pub fn point(&self, now: Timestamp) -> Point {
        point(&self.measurement(), self.tags(), self.fields(), self.time_or(now))
    }
}

/// Where the parts of a valid line are in its text: its point can be made later without another look at the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outline {
    measurement: (u32, u32),
    tags: (u32, u32),
    fields: (u32, u32),
    time: Option<i64>,
    precision: Precision,
}

impl Outline {
    /// The point of the line, as [`Line::point`]. `text` is the one that it is an outline of.
    #[must_use]
    pub fn point(&self, text: &str, now: Timestamp) -> Point {
        let part = |(start, end): (u32, u32)| text.get(start as usize..end as usize).unwrap_or_default();
        let measurement = unescaped_measurement(part(self.measurement));
        let (tags, fields) = (Tags::new(part(self.tags)), Fields::new(part(self.fields)));
        point(&measurement, tags, fields, time_or(self.time, self.precision, now))
    }
}

fn unescaped_measurement(text: &str) -> Cow<'_, str> {
    parts::unescaped(text, b",\" =")
}

fn time_or(time: Option<i64>, precision: Precision, now: Timestamp) -> Timestamp {
    let down = || now.0 - now.0.rem_euclid(precision.nanoseconds());
    Timestamp(time.unwrap_or_else(down))
}

fn point(measurement: &str, tags: Tags<'_>, fields: Fields<'_>, time: Timestamp) -> Point {
    let mut point = Point::new(Name::new(measurement), time);
    // The scanner has refused duplicates.
    point.tags.extend(tags.map(|(key, value)| (key.into(), value.into())));
    for (key, value) in fields {
        point.fields.push((key.into(), value.into()));
    }
    point.keep_last_of_each_field();
    point
}

/// A line that is not line protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineError<'a> {
    /// Its number in the text, from 1.
    pub number: usize,
    /// The whole of it, without blanks at its start and without its end.
    pub text: &'a str,
    /// What is wrong with it.
    pub reason: Reason,
}

/// In influxd's words.
impl fmt::Display for LineError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unable to parse '{}': {}", self.text, self.reason)
    }
}

#[cfg(test)]
mod tests;
