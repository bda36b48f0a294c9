//! The agent's own telemetry, gathered as any other input is.

use std::sync::Arc;

use crate::inputs::{GatherError, Gathered, Input};
use crate::service::telemetry::Telemetry;

/// The agent's own telemetry, at the agent's interval and at the end.
pub(super) struct OwnTelemetry(pub(super) Arc<Telemetry>);

#[async_trait::async_trait]
impl Input for OwnTelemetry {
    fn name(&self) -> &'static str {
        "seismograf"
    }

    fn counts_end_with_it(&self) -> bool {
        true
    }

    async fn gather(&mut self, gathered: &mut Gathered) -> Result<(), GatherError> {
        self.0.points(gathered.time).into_iter().for_each(|point| gathered.push(point));
        Ok(())
    }
}
