//! What each command does: puts configuration, inputs, outputs and pipeline together.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::cli::{DumpArgs, RunArgs, SourceArgs, UnusedArgs};
use crate::config::env::Environment;
use crate::config::file::{self, PluginFilter, Source};
use crate::config::{Config, InputCommon, auto_precision};
use crate::dump::{self, Format};
use crate::exit::Exit;
use crate::host::Host;
use crate::inputs::start::start;
use crate::inputs::{InputOptions, Shared, ebpf};
use crate::logging::{self, Settings};
use crate::notify::Notifier;
use crate::pipeline::{Order, Pipeline};
use crate::sample::DEFAULT_CONFIG;
use crate::{doctor, pidfile};

/// What stands for the standard input where a file is named.
const STDIN: &str = "-";
/// What stands for the default configuration in messages.
const DEFAULT: &str = "default";

/// Reads the configuration that the command line names, or the one in a standard place, or the default; again at each
/// reload.
pub struct Loader {
    args: SourceArgs,
    /// The standard input can be read once.
    stdin: Option<String>,
    /// There was a file: that there is none any more is an error, and no wish for the default.
    had_file: bool,
}

impl Loader {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(args: SourceArgs) -> Self {
        Self { args, stdin: None, had_file: false }
    }

    /// Reads it.
    ///
    /// # Errors
    /// A file that cannot be read, and everything that is wrong in one.
    pub fn load(&mut self) -> anyhow::Result<Config> {
        let variable = |name: &str| std::env::var(name).ok();
        let (mut paths, mut warnings) = (Vec::new(), Vec::new());
        let mut named = self.args.config.clone();
        named.extend(self.args.config_directory.iter().cloned());
        if named.is_empty() {
            named = standard(&variable, Path::new("/"));
        }
        for path in &named {
            if path.to_string_lossy().contains("://") {
                bail!(
                    "{}: a configuration is read from a file: fetch this one into a file, and name that",
                    path.display()
                );
            }
            if !path.is_dir() {
                paths.push(path.clone());
                continue;
            }
            let found = file::files_in(path);
            let found = found.with_context(|| format!("cannot read the directory {}", path.display()))?;
            paths.extend(found.0);
            warnings.extend(found.1);
        }
        let mut sources = Vec::new();
        for path in paths {
            let text = self.text(&path)?;
            sources.push(Source { path, text });
        }
        if sources.is_empty() {
            if self.had_file || !named.is_empty() {
                bail!("no configuration file is there{}", in_places(&named));
            }
            sources.push(Source { path: DEFAULT.into(), text: DEFAULT_CONFIG.into() });
        } else {
            self.had_file = true;
        }
        let filter =
            PluginFilter { inputs: self.args.input_filter.clone(), outputs: self.args.output_filter.clone() };
        let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let environment = Environment {
            lookup: &variable,
            mode: self.args.mode(),
            old_behavior: self.args.old_env_behavior,
        };
        let mut config = file::load(&sources, &filter, &environment, &hostname)?;
        config.warnings.splice(0..0, warnings);
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        Ok(config)
    }

    fn text(&mut self, path: &Path) -> anyhow::Result<String> {
        if path != Path::new(STDIN) {
            return std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
        }
        match &self.stdin {
            Some(text) => Ok(text.clone()),
            None => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).context("cannot read the standard input")?;
                Ok(self.stdin.insert(text).clone())
            }
        }
    }

    /// What the log is asked for.
    fn log_settings(&self, config: &Config) -> Settings {
        Settings::of(config, self.args.debug, self.args.quiet)
    }
}

fn in_places(named: &[PathBuf]) -> String {
    let named: Vec<String> = named.iter().map(|path| path.display().to_string()).collect();
    if named.is_empty() { " any more".into() } else { format!(": looked in {}", named.join(", ")) }
}

/// Where a configuration is looked for when none is named: `$TELEGRAF_CONFIG_PATH`, our own place, then Telegraf's, in
/// each with the directory beside it.
fn standard(variable: &dyn Fn(&str) -> Option<String>, root: &Path) -> Vec<PathBuf> {
    if let Some(path) = variable("TELEGRAF_CONFIG_PATH").filter(|path| !path.is_empty()) {
        return vec![path.into()];
    }
    let home = variable("HOME").filter(|home| !home.is_empty());
    let home = home.map(|home| PathBuf::from(home).join(".telegraf/telegraf.conf"));
    let places = [
        Some((root.join("etc/seismograf/seismograf.conf"), Some(root.join("etc/seismograf/seismograf.d")))),
        home.map(|file| (file, None)),
        Some((root.join("etc/telegraf/telegraf.conf"), Some(root.join("etc/telegraf/telegraf.d")))),
    ];
    let found = places.into_iter().flatten().find(|(file, _)| file.exists());
    found
        .into_iter()
        .flat_map(|(file, directory)| [Some(file), directory.filter(|d| d.is_dir())])
        .flatten()
        .collect()
}

