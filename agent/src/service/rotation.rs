//! A file that is appended to for ever: when it is large or old enough it becomes an archive, and a new file is started.
//!
//! Archives are named as Telegraf names them, `stem.YYYY-MM-DD-<unix time>.ext`, beside the file. Used by the file output
//! and by the agent's own log, so nothing here logs.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// The pause after a failed rotation, so that not every line tries another one.
const RETRY_PERIOD: Duration = Duration::from_secs(60);

/// When a file is rotated, and how much is kept. The default never rotates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// A file older than this is rotated; zero means never.
    pub interval: Duration,
    /// A file that has reached this many bytes is rotated; zero means never.
    pub max_bytes: u64,
    /// How many archives are kept; `None` keeps all.
    pub max_archives: Option<usize>,
}

impl Rotation {
    /// From Telegraf's options: zero never rotates, and a negative number of archives keeps all of them.
    #[must_use]
    pub fn new(interval: Duration, max_bytes: u64, max_archives: i64) -> Self {
        Self { interval, max_bytes, max_archives: usize::try_from(max_archives).ok() }
    }
}

/// A file that is appended to, and rotated after the write that makes it due.
///
/// A write is all or nothing: what a full disk took of it is truncated again. Others may write to the same file, or cut it off:
/// those of this process take turns, and of what another process does meanwhile nothing is taken back.
#[derive(Debug)]
pub(crate) struct RotatingFile {
    path: PathBuf,
    rotation: Rotation,
    file: File,
    /// That of the file; `None` for a pipe or a device, which are never rotated.
    turn: Option<FileTurn>,
    /// When it is old enough; `None` when it never is.
    expires: Option<SystemTime>,
    /// No rotation before this.
    not_before: Option<SystemTime>,
    problem: Option<io::Error>,
}

/// Held by who writes to a file, or rotates it.
type FileTurn = Arc<Mutex<()>>;
/// By device and inode.
type FileTurns = BTreeMap<(u64, u64), Weak<Mutex<()>>>;

/// Those of the regular files that are open.
static TURNS: Mutex<FileTurns> = Mutex::new(BTreeMap::new());

fn turn(file: &Metadata) -> FileTurn {
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    turns.retain(|_, turn| turn.strong_count() > 0);
    let known = turns.entry(identity(file)).or_default();
    known.upgrade().unwrap_or_else(|| {
        let turn = FileTurn::default();
        *known = Arc::downgrade(&turn);
        turn
    })
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

impl RotatingFile {
    /// Opens a file to append to, or creates it with mode 0644.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn open(path: impl Into<PathBuf>, rotation: Rotation) -> io::Result<Self> {
        let path = path.into();
        let (file, turn, expires) = open(&path, rotation)?;
        Ok(Self { path, rotation, file, turn, expires, not_before: None, problem: None })
    }

    /// Why the last rotation failed; given out once. Writes go on into the old file, and the rotation is retried after a minute.
    pub(crate) fn take_problem(&mut self) -> Option<io::Error> {
        self.problem.take()
    }

    /// Writes all parts, or nothing.
    ///
    /// # Errors
    /// Why nothing was written.
    pub(crate) fn append(&mut self, parts: &[impl AsRef<[u8]>]) -> io::Result<()> {
        while let Some(turn) = self.turn.clone() {
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            if self.follow()? {
                continue;
            }
            let before = self.file.metadata()?.len();
            let mut written = 0;
            write_parts(&mut self.file, parts, &mut written)
                .inspect_err(|_| take_back(&self.file, before, written))?;
            self.rotate_if_due(before + written, SystemTime::now());
            return Ok(());
        }
        write_parts(&mut self.file, parts, &mut 0)
    }

    /// Opens the new file where another writer has rotated this one, whose archive may be removed. Returns whether there is one.
    fn follow(&mut self) -> io::Result<bool> {
        if self.rotation == Rotation::default() {
            return Ok(false);
        }
        let own = identity(&self.file.metadata()?);
        let is_new = fs::metadata(&self.path).is_ok_and(|there| identity(&there) != own);
        if is_new {
            (self.file, self.turn, self.expires) = open(&self.path, self.rotation)?;
        }
        Ok(is_new)
    }

    /// Rotates a file of so many bytes.
    fn rotate_if_due(&mut self, bytes: u64, now: SystemTime) {
        let Rotation { max_bytes, .. } = self.rotation;
        let is_large = max_bytes > 0 && bytes >= max_bytes;
        let is_old = self.expires.is_some_and(|expires| now > expires);
        if !(is_large || is_old) || self.not_before.is_some_and(|not_before| now < not_before) {
            return;
        }
        match self.rotate(now) {
            Ok(()) => self.not_before = None,
            Err(error) => {
                self.not_before = Some(now + RETRY_PERIOD);
                self.problem = Some(error);
            }
        }
    }

    fn rotate(&mut self, now: SystemTime) -> io::Result<()> {
        // The open file keeps its contents under the new name: nothing is lost when the new file cannot be created.
        let mut archives = archives(&self.path)?;
        let archive = next_archive(&self.path, &archives, now);
        fs::rename(&self.path, &archive.1)?;
        archives.push(archive);
        (self.file, self.turn, self.expires) = open(&self.path, self.rotation)?;
        let Some(most) = self.rotation.max_archives else { return Ok(()) };
        let excess = archives.len().saturating_sub(most);
        archives.iter().take(excess).try_for_each(|(_, archive)| fs::remove_file(archive))
    }
}

