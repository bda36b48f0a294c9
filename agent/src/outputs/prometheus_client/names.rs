//! From keys of points to names of metrics and labels, as Telegraf has them. Pure.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Which characters names keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sanitization {
    /// Letters, digits and `_`, of metrics also `:`.
    #[default]
    Legacy,
    /// All. Who cannot read them gets `_` in their place.
    Utf8,
}

impl Sanitization {
    /// A key as the name of a metric in `metric_version = 2`; `None` when nothing of it is left.
    pub(super) fn metric(self, key: &str) -> Option<Cow<'_, str>> {
        self.name(key, is_metric_char)
    }

    /// A key as the name of a metric in `metric_version = 1`; `None` when it would begin with a digit or a colon.
    pub(super) fn metric_of_version_1(self, key: &str) -> Option<Cow<'_, str>> {
        match self {
            Self::Utf8 => self.metric(key),
            Self::Legacy if key.is_empty() || key.starts_with(|c: char| c == ':' || c.is_ascii_digit()) => {
                None
            }
            Self::Legacy => Some(escaped(key)),
        }
    }

    /// A key as the name of a label; `None` when nothing of it is left.
    pub(super) fn label(self, key: &str) -> Option<Cow<'_, str>> {
        self.name(key, is_label_char)
    }

    fn name(self, key: &str, is_char: fn(char) -> bool) -> Option<Cow<'_, str>> {
        match self {
            Self::Utf8 if !key.is_empty() => Some(Cow::Borrowed(key)),
            _ => legacy(key, is_char),
        }
    }
}

fn is_label_char(c: char) -> bool {
    c == '_' || c.is_ascii_alphanumeric()
}

fn is_metric_char(c: char) -> bool {
    c == ':' || is_label_char(c)
}

fn legacy(key: &str, is_char: fn(char) -> bool) -> Option<Cow<'_, str>> {
    let is_first = |c: char| is_char(c) && !c.is_ascii_digit();
    let mut chars = key.chars();
    if chars.next().is_some_and(is_first) && chars.all(is_char) {
        return Some(Cow::Borrowed(key));
    }
    // The first one is left out rather than replaced, as in Telegraf.
    let mut chars = key.chars();
    let first = chars.next().filter(|c| is_first(*c));
    let name: String = first.into_iter().chain(chars.map(|c| if is_char(c) { c } else { '_' })).collect();
    let name = name.trim_matches('_');
    (!name.is_empty()).then(|| Cow::Owned(name.to_owned()))
}

/// Whether every reader takes a metric's name.
pub(super) fn is_legacy(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(is_metric_char)
}

/// A metric's name for readers that know no others: `_` for each character that they do not take.
pub(super) fn escaped(name: &str) -> Cow<'_, str> {
    if is_legacy(name) {
        return Cow::Borrowed(name);
    }
    let of = |(at, c): (usize, char)| {
        if is_metric_char(c) && !(at == 0 && c.is_ascii_digit()) { c } else { '_' }
    };
    Cow::Owned(name.char_indices().map(of).collect())
}

/// Adds `name="value"` to labels.
pub(super) fn push_label(labels: &mut String, name: &str, value: &str) {
    if !labels.is_empty() {
        labels.push(',');
    }
    push_name(labels, name);
    labels.push_str("=\"");
    push_escaped(labels, value);
    labels.push('"');
}

/// Adds a name, in quotes if it needs them.
pub(super) fn push_name(text: &mut String, name: &str) {
    if is_legacy(name) {
        text.push_str(name);
    } else {
        text.push('"');
        push_escaped(text, name);
        text.push('"');
    }
}

fn push_escaped(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}

/// Labels whose names every reader takes: those in quotes are escaped, and of two that become one the first stays.
pub(super) fn escaped_labels(labels: &str) -> Cow<'_, str> {
    if !labels.starts_with('"') && !labels.contains(",\"") {
        return Cow::Borrowed(labels);
    }
    let (mut escaped_labels, mut names) = (String::new(), Vec::new());
    let mut rest = labels;
    while let Some((name, value, after)) = next_label(rest) {
        rest = after;
        let name = escaped(name).replace(':', "_");
        if names.contains(&name) {
            continue;
        }
        let comma = if escaped_labels.is_empty() { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(escaped_labels, "{comma}{name}={value}");
        names.push(name);
    }
    Cow::Owned(escaped_labels)
}

/// The first label: its name, its value in quotes, and what follows.
fn next_label(labels: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = match labels.strip_prefix('"') {
        Some(quoted) => {
            let end = closing_quote(quoted)?;
            (&quoted[..end], quoted[end + 1..].strip_prefix('=')?)
        }
        None => labels.split_once('=')?,
    };
    let end = closing_quote(rest.strip_prefix('"')?)? + 2;
    let after = &rest[end..];
    Some((name, &rest[..end], after.strip_prefix(',').unwrap_or(after)))
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        closes
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("host", Some("host"), Some("host"))]
    #[case("host:name", Some("host:name"), Some("host_name"))]
    #[case("host-name", Some("host_name"), Some("host_name"))]
    #[case("_host_", Some("_host_"), Some("_host_"))]
    #[case("/a/b/", Some("a_b"), Some("a_b"))]
    #[case("9lives", Some("lives"), Some("lives"))]
    #[case("ärger", Some("rger"), Some("rger"))]
    #[case("größe", Some("gr__e"), Some("gr__e"))]
    #[case("--", None, None)]
    #[case("", None, None)]
    fn names_are_telegrafs(#[case] key: &str, #[case] metric: Option<&str>, #[case] label: Option<&str>) {
        assert_eq!(Sanitization::Legacy.metric(key).as_deref(), metric);
        assert_eq!(Sanitization::Legacy.label(key).as_deref(), label);
        assert_eq!(Sanitization::Utf8.metric(key).as_deref(), (!key.is_empty()).then_some(key));
    }

    #[rstest]
    #[case("cpu_usage-idle", Some("cpu_usage_idle"))]
    #[case("größe", Some("gr__e"))]
    #[case("-a", Some("_a"))]
    #[case("9a", None)]
    #[case(":a", None)]
    #[case("", None)]
    fn version_1_replaces_one_by_one(#[case] key: &str, #[case] expected: Option<&str>) {
        assert_eq!(Sanitization::Legacy.metric_of_version_1(key).as_deref(), expected);
    }

    #[test]
    fn labels_are_quoted_where_they_must_be_and_escaped_for_those_who_read_no_quotes() {
        let mut labels = String::new();
        for (name, value) in [("a", "x\"\\\n"), ("b.c", "1"), ("b-c", "2"), ("d\"", ",e=\"f\"")] {
            push_label(&mut labels, name, value);
        }
        assert_eq!(labels, r#"a="x\"\\\n","b.c"="1","b-c"="2","d\""=",e=\"f\"""#);
        assert_eq!(escaped_labels(&labels), r#"a="x\"\\\n",b_c="1",d__=",e=\"f\"""#);
        assert!(matches!(escaped_labels("a=\"b\""), Cow::Borrowed(_)));
    }
}
