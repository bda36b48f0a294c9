//! Which module a path leads to.

use std::collections::BTreeMap;

use syn::visit::{self, Visit};
use syn::{ItemMod, ItemUse, UseTree};

use super::tree::Tree;

/// A name that a `use` brings in, or all names of a module with `*`.
pub(super) struct Used {
    /// The path, without a `self` at its end.
    pub(super) segments: Vec<String>,
    pub(super) line: usize,
    /// What it is called here; `None` for `*` and `_`.
    name: Option<String>,
    pub(super) is_glob: bool,
}

/// The names of the modules that each module sees by a single word, besides its children.
pub(super) struct Scopes<'a> {
    tree: &'a Tree,
    /// By module.
    names: Vec<BTreeMap<String, usize>>,
    globs: Vec<Vec<usize>>,
}

impl<'a> Scopes<'a> {
    /// Reads the `use` items of the code that ships. One within a function counts for its whole module.
    pub(super) fn new(tree: &'a Tree) -> Self {
        let n = tree.modules.len();
        let mut scopes = Self { tree, names: vec![BTreeMap::new(); n], globs: vec![Vec::new(); n] };
        let mut reader = Reader { tree, module: 0, found: Vec::new() };
        for (_, file) in tree.shipped() {
            reader.module = file.module;
            reader.visit_file(&file.code);
        }
        // The second round resolves what begins with a name of the first: `use crate::a; use a::b;`.
        for _ in 0..2 {
            for (module, used) in &reader.found {
                scopes.add(*module, used);
            }
        }
        scopes
    }

    fn add(&mut self, module: usize, used: &Used) {
        let Some((target, true)) = self.lead(module, &used.segments) else { return };
        if let Some(name) = &used.name {
            self.names[module].insert(name.clone(), target);
        }
        if used.is_glob && !self.globs[module].contains(&target) {
            self.globs[module].push(target);
        }
    }

    /// The deepest module that a path in `module` names, and whether the path ends there. `None` when it leads out of the
    /// crate.
    pub(super) fn lead(&self, module: usize, segments: &[String]) -> Option<(usize, bool)> {
        let modules = &self.tree.modules;
        let (first, mut rest) = segments.split_first()?;
        let mut at = match first.as_str() {
            "crate" => modules[module].root,
            "self" => module,
            "super" => modules[module].parent?,
            name => self.named(module, name)?,
        };
        while let Some((next, after)) = rest.split_first() {
            at = match next.as_str() {
                "super" => modules[at].parent?,
                name => match modules[at].children.get(name) {
                    Some(child) => *child,
                    None => return Some((at, false)),
                },
            };
            rest = after;
        }
        Some((at, true))
    }

    /// The module that `name` alone is in `module`.
    pub(super) fn named(&self, module: usize, name: &str) -> Option<usize> {
        let modules = &self.tree.modules;
        let mut by_glob = self.globs[module].iter().filter_map(|glob| modules[*glob].children.get(name));
        let own = modules[module].children.get(name).or_else(|| self.names[module].get(name));
        let found = own.or_else(|| by_glob.next()).copied();
        found.or_else(|| (self.tree.library == Some(name)).then_some(0))
    }
}

struct Reader<'a> {
    tree: &'a Tree,
    module: usize,
    found: Vec<(usize, Used)>,
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let outer = self.module;
        self.module = child(self.tree, outer, item);
        visit::visit_item_mod(self, item);
        self.module = outer;
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let module = self.module;
        self.found.extend(used(item).into_iter().map(|used| (module, used)));
    }
}

/// The module that `item` is, within `module`. One in a function body is in no tree, and counts as what is around it.
pub(super) fn child(tree: &Tree, module: usize, item: &ItemMod) -> usize {
    tree.modules[module].children.get(&item.ident.to_string()).copied().unwrap_or(module)
}

/// What a `use` brings in, its groups taken apart.
pub(super) fn used(item: &ItemUse) -> Vec<Used> {
    let mut found = Vec::new();
    // `use ::name` is another crate.
    if item.leading_colon.is_none() {
        take_apart(&item.tree, &mut Vec::new(), &mut found);
    }
    found
}

fn take_apart(tree: &UseTree, prefix: &mut Vec<String>, found: &mut Vec<Used>) {
    let (ident, name) = match tree {
        UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            take_apart(&path.tree, prefix, found);
            prefix.pop();
            return;
        }
        UseTree::Group(group) => return group.items.iter().for_each(|part| take_apart(part, prefix, found)),
        UseTree::Glob(glob) => {
            let line = glob.star_token.spans[0].start().line;
            return found.push(Used { segments: prefix.clone(), line, name: None, is_glob: true });
        }
        UseTree::Name(name) => (&name.ident, None),
        UseTree::Rename(rename) => (&rename.ident, Some(rename.rename.to_string())),
    };
    let mut segments = prefix.clone();
    if ident != "self" || prefix.is_empty() {
        segments.push(ident.to_string());
    }
    let name = name.or_else(|| segments.last().cloned()).filter(|name| name != "_");
    found.push(Used { segments, line: ident.span().start().line, name, is_glob: false });
}
