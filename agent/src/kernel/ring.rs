//! The ring buffer's pages, and a reader that gives back what it has read when it is told to.
//!
//! aya's reader gives each record back as it reads the next one. An agent that is killed would then have lost what it had
//! read and not yet remembered; with pinned maps, the next one reads it again instead. The pages are those of
//! `kernel/bpf/ringbuf.c`: one that the reader writes its position to, one with that of the writers, and the records. The
//! kernel would map these twice in a row, so that none is ever in two parts; but every page mapped counts as the agent's memory.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd, RawFd};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use aya::maps::MapData;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Set in the length of a record that is not written yet (`BPF_RINGBUF_BUSY_BIT`, `include/uapi/linux/bpf.h`).
const BUSY: u32 = 1 << 31;
/// Set in that of one that was given up (`BPF_RINGBUF_DISCARD_BIT`).
const DISCARDED: u32 = 1 << 30;
/// Bytes before each record (`BPF_RINGBUF_HDR_SZ`).
const HEADER_BYTES: usize = 8;
/// So much of the records is mapped at a time: a page that is mapped counts as the agent's memory.
const WINDOW_BYTES: usize = 1 << 16;

/// The reading end of a ring buffer.
pub struct Ring {
    map: MapData,
    /// The page that the reader writes its position to.
    consumer: Pages,
    /// That with the writers' position.
    producer: Pages,
    records: Records,
    /// Up to where it is read; the kernel keeps everything from the consumer's position on.
    position: usize,
}

impl Ring {
    /// Maps the pages of a ring buffer. It is read from where the reader before has given it back.
    ///
    /// # Errors
    /// The map cannot be mapped.
    pub(super) fn new(map: MapData) -> io::Result<Self> {
        let info = map.info().map_err(io::Error::other)?;
        let bytes = info.max_entries() as usize;
        if !bytes.is_power_of_two() {
            return Err(io::Error::other(format!("{bytes} bytes are no size of a ring buffer")));
        }
        let page = rustix::param::page_size();
        let fd = map.fd().as_fd();
        let consumer = Pages::map(fd, page, ProtFlags::READ | ProtFlags::WRITE, 0)?;
        let producer = Pages::map(fd, page, ProtFlags::READ, page)?;
        let records = Records::new(fd, bytes, 2 * page)?;
        let position = consumer.word(0).load(Ordering::Acquire);
        Ok(Self { map, consumer, producer, records, position })
    }

    /// The next record; `None` when there is none that is whole.
    ///
    /// # Errors
    /// The record cannot be mapped. It stays where it is, and is the next one again.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            // Before the records up to there, which the kernel has written before.
            if self.position == self.written() {
                return Ok(None);
            }
            let fd = self.map.fd().as_fd();
            let header = self.records.header(fd, self.position)?;
            if header & BUSY != 0 {
                return Ok(None);
            }
            let bytes = (header & !DISCARDED) as usize;
            let start = self.position + HEADER_BYTES;
            let next = self.position + (HEADER_BYTES + bytes).next_multiple_of(8);
            if header & DISCARDED == 0 {
                let record = self.records.read(fd, start, bytes)?;
                self.position = next;
                return Ok(Some(record));
            }
            self.position = next;
        }
    }

    /// Gives back what was read.
    pub(super) fn give_back(&self) {
        self.consumer.word(0).store(self.position, Ordering::Release);
    }

    /// Whether what is read and not given back takes up half of it.
    pub(super) fn holds_much(&self) -> bool {
        let held = self.position.wrapping_sub(self.consumer.word(0).load(Ordering::Relaxed));
        held > self.records.bytes / 2
    }

    /// Up to where it is read: bytes since the ring was made, headers included.
    pub(super) fn position(&self) -> u64 {
        self.position as u64
    }

    /// Goes on from a position that was read to before; `false` when it is not among what the kernel still has.
    pub(super) fn skip_to(&mut self, position: u64) -> bool {
        let from = self.consumer.word(0).load(Ordering::Acquire);
        let is_there = (from as u64..=self.written() as u64).contains(&position);
        if is_there {
            self.position = usize::try_from(position).unwrap_or(from);
        }
        is_there
    }

    /// The map's number, which no other one has until the next boot.
    pub(super) fn id(&self) -> u32 {
        self.map.info().map_or(0, |info| info.id())
    }

    fn written(&self) -> usize {
        self.producer.word(0).load(Ordering::Acquire)
    }
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.map.fd().as_fd().as_raw_fd()
    }
}

/// The records, of which a part is mapped.
struct Records {
    window: Pages,
    /// What it begins with.
    from: usize,
    /// How many bytes of records there are: a power of two.
    bytes: usize,
    /// Where in the map they begin.
    offset: usize,
    /// A record that is in two windows, put together.
    whole: Vec<u8>,
}