impl Write for RotatingFile {
    /// Writes everything, or nothing.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(&[bytes])?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Takes back what a write left that failed: half a line would corrupt the next one. Nothing is, where the file does not end
/// with it, because another process wrote or cut off something meanwhile.
fn take_back(file: &File, before: u64, written: u64) {
    if written > 0 && file.metadata().is_ok_and(|now| now.len() == before + written) {
        // A failure leaves what is there.
        let _ = file.set_len(before);
    }
}

/// Writes all parts where they are, without a copy of them in one piece; counts what is `written`, also when it fails.
pub(crate) fn write_parts(
    to: &mut impl Write,
    parts: &[impl AsRef<[u8]>],
    written: &mut u64,
) -> io::Result<()> {
    /// As many as the kernel takes at a time (`UIO_MAXIOV`).
    const AT_A_TIME: usize = 1024;
    for parts in parts.chunks(AT_A_TIME) {
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part.as_ref())).collect();
        let mut rest = slices.as_mut_slice();
        // Also those that are empty at the beginning, after which nothing is left to be written.
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match to.write_vectored(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    IoSlice::advance_slices(&mut rest, n);
                    *written += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// The file, its turn, and when it will be old enough. The age of an existing file counts from its last write, as in
/// Telegraf.
fn open(path: &Path, rotation: Rotation) -> io::Result<(File, Option<FileTurn>, Option<SystemTime>)> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let file = OpenOptions::new().append(true).create(true).mode(0o644).open(path)?;
    let metadata = file.metadata()?;
    let turn = metadata.is_file().then(|| turn(&metadata));
    let modified = metadata.modified()?;
    let expires = (!rotation.interval.is_zero()).then(|| modified.checked_add(rotation.interval)).flatten();
    Ok((file, turn, expires))
}

/// What comes before and after the date in an archive's name.
fn parts(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let extension = path.extension().map(|extension| format!(".{}", extension.to_string_lossy()));
    (format!("{}.", text(path.file_stem())), extension.unwrap_or_default())
}

/// The name of an archive that is made now. If there is one of this second or later, the time is a second after that one, so
/// that no archive is overwritten and their order is kept.
fn next_archive(path: &Path, archives: &[(u64, PathBuf)], now: SystemTime) -> (u64, PathBuf) {
    let (before, after) = parts(path);
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let seconds = archives.last().map_or(seconds, |(newest, _)| seconds.max(newest.saturating_add(1)));
    (seconds, path.with_file_name(format!("{before}{}-{seconds}{after}", date(seconds).unwrap_or_default())))
}

/// A file's archives with the time in their names, oldest first.
fn archives(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let (before, after) = parts(path);
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut archives = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let stamp = name.to_str().and_then(|name| name.strip_prefix(&before)?.strip_suffix(&after));
        // Only names that match exactly: all other files belong to somebody else.
        let seconds = stamp.and_then(|stamp| stamp.rsplit_once('-')?.1.parse::<u64>().ok());
        if let (Some(stamp), Some(seconds)) = (stamp, seconds)
            && date(seconds).is_some_and(|date| stamp == format!("{date}-{seconds}"))
        {
            archives.push((seconds, entry.path()));
        }
    }
    archives.sort_unstable();
    Ok(archives)
}

