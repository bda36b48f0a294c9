//! What every output takes.

use super::{memory, servers};
use crate::options::common::OutputCommon;
use crate::service::budget::Budget;

/// What every output takes with these options: its buffer, what it writes at one time as text and packed, and its spool, which
/// reads and appends parts of that.
#[must_use]
pub fn of_all(common: &OutputCommon) -> Budget {
    let buffer = memory::most(common.metric_buffer_limit) as u64;
    let batch =
        common.metric_batch_size.min(common.metric_buffer_limit).saturating_mul(memory::BYTES_PER_POINT)
            as u64;
    let written = batch.saturating_mul(2 * servers::MAX_IN_FLIGHT_OF_V3 as u64);
    let spool = common.spool.as_ref().map_or(0, |spool| spool.limit);
    let appended = if common.spool.is_some() { buffer / 2 } else { 0 };
    Budget { memory: buffer.saturating_add(written).saturating_add(appended), disk: spool, connections: 0 }
}