/// Reads the configuration, once the command line is known to make sense.
///
/// # Errors
/// A flag that cannot be followed; else those of [`Loader::load`].
pub fn load(loader: &mut Loader, unused: &UnusedArgs) -> anyhow::Result<Config> {
    if !unused.select.is_empty() {
        bail!(
            "--select is not part of this agent: what it leaves out would run; use --input-filter and --output-filter"
        );
    }
    for (flag, why) in unused.given() {
        tracing::warn!("{flag} has no effect: {why}");
    }
    loader.load()
}

/// Prints a text that is asked for.
///
/// # Errors
/// When the output is gone.
pub fn print(text: &str) -> anyhow::Result<Exit> {
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(Exit::Ok)
}

/// `seismograf config check`, of a configuration that could be read.
///
/// # Errors
/// An output that cannot work with its options.
pub fn config_check(config: &Config) -> anyhow::Result<Exit> {
    for section in &config.outputs {
        let built = section.options.clone().build();
        built.with_context(|| format!("{}: output `{}`", section.place, section.options.name()))?;
    }
    let names = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let inputs = names(config.inputs.iter().map(|section| section.options.name()).collect());
    let outputs = names(config.outputs.iter().map(|section| section.options.name()).collect());
    print(&format!("fine: inputs {inputs}; outputs {outputs}\n"))
}

/// `seismograf run`, and its forms `--test` and `--once`.
///
/// # Errors
/// Why it cannot start.
pub async fn run(
    config: Config,
    args: &RunArgs,
    mut loader: Loader,
    log: logging::Handle,
) -> anyhow::Result<Exit> {
    if args.test || args.test_wait > 0 {
        if config.inputs.is_empty() {
            bail!("no inputs: add one to the configuration, such as [[inputs.ebpf]]");
        }
        let request = request(config, None, Duration::ZERO, Some(1), Format::Line)?;
        let wait = Duration::from_secs(args.test_wait);
        dump::test(request, wait, &mut std::io::stdout().lock()).await?;
        return Ok(Exit::Ok);
    }
    // Before anything takes time: by default, these signals would end the process.
    let (hangup, user1) = (signal(SignalKind::hangup())?, signal(SignalKind::user_defined1())?);
    let _pidfile = args.pidfile.as_deref().map(pidfile::Pidfile::write).transpose()?;
    let sources: Vec<String> = config.sources.iter().map(|path| path.display().to_string()).collect();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = sources.join(", "), "start");
    let shared = Shared::new(host());
    if args.once {
        let is_written = Pipeline::once(config, shared, interrupted()).await?;
        return Ok(if is_written { Exit::Ok } else { Exit::Failed });
    }
    let notifier = Notifier::from_environment();
    let pipeline = Pipeline::start(config, shared).await?;
    notifier.ready("running");
    let (orders, receive) = mpsc::channel(1);
    let shutdown = async {
        interrupted().await;
        notifier.stopping();
    };
    let is_written = tokio::select! {
        is_written = pipeline.run(receive, shutdown) => is_written,
        () = obey_signals(hangup, user1, &mut loader, &log, &notifier, orders) => false,
    };
    tracing::info!("stop");
    Ok(if is_written { Exit::Ok } else { Exit::Failed })
}

