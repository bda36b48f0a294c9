//! `cargo xtask tidy`: rules that no lint knows, on the text of the files and on the structure of the code.
//!
//! Reads the files that git knows, and hands their text to the checks: each is a function from sources to problems.

mod circles;
mod imports;
mod layers;
mod names;
mod scope;
mod sizes;
mod test_code;
mod text;
mod tokens;
mod tree;

use anyhow::bail;

use crate::command::{command, output};
use tree::{Layout, Sources, Tree};

const AGENT: Layout =
    Layout { directory: "agent/src", roots: &["lib.rs", "main.rs"], library: Some("seismograf") };
const PROBES: Layout =
    Layout { directory: "agent-ebpf/src", roots: &["lib.rs", "main.rs"], library: Some("seismograf_ebpf") };
const XTASK: Layout = Layout { directory: "xtask/src", roots: &["main.rs"], library: None };
/// What the end-to-end tests have in common.
const HARNESS: Layout = Layout { directory: "tests/src", roots: &["lib.rs"], library: None };

/// Checks every file that git knows, or would at the next `git add`: a new module counts before it is committed.
pub(crate) fn tidy() -> anyhow::Result<()> {
    let files = output(command("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]))?;
    // What is no text, or gone from the disk, has nothing to check.
    let read = |path: &str| Some((path.to_owned(), std::fs::read_to_string(path).ok()?));
    let problems = problems(&files.lines().filter_map(read).collect());
    if !problems.is_empty() {
        bail!("tidy:\n  {}", problems.join("\n  "));
    }
    Ok(())
}

/// Everything that is wrong with these files.
fn problems(sources: &Sources) -> Vec<String> {
    let mut problems = text::problems(sources);
    problems.extend(
        sources.iter().filter(|(path, _)| is_source(path)).filter_map(|(path, text)| sizes::file(path, text)),
    );
    let crates = [&AGENT, &PROBES, &XTASK, &HARNESS];
    problems.extend(crates.iter().flat_map(|layout| of_crate(layout, sources)));
    let is_in_crate =
        |path: &str| crates.iter().any(|layout| path.starts_with(&format!("{}/", layout.directory)));
    let alone =
        sources.iter().filter(|(path, _)| path.ends_with(".rs") && !is_in_crate(path) && !is_test(path));
    problems.extend(alone.flat_map(|(path, text)| sizes::functions_of_text(path, text)));
    problems
}

/// Whether a file that is in no crate's sources is a test: its functions are scenarios, as long as what they tell.
fn is_test(path: &str) -> bool {
    path.starts_with("tests/it/") || path.contains("/tests/")
}

fn is_source(path: &str) -> bool {
    path.ends_with(".rs") || path.ends_with(".sh")
}

fn of_crate(layout: &Layout, sources: &Sources) -> Vec<String> {
    let mut tree = Tree::new(layout, sources);
    let imports = imports::imports(&tree);
    let mut problems = std::mem::take(&mut tree.problems);
    problems.extend(circles::problems(&tree, &imports));
    for (_, file) in tree.shipped() {
        problems.extend(sizes::functions(&file.path, &file.code));
    }
    match layout.directory {
        "agent/src" => {
            problems.extend(layers::problems(&tree, &imports, layers::AGENT));
            problems.extend(sizes::median(&tree, layout.directory));
            let layer = |file| layers::layer(&tree, file).unwrap_or_default().to_owned();
            problems.extend(names::problems(&tree, layer));
        }
        "xtask/src" => problems.extend(names::problems(&tree, |_| String::new())),
        _ => {}
    }
    problems
}
