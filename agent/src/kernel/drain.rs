//! Empties the ring buffer: raw bytes to records, records to the caller.
//!
//! Wakes rarely (the kernel side signals when the ring is half full), and always drains fully: a partial drain would
//! leave the edge-triggered readiness unsignalled, and the reader would never wake up.

use std::io;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::early::{Early, Seen};
use super::records::Record;
use super::ring::Ring;

/// What came out of the ring so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// Records read.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records that are not of the ABI: a fault of the agent's build.
    pub undecodable: u64,
}

/// Where in a ring buffer one has read to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// The number of the ring's map, which no other one has until the next boot.
    pub ring: u32,
    /// Bytes since it was made.
    pub bytes: u64,
}

/// The reading end of the ring buffer.
pub struct Drain {
    ring: AsyncFd<Ring>,
    counts: Counts,
    early: Early,
}

impl Drain {
    /// Takes ownership of the ring. Call it within the runtime that will wait for it.
    ///
    /// # Errors
    /// When the runtime cannot watch the ring.
    pub fn new(ring: Ring) -> io::Result<Self> {
        // SAFETY: the ring owns its descriptor, gives the same one for as long as it lives, and lives in the `AsyncFd`.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }?;
        Ok(Self { ring, counts: Counts::default(), early: Early::default() })
    }

    /// Hands every record in the ring to `take`, without what was read of it before. They stay there until they are given back.
    pub fn read(&mut self, mut take: impl FnMut(Record<'_>)) {
        loop {
            let item = match self.ring.get_mut().next() {
                Ok(Some(item)) => item,
                Ok(None) => return,
                // What cannot be mapped now stays there, and counts where it overflows.
                Err(error) => {
                    tracing::warn!(%error, "cannot map the ring buffer: its records wait for the next gather");
                    return;
                }
            };
            self.counts.records += 1;
            self.counts.bytes += item.len() as u64;
            match Record::decode(item) {
                Some(record) => {
                    if let Some(record) = self.early.left(record) {
                        take(record);
                    }
                }
                None => self.counts.undecodable += 1,
            }
        }
    }

    /// Hands what is new to `take` of what will come through the ring.
    pub fn read_early(&mut self, seen: Seen, take: impl FnOnce(Record<'static>)) {
        if let Some(record) = self.early.read(seen) {
            take(record);
        }
    }

    /// What was read of rows that are still in their tables.
    #[must_use]
    pub fn early(&self) -> &Early {
        &self.early
    }

    /// Gives back what was read: the kernel may write there again, and nobody else can read it.
    pub fn give_back(&self) {
        self.ring.get_ref().give_back();
    }

    /// Whether what is read and not given back takes up half of the ring.
    #[must_use]
    pub fn holds_much(&self) -> bool {
        self.ring.get_ref().holds_much()
    }

    /// Up to where the ring is read.
    #[must_use]
    pub fn position(&self) -> Position {
        let ring = self.ring.get_ref();
        Position { ring: ring.id(), bytes: ring.position() }
    }

    /// Goes on where one before has read to; `false` when that is another ring, or the kernel has it no more.
    pub fn go_on(&mut self, from: Position, counts: Counts, early: Early) -> bool {
        let ring = self.ring.get_mut();
        let goes_on = from.ring == ring.id() && ring.skip_to(from.bytes);
        if goes_on {
            (self.counts, self.early) = (counts, early);
        }
        goes_on
    }

    /// What came out so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Waits until the kernel signals that the ring fills up. Safe to cancel.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub async fn ready(&mut self) -> io::Result<()> {
        self.ring.readable().await?.clear_ready();
        Ok(())
    }
}
