//! From a text to its lines, and from a line to its four parts, with influxd's rules for what ends each.
//!
//! Works on bytes: every byte that ends something is ASCII, so a part never ends within a character.

use super::reason::{MAX_KEY_BYTES, Reason};
use super::{number, parts};

/// Where a line ends.
pub(super) struct LineEnd {
    pub(super) at: usize,
    /// How many line feeds are within it: quoted or escaped ones.
    pub(super) n_inner_lines: usize,
}

/// The end of the first line: a line feed that is neither escaped nor within the quotes of a field's value, or the end.
///
/// A backslash escapes whatever follows it. Quotes mean something after the first blank, and after a `=` that no comma has
/// closed.
pub(super) fn line_end(text: &[u8]) -> LineEnd {
    let first = memchr::memchr(b'\n', text).unwrap_or(text.len());
    if is_simple(&text[..first]) {
        return LineEnd { at: first, n_inner_lines: 0 };
    }
    let (mut at, mut n_inner_lines) = (0, 0);
    let (mut has_blank, mut is_quoted) = (false, false);
    // More `=` than commas.
    let mut open = 0_isize;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\\' if at + 2 < text.len() => {
                at += 1;
                n_inner_lines += usize::from(text[at] == b'\n');
            }
            b'\n' if !is_quoted => break,
            b'\n' => n_inner_lines += 1,
            b' ' => has_blank = true,
            b'=' if has_blank && !is_quoted => open += 1,
            b',' if has_blank && !is_quoted => open -= 1,
            b'"' if has_blank && open > 0 => is_quoted = !is_quoted,
            _ => {}
        }
        at += 1;
    }
    LineEnd { at, n_inner_lines }
}

/// Whether every line feed in a text, and the one behind it, ends a line, as in most texts there are: without quotes and
/// backslashes. Quick to tell.
pub(super) fn is_simple(text: &[u8]) -> bool {
    memchr::memchr2(b'"', b'\\', text).is_none()
}

/// influxd's blanks: space, tab and zero.
pub(super) fn without_leading_blanks(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\0'])
}

fn skip_blanks(text: &[u8], at: usize) -> usize {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | 0);
    at + text[at..].iter().take_while(|byte| is_blank(byte)).count()
}

/// The parts of a line, with their escapes.
pub(super) struct Scanned<'a> {
    pub(super) measurement: &'a str,
    /// `key=value,key=value`, or nothing.
    pub(super) tags: &'a str,
    pub(super) fields: &'a str,
    pub(super) time: Option<&'a str>,
    /// What follows the time.
    pub(super) rest: &'a str,
}

/// Splits a line, and checks each part.
pub(super) fn line(text: &str) -> Result<Scanned<'_>, Reason> {
    let bytes = text.as_bytes();
    let name_end = measurement_end(bytes)?;
    let key_end = if bytes[name_end] == b',' { tags_end(bytes, name_end + 1)? } else { name_end };
    let tags = text.get(name_end + 1..key_end).unwrap_or("");
    if has_duplicates(tags) {
        return Err(Reason::DuplicateTags);
    }
    if key_end > MAX_KEY_BYTES {
        return Err(Reason::KeyTooLong(key_end));
    }
    let fields_start = skip_blanks(bytes, key_end);
    let fields_end = fields_end(bytes, fields_start)?;
    let fields = &text[fields_start..fields_end];
    check_fields(fields, key_end)?;
    let time_start = skip_blanks(bytes, fields_end);
    let time_end = time_end(bytes, time_start)?;
    let time = (time_start < time_end).then(|| &text[time_start..time_end]);
    Ok(Scanned { measurement: &text[..name_end], tags, fields, time, rest: &text[time_end..] })
}

/// The comma or space after the measurement.
fn measurement_end(text: &[u8]) -> Result<usize, Reason> {
    if matches!(text.first(), None | Some(b',')) {
        return Err(Reason::MissingMeasurement);
    }
    let is_end = |at: &usize| matches!(text[*at], b',' | b' ') && text[*at - 1] != b'\\';
    (1..text.len()).find(is_end).ok_or(Reason::MissingFields)
}

/// The space after the tags.
fn tags_end(text: &[u8], mut at: usize) -> Result<usize, Reason> {
    loop {
        at = tag_key_end(text, at)? + 1;
        let end = tag_value_end(text, at)?;
        if text[end] == b' ' {
            return Ok(end);
        }
        at = end + 1;
    }
}

