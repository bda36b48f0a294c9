//! The options that every plugin has. Telegraf reads them by rules of their own: a value of the wrong type is mostly ignored,
//! durations are always strings, and a filter that is not a list is rejected.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use toml::Value;
use tracing::Level;

use super::entry::Entry;
use super::notes::Notes;
use super::{Agent, Place};
use crate::options::common::{Buffering, InputCommon, Naming, OutputCommon, StartupErrorBehavior};
use crate::options::duration;
use crate::options::filter::{Filter, FilterLists, Patterns};
use crate::point::{Name, Tags};
use crate::schema::{self, MEASUREMENTS, Measurement};

/// Options of both inputs and outputs.
pub(super) const COMMON_KEYS: &[&str] = &[
    "alias",
    "drop",
    "fielddrop",
    "fieldexclude",
    "fieldinclude",
    "fieldpass",
    "labels",
    "log_level",
    "name_override",
    "name_prefix",
    "name_suffix",
    "namedrop",
    "namedrop_separator",
    "namepass",
    "namepass_separator",
    "pass",
    "startup_error_behavior",
    "tagdrop",
    "tagexclude",
    "taginclude",
    "tagpass",
];
/// Further options of inputs.
pub(super) const INPUT_KEYS: &[&str] =
    &["interval", "precision", "collection_jitter", "collection_offset", "metric_series_limit", "tags"];
/// Further options of outputs.
pub(super) const OUTPUT_KEYS: &[&str] = &[
    "buffer_directory",
    "buffer_disk_limit",
    "buffer_disk_max_age",
    "buffer_disk_sync",
    "buffer_strategy",
    "flush_interval",
    "flush_jitter",
    "metric_batch_size",
    "metric_buffer_limit",
    "string_fields",
];

/// The options as a section has them.
#[derive(Default)]
struct RawCommon {
    alias: Option<String>,
    log_level: Option<Level>,
    startup_error_behavior: StartupErrorBehavior,
    interval: Option<Duration>,
    precision: Option<Duration>,
    collection_jitter: Option<Duration>,
    collection_offset: Option<Duration>,
    flush_interval: Option<Duration>,
    flush_jitter: Option<Duration>,
    metric_batch_size: Option<u64>,
    metric_buffer_limit: Option<u64>,
    metric_series_limit: Option<u64>,
    string_fields: Option<bool>,
    buffer_strategy: Option<bool>,
    buffer_directory: Option<String>,
    buffer_disk_sync: Option<bool>,
    buffer_disk_limit: Option<u64>,
    buffer_disk_max_age: Option<Duration>,
    naming: Naming,
    tags: Tags,
    lists: FilterLists,
}

/// The common options of an input, with the defaults of `agent`. For some, Telegraf takes the default from `[agent]` as far as
/// it is read when it comes to the section: `agent_so_far`.
pub(super) fn input(
    entries: &[Entry],
    listens: bool,
    agent: &Agent,
    agent_so_far: &Agent,
    notes: &mut Notes,
) -> Option<InputCommon> {
    let written = read(entries, true, notes);
    let default = agent.input_common();
    // What others send has times of its own.
    let precision = if listens { Duration::from_nanos(1) } else { default.precision };
    Some(InputCommon {
        interval: more_than_zero(written.interval).unwrap_or(default.interval),
        precision: more_than_zero(written.precision).unwrap_or(precision),
        // Telegraf accepts a jitter of 0, but treats an offset or precision of 0 as unset.
        collection_jitter: written.collection_jitter.unwrap_or(default.collection_jitter),
        collection_offset: more_than_zero(written.collection_offset).unwrap_or(default.collection_offset),
        metric_series_limit: at_least_one(written.metric_series_limit, 0),
        naming: written.naming,
        filter: filter(&written.lists, entries, notes)?,
        alias: written.alias,
        log_level: written.log_level,
        startup_error_behavior: written.startup_error_behavior,
        tags: written.tags,
        always_include_local_tags: agent_so_far.always_include_local_tags,
        always_include_global_tags: agent_so_far.always_include_global_tags,
    })
}

