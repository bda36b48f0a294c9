//! Gathers for somebody who looks: `dump`, `top` and `serve` start the inputs of a configuration, and no output.

mod without_probes;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument as _;

use self::without_probes::WithoutProbes;
use crate::config::Config;
use crate::inputs::offloaded::Offloaded;
use crate::inputs::{self, Gathered, Shared};
use crate::kernel::plan::Probe;
use crate::options::common::{InputCommon, auto_precision};
use crate::pipeline::start::start;
use crate::plugins::InputOptions;
use crate::point::{Point, Tags};
use crate::schema;
use crate::service::off_thread;

/// What times are rounded to for a screen.
const FINE: Duration = Duration::from_millis(1);

/// Inputs that are gathered together.
pub(crate) struct Looking {
    /// Each with its common options.
    pub(crate) inputs: Vec<(Offloaded, InputCommon)>,
    /// Tags of every point.
    pub(crate) global_tags: Tags,
    /// The time from one gather to the next.
    pub(crate) interval: Duration,
    /// How many inputs failed at the last gather.
    pub(crate) failed: usize,
    /// What stands in for probes that are off.
    without_probes: Option<Box<WithoutProbes>>,
}

impl Looking {
    /// Starts the inputs of a configuration.
    ///
    /// # Errors
    /// An input that cannot start.
    pub(crate) fn start(config: Config, interval: Duration, shared: &Arc<Shared>) -> anyhow::Result<Self> {
        let mut inputs = Vec::new();
        for section in config.inputs {
            if let Some(input) = start(&section, shared)? {
                let precision = precision(&section.common, interval);
                let input = Offloaded::new(input, &shared.turns);
                inputs.push((input, InputCommon { precision, ..section.common }));
            }
        }
        Ok(Self::new(inputs, config.global_tags, interval))
    }

    /// Of inputs that are there.
    pub(crate) fn new(inputs: Vec<(Offloaded, InputCommon)>, global_tags: Tags, interval: Duration) -> Self {
        Self { inputs, global_tags, interval, failed: 0, without_probes: None }
    }

    /// Has times that are fine enough for the rates of one look: rounded to the second, a look could be none or two.
    pub(crate) fn sharpen(&mut self) {
        for (_, common) in &mut self.inputs {
            common.precision = common.precision.min(FINE);
        }
    }

    /// Has rows read from cgroupfs where the input `ebpf` has none, since a person wants to see something.
    pub(crate) fn stand_in(&mut self, shared: &Arc<Shared>) {
        self.without_probes = Some(Box::new(WithoutProbes::new(shared)));
    }

    /// Waits for the next gather, while the inputs do their work in between.
    pub(crate) async fn wait(&mut self, until: Instant) {
        let mut between: Vec<_> =
            self.inputs.iter_mut().map(|(input, _)| Box::pin(input.between())).collect();
        let all = std::future::poll_fn(|context| {
            for future in &mut between {
                // A future that is done has nothing to wait for any more.
                let _ = future.as_mut().poll(context);
            }
            std::task::Poll::<()>::Pending
        });
        tokio::select! {
            () = all => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }

    /// The points of all inputs now.
    pub(crate) async fn gather(&mut self) -> Vec<Point> {
        let mut points = Vec::new();
        self.failed = 0;
        for (input, common) in &mut self.inputs {
            let span = inputs::span(input.name(), common);
            let interval = if self.interval.is_zero() { common.interval } else { self.interval };
            // Nothing waits for the next gather, since nobody may look at it.
            let gathered = Gathered { is_last: true, ..inputs::begin(common, false) };
            let gather = input.gather_within(gathered, interval);
            let (gathered, is_whole) = match gather.instrument(span.clone()).await {
                Some(given) => span.in_scope(|| inputs::finish(given, common, &self.global_tags)),
                None => (Vec::new(), false),
            };
            points.extend(gathered);
            self.failed += usize::from(!is_whole);
        }
        // Once the probes have answered, nothing has to stand in for them.
        if points.iter().any(|point| point.measurement == schema::SELF) {
            self.without_probes = None;
        }
        if let Some(mut without) = self.without_probes.take() {
            let read;
            (read, without) = off_thread::run(move || (without.gather(), without)).await;
            self.without_probes = Some(without);
            let common = InputCommon { precision: FINE, ..InputCommon::default() };
            points.extend(inputs::process(read, &common, &self.global_tags));
        }
        points
    }
}

/// A look with a shorter interval than configured needs a finer precision; `--test`, which has no interval, does not.
fn precision(common: &InputCommon, interval: Duration) -> Duration {
    if interval.is_zero() { common.precision } else { common.precision.min(auto_precision(interval)) }
}

/// Adds the probes that cost too much for every day and say most to a person: waiting for a CPU, retransmits.
pub(crate) fn add_probes(config: &mut Config) {
    for section in &mut config.inputs {
        if let InputOptions::Ebpf(options) = &mut section.options {
            for probe in [Probe::Runqueue, Probe::Tcp] {
                if !options.probes.is_empty() && !options.probes.contains(&probe) {
                    options.probes.push(probe);
                }
            }
        }
    }
}

/// Whether the locale has more than ASCII.
pub(crate) fn is_unicode() -> bool {
    let set = |name| std::env::var(name).ok().filter(|locale| !locale.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default().to_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}
