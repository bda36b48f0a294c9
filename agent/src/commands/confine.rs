//! Gives up privileges once a run has started, and holds later configurations against what is left.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::host;
use crate::config::Config;
use crate::service::off_thread;
use crate::service::privilege::{self, ADVICE, Files};

/// How long directories may take to be looked at. One of a mount that hangs does not end.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// What says which files a run needs.
pub(super) struct Needs {
    pub(super) config: Config,
    /// What the command line names.
    pub(super) named: Vec<PathBuf>,
    /// The cgroup hierarchies.
    pub(super) mounts: Vec<PathBuf>,
    pub(super) pidfile: Option<PathBuf>,
}

impl Needs {
    /// Looks at what they name: it may hang.
    fn files(&self) -> Files {
        let mut files = self.config.files(&host(), |name| std::env::var(name).ok());
        self.named.iter().for_each(|path| files.read(path));
        self.mounts.iter().for_each(|mount| files.read_below(mount));
        self.pidfile.iter().for_each(|path| files.remove(path));
        files
    }
}

/// Gives up all that the agent does not need any more. Returns the files that it still reaches, where these are not all.
pub(super) async fn confine(needs: Needs) -> anyhow::Result<Option<Files>> {
    let look = off_thread::run(move || {
        let files = needs.files();
        let rules = files.ruleset();
        (files, rules)
    });
    let (files, ruleset) = match tokio::time::timeout(LOOK_LIMIT, look).await {
        Ok((files, Ok(ruleset))) => (files, ruleset),
        Ok((files, Err(error))) => {
            tracing::warn!(%error, "the kernel takes no Landlock rules: files are not restricted");
            (files, None)
        }
        Err(_) => {
            tracing::warn!(
                "a directory that the configuration names does not answer: files are not restricted"
            );
            (Files::default(), None)
        }
    };
    let confined = off_thread::run(move || privilege::confine(ruleset)).await;
    let confined =
        confined.context("cannot give up privileges (`privileges = \"keep\"` in [agent] keeps them)")?;
    tracing::info!("privileges given up: what is left is {confined}");
    if let Err(error) = &confined.calls {
        tracing::warn!(error, "system calls are not restricted");
    }
    if confined.late > 0 {
        let threads = confined.late;
        tracing::warn!(threads, "threads that hang give up their privileges when they go on");
    }
    Ok(confined.landlock.map(|_| files))
}

/// Refuses a configuration that needs files out of the agent's reach.
pub(super) async fn within(
    reach: Option<&Files>,
    config: Config,
    named: Vec<PathBuf>,
) -> anyhow::Result<Config> {
    if privilege::confinement().is_some() != config.agent.drops_privileges {
        tracing::warn!("`privileges` of [agent] takes a restart");
    }
    let Some(reach) = reach.cloned() else { return Ok(config) };
    let needs = Needs { config, named, mounts: Vec::new(), pidfile: None };
    let look = off_thread::run(move || {
        let files = needs.files();
        let lacking = files.lacking(&reach);
        let lacking: Vec<String> = lacking.iter().map(|path| path.display().to_string()).collect();
        (needs.config, lacking)
    });
    let looked = tokio::time::timeout(LOOK_LIMIT, look).await;
    let (config, lacking) = looked.context("a directory that the configuration names does not answer")?;
    if !lacking.is_empty() {
        bail!("{}: out of reach, since {ADVICE}", lacking.join(", "));
    }
    Ok(config)
}
