//! The only place that knows every stage: starts a task for each input and each output, owns the channels between them,
//! changes them while they run, and shuts them down in the order of the flow, under a time limit.
//!
//! ```text
//! input -> name, tag, filter -> (channel of each output) -> filter, encode -> buffer -> batch -> output
//! ```
//!
//! All tasks share one thread, which nothing blocks: what reads or writes files, or builds what may do so, does it on another.
//! What waits for a peer is asynchronous, and its channel is drained while it waits.
//!
//! A start is a reload from nothing. A reload first builds everything that is new, so that a configuration that cannot be used
//! changes nothing. Then an input with the same options keeps its state and schedule, an output with the same destination
//! keeps its buffer, and whatever has no successor shuts down as at the end of the agent.

mod cardinality;
mod gatherer;
mod health;
mod once;
mod own;
mod spools;
pub(crate) mod start;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument as _;

use self::cardinality::Places;
use self::gatherer::{Fan, Gatherer, Work};
use self::own::OwnTelemetry;
use self::spools::Spool;
use self::start::start;
use crate::config::{Agent, Config, InputSection, OutputSection, Place};
use crate::inputs::offloaded::Offloaded;
use crate::inputs::{Input, Shared};
use crate::listen::endpoint::Endpoint;
use crate::options::OptionError;
use crate::options::common::OutputCommon;
use crate::outputs::Output;
use crate::outputs::sender::{Message, Sender};
use crate::plugins::{InputOptions, OutputOptions};
use crate::point::Tags;
use crate::service::telemetry::{Entry, InputCounts, OutputCounts};
use crate::service::{logging, off_thread};

/// Gathers that may be queued for an output; it receives them even while it writes.
const CHANNEL_GATHERS: usize = 64;
/// The time limit of a shutdown, within the 10 s that are promised. Kubernetes and systemd allow 30 s and 90 s.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(9);
/// The part of it in which the inputs gather once more; the rest is for the outputs.
const LAST_GATHER_LIMIT: Duration = Duration::from_secs(3);
/// For each input and output of a configuration to be built.
const BUILD_LIMIT: Duration = Duration::from_secs(30);

/// An order to a running pipeline.
pub(crate) enum Order {
    /// Continue with another configuration.
    Reload {
        /// The configuration, or why it cannot be used.
        loaded: anyhow::Result<Box<Config>>,
        /// Receives whether it was applied.
        done: oneshot::Sender<bool>,
    },
    /// Have every output write its buffer.
    Flush,
}

/// An input's task.
struct RunningInput {
    /// `None` for the agent's own telemetry, which always runs.
    options: Option<InputOptions>,
    alias: Option<String>,
    /// Dropping it ends the task.
    work: watch::Sender<Arc<Work>>,
    /// Completes when the task has ended.
    ended: oneshot::Receiver<()>,
}

/// An output's task.
struct RunningOutput {
    options: OutputOptions,
    destination: String,
    /// Its spool's directory.
    spool: Option<PathBuf>,
    entry: Arc<Entry<OutputCounts>>,
    /// Dropping it ends the task.
    messages: mpsc::Sender<Message>,
}

impl RunningOutput {
    /// Where its points go, and what it tells of its buffer.
    fn channel(&self) -> (mpsc::Sender<Message>, Arc<OutputCounts>) {
        (self.messages.clone(), Arc::clone(&self.entry.counts))
    }
}

/// Where an input of a new configuration comes from.
enum Origin {
    /// It runs already; its index among those that run.
    Kept(usize),
    New(Box<dyn Input>),
}

impl Origin {
    fn kept(&self) -> Option<usize> {
        match self {
            Self::Kept(i) => Some(*i),
            Self::New(_) => None,
        }
    }
}

/// An output of a configuration; a section can have several.
struct PreparedOutput {
    options: OutputOptions,
    common: OutputCommon,
    output: Box<dyn Output>,
    /// The running one with the same destination, whose buffer it takes over.
    predecessor: Option<usize>,
    spool: Option<Spool>,
}

