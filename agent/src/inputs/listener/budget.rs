//! What an input takes that others send to.

use super::{intake, queue};
use crate::listen::{connections, serve};
use crate::service::budget::Budget;

/// One with so many connections: its queue, lines that have not ended, and the buffers of each; 0 are as many as there can be by
/// default.
pub(in super::super) fn of_connections(max: usize) -> Budget {
    let n = if max == 0 { connections::DEFAULT_LIMIT } else { max };
    let buffers = n * (intake::FREE + serve::MAX_BUFFER);
    Budget {
        memory: (queue::LIMIT + intake::MAX_UNFINISHED + buffers) as u64,
        disk: 0,
        connections: n as u64,
    }
}

/// One that takes datagrams: its queue, and those that it is about to add.
pub(in super::super) fn of_datagrams() -> Budget {
    Budget { memory: (queue::LIMIT + intake::MAX_UNFINISHED) as u64, ..Budget::default() }
}
