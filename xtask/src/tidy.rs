//! `cargo xtask tidy`: rules that no lint knows.
//!
//! Reads the files that git knows, and hands their text to the checks: each is a function from sources to problems.

mod text;

use std::collections::BTreeMap;

use anyhow::bail;

use crate::command::{command, output};

/// A source file longer than this is two.
const MOST_LINES: usize = 900;

/// The text of each file by its path from the workspace's root.
type Sources = BTreeMap<String, String>;

/// Checks every file that git knows, or would at the next `git add`: a new file counts before it is committed.
pub(crate) fn tidy() -> anyhow::Result<()> {
    let files = output(command("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]))?;
    // What is no text, or gone from the disk, has nothing to check.
    let read = |path: &str| Some((path.to_owned(), std::fs::read_to_string(path).ok()?));
    let sources = files.lines().filter_map(read).collect();
    let mut problems = text::problems(&sources);
    for (path, text) in sources.iter().filter(|(path, _)| path.ends_with(".rs") || path.ends_with(".sh")) {
        let n = text.lines().count();
        if n > MOST_LINES {
            problems.push(format!("{path}: {n} lines: split it"));
        }
    }
    if !problems.is_empty() {
        bail!("tidy:\n  {}", problems.join("\n  "));
    }
    Ok(())
}
