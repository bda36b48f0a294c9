//! One batch and the answers of the other side: what is stored, what is rejected for good, and what has to wait.

use std::time::Duration;

use bytes::Bytes;

use super::batch::Batch;
use super::{Answer, Output, shortened};
use crate::service::telemetry::OutputCounts;

/// When a batch has this many lines refused one by one and none stored, it is not the lines that the server minds.
const MOST_REFUSED_OF_A_BATCH: usize = 8;

/// How a delivery went.
pub(super) enum Delivery {
    Done,
    Later { rest: Vec<Bytes>, failure: Failure },
}

/// Why something could not be delivered; see [`Answer::Later`].
pub(super) struct Failure {
    pub(super) reason: String,
    pub(super) after: Option<Duration>,
    pub(super) only_here: bool,
}

/// Hands a batch over; one that is refused is halved until the lines that are minded stand alone.
///
/// Those are dropped and counted. Lines that were stored already and come again with a half change nothing at the
/// server: same series, same time.
pub(super) async fn deliver(
    output: &mut dyn Output,
    counts: &OutputCounts,
    Batch { route, lines: batch }: Batch,
) -> Delivery {
    // What is still to be written, as ranges of the batch; the last one is next.
    let mut todo: Vec<_> = std::iter::once(0..batch.len()).collect();
    let (mut refused, mut stored) = (Vec::new(), 0);
    let mut why = String::new();
    while let Some(range) = todo.pop() {
        match output.write(&route, &batch[range.clone()]).await {
            Answer::Stored { dropped, reason } => {
                stored += range.len();
                let written = (range.len() as u64).saturating_sub(dropped);
                counts.add(&counts.written, written);
                counts.add(&counts.refused, dropped);
                if dropped > 0 {
                    tracing::error!(dropped, reason, "the server dropped points for good");
                }
            }
            Answer::Refused(_) if range.len() > 1 => {
                let middle = range.start + range.len() / 2;
                todo.push(middle..range.end);
                todo.push(range.start..middle);
            }
            Answer::Refused(reason) => {
                why = reason;
                refused.push(range.start);
                if stored == 0 && refused.len() >= MOST_REFUSED_OF_A_BATCH {
                    let reason = format!("every line is refused, so it is none of theirs: {why}");
                    let failure = Failure { reason, after: None, only_here: true };
                    return Delivery::Later { rest: batch, failure };
                }
            }
            Answer::Later { reason, after, only_here } => {
                todo.push(range);
                let mut rest: Vec<usize> = todo.into_iter().flatten().chain(refused).collect();
                rest.sort_unstable();
                let rest = rest.into_iter().map(|i| batch[i].clone()).collect();
                return Delivery::Later { rest, failure: Failure { reason, after, only_here } };
            }
        }
    }
    if let Some(&first) = refused.first() {
        counts.add(&counts.refused, refused.len() as u64);
        let line = String::from_utf8_lossy(&batch[first]);
        let line = shortened(line.trim_end());
        tracing::error!(dropped = refused.len(), reason = why, line, "the server refuses points for good");
    }
    Delivery::Done
}
