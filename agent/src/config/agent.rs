//! `[agent]`: the options of all files merged, with Telegraf's defaults.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::common::at_least_one;
use super::entry::Entry;
use super::notes::Notes;
use super::section::{Owner, read_options};
use super::{Agent, Place, telegraf};
use crate::listen::endpoint::Endpoint;
use crate::options::common::{Buffering, auto_precision};
use crate::options::duration;
use crate::service::logging::{self, LogFormat, LogOptions};
use crate::service::rotation::Rotation;

/// The options of `[agent]` as a file has them.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AgentOptions {
    interval: Option<Seconds>,
    round_interval: Option<bool>,
    collection_jitter: Option<Seconds>,
    collection_offset: Option<Seconds>,
    flush_interval: Option<Seconds>,
    flush_jitter: Option<Seconds>,
    metric_batch_size: Option<u64>,
    metric_buffer_limit: Option<u64>,
    metric_series_limit: Option<u64>,
    buffer_strategy: Option<String>,
    buffer_directory: Option<String>,
    buffer_disk_sync: Option<bool>,
    buffer_disk_limit: Option<Size>,
    buffer_disk_max_age: Option<Seconds>,
    precision: Option<Seconds>,
    privileges: Option<String>,
    hostname: Option<String>,
    omit_hostname: Option<bool>,
    always_include_local_tags: Option<bool>,
    always_include_global_tags: Option<bool>,
    debug: Option<bool>,
    quiet: Option<bool>,
    logfile: Option<String>,
    logfile_rotation_interval: Option<Seconds>,
    logfile_rotation_max_size: Option<Size>,
    logfile_rotation_max_archives: Option<i64>,
    logformat: Option<String>,
    logtarget: Option<String>,
    log_with_timezone: Option<String>,
    structured_log_message_key: Option<String>,
    self_metrics: Option<bool>,
    skip_unknown_plugins: Option<bool>,
    statefile: Option<String>,
    health_address: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Seconds(#[serde(deserialize_with = "duration::deserialize")] Duration);

#[derive(Clone, Copy, Debug, Deserialize)]
struct Size(#[serde(deserialize_with = "duration::deserialize_size")] u64);

/// The names of the options, as a file has them.
#[cfg(test)]
pub(super) fn option_names() -> &'static [&'static str] {
    crate::options::keys::keys::<AgentOptions>()
}

/// The options of `[agent]` that Telegraf accepts in any case and without underscores: `FlushInterval`.
const AGENT_KEYS_OF_ANY_SPELLING: &[&str] = &[
    "interval",
    "round_interval",
    "collection_jitter",
    "collection_offset",
    "flush_interval",
    "flush_jitter",
    "metric_batch_size",
    "metric_buffer_limit",
    "precision",
    "hostname",
    "omit_hostname",
];

/// Whether this is an option that nobody has as a tag: below `[global_tags]` it is in the wrong table. `hostname` can be one.
pub(super) fn is_agent_key(key: &str) -> bool {
    let of_any_spelling = AGENT_KEYS_OF_ANY_SPELLING.contains(&key) && key != "hostname";
    of_any_spelling || matches!(key, "debug" | "quiet" | "logfile")
}

/// Merges a file's `[agent]` into those of earlier files, key by key.
pub(super) fn merge_agent(entries: &mut Vec<Entry>, later: Vec<Entry>, notes: &mut Notes) {
    for mut entry in later {
        let plain = |key: &str| key.replace('_', "").to_lowercase();
        if let Some(key) = AGENT_KEYS_OF_ANY_SPELLING.iter().find(|key| plain(key) == plain(&entry.key)) {
            entry.key = (*key).to_owned();
        }
        if let Some((key, why)) =
            telegraf::AGENT_OPTIONS_WITHOUT_EFFECT.iter().find(|(key, _)| *key == entry.key)
        {
            notes.warning(&entry.place, format!("`{key}` of [agent] has no effect: {why}"));
            continue;
        }
        if let Some(earlier) = entries.iter().position(|other| other.key == entry.key) {
            let earlier = entries.remove(earlier);
            let text =
                format!("`{}` of [agent] is also set at {}: this value is used", entry.key, earlier.place);
            notes.warning(&entry.place, text);
        }
        entries.push(entry);
    }
}

pub(super) fn resolve_agent(entries: &[Entry], hostname: &str, notes: &mut Notes) -> Agent {
    let options: AgentOptions = read_options(entries, &Owner::Agent, notes).unwrap_or_default();
    let place = |key: &str| {
        entries.iter().find(|entry| entry.key == key).map(|entry| entry.place.clone()).unwrap_or_default()
    };
    let default = Agent::default();
    let seconds =
        |option: Option<Seconds>, default: Duration| option.map_or(default, |Seconds(duration)| duration);
    let agent = Agent {
        interval: seconds(options.interval, default.interval),
        round_interval: options.round_interval.unwrap_or(default.round_interval),
        collection_jitter: seconds(options.collection_jitter, default.collection_jitter),
        collection_offset: seconds(options.collection_offset, default.collection_offset),
        flush_interval: seconds(options.flush_interval, default.flush_interval),
        flush_jitter: seconds(options.flush_jitter, default.flush_jitter),
        metric_batch_size: at_least_one(options.metric_batch_size, default.metric_batch_size),
        metric_buffer_limit: at_least_one(options.metric_buffer_limit, default.metric_buffer_limit),
        metric_series_limit: at_least_one(options.metric_series_limit, default.metric_series_limit),
        buffering: buffering(&options, &place, notes),
        precision: Duration::ZERO,
        hostname: (!options.omit_hostname.unwrap_or(false)).then(|| {
            options.hostname.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| hostname.to_owned())
        }),
        statefile: options.statefile.clone().filter(|path| !path.is_empty()).map(PathBuf::from),
        health_address: health_address(&options, &place, notes),
        always_include_local_tags: options.always_include_local_tags.unwrap_or(false),
        always_include_global_tags: options.always_include_global_tags.unwrap_or(false),
        self_metrics: options.self_metrics.unwrap_or(default.self_metrics),
        skip_unknown_plugins: options.skip_unknown_plugins.unwrap_or(default.skip_unknown_plugins),
        drops_privileges: drops_privileges(&options, &place, notes),
        log: log(&options, place, notes),
    };
    for (key, value) in [("interval", agent.interval), ("flush_interval", agent.flush_interval)] {
        if value.is_zero() {
            notes.problem(&place(key), format!("`{key}` of [agent] must be more than 0"));
        }
    }
    let precision = seconds(options.precision, Duration::ZERO);
    Agent { precision: if precision.is_zero() { auto_precision(agent.interval) } else { precision }, ..agent }
}

