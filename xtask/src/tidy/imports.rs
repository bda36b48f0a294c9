//! Which file of a crate uses which: by `use`, by a path in code, in a macro or in an attribute.
//!
//! `mod x;` is no use of `x`, and `pub(in path)` none of `path`. A path counts for the deepest module that it names:
//! what it names there is defined in that file, or brought in by it, which is that file's own use.

use std::collections::BTreeSet;

use syn::visit::{self, Visit};
use syn::{Attribute, ItemMacro, ItemMod, ItemUse, Macro, Meta, Path, VisRestricted};

use super::scope::{self, Scopes};
use super::tokens;
use super::tree::Tree;

/// One use of a file by another, both by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Import {
    pub(super) from: usize,
    pub(super) line: usize,
    pub(super) to: usize,
}

/// Every use in the code that ships, in the order of files and lines.
pub(super) fn imports(tree: &Tree) -> BTreeSet<Import> {
    let scopes = Scopes::new(tree);
    let mut macros = Macros { names: BTreeSet::new() };
    tree.shipped().for_each(|(_, file)| macros.visit_file(&file.code));
    let mut found = BTreeSet::new();
    for (_, file) in tree.shipped() {
        let mut finder =
            Finder { tree, scopes: &scopes, macros: &macros.names, module: file.module, found: &mut found };
        finder.visit_file(&file.code);
    }
    found
}

/// The names of the crate's own macros.
struct Macros {
    names: BTreeSet<String>,
}

impl<'ast> Visit<'ast> for Macros {
    fn visit_item_macro(&mut self, item: &'ast ItemMacro) {
        self.names.extend(item.ident.as_ref().map(ToString::to_string));
    }
}

struct Finder<'a> {
    tree: &'a Tree,
    scopes: &'a Scopes<'a>,
    macros: &'a BTreeSet<String>,
    /// Where the code that is looked at stands.
    module: usize,
    found: &'a mut BTreeSet<Import>,
}

