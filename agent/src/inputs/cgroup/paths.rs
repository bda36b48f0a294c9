//! Globs on paths, and the paths that they match.
//!
//! A `*` or `?` stops at a slash and `[a-c]` is one character, as in a shell; there is no `**` and no `{a,b}`. Telegraf
//! has this syntax here, unlike in its filters.

use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use serde::Deserialize;

/// A glob on a path, compiled when the configuration is read, so that a bad one is named with its line.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct PathGlob {
    written: String,
    is_absolute: bool,
    parts: Vec<Part>,
}

/// What is between two slashes.
#[derive(Clone, Debug)]
enum Part {
    Plain(String),
    Glob(GlobMatcher),
}

impl TryFrom<String> for PathGlob {
    type Error = globset::Error;

    fn try_from(written: String) -> Result<Self, globset::Error> {
        let parts = written.split('/').filter(|part| !part.is_empty()).map(Part::new);
        let parts = parts.collect::<Result<_, _>>()?;
        Ok(Self { is_absolute: written.starts_with('/'), parts, written })
    }
}

impl PathGlob {
    /// The folder that everything which matches is in.
    pub(super) fn root(&self) -> PathBuf {
        let plain = self.parts.iter().map_while(|part| match part {
            Part::Plain(name) => Some(name),
            Part::Glob(_) => None,
        });
        let start = if self.is_absolute { "/" } else { "." };
        plain.fold(PathBuf::from(start), |root, name| root.join(name))
    }

    /// As it is in the file.
    pub(super) fn written(&self) -> &str {
        &self.written
    }
}

impl PartialEq for PathGlob {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for PathGlob {}

impl Part {
    fn new(text: &str) -> Result<Self, globset::Error> {
        if !text.contains(['*', '?', '[', '\\']) {
            return Ok(Self::Plain(text.to_owned()));
        }
        // Braces are literal here.
        let text: String =
            text.chars().map(|c| if "{}".contains(c) { format!("[{c}]") } else { c.into() }).collect();
        let glob = GlobBuilder::new(&text).literal_separator(true).backslash_escape(true).build()?;
        Ok(Self::Glob(glob.compile_matcher()))
    }

    /// The paths in a folder that match, sorted by name.
    fn expand(&self, folder: &Path) -> Vec<PathBuf> {
        match self {
            Self::Plain(name) => {
                let path = folder.join(name);
                // A dangling link counts too.
                if path.symlink_metadata().is_ok() { vec![path] } else { Vec::new() }
            }
            Self::Glob(glob) => {
                let entries =
                    std::fs::read_dir(if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
                let names = entries.into_iter().flatten().flatten().map(|entry| entry.file_name());
                let mut paths: Vec<_> =
                    names.filter(|name| glob.is_match(name)).map(|name| folder.join(name)).collect();
                paths.sort();
                paths
            }
        }
    }
}

impl PathGlob {
    /// The existing paths that match.
    pub(super) fn expand(&self) -> Vec<PathBuf> {
        let start = if self.is_absolute { PathBuf::from("/") } else { PathBuf::new() };
        self.parts.iter().fold(vec![start], |folders, part| {
            folders.iter().flat_map(|folder| part.expand(folder)).collect()
        })
    }

    /// The paths in a folder whose names match the last part.
    pub(super) fn names_in(&self, folder: &Path) -> Vec<PathBuf> {
        self.parts.last().map_or_else(Vec::new, |part| part.expand(folder))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::super::testing::write;
    use super::*;

    fn glob(text: &str) -> PathGlob {
        text.to_owned().try_into().unwrap()
    }

    #[test]
    fn a_star_stops_at_a_slash() {
        let root = tempfile::tempdir().unwrap();
        for path in ["a/x", "a/y", "b/x", "b/c/x", "b/{1}", "b/.hidden", "d[1]/x"] {
            write(root.path(), path, "");
        }
        symlink("nowhere", root.path().join("a/dangling")).unwrap();
        for (pattern, expected) in [
            ("a/x", vec!["a/x"]),
            ("*/x", vec!["a/x", "b/x", "d[1]/x"]),
            ("b/*", vec!["b/.hidden", "b/c", "b/x", "b/{1}"]),
            ("*", vec!["a", "b", "d[1]"]),
            ("**/x", vec!["a/x", "b/x", "d[1]/x"]),
            ("?/[xy]", vec!["a/x", "a/y", "b/x"]),
            ("?/[^x]", vec!["a/y", "b/c"]),
            ("b/{1}", vec!["b/{1}"]),
            ("b/{?}", vec!["b/{1}"]),
            ("b/{x,c}", vec![]),
            (r"d\[1\]/*", vec!["d[1]/x"]),
            ("a/dang*", vec!["a/dangling"]),
            ("a/dangling", vec!["a/dangling"]),
            ("a/x/*", vec![]),
            ("none/*", vec![]),
            ("none", vec![]),
        ] {
            let found = glob(&format!("{}/{pattern}", root.path().display())).expand();
            let found: Vec<_> = found.iter().map(|path| path.strip_prefix(root.path()).unwrap()).collect();
            assert_eq!(found, expected.iter().map(Path::new).collect::<Vec<_>>(), "{pattern}");
        }
        assert_eq!(glob("/").expand(), [Path::new("/")]);
        assert!(glob("Cargo.*").expand().contains(&PathBuf::from("Cargo.toml")), "from the current folder");
    }

    #[test]
    fn only_the_name_of_a_file_counts() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "memory.max", "");
        for pattern in ["memory.*", "some/where/memory.max", "/memory.ma?"] {
            assert_eq!(glob(pattern).names_in(root.path()), [root.path().join("memory.max")], "{pattern}");
        }
        assert_eq!(glob("").names_in(root.path()), [] as [PathBuf; 0]);
    }

    #[test]
    fn a_bad_glob_is_refused() {
        assert!(PathGlob::try_from("/a/[b-a]/c".to_owned()).is_err());
    }
}