/// The common options of an output, likewise.
pub(super) fn output(
    entries: &[Entry],
    place: &Place,
    agent: &Agent,
    agent_so_far: &Agent,
    notes: &mut Notes,
) -> Option<OutputCommon> {
    let mut written = read(entries, false, notes);
    keep_from_filters_for_telegraf(&mut written.lists);
    let buffering = Buffering {
        is_on_disk: written.buffer_strategy.unwrap_or(agent.buffering.is_on_disk),
        directory: written.buffer_directory.map(PathBuf::from).or_else(|| agent.buffering.directory.clone()),
        sync: written.buffer_disk_sync.unwrap_or(agent.buffering.sync),
        limit: written.buffer_disk_limit.filter(|n| *n > 0).unwrap_or(agent.buffering.limit),
        max_age: written.buffer_disk_max_age.unwrap_or(agent.buffering.max_age),
    };
    let spool = buffering.spool().unwrap_or_else(|problem| {
        notes.problem(place, problem);
        None
    });
    Some(OutputCommon {
        spool,
        flush_interval: more_than_zero(written.flush_interval).unwrap_or(agent.flush_interval),
        flush_jitter: more_than_zero(written.flush_jitter).unwrap_or(agent.flush_jitter),
        metric_batch_size: at_least_one(written.metric_batch_size, agent_so_far.metric_batch_size),
        metric_buffer_limit: at_least_one(written.metric_buffer_limit, agent_so_far.metric_buffer_limit),
        has_string_fields: written.string_fields.unwrap_or(true),
        naming: written.naming,
        filter: filter(&written.lists, entries, notes)?,
        alias: written.alias,
        log_level: written.log_level,
    })
}

/// What the filters of any plugin have.
pub(super) fn lists(entries: &[Entry], notes: &mut Notes) -> FilterLists {
    read(entries, false, notes).lists
}

/// An output whose filters were written for Telegraf lets everything else pass; the agent's own measurement is not meant.
fn keep_from_filters_for_telegraf(lists: &mut FilterLists) {
    let separators = &lists.name_drop_separators;
    let names_own = |pattern: &String| {
        let pattern = Patterns::with_separators(std::slice::from_ref(pattern), separators).ok().flatten();
        pattern.is_some_and(|pattern| {
            let matches = |measurement: &Measurement| pattern.matches(measurement.name);
            let (own, telegrafs): (Vec<_>, Vec<_>) = MEASUREMENTS.iter().partition(|m| m.is_own());
            own.into_iter().any(matches) && !telegrafs.into_iter().any(matches)
        })
    };
    if lists.name_pass.is_empty() && !lists.name_drop.is_empty() && !lists.name_drop.iter().any(names_own) {
        lists.name_drop.push(schema::SELF.into());
    }
}

/// Telegraf treats 0 as unset.
pub(super) fn at_least_one(option: Option<u64>, default: usize) -> usize {
    option.filter(|n| *n > 0).map_or(default, |n| usize::try_from(n).unwrap_or(usize::MAX))
}

fn more_than_zero(option: Option<Duration>) -> Option<Duration> {
    option.filter(|duration| !duration.is_zero())
}

fn filter(lists: &FilterLists, entries: &[Entry], notes: &mut Notes) -> Option<Filter> {
    let filter = Filter::new(lists);
    // Each list was checked on its own: the problem is a separator.
    let place = || entries.iter().find(|entry| entry.key.ends_with("_separator")).map(|e| e.place.clone());
    filter.map_err(|error| notes.problem(&place().unwrap_or_default(), error)).ok()
}