/// `YYYY-MM-DD` in UTC of a time in seconds since the Unix epoch; `None` beyond the year 9999.
fn date(seconds: u64) -> Option<String> {
    let time = Timestamp::from_second(i64::try_from(seconds).ok()?).ok()?;
    Some(time.strftime("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const LARGE: Rotation = Rotation { interval: Duration::ZERO, max_bytes: 10, max_archives: Some(2) };

    fn read(archives: &[(u64, PathBuf)]) -> Vec<String> {
        archives.iter().map(|(_, path)| fs::read_to_string(path).unwrap()).collect()
    }

    #[rstest]
    #[case(0, "1970-01-01")]
    #[case(951_782_399, "2000-02-28")]
    #[case(951_782_400, "2000-02-29")]
    #[case(951_868_800, "2000-03-01")]
    #[case(1_735_689_599, "2024-12-31")]
    #[case(1_735_689_600, "2025-01-01")]
    #[case(4_107_542_400, "2100-03-01")]
    #[case(253_402_207_200, "9999-12-30")]
    fn knows_the_date(#[case] seconds: u64, #[case] expected: &str) {
        assert_eq!(date(seconds).as_deref(), Some(expected));
    }

    #[test]
    fn a_time_beyond_the_calendar_has_no_date() {
        assert_eq!(date(u64::MAX), None);
    }

    #[test]
    fn a_large_file_is_rotated_after_the_write_and_the_oldest_archive_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.b.log");
        let others = ["a.b.old-1.log", "a.b.2025-01-01-x.log", "a.b.2025-01-01-7.log", "a.log"];
        for other in others {
            fs::write(directory.path().join(other), "kept").unwrap();
        }
        let mut file = RotatingFile::open(&path, LARGE).unwrap();
        for i in 0..10 {
            file.write_all(format!("line {i}\n").as_bytes()).unwrap();
        }
        // Two lines of seven bytes each make it due; the last two archives are there, and none has overwritten another.
        assert_eq!(read(&archives(&path).unwrap()), ["line 6\nline 7\n", "line 8\nline 9\n"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
        let name = archives(&path).unwrap()[0].1.file_name().unwrap().to_string_lossy().into_owned();
        let (stamp, extension) = name.strip_prefix("a.b.").unwrap().rsplit_once('.').unwrap();
        assert_eq!((stamp.matches('-').count(), extension), (3, "log"));
        assert!(others.iter().all(|other| directory.path().join(other).exists()));
        assert!(file.take_problem().is_none());
    }

    #[test]
    fn an_old_file_is_rotated_and_all_archives_can_be_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut file = RotatingFile::open(&path, Rotation::new(Duration::from_secs(3_600), 0, -1)).unwrap();
        for hour in 1..9 {
            file.write_all(b"x").unwrap();
            file.rotate_if_due(1, SystemTime::now() + Duration::from_secs(hour * 3_600 + 60));
        }
        // The clock of the test runs ahead of the files', so each look finds the file old.
        assert_eq!(archives(&path).unwrap().len(), 8);
        assert_eq!(read(&archives(&path).unwrap()), ["x"; 8]);
    }

    /// A writer that takes a few bytes at a time, and is interrupted in between.
    #[derive(Default)]
    struct Slow {
        taken: Vec<u8>,
        calls: usize,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.calls += 1;
            if self.calls.is_multiple_of(3) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let n = bytes.len().min(5);
            self.taken.extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn all_parts_are_written_in_order() {
        // More than the kernel takes at a time, some of them empty.
        let parts: Vec<String> =
            (0..3_000).map(|n| if n % 7 == 0 { String::new() } else { format!("line {n}\n") }).collect();
        let mut slow = Slow::default();
        let mut written = 0;
        write_parts(&mut slow, &parts, &mut written).unwrap();
        assert_eq!(written, parts.concat().len() as u64);
        assert_eq!(String::from_utf8(slow.taken).unwrap(), parts.concat());
        write_parts(&mut Slow::default(), &[""; 3], &mut written).unwrap();
        assert_eq!(written, parts.concat().len() as u64);
        // One that takes nothing more.
        written = 0;
        let error = write_parts(&mut [0_u8; 4].as_mut_slice(), &["12345"], &mut written).unwrap_err();
        assert_eq!((error.kind(), written), (io::ErrorKind::WriteZero, 4));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        RotatingFile::open(&path, Rotation::default()).unwrap().append(&parts).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), parts.concat());
    }

    #[test]
    fn without_limits_it_is_a_plain_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        fs::write(&path, "before\n").unwrap();
        let mut file = RotatingFile::open(&path, Rotation::default()).unwrap();
        file.write_all(&[b'x'; 100_000]).unwrap();
        assert!(archives(&path).unwrap().is_empty());
        assert_eq!(fs::metadata(&path).unwrap().len(), 100_007);
    }

    #[test]
    fn a_file_that_cannot_be_rotated_is_still_appended_to_and_reports_it_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut file = RotatingFile::open(&path, LARGE).unwrap();
        // Somebody removed the file: there is nothing to rename.
        fs::remove_file(&path).unwrap();
        file.write_all(b"0123456789").unwrap();
        assert_eq!(file.take_problem().map(|error| error.kind()), Some(io::ErrorKind::NotFound));
        file.write_all(b"0123456789").unwrap();
        assert!(file.take_problem().is_none());
    }

    #[test]
    fn of_a_file_that_others_write_to_only_the_own_end_is_taken_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        for (text, expected) in [
            ("before\nhal", "before\n"),
            // Another one wrote after it, or instead; it was cut off, and written to again.
            ("before\nhalother\n", "before\nhalother\n"),
            ("before\nother\n", "before\nother\n"),
            ("hal", "hal"),
            ("", ""),
        ] {
            fs::write(&path, text).unwrap();
            let file = RotatingFile::open(&path, Rotation::default()).unwrap();
            take_back(&file.file, 7, 3);
            assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        }
    }

    #[test]
    fn the_length_of_a_file_is_what_others_left_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut file = RotatingFile::open(&path, LARGE).unwrap();
        for _ in 0..9 {
            file.write_all(b"01234567\n").unwrap();
            // As logrotate's `copytruncate` does.
            fs::write(&path, "").unwrap();
        }
        assert!(archives(&path).unwrap().is_empty());
    }

    /// Also where no archive is kept, in which it would be lost.
    #[test]
    fn two_that_write_to_one_file_follow_each_other_through_its_rotations() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let all = Rotation { max_archives: None, ..LARGE };
        let mut files = [all, all].map(|rotation| RotatingFile::open(&path, rotation).unwrap());
        for n in 0..8 {
            files[n % 2].write_all(format!("line {n}\n").as_bytes()).unwrap();
            let current = File::open(&path).unwrap().metadata().unwrap();
            let written = files[n % 2].file.metadata().unwrap();
            assert_eq!(identity(&written), identity(&current));
        }
        let pairs = ["line 0\nline 1\n", "line 2\nline 3\n", "line 4\nline 5\n", "line 6\nline 7\n"];
        assert_eq!(read(&archives(&path).unwrap()), pairs);
        // What is written at one time is not mixed up.
        let write = |mut file: RotatingFile| {
            std::thread::spawn(move || (0..200).for_each(|_| file.append(&["a"; 2_000]).unwrap()))
        };
        let plain = directory.path().join("plain");
        let open = || RotatingFile::open(&plain, Rotation::default()).unwrap();
        [open(), open()].map(write).into_iter().for_each(|writer| writer.join().unwrap());
        assert_eq!(fs::metadata(&plain).unwrap().len(), 2 * 200 * 2_000);
    }

    #[test]
    fn devices_are_not_rotated() {
        let mut file = RotatingFile::open("/dev/null", Rotation { max_bytes: 1, ..LARGE }).unwrap();
        file.write_all(b"xyz").unwrap();
        assert!(file.take_problem().is_none());
    }
}
