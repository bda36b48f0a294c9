//! The one place that knows every stage: starts a task for each input and each output, owns the channels between them,
//! and shuts down in the order of the flow, under a time limit.
//!
//! ```text
//! input -> name, tag, filter -> (channel of each output) -> filter, encode -> buffer -> batch -> output
//! ```
//!
//! All tasks share one thread. A gather of the kernel or of /proc is done on the spot; what waits for a peer is
//! asynchronous, and its channel is emptied while it waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clock;
use crate::config::{Agent, InputCommon, OutputSection};
use crate::inputs::{self, Input};
use crate::outputs::Sender;
use crate::point::{Point, Timestamp};
use crate::telemetry::Telemetry;

/// Gathers that may wait for an output to take them over; it does so even while it writes.
const CHANNEL_GATHERS: usize = 64;
/// How long everything may take that is done when the agent is told to stop. Kubernetes and systemd give 30 s and 90 s.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);

/// Where every input sends its points.
#[derive(Clone)]
struct Fan {
    outputs: Vec<mpsc::Sender<Arc<Vec<Point>>>>,
    telemetry: Arc<Telemetry>,
    global_tags: Arc<BTreeMap<String, String>>,
}

impl Fan {
    async fn send(&self, points: Vec<Point>) {
        if points.is_empty() {
            return;
        }
        self.telemetry.gathered.fetch_add(points.len() as u64, Ordering::Relaxed);
        let points = Arc::new(points);
        for output in &self.outputs {
            // Fails only when the output's task is gone, which ends the run.
            let _ = output.send(Arc::clone(&points)).await;
        }
    }
}

/// Gathers and writes until `shutdown` is over, or with `once` a single time. Returns whether every point was written.
///
/// # Errors
/// An output with an option that cannot be worked with.
pub async fn run(
    inputs: Vec<(Box<dyn Input>, InputCommon)>,
    outputs: Vec<OutputSection>,
    agent: Agent,
    global_tags: BTreeMap<String, String>,
    once: bool,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<bool> {
    let mut telemetry = Telemetry::default();
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let mut senders = Vec::new();
    for section in outputs {
        let (kind, place, common) = (section.options.name(), section.place, section.common);
        let built = section.options.build().with_context(|| format!("{place}: output `{kind}`"))?;
        for output in built {
            let name = common.alias.clone().unwrap_or_else(|| kind.to_owned());
            let n = names.entry(name.clone()).and_modify(|n| *n += 1).or_insert(1);
            // Two of a name would count into one series.
            let name = if *n > 1 { format!("{name}#{n}") } else { name };
            tracing::info!(output = name, to = output.place(), "write");
            let counts = telemetry.output(&name);
            senders.push(Sender::new(output, name, common.clone(), counts));
        }
    }

    let (mut channels, mut writing) = (Vec::new(), JoinSet::new());
    for sender in senders {
        let (send, receive) = mpsc::channel(CHANNEL_GATHERS);
        channels.push(send);
        writing.spawn(sender.run(receive));
    }
    let fan = Fan { outputs: channels, telemetry: Arc::new(telemetry), global_tags: Arc::new(global_tags) };

    tokio::pin!(shutdown);
    let deadline = if once {
        tokio::select! {
            () = gather_once(inputs, &fan) => {}
            () = &mut shutdown => {}
        }
        Instant::now() + SHUTDOWN_LIMIT
    } else {
        let (stop, stopped) = watch::channel(());
        let mut gathering = JoinSet::new();
        for (input, common) in inputs {
            gathering.spawn(Schedule::new(&common, &agent).run(input, common, fan.clone(), stopped.clone()));
        }
        gathering.spawn(report(agent.clone(), fan.clone(), stopped));
        tokio::select! {
            () = &mut shutdown => {}
            // None of them ends by itself.
            _ = gathering.join_next() => tracing::error!("an input's task ended"),
        }
        let deadline = Instant::now() + SHUTDOWN_LIMIT;
        drop(stop);
        if tokio::time::timeout_at(deadline, join(&mut gathering)).await.is_err() {
            tracing::warn!("an input did not end in time");
            gathering.abort_all();
        }
        deadline
    };
    // The outputs see the end of their channels and write what is left.
    drop(fan);
    let mut left = 0;
    while let Some(ended) = tokio::time::timeout_at(deadline, writing.join_next()).await.transpose() {
        match ended {
            Ok(Ok(n)) => left += n,
            Ok(Err(error)) => {
                tracing::error!(%error, "an output's task failed");
                left += 1;
            }
            Err(_) => {
                tracing::error!("an output did not end in time: its points are lost");
                return Ok(false);
            }
        }
    }
    if left > 0 {
        tracing::error!(points = left, "not written, and lost with the end of the agent");
    }
    Ok(left == 0)
}

async fn join(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "an input's task failed");
        }
    }
}

