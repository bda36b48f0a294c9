//! A run that gathers and writes a single time: `--once`.

use std::sync::Arc;

use tokio::time::Instant;

use super::gatherer::{Work, gather_once};
use super::{Origin, Pipeline, SHUTDOWN_LIMIT};
use crate::config::Config;
use crate::inputs::offloaded::Offloaded;
use crate::inputs::{Shared, all_gave};

impl Pipeline {
    /// Gathers and writes a single time. Returns whether no input failed and every point was written; what is missing is logged.
    ///
    /// # Errors
    /// What cannot be built, with its place in the configuration.
    pub(crate) async fn once(
        mut config: Config,
        shared: Arc<Shared>,
        shutdown: impl Future<Output = ()>,
    ) -> anyhow::Result<bool> {
        let telemetry = Arc::clone(&shared.telemetry);
        let mut pipeline = Self::empty(shared);
        // The agent that runs has them.
        config.outputs.iter_mut().for_each(|output| output.common.spool = None);
        config.agent.health_address = None;
        let prepared = pipeline.prepare(config).await?;
        let fan = pipeline.apply_outputs(prepared.outputs, prepared.global_tags).await;
        let mut inputs = Vec::new();
        for (section, origin) in prepared.inputs {
            if let Origin::New(input) = origin {
                let counts = telemetry.input(section.options.name(), section.common.alias.as_deref());
                let work = Work {
                    common: section.common,
                    round: false,
                    fan: fan.clone(),
                    places: None,
                    telemetry: None,
                };
                inputs.push((Offloaded::new(input, &pipeline.shared.turns), work, counts));
            }
        }
        drop(fan);
        let failed = tokio::select! {
            failed = gather_once(&mut inputs) => failed,
            () = shutdown => 0,
        };
        drop(inputs);
        let is_written = pipeline.finish(Instant::now() + SHUTDOWN_LIMIT).await;
        let outputs = telemetry.outputs();
        let lost: u64 = outputs.iter().flat_map(|entry| entry.counts.losses.each()).map(|(_, n)| n).sum();
        if lost > 0 {
            tracing::error!(points = lost, "not all was written");
        }
        Ok(all_gave(failed) && is_written && lost == 0)
    }
}
