//! The command line. The doc comments here are the help text.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::config::duration;
use crate::dump::Format;

/// An eBPF-backed, low-overhead host telemetry agent that runs an existing telegraf.conf.
///
/// Without a command it gathers and writes to the outputs until it is told to stop.
#[derive(Debug, Parser)]
#[command(name = "seismograf", version, max_term_width = 100, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; `run` when it is left out.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of `run`.
    #[command(flatten)]
    pub run: RunArgs,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Gather and write to the outputs until told to stop.
    Run(RunArgs),
    /// Gather and print; no output is contacted.
    Dump(DumpArgs),
    /// Check a configuration, or print the default one.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// What this host offers: kernel, privileges, cgroups, each probe on or off and why.
    Doctor(SourceArgs),
}

/// Where the configuration is from.
#[derive(Clone, Debug, Default, Args)]
pub struct SourceArgs {
    /// A configuration file; can be given more than once.
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// A directory of *.conf files; can be given more than once.
    #[arg(long, value_name = "DIR")]
    pub config_directory: Vec<PathBuf>,
    /// Only these inputs, by name, separated by colons.
    #[arg(long, value_name = "A:B", value_delimiter = ':')]
    pub input_filter: Vec<String>,
    /// Only these outputs, likewise.
    #[arg(long, value_name = "A:B", value_delimiter = ':')]
    pub output_filter: Vec<String>,
    /// Log at debug level, the probes' own messages too.
    #[arg(long)]
    pub debug: bool,
    /// Log errors alone.
    #[arg(long)]
    pub quiet: bool,
}

/// Options of `run`.
#[derive(Clone, Debug, Default, Args)]
pub struct RunArgs {
    /// Where the configuration is from.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Gather once, print the points and end; no output is contacted.
    #[arg(long, conflicts_with = "once")]
    pub test: bool,
    /// Gather once, write to the outputs and end.
    #[arg(long)]
    pub once: bool,
}

/// Options of `dump`.
#[derive(Clone, Debug, Args)]
pub struct DumpArgs {
    /// Where the configuration is from.
    #[command(flatten)]
    pub source: SourceArgs,
    /// From one gather to the next.
    #[arg(long, default_value = "1s", value_parser = parse_interval)]
    pub interval: Duration,
    /// End after so many gathers.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// How to print; a table on a terminal and line protocol in a pipe when it is left out.
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Print each record as it leaves the kernel's ring buffer, one JSON object a line.
    #[arg(long, conflicts_with = "format")]
    pub raw: bool,
}

/// The commands about configurations.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say what is wrong with a configuration, with file and line.
    Check {
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Print the default configuration, commented.
    Default,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    match duration::parse(text)? {
        interval if interval.is_zero() => Err("must be more than 0".into()),
        interval => Ok(interval),
    }
}

/// Reads the command line; Telegraf's long flags are taken with one dash too (`-config`).
///
/// # Errors
/// clap's own, which prints itself.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    const LONG: &[&str] = &[
        "config",
        "config-directory",
        "input-filter",
        "output-filter",
        "debug",
        "quiet",
        "test",
        "once",
        "version",
    ];
    let double = |arg: OsString| {
        let text = arg.to_str().and_then(|arg| arg.strip_prefix('-'));
        let name = text.map(|text| text.split('=').next().unwrap_or(text));
        match (text, name) {
            (Some(text), Some(name)) if LONG.contains(&name) => OsString::from(format!("--{text}")),
            _ => arg,
        }
    };
    Cli::try_parse_from(args.into_iter().map(double))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Cli {
        parse(line.split(' ').map(OsString::from)).unwrap()
    }

    #[test]
    fn takes_telegrafs_command_line() {
        let cli = parsed("seismograf -config a.conf --config-directory=/etc/d -quiet");
        assert!(cli.command.is_none());
        assert_eq!(cli.run.source.config, [PathBuf::from("a.conf")]);
        assert_eq!(cli.run.source.config_directory, [PathBuf::from("/etc/d")]);
        assert!(cli.run.source.quiet);
        assert_eq!(
            parsed("seismograf --input-filter cpu:mem --test").run.source.input_filter,
            ["cpu", "mem"]
        );
    }

    #[test]
    fn takes_commands() {
        let cli = parsed("seismograf dump --interval 500ms --count 3 --format json");
        let Some(Command::Dump(dump)) = cli.command else { panic!("{cli:?}") };
        assert_eq!(
            (dump.interval, dump.count, dump.format),
            (Duration::from_millis(500), Some(3), Some(Format::Json))
        );
        assert!(parse(["seismograf", "dump", "--interval", "0s"].map(OsString::from)).is_err());
        assert!(parse(["seismograf", "nonsense"].map(OsString::from)).is_err());
    }

    #[test]
    fn clap_finds_no_fault() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
