//! `cargo xtask tidy`: rules that no lint knows.

use std::path::Path;

use anyhow::bail;

use crate::command::{command, output};

/// A source file longer than this is two.
const MOST_LINES: usize = 900;
/// What a file of this project never says, put together so that this one does not either.
const BANNED: &[(&str, &str)] = &[
    ("FIX", "ME"),
    ("to", "do!("),
    ("un", "implemented!("),
    ("#[ign", "ore"),
    ("pkill", " -f"),
    ("kill", "all "),
];

/// Checks every file that git knows.
pub(crate) fn tidy() -> anyhow::Result<()> {
    let mut problems = Vec::new();
    for file in output(command("git").args(["ls-files"]))?.lines() {
        let path = Path::new(file);
        let is_source = path.extension().is_some_and(|extension| extension == "rs" || extension == "sh");
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        if is_source {
            let n = text.lines().count();
            if n > MOST_LINES {
                problems.push(format!("{file}: {n} lines: split it"));
            }
            for (a, b) in BANNED {
                if let Some(line) = text.lines().position(|line| line.contains(&format!("{a}{b}"))) {
                    problems.push(format!("{file}:{}: `{a}{b}`", line + 1));
                }
            }
        }
        if file.ends_with("/Cargo.toml") && !text.contains("[lints]\nworkspace = true") {
            problems.push(format!("{file}: the workspace's lints are not inherited"));
        }
        if is_source && text.lines().any(|line| line.ends_with([' ', '\t'])) {
            problems.push(format!("{file}: a line ends in white space"));
        }
    }
    if !problems.is_empty() {
        bail!("tidy:\n  {}", problems.join("\n  "));
    }
    Ok(())
}
