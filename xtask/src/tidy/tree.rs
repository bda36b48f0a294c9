//! The modules of a crate, as its `mod` items name them, each with the file that it is in.
//!
//! Built from sources in memory: what is checked is a function of their text alone.

use std::collections::{BTreeMap, BTreeSet};

use syn::{Item, ItemMod};

use super::test_code;

/// The text of each file by its path from the workspace's root.
pub(super) type Sources = BTreeMap<String, String>;

/// A directory of source files that are one crate, or a library and the program of the same name.
pub(super) struct Layout {
    /// The directory, from the workspace's root.
    pub(super) directory: &'static str,
    /// The files in it at which the compiler starts. The first is the one that `library` names.
    pub(super) roots: &'static [&'static str],
    /// The name by which a program beside the library calls it.
    pub(super) library: Option<&'static str>,
}

/// A file of a crate.
pub(super) struct File {
    pub(super) path: String,
    /// The module that the file is.
    pub(super) module: usize,
    /// Its code without that of tests.
    pub(super) code: syn::File,
    /// The number of its lines without those of tests.
    pub(super) lines: usize,
    /// Whether the whole file is there for tests.
    pub(super) is_test: bool,
}

/// A module: a file, or a part of one.
pub(super) struct Module {
    /// The index of its file.
    pub(super) file: usize,
    pub(super) parent: Option<usize>,
    /// The module at which `crate::` paths start.
    pub(super) root: usize,
    /// Its names from the root down, which has none.
    pub(super) path: Vec<String>,
    pub(super) children: BTreeMap<String, usize>,
}

/// The files and modules of a `Layout`.
pub(super) struct Tree {
    pub(super) library: Option<&'static str>,
    pub(super) files: Vec<File>,
    pub(super) modules: Vec<Module>,
    /// What is wrong with the files themselves.
    pub(super) problems: Vec<String>,
}

impl Tree {
    /// Reads the files of `layout`.
    pub(super) fn new(layout: &Layout, sources: &Sources) -> Self {
        let mut builder = Builder {
            sources,
            tree: Self {
                library: layout.library,
                files: Vec::new(),
                modules: Vec::new(),
                problems: Vec::new(),
            },
        };
        for root in layout.roots {
            let path = format!("{}/{root}", layout.directory);
            if sources.contains_key(&path) {
                let root = builder.tree.modules.len();
                builder.file(&path, layout.directory, Place { root, ..Place::default() });
            }
        }
        if builder.tree.modules.is_empty() && builder.tree.problems.is_empty() {
            // Else a crate that has moved would pass every check.
            let problem = format!("{}: none of {} is here", layout.directory, layout.roots.join(", "));
            builder.tree.problems.push(problem);
        }
        builder.forgotten(layout.directory);
        builder.tree
    }

    /// The files that ship.
    pub(super) fn shipped(&self) -> impl Iterator<Item = (usize, &File)> {
        self.files.iter().enumerate().filter(|(_, file)| !file.is_test)
    }
}

/// Where a module is.
#[derive(Clone, Default)]
struct Place {
    root: usize,
    parent: Option<usize>,
    path: Vec<String>,
    is_test: bool,
}

struct Builder<'a> {
    sources: &'a Sources,
    tree: Tree,
}

