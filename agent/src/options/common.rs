//! The options that every input and every output has, with Telegraf's defaults.
//!
//! Reading them from a file is `config`'s. Pure: a point goes in, and comes out named, tagged and filtered.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use super::filter::Filter;
use crate::point::{FieldValue, Name, Point, Tags};

/// From one gather to the next; Telegraf's default.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);
/// From one flush to the next; Telegraf's default.
pub const DEFAULT_FLUSH_INTERVAL: Duration = Duration::from_secs(10);
/// Points in one request; Telegraf's default.
pub const DEFAULT_BATCH_SIZE: usize = 1_000;
/// Points an output buffers while it cannot write; Telegraf's default.
pub const DEFAULT_BUFFER_LIMIT: usize = 10_000;

/// Bytes of an output's spool.
pub const DEFAULT_SPOOL_LIMIT: u64 = 1 << 30;

/// Telegraf's default precision: the largest of 1s, 1ms, 1us, 1ns that is not longer than the interval.
#[must_use]
pub fn auto_precision(interval: Duration) -> Duration {
    [Duration::from_secs(1), Duration::from_millis(1), Duration::from_micros(1)]
        .into_iter()
        .find(|unit| interval >= *unit)
        .unwrap_or(Duration::from_nanos(1))
}

/// What to do when a plugin cannot start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartupErrorBehavior {
    /// The agent does not start.
    #[default]
    Error,
    /// The start is retried at each gather.
    Retry,
    /// The agent runs without it.
    Ignore,
}

impl StartupErrorBehavior {
    /// Whether the agent starts all the same.
    #[must_use]
    pub fn goes_on(self) -> bool {
        self != Self::Error
    }
}

/// The options that every input has.
#[derive(Clone, Debug)]
pub struct InputCommon {
    /// Its name in the log, instead of the plugin's.
    pub alias: Option<String>,
    /// Its log level; the agent's when unset.
    pub log_level: Option<tracing::Level>,
    /// What to do when it cannot start.
    pub startup_error_behavior: StartupErrorBehavior,
    /// From one gather to the next.
    pub interval: Duration,
    /// Times are rounded to this.
    pub precision: Duration,
    /// Each gather is delayed by up to this, at random.
    pub collection_jitter: Duration,
    /// Each gather is delayed by this.
    pub collection_offset: Duration,
    /// Its series; 0 is no limit but that of all inputs.
    pub metric_series_limit: usize,
    /// How its measurements are named.
    pub naming: Naming,
    /// Tags added to its points.
    pub tags: Tags,
    /// Which of its points pass.
    pub filter: Filter,
    /// Its tags are added again when the filter removed them.
    pub always_include_local_tags: bool,
    /// So are the global tags.
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
            metric_series_limit: 0,
            naming: Naming::default(),
            tags: Tags::new(),
            filter: Filter::default(),
            always_include_local_tags: false,
            always_include_global_tags: false,
        }
    }
}

impl InputCommon {
    /// Selects, names, tags and prunes a point, in Telegraf's order; `None` when nothing is left.
    ///
    /// A tag of the point overrides one of the input, and that one a global tag.
    #[must_use]
    pub fn process(&self, global_tags: &Tags, mut point: Point) -> Option<Point> {
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
fn add_tags(point: &mut Point, tags: &Tags) {
    for (key, value) in tags {
        if point.tag_value(key).is_none() {
            point.tags.push((key.clone(), value.clone()));
        }
    }
}

/// The options that every output has.
#[derive(Clone, Debug)]
pub struct OutputCommon {
    /// Its name in the log, instead of the plugin's.
    pub alias: Option<String>,
    /// Its log level; the agent's when unset.
    pub log_level: Option<tracing::Level>,
    /// From one flush to the next.
    pub flush_interval: Duration,
    /// Each flush is delayed by up to this, at random.
    pub flush_jitter: Duration,
    /// Points in one request.
    pub metric_batch_size: usize,
    /// Points buffered while it cannot write.
    pub metric_buffer_limit: usize,
    /// Where points are kept until they are written; `None` is in memory alone.
    pub spool: Option<SpoolOptions>,
    /// Fields that are texts are written too; some stores make 0 of them.
    pub has_string_fields: bool,
    /// How measurements are named.
    pub naming: Naming,
    /// Which points pass.
    pub filter: Filter,
}

/// The options of `buffer_strategy = "disk_write_through"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolOptions {
    /// Each output has a directory in it.
    pub directory: PathBuf,
    /// Points are on the disk before that is said.
    pub sync: bool,
    /// Bytes of one output; the oldest points make room for new ones.
    pub limit: u64,
    /// Older points are dropped; zero keeps all.
    pub max_age: Duration,
}

/// Where outputs keep points that are not written yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffering {
    /// In files, and not in memory alone.
    pub is_on_disk: bool,
    /// See [`SpoolOptions::directory`].
    pub directory: Option<PathBuf>,
    /// See [`SpoolOptions::sync`].
    pub sync: bool,
    /// See [`SpoolOptions::limit`].
    pub limit: u64,
    /// See [`SpoolOptions::max_age`].
    pub max_age: Duration,
}

