//! Starts an input according to its `startup_error_behavior`.

use std::sync::Arc;

use crate::config::{InputSection, Place};
use crate::inputs::listener::queue::Queue;
use crate::inputs::{GatherError, Gathered, Input, Shared, span};
use crate::options::common::StartupErrorBehavior;
use crate::plugins::InputOptions;

/// An input that cannot start, and without which the agent must not start.
#[derive(Debug, thiserror::Error)]
#[error("{place}: cannot start input `{name}`: {why}")]
pub(crate) struct CannotStart {
    /// The place of its section.
    pub place: Place,
    /// The input.
    pub name: &'static str,
    /// Why.
    pub why: String,
}

/// Builds the input of a section; `None` when it cannot start and the agent is to run without it. Must be called within the
/// runtime.
///
/// # Errors
/// It cannot start, and `startup_error_behavior` is `error`, the default.
pub(crate) fn start(
    section: &InputSection,
    shared: &Arc<Shared>,
) -> Result<Option<Box<dyn Input>>, CannotStart> {
    let name = section.options.name();
    let _span = span(name, &section.common).entered();
    let error = match section.options.clone().build(shared) {
        Ok(input) => return Ok(Some(input)),
        Err(error) => error,
    };
    shared.telemetry.input_cannot_start(name, section.common.alias.as_deref());
    match section.common.startup_error_behavior {
        StartupErrorBehavior::Error => {
            Err(CannotStart { place: section.place.clone(), name, why: error.to_string() })
        }
        StartupErrorBehavior::Ignore => {
            tracing::error!(%error, "cannot start: the agent runs without this input");
            Ok(None)
        }
        StartupErrorBehavior::Retry => {
            tracing::error!(%error, "cannot start: the start is retried at each gather");
            let (options, shared) = (section.options.clone(), Arc::clone(shared));
            Ok(Some(Box::new(Deferred { options, shared, input: None })))
        }
    }
}

/// An input whose start is retried.
struct Deferred {
    options: InputOptions,
    shared: Arc<Shared>,
    input: Option<Box<dyn Input>>,
}

#[async_trait::async_trait]
impl Input for Deferred {
    fn name(&self) -> &'static str {
        self.options.name()
    }

    async fn gather(&mut self, gathered: &mut Gathered) -> Result<(), GatherError> {
        let input = match &mut self.input {
            Some(input) => input,
            none => {
                let built = self.options.clone().build(&self.shared);
                none.insert(built.map_err(|error| GatherError::Other(format!("cannot start: {error}")))?)
            }
        };
        input.gather(gathered).await
    }

    fn counts_end_with_it(&self) -> bool {
        self.input.as_ref().is_some_and(|input| input.counts_end_with_it())
    }

    fn queue(&self) -> Option<Arc<Queue>> {
        self.input.as_ref().and_then(|input| input.queue())
    }

    async fn between(&mut self) {
        match &mut self.input {
            Some(input) => input.between().await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use crate::inputs::ebpf;
    use crate::options::common::InputCommon;
    use crate::point::Timestamp;

    /// An input that cannot start: its glob is invalid.
    fn section(behavior: StartupErrorBehavior) -> InputSection {
        let options = ebpf::Options { cgroup_include: vec!["[".into()], ..ebpf::Options::default() };
        InputSection {
            options: InputOptions::Ebpf(options),
            common: InputCommon { startup_error_behavior: behavior, ..InputCommon::default() },
            place: Place { file: "t.conf".into(), line: 3, column: 1 },
        }
    }

    #[tokio::test]
    async fn an_error_is_treated_as_the_section_says() {
        let start = |behavior| start(&section(behavior), &Shared::new(Host::default()));
        let error = start(StartupErrorBehavior::Error).err().unwrap().to_string();
        assert!(error.starts_with("t.conf:3:1: cannot start input `ebpf`: "), "{error}");
        assert!(start(StartupErrorBehavior::Ignore).unwrap().is_none());
        let mut deferred = start(StartupErrorBehavior::Retry).unwrap().unwrap();
        assert_eq!(deferred.name(), "ebpf");
        let error = deferred.gather(&mut Gathered::at(Timestamp(0))).await.unwrap_err();
        assert!(error.to_string().starts_with("cannot start: "), "{error}");
    }
}
