//! The memory of all scrapes of an input: pages as they come in, and points until they are handed on.
//!
//! A sample of four bytes is a point of half a kilobyte, so that the size of a page says little.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::http::size;

/// A page with its points may take so many times what a page alone may have. With the default that is some 80,000 samples.
pub(super) const PER_PAGE_BYTE: usize = 4;
/// All targets together may take as much as so many of them.
pub(super) const MAX_PAGES: usize = 4;

/// Bytes that all scrapes of an input may hold together.
#[derive(Debug)]
pub(super) struct Room {
    limit: usize,
    held: AtomicUsize,
}

impl Room {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, held: AtomicUsize::new(0) })
    }
}

/// More is held than there is room for. Both have the bytes of the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoRoom {
    #[error(
        "the page with its points takes more than {}, {PER_PAGE_BYTE} times what `content_length_limit` lets a page have: raise it, or have the target show less",
        size(*.0)
    )]
    OfOne(usize),
    #[error(
        "all pages that are scraped at once take more than {} with their points, which follows from `content_length_limit`: raise it, or scrape fewer targets",
        size(*.0)
    )]
    OfAll(usize),
}

/// What one scrape holds, until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    room: Arc<Room>,
    limit: usize,
    bytes: usize,
}

impl Held {
    /// Nothing so far, and at most `limit` bytes.
    pub(super) fn new(room: &Arc<Room>, limit: usize) -> Self {
        Self { room: Arc::clone(room), limit, bytes: 0 }
    }

    /// It is so many bytes now.
    ///
    /// # Errors
    /// That is too much, and to be dropped with this.
    pub(super) fn set(&mut self, bytes: usize) -> Result<(), NoRoom> {
        self.room.held.fetch_add(bytes, Ordering::Relaxed);
        let all = self.room.held.fetch_sub(self.bytes, Ordering::Relaxed) - self.bytes;
        self.bytes = bytes;
        if bytes > self.limit {
            Err(NoRoom::OfOne(self.limit))
        } else if all > self.room.limit {
            Err(NoRoom::OfAll(self.room.limit))
        } else {
            Ok(())
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_scrape_and_all_together_have_a_limit() {
        let room = Room::new(10);
        let [mut a, mut b] = [(); 2].map(|()| Held::new(&room, 6));
        assert_eq!((a.set(6), a.set(7), a.set(5)), (Ok(()), Err(NoRoom::OfOne(6)), Ok(())));
        assert_eq!((b.set(5), b.set(6)), (Ok(()), Err(NoRoom::OfAll(10))));
        drop(b);
        assert_eq!(a.set(6), Ok(()));
        drop(a);
        assert_eq!(room.held.load(Ordering::Relaxed), 0);
    }
}
