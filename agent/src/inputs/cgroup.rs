//! `[[inputs.cgroup]]`: every value in the files of cgroup directories, v1 and v2 alike.
//!
//! Globs select the directories and files (`paths`); a file is parsed by its shape alone (`shape`). No file is known by its name here, so a new kernel's are gathered too.

mod paths;
mod shape;

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use self::paths::PathGlob;
use super::{GatherError, Gathered, Input, InputPlugin, Shared, StartError, read_text};
use crate::host::Host;
use crate::options::OptionError;
use crate::point::Point;
use crate::service::privilege::Files;

/// The section `[[inputs.cgroup]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Globs on directories, such as `/sys/fs/cgroup/system.slice/*`; a star does not cross a slash.
    paths: Vec<PathGlob>,
    /// Globs on the names of files in them, such as `memory.*`; a folder before the name is ignored.
    files: Vec<PathGlob>,
}

/// The input.
#[derive(Debug)]
pub(super) struct Cgroup {
    options: Options,
    /// Files that failed at the previous gather, and were logged then.
    failing: HashSet<PathBuf>,
}

impl Cgroup {
    /// An input for these files. The paths are used as they are written: `HOST_*` variables do not apply.
    #[must_use]
    pub(super) fn new(options: Options, _: &Host) -> Self {
        Self { options, failing: HashSet::new() }
    }

    /// A directory's files as fields; those that fail are added to `failing`.
    fn add_files(&self, directory: &Path, point: &mut Point, failing: &mut HashSet<PathBuf>) {
        for path in self.options.files.iter().flat_map(|glob| glob.names_in(directory)) {
            if path.is_dir() {
                continue;
            }
            if let Err(error) = add_file(&path, point) {
                if !self.failing.contains(&path) {
                    tracing::warn!(%error, "skipping this file");
                }
                failing.insert(path);
            }
        }
    }
}

/// One file's fields. No error when the cgroup was removed meanwhile.
fn add_file(path: &Path, point: &mut Point) -> Result<(), GatherError> {
    let text = match read_text(path) {
        Ok(text) => text,
        Err(GatherError::Read { error, .. })
            if error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV) =>
        {
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    for (key, value) in shape::parse(&text).ok_or_else(|| GatherError::Malformed {
        path: path.to_owned(),
        what: "unknown file format".to_owned(),
    })? {
        let field = if key.is_empty() { name.to_string() } else { format!("{name}.{key}") };
        point.set_field(field, value);
    }
    Ok(())
}

impl InputPlugin for Options {
    fn files(&self) -> Files {
        let mut files = Files::default();
        self.paths.iter().for_each(|glob| files.read_below(glob.root()));
        files
    }

    fn remarks(&self, host: Option<&Host>) -> Vec<OptionError> {
        let mut remarks = Vec::new();
        for (option, is_empty) in [("paths", self.paths.is_empty()), ("files", self.files.is_empty())] {
            if is_empty {
                remarks.push(OptionError::new(option, "is empty: nothing is gathered"));
            }
        }
        for glob in self.paths.iter().filter(|glob| host.is_some() && glob.expand().is_empty()) {
            remarks.push(OptionError::local("paths", format!("`{}` matches no folder", glob.written())));
        }
        remarks
    }

    fn build(self: Box<Self>, shared: &Arc<Shared>) -> Result<Box<dyn Input>, StartError> {
        Ok(Box::new(Cgroup::new(*self, &shared.host)))
    }
}

#[async_trait::async_trait]
impl Input for Cgroup {
    fn name(&self) -> &'static str {
        "cgroup"
    }

    /// Adds a point for each directory. A file that cannot be read or parsed is skipped, with a warning when that
    /// begins; Telegraf skips the whole directory.
    async fn gather(&mut self, gathered: &mut Gathered) -> Result<(), GatherError> {
        let mut failing = HashSet::new();
        for directory in self.options.paths.iter().flat_map(PathGlob::expand).filter(|path| path.is_dir()) {
            let mut point = gathered.point("cgroup").tag("path", directory.to_string_lossy());
            self.add_files(&directory, &mut point, &mut failing);
            gathered.push(point);
        }
        self.failing = failing;
        Ok(())
    }
}

