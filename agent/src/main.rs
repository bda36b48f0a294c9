//! The `seismograf` command: arguments, logging, configuration, run, exit code; nothing else.

use std::process::ExitCode;
use std::time::Duration;

use seismograf::cli::{self, Cli, Command, ConfigCommand};
use seismograf::commands;
use seismograf::config::loader::{Loader, Purpose};
use seismograf::config::notes::Problems;
use seismograf::config::sample;
use seismograf::exit::Exit;
use seismograf::service::{logging, memory};

fn main() -> ExitCode {
    memory::keep_together();
    end_by_a_panic();
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
            logging::complain(&format!("seismograf: {error:#}"));
            if error.is::<Problems>() { Exit::Refused } else { Exit::Failed }.into()
        }
    }
}

/// Has a panic of any thread end the program, however it was compiled: what is left would go on with half of its state.
fn end_by_a_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

/// How long a thread for work that can block is kept for the next.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// Most threads for work that can block, all of which may hang: within the `TasksMax` of the systemd unit.
const MAX_BLOCKING: usize = 48;

/// One thread for everything that does not block: the agent waits far more than it computes.
fn run(cli: Cli) -> anyhow::Result<Exit> {
    let Cli { command, mut source, run, print, unused } = cli;
    match &command {
        None if let Some(text) = sample::requested(&print)? => return commands::print(&text),
        Some(Command::Config { command: None }) => {
            return commands::print(&sample::configuration(&source));
        }
        Some(Command::Config { command: Some(ConfigCommand::Default { state_directory }) }) => {
            let text = sample::configuration(&source);
            return commands::print(&match state_directory {
                Some(directory) => sample::with_state(&text, directory),
                None => text,
            });
        }
        Some(Command::Plugins { kind }) => return commands::print(&sample::plugins(kind.as_deref())),
        Some(Command::Version) => {
            return commands::print(&format!("seismograf {}\n", cli::VERSION));
        }
        Some(Command::Top(args)) if let Some(file) = &args.replay => {
            return finished(runtime()?, commands::top::replay(args, file));
        }
        Some(Command::Migrate(args)) => return commands::migrate::run(args, &source),
        Some(Command::Completions { shell }) => {
            return commands::print(&commands::completions::completions(*shell));
        }
        Some(Command::Man { directory }) => return commands::man::write(directory),
        _ => {}
    }
    let purpose = match &command {
        Some(Command::Config { command: Some(ConfigCommand::Check { files, offline }) }) => {
            source.config.extend(files.iter().cloned());
            if *offline { Purpose::CheckElsewhere } else { Purpose::Run }
        }
        Some(Command::Dump(_) | Command::Top(_) | Command::Serve(_)) => Purpose::Print,
        Some(Command::Doctor) => Purpose::Examine,
        Some(Command::Run(args)) if args.prints() => Purpose::Print,
        _ if run.prints() => Purpose::Print,
        _ => Purpose::Run,
    };
    let (debug, quiet) = (source.debug, source.quiet);
    let mut loader = Loader::new(source, purpose);
    // Loading the configuration can already log warnings; its own log settings apply from then on.
    let config = logging::with_early(debug, quiet, || commands::load(&mut loader, &unused))?;
    if let Some(Command::Config { .. }) = command {
        return commands::config::check(&config);
    }
    let log = logging::start(config.log_settings(debug, quiet))?;
    finished(runtime()?, async {
        match command {
            Some(Command::Dump(args)) => commands::dump::run(config, &args).await,
            Some(Command::Top(args)) => commands::top::run(config, &args, log).await,
            Some(Command::Serve(args)) => commands::serve::run(config, &args).await,
            Some(Command::Doctor) => commands::doctor::run(&config).await,
            Some(Command::Run(args)) => commands::run::run(config, &args.or(run), loader, log).await,
            _ => commands::run::run(config, &run, loader, log).await,
        }
    })
}

/// Runs a command, and leaves what hangs behind.
fn finished(
    runtime: tokio::runtime::Runtime,
    command: impl Future<Output = anyhow::Result<Exit>>,
) -> anyhow::Result<Exit> {
    let exit = runtime.block_on(command);
    runtime.shutdown_background();
    exit
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_keep_alive(IDLE_LIMIT)
        .max_blocking_threads(MAX_BLOCKING)
        .build()
}
