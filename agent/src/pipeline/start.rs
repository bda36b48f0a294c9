//! Starting an input as its `startup_error_behavior` has it.

use std::sync::Arc;

use crate::config::{InputSection, Place};
use crate::inputs::{GatherError, Gathered, Input, Shared, span};
use crate::options::common::StartupErrorBehavior;
use crate::plugins::InputOptions;

/// An input that cannot start, and without which the agent must not.
#[derive(Debug, thiserror::Error)]
#[error("{place}: cannot start input `{name}`: {why}")]
pub(crate) struct CannotStart {
    /// Where its section is.
    pub place: Place,
    /// The input.
    pub name: &'static str,
    /// Why.
    pub why: String,
}

/// Makes the input of a section; `None` when it cannot start and the agent is to run without it. Call it within the
/// runtime.
///
/// # Errors
/// It cannot start, and nothing was said about that, or it is to be an error.
pub(crate) fn start(
    section: &InputSection,
    shared: &Arc<Shared>,
) -> Result<Option<Box<dyn Input>>, CannotStart> {
    let name = section.options.name();
    let _in_its_name = span(name, &section.common).entered();
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
            tracing::error!(%error, "cannot start: tried again at each gather");
            let (options, shared) = (section.options.clone(), Arc::clone(shared));
            Ok(Some(Box::new(Later { options, shared, input: None })))
        }
    }
}

/// An input that could not start yet.
struct Later {
    options: InputOptions,
    shared: Arc<Shared>,
    input: Option<Box<dyn Input>>,
}

#[async_trait::async_trait]
impl Input for Later {
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

    /// One that cannot start: its glob is none.
    fn section(behavior: StartupErrorBehavior) -> InputSection {
        let options = ebpf::Options { cgroup_include: vec!["[".into()], ..ebpf::Options::default() };
        InputSection {
            options: InputOptions::Ebpf(options),
            common: InputCommon { startup_error_behavior: behavior, ..InputCommon::default() },
            place: Place { file: "t.conf".into(), line: 3, column: 1 },
        }
    }

    #[tokio::test]
    async fn an_error_is_what_the_section_says_it_is() {
        let start = |behavior| start(&section(behavior), &Shared::new(Host::default()));
        let error = start(StartupErrorBehavior::Error).err().unwrap().to_string();
        assert!(error.starts_with("t.conf:3:1: cannot start input `ebpf`: "), "{error}");
        assert!(start(StartupErrorBehavior::Ignore).unwrap().is_none());
        let mut later = start(StartupErrorBehavior::Retry).unwrap().unwrap();
        assert_eq!(later.name(), "ebpf");
        let error = later.gather(&mut Gathered::at(Timestamp(0))).await.unwrap_err();
        assert!(error.to_string().starts_with("cannot start: "), "{error}");
    }
}