/// When an input gathers.
struct Schedule {
    interval: Duration,
    round: bool,
    offset: Duration,
    jitter: Duration,
}

impl Schedule {
    fn new(common: &InputCommon, agent: &Agent) -> Self {
        Self {
            interval: common.interval,
            round: agent.round_interval,
            offset: common.collection_offset,
            jitter: common.collection_jitter,
        }
    }

    /// Gathers at its times until `stopped` is closed, and once more then: what the kernel counted since would be lost
    /// with the agent.
    async fn run(
        self,
        mut input: Box<dyn Input>,
        common: InputCommon,
        fan: Fan,
        mut stopped: watch::Receiver<()>,
    ) {
        let mut first = true;
        loop {
            let mut wait = clock::until_next(Timestamp::now(), self.interval, self.round, self.offset);
            // Without rounding the first gather is at once, as in Telegraf.
            if first && !self.round {
                wait = Duration::ZERO;
            }
            first = false;
            let at = Instant::now() + wait + clock::jittered(self.jitter);
            let stop = tokio::select! {
                _ = stopped.changed() => true,
                () = tokio::time::sleep_until(at) => false,
                () = input.between() => {
                    // It has nothing to do in between any more.
                    tokio::select! {
                        _ = stopped.changed() => true,
                        () = tokio::time::sleep_until(at) => false,
                    }
                }
            };
            let start = Instant::now();
            fan.send(gather(&mut *input, &common, &fan, stop).await).await;
            if stop {
                return;
            }
            let took = start.elapsed();
            if took > self.interval {
                let missed = took.as_nanos() / self.interval.as_nanos().max(1);
                let missed = u64::try_from(missed).unwrap_or(u64::MAX);
                fan.telemetry.missed_gathers.fetch_add(missed, Ordering::Relaxed);
                let name = common.alias.as_deref().unwrap_or(input.name());
                tracing::warn!(input = name, ?took, interval = ?self.interval, missed, "a gather took longer than its interval");
            }
        }
    }
}

async fn gather(input: &mut dyn Input, common: &InputCommon, fan: &Fan, is_last: bool) -> Vec<Point> {
    let (points, is_whole) = inputs::gather(input, common, &fan.global_tags, is_last).await;
    if !is_whole {
        fan.telemetry.gather_errors.fetch_add(1, Ordering::Relaxed);
    }
    points
}

/// Every input once; those whose figures are differences see two readings.
async fn gather_once(mut inputs: Vec<(Box<dyn Input>, InputCommon)>, fan: &Fan) {
    for (input, common) in &mut inputs {
        gather(&mut **input, common, fan, false).await;
    }
    tokio::time::sleep(inputs::FIRST_READING).await;
    for (input, common) in &mut inputs {
        fan.send(gather(&mut **input, common, fan, true).await).await;
    }
}

/// The agent about itself, at the agent's interval and at the end.
async fn report(agent: Agent, fan: Fan, mut stopped: watch::Receiver<()>) {
    let common = InputCommon::of(&agent);
    loop {
        let wait = clock::until_next(Timestamp::now(), agent.interval, agent.round_interval, Duration::ZERO);
        let stop = tokio::select! {
            _ = stopped.changed() => true,
            () = tokio::time::sleep(wait) => false,
        };
        let points = fan.telemetry.points(Timestamp::now().rounded(agent.precision)).into_iter();
        fan.send(points.filter_map(|point| common.process(&fan.global_tags, point)).collect()).await;
        if stop {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
