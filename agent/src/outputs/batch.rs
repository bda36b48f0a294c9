//! Encoded points as an output has them: lines, their routes, and batches of them. Pure.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::line_protocol::Format;
use crate::point::Point;

/// Where a line goes within an output: the values of the tags that its [`Encoding`] names, such as a database. `None` for a
/// tag that the point does not have; empty for an output without routing tags.
pub(super) type Route = Arc<[Option<String>]>;

/// A tag that says where a point goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteTag {
    /// Its key; no point has a tag with an empty key.
    pub key: String,
    /// The tag is left out of the line.
    pub exclude: bool,
}

/// How an output's lines are encoded and routed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// The format of the lines.
    pub format: Format,
    /// The tags that say where a line goes.
    pub route: Vec<RouteTag>,
}

impl Encoding {
    /// Lines are routed by one tag, if it has a key.
    pub(super) fn by_tag(format: Format, key: &str, exclude: bool) -> Self {
        let tag = || RouteTag { key: key.to_owned(), exclude };
        Self { format, route: (!key.is_empty()).then(tag).into_iter().collect() }
    }

    /// Takes the route out of a point's tags.
    pub(super) fn route(&self, point: &mut Cow<'_, Point>) -> Vec<Option<String>> {
        let value = |tag: &RouteTag| point.tag_value(&tag.key).filter(|value| !value.is_empty());
        let route = self.route.iter().map(|tag| value(tag).map(str::to_owned)).collect();
        for tag in self.route.iter().filter(|tag| tag.exclude) {
            if point.tag_value(&tag.key).is_some() {
                point.to_mut().tags.retain(|(key, _)| *key != *tag.key);
            }
        }
        route
    }
}

/// Lines of one route.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    /// The route.
    pub(super) route: Route,
    /// The lines, oldest first.
    pub(super) lines: Vec<Line>,
}

/// A line of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// With its newline.
    pub(super) text: Bytes,
    /// Its number in the spool, if it is there.
    pub(super) number: Option<u64>,
}

impl Batch {
    /// The earliest and the latest time of its lines; `None` where one has no time of its own.
    pub(super) fn times(&self) -> Option<(i64, i64)> {
        let mut times = (i64::MAX, i64::MIN);
        for line in &self.lines {
            let line = line.text.strip_suffix(b"\n")?;
            let time = line.get(memchr::memrchr(b' ', line)? + 1..)?;
            let time: i64 = std::str::from_utf8(time).ok()?.parse().ok()?;
            times = (times.0.min(time), times.1.max(time));
        }
        Some(times)
    }
}

/// A line that waits.
#[derive(Clone, Debug)]
pub(super) struct Queued {
    pub(super) line: Line,
    pub(super) route: Route,
}

/// A line's measurement, as it is escaped.
pub(super) fn measurement(line: &Bytes) -> Bytes {
    let mut is_escaped = false;
    let end = line.iter().position(|byte| {
        let ends = matches!(byte, b',' | b' ') && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        ends
    });
    line.slice(..end.unwrap_or(line.len()))
}

/// What is not written now, because it failed; lines that it has wait, and hold no others up.
#[derive(Debug, Default)]
pub(super) struct Blocked {
    routes: BTreeSet<Route>,
    measurements: BTreeSet<(Route, Bytes)>,
}

impl Blocked {
    /// All lines of a route.
    pub(super) fn block_route(&mut self, route: &Route) {
        self.routes.insert(Arc::clone(route));
    }

    /// All lines of a route that have a measurement that one of `lines` has.
    pub(super) fn block_measurements(&mut self, route: &Route, lines: &[Line]) {
        self.measurements.extend(lines.iter().map(|line| (Arc::clone(route), measurement(&line.text))));
    }

    /// Takes back what is blocked of a route's measurements. Returns whether there was anything.
    pub(super) fn open(&mut self, route: &Route) -> bool {
        let before = self.measurements.len();
        self.measurements.retain(|(of, _)| of != route);
        self.measurements.len() < before
    }

    /// Whether nothing is.
    pub(super) fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.measurements.is_empty()
    }

    /// Whether it has a line.
    pub(super) fn has(&self, queued: &Queued) -> bool {
        self.has_text(&queued.route, &queued.line.text)
    }

    /// Whether it has a line of a batch.
    pub(super) fn has_any(&self, batch: &Batch) -> bool {
        batch.lines.iter().any(|line| self.has_text(&batch.route, &line.text))
    }

    fn has_text(&self, route: &Route, text: &Bytes) -> bool {
        self.routes.contains(route)
            || (!self.measurements.is_empty()
                && self.measurements.contains(&(Arc::clone(route), measurement(text))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("m f=1i 1\n", "m")]
    #[case("m,t=a f=1i 1\n", "m")]
    #[case("a\\ b\\,c,t=a f=1i\n", "a\\ b\\,c")]
    #[case("a\\\\ f=1i\n", "a\\\\")]
    fn a_line_begins_with_its_measurement(#[case] line: &'static str, #[case] expected: &str) {
        assert_eq!(measurement(&Bytes::from(line)), expected);
    }
}
