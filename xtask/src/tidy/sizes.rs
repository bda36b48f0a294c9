//! How long files and functions may be.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Block, ImplItemFn, ItemFn, Signature, TraitItemFn};

use super::test_code;
use super::tree::Tree;

/// A source file longer than this is two.
const MOST_LINES: usize = 600;
/// A function longer than this does more than one thing.
const MOST_LINES_OF_FUNCTION: usize = 60;
/// Half of a crate's files are at most this long, tests aside: one thing a file is the rule, not what a few files do.
const MOST_LINES_OF_MEDIAN: usize = 180;

/// The file as a whole, its tests included.
pub(super) fn file(path: &str, text: &str) -> Option<String> {
    let n = text.lines().count();
    (n > MOST_LINES).then(|| format!("{path}: {n} lines, of at most {MOST_LINES}: split it"))
}

/// The functions of the code of one file.
pub(super) fn functions(path: &str, code: &syn::File) -> Vec<String> {
    let mut functions = Functions { path, problems: Vec::new() };
    functions.visit_file(code);
    functions.problems
}

/// The functions of a file that is in no crate's sources, such as a build script.
pub(super) fn functions_of_text(path: &str, text: &str) -> Vec<String> {
    match syn::parse_file(text) {
        Ok(mut code) => {
            test_code::take_out(&mut code);
            functions(path, &code)
        }
        Err(error) => vec![format!("{path}:{}: {error}", error.span().start().line)],
    }
}

/// The median of the crate's files that ship, without the lines of tests.
pub(super) fn median(tree: &Tree, directory: &str) -> Option<String> {
    let mut lines: Vec<usize> = tree.shipped().map(|(_, file)| file.lines).collect();
    lines.sort_unstable();
    // Of an even number of files, the longer of the two in the middle.
    let median = *lines.get(lines.len() / 2)?;
    (median > MOST_LINES_OF_MEDIAN).then(|| {
        format!("{directory}: the median of its files is {median} lines without tests, of at most {MOST_LINES_OF_MEDIAN}")
    })
}

struct Functions<'a> {
    path: &'a str,
    problems: Vec<String>,
}

impl Functions<'_> {
    /// From the first line of the signature to the closing brace: documentation and attributes are free.
    fn function(&mut self, signature: &Signature, body: &Block) {
        let (first, last) = (signature.span().start().line, body.span().end().line);
        let n = last + 1 - first;
        if n > MOST_LINES_OF_FUNCTION {
            let (path, name) = (self.path, &signature.ident);
            self.problems.push(format!(
                "{path}:{first}: `{name}` has {n} lines, of at most {MOST_LINES_OF_FUNCTION}: give its parts names"
            ));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.function(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.function(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(body) = &function.default {
            self.function(&function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::tree;
    use super::*;

    /// A function `f` of `n` lines.
    fn of_lines(n: usize) -> String {
        format!("/// Long.\n#[inline]\npub fn f()\n{{{}}}\n", "\n".repeat(n - 2))
    }

    #[test]
    fn a_function_has_sixty_lines_and_not_one_more() {
        let of = |text: &str| functions_of_text("a.rs", text);
        assert_eq!(of(&of_lines(60)), [""; 0]);
        assert_eq!(of(&of_lines(61)), ["a.rs:3: `f` has 61 lines, of at most 60: give its parts names"]);
        assert_eq!(of(&format!("#[cfg(test)]\nmod tests {{{}}}", of_lines(61))), [""; 0]);
        let body = of_lines(61).replace("pub ", "");
        for around in ["impl T", "trait T", "mod m", "fn g()"] {
            let found = of(&format!("{around} {{\n{body}}}"));
            assert!(found.iter().any(|problem| problem.starts_with("a.rs:4: `f` has 61 lines")), "{found:?}");
        }
    }

    #[test]
    fn a_file_has_six_hundred_lines_and_not_one_more() {
        assert_eq!(file("a.rs", &"\n".repeat(600)), None);
        let problem = file("a.rs", &"\n".repeat(601));
        assert_eq!(problem.unwrap(), "a.rs: 601 lines, of at most 600: split it");
    }

    #[test]
    fn the_median_is_of_lines_that_ship() {
        let of = |n: usize| {
            let (lines, more) = ("\n".repeat(n), "\n".repeat(500));
            let tests = format!("#[cfg(test)]\nmod tests {{{more}}}");
            let a = format!("{lines}{tests}\n");
            let files = [
                ("lib.rs", "mod a; mod b; #[cfg(test)] mod c; #[cfg(test)] mod d;"),
                ("a.rs", a.as_str()),
                ("b.rs", more.as_str()),
                ("c.rs", ""),
                ("d.rs", ""),
            ];
            median(&tree(&files), "src")
        };
        assert_eq!(of(180), None);
        assert_eq!(
            of(181).unwrap(),
            "src: the median of its files is 181 lines without tests, of at most 180"
        );
    }
}
