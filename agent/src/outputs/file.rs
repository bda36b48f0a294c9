//! `[[outputs.file]]`: line protocol into files or the standard output.

use std::borrow::Cow;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::compress::{gzip, zlib};
use super::{Answer, Output, OutputPlugin};
use crate::line_protocol::Format;
use crate::options::OptionError;
use crate::outputs::batch::Encoding;
use crate::service::off_thread;
use crate::service::privilege::Files;
use crate::service::rotation::{RotatingFile, Rotation, write_parts};

/// The section `[[outputs.file]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Where to write: paths, or `stdout`.
    pub files: Vec<String>,
    /// A file older than this is rotated; zero means never.
    #[serde(deserialize_with = "crate::options::duration::deserialize")]
    pub rotation_interval: Duration,
    /// A file that has reached this many bytes is rotated; zero means never.
    #[serde(deserialize_with = "crate::options::duration::deserialize_size")]
    pub rotation_max_size: u64,
    /// How many archives are kept; a negative number keeps all. (Telegraf's sample says 5, and its code 0, which keeps none.)
    pub rotation_max_archives: i64,
    /// `gzip`, `zlib`, or empty for none. Each batch is a complete stream.
    pub compression_algorithm: String,
    /// 0 to 9; -1 is the algorithm's default.
    pub compression_level: i32,
    /// The format; `influx` is the only one.
    pub data_format: String,
    /// The maximum length of a line, with its newline; 0 means no limit.
    pub influx_max_line_bytes: usize,
    /// Fields are sorted by key.
    pub influx_sort_fields: bool,
    /// Unsigned integers are written as such.
    pub influx_uint_support: bool,
    /// Points are written without a timestamp.
    pub influx_omit_timestamp: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            files: vec!["stdout".into()],
            rotation_interval: Duration::ZERO,
            rotation_max_size: 0,
            rotation_max_archives: 5,
            compression_algorithm: String::new(),
            compression_level: -1,
            data_format: "influx".into(),
            influx_max_line_bytes: 0,
            influx_sort_fields: false,
            influx_uint_support: false,
            influx_omit_timestamp: false,
        }
    }
}

/// How lines are compressed.
#[derive(Clone, Copy, Debug)]
enum Packing {
    Plain,
    Gzip(Compression),
    Zlib(Compression),
}

impl Packing {
    fn new(algorithm: &str, level: i32) -> Result<Self, OptionError> {
        let level = match u32::try_from(level) {
            _ if level == -1 => Compression::default(),
            Ok(level @ 0..=9) => Compression::new(level),
            _ => return Err(OptionError::new("compression_level", format!("{level}: it is 0 to 9, or -1"))),
        };
        match algorithm {
            "" | "none" | "identity" => Ok(Self::Plain),
            "gzip" => Ok(Self::Gzip(level)),
            "zlib" => Ok(Self::Zlib(level)),
            other => {
                let what = format!("`{other}` is not supported; `gzip` and `zlib` are");
                Err(OptionError::new("compression_algorithm", what))
            }
        }
    }

    /// What is written for a batch: what is plain is where it is.
    fn pack(self, lines: &[Bytes]) -> Cow<'_, [Bytes]> {
        match self {
            Self::Plain => lines.into(),
            Self::Gzip(level) => vec![gzip(lines, level).into()].into(),
            Self::Zlib(level) => vec![zlib(lines, level).into()].into(),
        }
    }
}

/// A write that takes longer than this is said to hang.
const HANG_LIMIT: Duration = Duration::from_secs(10);

/// Appends every line to one file.
///
/// A section with several files becomes as many outputs: when one cannot be written to, the others do not get lines twice.
pub(crate) struct File {
    appender: Appender,
    format: Format,
    /// Opened at the first write, and again after a failed one and after a reload.
    file: Mutex<Option<RotatingFile>>,
}

/// Where lines go, and in which form.
#[derive(Clone)]
struct Appender {
    /// `None` is the standard output.
    path: Option<PathBuf>,
    rotation: Rotation,
    packing: Packing,
}

impl Appender {
    /// Appends lines; `file` is open if it was before. The reader of a pipe, or a disk, can have this wait for ever.
    fn append(&self, file: &mut Option<RotatingFile>, lines: &[Bytes]) -> io::Result<()> {
        let parts = self.packing.pack(lines);
        let Some(path) = &self.path else {
            let mut stdout = io::stdout().lock();
            write_parts(&mut stdout, &parts, &mut 0)?;
            return stdout.flush();
        };
        let file = match file {
            Some(file) => file,
            none => none.insert(RotatingFile::open(path, self.rotation)?),
        };
        file.append(&parts)?;
        if let Some(error) = file.take_problem() {
            tracing::warn!(path = %path.display(), %error, "cannot rotate the file; still appending to it");
        }
        Ok(())
    }
}

