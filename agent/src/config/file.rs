//! Telegraf's configuration format: from text to the resolved configuration.
//!
//! What is not known is refused, with file, line and the nearest known name; all problems are reported at once. Variables
//! are replaced in strings, before options are read. The files come in as text, so that nothing here touches the system.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Value};

use super::filter::{Filter, FilterLists};
use super::{Agent, Config, InputCommon, InputSection, Naming, OutputCommon, OutputSection, Place};
use super::{auto_precision, duration, env};
use crate::http::Tls;
use crate::inputs::InputOptions;
use crate::outputs::OutputOptions;

/// Everything that is wrong with a configuration.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<(Place, String)>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (place, text)) in self.0.iter().enumerate() {
            let end = if n + 1 < self.0.len() { "\n" } else { "" };
            write!(f, "{place}: {text}{end}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl Problems {
    fn add(&mut self, place: &Place, text: impl Into<String>) {
        self.0.push((place.clone(), text.into()));
    }
}

/// One file's text.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where it is from.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

/// Which plugins are taken, by `--input-filter` and `--output-filter`; the others are not even read.
#[derive(Clone, Debug, Default)]
pub struct PluginFilter {
    /// Names of inputs; empty means all.
    pub inputs: Vec<String>,
    /// Names of outputs; empty means all.
    pub outputs: Vec<String>,
}

impl PluginFilter {
    fn takes(list: &[String], name: &str) -> bool {
        list.is_empty() || list.iter().any(|entry| entry == name)
    }
}

/// A key with its value and line.
#[derive(Clone, Debug)]
struct Entry {
    key: String,
    place: Place,
    value: Value,
}

/// A plugin's table.
struct Section {
    name: String,
    place: Place,
    entries: Vec<Entry>,
}

/// What the files say, before anything is resolved.
#[derive(Default)]
struct Written {
    agent: Vec<Entry>,
    global_tags: BTreeMap<String, String>,
    inputs: Vec<Section>,
    outputs: Vec<Section>,
}

/// Reads files, the later of which win in `[agent]` and `[global_tags]`.
///
/// `hostname` is the system's, for when the files give none.
///
/// # Errors
/// Everything that is wrong in any of them.
pub fn load(
    sources: &[Source],
    filter: &PluginFilter,
    lookup: env::Lookup<'_>,
    hostname: &str,
) -> Result<Config, Problems> {
    let (mut written, mut problems) = (Written::default(), Problems::default());
    for source in sources {
        Reader { source, lookup, problems: &mut problems }.read(&mut written);
    }
    let agent = resolve_agent(&written.agent, hostname, &mut problems);
    let mut global_tags = written.global_tags;
    if let Some(hostname) = &agent.hostname {
        global_tags.insert("host".into(), hostname.clone());
    }
    let mut inputs = Vec::new();
    for section in written.inputs.iter().filter(|section| PluginFilter::takes(&filter.inputs, &section.name))
    {
        let (own, common) = split(&section.entries, INPUT_KEYS);
        let options =
            own_options(section, &own, "input", InputOptions::NAMES, &mut problems, InputOptions::read);
        let common = input_common(&common, &agent, &mut problems);
        if let (Some(options), Some(common)) = (options, common) {
            inputs.push(InputSection { options, common, place: section.place.clone() });
        }
    }
    let mut outputs = Vec::new();
    for section in
        written.outputs.iter().filter(|section| PluginFilter::takes(&filter.outputs, &section.name))
    {
        let (own, common) = split(&section.entries, OUTPUT_KEYS);
        let options =
            own_options(section, &own, "output", OutputOptions::NAMES, &mut problems, OutputOptions::read);
        let common = output_common(&common, &agent, &mut problems);
        if let (Some(options), Some(common)) = (options, common) {
            outputs.push(OutputSection { options, common, place: section.place.clone() });
        }
    }
    if !problems.0.is_empty() {
        return Err(problems);
    }
    let sources = sources.iter().map(|source| source.path.clone()).collect();
    Ok(Config { agent, global_tags, inputs, outputs, sources })
}

/// Reads one file's tables.
struct Reader<'a> {
    source: &'a Source,
    lookup: env::Lookup<'a>,
    problems: &'a mut Problems,
}

