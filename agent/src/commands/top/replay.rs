//! `--replay`: the gathers of a recording.
//!
//! Pure but for reading the file whole, compressed as it is. Gathers are found once, and unpacked when they are shown. Takes
//! what `--record` writes, whatever `zcat` and `gzip` made of it, and other files of lines: there a new time is a new gather.

use std::io::Read as _;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, bail};
use flate2::bufread::GzDecoder;

use super::record::MARK;
use crate::host::file::lossy;
use crate::parsers::line_protocol::{Precision, parse};
use crate::point::{Point, Timestamp};

/// The first bytes of gzip.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// More text than this in one member is no recording: it would take as much memory.
const MAX_MEMBER: u64 = 1 << 30;

/// A gather in the file.
#[derive(Clone, Debug, PartialEq)]
struct Gather {
    time: Timestamp,
    /// Where its gzip member is; all of a file that is not compressed.
    member: Range<usize>,
    /// Where its lines are in the text of the member.
    text: Range<usize>,
}

/// A recording.
#[derive(Debug)]
pub(super) struct Replay {
    bytes: Vec<u8>,
    gathers: Vec<Gather>,
    /// Where the file cannot be read any further, and why.
    damage: Option<String>,
    /// The member that was unpacked last.
    unpacked: Option<(Range<usize>, String)>,
}

impl Replay {
    /// Reads a file.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let replay = Self::of(bytes);
        if replay.gathers.is_empty() {
            let why = replay.damage.unwrap_or_else(|| "it is empty".into());
            bail!(
                "{} has no gather to show: {why}; `seismograf top --record FILE` writes such a file",
                path.display()
            );
        }
        Ok(replay)
    }

    /// Finds the gathers.
    fn of(bytes: Vec<u8>) -> Self {
        let mut replay = Self { bytes, gathers: Vec::new(), damage: None, unpacked: None };
        let mut at = 0;
        while at < replay.bytes.len() && replay.damage.is_none() {
            at = match unpack(&replay.bytes[at..]) {
                Ok((n_bytes, text)) => {
                    let member = at..at + n_bytes;
                    replay.damage = find(&text, &member, &mut replay.gathers);
                    member.end
                }
                Err(error) => {
                    replay.damage = Some(format!("it ends in the middle, at byte {at}: {error}"));
                    break;
                }
            };
        }
        replay
    }

    pub(super) fn len(&self) -> usize {
        self.gathers.len()
    }

    /// Where the file cannot be read any further, and why.
    pub(super) fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    /// When a gather was; the last one where there are not so many.
    pub(super) fn time(&self, at: usize) -> Timestamp {
        self.gathers[at.min(self.gathers.len() - 1)].time
    }

    /// The points of a gather.
    pub(super) fn points(&mut self, at: usize) -> Vec<Point> {
        let Gather { time, member, text } = self.gathers[at.min(self.gathers.len() - 1)].clone();
        if self.unpacked.as_ref().is_none_or(|(unpacked, _)| *unpacked != member) {
            // It was when the gathers were found.
            let all = unpack(&self.bytes[member.clone()]).map(|(_, text)| text).unwrap_or_default();
            self.unpacked = Some((member, all));
        }
        let all = self.unpacked.as_ref().and_then(|(_, all)| all.get(text)).unwrap_or_default();
        parse(all, Precision::Nanoseconds).flatten().map(|line| line.point(time)).collect()
    }

    /// The last gather that was not after `second` of the day, of those on the day of the gather `at`; else the first after.
    pub(super) fn seek(&self, at: usize, second: u32) -> usize {
        const DAY: i64 = 86_400 * 1_000_000_000;
        let begin = self.time(at).0.div_euclid(DAY) * DAY;
        let wanted = Timestamp(begin + i64::from(second) * 1_000_000_000);
        self.gathers.partition_point(|gather| gather.time <= wanted).saturating_sub(1)
    }
}

/// The text that bytes begin with, and how many of them it takes.
fn unpack(bytes: &[u8]) -> std::io::Result<(usize, String)> {
    if !bytes.starts_with(&GZIP) {
        return Ok((bytes.len(), String::from_utf8_lossy(bytes).into_owned()));
    }
    let mut rest = bytes;
    let mut text = Vec::new();
    GzDecoder::new(&mut rest).take(MAX_MEMBER).read_to_end(&mut text)?;
    if text.len() as u64 == MAX_MEMBER {
        return Err(std::io::Error::other("it unpacks to more than 1 GiB"));
    }
    Ok((bytes.len() - rest.len(), lossy(text)))
}

