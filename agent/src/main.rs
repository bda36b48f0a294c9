//! The `seismograf` command: arguments, logging, configuration, run, exit code; nothing else.

use std::process::ExitCode;

use seismograf::cli::{self, Cli, Command, ConfigCommand};
use seismograf::exit::Exit;
use seismograf::{commands, logging};

fn main() -> ExitCode {
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok }.into();
        }
    };
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            // The log may not be up yet, and a person waits at the terminal.
            eprintln!("seismograf: {error:#}");
            Exit::Failed.into()
        }
    }
}

/// One thread for everything: the agent waits far more than it works.
fn run(cli: Cli) -> anyhow::Result<Exit> {
    let source = match &cli.command {
        None => &cli.run.source,
        Some(Command::Run(args)) => &args.source,
        Some(Command::Dump(args)) => &args.source,
        Some(Command::Doctor(args)) => args,
        Some(Command::Config(ConfigCommand::Default)) => return commands::config_default(),
        Some(Command::Config(ConfigCommand::Check { files })) => return commands::config_check(files),
    };
    // Before the configuration is read, which can warn; the configuration may then say more or less.
    let config = logging::with_early(source.debug, source.quiet, || commands::load(source))?;
    logging::start(source.debug || config.agent.debug, source.quiet || config.agent.quiet);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match cli.command {
            None => commands::run(config, &cli.run).await,
            Some(Command::Run(args)) => commands::run(config, &args).await,
            Some(Command::Dump(args)) => commands::dump(config, &args).await,
            Some(Command::Doctor(_)) => commands::doctor(&config).await,
            Some(Command::Config(_)) => Ok(Exit::Ok),
        }
    })
}