impl Reader<'_> {
    fn read(&mut self, written: &mut Written) {
        let text = self.source.text.strip_prefix('\u{feff}').unwrap_or(&self.source.text);
        let root = match DeTable::parse(text) {
            Ok(root) => root,
            Err(error) => {
                let place = self.place(error.span().map_or(0, |span| span.start));
                self.problems.add(&place, format!("no valid TOML: {}", error.message()));
                return;
            }
        };
        for (key, value) in root.get_ref() {
            let place = self.place(key.span().start);
            let name: &str = key.get_ref();
            match name {
                "global_tags" | "tags" => self.global_tags(value, &place, &mut written.global_tags),
                "agent" => {
                    let entries = self.entries(value, "agent");
                    written.agent.extend(entries);
                }
                "inputs" | "plugins" => self.plugins(value, &mut written.inputs),
                "outputs" => self.plugins(value, &mut written.outputs),
                "processors" | "aggregators" | "secretstores" => {
                    self.problems
                        .add(&place, format!("[[{name}.*]] is not supported: only inputs and outputs are"));
                }
                // Telegraf's oldest form: a bare table is an input.
                input if InputOptions::NAMES.contains(&input) => {
                    let entries = self.entries(value, input);
                    written.inputs.push(Section { name: input.to_owned(), place, entries });
                }
                other => {
                    let known = ["global_tags", "agent", "inputs", "outputs"];
                    self.problems.add(&place, format!("unknown table [{other}]{}", nearest(other, &known)));
                }
            }
        }
    }

    fn global_tags(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        place: &Place,
        tags: &mut BTreeMap<String, String>,
    ) {
        for entry in self.entries(value, "global_tags") {
            match entry.value {
                Value::String(text) => {
                    tags.insert(entry.key, text);
                }
                _ => self.problems.add(&entry.place, format!("global tag `{}` must be a string", entry.key)),
            }
        }
        let _ = place;
    }

    /// `[[inputs.x]]`, or the older `[inputs.x]`.
    fn plugins(&mut self, value: &Spanned<DeValue<'_>>, sections: &mut Vec<Section>) {
        let place = self.place(value.span().start);
        let DeValue::Table(table) = value.get_ref() else {
            self.problems.add(&place, "expected a table such as [[inputs.cpu]]");
            return;
        };
        for (key, value) in table {
            let name = key.get_ref().to_string();
            match value.get_ref() {
                DeValue::Array(array) => {
                    for value in array.iter() {
                        let place = self.place(value.span().start);
                        let entries = self.entries(value, &name);
                        sections.push(Section { name: name.clone(), place, entries });
                    }
                }
                _ => {
                    let place = self.place(key.span().start);
                    let entries = self.entries(value, &name);
                    sections.push(Section { name, place, entries });
                }
            }
        }
        // The parser sorts by name; the file's order is what a person expects in the log.
        sections.sort_by_key(|section| (section.place.file != self.source.path, section.place.line));
        sections.sort_by_key(|section| section.place.file == self.source.path);
    }

    fn entries(&mut self, value: &Spanned<DeValue<'_>>, what: &str) -> Vec<Entry> {
        let DeValue::Table(table) = value.get_ref() else {
            let place = self.place(value.span().start);
            self.problems.add(&place, format!("`{what}` must be a table"));
            return Vec::new();
        };
        let mut entries = Vec::new();
        for (key, value) in table {
            let place = self.place(key.span().start);
            match self.value(value) {
                Ok(value) => entries.push(Entry { key: key.get_ref().to_string(), place, value }),
                Err(problem) => self.problems.add(&place, format!("`{}`: {problem}", key.get_ref())),
            }
        }
        entries
    }

    /// A value with its variables replaced.
    fn value(&self, value: &Spanned<DeValue<'_>>) -> Result<Value, String> {
        Ok(match value.get_ref() {
            DeValue::String(text) => Value::String(env::substitute(text, self.lookup)?),
            DeValue::Integer(integer) => {
                let digits = integer.as_str();
                let parsed = i64::from_str_radix(digits, integer.radix());
                Value::Integer(parsed.map_err(|_| format!("{digits} is out of range"))?)
            }
            DeValue::Float(float) => {
                let digits = float.as_str();
                Value::Float(digits.parse().map_err(|_| format!("{digits} is out of range"))?)
            }
            DeValue::Boolean(boolean) => Value::Boolean(*boolean),
            DeValue::Datetime(datetime) => Value::Datetime(*datetime),
            DeValue::Array(array) => {
                Value::Array(array.iter().map(|value| self.value(value)).collect::<Result<_, _>>()?)
            }
            DeValue::Table(table) => {
                let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| -> Result<_, String> {
                    let key: &Spanned<std::borrow::Cow<'_, str>> = key;
                    Ok((key.get_ref().to_string(), self.value(value)?))
                };
                Value::Table(table.iter().map(entry).collect::<Result<_, _>>()?)
            }
        })
    }

    fn place(&self, offset: usize) -> Place {
        let before = self.source.text.get(..offset).unwrap_or(&self.source.text);
        Place { file: self.source.path.clone(), line: before.matches('\n').count() + 1 }
    }
}

