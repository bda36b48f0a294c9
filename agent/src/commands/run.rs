//! `seismograf run`, also with `--test` and `--once`: runs the pipeline, and handles signals.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::confine::{Needs, confine, within};
use super::{dump, host, interrupted};
use crate::cli::{Format, RunArgs};
use crate::config::Config;
use crate::config::budget::Budgets;
use crate::config::loader::Loader;
use crate::exit::Exit;
use crate::inputs::{Shared, all_gave};
use crate::kernel::load::possible_cpus;
use crate::pipeline::{Order, Pipeline};
use crate::plugins::InputOptions;
use crate::service::privilege::Files;
use crate::service::sd_notify::Notifier;
use crate::service::statefile::Statefile;
use crate::service::{logging, memory, off_thread, origin, pidfile};

/// The key of the statefile.
const STATE: &str = "inputs.ebpf";

/// `seismograf run`, also with `--test` and `--once`.
///
/// # Errors
/// Why it cannot start.
pub async fn run(
    mut config: Config,
    args: &RunArgs,
    loader: Loader,
    log: logging::LogHandle,
) -> anyhow::Result<Exit> {
    if args.prints() {
        let request = dump::request(config, Duration::ZERO, Some(1), Format::Line)?;
        let wait = Duration::from_secs(args.test_wait);
        let failed = dump::print::test(request, wait, &mut std::io::stdout().lock()).await?;
        return Ok(exit(all_gave(failed)));
    }
    // What the agent counts itself was 0 before this.
    origin::of_process();
    // Before anything that takes time: by default, these signals kill the process.
    let (hangup, user1) = (signal(SignalKind::hangup())?, signal(SignalKind::user_defined1())?);
    let _pidfile = args.pidfile.as_deref().map(pidfile::Pidfile::write).transpose()?;
    say_start(&config);
    let shared = Shared::new(host());
    if args.once {
        return Ok(exit(Pipeline::once(config, shared, interrupted()).await?));
    }
    say(&budgets(&config));
    let notifier = Notifier::from_environment();
    let health_address = args.health_address.clone();
    config.agent.health_address = health_address.clone().or(config.agent.health_address);
    let needs = config.agent.drops_privileges.then(|| Needs {
        config: config.clone(),
        named: loader.named(),
        mounts: shared.cgroupfs.hierarchies().mounted().map(|(_, mount)| mount.to_owned()).collect(),
        pidfile: args.pidfile.clone(),
    });
    let memory = match config.agent.statefile.clone() {
        Some(path) => Some(off_thread::run(move || Statefile::open(&path, STATE)).await?),
        None => None,
    };
    shared.handover.serve(memory);
    let pipeline = Pipeline::start(config, Arc::clone(&shared)).await?;
    let reach = match needs {
        Some(needs) => confine(needs).await?,
        None => None,
    };
    notifier.ready("running");
    let (orders, receive) = mpsc::channel(1);
    let shutdown = async {
        interrupted().await;
        notifier.stopping();
    };
    let is_written = tokio::select! {
        is_written = pipeline.run(receive, shutdown) => is_written,
        () = handle_signals((hangup, user1), (loader, health_address), reach, &log, &notifier, orders) => false,
        () = notifier.keep_alive(|| shared.telemetry.overdue(Instant::now())) => false,
        never = memory::settle() => match never {},
        never = shared.clock.watch() => match never {},
    };
    tracing::info!("stop");
    Ok(exit(is_written))
}

fn exit(is_whole: bool) -> Exit {
    if is_whole { Exit::Ok } else { Exit::Failed }
}

fn say_start(config: &Config) {
    let sources: Vec<String> = config.sources.iter().map(|path| path.display().to_string()).collect();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = sources.join(", "), "start");
    if let Some(what) = without_exact_figures(config) {
        tracing::info!("{what}");
    }
}

/// What somebody who comes from Telegraf may not know: nothing else says what a configuration of Telegraf's cannot have.
fn without_exact_figures(config: &Config) -> Option<&'static str> {
    let has_them = config.inputs.iter().any(|section| matches!(section.options, InputOptions::Ebpf(_)));
    (!has_them).then_some(
        "the exact figures of every container, pod and unit come with [[inputs.ebpf]], which this configuration does not have",
    )
}

/// What the agent takes of this machine at most.
fn budgets(config: &Config) -> Budgets {
    config.budgets(possible_cpus() as u64)
}

fn say(budgets: &Budgets) {
    tracing::info!(
        memory = budgets.memory(),
        disk = budgets.disk(),
        connections = budgets.sum().connections,
        files = budgets.files,
        series = budgets.series(),
        "takes at most"
    );
}

/// Reloads at SIGHUP and flushes at SIGUSR1, as long as the pipeline takes orders.
async fn handle_signals(
    (mut hangup, mut user1): (Signal, Signal),
    (mut loader, health_address): (Loader, Option<String>),
    reach: Option<Files>,
    log: &logging::LogHandle,
    notifier: &Notifier,
    orders: mpsc::Sender<Order>,
) {
    loop {
        tokio::select! {
            Some(()) = hangup.recv() => {
                tracing::info!("reload");
                notifier.reloading();
                let loaded;
                (loaded, loader) = off_thread::run(move || (loader.load(), loader)).await;
                let loaded = match loaded {
                    Ok(mut config) => {
                        config.agent.health_address = health_address.clone().or(config.agent.health_address);
                        within(reach.as_ref(), config, loader.named()).await
                    }
                    Err(problems) => Err(problems.into()),
                };
                let settings = loaded.as_ref().ok().map(|config| (loader.log_settings(config), budgets(config)));
                let (done, is_applied) = oneshot::channel();
                if orders.send(Order::Reload { loaded: loaded.map(Box::new), done }).await.is_err() {
                    return;
                }
                let is_applied = is_applied.await.unwrap_or(false);
                if let (true, Some((settings, budgets))) = (is_applied, settings) {
                    say(&budgets);
                    let log = log.clone();
                    if let Err(error) = off_thread::run(move || log.change(settings)).await {
                        tracing::error!(%error, "the log settings are unchanged");
                    }
                }
                notifier.ready(if is_applied { "running" } else { "running; the last reload was refused: see the log" });
            }
            Some(()) = user1.recv() => {
                if orders.send(Order::Flush).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::env::Environment;
    use crate::config::file;
    use crate::config::reading::{Reading, Source};

    #[test]
    fn who_runs_a_configuration_of_telegrafs_hears_of_the_exact_figures() {
        let said = |text: &str| {
            let source = Source { path: "t.conf".into(), text: text.into() };
            let config = file::load(&[source], &Reading::of_text(Environment::strict(&|_| None), "h"));
            without_exact_figures(&config.unwrap())
        };
        assert!(said("[[inputs.cpu]]\n").unwrap().contains("come with [[inputs.ebpf]]"));
        assert_eq!(said("[[inputs.cpu]]\n[[inputs.ebpf]]\n"), None);
    }
}
