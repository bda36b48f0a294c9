//! What an input takes that others send to.

use super::{connections, http, intake, queue};
use crate::service::budget::Budget;

/// What an input takes that others send to: its queue, lines that have not ended, and the buffers of so many connections; 0 are
/// as many as there can be by default.
pub(in super::super) fn budget(connections: usize) -> Budget {
    let connections = if connections == 0 { connections::DEFAULT_LIMIT } else { connections };
    let memory =
        queue::LIMIT + intake::MAX_UNFINISHED + connections * (intake::FREE + http::serve::MAX_BUFFER);
    Budget { memory: memory as u64, disk: 0, connections: connections as u64 }
}
