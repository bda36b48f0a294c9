//! What an input takes that others send to.

use super::inflate::{self, Packing};
use super::{intake, queue};
use crate::listen::{connections, serve};
use crate::service::budget::Budget;

/// One that takes requests: its queue, lines that have not ended, and the buffers of each connection. Not what unpacks a body,
/// which lasts as long as the body comes: 80 KiB each.
pub(in super::super) fn of_requests() -> Budget {
    of_connections(0, serve::MAX_BUFFER)
}

/// One that takes streams on so many connections, of which it reads so many bytes at once; 0 are as many connections as there can
/// be by default.
pub(in super::super) fn of_streams(max: usize, read: usize, packing: Packing) -> Budget {
    let state = if packing == Packing::None { 0 } else { inflate::STATE };
    of_connections(max, read + state)
}

fn of_connections(max: usize, each: usize) -> Budget {
    let n = if max == 0 { connections::DEFAULT_LIMIT } else { max };
    let buffers = n * (intake::FREE + each);
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
