//! Encoded points as an output has them: lines, their routes, and batches of them. Pure.

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::shards::Shards;
use crate::line_protocol::Format;
use crate::point::Point;

/// Where a line goes within an output: the values of the tags that its [`Encoding`] names, such as a database, its measurement
/// where that counts, and where servers share the lines, the server's URL. `None` for a tag that the point does not have; empty for an output without either.
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
    /// The measurement says where a line goes, too.
    pub by_measurement: bool,
    /// The servers that share the lines, where they do.
    pub shards: Option<Shards>,
    /// The oldest lines go first, whatever waits: the other side refuses what is older than what it has of a series.
    pub in_order: bool,
}

impl Encoding {
    /// Lines are routed by these tags, where one has a key, and by their server, where servers share them.
    pub(super) fn by_tags(format: Format, tags: &[RouteTag], shards: Option<&Shards>) -> Self {
        // With a server, a route has its other parts in the same places.
        let is_routed = shards.is_some() || tags.iter().any(|tag| !tag.key.is_empty());
        let route = if is_routed { tags.into() } else { Vec::new() };
        Self { format, route, shards: shards.cloned(), ..Self::default() }
    }

    /// Whether there is more than one route.
    pub(super) fn has_routes(&self) -> bool {
        !self.route.is_empty() || self.by_measurement || self.shards.is_some()
    }

    /// Takes the route out of a point's tags.
    pub(super) fn route(&self, point: &mut Cow<'_, Point>) -> Vec<Option<String>> {
        let value = |key: &str| point.tag_value(key).filter(|value| !value.is_empty());
        let mut route: Vec<Option<String>> =
            self.route.iter().map(|tag| value(&tag.key).map(str::to_owned)).collect();
        if self.by_measurement {
            route.push(Some(point.measurement.to_string()));
        }
        if let Some(shards) = &self.shards {
            route.push(shards.server(value(shards.tag()).unwrap_or_default()).map(str::to_owned));
        }
        for tag in self.route.iter().filter(|tag| tag.exclude) {
            if point.tag_value(&tag.key).is_some() {
                point.to_mut().tags.retain(|(key, _)| *key != *tag.key);
            }
        }
        route
    }
}

/// Whether no point of one route can be a point of the other: a part that both have differs. Without a tag, a line goes where
/// the options say, which another's tag may say too.
pub(super) fn lead_apart(a: &Route, b: &Route) -> bool {
    a.iter().zip(b.iter()).any(|(a, b)| a.as_ref().zip(b.as_ref()).is_some_and(|(a, b)| a != b))
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

impl Line {
    /// Its time, in nanoseconds; `None` where it has none of its own.
    pub(super) fn time(&self) -> Option<i64> {
        let line = self.text.strip_suffix(b"\n")?;
        let time = line.get(memchr::memrchr(b' ', line)? + 1..)?;
        std::str::from_utf8(time).ok()?.parse().ok()
    }
}

impl Batch {
    /// The earliest and the latest time of its lines; `None` where one has no time of its own.
    pub(super) fn times(&self) -> Option<(i64, i64)> {
        let mut times = (i64::MAX, i64::MIN);
        for line in &self.lines {
            let time = line.time()?;
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

impl Queued {
    /// What can be blocked that it belongs to.
    pub(super) fn keys(&self) -> [Key; 2] {
        let measurement = measurement(&self.line.text);
        [(Arc::clone(&self.route), None), (Arc::clone(&self.route), Some(measurement))]
    }
}

/// A route, or a measurement of one.
pub(super) type Key = (Route, Option<Bytes>);

/// Takes the first lines that are not blocked: at most `size`, of one route.
pub(super) fn take_from(
    lines: &mut VecDeque<Queued>,
    blocked: &Blocked,
    size: usize,
    has_routes: bool,
) -> Option<Batch> {
    let route = Arc::clone(&lines.iter().find(|line| !blocked.has(line))?.route);
    if !has_routes && blocked.is_empty() {
        let n = size.min(lines.len());
        return Some(Batch { route, lines: lines.drain(..n).map(|queued| queued.line).collect() });
    }
    let mut taken = Vec::new();
    lines.retain_mut(|queued| {
        let is_taken = taken.len() < size && queued.route == route && !blocked.has(queued);
        if is_taken {
            taken.push(Line { text: std::mem::take(&mut queued.line.text), number: queued.line.number });
        }
        !is_taken
    });
    Some(Batch { route, lines: taken })
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

/// What is not written now, because it failed or enough of it is under way; lines that it has wait, and hold no others up.
#[derive(Clone, Debug, Default)]
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

    /// All that a key says.
    pub(super) fn block(&mut self, (route, measurement): &Key) {
        match measurement {
            Some(measurement) => drop(self.measurements.insert((Arc::clone(route), measurement.clone()))),
            None => self.block_route(route),
        }
    }

    /// By what a line is blocked, if it is. It holds no line's memory.
    pub(super) fn key_of(&self, queued: &Queued) -> Option<Key> {
        let is_blocked = self.has(queued);
        is_blocked.then(|| {
            let of_one = (!self.routes.contains(&queued.route)).then(|| measurement(&queued.line.text));
            (Arc::clone(&queued.route), of_one.map(|name| Bytes::copy_from_slice(&name)))
        })
    }

    /// Whether whole routes are.
    pub(super) fn has_routes(&self) -> bool {
        !self.routes.is_empty()
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

    #[test]
    fn a_route_ends_with_the_server_of_a_tags_value() {
        let servers = ["http://a/", "http://b/"].map(str::to_owned);
        let shards = Shards::new("host", servers.into_iter()).unwrap();
        let tag = RouteTag { key: "db".into(), exclude: true };
        let none = RouteTag::default();
        let encoding = Encoding::by_tags(Format::default(), &[tag, none.clone()], shards.as_ref());
        let route = |tags: &[(&'static str, &'static str)]| {
            let point = Point::new("m", crate::point::Timestamp(0));
            let point = tags.iter().fold(point, |point, (key, value)| point.tag(*key, *value));
            encoding.route(&mut Cow::Owned(point))
        };
        let server = |value: &str| shards.as_ref().unwrap().server(value).map(str::to_owned);
        assert_eq!(route(&[("db", "d"), ("host", "h")]), [Some("d".into()), None, server("h")]);
        assert_eq!(route(&[("host", "")]), [None, None, server("")], "as without the tag");
        assert_ne!(server("h"), server("j"));
        assert!(!Encoding::by_tags(Format::default(), &[none], None).has_routes());
    }

    #[test]
    fn routes_lead_apart_where_both_say_so() {
        let route = |parts: [Option<&str>; 2]| Route::from(parts.map(|part| part.map(str::to_owned)));
        let plain = route([None, Some("a")]);
        assert!(lead_apart(&plain, &route([None, Some("b")])));
        assert!(lead_apart(&plain, &route([Some("d"), Some("b")])));
        assert!(!lead_apart(&plain, &route([Some("d"), Some("a")])), "`d` may be the default");
        assert!(!lead_apart(&plain, &plain));
    }

    #[rstest::rstest]
    #[case("m f=1i 1\n", "m")]
    #[case("m,t=a f=1i 1\n", "m")]
    #[case("a\\ b\\,c,t=a f=1i\n", "a\\ b\\,c")]
    #[case("a\\\\ f=1i\n", "a\\\\")]
    fn a_line_begins_with_its_measurement(#[case] line: &'static str, #[case] expected: &str) {
        assert_eq!(measurement(&Bytes::from(line)), expected);
    }
}
