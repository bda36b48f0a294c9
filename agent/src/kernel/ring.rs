//! The ring buffer's pages, and a reader that gives back what it has read when it is told to.
//!
//! aya's reader gives each record back as it reads the next one. An agent that is killed would then have lost what it had
//! read and not yet remembered; with pinned maps, the next one reads it again instead. The pages are those of
//! `kernel/bpf/ringbuf.c`: one that the reader writes its position to, one with that of the writers, and the records,
//! mapped twice in a row so that none is ever in two parts.

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

/// The reading end of a ring buffer.
pub struct Ring {
    map: MapData,
    consumer: Pages,
    /// With the records behind its first page.
    producer: Pages,
    mask: usize,
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
        let producer = Pages::map(fd, page + 2 * bytes, ProtFlags::READ, page)?;
        let position = consumer.word(0).load(Ordering::Acquire);
        Ok(Self { map, consumer, producer, mask: bytes - 1, position })
    }

    /// The next record; `None` when there is none that is whole.
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        loop {
            // Before the records up to there, which the kernel has written before.
            if self.position == self.written() {
                return None;
            }
            let at = rustix::param::page_size() + (self.position & self.mask);
            let header = self.producer.half_word(at).load(Ordering::Acquire);
            if header & BUSY != 0 {
                return None;
            }
            let bytes = (header & !DISCARDED) as usize;
            self.position += (HEADER_BYTES + bytes).next_multiple_of(8);
            if header & DISCARDED == 0 {
                return self.producer.bytes(at + HEADER_BYTES, bytes);
            }
        }
    }

    /// Gives back what was read.
    pub(super) fn give_back(&self) {
        self.consumer.word(0).store(self.position, Ordering::Release);
    }

    /// Whether what is read and not given back takes up half of it.
    pub(super) fn holds_much(&self) -> bool {
        let held = self.position.wrapping_sub(self.consumer.word(0).load(Ordering::Relaxed));
        held > self.mask / 2
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

    /// A record, which the kernel writes no more until it is given back.
    fn bytes(&self, at: usize, n: usize) -> Option<&[u8]> {
        // SAFETY: within the mapping; not given back before the borrow of the ring that it comes from ends.
        (at + n <= self.bytes).then(|| unsafe { std::slice::from_raw_parts(self.start.add(at), n) })
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: this mapping, which nothing refers to any more.
        let _ = unsafe { munmap(self.start.cast(), self.bytes) };
    }
}
