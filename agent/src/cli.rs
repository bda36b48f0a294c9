//! The command line. The doc comments here are the help text.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, Parser, Subcommand};

use crate::exit::HELP;
use crate::options::duration;
use crate::schema::views::VIEWS;

/// The version, with the commit that it was built from and its date.
pub const VERSION: &str = env!("SEISMOGRAF_VERSION");

/// An eBPF-backed, low-overhead host telemetry agent that runs an existing telegraf.conf.
///
/// Without a command it gathers and writes to the outputs until it is stopped. Telegraf's long flags may have one dash.
#[derive(Debug, Parser)]
#[command(name = "seismograf", version = VERSION, max_term_width = 100, after_help = HELP)]
pub struct Cli {
    /// What to do; `run` by default.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where the configuration comes from.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Options of `run`.
    #[command(flatten)]
    pub run: RunArgs,
    /// What Telegraf prints for a flag.
    #[command(flatten)]
    pub print: PrintArgs,
    /// Flags of Telegraf that have no effect here.
    #[command(flatten)]
    pub unused: UnusedArgs,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Gather and write to the outputs until stopped.
    Run(RunArgs),
    /// Gather and print; no output is contacted.
    Dump(DumpArgs),
    /// Show who uses the machine, on a screen; live, or from a recording.
    Top(TopArgs),
    /// Show who uses the machine, as a page for a browser on it; read-only.
    Serve(ServeArgs),
    /// Check a configuration, or print the default one.
    Config {
        /// What to do; `create` by default.
        #[command(subcommand)]
        command: Option<ConfigCommand>,
    },
    /// Say what becomes of each section of a Telegraf configuration, and split it between this agent and Telegraf.
    #[command(after_help = MIGRATE_HELP)]
    Migrate(MigrateArgs),
    /// Check what this host supports: kernel, privileges, cgroups, each probe on or off and why.
    Doctor,
    /// Print the names of the plugins.
    Plugins {
        /// Only plugins of this kind.
        #[arg(value_parser = ["inputs", "outputs"])]
        kind: Option<String>,
    },
    /// Print the completions of the command line for a shell.
    #[command(after_help = COMPLETIONS_HELP)]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual pages, for man, into a directory.
    Man {
        /// The directory, such as /usr/local/share/man/man1.
        directory: PathBuf,
    },
    /// Print the version.
    Version,
}

/// The shells whose completions there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Shell {
    /// GNU bash.
    Bash,
    /// The Z shell.
    Zsh,
    /// fish.
    Fish,
}

/// Where they belong.
const COMPLETIONS_HELP: &str = "\
Where they belong:
  bash  seismograf completions bash > /usr/share/bash-completion/completions/seismograf
  zsh   seismograf completions zsh > /usr/share/zsh/vendor-completions/_seismograf
  fish  seismograf completions fish > /usr/share/fish/vendor_completions.d/seismograf.fish";

/// Where the configuration comes from.
#[derive(Clone, Debug, Default, Args)]
pub struct SourceArgs {
    /// A configuration file, a directory of *.conf files, or - for the standard input; can be repeated.
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Vec<PathBuf>,
    /// A directory of *.conf files, read after those of --config; can be repeated.
    #[arg(long, value_name = "DIR", global = true)]
    pub config_directory: Vec<PathBuf>,
    /// Only these inputs, by name, separated by colons.
    #[arg(long, value_name = "A:B", value_delimiter = ':', global = true)]
    pub input_filter: Vec<String>,
    /// Only these outputs, likewise.
    #[arg(long, value_name = "A:B", value_delimiter = ':', global = true)]
    pub output_filter: Vec<String>,
    /// Only these sections in the configuration that `config create` prints.
    #[arg(long, value_name = "A:B", value_delimiter = ':', global = true)]
    pub section_filter: Vec<String>,
    /// Replace variables only in the strings of a configuration (the default).
    #[arg(long, global = true, conflicts_with = "non_strict_env_handling")]
    pub strict_env_handling: bool,
    /// Replace variables everywhere in a configuration, as Telegraf did before 1.38.
    #[arg(long, global = true)]
    pub non_strict_env_handling: bool,
    /// Treat $$VAR as a dollar sign and the variable's value, as Telegraf did before 1.27.
    #[arg(long, global = true)]
    pub old_env_behavior: bool,
    /// Leave plugins of Telegraf that are not part of this agent out, each with a warning.
    #[arg(long, global = true)]
    pub skip_unknown_plugins: bool,
    /// Log at debug level, including the probes' own messages.
    #[arg(long, global = true)]
    pub debug: bool,
    /// Log only errors.
    #[arg(long, global = true)]
    pub quiet: bool,
}

