//! Which crates are in what is shipped, as cargo resolves them: those linked into the agent and into its BPF object, without
//! what only builds and tests need. And their licences.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

use crate::build;
use crate::command::{command, output};
use crate::platform::Platform;

/// A crate, by what cargo prints of it: `serde v1.0.200`.
pub(super) struct Linked {
    pub(super) name: String,
    pub(super) version: String,
    /// An SPDX expression.
    pub(super) licence: String,
    pub(super) description: String,
    /// Of the package as crates.io has it; none for the crates of this workspace.
    pub(super) checksum: Option<String>,
    /// Those that it depends on, by name and version.
    pub(super) needs: BTreeSet<(String, String)>,
    /// The folder of its source.
    source: PathBuf,
}

/// By name and version.
pub(super) type Crates = BTreeMap<(String, String), Linked>;

/// The roots, and what each is built for.
const ROOTS: [(&str, Option<&str>); 2] = [("seismograf", None), ("seismograf-ebpf", Some(build::BPF_TARGET))];

/// Asks cargo.
pub(super) fn linked(source: &Path) -> anyhow::Result<Crates> {
    let mut metadata = command("cargo");
    metadata.args(["metadata", "--format-version=1", "--locked"]).current_dir(source);
    let metadata: Value = serde_json::from_str(&output(&mut metadata)?)?;
    let checksums = checksums(&fs::read_to_string(source.join("Cargo.lock"))?);
    let mut crates = Crates::new();
    for (root, target) in ROOTS {
        let target = target.map_or_else(|| Platform::host().target(), str::to_owned);
        let mut tree = command("cargo");
        tree.args(["tree", "--locked", "--package", root, "--target", &target, "--prefix", "depth"]);
        tree.args(["--edges", "normal,no-proc-macro", "--format", " {p}"]).current_dir(source);
        add_tree(&mut crates, &output(&mut tree)?);
    }
    for (key, linked) in &mut crates {
        describe(linked, &metadata)
            .with_context(|| format!("cargo does not describe {} {}", key.0, key.1))?;
        linked.checksum = checksums.get(key).cloned();
    }
    Ok(crates)
}

/// Adds the lines of `cargo tree`: a depth and a crate each. What is below a crate stands there at its first mention.
fn add_tree(crates: &mut Crates, tree: &str) {
    let mut path: Vec<(String, String)> = Vec::new();
    for line in tree.lines() {
        let mut words = line.split_whitespace();
        let (Some(depth), Some(name), Some(version)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let key = (name.to_owned(), version.trim_start_matches('v').to_owned());
        path.truncate(depth.parse().unwrap_or(0));
        if let Some(above) = path.last().and_then(|above| crates.get_mut(above)) {
            above.needs.insert(key.clone());
        }
        crates.entry(key.clone()).or_insert_with(|| Linked {
            name: key.0.clone(),
            version: key.1.clone(),
            licence: String::new(),
            description: String::new(),
            checksum: None,
            needs: BTreeSet::new(),
            source: PathBuf::new(),
        });
        path.push(key);
    }
}

fn describe(linked: &mut Linked, metadata: &Value) -> Option<()> {
    let packages = metadata["packages"].as_array()?;
    let package = packages
        .iter()
        .find(|package| package["name"] == *linked.name && package["version"] == *linked.version)?;
    let text = |key: &str| package[key].as_str().unwrap_or_default().trim().replace('\n', " ");
    // The older way to write a choice.
    linked.licence = text("license").replace('/', " OR ");
    linked.description = text("description");
    linked.source = Path::new(package["manifest_path"].as_str()?).parent()?.to_owned();
    Some(())
}

/// The sums in a lock file.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let value = |package: &str, key: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))?;
        Some(line.trim_matches('"').to_owned())
    };
    lock.split("[[package]]")
        .filter_map(|package| {
            let key = (value(package, "name")?, value(package, "version")?);
            Some((key, value(package, "checksum")?))
        })
        .collect()
}

/// The licences and notices of the crates that others wrote, each text once.
pub(super) fn notices(crates: &Crates) -> anyhow::Result<String> {
    let mut text = String::from(
        "Seismograf is one static file. These crates are linked into it, with the licences that they are under;\n\
         where there is a choice, any of them. The C library is glibc (LGPL-2.1-or-later), and the library of Rust is\n\
         under Apache-2.0 OR MIT.\n\n",
    );
    let mut by_text: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for linked in crates.values().filter(|linked| linked.checksum.is_some()) {
        let title = format!("{} {}", linked.name, linked.version);
        writeln!(text, "{title}: {}", linked.licence)?;
        for licence in licence_files(&linked.source)? {
            by_text.entry(licence).or_default().push(title.clone());
        }
    }
    for (licence, mut titles) in by_text {
        titles.dedup();
        write!(text, "\n{}\n{}\n\n{}\n", "=".repeat(80), titles.join(", "), licence.trim())?;
    }
    Ok(text)
}

/// The texts of the files of a crate that have such a name.
fn licence_files(source: &Path) -> anyhow::Result<Vec<String>> {
    let names = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];
    let mut paths: Vec<PathBuf> =
        fs::read_dir(source)?.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        path.is_file() && names.iter().any(|start| name.starts_with(start))
    });
    paths.sort();
    Ok(paths.iter().filter_map(|path| fs::read_to_string(path).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_each_crate_once_with_what_it_needs() {
        let mut crates = Crates::new();
        add_tree(&mut crates, "0 a v1.0.0 (/src/a)\n1 b v2.0.0\n2 c v0.3.0\n1 c v0.3.0\n1 d v1.0.0 (*)\n");
        let key = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        assert_eq!(crates.len(), 4);
        let a = &crates[&key("a", "1.0.0")];
        assert_eq!(a.needs.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["b", "c", "d"]);
        assert_eq!(crates[&key("b", "2.0.0")].needs, BTreeSet::from([key("c", "0.3.0")]));
        assert!(crates[&key("d", "1.0.0")].needs.is_empty());
    }

    #[test]
    fn sums_are_those_of_the_lock_file() {
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"b\"\nversion = \"2.0.0\"\nchecksum = \"12ab\"\n";
        let sums = checksums(lock);
        assert_eq!(sums.into_iter().collect::<Vec<_>>(), [(("b".into(), "2.0.0".into()), "12ab".to_owned())]);
    }
}
