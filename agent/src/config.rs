//! The resolved configuration: what the file says, with every default applied.
//!
//! `file` reads Telegraf's format and refuses what it does not know; nothing here reads a file, an environment or a clock.

pub mod duration;
pub mod env;
pub mod file;
pub mod filter;
pub mod telegraf;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::inputs::InputOptions;
use crate::outputs::OutputOptions;
use crate::point::{Name, Point};
use crate::rotation::Rotation;

use self::filter::Filter;

/// From one gather to the next; Telegraf's default.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);
/// From one flush to the next; Telegraf's default.
pub const DEFAULT_FLUSH_INTERVAL: Duration = Duration::from_secs(10);
/// Points in one request; Telegraf's default.
pub const DEFAULT_BATCH_SIZE: usize = 1_000;
/// Points an output holds while it cannot write; Telegraf's default.
pub const DEFAULT_BUFFER_LIMIT: usize = 10_000;

/// Everything that the agent is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[agent]`
    pub agent: Agent,
    /// `[global_tags]`, and `host` unless that is left out.
    pub global_tags: BTreeMap<String, String>,
    /// `[[inputs.*]]`, in the order of the files.
    pub inputs: Vec<InputSection>,
    /// `[[outputs.*]]`, likewise.
    pub outputs: Vec<OutputSection>,
    /// The files that it came from; empty for the default.
    pub sources: Vec<PathBuf>,
    /// What a person should know, and nothing has to be done about, one line each.
    pub warnings: Vec<String>,
}

/// `[agent]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// From one gather to the next.
    pub interval: Duration,
    /// Gather at whole multiples of the interval.
    pub round_interval: bool,
    /// Each gather is late by up to this, at random.
    pub collection_jitter: Duration,
    /// Each gather is late by this.
    pub collection_offset: Duration,
    /// From one flush to the next.
    pub flush_interval: Duration,
    /// Each flush is late by up to this, at random.
    pub flush_jitter: Duration,
    /// Points in one request.
    pub metric_batch_size: usize,
    /// Points an output holds while it cannot write.
    pub metric_buffer_limit: usize,
    /// Times are rounded to this.
    pub precision: Duration,
    /// The `host` tag; `None` when it is left out.
    pub hostname: Option<String>,
    /// Tags of the input come back when its filters took them away.
    pub always_include_local_tags: bool,
    /// Global tags do.
    pub always_include_global_tags: bool,
    /// Where and how the agent logs.
    pub log: Log,
}

/// The options of `[agent]` about the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Log at debug level.
    pub debug: bool,
    /// Log errors only; wins over `debug`.
    pub quiet: bool,
    /// The file to log to; the standard error when there is none.
    pub file: Option<PathBuf>,
    /// When the file becomes an archive and a new one is begun.
    pub rotation: Rotation,
    /// What a line looks like.
    pub format: LogFormat,
    /// The key of the message in structured lines.
    pub message_key: String,
    /// The zone of the times: a name of the IANA, `local`, or nothing for UTC.
    pub timezone: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            debug: false,
            quiet: false,
            file: None,
            // Telegraf's: without a size or an age none is made.
            rotation: Rotation { max_archives: Some(5), ..Rotation::default() },
            format: LogFormat::Text,
            message_key: "msg".into(),
            timezone: String::new(),
        }
    }
}

/// What a line of the log looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `2024-01-01T00:00:00Z E! [inputs.cpu] text`
    #[default]
    Text,
    /// One JSON object.
    Structured,
}

impl Default for Agent {
    fn default() -> Self {
        Self {
            interval: DEFAULT_INTERVAL,
            round_interval: true,
            collection_jitter: Duration::ZERO,
            collection_offset: Duration::ZERO,
            flush_interval: DEFAULT_FLUSH_INTERVAL,
            flush_jitter: Duration::ZERO,
            metric_batch_size: DEFAULT_BATCH_SIZE,
            metric_buffer_limit: DEFAULT_BUFFER_LIMIT,
            precision: auto_precision(DEFAULT_INTERVAL),
            hostname: None,
            always_include_local_tags: false,
            always_include_global_tags: false,
            log: Log::default(),
        }
    }
}

/// Telegraf's rule for a precision that is not given: the largest of 1s, 1ms, 1us, 1ns that the interval reaches.
#[must_use]
pub fn auto_precision(interval: Duration) -> Duration {
    [Duration::from_secs(1), Duration::from_millis(1), Duration::from_micros(1)]
        .into_iter()
        .find(|unit| interval >= *unit)
        .unwrap_or(Duration::from_nanos(1))
}

/// Where something is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file; empty for the default configuration.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1; 0 when only the line is known.
    pub column: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)?;
        if self.column > 0 { write!(f, ":{}", self.column) } else { Ok(()) }
    }
}

/// An option of a plugin that it cannot work with.
#[derive(Debug, thiserror::Error)]
#[error("`{option}`: {what}")]
pub struct OptionError {
    /// The option.
    pub option: &'static str,
    /// What is wrong with it, and what to do.
    pub what: String,
}

impl OptionError {
    /// About one option.
    pub(crate) fn new(option: &'static str, what: impl Into<String>) -> Self {
        Self { option, what: what.into() }
    }
}

/// `[[inputs.*]]`
#[derive(Clone, Debug)]
pub struct InputSection {
    /// The input's own options.
    pub options: InputOptions,
    /// The options that every input has.
    pub common: InputCommon,
    /// Where it is written.
    pub place: Place,
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

impl InputCommon {
    /// What an input has that is given no options.
    #[must_use]
    pub fn of(agent: &Agent) -> Self {
        Self {
            alias: None,
            log_level: None,
            startup_error_behavior: StartupErrorBehavior::Error,
            interval: agent.interval,
            precision: agent.precision,
            collection_jitter: agent.collection_jitter,
            collection_offset: agent.collection_offset,
            naming: Naming::default(),
            tags: BTreeMap::new(),
            filter: Filter::default(),
            always_include_local_tags: agent.always_include_local_tags,
            always_include_global_tags: agent.always_include_global_tags,
        }
    }

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

/// `[[outputs.*]]`
#[derive(Clone, Debug)]
pub struct OutputSection {
    /// The output's own options.
    pub options: OutputOptions,
    /// The options that every output has.
    pub common: OutputCommon,
    /// Where it is written.
    pub place: Place,
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

impl OutputCommon {
    /// What an output has that is given no options.
    #[must_use]
    pub fn of(agent: &Agent) -> Self {
        Self {
            alias: None,
            log_level: None,
            flush_interval: agent.flush_interval,
            flush_jitter: agent.flush_jitter,
            metric_batch_size: agent.metric_batch_size,
            metric_buffer_limit: agent.metric_buffer_limit,
            naming: Naming::default(),
            filter: Filter::default(),
        }
    }

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
    use crate::point::Timestamp;

    #[test]
    fn tags_of_the_point_win_over_the_inputs_and_those_over_global_ones() {
        let mut common = InputCommon::of(&Agent::default());
        common.tags = BTreeMap::from([("a".into(), "input".into()), ("b".into(), "input".into())]);
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
        let lists = filter::FilterLists { tag_include: vec!["a".into()], ..Default::default() };
        let global = BTreeMap::from([("host".to_owned(), "h".to_owned())]);
        let tags = |local, global_too| {
            let common = InputCommon {
                tags: BTreeMap::from([("rack".into(), "7".into())]),
                filter: Filter::new(&lists).unwrap(),
                always_include_local_tags: local,
                always_include_global_tags: global_too,
                ..InputCommon::of(&Agent::default())
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
