//! One line of a page: a comment, or a sample with its labels, its value and its time.

use std::borrow::Cow;

use super::format::Format;
use crate::point::Timestamp;

/// Labels of a sample, which take a multiple of their text: some 2 MB.
const MAX_LABELS: usize = 30_000;

/// A label: name and value.
pub type Label<'a> = (Cow<'a, str>, Cow<'a, str>);

/// A comment; the text after its `#`.
pub(super) enum Comment<'a> {
    Type(Cow<'a, str>, &'a str),
    Unit(Cow<'a, str>, &'a str),
    Eof,
    Other,
}

impl<'a> Comment<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        let (keyword, rest) = word(text.trim_start_matches(BLANKS));
        let make = match keyword {
            "TYPE" => Self::Type,
            "UNIT" => Self::Unit,
            "EOF" if rest.is_empty() => return Self::Eof,
            _ => return Self::Other,
        };
        let name = if rest.starts_with('"') {
            quoted(rest).ok()
        } else {
            let (name, rest) = word(rest);
            Some((Cow::Borrowed(name), rest))
        };
        match name {
            Some((name, rest)) if !name.is_empty() => make(name, word(rest.trim_start_matches(BLANKS)).0),
            _ => Self::Other,
        }
    }
}

const BLANKS: [char; 2] = [' ', '\t'];

/// The first word, and what follows it and its blanks.
fn word(text: &str) -> (&str, &str) {
    let end = text.find(BLANKS).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start_matches(BLANKS))
}

/// A sample as its line has it.
pub(super) struct SampleLine<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) labels: Vec<Label<'a>>,
    pub(super) value: f64,
    pub(super) time: Option<Timestamp>,
}

impl<'a> SampleLine<'a> {
    /// Parses a line without blanks around it; an error says what is wrong.
    pub(super) fn parse(text: &'a str, format: Format) -> Result<Self, String> {
        let end = text.find(['{', ' ', '\t']).unwrap_or(text.len());
        let rest = text[end..].trim_start_matches(BLANKS);
        let (braces, rest) = match rest.strip_prefix('{') {
            Some(braced) => braces(braced)?,
            None => (Braces::default(), rest),
        };
        let name = match braces.name {
            Some(name) if end == 0 => name,
            Some(_) => return Err("the metric has two names".into()),
            None => check_name(&text[..end]).map(Cow::Borrowed)?,
        };
        let (number, rest) = word(rest.trim_start_matches(BLANKS));
        let value = number.parse().map_err(|_| format!("`{}` is not a value", shown(number)))?;
        let time = match (format, rest) {
            (_, "") => None,
            (Format::Text, rest) => Some(milliseconds(rest)?),
            (Format::OpenMetrics, rest) => seconds_and_exemplar(rest)?,
        };
        Ok(Self { name, labels: braces.labels, value, time })
    }
}

/// What braces can hold.
#[derive(Default)]
struct Braces<'a> {
    /// The metric's name, where it is one that needs quotes.
    name: Option<Cow<'a, str>>,
    labels: Vec<Label<'a>>,
}

/// Reads up to the closing brace, and gives what follows it.
fn braces(text: &str) -> Result<(Braces<'_>, &str), String> {
    let mut braces = Braces::default();
    let mut rest = text.trim_start_matches(BLANKS);
    while !rest.starts_with('}') {
        let is_quoted = rest.starts_with('"');
        let (key, after) = if is_quoted { quoted(rest)? } else { label_name(rest)? };
        rest = after.trim_start_matches(BLANKS);
        if let Some(after) = rest.strip_prefix('=') {
            let (value, after) = quoted(after.trim_start_matches(BLANKS))?;
            if braces.labels.len() == MAX_LABELS {
                return Err(format!("it has more than {MAX_LABELS} labels"));
            }
            braces.labels.push((key, value));
            rest = after.trim_start_matches(BLANKS);
        } else if is_quoted && braces.name.is_none() && braces.labels.is_empty() {
            braces.name = Some(key);
        } else {
            return Err(format!("the label `{}` has no value", shown(&key)));
        }
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start_matches(BLANKS),
            None if rest.starts_with('}') => {}
            None => return Err("the labels do not end with `}`".into()),
        }
    }
    if has_duplicates(&braces.labels) {
        return Err("a label comes twice".into());
    }
    Ok((braces, &rest[1..]))
}