/// How points are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table of cgroups, busiest first; rates per second.
    Table,
    /// InfluxDB's line protocol.
    Line,
    /// One JSON object per line.
    Json,
}

/// What the rows of a table are sorted by, the largest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Sort {
    /// CPU, disk and network together.
    #[default]
    Busy,
    /// CPU time.
    Cpu,
    /// Memory.
    Mem,
    /// Bytes read and written.
    Io,
    /// Bytes received and sent.
    Net,
    /// The name.
    Name,
}

/// Options of `run`.
#[derive(Clone, Debug, Default, Args)]
pub struct RunArgs {
    /// Gather once, print the points and exit; no output is contacted.
    #[arg(long, conflicts_with = "once")]
    pub test: bool,
    /// Like --test, but wait this many seconds first, so that inputs that listen can receive something.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        hide_default_value = true,
        conflicts_with = "once"
    )]
    pub test_wait: u64,
    /// Gather once, write to the outputs and exit.
    #[arg(long)]
    pub once: bool,
    /// Write the process id to this file; it is removed at exit.
    #[arg(long, value_name = "FILE")]
    pub pidfile: Option<PathBuf>,
    /// Answer /healthz, /readyz and /metrics at this address, whatever the configuration says: 127.0.0.1:9274.
    #[arg(long, value_name = "ADDRESS")]
    pub health_address: Option<String>,
}

impl RunArgs {
    /// Whether points are printed, and no output is used.
    #[must_use]
    pub fn prints(&self) -> bool {
        self.test || self.test_wait > 0
    }

    /// Merges these with the options that were given before the command.
    #[must_use]
    pub fn or(self, before: Self) -> Self {
        Self {
            test: self.test || before.test,
            test_wait: self.test_wait.max(before.test_wait),
            once: self.once || before.once,
            pidfile: self.pidfile.or(before.pidfile),
            health_address: self.health_address.or(before.health_address),
        }
    }
}

/// What to print instead of running.
#[derive(Clone, Debug, Default, Args)]
pub struct PrintArgs {
    /// Print the options of a plugin.
    #[arg(long, value_name = "PLUGIN")]
    pub usage: Option<String>,
    /// Print the names of the inputs.
    #[arg(long)]
    pub input_list: bool,
    /// Print the names of the outputs.
    #[arg(long)]
    pub output_list: bool,
    /// Print the old names of plugins and options that are still accepted.
    #[arg(long)]
    pub deprecation_list: bool,
    /// Print the default configuration.
    #[arg(long)]
    pub sample_config: bool,
}