/// A configuration with everything built, and nothing running yet.
struct Prepared {
    agent: Agent,
    global_tags: Tags,
    inputs: Vec<(InputSection, Origin)>,
    outputs: Vec<PreparedOutput>,
    health: Option<Endpoint>,
}

/// Everything that runs.
pub(crate) struct Pipeline {
    shared: Arc<Shared>,
    inputs: Vec<RunningInput>,
    outputs: Vec<RunningOutput>,
    gathering: JoinSet<()>,
    /// Each returns how many lines it could not write.
    writing: JoinSet<usize>,
    /// Where others ask whether it is alive.
    health: Option<Endpoint>,
}

impl Pipeline {
    /// Starts everything of a configuration. Must be called within the runtime.
    ///
    /// # Errors
    /// What cannot be built, with its place in the configuration.
    pub(crate) async fn start(config: Config, shared: Arc<Shared>) -> anyhow::Result<Self> {
        let mut pipeline = Self::empty(shared);
        let prepared = pipeline.prepare(config).await?;
        let names: Vec<&str> = prepared.inputs.iter().map(|(section, _)| section.options.name()).collect();
        tracing::info!(inputs = names.join(", "), interval = ?prepared.agent.interval, "gather");
        let spools =
            prepared.outputs.iter().filter_map(|output| Some(output.spool.as_ref()?.directory.clone()));
        spools::report_abandoned(spools.collect()).await;
        pipeline.apply(prepared).await;
        Ok(pipeline)
    }

