//! The memory that the lines of one output take, counted as long as they are there, and how much it may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// Bytes for which a buffer has room, for each point of its limit; a point of this agent's has a third of that.
pub(super) const BYTES_PER_POINT: usize = 1 << 10;
/// Bytes for which the smallest one has room.
const LEAST: usize = 4 << 20;

/// How many bytes a buffer for so many points may take.
pub(super) fn most(limit: usize) -> usize {
    limit.saturating_mul(BYTES_PER_POINT).max(LEAST)
}

/// What is held by all texts of one output.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory(Arc<AtomicUsize>);

impl Memory {
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// A text that counts until the last part of it is dropped.
    pub(super) fn hold(&self, text: Vec<u8>) -> Bytes {
        self.0.fetch_add(text.capacity(), Ordering::Relaxed);
        Bytes::from_owner(Text { text, memory: self.clone() })
    }
}

struct Text {
    text: Vec<u8>,
    memory: Memory,
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        self.memory.0.fetch_sub(self.text.capacity(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_counts_as_long_as_a_part_of_it_is_there() {
        let memory = Memory::default();
        let (one, other) = (memory.hold(vec![b'a'; 100]), memory.hold(vec![b'b'; 10]));
        let part = one.slice(99..);
        drop((one, other));
        assert_eq!((memory.bytes(), &part[..]), (100, &b"a"[..]));
        drop(part);
        assert_eq!(memory.bytes(), 0);
    }
}
