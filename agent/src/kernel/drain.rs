//! Empties the ring buffer: raw bytes to records, records to the caller.
//!
//! Wakes rarely (the kernel side signals when the ring is half full), and always drains fully: a partial drain would
//! leave the edge-triggered readiness unsignalled, and the reader would never wake up.

use std::io;

use aya::maps::{MapData, RingBuf};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::records::Record;

/// The ring buffer that the programs write to.
pub type Ring = RingBuf<MapData>;

/// What came out of the ring so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records read.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records that are not of the ABI: a fault of the agent's build.
    pub undecodable: u64,
}

/// The reading end of the ring buffer.
pub struct Drain {
    ring: AsyncFd<Ring>,
    counts: Counts,
}

impl Drain {
    /// Takes ownership of the ring. Call it within the runtime that will wait for it.
    ///
    /// # Errors
    /// When the runtime cannot watch the ring.
    pub fn new(ring: Ring) -> io::Result<Self> {
        // SAFETY: the ring owns its descriptor, gives the same one for as long as it lives, and lives in the `AsyncFd`.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }?;
        Ok(Self { ring, counts: Counts::default() })
    }

    /// Hands every record in the ring to `take`.
    pub fn drain(&mut self, mut take: impl FnMut(Record<'_>)) {
        while let Some(item) = self.ring.get_mut().next() {
            self.counts.records += 1;
            self.counts.bytes += item.len() as u64;
            match Record::decode(&item) {
                Some(record) => take(record),
                None => self.counts.undecodable += 1,
            }
        }
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
