//! The text of a log line.

use std::borrow::Cow;
use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};
use tracing::{Level, Metadata};

use super::fields::{AGENT, Fields, Plugin};

pub(super) fn time(now: Timestamp, zone: &TimeZone) -> String {
    let offset = if *zone == TimeZone::UTC { "Z" } else { "%:z" };
    now.to_zoned(zone.clone()).strftime(&format!("%Y-%m-%dT%H:%M:%S{offset}")).to_string()
}

/// Who logs: the plugin, a library, or the agent.
pub(super) fn source(metadata: &Metadata<'_>, plugin: Option<&Plugin>) -> String {
    match (plugin, metadata.target().split("::").next()) {
        (Some(plugin), _) => plugin.to_string(),
        (None, Some(library)) if !library.starts_with("seismograf") => library.to_owned(),
        _ => AGENT.to_owned(),
    }
}

pub(super) fn text(level: Level, source: &str, fields: &Fields) -> String {
    let level = level.as_str().chars().next().unwrap_or('?');
    let mut line = format!("{level}! [{source}] {}", on_one_line(&fields.message));
    for (key, value) in &fields.others {
        let needs_quotes = |c: char| c == ' ' || c == '"' || c.is_control();
        // Writing to a string cannot fail.
        let _ = match value {
            Value::String(text) if text.contains(needs_quotes) || text.is_empty() => {
                write!(line, " {key}={text:?}")
            }
            Value::String(text) => write!(line, " {key}={text}"),
            value => write!(line, " {key}={value}"),
        };
    }
    line.push('\n');
    line
}

/// A text without what would begin another line, or tell a terminal something: parts of it may be what a stranger sent.
fn on_one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return text.into();
    }
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line.into()
}

pub(super) fn structured(
    now: Timestamp,
    message_key: &str,
    level: Level,
    plugin: Option<&Plugin>,
    fields: Fields,
) -> String {
    let mut object: Map<String, Value> =
        fields.others.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    object.insert("time".into(), now.to_string().into());
    object.insert("level".into(), level.as_str().into());
    object.insert(message_key.into(), fields.message.into());
    if let Some(Plugin { kind, name, alias, .. }) = plugin {
        object.insert("category".into(), kind.as_str().into());
        object.insert("plugin".into(), name.as_str().into());
        if !alias.is_empty() {
            object.insert("alias".into(), alias.as_str().into());
        }
    }
    format!("{}\n", Value::Object(object))
}

#[cfg(test)]
mod tests {
    use super::super::LogOptions;
    use super::super::tests::logged;

    #[test]
    fn what_a_stranger_sent_makes_no_line_and_says_nothing_to_a_terminal() {
        let sent = "x\r\n2024-01-01T00:00:00Z E! [agent] y\u{1b}[2J\u{9b}";
        let lines = logged(LogOptions::default(), None, |_| {
            tracing::warn!(value = "a\u{1b}b", text = "line\rline", "{sent}");
        });
        let line = lines[0].split_once(' ').unwrap().1;
        let message = r"x\r\n2024-01-01T00:00:00Z E! [agent] y\u{1b}[2J\u{9b}";
        assert_eq!(line, format!(r#"W! [agent] {message} value="a\u{{1b}}b" text="line\rline""#));
        assert_eq!(lines.len(), 1, "{lines:?}");
    }
}
