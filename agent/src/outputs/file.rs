//! `[[outputs.file]]`: line protocol into files or the standard output.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use bytes::Bytes;
use serde::Deserialize;

use super::{Answer, Output};
use crate::config::OptionError;

/// The section `[[outputs.file]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Where to write: paths, or `stdout`.
    pub files: Vec<String>,
    /// The format; `influx` is the one there is.
    pub data_format: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { files: vec!["stdout".into()], data_format: "influx".into() }
    }
}

/// Appends every line to one place.
///
/// A section with several files becomes as many outputs: one that cannot be written to does not make the others take
/// lines twice.
pub struct File {
    /// `None` is the standard output.
    path: Option<PathBuf>,
    /// Opened at the first write, and anew after one that failed.
    file: Option<fs::File>,
}

impl File {
    /// Checks the options, and makes an output for each of the files; they are opened at the first write.
    ///
    /// # Errors
    /// A format other than `influx`.
    pub fn each(options: Options) -> Result<Vec<Self>, OptionError> {
        if options.data_format != "influx" {
            let what = format!("`{}` is not there; `influx` is", options.data_format);
            return Err(OptionError::new("data_format", what));
        }
        let path = |name: String| (name != "stdout").then(|| PathBuf::from(name));
        Ok(options.files.into_iter().map(|name| Self { path: path(name), file: None }).collect())
    }

    fn append(&mut self, lines: &[Bytes]) -> io::Result<()> {
        let text = lines.concat();
        let Some(path) = &self.path else {
            let mut stdout = io::stdout().lock();
            stdout.write_all(&text)?;
            return stdout.flush();
        };
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(fs::OpenOptions::new().append(true).create(true).open(path)?),
        };
        let length = file.metadata()?.len();
        file.write_all(&text).inspect_err(|_| {
            // Half a line would spoil the next one. A file that cannot be cut, such as a pipe, has to live with it.
            let _ = file.set_len(length);
        })
    }
}

#[async_trait::async_trait]
impl Output for File {
    fn place(&self) -> String {
        self.path.as_ref().map_or("stdout".into(), |path| path.display().to_string())
    }

    async fn write(&mut self, lines: &[Bytes]) -> Answer {
        match self.append(lines) {
            Ok(()) => Answer::STORED,
            Err(error) => {
                self.file = None;
                Answer::later(format!("cannot write to {}: {error}", self.place()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[&str]) -> Vec<Bytes> {
        text.iter().map(|line| Bytes::copy_from_slice(format!("{line}\n").as_bytes())).collect()
    }

    fn outputs(paths: &[PathBuf]) -> Vec<File> {
        let files = paths.iter().map(|path| path.display().to_string()).collect();
        File::each(Options { files, ..Options::default() }).unwrap()
    }

    #[tokio::test]
    async fn appends() {
        let directory = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| directory.path().join(name));
        fs::write(&paths[0], "before\n").unwrap();
        for output in &mut outputs(&paths) {
            assert_eq!(output.write(&lines(&["x", "y"])).await, Answer::STORED);
            assert_eq!(output.write(&lines(&["z"])).await, Answer::STORED);
        }
        assert_eq!(fs::read_to_string(&paths[0]).unwrap(), "before\nx\ny\nz\n");
        assert_eq!(fs::read_to_string(&paths[1]).unwrap(), "x\ny\nz\n");
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_written_is_named_and_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("not/there");
        let mut output = outputs(std::slice::from_ref(&path)).remove(0);
        let Answer::Later { reason, .. } = output.write(&lines(&["x"])).await else { panic!() };
        assert!(reason.contains("not/there"), "{reason}");
        fs::create_dir(directory.path().join("not")).unwrap();
        assert_eq!(output.write(&lines(&["x"])).await, Answer::STORED);
        assert_eq!(fs::read_to_string(&path).unwrap(), "x\n");
    }

    #[tokio::test]
    async fn a_full_disk_leaves_no_half_line() {
        let path = PathBuf::from("/dev/full");
        if path.exists() {
            let answer = outputs(&[path]).remove(0).write(&lines(&["x"])).await;
            let Answer::Later { reason, .. } = answer else { panic!("{answer:?}") };
            assert!(reason.contains("No space left"), "{reason}");
        }
    }

    #[test]
    fn refuses_other_formats() {
        let options = Options { data_format: "json".into(), ..Options::default() };
        assert!(File::each(options).err().is_some_and(|error| error.to_string().contains("json")));
    }
}
