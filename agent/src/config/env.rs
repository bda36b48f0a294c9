//! Environment variables in a configuration file, with Telegraf's rules.
//!
//! `$VAR`, `${VAR}`, `${VAR:-default}`, `${VAR-default}`, `${VAR:+other}`, `${VAR+other}`, `${VAR:?message}`,
//! `${VAR?message}`; `$$` is a dollar sign. A plain variable that is unset stays as written. Pure: the lookup is passed in.

/// Where variables come from.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where in a file variables are replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Only in strings, after the file is parsed: a value cannot change the structure of the file. Telegraf's mode since 1.38.
    #[default]
    Strict,
    /// Everywhere, before the file is parsed as TOML, so that `port = $PORT` works; a value becomes a part of the file.
    NonStrict,
}

/// How variables are replaced.
#[derive(Clone, Copy)]
pub struct Environment<'a> {
    /// Their values.
    pub lookup: Lookup<'a>,
    /// Where they are replaced.
    pub mode: Mode,
    /// As before Telegraf 1.27, which had no `$$` for a dollar sign.
    pub old_behavior: bool,
    /// A `${VAR:?message}` must have a value; else one without stays as it is written, as other variables do.
    pub requires: bool,
}

impl<'a> Environment<'a> {
    /// Telegraf's default.
    #[must_use]
    pub fn strict(lookup: Lookup<'a>) -> Self {
        Self { lookup, mode: Mode::Strict, old_behavior: false, requires: true }
    }

    /// Replaces every variable in `text`; the names of those that stay as written, since they are not set, go to `unset`.
    ///
    /// # Errors
    /// The message of a `${VAR:?message}` whose variable is missing.
    pub fn substitute(&self, text: &str, unset: &mut Vec<String>) -> Result<String, String> {
        self.expand(text, &mut Unset::Stays(unset), DEPTH)
    }
}

/// What becomes of a plain variable that is unset.
enum Unset<'a> {
    /// It stays as written, and its name is kept.
    Stays(&'a mut Vec<String>),
    /// It becomes empty: within a default, and after one up to the last closing brace of the line, which Telegraf's template
    /// engine reads again with other rules.
    Empty,
}

/// How deep defaults may nest.
const DEPTH: u32 = 16;

