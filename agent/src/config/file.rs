//! Telegraf's configuration format: from text to the resolved configuration.
//!
//! What is not known is refused, with file, line, column and the nearest known name; all problems are reported at once.
//! What Telegraf knows and has nothing to act on here is accepted with a warning. The files come in as text, so that
//! nothing here touches the system.

mod common;
mod reader;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Value;

use self::common::{COMMON_KEYS, INPUT_KEYS, OUTPUT_KEYS};
use self::reader::{Entry, Reader, Section};
use super::env::Environment;
use super::telegraf::{self, Legacy};
use super::{Agent, Config, InputSection, Log, LogFormat, OutputSection, Place};
use super::{auto_precision, duration};
use crate::http::Tls;
use crate::inputs::InputOptions;
use crate::outputs::OutputOptions;
use crate::rotation::Rotation;

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

/// What there is to say about the files.
#[derive(Default)]
struct Notes {
    problems: Vec<(Place, String)>,
    warnings: Vec<(Place, String)>,
}

impl Notes {
    /// Each once: `[agent]` is resolved anew with every file.
    fn problem(&mut self, place: &Place, text: impl Into<String>) {
        let problem = (place.clone(), text.into());
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    fn warning(&mut self, place: &Place, text: impl Into<String>) {
        let warning = (place.clone(), text.into());
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
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
    /// Whether a list takes a name.
    #[must_use]
    pub fn takes(list: &[String], name: &str) -> bool {
        list.is_empty() || list.iter().any(|entry| entry == name)
    }
}

/// A section, and `[agent]` as the files up to the one that has the section say: Telegraf takes the sizes of buffers and
/// some more from there.
type Found = (Section, usize);

/// Reads files, the later of which win in `[agent]` and `[global_tags]`.
///
/// `hostname` is the system's, for when the files give none.
///
/// # Errors
/// Everything that is wrong in any of them.
pub fn load(
    sources: &[Source],
    filter: &PluginFilter,
    environment: &Environment<'_>,
    hostname: &str,
) -> Result<Config, Problems> {
    let mut notes = Notes::default();
    let mut agent_entries = Vec::new();
    let mut global_tags = BTreeMap::new();
    let mut agents: Vec<Agent> = Vec::new();
    let (mut inputs, mut outputs): (Vec<Found>, Vec<Found>) = (Vec::new(), Vec::new());
    for source in sources {
        let written = Reader::new(source, environment, &mut notes).read();
        merge_agent(&mut agent_entries, written.agent, &mut notes);
        let agent = resolve_agent(&agent_entries, hostname, &mut notes);
        global_tags.extend(written.global_tags);
        // As Telegraf does, with each file: leaving it out in a later one does not take it back.
        if let Some(hostname) = &agent.hostname {
            global_tags.insert("host".into(), hostname.clone());
        }
        inputs.extend(written.inputs.into_iter().map(|section| (section, agents.len())));
        outputs.extend(written.outputs.into_iter().map(|section| (section, agents.len())));
        agents.push(agent);
    }
    let agent = match agents.last() {
        Some(agent) => agent.clone(),
        None => resolve_agent(&[], hostname, &mut notes),
    };
    inputs.retain(|(section, _)| PluginFilter::takes(&filter.inputs, &section.name));
    outputs.retain(|(section, _)| PluginFilter::takes(&filter.outputs, &section.name));
    let inputs = inputs.into_iter().filter_map(|(section, file)| {
        let (own, common) = split(&section.entries, INPUT_KEYS);
        let options =
            own_options(&section, &own, "inputs", InputOptions::NAMES, &mut notes, InputOptions::read);
        let common = common::input(&common, &agent, &agents[file], &mut notes);
        Some(InputSection { options: options?, common: common?, place: section.place })
    });
    let inputs = inputs.collect();
    let outputs = outputs.into_iter().filter_map(|(section, file)| {
        let (own, common) = split(&section.entries, OUTPUT_KEYS);
        let options =
            own_options(&section, &own, "outputs", OutputOptions::NAMES, &mut notes, OutputOptions::read);
        let common = common::output(&common, &agent, &agents[file], &mut notes);
        Some(OutputSection { options: options?, common: common?, place: section.place })
    });
    let outputs = outputs.collect();
    if !notes.problems.is_empty() {
        return Err(Problems(notes.problems));
    }
    let sources = sources.iter().map(|source| source.path.clone()).collect();
    let warnings = notes.warnings.into_iter().map(|(place, text)| format!("{place}: {text}")).collect();
    Ok(Config { agent, global_tags, inputs, outputs, sources, warnings })
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
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Seconds(#[serde(deserialize_with = "duration::deserialize")] Duration);

#[derive(Clone, Copy, Debug, Deserialize)]
struct Size(#[serde(deserialize_with = "duration::deserialize_size")] u64);

/// The options of `[agent]` that Telegraf takes in any case and without underscores: `FlushInterval`.
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

/// Adds a file's `[agent]` to those before it, key by key.
fn merge_agent(entries: &mut Vec<Entry>, later: Vec<Entry>, notes: &mut Notes) {
    for mut entry in later {
        let plain = |key: &str| key.replace('_', "").to_lowercase();
        if let Some(key) = AGENT_KEYS_OF_ANY_SPELLING.iter().find(|key| plain(key) == plain(&entry.key)) {
            entry.key = (*key).to_owned();
        }
        if let Some((key, why)) =
            telegraf::AGENT_OPTIONS_WITHOUT_EFFECT.iter().find(|(key, _)| *key == entry.key)
        {
            // Telegraf's default, which changes nothing.
            if !(*key == "buffer_strategy" && entry.value.as_str() == Some("memory")) {
                notes.warning(&entry.place, format!("`{key}` of [agent] has no effect: {why}"));
            }
            continue;
        }
        if let Some(earlier) = entries.iter().position(|other| other.key == entry.key) {
            let earlier = entries.remove(earlier);
            let text =
                format!("`{}` of [agent] is also set at {}: this one counts", entry.key, earlier.place);
            notes.warning(&entry.place, text);
        }
        entries.push(entry);
    }
}

fn resolve_agent(entries: &[Entry], hostname: &str, notes: &mut Notes) -> Agent {
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
        precision: Duration::ZERO,
        hostname: (!options.omit_hostname.unwrap_or(false)).then(|| {
            options.hostname.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| hostname.to_owned())
        }),
        always_include_local_tags: options.always_include_local_tags.unwrap_or(false),
        always_include_global_tags: options.always_include_global_tags.unwrap_or(false),
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

/// The options about the log.
fn log(options: &AgentOptions, place: impl Fn(&str) -> Place, notes: &mut Notes) -> Log {
    let default = Log::default();
    let mut refuse = |key: &str, value: &str, known: &str| {
        notes.problem(&place(key), format!("`{key}` of [agent] cannot be `{value}`: it is {known}"));
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
    if let Err(error) = crate::logging::zone(&timezone) {
        notes.problem(&place("log_with_timezone"), format!("`log_with_timezone` of [agent]: {error}"));
    }
    let interval = options.logfile_rotation_interval.map_or(Duration::ZERO, |Seconds(duration)| duration);
    let max_size = options.logfile_rotation_max_size.map_or(0, |Size(bytes)| bytes);
    let rotation = match options.logfile_rotation_max_archives {
        Some(most) => Rotation::new(interval, max_size, most),
        None => Rotation { interval, max_bytes: max_size, ..default.rotation },
    };
    Log {
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

/// Telegraf takes 0 for its default.
fn at_least_one(option: Option<u32>, default: usize) -> usize {
    option.filter(|n| *n > 0).map_or(default, |n| n as usize)
}

/// A plugin's own options, and those that every plugin of its kind has.
fn split(entries: &[Entry], keys: &[&str]) -> (Vec<Entry>, Vec<Entry>) {
    let is_common = |entry: &Entry| {
        let key = entry.key.as_str();
        COMMON_KEYS.contains(&key) || keys.contains(&key)
    };
    entries.iter().cloned().partition(|entry| !is_common(entry))
}

/// The options of one plugin; `read` is the table of plugins of its kind.
fn own_options<O>(
    section: &Section,
    entries: &[Entry],
    kind: &'static str,
    names: &[&str],
    notes: &mut Notes,
    read: impl FnOnce(&str, &mut Options<'_>) -> Option<O>,
) -> Option<O> {
    let name = section.name.as_str();
    if !names.contains(&name) {
        notes.problem(&section.place, unknown_plugin(kind, name, names));
        return None;
    }
    let owner = Owner::Plugin { kind, name: name.to_owned() };
    for entry in entries.iter().filter(|entry| telegraf::SECRETS.contains(&entry.key.as_str())) {
        if entry.value.as_str().is_some_and(is_secret_reference) {
            let text = "refers to a secret store, which is not part of this agent: use a variable, such as \"$PASSWORD\"";
            notes.problem(&entry.place, format!("`{}` of {owner} {text}", entry.key));
        }
    }
    read(name, &mut Options { entries, owner, notes })
}

/// Whether a text has an `@{store:key}`. Left as it is, it would be sent for the secret.
fn is_secret_reference(text: &str) -> bool {
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    let mut references = text.split("@{").skip(1).filter_map(|rest| rest.split_once('}')?.0.split_once(':'));
    references.any(|(store, key)| is_name(store) && is_name(key))
}

/// What to say of a plugin that is not here; `own` are the names of those that are.
fn unknown_plugin(kind: &str, name: &str, own: &[&str]) -> String {
    let telegrafs = telegraf::plugins(kind).unwrap_or_default();
    if telegrafs.contains(&name) {
        return format!(
            "Telegraf's `{kind}.{name}` is not part of this agent: remove the section, or run Telegraf beside it for it"
        );
    }
    let near = nearest(name, own);
    let near = if near.is_empty() { nearest(name, telegrafs) } else { near };
    let kind = kind.trim_end_matches('s');
    if own.is_empty() {
        return format!("unknown {kind} `{name}`{near}");
    }
    format!("unknown {kind} `{name}`{near}; there are: {}", own.join(", "))
}

/// Whose options are read.
#[derive(Clone, Debug)]
enum Owner {
    Agent,
    Plugin { kind: &'static str, name: String },
}

impl Owner {
    /// What Telegraf makes of an option that is not known here.
    fn legacy(&self, key: &str) -> Option<Legacy> {
        match self {
            Self::Agent => None,
            Self::Plugin { kind, name } => telegraf::option(kind, name, key),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent => f.write_str("[agent]"),
            Self::Plugin { kind, name } => write!(f, "{} `{name}`", kind.trim_end_matches('s')),
        }
    }
}

/// Hands a plugin's options to its own type; what the table of plugins sees.
pub struct Options<'a> {
    entries: &'a [Entry],
    owner: Owner,
    notes: &'a mut Notes,
}

impl Options<'_> {
    /// The options as the plugin's type; `None` when they have problems, which are noted.
    pub fn read<T: DeserializeOwned>(&mut self) -> Option<T> {
        read_options(self.entries, &self.owner, self.notes)
    }
}

/// Reads a table key by key, so that each problem has its line, and then as a whole.
fn read_options<T: DeserializeOwned>(entries: &[Entry], owner: &Owner, notes: &mut Notes) -> Option<T> {
    let before = notes.problems.len();
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for entry in entries {
        match read_one::<T>(entry) {
            Ok(()) => known.push(entry.clone()),
            Err(Misfit::Unknown(keys)) => unknown.push((entry, keys)),
            Err(Misfit::Value(message)) => {
                notes.problem(&entry.place, format!("`{}` of {owner}: {message}", entry.key));
            }
        }
    }
    for (entry, keys) in unknown {
        let (key, place) = (&entry.key, &entry.place);
        match owner.legacy(key) {
            Some(Legacy::Renamed(new)) if keys.iter().any(|known| known == new) => {
                match take_renamed::<T>(entry, new, &mut known) {
                    Ok(()) => notes.warning(place, format!("`{key}` of {owner} is called `{new}` now")),
                    Err(problem) => notes.problem(place, format!("`{key}` of {owner}: {problem}")),
                }
            }
            Some(Legacy::Ignored(why)) => {
                notes.warning(place, format!("`{key}` of {owner} has no effect: {why}"));
            }
            Some(Legacy::Refused(why)) => notes.problem(place, format!("`{key}` of {owner}: {why}")),
            _ => {
                let common: &[&str] = if matches!(owner, Owner::Agent) { &[] } else { COMMON_KEYS };
                let known: Vec<&str> =
                    keys.iter().map(String::as_str).chain(common.iter().copied()).collect();
                notes.problem(place, format!("unknown option `{key}` of {owner}{}", nearest(key, &known)));
            }
        }
    }
    if notes.problems.len() > before {
        return None;
    }
    match table(&known).try_into() {
        Ok(options) => Some(options),
        Err(error) => {
            let place = entries.first().map(|entry| entry.place.clone()).unwrap_or_default();
            notes.problem(&place, format!("{owner}: {}", error.message()));
            None
        }
    }
}

/// Why an entry is none of a type.
enum Misfit {
    /// The type has no such key; it has these.
    Unknown(Vec<String>),
    /// The value does not fit, in serde's words.
    Value(String),
}

fn read_one<T: DeserializeOwned>(entry: &Entry) -> Result<(), Misfit> {
    let table = table(std::slice::from_ref(entry));
    let field = table.keys().next().cloned().unwrap_or_default();
    let error = match table.try_into::<T>() {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    let message = error.message();
    // One that is within the value is about the value.
    let unknown = message.strip_prefix(&format!("unknown field `{field}`, "));
    Err(match unknown {
        Some(expected) => {
            let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
            let tls = if known.contains(&"tls") { Tls::KEYS } else { &[] };
            Misfit::Unknown(known.iter().chain(tls).map(|key| (*key).to_owned()).collect())
        }
        None => Misfit::Value(message.to_owned()),
    })
}

/// Takes an option under its new name; a list joins the one that is there, and a text becomes a list where one is meant.
fn take_renamed<T: DeserializeOwned>(entry: &Entry, new: &str, known: &mut Vec<Entry>) -> Result<(), String> {
    let mut renamed = Entry { key: new.to_owned(), ..entry.clone() };
    if let Err(Misfit::Value(_)) = read_one::<T>(&renamed) {
        renamed.value = Value::Array(vec![renamed.value]);
    }
    match read_one::<T>(&renamed) {
        Ok(()) => {}
        Err(Misfit::Value(message)) => return Err(message),
        Err(Misfit::Unknown(_)) => return Err(format!("there is no `{new}`")),
    }
    match known.iter_mut().find(|other| other.key == new) {
        Some(Entry { value: Value::Array(list), .. }) => {
            list.extend(renamed.value.as_array().cloned().unwrap_or_default());
        }
        Some(_) => return Err(format!("`{new}` is there too: remove one of them")),
        None => known.push(renamed),
    }
    Ok(())
}

/// Entries as the table that a type is read from: the TLS options, which many plugins have, are one field of it, `tls`.
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

/// `: did you mean ...?`, when some known name is near.
fn nearest(name: &str, known: &[&str]) -> String {
    let distance = |candidate: &&&str| strsim::damerau_levenshtein(name, candidate);
    match known.iter().min_by_key(distance) {
        Some(best) if distance(&best) <= 1 + name.chars().count() / 3 => format!(": did you mean `{best}`?"),
        _ => String::new(),
    }
}

/// The configuration files below a directory, in Telegraf's order, and what could not be looked into.
///
/// # Errors
/// The directory itself cannot be read.
pub fn files_in(directory: &Path) -> std::io::Result<(Vec<PathBuf>, Vec<String>)> {
    /// Telegraf takes names of at least this length: one letter before `.conf`.
    const SHORTEST: usize = 6;
    let (mut files, mut warnings) = (Vec::new(), Vec::new());
    let mut entries: Vec<_> = std::fs::read_dir(directory)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        // Links to directories are not followed; those to files are how a ConfigMap is mounted, and the real files are in a
        // directory that starts with two dots.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if name.starts_with("..") {
                continue;
            }
            match files_in(&path) {
                Ok((more_files, more_warnings)) => {
                    files.extend(more_files);
                    warnings.extend(more_warnings);
                }
                Err(error) => warnings.push(format!("cannot read the directory {}: {error}", path.display())),
            }
        } else if name.len() >= SHORTEST && name.ends_with(".conf") {
            files.push(path);
        }
    }
    Ok((files, warnings))
}

#[cfg(test)]
mod tests;
