//! The log: appends records to segments, reads them again, and removes what is done or does not fit.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::time::{Duration, UNIX_EPOCH};

use super::cursor::{self, Cursor, Position};
use super::done::Done;
use super::files::{SpoolFile, SpoolFolder};
use super::ranges::Ranges;
use super::record::{HEADER, Header, MAX_PAYLOAD};
use super::segment::{self, Reader, SEGMENT_HEADER};

/// What nobody will take.
const REJECTED: &str = "rejected";
const REJECTED_BEFORE: &str = "rejected.1";
/// Bytes of each of the two.
const MAX_REJECTED: u64 = 1 << 20;

/// How much of a disk a spool takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all segments; the oldest are removed beyond it.
    pub bytes: u64,
    /// Points older than this are removed; zero keeps all.
    pub age: Duration,
    /// A segment is followed by another one when it has so many.
    pub segment_bytes: u64,
    /// What is appended is on the disk before that is said.
    pub sync: bool,
}

/// The bytes of some points that are appended together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// How many points.
    pub count: u32,
    /// What the caller makes of them.
    pub bytes: Vec<u8>,
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The number of its first point; each has the next one.
    pub first: u64,
    /// How many points.
    pub count: u32,
    /// As they were appended.
    pub bytes: Vec<u8>,
}

/// What a call of [`Log::read`] found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// In the order of their points.
    pub records: Vec<Stored>,
    /// Where to read on.
    pub next: u64,
}

/// Why points are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// Their record is damaged, or their segment missing.
    Damaged,
    /// They made room for later ones.
    Overflow,
    /// They were older than the limit.
    Expired,
}

/// One file of records.
#[derive(Debug)]
struct Segment {
    first: u64,
    bytes: u64,
    /// When the last record was written, in seconds since 1970, where it is known.
    written: Option<u32>,
}

/// The segment that is appended to.
struct Writer {
    file: Box<dyn SpoolFile>,
    at: u64,
}

/// A queue of records on a disk.
pub struct Log {
    folder: Box<dyn SpoolFolder>,
    limits: Limits,
    cursor: Cursor,
    salt: u64,
    /// Oldest first. The last one is appended to, if there is a writer.
    segments: VecDeque<Segment>,
    writer: Option<Writer>,
    /// All points before this one are done.
    done: u64,
    /// Others that are.
    done_later: Ranges,
    /// The same on the disk.
    remembered: Done,
    /// The number of the next point.
    end: u64,
    /// The last place that was read, and the segment's first number.
    reader: Option<(u64, Reader)>,
    /// Points that are lost, and were not said to be yet.
    lost: Vec<(Loss, Range<u64>)>,
}

impl Log {
    /// Opens what is in a folder, whatever its state. Of the segments only the last one is read, to find its end.
    ///
    /// # Errors
    /// A file cannot be read or made.
    pub fn open(folder: Box<dyn SpoolFolder>, limits: Limits) -> io::Result<Self> {
        let names = folder.names()?;
        let mut firsts: Vec<u64> = names.iter().filter_map(|name| segment::first(name)).collect();
        firsts.sort_unstable();
        let (cursor, position) = Cursor::open(&*folder, names.iter().any(|name| name == cursor::NAME))?;
        let mut segments = VecDeque::new();
        let mut salt = position.map(|position| position.salt);
        for first in firsts {
            let file = folder.open(&segment::name(first))?;
            let of_segment = segment::salt(&*file)?;
            salt = salt.or(of_segment);
            // Not much later than its last record: all of it is not read only for that.
            let written = file.modified()?.duration_since(UNIX_EPOCH).ok();
            let written = written.and_then(|since| u32::try_from(since.as_secs()).ok());
            segments.push_back(Segment { first, bytes: file.size()?, written });
        }
        let salt = salt.unwrap_or_else(|| fastrand::Rng::new().u64(..));
        let position = position.unwrap_or_default();
        let mut end = position.end;
        if let Some(last) = segments.back_mut() {
            let file = folder.open(&segment::name(last.first))?;
            let mut reader = Reader::new(file, salt, last.first, u64::MAX);
            while let Some(record) = readable(reader.next())? {
                last.written = Some(record.header.written);
            }
            end = end.max(reader.position());
        }
        let mut done_later = Done::read(&*folder, salt);
        done_later.forget_from(end);
        let remembered = Done::begin(&*folder, salt, &done_later)?;
        let oldest = segments.front().map_or(end, |segment| segment.first);
        // Without a cursor all that is there is to be done; with one, what it has not done and is not there is missing.
        let done = if position == Position::default() { oldest } else { position.done };
        let mut log = Self {
            folder,
            limits,
            cursor,
            salt,
            segments,
            writer: None,
            done,
            done_later,
            remembered,
            end: end.max(done),
            reader: None,
            lost: Vec::new(),
        };
        log.lose(Loss::Damaged, log.done..oldest);
        log.done = log.done_later.first_missing(log.done);
        log.done_later.forget_below(log.done);
        // Both slots, so that a full disk has room for them ever after.
        log.cursor.write(log.position())?;
        log.cursor.write(log.position())?;
        // The names of what is here may be of a machine that lost its power before they were on the disk. And no number is given
        // out while the disk has a file that may say that it is done.
        log.folder.sync()?;
        Ok(log)
    }

