//! The layers of the agent: which module may use which.

use std::collections::BTreeSet;

use super::imports::Import;
use super::tree::Tree;

/// The agent's modules, from the top down. A module may use those of the rows below its own; modules of one row do not know
/// each other. `main` is the program, all others are modules of the library.
pub(super) const AGENT: &[&[&str]] = &[
    &["main", "fuzzing", "stages"],
    &["commands"],
    &["pipeline"],
    &["config"],
    &["plugins"],
    &["inputs", "outputs"],
    &["identity"],
    &["ledger"],
    &["kernel"],
    &["host"],
    &["http", "listen", "spool"],
    &["service"],
    &["cli"],
    &["options"],
    &["parsers", "serializers", "views", "dashboards"],
    &["schema", "line_protocol", "clock"],
    &["point", "exit", "uuid"],
];

/// The layer of a file: the top-level module that it is or is in. `None` for the library's root, which is in no layer.
pub(super) fn layer(tree: &Tree, file: usize) -> Option<&str> {
    let file = &tree.files[file];
    let is_program = tree.files[tree.modules[tree.modules[file.module].root].file].path.ends_with("/main.rs");
    if is_program { Some("main") } else { tree.modules[file.module].path.first().map(String::as_str) }
}

/// What the uses and the modules of `tree` have against `table`.
pub(super) fn problems(tree: &Tree, imports: &BTreeSet<Import>, table: &[&[&str]]) -> Vec<String> {
    let mut problems = unlisted(tree, table);
    problems.extend(stale(tree, table));
    let mut reported = BTreeSet::new();
    for import in imports {
        // A line that names two files of a layer is one problem.
        if reported.insert((import.from, import.line, layer(tree, import.to))) {
            problems.extend(problem(tree, import, table));
        }
    }
    problems
}

fn problem(tree: &Tree, import: &Import, table: &[&[&str]]) -> Option<String> {
    let place = format!("{}:{}", tree.files[import.from].path, import.line);
    let to = layer(tree, import.to);
    let Some(from) = layer(tree, import.from) else {
        // Else the root could hand a lower layer what is above it.
        let to = to.unwrap_or("main");
        return Some(format!(
            "{place}: the library's root uses `{to}`: it names its modules and nothing else"
        ));
    };
    let to = to?;
    let row = |name: &str| table.iter().position(|row| row.contains(&name));
    let (above, below) = (row(from)?, row(to)?);
    match above.cmp(&below) {
        _ if from == to => None,
        std::cmp::Ordering::Less => None,
        std::cmp::Ordering::Equal => {
            Some(format!("{place}: layer `{from}` uses `{to}`, which is beside it: move what both need down"))
        }
        std::cmp::Ordering::Greater => Some(format!(
            "{place}: layer `{from}` uses `{to}`, which is above it: pass it in, or move what both need down"
        )),
    }
}

/// Modules that the table does not have.
fn unlisted(tree: &Tree, table: &[&[&str]]) -> Vec<String> {
    let mut known: BTreeSet<&str> = table.iter().copied().flatten().copied().collect();
    let mut problems = Vec::new();
    for (index, file) in tree.shipped() {
        let Some(layer) = layer(tree, index) else { continue };
        if known.insert(layer) {
            let path = &file.path;
            problems
                .push(format!("{path}: add `{layer}` to the table of layers in xtask/src/tidy/layers.rs"));
        }
    }
    problems
}

/// What the table has and the code no longer.
fn stale(tree: &Tree, table: &[&[&str]]) -> Vec<String> {
    let there: BTreeSet<&str> = tree.shipped().filter_map(|(index, _)| layer(tree, index)).collect();
    let gone = table.iter().copied().flatten().filter(|name| !there.contains(*name));
    gone.map(|name| {
        format!("xtask/src/tidy/layers.rs: the table of layers has `{name}`, which is no module: take it out")
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::imports::imports;
    use super::super::tree::tree;

    const TABLE: &[&[&str]] = &[&["main"], &["inputs", "outputs"], &["kernel"]];

    /// The problems of a tree in which these files have this text, and others none.
    fn of(texts: &[(&str, &str)]) -> Vec<String> {
        let mut files = vec![
            ("lib.rs", "mod inputs; mod outputs; mod kernel;"),
            ("main.rs", ""),
            ("inputs.rs", "mod cpu;"),
            ("inputs/cpu.rs", ""),
            ("outputs.rs", ""),
            ("kernel.rs", "mod load;"),
            ("kernel/load.rs", ""),
        ];
        files.retain(|(path, _)| !texts.iter().any(|(other, _)| path == other));
        files.extend(texts);
        let tree = tree(&files);
        assert_eq!(tree.problems, [""; 0]);
        super::problems(&tree, &imports(&tree), TABLE)
    }

    #[test]
    fn uses_of_what_is_below_and_within_a_layer_are_fine() {
        let found = of(&[
            ("main.rs", "use seismograf::{inputs, kernel};"),
            ("inputs/cpu.rs", "use crate::kernel::load::X; use super::Y;"),
        ]);
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn a_use_of_what_is_above_names_file_line_and_layers() {
        let found = of(&[("kernel/load.rs", "\nfn f() {\nuse crate::inputs::{cpu::X, Y};\n}")]);
        let expected = "src/kernel/load.rs:3: layer `kernel` uses `inputs`, which is above it: pass it in, or move what both \
            need down";
        assert_eq!(found, [expected]);
    }

    #[test]
    fn layers_of_one_row_do_not_know_each_other() {
        let found = of(&[("outputs.rs", "use crate::inputs::cpu::X;")]);
        assert_eq!(
            found,
            ["src/outputs.rs:1: layer `outputs` uses `inputs`, which is beside it: move what both need down"]
        );
    }

    #[test]
    fn the_root_hands_nothing_on() {
        let found = of(&[("lib.rs", "mod inputs; mod outputs; mod kernel;\npub use inputs::X;")]);
        assert_eq!(
            found,
            ["src/lib.rs:2: the library's root uses `inputs`: it names its modules and nothing else"]
        );
    }

    #[test]
    fn tests_may_reach_up() {
        assert_eq!(
            of(&[("kernel.rs", "mod load;\n#[cfg(test)]\nmod tests { use crate::inputs::X; }")]),
            [""; 0]
        );
    }

    #[test]
    fn the_table_has_every_module_and_no_other() {
        let tree = tree(&[
            ("lib.rs", "mod inputs;\nmod new;"),
            ("inputs.rs", ""),
            ("new.rs", "mod part;"),
            ("new/part.rs", ""),
        ]);
        let found = super::problems(&tree, &imports(&tree), &[&["inputs"], &["kernel"]]);
        assert_eq!(
            found,
            [
                "src/new.rs: add `new` to the table of layers in xtask/src/tidy/layers.rs",
                "xtask/src/tidy/layers.rs: the table of layers has `kernel`, which is no module: take it out",
            ]
        );
    }
}
