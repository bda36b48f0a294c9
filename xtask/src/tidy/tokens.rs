//! Paths in the tokens of macros and attributes, which the parser leaves as they are.

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};

/// A path as it is written.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) segments: Vec<String>,
    pub(super) line: usize,
    /// Whether it is the text of a string.
    pub(super) quoted: bool,
}

/// Every path in `tokens`, a single word included.
pub(super) fn paths(tokens: TokenStream) -> Vec<Written> {
    let mut found = Vec::new();
    scan(tokens, &mut found);
    found
}

fn scan(tokens: TokenStream, found: &mut Vec<Written>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token {
            TokenTree::Ident(first) if begins(&tokens[..at], first) => at = path(&tokens, at, &[], found),
            TokenTree::Group(group) => {
                scan(group.stream(), found);
                at += 1;
            }
            TokenTree::Literal(literal) => {
                found.extend(in_string(literal));
                at += 1;
            }
            _ => at += 1,
        }
    }
}

/// Whether `first` begins a path, and is no field, no later segment and no variable of a macro. `$crate` is the crate.
fn begins(before: &[TokenTree], first: &Ident) -> bool {
    match before {
        [.., TokenTree::Punct(last)] if last.as_char() == '$' => first == "crate",
        // `..name` is a range's end; `a.name` is a field.
        [.., TokenTree::Punct(a), TokenTree::Punct(b)] if b.as_char() == '.' => a.as_char() == '.',
        [.., TokenTree::Punct(a), TokenTree::Punct(b)] => !(a.as_char() == ':' && b.as_char() == ':'),
        [.., TokenTree::Punct(last)] => last.as_char() != '.',
        _ => true,
    }
}

/// Reads the path that begins at `at`, after `prefix`, and gives where it ends. A group in it, as a `use` has, is a path for
/// each of its parts.
fn path(tokens: &[TokenTree], mut at: usize, prefix: &[String], found: &mut Vec<Written>) -> usize {
    let mut segments = prefix.to_vec();
    let mut line = 0;
    while let Some(TokenTree::Ident(ident)) = tokens.get(at) {
        segments.push(ident.to_string());
        line = ident.span().start().line;
        at += 1;
        if !is_separator(&tokens[at..]) {
            break;
        }
        match tokens.get(at + 2) {
            Some(TokenTree::Ident(_)) => at += 2,
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                parts(group.stream(), &segments, found);
                return at + 3;
            }
            _ => break,
        }
    }
    found.push(Written { segments, line, quoted: false });
    at
}

fn parts(tokens: TokenStream, prefix: &[String], found: &mut Vec<Written>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for part in tokens.split(|token| matches!(token, TokenTree::Punct(comma) if comma.as_char() == ',')) {
        if matches!(part.first(), Some(TokenTree::Ident(_))) {
            path(part, 0, prefix, found);
        }
    }
}

fn is_separator(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [TokenTree::Punct(a), TokenTree::Punct(b), ..] if a.as_char() == ':' && b.as_char() == ':')
}

/// The path that a string is: serde and clap take functions by such names.
fn in_string(literal: &proc_macro2::Literal) -> Option<Written> {
    let syn::Lit::Str(text) = syn::Lit::new(literal.clone()) else { return None };
    let path = text.parse_with(syn::Path::parse_mod_style).ok()?;
    let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    let line = literal.span().start().line;
    (segments.len() > 1).then_some(Written { segments, line, quoted: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        paths(text.parse().unwrap()).into_iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn paths_are_found_among_other_tokens() {
        assert_eq!(of("$crate::a::b($module::Options, self.c)"), ["crate::a::b", "self"]);
        assert_eq!(of("[x.y::<super::Z>(), ..c::D]"), ["x", "super::Z", "c::D"]);
        assert_eq!(
            of("use crate::a::{b::C, self, d::{E, f as G}};"),
            ["use", "crate::a::b::C", "crate::a::self", "crate::a::d::E", "crate::a::d::f"]
        );
    }

    #[test]
    fn a_string_that_is_a_path_counts() {
        assert_eq!(
            of(r#"with = "duration::read", other = "duration", text = "a b::c""#),
            ["with", "duration::read", "other", "text"]
        );
    }

    #[test]
    fn the_line_is_the_one_of_the_last_word() {
        let found = paths("a\n crate::b::C".parse().unwrap());
        assert_eq!((found[1].segments.len(), found[1].line), (3, 2));
    }
}