/// The options of `[agent]` as they are written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AgentOptions {
    interval: Option<Seconds>,
    round_interval: Option<bool>,
    collection_jitter: Option<Seconds>,
    collection_offset: Option<Seconds>,
    flush_interval: Option<Seconds>,
    flush_jitter: Option<Seconds>,
    metric_batch_size: Option<u32>,
    metric_buffer_limit: Option<u32>,
    precision: Option<Seconds>,
    hostname: Option<String>,
    omit_hostname: Option<bool>,
    debug: Option<bool>,
    quiet: Option<bool>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Seconds(#[serde(deserialize_with = "duration::deserialize")] Duration);

/// Options of `[agent]` that Telegraf takes and that have nothing to act on here.
const AGENT_KEYS_WITHOUT_EFFECT: &[&str] = &[
    "always_include_global_tags",
    "always_include_local_tags",
    "buffer_directory",
    "buffer_disk_sync",
    "buffer_strategy",
    "config_url_retry_attempts",
    "log_with_timezone",
    "logfile",
    "logfile_rotation_interval",
    "logfile_rotation_max_archives",
    "logfile_rotation_max_size",
    "logformat",
    "logtarget",
    "skip_processors_after_aggregators",
    "skip_processors_before_aggregators",
    "snmp_translator",
    "statefile",
    "structured_log_message_key",
];

fn resolve_agent(entries: &[Entry], hostname: &str, problems: &mut Problems) -> Agent {
    let mut known: Vec<Entry> = Vec::new();
    for entry in entries {
        let mut entry = entry.clone();
        if AGENT_KEYS_WITHOUT_EFFECT.contains(&entry.key.as_str()) {
            let (place, key) = (&entry.place, &entry.key);
            tracing::warn!(%place, key, "this option of [agent] has no effect yet");
            continue;
        }
        // Telegraf takes these in any case and without underscores: `FlushInterval`.
        let plain = |key: &str| key.replace('_', "").to_lowercase();
        if let Some(key) = AGENT_KEYS.iter().find(|key| plain(key) == plain(&entry.key)) {
            entry.key = (*key).to_owned();
        }
        known.retain(|other| other.key != entry.key);
        known.push(entry);
    }
    let options: AgentOptions = read_options(&known, "[agent]", problems).unwrap_or_default();
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
        precision: Duration::ZERO,
        hostname: (!options.omit_hostname.unwrap_or(false))
            .then(|| options.hostname.filter(|name| !name.is_empty()).unwrap_or_else(|| hostname.to_owned())),
        debug: options.debug.unwrap_or(false),
        quiet: options.quiet.unwrap_or(false),
    };
    for (key, value) in [("interval", agent.interval), ("flush_interval", agent.flush_interval)] {
        if value.is_zero() {
            let place = known.iter().find(|entry| entry.key == key).map(|entry| entry.place.clone());
            problems.add(&place.unwrap_or_default(), format!("`{key}` of [agent] must be more than 0"));
        }
    }
    let precision = seconds(options.precision, Duration::ZERO);
    Agent { precision: if precision.is_zero() { auto_precision(agent.interval) } else { precision }, ..agent }
}

/// The keys of [`AgentOptions`].
const AGENT_KEYS: &[&str] = &[
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
    "debug",
    "quiet",
];

/// Telegraf takes 0 for its default.
fn at_least_one(option: Option<u32>, default: usize) -> usize {
    option.filter(|n| *n > 0).map_or(default, |n| n as usize)
}

/// Options that every plugin has, as they are written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CommonOptions {
    alias: Option<String>,
    interval: Option<GoDuration>,
    precision: Option<GoDuration>,
    collection_jitter: Option<GoDuration>,
    collection_offset: Option<GoDuration>,
    flush_interval: Option<GoDuration>,
    flush_jitter: Option<GoDuration>,
    metric_batch_size: Option<u32>,
    metric_buffer_limit: Option<u32>,
    name_override: Option<String>,
    name_prefix: Option<String>,
    name_suffix: Option<String>,
    tags: BTreeMap<String, String>,
    namepass: Vec<String>,
    namedrop: Vec<String>,
    fieldinclude: Vec<String>,
    fieldexclude: Vec<String>,
    fieldpass: Vec<String>,
    fielddrop: Vec<String>,
    pass: Vec<String>,
    drop: Vec<String>,
    taginclude: Vec<String>,
    tagexclude: Vec<String>,
    tagpass: BTreeMap<String, Vec<String>>,
    tagdrop: BTreeMap<String, Vec<String>>,
}

