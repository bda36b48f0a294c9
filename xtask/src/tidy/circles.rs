//! Circles: files of which each uses the next and the last the first.
//!
//! Such files are one file in pieces: none can be read, tested or moved without the others. A module and what it is
//! made of are no exception.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::imports::Import;
use super::tree::Tree;

/// For each file, the files that it uses, with the first line that does.
type Graph = BTreeMap<usize, BTreeMap<usize, usize>>;

/// One problem for each set of files that all reach each other: its shortest circle.
pub(super) fn problems(tree: &Tree, imports: &BTreeSet<Import>) -> Vec<String> {
    let graph = graph(imports);
    let path = |file: usize| tree.files[file].path.as_str();
    let mut problems = Vec::new();
    for set in sets(&graph) {
        let circle = shortest(&graph, &set);
        let mut problem = match set.len() - circle.len() {
            0 => format!("{}: a circle of {} files:", path(circle[0]), circle.len()),
            more => format!(
                "{}: a circle of {} files, and {more} more in circles with these:",
                path(circle[0]),
                circle.len()
            ),
        };
        for (from, to) in circle.iter().zip(circle.iter().cycle().skip(1)) {
            problem.push_str(&format!("\n    {}:{}: uses {}", path(*from), graph[from][to], path(*to)));
        }
        problems.push(problem);
    }
    problems
}

fn graph(imports: &BTreeSet<Import>) -> Graph {
    let mut graph = Graph::new();
    for import in imports {
        graph.entry(import.from).or_default().entry(import.to).or_insert(import.line);
    }
    graph
}

/// The sets of more than one file in which each reaches each.
fn sets(graph: &Graph) -> Vec<BTreeSet<usize>> {
    let reached: BTreeMap<usize, BTreeSet<usize>> =
        graph.keys().map(|file| (*file, reach(graph, *file))).collect();
    let mut sets: Vec<BTreeSet<usize>> = Vec::new();
    for (file, others) in &reached {
        if others.contains(file) && !sets.iter().any(|set| set.contains(file)) {
            let back = |other: &&usize| reached.get(other).is_some_and(|reached| reached.contains(file));
            sets.push(others.iter().filter(back).copied().collect());
        }
    }
    sets
}

/// The files that `start` leads to, itself only when it is in a circle.
fn reach(graph: &Graph, start: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut left = vec![start];
    while let Some(file) = left.pop() {
        left.extend(
            graph.get(&file).into_iter().flat_map(BTreeMap::keys).filter(|next| reached.insert(**next)),
        );
    }
    reached
}

/// The shortest circle within `set`.
fn shortest(graph: &Graph, set: &BTreeSet<usize>) -> Vec<usize> {
    let circles = set.iter().filter_map(|start| circle_of(graph, *start));
    circles.min_by_key(Vec::len).unwrap_or_default()
}

/// The shortest circle through `start`, from there on.
fn circle_of(graph: &Graph, start: usize) -> Option<Vec<usize>> {
    let mut before: BTreeMap<usize, usize> = BTreeMap::new();
    let mut left = VecDeque::from([start]);
    while let Some(file) = left.pop_front() {
        for next in graph.get(&file)?.keys() {
            if *next == start {
                let steps = std::iter::successors(Some(file), |file| before.get(file).copied());
                let mut circle: Vec<usize> = steps.collect();
                circle.reverse();
                return Some(circle);
            }
            if !before.contains_key(next) && graph.contains_key(next) {
                before.insert(*next, file);
                left.push_back(*next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::imports::imports;
    use super::super::tree::tree;

    fn of(files: &[(&str, &str)]) -> Vec<String> {
        let tree = tree(files);
        assert_eq!(tree.problems, [""; 0]);
        super::problems(&tree, &imports(&tree))
    }

    #[test]
    fn a_circle_of_three_files_is_shown_step_by_step() {
        let found = of(&[
            ("lib.rs", "mod a; mod b; mod c; mod d;"),
            ("a.rs", "use crate::b::X;\nuse crate::d::X;"),
            ("b.rs", "\nuse crate::c::X;\nuse crate::c::Y;"),
            ("c.rs", "\n\nuse crate::a::X;"),
            ("d.rs", ""),
        ]);
        let expected = "src/a.rs: a circle of 3 files:\n    src/a.rs:1: uses src/b.rs\n    \
            src/b.rs:2: uses src/c.rs\n    src/c.rs:3: uses src/a.rs";
        assert_eq!(found, [expected]);
    }

    #[test]
    fn a_module_and_its_part_must_not_use_each_other() {
        let found = of(&[
            ("lib.rs", "mod a;"),
            ("a.rs", "mod part;\nuse part::X;\nstruct Y;"),
            ("a/part.rs", "use super::Y;\npub struct X;"),
        ]);
        let expected = "src/a.rs: a circle of 2 files:\n    src/a.rs:2: uses src/a/part.rs\n    \
            src/a/part.rs:1: uses src/a.rs";
        assert_eq!(found, [expected]);
        let one_way =
            [("lib.rs", "mod a;"), ("a.rs", "mod part;\nstruct Y;"), ("a/part.rs", "use super::Y;")];
        assert_eq!(of(&one_way), [""; 0]);
    }

    #[test]
    fn the_shortest_circle_of_a_set_is_shown_and_each_set_once() {
        let found = of(&[
            ("lib.rs", "mod a; mod b; mod c; mod d; mod e; mod f;"),
            ("a.rs", "use crate::b::X;"),
            ("b.rs", "use crate::c::X;"),
            ("c.rs", "use crate::a::X;\nuse crate::d::X;"),
            ("d.rs", "use crate::c::X;"),
            ("e.rs", "use crate::f::X;\nuse crate::a::X;"),
            ("f.rs", "use crate::e::X;"),
        ]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("src/c.rs: a circle of 2 files, and 2 more in circles with these:\n"));
        assert!(found[1].starts_with("src/e.rs: a circle of 2 files:\n"));
    }
}