fn read(entries: &[Entry], is_input: bool, notes: &mut Notes) -> RawCommon {
    let mut written = RawCommon::default();
    let lists = &mut written.lists;
    for entry in entries {
        let mut take = Take { entry, notes };
        match entry.key.as_str() {
            "alias" => written.alias = take.text().filter(|alias| !alias.is_empty()),
            "log_level" => written.log_level = take.level(),
            "startup_error_behavior" => written.startup_error_behavior = take.behavior(is_input),
            "interval" => written.interval = take.duration(),
            "precision" => written.precision = take.duration(),
            "collection_jitter" => written.collection_jitter = take.duration(),
            "collection_offset" => written.collection_offset = take.duration(),
            "flush_interval" => written.flush_interval = take.duration(),
            "flush_jitter" => written.flush_jitter = take.duration(),
            "metric_batch_size" => written.metric_batch_size = take.count(),
            "metric_buffer_limit" => written.metric_buffer_limit = take.count(),
            "metric_series_limit" => written.metric_series_limit = take.count(),
            "string_fields" => written.string_fields = take.switch(),
            "buffer_strategy" => written.buffer_strategy = take.strategy(),
            "buffer_directory" => written.buffer_directory = take.text().filter(|path| !path.is_empty()),
            "buffer_disk_sync" => written.buffer_disk_sync = take.switch(),
            "buffer_disk_limit" => written.buffer_disk_limit = take.size(),
            "buffer_disk_max_age" => written.buffer_disk_max_age = take.duration(),
            "name_override" => written.naming.name_override = take.text().filter(|name| !name.is_empty()),
            "name_prefix" => written.naming.prefix = take.text().unwrap_or_default(),
            "name_suffix" => written.naming.suffix = take.text().unwrap_or_default(),
            "tags" => written.tags = take.tags(),
            "namepass" => lists.name_pass = take.list(),
            "namepass_separator" => lists.name_pass_separators = take.text().unwrap_or_default(),
            "namedrop" => lists.name_drop = take.list(),
            "namedrop_separator" => lists.name_drop_separators = take.text().unwrap_or_default(),
            "fieldinclude" | "fieldpass" | "pass" => lists.field_include.extend(take.list()),
            "fieldexclude" | "fielddrop" | "drop" => lists.field_exclude.extend(take.list()),
            "taginclude" => lists.tag_include = take.list(),
            "tagexclude" => lists.tag_exclude = take.list(),
            "tagpass" => lists.tag_pass = take.lists_by_tag(),
            "tagdrop" => lists.tag_drop = take.lists_by_tag(),
            // `labels`: without `--select`, which is rejected, they select nothing.
            _ => {}
        }
    }
    written
}

/// Reads the value of one option.
struct Take<'a> {
    entry: &'a Entry,
    notes: &'a mut Notes,
}

