//! An input whose gathers run away from the thread of the runtime, so that one that hangs holds up no other.
//!
//! Inputs read files, which can block for ever: on a mount whose server is gone, in a `/proc` that a user-space file system
//! stands for. Gathers take turns on one thread, and one that is slow or waits for a server keeps it for itself.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::listener::queue::Queue;
use super::{Gathered, Given, Input};
use crate::service::turns::{Turn, Turns};

/// A gather of an input with a very short interval does not hang before this.
const MIN_LIMIT: Duration = Duration::from_secs(1);

/// An input, and the gather that is under way.
pub(crate) struct Offloaded {
    name: &'static str,
    turns: Turns,
    /// `None` while a gather has it.
    input: Option<Box<dyn Input>>,
    gather: Option<Turn<(Box<dyn Input>, Given)>>,
    queue: Option<Arc<Queue>>,
}

impl Offloaded {
    /// `turns` are those of [`Shared`](super::Shared).
    pub(crate) fn new(input: Box<dyn Input>, turns: &Turns) -> Self {
        let (name, queue) = (input.name(), input.queue());
        Self { name, turns: turns.clone(), input: Some(input), gather: None, queue }
    }

    /// Telegraf's name of the plugin.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// See [`Input::needs_two_readings`].
    pub(crate) fn needs_two_readings(&self) -> bool {
        self.input.as_ref().is_some_and(|input| input.needs_two_readings())
    }

    /// See [`Input::counts_end_with_it`]. Of one that a gather has, it is not known.
    pub(crate) fn counts_end_with_it(&self) -> bool {
        self.input.as_ref().is_none_or(|input| input.counts_end_with_it())
    }

    /// See [`Input::queue`]. It is there while a gather is under way, too.
    pub(crate) fn queue(&self) -> Option<Arc<Queue>> {
        self.queue.clone()
    }

    /// See [`Input::between`]. While a gather is under way there is nothing to do.
    pub(crate) async fn between(&mut self) {
        match &mut self.input {
            Some(input) => input.between().await,
            None => std::future::pending().await,
        }
    }

    /// Gathers, however long it takes. A gather that nobody waits for any more goes on, and is what the next one gives.
    pub(crate) async fn gather(&mut self, gathered: Gathered) -> Given {
        let gather = match (&mut self.gather, self.input.take()) {
            (gather, Some(input)) => gather.insert(start(input, gathered, &self.turns)),
            (Some(gather), None) => gather,
            // It is in one of the two places, unless a gather has panicked.
            (None, None) => return std::future::pending().await,
        };
        let (input, given) = gather.result().await;
        // One whose start is retried may have one since.
        self.queue = input.queue();
        (self.input, self.gather) = (Some(input), None);
        given
    }

    /// Gathers for at most as long as a gather of this interval may take. `None` when it hangs, which is logged once; until it
    /// ends, further calls do not wait for it.
    pub(crate) async fn gather_within(&mut self, gathered: Gathered, interval: Duration) -> Option<Given> {
        let hangs = self.gather.is_some();
        let limit = if hangs { Duration::ZERO } else { hang_limit(interval) };
        let given = tokio::time::timeout(limit, self.gather(gathered)).await.ok();
        if given.is_none() && !hangs {
            log_hang(limit);
        }
        given
    }
}

/// When a gather counts as one that hangs.
pub(crate) fn hang_limit(interval: Duration) -> Duration {
    interval.max(MIN_LIMIT)
}

/// Says that a gather hangs, within the input's span.
pub(crate) fn log_hang(limit: Duration) {
    tracing::error!(
        since = ?limit,
        "hangs: a file or mount that it reads gives no answer; the others go on without this input"
    );
}

/// Starts a gather.
fn start(mut input: Box<dyn Input>, mut gathered: Gathered, turns: &Turns) -> Turn<(Box<dyn Input>, Given)> {
    let runtime = Handle::current();
    turns.give(move |waiting| {
        let result = {
            let mut gather = input.gather(&mut gathered);
            runtime.block_on(poll_fn(|context| {
                let polled = gather.as_mut().poll(context);
                if polled.is_pending() {
                    waiting.pass_on();
                }
                polled
            }))
        };
        (input, (gathered, result))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::inputs::GatherError;
    use crate::point::Timestamp;

    /// Gathers when it is let, or at once without a gate.
    struct Gated(Option<mpsc::Receiver<()>>);

    #[async_trait::async_trait]
    impl Input for Gated {
        fn name(&self) -> &'static str {
            "gated"
        }

        async fn gather(&mut self, gathered: &mut Gathered) -> Result<(), GatherError> {
            if let Some(gate) = &self.0 {
                gate.recv().unwrap();
            }
            gathered.push(gathered.point("m").field("f", 1_i64));
            Ok(())
        }
    }

    fn at(time: i64) -> Gathered {
        Gathered::at(Timestamp(time))
    }

    #[tokio::test]
    async fn one_that_hangs_holds_up_no_other_and_gives_its_points_when_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let _log = crate::service::logging::to_file(&log);
        let turns = Turns::default();
        let (open, gate) = mpsc::channel();
        let mut hung = Offloaded::new(Box::new(Gated(Some(gate))), &turns);
        let mut fine = Offloaded::new(Box::new(Gated(None)), &turns);
        let (first, other) = tokio::join!(
            hung.gather_within(at(1), Duration::ZERO),
            fine.gather_within(at(1), Duration::ZERO)
        );
        assert!(first.is_none() && other.is_some());
        let start = std::time::Instant::now();
        assert!(hung.gather_within(at(2), Duration::ZERO).await.is_none());
        assert!(start.elapsed() < MIN_LIMIT / 2, "it is waited for once");
        open.send(()).unwrap();
        let (gathered, result) = hung.gather(at(3)).await;
        assert_eq!((gathered.time, gathered.points.len(), result.is_ok()), (Timestamp(1), 1, true));
        open.send(()).unwrap();
        assert_eq!(hung.gather(at(4)).await.0.time, Timestamp(4));
        assert_eq!(std::fs::read_to_string(log).unwrap().matches("] hangs: ").count(), 1);
    }

    /// Waits for a server, by the runtime's clock.
    struct Asks;

    #[async_trait::async_trait]
    impl Input for Asks {
        fn name(&self) -> &'static str {
            "asks"
        }

        async fn gather(&mut self, _: &mut Gathered) -> Result<(), GatherError> {
            tokio::time::sleep(Duration::from_millis(150)).await;
            Ok(())
        }
    }

    #[tokio::test]
    async fn one_that_waits_for_a_server_gives_up_its_turn() {
        let turns = Turns::default();
        let mut asking = Offloaded::new(Box::new(Asks), &turns);
        let mut fine = Offloaded::new(Box::new(Gated(None)), &turns);
        let start = std::time::Instant::now();
        let second = async {
            fine.gather(at(1)).await.1.unwrap();
            start.elapsed()
        };
        let (_, waited) = tokio::join!(asking.gather(at(1)), second);
        assert!(waited < Duration::from_millis(120), "{waited:?}");
        assert!(start.elapsed() >= Duration::from_millis(150));
    }
}
