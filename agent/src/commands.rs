//! What each command does: puts configuration, inputs, outputs and pipeline together.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};

use crate::cli::{DumpArgs, RunArgs, SourceArgs};
use crate::config::file::{self, PluginFilter, Source};
use crate::config::{Config, InputCommon, InputSection};
use crate::dump::{self, Format};
use crate::exit::Exit;
use crate::host::Host;
use crate::inputs::{Input, InputOptions, Shared, ebpf};
use crate::{doctor, pipeline};

/// The default configuration, as `config default` prints it.
pub const DEFAULT_CONFIG: &str = include_str!("config/default.conf");

/// Where a configuration is looked for when none is named, after `$TELEGRAF_CONFIG_PATH`: our own place, then Telegraf's.
const STANDARD_FILES: &[&str] = &["/etc/seismograf/seismograf.conf", "/etc/telegraf/telegraf.conf"];

/// Reads the configuration that the command line names, or the one in a standard place, or the default.
///
/// # Errors
/// A file that cannot be read, and everything that is wrong in one.
pub fn load(args: &SourceArgs) -> anyhow::Result<Config> {
    let mut paths = args.config.clone();
    for directory in &args.config_directory {
        let found = file::files_in(directory);
        paths.extend(found.with_context(|| format!("cannot read the directory {}", directory.display()))?);
    }
    if args.config.is_empty() && args.config_directory.is_empty() {
        let named = std::env::var_os("TELEGRAF_CONFIG_PATH").map(PathBuf::from);
        let standard = STANDARD_FILES.iter().map(PathBuf::from).find(|path| path.exists());
        paths.extend(named.or(standard));
    }
    let mut sources = paths.iter().map(|path| read(path)).collect::<anyhow::Result<Vec<_>>>()?;
    if sources.is_empty() {
        sources.push(Source { path: "default".into(), text: DEFAULT_CONFIG.into() });
    }
    let filter = PluginFilter { inputs: args.input_filter.clone(), outputs: args.output_filter.clone() };
    resolve(&sources, &filter)
}

fn resolve(sources: &[Source], filter: &PluginFilter) -> anyhow::Result<Config> {
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Ok(file::load(sources, filter, &|name| std::env::var(name).ok(), &hostname)?)
}

fn read(path: &Path) -> anyhow::Result<Source> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Source { path: path.to_owned(), text })
}

/// `seismograf config default`
///
/// # Errors
/// When the output is gone.
pub fn config_default() -> anyhow::Result<Exit> {
    std::io::stdout().write_all(DEFAULT_CONFIG.as_bytes())?;
    Ok(Exit::Ok)
}