impl Default for Buffering {
    fn default() -> Self {
        Self {
            is_on_disk: false,
            directory: None,
            sync: true,
            limit: DEFAULT_SPOOL_LIMIT,
            max_age: Duration::ZERO,
        }
    }
}

impl Buffering {
    /// What a strategy of this name is; `None` for another one.
    pub(crate) fn is_on_disk(name: &str) -> Option<bool> {
        match name {
            "" | "memory" => Some(false),
            "disk" | "disk_write_through" => Some(true),
            _ => None,
        }
    }

    /// What is wrong with another name.
    pub(crate) fn not_a_strategy(name: &str) -> String {
        format!("cannot be `{name}`: it must be `memory` or `disk_write_through`")
    }

    /// What an output is told. A problem where it has no directory.
    pub(crate) fn spool(self) -> Result<Option<SpoolOptions>, &'static str> {
        let Self { is_on_disk, directory, sync, limit, max_age } = self;
        match directory {
            _ if !is_on_disk => Ok(None),
            Some(directory) => Ok(Some(SpoolOptions { directory, sync, limit, max_age })),
            None => Err(
                "`buffer_strategy` is on disk, and `buffer_directory` is not set: name a directory that is still there after a restart, such as /var/lib/seismograf",
            ),
        }
    }
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
            spool: None,
            has_string_fields: true,
            naming: Naming::default(),
            filter: Filter::default(),
        }
    }
}

impl OutputCommon {
    /// Selects, prunes and names a point, in Telegraf's order for outputs; borrowed when nothing changes.
    #[must_use]
    pub fn process<'a>(&self, point: &'a Point) -> Option<Cow<'a, Point>> {
        if !self.filter.selects(point) {
            return None;
        }
        let is_text = |value: &FieldValue| matches!(value, FieldValue::Text(_));
        let drops_texts = !self.has_string_fields && point.fields.iter().any(|(_, value)| is_text(value));
        if self.filter.keeps_all() && self.naming.is_plain() && !drops_texts {
            return Some(Cow::Borrowed(point));
        }
        let mut point = point.clone();
        self.filter.prune(&mut point);
        if drops_texts {
            point.fields.retain(|(_, value)| !is_text(value));
        }
        self.naming.apply(&mut point.measurement);
        (!point.fields.is_empty()).then_some(Cow::Owned(point))
    }
}

/// `name_override`, `name_prefix`, `name_suffix`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Naming {
    /// Replaces the name.
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
            *measurement = Name::of(format_args!("{}{name}{}", self.prefix, self.suffix));
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
    fn tags_of_the_point_override_the_inputs_and_those_override_global_ones() {
        let tags = Tags::from([("a".into(), "input".into()), ("b".into(), "input".into())]);
        let common = InputCommon { tags, ..InputCommon::default() };
        let global = Tags::from([("b".into(), "global".into()), ("c".into(), "global".into())]);
        let point = Point::new("m", Timestamp(0)).tag("a", "point").field("f", 1_i64);
        let point = common.process(&global, point).unwrap();
        assert_eq!(
            ["a", "b", "c"].map(|key| point.tag_value(key)),
            [Some("point"), Some("input"), Some("global")]
        );
    }

    #[test]
    fn tags_that_filters_removed_can_be_added_again() {
        let lists = FilterLists { tag_include: vec!["a".into()], ..Default::default() };
        let global = Tags::from([("host".into(), "h".into())]);
        let tags = |local, global_too| {
            let common = InputCommon {
                tags: Tags::from([("rack".into(), "7".into())]),
                filter: Filter::new(&lists).unwrap(),
                always_include_local_tags: local,
                always_include_global_tags: global_too,
                ..InputCommon::default()
            };
            let point = Point::new("m", Timestamp(0)).tag("a", "1").tag("b", "2").field("f", 1_i64);
            let tags = common.process(&global, point).unwrap().tags;
            tags.into_iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(tags(false, false), ["a"]);
        assert_eq!(tags(true, false), ["a", "rack"]);
        assert_eq!(tags(true, true), ["a", "rack", "host"]);
    }

    #[test]
    fn texts_are_left_out_where_that_is_asked_for() {
        let plain = OutputCommon::default();
        let numbers = OutputCommon { has_string_fields: false, ..OutputCommon::default() };
        let both = Point::new("m", Timestamp(0)).field("f", 1_i64).field("s", "text");
        assert_eq!(plain.process(&both).unwrap().fields.len(), 2);
        let left = numbers.process(&both).unwrap();
        assert_eq!(left.fields, [("f".into(), FieldValue::Int(1))]);
        assert!(numbers.process(&Point::new("m", Timestamp(0)).field("s", "text")).is_none());
        let number = Point::new("m", Timestamp(0)).field("f", true);
        assert!(matches!(numbers.process(&number), Some(Cow::Borrowed(_))));
    }

    #[test]
    fn names_are_overridden_then_wrapped() {
        let naming = Naming { name_override: Some("x".into()), prefix: "p_".into(), suffix: "_s".into() };
        let mut name = Name::from("cpu");
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