fn label_name(text: &str) -> Result<(Cow<'_, str>, &str), String> {
    let is_end = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let (name, rest) = text.split_at(text.find(is_end).unwrap_or(text.len()));
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("`{}` is not a label", shown(text)));
    }
    Ok((Cow::Borrowed(name), rest))
}

fn has_duplicates(labels: &[Label<'_>]) -> bool {
    // Nearly always there are so few that looking at each pair is the fastest.
    const FEW: usize = 16;
    if labels.len() <= FEW {
        return (1..labels.len()).any(|at| labels[..at].iter().any(|(name, _)| *name == labels[at].0));
    }
    let mut names: Vec<&str> = labels.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

/// Reads a text in quotes, and gives what follows it. `\\`, `\"` and `\n` are escapes; any other backslash is itself.
fn quoted(text: &str) -> Result<(Cow<'_, str>, &str), String> {
    let Some(inner) = text.strip_prefix('"') else {
        return Err(format!("`{}` is not in quotes", shown(text)));
    };
    let mut unescaped = String::new();
    let mut copied = 0;
    let mut from = 0;
    loop {
        let Some(length) = inner[from..].find(['"', '\\']) else {
            return Err("a quote is not closed".into());
        };
        let at = from + length;
        if inner.as_bytes()[at] == b'"' {
            let rest = &inner[at + 1..];
            if copied == 0 {
                return Ok((Cow::Borrowed(&inner[..at]), rest));
            }
            unescaped.push_str(&inner[copied..at]);
            return Ok((Cow::Owned(unescaped), rest));
        }
        let character = match inner.as_bytes().get(at + 1) {
            Some(b'n') => '\n',
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            _ => {
                from = at + 1;
                continue;
            }
        };
        unescaped.push_str(&inner[copied..at]);
        unescaped.push(character);
        copied = at + 2;
        from = copied;
    }
}

fn check_name(name: &str) -> Result<&str, String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(is_part) {
        return Err(format!("`{}` is not a metric's name", shown(name)));
    }
    Ok(name)
}

/// The time of the text format.
fn milliseconds(text: &str) -> Result<Timestamp, String> {
    let time = text.parse::<i64>().ok().and_then(|time| time.checked_mul(1_000_000));
    time.map(Timestamp).ok_or_else(|| format!("`{}` is not a time in milliseconds", shown(text)))
}

/// The time of OpenMetrics, and an exemplar, of which nothing is kept.
fn seconds_and_exemplar(text: &str) -> Result<Option<Timestamp>, String> {
    let (time, exemplar) = match text.split_once('#') {
        Some((time, exemplar)) => (time.trim_end_matches(BLANKS), Some(exemplar)),
        None => (text, None),
    };
    if let Some(exemplar) = exemplar {
        let braced = exemplar.trim_start_matches(BLANKS).strip_prefix('{');
        let (_, rest) = braces(braced.ok_or("an exemplar does not begin with `{`")?)?;
        let numbers = rest.split_ascii_whitespace();
        if !(1..=2).contains(&numbers.clone().count()) || !numbers.clone().all(|n| n.parse::<f64>().is_ok()) {
            return Err(format!("`{}` is not the value of an exemplar", shown(rest)));
        }
    }
    if time.is_empty() {
        return Ok(None);
    }
    let wrong = || format!("`{}` is not a time in seconds", shown(time));
    let seconds: f64 = time.parse().map_err(|_| wrong())?;
    // As other readers do, to the millisecond: a double has no more of today's time to the nanosecond.
    let milliseconds = (seconds * 1_000.0).round();
    let is_in_range = milliseconds.abs() < i64::MAX as f64 / 1_000_000.0;
    // In range: the conversion is exact.
    if is_in_range { Ok(Some(Timestamp(milliseconds as i64 * 1_000_000))) } else { Err(wrong()) }
}

/// The beginning of a text, for a message.
fn shown(text: &str) -> &str {
    const MAX_BYTES: usize = 60;
    &text[..text.floor_char_boundary(MAX_BYTES.min(text.len()))]
}