    fn position(&self) -> Position {
        Position { salt: self.salt, done: self.done, end: self.end }
    }

    /// Other limits, from the next append on.
    pub fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The points that are not done: from the first of them to the end. Some within may be.
    pub fn pending(&self) -> Range<u64> {
        self.done..self.end
    }

    /// How many points are not done.
    pub(crate) fn len(&self) -> u64 {
        self.end - self.done - self.done_later.len()
    }

    /// In how many ranges the points are that are done behind the first that is not.
    pub(crate) fn n_ranges(&self) -> usize {
        self.done_later.count()
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Points that are lost, each once as long as it is open. They count as done.
    pub fn take_lost(&mut self) -> Vec<(Loss, Range<u64>)> {
        std::mem::take(&mut self.lost)
    }

    /// Those of a range that are not done are lost: they count as done from now on.
    pub fn lose(&mut self, loss: Loss, range: Range<u64>) {
        let lost = self.done_later.missing_in(self.done.max(range.start)..range.end);
        for range in &lost {
            self.done_later.insert(range.clone());
        }
        self.lost.extend(lost.into_iter().map(|range| (loss, range)));
    }

    /// Appends records, all or none; returns the number of the first point. They are on the disk then, if the limits say so.
    /// Where they do not fit, the oldest ones are lost.
    ///
    /// # Errors
    /// A write failed. Nothing is kept of it, and the next one goes to another segment: after a failed sync nobody knows what of
    /// the file is on the disk.
    pub fn append(&mut self, payloads: &[Payload], now: u32) -> io::Result<u64> {
        let size: u64 = payloads.iter().map(|payload| (HEADER + payload.bytes.len()) as u64).sum();
        self.make_room(size, now)?;
        let (first, before) = (self.end, self.segments.len());
        let last = self.segments.back().map(|segment| (segment.bytes, segment.written));
        let appended = self.try_append(payloads, now);
        if appended.is_err() {
            self.end = first;
            self.abandon(before, last);
        }
        appended.map(|()| first)
    }

    fn try_append(&mut self, payloads: &[Payload], now: u32) -> io::Result<()> {
        let mut text = Vec::new();
        for payload in payloads {
            let pending = text.len() as u64;
            if self.writer.as_ref().is_none_or(|w| w.at + pending >= self.limits.segment_bytes) {
                self.write(&text, now)?;
                text.clear();
                self.roll()?;
            }
            let header = Header::of(self.end, payload.count, &payload.bytes, now).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("a record of more than {MAX_PAYLOAD} bytes"),
                )
            })?;
            text.extend_from_slice(&header.encode(self.salt));
            text.extend_from_slice(&payload.bytes);
            self.end = header.end();
        }
        self.write(&text, now)?;
        if self.limits.sync
            && let Some(writer) = &mut self.writer
        {
            writer.file.sync()?;
        }
        self.cursor.write(self.position())
    }

    fn write(&mut self, text: &[u8], now: u32) -> io::Result<()> {
        if let (Some(writer), Some(segment)) = (&mut self.writer, self.segments.back_mut())
            && !text.is_empty()
        {
            writer.file.write_at(text, writer.at)?;
            writer.at += text.len() as u64;
            segment.bytes = writer.at;
            segment.written = Some(now);
        }
        Ok(())
    }

    /// Begins another segment.
    fn roll(&mut self) -> io::Result<()> {
        if let Some(mut writer) = self.writer.take() {
            writer.file.sync()?;
        }
        let mut file = self.folder.create(&segment::name(self.end))?;
        // One of a write that failed can have had its name.
        self.segments.retain(|segment| segment.first != self.end);
        self.segments.push_back(Segment { first: self.end, bytes: SEGMENT_HEADER as u64, written: None });
        file.write_at(&segment::header(self.salt, self.end), 0)?;
        if self.limits.sync {
            self.folder.sync()?;
        }
        self.writer = Some(Writer { file, at: SEGMENT_HEADER as u64 });
        Ok(())
    }

    /// After a failure: the segment is cut off where it was, and nothing more is appended to it.
    fn abandon(&mut self, before: usize, last: Option<(u64, Option<u32>)>) {
        self.writer = None;
        self.reader = None;
        // What cannot be removed is behind the first number of the next segment, and never read.
        for segment in self.segments.drain(before..) {
            let _ = self.folder.remove(&segment::name(segment.first));
        }
        if let (Some(segment), Some((bytes, written))) = (self.segments.back_mut(), last) {
            (segment.bytes, segment.written) = (bytes, written);
            if let Ok(mut file) = self.folder.open(&segment::name(segment.first)) {
                let _ = file.truncate(bytes);
            }
        }
    }

    /// Removes the oldest segments, as the limits ask for, so that `size` more bytes fit.
    fn make_room(&mut self, size: u64, now: u32) -> io::Result<()> {
        let oldest = u64::from(now).saturating_sub(self.limits.age.as_secs());
        while let Some(segment) = self.segments.front() {
            let is_old = !self.limits.age.is_zero()
                && segment.written.is_some_and(|written| u64::from(written) < oldest);
            let loss = match self.bytes() + size > self.limits.bytes {
                true => Loss::Overflow,
                false if is_old => Loss::Expired,
                false => break,
            };
            let range = segment.first..self.end_of(0);
            self.done = self.done_later.first_missing(self.done);
            self.lose(loss, range.clone());
            self.done = self.done_later.first_missing(self.done.max(range.end));
            self.remove_done()?;
            if self.segments.len() == 1 && self.done == self.end {
                // The one that is appended to; all of it is done.
                self.writer = None;
                self.cursor.sync()?;
                self.remove_first()?;
            }
        }
        Ok(())
    }

    /// The number after the last point of a segment.
    fn end_of(&self, i: usize) -> u64 {
        self.segments.get(i + 1).map_or(self.end, |next| next.first)
    }

    /// Points are done, and need not be kept.
    ///
    /// # Errors
    /// The cursor cannot be written, or a segment not be removed. It is tried again with the next ones.
    pub fn done(&mut self, ranges: impl IntoIterator<Item = Range<u64>>) -> io::Result<()> {
        let before = self.done;
        let ranges: Vec<_> = ranges.into_iter().collect();
        ranges.iter().for_each(|range| self.done_later.insert(range.clone()));
        self.done = self.done_later.first_missing(self.done).min(self.end);
        let later = ranges.into_iter().filter(|range| range.end > self.done);
        self.remembered.add(&*self.folder, later, &self.done_later);
        if self.done == before {
            return Ok(());
        }
        self.remove_done()
    }

    /// Writes the cursor, and removes the segments before it.
    fn remove_done(&mut self) -> io::Result<()> {
        self.done_later.forget_below(self.done);
        self.cursor.write(self.position())?;
        if self.segments.len() < 2 || self.end_of(0) > self.done {
            return Ok(());
        }
        // Else what is missing would be taken for lost, where the machine loses its power now.
        self.cursor.sync()?;
        while self.segments.len() > 1 && self.end_of(0) <= self.done {
            self.remove_first()?;
        }
        Ok(())
    }

    fn remove_first(&mut self) -> io::Result<()> {
        let Some(segment) = self.segments.front() else { return Ok(()) };
        let first = segment.first;
        match self.folder.remove(&segment::name(first)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.segments.pop_front();
        self.reader.take_if(|(of, _)| *of == first);
        Ok(())
    }

    /// Reads records from the one that has point `from` on, until they have `points` or take `bytes`, or to the end. Points that
    /// are done are in them too: see [`Self::is_done`].
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read(&mut self, from: u64, points: u64, bytes: u64) -> io::Result<Found> {
        let mut found = Found { next: from.max(self.done), ..Found::default() };
        let (mut n, mut n_bytes) = (0, 0);
        while n < points && (n_bytes < bytes || n == 0) && found.next < self.end {
            let (record, end) = match self.segments.iter().rposition(|segment| segment.first <= found.next) {
                Some(i) => (self.record(i, found.next)?, self.end_of(i)),
                // The segment is missing.
                None => (None, self.segments.front().map_or(self.end, |segment| segment.first)),
            };
            let next = record.as_ref().map_or(end, |record| record.first);
            if next > found.next {
                self.lose(Loss::Damaged, found.next..next);
            }
            found.next = record.as_ref().map_or(end, |record| record.first + u64::from(record.count));
            n += record.as_ref().map_or(0, |record| u64::from(record.count));
            n_bytes += record.as_ref().map_or(0, |record| record.bytes.len() as u64);
            found.records.extend(record);
        }
        self.done([])?;
        Ok(found)
    }

    /// The first record of a segment that has a point from `from` on.
    fn record(&mut self, i: usize, from: u64) -> io::Result<Option<Stored>> {
        let (first, end) = (self.segments[i].first, self.end_of(i));
        let is_there =
            self.reader.as_ref().is_some_and(|(of, reader)| *of == first && reader.position() <= from);
        if !is_there {
            let file = match self.folder.open(&segment::name(first)) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            self.reader = Some((first, Reader::new(file, self.salt, first, end)));
        }
        let Some((_, reader)) = &mut self.reader else { return Ok(None) };
        reader.extend(end);
        while let Some(record) = readable(reader.next())? {
            if record.header.end() > from {
                let header = record.header;
                return Ok(Some(Stored { first: header.first, count: header.count, bytes: record.payload }));
            }
        }
        Ok(None)
    }

    /// Appends to the file of what nobody will take, `rejected`, of which there is an older part besides, `rejected.1`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn set_aside(&mut self, text: &[u8]) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let mut file = self.folder.append(REJECTED)?;
        let len = file.size()?;
        if len > 0 && len + text.len() as u64 > MAX_REJECTED {
            self.folder.rename(REJECTED, REJECTED_BEFORE)?;
            file = self.folder.append(REJECTED)?;
        }
        let at = file.size()?;
        file.write_at(text, at)
    }

    /// Whether a point is done.
    pub fn is_done(&self, number: u64) -> bool {
        number < self.done || self.done_later.contains(number)
    }

    /// Has the cursor on the disk, at the end.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn close(&mut self) -> io::Result<()> {
        if let Some(writer) = &mut self.writer {
            writer.file.sync()?;
        }
        self.cursor.write(self.position())?;
        self.cursor.sync()
    }
}

/// The rest of a segment that the disk cannot read is damaged.
fn readable<T>(read: io::Result<Option<T>>) -> io::Result<Option<T>> {
    let is_damaged = |error: &io::Error| error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error());
    match read {
        Err(error) if is_damaged(&error) => Ok(None),
        read => read,
    }
}