/// Flags of Telegraf that have no effect here.
#[derive(Clone, Debug, Default, Args)]
pub struct UnusedArgs {
    /// There are no aggregators.
    #[arg(long, hide = true, global = true)]
    aggregator_filter: Option<String>,
    /// There are no processors.
    #[arg(long, hide = true, global = true)]
    processor_filter: Option<String>,
    /// There are no secret stores.
    #[arg(long, hide = true, global = true)]
    secretstore_filter: Option<String>,
    /// Configurations are read from files.
    #[arg(long, hide = true, global = true)]
    config_url_retry_attempts: Option<String>,
    /// Likewise.
    #[arg(long, hide = true, global = true)]
    config_url_watch_interval: Option<String>,
    /// SIGHUP reloads.
    #[arg(long, hide = true, global = true)]
    watch_config: Option<String>,
    /// Likewise.
    #[arg(long, hide = true, global = true)]
    watch_interval: Option<String>,
    /// Likewise.
    #[arg(long, hide = true, global = true)]
    watch_debounce_interval: Option<String>,
    /// It is for the Go runtime.
    #[arg(long, hide = true, global = true)]
    pprof_addr: Option<String>,
    /// There are no external plugins.
    #[arg(long, hide = true, global = true)]
    plugin_directory: Option<String>,
    /// There are no secret stores.
    #[arg(long, hide = true, global = true)]
    password: Option<String>,
    /// Likewise.
    #[arg(long, hide = true, global = true)]
    unprotected: bool,
    /// Messages about a section always name its place.
    #[arg(long, hide = true, global = true)]
    print_plugin_config_source: bool,
    /// Rejected: what it leaves out would run.
    #[arg(long, hide = true, global = true)]
    pub select: Vec<String>,
}

impl UnusedArgs {
    /// The flags that were given, each with the reason why it has no effect.
    #[must_use]
    pub fn given(&self) -> Vec<(&'static str, &'static str)> {
        let none = "there is nothing it applies to";
        [
            (self.aggregator_filter.is_some(), "--aggregator-filter", none),
            (self.processor_filter.is_some(), "--processor-filter", none),
            (self.secretstore_filter.is_some(), "--secretstore-filter", none),
            (self.config_url_retry_attempts.is_some(), "--config-url-retry-attempts", none),
            (self.config_url_watch_interval.is_some(), "--config-url-watch-interval", none),
            (self.watch_config.is_some(), "--watch-config", "send SIGHUP after a change"),
            (self.watch_interval.is_some(), "--watch-interval", "send SIGHUP after a change"),
            (
                self.watch_debounce_interval.is_some(),
                "--watch-debounce-interval",
                "send SIGHUP after a change",
            ),
            (self.pprof_addr.is_some(), "--pprof-addr", "it is for the Go runtime"),
            (self.plugin_directory.is_some(), "--plugin-directory", none),
            (self.password.is_some(), "--password", none),
            (self.unprotected, "--unprotected", none),
            (
                self.print_plugin_config_source,
                "--print-plugin-config-source",
                "messages always name the place of a section",
            ),
        ]
        .into_iter()
        .filter_map(|(is_given, flag, why)| is_given.then_some((flag, why)))
        .collect()
    }
}

/// Options of `dump`.
#[derive(Clone, Debug, Args)]
pub struct DumpArgs {
    /// The time from one gather to the next.
    #[arg(long, default_value = "1s", value_parser = parse_interval)]
    pub interval: Duration,
    /// Exit after this many gathers.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// The output format; by default a table on a terminal and line protocol in a pipe.
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// What the rows of the table are sorted by.
    #[arg(long, value_enum, default_value_t)]
    pub sort: Sort,
    /// Print each record as it leaves the kernel's ring buffer, one JSON object per line.
    #[arg(long, conflicts_with = "format")]
    pub raw: bool,
}

/// Options of `top`.
#[derive(Clone, Debug, Args)]
pub struct TopArgs {
    /// The time from one gather to the next.
    #[arg(long, default_value = "1s", value_parser = parse_interval)]
    pub interval: Duration,
    /// What a row is; keys change it.
    #[arg(long, default_value = "all", value_parser = ["all", "containers", "pods", "workloads", "units"])]
    pub view: String,
    /// What rows are sorted by, the largest first: a column, `busy` (CPU, disk and network together) or `name`.
    #[arg(long, value_name = "COLUMN", default_value = "busy", value_parser = sorts())]
    pub sort: String,
    /// Only rows that have this in their name.
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// Write every gather to this file, too: line protocol, gzip; for --replay, zcat, or an import into InfluxDB.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Show what was recorded; the inputs are not used.
    #[arg(long, value_name = "FILE", conflicts_with = "record")]
    pub replay: Option<PathBuf>,
}

