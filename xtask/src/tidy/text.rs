//! What the text of a file must not have, whatever it means.

use super::tree::Sources;

/// What a file of this project never says, put together so that this one does not either.
const BANNED: &[(&str, &str)] = &[
    ("FIX", "ME"),
    ("to", "do!("),
    ("un", "implemented!("),
    ("#[ign", "ore"),
    ("pkill", " -f"),
    ("kill", "all "),
];

/// What is wrong with the text of every file.
pub(super) fn problems(sources: &Sources) -> Vec<String> {
    sources.iter().flat_map(|(path, text)| of_file(path, text)).collect()
}

fn of_file(path: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if path.ends_with(".rs") || path.ends_with(".sh") {
        for (a, b) in BANNED {
            if let Some(line) = text.lines().position(|line| line.contains(&format!("{a}{b}"))) {
                problems.push(format!("{path}:{}: `{a}{b}`", line + 1));
            }
        }
        if let Some(line) = text.lines().position(|line| line.ends_with([' ', '\t'])) {
            problems.push(format!("{path}:{}: the line ends in white space", line + 1));
        }
    }
    if path.ends_with("/Cargo.toml") && !text.contains("[lints]\nworkspace = true") {
        problems.push(format!("{path}: the workspace's lints are not inherited"));
    }
    problems
}

#[cfg(test)]
mod tests {
    #[test]
    fn banned_words_white_space_and_lints_of_ones_own_are_found() {
        let (a, b) = super::BANNED[1];
        assert_eq!(super::of_file("a.rs", &format!("\n{a}{b})")), [format!("a.rs:2: `{a}{b}`")]);
        assert_eq!(super::of_file("a.sh", "a\nb \n"), ["a.sh:2: the line ends in white space"]);
        assert_eq!(super::of_file("a.md", "b \n"), [""; 0]);
        assert_eq!(
            super::of_file("a/Cargo.toml", "[lints]\n"),
            ["a/Cargo.toml: the workspace's lints are not inherited"]
        );
        assert_eq!(super::of_file("a/Cargo.toml", "[lints]\nworkspace = true\n"), [""; 0]);
    }
}
