//! Type names: within a layer, a name is one type.
//!
//! Where two types of a layer share a name, a reader must look up which of them a line means.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};
use syn::{Ident, ItemEnum, ItemStruct, ItemTrait, ItemType, ItemUnion};

use super::tree::Tree;

/// Names that more than one type of a layer has, where `layer` gives that of a file.
pub(super) fn problems(tree: &Tree, layer: impl Fn(usize) -> String) -> Vec<String> {
    let mut by_name: BTreeMap<(String, String), Vec<Definition>> = BTreeMap::new();
    for (index, file) in tree.shipped() {
        let mut types = Types { found: Vec::new() };
        types.visit_file(&file.code);
        let mut sections = BTreeSet::new();
        for (name, line) in types.found {
            let is_section = is_section(&file.path, &name) && sections.insert(name.clone());
            let place = Definition { text: format!("{}:{line}", file.path), is_section };
            by_name.entry((layer(index), name)).or_default().push(place);
        }
    }
    let shared =
        by_name.iter().filter(|(_, places)| places.len() > 1 && !places.iter().all(|p| p.is_section));
    shared.map(|((_, name), places)| problem(name, places)).collect()
}

/// Where a type is defined.
struct Definition {
    text: String,
    is_section: bool,
}

fn problem(name: &str, places: &[Definition]) -> String {
    // The sections may share theirs: of them, one is enough to show what the others collide with.
    let first_section = places.iter().position(|place| place.is_section);
    let shown = places.iter().enumerate().filter(|(i, place)| !place.is_section || Some(*i) == first_section);
    let texts: Vec<&str> = shown.map(|(_, place)| place.text.as_str()).collect();
    let (first, others) = (texts[0], texts[1..].join(", "));
    format!("{first}: `{name}` is also the name of {others}: two types of a layer have two names")
}

/// Whether a type is the configuration's section of a plugin: `Options`, in the file of an input or output. The table of
/// plugins finds each by that name, and one file never speaks of another's.
fn is_section(path: &str, name: &str) -> bool {
    let plugin =
        ["agent/src/inputs/", "agent/src/outputs/"].iter().find_map(|prefix| path.strip_prefix(prefix));
    name == "Options" && plugin.is_some_and(|file| !file.contains('/'))
}

/// The types that a file defines, those within functions included.
struct Types {
    found: Vec<(String, usize)>,
}

impl Types {
    fn add(&mut self, ident: &Ident) {
        self.found.push((ident.to_string(), ident.span().start().line));
    }
}

impl<'ast> Visit<'ast> for Types {
    fn visit_item_struct(&mut self, item: &'ast ItemStruct) {
        self.add(&item.ident);
    }

    fn visit_item_enum(&mut self, item: &'ast ItemEnum) {
        self.add(&item.ident);
    }

    fn visit_item_union(&mut self, item: &'ast ItemUnion) {
        self.add(&item.ident);
    }

    fn visit_item_type(&mut self, item: &'ast ItemType) {
        self.add(&item.ident);
    }

    fn visit_item_trait(&mut self, item: &'ast ItemTrait) {
        self.add(&item.ident);
        visit::visit_item_trait(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::super::layers;
    use super::super::tree::{Layout, Sources, Tree};

    fn of(files: &[(&str, &str)]) -> Vec<String> {
        let layout = Layout { directory: "agent/src", roots: &["lib.rs"], library: None };
        let sources: Sources =
            files.iter().map(|(path, text)| (format!("agent/src/{path}"), (*text).to_owned())).collect();
        let tree = Tree::new(&layout, &sources);
        assert_eq!(tree.problems, [""; 0]);
        super::problems(&tree, |file| layers::layer(&tree, file).unwrap_or_default().to_owned())
    }

    #[test]
    fn a_name_is_one_type_of_its_layer() {
        let found = of(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "mod x; mod y;\nstruct Once; trait Twice {}"),
            ("a/x.rs", "\nenum Pair {}\n#[cfg(test)]\nstruct Once;"),
            ("a/y.rs", "fn f() { struct Pair; }\nimpl T for U { type Once = u8; }"),
            ("b.rs", "struct Once;\ntype Twice = u8;"),
        ]);
        let expected = "src/a/x.rs:2: `Pair` is also the name of agent/src/a/y.rs:1: two types of a layer have two names";
        assert_eq!(found, [format!("agent/{expected}")]);
    }

    #[test]
    fn the_sections_of_plugins_share_their_name_with_nothing_else() {
        let lib = ("lib.rs", "mod inputs;");
        let inputs = ("inputs.rs", "mod cpu; mod net;");
        let net = ("inputs/net.rs", "struct Options;");
        let fine = [lib, inputs, ("inputs/cpu.rs", "struct Options;"), net];
        assert_eq!(of(&fine), [""; 0]);
        let third = [
            lib,
            inputs,
            ("inputs/cpu.rs", "mod p;\nstruct Options;"),
            net,
            ("inputs/cpu/p.rs", "type Options = u8;"),
        ];
        let ending = "is also the name of agent/src/inputs/cpu/p.rs:1: two types of a layer have two names";
        assert_eq!(of(&third), [format!("agent/src/inputs/cpu.rs:2: `Options` {ending}")]);
        let other = [lib, inputs, ("inputs/cpu.rs", "struct Error;"), ("inputs/net.rs", "struct Error;")];
        assert_eq!(of(&other).len(), 1);
    }
}
