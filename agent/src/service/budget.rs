//! What the agent takes of a machine at most, part by part.

use std::iter::Sum;
use std::ops::Add;

/// What one part takes at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Bytes of memory, its own and the kernel's for it.
    pub memory: u64,
    /// Bytes of files that it keeps.
    pub disk: u64,
    /// Connections.
    pub connections: u64,
}

impl Add for Budget {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            memory: self.memory.saturating_add(other.memory),
            disk: self.disk.saturating_add(other.disk),
            connections: self.connections.saturating_add(other.connections),
        }
    }
}

impl Sum for Budget {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), Self::add)
    }
}