/// The `=` after a tag's key.
fn tag_key_end(text: &[u8], start: usize) -> Result<usize, Reason> {
    if matches!(text.get(start), None | Some(b' ' | b',' | b'=')) {
        return Err(Reason::MissingTagKey);
    }
    for at in start + 1..text.len() {
        match text[at] {
            b'=' if text[at - 1] != b'\\' => return Ok(at),
            b' ' | b',' if text[at - 1] != b'\\' => break,
            _ => {}
        }
    }
    Err(Reason::MissingTagValue)
}

/// The comma or space after a tag's value.
fn tag_value_end(text: &[u8], start: usize) -> Result<usize, Reason> {
    if matches!(text.get(start), None | Some(b' ' | b',')) {
        return Err(Reason::MissingTagValue);
    }
    for at in start + 1..text.len() {
        match text[at] {
            b'=' if text[at - 1] != b'\\' => return Err(Reason::InvalidTagFormat),
            b' ' | b',' if text[at - 1] != b'\\' => return Ok(at),
            _ => {}
        }
    }
    Err(Reason::MissingFields)
}

/// Whether two tags have the same key, escapes included.
fn has_duplicates(tags: &str) -> bool {
    let keys = || parts::raw_tags(tags).map(|(key, _)| key);
    if keys().is_sorted_by(|a, b| a < b) {
        return false;
    }
    let mut keys: Vec<&str> = keys().collect();
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair[0] == pair[1])
}

/// The space after the fields, or the line's end.
fn fields_end(text: &[u8], start: usize) -> Result<usize, Reason> {
    let mut at = start;
    let mut is_quoted = false;
    let (mut n_equals, mut n_commas) = (0_usize, 0_usize);
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\\' if at + 1 < text.len() => at += 1,
            b'"' if n_equals > n_commas => is_quoted = !is_quoted,
            _ if is_quoted => {}
            b'=' => {
                n_equals += 1;
                if let Some(end) = value_end(text, at)? {
                    at = end;
                    continue;
                }
            }
            b',' => n_commas += 1,
            b' ' => break,
            _ => {}
        }
        at += 1;
    }
    if is_quoted {
        return Err(Reason::UnbalancedQuotes);
    }
    if n_equals == 0 || n_commas != n_equals - 1 {
        return Err(Reason::InvalidFieldFormat);
    }
    Ok(at.min(text.len()))
}

/// Checks what is beside the `=` at `equals`. The end of the value, or `None` for a string, which is scanned on.
fn value_end(text: &[u8], equals: usize) -> Result<Option<usize>, Reason> {
    // Behind a tab influxd lets it pass.
    if matches!(text[equals - 1], b' ' | b',') && text[equals - 2] != b'\\' {
        return Err(Reason::MissingFieldKey);
    }
    match text.get(equals + 1) {
        None | Some(b',' | b' ') => Err(Reason::MissingFieldValue),
        Some(b'0'..=b'9' | b'.' | b'-' | b'N' | b'n') => number::number_end(text, equals + 1).map(Some),
        Some(b'"') => Ok(None),
        Some(_) => number::boolean_end(text, equals + 1).map(Some),
    }
}

/// Checks that each field has a value, which behind a backslash can differ from how the line was scanned; and that its key
/// with the series' `key_bytes` is not too long.
fn check_fields(fields: &str, key_bytes: usize) -> Result<(), Reason> {
    // What influxd puts between the two.
    const SEPARATOR_BYTES: usize = 4;
    let is_short = key_bytes + SEPARATOR_BYTES + fields.len() <= MAX_KEY_BYTES;
    if is_short && !fields.contains('\\') {
        return Ok(());
    }
    for (key, value) in parts::raw_fields(fields) {
        if value.is_none_or(str::is_empty) {
            return Err(Reason::InvalidValue(key.to_owned()));
        }
        let size = key_bytes + SEPARATOR_BYTES + key.len();
        if size > MAX_KEY_BYTES {
            return Err(Reason::KeyTooLong(size));
        }
    }
    Ok(())
}

/// The end of the time.
fn time_end(text: &[u8], start: usize) -> Result<usize, Reason> {
    let end = text[start..].iter().position(|byte| matches!(byte, b' ' | b'\n'));
    let end = end.map_or(text.len(), |length| start + length);
    let digits = &text[start..end];
    let digits = digits.strip_prefix(b"-").unwrap_or(digits);
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(Reason::BadTimestamp);
    }
    Ok(end)
}