impl Environment<'_> {
    /// A file as TOML that can be parsed, line by line the same: variables outside of strings and comments have their values, and
    /// those without one stand in quotes. `None` when there are no such variables.
    #[must_use]
    pub fn settle(&self, text: &str) -> Option<String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        let mut is_changed = false;
        while let Some(c) = rest.chars().next() {
            let length = match c {
                '#' => rest.find('\n').unwrap_or(rest.len()),
                '"' | '\'' => string_length(rest),
                '$' => variable_length(rest),
                c => c.len_utf8(),
            };
            let (written, after) = rest.split_at(length);
            if c == '$' && length > 1 {
                is_changed = true;
                let mut unset = Vec::new();
                match self.substitute(written, &mut unset) {
                    Ok(value) if unset.is_empty() && !value.contains('\n') => out.push_str(&value),
                    _ => out.push_str(&format!("'{written}'")),
                }
            } else {
                out.push_str(written);
            }
            rest = after;
        }
        is_changed.then_some(out)
    }

    fn expand(&self, text: &str, unset: &mut Unset<'_>, depth: u32) -> Result<String, String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            out.push_str(&rest[..dollar]);
            let written = &rest[dollar..];
            let after = &written[1..];
            if let Some(after_both) = after.strip_prefix('$') {
                out.push('$');
                rest = if self.old_behavior { after } else { after_both };
                continue;
            }
            let name_after = name(after);
            if !name_after.is_empty() {
                rest = &after[name_after.len()..];
                out.push_str(&self.plain(name_after, &written[..=name_after.len()], unset));
                continue;
            }
            let Some((body, after)) = after.strip_prefix('{').and_then(braced) else {
                out.push('$');
                rest = after;
                continue;
            };
            let name = name(body);
            rest = after;
            if name.is_empty() {
                // Not a variable, such as the `${1}` of a pattern.
                out.push_str("${");
                rest = &written[2..];
            } else if body.len() == name.len() {
                out.push_str(&self.plain(name, &written[..written.len() - after.len()], unset));
            } else if let Some(value) = self.operate(name, &body[name.len()..], depth)? {
                out.push_str(&value);
                let line = after.split('\n').next().unwrap_or_default();
                if let (Some(last), Unset::Stays(_)) = (line.rfind('}'), &unset) {
                    out.push_str(&self.expand(&after[..=last], &mut Unset::Empty, depth)?);
                    rest = &after[last + 1..];
                }
            } else {
                out.push_str(&written[..written.len() - after.len()]);
                if let (Some('?'), Unset::Stays(names)) =
                    (body[name.len()..].trim_start_matches(':').chars().next(), &mut *unset)
                {
                    names.push(name.to_owned());
                }
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    /// The value of a plain variable, `written` as it is.
    fn plain(&self, name: &str, written: &str, unset: &mut Unset<'_>) -> String {
        match ((self.lookup)(name), unset) {
            (Some(value), _) => value,
            (None, Unset::Empty) => String::new(),
            (None, Unset::Stays(names)) => {
                if !names.iter().any(|known| known == name) {
                    names.push(name.to_owned());
                }
                written.to_owned()
            }
        }
    }

    /// The value of `${NAME<operator>word}`; `None` when there is no such operator.
    fn operate(&self, name: &str, operator: &str, depth: u32) -> Result<Option<String>, String> {
        let value = (self.lookup)(name);
        // With a colon, an empty value counts as unset.
        let (operator, value) = match operator.strip_prefix(':') {
            Some(operator) => (operator, value.filter(|value| !value.is_empty())),
            None => (operator, value),
        };
        let Some(word) = operator.get(1..) else { return Ok(None) };
        let word = || match depth {
            0 => Ok(word.to_owned()),
            _ => self.expand(word, &mut Unset::Empty, depth - 1),
        };
        match (operator.as_bytes()[0], value) {
            (b'-' | b'?', Some(value)) => Ok(Some(value)),
            (b'-', None) | (b'+', Some(_)) => word().map(Some),
            (b'+', None) => Ok(Some(String::new())),
            (b'?', None) if self.requires => {
                Err(format!("required variable {name} is missing a value: {}", word()?))
            }
            _ => Ok(None),
        }
    }
}

/// The length of the variable at the start of a text, or of its dollar sign alone.
fn variable_length(text: &str) -> usize {
    let after = &text[1..];
    match after.strip_prefix('{').and_then(braced) {
        Some((body, _)) if !name(body).is_empty() && !body.contains(['\n', '\'']) => body.len() + 3,
        _ => 1 + name(after).len(),
    }
}

/// The text up to the matching closing brace, and the text after it.
fn braced(text: &str) -> Option<(&str, &str)> {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((&text[..at], &text[at + 1..]));
        }
    }
    None
}

fn name(text: &str) -> &str {
    let is_part =
        |(at, c): &(usize, char)| c.is_ascii_alphabetic() || *c == '_' || (*at > 0 && c.is_ascii_digit());
    let end = text.char_indices().find(|part| !is_part(part)).map_or(text.len(), |(at, _)| at);
    &text[..end]
}

/// A file without its comments, in which variables are not replaced; line numbers stay the same.
///
/// Strings are recognized as in TOML; one that is not closed ends with its line.
#[must_use]
pub fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '#' => {
                rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
                continue;
            }
            '"' | '\'' => string_length(rest),
            c => c.len_utf8(),
        };
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    out
}