impl Records {
    fn new(fd: BorrowedFd<'_>, bytes: usize, offset: usize) -> io::Result<Self> {
        let window = Pages::map(fd, bytes.min(WINDOW_BYTES), ProtFlags::READ, offset)?;
        Ok(Self { window, from: 0, bytes, offset, whole: Vec::new() })
    }

    /// Maps what there is at a position, and returns where in the window that is.
    fn seek(&mut self, fd: BorrowedFd<'_>, position: usize) -> io::Result<usize> {
        let at = position & (self.bytes - 1);
        let in_window = at % self.window.bytes;
        let from = at - in_window;
        if from != self.from {
            self.window = Pages::map(fd, self.window.bytes, ProtFlags::READ, self.offset + from)?;
            self.from = from;
        }
        Ok(in_window)
    }

    /// The length at a position, with its bits.
    fn header(&mut self, fd: BorrowedFd<'_>, position: usize) -> io::Result<u32> {
        let at = self.seek(fd, position)?;
        Ok(self.window.half_word(at).load(Ordering::Acquire))
    }

    /// So many bytes from a position on, which the kernel writes no more until they are given back.
    fn read(&mut self, fd: BorrowedFd<'_>, position: usize, n: usize) -> io::Result<&[u8]> {
        let at = self.seek(fd, position)?;
        if n <= self.window.bytes - at {
            return Ok(self.window.bytes(at, n));
        }
        self.whole.clear();
        while self.whole.len() < n {
            let at = self.seek(fd, position + self.whole.len())?;
            let part = (n - self.whole.len()).min(self.window.bytes - at);
            self.whole.extend_from_slice(self.window.bytes(at, part));
        }
        Ok(&self.whole)
    }
}

/// Pages of a map that are shared with the kernel.
struct Pages {
    start: *mut u8,
    bytes: usize,
}

// SAFETY: nobody else has the address, and what the kernel changes is read by atomic loads or not before it says so.
unsafe impl Send for Pages {}
// SAFETY: as above; a shared reference gives atomics, and bytes that only the kernel writes.
unsafe impl Sync for Pages {}

impl Pages {
    fn map(fd: BorrowedFd<'_>, bytes: usize, protection: ProtFlags, offset: usize) -> io::Result<Self> {
        // SAFETY: a new mapping at an address that the kernel picks.
        let start = unsafe { mmap(null_mut(), bytes, protection, MapFlags::SHARED, fd, offset as u64) }?;
        Ok(Self { start: start.cast(), bytes })
    }

    /// The position at an offset.
    fn word(&self, at: usize) -> &AtomicUsize {
        assert!(at + size_of::<AtomicUsize>() <= self.bytes && at.is_multiple_of(align_of::<AtomicUsize>()));
        // SAFETY: within the mapping, which lives as long as `self`, and aligned: a page is.
        unsafe { &*self.start.add(at).cast() }
    }

    /// The length at an offset.
    fn half_word(&self, at: usize) -> &AtomicU32 {
        assert!(at + size_of::<AtomicU32>() <= self.bytes && at.is_multiple_of(align_of::<AtomicU32>()));
        // SAFETY: as above.
        unsafe { &*self.start.add(at).cast() }
    }

    /// Bytes that the kernel writes no more until they are given back.
    fn bytes(&self, at: usize, n: usize) -> &[u8] {
        assert!(at + n <= self.bytes);
        // SAFETY: within the mapping; not given back before the borrow of the ring that they come from ends.
        unsafe { std::slice::from_raw_parts(self.start.add(at), n) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: this mapping, which nothing refers to any more.
        let _ = unsafe { munmap(self.start.cast(), self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn records_are_read_through_a_window() {
        let page = rustix::param::page_size();
        let bytes = 4 * WINDOW_BYTES;
        let mut file = tempfile::tempfile().unwrap();
        let all: Vec<u8> = (0..bytes).map(|at| (at * 31 / 7) as u8).collect();
        file.write_all(&vec![0xff; page]).unwrap();
        file.write_all(&all).unwrap();
        let mut records = Records::new(file.as_fd(), bytes, page).unwrap();
        let mut is_read = |position: usize, n: usize| {
            let expected: Vec<u8> = all.iter().cycle().skip(position % bytes).take(n).copied().collect();
            assert_eq!(records.read(file.as_fd(), position, n).unwrap(), expected, "{n} at {position}");
            let header = all[position % bytes..][..4].try_into().unwrap();
            assert_eq!(records.header(file.as_fd(), position).unwrap(), u32::from_ne_bytes(header));
        };
        // Within a window, to its end, over it, over all of the next one, and over the end of the records.
        is_read(8, 80);
        is_read(WINDOW_BYTES - 80, 80);
        is_read(WINDOW_BYTES - 8, 80);
        is_read(WINDOW_BYTES - 8, WINDOW_BYTES + 16);
        is_read(bytes - 8, 80);
        is_read(3 * bytes - 16, 80);
        is_read(7 * bytes, 80);
    }
}