impl File {
    /// Checks the options, and makes an output for each of the files, which are opened at the first write.
    ///
    /// # Errors
    /// A format or an algorithm that is not supported.
    pub(crate) fn each(options: Options) -> Result<Vec<Self>, OptionError> {
        if options.data_format != "influx" {
            let what = format!("`{}` is not supported; `influx` is", options.data_format);
            return Err(OptionError::new("data_format", what));
        }
        let packing = Packing::new(&options.compression_algorithm, options.compression_level)?;
        let Options { rotation_interval, rotation_max_size, rotation_max_archives, .. } = options;
        let rotation = Rotation::new(rotation_interval, rotation_max_size, rotation_max_archives);
        let format = Format {
            uint_support: options.influx_uint_support,
            omit_timestamp: options.influx_omit_timestamp,
            sort_fields: options.influx_sort_fields,
            max_line_bytes: options.influx_max_line_bytes,
        };
        let files = if options.files.is_empty() { Options::default().files } else { options.files };
        let path = |name: String| (name != "stdout").then(|| PathBuf::from(name));
        let appender = |name| Appender { path: path(name), rotation, packing };
        Ok(files
            .into_iter()
            .map(|name| Self { appender: appender(name), format, file: Mutex::default() })
            .collect())
    }
}

impl OutputPlugin for Options {
    fn files(&self) -> Files {
        let files = self.files.iter().filter(|file| *file != "stdout");
        files.fold(Files::default(), |mut all, file| {
            all.write(file);
            all
        })
    }

    fn build(self: Box<Self>) -> Result<Vec<Box<dyn Output>>, OptionError> {
        let boxed = |file| Box::new(file) as Box<dyn Output>;
        Ok(File::each(*self)?.into_iter().map(boxed).collect())
    }
}

#[async_trait::async_trait]
impl Output for File {
    fn place(&self) -> String {
        self.appender.path.as_ref().map_or("stdout".into(), |path| path.display().to_string())
    }

    fn encoding(&self) -> Encoding {
        Encoding { format: self.format, ..Encoding::default() }
    }

    async fn write(&self, _route: &[Option<String>], lines: &[Bytes]) -> Answer {
        let mut open = self.file.lock().await;
        let (appender, mut file, lines) = (self.appender.clone(), open.take(), lines.to_vec());
        let mut write = off_thread::spawn(move || {
            let result = appender.append(&mut file, &lines);
            (file, result)
        });
        let done = tokio::time::timeout(HANG_LIMIT, off_thread::finished(&mut write)).await;
        let (file, result) = match done {
            Ok(done) => done,
            Err(_) => {
                tracing::error!(
                    to = self.place(),
                    since = ?HANG_LIMIT,
                    "a write hangs: its reader or its disk has stopped; points are kept up to `metric_buffer_limit`"
                );
                off_thread::finished(write).await
            }
        };
        match result {
            Ok(()) => {
                *open = file;
                Answer::STORED
            }
            Err(error) => Answer::retry(format!("cannot write to {}: {error}", self.place())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read as _;

    use rstest::rstest;

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
            assert_eq!(output.write(&[], &lines(&["x", "y"])).await, Answer::STORED);
            assert_eq!(output.write(&[], &lines(&["z"])).await, Answer::STORED);
        }
        assert_eq!(fs::read_to_string(&paths[0]).unwrap(), "before\nx\ny\nz\n");
        assert_eq!(fs::read_to_string(&paths[1]).unwrap(), "x\ny\nz\n");
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_written_is_named_and_retried() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("not/there");
        let output = outputs(std::slice::from_ref(&path)).remove(0);
        let Answer::Retry { reason, .. } = output.write(&[], &lines(&["x"])).await else { panic!() };
        assert!(reason.contains("not/there"), "{reason}");
        fs::create_dir(directory.path().join("not")).unwrap();
        assert_eq!(output.write(&[], &lines(&["x"])).await, Answer::STORED);
        assert_eq!(fs::read_to_string(&path).unwrap(), "x\n");
    }

    #[tokio::test]
    async fn a_full_disk_is_a_reason_to_retry() {
        let answer = outputs(&["/dev/full".into()]).remove(0).write(&[], &lines(&["x"])).await;
        let Answer::Retry { reason, .. } = answer else { panic!("{answer:?}") };
        assert!(reason.starts_with("cannot write to /dev/full: No space left"), "{reason}");
    }

    #[rstest]
    #[case::gzip("gzip", 9)]
    #[case::zlib("zlib", -1)]
    #[tokio::test]
    async fn packs_each_batch_as_a_stream(#[case] algorithm: &str, #[case] compression_level: i32) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let options = Options {
            files: vec![path.display().to_string()],
            compression_algorithm: algorithm.into(),
            compression_level,
            ..Options::default()
        };
        let output = File::each(options).unwrap().remove(0);
        for line in ["x", "y"] {
            assert_eq!(output.write(&[], &lines(&[line])).await, Answer::STORED);
        }
        let packed = fs::read(&path).unwrap();
        let mut text = String::new();
        if algorithm == "gzip" {
            flate2::read::MultiGzDecoder::new(packed.as_slice()).read_to_string(&mut text).unwrap();
        } else {
            let mut first = flate2::bufread::ZlibDecoder::new(packed.as_slice());
            first.read_to_string(&mut text).unwrap();
            flate2::bufread::ZlibDecoder::new(first.into_inner()).read_to_string(&mut text).unwrap();
        }
        assert_eq!(text, "x\ny\n");
    }

