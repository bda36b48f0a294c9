//! `cargo xtask`: set up, build, test and measure Seismograf.

mod bench;
mod build;
mod ci;
mod clients;
mod cluster;
mod codegen;
mod command;
mod dist;
mod fuzz;
mod helm;
mod image;
mod influxd2;
mod packages;
mod platform;
mod setup;
mod telegraf;
mod tidy;
mod vm;

use clap::{Parser, Subcommand};

use self::platform::Platform;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Set up, build, test and measure Seismograf", version)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Find or install what the eBPF build needs.
    Setup,
    /// Build the BPF object and the agent that carries it.
    Build {
        /// Optimise fully: the agent is left at target/release/seismograf.
        #[arg(long)]
        release: bool,
        /// Build the object twice, from two directories, and compare.
        #[arg(long)]
        check_reproducible: bool,
        /// What for, where it is not this machine: target/static/TARGET has it.
        #[arg(long)]
        platform: Option<Platform>,
    },
    /// Build, and run the agent with these arguments.
    Run {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Build, and show this machine's figures; arguments go to `seismograf dump`.
    Dump {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Everything: format, lints, docs, unit tests, the BPF object, other kernels, end-to-end tests, a real Kubernetes.
    Test,
    /// What CI runs; the same as `test`.
    Ci,
    /// The end-to-end tests alone; arguments go to the test binary.
    E2e {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Check rules that no lint has.
    Tidy,
    /// Write the generated documents again, or check them.
    Codegen {
        /// Fail when one is stale.
        #[arg(long)]
        check: bool,
    },
    /// Measure.
    Bench {
        #[command(subcommand)]
        cost: bench::Cost,
    },
    /// Have a real influxd judge the parser of line protocol on generated lines.
    Judge {
        /// How many.
        #[arg(long, default_value_t = 20_000)]
        lines: usize,
    },
    /// Fuzz the parsers of foreign bytes with libFuzzer.
    Fuzz(fuzz::FuzzArgs),
    /// Run on other kernels in QEMU, from 5.10 to the newest, on x86-64 and arm64, with each layout of cgroups.
    Vm(vm::VmArgs),
    /// A real Kubernetes of one node, and the tests that need one.
    Cluster {
        #[command(subcommand)]
        action: cluster::Action,
    },
    /// Build a real InfluxDB 2 with Go, once, for the tests that need one: target/influxd2/influxd.
    Influxd2,
    /// Build the real Telegraf with Go, once, for the test of `migrate`: target/telegraf/telegraf.
    Telegraf,
    /// Build a container image `FROM scratch`: target/image/seismograf.tar.
    Image {
        /// What it is for; this machine's by default, and an image of several has a manifest for each.
        #[arg(long, value_delimiter = ',')]
        platform: Vec<Platform>,
    },
    /// Build what others install: a tarball, a .deb, an .rpm, their bill of materials and sums: target/dist.
    Dist(dist::DistArgs),
}

fn main() -> std::process::ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<()> {
    std::env::set_current_dir(command::workspace())?;
    match task {
        Task::Setup => setup::setup().map(|_| ()),
        Task::Build { check_reproducible: true, .. } => build::check_reproducible(),
        Task::Build { release, platform, .. } => {
            let profile = if release { build::Profile::Release } else { build::Profile::Fast };
            println!("{}", build::agent(profile, platform.unwrap_or(Platform::host()))?.display());
            Ok(())
        }
        Task::Run { args } => build::exec(&[], &args),
        Task::Dump { args } => build::exec(&["dump"], &args),
        Task::Test | Task::Ci => ci::test(),
        Task::E2e { args } => ci::e2e(&args),
        Task::Tidy => tidy::tidy(),
        Task::Codegen { check } => codegen::codegen(check),
        Task::Bench { cost } => bench::bench(&cost),
        Task::Judge { lines } => ci::judge(lines),
        Task::Fuzz(args) => fuzz::fuzz(&args),
        Task::Vm(args) => vm::vm(&args),
        Task::Cluster { action } => cluster::cluster(&action),
        Task::Influxd2 => {
            println!("{}", influxd2::build()?.display());
            Ok(())
        }
        Task::Telegraf => {
            println!("{}", telegraf::build()?.display());
            Ok(())
        }
        Task::Image { platform } if platform.is_empty() => image::image(&[Platform::host()]),
        Task::Image { platform } => image::image(&platform),
        Task::Dist(args) => dist::dist(&args),
    }
}