/// `seismograf config check`
///
/// # Errors
/// Everything that is wrong in the files.
pub fn config_check(files: &[PathBuf]) -> anyhow::Result<Exit> {
    let sources = files.iter().map(|path| read(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let config = resolve(&sources, &PluginFilter::default())?;
    let names = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let inputs = names(config.inputs.iter().map(|section| section.options.name()).collect());
    let outputs = names(config.outputs.iter().map(|section| section.options.name()).collect());
    println!("fine: inputs {inputs}; outputs {outputs}");
    Ok(Exit::Ok)
}

/// `seismograf run`, and its forms `--test` and `--once`.
///
/// # Errors
/// Why it cannot start.
pub async fn run(config: Config, args: &RunArgs) -> anyhow::Result<Exit> {
    if config.inputs.is_empty() {
        bail!("no inputs: add one to the configuration, such as [[inputs.ebpf]]");
    }
    if args.test {
        let request = request(config, None, std::time::Duration::ZERO, Some(1), Format::Line)?;
        dump::test(request, &mut std::io::stdout().lock()).await?;
        return Ok(Exit::Ok);
    }
    if config.outputs.is_empty() {
        bail!(
            "no outputs: add one to the configuration, such as [[outputs.influxdb]], or use `seismograf dump`"
        );
    }
    let shared = Shared::new(host());
    let sources: Vec<String> = config.sources.iter().map(|path| path.display().to_string()).collect();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = sources.join(", "), "start");
    let mut inputs = Vec::new();
    for section in config.inputs {
        let common = section.common.clone();
        inputs.push((build(section, &shared)?, common));
    }
    let written =
        pipeline::run(inputs, config.outputs, config.agent, config.global_tags, args.once, interrupted())
            .await?;
    tracing::info!("stop");
    Ok(if written { Exit::Ok } else { Exit::Failed })
}

fn build(section: InputSection, shared: &Arc<Shared>) -> anyhow::Result<Box<dyn Input>> {
    let (name, place) = (section.options.name(), section.place);
    section.options.build(shared).with_context(|| format!("{place}: cannot start input `{name}`"))
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
    interval: std::time::Duration,
    count: Option<u64>,
    format: Format,
) -> anyhow::Result<dump::Request> {
    let shared = Shared::new(host());
    let mut inputs = Vec::new();
    for section in config.inputs {
        let common =
            InputCommon { precision: precision(&section.common, interval), ..section.common.clone() };
        inputs.push((build(section, &shared)?, common));
    }
    Ok(dump::Request { inputs, global_tags: config.global_tags, interval, count, format, terminal })
}

/// A dump faster than the configured interval needs times as fine.
fn precision(common: &InputCommon, interval: std::time::Duration) -> std::time::Duration {
    common.precision.min(crate::config::auto_precision(interval))
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
    use crate::inputs::{cpu, disk, kubernetes, mem};

    #[test]
    fn the_default_configuration_says_what_the_defaults_are() {
        let source = Source { path: "default".into(), text: DEFAULT_CONFIG.into() };
        let config = file::load(&[source], &PluginFilter::default(), &|_| None, "h").unwrap();
        assert_eq!(config.agent, crate::config::Agent { hostname: Some("h".into()), ..Default::default() });
        let options =
            |name: &str| config.inputs.iter().find(|s| s.options.name() == name).map(|s| &s.options).unwrap();
        let InputOptions::Ebpf(options_ebpf) = options("ebpf") else { panic!() };
        assert_eq!(*options_ebpf, ebpf::Options::default());
        let InputOptions::Cpu(options_cpu) = options("cpu") else { panic!() };
        assert_eq!(*options_cpu, cpu::Options::default());
        let InputOptions::Mem(options_mem) = options("mem") else { panic!() };
        assert_eq!(*options_mem, mem::Options::default());
        // Telegraf's sample leaves these out, its code does not; a person wants the sample's.
        let InputOptions::Disk(options_disk) = options("disk") else { panic!() };
        assert_ne!(*options_disk, disk::Options::default());
    }

    #[test]
    fn the_commented_sections_are_valid_too() {
        let text: String = DEFAULT_CONFIG
            .lines()
            .map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or(line)))
            .collect();
        let text = text
            .lines()
            .filter(|l| l.trim_start().starts_with(['[', '#']) || l.contains(" = "))
            .collect::<Vec<_>>()
            .join("\n");
        let source = Source { path: "default".into(), text };
        let config = file::load(&[source], &PluginFilter::default(), &|_| None, "h").unwrap();
        let crate::outputs::OutputOptions::Influxdb(influxdb) = &config.outputs[0].options else { panic!() };
        assert_eq!(*influxdb, crate::outputs::influxdb::Options::default());
        assert_eq!(config.outputs.len(), 2);
        let InputOptions::Kubernetes(kubernetes) =
            config.inputs.iter().map(|s| &s.options).find(|options| options.name() == "kubernetes").unwrap()
        else {
            panic!()
        };
        assert_eq!(*kubernetes, kubernetes::Options::default());
        assert_eq!(config.inputs.len(), InputOptions::NAMES.len());
    }
}