/// Reloads at SIGHUP and flushes at SIGUSR1, for as long as the pipeline takes orders.
async fn obey_signals(
    mut hangup: Signal,
    mut user1: Signal,
    loader: &mut Loader,
    log: &logging::Handle,
    notifier: &Notifier,
    orders: mpsc::Sender<Order>,
) {
    loop {
        tokio::select! {
            Some(()) = hangup.recv() => {
                tracing::info!("reload");
                notifier.reloading();
                let loaded = loader.load();
                let settings = loaded.as_ref().ok().map(|config| loader.log_settings(config));
                let (done, is_taken) = oneshot::channel();
                if orders.send(Order::Reload { loaded: loaded.map(Box::new), done }).await.is_err() {
                    return;
                }
                let is_taken = is_taken.await.unwrap_or(false);
                if let (true, Some(settings)) = (is_taken, settings)
                    && let Err(error) = log.change(settings)
                {
                    tracing::error!(%error, "the log goes on as before");
                }
                notifier.ready(if is_taken { "running" } else { "running; the last reload was refused: see the log" });
            }
            Some(()) = user1.recv() => {
                if orders.send(Order::Flush).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// `seismograf dump`
///
/// # Errors
/// Why it cannot start, or when the output cannot be written to.
pub async fn dump(config: Config, args: &DumpArgs) -> anyhow::Result<Exit> {
    use std::io::IsTerminal as _;
    let stdout = std::io::stdout();
    if args.raw {
        let mut options = config.inputs.into_iter().filter_map(|section| match section.options {
            InputOptions::Ebpf(options) => Some(options),
            _ => None,
        });
        let Some(options) = options.next() else { bail!("--raw needs [[inputs.ebpf]] in the configuration") };
        let ebpf = ebpf::Ebpf::new(options, &Shared::new(host()))?;
        dump::run_raw(ebpf, args.interval, args.count, interrupted(), &mut stdout.lock()).await?;
        return Ok(Exit::Ok);
    }
    let is_terminal = stdout.is_terminal();
    let format = args.format.unwrap_or(if is_terminal { Format::Table } else { Format::Line });
    let terminal: Option<fn() -> (usize, usize)> =
        (is_terminal && format == Format::Table).then_some(terminal_size);
    let request = request(config, terminal, args.interval, args.count, format)?;
    if terminal.is_some() {
        print!("\x1b[2J");
    }
    dump::run(request, interrupted(), &mut stdout.lock()).await?;
    Ok(Exit::Ok)
}

fn request(
    config: Config,
    terminal: Option<fn() -> (usize, usize)>,
    interval: Duration,
    count: Option<u64>,
    format: Format,
) -> anyhow::Result<dump::Request> {
    let shared = Shared::new(host());
    let mut inputs = Vec::new();
    for section in config.inputs {
        if let Some(input) = start(&section, &shared)? {
            let precision = precision(&section.common, interval);
            inputs.push((input, InputCommon { precision, ..section.common }));
        }
    }
    Ok(dump::Request { inputs, global_tags: config.global_tags, interval, count, format, terminal })
}

/// A dump faster than the configured interval needs times as fine; `--test`, which has none, does not.
fn precision(common: &InputCommon, interval: Duration) -> Duration {
    if interval.is_zero() { common.precision } else { common.precision.min(auto_precision(interval)) }
}

fn terminal_size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_col > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}

/// `seismograf doctor`
///
/// # Errors
/// When the output is gone.
pub async fn doctor(config: &Config) -> anyhow::Result<Exit> {
    let findings = doctor::examine(config, &host()).await;
    std::io::stdout().write_all(findings.text.as_bytes())?;
    Ok(if findings.is_well { Exit::Ok } else { Exit::Failed })
}

/// The host as this process's environment names its places.
fn host() -> Host {
    Host::from_variables(|name| std::env::var(name).ok())
}

/// Over when somebody asks the agent to stop.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot listen for a signal");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{InputSection, OutputSection};
    use crate::outputs::{self, OutputOptions};

    fn load(text: String) -> Config {
        let source = Source { path: DEFAULT.into(), text };
        file::load(&[source], &PluginFilter::default(), &Environment::strict(&|_| None), "h").unwrap()
    }

    fn loader(config: &[&Path]) -> Loader {
        Loader::new(SourceArgs {
            config: config.iter().map(|path| path.to_path_buf()).collect(),
            ..SourceArgs::default()
        })
    }

    #[test]
    fn standard_places_are_ours_then_telegrafs() {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("home").display().to_string();
        let places = |named: Option<&str>| {
            let variable = |name: &str| match name {
                "HOME" => Some(home.clone()),
                "TELEGRAF_CONFIG_PATH" => named.map(str::to_owned),
                _ => None,
            };
            let paths = standard(&variable, root.path());
            paths
                .iter()
                .map(|path| path.strip_prefix(root.path()).unwrap_or(path).display().to_string())
                .collect::<Vec<_>>()
        };
        let write = |path: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        assert!(places(None).is_empty());
        write("etc/telegraf/telegraf.conf");
        assert_eq!(places(None), ["etc/telegraf/telegraf.conf"]);
        write("etc/telegraf/telegraf.d/a.conf");
        assert_eq!(places(None), ["etc/telegraf/telegraf.conf", "etc/telegraf/telegraf.d"]);
        write("home/.telegraf/telegraf.conf");
        assert_eq!(places(None), ["home/.telegraf/telegraf.conf"]);
        write("etc/seismograf/seismograf.conf");
        assert_eq!(places(None), ["etc/seismograf/seismograf.conf"]);
        assert_eq!(places(Some("/x.conf")), ["/x.conf"]);
        assert_eq!(places(Some("")), ["etc/seismograf/seismograf.conf"]);
    }

    #[test]
    fn files_and_directories_are_read_in_their_order() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("d");
        for (path, text) in [
            ("d/b.conf", "[[inputs.mem]]"),
            ("d/a/z.conf", "[[inputs.cpu]]"),
            ("d/..data/x.conf", "broken"),
            ("d/.conf", "broken"),
            ("d/x.conf.bak", "broken"),
            ("first.conf", "[[inputs.system]]"),
        ] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        std::os::unix::fs::symlink("b.conf", directory.join("c.conf")).unwrap();
        // A link back up is not followed.
        std::os::unix::fs::symlink("..", directory.join("loop")).unwrap();
        let config = loader(&[&directory, &root.path().join("first.conf")]).load().unwrap();
        let names: Vec<&str> = config.inputs.iter().map(|section| section.options.name()).collect();
        assert_eq!(names, ["cpu", "mem", "mem", "system"]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let root = tempfile::tempdir().unwrap();
        let missing = root.path().join("missing.conf");
        let error = |paths: &[&Path]| format!("{:#}", loader(paths).load().unwrap_err());
        assert!(error(&[&missing]).starts_with(&format!("cannot read {}: ", missing.display())));
        assert!(
            error(&[root.path()]).contains("no configuration file is there"),
            "{}",
            error(&[root.path()])
        );
        let url = error(&[Path::new("https://example.org/telegraf.conf")]);
        assert!(
            url.starts_with("https://example.org/telegraf.conf: a configuration is read from a file"),
            "{url}"
        );
        std::fs::write(&missing, [b'#', 0xff]).unwrap();
        assert!(error(&[&missing]).contains("UTF-8"));
    }

    #[test]
    fn a_file_that_goes_away_is_no_wish_for_the_default() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("a.conf");
        std::fs::write(&file, "[[inputs.mem]]").unwrap();
        let mut loader = loader(&[root.path()]);
        assert!(loader.load().is_ok());
        std::fs::remove_file(&file).unwrap();
        assert!(loader.load().is_err());
    }

    /// Telegraf's sample leaves some file systems out, and the protocols' counters; its code does not. A person wants the
    /// sample's.
    const OTHER_THAN_DEFAULT: &[&str] = &["disk", "net"];

    fn is_default_input(options: &InputOptions) -> bool {
        InputOptions::all().contains(options)
    }

    #[test]
    fn the_default_configuration_says_what_the_defaults_are() {
        let config = load(DEFAULT_CONFIG.into());
        assert_eq!(config.agent, crate::config::Agent { hostname: Some("h".into()), ..Default::default() });
        for InputSection { options, .. } in &config.inputs {
            assert_eq!(
                is_default_input(options),
                !OTHER_THAN_DEFAULT.contains(&options.name()),
                "{options:?}"
            );
        }
        // Each is there; what is of use to few is commented out.
        let (text, n_inputs) = (DEFAULT_CONFIG, InputOptions::NAMES.len());
        assert_eq!(text.lines().filter(|line| line.contains("[[inputs.")).count(), n_inputs);
    }

    #[test]
    fn the_commented_plugins_are_valid_too() {
        let text: String = DEFAULT_CONFIG
            .lines()
            .map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or(line)))
            .collect();
        let text = text
            .lines()
            .filter(|l| l.trim_start().starts_with(['[', '#']) || l.contains(" = "))
            .collect::<Vec<_>>()
            .join("\n");
        let config = load(text);
        let is_default = |options: &OutputOptions| match options {
            OutputOptions::File(options) => *options == outputs::file::Options::default(),
            OutputOptions::Influxdb(options) => *options == outputs::influxdb::Options::default(),
            OutputOptions::InfluxdbV2(options) => *options == outputs::influxdb_v2::Options::default(),
        };
        let mut names: Vec<&str> = config.outputs.iter().map(|section| section.options.name()).collect();
        names.sort_unstable();
        assert_eq!(names, OutputOptions::NAMES);
        for OutputSection { options, .. } in config.outputs {
            assert!(is_default(&options), "{options:?}");
            assert!(options.build().is_ok());
        }
        let names: Vec<&str> = config.inputs.iter().map(|section| section.options.name()).collect();
        assert_eq!(names.len(), InputOptions::NAMES.len());
        for InputSection { options, .. } in &config.inputs {
            assert_eq!(
                is_default_input(options),
                !OTHER_THAN_DEFAULT.contains(&options.name()),
                "{options:?}"
            );
        }
    }
}
