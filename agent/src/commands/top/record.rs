//! `--record`: every gather as lines of InfluxDB's protocol, compressed with gzip.
//!
//! Each gather is a gzip member of its own, which `zcat` and InfluxDB's import read as one text: what was written before a
//! crash can be read, and a replay goes to any moment without reading what is before it. A comment heads each gather.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::line_protocol;
use crate::point::{Point, Timestamp};

/// What heads each gather; the time of it in nanoseconds follows.
pub(super) const MARK: &str = "# gather ";

/// The file that a look is written to.
#[derive(Debug)]
pub(super) struct Recording {
    path: PathBuf,
    file: File,
}

impl Recording {
    /// A new file; one that is there stays as it is.
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create_new(path).with_context(|| match path.exists() {
            true => format!(
                "cannot record to {}: it is there already; name another file, or remove it",
                path.display()
            ),
            false => format!("cannot record to {}", path.display()),
        })?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Adds a gather.
    pub(super) fn add(&mut self, points: &[Point]) -> anyhow::Result<()> {
        let Some(time) = points.iter().map(|point| point.time).max() else { return Ok(()) };
        let member = member(points, time);
        let written = member.and_then(|member| self.file.write_all(&member));
        written.with_context(|| format!("cannot write to {}", self.path.display()))
    }
}

/// A gather as a gzip member.
pub(super) fn member(points: &[Point], time: Timestamp) -> io::Result<Vec<u8>> {
    let mut lines = format!("{MARK}{}\n", time.0).into_bytes();
    for point in points {
        // What has no field that can be written makes no line.
        line_protocol::encode(point, &mut lines);
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&lines)?;
    gzip.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_there_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("moment.gz");
        let mut recording = Recording::create(&path).unwrap();
        recording.add(&[Point::new("m", Timestamp(7)).field("f", 1_i64)]).unwrap();
        let error = format!("{:#}", Recording::create(&path).unwrap_err());
        assert!(error.contains("moment.gz") && error.contains("already"), "{error}");
        assert!(std::fs::metadata(&path).unwrap().len() > 0);
        let error = format!("{:#}", Recording::create(&folder.path().join("no/such")).unwrap_err());
        assert!(error.contains("no/such: No such file"), "{error}");
    }
}
