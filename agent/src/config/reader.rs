//! Parses one file's text into its tables, with the place of every key.

use std::path::PathBuf;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Value};

use super::env::{self, Environment, Mode};
use super::notes::{Notes, nearest, unknown_plugin};
use super::{Place, telegraf};
use crate::plugins::InputOptions;

/// One file's text.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// A key with its value and place.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) value: Value,
}

/// A plugin's table.
pub(super) struct RawSection {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) entries: Vec<Entry>,
}

/// A file's tables, before anything is resolved; sections in their order.
#[derive(Default)]
pub(super) struct RawFile {
    pub(super) agent: Vec<Entry>,
    pub(super) global_tags: Vec<(String, String)>,
    pub(super) inputs: Vec<RawSection>,
    pub(super) outputs: Vec<RawSection>,
}

/// Reads one file.
pub(super) struct Reader<'a> {
    source: &'a Source,
    environment: &'a Environment<'a>,
    notes: &'a mut Notes,
    /// The text that is parsed as TOML.
    text: Arc<str>,
    /// For each line of the text, its line in the file: values of variables can add lines.
    lines: Vec<usize>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a Source, environment: &'a Environment<'a>, notes: &'a mut Notes) -> Self {
        let text = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text).into();
        Self { source, environment, notes, text, lines: Vec::new() }
    }

    pub(super) fn read(mut self) -> RawFile {
        let mut written = RawFile::default();
        if self.environment.mode == Mode::NonStrict && !self.replace_everywhere() {
            return written;
        }
        let text = Arc::clone(&self.text);
        match DeTable::parse(&text) {
            Ok(root) => self.tables(root.get_ref(), &mut written),
            Err(error) => {
                let place = self.place(error.span().map_or(0, |span| span.start));
                let line = self.text.lines().nth(place.line - 1).unwrap_or_default();
                let hint = if self.environment.mode == Mode::Strict && line.contains('$') {
                    "; variables are replaced only in quotes: write \"$VAR\", or start with --non-strict-env-handling"
                } else {
                    ""
                };
                self.notes.problem(&place, format!("invalid TOML: {}{hint}", error.message()));
            }
        }
        written.inputs.sort_by_key(|section| (section.place.line, section.place.column));
        written.outputs.sort_by_key(|section| (section.place.line, section.place.column));
        written
    }

    /// Replaces variables in the whole text except comments; `false` when a required one is missing.
    fn replace_everywhere(&mut self) -> bool {
        // Line by line: no variable spans lines, and each problem has its place.
        let mut replaced = String::new();
        for (n, line) in env::without_comments(&self.text).split_inclusive('\n').enumerate() {
            match self.environment.substitute(line) {
                Ok(line) => {
                    self.lines.extend(line.split_inclusive('\n').map(|_| n + 1));
                    replaced.push_str(&line);
                }
                Err(problem) => {
                    let place = Place { file: self.source.path.clone(), line: n + 1, column: 1 };
                    self.notes.problem(&place, problem);
                    return false;
                }
            }
        }
        self.text = replaced.into();
        true
    }

    fn tables(&mut self, root: &DeTable<'_>, written: &mut RawFile) {
        for (key, value) in root {
            let place = self.place(key.span().start);
            let name: &str = key.get_ref();
            match name {
                "global_tags" | "tags" => self.global_tags(value, &mut written.global_tags),
                "agent" => {
                    let entries = self.entries(value, "agent");
                    written.agent.extend(entries);
                }
                "inputs" | "plugins" => self.plugins("inputs", value, &mut written.inputs),
                "outputs" => self.plugins("outputs", value, &mut written.outputs),
                "processors" | "aggregators" | "secretstores" => {
                    let mut sections = Vec::new();
                    self.plugins(name, value, &mut sections);
                    sections.sort_by_key(|section| (section.place.line, section.place.column));
                    for section in sections {
                        self.notes.problem(&section.place, unknown_plugin(name, &section.name, &[]));
                    }
                }
                _ if !matches!(value.get_ref(), DeValue::Table(_) | DeValue::Array(_)) => {
                    let text = format!(
                        "`{name}` is outside of any table: put it below [agent], [[inputs.NAME]] or [[outputs.NAME]]"
                    );
                    self.notes.problem(&place, text);
                }
                // Telegraf's oldest form: a bare table is an input.
                _ if InputOptions::NAMES.contains(&name)
                    || telegraf::plugins("inputs").is_some_and(|names| names.contains(&name)) =>
                {
                    self.sections("inputs", key, value, &mut written.inputs);
                }
                _ => {
                    let known = ["global_tags", "agent", "inputs", "outputs"];
                    self.notes.problem(&place, format!("unknown table [{name}]{}", nearest(name, &known)));
                }
            }
        }
    }

    fn global_tags(&mut self, value: &Spanned<DeValue<'_>>, tags: &mut Vec<(String, String)>) {
        for entry in self.entries(value, "global_tags") {
            match entry.value {
                Value::String(text) => tags.push((entry.key, text)),
                _ => {
                    self.notes.problem(&entry.place, format!("global tag `{}` must be a string", entry.key));
                }
            }
        }
    }

    /// All plugins of a kind.
    fn plugins(&mut self, kind: &str, value: &Spanned<DeValue<'_>>, sections: &mut Vec<RawSection>) {
        let place = self.place(value.span().start);
        let DeValue::Table(table) = value.get_ref() else {
            self.notes.problem(&place, format!("expected a table such as [[{kind}.NAME]]"));
            return;
        };
        for (key, value) in table {
            self.sections(kind, key, value, sections);
        }
    }

    /// The sections of one plugin: `[[inputs.x]]`, or the older `[inputs.x]`.
    fn sections(
        &mut self,
        kind: &str,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
        sections: &mut Vec<RawSection>,
    ) {
        let name: &str = key.get_ref();
        match value.get_ref() {
            DeValue::Array(array) => {
                for value in array.iter() {
                    let place = self.place(value.span().start);
                    self.section(kind, name, place, value, sections);
                }
            }
            _ => {
                let place = self.place(key.span().start);
                self.section(kind, name, place, value, sections);
            }
        }
    }

    fn section(
        &mut self,
        kind: &str,
        name: &str,
        place: Place,
        value: &Spanned<DeValue<'_>>,
        sections: &mut Vec<RawSection>,
    ) {
        let mut entries = self.entries(value, name);
        let Some(new) = telegraf::renamed_plugin(kind, name) else {
            sections.push(RawSection { name: name.to_owned(), place, entries });
            return;
        };
        self.notes.warning(&place, format!("`{kind}.{name}` is now called `{kind}.{new}`"));
        // The protocol was in the plugin's name, and is now a part of the address.
        let address = match name {
            "tcp_listener" => Some(("tcp", ":8094")),
            "udp_listener" => Some(("udp", ":8092")),
            _ => None,
        };
        if let Some((protocol, default)) = address {
            let given = entries.iter().position(|entry| entry.key == "service_address");
            let given = given.map(|at| entries.remove(at));
            let text = given.as_ref().and_then(|entry| entry.value.as_str()).unwrap_or(default);
            let text = if text.contains("://") { text.to_owned() } else { format!("{protocol}://{text}") };
            let place = given.map_or_else(|| place.clone(), |entry| entry.place);
            entries.push(Entry { key: "service_address".into(), place, value: Value::String(text) });
        }
        sections.push(RawSection { name: new.to_owned(), place, entries });
    }

    fn entries(&mut self, value: &Spanned<DeValue<'_>>, what: &str) -> Vec<Entry> {
        let DeValue::Table(table) = value.get_ref() else {
            let place = self.place(value.span().start);
            self.notes.problem(&place, format!("`{what}` must be a table"));
            return Vec::new();
        };
        let mut entries = Vec::new();
        for (key, value) in table {
            let place = self.place(key.span().start);
            match self.value(value) {
                Ok(value) => entries.push(Entry { key: key.get_ref().to_string(), place, value }),
                Err(problem) => self.notes.problem(&place, format!("`{}`: {problem}", key.get_ref())),
            }
        }
        entries
    }

    /// Converts a value; in strict mode its variables are replaced.
    fn value(&self, value: &Spanned<DeValue<'_>>) -> Result<Value, String> {
        Ok(match value.get_ref() {
            DeValue::String(text) => Value::String(match self.environment.mode {
                Mode::Strict => self.environment.substitute(text)?,
                Mode::NonStrict => text.to_string(),
            }),
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
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let line = before.matches('\n').count();
        let line = self.lines.get(line).copied().unwrap_or(line + 1);
        Place { file: self.source.path.clone(), line, column }
    }
}
