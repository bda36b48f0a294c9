//! Delivers one batch: finds out which lines are stored, which are rejected for good, and which have to be retried.

use std::time::Duration;

use bytes::Bytes;

use super::batch::Batch;
use super::{Answer, Output, shortened};
use crate::service::telemetry::OutputCounts;

/// When this many lines of a batch are rejected one by one and none is stored, the cause is not the lines.
const MAX_REJECTED_OF_A_BATCH: usize = 8;

/// How a delivery went.
pub(super) enum Delivery {
    Done,
    /// `rest` is to be retried.
    Unfinished {
        rest: Vec<Bytes>,
        failure: Failure,
    },
}

/// Why something could not be delivered; see [`Answer::Retry`].
pub(super) struct Failure {
    pub(super) reason: String,
    pub(super) after: Option<Duration>,
    pub(super) route_only: bool,
}

/// Writes a batch; one that is rejected is halved until the bad lines stand alone.
///
/// Those are dropped and counted. Lines that were already stored and are sent again with a half change nothing on the
/// server: same series, same time.
pub(super) async fn deliver(
    output: &mut dyn Output,
    counts: &OutputCounts,
    Batch { route, lines: batch }: Batch,
) -> Delivery {
    // What is left to write, as ranges of the batch; the last one is next.
    let mut pending: Vec<_> = std::iter::once(0..batch.len()).collect();
    let (mut rejected, mut stored) = (Vec::new(), 0);
    let mut why = String::new();
    while let Some(range) = pending.pop() {
        match output.write(&route, &batch[range.clone()]).await {
            Answer::Stored { dropped, reason } => {
                stored += range.len();
                let written = (range.len() as u64).saturating_sub(dropped);
                counts.add(&counts.written, written);
                counts.add(&counts.rejected, dropped);
                if dropped > 0 {
                    tracing::error!(dropped, reason, "the server dropped points for good");
                }
            }
            Answer::Rejected(_) if range.len() > 1 => {
                let middle = range.start + range.len() / 2;
                pending.push(middle..range.end);
                pending.push(range.start..middle);
            }
            Answer::Rejected(reason) => {
                why = reason;
                rejected.push(range.start);
                if stored == 0 && rejected.len() >= MAX_REJECTED_OF_A_BATCH {
                    let reason = format!("every line is rejected, so the lines are not the cause: {why}");
                    let failure = Failure { reason, after: None, route_only: true };
                    return Delivery::Unfinished { rest: batch, failure };
                }
            }
            Answer::Retry { reason, after, route_only } => {
                pending.push(range);
                let mut rest: Vec<usize> = pending.into_iter().flatten().chain(rejected).collect();
                rest.sort_unstable();
                let rest = rest.into_iter().map(|i| batch[i].clone()).collect();
                return Delivery::Unfinished { rest, failure: Failure { reason, after, route_only } };
            }
        }
    }
    if let Some(&first) = rejected.first() {
        counts.add(&counts.rejected, rejected.len() as u64);
        let line = String::from_utf8_lossy(&batch[first]);
        let line = shortened(line.trim_end());
        tracing::error!(dropped = rejected.len(), reason = why, line, "the server rejected points for good");
    }
    Delivery::Done
}