/// A duration that Telegraf takes as a string alone; it ignores a bare number, and so must a drop-in.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "Value")]
struct GoDuration(Option<Duration>);

impl TryFrom<Value> for GoDuration {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match value {
            Value::String(text) => duration::parse(&text).map(|duration| Self(Some(duration))),
            Value::Integer(_) | Value::Float(_) => {
                tracing::warn!(
                    "a duration without a unit is ignored, as Telegraf does: write \"10s\" instead of 10"
                );
                Ok(Self(None))
            }
            _ => Err("expected a duration such as \"10s\"".into()),
        }
    }
}

const FILTER_KEYS: &[&str] = &[
    "alias",
    "name_override",
    "name_prefix",
    "name_suffix",
    "namepass",
    "namedrop",
    "fieldinclude",
    "fieldexclude",
    "fieldpass",
    "fielddrop",
    "pass",
    "drop",
    "taginclude",
    "tagexclude",
    "tagpass",
    "tagdrop",
];
const INPUT_KEYS: &[&str] = &["interval", "precision", "collection_jitter", "collection_offset", "tags"];
const OUTPUT_KEYS: &[&str] = &["flush_interval", "flush_jitter", "metric_batch_size", "metric_buffer_limit"];

/// A plugin's own options, and those that every plugin of its kind has.
fn split(entries: &[Entry], keys: &[&str]) -> (Vec<Entry>, Vec<Entry>) {
    let is_common = |entry: &Entry| {
        let key = entry.key.as_str();
        FILTER_KEYS.contains(&key) || keys.contains(&key)
    };
    entries.iter().cloned().partition(|entry| !is_common(entry))
}

fn filter_lists(options: &CommonOptions) -> FilterLists {
    let join = |lists: [&Vec<String>; 3]| lists.into_iter().flatten().cloned().collect();
    FilterLists {
        name_pass: options.namepass.clone(),
        name_drop: options.namedrop.clone(),
        tag_pass: options.tagpass.clone(),
        tag_drop: options.tagdrop.clone(),
        field_include: join([&options.fieldinclude, &options.fieldpass, &options.pass]),
        field_exclude: join([&options.fieldexclude, &options.fielddrop, &options.drop]),
        tag_include: options.taginclude.clone(),
        tag_exclude: options.tagexclude.clone(),
    }
}

fn naming(options: &CommonOptions) -> Naming {
    Naming {
        name_override: options.name_override.clone().filter(|name| !name.is_empty()),
        prefix: options.name_prefix.clone().unwrap_or_default(),
        suffix: options.name_suffix.clone().unwrap_or_default(),
    }
}

fn filter(entries: &[Entry], options: &CommonOptions, problems: &mut Problems) -> Option<Filter> {
    match Filter::new(&filter_lists(options)) {
        Ok(filter) => Some(filter),
        Err(error) => {
            let place = entries.first().map(|entry| entry.place.clone()).unwrap_or_default();
            problems.add(&place, format!("bad glob: {error}"));
            None
        }
    }
}

fn given(option: Option<GoDuration>) -> Option<Duration> {
    option.and_then(|GoDuration(duration)| duration)
}

fn input_common(entries: &[Entry], agent: &Agent, problems: &mut Problems) -> Option<InputCommon> {
    let options: CommonOptions = read_options(entries, "an input", problems)?;
    let default = InputCommon::of(agent);
    let more_than_zero = |option| given(option).filter(|duration| !duration.is_zero());
    Some(InputCommon {
        interval: more_than_zero(options.interval).unwrap_or(default.interval),
        precision: more_than_zero(options.precision).unwrap_or(default.precision),
        collection_jitter: given(options.collection_jitter).unwrap_or(default.collection_jitter),
        collection_offset: more_than_zero(options.collection_offset).unwrap_or(default.collection_offset),
        naming: naming(&options),
        filter: filter(entries, &options, problems)?,
        alias: options.alias,
        tags: options.tags,
    })
}