    fn empty(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            inputs: Vec::new(),
            outputs: Vec::new(),
            gathering: JoinSet::new(),
            writing: JoinSet::new(),
            health: None,
        }
    }

    /// Gathers and writes until `shutdown` completes. Returns whether every point was written.
    pub(crate) async fn run(
        mut self,
        mut orders: mpsc::Receiver<Order>,
        shutdown: impl Future<Output = ()>,
    ) -> bool {
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(order) = orders.recv() => tokio::select! {
                    // A reload that is not over is over with the agent.
                    () = &mut shutdown => break,
                    () = self.handle(order) => {}
                },
                // Tasks that a reload has removed end on their own.
                Some(ended) = self.gathering.join_next() => input_ended(ended),
                Some(ended) = self.writing.join_next() => {
                    output_ended(ended);
                }
            }
        }
        let deadline = Instant::now() + SHUTDOWN_LIMIT;
        self.inputs.clear();
        let gathering = &mut self.gathering;
        let all = async {
            while let Some(ended) = gathering.join_next().await {
                input_ended(ended);
            }
        };
        if tokio::time::timeout(LAST_GATHER_LIMIT, all).await.is_err() {
            tracing::warn!("an input did not end in time: what it would have gathered at the end is lost");
            self.gathering.abort_all();
        }
        self.finish(deadline).await
    }

    /// Ends the outputs: they see the end of their channels and write what is left. Returns whether they could.
    async fn finish(mut self, deadline: Instant) -> bool {
        self.outputs.clear();
        let mut is_whole = true;
        while let Some(ended) = tokio::time::timeout_at(deadline, self.writing.join_next()).await.transpose()
        {
            match ended {
                Ok(ended) => is_whole &= output_ended(ended),
                Err(_) => {
                    self.shared.telemetry.outputs().iter().filter(|entry| entry.runs()).for_each(give_up);
                    return false;
                }
            }
        }
        is_whole
    }

    async fn handle(&mut self, order: Order) {
        match order {
            Order::Flush => {
                tracing::info!("flush");
                for output in &self.outputs {
                    let _ = output.messages.send(Message::Flush).await;
                }
            }
            Order::Reload { loaded, done } => {
                let prepared = match loaded {
                    Ok(config) => self.prepare(*config).await,
                    Err(error) => Err(error),
                };
                let is_applied = match prepared {
                    Ok(prepared) => {
                        self.apply(prepared).await;
                        self.shared.telemetry.reloads.fetch_add(1, Ordering::Relaxed);
                        tracing::info!(
                            inputs = self.inputs.len() - 1,
                            outputs = self.outputs.len(),
                            "reloaded"
                        );
                        true
                    }
                    Err(error) => {
                        self.shared.telemetry.reload_errors.fetch_add(1, Ordering::Relaxed);
                        // A log line for each, so that no line of a message is without a time and level.
                        for problem in format!("{error:#}").lines() {
                            tracing::error!("not reloaded, all goes on as before: {problem}");
                        }
                        false
                    }
                };
                // The receiver may be gone.
                let _ = done.send(is_applied);
            }
        }
    }

    /// Builds what does not run yet, and leaves everything that runs alone.
    async fn prepare(&self, config: Config) -> anyhow::Result<Prepared> {
        if config.inputs.is_empty() {
            bail!("no inputs: add one to the configuration, such as [[inputs.ebpf]]");
        }
        if config.outputs.is_empty() {
            bail!(
                "no outputs: add one to the configuration, such as [[outputs.influxdb]], or use `seismograf dump`"
            );
        }
        // Outputs first: they are cheap to build.
        let outputs = self.prepare_outputs(&config.outputs).await?;
        let mut kept = vec![false; self.inputs.len()];
        let mut inputs = Vec::new();
        for section in config.inputs {
            let is_same = |of: &RunningInput| of.options.as_ref() == Some(&section.options);
            let free = || self.inputs.iter().enumerate().filter(|(i, input)| !kept[*i] && is_same(input));
            let running =
                free().find(|(_, input)| input.alias == section.common.alias).or_else(|| free().next());
            if let Some((i, _)) = running {
                kept[i] = true;
                inputs.push((section, Origin::Kept(i)));
                continue;
            }
            let (of, shared) = (section.clone(), Arc::clone(&self.shared));
            let name = section.options.name();
            match build(&section.place, "input", name, move || start(&of, &shared)).await {
                Ok(started) => inputs.extend(started?.map(|input| (section, Origin::New(input)))),
                // One that hangs holds up no other, here as later.
                Err(error) => tracing::error!("{error:#}; the others go on without it"),
            }
        }
        let health = health::bind(config.agent.health_address.clone(), &self.shared).await?;
        Ok(Prepared { agent: config.agent, global_tags: config.global_tags, inputs, outputs, health })
    }

    /// Each output is built anew, also one whose options are what they were: the files that they name may not be.
    async fn prepare_outputs(&self, sections: &[OutputSection]) -> anyhow::Result<Vec<PreparedOutput>> {
        let mut kept = vec![false; self.outputs.len()];
        let mut outputs = Vec::new();
        for OutputSection { options, common, place } in sections {
            let (name, of) = (options.name(), options.clone());
            let shared = Arc::clone(&self.shared);
            let built = build(place, "output", name, move || {
                let mut outputs = of.build()?;
                for output in &mut outputs {
                    output.bind(&shared.sockets, &shared.telemetry)?;
                }
                Ok::<_, OptionError>(outputs)
            });
            for output in built.await?.with_context(|| format!("{place}: output `{name}`"))? {
                let destination = output.destination();
                let taken = outputs.iter().filter_map(|other: &PreparedOutput| other.spool.as_ref());
                let directory = spools::directory(common, name, &destination, taken);
                let predecessor = self.outputs.iter().enumerate().position(|(i, running)| {
                    let is_same = running.options.name() == name && running.destination == destination;
                    !kept[i] && is_same && running.spool == directory
                });
                if let Some(i) = predecessor {
                    kept[i] = true;
                }
                let spool = match directory {
                    Some(directory) => {
                        let (limits, is_new) = (spools::limits(common), predecessor.is_none());
                        let open = move || Spool::open(directory, limits, is_new);
                        let opened = build(place, "output", name, open).await?;
                        Some(opened.with_context(|| format!("{place}: output `{name}`"))?)
                    }
                    None => None,
                };
                let (options, common) = (options.clone(), common.clone());
                outputs.push(PreparedOutput { options, common, output, predecessor, spool });
            }
        }
        Ok(outputs)
    }

    /// Applies a configuration. This cannot fail.
    async fn apply(&mut self, prepared: Prepared) {
        let Prepared { agent, global_tags, inputs, outputs, health } = prepared;
        let is_start = self.inputs.is_empty();
        // The one of before accepts no more, and this one does.
        self.health = health;
        if let Some(endpoint) = &self.health {
            health::serve(endpoint, Arc::clone(&self.shared.telemetry));
        }
        let fan = self.apply_outputs(outputs, global_tags).await;
        let mut running: Vec<Option<RunningInput>> = self.inputs.drain(..).map(Some).collect();
        let own_telemetry = running.pop().flatten();
        let kept: Vec<usize> = inputs.iter().filter_map(|(_, origin)| origin.kept()).collect();
        let gone = running.iter_mut().enumerate().filter(|(i, _)| !kept.contains(i));
        end(gone.filter_map(|(_, input)| input.take()).collect()).await;
        let places = Places::new(agent.metric_series_limit, inputs.len());
        for (section, origin) in inputs {
            let work = Work {
                common: section.common,
                round: agent.round_interval,
                fan: fan.clone(),
                places: Some(Arc::clone(&places)),
                telemetry: self.health.is_some().then(|| Arc::clone(&self.shared.telemetry)),
            };
            match origin {
                Origin::Kept(i) => {
                    if let Some(mut input) = running[i].take() {
                        input.alias.clone_from(&work.common.alias);
                        // Fails only if the task is gone.
                        let _ = input.work.send(Arc::new(work));
                        self.inputs.push(input);
                    }
                }
                Origin::New(input) => {
                    let counts =
                        self.shared.telemetry.input(section.options.name(), work.common.alias.as_deref());
                    self.spawn_input(input, Some(section.options), work, Some(counts), !is_start);
                }
            }
        }
        // Without them the task goes on: a later reload may want them again.
        let fan = if agent.self_metrics { fan } else { Fan { outputs: Vec::new(), ..fan } };
        let (common, round) = (agent.input_common(), agent.round_interval);
        let work = Work { common, round, fan, places: None, telemetry: None };
        match own_telemetry {
            Some(input) => {
                let _ = input.work.send(Arc::new(work));
                self.inputs.push(input);
            }
            // Always the last one.
            None => {
                self.spawn_input(
                    Box::new(OwnTelemetry(Arc::clone(&self.shared.telemetry))),
                    None,
                    work,
                    None,
                    false,
                );
            }
        }
    }

    /// Applies the outputs of a configuration, and returns the channels to them.
    async fn apply_outputs(&mut self, outputs: Vec<PreparedOutput>, global_tags: Tags) -> Fan {
        let mut running: Vec<Option<RunningOutput>> = self.outputs.drain(..).map(Some).collect();
        let keeps = outputs.iter().any(|output| output.spool.is_some());
        for PreparedOutput { options, common, mut output, predecessor, spool } in outputs {
            if let Some(spool) = &spool {
                output.keep_state(&spool.directory);
            }
            let Some(mut running) = predecessor.and_then(|i| running[i].take()) else {
                self.spawn_output(output, options, common, spool);
                continue;
            };
            let limits = spool.map(|spool| spool.limits);
            let change = Message::Change { output, common: Box::new(common), limits };
            // Fails only if the task is gone.
            let _ = running.messages.send(change).await;
            running.options = options;
            self.outputs.push(running);
        }
        // The remaining ones see the end of their channels after the last gather that knows them.
        drop(running);
        let outputs = self.outputs.iter().map(RunningOutput::channel).collect();
        Fan { outputs, global_tags: Arc::new(global_tags), keeps }
    }

    fn spawn_output(
        &mut self,
        output: Box<dyn Output>,
        options: OutputOptions,
        common: OutputCommon,
        spool: Option<Spool>,
    ) {
        let (messages, receive) = mpsc::channel(CHANNEL_GATHERS);
        let (plugin, alias) = (options.name(), common.alias.as_deref());
        let entry = self.shared.telemetry.output(plugin, alias);
        let span = logging::plugin("outputs", plugin, alias, common.log_level);
        span.in_scope(|| {
            tracing::info!(to = output.place(), "write");
            spool.iter().for_each(Spool::report);
        });
        let (destination, directory) = (output.destination(), spool.as_ref().map(|s| s.directory.clone()));
        let running =
            RunningOutput { options, destination, spool: directory, entry: Arc::clone(&entry), messages };
        self.outputs.push(running);
        let mut sender = Sender::new(output, common, Arc::clone(&entry.counts));
        if let Some(spool) = spool {
            sender = span.in_scope(|| spool.give(sender));
        }
        self.writing.spawn(write(sender, receive, entry).instrument(span));
    }

    fn spawn_input(
        &mut self,
        input: Box<dyn Input>,
        options: Option<InputOptions>,
        work: Work,
        counts: Option<Arc<Entry<InputCounts>>>,
        reads_first: bool,
    ) {
        let alias = work.common.alias.clone();
        let (send, receive) = watch::channel(Arc::new(work));
        let (done, ended) = oneshot::channel();
        self.inputs.push(RunningInput { options, alias, work: send, ended });
        let input = Offloaded::new(input, &self.shared.turns);
        let gatherer = Gatherer::new(input, receive, counts, Arc::clone(&self.shared.clock));
        self.gathering.spawn(async move {
            gatherer.run(reads_first).await;
            // The reload that waits for it may be over.
            let _ = done.send(());
        });
    }
}