impl Finder<'_> {
    fn path(&mut self, segments: &[String], line: usize) {
        // A word alone is an item of this module, or a variable.
        if segments.len() > 1
            && let Some((module, _)) = self.scopes.lead(self.module, segments)
        {
            self.module(module, line);
        }
    }

    fn module(&mut self, module: usize, line: usize) {
        let (from, to) = (self.tree.modules[self.module].file, self.tree.modules[module].file);
        if from != to {
            self.found.insert(Import { from, line, to });
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let outer = self.module;
        self.module = scope::child(self.tree, outer, item);
        visit::visit_item_mod(self, item);
        self.module = outer;
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        for used in scope::used(item) {
            // `use super::*` and `use part::*` name their module by a word alone.
            match self.scopes.lead(self.module, &used.segments) {
                Some((module, _)) if used.is_glob => self.module(module, used.line),
                _ => self.path(&used.segments, used.line),
            }
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        if path.leading_colon.is_none()
            && let Some(last) = path.segments.last()
        {
            let segments: Vec<String> =
                path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.path(&segments, last.ident.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_vis_restricted(&mut self, _: &'ast VisRestricted) {}

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            for path in tokens::paths(list.tokens.clone()) {
                self.path(&path.segments, path.line);
            }
        }
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        // A macro of this crate may make a path of a word: `table! { "cpu" => Cpu(cpu) }`.
        let is_own =
            call.path.segments.last().is_some_and(|last| self.macros.contains(&last.ident.to_string()));
        for path in tokens::paths(call.tokens.clone()).into_iter().filter(|path| !path.quoted) {
            match path.segments.as_slice() {
                [word] if is_own => {
                    if let Some(module) = self.scopes.named(self.module, word) {
                        self.module(module, path.line);
                    }
                }
                segments => self.path(segments, path.line),
            }
        }
        visit::visit_macro(self, call);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::tree;
    use super::*;

    /// The uses among `files`, as `from:line to`.
    fn of(files: &[(&str, &str)]) -> Vec<String> {
        let tree = tree(files);
        assert_eq!(tree.problems, [""; 0]);
        let name = |file: usize| tree.files[file].path.trim_start_matches("src/").trim_end_matches(".rs");
        imports(&tree).iter().map(|i| format!("{}:{} {}", name(i.from), i.line, name(i.to))).collect()
    }

    /// The uses of `text` as `a/b.rs`, among other modules.
    fn of_inner(text: &str) -> Vec<String> {
        of(&[
            ("lib.rs", "mod a; mod c; mod d;"),
            ("a.rs", "mod b; mod sibling;"),
            ("a/b.rs", text),
            ("a/sibling.rs", ""),
            ("c.rs", "pub mod deep;"),
            ("c/deep.rs", ""),
            ("d.rs", ""),
        ])
    }

    #[test]
    fn groups_globs_and_new_names_are_taken_apart() {
        let text =
            "use crate::{c::deep::{self, Thing},\nd};\nuse super::*;\nuse crate::d as e;\nuse std::fmt;";
        assert_eq!(of_inner(text), ["a/b:1 c/deep", "a/b:2 d", "a/b:3 a", "a/b:4 d"]);
    }

    #[test]
    fn super_leads_up_a_module_each_time() {
        let text = "use super::sibling::X;\nuse super::super::d::X;\nuse super::Thing;\n\
            mod inner { use super::super::sibling::X;\nuse super::Own; }";
        assert_eq!(of_inner(text), ["a/b:1 a/sibling", "a/b:2 d", "a/b:3 a", "a/b:4 a/sibling"]);
    }

    #[test]
    fn a_path_in_code_counts_and_so_does_a_use_within_a_function() {
        let text = "fn f(x: &crate::c::X) -> <T as crate::d::Trait>::Out {\nuse crate::c::deep::g;\ng();\n\
            super::sibling::h()\n}";
        assert_eq!(of_inner(text), ["a/b:1 c", "a/b:1 d", "a/b:2 c/deep", "a/b:4 a/sibling"]);
    }

    #[test]
    fn a_module_that_is_brought_in_or_declared_leads_on() {
        let text = "use c::deep as low;\nuse crate::c;\nfn f() {\nlow::g();\nc::deep::g();\n}";
        assert_eq!(of_inner(text), ["a/b:1 c/deep", "a/b:2 c", "a/b:4 c/deep", "a/b:5 c/deep"]);
        let files = [("lib.rs", "mod a;\nfn f() { a::g() }\nuse a::*;"), ("a.rs", "use super::f;")];
        assert_eq!(of(&files), ["lib:2 a", "lib:3 a", "a:1 lib"]);
        let of_glob = of_inner("use super::super::*;\nfn f() { c::deep::g() }");
        assert_eq!(of_glob, ["a/b:1 lib", "a/b:2 c/deep"]);
    }

    #[test]
    fn paths_in_macros_and_attributes_count() {
        let text = "macro_rules! m { ($x:ident) => {\n$crate::d::f($x::g) } }\nm!(sibling);\n\
            vec![\nsuper::sibling::X, \"crate::c::X\"];\n#[serde(with = \"crate::c::read\")]\nstruct S;\n\
            /// See `crate::d`.\nuse super::sibling;";
        let found = of_inner(&text.replace("vec![", "const V: V = vec!["));
        assert_eq!(found, ["a/b:2 d", "a/b:3 a/sibling", "a/b:5 a/sibling", "a/b:6 c", "a/b:9 a/sibling"]);
    }

    #[test]
    fn declarations_visibility_other_crates_and_tests_do_not_count() {
        let text = "pub(in crate::a) fn f() { ::d::g(); log::info!(\"x\"); d::g() }\n\
            #[cfg(test)]\nmod tests { use crate::c::X; }\n#[cfg(test)]\nuse crate::d::X;\n\
            impl T { #[cfg(test)] fn f() { crate::d::g() } }";
        assert_eq!(of_inner(text), [""; 0]);
        let files = [("lib.rs", "#[cfg(test)]\nmod a; mod b;"), ("a.rs", "use crate::b::X;"), ("b.rs", "")];
        assert_eq!(of(&files), [""; 0]);
    }

    #[test]
    fn a_variable_and_another_crate_of_a_modules_name_are_no_use_of_it() {
        let text = "use crate::c;\nfn f() { let c = 1; info!(c); c + 1; ::c::g() }\nuse ::c::X;";
        assert_eq!(of_inner(text), ["a/b:1 c"]);
    }

    #[test]
    fn the_program_uses_the_library_by_its_name() {
        let main = "mod own;\nfn main() { seismograf::a::run() }\nuse crate::own::X;";
        let files = [("lib.rs", "mod a;"), ("a.rs", ""), ("main.rs", main), ("own.rs", "")];
        assert_eq!(of(&files), ["main:2 a", "main:3 own"]);
    }
}