impl Builder<'_> {
    /// Adds the file at `path`, whose submodules are in `directory`, and these.
    fn file(&mut self, path: &str, directory: &str, place: Place) {
        let text = self.sources.get(path).map_or("", String::as_str);
        let mut code = match syn::parse_file(text) {
            Ok(code) => code,
            Err(error) => {
                self.tree.problems.push(format!("{path}:{}: {error}", error.span().start().line));
                return;
            }
        };
        let is_test = place.is_test || test_code::is_test(&code.attrs);
        let (file, module) = (self.tree.files.len(), self.tree.modules.len());
        let items = code.items.clone();
        let lines = text.lines().count() - test_code::take_out(&mut code).len();
        self.tree.files.push(File { path: path.to_owned(), module, code, lines, is_test });
        self.module(file, directory, &items, Place { is_test, ..place });
    }

    /// Adds a module with these items, and the modules among them.
    fn module(&mut self, file: usize, directory: &str, items: &[Item], place: Place) {
        let Place { root, parent, path, is_test } = place;
        let module = self.tree.modules.len();
        if let (Some(parent), Some(name)) = (parent, path.last()) {
            self.tree.modules[parent].children.insert(name.clone(), module);
        }
        self.tree.modules.push(Module { file, parent, root, path: path.clone(), children: BTreeMap::new() });
        for item in items {
            let Item::Mod(child) = item else { continue };
            let name = child.ident.to_string();
            let path = path.iter().cloned().chain([name.clone()]).collect();
            let is_test = is_test || test_code::is_test(&child.attrs);
            let place = Place { root, parent: Some(module), path, is_test };
            let inner = format!("{directory}/{name}");
            match &child.content {
                Some((_, items)) => self.module(file, &inner, items, place),
                None => self.file_of(file, child, &inner, place),
            }
        }
    }

    /// Adds the file of a `mod x;`, where `stem` is its path without the extension.
    fn file_of(&mut self, from: usize, child: &ItemMod, stem: &str, place: Place) {
        let candidates = [format!("{stem}.rs"), format!("{stem}/mod.rs")];
        match candidates.iter().find(|path| self.sources.contains_key(*path)) {
            Some(path) => self.file(path, stem, place),
            None => {
                let (file, line) = (&self.tree.files[from].path, child.ident.span().start().line);
                let problem = format!("{file}:{line}: module `{}` is not at {stem}.rs", child.ident);
                self.tree.problems.push(problem);
            }
        }
    }

    /// A file that no `mod` leads to is in no check, and in no build either.
    fn forgotten(&mut self, directory: &str) {
        if !self.tree.problems.is_empty() {
            return;
        }
        let known: BTreeSet<&str> = self.tree.files.iter().map(|file| file.path.as_str()).collect();
        let prefix = format!("{directory}/");
        let all = self.sources.keys().filter(|path| path.starts_with(&prefix) && path.ends_with(".rs"));
        let forgotten = all.filter(|path| !known.contains(path.as_str()));
        let problems: Vec<String> =
            forgotten.map(|path| format!("{path}: no `mod` names this file")).collect();
        self.tree.problems.extend(problems);
    }
}

/// A crate in `src/` of these files, for the tests of the checks.
#[cfg(test)]
pub(super) fn tree(files: &[(&str, &str)]) -> Tree {
    let layout = Layout { directory: "src", roots: &["lib.rs", "main.rs"], library: Some("seismograf") };
    let sources = files.iter().map(|(path, text)| (format!("src/{path}"), (*text).to_owned())).collect();
    Tree::new(&layout, &sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_in_files_of_their_name_and_inside_others() {
        let tree = tree(&[
            ("lib.rs", "mod a; mod b { pub mod c; }"),
            ("a.rs", "pub mod d;\n#[cfg(test)]\nmod tests;"),
            ("a/d.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\n}\n"),
            ("a/tests.rs", "mod deep;"),
            ("a/tests/deep.rs", ""),
            ("b/c/mod.rs", ""),
        ]);
        assert_eq!(tree.problems, [""; 0]);
        let files: Vec<_> = tree.files.iter().map(|f| (f.path.as_str(), f.lines, f.is_test)).collect();
        let expected = [
            ("src/lib.rs", 1, false),
            ("src/a.rs", 1, false),
            ("src/a/d.rs", 1, false),
            ("src/a/tests.rs", 1, true),
            ("src/a/tests/deep.rs", 0, true),
            ("src/b/c/mod.rs", 0, false),
        ];
        assert_eq!(files, expected);
        assert_eq!(tree.modules[tree.files[5].module].path, ["b", "c"]);
    }

    #[test]
    fn a_file_without_a_module_and_a_module_without_a_file_are_problems() {
        let problems = tree(&[("lib.rs", ""), ("lost.rs", "")]).problems;
        assert_eq!(problems, ["src/lost.rs: no `mod` names this file"]);
        assert_eq!(tree(&[("a.rs", "")]).problems, ["src: none of lib.rs, main.rs is here"]);
        let problems = tree(&[("lib.rs", "\nmod gone;")]).problems;
        assert_eq!(problems, ["src/lib.rs:2: module `gone` is not at src/gone.rs"]);
        let problems = tree(&[("lib.rs", "fn f( {}")]).problems;
        assert!(problems[0].starts_with("src/lib.rs:1: "), "{problems:?}");
    }
}
