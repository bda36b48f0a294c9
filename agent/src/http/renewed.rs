//! A client that takes up what its files say now: certificates and keys that were replaced, a name that was looked up.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::options::OptionError;
use crate::options::tls::Tls;
use crate::service::off_thread;

/// From one look at the files to the next.
const LOOK_PERIOD: Duration = Duration::from_secs(10);
/// How long a request waits for a look. A client that was built before is used when it takes longer.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

type Build = dyn Fn() -> Result<reqwest::Client, OptionError> + Send + Sync;

/// Builds a client, and builds it again when the content of a file has changed.
#[derive(Clone)]
pub(crate) struct RenewedClient {
    build: Arc<Build>,
    /// The files that the client is made of.
    files: Arc<[String]>,
    state: Arc<Mutex<State>>,
}

struct State {
    /// `None` until it is built.
    client: Option<reqwest::Client>,
    /// What the files said when it was built.
    content: u64,
    looked: Option<Instant>,
    /// What was said of files that cannot be used.
    problem: Option<String>,
}

impl std::fmt::Debug for RenewedClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RenewedClient").field("files", &self.files).finish_non_exhaustive()
    }
}

impl RenewedClient {
    /// A client of these TLS options that `build` makes. It is made now, unless making it waits for others, as looking up a name
    /// does; may block.
    ///
    /// # Errors
    /// Those of `build`.
    pub(crate) fn new(
        tls: &Tls,
        is_built_late: bool,
        build: impl Fn() -> Result<reqwest::Client, OptionError> + Send + Sync + 'static,
    ) -> Result<Self, OptionError> {
        let files = [&tls.tls_ca, &tls.tls_cert, &tls.tls_key];
        let files: Arc<[String]> = files.into_iter().filter(|path| !path.is_empty()).cloned().collect();
        let content = content(&files);
        let client = if is_built_late { None } else { Some(build()?) };
        let state = State { client, content, looked: None, problem: None };
        Ok(Self { build: Arc::new(build), files, state: Arc::new(Mutex::new(state)) })
    }

    /// The client, with what the files say now, or said a few seconds ago.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn get(&self) -> Result<reqwest::Client, String> {
        if let Some(client) = self.current() {
            return Ok(client);
        }
        let this = self.clone();
        let look = tokio::time::timeout(LOOK_LIMIT, off_thread::run(move || this.look())).await;
        let client = self.lock().client.clone();
        client.ok_or_else(|| match look {
            Ok(Err(error)) => error.to_string(),
            _ => "no answer in time to what the client needs first".to_owned(),
        })
    }

    /// The client, when there is nothing to look at.
    fn current(&self) -> Option<reqwest::Client> {
        let mut state = self.lock();
        let is_due = !self.files.is_empty() && state.looked.is_none_or(|at| at.elapsed() >= LOOK_PERIOD);
        if is_due {
            state.looked = Some(Instant::now());
        }
        state.client.clone().filter(|_| !is_due)
    }

    /// Looks at the files, and builds the client where it has to be.
    fn look(&self) -> Result<(), OptionError> {
        let content = content(&self.files);
        let is_first = {
            let state = self.lock();
            if state.client.is_some() && state.content == content {
                return Ok(());
            }
            state.client.is_none()
        };
        let built = (self.build)();
        let mut state = self.lock();
        match built {
            Ok(client) => {
                if !is_first {
                    tracing::info!(
                        files = self.files.join(", "),
                        "certificates were replaced and are taken up"
                    );
                }
                *state = State { client: Some(client), content, looked: state.looked, problem: None };
                Ok(())
            }
            Err(error) => {
                let problem = error.to_string();
                if !is_first && state.problem.as_ref() != Some(&problem) {
                    tracing::error!(
                        problem,
                        "certificates were replaced and cannot be used: the old ones stay"
                    );
                    state.problem = Some(problem);
                }
                Err(error)
            }
        }
    }

    /// Has the next request look at the files.
    #[cfg(test)]
    pub(super) fn forget_look(&self) {
        self.lock().looked = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A digest of what is in the files; one that cannot be read has none.
fn content(files: &[String]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in files {
        std::fs::read(path).ok().hash(&mut hasher);
    }
    hasher.finish()
}
