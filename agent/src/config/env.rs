//! Environment variables in the strings of a configuration file, as Telegraf's strict mode has them.
//!
//! `$VAR`, `${VAR}`, `${VAR:-default}`, `${VAR-default}`, `${VAR:+other}`, `${VAR+other}`, `${VAR:?message}`,
//! `${VAR?message}`; `$$` is a dollar sign. An unset plain variable stays as it is written. Pure: the look-up is passed in.

/// Where variables come from.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// How deep defaults may nest.
const DEPTH: u32 = 16;

/// Replaces every variable in `text`.
///
/// # Errors
/// The message of a `${VAR:?message}` whose variable is missing.
pub fn substitute(text: &str, lookup: Lookup<'_>) -> Result<String, String> {
    expand(text, lookup, DEPTH)
}

fn expand(text: &str, lookup: Lookup<'_>, depth: u32) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((body, after)) = after.strip_prefix('{').and_then(braced) {
            match expand_braced(body, lookup, depth)? {
                Some(value) => out.push_str(&value),
                None => {
                    out.push_str("${");
                    out.push_str(body);
                    out.push('}');
                }
            }
            rest = after;
        } else {
            let name = name(after);
            match (name.is_empty(), lookup(name)) {
                (false, Some(value)) => out.push_str(&value),
                _ => {
                    out.push('$');
                    out.push_str(name);
                }
            }
            rest = &after[name.len()..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// What is inside the braces, up to the one that closes them, and what follows.
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

/// `None` when it stays as it is written.
fn expand_braced(body: &str, lookup: Lookup<'_>, depth: u32) -> Result<Option<String>, String> {
    let name = name(body);
    if name.is_empty() {
        return Ok(None);
    }
    let value = lookup(name);
    let operator = &body[name.len()..];
    if operator.is_empty() {
        return Ok(value);
    }
    // With a colon an empty value counts as none.
    let (operator, value) = match operator.strip_prefix(':') {
        Some(operator) => (operator, value.filter(|value| !value.is_empty())),
        None => (operator, value),
    };
    let Some(word) = operator.get(1..) else { return Ok(None) };
    let word = || if depth == 0 { Ok(word.to_owned()) } else { expand(word, lookup, depth - 1) };
    match (operator.as_bytes()[0], value) {
        (b'-', Some(value)) | (b'?', Some(value)) => Ok(Some(value)),
        (b'-', None) | (b'+', Some(_)) => word().map(Some),
        (b'+', None) => Ok(Some(String::new())),
        (b'?', None) => Err(format!("required variable {name} is missing a value: {}", word()?)),
        _ => Ok(None),
    }
}

fn name(text: &str) -> &str {
    let is_part =
        |(at, c): &(usize, char)| c.is_ascii_alphabetic() || *c == '_' || (*at > 0 && c.is_ascii_digit());
    let end = text.char_indices().find(|part| !is_part(part)).map_or(text.len(), |(at, _)| at);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

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
    #[case("${A", "${A")]
    #[case("$", "$")]
    #[case("é$A€", "éa€")]
    fn replaces(#[case] text: &str, #[case] expected: &str) {
        let lookup = |name: &str| match name {
            "A" => Some("a".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        assert_eq!(substitute(text, &lookup).as_deref(), Ok(expected));
    }

    #[test]
    fn a_required_variable_must_be_there() {
        let error = substitute("${B:?set it}", &|_| None).unwrap_err();
        assert_eq!(error, "required variable B is missing a value: set it");
    }
}