/// Ends inputs that have no successor, before what is new begins: it goes on with what they leave. One that hangs is not waited
/// for.
async fn end(gone: Vec<RunningInput>) {
    let ended: Vec<_> = gone.into_iter().map(|input| input.ended).collect();
    let all = async {
        for ended in ended {
            // An error is the end of a task that has failed.
            let _ = ended.await;
        }
    };
    if tokio::time::timeout(LAST_GATHER_LIMIT, all).await.is_err() {
        tracing::warn!("an input does not end: what is new begins without what it had");
    }
}

/// Builds an input or output, which may read files, on another thread.
///
/// # Errors
/// It hangs.
async fn build<T: Send + 'static>(
    place: &Place,
    kind: &str,
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<T> {
    let built = tokio::time::timeout(BUILD_LIMIT, off_thread::run(work)).await;
    built.map_err(|_| {
        let why = "a file or mount that it reads at the start gives no answer";
        anyhow::anyhow!("{place}: {kind} `{name}` is not ready after {BUILD_LIMIT:?}: {why}")
    })
}

/// Counts what an output that does not end leaves.
fn give_up(entry: &Arc<Entry<OutputCounts>>) {
    let value = |of: &std::sync::atomic::AtomicU64| of.load(Ordering::Relaxed);
    let points = value(&entry.counts.waiting).saturating_sub(value(&entry.counts.kept));
    entry.counts.losses.ended.fetch_add(points, Ordering::Relaxed);
    tracing::error!(output = entry.name, points, "did not end in time: its points are lost");
}

fn input_ended(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "an input's task failed");
    }
}

/// Returns whether it wrote everything.
fn output_ended(ended: Result<usize, tokio::task::JoinError>) -> bool {
    match ended {
        Ok(left) => left == 0,
        Err(error) => {
            tracing::error!(%error, "an output's task failed");
            false
        }
    }
}

/// The task of an output. Returns how many lines are lost when it ends.
async fn write(sender: Sender, messages: mpsc::Receiver<Message>, entry: Arc<Entry<OutputCounts>>) -> usize {
    let left = sender.run(messages).await;
    if left > 0 {
        tracing::error!(points = left, "not written, and lost with the end of the output");
        entry.counts.losses.ended.fetch_add(left as u64, Ordering::Relaxed);
    }
    let kept = entry.counts.kept.load(Ordering::Relaxed);
    if kept > 0 {
        tracing::info!(points = kept, "not written yet, and kept on the disk for the next start");
    }
    entry.counts.waiting.store(0, Ordering::Relaxed);
    entry.ended();
    left
}

#[cfg(test)]
mod tests;