/// Adds the gathers of a text. What is no line of the protocol ends them, and is told.
fn find(text: &str, member: &Range<usize>, gathers: &mut Vec<Gather>) -> Option<String> {
    let mut begin = 0;
    let mut time: Option<Timestamp> = None;
    let mut add = |time: Option<Timestamp>, text: Range<usize>| {
        if let Some(time) = time {
            gathers.push(Gather { time, member: member.clone(), text });
        }
    };
    let has_marks = text.contains(MARK);
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let next = match line.strip_prefix(MARK).map(|time| time.trim().parse().map(Timestamp)) {
            Some(time) => time.ok(),
            None if has_marks => None,
            None => match parse(line, Precision::Nanoseconds).next() {
                Some(Ok(line)) => line.time().filter(|new| Some(*new) != time),
                Some(Err(error)) => {
                    add(time, begin..at);
                    return Some(error.to_string());
                }
                None => None,
            },
        };
        if next.is_some() {
            add(time, begin..at);
            (time, begin) = (next, at);
        }
        at += line.len();
    }
    add(time, begin..at);
    None
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::record::member;
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn points(second: i64) -> Vec<Point> {
        let point = |name: &'static str| {
            Point::new(name, Timestamp(second * SECOND)).tag("a", "x, \"y\"").field("n", second)
        };
        vec![point("m"), point("o")]
    }

    fn recording(seconds: &[i64]) -> Vec<u8> {
        let members =
            seconds.iter().map(|second| member(&points(*second), Timestamp(second * SECOND)).unwrap());
        members.flatten().collect()
    }

    fn zcat(bytes: &[u8]) -> String {
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(bytes).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn what_was_recorded_is_replayed_in_any_order() {
        let mut replay = Replay::of(recording(&[1, 2, 3]));
        assert_eq!((replay.len(), replay.damage()), (3, None));
        for at in [2, 0, 1, 1, 9] {
            assert_eq!(replay.points(at), points((at as i64 + 1).min(3)));
        }
        assert_eq!(replay.time(1), Timestamp(2 * SECOND));
    }

    #[test]
    fn plain_text_and_what_was_compressed_again_are_replayed_too() {
        let text = zcat(&recording(&[1, 2]));
        let mut again = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        again.write_all(text.as_bytes()).unwrap();
        let unmarked: String =
            text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
        for bytes in [text.clone().into_bytes(), again.finish().unwrap(), unmarked.into_bytes()] {
            let mut replay = Replay::of(bytes);
            assert_eq!((replay.len(), replay.damage()), (2, None));
            assert_eq!([replay.points(0), replay.points(1)], [points(1), points(2)]);
        }
    }

    #[test]
    fn a_file_that_breaks_off_anywhere_is_replayed_up_to_there() {
        let whole = recording(&[1, 2, 3]);
        let first = recording(&[1]).len();
        for end in 0..whole.len() {
            let mut replay = Replay::of(whole[..end].to_vec());
            let n = end / first;
            assert!(replay.len() >= n.min(2) && replay.len() <= 3, "{end}: {}", replay.len());
            for at in 0..replay.len() {
                assert_eq!(replay.points(at), points(at as i64 + 1), "{end}");
            }
            let is_between = end == 0 || end == first || end == recording(&[1, 2]).len();
            assert_eq!(replay.damage().is_none(), is_between, "{end}: {:?}", replay.damage());
        }
    }

    #[test]
    fn what_is_no_recording_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for (bytes, why) in [
            (&b""[..], "it is empty"),
            (b"hello\n", "unable to parse 'hello'"),
            (b"\x1f\x8bxx", "ends in the middle"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = format!("{:#}", Replay::open(&path).unwrap_err());
            assert!(error.contains(why) && error.contains("file"), "{error}");
        }
        let error = format!("{:#}", Replay::open(&folder.path().join("none")).unwrap_err());
        assert!(error.contains("none: No such file"), "{error}");
    }

    #[test]
    fn a_time_of_the_day_is_found() {
        let replay = Replay::of(recording(&[86_400 + 60, 86_400 + 120, 86_400 + 180]));
        let found = [0, 60, 119, 120, 7_200].map(|second| replay.seek(2, second));
        assert_eq!(found, [0, 0, 0, 1, 2]);
    }
}
