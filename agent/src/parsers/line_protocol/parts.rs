//! The parts of a valid line one by one: tags and fields with their escapes taken away, and values with their types.

use std::borrow::Cow;

use super::number;
use crate::point::FieldValue;

/// A field's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `1i`
    Int(i64),
    /// `1u`
    UInt(u64),
    /// `1`; always finite.
    Float(f64),
    /// `"text"`
    Text(Cow<'a, str>),
    /// `t`
    Bool(bool),
}

impl From<Value<'_>> for FieldValue {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Int(value) => Self::Int(value),
            Value::UInt(value) => Self::UInt(value),
            Value::Float(value) => Self::Float(value),
            Value::Text(text) => Self::Text(text.into()),
            Value::Bool(value) => Self::Bool(value),
        }
    }
}

/// Tags: key and value.
#[derive(Clone, Debug)]
pub struct Tags<'a>(RawTags<'a>);

impl<'a> Tags<'a> {
    pub(super) fn new(tags: &'a str) -> Self {
        Self(raw_tags(tags))
    }
}

impl<'a> Iterator for Tags<'a> {
    type Item = (Cow<'a, str>, Cow<'a, str>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(key, value)| (unescaped(key, b",= "), unescaped(value, b",= ")))
    }
}

/// Tags with their escapes.
#[derive(Clone, Debug)]
pub(super) struct RawTags<'a>(&'a str);

pub(super) fn raw_tags(tags: &str) -> RawTags<'_> {
    RawTags(tags)
}

impl<'a> Iterator for RawTags<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let (key, rest) = cut(self.0, b'=');
        let (value, rest) = cut(rest, b',');
        self.0 = rest;
        Some((key, value))
    }
}

/// Fields: key and value.
#[derive(Clone, Debug)]
pub struct Fields<'a>(RawFields<'a>);

impl<'a> Fields<'a> {
    pub(super) fn new(fields: &'a str) -> Self {
        Self(raw_fields(fields))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (Cow<'a, str>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        // The scanner has refused a line with a value that is none.
        let (key, raw) = self.0.next()?;
        Some((unescaped(key, b",\" ="), value(raw?)?))
    }
}

/// Fields with their escapes; a value is `None` where a key has no `=`.
#[derive(Clone, Debug)]
pub(super) struct RawFields<'a>(&'a str);

pub(super) fn raw_fields(fields: &str) -> RawFields<'_> {
    RawFields(fields)
}

impl<'a> Iterator for RawFields<'a> {
    type Item = (&'a str, Option<&'a str>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let (key, rest) = cut(self.0, b'=');
        if key.len() == self.0.len() {
            self.0 = "";
            return Some((key, None));
        }
        let end = field_value_end(rest.as_bytes());
        let value = &rest[..end];
        self.0 = rest.get(end + 1..).unwrap_or("");
        Some((key, Some(value)))
    }
}

/// The first field whose value is none. A scanned line has one only where a backslash made scanners differ: influxd takes such
/// a line, and its storage then drops all that came with it.
pub(super) fn key_without_value(fields: &str) -> Option<&str> {
    let mut fields = raw_fields(if fields.contains('\\') { fields } else { "" });
    fields.find(|(_, raw)| raw.is_none_or(|raw| value(raw).is_none())).map(|(key, _)| key)
}

/// The comma after a field's value: one that is not within quotes. Only a quote and a backslash can be escaped.
fn field_value_end(text: &[u8]) -> usize {
    let (mut at, mut is_quoted) = (0, false);
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\\' if matches!(text.get(at + 1), Some(b'"' | b'\\')) => at += 1,
            b'"' => is_quoted = !is_quoted,
            b',' if !is_quoted => break,
            _ => {}
        }
        at += 1;
    }
    at
}

/// What is before the first `stop` without a backslash before it, and what is after it.
fn cut(text: &str, stop: u8) -> (&str, &str) {
    let bytes = text.as_bytes();
    let is_stop = |at: &usize| bytes[*at] == stop && (*at == 0 || bytes[*at - 1] != b'\\');
    match (0..bytes.len()).find(is_stop) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, ""),
    }
}

/// A field's value; `None` when it is none.
pub(super) fn value(raw: &str) -> Option<Value<'_>> {
    let bytes = raw.as_bytes();
    let (first, last) = (bytes.first()?, bytes.last()?);
    match (first, last) {
        // What follows the closing quote is taken as a part of the text, but for the last character, whatever it is.
        (b'"', _) => {
            let inner = raw.char_indices().next_back().map_or(1, |(last, _)| last.max(1));
            Some(Value::Text(unescaped_text(&raw[1..inner])))
        }
        (b'0'..=b'9' | b'-' | b'.', b'i') => raw[..raw.len() - 1].parse().ok().map(Value::Int),
        (b'0'..=b'9' | b'-' | b'.', b'u') => raw[..raw.len() - 1].parse().ok().map(Value::UInt),
        (b'0'..=b'9' | b'-' | b'.', _) => {
            raw.parse().ok().filter(|value: &f64| value.is_finite()).map(Value::Float)
        }
        _ => number::boolean(bytes).map(Value::Bool),
    }
}

/// A name without the backslashes before `special` characters.
pub(super) fn unescaped<'a>(text: &'a str, special: &[u8]) -> Cow<'a, str> {
    without_backslashes(text, |next| special.contains(&next))
}

/// A text without the backslashes before quotes and backslashes.
fn unescaped_text(text: &str) -> Cow<'_, str> {
    without_backslashes(text, |next| matches!(next, b'"' | b'\\'))
}

fn without_backslashes(text: &str, is_special: impl Fn(u8) -> bool) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let escape = |from: usize| {
        let at = from + bytes[from..].iter().position(|byte| *byte == b'\\')?;
        Some((at, bytes.get(at + 1).is_some_and(|next| is_special(*next))))
    };
    let mut out = String::new();
    let (mut copied, mut from) = (0, 0);
    while let Some((at, is_escape)) = escape(from) {
        if is_escape {
            out.push_str(&text[copied..at]);
            copied = at + 1;
            from = at + 2;
        } else {
            from = at + 1;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}
