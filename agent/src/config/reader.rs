//! Parses one file's text into its tables, with the place of every key.

use std::sync::Arc;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Value};

use super::entry::{Entry, RawSection};
use super::env::{self, Environment, Mode};
use super::notes::Notes;
use super::reading::Source;
use super::{Place, telegraf};
use crate::options::nearest;
use crate::plugins::InputOptions;

/// A file's tables, before anything is resolved; sections in their order.
#[derive(Default)]
pub(super) struct RawFile {
    pub(super) agent: Vec<Entry>,
    pub(super) global_tags: Vec<Entry>,
    pub(super) inputs: Vec<RawSection>,
    pub(super) outputs: Vec<RawSection>,
    /// Processors, aggregators and secret stores.
    pub(super) others: Vec<RawSection>,
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
    /// By line: variables that are not set, where they are replaced before the file is parsed.
    unset: Vec<(usize, Vec<String>)>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a Source, environment: &'a Environment<'a>, notes: &'a mut Notes) -> Self {
        let text = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text).into();
        Self { source, environment, notes, text, lines: Vec::new(), unset: Vec::new() }
    }

    pub(super) fn read(mut self) -> RawFile {
        let mut written = RawFile::default();
        if self.environment.mode == Mode::NonStrict && !self.replace_everywhere() {
            self.notes.is_partial = true;
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
                self.notes.is_partial = true;
                self.notes.problem(&place, format!("invalid TOML: {}{hint}", error.message()));
            }
        }
        for sections in [&mut written.inputs, &mut written.outputs, &mut written.others] {
            sections.sort_by_key(|section| (section.place.line, section.place.column));
        }
        written
    }

    /// Replaces variables in the whole text except comments; `false` when a required one is missing.
    fn replace_everywhere(&mut self) -> bool {
        // Line by line: no variable spans lines, and each problem has its place.
        let mut replaced = String::new();
        for (n, line) in env::without_comments(&self.text).split_inclusive('\n').enumerate() {
            let (mut unset, place) =
                (Vec::new(), Place { file: self.source.path.clone(), line: n + 1, column: 1 });
            match self.environment.substitute(line, &mut unset) {
                Ok(replaced_line) => {
                    let key = line.split('=').next().unwrap_or_default().trim();
                    self.notes.unset(&place, key, &unset);
                    self.unset.push((n + 1, unset));
                    let line = replaced_line;
                    self.lines.extend(line.split_inclusive('\n').map(|_| n + 1));
                    replaced.push_str(&line);
                }
                Err(problem) => {
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
                "global_tags" | "tags" => {
                    let tags = self.entries(value, "global_tags");
                    written.global_tags.extend(tags);
                }
                "agent" => {
                    let entries = self.entries(value, "agent");
                    written.agent.extend(entries);
                }
                "inputs" | "plugins" => self.plugins("inputs", value, &mut written.inputs),
                "outputs" => self.plugins("outputs", value, &mut written.outputs),
                "processors" => self.plugins("processors", value, &mut written.others),
                "aggregators" => self.plugins("aggregators", value, &mut written.others),
                "secretstores" => self.plugins("secretstores", value, &mut written.others),
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

    /// All plugins of a kind.
    fn plugins(&mut self, kind: &'static str, value: &Spanned<DeValue<'_>>, sections: &mut Vec<RawSection>) {
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
        kind: &'static str,
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
        kind: &'static str,
        name: &str,
        place: Place,
        value: &Spanned<DeValue<'_>>,
        sections: &mut Vec<RawSection>,
    ) {
        let mut entries = self.entries(value, name);
        let Some(new) = telegraf::renamed_plugin(kind, name) else {
            sections.push(RawSection { kind, name: name.to_owned(), place, entries });
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
            entries.push(Entry::new("service_address", place, Value::String(text)));
        }
        sections.push(RawSection { kind, name: new.to_owned(), place, entries });
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
            let (mut unset, keys) = (self.unset_in(place.line), self.keys(value));
            let key = key.get_ref().to_string();
            match self.value(value, &mut unset) {
                Ok(value) => {
                    self.notes.unset(&place, &key, &unset);
                    entries.push(Entry { key, place, value, unset, keys });
                }
                Err(problem) => self.notes.problem(&place, format!("`{key}`: {problem}")),
            }
        }
        entries
    }

    /// The variables of a line that are not set, where they are replaced before the file is parsed.
    fn unset_in(&self, line: usize) -> Vec<String> {
        let of_line = self.unset.iter().filter(|(of, _)| *of == line);
        of_line.flat_map(|(_, names)| names.iter().cloned()).collect()
    }

    /// Where the keys of a table are.
    fn keys(&self, value: &Spanned<DeValue<'_>>) -> Vec<(String, Place)> {
        let DeValue::Table(table) = value.get_ref() else { return Vec::new() };
        table.keys().map(|key| (key.get_ref().to_string(), self.place(key.span().start))).collect()
    }

    /// Converts a value; in strict mode its variables are replaced, and the names of those that are not set kept.
    fn value(&self, value: &Spanned<DeValue<'_>>, unset: &mut Vec<String>) -> Result<Value, String> {
        Ok(match value.get_ref() {
            DeValue::String(text) => Value::String(match self.environment.mode {
                Mode::Strict => self.environment.substitute(text, unset)?,
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
                Value::Array(array.iter().map(|value| self.value(value, unset)).collect::<Result<_, _>>()?)
            }
            DeValue::Table(table) => {
                let mut values = toml::Table::new();
                for (key, value) in table {
                    values.insert(key.get_ref().to_string(), self.value(value, unset)?);
                }
                Value::Table(values)
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