fn output_common(entries: &[Entry], agent: &Agent, problems: &mut Problems) -> Option<OutputCommon> {
    let options: CommonOptions = read_options(entries, "an output", problems)?;
    let default = OutputCommon::of(agent);
    let more_than_zero = |option| given(option).filter(|duration| !duration.is_zero());
    Some(OutputCommon {
        flush_interval: more_than_zero(options.flush_interval).unwrap_or(default.flush_interval),
        flush_jitter: more_than_zero(options.flush_jitter).unwrap_or(default.flush_jitter),
        metric_batch_size: at_least_one(options.metric_batch_size, default.metric_batch_size),
        metric_buffer_limit: at_least_one(options.metric_buffer_limit, default.metric_buffer_limit),
        naming: naming(&options),
        filter: filter(entries, &options, problems)?,
        alias: options.alias,
    })
}

/// The options of one plugin; `read` is the table of plugins of its kind.
fn own_options<O>(
    section: &Section,
    entries: &[Entry],
    kind: &str,
    names: &[&str],
    problems: &mut Problems,
    read: impl FnOnce(&str, &mut Options<'_>) -> Option<O>,
) -> Option<O> {
    if !names.contains(&section.name.as_str()) {
        let text = format!(
            "unknown {kind} `{}`{}; there are: {}",
            section.name,
            nearest(&section.name, names),
            names.join(", ")
        );
        problems.add(&section.place, text);
        return None;
    }
    let what = format!("{kind} `{}`", section.name);
    read(&section.name, &mut Options { entries, what, problems })
}

/// Hands a plugin's options to its own type; what the table of plugins sees.
pub struct Options<'a> {
    entries: &'a [Entry],
    what: String,
    problems: &'a mut Problems,
}

impl Options<'_> {
    /// The options as the plugin's type; `None` when they have problems, which are noted.
    pub fn read<T: DeserializeOwned>(&mut self) -> Option<T> {
        read_options(self.entries, &self.what, self.problems)
    }
}

/// Reads a table key by key, so that each problem has its line, and then as a whole.
fn read_options<T: DeserializeOwned>(entries: &[Entry], what: &str, problems: &mut Problems) -> Option<T> {
    let before = problems.0.len();
    for entry in entries {
        if let Err(error) = table(std::slice::from_ref(entry)).try_into::<T>() {
            problems.add(&entry.place, describe(&entry.key, what, error.message()));
        }
    }
    if problems.0.len() > before {
        return None;
    }
    match table(entries).try_into() {
        Ok(options) => Some(options),
        Err(error) => {
            let place = entries.first().map(|entry| entry.place.clone()).unwrap_or_default();
            problems.add(&place, format!("{what}: {}", error.message()));
            None
        }
    }
}

/// Entries as the table that a plugin's type is read from: the TLS options, which many have, are one field of it, `tls`.
fn table(entries: &[Entry]) -> toml::Table {
    let (tls, own): (Vec<_>, Vec<_>) =
        entries.iter().partition(|entry| Tls::KEYS.contains(&entry.key.as_str()));
    let pair = |entry: &Entry| (entry.key.clone(), entry.value.clone());
    let mut table: toml::Table = own.into_iter().map(pair).collect();
    if !tls.is_empty() {
        table.insert("tls".into(), Value::Table(tls.into_iter().map(pair).collect()));
    }
    table
}

/// serde's message in our words.
fn describe(key: &str, what: &str, message: &str) -> String {
    let Some((_, expected)) = message.strip_prefix("unknown field").and_then(|rest| rest.split_once(", "))
    else {
        return format!("`{key}` of {what}: {message}");
    };
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    let tls = if known.contains(&"tls") { Tls::KEYS } else { &[] };
    let known: Vec<&str> = known.iter().chain(tls).chain(FILTER_KEYS).copied().collect();
    format!("unknown option `{key}` of {what}{}", nearest(key, &known))
}

/// `: did you mean ...?`, when some known name is near.
fn nearest(name: &str, known: &[&str]) -> String {
    let distance = |candidate: &&&str| strsim::damerau_levenshtein(name, candidate);
    match known.iter().min_by_key(distance) {
        Some(best) if distance(&best) <= 1 + name.chars().count() / 3 => format!(": did you mean `{best}`?"),
        _ => String::new(),
    }
}

/// The names of the files to read for `--config` and `--config-directory`, in Telegraf's order.
///
/// # Errors
/// A directory that cannot be read.
pub fn files_in(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    /// Telegraf takes names of at least this length: one letter before `.conf`.
    const SHORTEST: usize = 6;
    let mut files = Vec::new();
    let mut entries: Vec<_> = std::fs::read_dir(directory)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        // A ConfigMap's real files are in a directory that starts with two dots; its links are what is meant.
        if path.is_dir() {
            if !name.starts_with("..") {
                files.extend(files_in(&path)?);
            }
        } else if name.len() >= SHORTEST && name.ends_with(".conf") {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