    #[tokio::test]
    async fn a_file_that_is_large_enough_is_rotated_and_no_line_is_lost() {
        let directory = tempfile::tempdir().unwrap();
        let options = Options {
            files: vec![directory.path().join("a.lp").display().to_string()],
            rotation_max_size: 4,
            rotation_max_archives: -1,
            ..Options::default()
        };
        let output = File::each(options).unwrap().remove(0);
        for i in 0..9 {
            assert_eq!(output.write(&[], &lines(&[&i.to_string()])).await, Answer::STORED);
        }
        let mut files: Vec<PathBuf> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort_unstable();
        assert_eq!(files.len(), 5);
        let text: Vec<String> = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        assert_eq!(text.concat(), "0\n1\n2\n3\n4\n5\n6\n7\n8\n");
    }

    #[rstest]
    #[case(Options { data_format: "json".into(), ..Options::default() }, "`data_format`: `json` is not supported")]
    #[case(Options { compression_algorithm: "zstd".into(), ..Options::default() }, "`compression_algorithm`: `zstd` is not")]
    #[case(Options { compression_level: 10, ..Options::default() }, "`compression_level`: 10: it is 0 to 9")]
    #[case(Options { compression_level: -2, ..Options::default() }, "`compression_level`: -2: it is 0 to 9")]
    fn rejects_what_it_cannot_do(#[case] options: Options, #[case] expected: &str) {
        let error = File::each(options).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.starts_with(expected), "{error}");
    }

    /// A pipe that nobody reads: it cannot even be opened.
    #[tokio::test(start_paused = true)]
    async fn a_write_that_hangs_holds_up_nothing_and_is_said_once() {
        let directory = tempfile::tempdir().unwrap();
        let [fifo, log] = ["fifo", "log"].map(|name| directory.path().join(name));
        let _log = crate::service::logging::to_file(&log);
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let output = outputs(std::slice::from_ref(&fifo)).remove(0);
        let batch = lines(&["x"]);
        let mut write = output.write(&[], &batch);
        assert!(tokio::time::timeout(Duration::ZERO, &mut write).await.is_err(), "this thread goes on");
        tokio::time::advance(HANG_LIMIT * 3).await;
        assert!(tokio::time::timeout(Duration::ZERO, &mut write).await.is_err());
        let read = off_thread::spawn(move || fs::read_to_string(fifo));
        // The reader ends when the writer does.
        assert_eq!((&mut write).await, Answer::STORED);
        drop(write);
        drop(output);
        assert_eq!(read.await.unwrap().unwrap(), "x\n");
        let log = fs::read_to_string(log).unwrap();
        assert_eq!(log.matches("a write hangs").count(), 1, "{log}");
    }

    #[test]
    fn without_files_it_is_the_standard_output() {
        let outputs = File::each(Options { files: Vec::new(), ..Options::default() }).unwrap();
        assert_eq!(outputs.iter().map(File::place).collect::<Vec<_>>(), ["stdout"]);
    }
}