/// Where others ask whether the agent is alive.
fn health_address(
    options: &AgentOptions,
    place: &impl Fn(&str) -> Place,
    notes: &mut Notes,
) -> Option<String> {
    let address = options.health_address.clone().filter(|address| !address.is_empty())?;
    if let Err(problem) = Endpoint::check(&address) {
        notes.problem(&place("health_address"), format!("`health_address` of [agent]: {problem}"));
    }
    Some(address)
}

/// Where outputs keep points that are not written.
fn buffering(options: &AgentOptions, place: &impl Fn(&str) -> Place, notes: &mut Notes) -> Buffering {
    let default = Buffering::default();
    let is_on_disk = options.buffer_strategy.as_deref().map(|name| {
        Buffering::is_on_disk(name).unwrap_or_else(|| {
            notes.problem(
                &place("buffer_strategy"),
                format!("`buffer_strategy` of [agent] {}", Buffering::not_a_strategy(name)),
            );
            false
        })
    });
    Buffering {
        is_on_disk: is_on_disk.unwrap_or(default.is_on_disk),
        directory: options.buffer_directory.clone().filter(|path| !path.is_empty()).map(PathBuf::from),
        sync: options.buffer_disk_sync.unwrap_or(default.sync),
        limit: options.buffer_disk_limit.map(|Size(bytes)| bytes).filter(|n| *n > 0).unwrap_or(default.limit),
        max_age: options.buffer_disk_max_age.map_or(default.max_age, |Seconds(age)| age),
    }
}

/// Whether privileges are given up after the start.
fn drops_privileges(options: &AgentOptions, place: &impl Fn(&str) -> Place, notes: &mut Notes) -> bool {
    match options.privileges.as_deref().unwrap_or_default() {
        "" | "drop" => true,
        "keep" => false,
        other => {
            let problem = format!("`privileges` of [agent] cannot be `{other}`: it must be `drop` or `keep`");
            notes.problem(&place("privileges"), problem);
            true
        }
    }
}

/// The options of the log.
fn log(options: &AgentOptions, place: impl Fn(&str) -> Place, notes: &mut Notes) -> LogOptions {
    let default = LogOptions::default();
    let mut refuse = |key: &str, value: &str, known: &str| {
        notes.problem(&place(key), format!("`{key}` of [agent] cannot be `{value}`: it must be {known}"));
    };
    let format = match options.logformat.as_deref().unwrap_or_default() {
        "" | "text" => LogFormat::Text,
        "structured" => LogFormat::Structured,
        other => {
            refuse("logformat", other, "`text` or `structured`");
            LogFormat::Text
        }
    };
    let mut file = options.logfile.clone().filter(|name| !name.is_empty()).map(PathBuf::from);
    match options.logtarget.as_deref().unwrap_or_default() {
        "" | "file" => {}
        "stderr" => file = None,
        other => refuse("logtarget", other, "`file` or `stderr`"),
    }
    let timezone = options.log_with_timezone.clone().unwrap_or_default();
    if let Err(error) = logging::zone(&timezone) {
        notes.problem(&place("log_with_timezone"), format!("`log_with_timezone` of [agent]: {error}"));
    }
    let interval = options.logfile_rotation_interval.map_or(Duration::ZERO, |Seconds(duration)| duration);
    let max_size = options.logfile_rotation_max_size.map_or(0, |Size(bytes)| bytes);
    let rotation = match options.logfile_rotation_max_archives {
        Some(most) => Rotation::new(interval, max_size, most),
        None => Rotation { interval, max_bytes: max_size, ..default.rotation },
    };
    LogOptions {
        debug: options.debug.unwrap_or(false),
        quiet: options.quiet.unwrap_or(false),
        file,
        rotation,
        format,
        message_key: options
            .structured_log_message_key
            .clone()
            .filter(|key| !key.is_empty())
            .unwrap_or(default.message_key),
        timezone,
    }
}