/// Options of `serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// The time from one gather to the next, while a page is open.
    #[arg(long, default_value = "1s", value_parser = parse_interval)]
    pub interval: Duration,
    /// Where to listen. For others than this machine the page's address has a token; without TLS, whoever reads along has it too.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9735")]
    pub listen: SocketAddr,
}

/// What rows can be sorted by.
fn sorts() -> PossibleValuesParser {
    let columns = VIEWS[0].columns().map(|column| PossibleValue::new(column.key).help(column.help));
    let others = [("busy", "CPU, disk and network together"), ("name", "the name")];
    let others = others.map(|(name, help)| PossibleValue::new(name).help(help));
    PossibleValuesParser::new(others.into_iter().chain(columns))
}

/// Options of `migrate`.
#[derive(Clone, Debug, Default, Args)]
pub struct MigrateArgs {
    /// Telegraf's configuration: files, directories of *.conf files, or - for the standard input; all of one host together.
    /// By default /etc/telegraf/telegraf.conf and /etc/telegraf/telegraf.d.
    pub files: Vec<PathBuf>,
    /// Write the files for this agent into DIR/seismograf and those for Telegraf into DIR/telegraf, which must not be there yet.
    #[arg(long, value_name = "DIR")]
    pub split: Option<PathBuf>,
}

/// What `migrate` does, for its help text.
const MIGRATE_HELP: &str = "\
Nothing is changed, stopped or started. The table has each section with its file and line, what
happens to it here (same; same, with a warning; not here), and which agent has it after a split:

  [agent], [global_tags]   both
  outputs that are here    both; others are Telegraf's
  inputs that are here     this agent's, if every point that they make arrives as before. One that
                           a processor, an aggregator or an output may take which is not here
                           stays with Telegraf; the table names what keeps it there
  everything else          Telegraf's

Lines are kept as they are, with comments and variables, in their order. A side that would have
no input is not written.

Exit codes:
  0   the table is printed, and with --split the files are written, whoever has what
  1   the files could not be written
  2   the command line is invalid
  78  a file cannot be read, or has what this agent refuses outside of plugins: nothing is written";

/// The commands about configurations.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Report everything that would keep a configuration from starting, with file, line and column; nobody is contacted.
    Check {
        /// The files, in addition to those of --config and --config-directory.
        files: Vec<PathBuf>,
        /// The configuration is for another machine: files that it names are not looked for.
        #[arg(long)]
        offline: bool,
    },
    /// Print the default configuration with comments; --section-filter, --input-filter and --output-filter select from it.
    #[command(visible_alias = "create")]
    Default {
        /// Have points that wait, and what is remembered from one run to the next, in this directory.
        #[arg(long, value_name = "DIR")]
        state_directory: Option<PathBuf>,
    },
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    match duration::parse(text)? {
        interval if interval.is_zero() => Err("must be more than 0".into()),
        interval => Ok(interval),
    }
}