impl Take<'_> {
    fn problem(&mut self, what: impl std::fmt::Display) {
        self.notes.problem(&self.entry.place, format!("`{}` {what}", self.entry.key));
    }

    fn ignored(&mut self, expected: &str) {
        let text = format!("`{}` is ignored, as in Telegraf: it must be {expected}", self.entry.key);
        self.notes.warning(&self.entry.place, text);
    }

    fn text(&mut self) -> Option<String> {
        match &self.entry.value {
            Value::String(text) => Some(text.clone()),
            _ => {
                self.ignored("text in quotes");
                None
            }
        }
    }

    fn duration(&mut self) -> Option<Duration> {
        match &self.entry.value {
            Value::String(text) => match duration::parse_go(text) {
                Ok(duration) => Some(duration),
                Err(problem) => {
                    self.problem(format_args!("cannot be used: {problem}"));
                    None
                }
            },
            _ => {
                self.ignored("a duration in quotes, with a unit, such as \"10s\"");
                None
            }
        }
    }

    fn count(&mut self) -> Option<u64> {
        match &self.entry.value {
            Value::Integer(number) => {
                let count = u64::try_from(*number);
                count.map_err(|_| self.problem("must be a whole number from 0, without quotes")).ok()
            }
            _ => {
                self.ignored("a whole number, without quotes");
                None
            }
        }
    }

    fn switch(&mut self) -> Option<bool> {
        let switch = self.entry.value.as_bool();
        if switch.is_none() {
            self.problem("must be true or false, without quotes");
        }
        switch
    }

    fn size(&mut self) -> Option<u64> {
        let value = self.entry.value.clone();
        let size = match value {
            Value::String(_) | Value::Integer(_) => duration::deserialize_size(value),
            _ => {
                self.problem("must be a size, such as \"1GiB\" or a number of bytes");
                return None;
            }
        };
        size.map_err(|problem| self.problem(format_args!("cannot be used: {}", problem.message()))).ok()
    }

    fn strategy(&mut self) -> Option<bool> {
        let name = self.text()?;
        let is_on_disk = Buffering::is_on_disk(&name);
        if is_on_disk.is_none() {
            self.problem(Buffering::not_a_strategy(&name));
        }
        is_on_disk
    }

    fn level(&mut self) -> Option<Level> {
        let text = self.text()?;
        let known = [
            ("error", Level::ERROR),
            ("warn", Level::WARN),
            ("info", Level::INFO),
            ("debug", Level::DEBUG),
            ("trace", Level::TRACE),
        ];
        let level = known.iter().find(|(name, _)| *name == text).map(|(_, level)| *level);
        if level.is_none() && !text.is_empty() {
            self.problem(format_args!("cannot be `{text}`: it must be error, warn, info, debug or trace"));
        }
        level
    }

    fn behavior(&mut self, is_input: bool) -> StartupErrorBehavior {
        match self.text().as_deref() {
            None | Some("" | "error") => StartupErrorBehavior::Error,
            Some("retry") => StartupErrorBehavior::Retry,
            // No input here has a probe other than its start.
            Some("probe") if is_input => StartupErrorBehavior::Ignore,
            Some("ignore") => StartupErrorBehavior::Ignore,
            Some(other) => {
                let probe = if is_input { ", probe" } else { "" };
                self.problem(format_args!("cannot be `{other}`: it must be error, retry, ignore{probe}"));
                StartupErrorBehavior::Error
            }
        }
    }

    fn list(&mut self) -> Vec<String> {
        let entry = self.entry;
        self.globs(&entry.value)
    }

    fn globs(&mut self, value: &Value) -> Vec<String> {
        let Value::Array(values) = value else {
            self.problem("must be a list, such as [\"cpu\"]");
            return Vec::new();
        };
        let list: Vec<String> = values.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect();
        if list.len() < values.len() {
            self.notes.warning(
                &self.entry.place,
                format!("`{}`: entries that are not strings are left out, as in Telegraf", self.entry.key),
            );
        }
        if let Err(error) = Patterns::with_separators(&list, "") {
            self.problem(format_args!("has a {error}"));
            return Vec::new();
        }
        list
    }

    fn lists_by_tag(&mut self) -> BTreeMap<String, Vec<String>> {
        let entry = self.entry;
        let Value::Table(table) = &entry.value else {
            self.problem("must be a table of lists, such as { cpu = [\"cpu0\"] }");
            return BTreeMap::new();
        };
        let mut lists = BTreeMap::new();
        for (key, value) in table {
            if value.is_array() {
                lists.insert(key.clone(), self.globs(value));
                continue;
            }
            let at = entry.keys.iter().find(|(name, _)| name == key).map_or(&entry.place, |(_, place)| place);
            let what = "is a tag here, whose values must be a list, such as [\"cpu0\"]";
            let text = format!("`{key}` {what}: an option of the plugin belongs above `{}`", entry.key);
            self.notes.problem(at, text);
        }
        lists
    }

    fn tags(&mut self) -> Tags {
        let entry = self.entry;
        let Value::Table(table) = &entry.value else {
            self.problem("must be a table, such as { rack = \"7\" }");
            return Tags::new();
        };
        let mut tags = Tags::new();
        for (key, value) in table {
            match value {
                Value::String(text) => {
                    tags.insert(Name::from(key), Name::from(text));
                }
                _ => self.problem(format_args!("has `{key}`, whose value must be text in quotes")),
            }
        }
        tags
    }
}