/// The length of the string, including quotes, at the start of `text`.
fn string_length(text: &str) -> usize {
    let quote = &text[..1];
    let triple = quote.repeat(3);
    let end = if text.starts_with(&triple) { triple.as_str() } else { quote };
    let mut at = end.len();
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with(end) {
            return at + end.len();
        }
        if end.len() == 1 && rest.starts_with('\n') {
            return at;
        }
        let escaped = usize::from(quote == "\"" && rest.starts_with('\\'));
        at += rest.chars().take(1 + escaped).map(char::len_utf8).sum::<usize>();
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "A" => Some("a".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[rstest]
    #[case("plain", "plain")]
    #[case("$A", "a")]
    #[case("${A}b", "ab")]
    #[case("$A/$EMPTY/$B", "a//$B")]
    #[case("${B}", "${B}")]
    #[case("${B:-x}", "x")]
    #[case("${EMPTY:-x}${EMPTY-y}", "x")]
    #[case("${B:-${C:-${A}}}", "a")]
    #[case("${A:+yes}${B:+no}", "yes")]
    #[case("${A:?gone}", "a")]
    #[case("$$A", "$A")]
    #[case("100$ ${1} $1", "100$ ${1} $1")]
    #[case("${1}$A", "${1}a")]
    #[case("${A", "${A")]
    #[case("${A!x}", "${A!x}")]
    #[case("$", "$")]
    #[case("é$A€", "éa€")]
    // An unset variable is empty in a default, and from one to the last brace of its line.
    #[case("${B:-$C}", "")]
    #[case("${A:-x}/$B/${B}/$B", "a///$B")]
    #[case("${A:-x}/$B\n${B}", "a/$B\n${B}")]
    fn replaces(#[case] text: &str, #[case] expected: &str) {
        let strict = Environment::strict(&lookup);
        assert_eq!(strict.substitute(text, &mut Vec::new()).as_deref(), Ok(expected));
    }

    #[rstest]
    #[case("$A $$B", &[])]
    #[case("$A/$B ${C} $B", &["B", "C"])]
    // With a default, or what is left empty beside one, nothing is missing.
    #[case("${B:-x} $C}", &[])]
    fn variables_that_are_not_set_are_named(#[case] text: &str, #[case] expected: &[&str]) {
        let mut unset = Vec::new();
        Environment::strict(&lookup).substitute(text, &mut unset).unwrap();
        assert_eq!(unset, expected);
    }

    #[test]
    fn a_required_variable_must_be_there() {
        let error = Environment::strict(&lookup).substitute("${B:?set it}", &mut Vec::new()).unwrap_err();
        assert_eq!(error, "required variable B is missing a value: set it");
    }

    #[test]
    fn one_that_need_not_be_there_stays_and_is_named() {
        let lenient = Environment { requires: false, ..Environment::strict(&lookup) };
        let mut unset = Vec::new();
        assert_eq!(lenient.substitute("${B:?set it} ${A:?x}", &mut unset).as_deref(), Ok("${B:?set it} a"));
        assert_eq!(unset, ["B"]);
    }

    #[test]
    fn the_old_behavior_has_no_way_to_write_a_dollar_sign() {
        let old = Environment { old_behavior: true, ..Environment::strict(&lookup) };
        assert_eq!(old.substitute("$$A $$", &mut Vec::new()).as_deref(), Ok("$a $$"));
    }

    #[rstest]
    #[case("a = \"$A\" # $A", None)]
    #[case("a = $A", Some("a = a"))]
    #[case("a = [${A}, $B]\r\nb = ${B:-1}", Some("a = [a, '$B']\r\nb = 1"))]
    #[case("a = ${B:?gone} # $A", Some("a = '${B:?gone}' # $A"))]
    #[case("a = 5$", None)]
    fn variables_outside_of_strings_are_settled(#[case] text: &str, #[case] expected: Option<&str>) {
        assert_eq!(Environment::strict(&lookup).settle(text).as_deref(), expected);
    }

    #[rstest]
    #[case("a = 1 # b\nc = 2", "a = 1 \nc = 2")]
    #[case("a = \"#\" # b", "a = \"#\" ")]
    #[case("a = \"\\\"#\" # b", "a = \"\\\"#\" ")]
    #[case("a = '\\' # b", "a = '\\' ")]
    #[case("a = \"\"\"\n# \"x\" \"\"\" # b", "a = \"\"\"\n# \"x\" \"\"\" ")]
    #[case("a = \"open\n# b", "a = \"open\n")]
    #[case("# é", "")]
    fn comments_are_removed(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(without_comments(text), expected);
    }
}