/// Parses the command line; long flags may also have one dash (`-config`), as in Telegraf.
///
/// # Errors
/// clap's error, which can print itself.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    use clap::CommandFactory as _;

    let command = Cli::command();
    let is_long = |name: &str| command.get_arguments().any(|arg| arg.get_long() == Some(name));
    let double = |arg: OsString| {
        let text = arg.to_str().and_then(|arg| arg.strip_prefix('-'));
        let name = text.map(|text| text.split('=').next().unwrap_or(text));
        match (text, name) {
            // clap adds these two when it builds the command.
            (Some(text), Some(name)) if is_long(name) || ["version", "help"].contains(&name) => {
                OsString::from(format!("--{text}"))
            }
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
        let cli = parsed("seismograf -config a.conf --config-directory=/etc/d -config - -quiet");
        assert!(cli.command.is_none());
        assert_eq!(cli.source.config, ["a.conf", "-"].map(PathBuf::from));
        assert_eq!(cli.source.config_directory, [PathBuf::from("/etc/d")]);
        assert!(cli.source.quiet);
        assert_eq!(parsed("seismograf --input-filter cpu:mem --test").source.input_filter, ["cpu", "mem"]);
        let cli = parsed("seismograf -test-wait 5 -pidfile /run/s.pid -non-strict-env-handling");
        assert_eq!((cli.run.test_wait, cli.source.non_strict_env_handling), (5, true));
        assert_eq!(cli.run.pidfile, Some("/run/s.pid".into()));
        let cli = parsed("seismograf -usage cpu -pprof-addr localhost:6060 --aggregator-filter merge");
        assert_eq!(cli.print.usage.as_deref(), Some("cpu"));
        let unused: Vec<_> = cli.unused.given().into_iter().map(|(flag, _)| flag).collect();
        assert_eq!(unused, ["--aggregator-filter", "--pprof-addr"]);
    }

    #[test]
    fn takes_the_source_before_and_after_a_command() {
        for line in ["seismograf --config a.conf config check", "seismograf config check --config a.conf"] {
            let cli = parsed(line);
            assert_eq!(cli.source.config, [PathBuf::from("a.conf")], "{line}");
            let Some(Command::Config { command: Some(ConfigCommand::Check { files, .. }) }) = cli.command
            else {
                panic!("{line}")
            };
            assert!(files.is_empty());
        }
        let cli = parsed("seismograf --once run --pidfile p");
        let Some(Command::Run(args)) = cli.command else { panic!() };
        let args = args.or(cli.run);
        assert!(args.once && args.pidfile.is_some());
    }

    #[test]
    fn takes_commands() {
        let cli = parsed("seismograf dump --interval 500ms --count 3 --format json");
        let Some(Command::Dump(dump)) = cli.command else { panic!("{cli:?}") };
        assert_eq!(
            (dump.interval, dump.count, dump.format),
            (Duration::from_millis(500), Some(3), Some(Format::Json))
        );
        let cli = parsed("seismograf top --view pods --sort throttled --filter web --record f.gz");
        let Some(Command::Top(top)) = cli.command else { panic!("{cli:?}") };
        assert_eq!((top.view.as_str(), top.sort.as_str()), ("pods", "throttled"));
        assert_eq!((top.filter.as_deref(), top.record), (Some("web"), Some("f.gz".into())));
        let cli = parsed("seismograf serve --listen [::1]:80 --interval 2s");
        let Some(Command::Serve(serve)) = cli.command else { panic!("{cli:?}") };
        assert_eq!((serve.listen.to_string().as_str(), serve.interval), ("[::1]:80", Duration::from_secs(2)));
        assert!(matches!(parsed("seismograf config").command, Some(Command::Config { command: None })));
        assert!(matches!(parsed("seismograf plugins inputs").command, Some(Command::Plugins { .. })));
        let Some(Command::Completions { shell }) = parsed("seismograf completions zsh").command else {
            panic!()
        };
        assert_eq!(shell, Shell::Zsh);
        for line in [
            "dump --interval 0s",
            "top --sort nothing",
            "serve --listen localhost",
            "top --view machine",
            "top --record a --replay b",
            "nonsense",
            "--test --once",
            "--strict-env-handling --non-strict-env-handling",
            "plugins processors",
            "completions cmd",
            "man",
        ] {
            let args = format!("seismograf {line}");
            assert!(parse(args.split(' ').map(OsString::from)).is_err(), "{line}");
        }
    }

    #[test]
    fn clap_finds_no_fault() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
