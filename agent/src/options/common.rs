//! The options that every input and every output has, as Telegraf has them, with its defaults.
//!
//! What a section of a file makes of them is `config`'s. Pure: a point goes in, and comes out named, tagged and filtered.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use super::filter::Filter;
use crate::point::{Name, Point};

/// From one gather to the next; Telegraf's default.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);
/// From one flush to the next; Telegraf's default.
pub const DEFAULT_FLUSH_INTERVAL: Duration = Duration::from_secs(10);
/// Points in one request; Telegraf's default.
pub const DEFAULT_BATCH_SIZE: usize = 1_000;
/// Points an output holds while it cannot write; Telegraf's default.
pub const DEFAULT_BUFFER_LIMIT: usize = 10_000;

/// Telegraf's rule for a precision that is not given: the largest of 1s, 1ms, 1us, 1ns that the interval reaches.
#[must_use]
pub fn auto_precision(interval: Duration) -> Duration {
    [Duration::from_secs(1), Duration::from_millis(1), Duration::from_micros(1)]
        .into_iter()
        .find(|unit| interval >= *unit)
        .unwrap_or(Duration::from_nanos(1))
}

/// What is done when a plugin cannot start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartupErrorBehavior {
    /// The agent does not start.
    #[default]
    Error,
    /// It is tried again at each gather.
    Retry,
    /// The agent runs without it.
    Ignore,
}

/// The options that every input has.
#[derive(Clone, Debug)]
pub struct InputCommon {
    /// A name of its own in the log.
    pub alias: Option<String>,
    /// What it logs; the agent's level when it is not given.
    pub log_level: Option<tracing::Level>,
    /// What is done when it cannot start.
    pub startup_error_behavior: StartupErrorBehavior,
    /// From one gather to the next.
    pub interval: Duration,
    /// Times are rounded to this.
    pub precision: Duration,
    /// Each gather is late by up to this.
    pub collection_jitter: Duration,
    /// Each gather is late by this.
    pub collection_offset: Duration,
    /// How its measurements are named.
    pub naming: Naming,
    /// Tags of its points.
    pub tags: BTreeMap<String, String>,
    /// Which of its points pass.
    pub filter: Filter,
    /// Its tags come back when the filter took them away.
    pub always_include_local_tags: bool,
    /// The global tags do.
    pub always_include_global_tags: bool,
}

impl Default for InputCommon {
    fn default() -> Self {
        Self {
            alias: None,
            log_level: None,
            startup_error_behavior: StartupErrorBehavior::Error,
            interval: DEFAULT_INTERVAL,
            precision: auto_precision(DEFAULT_INTERVAL),
            collection_jitter: Duration::ZERO,
            collection_offset: Duration::ZERO,
            naming: Naming::default(),
            tags: BTreeMap::new(),
            filter: Filter::default(),
            always_include_local_tags: false,
            always_include_global_tags: false,
        }
    }
}

impl InputCommon {
    /// Selects, names, tags and prunes a point, in Telegraf's order; `None` when nothing of it is left.
    ///
    /// A tag of the point wins over one of the input, and that over a global one.
    #[must_use]
    pub fn process(&self, global_tags: &BTreeMap<String, String>, mut point: Point) -> Option<Point> {
        if !self.filter.selects(&point) {
            return None;
        }
        self.naming.apply(&mut point.measurement);
        add_tags(&mut point, &self.tags);
        add_tags(&mut point, global_tags);
        self.filter.prune(&mut point);
        if self.always_include_local_tags {
            add_tags(&mut point, &self.tags);
        }
        if self.always_include_global_tags {
            add_tags(&mut point, global_tags);
        }
        (!point.fields.is_empty()).then_some(point)
    }
}

/// Adds the tags that a point does not have.
fn add_tags(point: &mut Point, tags: &BTreeMap<String, String>) {
    for (key, value) in tags {
        if point.tag_value(key).is_none() {
            point.tags.push((Cow::Owned(key.clone()), value.clone()));
        }
    }
}

/// The options that every output has.
#[derive(Clone, Debug)]
pub struct OutputCommon {
    /// A name of its own in the log.
    pub alias: Option<String>,
    /// What it logs; the agent's level when it is not given.
    pub log_level: Option<tracing::Level>,
    /// From one flush to the next.
    pub flush_interval: Duration,
    /// Each flush is late by up to this.
    pub flush_jitter: Duration,
    /// Points in one request.
    pub metric_batch_size: usize,
    /// Points held while it cannot write.
    pub metric_buffer_limit: usize,
    /// How measurements are named.
    pub naming: Naming,
    /// Which points pass.
    pub filter: Filter,
}