/// Parses any text as a file of a cgroup, as a fuzzer does.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn parse_any(text: &str) {
    let _ = shape::parse(text);
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::testing::{fields, gather, tags, write};
    use super::*;
    use crate::point::FieldValue;

    fn cgroup(root: &Path, paths: &[&str], files: &[&str]) -> Cgroup {
        let below_root = |path: &&str| format!("{}/{path}", root.display()).try_into().unwrap();
        let glob = |file: &&str| (*file).to_owned().try_into().unwrap();
        let options = Options {
            paths: paths.iter().map(below_root).collect(),
            files: files.iter().map(glob).collect(),
        };
        Cgroup::new(options, &Host::default())
    }

    #[tokio::test]
    async fn each_directory_is_a_point() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "a.slice/memory.current", "4096\n");
        write(root.path(), "a.slice/memory.max", "max\n");
        write(root.path(), "a.slice/memory.stat", "anon 1\nfile 2\n");
        write(root.path(), "a.slice/cpu.pressure", "some avg10=0.50 total=3\n");
        write(root.path(), "a.slice/cpu.empty", "");
        write(root.path(), "a.slice/memory.folder/memory.current", "1\n");
        write(root.path(), "b.slice/memory.current", "8192\n");
        write(root.path(), "b.slice/io.stat", "8:0 rbytes=1\n");
        write(root.path(), "c.slice/other", "1\n");
        write(root.path(), "d.slice", "no folder\n");
        let mut input = cgroup(root.path(), &["*.slice"], &["memory.*", "ignored/cpu.*"]);
        let points = gather(&mut input).await.unwrap();
        let path = |name| format!("path={}/{name}", root.path().display());
        assert_eq!(points.iter().map(tags).collect::<Vec<_>>(), [path("a.slice"), path("b.slice")]);
        let expected = [
            ("memory.current", FieldValue::Int(4096)),
            ("memory.max", FieldValue::Int(i64::MAX)),
            ("memory.stat.anon", FieldValue::Int(1)),
            ("memory.stat.file", FieldValue::Int(2)),
            ("cpu.pressure.some.avg10", FieldValue::Float(0.5)),
            ("cpu.pressure.some.total", FieldValue::Int(3)),
        ];
        assert_eq!(fields(&points[0]), expected);
        assert_eq!(fields(&points[1]), [("memory.current", FieldValue::Int(8192))]);
    }

    #[tokio::test]
    async fn a_file_that_fails_costs_only_itself_and_is_remembered_while_it_does() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "a/cgroup.controllers", "cpu io\n");
        write(root.path(), "a/memory.current", "1\n");
        // No user can read it.
        symlink("loop", root.path().join("a/loop")).unwrap();
        symlink("gone", root.path().join("a/dangling")).unwrap();
        let mut input = cgroup(root.path(), &["a"], &["*"]);
        for _ in 0..2 {
            let points = gather(&mut input).await.unwrap();
            assert_eq!(fields(&points[0]), [("memory.current", FieldValue::Int(1))]);
            let failing = ["a/cgroup.controllers", "a/loop"].map(|path| root.path().join(path));
            assert_eq!(input.failing, HashSet::from(failing));
        }
        // Files that are gone are forgotten, however many cgroups come and go.
        std::fs::remove_dir_all(root.path().join("a")).unwrap();
        assert_eq!(gather(&mut input).await.unwrap(), []);
        assert_eq!(input.failing, HashSet::new());
    }

    #[tokio::test]
    async fn names_that_systemd_escapes_are_no_patterns() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), r"machine-a\x2d[1].scope/pids.current", "3\n");
        let points = gather(&mut cgroup(root.path(), &["*.scope"], &["pids.*"])).await.unwrap();
        assert_eq!(fields(&points[0]), [("pids.current", FieldValue::Int(3))]);
        assert!(tags(&points[0]).ends_with(r"/machine-a\x2d[1].scope"));
    }

    #[tokio::test]
    async fn errors_name_the_file() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "words", "a b\n");
        symlink("loop", root.path().join("loop")).unwrap();
        let add = |name| {
            let mut point = Point::new("cgroup", crate::point::Timestamp(0));
            add_file(&root.path().join(name), &mut point).map_err(|error| error.to_string())
        };
        let error = add("words").unwrap_err();
        assert!(error.ends_with("/words: unknown file format"), "{error}");
        let error = add("loop").unwrap_err();
        assert!(error.contains("/loop: Too many levels"), "{error}");
        assert_eq!(add("gone"), Ok(()));
    }

    #[tokio::test]
    async fn without_paths_or_files_there_is_nothing() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "a/x", "1\n");
        assert_eq!(gather(&mut cgroup(root.path(), &["a"], &[])).await.unwrap(), []);
        assert_eq!(gather(&mut cgroup(root.path(), &[], &["x"])).await.unwrap(), []);
    }
}