impl Default for OutputCommon {
    fn default() -> Self {
        Self {
            alias: None,
            log_level: None,
            flush_interval: DEFAULT_FLUSH_INTERVAL,
            flush_jitter: Duration::ZERO,
            metric_batch_size: DEFAULT_BATCH_SIZE,
            metric_buffer_limit: DEFAULT_BUFFER_LIMIT,
            naming: Naming::default(),
            filter: Filter::default(),
        }
    }
}

impl OutputCommon {
    /// Selects, prunes and names a point, in Telegraf's order for outputs; borrowed when nothing is to be done.
    #[must_use]
    pub fn process<'a>(&self, point: &'a Point) -> Option<Cow<'a, Point>> {
        if self.filter.is_open() && self.naming.is_plain() {
            return Some(Cow::Borrowed(point));
        }
        if !self.filter.selects(point) {
            return None;
        }
        let mut point = point.clone();
        self.filter.prune(&mut point);
        self.naming.apply(&mut point.measurement);
        (!point.fields.is_empty()).then_some(Cow::Owned(point))
    }
}

/// `name_override`, `name_prefix`, `name_suffix`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Naming {
    /// Takes the place of the name.
    pub name_override: Option<String>,
    /// Goes before it.
    pub prefix: String,
    /// Goes after it.
    pub suffix: String,
}

impl Naming {
    /// Names a measurement.
    pub fn apply(&self, measurement: &mut Name) {
        if !self.is_plain() {
            let name = self.name_override.as_deref().unwrap_or(measurement);
            *measurement = Cow::Owned(format!("{}{name}{}", self.prefix, self.suffix));
        }
    }

    fn is_plain(&self) -> bool {
        self.name_override.is_none() && self.prefix.is_empty() && self.suffix.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::filter::FilterLists;
    use crate::point::Timestamp;

    #[test]
    fn tags_of_the_point_win_over_the_inputs_and_those_over_global_ones() {
        let tags = BTreeMap::from([("a".into(), "input".into()), ("b".into(), "input".into())]);
        let common = InputCommon { tags, ..InputCommon::default() };
        let global =
            BTreeMap::from([("b".to_owned(), "global".to_owned()), ("c".to_owned(), "global".to_owned())]);
        let point = Point::new("m", Timestamp(0)).tag("a", "point").field("f", 1_i64);
        let point = common.process(&global, point).unwrap();
        assert_eq!(
            ["a", "b", "c"].map(|key| point.tag_value(key)),
            [Some("point"), Some("input"), Some("global")]
        );
    }

    #[test]
    fn tags_that_filters_took_away_can_come_back() {
        let lists = FilterLists { tag_include: vec!["a".into()], ..Default::default() };
        let global = BTreeMap::from([("host".to_owned(), "h".to_owned())]);
        let tags = |local, global_too| {
            let common = InputCommon {
                tags: BTreeMap::from([("rack".into(), "7".into())]),
                filter: Filter::new(&lists).unwrap(),
                always_include_local_tags: local,
                always_include_global_tags: global_too,
                ..InputCommon::default()
            };
            let point = Point::new("m", Timestamp(0)).tag("a", "1").tag("b", "2").field("f", 1_i64);
            let tags = common.process(&global, point).unwrap().tags;
            tags.into_iter().map(|(key, _)| key.into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(tags(false, false), ["a"]);
        assert_eq!(tags(true, false), ["a", "rack"]);
        assert_eq!(tags(true, true), ["a", "rack", "host"]);
    }

    #[test]
    fn names_are_overridden_then_wrapped() {
        let naming = Naming { name_override: Some("x".into()), prefix: "p_".into(), suffix: "_s".into() };
        let mut name = Name::Borrowed("cpu");
        naming.apply(&mut name);
        assert_eq!(name, "p_x_s");
    }

    #[test]
    fn precision_follows_the_interval() {
        assert_eq!(auto_precision(Duration::from_secs(10)), Duration::from_secs(1));
        assert_eq!(auto_precision(Duration::from_millis(250)), Duration::from_millis(1));
        assert_eq!(auto_precision(Duration::from_nanos(5)), Duration::from_nanos(1));
    }
}
